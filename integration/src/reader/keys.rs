//! From a key file, a passphrase or a recovery key to the master key, and from that to domains.

use std::collections::BTreeMap;

use argon2::{Algorithm, Argon2, Params, Version};

use super::bytes::{array_from_hex, from_hex};
use super::objects::{Json, Kind, Seal, Secret32, keyed, open};
use super::{In, Read, Refused, expect, refuse};

const SLOT_BYTES_MAX: usize = 524_288;
const DOMAIN_BYTES_MAX: usize = 4096;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What somebody has in hand.
#[derive(Clone, Debug)]
pub enum Secret {
    /// The text of a key file.
    KeyFile(String),
    /// A passphrase.
    Passphrase(String),
    /// A recovery key, as typed.
    Recovery(String),
}

impl Secret {
    const fn kind(&self) -> &'static str {
        match self {
            Self::KeyFile(_) => "key-file",
            Self::Passphrase(_) => "passphrase",
            Self::Recovery(_) => "recovery",
        }
    }

    /// The key of a slot.
    fn slot_key(&self, slot: &Json) -> Read<Secret32> {
        match self {
            Self::KeyFile(text) => key_file(text).within("the key file"),
            Self::Passphrase(text) => passphrase(text, &slot.object("argon2id")?).within("argon2id"),
            Self::Recovery(text) => recovery(text).within("the recovery key"),
        }
    }
}

fn key_file(text: &str) -> Read<Secret32> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let Some(rest) = line.strip_prefix("tidegate-key-1-") else { return refuse("no key") };
    let Some((key, check)) = rest.split_once('-') else { return refuse("no checksum") };
    let key = array_from_hex::<32>(key)?;
    expect(array_from_hex::<4>(check)? == crc32c::crc32c(&key).to_be_bytes(), "a wrong checksum")?;
    Ok(key)
}

fn passphrase(text: &str, costs: &Json) -> Read<Secret32> {
    let cost = |field: &str, range: std::ops::RangeInclusive<u64>| {
        let number = costs.number(field)?;
        expect(range.contains(&number), &format!("{field} is out of range"))?;
        Ok(number as u32)
    };
    let (memory, passes) = (cost("memory_kib", 19_456..=524_288)?, cost("passes", 2..=16)?);
    let costs_of = Params::new(memory, passes, cost("lanes", 1..=16)?, Some(32));
    let refused = |error: argon2::Error| Refused(error.to_string());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, costs_of.map_err(refused)?);
    let mut key = [0; 32];
    let salt = costs.id::<16>("salt")?;
    argon2.hash_password_into(text.as_bytes(), &salt, &mut key).map_err(refused)?;
    Ok(key)
}

/// Multiplies by x in the field of 32 elements modulo x^5 + x^2 + 1.
const fn times_x(digit: u8) -> u8 {
    let shifted = digit << 1;
    if shifted & 0x20 == 0 { shifted } else { shifted ^ 0b10_0101 }
}

fn recovery(text: &str) -> Read<Secret32> {
    let digit = |letter: u8| {
        let letter = match letter.to_ascii_uppercase() {
            b'I' | b'L' => b'1',
            b'O' => b'0',
            other => other,
        };
        let place = CROCKFORD.iter().position(|&known| known == letter);
        place.map(|place| place as u8).ok_or_else(|| Refused("not a digit of base 32".into()))
    };
    let typed = text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-');
    let digits = typed.map(digit).collect::<Read<Vec<_>>>()?;
    expect(digits.len() == 65, "not 13 groups of 5 characters")?;
    let mut bits = Vec::new();
    for (number, group) in digits.chunks_exact(5).enumerate() {
        let check = group[..4].iter().fold(number as u8, |check, digit| times_x(check) ^ digit);
        expect(times_x(check) == group[4], &format!("group {number} is mistyped"))?;
        bits.extend(group[..4].iter().flat_map(|digit| (0..5).rev().map(move |bit| digit >> bit & 1)));
    }
    let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | bit);
    expect(byte(&bits[..4]) == 1, "a recovery key of another version")?;
    let key: Vec<u8> = bits[4..].chunks_exact(8).map(byte).collect();
    key.try_into().map_err(|_| Refused("not 32 bytes".into()))
}

/// What a slot gives.
#[derive(Debug)]
pub(super) struct Unlocked {
    pub(super) master: Secret32,
    pub(super) config: Json,
    pub(super) label: String,
}

/// Opens a slot; none if it is of another kind, of another creation, or wrapped by another secret.
pub(super) fn open_slot(
    name: &str,
    object: &[u8],
    repository: [u8; 16],
    secret: &Secret,
) -> Read<Option<Unlocked>> {
    let slot = Json::parse(&open(Kind::KeySlot, name, Seal::Plain, object)?, SLOT_BYTES_MAX).within(name)?;
    if slot.id::<16>("repository")? != repository || slot.text("kind")? != secret.kind() {
        return Ok(None);
    }
    let key = secret.slot_key(&slot)?;
    let wrapped = from_hex(slot.text("wrapped")?)?;
    let Ok(payload) = open(Kind::KeySlot, name, Seal::Secret(&key, repository), &wrapped) else {
        return Ok(None);
    };
    let payload = Json::parse(&payload, SLOT_BYTES_MAX).within(name)?;
    let (master, config) = (payload.id("master")?, payload.object("config")?);
    let note = from_hex(slot.text("note")?)?;
    let note = open(Kind::KeySlot, name, Seal::Secret(&master, repository), &note)?;
    let note = Json::parse(&note, SLOT_BYTES_MAX).within(name)?;
    note.time("created_at")?;
    Ok(Some(Unlocked { master, config, label: note.text("label")?.to_owned() }))
}

/// Shares that share ids and packs: one root secret, and a sealing secret for each epoch.
#[derive(Clone, Debug)]
pub(super) struct Domain {
    pub(super) repository: [u8; 16],
    pub(super) id: [u8; 16],
    root: Secret32,
    /// For each epoch the keys that keys of packs and of objects are made of.
    epochs: BTreeMap<u32, (Secret32, Secret32)>,
}

impl Domain {
    /// Opens a domain from its objects, as (name, epoch, bytes).
    pub(super) fn open(
        repository: [u8; 16],
        id: [u8; 16],
        master: &Secret32,
        objects: &[(String, u32, Vec<u8>)],
    ) -> Read<Self> {
        let (mut roots, mut epochs) = (Vec::new(), BTreeMap::new());
        for (name, epoch, object) in objects {
            let payload = open(Kind::Domain, name, Seal::Secret(master, repository), object)?;
            let payload = Json::parse(&payload, DOMAIN_BYTES_MAX).within(name)?;
            payload.text("label")?;
            expect(*epoch > 0, "epochs begin at 1").within(name)?;
            roots.push(payload.id::<32>("root")?);
            let seal = payload.id::<32>("seal")?;
            let packs = blake3::derive_key("tidegate format 1: seal epoch -> packs", &seal);
            let objects = blake3::derive_key("tidegate format 1: seal epoch -> objects", &seal);
            epochs.insert(*epoch, (packs, objects));
        }
        let Some(&root) = roots.first() else { return refuse("a domain without epochs") };
        expect(roots.iter().all(|other| *other == root), "epochs of a domain with other root secrets")?;
        Ok(Self { repository, id, root, epochs })
    }

    fn epoch(&self, epoch: u32) -> Read<&(Secret32, Secret32)> {
        self.epochs.get(&epoch).ok_or_else(|| Refused(format!("the domain has no seal epoch {epoch}")))
    }

    /// What the keys of packs of an epoch are made of.
    pub(super) fn packs_key(&self, epoch: u32) -> Read<&Secret32> {
        Ok(&self.epoch(epoch)?.0)
    }

    /// What the keys of objects of an epoch are made of.
    pub(super) fn objects_key(&self, epoch: u32) -> Read<&Secret32> {
        Ok(&self.epoch(epoch)?.1)
    }

    fn derived(&self, context: &'static str, bytes: &[u8]) -> [u8; 32] {
        keyed(&blake3::derive_key(context, &self.root), bytes)
    }

    /// The id of a chunk of data or of a value.
    pub(super) fn chunk_id(&self, plaintext: &[u8]) -> [u8; 32] {
        self.derived("tidegate format 1: domain root -> chunk ids", plaintext)
    }

    /// The id of a tree node.
    pub(super) fn node_id(&self, canonical: &[u8]) -> [u8; 32] {
        self.derived("tidegate format 1: domain root -> tree node ids", canonical)
    }

    /// The boundary hash of a key on a level.
    pub(super) fn boundary_hash(&self, level: u8, key: &[u8]) -> u64 {
        let context = "tidegate format 1: domain root -> tree node boundaries";
        let hash = self.derived(context, &[&[level], key].concat());
        u64::from_le_bytes(hash[..8].try_into().expect("eight of 32 bytes"))
    }
}

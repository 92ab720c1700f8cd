//! Sealed objects: everything in a repository that is not a pack.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key};
use serde_json::{Map, Value};

use super::bytes::{Bytes, array_from_hex};
use super::keys::Domain;
use super::{In, Read, Refused, expect, refuse};

/// Most bytes of an object.
const OBJECT_BYTES_MAX: usize = 67_108_864;

/// A key.
pub(super) type Secret32 = [u8; 32];

/// Kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Config = 1,
    KeySlot = 2,
    Domain = 3,
    Index = 6,
    Head = 7,
    Snapshot = 8,
    Claim = 9,
    Heartbeat = 14,
}

/// What opens an object.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seal<'a> {
    Plain,
    Domain(&'a Domain),
    Secret(&'a Secret32, [u8; 16]),
}

/// BLAKE3, keyed.
pub(super) fn keyed(key: &Secret32, bytes: &[u8]) -> Secret32 {
    *blake3::keyed_hash(key, bytes).as_bytes()
}

/// AES-256-GCM with a nonce that is a number.
pub(super) fn decrypt(key: &Secret32, number: u32, aad: &[u8], msg: &[u8]) -> Read<Vec<u8>> {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key));
    cipher.decrypt(&nonce.into(), Payload { msg, aad }).map_err(|_| Refused("not authentic".into()))
}

/// The payload of an object, which must be of this kind and protection and have this name.
pub(super) fn open(kind: Kind, name: &str, seal: Seal<'_>, object: &[u8]) -> Read<Vec<u8>> {
    open_within(kind, name, seal, object).within(name)
}

fn open_within(kind: Kind, name: &str, seal: Seal<'_>, object: &[u8]) -> Read<Vec<u8>> {
    expect(object.len() <= OBJECT_BYTES_MAX, "an object is too long")?;
    let mut bytes = Bytes(object);
    expect(&bytes.array::<8>()? == b"TIDEGATE", "no object")?;
    expect(bytes.u16()? == 1, "an object of another version")?;
    expect(bytes.u8()? == kind as u8, "an object of another kind")?;
    let (protection, epoch, salt) = (bytes.u8()?, bytes.u32()?, bytes.array::<32>()?);
    let (header, body) = object.split_at(48);
    let number = match seal {
        Seal::Plain => 0,
        Seal::Domain(_) => 1,
        Seal::Secret(..) => 2,
    };
    expect(protection == number, "an object with another protection")?;
    expect(epoch == 0 || protection == 1, "a seal epoch where there is none")?;
    match seal {
        Seal::Plain => {
            let mut bound = header[..16].to_vec();
            bound.extend([0; 32]);
            bound.extend((name.len() as u32).to_le_bytes());
            bound.extend(name.as_bytes());
            bound.extend(body);
            expect(blake3::hash(&bound).as_bytes() == &salt, "damaged")?;
            Ok(body.to_vec())
        }
        Seal::Domain(domain) => {
            let key = keyed(domain.objects_key(epoch)?, &salt);
            decrypt(&key, 0, &[header, &domain.repository, name.as_bytes()].concat(), body)
        }
        Seal::Secret(secret, repository) => {
            let secret = blake3::derive_key("tidegate format 1: secret -> objects", secret);
            let aad = [header, &repository, name.as_bytes()].concat();
            decrypt(&keyed(&secret, &salt), 0, &aad, body)
        }
    }
}

/// The fields of a payload that is a JSON object of version 1.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Json(pub(super) Map<String, Value>);

impl Json {
    /// Parses a payload of at most `bytes_max` bytes.
    pub(super) fn parse(payload: &[u8], bytes_max: usize) -> Read<Self> {
        expect(payload.len() <= bytes_max, "a payload is too long")?;
        let value = serde_json::from_slice(payload).map_err(|error| Refused(format!("no JSON: {error}")))?;
        let Value::Object(fields) = value else { return refuse("no JSON object") };
        let json = Self(fields);
        expect(json.number("version")? == 1, "a payload of another version")?;
        Ok(json)
    }

    pub(super) fn value(&self, field: &str) -> Read<&Value> {
        self.0.get(field).ok_or_else(|| Refused(format!("the field {field:?} is missing")))
    }

    pub(super) fn number(&self, field: &str) -> Read<u64> {
        self.value(field)?.as_u64().ok_or_else(|| Refused(format!("{field:?} is no number")))
    }

    pub(super) fn text(&self, field: &str) -> Read<&str> {
        self.value(field)?.as_str().ok_or_else(|| Refused(format!("{field:?} is no string")))
    }

    pub(super) fn object(&self, field: &str) -> Read<Self> {
        match self.value(field)? {
            Value::Object(fields) => Ok(Self(fields.clone())),
            _ => refuse(format!("{field:?} is no object")),
        }
    }

    pub(super) fn id<const N: usize>(&self, field: &str) -> Read<[u8; N]> {
        array_from_hex(self.text(field)?).within(field)
    }

    /// A time, of which only the form is checked: `2025-01-31T23:59:59.5Z`.
    pub(super) fn time(&self, field: &str) -> Read<()> {
        let text = self.text(field)?.as_bytes();
        let form = b"0000-00-00T00:00:00";
        let fits =
            |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
        let whole = text.len() > form.len() && text.iter().zip(form).all(fits);
        let rest = text.get(form.len()..).and_then(|rest| rest.strip_suffix(b"Z"));
        let fraction = |rest: &[u8]| match rest {
            [] => true,
            [b'.', digits @ ..] => (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        expect(whole && rest.is_some_and(fraction), &format!("{field:?} is no time"))
    }
}

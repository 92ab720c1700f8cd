//! A repository in a folder, opened with one secret.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::bytes::{array_from_hex, hex};
use super::chunks::Chunks;
use super::files::{self, Files};
use super::heads::{self, Head};
use super::heartbeats::{self, Heartbeat};
use super::index::{Id, Index, Location};
use super::keys::{Domain, Secret, Unlocked, open_slot};
use super::objects::{Json, Kind, Seal, open};
use super::{In, Read, Refused, claims, expect, pack, refuse};

const CONFIG_BYTES_MAX: usize = 65_536;
const SNAPSHOT_BYTES_MAX: usize = 8_388_608;
const SLOTS_MAX: usize = 32;

/// An open repository.
#[derive(Debug)]
pub struct Repository {
    folder: PathBuf,
    first_domain: [u8; 16],
    domains: BTreeMap<[u8; 16], Domain>,
    index: Index,
    label: String,
}

impl Repository {
    /// Opens the repository in a folder.
    pub fn open(folder: &Path, secret: &Secret) -> Read<Self> {
        let config = open(Kind::Config, "config", Seal::Plain, &object(folder, "config")?)?;
        let config = Json::parse(&config, CONFIG_BYTES_MAX).within("config")?;
        check_config(&config).within("config")?;
        let id = config.id::<16>("repository")?;
        let slot = unlock(folder, id, secret)?;
        let sealed = |field| slot.config.value(field).ok() == config.0.get(field);
        let same = ["repository", "domain", "chunks", "created_at"].into_iter().all(sealed);
        expect(same, "config differs from what the slot seals")?;
        let first_domain = config.id("domain")?;
        let domains = open_domains(folder, id, &slot)?;
        let Some(first) = domains.get(&first_domain) else { return refuse("no first domain") };
        let index = read_index(folder, first)?;
        Ok(Self { folder: folder.to_path_buf(), first_domain, domains, index, label: slot.label })
    }

    /// What the slot is called that was opened.
    pub fn slot_label(&self) -> &str {
        &self.label
    }

    /// The ids of the shares that have heads.
    pub fn shares(&self) -> Read<Vec<[u8; 16]>> {
        names(&self.folder, "heads")?.iter().map(|name| array_from_hex(name)).collect()
    }

    /// The heads that count, newest first; those of epochs without a settled claim do not.
    fn claimed_heads(&self, share: &[u8; 16]) -> Read<Vec<String>> {
        let names = names(&self.folder, &format!("heads/{}", hex(share)))?;
        let claimed = self.claimed_epochs(share)?;
        let mut counting = Vec::new();
        for name in names {
            let (epoch, _) = heads::parse_name(&name).within(&name)?;
            if claimed.contains(&epoch) {
                counting.push(name);
            }
        }
        Ok(counting)
    }

    fn claimed_epochs(&self, share: &[u8; 16]) -> Read<BTreeSet<u32>> {
        let place = format!("leases/{}", hex(share));
        let mut epochs = BTreeSet::new();
        for name in names(&self.folder, &place)? {
            let payload = self.control(Kind::Claim, &format!("{place}/{name}"))?;
            claims::add(&mut epochs, share, &name, &payload).within(&name)?;
        }
        Ok(epochs)
    }

    /// The payload of an object that the first domain seals.
    fn control(&self, kind: Kind, name: &str) -> Read<Vec<u8>> {
        let first = &self.domains[&self.first_domain];
        open(kind, name, Seal::Domain(first), &object(&self.folder, name)?)
    }

    fn head(&self, share: &[u8; 16], name: &str) -> Read<Head> {
        let object = format!("heads/{}/{name}", hex(share));
        heads::parse(share, name, &self.control(Kind::Head, &object)?).within(&object)
    }

    /// The newest head of a share and those of its line that it names as kept, newest first; where it names none,
    /// its ancestors, of which one that is gone ends the line.
    pub fn line(&self, share: &[u8; 16]) -> Read<Vec<Head>> {
        let counting = self.claimed_heads(share)?;
        let Some(newest) = counting.first() else { return Ok(Vec::new()) };
        let newest = self.head(share, newest)?;
        if !newest.kept.is_empty() {
            let kept = newest.kept.clone().into_iter().map(|name| self.head(share, &name));
            let line: Vec<Head> = std::iter::once(Ok(newest)).chain(kept).collect::<Read<_>>()?;
            let falls = line.windows(2).all(|pair| pair[1].sequence < pair[0].sequence);
            expect(falls, "kept heads with sequences that are not lower")?;
            return Ok(line);
        }
        let (mut line, mut next) = (Vec::new(), counting.first().cloned());
        while let Some(name) = next.take_if(|name| counting.contains(name)) {
            let head = self.head(share, &name)?;
            let falls = line.last().is_none_or(|child: &Head| head.sequence < child.sequence);
            expect(falls, "a parent with a sequence that is not lower")?;
            next.clone_from(&head.parent);
            line.push(head);
        }
        Ok(line)
    }

    /// The heads of a share's snapshots, oldest first, by label.
    pub fn snapshots(&self, share: &[u8; 16]) -> Read<Vec<(String, Head)>> {
        let place = format!("snapshots/{}", hex(share));
        let mut found = Vec::new();
        for name in names(&self.folder, &place)? {
            let object = format!("{place}/{name}");
            let json = Json::parse(&self.control(Kind::Snapshot, &object)?, SNAPSHOT_BYTES_MAX)?;
            json.time("taken_at").within(&object)?;
            json.object("tags").within(&object)?;
            let head = json.object("head").within(&object)?;
            let head = heads::from_fields(share, json.text("head_name")?, head).within(&object)?;
            found.push((json.text("label")?.to_owned(), head));
        }
        Ok(found)
    }

    /// The heartbeats of all gateways, by instance, the newest of each first.
    pub fn heartbeats(&self) -> Read<Vec<Heartbeat>> {
        let mut found = Vec::new();
        for instance in names(&self.folder, "heartbeats")? {
            for name in names(&self.folder, &format!("heartbeats/{instance}"))? {
                let object = format!("heartbeats/{instance}/{name}");
                let payload = self.control(Kind::Heartbeat, &object)?;
                found.push(heartbeats::parse(&instance, &name, &payload).within(&object)?);
            }
        }
        Ok(found)
    }

    /// All files of a head.
    pub fn files(&self, head: &Head) -> Read<Files> {
        let domain = self.domains.get(&head.domain).ok_or_else(|| Refused("an unknown domain".into()))?;
        let mut chunks = Chunks::new(&self.folder, &self.index, domain);
        files::read(&mut chunks, head)
    }

    /// Checks that the index says nothing that the ends of packs do not say; how many chunks it places.
    pub fn check_index_against_packs(&self) -> Read<usize> {
        let mut placed: BTreeMap<Id, BTreeSet<(u8, Location)>> = BTreeMap::new();
        for (pack, domain) in &self.index.packs {
            let domain = self.domains.get(domain).ok_or_else(|| Refused("an unknown domain".into()))?;
            for (id, kind, location) in pack::places(&self.folder, pack, domain)? {
                placed.entry(id).or_default().insert((kind, location));
            }
        }
        for (id, places) in &self.index.places {
            let known = placed.get(id).is_some_and(|known| places.is_subset(known));
            expect(known, "the index says what no pack says").within(&hex(id))?;
        }
        Ok(self.index.places.len())
    }

    /// Checks that what a head calls hot begins and ends with frames that are there, of the kind that it says; how many
    /// ranges there are.
    pub fn check_heat(&self, head: &Head) -> Read<usize> {
        let mut edges: BTreeMap<_, BTreeSet<(u64, bool)>> = BTreeMap::new();
        for (kind, at) in self.index.places.values().flatten() {
            let start = u64::from(at.frame_offset);
            let edges = edges.entry(at.pack).or_default();
            edges.extend([(start, *kind == 1), (start + u64::from(at.frame_bytes), *kind == 1)]);
        }
        for hot in &head.hot {
            let is_edge =
                |place| edges.get(&hot.pack).is_some_and(|edges| edges.contains(&(place, hot.is_data)));
            expect(is_edge(hot.start) && is_edge(hot.end), "what is hot is no frames")
                .within(&hex(&hot.pack))?;
        }
        Ok(head.hot.len())
    }
}

fn object(folder: &Path, name: &str) -> Read<Vec<u8>> {
    fs::read(folder.join(name)).map_err(|error| Refused(format!("{name}: {error}")))
}

/// What lies below a part of a name, in byte order; nothing if there is no such part.
fn names(folder: &Path, part: &str) -> Read<Vec<String>> {
    let path = folder.join(part);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let refused = |error: std::io::Error| Refused(format!("{part}: {error}"));
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(refused)? {
        let name = entry.map_err(refused)?.file_name().into_string();
        names.push(name.map_err(|name| Refused(format!("{part}: {} is no name", name.display())))?);
    }
    names.sort();
    Ok(names)
}

fn check_config(config: &Json) -> Read<()> {
    config.id::<16>("domain")?;
    config.time("created_at")?;
    let chunks = config.object("chunks")?;
    let (min, avg, max) = (chunks.number("min")?, chunks.number("avg")?, chunks.number("max")?);
    expect(min <= avg && avg <= max && [min, avg, max].iter().all(|size| size % 2 == 0), "sizes of chunks")
}

fn unlock(folder: &Path, repository: [u8; 16], secret: &Secret) -> Read<Unlocked> {
    let slots = names(folder, "keys")?;
    expect(slots.len() <= SLOTS_MAX, "too many key slots")?;
    for slot in slots {
        array_from_hex::<8>(&slot).within("keys")?;
        let name = format!("keys/{slot}");
        if let Some(unlocked) = open_slot(&name, &object(folder, &name)?, repository, secret)? {
            return Ok(unlocked);
        }
    }
    refuse("the secret opens no key slot")
}

fn open_domains(folder: &Path, repository: [u8; 16], slot: &Unlocked) -> Read<BTreeMap<[u8; 16], Domain>> {
    let mut domains = BTreeMap::new();
    for domain in names(folder, "domains")? {
        let id = array_from_hex::<16>(&domain).within("domains")?;
        let mut objects = Vec::new();
        for epoch in names(folder, &format!("domains/{domain}"))? {
            let name = format!("domains/{domain}/{epoch}");
            let number = u32::from_be_bytes(array_from_hex(&epoch).within(&name)?);
            let bytes = object(folder, &name)?;
            objects.push((name, number, bytes));
        }
        domains.insert(id, Domain::open(repository, id, &slot.master, &objects)?);
    }
    Ok(domains)
}

fn read_index(folder: &Path, first: &Domain) -> Read<Index> {
    let mut index = Index::default();
    for run in names(folder, "index")? {
        let name = format!("index/{run}");
        let Some((level, id)) = run.split_once('-') else { return refuse(format!("{name}: no name")) };
        array_from_hex::<1>(level).within(&name)?;
        array_from_hex::<16>(id).within(&name)?;
        let payload = open(Kind::Index, &name, Seal::Domain(first), &object(folder, &name)?)?;
        index.add(&payload).within(&name)?;
    }
    Ok(index)
}

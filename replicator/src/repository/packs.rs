//! Packs on the store: `packs/<first two digits>/<id>`.
//!
//! A pack id is random and belongs to one sequence of bytes for good, so storing a pack again, after a
//! crash or a lost reply, stores the same bytes. A [`DurablePack`] can only be had from a store that has
//! just taken the pack, or says that it has it whole: it is the evidence that publishing asks for. It names
//! the store, because a pack that one target has may be missing on another.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use tidegate_chunker::{
    DomainId, ErrorKind as SealErrorKind, PACK_TAIL_BYTES, PackFooter, PackId, PackIndex, PackTail,
};

use super::envelope::unreadable;
use super::error::{RepositoryError, Result};
use super::names;
use super::open::{Opened, Repository};
use crate::store::{Body, ErrorKind, ObjectInfo, ObjectName, PutMode, StorageClass, StoreError};

/// Greatest length of the end of a pack that is fetched for its index, in bytes.
const TAIL_BYTES_MAX: u64 = 64 << 20;

/// Evidence that a store holds a pack.
#[derive(Debug, PartialEq, Eq)]
pub struct DurablePack {
    id: PackId,
    bytes: u64,
    store: String,
}

impl DurablePack {
    /// Which pack.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Evidence for all packs of one commit on one store.
#[derive(Debug, Default)]
pub struct DurablePacks(BTreeMap<PackId, DurablePack>);

impl DurablePacks {
    /// A commit that needed no new packs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pack.
    pub fn add(&mut self, pack: DurablePack) {
        self.0.insert(pack.id, pack);
    }

    /// Whether a pack is among them.
    pub fn contains(&self, pack: PackId) -> bool {
        self.0.contains_key(&pack)
    }

    /// Their ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = PackId> + '_ {
        self.0.keys().copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their lengths together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.values().map(|pack| pack.bytes).sum()
    }

    /// A pack of which only another store than the one of this address is known to have it.
    pub(super) fn elsewhere(&self, address: &str) -> Option<&DurablePack> {
        self.0.values().find(|pack| pack.store != address)
    }
}

/// What a listing tells of a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackObject {
    /// Which.
    pub id: PackId,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was stored or came to its storage class, by the store's clock.
    pub modified: SystemTime,
    /// Its storage class; none for the one that objects have without a word.
    pub class: Option<StorageClass>,
}

impl PackObject {
    fn of(object: &ObjectInfo) -> Result<Self> {
        let ObjectInfo { name, bytes, modified, class } = object;
        Ok(Self { id: pack_id(name)?, bytes: *bytes, modified: *modified, class: class.clone() })
    }
}

impl FromIterator<DurablePack> for DurablePacks {
    fn from_iter<I: IntoIterator<Item = DurablePack>>(packs: I) -> Self {
        Self(packs.into_iter().map(|pack| (pack.id, pack)).collect())
    }
}

impl Repository<Opened> {
    /// Stores a finished and synced pack. May be repeated with the same bytes.
    pub async fn put_pack(&self, id: PackId, body: Body) -> Result<DurablePack> {
        let bytes = body.len();
        self.give_new_epochs().await?;
        self.store.put(&names::pack(id), body, PutMode::Overwrite).await?;
        Ok(self.durable(id, bytes))
    }

    /// Asks whether the store already has a pack of this length; `None` if it has no such pack.
    pub async fn confirm_pack(&self, id: PackId, bytes: u64) -> Result<Option<DurablePack>> {
        let name = names::pack(id);
        match self.store.head(&name).await {
            Ok(info) if info.bytes == bytes => Ok(Some(self.durable(id, bytes))),
            Ok(info) => {
                let why = format!("it has {} bytes instead of {bytes}: store it again", info.bytes);
                Err(RepositoryError::damaged(&name, why))
            }
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A pack that is on the store now, of whatever length; `None` if there is none.
    pub(crate) async fn find_pack(&self, id: PackId) -> Result<Option<DurablePack>> {
        match self.store.head(&names::pack(id)).await {
            Ok(info) => Ok(Some(self.durable(id, info.bytes))),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads bytes of a pack. They are verified by nobody yet.
    pub async fn read_pack(&self, id: PackId, range: Range<u64>) -> Result<Bytes> {
        let name = names::pack(id);
        self.store.get(&name, Some(range)).await.map_err(|error| gone_or_damaged(&name, error))
    }

    /// Reads the index of a pack from its end, and tells its domain.
    pub async fn pack_index(&self, id: PackId) -> Result<(DomainId, PackIndex)> {
        let name = names::pack(id);
        let (mut tail, length) = self.pack_tail(&name, PACK_TAIL_BYTES).await?;
        let mut learned = false;
        if PackFooter::from_tail(id, &tail).is_ok_and(|footer| footer.pack_bytes() != length) {
            let why = format!("it has {length} bytes, which is not what its end says");
            return Err(RepositoryError::damaged(&name, why));
        }
        loop {
            let opened = match self.open_tail(id, &tail) {
                // Perhaps another gateway has sealed it under keys that it has just made.
                Err(_) if !learned && self.learn_epochs().await? => {
                    learned = true;
                    self.open_tail(id, &tail)
                }
                opened => opened,
            };
            match opened? {
                (domain, PackTail::Index(index)) => return Ok((domain, index)),
                (_, PackTail::NeedsBytes(bytes)) if bytes > tail.len() as u64 && bytes <= TAIL_BYTES_MAX => {
                    (tail, _) = self.pack_tail(&name, bytes).await?;
                    if (tail.len() as u64) < bytes {
                        return Err(RepositoryError::damaged(&name, "it is shorter than its own index"));
                    }
                }
                (_, PackTail::NeedsBytes(_)) => {
                    return Err(RepositoryError::damaged(
                        &name,
                        "its footer states an index of impossible length",
                    ));
                }
            }
        }
    }

    /// One page of the packs on the store, in order of id; `after` is the last one of the page before.
    pub async fn list_packs(&self, after: Option<PackId>, limit: usize) -> Result<(Vec<PackId>, bool)> {
        let (packs, more) = self.list_pack_objects(after, limit).await?;
        Ok((packs.into_iter().map(|pack| pack.id).collect(), more))
    }

    /// As [`Repository::list_packs`], each with what the listing tells of it.
    pub async fn list_pack_objects(
        &self,
        after: Option<PackId>,
        limit: usize,
    ) -> Result<(Vec<PackObject>, bool)> {
        let after = after.map(names::pack);
        let page = self.store.list(names::PACKS, after.as_ref(), limit).await?;
        let packs = page.objects.iter().map(PackObject::of).collect::<Result<_>>()?;
        Ok((packs, page.more))
    }

    /// When a pack was stored, by the store's clock; `None` if there is no such pack.
    pub async fn pack_modified(&self, id: PackId) -> Result<Option<SystemTime>> {
        match self.store.head(&names::pack(id)).await {
            Ok(info) => Ok(Some(info.modified)),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn durable(&self, id: PackId, bytes: u64) -> DurablePack {
        DurablePack { id, bytes, store: self.store.address() }
    }

    /// The end of a pack, and the length of all of it.
    async fn pack_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64)> {
        self.store.get_tail(name, bytes).await.map_err(|error| gone_or_damaged(name, error))
    }

    /// Opens the tail with the keys of the domain that it authenticates under. The footer is in the clear, so
    /// any domain's keys tell how much of the end is needed.
    fn open_tail(&self, id: PackId, tail: &[u8]) -> Result<(DomainId, PackTail)> {
        let name = names::pack(id);
        let mut failure = RepositoryError::damaged(&name, "the repository has no domain");
        for (domain, known) in self.loaded().iter() {
            match PackIndex::from_tail(&known.keys, id, tail) {
                Ok(opened) => return Ok((*domain, opened)),
                Err(error) => {
                    let other_domain =
                        matches!(error.kind(), SealErrorKind::NotAuthentic | SealErrorKind::UnknownEpoch);
                    failure = unreadable(&name, error);
                    if !other_domain {
                        break;
                    }
                }
            }
        }
        Err(failure)
    }
}

fn gone_or_damaged(name: &ObjectName, error: StoreError) -> RepositoryError {
    match error.kind() {
        ErrorKind::Missing => RepositoryError::Missing { object: name.to_string() },
        ErrorKind::Damaged => RepositoryError::damaged(name, "the store says that it is not what was stored"),
        ErrorKind::Invalid => RepositoryError::damaged(name, "it is shorter than what refers to it says"),
        ErrorKind::Exists
        | ErrorKind::Denied
        | ErrorKind::Misconfigured
        | ErrorKind::Full
        | ErrorKind::Held
        | ErrorKind::Asleep
        | ErrorKind::Transient => error.into(),
    }
}

fn pack_id(name: &ObjectName) -> Result<PackId> {
    PackId::from_hex(names::last_segment(name))
        .filter(|id| names::pack(*id) == *name)
        .ok_or_else(|| RepositoryError::damaged(name, "no pack has such a name"))
}

//! A share made by hand: a map entry by entry, its chunks in packs, a head over it; so that tests have
//! what no gateway would make.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream;
use tidegate_chunker::{
    ChunkId, ChunkKind, ChunkParams, DomainKeys, Location, PackId, PackOptions, PackWriter, SecretKey,
    ShareId,
};
use tidegate_replicator::frozen::{DomainReader, Frozen};
use tidegate_replicator::map::{
    Cookie, Device, Entry, Extent, Inode, InodeNumber, Key, Kind, Source, Times, Timestamp,
};
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Claimant, CommitStatistics, DurablePack, DurablePacks, Head, HeadName, Heat,
    Incarnation, IndexEntry, KeptHead, KeyFile, Leadership, LineTotals, NewRepository, NewSnapshot, Opened,
    PlanId, Published, Repository, RepositoryError, ShareDescription, SlotKey, SnapshotId, Usage, UtcNanos,
};
use tidegate_replicator::restore::RestoreSource;
use tidegate_replicator::store::{Body, MemoryStore, Store};
use tidegate_replicator::tree::{ChunkRef, Edit, NodeKind, NodeSink, Root, TreeError, Value, apply};

pub(crate) const SHARE: ShareId = ShareId::new([0x5a; 16]);
pub(crate) const ROOT: InodeNumber = InodeNumber::ROOT;
/// Length of the chunks of a file.
pub(crate) const CHUNK_BYTES: usize = 40_000;

pub(crate) fn quick_key() -> SlotKey {
    let digits = "07".repeat(SecretKey::LEN);
    let sum = crc32c::crc32c(&[7; SecretKey::LEN]);
    SlotKey::KeyFile(
        KeyFile::from_text(&format!("tidegate-key-1-{digits}-{sum:08x}"), "a test's key").unwrap(),
    )
}

/// Bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(next).collect()
}

/// A share that grows, and its repository.
pub(crate) struct Share {
    pub(crate) store: MemoryStore,
    pub(crate) repository: Arc<Repository<Opened>>,
    pub(crate) inodes: BTreeMap<InodeNumber, Inode>,
    /// Entries of the map besides attributes, as they will stand.
    pub(crate) map: BTreeMap<Vec<u8>, Value>,
    keys: Arc<DomainKeys>,
    chunks: Vec<(ChunkId, Vec<u8>)>,
    next: u64,
    packs: u8,
    leadership: Option<Leadership>,
    parent: Option<HeadName>,
    /// What the next head says of plans and of the line.
    pub(crate) plans_honoured: Vec<PlanId>,
    pub(crate) kept: Vec<KeptHead>,
    /// When the newest head was published.
    now: UtcNanos,
}

impl Share {
    pub(crate) async fn new() -> Self {
        Self::on(MemoryStore::new()).await
    }

    /// A share on a store that is empty.
    pub(crate) async fn on(store: MemoryStore) -> Self {
        let new = NewRepository {
            chunks: ChunkParams::default(),
            slot_label: "first".into(),
            domain_label: "default".into(),
            created_at: UtcNanos::new(1),
        };
        let repository = Repository::init(Arc::new(store.clone()), &new, &quick_key()).await.unwrap();
        let keys = repository.domain_keys(repository.default_domain()).unwrap();
        let inodes = BTreeMap::from([(ROOT, inode(Kind::Directory, 0o755))]);
        Self {
            store,
            repository: Arc::new(repository),
            inodes,
            map: BTreeMap::new(),
            keys,
            chunks: Vec::new(),
            next: 2,
            packs: 0,
            leadership: None,
            parent: None,
            plans_honoured: Vec::new(),
            kept: Vec::new(),
            now: UtcNanos::new(0),
        }
    }

    /// A further name for an inode.
    pub(crate) fn name(&mut self, folder: InodeNumber, name: &[u8], number: InodeNumber) {
        let kind = self.inodes[&number].kind;
        let parent = self.inodes.get_mut(&folder).unwrap();
        let cookie = parent.next_cookie;
        parent.next_cookie += 1;
        parent.entries += 1;
        parent.links += u32::from(kind == Kind::Directory);
        let name = Bytes::copy_from_slice(name);
        let entry = Entry { inode: number, kind, cookie };
        self.map.insert(Key::Entry(folder, name.clone()).encode(), Value::plain(entry.encode()));
        let by_cookie = Cookie { inode: number, kind, name };
        self.map.insert(Key::Cookie(folder, cookie).encode(), Value::plain(by_cookie.encode()));
        let inode = self.inodes.get_mut(&number).unwrap();
        inode.parent = folder;
        inode.links += u32::from(kind != Kind::Directory);
    }

    pub(crate) fn make(&mut self, folder: InodeNumber, name: &[u8], kind: Kind, mode: u16) -> InodeNumber {
        let number = InodeNumber(self.next);
        self.next += 1;
        self.inodes.insert(number, inode(kind, mode));
        self.name(folder, name, number);
        number
    }

    pub(crate) fn folder(&mut self, folder: InodeNumber, name: &[u8]) -> InodeNumber {
        self.make(folder, name, Kind::Directory, 0o755)
    }

    /// A file whose data begins at its beginning.
    pub(crate) fn file(&mut self, folder: InodeNumber, name: &[u8], data: &[u8]) -> InodeNumber {
        let number = self.make(folder, name, Kind::Regular, 0o644);
        self.write(number, 0, data);
        number
    }

    /// A file of one chunk that lies in the repository already.
    pub(crate) fn file_at(
        &mut self,
        folder: InodeNumber,
        name: &[u8],
        data: &[u8],
        at: Location,
    ) -> InodeNumber {
        let number = self.make(folder, name, Kind::Regular, 0o644);
        let (end, id) = (data.len() as u64, self.keys.chunk_id(data));
        let inode = self.inodes.get_mut(&number).unwrap();
        (inode.size, inode.used) = (end, end);
        let chunk = ChunkRef { id, at: Some(at) };
        let source = Source::Chunk { chunk, chunk_bytes: data.len() as u32, offset: 0 };
        self.map.insert(Key::Extent(number, end).encode(), Extent { start: 0, end, source }.to_value());
        number
    }

    /// How many packs it has stored.
    pub(crate) fn packs_made(&self) -> u8 {
        self.packs
    }

    /// Takes away a file whose name nobody knows any more.
    pub(crate) fn remove_file(&mut self, folder: InodeNumber, number: InodeNumber) {
        let is_of = |value: &Value| Entry::decode(&value.payload).is_ok_and(|entry| entry.inode == number);
        let names = self.map.iter().filter_map(|(key, value)| match Key::decode(key) {
            Ok(Key::Entry(of, name)) if of == folder && is_of(value) => Some(name),
            _ => None,
        });
        let name = names.last().unwrap();
        self.remove(folder, &name, number);
    }

    /// Gives a file data where it has none.
    pub(crate) fn write(&mut self, file: InodeNumber, offset: u64, data: &[u8]) {
        let inode = self.inodes.get_mut(&file).unwrap();
        inode.size = inode.size.max(offset + data.len() as u64);
        inode.used += data.len() as u64;
        let mut start = offset;
        for piece in data.chunks(CHUNK_BYTES) {
            let id = self.keys.chunk_id(piece);
            if !self.chunks.iter().any(|(known, _)| *known == id) {
                self.chunks.push((id, piece.to_vec()));
            }
            let end = start + piece.len() as u64;
            let chunk_bytes = piece.len() as u32;
            let source = Source::Chunk { chunk: ChunkRef::new(id), chunk_bytes, offset: 0 };
            self.map.insert(Key::Extent(file, end).encode(), Extent { start, end, source }.to_value());
            start = end;
        }
    }

    /// Takes away a file with one name.
    pub(crate) fn remove(&mut self, folder: InodeNumber, name: &[u8], number: InodeNumber) {
        let entry = self.map.remove(&Key::Entry(folder, Bytes::copy_from_slice(name)).encode()).unwrap();
        let cookie = Entry::decode(&entry.payload).unwrap().cookie;
        self.map.remove(&Key::Cookie(folder, cookie).encode());
        let inode = self.inodes.remove(&number).unwrap();
        self.map.remove(&Key::Extent(number, inode.size).encode());
        self.inodes.get_mut(&folder).unwrap().entries -= 1;
    }

    pub(crate) fn extended(&mut self, number: InodeNumber, name: &[u8], value: &[u8]) {
        let key = Key::ExtendedAttribute(number, Bytes::copy_from_slice(name));
        self.map.insert(key.encode(), Value::plain(value.to_vec()));
    }

    pub(crate) fn edit(&mut self, number: InodeNumber, edit: impl FnOnce(&mut Inode)) {
        edit(self.inodes.get_mut(&number).unwrap());
    }

    /// Stores chunks and tree, and gives the root. Every call makes packs of its own.
    pub(crate) async fn freeze(&mut self) -> Root {
        let mut pushed = Vec::new();
        let placed = {
            let chunks = std::mem::take(&mut self.chunks);
            self.store_pack(chunks.iter().map(|(id, data)| (ChunkKind::Data, *id, &data[..])), &mut pushed)
                .await
        };
        let mut map = self.map.clone();
        for (number, inode) in &self.inodes {
            map.insert(Key::Attributes(*number).encode(), Value::plain(inode.encode()));
        }
        for value in map.values_mut().chain(self.map.values_mut()) {
            for reference in &mut value.refs {
                reference.at = reference.at.or(placed.get(&reference.id).copied());
            }
        }
        let mut sink = Sink::default();
        let edits: Vec<_> = map.into_iter().map(|(key, value)| Ok(Edit::Put(key.into(), value))).collect();
        let reader = self.reader();
        let root = apply(&Root::EMPTY, &[], stream::iter(edits), &*reader.nodes, &mut sink, &*self.keys)
            .await
            .unwrap();
        let nodes: Vec<_> = sink.settled.into_iter().chain(sink.new).collect();
        let kinds = |kind| match kind {
            NodeKind::Node => ChunkKind::Node,
            NodeKind::Value => ChunkKind::Value,
        };
        let placed = self
            .store_pack(nodes.iter().map(|(kind, id, data)| (kinds(*kind), *id, &data[..])), &mut pushed)
            .await;
        let packs = DurablePacks::from_iter(pushed);
        let domain = self.repository.default_domain();
        let mut entries = Vec::new();
        for pack in self.repository.list_packs(None, 100).await.unwrap().0 {
            if packs.contains(pack) {
                let (_, index) = self.repository.pack_index(pack).await.unwrap();
                entries.extend(index.chunks().map(|placed| IndexEntry::new(domain, placed)));
            }
        }
        self.repository.write_index([Ok::<_, RepositoryError>(entries)], &packs).await.unwrap();
        Root { at: placed.get(&root.id).copied(), ..root }
    }

    /// Freezes and publishes.
    pub(crate) async fn publish(&mut self) -> (HeadName, Head) {
        let root = self.freeze().await;
        // Two hours after the one before.
        self.now = UtcNanos::new(self.now.as_nanos() + 2 * 3_600_000_000_000);
        let leadership = match self.leadership.take() {
            Some(leadership) => leadership,
            None => lead(&self.repository).await,
        };
        let description = ShareDescription {
            id: SHARE,
            name: "documents".into(),
            domain: self.repository.default_domain(),
        };
        let head = Head {
            share: description,
            epoch: leadership.epoch(),
            sequence: leadership.next_sequence(self.parent.as_ref()),
            parent: self.parent,
            root,
            frozen_at: self.now,
            published_at: self.now,
            incarnation: Incarnation::new([4; 8]),
            handover: None,
            keep_handles: None,
            next_inode: u64::MAX,
            journal_sequence: 6,
            plans_honoured: self.plans_honoured.clone(),
            kept: self.kept.clone(),
            passed: Vec::new(),
            turns: Head::turns_after(self.parent, None, leadership.epoch()),
            settings: serde_json::json!({}),
            usage: Usage::default(),
            heat: Heat::default(),
            heat_in: None,
            totals: LineTotals::default(),
            statistics: CommitStatistics::default(),
        };
        let prepared = self.repository.prepare_head(&leadership, &head).unwrap();
        let durable = self
            .repository
            .write_index([Ok::<_, RepositoryError>(Vec::new())], &DurablePacks::new())
            .await
            .unwrap();
        match self.repository.publish(leadership, &prepared, &durable).await {
            Published::Done(leadership) => self.leadership = Some(leadership),
            other => panic!("not published: {other:?}"),
        }
        self.parent = Some(prepared.name());
        (prepared.name(), head)
    }

    pub(crate) async fn snapshot(&self, of: &(HeadName, Head)) -> SnapshotId {
        let new = NewSnapshot { label: "kept".into(), ..NewSnapshot::default() };
        self.repository.create_snapshot((of.0, &of.1), new, self.now).await.unwrap()
    }

    pub(crate) fn reader(&self) -> DomainReader {
        DomainReader::open(&self.repository, self.repository.default_domain(), 64 << 20).unwrap()
    }

    /// The frozen share, read anew.
    pub(crate) fn frozen(&self, root: &Root) -> Frozen {
        self.reader().frozen(root)
    }

    pub(crate) fn source(&self, root: &Root, path: &[&str]) -> RestoreSource {
        RestoreSource {
            frozen: self.frozen(root),
            repository: self.repository.id().to_string(),
            share: SHARE.to_string(),
            path: path.iter().map(|name| name.as_bytes().to_vec()).collect(),
        }
    }

    pub(crate) fn id_of(&self, data: &[u8]) -> ChunkId {
        self.keys.chunk_id(data)
    }

    /// Where the chunk of these bytes lies.
    pub(crate) fn place_of(&self, data: &[u8]) -> Location {
        let id = self.keys.chunk_id(data);
        let mut references = self.map.values().flat_map(|value| &value.refs);
        references.find(|reference| reference.id == id).and_then(|reference| reference.at).unwrap()
    }

    /// Flips a bit in the middle of the frame at a location.
    pub(crate) async fn spoil(&self, at: &Location) {
        let name = tidegate_replicator::repository::pack_name(at.pack);
        let mut bytes = self.store.get(&name, None).await.unwrap().to_vec();
        bytes[(at.frame_offset + at.frame_bytes / 2) as usize] ^= 4;
        self.store.damage(&name, bytes.into());
    }

    /// One pack, one frame a chunk; nothing for no chunks.
    async fn store_pack<'a>(
        &mut self,
        chunks: impl Iterator<Item = (ChunkKind, ChunkId, &'a [u8])>,
        pushed: &mut Vec<DurablePack>,
    ) -> HashMap<ChunkId, Location> {
        self.packs += 1;
        let id = PackId::new([self.packs; 32]);
        let mut writer = PackWriter::create(Vec::new(), &self.keys, id, PackOptions::default()).unwrap();
        let mut any = false;
        for (kind, id, data) in chunks {
            writer.push(kind, id, data).unwrap();
            writer.flush().unwrap();
            any = true;
        }
        if !any {
            return HashMap::new();
        }
        let (bytes, summary) = writer.finish().unwrap();
        pushed.push(self.repository.put_pack(id, Body::Bytes(bytes.into())).await.unwrap());
        summary.index.chunks().map(|placed| (placed.id, placed.location)).collect()
    }
}

async fn lead(repository: &Repository<Opened>) -> Leadership {
    let state = repository.lease(SHARE).await.unwrap();
    let claimant = Claimant { host: "host".into(), instance: "test".into() };
    let options = ClaimOptions::new(claimant, UtcNanos::new(1), std::time::Duration::ZERO).unwrap();
    match repository.claim(&state, &options).await.unwrap() {
        ClaimOutcome::Leading(leadership) => leadership,
        ClaimOutcome::Lost { to } => panic!("lost to {to}"),
    }
}

/// Attributes that nothing in a test's environment has by accident.
fn inode(kind: Kind, mode: u16) -> Inode {
    let time = |seconds| Timestamp { seconds, nanos: 123_456_789 };
    Inode {
        kind,
        mode,
        locked: false,
        links: if kind == Kind::Directory { 2 } else { 0 },
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        size: 0,
        used: 0,
        device: Device::default(),
        generation: 1,
        change: 1,
        times: Times { accessed: time(1_000_000), modified: time(2_000_000), ..Times::default() },
        parent: ROOT,
        next_cookie: if kind == Kind::Directory { Entry::COOKIE_FIRST } else { 0 },
        entries: 0,
        create_verifier: None,
        target: Bytes::new(),
    }
}

/// Keeps nodes; tells no places, so that readers go by the index.
#[derive(Default)]
struct Sink {
    new: Vec<(NodeKind, ChunkId, Bytes)>,
    settled: Vec<(NodeKind, ChunkId, Bytes)>,
}

#[async_trait]
impl NodeSink for Sink {
    async fn put(&mut self, kind: NodeKind, id: ChunkId, encoded: Bytes) -> Result<(), TreeError> {
        self.new.push((kind, id, encoded));
        Ok(())
    }

    async fn settle(&mut self) -> Result<HashMap<ChunkId, Location>, TreeError> {
        self.settled.append(&mut self.new);
        Ok(HashMap::new())
    }
}

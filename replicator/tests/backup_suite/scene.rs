//! Packs, what is known of them, and a line of roots over a model; a root is read back into a model's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use tidegate_chunker::{
    ChunkId, ChunkParams, DomainId, DomainKeys, FrameTarget, Location, RepositoryId, SealEpoch, SecretKey,
};
use tidegate_replicator::backup::{BackupError, Base, Observer, Options, Outcome, Tools, back_up};
use tidegate_replicator::fetch::{ChunkReader, FetchError, LocalFrames, Locate, ReadOptions, TreeReader};
use tidegate_replicator::frozen::Frozen;
use tidegate_replicator::ingest::{FinishedPack, FinishedPacks, IngestOptions, Known};
use tidegate_replicator::map::{Cookie, Entry, Extent, Inode, InodeNumber, Key, Kind, Source as At};
use tidegate_replicator::repository::Usage;
use tidegate_replicator::tree::{Cursor, Root};

use super::model::{File, Model};

/// Learns packs until it has learned enough, then fails; forgets nothing.
pub(crate) struct Packs {
    packs: FinishedPacks,
    left: AtomicI64,
}

impl Known for Packs {
    fn find(&self, id: &ChunkId) -> Option<Location> {
        self.packs.find(id)
    }

    fn learn(&self, pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.left.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err("the disk is gone".into());
        }
        self.packs.learn(pack)
    }
}

struct InPacks(Arc<Packs>);

#[async_trait]
impl Locate for InPacks {
    async fn locate(&self, id: &ChunkId) -> Result<Option<Location>, FetchError> {
        Ok(self.0.find(id))
    }
}

/// Cancels after so many looks.
pub(crate) struct Patience(pub(crate) AtomicI64);

impl Patience {
    pub(crate) fn endless() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Observer for Patience {
    fn is_cancelled(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) <= 0
    }
}

/// See the head of this file.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    keys: Arc<DomainKeys>,
    packs: Arc<Packs>,
    frozen: Frozen,
    pub(crate) base: Base,
    pub(crate) memory_bytes: usize,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seals = vec![(SealEpoch(1), SecretKey::new([4; 32]))];
        let root = SecretKey::new([3; 32]);
        let keys = DomainKeys::new(RepositoryId::new([1; 16]), DomainId::new([2; 16]), &root, seals);
        let keys = Arc::new(keys.unwrap());
        let packs = Arc::new(Packs { packs: FinishedPacks::default(), left: AtomicI64::new(i64::MAX) });
        let frames = Arc::new(LocalFrames::new(folder.path().to_path_buf()));
        let locate = Arc::new(InPacks(packs.clone()));
        let chunks = Arc::new(ChunkReader::new(keys.clone(), frames, locate, ReadOptions::default()));
        let nodes = Arc::new(TreeReader::new(chunks.clone(), 16 << 20));
        let frozen = Frozen { root: Root::EMPTY, nodes, chunks };
        let base = Base { frozen: frozen.clone(), usage: Usage::default(), next_inode: 2 };
        Self { folder, keys, packs, frozen, base, memory_bytes: 4 << 10 }
    }

    /// Lets so many packs be made from now on.
    pub(crate) fn allow_packs(&self, packs: i64) {
        self.packs.left.store(packs, Ordering::Relaxed);
    }

    /// One run; its root is the base of the next.
    pub(crate) async fn run(&mut self, model: &mut Model, options: Options) -> Result<Outcome, BackupError> {
        let outcome = self.try_run(model, options, Patience::endless()).await?;
        self.base =
            Base { frozen: self.at(outcome.root), usage: outcome.usage, next_inode: outcome.next_inode };
        Ok(outcome)
    }

    /// One run that is cut at some point.
    pub(crate) async fn try_run(
        &self,
        model: &mut Model,
        options: Options,
        patience: Patience,
    ) -> Result<Outcome, BackupError> {
        let ingest = IngestOptions {
            workers: 1,
            frame_target: FrameTarget::new(16 << 10).unwrap(),
            pack_bytes_target: 64 << 10,
            ..IngestOptions::new(self.folder.path().to_path_buf())
        };
        let (keys, known, base) = (self.keys.clone(), self.packs.clone(), self.base.clone());
        let (scratch, memory_bytes_max) = (self.folder.path().to_path_buf(), self.memory_bytes);
        let mut source = model.clone();
        let runtime = tokio::runtime::Handle::current();
        let (source, outcome) = tokio::task::spawn_blocking(move || {
            let params = ChunkParams::new(256, 1024, 4096).unwrap();
            let tools = Tools {
                keys,
                params,
                known,
                ingest,
                scratch,
                memory_bytes_max,
                runtime,
                observer: &patience,
            };
            let outcome = back_up(&mut source, &base, &tools, options);
            (source, outcome)
        })
        .await
        .unwrap();
        *model = source;
        outcome
    }

    fn at(&self, root: Root) -> Frozen {
        Frozen { root, ..self.frozen.clone() }
    }

    /// Reads a root whole, holds it against the rules of maps, and gives its names and files by number.
    pub(crate) async fn read(&self, outcome: &Outcome) -> (BTreeMap<Vec<u8>, u64>, BTreeMap<u64, File>) {
        let frozen = self.at(outcome.root);
        let mut cursor = Cursor::new(&frozen.root, frozen.nodes.clone());
        let mut inodes: BTreeMap<u64, Inode> = BTreeMap::new();
        let mut by_name: BTreeMap<(u64, Vec<u8>), Entry> = BTreeMap::new();
        let mut by_cookie: BTreeSet<(u64, Vec<u8>, u64, u64)> = BTreeSet::new();
        let mut files: BTreeMap<u64, File> = BTreeMap::new();
        let mut data_end = 0;
        while let Some((key, value)) = cursor.next().await.unwrap() {
            let key = Key::decode(&key).unwrap();
            let number = key.inode().0;
            match key {
                Key::Attributes(_) => {
                    let inode = Inode::decode(&value.payload).unwrap();
                    let file = file_of(&inode);
                    data_end = 0;
                    inodes.insert(number, inode);
                    files.insert(number, file);
                }
                Key::Entry(_, name) => {
                    by_name.insert((number, name.to_vec()), Entry::decode(&value.payload).unwrap());
                }
                Key::Cookie(_, cookie) => {
                    let entry = Cookie::decode(&value.payload).unwrap();
                    by_cookie.insert((number, entry.name.to_vec(), cookie, entry.inode.0));
                }
                Key::Extent(_, end) => {
                    let extent = Extent::from_value(end, &value).unwrap();
                    assert!(extent.start >= data_end && extent.end <= inodes[&number].size);
                    data_end = extent.end;
                    let At::Chunk { chunk, .. } = &extent.source else { panic!("a piece of a journal") };
                    assert!(chunk.at.is_some(), "every new chunk has its place");
                    let bytes = frozen.chunk(chunk).await.unwrap();
                    files.get_mut(&number).unwrap().data.insert(extent.start, bytes.to_vec());
                }
                Key::ExtendedAttribute(_, name) => {
                    let file = files.get_mut(&number).unwrap();
                    file.extended.insert(name.to_vec(), value.payload.to_vec());
                }
                other => panic!("{other:?} is no key of a backup"),
            }
        }
        let entries: BTreeSet<_> = by_name
            .iter()
            .map(|((folder, name), entry)| (*folder, name.clone(), entry.cookie, entry.inode.0))
            .collect();
        assert_eq!(entries, by_cookie, "entries by name and by cookie agree");
        check_counts(&inodes, &by_name, outcome);
        (names_of(&by_name, &inodes), files)
    }
}

fn file_of(inode: &Inode) -> File {
    File {
        kind: inode.kind,
        mode: inode.mode,
        owner: inode.uid,
        changed: inode.times.modified.seconds,
        size: if inode.kind == Kind::Regular { inode.size } else { 0 },
        target: inode.target.to_vec(),
        device: inode.device.major,
        ..File::new(inode.kind, 0)
    }
}

fn check_counts(inodes: &BTreeMap<u64, Inode>, by_name: &BTreeMap<(u64, Vec<u8>), Entry>, outcome: &Outcome) {
    for (number, inode) in inodes {
        let here: Vec<_> = by_name.iter().filter(|((folder, _), _)| folder == number).collect();
        let leading: Vec<_> = by_name.iter().filter(|(_, entry)| entry.inode.0 == *number).collect();
        assert!(leading.iter().all(|(_, entry)| entry.kind == inode.kind));
        if inode.kind == Kind::Directory {
            let folders = here.iter().filter(|(_, entry)| entry.kind == Kind::Directory).count();
            assert_eq!((inode.entries, inode.links as usize), (here.len() as u64, folders + 2));
            assert!(here.iter().all(|(_, entry)| (3..inode.next_cookie).contains(&entry.cookie)));
            assert_eq!(leading.len(), usize::from(*number != 1));
            assert!(leading.iter().all(|((folder, _), _)| *folder == inode.parent.0));
        } else {
            assert_eq!((here.len(), leading.len()), (0, inode.links as usize), "inode {number}");
        }
        assert!(*number < outcome.next_inode);
    }
    assert!(by_name.values().all(|entry| inodes.contains_key(&entry.inode.0)));
    let used: u64 = inodes.values().map(|inode| inode.used).sum();
    assert_eq!((outcome.usage.bytes, outcome.usage.inodes), (used, inodes.len() as u64));
}

fn names_of(
    by_name: &BTreeMap<(u64, Vec<u8>), Entry>,
    inodes: &BTreeMap<u64, Inode>,
) -> BTreeMap<Vec<u8>, u64> {
    let mut names = BTreeMap::new();
    let mut folders = vec![(Vec::new(), InodeNumber::ROOT.0)];
    if inodes.contains_key(&1) {
        names.insert(Vec::new(), 1);
    }
    while let Some((path, number)) = folders.pop() {
        for ((_, name), entry) in by_name.range((number, Vec::new())..(number + 1, Vec::new())) {
            let path = if path.is_empty() { name.clone() } else { [&path[..], b"/", name].concat() };
            names.insert(path.clone(), entry.inode.0);
            if entry.kind == Kind::Directory {
                folders.push((path, entry.inode.0));
            }
        }
    }
    names
}

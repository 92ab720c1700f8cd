//! The files of a share, dumbly: a live map, and the frozen map that it becomes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_chunker::{ChunkId, DomainKeys, Location};

use crate::map::{Cookie, Device, Entry, Extent, Inode, InodeNumber, Key, Kind, Source, Times};
use crate::tree::{ChunkRef, Edit, Value};

/// Length of a block, which is a chunk, in bytes.
pub(super) const BLOCK_BYTES: usize = 300;

/// Blocks that do not compress; the same number gives the same block.
pub(super) fn block(number: u64) -> Bytes {
    let mut numbers = super::chance::Numbers::seeded(number.wrapping_mul(0x1234_5678_9abc_def1));
    (0..BLOCK_BYTES).map(|_| (numbers.next() >> 33) as u8).collect::<Vec<_>>().into()
}

/// A file: its blocks by number, and their chunks once they have left the journal.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct File {
    number: u64,
    cookie: u64,
    pub(super) blocks: Vec<u64>,
    pub(super) chunks: Option<Vec<ChunkRef>>,
}

/// The live map of a share.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Live {
    pub(super) files: BTreeMap<String, File>,
    next_inode: u64,
    next_cookie: u64,
}

/// A frozen share: the files, and the map over them.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub(super) live: Live,
    pub(super) map: BTreeMap<Vec<u8>, Value>,
}

impl Default for Live {
    fn default() -> Self {
        Self { files: BTreeMap::new(), next_inode: 2, next_cookie: Entry::COOKIE_FIRST }
    }
}

impl Live {
    /// A file by this name has these blocks from now on.
    pub(super) fn write(&mut self, name: &str, blocks: Vec<u64>) {
        let (number, cookie) = match self.files.get(name) {
            Some(file) => (file.number, file.cookie),
            None => {
                self.next_inode += 1;
                self.next_cookie += 1;
                (self.next_inode - 1, self.next_cookie - 1)
            }
        };
        self.files.insert(name.to_owned(), File { number, cookie, blocks, chunks: None });
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.files.remove(name);
    }

    /// Goes on from an older state, without giving a number out twice.
    pub(super) fn put_back_to(&mut self, old: &Self) {
        let (next_inode, next_cookie) =
            (self.next_inode.max(old.next_inode), self.next_cookie.max(old.next_cookie));
        *self = Self { next_inode, next_cookie, ..old.clone() };
    }

    /// What files hold.
    pub(super) fn data(&self) -> BTreeMap<&str, &[u64]> {
        self.files.iter().map(|(name, file)| (&name[..], &file.blocks[..])).collect()
    }

    /// Gives chunks to files that have none.
    pub(super) fn swap(&mut self, keys: &DomainKeys, place: impl Fn(&ChunkId) -> Option<Location>) {
        for file in self.files.values_mut().filter(|file| file.chunks.is_none()) {
            let chunk = |number: &u64| {
                let id = keys.chunk_id(&block(*number));
                ChunkRef { id, at: place(&id) }
            };
            file.chunks = Some(file.blocks.iter().map(chunk).collect());
        }
    }

    /// Takes over the chunks of files that are as they were when they were frozen.
    pub(super) fn take_chunks(&mut self, frozen: &Self) {
        for (name, file) in &mut self.files {
            if let Some(same) = frozen.files.get(name)
                && (same.number, &same.blocks) == (file.number, &file.blocks)
                && file.chunks.is_none()
            {
                file.chunks.clone_from(&same.chunks);
            }
        }
    }

    /// The map; every file must have chunks.
    pub(super) fn map(&self) -> BTreeMap<Vec<u8>, Value> {
        let mut map = BTreeMap::new();
        let root = InodeNumber::ROOT;
        let folder = Inode {
            next_cookie: self.next_cookie,
            entries: self.files.len() as u64,
            ..inode(Kind::Directory)
        };
        map.insert(Key::Attributes(root).encode(), Value::plain(folder.encode()));
        for (name, file) in &self.files {
            let (number, kind, cookie) = (InodeNumber(file.number), Kind::Regular, file.cookie);
            let name = Bytes::copy_from_slice(name.as_bytes());
            let entry = Entry { inode: number, kind, cookie };
            map.insert(Key::Entry(root, name.clone()).encode(), Value::plain(entry.encode()));
            let by_cookie = Cookie { inode: number, kind, name };
            map.insert(Key::Cookie(root, cookie).encode(), Value::plain(by_cookie.encode()));
            let size = (file.blocks.len() * BLOCK_BYTES) as u64;
            let attributes = Inode { size, used: size, ..inode(kind) };
            map.insert(Key::Attributes(number).encode(), Value::plain(attributes.encode()));
            let mut start = 0;
            for chunk in file.chunks.iter().flatten() {
                let end = start + BLOCK_BYTES as u64;
                let source = Source::Chunk { chunk: *chunk, chunk_bytes: BLOCK_BYTES as u32, offset: 0 };
                map.insert(Key::Extent(number, end).encode(), Extent { start, end, source }.to_value());
                start = end;
            }
        }
        map
    }
}

/// What turns one map into the other.
pub(super) fn edits(old: &BTreeMap<Vec<u8>, Value>, new: &BTreeMap<Vec<u8>, Value>) -> Vec<Edit> {
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| Edit::Delete(key.clone().into()));
    let is_new = |(key, value): &(&Vec<u8>, &Value)| old.get(*key).is_none_or(|old| !old.same_content(value));
    let come = new.iter().filter(is_new).map(|(key, value)| Edit::Put(key.clone().into(), value.clone()));
    let mut all: Vec<Edit> = gone.chain(come).collect();
    all.sort_by(|one, other| one.key().cmp(other.key()));
    all
}

fn inode(kind: Kind) -> Inode {
    let is_folder = kind == Kind::Directory;
    Inode {
        kind,
        mode: 0o755,
        locked: false,
        links: if is_folder { 2 } else { 1 },
        uid: 0,
        gid: 0,
        size: 0,
        used: 0,
        device: Device::default(),
        generation: 1,
        change: 1,
        times: Times::default(),
        parent: InodeNumber::ROOT,
        next_cookie: 0,
        entries: 0,
        create_verifier: None,
        target: Bytes::new(),
    }
}

/// The contents before anything was written.
pub(super) fn nothing() -> Arc<Contents> {
    Arc::new(Contents { live: Live::default(), map: BTreeMap::new() })
}

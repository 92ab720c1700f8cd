//! A share of any size, made without a gateway: its frozen tree is built straight by the code that commits use, uploaded,
//! and published.

#![allow(dead_code, unreachable_pub)] // each test uses a part of it
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use tidegate_chunker::ShareId;
use tidegate_replicator::ingest::{
    CutChunk, FinishedPack, FinishedPacks, Ingest, IngestOptions, TreeSink, random_pack_ids,
};
use tidegate_replicator::map::{
    Cookie, Device, Entry, Extent, Inode, InodeNumber, Key, Kind, Source, Times, Timestamp,
};
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Claimant, CommitStatistics, DurableCommit, DurablePacks, Head, HeadName,
    Heat, HotKind, HotPack, Incarnation, IndexEntry, LineTotals, Opened, Published, Repository,
    RepositoryError, ShareDescription, Usage, UtcNanos,
};
use tidegate_replicator::store::Body;
use tidegate_replicator::tree::{ChunkRef, Edit, Root, TreeError, Value, apply};

/// Files in each folder.
pub const FOLDER_FILES: u64 = 1_000;

/// What a share is made of.
#[derive(Clone, Debug)]
pub struct Grown {
    pub name: &'static str,
    pub id: ShareId,
    pub files: u64,
    /// Contents; files take them in turn.
    pub contents: Vec<Vec<u8>>,
    /// Size at which packs are closed.
    pub pack_bytes: u64,
}

/// What came of it.
pub struct Made {
    pub name: HeadName,
    pub head: Head,
    pub packs: Vec<FinishedPack>,
}

fn inode(kind: Kind, size: u64, entries: u64) -> Inode {
    let time = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    Inode {
        kind,
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        locked: false,
        links: if kind == Kind::Directory { 2 + entries as u32 } else { 1 },
        uid: 0,
        gid: 0,
        size,
        used: size,
        device: Device::default(),
        generation: 1,
        change: 1,
        times: Times { accessed: time, modified: time, ..Times::default() },
        parent: InodeNumber::ROOT,
        next_cookie: if kind == Kind::Directory { Entry::COOKIE_FIRST + entries } else { 0 },
        entries,
        create_verifier: None,
        target: Bytes::new(),
    }
}

pub fn folder_name(number: u64) -> String {
    format!("folder-{number:06}")
}

pub fn file_name(number: u64) -> String {
    format!("file-{number:09}")
}

/// The entries of a folder, as a listing and a look-up find them, in the order of keys.
fn folder(
    number: InodeNumber,
    names: impl Iterator<Item = (String, InodeNumber)> + Clone,
    kind: Kind,
) -> impl Iterator<Item = (Key, Value)> {
    let cookies = names.clone().enumerate().map(move |(place, (name, inode))| {
        let cookie = Cookie { inode, kind, name: name.into() };
        (Key::Cookie(number, Entry::COOKIE_FIRST + place as u64), Value::plain(cookie.encode()))
    });
    let entries = names.enumerate().map(move |(place, (name, inode))| {
        let entry = Entry { inode, kind, cookie: Entry::COOKIE_FIRST + place as u64 };
        (Key::Entry(number, name.into()), Value::plain(entry.encode()))
    });
    cookies.chain(entries)
}

/// The whole map, in the order of keys: the root, its folders, their files. Nothing of it is held.
fn entries(grown: &Grown, contents: Vec<Vec<(ChunkRef, u32)>>) -> impl Iterator<Item = (Key, Value)> + use<> {
    let (files, folders) = (grown.files, grown.files.div_ceil(FOLDER_FILES));
    let first_folder = 2;
    let first_file = first_folder + folders;
    let attributes =
        |number, inode: &Inode| std::iter::once((Key::Attributes(number), Value::plain(inode.encode())));
    let root = InodeNumber::ROOT;
    let names = (0..folders).map(move |at| (folder_name(at), InodeNumber(first_folder + at)));
    let top =
        attributes(root, &inode(Kind::Directory, 0, folders)).chain(folder(root, names, Kind::Directory));
    let below = (0..folders).flat_map(move |at| {
        let number = InodeNumber(first_folder + at);
        let range = at * FOLDER_FILES..files.min((at + 1) * FOLDER_FILES);
        let count = range.end - range.start;
        let names = range.map(move |file| (file_name(file), InodeNumber(first_file + file)));
        attributes(number, &inode(Kind::Directory, 0, count)).chain(folder(number, names, Kind::Regular))
    });
    let leaves = (0..files).flat_map(move |file| {
        let number = InodeNumber(first_file + file);
        let chunks = &contents[(file % contents.len() as u64) as usize];
        let mut extents = Vec::with_capacity(chunks.len());
        let mut start = 0;
        for (chunk, bytes) in chunks {
            let end = start + u64::from(*bytes);
            let source = Source::Chunk { chunk: *chunk, chunk_bytes: *bytes, offset: 0 };
            extents.push((Key::Extent(number, end), Extent { start, end, source }.to_value()));
            start = end;
        }
        attributes(number, &inode(Kind::Regular, start, 0)).chain(extents)
    });
    top.chain(below).chain(leaves)
}

/// Builds it, stores it and publishes its first head; `heat` says what is hot, given the packs of data.
pub async fn publish(
    repository: &Arc<Repository<Opened>>,
    scratch: &Path,
    grown: &Grown,
    heat: impl FnOnce(&[FinishedPack]) -> Heat,
) -> Made {
    let domain = repository.default_domain();
    let keys = repository.domain_keys(domain).unwrap();
    let known = Arc::new(FinishedPacks::default());
    let options =
        IngestOptions { pack_bytes_target: grown.pack_bytes, ..IngestOptions::new(scratch.to_path_buf()) };
    let start = || {
        let params = repository.config().chunks;
        Ingest::start(keys.clone(), params, known.clone(), random_pack_ids(), options.clone()).unwrap()
    };
    let mut ingest = start();
    let mut cut = Vec::new();
    for content in &grown.contents {
        cut.push(ingest.cut_data(&content[..]).unwrap());
    }
    ingest.settle().unwrap();
    let place = |chunk: &CutChunk| {
        let at = chunk.at.or_else(|| ingest.location(&chunk.id));
        (ChunkRef { id: chunk.id, at }, chunk.bytes)
    };
    let contents = cut.iter().map(|chunks| chunks.iter().map(place).collect()).collect();
    ingest.finish().unwrap();
    let data_packs = known.take();
    let mut sink = TreeSink::new(start());
    let edits = entries(grown, contents).map(|(key, value)| Ok(Edit::Put(key.encode().into(), value)));
    let root = apply(&Root::EMPTY, &[], stream::iter(edits), &Nothing, &mut sink, &*keys).await.unwrap();
    sink.into_ingest().await.unwrap().finish().unwrap();
    let heat = heat(&data_packs);
    let stored: u64 = data_packs.iter().map(|pack| pack.bytes).sum();
    let packs: Vec<_> = data_packs.into_iter().chain(known.take()).collect();
    let mut durable = DurablePacks::new();
    for pack in &packs {
        let body = Body::File { path: pack.path.clone(), bytes: pack.bytes };
        durable.add(repository.put_pack(pack.pack, body).await.unwrap());
        std::fs::remove_file(&pack.path).unwrap();
    }
    let groups = packs.iter().map(|pack| {
        Ok::<_, RepositoryError>(pack.index.chunks().map(|chunk| IndexEntry::new(domain, chunk)).collect())
    });
    let commit = repository.write_index(groups, &durable).await.unwrap();
    let (name, head) = publish_head(repository, grown, root, (heat, stored), &commit).await;
    Made { name, head, packs }
}

/// Publishes the first head over a root.
async fn publish_head(
    repository: &Repository<Opened>,
    grown: &Grown,
    root: Root,
    (heat, stored): (Heat, u64),
    commit: &DurableCommit,
) -> (HeadName, Head) {
    let domain = repository.default_domain();
    let bytes: u64 =
        (0..grown.files).map(|file| grown.contents[file as usize % grown.contents.len()].len() as u64).sum();
    let claimant = Claimant { host: "home".into(), instance: "grown".into() };
    let options = ClaimOptions::new(claimant, UtcNanos::new(1), std::time::Duration::ZERO).unwrap();
    let lease = repository.lease(grown.id).await.unwrap();
    let ClaimOutcome::Leading(leadership) = repository.claim(&lease, &options).await.unwrap() else {
        panic!("nobody else is there")
    };
    let head = Head {
        share: ShareDescription { id: grown.id, name: grown.name.into(), domain },
        epoch: leadership.epoch(),
        sequence: leadership.next_sequence(None),
        parent: None,
        root,
        frozen_at: UtcNanos::new(20),
        published_at: UtcNanos::new(30),
        incarnation: Incarnation::new([4; 8]),
        handover: None,
        keep_handles: None,
        turns: Vec::new(),
        next_inode: 2 + grown.files.div_ceil(FOLDER_FILES) + grown.files,
        journal_sequence: 6,
        plans_honoured: Vec::new(),
        kept: Vec::new(),
        passed: Vec::new(),
        settings: serde_json::json!({}),
        usage: Usage {
            bytes,
            inodes: grown.files + grown.files.div_ceil(FOLDER_FILES) + 1,
            ..Usage::default()
        },
        heat,
        heat_in: None,
        totals: LineTotals { bytes_read: bytes, bytes_stored: stored },
        statistics: CommitStatistics::default(),
    };
    let prepared = repository.prepare_head(&leadership, &head).unwrap();
    match repository.publish(leadership, &prepared, commit).await {
        Published::Done(_) => {}
        other => panic!("not published: {other:?}"),
    }
    (prepared.name(), head)
}

/// All frames of some packs, as one head would name them.
pub fn all_hot(packs: &[FinishedPack]) -> Heat {
    Heat::new(packs.iter().map(|pack| {
        let mut ranges: Vec<std::ops::Range<u32>> = Vec::new();
        for frame in pack.index.frames() {
            let range = frame.offset..frame.offset + frame.bytes;
            match ranges.last_mut() {
                Some(last) if last.end == range.start && range.end - last.start <= 4 << 20 => {
                    last.end = range.end;
                }
                _ => ranges.push(range),
            }
        }
        HotPack { kind: HotKind::Data, pack: pack.pack, ranges }
    }))
}

/// Nodes of an empty map.
struct Nothing;

#[async_trait::async_trait]
impl tidegate_replicator::tree::NodeSource for Nothing {
    async fn node(&self, reference: &ChunkRef) -> Result<Arc<tidegate_replicator::tree::Node>, TreeError> {
        Err(TreeError::Missing { id: reference.id })
    }

    async fn value(&self, reference: &ChunkRef) -> Result<Bytes, TreeError> {
        Err(TreeError::Missing { id: reference.id })
    }
}

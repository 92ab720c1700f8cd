//! The appliance does what a dumb model does, whatever comes between.
//!
//! Method: random operations on the namespace and on the model; between them commits, restarts, evictions from
//! a cache that is far too small, snapshots and rollbacks, clones, and moves to a gateway on an empty disk; and beside
//! them commits that nobody waits for. After each of those, and at the end, the whole tree is read and compared: names, kinds,
//! modes, owners, times of modification, link counts, extended attributes, contents.
//!
//! `TIDEGATE_SEED` repeats a run, `TIDEGATE_STEPS` makes it longer.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "support/chance.rs"]
mod chance;
#[path = "support/model.rs"]
mod model;
mod support;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use chance::Chance;
use model::{Content, Id, Model, ROOT};
use support::*;
use tidegate_gateway::appliance::{Appliance, AttachPoint, Budgets};
use tidegate_gateway::control::{FilePath, JobHandle, Moment, RestoreRequest};
use tidegate_gateway::history::restore;
use tidegate_gateway::namespace::{Credentials, Namespace, NewFile, SetHow};
use tidegate_protocols::view::{CreateHow, FsError, SetAttributes, SetTime, Time};
use tidegate_replicator::map::{Device, InodeNumber, Kind};
use tidegate_replicator::repository::{Head, SlotKey};
use tidegate_replicator::store::{MemoryStore, Store};

const FILE_BYTES_MAX: usize = 600_000;
/// Room for uploaded packs and fetched frames: less than one file may have.
const CACHE_BYTES: u64 = 256 << 10;
/// What is written before an eviction: it does not fit into the cache.
const EVICTING_BYTES: usize = 500_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

struct World {
    folder: tempfile::TempDir,
    key: SlotKey,
    store: Arc<dyn Store>,
    appliance: Arc<Appliance>,
    share: String,
    sites: usize,
    model: Model,
    /// Where each node of the model is.
    inodes: BTreeMap<Id, InodeNumber>,
    snapshots: Vec<(Head, Model)>,
    /// Files that were open when they lost their last name, with what is in them.
    nameless: Vec<(InodeNumber, Vec<u8>)>,
    /// A commit that goes on beside the changes.
    behind: Option<tokio::task::JoinHandle<()>>,
    chance: Chance,
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let appliance = open_small(&folder.path().join("site-0"), store.clone(), &key).await;
        appliance.serve(config("docs")).await.unwrap();
        Self {
            folder,
            key,
            store,
            appliance,
            share: "docs".into(),
            sites: 1,
            model: Model::new(),
            inodes: BTreeMap::from([(ROOT, InodeNumber::ROOT)]),
            snapshots: Vec::new(),
            nameless: Vec::new(),
            behind: None,
            chance: Chance::new(seed),
        }
    }

    fn namespace(&self) -> Namespace {
        self.appliance.namespace(&self.share).unwrap()
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join(format!("site-{}", self.sites - 1))
    }

    async fn step(&mut self) {
        match self.chance.below(100) {
            0..=19 => self.create().await,
            20..=44 => self.write().await,
            45..=52 => self.truncate().await,
            53..=60 => self.remove().await,
            61..=62 => self.remove_open().await,
            63..=74 => self.rename().await,
            75..=80 => self.link().await,
            81..=82 => self.set_attributes().await,
            83..=85 => self.set_extended().await,
            86..=89 => self.read_piece().await,
            90 => self.close_nameless().await,
            91..=93 => self.commit_behind().await,
            95 => self.snapshot().await,
            rest => {
                // What comes replaces the map, or compares what was published.
                self.join_commit().await;
                match rest {
                    94 => self.evict().await,
                    96 => self.restart().await,
                    97 if self.chance.below(2) == 0 => self.roll_back().await,
                    97 => self.restore_in_place().await,
                    98 => self.clone_share().await,
                    _ => self.move_away().await,
                }
            }
        }
    }

    /// Begins a commit, beside which changes go on; the one before has ended then.
    async fn commit_behind(&mut self) {
        self.join_commit().await;
        let (appliance, share) = (self.appliance.clone(), self.share.clone());
        self.behind = Some(tokio::spawn(async move { drop(appliance.commit(&share).await.unwrap()) }));
    }

    async fn join_commit(&mut self) {
        if let Some(behind) = self.behind.take() {
            behind.await.unwrap();
        }
    }

    async fn create(&mut self) {
        let directory = *self.chance.pick(&self.model.directories());
        let name = self.chance.name();
        let taken = self.model.entries(directory).contains_key(&name);
        let mode = 0o600 | self.chance.below(0o200) as u32;
        let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
        let parent = self.inodes[&directory];
        let (content, made) = match self.chance.below(5) {
            4 => {
                let kind = *self.chance.pick(&[Kind::Fifo, Kind::Socket, Kind::Block, Kind::Character]);
                let numbers = matches!(kind, Kind::Block | Kind::Character);
                let mut number = || if numbers { self.chance.below(1 << 20) as u32 } else { 0 };
                let device = Device { major: number(), minor: number() };
                let new = NewFile { device, ..NewFile::new(kind, set) };
                let made = self.namespace().make(context(), parent, &name, new, None).await;
                (Content::Special(kind, device), made)
            }
            0 => {
                let new = NewFile::new(Kind::Directory, set);
                let made = self.namespace().make(context(), parent, &name, new, None).await;
                (Content::Directory(BTreeMap::new()), made)
            }
            1 => {
                let target = noise(self.chance.next(), 1 + self.chance.below(2000));
                let target = target.iter().map(|byte| byte | 1).collect::<Vec<_>>();
                let new = NewFile { target: Bytes::from(target.clone()), ..NewFile::new(Kind::Symlink, set) };
                (Content::Link(target), self.namespace().make(context(), parent, &name, new, None).await)
            }
            _ => {
                let made = self.namespace().create(context(), parent, &name, CreateHow::Guarded(set)).await;
                (Content::File(Vec::new()), made)
            }
        };
        if taken {
            assert_eq!(made.map(drop), Err(FsError::Exists));
            return;
        }
        let number = made.unwrap().object.unwrap().number;
        let id = self.model.add(directory, &name, mode, content);
        self.inodes.insert(id, number);
    }

    async fn write(&mut self) {
        let Some(file) = self.some_file() else { return };
        let data = self.chance.data();
        let offset = self.chance.below(FILE_BYTES_MAX - data.len());
        let offset = if self.chance.below(2) == 0 { self.model.data(file).len().min(offset) } else { offset };
        write(&self.namespace(), self.inodes[&file], offset as u64, &data).await.unwrap();
        let content = self.model.data_mut(file);
        if !data.is_empty() {
            content.resize(content.len().max(offset + data.len()), 0);
            content[offset..offset + data.len()].copy_from_slice(&data);
        }
    }

    async fn truncate(&mut self) {
        let Some(file) = self.some_file() else { return };
        let size = self.chance.below(FILE_BYTES_MAX);
        let size = if self.chance.below(2) == 0 { size.min(self.model.data(file).len()) } else { size };
        let set = SetAttributes { size: Some(size as u64), ..SetAttributes::default() };
        self.namespace().set_attributes(context(), self.inodes[&file], set, None).await.unwrap();
        self.model.data_mut(file).resize(size, 0);
    }

    async fn remove(&mut self) {
        let Some((directory, name)) = self.some_name() else { return };
        let id = self.model.entries(directory)[&name];
        let parent = self.inodes[&directory];
        let removed = if self.model.is_directory(id) {
            self.namespace().remove_directory(context(), parent, &name).await
        } else {
            self.namespace().remove(context(), parent, &name).await
        };
        if self.model.is_directory(id) && !self.model.entries(id).is_empty() {
            assert_eq!(removed.map(drop), Err(FsError::NotEmpty));
        } else {
            removed.unwrap();
            self.model.remove(directory, &name);
        }
    }

    async fn rename(&mut self) {
        let Some((directory, name)) = self.some_name() else { return };
        let target = *self.chance.pick(&self.model.directories());
        let new_name = self.chance.name();
        let moved = self.model.entries(directory)[&name];
        let expected = self.expected_rename(moved, target, &new_name);
        let from = (self.inodes[&directory], name.as_slice());
        let renamed = self.namespace().rename(context(), from, (self.inodes[&target], &new_name)).await;
        assert_eq!(renamed.map(drop), expected);
        if expected.is_ok() {
            self.model.rename((directory, &name), (target, &new_name));
        }
    }

    fn expected_rename(&self, moved: Id, target: Id, name: &[u8]) -> Result<(), FsError> {
        let is_directory = self.model.is_directory(moved);
        if let Some(replaced) = self.model.entries(target).get(name) {
            match (is_directory, self.model.is_directory(*replaced)) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) if !self.model.entries(*replaced).is_empty() => {
                    return Err(FsError::NotEmpty);
                }
                (true, true) | (false, false) => {}
            }
        }
        let ring = is_directory && self.model.contains(moved, target);
        if ring { Err(FsError::Invalid) } else { Ok(()) }
    }

    async fn link(&mut self) {
        let Some(file) = self.some_file() else { return };
        let directory = *self.chance.pick(&self.model.directories());
        let name = self.chance.name();
        let linked =
            self.namespace().link(context(), self.inodes[&file], self.inodes[&directory], &name).await;
        if self.model.entries(directory).contains_key(&name) {
            assert_eq!(linked.map(drop), Err(FsError::Exists));
        } else {
            linked.unwrap();
            self.model.link(file, directory, &name);
        }
    }

    /// Sets mode, owner or time of modification of anything.
    async fn set_attributes(&mut self) {
        let ids: Vec<Id> = self.model.nodes.keys().copied().collect();
        let id = *self.chance.pick(&ids);
        let mut set = SetAttributes::default();
        let node = self.model.nodes.get_mut(&id).unwrap();
        match self.chance.below(3) {
            0 => {
                node.mode = 0o700 | self.chance.below(0o100) as u32;
                set.mode = Some(node.mode);
            }
            1 => {
                node.owner = (self.chance.below(70_000) as u32, self.chance.below(70_000) as u32);
                (set.uid, set.gid) = (Some(node.owner.0), Some(node.owner.1));
            }
            _ => {
                let (seconds, nanos) =
                    (self.chance.below(1 << 32) as i64, self.chance.below(1_000_000_000) as u32);
                node.modified = Some((seconds, nanos));
                set.modified = SetTime::Client(Time { seconds, nanos });
            }
        }
        self.namespace().set_attributes(context(), self.inodes[&id], set, None).await.unwrap();
    }

    /// Sets or removes an extended attribute of a file or directory.
    async fn set_extended(&mut self) {
        let ids: Vec<Id> = self
            .model
            .nodes
            .iter()
            .filter(|(_, node)| !matches!(node.content, Content::Link(_) | Content::Special(..)))
            .map(|(id, _)| *id)
            .collect();
        let id = *self.chance.pick(&ids);
        let name = [b"user.".as_slice(), &self.chance.name()].concat();
        let (namespace, number) = (self.namespace(), self.inodes[&id]);
        let of_model = &mut self.model.nodes.get_mut(&id).unwrap().extended;
        if self.chance.below(3) == 0 {
            let removed = namespace.remove_extended(context(), number, &name).await;
            let expected = of_model.remove(&name).map(drop).ok_or(FsError::NotFound);
            assert_eq!(removed.map(drop), expected);
        } else {
            let value = noise(self.chance.next(), self.chance.below(5000));
            let set = namespace
                .set_extended(context(), number, &name, Bytes::from(value.clone()), SetHow::Either)
                .await;
            set.unwrap();
            of_model.insert(name, value);
        }
    }

    /// Removes a name of a file that is open; with its last name the file is nameless.
    async fn remove_open(&mut self) {
        let Some(file) = self.some_file() else { return };
        let directories = self.model.directories().into_iter();
        let mut names = directories.flat_map(|directory| {
            let entries = self.model.entries(directory).iter();
            entries.filter(|(_, id)| **id == file).map(move |(name, _)| (directory, name.clone()))
        });
        let (directory, name) = names.next().unwrap();
        drop(names);
        let (namespace, number) = (self.namespace(), self.inodes[&file]);
        let data = self.model.data(file).clone();
        namespace.open(number).await.unwrap();
        namespace.remove(context(), self.inodes[&directory], &name).await.unwrap();
        self.model.remove(directory, &name);
        if self.model.nodes.contains_key(&file) {
            namespace.close(number).await.unwrap();
        } else {
            self.nameless.push((number, data));
        }
    }

    /// Reads a nameless file to its end, and closes it.
    async fn close_nameless(&mut self) {
        let Some((number, data)) = self.nameless.pop() else { return };
        let namespace = self.namespace();
        assert!(read_all(&namespace, number).await.unwrap() == data, "data of nameless {number:?}");
        namespace.close(number).await.unwrap();
        assert_eq!(read_all(&namespace, number).await, Err(FsError::Stale));
    }

    /// The share is served anew: nobody has anything open, and the next commit takes away what is nameless.
    async fn forget_open_files(&mut self) {
        self.appliance.commit(&self.share).await.unwrap();
        self.nameless.clear();
        let usage = self.namespace().share().usage();
        assert_eq!(usage.inodes, self.model.nodes.len() as u64, "inodes that nothing leads to");
    }

    async fn read_piece(&mut self) {
        let Some(file) = self.some_file() else { return };
        let start = self.chance.below(FILE_BYTES_MAX);
        let end = start + self.chance.below(100_000);
        let namespace = self.namespace();
        let range = start as u64..end as u64;
        let data =
            namespace.reader().read(namespace.share(), self.inodes[&file], range, &Credentials::ROOT).await;
        let got = data.unwrap().pieces.concat();
        let content = self.model.data(file);
        let wanted = &content[start.min(content.len())..end.min(content.len())];
        assert!(got == wanted, "bytes {start}..{end} of file {file}");
    }

    async fn snapshot(&mut self) {
        let entry = self.appliance.create_snapshot(&self.share, "", BTreeMap::new()).await.unwrap();
        self.snapshots.push((entry.snapshot.head, self.model.clone()));
        self.check().await;
    }

    /// Publishes more new data than the cache has room for, so that packs must go, and starts again with
    /// nothing in memory: what went is read from the store.
    async fn evict(&mut self) {
        let Some(file) = self.some_file() else { return };
        let data = noise(self.chance.next(), EVICTING_BYTES);
        write(&self.namespace(), self.inodes[&file], 0, &data).await.unwrap();
        let content = self.model.data_mut(file);
        content.resize(content.len().max(data.len()), 0);
        content[..data.len()].copy_from_slice(&data);
        self.appliance.commit(&self.share).await.unwrap();
        let report = self.appliance.cache_report();
        assert!(report.disk_bytes <= CACHE_BYTES, "nothing was evicted: {report:?}");
        self.restart().await;
        assert!(self.appliance.cache_report().store_requests > 0, "what was evicted was read");
    }

    async fn restart(&mut self) {
        let site = self.site();
        self.appliance.close().await.unwrap();
        let store = self.store.clone();
        // The old appliance must let go of its folder first.
        let old = std::mem::replace(&mut self.appliance, spare(&self.folder, &store, &self.key).await);
        drop(old);
        self.appliance = open_small(&site, store, &self.key).await;
        self.appliance.serve(config(&self.share)).await.unwrap();
        self.forget_open_files().await;
        self.check().await;
    }

    async fn roll_back(&mut self) {
        let Some((head, model)) = self.some_snapshot() else { return };
        self.appliance.roll_back(&self.share, &head).await.unwrap();
        self.model = model;
        self.forget_open_files().await;
        self.find_inodes().await;
        self.check().await;
    }

    /// Puts everything back to a snapshot in the live map: no file is stale, and what is newer goes.
    async fn restore_in_place(&mut self) {
        let Some((head, model)) = self.some_snapshot() else { return };
        let from = self.appliance.frozen_map(&head).unwrap();
        let request = RestoreRequest {
            from: Moment::Live, // where the map comes from is said by the map
            path: FilePath::root(),
            remove_newer: true,
            dry_run: false,
        };
        restore(&from, &self.namespace(), &request, &JobHandle::new()).await.unwrap();
        self.model = model;
        self.find_inodes().await;
        self.check().await;
    }

    /// Goes on in a clone of a snapshot.
    async fn clone_share(&mut self) {
        let Some((head, model)) = self.some_snapshot() else { return };
        let name = format!("clone-{}", self.chance.next());
        self.appliance.clone_share(&head, &name).await.unwrap();
        self.appliance.serve(config(&name)).await.unwrap();
        self.share = name;
        self.model = model;
        self.forget_open_files().await;
        self.find_inodes().await;
        self.check().await;
    }

    /// Goes on at another site, from the repository and the key alone.
    async fn move_away(&mut self) {
        self.appliance.commit(&self.share).await.unwrap();
        self.sites += 1;
        self.appliance = open_small(&self.site(), self.store.clone(), &self.key).await;
        self.appliance.attach(&self.share, AttachPoint::Newest).await.unwrap();
        self.appliance.serve(config(&self.share)).await.unwrap();
        self.forget_open_files().await;
        self.check().await;
    }

    fn some_file(&mut self) -> Option<Id> {
        let files = self.model.files();
        (!files.is_empty()).then(|| *self.chance.pick(&files))
    }

    fn some_name(&mut self) -> Option<(Id, Vec<u8>)> {
        let directory = *self.chance.pick(&self.model.directories());
        let names: Vec<_> = self.model.entries(directory).keys().cloned().collect();
        (!names.is_empty()).then(|| (directory, self.chance.pick(&names).clone()))
    }

    fn some_snapshot(&mut self) -> Option<(Head, Model)> {
        (!self.snapshots.is_empty()).then(|| self.chance.pick(&self.snapshots).clone())
    }

    /// Inode numbers survive snapshots; this looks them up again all the same.
    async fn find_inodes(&mut self) {
        self.inodes = BTreeMap::from([(ROOT, InodeNumber::ROOT)]);
        let mut rest = vec![ROOT];
        while let Some(directory) = rest.pop() {
            for (name, id) in self.model.entries(directory).clone() {
                let number = lookup(&self.namespace(), self.inodes[&directory], &name).await.unwrap();
                self.inodes.insert(id, number);
                if self.model.is_directory(id) {
                    rest.push(id);
                }
            }
        }
    }

    async fn check(&self) {
        self.check_directory(ROOT).await;
        // Also those that are gone.
        let numbers: Vec<_> = self.inodes.values().copied().collect();
        let (namespace, mut alone) = (self.namespace(), Vec::new());
        for number in &numbers {
            alone.push(namespace.reader().node(*number).await.ok());
        }
        let together = namespace.reader().nodes(numbers.into_iter()).await;
        assert!(together == alone, "inodes read together are not what they are one by one");
    }

    fn check_directory(&self, directory: Id) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            let namespace = self.namespace();
            let reader = namespace.reader();
            let node = reader.node(self.inodes[&directory]).await.unwrap();
            let mut listed = BTreeMap::new();
            let mut cookie = 2;
            loop {
                let page = reader.list(&node, cookie, 7).await.unwrap();
                for entry in page.entries {
                    cookie = entry.cookie;
                    assert!(listed.insert(entry.name.to_vec(), entry.number).is_none(), "a name comes once");
                }
                if page.end {
                    break;
                }
            }
            let entries = self.model.entries(directory);
            assert_eq!(listed.keys().collect::<Vec<_>>(), entries.keys().collect::<Vec<_>>());
            assert_eq!(node.inode.entries as usize, entries.len());
            for (name, id) in entries {
                let child = reader.lookup(&node, name, &Credentials::ROOT).await.unwrap();
                assert_eq!(child.number, listed[name]);
                let model = &self.model.nodes[id];
                assert_eq!(u32::from(child.inode.mode), model.mode, "mode of {name:?}");
                assert_eq!((child.inode.uid, child.inode.gid), model.owner, "owner of {name:?}");
                let modified = child.inode.times.modified;
                let expected = model.modified.unwrap_or((modified.seconds, modified.nanos));
                assert_eq!((modified.seconds, modified.nanos), expected, "modification of {name:?}");
                let extended = reader.extended_attributes(child.number).await.unwrap();
                assert!(
                    extended
                        .iter()
                        .map(|(name, value)| (name.to_vec(), value.to_vec()))
                        .eq(model.extended.clone()),
                    "extended attributes of {name:?}"
                );
                match &model.content {
                    Content::Directory(_) => self.check_directory(*id).await,
                    Content::Link(target) => assert!(child.inode.target == *target),
                    Content::Special(kind, device) => {
                        assert_eq!((child.inode.kind, child.inode.device), (*kind, *device), "{name:?}");
                    }
                    Content::File(data) => {
                        assert_eq!(child.inode.links as usize, self.model.names_of(*id), "links of {name:?}");
                        assert_eq!(child.inode.size as usize, data.len(), "size of {name:?}");
                        assert!(
                            read_all(&namespace, child.number).await.unwrap() == *data,
                            "data of {name:?}"
                        );
                    }
                }
            }
        })
    }
}

/// A gateway whose cache is too small for what it serves.
async fn open_small(data: &Path, store: Arc<dyn Store>, key: &SlotKey) -> Arc<Appliance> {
    open_within(data, store, key, Budgets { cache_bytes: CACHE_BYTES, ..budgets() }).await
}

/// An appliance that stands in while another one is taken apart.
async fn spare(folder: &tempfile::TempDir, store: &Arc<dyn Store>, key: &SlotKey) -> Arc<Appliance> {
    let path = tempfile::tempdir_in(folder.path()).unwrap().keep();
    open(&path, store.clone(), key).await
}

async fn run(seed: u64, steps: u64) {
    println!("TIDEGATE_SEED={seed} TIDEGATE_STEPS={steps}");
    let mut world = World::new(seed).await;
    for step in 0..steps {
        if std::env::var_os("TIDEGATE_TRACE").is_some() {
            println!("step {step}");
        }
        world.step().await;
    }
    world.join_commit().await;
    world.check().await;
    world.evict().await;
    world.move_away().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_give_what_the_model_gives() {
    let steps = setting("TIDEGATE_STEPS", 600);
    if let Ok(seed) = std::env::var("TIDEGATE_SEED") {
        return run(seed.parse().expect("a number"), steps).await;
    }
    for seed in [1, 2, u64::from(std::process::id())] {
        run(seed, steps).await;
    }
}

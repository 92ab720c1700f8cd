//! Claims about two sites that take one share from each other, cut off from the store and started again in between: every
//! write that either of them acknowledged is on the line or in a branch, byte by byte, and there is one line.
//!
//! Method: two appliances in this process, each with a way of its own to one store, which can be cut; random steps; the dumb model
//! is the log of what clients were told. Files are made through the view that the NFS server asks, so that fencing is met as a
//! client meets it. `TIDEGATE_SEED` repeats a run, `TIDEGATE_STEPS` makes it longer.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use support::*;
use tidegate_gateway::appliance::{Appliance, AttachPoint, Rejoin, ShareConfig};
use tidegate_gateway::namespace::{Credentials, Reader};
use tidegate_gateway::share::MapRead;
use tidegate_protocols::view::{Call, Caller, CreateHow, FileView, FsError, SetAttributes, Stability};
use tidegate_replicator::map::{Entry, InodeNumber, Key, kind_range};
use tidegate_replicator::repository::{Head, SlotKey};
use tidegate_replicator::store::{ErrorKind, Fault, FaultStore, MemoryStore, Operation, Rule, Store};

const STEPS: u64 = 60;
const FILE_BYTES_MAX: u64 = 150_000;

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

fn call() -> Call {
    let address = "127.0.0.1:700".parse().unwrap();
    Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None }
}

struct Site {
    place: PathBuf,
    way: Arc<FaultStore>,
    key: SlotKey,
    gateway: Option<Arc<Appliance>>,
    /// Whether the share is known here.
    knows: bool,
    is_cut: bool,
}

impl Site {
    fn new(place: PathBuf, store: &Arc<dyn Store>, key: SlotKey, seed: u64) -> Self {
        let way = Arc::new(FaultStore::new(store.clone(), seed));
        Self { place, way, key, gateway: None, knows: false, is_cut: false }
    }

    fn gateway(&self) -> &Arc<Appliance> {
        self.gateway.as_ref().expect("it is open")
    }

    async fn start(&mut self) {
        self.gateway = Some(open(&self.place, self.way.clone(), &self.key).await);
        if self.knows {
            self.gateway().serve(config("docs")).await.unwrap();
        }
    }

    async fn stop(&mut self) {
        let gateway = self.gateway.take().expect("it is open");
        gateway.close().await.unwrap();
    }

    fn cut(&mut self, cut: bool) {
        self.way.partition(cut);
        self.is_cut = cut;
    }

    /// As a client; what it is told is the truth.
    async fn put(&self, name: &str, data: &[u8]) -> Result<(), FsError> {
        let files = self.gateway().files();
        let root = files.mount(&call(), b"/docs").await.map_err(|_| FsError::TryLater)?;
        let set = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
        let made = files.create(&call(), &root, name.as_bytes(), CreateHow::Guarded(set)).await;
        let (file, _) = made.map_err(|failure| failure.error)?.object.unwrap();
        let data = Bytes::copy_from_slice(data);
        let written = files.write(&call(), &file, 0, data, Stability::FileSync).await;
        written.map(drop).map_err(|failure| failure.error)
    }

    /// Begins to lead, or tries to.
    async fn take_over(&mut self) -> bool {
        if self.knows {
            return self.gateway().rejoin("docs", Rejoin::TakeOver).await.is_ok();
        }
        if self.gateway().attach("docs", AttachPoint::Newest).await.is_err() {
            return false;
        }
        self.knows = true;
        self.gateway().serve(config("docs")).await.unwrap();
        true
    }

    /// Publishes everything, or keeps it as a branch.
    async fn settle(&self) {
        if !self.knows {
            return;
        }
        let settled = async {
            loop {
                let report = self.gateway().report().remove(0);
                if report.follows || self.gateway().commit("docs").await.is_ok() {
                    return;
                }
                // A share without anything to keep has no branch; joining again tells when it is done.
                if report.superseded && self.gateway().rejoin("docs", Rejoin::Follow).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), settled).await.expect("it settles");
    }
}

/// All files of a frozen state.
async fn files_of(gateway: &Appliance, head: &Head) -> BTreeMap<String, Vec<u8>> {
    let map = gateway.frozen_map(head).unwrap();
    let namespace = gateway.namespace("docs").unwrap();
    let mut found = BTreeMap::new();
    for (key, value) in map.scan(kind_range(InodeNumber::ROOT, b'd', &[]), 100_000).await.unwrap() {
        let Key::Entry(_, name) = key else { continue };
        let inode = Entry::decode(&value.payload).unwrap().inode;
        let reader = Reader { map: &map };
        let node = reader.node(inode).await.unwrap();
        let mut content = Vec::new();
        while (content.len() as u64) < node.inode.size {
            let range = content.len() as u64..node.inode.size;
            let read = reader.read(namespace.share(), inode, range, &Credentials::ROOT).await.unwrap();
            content.extend(read.pieces.concat());
        }
        found.insert(String::from_utf8(name.to_vec()).unwrap(), content);
    }
    found
}

/// Holds what clients were told against the line and the branches; what there is of either.
async fn check(reader: &Appliance, log: &BTreeMap<String, Vec<u8>>) -> String {
    let newest = reader.repository().newest_head(reader.share_id("docs").unwrap()).await.unwrap().unwrap();
    let line = files_of(reader, &newest.head).await;
    let mut aside = Vec::new();
    for branch in reader.branches("docs").await.unwrap() {
        assert_eq!(branch.lacks, 0, "{branch:?}");
        aside.push(files_of(reader, &branch.head).await);
    }
    let mut only_aside = 0;
    for (name, data) in log {
        let on_line = line.get(name) == Some(data);
        let in_branch = aside.iter().any(|files| files.get(name) == Some(data));
        assert!(on_line || in_branch, "{name} was acknowledged, and is neither on the line nor in a branch");
        only_aside += u64::from(!on_line);
    }
    format!("{} branches, {only_aside} writes in branches alone", aside.len())
}

/// One life of two sites.
async fn live(seed: u64, steps: u64) {
    let mut state = seed;
    let folder = tempfile::tempdir().unwrap();
    let key = || slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key()).await);
    let place = |name: &str| folder.path().join(name);
    let mut sites =
        [Site::new(place("home"), &store, key(), seed), Site::new(place("away"), &store, key(), seed + 1)];
    sites[0].start().await;
    sites[0].gateway().serve(config("docs")).await.unwrap();
    sites[0].gateway().commit("docs").await.unwrap();
    sites[0].knows = true;
    sites[1].start().await;
    let mut log = BTreeMap::new();
    let (mut takeovers, mut fenced) = (0, 0);
    for step in 0..steps {
        let which = (next(&mut state) % 2) as usize;
        let choice = next(&mut state) % 100;
        let site = &mut sites[which];
        if choice < 55 {
            if !site.knows {
                continue;
            }
            let name = format!("{which}-{step}");
            let data = noise(next(&mut state), (next(&mut state) % FILE_BYTES_MAX) as usize);
            match site.put(&name, &data).await {
                Ok(()) => drop(log.insert(name, data)),
                Err(FsError::ReadOnly | FsError::TryLater | FsError::Stale) => fenced += 1,
                Err(error) => panic!("{name}: {error:?}"),
            }
        } else if choice < 70 {
            if site.knows {
                let _ = site.gateway().commit("docs").await;
            }
        } else if choice < 78 {
            site.cut(true);
        } else if choice < 86 {
            site.cut(false);
        } else if choice < 90 {
            // A start needs the keys.
            site.cut(false);
            site.stop().await;
            site.start().await;
        } else if !site.is_cut {
            takeovers += u64::from(site.take_over().await);
        }
    }
    for site in &mut sites {
        site.cut(false);
        site.settle().await;
    }
    for site in &sites {
        site.settle().await;
    }
    let told = check(sites[0].gateway(), &log).await;
    println!("{} writes acknowledged, {fenced} refused, {takeovers} takeovers, {told}", log.len());
    for site in &mut sites {
        site.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_is_on_the_line_or_in_a_branch() {
    let number = |variable: &str| std::env::var(variable).ok().map(|text| text.parse::<u64>().unwrap());
    let (given, steps) = (number("TIDEGATE_SEED"), number("TIDEGATE_STEPS").unwrap_or(STEPS));
    let first = given.unwrap_or_else(|| u64::from(std::process::id()));
    for round in 0..if given.is_some() { 1 } else { 5 } {
        println!("TIDEGATE_SEED={} TIDEGATE_STEPS={steps}", first + round);
        live(first + round, steps).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_site_goes_on_or_stops_as_its_settings_say() {
    for stops in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let key = || slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key()).await);
        let mut home = Site::new(folder.path().join("home"), &store, key(), 1);
        let mut away = Site::new(folder.path().join("away"), &store, key(), 2);
        home.start().await;
        let share =
            home.gateway().serve(ShareConfig { stop_without_store: stops, ..config("docs") }).await.unwrap();
        home.knows = true;
        home.put("before", b"published").await.unwrap();
        home.gateway().commit("docs").await.unwrap();
        home.cut(true);
        home.put("cut off", b"acknowledged").await.unwrap();
        home.gateway().commit("docs").await.unwrap_err();
        assert_eq!(served(home.gateway(), share).paused.load(Ordering::Relaxed), stops);
        let late = home.put("later", b"perhaps").await;
        assert_eq!(late, if stops { Err(FsError::TryLater) } else { Ok(()) });

        away.start().await;
        assert!(away.take_over().await);
        away.put("elsewhere", b"on the line").await.unwrap();
        away.gateway().commit("docs").await.unwrap();
        home.cut(false);
        home.gateway().commit("docs").await.unwrap_err();
        assert_eq!(home.put("too late", b"never").await, Err(FsError::ReadOnly));
        home.settle().await;
        let branches = away.gateway().branches("docs").await.unwrap();
        assert_eq!(branches.len(), 1, "{branches:?}");
        let aside = files_of(away.gateway(), &branches[0].head).await;
        assert_eq!(aside.get("cut off").map(Vec::as_slice), Some(&b"acknowledged"[..]));
        assert_eq!(aside.contains_key("later"), !stops);
        assert!(!aside.contains_key("elsewhere") && !aside.contains_key("too late"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_collected_while_a_site_was_away_is_sealed_anew_from_its_local_copy() {
    let folder = tempfile::tempdir().unwrap();
    let key = || slot_key(folder.path());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &key()).await);
    let mut home = Site::new(folder.path().join("home"), &store, key(), 1);
    let mut away = Site::new(folder.path().join("away"), &store, key(), 2);
    home.start().await;
    home.gateway().serve(config("docs")).await.unwrap();
    home.knows = true;
    home.put("before", b"published").await.unwrap();
    home.gateway().commit("docs").await.unwrap();
    let packs = || async {
        let page = store.list("packs/", None, 1000).await.unwrap();
        page.objects.into_iter().map(|object| object.name).collect::<Vec<_>>()
    };
    let reached = packs().await;
    // The packs go up, the head does not.
    let data = noise(3, 400_000);
    home.put("late", &data).await.unwrap();
    home.way.inject(Rule::on(Operation::Put).named("heads/"), Fault::Before(ErrorKind::Transient));
    home.gateway().commit("docs").await.unwrap_err();
    home.way.clear();
    let sent: Vec<_> = packs().await.into_iter().filter(|pack| !reached.contains(pack)).collect();
    assert!(!sent.is_empty());
    away.start().await;
    assert!(away.take_over().await);
    // Nobody waits for who was superseded: a collection deletes what no head reaches.
    for pack in &sent {
        store.delete(pack).await.unwrap();
    }
    home.gateway().commit("docs").await.unwrap_err();
    home.settle().await;
    let branches = away.gateway().branches("docs").await.unwrap();
    assert_eq!((branches.len(), branches[0].lacks), (1, 0), "{branches:?}");
    let aside = files_of(away.gateway(), &branches[0].head).await;
    assert!(aside.get("late") == Some(&data), "it is read from the store alone");
    assert!(!packs().await.iter().any(|pack| sent.contains(pack)), "no pack comes back under its old name");
}

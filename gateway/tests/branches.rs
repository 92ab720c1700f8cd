//! Claims about applying a branch: what only the branch changed comes into the share, what only the share changed stays, and of
//! what both changed nothing is overwritten unless that was asked for.
//!
//! Method: two appliances lead one share one after the other, in this process over a store in memory; random changes on both
//! sides since the last common head are held against a dumb model of three maps from paths to contents. `TIDEGATE_SEED`
//! repeats a run.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use support::*;
use tidegate_gateway::appliance::{Appliance, AttachPoint};
use tidegate_gateway::control::{
    Against, BranchApplyReport, BranchApplyRequest, BranchDiffRequest, ControlError, ErrorKind, JobHandle,
    OnConflict,
};
use tidegate_gateway::history::{Sides, apply};
use tidegate_gateway::namespace::{Namespace, NewFile, Reader};
use tidegate_gateway::share::FrozenMap;
use tidegate_protocols::view::SetAttributes;
use tidegate_replicator::map::{InodeNumber, Kind};
use tidegate_replicator::repository::Branch;
use tidegate_replicator::store::{MemoryStore, Store};

const DIRECTORIES: [&str; 3] = ["", "d1", "d2"];
const NAMES: u64 = 6;
const FILE_BYTES: usize = 3000;
const SUFFIX: &str = "test-now";

/// Paths, and which content each has.
type Files = BTreeMap<(usize, String), u64>;

/// One side: a gateway, and what its files are.
struct Side {
    gateway: Arc<Appliance>,
    files: Files,
}

impl Side {
    fn namespace(&self) -> Namespace {
        self.gateway.namespace("docs").unwrap()
    }

    async fn directory(&self, number: usize) -> InodeNumber {
        let namespace = self.namespace();
        match DIRECTORIES[number] {
            "" => InodeNumber::ROOT,
            name => lookup(&namespace, InodeNumber::ROOT, name.as_bytes()).await.unwrap(),
        }
    }

    async fn put(&mut self, at: (usize, String), content: u64, over: bool) {
        let (namespace, directory) = (self.namespace(), self.directory(at.0).await);
        let there = lookup(&namespace, directory, at.1.as_bytes()).await.ok();
        let file = match there {
            Some(file) if over => file,
            there => {
                if there.is_some() {
                    namespace.remove(context(), directory, at.1.as_bytes()).await.unwrap();
                }
                create(&namespace, directory, at.1.as_bytes()).await.unwrap()
            }
        };
        write(&namespace, file, 0, &noise(content, FILE_BYTES)).await.unwrap();
        self.files.insert(at, content);
    }

    async fn remove(&mut self, at: &(usize, String)) {
        let directory = self.directory(at.0).await;
        self.namespace().remove(context(), directory, at.1.as_bytes()).await.unwrap();
        self.files.remove(at);
    }

    /// Some random changes.
    async fn change(&mut self, state: &mut u64, steps: u64) {
        for _ in 0..steps {
            let at = ((next(state) % 3) as usize, format!("f{}", next(state) % NAMES));
            if next(state).is_multiple_of(4) && self.files.contains_key(&at) {
                self.remove(&at).await;
            } else {
                let (content, over) = (next(state), next(state).is_multiple_of(2));
                self.put(at, content, over).await;
            }
        }
    }

    /// What is really there, contents as they are.
    async fn found(&self) -> BTreeMap<(usize, String), Vec<u8>> {
        let namespace = self.namespace();
        let mut found = BTreeMap::new();
        for (number, _) in DIRECTORIES.iter().enumerate() {
            let directory = self.directory(number).await;
            let node = namespace.reader().node(directory).await.unwrap();
            let listed = namespace.reader().list(&node, 0, 1000).await.unwrap();
            for entry in listed.entries {
                let file = namespace.reader().node(entry.number).await.unwrap();
                if file.inode.kind == Kind::Regular {
                    let name = String::from_utf8(entry.name.to_vec()).unwrap();
                    found.insert((number, name), read_all(&namespace, file.number).await.unwrap());
                }
            }
        }
        found
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 31)
}

/// A share that was taken over while its first gateway had unpublished changes; that has set them aside.
struct Scene {
    _folder: tempfile::TempDir,
    base: Files,
    home: Side,
    away: Side,
    branch: Branch,
}

impl Scene {
    async fn random(state: &mut u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let gateway = open(&folder.path().join("home"), store.clone(), &key).await;
        gateway.serve(config("docs")).await.unwrap();
        let mut home = Side { gateway, files: Files::new() };
        for name in &DIRECTORIES[1..] {
            let set = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
            let new = NewFile::new(Kind::Directory, set);
            let made = home.namespace().make(context(), InodeNumber::ROOT, name.as_bytes(), new, None).await;
            made.unwrap();
        }
        home.change(state, 20).await;
        home.gateway.commit("docs").await.unwrap();
        let base = home.files.clone();
        let gateway = open(&folder.path().join("away"), store, &key).await;
        gateway.attach("docs", AttachPoint::Newest).await.unwrap();
        gateway.serve(config("docs")).await.unwrap();
        let mut away = Side { gateway, files: base.clone() };
        home.change(state, 12).await;
        away.change(state, 8).await;
        away.gateway.commit("docs").await.unwrap();
        home.gateway.commit("docs").await.unwrap_err();
        let branch = loop {
            if let Some(branch) = away.gateway.branches("docs").await.unwrap().pop() {
                break branch;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self { _folder: folder, base, home, away, branch }
    }

    async fn sides(&self) -> Sides {
        let map = self.away.gateway.frozen_map(&self.branch.head).unwrap();
        let root = self.branch.base.unwrap();
        Sides::new(FrozenMap { root, nodes: map.nodes.clone() }, map).await.unwrap()
    }

    async fn apply(&self, on_conflict: OnConflict, dry_run: bool) -> Result<BranchApplyReport, ControlError> {
        let request = BranchApplyRequest { paths: Vec::new(), on_conflict, dry_run };
        let served = self.away.gateway.admit_change("docs").unwrap();
        apply(&self.sides().await, &served.namespace, &request, SUFFIX, &JobHandle::new()).await
    }

    /// What should come out, and how many paths both have changed.
    fn wanted(&self, on_conflict: OnConflict) -> (Files, u64) {
        let (mut wanted, mut conflicts) = (self.away.files.clone(), 0);
        let mut paths: Vec<_> = self.base.keys().chain(self.home.files.keys()).cloned().collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (was, branch) = (self.base.get(&path), self.home.files.get(&path));
            let line = self.away.files.get(&path);
            if was == branch || branch == line {
                continue;
            }
            let clean = was == line;
            conflicts += u64::from(!clean);
            let takes = clean
                || on_conflict == OnConflict::Theirs
                || (on_conflict == OnConflict::Beside && line.is_none());
            match branch {
                Some(content) if takes => {
                    wanted.insert(path, *content);
                }
                None if takes => {
                    wanted.remove(&path);
                }
                Some(content) if on_conflict == OnConflict::Beside => {
                    wanted.insert((path.0, format!("{}.branch-{SUFFIX}", path.1)), *content);
                }
                Some(_) | None => {}
            }
        }
        (wanted, conflicts)
    }
}

fn contents(files: &Files) -> BTreeMap<(usize, String), Vec<u8>> {
    files.iter().map(|(path, content)| (path.clone(), noise(*content, FILE_BYTES))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_branch_is_what_a_dumb_model_says() {
    let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let first = given.unwrap_or_else(|| u64::from(std::process::id()));
    for round in 0..if given.is_some() { 1 } else { 6 } {
        let seed = first + round;
        println!("TIDEGATE_SEED={seed}");
        let mut state = seed;
        let mut scene = Scene::random(&mut state).await;
        let how = [OnConflict::Ours, OnConflict::Theirs, OnConflict::Beside][(seed % 3) as usize];
        let (wanted, conflicts) = scene.wanted(how);

        // The comparison says the same, before anything is done.
        let sides = scene.sides().await;
        let live = scene.away.namespace();
        let page = sides.page(live.share().map(), &BranchDiffRequest::default()).await.unwrap();
        let said = page.changes.iter().filter(|change| change.against == Against::Conflict).count();
        assert_eq!(said as u64, conflicts, "{page:?}");
        let planned = scene.apply(how, true).await.unwrap();
        assert!(scene.away.found().await == contents(&scene.away.files), "a dry run changes nothing");
        assert_eq!(planned.conflicts, conflicts, "{planned:?}");
        if conflicts > 0 {
            let refused = scene.apply(OnConflict::Refuse, false).await.unwrap_err();
            assert_eq!(refused.kind, ErrorKind::Exists, "{refused:?}");
            assert!(scene.away.found().await == contents(&scene.away.files), "nothing is half applied");
        }

        let done = scene.apply(how, false).await.unwrap();
        assert_eq!((done.files, done.removed, done.beside), (planned.files, planned.removed, planned.beside));
        let found = scene.away.found().await;
        let names: Vec<_> = found.keys().collect();
        assert!(found == contents(&wanted), "{how:?}: {names:?} but wanted {wanted:?}");
        // Once more changes nothing.
        let again = scene.apply(how, false).await.unwrap();
        assert_eq!((again.files, again.removed), (0, 0), "{again:?}");
        assert!(scene.away.found().await == contents(&wanted));
        // It is an ordinary state of the share, which is published and read elsewhere.
        scene.away.gateway.commit("docs").await.unwrap();
        scene.away.gateway.remove_branch("docs", &scene.branch).await.unwrap();
        scene.away.files = wanted;
        assert!(scene.away.found().await == contents(&scene.away.files));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_links_and_attributes_come_with_the_branch_and_what_fills_a_removed_directory_stays() {
    let mut state = 7;
    let scene = Scene::random(&mut state).await;
    // A second branch, of what the other side does now.
    let (home, away) = (&scene.home.gateway, &scene.away.gateway);
    home.rejoin("docs", tidegate_gateway::appliance::Rejoin::TakeOver).await.unwrap();
    let namespace = away.namespace("docs").unwrap();
    let set = SetAttributes { mode: Some(0o750), ..SetAttributes::default() };
    let new = NewFile::new(Kind::Directory, set);
    let made = namespace.make(context(), InodeNumber::ROOT, b"new", new, None).await.unwrap();
    let directory = made.object.unwrap().number;
    let file = create(&namespace, directory, b"one").await.unwrap();
    write(&namespace, file, 0, b"content").await.unwrap();
    namespace.link(context(), file, directory, b"two").await.unwrap();
    let mut link = NewFile::new(Kind::Symlink, SetAttributes::default());
    link.target = bytes::Bytes::from_static(b"one");
    namespace.make(context(), directory, b"soft", link, None).await.unwrap();
    let old = lookup(&namespace, InodeNumber::ROOT, b"d1").await.unwrap();
    let node = namespace.reader().node(old).await.unwrap();
    for entry in namespace.reader().list(&node, 0, 1000).await.unwrap().entries {
        if matches!(&entry.name[..], b"." | b"..") {
            continue;
        }
        namespace.remove(context(), old, &entry.name).await.unwrap();
    }
    namespace.remove_directory(context(), InodeNumber::ROOT, b"d1").await.unwrap();
    let home_files = home.namespace("docs").unwrap();
    let d1 = lookup(&home_files, InodeNumber::ROOT, b"d1").await.unwrap();
    create(&home_files, d1, b"added here").await.unwrap();
    home.commit("docs").await.unwrap();
    away.commit("docs").await.unwrap_err();
    let branch = loop {
        let branches = home.branches("docs").await.unwrap();
        if branches.len() == 2 {
            break branches.into_iter().next_back().unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let map = home.frozen_map(&branch.head).unwrap();
    let base = FrozenMap { root: branch.base.unwrap(), nodes: map.nodes.clone() };
    let sides = Sides::new(base, map.clone()).await.unwrap();
    let request = BranchApplyRequest { on_conflict: OnConflict::Ours, ..BranchApplyRequest::default() };
    let report = apply(&sides, &home_files, &request, SUFFIX, &JobHandle::new()).await.unwrap();
    assert_eq!((report.conflicts, report.kept), (1, 1), "{report:?}");
    assert_eq!(report.named[0].to_string(), "/d1");
    lookup(&home_files, d1, b"added here").await.unwrap();

    let new = lookup(&home_files, InodeNumber::ROOT, b"new").await.unwrap();
    let made = home_files.reader().node(new).await.unwrap();
    let wanted = Reader { map: &map }.node(directory).await.unwrap();
    assert_eq!((made.inode.mode, made.inode.times.modified), (0o750, wanted.inode.times.modified));
    let one = lookup(&home_files, new, b"one").await.unwrap();
    assert_eq!(lookup(&home_files, new, b"two").await.unwrap(), one);
    assert_eq!(read_all(&home_files, one).await.unwrap(), b"content");
    let soft = lookup(&home_files, new, b"soft").await.unwrap();
    assert_eq!(home_files.reader().node(soft).await.unwrap().inode.target, b"one"[..]);
}

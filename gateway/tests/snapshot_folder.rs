//! Claims about `.snapshot`, asked through the view that the NFS server asks.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_gateway::appliance::{Appliance, SnapshotEntry};
use tidegate_gateway::namespace::NewFile;
use tidegate_protocols::view::{
    Attributes, Call, Caller, CreateHow, Device, FileKind, FileView, FsError, Handle, PageLimit,
    SetAttributes, Stability,
};
use tidegate_replicator::map::{InodeNumber, Kind};
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

use support::{config, context, create, init, lookup, noise, open, reopen, slot_key, write};

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    key: SlotKey,
    appliance: Arc<Appliance>,
    call: Call,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let appliance = open(&folder.path().join("data"), store.clone(), &key).await;
        appliance.serve(config("docs")).await.unwrap();
        Self { folder, store, key, appliance, call: call_of(0) }
    }

    async fn restart(&mut self) {
        self.appliance.close().await.unwrap();
        // The old appliance must let go of its folder first.
        let spare = open(&self.folder.path().join("spare"), self.store.clone(), &self.key).await;
        drop(std::mem::replace(&mut self.appliance, spare));
        self.appliance = reopen(&self.folder.path().join("data"), self.store.clone(), &self.key).await;
        self.appliance.serve(config("docs")).await.unwrap();
    }

    async fn snapshot(&self, label: &str) -> SnapshotEntry {
        self.appliance.create_snapshot("docs", label, BTreeMap::new()).await.unwrap()
    }

    /// Writes a file of the root directory anew.
    async fn put(&self, name: &[u8], content: &[u8]) -> InodeNumber {
        let namespace = self.appliance.namespace("docs").unwrap();
        let file = match lookup(&namespace, InodeNumber::ROOT, name).await {
            Ok(file) => file,
            Err(_) => create(&namespace, InodeNumber::ROOT, name).await.unwrap(),
        };
        write(&namespace, file, 0, content).await.unwrap();
        file
    }

    async fn make_directory(&self, parent: InodeNumber, name: &[u8]) -> InodeNumber {
        let namespace = self.appliance.namespace("docs").unwrap();
        let set = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
        let made = namespace.make(context(), parent, name, NewFile::new(Kind::Directory, set), None).await;
        made.unwrap().object.unwrap().number
    }

    /// The handle of a path, as MOUNT or step by step.
    async fn path(&self, path: &str) -> Result<Handle, FsError> {
        let mut handle = self.appliance.files().mount(&self.call, b"/docs").await?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let found = self.appliance.files().lookup(&self.call, &handle, name.as_bytes()).await;
            handle = found.map_err(|failure| failure.error)?.handle;
        }
        Ok(handle)
    }

    async fn attributes(&self, path: &str) -> Attributes {
        self.appliance.files().attributes(&self.call, &self.path(path).await.unwrap()).await.unwrap()
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, FsError> {
        let file = self.path(path).await?;
        let read = self.appliance.files().read(&self.call, &file, 0, 1 << 20).await;
        Ok(read.map_err(|failure| failure.error)?.pieces.concat())
    }

    /// All names of a directory, in pages of `page`.
    async fn names(&self, path: &str, page: usize) -> Vec<String> {
        let (directory, mut cookie, mut names) = (self.path(path).await.unwrap(), 0, Vec::new());
        let limit = PageLimit { entries: page, with_objects: true };
        loop {
            let page = self.appliance.files().read_directory(&self.call, &directory, cookie, [0; 8], limit);
            let page = page.await.unwrap();
            assert!(page.entries.len() <= limit.entries);
            for entry in page.entries {
                assert!(entry.cookie > cookie, "cookies grow");
                cookie = entry.cookie;
                // The folder of moments lists names alone.
                if !entry.name.starts_with(b".") && !path.ends_with(".snapshot") {
                    let found = self.appliance.files().lookup(&self.call, &directory, &entry.name);
                    let found = found.await.unwrap();
                    assert!(entry.object == Some((found.handle, found.attributes)), "what a look-up finds");
                }
                names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            }
            if page.end {
                return names;
            }
        }
    }

    /// The name under `.snapshot` of the snapshot with a label.
    async fn named(&self, label: &str) -> String {
        let names = self.names(".snapshot", 100).await;
        names.into_iter().find(|name| name.ends_with(&format!(".{label}"))).unwrap()
    }
}

fn call_of(uid: u32) -> Call {
    let address = "127.0.0.1:700".parse().unwrap();
    Call { caller: Caller { uid, gid: uid, gids: Vec::new(), address }, retry: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_directory_shows_what_was_retained_as_it_was() {
    let scene = Scene::new().await;
    let inner = scene.make_directory(InodeNumber::ROOT, b"inner").await;
    scene.put(b"file", b"first").await;
    let namespace = scene.appliance.namespace("docs").unwrap();
    let deep = create(&namespace, inner, b"deep").await.unwrap();
    let content = noise(3, 900_000);
    write(&namespace, deep, 0, &content).await.unwrap();
    scene.snapshot("one").await;
    scene.put(b"file", b"second").await;
    scene.put(b"newer", b"newer").await;
    namespace.remove(context(), inner, b"deep").await.unwrap();
    scene.appliance.commit("docs").await.unwrap();
    scene.put(b"file", b"third!").await;

    assert_eq!(scene.names("", 100).await, [".", "..", "inner", "file", "newer"], "it is in no listing");
    let shown = scene.names(".snapshot", 100).await;
    assert_eq!(shown.len(), 4, "a snapshot and a head: {shown:?}");
    assert_eq!(shown[..2], [".", ".."]);
    let one = scene.named("one").await;
    let head = shown[2..].iter().find(|name| **name != one).unwrap();
    assert!(head < &one || head.ends_with('Z'), "{head}");
    assert_eq!(scene.read("file").await.unwrap(), b"third!");
    assert_eq!(scene.read(&format!(".snapshot/{head}/file")).await.unwrap(), b"second");
    assert_eq!(scene.read(&format!(".snapshot/{one}/file")).await.unwrap(), b"first");
    assert_eq!(scene.names(&format!(".snapshot/{one}"), 2).await, [".", "..", "inner", "file"]);
    // In the directory, and through the root: the same.
    for path in [format!("inner/.snapshot/{one}/deep"), format!(".snapshot/{one}/inner/deep")] {
        assert!(scene.read(&path).await.unwrap() == content, "{path}");
    }
    assert_eq!(scene.read(&format!("inner/.snapshot/{head}/deep")).await, Err(FsError::NotFound));
    assert_eq!(scene.read(&format!("inner/.snapshot/{one}/../file")).await.unwrap(), b"first");
    assert_eq!(scene.read("inner/.snapshot/../../file").await.unwrap(), b"third!");
    assert_eq!(scene.read(".snapshot/never/file").await, Err(FsError::NotFound));
    // A file has none, and neither has what is frozen.
    assert_eq!(scene.path("file/.snapshot").await, Err(FsError::NotDirectory));
    assert_eq!(scene.path(&format!(".snapshot/{one}/.snapshot")).await, Err(FsError::NotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_shows_nothing_from_before_it_was_made() {
    let scene = Scene::new().await;
    scene.snapshot("before").await;
    scene.make_directory(InodeNumber::ROOT, b"young").await;
    assert_eq!(scene.names("young/.snapshot", 100).await, [".", ".."]);
    let before = scene.named("before").await;
    assert_eq!(scene.path(&format!("young/.snapshot/{before}")).await, Err(FsError::NotFound));
    scene.snapshot("after").await;
    assert_eq!(scene.names("young/.snapshot", 100).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_view_is_a_file_system_of_its_own() {
    let scene = Scene::new().await;
    scene.put(b"file", b"data").await;
    let entry = scene.snapshot("one").await;
    let one = scene.named("one").await;
    let paths = ["", ".snapshot", &format!(".snapshot/{one}")];
    let mut seen = BTreeSet::new();
    for path in paths {
        let attributes = scene.attributes(path).await;
        assert_eq!((attributes.kind, attributes.file_id), (FileKind::Directory, 1), "{path}");
        assert!(seen.insert(attributes.fsid), "{path}");
    }
    let list = scene.attributes(".snapshot").await;
    let frozen_at = entry.snapshot.head.frozen_at.as_nanos();
    assert_eq!((list.mode, list.modified.seconds), (0o555, frozen_at / 1_000_000_000));
    let root = scene.path(&format!(".snapshot/{one}")).await.unwrap();
    let space = scene.appliance.files().space(&scene.call, &root).await.unwrap();
    assert_eq!((space.bytes_total, space.bytes_free, space.files_total), (4, 0, 2));
    let mounted =
        scene.appliance.files().mount(&scene.call, format!("/docs/.snapshot/{one}").as_bytes()).await;
    assert_eq!(mounted.unwrap(), root);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_below_it_changes_and_its_name_is_taken() {
    let scene = Scene::new().await;
    scene.put(b"file", b"data").await;
    scene.snapshot("one").await;
    let one = scene.named("one").await;
    let (files, call) = (scene.appliance.files(), &scene.call);
    let set = SetAttributes { mode: Some(0o700), ..SetAttributes::default() };
    let guarded = CreateHow::Guarded(set);
    let live = scene.path("").await.unwrap();
    let live_file = scene.path("file").await.unwrap();
    for path in [".snapshot", &format!(".snapshot/{one}")] {
        let at = scene.path(path).await.unwrap();
        let refused = [
            files.set_attributes(call, &at, set, None).await,
            files.create(call, &at, b"new", guarded).await,
            files.make_directory(call, &at, b"new", set).await,
            files.make_symlink(call, &at, b"new", set, b"to").await,
            files.make_node(call, &at, b"new", FileKind::Fifo, Device::default(), set).await,
            files.remove(call, &at, b"file").await,
            files.remove_directory(call, &at, one.as_bytes()).await,
            files.rename(call, (&at, b"file"), (&at, b"moved")).await,
            files.rename(call, (&live, b"file"), (&at, b"moved")).await,
            files.link(call, &live_file, &at, b"other").await,
        ];
        for (place, refused) in refused.into_iter().enumerate() {
            assert_eq!(refused.unwrap_err().error, FsError::ReadOnly, "change {place} of {path}");
        }
        let (granted, _) = files.access(call, &at, 0x3f).await.unwrap();
        assert_eq!(granted, 0x03, "read and look up, in {path}");
    }
    let file = scene.path(&format!(".snapshot/{one}/file")).await.unwrap();
    let written = files.write(call, &file, 0, Bytes::from_static(b"x"), Stability::Unstable).await;
    assert_eq!(written.unwrap_err().error, FsError::ReadOnly);

    let taken = [
        files.create(call, &live, b".snapshot", guarded).await,
        files.make_directory(call, &live, b".snapshot", set).await,
        files.make_symlink(call, &live, b".snapshot", set, b"to").await,
        files.rename(call, (&live, b"file"), (&live, b".snapshot")).await,
        files.link(call, &live_file, &live, b".snapshot").await,
    ];
    for (place, taken) in taken.into_iter().enumerate() {
        assert_eq!(taken.unwrap_err().error, FsError::Exists, "name given {place}");
    }
    let kept = [
        files.remove(call, &live, b".snapshot").await,
        files.remove_directory(call, &live, b".snapshot").await,
        files.rename(call, (&live, b".snapshot"), (&live, b"moved")).await,
    ];
    for (place, kept) in kept.into_iter().enumerate() {
        assert_eq!(kept.unwrap_err().error, FsError::Access, "name taken away {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_those_of_then_and_of_the_directory_now() {
    let scene = Scene::new().await;
    let closed = scene.make_directory(InodeNumber::ROOT, b"closed").await;
    scene.put(b"file", b"data").await;
    scene.snapshot("one").await;
    let one = scene.named("one").await;
    let namespace = scene.appliance.namespace("docs").unwrap();
    let set = SetAttributes { mode: Some(0o700), ..SetAttributes::default() };
    namespace.set_attributes(context(), closed, set, None).await.unwrap();
    let stranger = Scene { call: call_of(1000), ..scene };
    assert_eq!(stranger.path("closed/.snapshot").await, Err(FsError::Access));
    assert!(stranger.path(&format!(".snapshot/{one}/closed")).await.is_ok(), "it was open then");
    assert_eq!(stranger.read(&format!(".snapshot/{one}/file")).await.unwrap(), b"data");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_search_a_directory_is_told_names_alone() {
    let scene = Scene::new().await;
    let namespace = scene.appliance.namespace("docs").unwrap();
    for (name, mode) in [(&b"readable"[..], 0o744), (&b"searchable"[..], 0o755)] {
        let directory = scene.make_directory(InodeNumber::ROOT, name).await;
        create(&namespace, directory, b"inside").await.unwrap();
        let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
        namespace.set_attributes(context(), directory, set, None).await.unwrap();
    }
    scene.snapshot("one").await;
    let one = scene.named("one").await;
    let stranger = Scene { call: call_of(1000), ..scene };
    for (name, may_search) in [("readable", false), ("searchable", true)] {
        for path in [name.to_owned(), format!(".snapshot/{one}/{name}")] {
            let directory = stranger.path(&path).await.unwrap();
            let limit = PageLimit { entries: 100, with_objects: true };
            let files = stranger.appliance.files();
            let page = files.read_directory(&stranger.call, &directory, 0, [0; 8], limit).await.unwrap();
            let names: Vec<_> = page.entries.iter().map(|entry| &entry.name[..]).collect();
            assert_eq!(names, [&b"."[..], b"..", b"inside"], "{path}");
            assert!(page.entries.iter().all(|entry| entry.object.is_some() == may_search), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_outlive_a_restart_and_go_with_their_snapshot() {
    let mut scene = Scene::new().await;
    scene.put(b"file", b"data").await;
    let entry = scene.snapshot("one").await;
    scene.put(b"file", b"more").await;
    scene.appliance.commit("docs").await.unwrap();
    let one = scene.named("one").await;
    let file = scene.path(&format!(".snapshot/{one}/file")).await.unwrap();
    scene.restart().await;
    let read = scene.appliance.files().read(&scene.call, &file, 0, 100).await.unwrap();
    assert_eq!(read.pieces.concat(), b"data");
    scene.appliance.remove_snapshot("docs", entry.id).await.unwrap();
    // Its head is retained still, under the same time and another number.
    let shown = scene.names(".snapshot", 100).await;
    assert!(!shown.contains(&one) && shown.len() == 4, "{shown:?}");
    let read = scene.appliance.files().read(&scene.call, &file, 0, 100).await;
    assert_eq!(read.unwrap_err().error, FsError::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_to_the_bin_goes_out_of_the_folder_and_comes_back_under_its_name() {
    let scene = Scene::new().await;
    scene.put(b"file", b"data").await;
    let entry = scene.snapshot("one").await;
    scene.put(b"file", b"more").await;
    scene.appliance.commit("docs").await.unwrap();
    let one = scene.named("one").await;
    let week = std::time::Duration::from_hours(7 * 24);
    let until = scene.appliance.bin_snapshot("docs", entry.id, week).await.unwrap();
    assert!(until.is_some_and(|until| until > entry.snapshot.taken_at));
    assert!(!scene.names(".snapshot", 100).await.contains(&one));
    assert!(scene.appliance.snapshots("docs").await.unwrap().is_empty());
    assert_eq!(scene.appliance.bin_snapshot("docs", entry.id, week).await.unwrap(), None);
    let inside = scene.appliance.bin("docs").await.unwrap().remove(0);
    assert_eq!((inside.of, &inside.snapshot), (Some(entry.id), &entry.snapshot));
    let back = scene.appliance.unbin_snapshot("docs", &inside, None).await.unwrap().unwrap();
    assert_eq!(back.snapshot, entry.snapshot);
    assert_eq!(scene.read(&format!(".snapshot/{one}/file")).await.unwrap(), b"data");
    assert!(scene.appliance.bin("docs").await.unwrap().is_empty());
    // Nobody is in the bin from the start.
    let tags = BTreeMap::from([("tidegate.bin.until".to_owned(), "2020-01-01T00:00:00Z".to_owned())]);
    assert!(scene.appliance.create_snapshot("docs", "two", tags).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_in_pages_neither_repeats_nor_loses_what_was_there_throughout() {
    let scene = Scene::new().await;
    for number in 0..9u8 {
        scene.put(b"file", &[number]).await;
        scene.snapshot(&format!("{number}")).await;
    }
    let there: BTreeSet<String> = scene.names(".snapshot", 100).await.into_iter().collect();
    assert_eq!(there.len(), 11);
    let directory = scene.path(".snapshot").await.unwrap();
    let (mut cookie, mut seen) = (0, Vec::new());
    loop {
        let limit = PageLimit { entries: 2, with_objects: false };
        let page = scene.appliance.files().read_directory(&scene.call, &directory, cookie, [0; 8], limit);
        let page = page.await.unwrap();
        cookie = page.entries.last().map_or(cookie, |entry| entry.cookie);
        seen.extend(page.entries.into_iter().map(|entry| String::from_utf8(entry.name.to_vec()).unwrap()));
        if page.end {
            break;
        }
        scene.put(b"file", seen.len().to_string().as_bytes()).await;
        scene.snapshot("between").await;
    }
    let once: BTreeSet<String> = seen.iter().cloned().collect();
    assert_eq!(once.len(), seen.len(), "nothing came twice");
    assert!(once.is_superset(&there), "nothing was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_can_do_without_it() {
    let scene = Scene::new().await;
    scene.put(b"file", b"data").await;
    scene.snapshot("one").await;
    let one = scene.named("one").await;
    let mut held = Vec::new();
    for path in [".snapshot", &format!(".snapshot/{one}"), &format!(".snapshot/{one}/file")] {
        held.push(scene.path(path).await.unwrap());
    }
    let mut without = config("docs");
    without.rules.snapshot_folder = false;
    scene.appliance.serve(without).await.unwrap();
    assert_eq!(scene.path(".snapshot").await, Err(FsError::NotFound));
    for handle in &held {
        assert_eq!(scene.appliance.files().attributes(&scene.call, handle).await, Err(FsError::Stale));
    }
    let live = scene.path("").await.unwrap();
    let set = SetAttributes { mode: Some(0o755), ..SetAttributes::default() };
    scene.appliance.files().make_directory(&scene.call, &live, b".snapshot", set).await.unwrap();
    assert_eq!(scene.names("", 100).await, [".", "..", "file", ".snapshot"]);
    let reader = scene.appliance.namespace("docs").unwrap();
    let found = lookup(&reader, InodeNumber::ROOT, b".snapshot").await.unwrap();
    assert!(reader.reader().node(found).await.unwrap().inode.kind == Kind::Directory);
    // A client that was told so before still has its handles when it is shown again; and a file of that name is hidden.
    scene.put(b"last", b"data").await;
    scene.appliance.serve(config("docs")).await.unwrap();
    for handle in &held {
        assert!(scene.appliance.files().attributes(&scene.call, handle).await.is_ok());
    }
    for page in [1, 2, 3, 100] {
        assert_eq!(scene.names("", page).await, [".", "..", "file", "last"], "in pages of {page}");
    }
}

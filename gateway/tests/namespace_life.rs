//! Claims about what no NFS version 3 client can ask for: extended attributes, and files that lose their last
//! name while they are open.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_gateway::appliance::{Appliance, AttachPoint};
use tidegate_gateway::live::Usage;
use tidegate_gateway::namespace::{
    Context, Credentials, EXTENDED_TOTAL_BYTES_MAX, EXTENDED_VALUE_BYTES_MAX, ExtendedAttributes, Namespace,
    NewFile, SetHow,
};
use tidegate_protocols::view::{FsError, SetAttributes};
use tidegate_replicator::map::{InodeNumber, Kind};
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

use support::{config, context, create, init, lookup, noise, open, read_all, reopen, slot_key, write};

const ROOT_INODE: InodeNumber = InodeNumber::ROOT;
/// A share with nothing in it but its root directory.
const EMPTY: Usage = Usage { bytes: 0, inodes: 1 };

/// A gateway with an empty share, over a store that others can attach to.
struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    key: SlotKey,
    appliance: Arc<Appliance>,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let appliance = open(&Self::home(folder.path()), store.clone(), &key).await;
        appliance.serve(config("docs")).await.unwrap();
        Self { folder, store, key, appliance }
    }

    fn home(folder: &Path) -> std::path::PathBuf {
        folder.join("home")
    }

    fn namespace(&self) -> Namespace {
        self.appliance.namespace("docs").unwrap()
    }

    /// The share on another machine, from the newest head.
    async fn attach(&self) -> Arc<Appliance> {
        let away = open(&self.folder.path().join("away"), self.store.clone(), &self.key).await;
        away.attach("docs", AttachPoint::Newest).await.unwrap();
        away.serve(config("docs")).await.unwrap();
        away
    }

    async fn restart(&mut self) {
        self.appliance.close().await.unwrap();
        // The old appliance must let go of its folder first.
        let spare = open(&self.folder.path().join("spare"), self.store.clone(), &self.key).await;
        drop(std::mem::replace(&mut self.appliance, spare));
        self.appliance = reopen(&Self::home(self.folder.path()), self.store.clone(), &self.key).await;
        self.appliance.serve(config("docs")).await.unwrap();
    }

    async fn make(&self, kind: Kind, name: &[u8], mode: u32, uid: u32) -> InodeNumber {
        let set = SetAttributes { mode: Some(mode), uid: Some(uid), ..SetAttributes::default() };
        let made = self.namespace().make(context(), ROOT_INODE, name, NewFile::new(kind, set), None).await;
        made.unwrap().object.unwrap().number
    }
}

async fn set(namespace: &Namespace, file: InodeNumber, name: &str, value: &[u8]) -> Result<(), FsError> {
    let value = Bytes::copy_from_slice(value);
    namespace.set_extended(context(), file, name.as_bytes(), value, SetHow::Either).await.map(drop)
}

async fn attributes(namespace: &Namespace, file: InodeNumber) -> ExtendedAttributes {
    namespace.reader().extended_attributes(file).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_attributes_survive_restarts_heads_and_changes_of_names() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    let big = noise(5, EXTENDED_VALUE_BYTES_MAX);
    set(&namespace, file, "user.big", &big).await.unwrap();
    set(&namespace, file, "user.empty", b"").await.unwrap();
    set(&namespace, file, "user.gone", b"gone").await.unwrap();
    let before = namespace.reader().node(file).await.unwrap().inode;
    namespace.remove_extended(context(), file, b"user.gone").await.unwrap();
    let after = namespace.reader().node(file).await.unwrap().inode;
    assert!(after.change > before.change && after.times.changed >= before.times.changed);
    assert_eq!(after.times.modified, before.times.modified);
    namespace.link(context(), file, ROOT_INODE, b"other").await.unwrap();
    namespace.rename(context(), (ROOT_INODE, b"file"), (ROOT_INODE, b"moved")).await.unwrap();
    let wanted: ExtendedAttributes =
        [("user.big", Bytes::from(big)), ("user.empty", Bytes::new())].map(|(n, v)| (n.into(), v)).into();
    assert_eq!(attributes(&namespace, file).await, wanted);

    // As long as the journal has it, from the tree alone, and changed once more above the tree.
    scene.appliance.commit("docs").await.unwrap();
    assert_eq!(attributes(&namespace, file).await, wanted);
    let away = scene.attach().await;
    let namespace = away.namespace("docs").unwrap();
    let file = lookup(&namespace, ROOT_INODE, b"moved").await.unwrap();
    assert_eq!(attributes(&namespace, file).await, wanted);
    set(&namespace, file, "user.empty", b"no more").await.unwrap();
    namespace.remove_extended(context(), file, b"user.big").await.unwrap();
    let left: ExtendedAttributes = [("user.empty".into(), "no more".into())].into();
    assert_eq!(attributes(&namespace, file).await, left);
    away.commit("docs").await.unwrap();
    assert_eq!(attributes(&namespace, file).await, left);

    // With its last name everything goes, and its number does not come again.
    namespace.remove(context(), ROOT_INODE, b"moved").await.unwrap();
    namespace.remove(context(), ROOT_INODE, b"other").await.unwrap();
    assert_eq!(attributes(&namespace, file).await, ExtendedAttributes::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_attributes_have_the_bounds_and_errors_of_linux() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    let name = |length: usize| format!("user.{}", "n".repeat(length - 5));
    assert_eq!(set(&namespace, file, &name(256), b"").await, Err(FsError::NameTooLong));
    for bad in ["user.", "user.a\0b"] {
        assert_eq!(set(&namespace, file, bad, b"").await, Err(FsError::Invalid), "{bad:?}");
    }
    for unknown in ["user", "", "os2.name"] {
        assert_eq!(set(&namespace, file, unknown, b"").await, Err(FsError::NotSupported), "{unknown:?}");
    }
    let long = vec![0; EXTENDED_VALUE_BYTES_MAX + 1];
    assert_eq!(set(&namespace, file, "user.a", &long).await, Err(FsError::FileTooBig));
    assert_eq!(set(&namespace, InodeNumber(999), "user.a", b"").await, Err(FsError::Stale));

    let how = async |name: &[u8], how| {
        namespace.set_extended(context(), file, name, Bytes::from_static(b"v"), how).await.map(drop)
    };
    assert_eq!(how(b"user.a", SetHow::Replace).await, Err(FsError::NotFound));
    assert_eq!(how(b"user.a", SetHow::Create).await, Ok(()));
    assert_eq!(how(b"user.a", SetHow::Create).await, Err(FsError::Exists));
    assert_eq!(how(b"user.a", SetHow::Replace).await, Ok(()));
    let removed = namespace.remove_extended(context(), file, b"user.b").await;
    assert_eq!(removed.map(drop), Err(FsError::NotFound));

    // The names of an inode fill 64 KiB, each with a NUL, and not a byte more.
    for number in 0..255 {
        set(&namespace, file, &format!("{}{number:03}", name(252)), b"").await.unwrap();
    }
    let left = 65_536 - 255 * 256 - "user.a\0".len();
    assert_eq!(set(&namespace, file, &name(left), b"").await, Err(FsError::NoSpace));
    set(&namespace, file, &name(left - 1), b"").await.unwrap();
    // Names with their NULs and values fill 1 MiB, and not a byte more.
    let other = create(&namespace, ROOT_INODE, b"other").await.unwrap();
    for number in 0..15 {
        let value = vec![1; EXTENDED_VALUE_BYTES_MAX];
        set(&namespace, other, &format!("user.{number:02}"), &value).await.unwrap();
    }
    let full = vec![1; EXTENDED_TOTAL_BYTES_MAX - 15 * (8 + EXTENDED_VALUE_BYTES_MAX) - 7];
    assert_eq!(set(&namespace, other, "user.1", &[&full[..], b"1"].concat()).await, Err(FsError::NoSpace));
    set(&namespace, other, "user.1", &full).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn extended_attributes_follow_permissions() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let owner = Credentials { uid: 1000, gid: 1000, gids: Vec::new() };
    let stranger = Credentials { uid: 2000, gid: 2000, gids: Vec::new() };
    let by = async |who: &Credentials, file, name: &[u8]| {
        let context = Context::new(who);
        namespace.set_extended(context, file, name, Bytes::from_static(b"v"), SetHow::Either).await.map(drop)
    };
    let get = async |who: &Credentials, file, name: &[u8]| {
        namespace.reader().extended(file, name, who).await.map(drop)
    };
    let file = scene.make(Kind::Regular, b"file", 0o600, 1000).await;
    assert_eq!(by(&owner, file, b"user.a").await, Ok(()));
    assert_eq!(by(&stranger, file, b"user.a").await, Err(FsError::Access));
    assert_eq!(get(&stranger, file, b"user.a").await, Err(FsError::Access));
    assert_eq!(get(&owner, file, b"user.a").await, Ok(()));
    assert_eq!(get(&owner, file, b"user.b").await, Err(FsError::NotFound));
    for name in [b"trusted.a".as_slice(), b"security.a", b"system.a"] {
        assert_eq!(by(&owner, file, name).await, Err(FsError::NotOwner));
        assert_eq!(by(&Credentials::ROOT, file, name).await, Ok(()));
    }
    assert_eq!(get(&owner, file, b"trusted.a").await, Err(FsError::NotFound), "it is not even seen");
    assert_eq!(get(&stranger, file, b"security.a").await, Ok(()));
    let names = namespace.reader().extended_names(file, &owner).await.unwrap();
    assert_eq!(names, ["security.a", "system.a", "user.a"]);
    let names = namespace.reader().extended_names(file, &Credentials::ROOT).await.unwrap();
    assert_eq!(names.len(), 4);

    let sticky = scene.make(Kind::Directory, b"sticky", 0o1777, 1000).await;
    assert_eq!(by(&stranger, sticky, b"user.a").await, Err(FsError::NotOwner));
    assert_eq!(by(&owner, sticky, b"user.a").await, Ok(()));
    let fifo = scene.make(Kind::Fifo, b"fifo", 0o666, 1000).await;
    assert_eq!(by(&Credentials::ROOT, fifo, b"user.a").await, Err(FsError::NotOwner));
    assert_eq!(by(&Credentials::ROOT, fifo, b"trusted.a").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_file_outlives_its_last_name_until_it_is_closed() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let file = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, file, 0, b"before").await.unwrap();
    namespace.open(file).await.unwrap();
    namespace.open(file).await.unwrap();
    namespace.remove(context(), ROOT_INODE, b"file").await.unwrap();
    assert_eq!(lookup(&namespace, ROOT_INODE, b"file").await, Err(FsError::NotFound));
    assert_eq!(namespace.reader().node(file).await.unwrap().inode.links, 0);
    write(&namespace, file, 6, b" and after").await.unwrap();
    let linked = namespace.link(context(), file, ROOT_INODE, b"again").await;
    assert_eq!(linked.map(drop), Err(FsError::NotFound));
    scene.appliance.commit("docs").await.unwrap();
    namespace.close(file).await.unwrap();
    assert_eq!(read_all(&namespace, file).await.unwrap(), b"before and after");
    assert_eq!(namespace.share().usage().inodes, 2);
    namespace.close(file).await.unwrap();
    assert_eq!(read_all(&namespace, file).await, Err(FsError::Stale));
    scene.appliance.commit("docs").await.unwrap();
    assert_eq!(namespace.share().usage(), EMPTY);
    assert_eq!(namespace.open(file).await, Err(FsError::Stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_while_it_is_open_is_read_on() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let old = create(&namespace, ROOT_INODE, b"file").await.unwrap();
    write(&namespace, old, 0, b"old").await.unwrap();
    let new = create(&namespace, ROOT_INODE, b"new").await.unwrap();
    namespace.open(old).await.unwrap();
    namespace.rename(context(), (ROOT_INODE, b"new"), (ROOT_INODE, b"file")).await.unwrap();
    assert_eq!(lookup(&namespace, ROOT_INODE, b"file").await, Ok(new));
    assert_eq!(read_all(&namespace, old).await.unwrap(), b"old");
    namespace.close(old).await.unwrap();
    assert_eq!(read_all(&namespace, old).await, Err(FsError::Stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_without_a_name_is_gone_on_another_machine() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let lost = create(&namespace, ROOT_INODE, b"lost").await.unwrap();
    write(&namespace, lost, 0, &noise(1, 100_000)).await.unwrap();
    namespace.open(lost).await.unwrap();
    namespace.remove(context(), ROOT_INODE, b"lost").await.unwrap();
    let snapshot = scene.appliance.create_snapshot("docs", "", BTreeMap::new()).await.unwrap();

    let away = scene.attach().await;
    let elsewhere = away.namespace("docs").unwrap();
    assert_eq!(elsewhere.reader().node(lost).await.unwrap().inode.links, 0, "the head has it");
    away.commit("docs").await.unwrap();
    assert_eq!(read_all(&elsewhere, lost).await, Err(FsError::Stale));
    assert_eq!(elsewhere.share().usage(), EMPTY);
    // Back in time it is there again, and nobody has it open then.
    away.roll_back("docs", &snapshot.snapshot.head).await.unwrap();
    away.commit("docs").await.unwrap();
    let elsewhere = away.namespace("docs").unwrap();
    assert_eq!(read_all(&elsewhere, lost).await, Err(FsError::Stale));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_only_what_is_open_again_is_kept() {
    let mut scene = Scene::new().await;
    let namespace = scene.namespace();
    let lost = create(&namespace, ROOT_INODE, b"lost").await.unwrap();
    let kept = create(&namespace, ROOT_INODE, b"kept").await.unwrap();
    for file in [lost, kept] {
        write(&namespace, file, 0, b"data").await.unwrap();
        namespace.open(file).await.unwrap();
    }
    namespace.remove(context(), ROOT_INODE, b"lost").await.unwrap();
    namespace.remove(context(), ROOT_INODE, b"kept").await.unwrap();
    drop(namespace);
    scene.restart().await;
    let namespace = scene.namespace();
    namespace.open(kept).await.unwrap();
    scene.appliance.commit("docs").await.unwrap();
    assert_eq!(read_all(&namespace, lost).await, Err(FsError::Stale));
    assert_eq!(read_all(&namespace, kept).await.unwrap(), b"data");
    namespace.close(kept).await.unwrap();
    assert_eq!(read_all(&namespace, kept).await, Err(FsError::Stale));
}

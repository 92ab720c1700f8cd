//! Goal: who may do what follows the export rules that are in force and the groups that count, call by
//! call. Method: calls of made-up clients through the file view of an appliance.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use support::{config, init, open, slot_key};
use tempfile::TempDir;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::files::{GroupSource, Groups};
use tidegate_protocols::view::{
    Call, Caller, Changed, CreateHow, Device, FileKind, FileView, FsError, Handle, SetAttributes,
};
use tidegate_replicator::store::{MemoryStore, Store};

/// The group whose members may read the file of these tests.
const READERS: u32 = 20;
const ACCESS_READ: u32 = 1;

struct Served {
    appliance: Arc<Appliance>,
    root: Handle,
    _folder: TempDir,
}

fn call(uid: u32, gids: &[u32], port: u16) -> Call {
    let address = ([127, 0, 0, 1], port).into();
    Call { caller: Caller { uid, gid: 1, gids: gids.to_vec(), address }, retry: None }
}

fn mode(bits: u32) -> SetAttributes {
    SetAttributes { mode: Some(bits), ..SetAttributes::default() }
}

async fn serve() -> Served {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let key = slot_key(folder.path());
    init(store.clone(), &key).await;
    let appliance = open(&folder.path().join("data"), store, &key).await;
    appliance.serve(config("docs")).await.unwrap();
    let root = appliance.files().mount(&call(0, &[], 700), b"/docs").await.unwrap();
    Served { appliance, root, _folder: folder }
}

impl Served {
    /// A file of root with this mode.
    async fn file(&self, bits: u32) -> Handle {
        let (root, how, name) = (call(0, &[], 700), CreateHow::Guarded(mode(bits)), format!("{bits:o}"));
        let made = self.appliance.files().create(&root, &self.root, name.as_bytes(), how).await.unwrap();
        let (file, attributes) = made.object.unwrap();
        assert_eq!(attributes.mode, bits);
        file
    }

    /// A file of root that only the readers may read.
    async fn file_of_readers(&self) -> Handle {
        let set = SetAttributes { mode: Some(0o040), gid: Some(READERS), ..SetAttributes::default() };
        let how = CreateHow::Guarded(set);
        let made = self.appliance.files().create(&call(0, &[], 700), &self.root, b"file", how).await;
        made.unwrap().object.unwrap().0
    }

    async fn may_read(&self, file: &Handle, call: &Call) -> bool {
        self.appliance.files().access(call, file, ACCESS_READ).await.unwrap().0 == ACCESS_READ
    }
}

/// Knows one user, who is in thirty groups.
struct OneUser(u32);

#[async_trait::async_trait]
impl GroupSource for OneUser {
    async fn groups_of(&self, uid: u32) -> Option<Vec<u32>> {
        (uid == self.0).then(|| (1..=30).collect())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_of_the_server_count_instead_of_those_of_the_call() {
    let served = serve().await;
    let file = served.file_of_readers().await;
    let sixteen: Vec<u32> = (1..=16).collect();
    assert!(!served.may_read(&file, &call(1000, &sixteen, 700)).await, "the call cannot name the group");
    assert!(served.may_read(&file, &call(2000, &[READERS], 700)).await);
    served.appliance.files().take_groups_from(Groups::new(Arc::new(OneUser(1000))));
    assert!(served.may_read(&file, &call(1000, &sixteen, 700)).await, "the server knows better");
    assert!(served.may_read(&file, &call(2000, &[READERS], 700)).await, "who is not known keeps his groups");
    assert!(!served.may_read(&file, &call(2000, &[], 700)).await);
    served.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_that_change_hold_from_the_next_call_on() {
    let served = serve().await;
    let files = served.appliance.files();
    let (low, high) = (call(0, &[], 1023), call(0, &[], 1024));
    assert!(files.attributes(&high, &served.root).await.is_ok(), "any port will do unless the rules say so");
    let rules = |change: fn(&mut tidegate_gateway::files::ExportRules)| {
        let mut config = config("docs");
        change(&mut config.rules);
        config
    };

    served.appliance.serve(rules(|rules| rules.secure_ports = true)).await.unwrap();
    assert_eq!(files.attributes(&high, &served.root).await, Err(FsError::Access));
    assert_eq!(files.mount(&high, b"/docs").await, Err(FsError::Access));
    assert!(files.attributes(&low, &served.root).await.is_ok());
    assert_eq!(files.mount(&low, b"/docs").await.as_ref(), Ok(&served.root));

    let elsewhere = |rules: &mut tidegate_gateway::files::ExportRules| {
        rules.clients = vec!["192.0.2.0/24".parse().unwrap()];
    };
    served.appliance.serve(rules(elsewhere)).await.unwrap();
    assert_eq!(files.attributes(&low, &served.root).await, Err(FsError::Access));
    assert_eq!(files.mount(&low, b"/docs").await, Err(FsError::NotFound));
    assert_eq!(files.exports()[0].clients, ["192.0.2.0/24"]);

    served.appliance.serve(rules(|rules| rules.read_only = true)).await.unwrap();
    let removed = files.remove(&low, &served.root, b"nothing").await.unwrap_err();
    assert_eq!(removed.error, FsError::ReadOnly);
    assert!(removed.first.after.is_some(), "a refused change tells how the directory is");

    served.appliance.serve(config("docs")).await.unwrap();
    assert!(files.attributes(&high, &served.root).await.is_ok());
    assert_eq!(files.remove(&high, &served.root, b"nothing").await.unwrap_err().error, FsError::NotFound);
    served.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_makes_a_program_of_a_group_that_he_is_not_in() {
    const GROUP: u32 = 20;
    let served = serve().await;
    let files = served.appliance.files();
    let set = SetAttributes { gid: Some(GROUP), ..mode(0o2777) };
    let made = files.make_directory(&call(0, &[], 700), &served.root, b"shared", set).await;
    let directory = made.unwrap().object.unwrap().0;
    let given = |made: Changed| {
        let attributes = made.object.unwrap().1;
        assert_eq!(attributes.gid, GROUP, "the directory passes its group on");
        attributes.mode
    };
    for (name, groups, kept) in [("stranger", &[][..], 0), ("member", &[GROUP][..], 0o2000)] {
        let caller = call(1000, groups, 700);
        for (index, how) in
            [CreateHow::Guarded(mode(0o2777)), CreateHow::Unchecked(mode(0o2777))].into_iter().enumerate()
        {
            let name = format!("{name}-{index}");
            let made = files.create(&caller, &directory, name.as_bytes(), how).await.unwrap();
            assert_eq!(given(made), 0o777 | kept, "{name}");
        }
        let pipe = format!("{name}-pipe");
        let made = files.make_node(
            &caller,
            &directory,
            pipe.as_bytes(),
            FileKind::Fifo,
            Device::default(),
            mode(0o2770),
        );
        assert_eq!(given(made.await.unwrap()), 0o770 | kept, "{pipe}");
        let below = format!("{name}-directory");
        let made = files.make_directory(&caller, &directory, below.as_bytes(), mode(0o755)).await.unwrap();
        assert_eq!(given(made), 0o2755, "directories pass the group on, whoever makes them");
    }
    served.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_given_away_runs_as_nobody_special_whoever_gives_it() {
    let served = serve().await;
    let (files, root) = (served.appliance.files(), call(0, &[], 700));
    let to = |uid| SetAttributes { uid: Some(uid), ..SetAttributes::default() };
    for (bits, left) in [(0o6755, 0o755), (0o4711, 0o711), (0o2745, 0o2745)] {
        let file = served.file(bits).await;
        let given = files.set_attributes(&root, &file, to(1000), None).await.unwrap();
        assert_eq!(given.first.after.unwrap().mode, left, "{bits:o}");
        let with_mode = SetAttributes { mode: Some(bits), ..to(1001) };
        let given = files.set_attributes(&root, &file, with_mode, None).await.unwrap();
        assert_eq!(given.first.after.unwrap().mode, bits, "a mode in the same call stands");
    }
    let made = files.make_directory(&root, &served.root, b"shared", mode(0o2755)).await.unwrap();
    let directory = made.object.unwrap().0;
    let given = files.set_attributes(&root, &directory, to(1000), None).await.unwrap();
    assert_eq!(given.first.after.unwrap().mode, 0o2755, "a directory keeps passing its group on");
    let new = CreateHow::Guarded(SetAttributes { mode: Some(0o4755), ..to(1000) });
    let made = files.create(&root, &served.root, b"new", new).await.unwrap();
    assert_eq!(made.object.unwrap().1.mode, 0o4755, "it is made so");
    served.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_others_cut_runs_as_nobody_special() {
    let served = serve().await;
    let files = served.appliance.files();
    let (root, stranger) = (call(0, &[], 700), call(1000, &[], 700));
    let empty = SetAttributes { size: Some(0), ..SetAttributes::default() };
    let file = served.file(0o4777).await;
    let cut = files.set_attributes(&root, &file, empty, None).await.unwrap();
    assert_eq!(cut.first.after.unwrap().mode, 0o4777, "the superuser may");
    let cut = files.set_attributes(&stranger, &file, empty, None).await.unwrap();
    assert_eq!(cut.first.after.unwrap().mode, 0o777);
    served.file(0o6777).await;
    let cut = files.create(&stranger, &served.root, b"6777", CreateHow::Unchecked(empty)).await.unwrap();
    assert_eq!(cut.object.unwrap().1.mode, 0o777, "by a CREATE over it");
    served.appliance.close().await.unwrap();
}

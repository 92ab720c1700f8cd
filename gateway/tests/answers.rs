//! Goal: what a call answers is what happened, and holds: of a name that others take and give up meanwhile, of a
//! change that others have made and no disk has yet, of the end of a file.
//!
//! Method: calls on the namespace and the file view of an appliance, some of them at the same time.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use support::{ROOT, config, context, create, init, open, slot_key};
use tempfile::TempDir;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::journal::Sequence;
use tidegate_gateway::namespace::{Context, Namespace, Outcome};
use tidegate_protocols::view::{
    Call, Caller, CreateHow, FileView, FsError, SetAttributes, SetTime, Stability,
};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::store::{MemoryStore, Store};

const TOP: InodeNumber = InodeNumber::ROOT;

struct Scene {
    appliance: Arc<Appliance>,
    _folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let key = slot_key(folder.path());
        init(store.clone(), &key).await;
        let appliance = open(&folder.path().join("data"), store, &key).await;
        appliance.serve(config("docs")).await.unwrap();
        Self { appliance, _folder: folder }
    }

    fn namespace(&self) -> Namespace {
        self.appliance.namespace("docs").unwrap()
    }
}

fn sized(size: u64) -> SetAttributes {
    SetAttributes { mode: Some(0o644), size: Some(size), ..SetAttributes::default() }
}

/// Makes and removes one name, over and over; what the CREATEs were answered that failed.
async fn come_and_go(namespace: Namespace, how: CreateHow) -> Vec<FsError> {
    const TURNS: usize = 300;
    let mut failures = Vec::new();
    for _ in 0..TURNS {
        failures.extend(namespace.create(context(), TOP, b"name", how).await.err());
        // It may be somebody else's, or gone.
        let _ = namespace.remove(context(), TOP, b"name").await;
    }
    failures
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_create_of_a_name_that_comes_and_goes_says_that_it_exists_or_makes_it() {
    let scene = Scene::new().await;
    let ways = [
        CreateHow::Unchecked(sized(0)),
        CreateHow::Unchecked(SetAttributes::default()),
        CreateHow::Guarded(sized(0)),
        CreateHow::Exclusive([7; 8]),
        CreateHow::Exclusive([8; 8]),
    ];
    let tasks: Vec<_> =
        ways.iter().map(|how| (*how, tokio::spawn(come_and_go(scene.namespace(), *how)))).collect();
    for (how, task) in tasks {
        for failure in task.await.unwrap() {
            let may_exist = !matches!(how, CreateHow::Unchecked(_)) && failure == FsError::Exists;
            assert!(may_exist, "{how:?} was answered {failure:?}");
        }
    }
    scene.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_that_others_are_renamed_over_all_the_time_is_always_there() {
    const TURNS: usize = 300;
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    create(&namespace, TOP, b"name").await.unwrap();
    let renames = namespace.clone();
    let renaming = tokio::spawn(async move {
        for _ in 0..TURNS {
            create(&renames, TOP, b"fresh").await.unwrap();
            renames.rename(context(), (TOP, b"fresh"), (TOP, b"name")).await.unwrap();
        }
    });
    let top = namespace.reader().node(TOP).await.unwrap();
    while !renaming.is_finished() {
        let found = namespace.lookup(&top, b"name", &ROOT).await;
        assert!(found.is_ok(), "{found:?}");
    }
    renaming.await.unwrap();
    scene.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_over_a_file_is_noted_as_a_create() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let file = create(&namespace, TOP, b"file").await.unwrap();
    support::write(&namespace, file, 0, b"content").await.unwrap();
    let noted: Mutex<Vec<Outcome>> = Mutex::default();
    let note = |outcome: &Outcome| {
        noted.lock().push(outcome.clone());
        ([1; 16], Bytes::new())
    };
    let context = Context { note: Some(&note), ..Context::new(&ROOT) };
    let answered = namespace.create(context, TOP, b"file", CreateHow::Unchecked(sized(3))).await.unwrap();
    assert_eq!(answered.object.as_ref().map(|object| (object.number, object.inode.size)), Some((file, 3)));
    assert_eq!((answered.first.after.number, answered.second.is_none()), (TOP, true));
    assert_eq!(*noted.lock(), [answered], "a repetition after a crash gets what was answered");
    scene.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exclusive_create_is_repeated_until_the_file_is_changed() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let create = async |name: &[u8]| {
        let made = namespace.create(context(), TOP, name, CreateHow::Exclusive([7; 8])).await;
        made.map(|outcome| outcome.object.unwrap().number)
    };
    let mode = SetAttributes { mode: Some(0o644), ..SetAttributes::default() };
    let times = SetAttributes { modified: SetTime::Server, ..SetAttributes::default() };
    for (name, set) in [(&b"mode"[..], mode), (&b"times"[..], times), (&b"size"[..], sized(5))] {
        let file = create(name).await.unwrap();
        assert_eq!(create(name).await, Ok(file), "its maker did not see the answer");
        namespace.set_attributes(context(), file, set, None).await.unwrap();
        assert_eq!(create(name).await, Err(FsError::Exists), "its maker has gone on");
    }
    let file = create(b"data").await.unwrap();
    namespace.set_attributes(context(), file, SetAttributes::default(), None).await.unwrap();
    assert_eq!(create(b"data").await, Ok(file), "that was no change");
    support::write(&namespace, file, 0, b"content").await.unwrap();
    assert_eq!(create(b"data").await, Err(FsError::Exists));
    scene.appliance.close().await.unwrap();
}

/// Carries out a call just after a change that nobody has waited for; that is durable when the call is answered.
async fn is_answered_after_the_disk_has_it<F>(scene: &Scene, call: impl FnOnce() -> F)
where
    F: Future<Output = Result<Outcome, FsError>>,
{
    let namespace = scene.namespace();
    let other = create(&namespace, TOP, b"other").await.unwrap();
    // A large one, so that no sync of somebody else's is done with it already.
    let fresh = namespace.write(&ROOT, other, 0, Bytes::from(vec![7; 8 << 20])).await.unwrap().1;
    let durable = || namespace.share().live().journal().durable_sequence();
    call().await.unwrap();
    let on_disk: Sequence = durable();
    assert!(on_disk >= fresh, "{on_disk:?} is on the disk, and {fresh:?} was seen by the call");
    namespace.remove(context(), TOP, b"other").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn success_that_changes_nothing_waits_for_what_it_rests_on() {
    let scene = Scene::new().await;
    let namespace = scene.namespace();
    let exclusive = CreateHow::Exclusive([7; 8]);
    namespace.create(context(), TOP, b"file", exclusive).await.unwrap();
    let file = support::lookup(&namespace, TOP, b"file").await.unwrap();
    namespace.link(context(), file, TOP, b"name").await.unwrap();
    let unchecked = CreateHow::Unchecked(SetAttributes::default());
    is_answered_after_the_disk_has_it(&scene, || namespace.create(context(), TOP, b"file", unchecked)).await;
    is_answered_after_the_disk_has_it(&scene, || namespace.create(context(), TOP, b"file", exclusive)).await;
    is_answered_after_the_disk_has_it(&scene, || namespace.rename(context(), (TOP, b"file"), (TOP, b"name")))
        .await;
    scene.appliance.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_nothing_says_whether_the_file_ends_there() {
    let scene = Scene::new().await;
    let files = scene.appliance.files();
    let address = ([127, 0, 0, 1], 700).into();
    let call = Call { caller: Caller { uid: 0, gid: 0, gids: Vec::new(), address }, retry: None };
    let root = files.mount(&call, b"/docs").await.unwrap();
    let made = files.create(&call, &root, b"file", CreateHow::Guarded(sized(0))).await.unwrap();
    let file = made.object.unwrap().0;
    files.write(&call, &file, 0, Bytes::from_static(b"abc"), Stability::FileSync).await.unwrap();
    for (offset, count, end) in
        [(0, 0, false), (2, 0, false), (3, 0, true), (9, 0, true), (3, 5, true), (0, 2, false), (0, 3, true)]
    {
        let read = files.read(&call, &file, offset, count).await.unwrap();
        assert_eq!(read.end, end, "{count} bytes at {offset} of a file of three");
    }
    scene.appliance.close().await.unwrap();
}

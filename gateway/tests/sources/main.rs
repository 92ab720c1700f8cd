//! Sources of backup over a real appliance: what was saved comes back byte for byte, as often as it changes; a run that is
//! cut anywhere leaves what was there; what is wrong is said and never becomes a snapshot of nothing.
//!
//! Method: folders of this machine that are edited at random, an appliance over a store in memory, and the restore and the
//! check that need no gateway. `TIDEGATE_SEED` repeats a run.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../replicator/tests/repository_suite/support/dying_store.rs"]
mod dying_store;
mod edits;
mod scene;
mod ssh;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use tidegate_gateway::appliance::ShareConfig;
use tidegate_gateway::assembly::AppliancePolicies;
use tidegate_gateway::clock::{Clock, SystemClock};
use tidegate_gateway::control::{ErrorKind, JobHandle, PolicyRunRequest, SourceRunRequest};
use tidegate_gateway::policy::{Engine, Plan};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::UtcNanos;
use tidegate_replicator::store::{MemoryStore, Store};

use edits::{Chance, edit};
use scene::{FOLDER, Scene, seen, settings};
use support::{config, init, lookup, noise, read_all, slot_key};

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_comes_back_byte_for_byte_whatever_happens_to_it() {
    let mut chance = Chance::announced("a folder comes back");
    let scene = Scene::new(FOLDER).await;
    fs::write(scene.place().join("always"), b"here").unwrap();
    for _ in 0..6 {
        for _ in 0..60 {
            edit(&scene.place(), &mut chance);
        }
        let run = scene.run("home").await.unwrap();
        assert_eq!((run.left_out, run.torn), (0, 0), "{run:?}");
        scene.comes_back("home").await;
        scene.check().await;
    }
    assert_eq!(scene.snapshots("home").await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_cut_at_every_change_of_the_store_and_made_up_for() {
    let mut chance = Chance::announced("cut at every change");
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &slot_key(folder.path())).await);
    let mut scene = Scene::over(folder, store.clone(), FOLDER).await;
    for _ in 0..40 {
        edit(&scene.place(), &mut chance);
    }
    fs::write(scene.place().join("always"), b"here").unwrap();
    scene.run("home").await.unwrap();
    let whole = scene.snapshots("home").await;
    for (changes, applied) in (0..30).flat_map(|changes| [(changes, false), (changes, true)]) {
        for _ in 0..5 {
            edit(&scene.place(), &mut chance);
        }
        scene.appliance.close().await.unwrap();
        let Scene { folder, appliance, sources, .. } = scene;
        drop((appliance, sources));
        let dying = Arc::new(dying_store::DyingStore::new(store.clone(), changes, applied));
        let cut = Scene::over(folder, dying.clone(), FOLDER).await;
        let run = cut.run("home").await;
        cut.appliance.close().await.unwrap();
        let Scene { folder, appliance, sources, .. } = cut;
        drop((appliance, sources));
        scene = Scene::over(folder, store.clone(), FOLDER).await;
        let now = scene.snapshots("home").await;
        assert_eq!(now[0], whole[0], "what was saved before is as it was");
        if run.is_ok() {
            break;
        }
    }
    scene.run("home").await.unwrap();
    scene.comes_back("home").await;
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_not_change_is_not_read_and_costs_next_to_nothing() {
    let scene = Scene::new(FOLDER).await;
    for number in 0..300 {
        fs::write(scene.place().join(format!("file {number}")), noise(number, 3_000)).unwrap();
    }
    let old = fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
    fs::File::open(scene.place().join("file 7")).unwrap().set_times(old).unwrap();
    let first = scene.run("home").await.unwrap();
    assert_eq!((first.new, first.bytes_read), (300, 900_000));
    // Files as young as these are distrusted once.
    scene.run("home").await.unwrap();
    let again =
        scene.run_as("home", SourceRunRequest { rescan: true, ..SourceRunRequest::default() }).await.unwrap();
    assert_eq!(
        (again.bytes_read, again.bytes_new, again.changed, again.new, again.gone),
        (900_000, 0, 0, 0, 0)
    );
    let roots: Vec<_> = scene.snapshots("home").await.iter().map(|snapshot| snapshot.head.root.id).collect();
    assert_eq!(roots[1], roots[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_away_or_empty_is_an_error_and_no_snapshot() {
    let scene = Scene::new(&format!("{FOLDER}[[source]]\nname = \"none\"\nfolder = \"PLACE/none\"\n")).await;
    let missing = scene.run("none").await.unwrap_err();
    assert!(missing.message.contains("cannot be opened") && missing.message.contains("none"), "{missing}");
    let empty = scene.run("home").await.unwrap_err();
    assert!(empty.message.contains("the source is empty"), "{empty}");
    fs::write(scene.place().join("one"), b"1").unwrap();
    scene.run("home").await.unwrap();
    fs::remove_file(scene.place().join("one")).unwrap();
    scene.run("home").await.unwrap_err();
    assert_eq!(scene.snapshots("home").await.len(), 1);
    scene
        .run_as("home", SourceRunRequest { allow_empty: true, ..SourceRunRequest::default() })
        .await
        .unwrap();
    assert_eq!(scene.snapshots("home").await.len(), 2);
    assert_eq!(scene.snapshots("none").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_choose_and_the_gateway_leaves_its_own_data_out() {
    let tables = "[[source]]\nname = \"top\"\nfolder = \"PLACE/..\"\nexclude = [\"*.tmp\", \"cache/\"]\n\
                  include = [\"/source\", \"/data\"]\n";
    let tables = tables.replace("PLACE/..", "TOP");
    let folder = tempfile::tempdir().unwrap();
    let tables = tables.replace("TOP", folder.path().to_str().unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    drop(init(store.clone(), &slot_key(folder.path())).await);
    let scene = Scene::over(folder, store, &tables).await;
    fs::create_dir_all(scene.place().join("a/cache")).unwrap();
    for name in ["a/keep", "a/lose.tmp", "a/cache/lose"] {
        fs::write(scene.place().join(name), name).unwrap();
    }
    scene.run("top").await.unwrap();
    let restored = scene.restore("top").await;
    let paths: Vec<String> = seen(&restored.path().join("restored"))
        .into_keys()
        .map(|path| String::from_utf8(path).unwrap())
        .collect();
    assert_eq!(paths, ["", "source", "source/a", "source/a/keep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_saves_sources_beside_shares_and_forgets_by_its_rules() {
    let tables = format!(
        "[[share]]\nname = \"docs\"\n{FOLDER}[[policy]]\nname = \"nightly\"\nshares = [\"docs\"]\n\
         sources = [\"home\"]\nevery = \"1h\"\nkeep_last = 2\n"
    );
    let scene = Scene::new(&tables).await;
    scene.appliance.serve(config("docs")).await.unwrap();
    fs::write(scene.place().join("one"), b"1").unwrap();
    let host = AppliancePolicies::new(scene.appliance.clone(), scene.sources.clone());
    let engine = Engine::new(host, Arc::new(SystemClock));
    let tables = tables.replace("PLACE", scene.place().to_str().unwrap());
    engine.set(Plan::all(&settings(scene.folder.path(), &tables)));
    for round in 0..4 {
        fs::write(scene.place().join("one"), format!("{round}")).unwrap();
        let run = engine.run_now("nightly", &PolicyRunRequest::default(), &JobHandle::new()).await.unwrap();
        assert!(run.shares.iter().all(|share| share.error.is_none() && share.lacks.is_none()), "{run:?}");
        assert_eq!(run.shares[1].share, "home");
    }
    let kept = scene.snapshots("home").await;
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|snapshot| snapshot.policy.as_deref() == Some("nightly")));
    scene.comes_back("home").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_writes_is_a_file_and_a_command_that_fails_saves_nothing() {
    let command = |name: &str, script: &str, more: &str| {
        format!("[[source]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n{more}")
    };
    let tables = [
        command("good", "seq 1 200000", "file_name = \"numbers\"\n"),
        command("bad", "seq 1 100000; echo the disk is on fire >&2; exit 3", ""),
        command("slow", "sleep 600", "timeout = \"1s\"\n"),
        command("nothing", "true", ""),
    ]
    .concat();
    let scene = Scene::new(&tables).await;
    let run = scene.run("good").await.unwrap();
    let restored = scene.restore("good").await;
    let numbers: Vec<String> = (1..=200_000).map(|number| number.to_string()).collect();
    let numbers = numbers.join(
        "
",
    ) + "
";
    assert_eq!(fs::read(restored.path().join("restored/numbers")).unwrap(), numbers.as_bytes());
    let again = scene.run("good").await.unwrap();
    assert_eq!((run.bytes_read, again.bytes_new), (numbers.len() as u64, 0));
    let bad = scene.run("bad").await.unwrap_err();
    assert!(bad.message.contains("exit status: 3") && bad.message.contains("the disk is on fire"), "{bad}");
    let slow = scene.run("slow").await.unwrap_err();
    assert!(slow.message.contains("took longer than 1s"), "{slow}");
    assert_eq!((scene.snapshots("bad").await.len(), scene.snapshots("slow").await.len()), (0, 0));
    let nothing = scene.run("nothing").await.unwrap_err();
    assert!(nothing.message.contains("the source is empty"), "{nothing}");
    assert_eq!(scene.snapshots("nothing").await, []);
    let allowed = SourceRunRequest { allow_empty: true, ..SourceRunRequest::default() };
    scene.run_as("nothing", allowed).await.unwrap();
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_keeps_its_holes_and_stores_only_what_was_overwritten() {
    let scene = Scene::new("[[source]]\nname = \"disk\"\ndevice = \"PLACE/disk.img\"\n").await;
    let image = scene.place().join("disk.img");
    let file = fs::File::create(&image).unwrap();
    file.set_len((64 << 20) + 1000).unwrap();
    let write = |data: &[u8], at| std::os::unix::fs::FileExt::write_all_at(&file, data, at).unwrap();
    write(&noise(1, 4 << 20), 8 << 20);
    let first = scene.run("disk").await.unwrap();
    assert_eq!(first.bytes_read, 4 << 20, "what is zero is no data");
    let second = scene.run("disk").await.unwrap();
    assert_eq!((second.bytes_new, second.changed), (0, 0));
    write(&noise(2, 5_000), 9 << 20);
    let third = scene.run("disk").await.unwrap();
    assert_eq!((third.bytes_new, third.changed), (128 << 10, 1));
    let restored = scene.restore("disk").await;
    let back = restored.path().join("restored/disk.img");
    assert_eq!(fs::read(&back).unwrap(), fs::read(&image).unwrap());
    assert!(fs::metadata(&back).unwrap().blocks() * 512 < 8 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_lost_its_state_goes_on_and_a_line_of_another_host_is_not_touched() {
    let scene = Scene::new(FOLDER).await;
    fs::write(scene.place().join("one"), b"1").unwrap();
    scene.run("home").await.unwrap();
    scene.appliance.close().await.unwrap();
    let Scene { folder, store, appliance, sources } = scene;
    drop((appliance, sources));
    fs::remove_dir_all(folder.path().join("data")).unwrap();
    let scene = Scene::over(folder, store, FOLDER).await;
    fs::write(scene.place().join("two"), b"2").unwrap();
    let run = scene.run("home").await.unwrap();
    assert_eq!(run.new, 1, "over what was there before");
    assert_eq!(scene.snapshots("home").await.len(), 2);
    scene.comes_back("home").await;
    let shared = scene.run_as("nobody", SourceRunRequest::default()).await.unwrap_err();
    assert_eq!(shared.kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_do_not_wait_for_a_source_that_is_not_being_saved() {
    use tidegate_replicator::collect::{self, CollectOptions, Progress, condemn, finish_open, propose};
    let tables = format!("{FOLDER}[[source]]\nname = \"old\"\nfolder = \"PLACE/old\"\n");
    let scene = Scene::new(&tables).await;
    fs::create_dir(scene.place().join("old")).unwrap();
    fs::write(scene.place().join("old/large"), noise(1, 3 << 20)).unwrap();
    scene.run("old").await.unwrap();
    fs::remove_dir_all(scene.place().join("old")).unwrap();
    fs::write(scene.place().join("large"), noise(2, 8 << 20)).unwrap();
    scene.run("home").await.unwrap();
    // Nothing knows of the old source any more: what only it had is garbage.
    let repository = scene.repository().await;
    let old = repository.find_share("old").await.unwrap().unwrap().to_string();
    for prefix in ["heads/", "snapshots/", "leases/"] {
        for object in scene.store.list(prefix, None, 1000).await.unwrap().objects {
            if object.name.as_str().contains(&old) {
                scene.store.delete(&object.name).await.unwrap();
            }
        }
    }
    let options = || CollectOptions {
        grace: std::time::Duration::ZERO,
        delete_percent_max: 100,
        ..CollectOptions::new(later(), scene.folder.path().to_path_buf())
    };
    let proposal = propose(&repository, &options(), &collect::Silent).await.unwrap();
    assert!(proposal.condemned_bytes > 3 << 20);
    condemn(&repository, proposal, &options(), &collect::Silent).await.unwrap().unwrap();
    let waits = |rounds: &[collect::Round]| matches!(rounds[0].progress, Progress::Waiting(_));
    assert!(waits(&finish_open(&repository, &options(), &collect::Silent).await.unwrap()));
    scene.appliance.honour_for_sources().await;
    assert!(!waits(&finish_open(&repository, &options(), &collect::Silent).await.unwrap()));
    // What was condemned is no duplicate.
    fs::write(scene.place().join("again"), noise(1, 3 << 20)).unwrap();
    let run = scene.run("home").await.unwrap();
    assert_eq!(run.bytes_new, 3 << 20);
    scene.comes_back("home").await;
    scene.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_can_be_shown_read_only_as_a_share_is() {
    let scene = Scene::new(FOLDER).await;
    fs::create_dir(scene.place().join("docs")).unwrap();
    fs::write(scene.place().join("docs/one"), noise(1, 300_000)).unwrap();
    scene.run("home").await.unwrap();
    scene.appliance.serve(ShareConfig { follow: true, ..config("home") }).await.unwrap();
    let shown = scene.appliance.namespace("home").unwrap();
    let docs = lookup(&shown, InodeNumber::ROOT, b"docs").await.unwrap();
    let one = lookup(&shown, docs, b"one").await.unwrap();
    assert_eq!(read_all(&shown, one).await.unwrap(), noise(1, 300_000));
    fs::write(scene.place().join("docs/one"), b"changed").unwrap();
    scene.run("home").await.unwrap();
    assert_eq!(scene.appliance.heads("home", 10).await.unwrap().len(), 2);
    scene.comes_back("home").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_ends_soon_and_kills_its_command() {
    let script = "echo begun; sleep 600";
    let scene =
        Scene::new(&format!("[[source]]\nname = \"slow\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n"))
            .await;
    let (sources, job) = (scene.sources.clone(), JobHandle::new());
    let watched = job.clone();
    let run = tokio::spawn(async move {
        sources.run("slow", &SourceRunRequest::default(), None, &watched).await.map(|(_, run)| run)
    });
    while job.progress().phase != "read what is new" {
        tokio::task::yield_now().await;
    }
    job.cancel();
    assert_eq!(run.await.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(scene.snapshots("slow").await, []);
}

/// A second from now, so that everything is older.
fn later() -> UtcNanos {
    UtcNanos::new(SystemClock.utc().as_nanos() + 1_000_000_000)
}

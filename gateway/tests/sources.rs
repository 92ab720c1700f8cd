//! Sources of backup over a real appliance: what was saved comes back byte for byte, as often as it changes; a run that is
//! cut anywhere leaves what was there; what is wrong is said and never becomes a snapshot of nothing.
//!
//! Method: folders of this machine that are edited at random, an appliance over a store in memory, and the restore and the
//! check that need no gateway. `TIDEGATE_SEED` repeats a run.

#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use support::*;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::assembly::{AppliancePolicies, ApplianceSources};
use tidegate_gateway::clock::SystemClock;
use tidegate_gateway::control::{
    ControlError, ErrorKind, JobHandle, PolicyRunRequest, SourceRun, SourceRunRequest,
};
use tidegate_gateway::policy::{Engine, Plan};
use tidegate_gateway::settings::Settings;
use tidegate_replicator::check::{CheckOptions, Sample, Silent, check};
use tidegate_replicator::frozen::DomainReader;
use tidegate_replicator::repository::{Opened, Repository, Snapshot};
use tidegate_replicator::restore::{self, RestoreOptions, RestoreSource};
use tidegate_replicator::store::{MemoryStore, Store};

#[path = "../../replicator/tests/repository_suite/support/dying_store.rs"]
mod dying_store;

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    appliance: Arc<Appliance>,
    sources: Arc<ApplianceSources>,
}

fn settings(folder: &Path, tables: &str) -> Arc<Settings> {
    let data = folder.join("data");
    let text = format!(
        "[gateway]\ndata = {data:?}\n[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\n\
         address = \"file:///nowhere/repository\"\n{tables}"
    );
    Arc::new(Settings::parse(&text).unwrap_or_else(|error| panic!("{error}")))
}

impl Scene {
    async fn new(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &slot_key(folder.path())).await);
        Self::over(folder, store, tables).await
    }

    async fn over(folder: tempfile::TempDir, store: Arc<dyn Store>, tables: &str) -> Self {
        let appliance = open(&folder.path().join("data"), store.clone(), &slot_key(folder.path())).await;
        let place = folder.path().join("source");
        fs::create_dir_all(&place).unwrap();
        let tables = tables.replace("PLACE", place.to_str().unwrap());
        let sources = ApplianceSources::new(appliance.clone(), settings(folder.path(), &tables));
        Self { folder, store, appliance, sources }
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    async fn run(&self, name: &str) -> Result<SourceRun, ControlError> {
        self.run_as(name, SourceRunRequest::default()).await
    }

    async fn run_as(&self, name: &str, request: SourceRunRequest) -> Result<SourceRun, ControlError> {
        Ok(self.sources.run(name, &request, None, &JobHandle::new()).await?.1)
    }

    async fn repository(&self) -> Arc<Repository<Opened>> {
        let repository = Repository::open(self.store.clone(), &slot_key(self.folder.path())).await;
        Arc::new(repository.unwrap())
    }

    async fn snapshots(&self, name: &str) -> Vec<Snapshot> {
        let repository = self.repository().await;
        let Some(id) = repository.find_share(name).await.unwrap() else { return Vec::new() };
        let listed = repository.list_snapshots(id).await.unwrap();
        listed.into_iter().map(|(_, snapshot)| snapshot.unwrap()).collect()
    }

    /// Restores the newest snapshot to a new folder, without a gateway.
    async fn restore(&self, name: &str) -> tempfile::TempDir {
        let repository = self.repository().await;
        let head = self.snapshots(name).await.pop().unwrap().head;
        let reader = DomainReader::open(&repository, head.share.domain, 64 << 20).unwrap();
        let source = RestoreSource {
            frozen: reader.frozen(&head.root),
            repository: repository.id().to_string(),
            share: head.share.id.to_string(),
            path: Vec::new(),
        };
        let to = tempfile::tempdir().unwrap();
        let plan = restore::Plan::make(&source, &to.path().join("restored"), RestoreOptions::default()).await;
        let report = plan.unwrap().execute(&restore::Silent).await.unwrap();
        assert_eq!(report.failures, []);
        to
    }

    /// The repository is whole, to the last byte of data.
    async fn check(&self) {
        let sample = Sample { per_million: Sample::ALL, seed: 1 };
        let options = CheckOptions { read_data: Some(sample), ..CheckOptions::default() };
        let report = check(&self.repository().await, &options, &Silent).await.unwrap();
        assert_eq!(report.findings, []);
    }

    /// What the source is, and what is restored of it, are one.
    async fn comes_back(&self, name: &str) {
        let restored = self.restore(name).await;
        let (meant, is) = (seen(&self.place()), seen(&restored.path().join("restored")));
        assert_eq!(is.keys().collect::<Vec<_>>(), meant.keys().collect::<Vec<_>>());
        for (path, meant) in &meant {
            assert_eq!(is[path], *meant, "{}", String::from_utf8_lossy(path));
        }
    }
}

/// Everything of a file that a backup brings back.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
    /// Whether less is on the disk than its length.
    sparse: bool,
    device: u64,
    /// The first path with the same inode.
    same_as: Vec<u8>,
    extended: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn seen(top: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let (mut found, mut firsts) = (BTreeMap::new(), BTreeMap::new());
    let mut folders = BTreeSet::from([top.to_path_buf()]);
    while let Some(path) = folders.pop_first() {
        let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        if kind.is_dir() {
            folders.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let content = if kind.is_file() {
            fs::read(&path).unwrap()
        } else if kind.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else {
            Vec::new()
        };
        let same_as = firsts.entry(metadata.ino()).or_insert_with(|| name.clone()).clone();
        let seen = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            sparse: kind.is_file() && metadata.blocks() * 512 + (1 << 20) < metadata.len(),
            content,
            device: if kind.is_char_device() { metadata.rdev() } else { 0 },
            same_as,
            extended: if kind.is_file() || kind.is_dir() { extended(&path) } else { BTreeMap::new() },
        };
        found.insert(name, seen);
    }
    found
}

fn extended(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = [0; 4096];
    let length = rustix::fs::listxattr(path, &mut names).unwrap_or(0);
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut value = [0; 4096];
        let length = rustix::fs::getxattr(path, name, &mut value).unwrap();
        value[..length].to_vec()
    };
    names.map(|name| (name.to_vec(), value(name))).collect()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Pseudo-random numbers (SplitMix64).
struct Chance(u64);

impl Chance {
    fn announced(test: &str) -> Self {
        let given = std::env::var("TIDEGATE_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
        println!("{test}: TIDEGATE_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

/// All paths below a folder, folders apart.
fn paths(top: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut folders, mut files, mut at) = (vec![top.to_path_buf()], Vec::new(), 0);
    while at < folders.len() {
        for entry in fs::read_dir(&folders[at]).unwrap().map(Result::unwrap) {
            let list = if entry.file_type().unwrap().is_dir() { &mut folders } else { &mut files };
            list.push(entry.path());
        }
        at += 1;
    }
    (folders, files)
}

/// One change of a folder of this machine. What the system refuses is no change.
fn edit(top: &Path, chance: &mut Chance) {
    let (folders, files) = paths(top);
    let names: [&[u8]; 7] = [b"a", b"b", b"c.txt", b"\xff\xfe", b" -x", b"new\nline", b"long"];
    let mut name = chance.pick(&names).to_vec();
    if chance.below(2) == 0 {
        name.extend_from_slice(chance.below(20).to_string().as_bytes());
    }
    let path = chance.pick(&folders).join(std::ffi::OsStr::from_bytes(&name));
    let some = if files.is_empty() { path.clone() } else { chance.pick(&files) };
    match chance.below(14) {
        0..4 => drop(fs::write(&path, noise(chance.next(), chance.pick(&[0, 10, 5_000, 400_000])))),
        4 | 5 => drop(fs::create_dir(&path)),
        6 => drop(fs::remove_file(&some)),
        7 => drop(if folders.len() > 3 { fs::remove_dir_all(&folders[2]) } else { Ok(()) }),
        8 => drop(fs::rename(&some, &path)),
        9 => drop(fs::rename(chance.pick(&folders[folders.len() / 2..]), &path)),
        10 => drop(fs::hard_link(&some, &path)),
        11 => drop(std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(b"/nowhere/\xff"), &path)),
        12 => special(&path, &some, chance),
        _ => {
            let mode = chance.pick(&[0o600, 0o644, 0o750]);
            if fs::symlink_metadata(&some).is_ok_and(|found| found.is_file()) {
                drop(fs::set_permissions(&some, fs::Permissions::from_mode(mode)));
            }
        }
    }
}

fn special(path: &Path, some: &Path, chance: &mut Chance) {
    use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
    match chance.below(4) {
        0 => {
            let _ = mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0);
        }
        1 if is_root() => {
            let device = makedev(1, 3 + chance.below(3) as u32);
            let _ = mknodat(CWD, path, FileType::CharacterDevice, Mode::from_raw_mode(0o600), device);
        }
        2 if fs::symlink_metadata(some).is_ok_and(|found| found.is_file()) => {
            let _ = setxattr(some, "user.word", &noise(chance.next(), 50), XattrFlags::empty());
        }
        _ => {
            // A hole at each end, and data between.
            let file = fs::File::create(path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &noise(1, 200_000), 5 << 20).unwrap();
            file.set_len(20 << 20).unwrap();
        }
    }
}

const FOLDER: &str = "[[source]]\nname = \"home\"\nfolder = \"PLACE\"\n";

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
    ]
    .concat();
    let scene = Scene::new(&tables).await;
    let run = scene.run("good").await.unwrap();
    let restored = scene.restore("good").await;
    let numbers: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(fs::read(restored.path().join("restored/numbers")).unwrap(), numbers.as_bytes());
    let again = scene.run("good").await.unwrap();
    assert_eq!((run.bytes_read, again.bytes_new), (numbers.len() as u64, 0));
    let bad = scene.run("bad").await.unwrap_err();
    assert!(bad.message.contains("exit status: 3") && bad.message.contains("the disk is on fire"), "{bad}");
    let slow = scene.run("slow").await.unwrap_err();
    assert!(slow.message.contains("took longer than 1s"), "{slow}");
    assert_eq!((scene.snapshots("bad").await.len(), scene.snapshots("slow").await.len()), (0, 0));
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

//! Goal: a restore that is cut goes on where it was; what is damaged costs its own files only, by name, and
//! comes back when it is healed.
//! Method: an observer stops a restore at chosen moments; requests to the store and inodes of files show
//! what was done twice.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_replicator::frozen::DomainReader;
use tidegate_replicator::repository::{Repository, pack_name};
use tidegate_replicator::restore::{
    Observer, Plan, RestoreError, RestoreOptions, RestoreSource, STATE_FOLDER, Silent,
};
use tidegate_replicator::store::{ErrorKind, Fault, FaultStore, Operation, Rule, Store};
use tidegate_replicator::tree::Root;

use super::restore::restore_to;
use super::support::{CHUNK_BYTES, ROOT, Share, noise, quick_key};

/// Stops a restore after so many bytes.
struct StopAfter {
    bytes_left: AtomicU64,
}

impl Observer for StopAfter {
    fn written(&self, bytes: u64) {
        let taken = |left: u64| Some(left.saturating_sub(bytes));
        self.bytes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).unwrap();
    }

    fn is_cancelled(&self) -> bool {
        self.bytes_left.load(Ordering::Relaxed) == 0
    }
}

/// Few files at once, so that there is something to cut.
const OPTIONS: RestoreOptions = RestoreOptions { files_max: 8, lapses_named_max: 100 };

async fn forty_files() -> (Share, Root, BTreeMap<String, Vec<u8>>) {
    let (mut share, files) = unfrozen_files().await;
    let root = share.freeze().await;
    (share, root, files)
}

async fn unfrozen_files() -> (Share, BTreeMap<String, Vec<u8>>) {
    let mut share = Share::new().await;
    let mut files = BTreeMap::new();
    for number in 0..8_u32 {
        let inner = share.folder(ROOT, format!("folder-{number}").as_bytes());
        for at in 0..5_u32 {
            let content = noise((number * 10 + at).into(), CHUNK_BYTES);
            share.file(inner, format!("file-{at}").as_bytes(), &content);
            files.insert(format!("folder-{number}/file-{at}"), content);
        }
    }
    (share, files)
}

fn assert_all(to: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (name, content) in files {
        assert!(fs::read(to.join(name)).unwrap() == *content, "{name}");
    }
    assert!(!to.join(STATE_FOLDER).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_stopped_anywhere_goes_on_there() {
    let (share, root, files) = forty_files().await;
    // What was begun is gone on with, and that is two batches: so not later than this.
    for stopped_after in [1, 300_000, 900_000] {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("restored");
        let plan = Plan::make(&share.source(&root, &[]), &to, OPTIONS).await.unwrap();
        let observer = StopAfter { bytes_left: AtomicU64::new(stopped_after) };
        assert!(matches!(plan.execute(&observer).await, Err(RestoreError::Cancelled)));
        let there: BTreeMap<_, _> =
            files.keys().filter_map(|name| Some((name, fs::metadata(to.join(name)).ok()?.ino()))).collect();
        assert!(!there.is_empty() && there.len() < files.len(), "{stopped_after}: {}", there.len());

        let reader = share.reader();
        let mut source = share.source(&root, &[]);
        source.frozen = reader.frozen(&root);
        let plan = Plan::make(&source, &to, OPTIONS).await.unwrap();
        assert!(plan.is_resumed());
        assert_eq!(plan.totals().files_before, there.len() as u64);
        assert_eq!(plan.totals().bytes, ((files.len() - there.len()) * CHUNK_BYTES) as u64);
        let report = plan.execute(&Silent).await.unwrap();
        assert_eq!(report.files, (files.len() - there.len()) as u64);
        assert_eq!(report.bytes, report.files * CHUNK_BYTES as u64, "finished files are not fetched again");
        for (name, inode) in there {
            assert_eq!(fs::metadata(to.join(name)).unwrap().ino(), inode, "{name} was made twice");
        }
        assert_all(&to, &files);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_another_root_does_not_go_on_with_this_one() {
    let (mut share, root, _) = forty_files().await;
    share.file(ROOT, b"newer", b"x");
    let newer = share.freeze().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("restored");
    let plan = Plan::make(&share.source(&root, &[]), &to, OPTIONS).await.unwrap();
    let observer = StopAfter { bytes_left: AtomicU64::new(1) };
    plan.execute(&observer).await.unwrap_err();
    for (root, path) in [(&newer, &[][..]), (&root, &["folder-1"][..])] {
        let refused = Plan::make(&share.source(root, path), &to, OPTIONS).await;
        assert!(matches!(refused.err(), Some(RestoreError::NotEmpty { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_stay_links_across_a_cut() {
    let mut share = Share::new().await;
    let (first, last) = (share.folder(ROOT, b"a"), share.folder(ROOT, b"z"));
    let mut files = BTreeMap::new();
    for number in 0..20_u64 {
        let content = noise(number, CHUNK_BYTES);
        let file = share.file(first, format!("{number}").as_bytes(), &content);
        share.name(last, format!("{number}").as_bytes(), file);
        files.insert(format!("a/{number}"), content.clone());
        files.insert(format!("z/{number}"), content);
    }
    let root = share.freeze().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("restored");
    let plan = Plan::make(&share.source(&root, &[]), &to, OPTIONS).await.unwrap();
    assert_eq!(plan.totals().bytes, 20 * CHUNK_BYTES as u64, "a file with two names counts once");
    let observer = StopAfter { bytes_left: AtomicU64::new(12 * CHUNK_BYTES as u64) };
    plan.execute(&observer).await.unwrap_err();
    let report = restore_to(&share, &root, &[], &to).await;
    assert_eq!(report.failures, []);
    assert_all(&to, &files);
    for number in 0..20 {
        let of = |folder: &str| fs::metadata(to.join(format!("{folder}/{number}"))).unwrap();
        assert_eq!((of("a").ino(), of("a").nlink()), (of("z").ino(), 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_costs_its_file_and_a_healed_one_brings_it_back() {
    let (mut share, mut files) = unfrozen_files().await;
    let shared = share.file(ROOT, b"two names", &noise(3, CHUNK_BYTES));
    share.name(ROOT, b"two names too", shared);
    files.insert("two names".into(), noise(3, CHUNK_BYTES));
    files.insert("two names too".into(), noise(3, CHUNK_BYTES));
    let root = share.freeze().await;
    let at = share.place_of(&noise(3, CHUNK_BYTES));
    let pack = pack_name(at.pack);
    let whole = share.store.get(&pack, None).await.unwrap();
    share.spoil(&at).await;

    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("restored");
    let report = restore_to(&share, &root, &[], &to).await;
    let mut lost: Vec<_> = report.failures.iter().map(|failure| failure.path.clone()).collect();
    lost.sort();
    assert_eq!(lost, ["/folder-0/file-3", "/two names", "/two names too"]);
    assert!(report.failures[0].why.contains(&at.pack.to_string()), "{}", report.failures[0].why);
    for (name, content) in &files {
        if lost.contains(&format!("/{name}")) {
            assert!(!to.join(name).exists(), "{name}");
        } else {
            assert!(fs::read(to.join(name)).unwrap() == *content, "{name}");
        }
    }
    share.store.damage(&pack, whole);
    let report = restore_to(&share, &root, &[], &to).await;
    assert_eq!((report.files, report.failures.len()), (3, 0), "only what failed is tried again");
    assert_all(&to, &files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_whose_middle_is_damaged_is_left_out_as_a_whole() {
    let mut share = Share::new().await;
    let content = noise(9, 40 * CHUNK_BYTES);
    share.file(ROOT, b"large", &content);
    share.file(ROOT, b"small", b"good");
    let root = share.freeze().await;
    share.spoil(&share.place_of(&content[20 * CHUNK_BYTES..21 * CHUNK_BYTES])).await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("restored");
    let report = restore_to(&share, &root, &[], &to).await;
    assert_eq!(report.failures.len(), 1);
    assert!(!to.join("large").exists());
    assert_eq!(fs::read(to.join("small")).unwrap(), b"good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_away_stops_the_restore_and_does_not_count_as_damage() {
    let (share, root, files) = forty_files().await;
    let store = FaultStore::new(Arc::new(share.store.clone()), 0);
    let repository = Arc::new(Repository::open(Arc::new(store.clone()), &quick_key()).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("restored");
    let plan = || async {
        let reader = DomainReader::open(&repository, repository.default_domain(), 32 << 20).unwrap();
        let source = RestoreSource { frozen: reader.frozen(&root), ..share.source(&root, &[]) };
        Plan::make(&source, &to, OPTIONS).await
    };
    let whole = plan().await.unwrap();
    store.inject(Rule::on(Operation::Get).skipping(2), Fault::Before(ErrorKind::Transient));
    let error = whole.execute(&Silent).await.expect_err("the store is away");
    assert!(matches!(&error, RestoreError::Read(error) if error.is_away()), "{error}");
    assert!(matches!(plan().await.err(), Some(RestoreError::Read(_))));
    store.clear();
    let report = plan().await.unwrap().execute(&Silent).await.unwrap();
    assert_eq!(report.failures, []);
    assert!(report.files_before > 0);
    assert_all(&to, &files);
}

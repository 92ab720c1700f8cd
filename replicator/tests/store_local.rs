//! Goal: the memory and directory stores keep the contract; a directory shows exactly what a sorted
//! map would, survives killed puts, and notices when its file system is gone.
//! Method: the contract suite; random names against the memory store (proptest prints and accepts its
//! seed); leftovers and a swapped root made by hand.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_replicator::store::durable_file::is_leftover;
use tidegate_replicator::store::{
    Body, DirectoryStore, ErrorKind, MemoryStore, ObjectName, PutMode, Store, contract,
};

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).expect("a legal name")
}

async fn put(store: &dyn Store, at: &str, bytes: &'static str) {
    store.put(&name(at), Body::Bytes(Bytes::from(bytes)), PutMode::Overwrite).await.expect("stored");
}

fn directory() -> (tempfile::TempDir, DirectoryStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = DirectoryStore::create(&folder.path().join("store")).expect("created");
    (folder, store)
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    let store = MemoryStore::new();
    contract::check(Arc::new(store.clone()), "contract").await;
    assert!(store.names().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_store_keeps_the_contract() {
    let (_folder, store) = directory();
    contract::check(Arc::new(store.clone()), "contract").await;
    assert!(store.list("", None, 1).await.expect("listed").objects.is_empty());
}

#[tokio::test]
async fn what_was_put_is_there_after_opening_again() {
    let (folder, store) = directory();
    put(&store, "a/b", "1").await;
    let again = DirectoryStore::open(&folder.path().join("store")).expect("opened");
    assert_eq!(again.get(&name("a/b"), None).await.expect("read"), "1");
    assert_eq!(fs::read(folder.path().join("store/a/b")).expect("a plain file"), b"1");
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_not_made_by_opening() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let absent = folder.path().join("absent");
    let error = DirectoryStore::open(&absent).expect_err("there is none");
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    assert!(!absent.exists());
    fs::write(folder.path().join("file"), b"").expect("written");
    let error = DirectoryStore::open(&folder.path().join("file")).expect_err("it is a file");
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn an_unmounted_directory_is_an_error_and_not_empty() {
    let (folder, store) = directory();
    put(&store, "a", "1").await;
    fs::rename(folder.path().join("store"), folder.path().join("away")).expect("moved");
    for mounted in [false, true] {
        if mounted {
            fs::create_dir(folder.path().join("store")).expect("another directory in its place");
        }
        let kinds = [
            store.get(&name("a"), None).await.map(drop).expect_err("must fail").kind(),
            store.head(&name("a")).await.map(drop).expect_err("must fail").kind(),
            store.list("", None, 10).await.map(drop).expect_err("must fail").kind(),
            store.delete(&name("a")).await.expect_err("must fail").kind(),
            store
                .put(&name("b"), Body::Bytes(Bytes::new()), PutMode::Overwrite)
                .await
                .expect_err("must fail")
                .kind(),
        ];
        assert_eq!(kinds, [ErrorKind::Misconfigured; 5]);
    }
    assert!(fs::read_dir(folder.path().join("store")).expect("readable").next().is_none());
}

#[tokio::test]
async fn leftovers_of_killed_puts_are_not_seen_and_old_ones_removed() {
    let (folder, store) = directory();
    put(&store, "packs/a", "1").await;
    let packs = folder.path().join("store/packs");
    let (young, old) = (packs.join("~draft-1"), packs.join("~draft-2"));
    fs::write(&young, b"half").expect("written");
    fs::write(&old, b"half").expect("written");
    let long_ago = SystemTime::now() - Duration::from_hours(2);
    fs::File::options().write(true).open(&old).expect("opened").set_modified(long_ago).expect("aged");

    let page = store.list("packs/", None, 10).await.expect("listed");
    assert_eq!(page.objects.len(), 1);
    assert!(young.exists(), "its writer may be alive");
    assert!(!old.exists(), "nobody has written to it for hours");
}

#[tokio::test]
async fn foreign_files_and_links_are_not_objects() {
    let (folder, store) = directory();
    put(&store, "a", "1").await;
    let root = folder.path().join("store");
    fs::create_dir(root.join("lost+found")).expect("made");
    fs::write(root.join("with blank"), b"").expect("written");
    std::os::unix::fs::symlink(root.join("a"), root.join("link")).expect("linked");
    let page = store.list("", None, 10).await.expect("listed");
    assert_eq!(page.objects.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(store.list_folders("").await.expect("listed"), Vec::<String>::new());
}

#[tokio::test]
async fn no_drafts_stay_after_puts_of_every_outcome() {
    let (folder, store) = directory();
    put(&store, "a", "1").await;
    let taken = store.put(&name("a"), Body::Bytes(Bytes::new()), PutMode::CreateNew).await;
    assert_eq!(taken.expect_err("taken").kind(), ErrorKind::Exists);
    let absent = Body::File { path: folder.path().join("absent"), bytes: 1 };
    store.put(&name("b"), absent, PutMode::Overwrite).await.expect_err("no such file");
    assert!(leftovers(&folder.path().join("store")).is_empty());
}

#[tokio::test]
async fn a_folder_larger_than_a_pass_is_listed_whole() {
    let (folder, store) = directory();
    let root = folder.path().join("store/big");
    fs::create_dir(&root).expect("made");
    let names: Vec<String> = (0..2_500).map(|i| format!("big/{i:05}")).collect();
    for name in &names {
        fs::write(folder.path().join("store").join(name), b"").expect("written");
    }
    for i in 0..1_500 {
        fs::create_dir(root.join(format!("000-empty-{i}"))).expect("made");
    }
    let mut joined = Vec::new();
    loop {
        let page = store.list("", joined.last(), 1_000).await.expect("listed");
        joined.extend(page.objects.into_iter().map(|object| object.name));
        if !page.more {
            break;
        }
    }
    assert!(joined.iter().map(ObjectName::as_str).eq(names.iter().map(String::as_str)));
}

fn leftovers(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("readable");
    names
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .filter(|name| is_leftover(name))
        .collect()
}

/// Names of which none is a folder of another, as the format has them.
fn names_for_files() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[ab.-]{1,2}(/[ab.0-]{1,2}){0,2}", 0..20).prop_map(|names| {
        let legal: BTreeSet<_> =
            names.into_iter().filter(|name| ObjectName::new(name.as_str()).is_ok()).collect();
        let is_folder = |name: &String| legal.iter().any(|other| other.starts_with(&format!("{name}/")));
        legal.iter().filter(|name| !is_folder(name)).cloned().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_directory_lists_as_a_sorted_map_does(
        names in names_for_files(),
        prefix in "([ab.-]{1,2}/?){0,2}",
        after in "[ab.-]{1,2}(/[ab.0-]{1,2}){0,1}",
        limit in 1_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (_folder, directory) = directory();
            let memory = MemoryStore::new();
            for name in &names {
                put(&directory, name, "1").await;
                put(&memory, name, "1").await;
            }
            let after = ObjectName::new(after).ok();
            let seen = directory.list(&prefix, after.as_ref(), limit).await;
            let expected = memory.list(&prefix, after.as_ref(), limit).await;
            match (seen, expected) {
                (Ok(seen), Ok(expected)) => {
                    let names = |page: &tidegate_replicator::store::ListPage| {
                        page.objects.iter().map(|object| object.name.clone()).collect::<Vec<_>>()
                    };
                    assert_eq!((names(&seen), seen.more), (names(&expected), expected.more));
                }
                (Err(seen), Err(expected)) => assert_eq!(seen.kind(), expected.kind()),
                (seen, expected) => panic!("one fails: {seen:?}, {expected:?}"),
            }
            if let Ok(mut expected) = memory.list_folders(&prefix).await {
                let mut seen = directory.list_folders(&prefix).await.expect("listed");
                expected.sort();
                seen.sort();
                assert_eq!(seen, expected);
            }
        });
    }
}

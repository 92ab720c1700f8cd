//! Claims about seeds: a disk that travels becomes a repository that can be served, only if nobody has touched it, and
//! an import goes on where it was cut.

use std::sync::Arc;

use tidegate_chunker::VerifyingKey;
use tidegate_replicator::check::{self, CheckOptions, Sample, check};
use tidegate_replicator::collect::Silent;
use tidegate_replicator::mirror::compare;
use tidegate_replicator::repository::Repository;
use tidegate_replicator::seed::{SeedError, export, import};
use tidegate_replicator::store::{Body, MemoryStore, ObjectName, PutMode, Store};

use super::dying_store::DyingStore;
use super::support::{CHUNK_BYTES, ROOT, Share, noise, quick_key};

async fn share_of(files: u64) -> Share {
    let mut share = Share::new().await;
    for number in 0..files {
        share.file(ROOT, format!("file {number}").as_bytes(), &noise(number, CHUNK_BYTES));
    }
    let head = share.publish().await;
    share.snapshot(&head).await;
    share
}

async fn is_clean(store: &MemoryStore) {
    let repository = Arc::new(Repository::open(Arc::new(store.clone()), &quick_key()).await.unwrap());
    let read_data = Some(Sample { per_million: Sample::ALL, seed: 0 });
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    let report = check(&repository, &options, &check::Silent).await.unwrap();
    assert!(report.is_clean(), "{:#?}", report.findings);
}

#[tokio::test]
async fn what_was_exported_is_imported_by_somebody_without_a_key() {
    let mut share = share_of(3).await;
    let folder = tempfile::tempdir().unwrap();
    let first = export(&share.repository, folder.path(), &Silent).await.unwrap();
    assert!(first.fetched_bytes > 3 * CHUNK_BYTES as u64 && first.bytes > first.fetched_bytes);
    share.file(ROOT, b"later", &noise(10, CHUNK_BYTES));
    share.publish().await;
    let second = export(&share.repository, folder.path(), &Silent).await.unwrap();
    assert!(second.fetched_bytes < first.fetched_bytes && second.objects > first.objects, "{second:?}");
    assert_eq!(first.signer, second.signer);
    let far = MemoryStore::new();
    let store: Arc<dyn Store> = Arc::new(far.clone());
    let imported = import(folder.path(), &store, &second.signer, &Silent).await.unwrap();
    assert_eq!((imported.objects, imported.before, imported.bytes), (second.objects, 0, second.bytes));
    is_clean(&far).await;
    let there = Repository::open(store.clone(), &quick_key()).await.unwrap();
    let found = compare(&share.repository, &there, &Silent).await.unwrap();
    assert_eq!(found.differences, []);
    let again = import(folder.path(), &store, &second.signer, &Silent).await.unwrap();
    assert_eq!((again.objects, again.before), (0, second.objects));
}

#[tokio::test]
async fn a_seed_that_was_changed_or_signed_by_another_is_refused() {
    let share = share_of(2).await;
    let folder = tempfile::tempdir().unwrap();
    let exported = export(&share.repository, folder.path(), &Silent).await.unwrap();
    let far = MemoryStore::new();
    let store: Arc<dyn Store> = Arc::new(far.clone());
    let stranger = VerifyingKey::new([9; 32]);
    let error = import(folder.path(), &store, &stranger, &Silent).await.unwrap_err();
    assert!(matches!(error, SeedError::NotSigned { .. }), "{error}");
    let manifest = folder.path().join("manifest");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("packs/", "packs/x", 1)).unwrap();
    let error = import(folder.path(), &store, &exported.signer, &Silent).await.unwrap_err();
    assert!(matches!(error, SeedError::NotSigned { .. }), "{error}");
    assert_eq!(far.names(), [], "nothing was stored");
    std::fs::write(&manifest, &text).unwrap();
    let pack = text.lines().find_map(|line| line.split(' ').nth(2).filter(|name| name.starts_with("packs/")));
    let path = folder.path().join("objects").join(pack.unwrap());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = import(folder.path(), &store, &exported.signer, &Silent).await.unwrap_err();
    assert!(matches!(&error, SeedError::Changed { object } if *object == pack.unwrap()), "{error}");
    assert!(far.list("heads/", None, 1).await.unwrap().objects.is_empty());
    bytes[100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    import(folder.path(), &store, &exported.signer, &Silent).await.unwrap();
    is_clean(&far).await;
    let used: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let name = ObjectName::new("photos").unwrap();
    used.put(&name, Body::Bytes("mine".into()), PutMode::Overwrite).await.unwrap();
    let error = import(folder.path(), &used, &exported.signer, &Silent).await.unwrap_err();
    assert!(matches!(error, SeedError::Occupied { .. }), "{error}");
}

#[tokio::test]
async fn an_import_that_dies_anywhere_leaves_nothing_false_and_goes_on() {
    let share = share_of(2).await;
    let folder = tempfile::tempdir().unwrap();
    let exported = export(&share.repository, folder.path(), &Silent).await.unwrap();
    for changes in 0.. {
        let far = MemoryStore::new();
        let dying = Arc::new(DyingStore::new(Arc::new(far.clone()), changes, changes % 2 == 0));
        let store: Arc<dyn Store> = dying.clone();
        let imported = import(folder.path(), &store, &exported.signer, &Silent).await;
        assert!(dying.is_dead() || imported.is_ok());
        if Repository::locate(Arc::new(far.clone())).await.is_ok() {
            is_clean(&far).await;
        }
        let store: Arc<dyn Store> = Arc::new(far.clone());
        import(folder.path(), &store, &exported.signer, &Silent).await.unwrap();
        is_clean(&far).await;
        if !dying.is_dead() {
            assert!(changes > 5, "{changes} changes");
            break;
        }
    }
}

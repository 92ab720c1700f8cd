//! Goal: every pack goes up once, an upload that dies sends again at most what was in flight, and the
//! evidence is the store's.
//! Method: packs made by an ingest, a repository in memory on a store that counts, hangs, or is away.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use futures::stream;
use tidegate_chunker::{ChunkParams, SecretKey};
use tidegate_replicator::ingest::FinishedPack;
use tidegate_replicator::repository::{
    KeyFile, NewRepository, Opened, Repository, SlotKey, UtcNanos, pack_name,
};
use tidegate_replicator::store::Store;
use tidegate_replicator::upload::{
    LocalPack, MemoryUploadLog, UploadError, UploadLog, UploadOptions, UploadState, Uploader,
};
use tokio_util::sync::CancellationToken;

use super::support::{Moody, Packs, noise};

struct Scene {
    packs: Packs,
    finished: Vec<FinishedPack>,
    store: Moody,
    repository: Arc<Repository<Opened>>,
    log: Arc<MemoryUploadLog>,
}

fn key() -> SlotKey {
    let digits = "07".repeat(SecretKey::LEN);
    let sum = crc32c::crc32c(&[7; SecretKey::LEN]);
    let file = KeyFile::from_text(&format!("tidegate-key-1-{digits}-{sum:08x}"), "a test's key");
    SlotKey::KeyFile(file.expect("the text of a key file"))
}

impl Scene {
    async fn new() -> Self {
        let packs = Packs::new();
        packs.take_in(&noise(3, 1 << 20));
        let finished = packs.known.take();
        assert!(finished.len() > 6);
        let store = Moody::default();
        let settings = NewRepository {
            chunks: ChunkParams::default(),
            slot_label: "first".to_owned(),
            domain_label: "default".to_owned(),
            created_at: UtcNanos::new(1),
        };
        let repository = Repository::init(Arc::new(store.clone()), &settings, &key()).await.expect("created");
        Self { packs, finished, store, repository: Arc::new(repository), log: Arc::default() }
    }

    /// As a process that starts would make it: only the log is left of the one before.
    fn uploader(&self) -> Uploader {
        let options = UploadOptions { parallel: 2, ..UploadOptions::default() };
        Uploader::new(Arc::clone(&self.repository), Arc::clone(&self.log) as _, options)
    }

    fn local(&self) -> Vec<LocalPack> {
        self.finished.iter().map(LocalPack::from).collect()
    }

    async fn assert_all_stored(&self) {
        for pack in &self.finished {
            let stored = self.store.inner.get(&pack_name(pack.pack), None).await.expect("stored");
            assert_eq!(&stored[..], std::fs::read(&pack.path).expect("readable"));
        }
    }
}

#[tokio::test]
async fn all_packs_go_up_once_and_the_evidence_names_them() {
    let scene = Scene::new().await;
    let uploader = scene.uploader();
    let durable =
        uploader.upload(stream::iter(scene.local()), &CancellationToken::new()).await.expect("uploaded");
    scene.assert_all_stored().await;
    assert_eq!(durable.len(), scene.finished.len());
    assert!(scene.finished.iter().all(|pack| durable.contains(pack.pack)));
    let counts = uploader.counts();
    assert_eq!((counts.packs, counts.confirmed, counts.in_flight), (durable.len() as u64, 0, 0));
    assert_eq!(counts.bytes, durable.bytes());
}

#[tokio::test]
async fn a_second_upload_sends_nothing_and_asks_the_store_for_its_word() {
    let scene = Scene::new().await;
    let never = CancellationToken::new();
    scene.uploader().upload(stream::iter(scene.local()), &never).await.expect("uploaded");
    let again = scene.uploader();
    let durable = again.upload(stream::iter(scene.local()), &never).await.expect("confirmed");
    assert_eq!((again.counts().packs, again.counts().confirmed), (0, durable.len() as u64));
    assert_eq!(durable.len(), scene.finished.len());
}

#[tokio::test]
async fn what_the_log_says_is_not_believed_without_the_store() {
    let scene = Scene::new().await;
    for pack in &scene.finished {
        scene.log.record(&pack.pack, UploadState::Uploaded).expect("recorded");
    }
    let never = CancellationToken::new();
    let uploader = scene.uploader();
    uploader.upload(stream::iter(scene.local()), &never).await.expect("uploaded");
    assert_eq!(uploader.counts().packs, scene.finished.len() as u64);
    scene.assert_all_stored().await;

    let name = pack_name(scene.finished[0].pack);
    let whole = scene.store.inner.get(&name, None).await.expect("stored");
    scene.store.inner.damage(&name, whole.slice(..100));
    let healer = scene.uploader();
    healer.upload(stream::iter(scene.local()), &never).await.expect("uploaded");
    assert_eq!(healer.counts().packs, 1);
    scene.assert_all_stored().await;
}

#[tokio::test]
async fn an_upload_that_dies_sends_again_at_most_what_was_in_flight() {
    for killed_after in [0, 1, 3, 5] {
        let scene = Scene::new().await;
        scene.store.answer_puts(Some(killed_after));
        let uploader = Arc::new(scene.uploader());
        let upload = {
            let (uploader, local) = (Arc::clone(&uploader), scene.local());
            tokio::spawn(async move { uploader.upload(stream::iter(local), &CancellationToken::new()).await })
        };
        while uploader.counts().packs < killed_after {
            tokio::task::yield_now().await;
        }
        upload.abort();
        assert!(upload.await.is_err());

        scene.store.answer_puts(None);
        let next = scene.uploader();
        let durable =
            next.upload(stream::iter(scene.local()), &CancellationToken::new()).await.expect("uploaded");
        assert_eq!(durable.len(), scene.finished.len());
        assert_eq!(next.counts().confirmed, killed_after);
        scene.assert_all_stored().await;
    }
}

#[tokio::test]
async fn a_lost_reply_costs_one_question_and_not_the_pack_again() {
    let scene = Scene::new().await;
    scene.store.replies_are_lost.store(true, SeqCst);
    let never = CancellationToken::new();
    let error = scene.uploader().upload(stream::iter(scene.local()), &never).await.expect_err("lost");
    assert!(matches!(error, UploadError::Store { .. }), "{error}");
    scene.store.replies_are_lost.store(false, SeqCst);
    let next = scene.uploader();
    next.upload(stream::iter(scene.local()), &never).await.expect("uploaded");
    assert!(next.counts().confirmed >= 1);
    assert!(next.counts().packs < scene.finished.len() as u64);
    scene.assert_all_stored().await;
}

#[tokio::test]
async fn cancelling_stops_at_once() {
    let scene = Scene::new().await;
    scene.store.hangs.store(true, SeqCst);
    let cancel = CancellationToken::new();
    let (uploader, local) = (scene.uploader(), scene.local());
    let upload = uploader.upload(stream::iter(local), &cancel);
    let cancelling = async {
        tokio::task::yield_now().await;
        assert!(uploader.counts().in_flight > 0);
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(upload, cancelling);
    assert!(matches!(outcome, Err(UploadError::Cancelled)));
    assert_eq!(uploader.counts().in_flight, 0);
}

#[tokio::test]
async fn a_local_pack_that_is_gone_or_short_is_named() {
    let scene = Scene::new().await;
    std::fs::write(&scene.finished[0].path, b"short").expect("written");
    std::fs::remove_file(&scene.finished[1].path).expect("removed");
    for pack in &scene.local()[..2] {
        let one = stream::iter([pack.clone()]);
        let error = scene.uploader().upload(one, &CancellationToken::new()).await.expect_err("no such pack");
        assert!(error.to_string().contains(&pack.pack.to_string()), "{error}");
        assert!(matches!(error, UploadError::Local { .. }));
        assert_eq!(scene.log.state(&pack.pack), UploadState::New);
    }
    assert!(!scene.packs.file_names().is_empty());
}

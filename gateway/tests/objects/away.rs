//! A store that is away: writes go on until the dirty budget is full, then clients are told to try later; nothing that was
//! acknowledged is lost, parts of uploads neither. And a bucket whose answers wait for the repository.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::{Appliance, Budgets};
use tidegate_gateway::objects::{BucketConfig, Host};
use tidegate_protocols::objects::{
    CompletedPart, Completion, Conditions, NewObject, ObjectError, ObjectView, PART_BYTES_MIN, PartName, Tags,
};
use tidegate_replicator::store::{FaultStore, MemoryStore};

use crate::scene::{FLAT, Given, Scene, admin, buckets, get, name};
use crate::support::budgets;

/// Bytes that nothing can make smaller, and each seed's own.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for_and_nothing_acknowledged_is_lost() {
    let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), 1));
    let small = Budgets { dirty_bytes: 64 << 20, ..budgets() };
    let scene = Scene::over(store.clone(), small).await;
    let upload =
        scene.objects.create_upload(&admin(), &name(FLAT, "large"), NewObject::default()).await.unwrap();
    store.partition(true);
    let (mut objects, mut parts) = (Vec::new(), Vec::new());
    let refused = loop {
        let number = parts.len() as u16 + 1;
        let data = noise(u64::from(number), PART_BYTES_MIN as usize);
        let part = PartName { object: name(FLAT, "large"), upload: upload.clone(), number };
        match scene.objects.put_part(&admin(), &part, None, &mut Given::whole(&data)).await {
            Ok(done) => parts.push((CompletedPart { number, etag: done.digests.md5, checksum: None }, data)),
            Err(error) => break error,
        }
        let data = noise(1_000 + u64::from(number), 1 << 20);
        match scene.put(FLAT, &format!("object-{number}"), &data).await {
            Ok(_) => objects.push(data),
            Err(error) => break error,
        }
        assert!(objects.len() < 64, "the budget is never full");
    };
    assert_eq!(refused, ObjectError::SlowDown);
    assert!(objects.len() >= 2, "{} objects until the budget was full", objects.len());
    assert!(scene.appliance.commit(FLAT).await.is_err(), "the store is away");
    for (at, data) in objects.iter().enumerate() {
        assert_eq!(
            scene.get(FLAT, &format!("object-{}", at + 1)).await.unwrap(),
            *data,
            "read while it is away"
        );
    }

    store.partition(false);
    scene.appliance.commit(FLAT).await.unwrap();
    let completion =
        Completion { parts: parts.iter().map(|(part, _)| part.clone()).collect(), ..Completion::default() };
    let done = scene.objects.complete_upload(&admin(), &name(FLAT, "large"), &upload, &completion).await;
    done.unwrap();
    scene.appliance.commit(FLAT).await.unwrap();
    scene.appliance.commit(crate::scene::TREE).await.unwrap();
    let (away, there) = scene.elsewhere().await;
    for (at, data) in objects.iter().enumerate() {
        assert_eq!(get(&there, FLAT, &format!("object-{}", at + 1)).await.unwrap(), *data);
    }
    let whole: Vec<u8> = parts.iter().flat_map(|(_, data)| data.clone()).collect();
    assert_eq!(get(&there, FLAT, "large").await.unwrap(), whole);
    away.close().await.unwrap();
}

/// A gateway that publishes what is asked for.
struct Publishing(Arc<Appliance>);

#[async_trait]
impl Host for Publishing {
    async fn make_bucket(&self, _: &str, _: Option<&str>) -> Result<ShareId, ObjectError> {
        Err(ObjectError::Internal)
    }

    async fn remove_bucket(&self, _: &str) -> Result<(), ObjectError> {
        Err(ObjectError::Internal)
    }

    async fn publish(&self, share: ShareId) -> Result<(), ObjectError> {
        self.0.commit_share(share).await.map(drop).map_err(|_| ObjectError::SlowDown)
    }
}

#[tokio::test]
async fn an_answer_that_waits_for_the_repository_means_that_another_site_has_it() {
    let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), 1));
    let scene = Scene::over(store.clone(), budgets()).await;
    let durable = |bucket: BucketConfig| BucketConfig { in_repository: true, ..bucket };
    let keys =
        [("admin".to_owned(), crate::scene::access_key(tidegate_gateway::namespace::Credentials::ROOT))];
    scene.objects.set(buckets(&scene.appliance).into_iter().map(durable).collect(), keys.into());
    scene.objects.set_host(Some(Arc::new(Publishing(scene.appliance.clone()))));
    // Many at once share what is published.
    let puts = (0..16).map(|at| {
        let (scene, key) = (&scene, format!("key-{at}"));
        async move { scene.put(FLAT, &key, key.as_bytes()).await }
    });
    for done in futures::future::join_all(puts).await {
        assert!(done.unwrap().in_repository);
    }
    let tagged = scene.objects.set_tags(&admin(), &name(FLAT, "key-0"), None, Tags::new()).await;
    assert!(tagged.unwrap().in_repository);
    let (absent, none) = (name(FLAT, "absent"), Conditions::default());
    assert!(scene.objects.delete(&admin(), &absent, None, &none, false).await.unwrap().in_repository);
    scene.appliance.commit(crate::scene::TREE).await.unwrap();
    let (away, there) = scene.elsewhere().await;
    for at in 0..16 {
        assert_eq!(get(&there, FLAT, &format!("key-{at}")).await.unwrap(), format!("key-{at}").into_bytes());
    }
    away.close().await.unwrap();
    store.partition(true);
    let refused = scene.put(FLAT, "later", b"later").await;
    assert_eq!(refused, Err(ObjectError::SlowDown), "not there yet, and so not answered as if");
    assert_eq!(scene.get(FLAT, "later").await.unwrap(), b"later", "but in the journal");
    scene.objects.set_host(None);
}

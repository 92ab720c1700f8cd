//! Bodies share a bounded memory: who sends or takes slowly keeps nobody from it, and gets what is its own.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use tidegate_gateway::namespace::Credentials;
use tidegate_gateway::objects::Objects;
use tidegate_protocols::objects::{
    Body, ChecksumAlgorithm, Digests, NewObject, ObjectError, ObjectView, PutDone,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::scene::{FLAT, Given, Scene, access_key, admin, buckets, get, name};

/// Room for one piece on the way in, and for one on the way out.
const MEMORY: usize = 2 << 20;
/// Many times what there is room for.
const CLIENTS: usize = 12;

fn objects_within(scene: &Scene) -> Arc<Objects> {
    let objects = Objects::within(scene.appliance.files().clone(), MEMORY);
    let keys = HashMap::from([("admin".into(), access_key(Credentials::ROOT))]);
    objects.set(buckets(&scene.appliance), keys);
    Arc::new(objects)
}

/// Bytes that tell where they belong.
fn data(client: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at / 1000 + 31 * client) as u8).collect()
}

/// A body that stops after its first bytes until it may go on.
struct Slow {
    given: Given,
    has_begun: bool,
    /// Gets a place for each body that stops.
    stopped: Arc<Semaphore>,
    /// Is closed when they may go on.
    go: Arc<Semaphore>,
}

#[async_trait]
impl Body for Slow {
    fn announced_bytes(&self) -> Option<u64> {
        None
    }

    fn compute(&mut self, algorithm: ChecksumAlgorithm) {
        self.given.compute(algorithm);
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        if self.has_begun {
            self.stopped.add_permits(1);
            assert!(self.go.acquire().await.is_err(), "it is closed, not filled");
        }
        self.has_begun = true;
        self.given.next().await
    }

    async fn finish(&mut self) -> Result<Digests, ObjectError> {
        self.given.finish().await
    }
}

async fn put(objects: &Objects, key: &str, body: &mut dyn Body) -> Result<PutDone, ObjectError> {
    objects.put(&admin(), &name(FLAT, key), NewObject::default(), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_slowly_keep_nobody_from_sending() {
    let scene = Scene::new().await;
    let objects = objects_within(&scene);
    let (stopped, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let mut slow = JoinSet::new();
    for client in 0..CLIENTS {
        let given = Given::whole(&data(client, 700_000));
        let mut body = Slow { given, has_begun: false, stopped: stopped.clone(), go: go.clone() };
        let objects = objects.clone();
        slow.spawn(async move { put(&objects, &format!("slow-{client}"), &mut body).await });
    }
    let all = stopped.acquire_many(CLIENTS as u32).await.unwrap();
    let large = data(99, 5_000_000);
    put(&objects, "large", &mut Given::whole(&large)).await.unwrap();
    assert_eq!(scene.get(FLAT, "large").await.unwrap(), large);
    drop(all);
    go.close();
    while let Some(done) = slow.join_next().await {
        done.unwrap().unwrap();
    }
    for client in 0..CLIENTS {
        let found = scene.get(FLAT, &format!("slow-{client}")).await.unwrap();
        assert!(found == data(client, 700_000), "of client {client}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_slowly_get_their_bytes_and_keep_nobody_from_reading() {
    let scene = Scene::new().await;
    let objects = objects_within(&scene);
    let mut streams = Vec::new();
    for client in 0..CLIENTS {
        let (key, data) = (format!("key-{client}"), data(client, 2_500_000));
        scene.put(FLAT, &key, &data).await.unwrap();
        let object = objects.open(&admin(), &name(FLAT, &key), None).await.unwrap();
        streams.push((object.read(0..data.len() as u64), Vec::<u8>::new(), data));
    }
    let mut takes = true;
    while takes {
        takes = false;
        for (stream, got, _) in &mut streams {
            if let Some(piece) = stream.try_next().await.unwrap() {
                got.extend_from_slice(&piece);
                takes = true;
            }
        }
        assert_eq!(get(&objects, FLAT, "key-0").await.unwrap().len(), 2_500_000);
    }
    for (client, (_, got, data)) in streams.iter().enumerate() {
        assert!(got == data, "of client {client}");
    }
}

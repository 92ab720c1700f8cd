//! A full dirty budget over the wire: who brings bytes is told to come again, and when; who brings none goes on; nothing that
//! was answered is lost, and all goes on when the store is back.

use std::sync::Arc;

use tidegate_gateway::appliance::Budgets;
use tidegate_protocols::objects::PART_BYTES_MIN;
use tidegate_replicator::store::{FaultStore, MemoryStore};

use crate::scene::{FLAT, Scene, TREE, get};
use crate::support::{budgets, noise};
use crate::wire::{Answer, Wire};

/// The object that is uploaded in parts.
const LARGE: &str = "/backups/large";

fn come_again(answer: &Answer) {
    assert_eq!(answer.error(), (503, "SlowDown".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("5"));
}

/// What was answered before the budget was full.
#[derive(Default)]
struct Taken {
    objects: Vec<(String, Vec<u8>)>,
    parts: Vec<(u16, String, Vec<u8>)>,
    /// An object that was refused.
    refused: String,
}

/// Puts objects and parts until both are refused.
async fn fill(wire: &Wire, upload: &str) -> Taken {
    let mut taken = Taken::default();
    for number in 1_u16.. {
        assert!(number < 64, "the budget is never full");
        let path = format!("/{FLAT}/object-{number}");
        let seed = u64::from(number);
        let (object, part) = (noise(1_000 + seed, 1 << 20), noise(seed, PART_BYTES_MIN as usize));
        let (put, put_part) =
            tokio::join!(wire.put(&path, &object), wire.put_part(LARGE, upload, number, &part));
        let is_full = put.status != 200 && put_part.status != 200;
        if put_part.status == 200 {
            let etag = put_part.header("etag").expect("an ETag").to_owned();
            taken.parts.push((number, etag, part));
        } else {
            come_again(&put_part);
        }
        if put.status == 200 {
            taken.objects.push((path, object));
        } else {
            come_again(&put);
            taken.refused = path;
        }
        if is_full {
            break;
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_bytes_is_told_when_to_come_again_and_nothing_answered_is_lost() {
    let store = Arc::new(FaultStore::new(Arc::new(MemoryStore::new()), 1));
    let small = Budgets { dirty_bytes: 64 << 20, ..budgets() };
    let scene = Scene::over(store.clone(), small).await;
    let wire = Wire::start(&scene.objects);
    let upload = wire.begin_upload(LARGE).await;
    store.partition(true);
    let taken = fill(&wire, &upload).await;
    assert!(taken.objects.len() >= 2 && taken.parts.len() >= 2, "it was full at once");
    assert_eq!(wire.get(&taken.refused).await.error(), (404, "NoSuchKey".to_owned()));

    // A copy and a completion share what is there already.
    let (first, data) = &taken.objects[0];
    assert_eq!(wire.copy(first, &format!("/{FLAT}/copy")).await.status, 200);
    let parts: Vec<_> = taken.parts.iter().map(|(number, etag, _)| (*number, etag.clone())).collect();
    let done = wire.complete(LARGE, &upload, &parts).await;
    assert_eq!(done.status, 200, "{done:?}");
    for (path, data) in &taken.objects {
        assert!(wire.get(path).await.body == *data, "{path} is read while the store is away");
    }

    store.partition(false);
    for bucket in [FLAT, TREE] {
        scene.appliance.commit(bucket).await.unwrap();
    }
    assert_eq!(wire.put(&taken.refused, b"again").await.status, 200);
    scene.appliance.commit(FLAT).await.unwrap();
    let (away, there) = scene.elsewhere().await;
    let key = |path: &str| path.strip_prefix("/backups/").expect("of the bucket").to_owned();
    for (path, data) in &taken.objects {
        assert!(get(&there, FLAT, &key(path)).await.unwrap() == *data, "{path}");
    }
    assert!(get(&there, FLAT, "copy").await.unwrap() == *data, "the copy");
    let whole: Vec<u8> = taken.parts.iter().flat_map(|(_, _, data)| data.clone()).collect();
    assert!(get(&there, FLAT, "large").await.unwrap() == whole, "the upload");
    assert_eq!(get(&there, FLAT, &key(&taken.refused)).await.unwrap(), b"again");
    away.close().await.unwrap();
}

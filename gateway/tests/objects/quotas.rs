//! Quotas of buckets over the wire: what would take a bucket past its bytes or its objects is refused with an error that
//! clients show instead of trying again, nothing of it stays, and what makes room lets the next one in.

use tidegate_gateway::live::Usage;
use tidegate_gateway::share::{Limits, Quota};

use crate::scene::{FLAT, Scene, TREE};
use crate::support::{config, noise};
use crate::wire::{Answer, Wire};

fn usage(scene: &Scene, bucket: &str) -> Usage {
    scene.namespace(bucket).share().usage()
}

/// Lets a bucket have so many bytes and inodes at most.
async fn limit(scene: &Scene, bucket: &str, bytes: Option<u64>, inodes: Option<u64>) {
    let limits = |hard| Limits { soft: None, hard };
    let mut config = config(bucket);
    config.rules.exported = bucket == TREE;
    config.quota = Quota { bytes: limits(bytes), inodes: limits(inodes), ..Quota::default() };
    scene.appliance.serve(config).await.unwrap();
}

fn refused(answer: &Answer) {
    assert_eq!(answer.error(), (403, "QuotaExceeded".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_takes_the_bytes_of_its_quota_and_no_more() {
    let scene = Scene::new().await;
    let wire = Wire::start(&scene.objects);
    for bucket in [FLAT, TREE] {
        let empty = usage(&scene, bucket);
        limit(&scene, bucket, Some(empty.bytes + 700_000), None).await;
        let path = |key: &str| format!("/{bucket}/{key}");
        let holds = async |bytes: u64, inodes: u64| {
            let wanted = Usage { bytes: empty.bytes + bytes, inodes: empty.inodes + inodes };
            scene.settles(bucket, wanted).await;
        };
        assert_eq!(wire.put(&path("kept"), &noise(1, 300_000)).await.status, 200);
        refused(&wire.put(&path("large"), &noise(2, 500_000)).await);
        assert_eq!(wire.get(&path("large")).await.status, 404);
        holds(300_000, 1).await;
        let kept = noise(3, 350_000);
        assert_eq!(wire.put(&path("kept"), &kept).await.status, 200, "in the place of what was there");
        holds(350_000, 1).await;

        let upload = wire.begin_upload(&path("parts")).await;
        refused(&wire.put_part(&path("parts"), &upload, 1, &noise(4, 400_000)).await);
        holds(350_000, 1).await;
        let part = wire.put_part(&path("parts"), &upload, 1, &noise(5, 300_000)).await;
        let etag = part.header("etag").expect("an ETag").to_owned();
        let done = wire.complete(&path("parts"), &upload, &[(1, etag)]).await;
        assert_eq!(done.status, 200, "a completion adds nothing: {done:?}");
        holds(650_000, 2).await;
        refused(&wire.copy(&path("parts"), &path("copy")).await);
        holds(650_000, 2).await;
        assert!(wire.get(&path("kept")).await.body == kept, "what was there stays");
        assert_eq!(wire.delete(&path("kept")).await.status, 204);
        holds(300_000, 1).await;
        assert_eq!(wire.copy(&path("parts"), &path("copy")).await.status, 200);
        holds(600_000, 2).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_were_made_for_what_is_refused_go_again() {
    let scene = Scene::new().await;
    let wire = Wire::start(&scene.objects);
    let empty = usage(&scene, TREE);
    limit(&scene, TREE, None, Some(empty.inodes + 2)).await;
    for key in ["a/b/c/", "a/b/object"] {
        refused(&wire.put(&format!("/{TREE}/{key}"), b"").await);
        scene.settles(TREE, empty).await;
    }
    assert_eq!(wire.put(&format!("/{TREE}/a/b/"), b"").await.status, 200);
    assert_eq!(scene.keys(TREE).await, ["a/b/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_takes_as_many_objects_as_its_quota_says_and_parts_count() {
    let scene = Scene::new().await;
    let wire = Wire::start(&scene.objects);
    for bucket in [FLAT, TREE] {
        let empty = usage(&scene, bucket);
        limit(&scene, bucket, None, Some(empty.inodes + 2)).await;
        let path = |key: &str| format!("/{bucket}/{key}");
        // Each has one byte.
        let holds = async |count: u64| {
            let wanted = Usage { bytes: empty.bytes + count, inodes: empty.inodes + count };
            scene.settles(bucket, wanted).await;
        };
        for key in ["one", "two"] {
            assert_eq!(wire.put(&path(key), b"x").await.status, 200, "{key}");
        }
        refused(&wire.put(&path("three"), b"x").await);
        assert_eq!(wire.get(&path("three")).await.status, 404);
        let upload = wire.begin_upload(&path("parts")).await;
        refused(&wire.put_part(&path("parts"), &upload, 1, b"x").await);
        holds(2).await;
        assert_eq!(wire.delete(&path("two")).await.status, 204);
        holds(1).await;
        assert_eq!(wire.put_part(&path("parts"), &upload, 1, b"x").await.status, 200);
        refused(&wire.put(&path("three"), b"x").await);
        holds(2).await;
        let query = format!("uploadId={upload}");
        assert_eq!(wire.call("DELETE", &path("parts"), &query, &[], b"").await.status, 204);
        holds(1).await;
        assert_eq!(wire.put(&path("three"), b"x").await.status, 200);
        holds(2).await;
    }
}

//! Lifecycle rules carried out: what is due goes, by the appliance's clock; what is locked, new or not meant stays; a dry
//! run says the same and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidegate_gateway::clock::Clock;
use tidegate_gateway::control::{JobHandle, LifecycleReport};
use tidegate_protocols::objects::lifecycle::{
    Expiration, LifecycleFilter, LifecycleRule, NoncurrentExpiration,
};
use tidegate_protocols::objects::{
    BucketChange, LockConfiguration, NewObject, ObjectView, Tags, UploadQuery, VersionQuery, Versioning,
};
use tidegate_replicator::map::Timestamp;

use crate::scene::{FLAT, Scene, TREE, admin, name};

/// A clock that a test turns, by days.
#[derive(Debug, Default)]
pub struct Days(AtomicI64);

impl Days {
    fn pass(&self, days: i64) {
        self.0.fetch_add(days * 86_400, Ordering::Relaxed);
    }
}

impl Clock for Days {
    fn now(&self) -> Timestamp {
        Timestamp { seconds: 1_800_000_000 + self.0.load(Ordering::Relaxed), nanos: 0 }
    }
}

async fn scene() -> (Scene, Arc<Days>) {
    let days = Arc::new(Days::default());
    (Scene::by_clock(days.clone()).await, days)
}

fn rule(prefix: &str) -> LifecycleRule {
    LifecycleRule {
        id: format!("of {prefix}"),
        enabled: true,
        filter: LifecycleFilter { prefix: prefix.into(), ..LifecycleFilter::default() },
        ..LifecycleRule::default()
    }
}

async fn set(scene: &Scene, bucket: &str, rules: Vec<LifecycleRule>) {
    let change = BucketChange::Lifecycle(Some(rules));
    scene.objects.change_settings(&admin(), bucket, change).await.unwrap();
}

/// What a dry run says is what a run does.
async fn run(scene: &Scene, bucket: &str) -> LifecycleReport {
    let job = JobHandle::new();
    let before = scene.keys(bucket).await;
    let said = scene.objects.carry_out_lifecycle(bucket, true, &job).await.unwrap();
    assert_eq!(scene.keys(bucket).await, before, "a dry run changes nothing");
    let done = scene.objects.carry_out_lifecycle(bucket, false, &job).await.unwrap();
    assert_eq!(LifecycleReport { locked: 0, ..done.clone() }, LifecycleReport { locked: 0, ..said });
    done
}

#[tokio::test]
async fn objects_expire_through_both_kinds_of_bucket() {
    let (scene, days) = scene().await;
    for bucket in [FLAT, TREE] {
        for key in ["logs/old", "other/old"] {
            scene.put(bucket, key, b"x").await.unwrap();
        }
    }
    days.pass(3);
    for bucket in [FLAT, TREE] {
        scene.put(bucket, "logs/new", b"x").await.unwrap();
        let expire = LifecycleRule { expiration: Some(Expiration::Days(3)), ..rule("logs/") };
        let off = LifecycleRule { enabled: false, expiration: Some(Expiration::Days(1)), ..rule("other/") };
        set(&scene, bucket, vec![expire, off]).await;
        assert_eq!(run(&scene, bucket).await.expired, 0, "a day counts from its midnight");
    }
    days.pass(1);
    for bucket in [FLAT, TREE] {
        let report = run(&scene, bucket).await;
        assert_eq!((report.expired, report.looked_at), (1, 2), "only what begins so is looked at");
        assert_eq!(scene.keys(bucket).await, ["logs/new", "other/old"]);
    }
}

/// Lists for clients hold no tags, and rules ask for them.
#[tokio::test]
async fn what_has_the_tags_of_a_rule_expires_in_both_kinds_of_bucket() {
    let (scene, days) = scene().await;
    for bucket in [FLAT, TREE] {
        for (key, value) in [("a/short", "short"), ("a/long", "long")] {
            let tags = Tags::from([("life".to_owned(), value.to_owned())]);
            scene.put_with(bucket, key, b"x", NewObject { tags, ..NewObject::default() }).await.unwrap();
        }
        let tags = Tags::from([("life".to_owned(), "short".to_owned())]);
        let filter = LifecycleFilter { tags, ..LifecycleFilter::default() };
        let expire = LifecycleRule { filter, expiration: Some(Expiration::Days(1)), ..rule("") };
        set(&scene, bucket, vec![expire]).await;
    }
    days.pass(3);
    for bucket in [FLAT, TREE] {
        assert_eq!(run(&scene, bucket).await.expired, 1, "{bucket}");
        assert_eq!(scene.keys(bucket).await, ["a/long"]);
    }
}

#[tokio::test]
async fn versions_and_markers_go_when_they_are_old_and_not_locked() {
    let (scene, days) = scene().await;
    for change in
        [BucketChange::Versioning(Versioning::Enabled), BucketChange::Lock(LockConfiguration::default())]
    {
        scene.objects.change_settings(&admin(), FLAT, change).await.unwrap();
    }
    let held = NewObject { legal_hold: Some(true), ..NewObject::default() };
    scene.put_with(FLAT, "held", b"held", held).await.unwrap();
    for key in ["held", "key"] {
        for data in [&b"1"[..], b"2", b"3"] {
            scene.put(FLAT, key, data).await.unwrap();
        }
    }
    scene.put(FLAT, "gone", b"x").await.unwrap();
    scene.delete(FLAT, "gone").await.unwrap();
    let noncurrent = Some(NoncurrentExpiration { days: 2, keep: Some(1) });
    let keep_one = LifecycleRule { noncurrent, ..rule("k") };
    let all = |prefix| LifecycleRule {
        noncurrent: Some(NoncurrentExpiration { days: 2, keep: None }),
        expiration: Some(Expiration::LoneMarker),
        ..rule(prefix)
    };
    set(&scene, FLAT, vec![keep_one, all("held"), all("gone")]).await;
    days.pass(2);
    assert_eq!(run(&scene, FLAT).await.removed, 0);
    days.pass(1);
    let job = JobHandle::new();
    let report = scene.objects.carry_out_lifecycle(FLAT, false, &job).await.unwrap();
    // One of the two of "key" is kept, the held one of three, and all of the one that is hidden.
    assert_eq!((report.removed, report.locked), (1 + 2 + 1, 1));
    let query = VersionQuery { limit: 1000, ..VersionQuery::default() };
    let left = async || scene.objects.versions(&admin(), FLAT, &query).await.unwrap().entries.len();
    assert_eq!(left().await, 2 + 2 + 1, "the marker is alone only now");
    assert_eq!(scene.objects.carry_out_lifecycle(FLAT, false, &job).await.unwrap().removed, 1);
    assert_eq!(left().await, 2 + 2);
    assert_eq!(scene.get(FLAT, "key").await.unwrap(), b"3");
}

#[tokio::test]
async fn uploads_that_nobody_completes_are_dropped() {
    let (scene, days) = scene().await;
    let begin = async |key: &str| {
        scene.objects.create_upload(&admin(), &name(FLAT, key), NewObject::default()).await.unwrap()
    };
    begin("old").await;
    days.pass(4);
    let young = begin("young").await;
    set(&scene, FLAT, vec![LifecycleRule { abort_uploads_days: Some(2), ..rule("") }]).await;
    assert_eq!(run(&scene, FLAT).await.aborted, 1);
    let query = UploadQuery { limit: 10, ..UploadQuery::default() };
    let left = scene.objects.uploads(&admin(), FLAT, &query).await.unwrap().uploads;
    assert_eq!(left.iter().map(|upload| upload.id.clone()).collect::<Vec<_>>(), [young]);
}

#[tokio::test]
async fn what_was_written_anew_since_it_was_looked_at_stays() {
    let (scene, days) = scene().await;
    scene.put(FLAT, "key", b"old").await.unwrap();
    days.pass(9);
    set(&scene, FLAT, vec![LifecycleRule { expiration: Some(Expiration::Days(1)), ..rule("") }]).await;
    scene.put(FLAT, "key", b"new").await.unwrap();
    assert_eq!(run(&scene, FLAT).await.expired, 0);
    scene.delete(FLAT, "key").await.unwrap();
    assert_eq!(run(&scene, FLAT).await, LifecycleReport::default());
}

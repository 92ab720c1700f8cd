//! Goal: a real store locks what it is told to, by its own clock, and what stands on it behaves as the store in memory does.
//! Method: the probe and the calls of `SpecialStore` against a bucket with object lock that the environment names;
//! without `TIDEGATE_TEST_S3` and `TIDEGATE_TEST_S3_LOCKED` there is nothing to test, and the test says so. See
//! `store_live.rs` for the other variables.
//!
//! | variable | meaning |
//! |---|---|
//! | `TIDEGATE_TEST_S3_LOCKED` | a bucket with object lock enabled, without a default retention |
//! | `TIDEGATE_TEST_S3_BUCKET` | a bucket without |
//!
//! Locks are of the mode `governance`, so that whoever runs this can remove what is left.

use std::time::Duration;

use bytes::Bytes;
use tidegate_replicator::store::{
    Body, Credentials, ErrorKind, LockFound, LockMode, LockRule, ObjectName, OpenStore, PutMode,
    SpecialStore, StoreSettings, open, probe,
};

const RULE: LockRule = LockRule { mode: LockMode::Governance, days: 1 };

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} must be set beside TIDEGATE_TEST_S3"))
}

fn credentials() -> Credentials {
    Credentials::Static {
        access_key: variable("TIDEGATE_TEST_S3_ACCESS_KEY"),
        secret_key: variable("TIDEGATE_TEST_S3_SECRET_KEY").into(),
        session_token: None,
    }
}

fn settings(endpoint: &str, bucket: &str) -> StoreSettings {
    let number = getrandom::u64().expect("the system has random numbers");
    let address = format!("s3://{bucket}/lock-{number:016x}").parse().expect("an address");
    StoreSettings { endpoint: Some(endpoint.to_owned()), lock: Some(RULE), ..StoreSettings::new(address) }
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a name")
}

async fn put(opened: &OpenStore, at: &ObjectName, bytes: impl Into<Bytes>) {
    opened.store.put(at, Body::Bytes(bytes.into()), PutMode::Overwrite).await.expect("stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_object_lock_keeps_what_it_is_told_to() {
    let (Ok(endpoint), Ok(locked)) =
        (std::env::var("TIDEGATE_TEST_S3"), std::env::var("TIDEGATE_TEST_S3_LOCKED"))
    else {
        println!("not run: TIDEGATE_TEST_S3 and TIDEGATE_TEST_S3_LOCKED are not set");
        return;
    };
    let plain = settings(&endpoint, &variable("TIDEGATE_TEST_S3_BUCKET"));
    let found = probe(&plain, &credentials()).await.expect("probed");
    assert_eq!(found.lock, Some(LockFound::Refused), "{found}");
    assert!(found.obstacles().iter().any(|obstacle| obstacle.contains("object lock enabled")), "{found}");

    let settings = settings(&endpoint, &locked);
    let found = probe(&settings, &credentials()).await.expect("probed");
    println!("{found}");
    assert_eq!(found.lock, Some(LockFound::Honoured));
    let opened = open("locks", &settings, &credentials(), Some(&found)).expect("opened");
    locks_hold_and_are_extended(&opened).await;
    hidden_packs_are_read_and_come_back(&opened).await;
    let adding = StoreSettings { append_only: true, ..settings.clone() };
    let adding = open("adding", &adding, &credentials(), Some(&found)).expect("opened");
    let error = adding.store.purge(&name("leases/share/claim")).await.expect_err("it only adds");
    assert_eq!(error.kind(), ErrorKind::Held);
}

async fn locks_hold_and_are_extended(opened: &OpenStore) {
    let store = &opened.store;
    // The second goes up in parts.
    for (object, bytes) in [("packs/00/small", 1_000), ("packs/00/large", 34 << 20)] {
        let object = name(object);
        put(opened, &object, vec![7; bytes]).await;
        let state = store.lock(&object).await.expect("asked");
        let until = state.until.expect("it is locked");
        let left = until.duration_since(state.now).expect("for some time");
        let meant = RULE.period() + RULE.margin();
        assert!(left <= meant && left + Duration::from_mins(2) > meant, "{object}: {left:?} of {meant:?}");
        let longer = until + Duration::from_hours(1);
        store.extend_lock(&object, longer).await.expect("extended");
        let state = store.lock(&object).await.expect("asked");
        let seconds = state.until.expect("locked").duration_since(until).expect("later").as_secs();
        assert!((3_599..=3_601).contains(&seconds), "{seconds}");
        assert_eq!(store.purge(&object).await.expect_err("locked").kind(), ErrorKind::Held);
        assert_eq!(store.head(&object).await.expect("there").bytes, bytes as u64);
    }
    // Short-lived names are not locked, and all versions of them go.
    let claim = name("leases/share/claim");
    put(opened, &claim, "1").await;
    put(opened, &claim, "2").await;
    assert!(!store.lock(&claim).await.expect("asked").is_locked());
    store.delete(&claim).await.expect("hidden");
    let versions = store.versions(claim.as_str(), None, 10).await.expect("listed").versions;
    assert_eq!(versions.len(), 3, "{versions:?}");
    assert!(versions[0].is_current && versions[0].bytes.is_none(), "{versions:?}");
    store.purge(&claim).await.expect("gone");
    assert_eq!(store.versions(claim.as_str(), None, 10).await.expect("listed").versions, []);
    // Of heads one in an hour.
    let heads = ["heads/share/1", "heads/share/2"].map(name);
    let mut locked = Vec::new();
    for head in &heads {
        put(opened, head, "head").await;
        locked.push(store.lock(head).await.expect("asked").is_locked());
    }
    assert_eq!(locked, [true, false]);
}

async fn hidden_packs_are_read_and_come_back(opened: &OpenStore) {
    let (store, pack) = (&opened.store, name("packs/11/pack"));
    put(opened, &pack, "the pack").await;
    store.delete(&pack).await.expect("hidden");
    assert!(store.list("packs/11/", None, 10).await.expect("listed").objects.is_empty());
    assert_eq!(store.get(&pack, None).await.expect("from its oldest version"), "the pack");
    assert_eq!(store.get(&pack, Some(4..8)).await.expect("from its oldest version"), "pack");
    assert_eq!(store.get_tail(&pack, 4).await.expect("from its oldest version").1, 8);
    assert_eq!(store.head(&pack).await.expect("from its oldest version").bytes, 8);
    let versions = store.versions(pack.as_str(), None, 10).await.expect("listed").versions;
    let oldest = versions.iter().rev().find(|version| version.bytes.is_some()).expect("the pack");
    store.revive(&pack, &oldest.version).await.expect("it needs no right to delete");
    assert_eq!(store.list("packs/11/", None, 10).await.expect("listed").objects.len(), 1);
    assert!(store.lock(&pack).await.expect("asked").is_locked());
    assert_eq!(store.get(&pack, None).await.expect("read"), "the pack");
}

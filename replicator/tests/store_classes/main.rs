//! Goal: an object comes to another class, sleeps, is thawed and is read, and each store says so in the same words.
//! Method: one sequence of calls over the store in memory, over moto as a process (the Glacier flow), and, where the
//! environment names a store with a class that does not sleep, over that (`integration/stores/rgw.sh`).
//!
//! | variable | meaning |
//! |---|---|
//! | `TIDEGATE_TEST_S3_CLASS` | a storage class of the store of `TIDEGATE_TEST_S3` whose objects do not sleep |
//!
//! The other variables are those of `store_live.rs`.

#[allow(dead_code, reason = "other tests use more of it")]
mod moto;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_replicator::store::{
    Body, ClassState, Classes, Credentials, ErrorKind, LockMode, LockRule, MemoryStore, ObjectName,
    OpenStore, PutMode, SpecialStore, StorageClass, Store, StoreSettings, ThawRequest, ThawTier, Wakefulness,
    contract, open, probe,
};

const REQUEST: ThawRequest = ThawRequest { days: 2, tier: ThawTier::Standard };
/// Looks after which a thaw has certainly ended at moto.
const LOOKS_MAX: usize = 20;

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).expect("a name")
}

fn class(text: &str) -> StorageClass {
    text.parse().expect("a class")
}

fn state(class: Option<&StorageClass>, wakefulness: Wakefulness) -> ClassState {
    ClassState { class: class.cloned(), wakefulness }
}

async fn put(store: &dyn Store, name: &ObjectName, bytes: impl Into<Bytes>) {
    store.put(name, Body::Bytes(bytes.into()), PutMode::Overwrite).await.expect("stored");
}

/// All reads of what sleeps say that it does.
async fn nobody_reads(store: &dyn Store, name: &ObjectName, length: u64) {
    for error in [
        store.get(name, None).await.expect_err("it sleeps"),
        store.get(name, Some(0..1)).await.expect_err("it sleeps"),
        store.get_tail(name, 4).await.map(drop).expect_err("it sleeps"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Asleep, "{error:?}");
    }
    assert_eq!(store.head(name).await.expect("it is there").bytes, length);
}

/// Listing, head and the question itself name the class.
async fn is_of(store: &dyn Store, name: &ObjectName, class: Option<&StorageClass>) {
    assert_eq!(store.head(name).await.expect("seen").class.as_ref(), class);
    let listed = store.list(name.as_str(), None, 1).await.expect("listed").objects;
    assert_eq!(listed[0].class.as_ref(), class);
    assert_eq!(store.class(name).await.expect("asked").class.as_ref(), class);
}

/// From the first put to sleep.
async fn falls_asleep(store: &dyn Store, pack: &ObjectName, glacier: &StorageClass) {
    put(store, pack, "the pack").await;
    is_of(store, pack, None).await;
    let before = store.head(pack).await.expect("seen").modified;
    store.change_class(pack, glacier).await.expect("changed");
    is_of(store, pack, Some(glacier)).await;
    assert!(store.head(pack).await.expect("seen").modified >= before, "its time begins anew");
    assert_eq!(
        store.class(pack).await.expect("asked"),
        state(Some(glacier), Wakefulness::Asleep),
        "nobody asked for it"
    );
    nobody_reads(store, pack, 8).await;
    let error = store.change_class(pack, &class("STANDARD_IA")).await.expect_err("it cannot be copied");
    assert_eq!(error.kind(), ErrorKind::Asleep);
}

struct Turned(Arc<Mutex<SystemTime>>);

impl Turned {
    fn pass(&self, time: Duration) {
        *self.0.lock() += time;
    }
}

fn freezing(lock: Option<LockRule>) -> (MemoryStore, Turned) {
    let time = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000)));
    let now = {
        let time = time.clone();
        Arc::new(move || *time.lock())
    };
    let store = match lock {
        Some(rule) => MemoryStore::locking(rule, now),
        None => MemoryStore::dating(now),
    };
    let classes = [class("GLACIER"), class("STANDARD_IA")];
    (store.freezing(&classes, Classes::default(), Duration::from_hours(5)), Turned(time))
}

#[tokio::test]
async fn what_sleeps_in_memory_is_thawed_for_its_days_and_sleeps_again() {
    let (store, clock) = freezing(None);
    let (pack, glacier) = (name("packs/00/a"), class("GLACIER"));
    falls_asleep(&store, &pack, &glacier).await;
    store.thaw(&pack, REQUEST).await.expect("asked");
    clock.pass(Duration::from_hours(4));
    store.thaw(&pack, REQUEST).await.expect("asked again");
    assert_eq!(store.class(&pack).await.expect("asked"), state(Some(&glacier), Wakefulness::Thawing));
    nobody_reads(&store, &pack, 8).await;
    clock.pass(Duration::from_hours(1));
    assert_eq!(store.get(&pack, Some(4..8)).await.expect("it can be read"), "pack");
    clock.pass(Duration::from_hours(47));
    store.thaw(&pack, REQUEST).await.expect("for longer");
    clock.pass(Duration::from_hours(47));
    assert_eq!(store.get(&pack, None).await.expect("it can be read"), "the pack");
    clock.pass(Duration::from_hours(1));
    nobody_reads(&store, &pack, 8).await;
    let unknown = store.change_class(&pack, &class("TAPE")).await.expect_err("there is none");
    assert_eq!(unknown.kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_copy_in_another_class_is_locked_no_shorter_than_what_it_was_made_of() {
    let rule = LockRule { mode: LockMode::Compliance, days: 30 };
    let (store, clock) = freezing(Some(rule));
    let (pack, glacier) = (name("packs/00/a"), class("GLACIER"));
    put(&store, &pack, "the pack").await;
    let before = store.lock(&pack).await.expect("asked");
    clock.pass(Duration::from_hours(24 * 9));
    store.change_class(&pack, &glacier).await.expect("changed");
    let after = store.lock(&pack).await.expect("asked");
    assert!(after.until > before.until && after.is_locked(), "{before:?} {after:?}");
    assert_eq!(store.purge(&pack).await.expect_err("both are locked").kind(), ErrorKind::Held);
    assert_eq!(store.versions(pack.as_str(), None, 10).await.expect("listed").versions.len(), 2);
}

#[tokio::test]
async fn a_store_without_classes_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("file://{}", folder.path().display()).parse().expect("an address");
    let opened =
        open("plain", &StoreSettings::new(address), &Credentials::Environment, None).expect("opened");
    let pack = name("packs/00/a");
    put(&*opened.store, &pack, "the pack").await;
    let error = opened.store.change_class(&pack, &class("GLACIER")).await.expect_err("it has none");
    assert_eq!(error.kind(), ErrorKind::Misconfigured);
    opened.store.thaw(&pack, REQUEST).await.expect("nothing sleeps");
    is_of(&*opened.store, &pack, None).await;
}

fn bucket(endpoint: String, address: &str, keys: (String, String)) -> (StoreSettings, Credentials) {
    let settings = StoreSettings {
        endpoint: Some(endpoint),
        ..StoreSettings::new(address.parse().expect("an address"))
    };
    let (access_key, secret_key) = keys;
    (settings, Credentials::Static { access_key, secret_key: secret_key.into(), session_token: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_glacier_flow_of_moto_is_understood() {
    let Some(moto) = moto::Moto::start() else { return };
    moto.create_bucket("archive");
    let (settings, credentials) =
        bucket(moto.endpoint(), "s3://archive/below", ("key".to_owned(), "secret".to_owned()));
    let opened = open("moto", &settings, &credentials, None).expect("opened");
    moto.thaw_after(3);
    let (store, pack, glacier) = (&*opened.store, name("packs/00/a"), class("GLACIER"));
    falls_asleep(store, &pack, &glacier).await;
    store.thaw(&pack, REQUEST).await.expect("asked");
    let mut seen = Vec::new();
    for _ in 0..LOOKS_MAX {
        seen.push(store.class(&pack).await.expect("asked").wakefulness);
        if seen.last().is_some_and(|last| last.is_readable()) {
            break;
        }
    }
    assert!(seen.contains(&Wakefulness::Thawing), "{seen:?}");
    assert!(matches!(seen.last(), Some(Wakefulness::Thawed(Some(_)))), "{seen:?}");
    assert_eq!(store.get(&pack, None).await.expect("it can be read"), "the pack");
    assert_eq!(store.get_tail(&pack, 4).await.expect("it can be read").0, "pack");
    store.thaw(&pack, REQUEST).await.expect("for longer");
    let unknown = store.change_class(&pack, &class("TAPE")).await.expect_err("there is none");
    assert_eq!(unknown.kind(), ErrorKind::Misconfigured, "{unknown:?}");
    classes_that_do_not_sleep(&opened, &class("STANDARD_IA"), 1 << 20).await;
}

/// What does not sleep is read as before.
async fn classes_that_do_not_sleep(opened: &OpenStore, cold: &StorageClass, bytes: u64) {
    let (store, long) = (&*opened.store, name("packs/11/long"));
    let bytes = contract::sample(bytes);
    put(store, &long, bytes.clone()).await;
    store.change_class(&long, cold).await.expect("changed");
    is_of(store, &long, Some(cold)).await;
    assert_eq!(store.class(&long).await.expect("asked"), state(Some(cold), Wakefulness::Awake));
    store.thaw(&long, REQUEST).await.expect("nothing is to be done");
    assert!(store.get(&long, None).await.expect("read") == bytes, "what came back differs");
    put(store, &long, "anew").await;
    is_of(store, &long, None).await;
    store.delete(&long).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_class_that_the_environment_names_is_honoured() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(endpoint), Some(cold)) = (variable("TIDEGATE_TEST_S3"), variable("TIDEGATE_TEST_S3_CLASS"))
    else {
        println!("not run: TIDEGATE_TEST_S3 and TIDEGATE_TEST_S3_CLASS are not set");
        return;
    };
    let must = |name: &str| variable(name).unwrap_or_else(|| panic!("{name} must be set"));
    let number = getrandom::u64().expect("the system has random numbers");
    let address = format!("s3://{}/class-{number:016x}", must("TIDEGATE_TEST_S3_BUCKET"));
    let keys = (must("TIDEGATE_TEST_S3_ACCESS_KEY"), must("TIDEGATE_TEST_S3_SECRET_KEY"));
    let (settings, credentials) = bucket(endpoint, &address, keys);
    let found = probe(&settings, &credentials).await.expect("probed");
    let opened = open("classes", &settings, &credentials, Some(&found)).expect("opened");
    // It goes up in parts.
    classes_that_do_not_sleep(&opened, &class(&cold), 34 << 20).await;
}

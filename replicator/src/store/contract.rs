//! One contract suite for every store: memory, directory, S3, and each under decorators.
//!
//! Goal: whatever [`Store`] promises in its head and per method holds for this store. Method: each case
//! works in a folder of its own below a name that the caller gives, with objects small enough for a
//! slow store, and panics with what was expected. The store may hold other objects; what the cases leave
//! behind is removed at the end.

#![doc(hidden)]

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::join_all;

use super::{
    Body, ClassState, ErrorKind, LIST_LIMIT_MAX, ObjectName, PutMode, SpecialStore, Store, StoreError,
    ThawRequest, ThawTier, Wakefulness,
};
use crate::chance;

/// Length of the object that is large enough to go up in several parts.
const LARGE_BYTES: u64 = 40 << 20;

/// How many writers race for one name.
const RACERS: usize = 16;

/// How far the clocks of the store and of this machine may be apart.
const CLOCK_SKEW_MAX: Duration = Duration::from_hours(24);

/// Runs every case against `store`, below `folder` (a legal object name, unused so far).
pub async fn check(store: Arc<dyn Store>, folder: &str) {
    let case = |name: &str| Case { store: Arc::clone(&store), folder: format!("{folder}/{name}") };
    what_was_put_is_read_back(case("read")).await;
    ranges_that_leave_the_object_are_refused(case("ranges")).await;
    the_tail_comes_with_the_length(case("tail")).await;
    empty_objects_are_objects(case("empty")).await;
    what_is_not_there_is_missing(case("missing")).await;
    a_put_replaces_or_refuses_as_asked(case("modes")).await;
    one_of_several_creators_wins(case("race")).await;
    files_are_stored_as_bytes_are(case("files")).await;
    a_file_of_another_length_is_refused(case("changed")).await;
    large_objects_come_back(case("large")).await;
    a_reader_never_sees_half_an_object(case("whole")).await;
    names_are_listed_in_byte_order(case("order")).await;
    pages_join_to_the_whole_listing(case("pages")).await;
    folders_are_listed_once(case("folders")).await;
    deleting_what_is_gone_succeeds(case("delete")).await;
    prefixes_that_no_name_has_are_refused(case("prefixes")).await;
    what_was_put_is_awake_and_of_no_class(case("classes")).await;
    clean_up(&*store, folder).await;
}

/// Deletes everything below `folder`.
pub async fn clean_up(store: &dyn Store, folder: &str) {
    let prefix = format!("{folder}/");
    loop {
        let page = store.list(&prefix, None, LIST_LIMIT_MAX).await.expect("the listing for the clean-up");
        for object in &page.objects {
            store.delete(&object.name).await.expect("deleting what a case left");
        }
        if !page.more {
            return;
        }
    }
}

/// Bytes that look like no pattern but are the same each time.
pub fn sample(bytes: u64) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut sample = Vec::with_capacity(bytes as usize + 8);
    while (sample.len() as u64) < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        sample.extend_from_slice(&state.to_be_bytes());
    }
    sample.truncate(bytes as usize);
    sample.into()
}

struct Case {
    store: Arc<dyn Store>,
    folder: String,
}

impl Case {
    fn name(&self, name: &str) -> ObjectName {
        ObjectName::new(format!("{}/{name}", self.folder)).expect("a legal name")
    }

    async fn put(&self, name: &str, bytes: impl Into<Bytes>) {
        self.put_as(name, bytes, PutMode::Overwrite).await.expect("stored");
    }

    async fn put_as(&self, name: &str, bytes: impl Into<Bytes>, mode: PutMode) -> Result<(), StoreError> {
        self.store.put(&self.name(name), Body::Bytes(bytes.into()), mode).await
    }

    async fn get(&self, name: &str, range: Option<Range<u64>>) -> Result<Bytes, StoreError> {
        self.store.get(&self.name(name), range).await
    }

    /// Names below the folder of the case, without it.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<String>, bool) {
        let after = after.map(|after| self.name(after));
        let prefix = format!("{}/{prefix}", self.folder);
        let page = self.store.list(&prefix, after.as_ref(), limit).await.expect("listed");
        let skip = self.folder.len() + 1;
        (page.objects.iter().map(|object| object.name.as_str()[skip..].to_owned()).collect(), page.more)
    }
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> ErrorKind {
    result.expect_err("this must fail").kind()
}

async fn what_was_put_is_read_back(case: Case) {
    let bytes = sample(10_000);
    case.put("a", bytes.clone()).await;
    assert_eq!(case.get("a", None).await.expect("read"), bytes);
    for range in [0..1, 0..10_000, 9_999..10_000, 4_096..8_192, 1..9_999] {
        let expected = bytes.slice(range.start as usize..range.end as usize);
        assert_eq!(case.get("a", Some(range.clone())).await.expect("read"), expected, "{range:?}");
    }
    for edge in [0, 5_000, 10_000] {
        assert_eq!(case.get("a", Some(edge..edge)).await.expect("nothing read"), Bytes::new());
    }
    let info = case.store.head(&case.name("a")).await.expect("seen");
    assert_eq!((info.name, info.bytes), (case.name("a"), 10_000));
    let skew = match info.modified.elapsed() {
        Ok(age) => age,
        Err(ahead) => ahead.duration(),
    };
    assert!(skew < CLOCK_SKEW_MAX, "written at {:?}, now is {:?}", info.modified, SystemTime::now());
}

async fn ranges_that_leave_the_object_are_refused(case: Case) {
    case.put("a", sample(100)).await;
    let reversed = Range { start: 9, end: 3 };
    for range in [0..101, 99..101, 100..101, 101..101, 500..600, reversed] {
        assert_eq!(kind(case.get("a", Some(range.clone())).await), ErrorKind::Invalid, "{range:?}");
    }
}

async fn the_tail_comes_with_the_length(case: Case) {
    let bytes = sample(1_000);
    case.put("a", bytes.clone()).await;
    for wanted in [0_u64, 1, 999, 1_000, 1_001, 1 << 40] {
        let (tail, length) = case.store.get_tail(&case.name("a"), wanted).await.expect("read");
        assert_eq!(length, 1_000, "asked for {wanted}");
        assert_eq!(tail, bytes.slice(1_000 - wanted.min(1_000) as usize..), "asked for {wanted}");
    }
}

async fn empty_objects_are_objects(case: Case) {
    case.put("a", Bytes::new()).await;
    assert_eq!(case.get("a", None).await.expect("read"), Bytes::new());
    assert_eq!(case.get("a", Some(0..0)).await.expect("read"), Bytes::new());
    assert_eq!(kind(case.get("a", Some(0..1)).await), ErrorKind::Invalid);
    assert_eq!(case.store.get_tail(&case.name("a"), 8).await.expect("read"), (Bytes::new(), 0));
    assert_eq!(case.store.head(&case.name("a")).await.expect("seen").bytes, 0);
    assert_eq!(case.list("", None, 10).await, (vec!["a".to_owned()], false));
}

async fn what_is_not_there_is_missing(case: Case) {
    case.put("present/a", "1").await;
    for name in ["absent", "present", "present/b", "absent/deeper"] {
        assert_eq!(kind(case.get(name, None).await), ErrorKind::Missing, "{name}");
        assert_eq!(kind(case.get(name, Some(0..1)).await), ErrorKind::Missing, "{name}");
        assert_eq!(kind(case.get(name, Some(0..0)).await), ErrorKind::Missing, "{name}");
        assert_eq!(kind(case.store.get_tail(&case.name(name), 8).await), ErrorKind::Missing, "{name}");
        assert_eq!(kind(case.store.get_tail(&case.name(name), 0).await), ErrorKind::Missing, "{name}");
        assert_eq!(kind(case.store.head(&case.name(name)).await), ErrorKind::Missing, "{name}");
    }
    assert_eq!(case.list("absent", None, 10).await, (vec![], false));
}

async fn a_put_replaces_or_refuses_as_asked(case: Case) {
    case.put_as("a", "first", PutMode::CreateNew).await.expect("the name is free");
    assert_eq!(kind(case.put_as("a", "second", PutMode::CreateNew).await), ErrorKind::Exists);
    assert_eq!(case.get("a", None).await.expect("read"), "first");
    case.put("a", "the third").await;
    assert_eq!(case.get("a", None).await.expect("read"), "the third");
    case.store.delete(&case.name("a")).await.expect("deleted");
    case.put_as("a", "fourth", PutMode::CreateNew).await.expect("the name is free again");
    assert_eq!(case.get("a", None).await.expect("read"), "fourth");
}

async fn one_of_several_creators_wins(case: Case) {
    if !case.store.capabilities().create_new {
        return;
    }
    let racers = (0..RACERS).map(|racer| case.put_as("a", format!("racer {racer:02}"), PutMode::CreateNew));
    let outcomes = join_all(racers).await;
    let winners: Vec<_> = (0..RACERS).filter(|&racer| outcomes[racer].is_ok()).collect();
    assert_eq!(winners.len(), 1, "winners: {winners:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        // A store may ask a loser to come again rather than tell him at once that he lost.
        assert!(matches!(kind(outcome), ErrorKind::Exists | ErrorKind::Transient));
    }
    assert_eq!(case.get("a", None).await.expect("read"), format!("racer {:02}", winners[0]));
}

async fn files_are_stored_as_bytes_are(case: Case) {
    let bytes = sample(300_000);
    let file = file_with(&bytes);
    let body = Body::File { path: file.path().to_owned(), bytes: 300_000 };
    case.store.put(&case.name("a"), body.clone(), PutMode::Overwrite).await.expect("stored");
    assert_eq!(case.get("a", None).await.expect("read"), bytes);
    let other = file_with(&sample(300_001)[1..]);
    let body = Body::File { path: other.path().to_owned(), bytes: 300_000 };
    assert_eq!(kind(case.store.put(&case.name("a"), body, PutMode::CreateNew).await), ErrorKind::Exists);
    assert_eq!(case.get("a", None).await.expect("read"), bytes);
    let gone = Body::File { path: file.path().with_extension("absent"), bytes: 1 };
    assert_eq!(kind(case.store.put(&case.name("b"), gone, PutMode::Overwrite).await), ErrorKind::Invalid);
}

async fn a_file_of_another_length_is_refused(case: Case) {
    let file = file_with(&sample(1_000));
    for announced in [999, 1_001, 0, 100 << 20] {
        let body = Body::File { path: file.path().to_owned(), bytes: announced };
        let outcome = case.store.put(&case.name("a"), body, PutMode::Overwrite).await;
        assert_eq!(kind(outcome), ErrorKind::Invalid, "announced {announced}");
        assert_eq!(kind(case.get("a", None).await), ErrorKind::Missing, "announced {announced}");
    }
}

async fn large_objects_come_back(case: Case) {
    let bytes = sample(LARGE_BYTES + 1);
    case.put("bytes", bytes.clone()).await;
    assert!(case.get("bytes", None).await.expect("read") == bytes, "what came back differs");
    let file = file_with(&bytes);
    let body = Body::File { path: file.path().to_owned(), bytes: LARGE_BYTES + 1 };
    for mode in [PutMode::Overwrite, PutMode::CreateNew] {
        let name = case.name(&format!("file-{mode:?}"));
        case.store.put(&name, body.clone(), mode).await.expect("stored");
        assert!(case.store.get(&name, None).await.expect("read") == bytes, "what came back differs");
        let middle = LARGE_BYTES / 2 - 7..LARGE_BYTES / 2 + 7;
        let expected = bytes.slice(middle.start as usize..middle.end as usize);
        assert_eq!(case.store.get(&name, Some(middle)).await.expect("read"), expected);
        case.store.delete(&name).await.expect("deleted");
    }
}

async fn a_reader_never_sees_half_an_object(case: Case) {
    let versions = [Bytes::from(vec![b'a'; 200_000]), Bytes::from(vec![b'b'; 300_000])];
    case.put("a", versions[0].clone()).await;
    let writer = async {
        for round in 1..=6 {
            case.put("a", versions[round % 2].clone()).await;
        }
    };
    let reader = async {
        for _ in 0..12 {
            let seen = case.get("a", None).await.expect("read");
            assert!(versions.contains(&seen), "{} bytes are neither version", seen.len());
        }
    };
    futures::join!(writer, reader);
}

async fn names_are_listed_in_byte_order(case: Case) {
    let long = format!("z{}/{}", "l".repeat(40), "m".repeat(40));
    let mut names = ["B", "a-b", "a.b", "a/b", "a/c.d/e", "a/c/d", "a0", "a_b", "b", ".hidden", "..c", &long];
    for name in names.iter().rev() {
        case.put(name, "1").await;
    }
    names.sort_unstable();
    assert_eq!(case.list("", None, 100).await, (names.map(str::to_owned).to_vec(), false));
    let starting_with = |prefix: &str| -> Vec<String> {
        names.iter().filter(|name| name.starts_with(prefix)).map(|&name| name.to_owned()).collect()
    };
    for prefix in ["a", "a/", "a/c", "a/c/", "a.", "x", ".", ".."] {
        assert_eq!(case.list(prefix, None, 100).await, (starting_with(prefix), false), "{prefix}");
    }
}

async fn pages_join_to_the_whole_listing(case: Case) {
    let names: Vec<String> = (0..23).map(|i| format!("p{}/{:02}", i / 5, i)).collect();
    for name in &names {
        case.put(name, "1").await;
    }
    for limit in [1, 5, 7, 22, 23, 24] {
        let (mut joined, mut pages) = (Vec::<String>::new(), 0);
        loop {
            let (page, more) = case.list("p", joined.last().map(String::as_str), limit).await;
            assert!(page.len() == limit || !more, "a short page that is not the last");
            joined.extend(page);
            pages += 1;
            if !more {
                break;
            }
        }
        assert_eq!(joined, names, "pages of {limit}");
        assert_eq!(pages, names.len().div_ceil(limit), "pages of {limit}");
    }
    assert_eq!(case.list("p2/", Some("p2/13"), 10).await, (vec!["p2/14".to_owned()], false));
    assert_eq!(case.list("p", Some("p9"), 10).await, (vec![], false));
    assert_eq!(case.list("p2/", Some("p0/00"), 100).await.0.len(), 5);
    assert_eq!(case.list("p0/", Some("p2/10"), 100).await, (vec![], false));
}

async fn folders_are_listed_once(case: Case) {
    for name in ["x/1", "x/2", "x.y/1", "a/b/c", "file", "gone/1"] {
        case.put(name, "1").await;
    }
    case.store.delete(&case.name("gone/1")).await.expect("deleted");
    let folders = |below: &str| {
        let prefix = format!("{}/{below}", case.folder);
        let store = Arc::clone(&case.store);
        async move {
            let mut folders = store.list_folders(&prefix).await.expect("listed");
            folders.sort();
            folders
        }
    };
    assert_eq!(folders("").await, ["a", "x", "x.y"]);
    assert_eq!(folders("a/").await, ["b"]);
    assert!(folders("x/").await.is_empty());
    assert!(folders("absent/").await.is_empty());
    assert!(folders("gone/").await.is_empty());
}

async fn deleting_what_is_gone_succeeds(case: Case) {
    case.put("a", "1").await;
    for _ in 0..2 {
        case.store.delete(&case.name("a")).await.expect("deleted");
        assert_eq!(kind(case.get("a", None).await), ErrorKind::Missing);
    }
    case.store.delete(&case.name("never/there")).await.expect("deleted");
}

async fn prefixes_that_no_name_has_are_refused(case: Case) {
    for prefix in ["../", "/", "a//", "a/../b", "ä", "a b"] {
        assert_eq!(kind(case.store.list(prefix, None, 10).await), ErrorKind::Invalid, "{prefix}");
        assert_eq!(kind(case.store.list_folders(prefix).await), ErrorKind::Invalid, "{prefix}");
    }
    assert_eq!(kind(case.store.list_folders("no-folder").await), ErrorKind::Invalid);
}

async fn what_was_put_is_awake_and_of_no_class(case: Case) {
    case.put("a", "1").await;
    let (store, name) = (&case.store, case.name("a"));
    let awake = ClassState { class: None, wakefulness: Wakefulness::Awake };
    assert_eq!(store.class(&name).await.expect("asked"), awake);
    assert_eq!(store.head(&name).await.expect("seen").class, None);
    let listed = store.list(name.as_str(), None, 1).await.expect("listed").objects;
    assert_eq!(listed.iter().map(|object| object.class.clone()).collect::<Vec<_>>(), [None]);
    let request = ThawRequest { days: 1, tier: ThawTier::Standard };
    store.thaw(&name, request).await.expect("nothing is to be done");
    assert_eq!(store.class(&name).await.expect("asked"), awake);
    let absent = case.name("absent");
    assert_eq!(kind(store.class(&absent).await), ErrorKind::Missing);
    assert_eq!(kind(store.thaw(&absent, request).await), ErrorKind::Missing);
}

/// A temporary file that is removed when dropped.
fn file_with(bytes: &[u8]) -> LocalFile {
    let number = chance::number().expect("the system has random numbers");
    let path = std::env::temp_dir().join(format!("tidegate-contract-{number:016x}"));
    let mut file = std::fs::File::create_new(&path).expect("created");
    file.write_all(bytes).expect("written");
    LocalFile(path)
}

struct LocalFile(std::path::PathBuf);

impl LocalFile {
    fn path(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for LocalFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

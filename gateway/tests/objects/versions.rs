//! Versions against a naive model: whatever is written, hidden, removed for ever, suspended and switched on again, in
//! whatever order, with commits between, a key leads to what the model says, every version reads as it was written, and
//! pages of any size list them all.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate_gateway::namespace::Credentials;
use tidegate_gateway::namespace::objects::{Place, Removal, Which};
use tidegate_protocols::objects::{
    BucketChange, Conditions, Deletion, ListQuery, NewObject, ObjectError, ObjectView, VersionEntry,
    VersionId, VersionListing, VersionQuery, Versioning,
};
use tidegate_replicator::map::InodeNumber;

use crate::scene::{FLAT, Given, Scene, TREE, admin, name};

const KEYS: [&str; 4] = ["a", "a!", "a/b", "b"];

#[derive(Clone, Debug)]
enum Step {
    Put(usize, u8),
    Hide(usize),
    /// Removes a version by its place, counted from the newest.
    Remove(usize, usize),
    Set(Versioning),
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..KEYS.len();
    let step = prop_oneof![
        5 => (key.clone(), any::<u8>()).prop_map(|(key, byte)| Step::Put(key, byte)),
        3 => key.clone().prop_map(Step::Hide),
        4 => (key, 0..4usize).prop_map(|(key, at)| Step::Remove(key, at)),
        1 => Just(Step::Set(Versioning::Enabled)),
        1 => Just(Step::Set(Versioning::Suspended)),
        1 => Just(Step::Commit),
    ];
    proptest::collection::vec(step, 1..40)
}

/// A version: its id, and what it holds; none for a delete marker.
type Version = (VersionId, Option<Vec<u8>>);

/// All versions of each key, the newest first.
#[derive(Default)]
struct Model {
    versioning: Option<Versioning>,
    keys: [Vec<Version>; KEYS.len()],
}

impl Model {
    /// Puts a version on top of a key.
    fn push(&mut self, key: usize, id: VersionId, data: Option<Vec<u8>>) {
        let versions = &mut self.keys[key];
        if id == VersionId::null() {
            versions.retain(|(known, _)| *known != id);
        }
        versions.insert(0, (id, data));
    }

    /// Key, version, whether it is the newest, what it holds.
    fn listing(&self) -> Vec<(String, VersionId, bool, bool)> {
        let of_key = |(key, versions): (&str, &Vec<Version>)| {
            let one =
                |(at, (id, data)): (usize, &Version)| (key.to_owned(), id.clone(), at == 0, data.is_some());
            versions.iter().enumerate().map(one).collect::<Vec<_>>()
        };
        KEYS.into_iter().zip(&self.keys).flat_map(of_key).collect()
    }
}

async fn take(scene: &Scene, model: &mut Model, step: &Step) {
    match step {
        Step::Put(key, byte) => {
            let data = vec![*byte; usize::from(*byte) + 1];
            let done = scene.put(FLAT, KEYS[*key], &data).await.unwrap();
            assert_eq!(done.version.is_some(), model.versioning.is_some());
            model.push(*key, done.version.unwrap_or_else(VersionId::null), Some(data));
        }
        Step::Hide(key) => {
            let target = name(FLAT, KEYS[*key]);
            let done =
                scene.objects.delete(&admin(), &target, None, &Conditions::default(), false).await.unwrap();
            assert_eq!(done.marker, model.versioning.is_some());
            match done.version {
                Some(id) => model.push(*key, id, None),
                None => model.keys[*key].clear(),
            }
        }
        Step::Remove(key, at) => {
            let known = model.keys[*key].get(*at).cloned();
            let (id, data) = known.clone().unwrap_or((VersionId::new("00000000ffffffff"), Some(Vec::new())));
            let target = name(FLAT, KEYS[*key]);
            let done = scene
                .objects
                .delete(&admin(), &target, Some(&id), &Conditions::default(), false)
                .await
                .unwrap();
            assert_eq!(done.marker, data.is_none());
            if known.is_some() {
                model.keys[*key].remove(*at);
            }
        }
        Step::Set(versioning) => {
            let change = BucketChange::Versioning(*versioning);
            scene.objects.change_settings(&admin(), FLAT, change).await.unwrap();
            model.versioning = Some(*versioning);
        }
        Step::Commit => drop(scene.appliance.commit(FLAT).await.unwrap()),
    }
}

async fn read(scene: &Scene, key: &str, version: Option<&VersionId>) -> Result<Vec<u8>, ObjectError> {
    use futures::TryStreamExt;
    let object = scene.objects.open(&admin(), &name(FLAT, key), version).await?;
    let pieces: Vec<bytes::Bytes> = object.read(0..object.info().size).try_collect().await?;
    Ok(pieces.concat())
}

fn shown(entry: &VersionEntry) -> (String, VersionId, bool, bool) {
    match entry {
        VersionEntry::Object { key, version, latest, .. } => (key.clone(), version.clone(), *latest, true),
        VersionEntry::Marker { key, version, latest, .. } => (key.clone(), version.clone(), *latest, false),
        VersionEntry::Prefix(prefix) => panic!("a prefix {prefix} without a delimiter"),
    }
}

async fn page(scene: &Scene, query: &VersionQuery) -> VersionListing {
    scene.objects.versions(&admin(), FLAT, query).await.unwrap()
}

/// All versions, by pages of a size.
async fn listed(scene: &Scene, limit: usize) -> Vec<(String, VersionId, bool, bool)> {
    let mut query = VersionQuery { limit, ..VersionQuery::default() };
    let mut all = Vec::new();
    loop {
        let page = page(scene, &query).await;
        all.extend(page.entries.iter().map(shown));
        if !page.more {
            return all;
        }
        assert_eq!(page.entries.len(), limit);
        let (key, version, ..) = all.last().cloned().unwrap();
        (query.after_key, query.after_version) = (Some(key), Some(version));
    }
}

/// Which delete marker was met, and whether it was named.
fn marker<T>(found: Result<T, ObjectError>) -> Option<(VersionId, bool)> {
    match found {
        Err(ObjectError::DeleteMarker { version, named, .. }) => Some((version, named)),
        _ => None,
    }
}

async fn compare(scene: &Scene, model: &Model) {
    for limit in [1, 2, 1000] {
        assert_eq!(listed(scene, limit).await, model.listing(), "in pages of {limit}");
    }
    let mut visible = Vec::new();
    for (key, versions) in KEYS.into_iter().zip(&model.keys) {
        for (id, data) in versions {
            let found = read(scene, key, Some(id)).await;
            match data {
                Some(data) => assert_eq!(found.as_ref(), Ok(data), "{key} {id:?}"),
                None => {
                    assert_eq!(marker(found), Some((id.clone(), true)));
                }
            }
        }
        let newest = read(scene, key, None).await;
        match versions.first() {
            Some((_, Some(data))) => {
                assert_eq!(newest.as_ref(), Ok(data));
                visible.push(key);
            }
            Some((id, None)) => {
                assert_eq!(marker(newest), Some((id.clone(), false)));
            }
            None => assert_eq!(newest, Err(ObjectError::NoSuchKey)),
        }
    }
    assert_eq!(scene.keys(FLAT).await, visible);
}

/// What the share uses is what the model holds: files and markers, and bytes of data.
fn compare_usage(scene: &Scene, model: &Model, before: (u64, u64)) {
    let used = scene.namespace(FLAT).share().usage();
    let versions: Vec<_> = model.keys.iter().flatten().collect();
    let bytes: usize = versions.iter().filter_map(|(_, data)| data.as_ref()).map(Vec::len).sum();
    assert_eq!((used.bytes - before.0, used.inodes - before.1), (bytes as u64, versions.len() as u64));
}

#[test]
fn versions_are_what_a_naive_model_says() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config { cases: 16, max_shrink_iters: 64, ..Config::default() });
    let result = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            let scene = Scene::new().await;
            let used = scene.namespace(FLAT).share().usage();
            let mut model = Model::default();
            for step in &steps {
                take(&scene, &mut model, step).await;
            }
            compare(&scene, &model).await;
            scene.appliance.commit(FLAT).await.unwrap();
            compare(&scene, &model).await;
            // What readers still held is taken away when they let go.
            tokio::task::yield_now().await;
            compare_usage(&scene, &model, (used.bytes, used.inodes));
        });
        Ok(())
    });
    result.unwrap();
}

#[tokio::test]
async fn versions_survive_a_restart_and_go_to_another_site() {
    let mut scene = Scene::new().await;
    let enable = BucketChange::Versioning(Versioning::Enabled);
    scene.objects.change_settings(&admin(), FLAT, enable).await.unwrap();
    let first = scene.put(FLAT, "key", b"first").await.unwrap().version.unwrap();
    let second = scene.put(FLAT, "key", b"second").await.unwrap().version.unwrap();
    scene.delete(FLAT, "key").await.unwrap();
    let expected = listed(&scene, 1000).await;
    assert_eq!(expected.len(), 3);
    scene.restart().await;
    assert_eq!(listed(&scene, 1000).await, expected);
    scene.appliance.commit(FLAT).await.unwrap();
    let (away, objects) = {
        scene.appliance.commit(TREE).await.unwrap();
        scene.elsewhere().await
    };
    let query = VersionQuery { limit: 1000, ..VersionQuery::default() };
    let there = objects.versions(&admin(), FLAT, &query).await.unwrap();
    assert_eq!(there.entries.iter().map(shown).collect::<Vec<_>>(), expected);
    for version in [&first, &second] {
        assert!(objects.open(&admin(), &name(FLAT, "key"), Some(version)).await.is_ok());
    }
    away.close().await.unwrap();
}

#[tokio::test]
async fn prefixes_are_rolled_up_among_versions() {
    let scene = Scene::new().await;
    let enable = BucketChange::Versioning(Versioning::Enabled);
    scene.objects.change_settings(&admin(), FLAT, enable).await.unwrap();
    for key in ["a/1", "a/1", "a/2", "b", "c/1"] {
        scene.put(FLAT, key, b"x").await.unwrap();
    }
    scene.delete(FLAT, "c/1").await.unwrap();
    let mut query = VersionQuery { delimiter: Some("/".into()), limit: 1, ..VersionQuery::default() };
    let mut seen = Vec::new();
    loop {
        let page = page(&scene, &query).await;
        for entry in &page.entries {
            seen.push(match entry {
                VersionEntry::Prefix(prefix) => {
                    (query.after_key, query.after_version) = (Some(prefix.clone()), None);
                    prefix.clone()
                }
                other => {
                    let (key, version, ..) = shown(other);
                    (query.after_key, query.after_version) = (Some(key.clone()), Some(version));
                    key
                }
            });
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, ["a/", "b", "c/"]);
    let query = ListQuery { limit: 10, delimiter: Some("/".into()), ..ListQuery::default() };
    assert_eq!(scene.list(FLAT, &query).await.entries.len(), 2, "what is hidden is not listed");
}

#[tokio::test]
async fn conditions_see_what_the_key_leads_to_and_a_share_has_no_versions() {
    let scene = Scene::new().await;
    let enable = || BucketChange::Versioning(Versioning::Enabled);
    scene.objects.change_settings(&admin(), FLAT, enable()).await.unwrap();
    scene.put(FLAT, "key", b"first").await.unwrap();
    scene.delete(FLAT, "key").await.unwrap();
    let absent = Conditions {
        differs: Some(tidegate_protocols::objects::EtagCondition::Any),
        ..Conditions::default()
    };
    let new = || NewObject { conditions: absent.clone(), ..NewObject::default() };
    assert!(scene.put_with(FLAT, "key", b"second", new()).await.is_ok(), "a marker is not an object");
    assert_eq!(scene.put_with(FLAT, "key", b"third", new()).await, Err(ObjectError::PreconditionFailed));
    let refused = scene.objects.change_settings(&admin(), TREE, enable()).await;
    assert!(matches!(refused, Err(ObjectError::BucketState(_))), "{refused:?}");
    let wrong = scene.objects.open(&admin(), &name(FLAT, "key"), Some(&VersionId::new("zz"))).await;
    assert!(matches!(wrong.err(), Some(ObjectError::InvalidArgument(_))));
    let (target, unknown) = (name(FLAT, "key"), VersionId::new("00000000000000ff"));
    let missing = scene.objects.open(&admin(), &target, Some(&unknown)).await;
    assert_eq!(missing.err(), Some(ObjectError::NoSuchVersion));
    let none = Conditions::default();
    let deleted = scene.objects.delete(&admin(), &target, Some(&unknown), &none, false).await;
    let gone = Deletion { version: Some(unknown), ..Deletion::default() };
    assert_eq!(deleted, Ok(gone), "removing what is gone has been done already");
}

#[tokio::test]
async fn a_deletion_looks_at_what_it_hides_or_takes_away() {
    use tidegate_protocols::objects::EtagCondition;
    let scene = Scene::new().await;
    let enable = BucketChange::Versioning(Versioning::Enabled);
    scene.objects.change_settings(&admin(), FLAT, enable).await.unwrap();
    let delete = async |key: &str, version: Option<&VersionId>, conditions: &Conditions| {
        scene.objects.delete(&admin(), &name(FLAT, key), version, conditions, false).await
    };
    let etag =
        |etag: &str| Conditions { matches: Some(EtagCondition::Is(etag.into())), ..Conditions::default() };
    let any = Conditions { matches: Some(EtagCondition::Any), ..Conditions::default() };
    let size = |size| Conditions { size: Some(size), ..Conditions::default() };
    let failed = || Err(ObjectError::PreconditionFailed);

    assert_eq!(delete("key", None, &any).await, Ok(Deletion::default()));
    assert!(listed(&scene, 10).await.is_empty(), "of nothing there is no marker");
    let put = scene.put(FLAT, "key", b"first").await.unwrap();
    let (first, first_etag) = (put.version.unwrap(), put.etag);
    assert_eq!(delete("key", None, &etag("other")).await, failed());
    let hidden = delete("key", None, &etag(&first_etag)).await.unwrap();
    let marker = hidden.version.clone().unwrap();
    assert!(hidden.marker);
    for version in [None, Some(&marker)] {
        assert_eq!(delete("key", version, &etag(&first_etag)).await, failed(), "{version:?}");
        assert_eq!(delete("key", version, &size(0)).await, failed(), "{version:?}");
    }
    assert!(delete("key", None, &any).await.unwrap().marker);
    assert_eq!(listed(&scene, 10).await.len(), 3);

    assert_eq!(delete("key", Some(&first), &size(6)).await, failed());
    assert_eq!(delete("key", Some(&marker), &any).await.map(|done| done.marker), Ok(true));
    for _ in 0..2 {
        let done = delete("key", Some(&first), &size(5)).await;
        assert_eq!(
            done,
            Ok(Deletion { version: Some(first.clone()), ..Deletion::default() }),
            "also when it is gone"
        );
    }
    assert_eq!(listed(&scene, 10).await.len(), 1);
}

#[tokio::test]
async fn what_is_restored_in_place_is_a_version_of_its_own_and_keeps_its_lock() {
    use tidegate_gateway::control::{JobHandle, Moment, RestoreRequest};
    use tidegate_gateway::history;
    use tidegate_protocols::objects::LockConfiguration;
    let scene = Scene::new().await;
    for change in
        [BucketChange::Versioning(Versioning::Enabled), BucketChange::Lock(LockConfiguration::default())]
    {
        scene.objects.change_settings(&admin(), FLAT, change).await.unwrap();
    }
    let held = NewObject { legal_hold: Some(true), ..NewObject::default() };
    let first = scene.put_with(FLAT, "key", b"first", held).await.unwrap().version.unwrap();
    let (_, head) = scene.appliance.commit(FLAT).await.unwrap();
    scene.delete(FLAT, "key").await.unwrap();
    let from = scene.appliance.frozen_map(&head).unwrap();
    let path = "/key".parse().unwrap();
    let request = RestoreRequest { from: Moment::NewestHead, path, remove_newer: false, dry_run: false };
    let namespace = scene.namespace(FLAT);
    history::restore(&from, &namespace, &request, &JobHandle::new()).await.unwrap();
    let info = scene.info(FLAT, "key").await.unwrap();
    let restored = info.version.unwrap();
    assert_ne!(restored, first);
    assert!(info.lock.legal_hold);
    for version in [&first, &restored] {
        let none = Conditions::default();
        let removed = scene.objects.delete(&admin(), &name(FLAT, "key"), Some(version), &none, true).await;
        assert_eq!(removed, Err(ObjectError::Locked));
    }
    let again = history::restore(&from, &namespace, &request, &JobHandle::new()).await.unwrap();
    assert_eq!(again.unchanged, 1, "nothing is left to do");
}

async fn keep_versions(scene: &Scene) {
    let change = BucketChange::Versioning(Versioning::Enabled);
    scene.objects.change_settings(&admin(), FLAT, change).await.unwrap();
}

/// Names and versions are read at different moments, between which a version may go from one to the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_read_while_versions_change_lists_each_once_and_the_newest_first() {
    let scene = Scene::new().await;
    keep_versions(&scene).await;
    for data in [b"1", b"2"] {
        scene.put(FLAT, "key", data).await.unwrap();
    }
    let objects = scene.objects.clone();
    let changes = tokio::spawn(async move {
        let (target, always) = (name(FLAT, "key"), Conditions::default());
        for round in 0..200_u32 {
            let hidden = objects.delete(&admin(), &target, None, &always, false).await.unwrap();
            if round % 3 == 0 {
                let marker = hidden.version.as_ref();
                objects.delete(&admin(), &target, marker, &always, false).await.unwrap();
            }
            let mut body = Given::whole(b"x");
            objects.put(&admin(), &target, NewObject::default(), &mut body).await.unwrap();
        }
    });
    let query = VersionQuery { limit: 1000, ..VersionQuery::default() };
    while !changes.is_finished() {
        let rows: Vec<_> = page(&scene, &query).await.entries.iter().map(shown).collect();
        // Ids of versions grow with time.
        assert!(rows.windows(2).all(|pair| pair[0].1.as_str() > pair[1].1.as_str()), "{rows:?}");
        let latest: Vec<bool> = rows.iter().map(|(_, _, latest, _)| *latest).collect();
        assert!(latest[0] && !latest[1..].contains(&true), "{rows:?}");
    }
    changes.await.unwrap();
}

/// What a lifecycle rule keeps is counted in the step that takes a version away: what was newer may have gone since it was looked at.
#[tokio::test]
async fn a_version_that_needs_newer_ones_goes_only_while_they_are_there() {
    let scene = Scene::new().await;
    keep_versions(&scene).await;
    for data in [b"1", b"2", b"3"] {
        scene.put(FLAT, "key", data).await.unwrap();
    }
    let query = VersionQuery { limit: 1000, ..VersionQuery::default() };
    let listed = page(&scene, &query).await;
    let order = |entry: &VersionEntry| u64::from_str_radix(shown(entry).1.as_str(), 16).unwrap();
    let orders: Vec<u64> = listed.entries.iter().map(order).collect();
    let remove = async |at: usize, newer_needed: u32| {
        let how =
            Removal { which: Which::Order(orders[at]), bypass: false, only_beneath: true, newer_needed };
        let place = Place { directory: InodeNumber::ROOT, name: b"key", flat: true };
        let namespace = scene.namespace(FLAT);
        let removed = namespace.remove_version(&Credentials::ROOT, place, how, |_| Ok(())).await;
        removed.unwrap().is_some()
    };
    assert!(!remove(2, 2).await, "between it and the newest is one");
    assert!(!remove(1, 1).await, "between it and the newest is none");
    scene.delete(FLAT, "key").await.unwrap();
    assert!(remove(2, 2).await, "the marker is the newest, and two are between");
    assert!(!remove(1, 2).await);
    assert!(remove(1, 1).await);
    assert_eq!(page(&scene, &query).await.entries.len(), 2);
}

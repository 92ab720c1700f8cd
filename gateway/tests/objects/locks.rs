//! Object lock: what is locked stays, whoever asks and by whichever door.

use tidegate_gateway::namespace::{Context, Credentials};
use tidegate_protocols::objects::{
    BucketChange, Conditions, DefaultRetention, LockConfiguration, LockMode, NewObject, ObjectError,
    ObjectView, Retention, VersionId, Versioning,
};
use tidegate_protocols::view::{FsError, SetAttributes, Time};
use tidegate_replicator::map::InodeNumber;

use crate::scene::{FLAT, Scene, TREE, admin, name};

const CONTEXT: Context<'static> = Context::ROOT;

async fn locked_scene() -> Scene {
    let scene = Scene::new().await;
    let enable = BucketChange::Versioning(Versioning::Enabled);
    scene.objects.change_settings(&admin(), FLAT, enable).await.unwrap();
    for bucket in [FLAT, TREE] {
        let lock = BucketChange::Lock(LockConfiguration::default());
        scene.objects.change_settings(&admin(), bucket, lock).await.unwrap();
    }
    scene
}

fn tomorrow(scene: &Scene, mode: LockMode) -> Retention {
    let now = scene.namespace(FLAT).time();
    Retention { mode, until: Time { seconds: now.seconds + 86_400, nanos: 0 } }
}

async fn remove(
    scene: &Scene,
    bucket: &str,
    version: Option<&VersionId>,
    bypass: bool,
) -> Result<(), ObjectError> {
    let target = name(bucket, "key");
    scene.objects.delete(&admin(), &target, version, &Conditions::default(), bypass).await.map(drop)
}

#[tokio::test]
async fn a_locked_version_is_hidden_and_replaced_but_not_removed() {
    for mode in [LockMode::Governance, LockMode::Compliance] {
        let scene = locked_scene().await;
        let new = NewObject { retention: Some(tomorrow(&scene, mode)), ..NewObject::default() };
        let version = scene.put_with(FLAT, "key", b"kept", new).await.unwrap().version;
        scene.put(FLAT, "key", b"newer").await.unwrap();
        scene.delete(FLAT, "key").await.unwrap();
        assert_eq!(remove(&scene, FLAT, version.as_ref(), false).await, Err(ObjectError::Locked));
        let bypassed = remove(&scene, FLAT, version.as_ref(), true).await;
        let expected = if mode == LockMode::Governance { Ok(()) } else { Err(ObjectError::Locked) };
        assert_eq!(bypassed, expected, "{mode:?}");
        let found = scene.objects.open(&admin(), &name(FLAT, "key"), version.as_ref()).await;
        assert_eq!(found.is_ok(), mode == LockMode::Compliance);
    }
}

#[tokio::test]
async fn a_retention_is_only_made_longer_and_a_hold_is_lifted() {
    let scene = locked_scene().await;
    let kept = tomorrow(&scene, LockMode::Compliance);
    let version = scene.put(FLAT, "key", b"kept").await.unwrap().version;
    let set = async |retention| {
        scene
            .objects
            .set_retention(&admin(), &name(FLAT, "key"), version.as_ref(), retention, true)
            .await
            .map(drop)
    };
    assert_eq!(set(Some(kept)).await, Ok(()));
    assert_eq!(set(None).await, Err(ObjectError::Locked));
    let longer = Retention { until: Time { seconds: kept.until.seconds + 1, ..kept.until }, ..kept };
    assert_eq!(set(Some(longer)).await, Ok(()));
    assert_eq!(set(Some(kept)).await, Err(ObjectError::Locked));
    assert_eq!(scene.info(FLAT, "key").await.unwrap().lock.retention, Some(longer));
    let past = Retention { until: Time { seconds: 1, nanos: 0 }, ..kept };
    assert!(matches!(set(Some(past)).await, Err(ObjectError::InvalidArgument(_))));

    let held = scene.put(FLAT, "key", b"held").await.unwrap().version;
    let hold = async |on| {
        scene.objects.set_legal_hold(&admin(), &name(FLAT, "key"), held.as_ref(), on).await.map(drop)
    };
    assert_eq!(hold(true).await, Ok(()));
    assert_eq!(remove(&scene, FLAT, held.as_ref(), true).await, Err(ObjectError::Locked));
    assert_eq!(hold(false).await, Ok(()));
    assert_eq!(remove(&scene, FLAT, held.as_ref(), false).await, Ok(()));
}

#[tokio::test]
async fn governance_becomes_compliance_only_by_who_may_pass_it() {
    let scene = locked_scene().await;
    let version = scene.put(FLAT, "key", b"kept").await.unwrap().version;
    let set = async |mode, bypass| {
        let (target, until) = (name(FLAT, "key"), Some(tomorrow(&scene, mode)));
        scene.objects.set_retention(&admin(), &target, version.as_ref(), until, bypass).await.map(drop)
    };
    assert_eq!(set(LockMode::Governance, false).await, Ok(()));
    assert_eq!(set(LockMode::Compliance, false).await, Err(ObjectError::Locked));
    assert_eq!(set(LockMode::Compliance, true).await, Ok(()));
    assert_eq!(set(LockMode::Governance, true).await, Err(ObjectError::Locked));
}

#[tokio::test]
async fn a_locked_file_of_a_share_is_immutable_over_nfs_too() {
    let mut scene = locked_scene().await;
    scene.put(TREE, "key", b"kept").await.unwrap();
    scene.put(TREE, "other", b"other").await.unwrap();
    let retention = Some(tomorrow(&scene, LockMode::Governance));
    scene.objects.set_retention(&admin(), &name(TREE, "key"), None, retention, false).await.unwrap();
    for round in 0..2 {
        let namespace = scene.namespace(TREE);
        let root = InodeNumber::ROOT;
        let file = namespace.reader().entry(root, b"key").await.unwrap().unwrap().inode;
        let write = namespace.write(&Credentials::ROOT, file, 0, "changed".into()).await;
        assert_eq!(write.map(drop), Err(FsError::Locked));
        for set in [
            SetAttributes { size: Some(0), ..SetAttributes::default() },
            SetAttributes { mode: Some(0o600), ..SetAttributes::default() },
        ] {
            let set = namespace.set_attributes(CONTEXT, file, set, None).await;
            assert_eq!(set.map(drop), Err(FsError::Locked));
        }
        let outcomes = [
            namespace.remove(CONTEXT, root, b"key").await,
            namespace.rename(CONTEXT, (root, b"key"), (root, b"moved")).await,
            namespace.rename(CONTEXT, (root, b"other"), (root, b"key")).await,
            namespace.link(CONTEXT, file, root, b"linked").await,
            namespace.remove_extended(CONTEXT, file, b"user.tidegate.object").await,
        ];
        for outcome in outcomes {
            assert_eq!(outcome.map(drop), Err(FsError::Locked));
        }
        assert_eq!(scene.put(TREE, "key", b"changed").await, Err(ObjectError::Locked));
        assert_eq!(scene.delete(TREE, "key").await, Err(ObjectError::Locked));
        assert_eq!(scene.get(TREE, "key").await.unwrap(), b"kept");
        drop(namespace);
        if round == 0 {
            scene.appliance.commit(TREE).await.unwrap();
            scene.restart().await;
        }
    }
    assert_eq!(remove(&scene, TREE, None, true).await, Ok(()), "governance is passed by who may");
}

#[tokio::test]
async fn new_objects_get_the_default_of_their_bucket() {
    let scene = locked_scene().await;
    let default = DefaultRetention::new(LockMode::Governance, 3, false).unwrap();
    let lock = BucketChange::Lock(LockConfiguration { default: Some(default) });
    scene.objects.change_settings(&admin(), FLAT, lock).await.unwrap();
    scene.put(FLAT, "key", b"kept").await.unwrap();
    let info = scene.info(FLAT, "key").await.unwrap();
    let retention = info.lock.retention.unwrap();
    assert_eq!(retention.mode, LockMode::Governance);
    assert!((retention.until.seconds - info.modified.seconds - 3 * 86_400).abs() <= 60);
    let own = NewObject { retention: Some(tomorrow(&scene, LockMode::Compliance)), ..NewObject::default() };
    scene.put_with(FLAT, "key", b"kept", own).await.unwrap();
    assert_eq!(scene.info(FLAT, "key").await.unwrap().lock.retention.unwrap().mode, LockMode::Compliance);
}

#[tokio::test]
async fn a_lock_needs_versions_and_keeps_them() {
    let scene = Scene::new().await;
    let change = async |change| scene.objects.change_settings(&admin(), FLAT, change).await;
    let lock = || BucketChange::Lock(LockConfiguration::default());
    assert!(matches!(change(lock()).await, Err(ObjectError::BucketState(_))));
    let new = NewObject { legal_hold: Some(true), ..NewObject::default() };
    assert_eq!(scene.put_with(FLAT, "key", b"", new).await, Err(ObjectError::NoLock));
    change(BucketChange::Versioning(Versioning::Enabled)).await.unwrap();
    change(lock()).await.unwrap();
    let suspended = change(BucketChange::Versioning(Versioning::Suspended)).await;
    assert!(matches!(suspended, Err(ObjectError::BucketState(_))));
}

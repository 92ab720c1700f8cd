//! Whose a bucket is: its maker's, whom the settings of a key may let see no other's.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::namespace::Credentials;
use tidegate_gateway::objects::{AccessKeyConfig, BucketConfig, Host, Objects};
use tidegate_protocols::objects::{
    Asked, BucketChange, LockConfiguration, NewBucket, ObjectError, ObjectView, Versioning, Who,
};

use crate::scene::{FLAT, Scene, TREE, access_key, buckets, who};
use crate::support::config;

const HERS: &str = "annas-bucket";

/// A gateway that serves every bucket that is asked for.
struct Making {
    appliance: Arc<Appliance>,
    objects: Weak<Objects>,
    dies: bool,
}

fn keys() -> HashMap<String, AccessKeyConfig> {
    let of = |owner: Option<String>| AccessKeyConfig { owner, ..access_key(Credentials::ROOT) };
    let own = |owner| AccessKeyConfig { own_buckets_only: true, ..of(owner) };
    HashMap::from([
        ("anna".into(), own(None)),
        ("annas-next".into(), own(Some("anna".into()))),
        ("bert".into(), own(None)),
        ("carol".into(), of(None)),
    ])
}

#[async_trait]
impl Host for Making {
    async fn make_bucket(&self, name: &str, owner: Option<&str>) -> Result<ShareId, ObjectError> {
        let mut new = config(name);
        new.rules.exported = false;
        self.appliance.serve(new).await.unwrap();
        let share = self.appliance.share_id(name).unwrap();
        let (name, owner) = (name.to_owned(), owner.map(str::to_owned));
        let bucket = BucketConfig { name, owner, share, flat: true, read_only: false, in_repository: false };
        let all = buckets(&self.appliance).into_iter().chain([bucket]).collect();
        self.objects.upgrade().unwrap().set(all, keys());
        // The rest is not done when somebody pulls the plug here.
        if self.dies { Err(ObjectError::Internal) } else { Ok(share) }
    }

    async fn remove_bucket(&self, _: &str) -> Result<(), ObjectError> {
        Err(ObjectError::Internal)
    }

    async fn publish(&self, _: ShareId) -> Result<(), ObjectError> {
        Err(ObjectError::SlowDown)
    }
}

/// Two buckets of the settings, and one that anna has made.
async fn scene() -> Scene {
    let scene = Scene::new().await;
    scene.objects.set(buckets(&scene.appliance), keys());
    let (appliance, objects) = (scene.appliance.clone(), Arc::downgrade(&scene.objects));
    scene.objects.set_host(Some(Arc::new(Making { appliance, objects, dies: false })));
    let new = NewBucket { region: Some("eu-central-1".into()), ..NewBucket::default() };
    scene.objects.create_bucket(&who("anna"), HERS, new).await.unwrap();
    scene
}

async fn may(scene: &Scene, who: &Who, action: &str, bucket: &str, key: Option<&str>) -> bool {
    let asked = Asked { action, bucket: Some(bucket), key, version: None, conditions: &[] };
    scene.objects.authorize(who, &asked).await.is_ok()
}

async fn seen(scene: &Scene, who: &Who) -> Vec<String> {
    let buckets = scene.objects.buckets(who).await.unwrap();
    buckets.into_iter().map(|bucket| bucket.name).collect()
}

#[tokio::test]
async fn the_name_of_a_bucket_is_taken_for_everybody_but_its_maker() {
    let scene = scene().await;
    let make = async |id: &str, bucket: &str, lock| {
        let new = NewBucket { lock, ..NewBucket::default() };
        scene.objects.create_bucket(&who(id), bucket, new).await
    };
    assert_eq!(make("anna", HERS, false).await, Err(ObjectError::BucketOwned));
    assert_eq!(make("anna", HERS, true).await, Err(ObjectError::BucketExists), "it has no lock");
    for other in ["bert", "carol"] {
        assert_eq!(make(other, HERS, false).await, Err(ObjectError::BucketExists));
        assert_eq!(make(other, FLAT, false).await, Err(ObjectError::BucketOwned), "nobody's is everybody's");
    }
    assert!(
        may(&scene, &who("bert"), "s3:CreateBucket", HERS, None).await,
        "who asks is told that it is taken"
    );
    let settings = scene.objects.settings(&who("anna"), HERS).await.unwrap();
    assert_eq!((settings.owner.as_deref(), settings.region.as_deref()), (Some("anna"), Some("eu-central-1")));
    scene.objects.set_host(None);
}

#[tokio::test]
async fn a_key_that_is_bound_to_its_own_buckets_reaches_others_only_by_their_policy() {
    let scene = scene().await;
    let (anna, bert, carol) = (who("anna"), who("bert"), who("carol"));
    assert_eq!(seen(&scene, &anna).await, [HERS, FLAT, TREE]);
    assert_eq!(seen(&scene, &bert).await, [FLAT, TREE], "those of the settings are nobody's");
    assert_eq!(seen(&scene, &carol).await, [HERS, FLAT, TREE], "unless it is set, keys see all");
    assert!(seen(&scene, &Who { access_key: None, ..who("") }).await.is_empty());
    for action in ["s3:ListBucket", "s3:GetObject", "s3:DeleteBucket", "s3:PutBucketPolicy"] {
        assert!(may(&scene, &anna, action, HERS, None).await, "{action}");
        assert!(!may(&scene, &bert, action, HERS, None).await, "{action}");
        assert!(may(&scene, &bert, action, FLAT, None).await, "{action}");
        assert!(may(&scene, &carol, action, HERS, None).await, "{action}");
    }
    let policy = r#"{"Statement": {"Effect": "Allow", "Principal": {"AWS": "bert"}, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::annas-bucket/shared/*"}}"#;
    let change = BucketChange::Policy(Some(policy.into()));
    scene.objects.change_settings(&anna, HERS, change).await.unwrap();
    assert!(may(&scene, &bert, "s3:GetObject", HERS, Some("shared/1")).await);
    assert!(!may(&scene, &bert, "s3:GetObject", HERS, Some("own/1")).await);
    assert!(!may(&scene, &bert, "s3:PutObject", HERS, Some("shared/1")).await);
    scene.objects.set_host(None);
}

#[tokio::test]
async fn what_is_set_of_a_bucket_later_leaves_it_its_makers() {
    let scene = scene().await;
    let anna = who("anna");
    for change in [
        BucketChange::Versioning(Versioning::Enabled),
        BucketChange::Lock(LockConfiguration::default()),
        BucketChange::Ownership(false),
    ] {
        scene.objects.change_settings(&anna, HERS, change).await.unwrap();
    }
    let settings = scene.objects.settings(&anna, HERS).await.unwrap();
    assert_eq!(settings.owner.as_deref(), Some("anna"));
    assert!(settings.ownership_unsaid && settings.lock.is_some());
    scene.objects.change_settings(&anna, HERS, BucketChange::Ownership(true)).await.unwrap();
    assert!(!scene.objects.settings(&anna, HERS).await.unwrap().ownership_unsaid);
    scene.objects.set_host(None);
}

#[tokio::test]
async fn a_bucket_is_its_makers_from_the_moment_that_it_is_there() {
    let scene = Scene::new().await;
    scene.objects.set(buckets(&scene.appliance), keys());
    let (appliance, objects) = (scene.appliance.clone(), Arc::downgrade(&scene.objects));
    scene.objects.set_host(Some(Arc::new(Making { appliance, objects, dies: true })));
    let (anna, bert) = (who("anna"), who("bert"));
    let made = scene.objects.create_bucket(&anna, HERS, NewBucket::default()).await;
    assert_eq!(made, Err(ObjectError::Internal));
    assert_eq!(seen(&scene, &bert).await, [FLAT, TREE]);
    assert!(may(&scene, &anna, "s3:GetObject", HERS, None).await);
    assert!(!may(&scene, &bert, "s3:GetObject", HERS, None).await);
    scene.objects.set_host(None);
}

#[tokio::test]
async fn a_key_that_takes_the_place_of_another_owns_what_that_made() {
    let scene = scene().await;
    let next = who("annas-next");
    assert_eq!(seen(&scene, &next).await, [HERS, FLAT, TREE]);
    assert!(may(&scene, &next, "s3:DeleteBucket", HERS, None).await);
    assert_eq!(scene.objects.owner_name(&next), "anna");
    let again = scene.objects.create_bucket(&next, HERS, NewBucket::default()).await;
    assert_eq!(again, Err(ObjectError::BucketOwned));
    scene.objects.set_host(None);
}

#[tokio::test]
async fn who_shows_no_key_learns_that_there_is_an_owner_and_not_its_name() {
    let scene = scene().await;
    let nobody = Who { access_key: None, ..who("") };
    let shown = scene.objects.settings(&nobody, HERS).await.unwrap().owner.clone().unwrap();
    assert_eq!(shown, blake3::hash(b"anna").to_hex().as_str(), "one owner is one name");
    scene.objects.set_host(None);
}

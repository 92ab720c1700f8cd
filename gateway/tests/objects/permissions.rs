//! Who may do what: settings of keys, policies of keys and of buckets, and callers without a key.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_gateway::namespace::Credentials;
use tidegate_gateway::objects::AccessKeyConfig;
use tidegate_protocols::objects::policy::Policy;
use tidegate_protocols::objects::{
    Asked, BucketChange, NewObject, ObjectError, ObjectView, PublicAccessBlock, Tags, Who,
};

use crate::scene::{FLAT, Scene, TREE, access_key, admin, buckets, who};

/// A key with a policy that allows some actions on some resources.
fn with_policy(policy: &str) -> AccessKeyConfig {
    let policy = Some(Arc::new(Policy::of_key(policy).unwrap()));
    AccessKeyConfig { policy, ..access_key(Credentials::ROOT) }
}

/// A policy of what is not there.
const NOTHING: &str =
    r#"{"Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::elsewhere/*"}}"#;

async fn scene() -> Scene {
    let scene = Scene::new().await;
    let reader = r#"{"Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
         "Resource": ["arn:aws:s3:::backups", "arn:aws:s3:::backups/logs/*"]},
        {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::backups/logs/secret*"}]}"#;
    let keys = HashMap::from([
        ("admin".to_owned(), access_key(Credentials::ROOT)),
        ("reader".to_owned(), with_policy(reader)),
        ("nothing".to_owned(), with_policy(NOTHING)),
        (
            "bound".to_owned(),
            AccessKeyConfig {
                buckets: Some(vec![TREE.into()]),
                read_only: true,
                ..access_key(Credentials::ROOT)
            },
        ),
    ]);
    scene.objects.set(buckets(&scene.appliance), keys);
    scene
}

fn anybody() -> Who {
    Who { access_key: None, ..who("") }
}

async fn may(scene: &Scene, who: &Who, action: &str, bucket: &str, key: Option<&str>) -> bool {
    let asked = Asked { action, bucket: Some(bucket), key, version: None, conditions: &[] };
    match scene.objects.authorize(who, &asked).await {
        Ok(()) => true,
        Err(ObjectError::AccessDenied) => false,
        Err(error) => panic!("{action} {bucket} {key:?}: {error}"),
    }
}

async fn set_policy(scene: &Scene, policy: Option<&str>) -> Result<(), ObjectError> {
    let change = BucketChange::Policy(policy.map(str::to_owned));
    scene.objects.change_settings(&admin(), FLAT, change).await
}

#[tokio::test]
async fn a_key_does_what_its_policy_allows_and_its_settings_bound_it() {
    let scene = scene().await;
    for (id, action, bucket, key, expected) in [
        ("admin", "s3:PutObject", FLAT, Some("logs/1"), true),
        ("reader", "s3:GetObject", FLAT, Some("logs/1"), true),
        ("reader", "s3:GetObject", FLAT, Some("other"), false),
        ("reader", "s3:GetObject", FLAT, Some("logs/secret/1"), false),
        ("reader", "s3:PutObject", FLAT, Some("logs/1"), false),
        ("reader", "s3:ListBucket", FLAT, None, true),
        ("reader", "s3:ListBucket", TREE, None, false),
        ("nothing", "s3:ListBucket", FLAT, None, false),
        ("bound", "s3:GetObject", TREE, Some("a"), true),
        ("bound", "s3:PutObject", TREE, Some("a"), false),
        ("bound", "s3:GetObject", FLAT, Some("a"), false),
        ("unknown", "s3:GetObject", FLAT, Some("a"), false),
    ] {
        assert_eq!(
            may(&scene, &who(id), action, bucket, key).await,
            expected,
            "{id} {action} {bucket} {key:?}"
        );
    }
    let missing =
        Asked { action: "s3:ListBucket", bucket: Some("missing"), key: None, version: None, conditions: &[] };
    assert_eq!(scene.objects.authorize(&admin(), &missing).await, Err(ObjectError::NoSuchBucket));
    assert_eq!(scene.objects.authorize(&who("nothing"), &missing).await, Err(ObjectError::AccessDenied));
    let all = Asked { action: "s3:ListAllMyBuckets", bucket: None, ..missing };
    assert_eq!(scene.objects.authorize(&admin(), &all).await, Ok(()));
    assert_eq!(scene.objects.authorize(&anybody(), &all).await, Err(ObjectError::AccessDenied));
}

#[tokio::test]
async fn a_bucket_lets_in_whom_its_policy_names() {
    let scene = scene().await;
    scene.put(FLAT, "open/1", b"x").await.unwrap();
    assert!(!may(&scene, &anybody(), "s3:GetObject", FLAT, Some("open/1")).await);
    let policy = r#"{"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::backups/open/*"},
        {"Effect": "Allow", "Principal": {"AWS": "nothing"}, "Action": "s3:PutObject",
         "Resource": "arn:aws:s3:::backups/*"},
        {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::backups/*"}]}"#;
    set_policy(&scene, Some(policy)).await.unwrap();
    assert!(may(&scene, &anybody(), "s3:GetObject", FLAT, Some("open/1")).await);
    assert!(!may(&scene, &anybody(), "s3:GetObject", FLAT, Some("closed")).await);
    assert!(may(&scene, &who("nothing"), "s3:PutObject", FLAT, Some("x")).await);
    assert!(!may(&scene, &who("reader"), "s3:PutObject", FLAT, Some("x")).await);
    assert!(!may(&scene, &admin(), "s3:DeleteObject", FLAT, Some("x")).await, "a denial is for all");
    // Who may come in without a key also gets what he came for.
    let name = crate::scene::name(FLAT, "open/1");
    assert!(scene.objects.open(&anybody(), &name, None).await.is_ok());

    let block = PublicAccessBlock { restrict: true, block_policy: true, ..PublicAccessBlock::default() };
    let change = BucketChange::PublicAccess(Some(block));
    scene.objects.change_settings(&admin(), FLAT, change).await.unwrap();
    assert!(!may(&scene, &anybody(), "s3:GetObject", FLAT, Some("open/1")).await);
    assert_eq!(set_policy(&scene, Some(policy)).await, Err(ObjectError::AccessDenied));
    set_policy(&scene, None).await.unwrap();
    assert!(may(&scene, &admin(), "s3:DeleteObject", FLAT, Some("x")).await);
}

#[tokio::test]
async fn nobody_is_locked_out_of_a_policy_for_ever() {
    let scene = scene().await;
    let policy = r#"{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": ["arn:aws:s3:::backups", "arn:aws:s3:::backups/*"]}]}"#;
    set_policy(&scene, Some(policy)).await.unwrap();
    assert!(!may(&scene, &admin(), "s3:GetObject", FLAT, Some("x")).await);
    assert!(may(&scene, &admin(), "s3:DeleteBucketPolicy", FLAT, None).await);
    assert!(!may(&scene, &who("reader"), "s3:DeleteBucketPolicy", FLAT, None).await);
    let refused = set_policy(&scene, Some("{")).await;
    assert!(matches!(refused, Err(ObjectError::MalformedPolicy(_))), "{refused:?}");
}

/// Policies were taken whose condition keys nobody knew: those that deny under such a condition never did.
#[tokio::test]
async fn a_policy_that_asks_for_what_nobody_says_is_refused_and_one_that_is_there_lets_nobody_in() {
    let scene = scene().await;
    let policy = r#"{"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::backups/*",
        "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}}]}"#;
    let refused = set_policy(&scene, Some(policy)).await;
    assert!(matches!(refused, Err(ObjectError::MalformedPolicy(_))), "{refused:?}");
    assert!(may(&scene, &admin(), "s3:GetObject", FLAT, Some("x")).await);
    let stored = serde_json::to_vec(policy).unwrap();
    scene.namespace(FLAT).change_bucket(|_| Ok(vec![("policy", Some(stored))])).await.unwrap();
    assert!(!may(&scene, &admin(), "s3:GetObject", FLAT, Some("x")).await);
    assert!(may(&scene, &admin(), "s3:DeleteBucketPolicy", FLAT, None).await);
    set_policy(&scene, None).await.unwrap();
    assert!(may(&scene, &admin(), "s3:GetObject", FLAT, Some("x")).await);
}

#[tokio::test]
async fn a_policy_may_ask_for_the_tags_of_what_is_there() {
    let scene = scene().await;
    for (key, team) in [("red", "red"), ("blue", "blue")] {
        let tags = Tags::from([("team".to_owned(), team.to_owned())]);
        scene.put_with(FLAT, key, b"x", NewObject { tags, ..NewObject::default() }).await.unwrap();
    }
    scene.put(FLAT, "none", b"x").await.unwrap();
    let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "nothing"}, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::backups/*",
        "Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}}]}"#;
    set_policy(&scene, Some(policy)).await.unwrap();
    for (key, expected) in [("red", true), ("blue", false), ("none", false), ("missing", false)] {
        let found = may(&scene, &who("nothing"), "s3:GetObject", FLAT, Some(key)).await;
        assert_eq!(found, expected, "{key}");
    }
}

#[tokio::test]
async fn what_is_set_of_a_bucket_goes_with_it_to_another_site() {
    let scene = scene().await;
    let set = async |value: &str| {
        let tags = Tags::from([("tag".to_owned(), value.to_owned())]);
        let change = BucketChange::Tags(Some(tags));
        scene.objects.change_settings(&admin(), FLAT, change).await.unwrap();
    };
    let tag = async |objects: &tidegate_gateway::objects::Objects| {
        let settings = objects.settings(&admin(), FLAT).await.unwrap();
        settings.tags.clone().unwrap_or_default().get("tag").cloned()
    };
    set("first").await;
    assert_eq!(tag(&scene.objects).await.as_deref(), Some("first"));
    scene.appliance.commit(FLAT).await.unwrap();
    scene.appliance.commit(TREE).await.unwrap();
    let (away, there) = scene.elsewhere().await;
    assert_eq!(tag(&there).await.as_deref(), Some("first"));
    away.close().await.unwrap();
}

#[tokio::test]
async fn a_rollback_takes_back_what_is_set() {
    let scene = scene().await;
    let set = async |tags: Option<Tags>| {
        scene.objects.change_settings(&admin(), FLAT, BucketChange::Tags(tags)).await.unwrap();
    };
    let old = Tags::from([("tag".to_owned(), "old".to_owned())]);
    set(Some(old.clone())).await;
    let (_, head) = scene.appliance.commit(FLAT).await.unwrap();
    set(None).await;
    assert_eq!(scene.objects.settings(&admin(), FLAT).await.unwrap().tags, None);
    scene.appliance.roll_back(FLAT, &head).await.unwrap();
    assert_eq!(scene.objects.settings(&admin(), FLAT).await.unwrap().tags, Some(old));
}

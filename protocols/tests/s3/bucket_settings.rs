//! What clients set of a bucket: each part is set, read back and taken away, and what cannot be is refused.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, AccelerateConfiguration, BucketAccelerateStatus,
    BucketLifecycleConfiguration, BucketLocationConstraint, BucketLoggingStatus, CorsConfiguration, CorsRule,
    CreateBucketConfiguration, Event, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, LoggingEnabled, NotificationConfiguration, ObjectOwnership, OwnershipControls,
    OwnershipControlsRule, Payer, PublicAccessBlockConfiguration, QueueConfiguration,
    RequestPaymentConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging, Transition,
    TransitionDefaultMinimumObjectSize,
};

use crate::harness::{BUCKET, Harness, refused};

fn tags(count: usize) -> Tagging {
    let tags = (0..count).map(|tag| Tag::builder().key(tag.to_string()).value("x").build().unwrap());
    Tagging::builder().set_tag_set(Some(tags.collect())).build().unwrap()
}

#[tokio::test]
async fn tags_of_a_bucket() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = client.get_bucket_tagging().bucket(BUCKET);
    assert_eq!(refused(get.clone().send().await), ("NoSuchTagSet".into(), 404));
    let set = |tagging| client.put_bucket_tagging().bucket(BUCKET).tagging(tagging).send();
    set(tags(50)).await.unwrap();
    assert_eq!(get.clone().send().await.unwrap().tag_set().len(), 50);
    assert_eq!(refused(set(tags(51)).await), ("InvalidTag".into(), 400));
    client.delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    assert_eq!(refused(get.send().await), ("NoSuchTagSet".into(), 404));
}

#[tokio::test]
async fn cors_of_a_bucket() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = client.get_bucket_cors().bucket(BUCKET);
    assert_eq!(refused(get.clone().send().await), ("NoSuchCORSConfiguration".into(), 404));
    let rule = |method: &str| {
        let rule = CorsRule::builder().allowed_methods(method).allowed_origins("https://*.example.com");
        rule.expose_headers("etag").max_age_seconds(60).id("one").build().unwrap()
    };
    let set = |rules: Vec<CorsRule>| {
        let configuration = CorsConfiguration::builder().set_cors_rules(Some(rules)).build().unwrap();
        client.put_bucket_cors().bucket(BUCKET).cors_configuration(configuration).send()
    };
    set(vec![rule("GET")]).await.unwrap();
    assert_eq!(get.clone().send().await.unwrap().cors_rules(), [rule("GET")]);
    assert_eq!(refused(set(vec![rule("PATCH")]).await), ("InvalidRequest".into(), 400));
    assert_eq!(refused(set(vec![rule("GET"); 101]).await), ("MalformedXML".into(), 400));
    client.delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    assert_eq!(refused(get.send().await), ("NoSuchCORSConfiguration".into(), 404));
}

#[tokio::test]
async fn lifecycle_of_a_bucket() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = client.get_bucket_lifecycle_configuration().bucket(BUCKET);
    assert_eq!(refused(get.clone().send().await), ("NoSuchLifecycleConfiguration".into(), 404));
    let rule = || {
        let filter = LifecycleRuleFilter::builder().prefix("logs/").build();
        let expiration = LifecycleExpiration::builder().days(3).build();
        LifecycleRule::builder().status(ExpirationStatus::Enabled).filter(filter).expiration(expiration)
    };
    let set = |rule: LifecycleRule| {
        let configuration = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
        let put = client.put_bucket_lifecycle_configuration().bucket(BUCKET);
        put.lifecycle_configuration(configuration).send()
    };
    set(rule().build().unwrap()).await.unwrap();
    let found = get.clone().send().await.unwrap();
    let smallest = &TransitionDefaultMinimumObjectSize::AllStorageClasses128K;
    assert_eq!(found.transition_default_minimum_object_size(), Some(smallest));
    let found = &found.rules()[0];
    assert!(!found.id().unwrap().is_empty());
    assert_eq!(found.filter().unwrap().prefix(), Some("logs/"));
    assert_eq!(found.expiration().unwrap().days(), Some(3));
    let put = client.put_object().bucket(BUCKET).key("logs/1").send().await.unwrap();
    let said = put.expiration().unwrap();
    assert!(said.contains(&format!("rule-id=\"{}\"", found.id().unwrap())), "{said}");
    let head = client.head_object().bucket(BUCKET).key("logs/1").send().await.unwrap();
    assert_eq!(head.expiration(), Some(said));
    assert_eq!(client.put_object().bucket(BUCKET).key("kept").send().await.unwrap().expiration(), None);
    let copy = client.copy_object().bucket(BUCKET).key("logs/2").copy_source("bucket/kept");
    assert!(copy.send().await.unwrap().expiration().is_some());
    let moves = rule().transitions(Transition::builder().days(1).build()).build().unwrap();
    assert_eq!(refused(set(moves).await), ("NotImplemented".into(), 501));
    let nothing = LifecycleRule::builder().status(ExpirationStatus::Enabled);
    let nothing = nothing.filter(LifecycleRuleFilter::builder().prefix("x").build()).build().unwrap();
    assert_eq!(refused(set(nothing).await), ("InvalidRequest".into(), 400));
    let drop = AbortIncompleteMultipartUpload::builder().days_after_initiation(2).build();
    set(rule().id("drop it").abort_incomplete_multipart_upload(drop).build().unwrap()).await.unwrap();
    let begun = client.create_multipart_upload().bucket(BUCKET).key("logs/3").send().await.unwrap();
    assert_eq!(begun.abort_rule_id(), Some("drop%20it"));
    assert!(begun.abort_date().is_some());
    #[allow(deprecated)] // Older clients still write the bare prefix.
    let bare = LifecycleRule::builder().status(ExpirationStatus::Disabled).prefix("old/").id("bare");
    let bare = bare.expiration(LifecycleExpiration::builder().days(1).build()).build().unwrap();
    set(bare.clone()).await.unwrap();
    assert_eq!(get.clone().send().await.unwrap().rules(), [bare]);
    client.delete_bucket_lifecycle().bucket(BUCKET).send().await.unwrap();
    assert_eq!(refused(get.send().await), ("NoSuchLifecycleConfiguration".into(), 404));
}

#[tokio::test]
async fn the_policy_of_a_bucket_comes_back_as_it_was_sent() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = client.get_bucket_policy().bucket(BUCKET);
    assert_eq!(refused(get.clone().send().await), ("NoSuchBucketPolicy".into(), 404));
    let status = client.get_bucket_policy_status().bucket(BUCKET);
    let is_public = async || status.clone().send().await.unwrap().policy_status().unwrap().is_public();
    assert_eq!(is_public().await, Some(false), "nobody is let in without a policy");
    let text = "{ \"Version\": \"2012-10-17\", \"Statement\": [ { \"Effect\": \"Allow\", \"Principal\": \"*\", \
                \"Action\": \"s3:GetObject\", \"Resource\": \"arn:aws:s3:::bucket/*\" } ] }";
    let set = |text: &str| client.put_bucket_policy().bucket(BUCKET).policy(text).send();
    set(text).await.unwrap();
    assert_eq!(get.clone().send().await.unwrap().policy(), Some(text));
    assert_eq!(is_public().await, Some(true));
    assert_eq!(refused(set("no policy").await), ("MalformedPolicy".into(), 400));
    let condition = "\"Condition\": {\"StringEquals\": {\"aws:PrincipalOrgID\": \"o-1\"}}, \"Principal\"";
    let of_nobody = text.replace("\"Principal\"", condition);
    assert_eq!(refused(set(&of_nobody).await), ("MalformedPolicy".into(), 400));
    let long = format!("{{{}}}", " ".repeat(20 << 10));
    assert_eq!(refused(set(&long).await), ("MalformedPolicy".into(), 400));
    client.delete_bucket_policy().bucket(BUCKET).send().await.unwrap();
    assert_eq!(refused(get.send().await), ("NoSuchBucketPolicy".into(), 404));
}

#[tokio::test]
async fn what_no_policy_can_allow() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = client.get_public_access_block().bucket(BUCKET);
    let none = ("NoSuchPublicAccessBlockConfiguration".to_owned(), 404);
    assert_eq!(refused(get.clone().send().await), none);
    let block = PublicAccessBlockConfiguration::builder().block_public_policy(true).ignore_public_acls(true);
    let put = client.put_public_access_block().bucket(BUCKET);
    put.public_access_block_configuration(block.build()).send().await.unwrap();
    let found = get.clone().send().await.unwrap();
    let found = found.public_access_block_configuration().unwrap();
    assert_eq!((found.block_public_policy(), found.block_public_acls()), (Some(true), Some(false)));
    assert_eq!((found.ignore_public_acls(), found.restrict_public_buckets()), (Some(true), Some(false)));
    client.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
    assert_eq!(refused(get.send().await), none);
}

#[tokio::test]
async fn encryption_and_ownership_are_what_they_are() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let encrypt = |algorithm| {
        let default = ServerSideEncryptionByDefault::builder().sse_algorithm(algorithm).build().unwrap();
        let rule =
            ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default).build();
        let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
        client.put_bucket_encryption().bucket(BUCKET).server_side_encryption_configuration(rules).send()
    };
    encrypt(ServerSideEncryption::Aes256).await.unwrap();
    assert_eq!(refused(encrypt(ServerSideEncryption::AwsKms).await), ("NotImplemented".into(), 501));
    client.delete_bucket_encryption().bucket(BUCKET).send().await.unwrap();
    let own = |ownership| {
        let rule = OwnershipControlsRule::builder().object_ownership(ownership).build().unwrap();
        let controls = OwnershipControls::builder().rules(rule).build().unwrap();
        client.put_bucket_ownership_controls().bucket(BUCKET).ownership_controls(controls).send()
    };
    own(ObjectOwnership::BucketOwnerEnforced).await.unwrap();
    assert_eq!(refused(own(ObjectOwnership::ObjectWriter).await), ("NotImplemented".into(), 501));
    let found = client.get_bucket_ownership_controls().bucket(BUCKET).send().await.unwrap();
    let rule = &found.ownership_controls().unwrap().rules()[0];
    assert_eq!(rule.object_ownership(), &ObjectOwnership::BucketOwnerEnforced);
    client.delete_bucket_ownership_controls().bucket(BUCKET).send().await.unwrap();
    let get = || client.get_bucket_ownership_controls().bucket(BUCKET).send();
    assert_eq!(refused(get().await), ("OwnershipControlsNotFoundError".into(), 404));
    own(ObjectOwnership::BucketOwnerEnforced).await.unwrap();
    get().await.unwrap();
}

#[tokio::test]
async fn to_set_what_is_so_already_is_no_error() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let refusal = ("NotImplemented".to_owned(), 501);
    let pay = |payer| {
        let payment = RequestPaymentConfiguration::builder().payer(payer).build().unwrap();
        client.put_bucket_request_payment().bucket(BUCKET).request_payment_configuration(payment).send()
    };
    pay(Payer::BucketOwner).await.unwrap();
    assert_eq!(refused(pay(Payer::Requester).await), refusal);
    let faster = |status| {
        let configuration = AccelerateConfiguration::builder().status(status).build();
        let put = client.put_bucket_accelerate_configuration().bucket(BUCKET);
        put.accelerate_configuration(configuration).send()
    };
    faster(BucketAccelerateStatus::Suspended).await.unwrap();
    assert_eq!(refused(faster(BucketAccelerateStatus::Enabled).await), refusal);
    let tell = |configuration| {
        let put = client.put_bucket_notification_configuration().bucket(BUCKET);
        put.notification_configuration(configuration).send()
    };
    tell(NotificationConfiguration::builder().build()).await.unwrap();
    let queue = QueueConfiguration::builder().queue_arn("arn:aws:sqs:::q").events(Event::S3ObjectCreated);
    let queue = NotificationConfiguration::builder().queue_configurations(queue.build().unwrap());
    assert_eq!(refused(tell(queue.build()).await), refusal);
    let log = |status| client.put_bucket_logging().bucket(BUCKET).bucket_logging_status(status).send();
    log(BucketLoggingStatus::builder().build()).await.unwrap();
    let into = LoggingEnabled::builder().target_bucket(BUCKET).target_prefix("log/").build().unwrap();
    assert_eq!(refused(log(BucketLoggingStatus::builder().logging_enabled(into).build()).await), refusal);
    let absent = client.put_bucket_logging().bucket("absent");
    let absent = absent.bucket_logging_status(BucketLoggingStatus::builder().build()).send().await;
    assert_eq!(refused(absent), ("NoSuchBucket".into(), 404));
}

#[tokio::test]
async fn what_no_bucket_has_is_answered_as_not_set() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let logging = client.get_bucket_logging().bucket(BUCKET).send().await.unwrap();
    assert!(logging.logging_enabled().is_none());
    let told = client.get_bucket_notification_configuration().bucket(BUCKET).send().await.unwrap();
    assert!(told.queue_configurations().is_empty());
    let payer = client.get_bucket_request_payment().bucket(BUCKET).send().await.unwrap();
    assert_eq!(payer.payer().unwrap().as_str(), "BucketOwner");
    let faster = client.get_bucket_accelerate_configuration().bucket(BUCKET).send().await.unwrap();
    assert!(faster.status().is_none());
    let website = client.get_bucket_website().bucket(BUCKET).send().await;
    assert_eq!(refused(website), ("NoSuchWebsiteConfiguration".into(), 404));
    let replication = client.get_bucket_replication().bucket(BUCKET).send().await;
    assert_eq!(refused(replication), ("ReplicationConfigurationNotFoundError".into(), 404));
    for answer in [
        client.get_bucket_logging().bucket("absent").send().await.map(drop).map_err(|_| ()),
        client.get_bucket_request_payment().bucket("absent").send().await.map(drop).map_err(|_| ()),
    ] {
        assert!(answer.is_err());
    }
}

#[tokio::test]
async fn a_bucket_is_made_wherever_a_client_believes_to_be() {
    let harness = Harness::start().await;
    let make = |bucket: &str, place: &str| {
        let place = BucketLocationConstraint::from(place);
        let configuration = CreateBucketConfiguration::builder().location_constraint(place).build();
        harness.client.create_bucket().bucket(bucket).create_bucket_configuration(configuration).send()
    };
    make("second", "eu-central-1").await.unwrap();
    let location = harness.client.get_bucket_location().bucket("second").send().await.unwrap();
    assert_eq!(location.location_constraint(), Some(&BucketLocationConstraint::EuCentral1));
    let head = harness.client.head_bucket().bucket("second").send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("eu-central-1"));
    let listed = harness.client.list_buckets().send().await.unwrap();
    let regions: Vec<_> = listed.buckets().iter().map(|bucket| bucket.bucket_region().unwrap()).collect();
    assert_eq!(regions, ["us-east-1", "eu-central-1"]);
    assert_eq!(refused(make("third", "no place").await), ("InvalidLocationConstraint".into(), 400));
    let owned =
        harness.client.create_bucket().bucket("third").object_ownership(ObjectOwnership::ObjectWriter);
    assert_eq!(refused(owned.send().await), ("NotImplemented".into(), 501));
}

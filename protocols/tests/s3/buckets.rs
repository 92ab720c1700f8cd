//! Buckets: made, found, listed, removed, and what is asked of them.

use aws_sdk_s3::types::{BucketCannedAcl, ObjectCannedAcl, Permission};
use tidegate_protocols::objects::ObjectError;

use crate::harness::{BUCKET, Harness, refused};

#[tokio::test]
async fn a_bucket_is_made_found_and_removed() {
    let harness = Harness::start().await;
    let client = &harness.client;
    client.create_bucket().bucket("second").send().await.unwrap();
    client.head_bucket().bucket("second").send().await.unwrap();
    let listed = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = listed.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert_eq!(names, [BUCKET, "second"]);
    assert!(listed.buckets()[0].creation_date().is_some());
    client.delete_bucket().bucket("second").send().await.unwrap();
    assert_eq!(refused(client.head_bucket().bucket("second").send().await).1, 404);
}

#[tokio::test]
async fn the_errors_of_buckets_are_those_of_s3() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let code = |(code, status): (String, u16)| format!("{code} {status}");
    let own = client.create_bucket().bucket(BUCKET).send().await;
    assert_eq!(code(refused(own)), "BucketAlreadyOwnedByYou 409");
    let taken = client.create_bucket().bucket("taken").send().await;
    assert_eq!(code(refused(taken)), "BucketAlreadyExists 409");
    for name in ["No_Good", "ab", "a..b", "192.168.1.1", "xn--a", "sthree-a"] {
        let wrong = client.create_bucket().bucket(name).send().await;
        assert_eq!(code(refused(wrong)), "InvalidBucketName 400", "{name}");
    }
    let public = client.create_bucket().bucket("public").acl(BucketCannedAcl::PublicRead).send().await;
    assert_eq!(code(refused(public)), "InvalidBucketAclWithObjectOwnership 400");
    harness.put("key", "x").await;
    assert_eq!(code(refused(client.delete_bucket().bucket(BUCKET).send().await)), "BucketNotEmpty 409");
    assert_eq!(code(refused(client.delete_bucket().bucket("absent").send().await)), "NoSuchBucket 404");
    let location = client.get_bucket_location().bucket("absent").send().await;
    assert_eq!(code(refused(location)), "NoSuchBucket 404");
}

#[tokio::test]
async fn buckets_come_in_pages_by_prefix() {
    let harness = Harness::start().await;
    let client = &harness.client;
    for name in ["logs-1", "logs-2", "logs-3"] {
        client.create_bucket().bucket(name).send().await.unwrap();
    }
    let mut names = Vec::new();
    let mut token = None;
    loop {
        let page =
            client.list_buckets().prefix("logs-").max_buckets(2).set_continuation_token(token).send().await;
        let page = page.unwrap();
        names.extend(page.buckets().iter().filter_map(|bucket| bucket.name().map(str::to_owned)));
        token = page.continuation_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["logs-1", "logs-2", "logs-3"]);
    let wrong = client.list_buckets().continuation_token("!").send().await;
    assert_eq!(refused(wrong), ("InvalidArgument".into(), 400));
}

#[tokio::test]
async fn what_is_asked_of_a_bucket_is_answered() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let location = client.get_bucket_location().bucket(BUCKET).send().await.unwrap();
    assert!(location.location_constraint().is_none_or(|region| region.as_str().is_empty()));
    let versioning = client.get_bucket_versioning().bucket(BUCKET).send().await.unwrap();
    assert!(versioning.status().is_none());
    let encryption = client.get_bucket_encryption().bucket(BUCKET).send().await.unwrap();
    let rule = &encryption.server_side_encryption_configuration().unwrap().rules()[0];
    let algorithm = rule.apply_server_side_encryption_by_default().unwrap().sse_algorithm();
    assert_eq!(algorithm.as_str(), "AES256");
    let policy = client.get_bucket_policy().bucket(BUCKET).send().await;
    assert_eq!(refused(policy), ("NoSuchBucketPolicy".into(), 404));
    let rules = client.get_bucket_lifecycle_configuration().bucket("absent").send().await;
    assert_eq!(refused(rules), ("NoSuchBucket".into(), 404));
}

#[tokio::test]
async fn everything_is_private_and_stays_so() {
    let harness = Harness::start().await;
    let client = &harness.client;
    harness.put("key", "x").await;
    let acl = client.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
    assert_eq!(acl.grants().len(), 1);
    assert_eq!(acl.grants()[0].permission(), Some(&Permission::FullControl));
    let acl = client.get_object_acl().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!(acl.grants()[0].grantee().unwrap().id(), acl.owner().unwrap().id());
    client.put_bucket_acl().bucket(BUCKET).acl(BucketCannedAcl::Private).send().await.unwrap();
    let put = client.put_object_acl().bucket(BUCKET).key("key");
    put.clone().acl(ObjectCannedAcl::Private).send().await.unwrap();
    let public = put.acl(ObjectCannedAcl::PublicRead).send().await;
    assert_eq!(refused(public), ("AccessControlListNotSupported".into(), 400));
    let public = client.put_bucket_acl().bucket(BUCKET).grant_read("uri=all").send().await;
    assert_eq!(refused(public), ("AccessControlListNotSupported".into(), 400));
    let absent = client.get_object_acl().bucket(BUCKET).key("absent").send().await;
    assert_eq!(refused(absent), ("NoSuchKey".into(), 404));
}

#[tokio::test]
async fn errors_of_the_view_arrive_as_their_codes() {
    let harness = Harness::start().await;
    for (error, code, status) in [
        (ObjectError::AccessDenied, "AccessDenied", 403),
        (ObjectError::SlowDown, "SlowDown", 503),
        (ObjectError::Quota, "QuotaExceeded", 403),
        (ObjectError::ReadOnly, "AccessDenied", 403),
        (ObjectError::Internal, "InternalError", 500),
        (ObjectError::Conflict, "OperationAborted", 409),
        (ObjectError::InvalidKey("ends in a slash"), "InvalidArgument", 400),
    ] {
        *harness.memory.mood.lock() = Some(error);
        let put = harness.client.put_object().bucket(BUCKET).key("key").send().await;
        assert_eq!(refused(put), (code.to_owned(), status));
        let got = harness.client.get_object().bucket(BUCKET).key("key").send().await;
        assert_eq!(refused(got), (code.to_owned(), status));
    }
    *harness.memory.mood.lock() = Some(ObjectError::SlowDown);
    let error = harness.client.get_object().bucket(BUCKET).key("key").send().await.unwrap_err();
    assert!(error.raw_response().unwrap().headers().get("retry-after").is_some());
}

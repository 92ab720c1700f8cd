//! Buckets: made, found, listed, removed, and what is asked of them.

use aws_sdk_s3::operation::copy_object::builders::CopyObjectFluentBuilder;
use aws_sdk_s3::types::{BucketCannedAcl, Delete, ObjectCannedAcl, ObjectIdentifier, Permission};
use tidegate_protocols::objects::ObjectError;

use crate::harness::{BUCKET, Harness, refused};
use crate::memory::ACCESS_KEY;
use crate::raw::Request;

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
async fn who_shows_no_key_has_no_buckets() {
    let harness = Harness::start().await;
    let answer = Request::new("GET", "/", "").send(harness.address).await;
    assert_eq!((answer.status, answer.element("Buckets")), (200, ""), "{answer:?}");
    harness.memory.gate(|who, _| who.access_key.is_none());
    assert_eq!(refused(harness.client.list_buckets().send().await), ("AccessDenied".into(), 403));
}

#[tokio::test]
async fn a_bucket_is_its_makers_whoever_asks() {
    let harness = Harness::start().await;
    harness.memory.give(BUCKET, "AKIDOTHER");
    let client = &harness.client;
    harness.put("key", "x").await;
    let upload = client.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    let acl = client.get_bucket_acl().bucket(BUCKET).send().await.unwrap();
    let of_object = client.get_object_acl().bucket(BUCKET).key("key").send().await.unwrap();
    let list = client.list_objects().bucket(BUCKET).send().await.unwrap();
    let list_v2 = client.list_objects_v2().bucket(BUCKET).fetch_owner(true).send().await.unwrap();
    let versions = client.list_object_versions().bucket(BUCKET).send().await.unwrap();
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
    let parts = client.list_parts().bucket(BUCKET).key("parts").upload_id(upload.upload_id().unwrap());
    let parts = parts.send().await.unwrap();
    for owner in [
        acl.owner(),
        of_object.owner(),
        list.contents()[0].owner(),
        list_v2.contents()[0].owner(),
        versions.versions()[0].owner(),
        uploads.uploads()[0].owner(),
        parts.owner(),
    ] {
        assert_eq!(owner.unwrap().id(), Some("AKIDOTHER"));
    }
    assert_eq!(acl.grants()[0].grantee().unwrap().id(), Some("AKIDOTHER"));
    assert_eq!(uploads.uploads()[0].initiator().unwrap().id(), Some(ACCESS_KEY));
    let listed = client.list_buckets().send().await.unwrap();
    assert_eq!(listed.owner().unwrap().id(), Some(ACCESS_KEY), "the list is the caller's");
}

#[tokio::test]
async fn a_request_for_the_bucket_of_another_owner_than_expected_is_refused() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    let client = &harness.client;
    let denied = ("AccessDenied".to_owned(), 403);
    let get = |owner| client.get_object().bucket(BUCKET).key("key").expected_bucket_owner(owner).send();
    get(ACCESS_KEY).await.expect("nobody's is the caller's");
    assert_eq!(refused(get("AKIDOTHER").await), denied);
    harness.memory.give(BUCKET, "AKIDOTHER");
    get("AKIDOTHER").await.unwrap();
    assert_eq!(refused(get(ACCESS_KEY).await), denied);
    let gone = Delete::builder().objects(ObjectIdentifier::builder().key("key").build().unwrap());
    let delete = client.delete_objects().bucket(BUCKET).delete(gone.build().unwrap());
    assert_eq!(refused(delete.expected_bucket_owner(ACCESS_KEY).send().await), denied);
    let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source("bucket/key");
    let of = |copy: CopyObjectFluentBuilder, owner| copy.expected_source_bucket_owner(owner).send();
    assert_eq!(refused(of(copy.clone(), ACCESS_KEY).await), denied);
    of(copy, "AKIDOTHER").await.unwrap();
    let absent = client.list_objects_v2().bucket("absent").expected_bucket_owner(ACCESS_KEY);
    assert_eq!(refused(absent.send().await), ("NoSuchBucket".into(), 404));
    assert_eq!(harness.memory.objects(), 2);
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

//! Copies of objects: directives, conditions, sources that are not there.

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumAlgorithm, MetadataDirective, StorageClass, TaggingDirective};

use crate::harness::{BUCKET, Harness, refused};

#[tokio::test]
async fn a_copy_has_the_metadata_and_tags_that_the_directives_say() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let put = client.put_object().bucket(BUCKET).key("a/sou rce").body(ByteStream::from_static(b"hello"));
    put.content_type("text/plain").metadata("color", "red").tagging("k=old").send().await.unwrap();
    let copy = || client.copy_object().bucket(BUCKET).key("copy").copy_source("bucket/a/sou%20rce");
    let done = copy().send().await.unwrap();
    let result = done.copy_object_result().unwrap();
    assert_eq!(result.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    assert!(result.last_modified().is_some());
    let head = || client.head_object().bucket(BUCKET).key("copy").send();
    let tags = || client.get_object_tagging().bucket(BUCKET).key("copy").send();
    assert_eq!(head().await.unwrap().metadata().unwrap()["color"], "red");
    assert_eq!(head().await.unwrap().content_type(), Some("text/plain"));
    assert_eq!(tags().await.unwrap().tag_set()[0].value(), "old");
    let replaced = copy().metadata_directive(MetadataDirective::Replace).metadata("size", "big");
    replaced.content_type("text/html").send().await.unwrap();
    let found = head().await.unwrap();
    assert_eq!(found.metadata().unwrap().len(), 1);
    assert_eq!(found.content_type(), Some("text/html"));
    copy().tagging_directive(TaggingDirective::Replace).tagging("k=new").send().await.unwrap();
    assert_eq!(tags().await.unwrap().tag_set()[0].value(), "new");
    let sum = copy().checksum_algorithm(ChecksumAlgorithm::Sha256).send().await.unwrap();
    assert!(sum.copy_object_result().unwrap().checksum_sha256().is_some());
    assert_eq!(harness.get("copy").await, b"hello");
}

#[tokio::test]
async fn a_copy_onto_itself_must_change_something() {
    let harness = Harness::start().await;
    harness.put("key", "hello").await;
    let copy = || harness.client.copy_object().bucket(BUCKET).key("key").copy_source("bucket/key");
    assert_eq!(refused(copy().send().await), ("InvalidRequest".into(), 400));
    copy().metadata_directive(MetadataDirective::Replace).metadata("k", "v").send().await.unwrap();
    copy().storage_class(StorageClass::StandardIa).send().await.unwrap();
    assert_eq!(harness.get("key").await, b"hello");
}

#[tokio::test]
async fn conditions_of_a_copy_are_about_both_ends() {
    let harness = Harness::start().await;
    let etag = harness.put("key", "hello").await;
    let copy = || harness.client.copy_object().bucket(BUCKET).key("copy").copy_source("bucket/key");
    let past = DateTime::from_secs(1_000_000_000);
    copy().copy_source_if_match(&etag).send().await.unwrap();
    for wrong in [
        copy().copy_source_if_match("\"other\""),
        copy().copy_source_if_none_match(&etag),
        copy().copy_source_if_unmodified_since(past),
    ] {
        assert_eq!(refused(wrong.send().await), ("PreconditionFailed".into(), 412));
    }
    copy().copy_source_if_modified_since(past).send().await.unwrap();
    let there = copy().if_none_match("*").send().await;
    assert_eq!(refused(there), ("PreconditionFailed".into(), 412));
}

#[tokio::test]
async fn a_source_that_is_not_there_has_its_code() {
    let harness = Harness::start().await;
    let copy = |source: &str| harness.client.copy_object().bucket(BUCKET).key("copy").copy_source(source);
    assert_eq!(refused(copy("bucket/absent").send().await), ("NoSuchKey".into(), 404));
    let part = harness.client.upload_part_copy().bucket(BUCKET).key("parts").part_number(1).upload_id("u");
    assert_eq!(refused(part.copy_source("bucket/absent").send().await), ("NoSuchKey".into(), 404));
    assert_eq!(refused(copy("absent/key").send().await), ("NoSuchBucket".into(), 404));
    assert_eq!(refused(copy("bucket/key?versionId=7").send().await), ("NoSuchVersion".into(), 404));
    assert_eq!(refused(copy("nonsense").send().await).1, 400);
    let directive = copy("bucket/key").metadata_directive(MetadataDirective::from("MERGE")).send().await;
    assert_eq!(refused(directive), ("InvalidArgument".into(), 400));
}

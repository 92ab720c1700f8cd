//! Objects in one piece: written, read whole and in ranges, under conditions, removed.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{Delete, ObjectAttributes, ObjectIdentifier, StorageClass};

use crate::harness::{BUCKET, Harness, refused};
use crate::raw::{Request, UNSIGNED};

#[tokio::test]
async fn an_object_comes_back_with_everything_that_was_said_of_it() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let put = client.put_object().bucket(BUCKET).key("a/ü +%&/b").body(ByteStream::from_static(b"hello"));
    let put = put.content_type("text/plain").cache_control("no-cache").content_language("de");
    let put = put.content_disposition("inline").content_encoding("gzip").metadata("color", "blau");
    let put = put.storage_class(StorageClass::StandardIa);
    let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    let put = put.expires(DateTime::from(expires)).tagging("k=v").send().await.unwrap();
    assert_eq!(put.e_tag(), Some("\"5d41402abc4b2a76b9719d911017c592\""));
    let got = client.get_object().bucket(BUCKET).key("a/ü +%&/b").send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/plain"));
    assert_eq!(got.cache_control(), Some("no-cache"));
    assert_eq!(got.content_language(), Some("de"));
    assert_eq!(got.content_disposition(), Some("inline"));
    assert_eq!(got.content_encoding(), Some("gzip"));
    assert_eq!(got.expires_string(), Some("Wed, 18 May 2033 03:33:20 GMT"));
    assert_eq!(got.metadata().unwrap()["color"], "blau");
    assert_eq!(got.storage_class(), Some(&StorageClass::StandardIa));
    assert_eq!(got.tag_count(), Some(1));
    assert_eq!(got.accept_ranges(), Some("bytes"));
    assert_eq!(got.e_tag(), put.e_tag());
    assert_eq!(got.content_length(), Some(5));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    let head = client.head_object().bucket(BUCKET).key("a/ü +%&/b").send().await.unwrap();
    assert_eq!(head.content_length(), Some(5));
    assert_eq!(head.metadata().unwrap()["color"], "blau");
    assert!(head.last_modified().is_some());
}

#[tokio::test]
async fn empty_and_large_objects_are_objects() {
    let harness = Harness::start().await;
    harness.put("empty", "").await;
    assert_eq!(harness.get("empty").await, b"");
    let large: Vec<u8> = (0..5_000_000_u32).map(|place| (place % 251) as u8).collect();
    harness.put("large", large.clone()).await;
    assert_eq!(harness.get("large").await, large);
    // The client of the SDK names a type for every object.
    let put = Request::new("PUT", "/bucket/untyped", "").body("x").sign(UNSIGNED);
    assert_eq!(put.send(harness.address).await.status, 200);
    let got = harness.client.get_object().bucket(BUCKET).key("untyped").send().await.unwrap();
    assert_eq!(got.content_type(), Some("binary/octet-stream"));
}

#[tokio::test]
async fn what_is_not_there_or_not_possible_has_its_code() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = |key: String| client.get_object().bucket(BUCKET).key(key);
    assert_eq!(refused(get("absent".into()).send().await), ("NoSuchKey".into(), 404));
    assert_eq!(refused(client.head_object().bucket(BUCKET).key("absent").send().await).1, 404);
    let elsewhere = client.get_object().bucket("absent").key("k").send().await;
    assert_eq!(refused(elsewhere), ("NoSuchBucket".into(), 404));
    assert_eq!(refused(get("k".repeat(1025)).send().await), ("KeyTooLongError".into(), 400));
    let put = || client.put_object().bucket(BUCKET).key("key");
    harness.put(&"k".repeat(1024), "fits").await;
    let metadata = put().metadata("k", "v".repeat(2048)).send().await;
    assert_eq!(refused(metadata), ("MetadataTooLarge".into(), 400));
    let headers = put().content_type("t".repeat(2040)).send().await;
    assert_eq!(refused(headers), ("MetadataTooLarge".into(), 400));
    let class = put().storage_class(StorageClass::from("COLD")).send().await;
    assert_eq!(refused(class), ("InvalidStorageClass".into(), 400));
    let own_key = put().sse_customer_algorithm("AES256").send().await;
    assert_eq!(refused(own_key), ("NotImplemented".into(), 501));
    let version = get("key".into()).version_id("7").send().await;
    assert_eq!(refused(version), ("NoSuchVersion".into(), 404));
    let elsewhere = client.put_object().bucket("absent").key("k").body(ByteStream::from_static(b"x"));
    assert_eq!(refused(elsewhere.send().await), ("NoSuchBucket".into(), 404));
}

#[tokio::test]
async fn what_a_read_says_and_cannot_be_read_is_ignored_unless_it_was_signed() {
    let harness = Harness::start().await;
    harness.put("key", "0123456789").await;
    for (name, value) in [
        ("range", "bytes=0-1,4-5"),
        ("range", "bytes=5-4"),
        ("range", "lines=1-2"),
        ("if-modified-since", "yesterday"),
        ("if-unmodified-since", "yesterday"),
    ] {
        let get = Request::new("GET", "/bucket/key", "").sign(UNSIGNED).header(name, value);
        let answer = get.send(harness.address).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "0123456789"), "{name}: {value}");
        let signed = Request::new("GET", "/bucket/key", "").header(name, value).sign(UNSIGNED);
        assert_eq!(signed.send(harness.address).await.status, 400, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_condition_may_name_several_etags() {
    let harness = Harness::start().await;
    let etag = harness.put("key", "hello").await;
    let (one_of, none_of) = (format!("\"a\", W/\"b\", {etag}"), "\"a\",\"b\"");
    for (method, name, etags, status) in [
        ("GET", "if-none-match", one_of.as_str(), 304),
        ("GET", "if-none-match", none_of, 200),
        ("GET", "if-match", one_of.as_str(), 200),
        ("GET", "if-match", none_of, 412),
        ("PUT", "if-match", none_of, 412),
        ("PUT", "if-match", one_of.as_str(), 200),
        ("DELETE", "if-match", none_of, 412),
    ] {
        let request = Request::new(method, "/bucket/key", "").header(name, etags);
        let request = if method == "PUT" { request.body("hello") } else { request };
        let answer = request.sign(UNSIGNED).send(harness.address).await;
        assert_eq!(answer.status, status, "{method} with {name}: {etags}");
    }
}

#[tokio::test]
async fn ranges_are_cut_from_the_object() {
    let harness = Harness::start().await;
    harness.put("key", "0123456789").await;
    harness.put("empty", "").await;
    let get = |key: &str, range: &str| harness.client.get_object().bucket(BUCKET).key(key).range(range);
    for (range, content_range, bytes) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=4-", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-30", "bytes 0-9/10", "0123456789"),
        ("bytes=8-100", "bytes 8-9/10", "89"),
    ] {
        let got = get("key", range).send().await.unwrap();
        assert_eq!(got.content_range(), Some(content_range));
        assert_eq!(got.content_length(), Some(bytes.len() as i64));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes.as_bytes());
        let head = harness.client.head_object().bucket(BUCKET).key("key").range(range).send().await.unwrap();
        assert_eq!(head.content_range(), Some(content_range));
        assert_eq!(head.content_length(), Some(bytes.len() as i64));
    }
    for (key, range) in
        [("key", "bytes=10-"), ("key", "bytes=-0"), ("empty", "bytes=0-"), ("empty", "bytes=-1")]
    {
        assert_eq!(refused(get(key, range).send().await), ("InvalidRange".into(), 416), "{key} {range}");
    }
    let both = get("key", "bytes=0-1").part_number(1).send().await;
    assert_eq!(refused(both), ("InvalidRequest".into(), 400));
    let part = harness.client.get_object().bucket(BUCKET).key("key").part_number(2).send().await;
    assert_eq!(refused(part), ("InvalidPartNumber".into(), 416));
}

#[tokio::test]
async fn headers_of_an_answer_can_be_overridden() {
    let harness = Harness::start().await;
    let put = harness.client.put_object().bucket(BUCKET).key("key").content_type("text/plain");
    put.send().await.unwrap();
    let get = harness.client.get_object().bucket(BUCKET).key("key").response_content_type("text/html");
    let get = get.response_cache_control("max-age=1").response_content_disposition("attachment");
    let got = get.response_content_encoding("br").response_content_language("fr").send().await.unwrap();
    assert_eq!(got.content_type(), Some("text/html"));
    assert_eq!(got.cache_control(), Some("max-age=1"));
    assert_eq!(got.content_disposition(), Some("attachment"));
    assert_eq!(got.content_encoding(), Some("br"));
    assert_eq!(got.content_language(), Some("fr"));
    let head = harness.client.head_object().bucket(BUCKET).key("key").response_content_type("text/html");
    assert_eq!(head.send().await.unwrap().content_type(), Some("text/html"));
}

#[tokio::test]
async fn conditional_reads_follow_the_rfc() {
    let harness = Harness::start().await;
    let etag = harness.put("key", "hello").await;
    let get = || harness.client.get_object().bucket(BUCKET).key("key");
    let head = || harness.client.head_object().bucket(BUCKET).key("key");
    let long_ago = DateTime::from_secs(1_000_000_000);
    let tomorrow = DateTime::from(SystemTime::now() + Duration::from_hours(24));
    assert!(get().if_match(&etag).send().await.is_ok());
    assert!(get().if_none_match("\"other\"").send().await.is_ok());
    assert!(get().if_modified_since(long_ago).send().await.is_ok());
    assert!(get().if_unmodified_since(tomorrow).send().await.is_ok());
    assert!(get().if_match(&etag).if_unmodified_since(long_ago).send().await.is_ok());
    assert_eq!(refused(get().if_match("\"other\"").send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(refused(get().if_unmodified_since(long_ago).send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(refused(head().if_match("\"other\"").send().await).1, 412);
    for answer in [
        get().if_none_match(&etag).send().await.unwrap_err(),
        get().if_none_match("*").send().await.unwrap_err(),
        get().if_modified_since(tomorrow).send().await.unwrap_err(),
    ] {
        let response = answer.raw_response().unwrap();
        assert_eq!(response.status().as_u16(), 304);
        assert_eq!(response.headers().get("etag"), Some(etag.as_str()));
        assert!(response.body().bytes().is_none_or(<[u8]>::is_empty));
    }
    assert_eq!(refused(head().if_none_match(&etag).send().await).1, 304);
    assert_eq!(harness.get("key").await, b"hello", "the connection lives on");
}

#[tokio::test]
async fn conditional_changes_reach_the_view() {
    let harness = Harness::start().await;
    let put = || harness.client.put_object().bucket(BUCKET).key("key");
    let etag = put().if_none_match("*").send().await.unwrap().e_tag().unwrap().to_owned();
    assert_eq!(refused(put().if_none_match("*").send().await), ("PreconditionFailed".into(), 412));
    assert_eq!(refused(put().if_match("\"other\"").send().await), ("PreconditionFailed".into(), 412));
    assert!(put().if_match(&etag).send().await.is_ok());
    assert!(put().if_none_match("\"x\"").send().await.is_ok(), "what is there has another ETag");
    assert_eq!(refused(put().if_none_match(&etag).send().await), ("PreconditionFailed".into(), 412));
    let absent = harness.client.put_object().bucket(BUCKET).key("absent").if_match(&etag);
    assert_eq!(refused(absent.send().await), ("NoSuchKey".into(), 404));
    let delete = || harness.client.delete_object().bucket(BUCKET).key("key");
    assert_eq!(refused(delete().if_match("\"other\"").send().await), ("PreconditionFailed".into(), 412));
    delete().if_match(&etag).send().await.unwrap();
    delete().if_match(&etag).send().await.expect("what is gone is no error, whatever it should have been");
    *harness.memory.mood.lock() = Some(tidegate_protocols::objects::ObjectError::Conflict);
    let conflict = put().if_none_match("*").send().await;
    assert_eq!(refused(conflict), ("ConditionalRequestConflict".into(), 409));
}

#[tokio::test]
async fn what_is_removed_may_have_to_be_of_a_length_and_an_age() {
    let harness = Harness::start().await;
    let etag = harness.put("key", "12345").await;
    let head = harness.client.head_object().bucket(BUCKET).key("key").send().await.unwrap();
    let written = *head.last_modified().unwrap();
    let long_ago = DateTime::from_secs(1_000_000);
    let delete = || harness.client.delete_object().bucket(BUCKET).key("key");
    let failed = ("PreconditionFailed".to_owned(), 412);
    assert_eq!(refused(delete().if_match_size(4).send().await), failed);
    assert_eq!(refused(delete().if_match_last_modified_time(long_ago).send().await), failed);
    assert_eq!(refused(delete().if_match(&etag).if_match_size(4).send().await), failed);
    assert_eq!(refused(delete().if_match_size(-1).send().await), ("InvalidArgument".into(), 400));
    let object = || ObjectIdentifier::builder().key("key");
    let many = async |object: ObjectIdentifier| {
        let delete = Delete::builder().objects(object).build().unwrap();
        let done = harness.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
        (done.deleted().len(), done.errors().iter().map(|error| error.code().unwrap().to_owned()).collect())
    };
    let refused_one = (0, vec!["PreconditionFailed".to_owned()]);
    assert_eq!(many(object().size(4).build().unwrap()).await, refused_one);
    assert_eq!(many(object().last_modified_time(long_ago).build().unwrap()).await, refused_one);
    assert_eq!(many(object().e_tag("\"other\"").build().unwrap()).await, refused_one);
    assert_eq!(harness.memory.objects(), 1);
    delete().if_match(&etag).if_match_size(5).if_match_last_modified_time(written).send().await.unwrap();
    assert_eq!(harness.memory.objects(), 0);
    let same = object().e_tag(&etag).size(5).last_modified_time(written).build().unwrap();
    assert_eq!(many(same.clone()).await, (1, Vec::new()), "gone already");
    harness.put("key", "12345").await;
    let same = ObjectIdentifier::builder().key("key").e_tag(&etag).size(5).build().unwrap();
    assert_eq!(many(same).await, (1, Vec::new()));
    assert_eq!(harness.memory.objects(), 0);
}

#[tokio::test]
async fn removing_is_done_whether_or_not_there_is_something() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    for _ in 0..2 {
        harness.client.delete_object().bucket(BUCKET).key("key").send().await.unwrap();
    }
    assert_eq!(harness.memory.objects(), 0);
}

fn identifiers<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<ObjectIdentifier> {
    keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build().unwrap()).collect()
}

#[tokio::test]
async fn many_are_removed_each_with_an_error_of_its_own() {
    let harness = Harness::start().await;
    for key in ["a", "b&<c>", "locked", "kept"] {
        harness.put(key, "x").await;
    }
    let long = "k".repeat(1025);
    let keys = identifiers(["a", "b&<c>", "absent", "locked", &long]);
    let delete = Delete::builder().set_objects(Some(keys)).build().unwrap();
    let done = harness.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    let deleted: Vec<_> = done.deleted().iter().filter_map(|object| object.key()).collect();
    assert_eq!(deleted, ["a", "b&<c>", "absent"]);
    let errors: Vec<_> = done.errors().iter().map(|error| (error.key(), error.code())).collect();
    let expected = [(Some("locked"), Some("AccessDenied")), (Some(long.as_str()), Some("KeyTooLongError"))];
    assert_eq!(errors, expected);
    assert_eq!(harness.memory.objects(), 2);
    let quiet = Delete::builder().set_objects(Some(identifiers(["kept", "locked"]))).quiet(true);
    let quiet = harness.client.delete_objects().bucket(BUCKET).delete(quiet.build().unwrap());
    let done = quiet.send().await.unwrap();
    assert!(done.deleted().is_empty());
    assert_eq!(done.errors().len(), 1);
    let many: Vec<String> = (0..1001).map(|key| key.to_string()).collect();
    let many = Delete::builder().set_objects(Some(identifiers(many.iter().map(String::as_str))));
    let many = harness.client.delete_objects().bucket(BUCKET).delete(many.build().unwrap());
    assert_eq!(refused(many.send().await), ("MalformedXML".into(), 400));
    let delete = Delete::builder().set_objects(Some(identifiers(["a"]))).build().unwrap();
    let elsewhere = harness.client.delete_objects().bucket("absent").delete(delete);
    assert_eq!(refused(elsewhere.send().await), ("NoSuchBucket".into(), 404));
}

#[tokio::test]
async fn attributes_are_those_that_are_asked_for() {
    let harness = Harness::start().await;
    let etag = harness.put("key", "hello").await;
    let ask = || harness.client.get_object_attributes().bucket(BUCKET).key("key");
    let all = ask().object_attributes(ObjectAttributes::Etag).object_attributes(ObjectAttributes::ObjectSize);
    let all =
        all.object_attributes(ObjectAttributes::Checksum).object_attributes(ObjectAttributes::StorageClass);
    let all = all.object_attributes(ObjectAttributes::ObjectParts).send().await.unwrap();
    assert_eq!(all.e_tag().map(|tag| tag.trim_matches('"')), Some(etag.trim_matches('"')));
    assert_eq!(all.object_size(), Some(5));
    assert_eq!(all.storage_class(), Some(&StorageClass::Standard));
    assert!(all.checksum().unwrap().checksum_crc32().is_some());
    assert!(all.object_parts().is_none());
    let some = ask().object_attributes(ObjectAttributes::ObjectSize).send().await.unwrap();
    assert!(some.e_tag().is_none() && some.checksum().is_none() && some.storage_class().is_none());
    let wrong = ask().object_attributes(ObjectAttributes::from("Color")).send().await;
    assert_eq!(refused(wrong), ("InvalidArgument".into(), 400));
}

#[tokio::test]
async fn a_read_that_fails_half_way_ends_the_connection() {
    let harness = Harness::start().await;
    harness.put("key", vec![7; 1_000_000]).await;
    *harness.memory.breaks.lock() = true;
    let got = harness.client.get_object().bucket(BUCKET).key("key").send().await.unwrap();
    assert!(got.body.collect().await.is_err());
    *harness.memory.breaks.lock() = false;
    assert_eq!(harness.get("key").await.len(), 1_000_000);
}

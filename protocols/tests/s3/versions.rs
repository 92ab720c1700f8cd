//! Versions: switched on and suspended, read and removed by name, hidden by markers, listed.

use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, MfaDelete, ObjectIdentifier, Tag, Tagging, VersioningConfiguration,
};

use crate::harness::{BUCKET, Harness, refused};
use crate::raw::{Request, UNSIGNED};

async fn switch(harness: &Harness, status: BucketVersioningStatus) {
    let versioning = VersioningConfiguration::builder().status(status).build();
    let put = harness.client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(versioning);
    put.send().await.unwrap();
}

/// A server with a bucket that keeps versions.
async fn versioned() -> Harness {
    let harness = Harness::start().await;
    switch(&harness, BucketVersioningStatus::Enabled).await;
    harness
}

/// Puts an object; gives its version.
async fn put(harness: &Harness, key: &str, text: &str) -> String {
    let body = text.as_bytes().to_vec().into();
    let put = harness.client.put_object().bucket(BUCKET).key(key).body(body).send().await.unwrap();
    put.version_id().unwrap().to_owned()
}

async fn read(harness: &Harness, key: &str, version: &str) -> String {
    let got = harness.client.get_object().bucket(BUCKET).key(key).version_id(version).send().await.unwrap();
    assert_eq!(got.version_id(), Some(version));
    String::from_utf8(got.body.collect().await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn versions_are_switched_on_and_suspended() {
    let harness = Harness::start().await;
    let status = async || {
        harness.client.get_bucket_versioning().bucket(BUCKET).send().await.unwrap().status().cloned()
    };
    assert_eq!(status().await, None);
    let put_object = harness.client.put_object().bucket(BUCKET).key("before").send().await.unwrap();
    assert_eq!(put_object.version_id(), None);
    switch(&harness, BucketVersioningStatus::Enabled).await;
    assert_eq!(status().await, Some(BucketVersioningStatus::Enabled));
    assert_eq!(read(&harness, "before", "null").await, "");
    switch(&harness, BucketVersioningStatus::Suspended).await;
    assert_eq!(status().await, Some(BucketVersioningStatus::Suspended));
    assert_eq!(put(&harness, "key", "x").await, "null");
    let wrong = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .mfa_delete(MfaDelete::Enabled)
        .build();
    let set = harness.client.put_bucket_versioning().bucket(BUCKET).versioning_configuration(wrong);
    assert_eq!(refused(set.send().await), ("NotImplemented".into(), 501));
    let empty = Request::new("PUT", "/bucket", "versioning=").body("<VersioningConfiguration/>");
    let answer = empty.sign(UNSIGNED).send(harness.address).await;
    assert_eq!(answer.error(), (400, "IllegalVersioningConfigurationException"));
}

#[tokio::test]
async fn each_version_is_read_by_its_name() {
    let harness = versioned().await;
    let first = put(&harness, "key", "one").await;
    let second = put(&harness, "key", "second").await;
    assert_ne!(first, second);
    assert_eq!(read(&harness, "key", &first).await, "one");
    assert_eq!(harness.get("key").await, b"second");
    let head = harness.client.head_object().bucket(BUCKET).key("key");
    let head = head.version_id(&first).send().await.unwrap();
    assert_eq!((head.content_length(), head.version_id()), (Some(3), Some(first.as_str())));
    let attributes = harness.client.get_object_attributes().bucket(BUCKET).key("key").version_id(&first);
    let attributes = attributes.object_attributes("ObjectSize".into()).send().await.unwrap();
    assert_eq!((attributes.object_size(), attributes.version_id()), (Some(3), Some(first.as_str())));
    let acl = harness.client.get_object_acl().bucket(BUCKET).key("key").version_id(&first);
    acl.send().await.unwrap();
}

#[tokio::test]
async fn a_version_that_is_not_there_or_has_no_name_is_an_error() {
    let harness = versioned().await;
    put(&harness, "key", "x").await;
    let get = harness.client.get_object().bucket(BUCKET).key("key").version_id("absent");
    assert_eq!(refused(get.send().await), ("NoSuchVersion".into(), 404));
    for (method, query) in [("GET", "versionId="), ("GET", "tagging=&versionId="), ("DELETE", "versionId=")] {
        let answer = Request::new(method, "/bucket/key", query).sign(UNSIGNED).send(harness.address).await;
        assert_eq!(answer.error(), (400, "InvalidArgument"), "{method} {query}");
    }
    assert_eq!(harness.get("key").await, b"x");
}

#[tokio::test]
async fn a_deletion_hides_and_the_marker_says_so() {
    let harness = versioned().await;
    let version = put(&harness, "key", "x").await;
    let deleted = harness.client.delete_object().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!(deleted.delete_marker(), Some(true));
    let marker = deleted.version_id().unwrap().to_owned();
    let of = async |method, query: &str| {
        Request::new(method, "/bucket/key", query).sign(UNSIGNED).send(harness.address).await
    };
    let hidden = of("GET", "").await;
    assert_eq!(hidden.error(), (404, "NoSuchKey"));
    assert!(hidden.head.contains("x-amz-delete-marker: true"), "{}", hidden.head);
    assert!(hidden.head.contains(&format!("x-amz-version-id: {marker}")), "{}", hidden.head);
    let named = of("GET", &format!("versionId={marker}")).await;
    assert_eq!(named.error(), (405, "MethodNotAllowed"));
    assert!(named.head.contains("allow: delete"), "{}", named.head);
    assert!(named.head.contains("last-modified: "), "{}", named.head);
    let head = of("HEAD", "").await;
    assert_eq!((head.status, head.body.as_str()), (404, ""));
    assert!(head.head.contains("x-amz-delete-marker: true"));
    assert_eq!(of("HEAD", &format!("versionId={marker}")).await.status, 405);
    assert_eq!(read(&harness, "key", &version).await, "x");
    let undone = harness.client.delete_object().bucket(BUCKET).key("key").version_id(&marker).send().await;
    let undone = undone.unwrap();
    assert_eq!((undone.delete_marker(), undone.version_id()), (Some(true), Some(marker.as_str())));
    assert_eq!(harness.get("key").await, b"x");
    let gone = harness.client.delete_object().bucket(BUCKET).key("key").version_id(&version).send().await;
    assert_eq!(gone.unwrap().delete_marker(), None);
    assert_eq!(harness.memory.objects(), 0);
}

#[tokio::test]
async fn a_marker_is_neither_of_an_etag_nor_of_a_length() {
    let harness = versioned().await;
    let version = put(&harness, "key", "x").await;
    let delete = || harness.client.delete_object().bucket(BUCKET).key("key");
    let marker = delete().send().await.unwrap().version_id().unwrap().to_owned();
    let failed = ("PreconditionFailed".to_owned(), 412);
    for of in [delete(), delete().version_id(&marker)] {
        assert_eq!(refused(of.clone().if_match("\"x\"").send().await), failed);
        assert_eq!(refused(of.if_match_size(0).send().await), failed);
    }
    assert_eq!(refused(delete().version_id(&version).if_match_size(2).send().await), failed);
    let again = delete().if_match("*").send().await.unwrap();
    assert_eq!(again.delete_marker(), Some(true), "something is there");
    delete().version_id(&version).if_match_size(1).send().await.unwrap();
    delete().version_id(&version).if_match_size(1).send().await.expect("gone already");
    let absent = harness.client.delete_object().bucket(BUCKET).key("absent").if_match("*").send().await;
    assert_eq!(absent.unwrap().delete_marker(), None, "of nothing there is no marker");
}

#[tokio::test]
async fn many_deletions_say_what_each_of_them_did() {
    let harness = versioned().await;
    let (kept, gone) = (put(&harness, "a", "1").await, put(&harness, "b", "1").await);
    let object = |key: &str, version: Option<&str>| {
        ObjectIdentifier::builder().key(key).set_version_id(version.map(str::to_owned)).build().unwrap()
    };
    let delete = async |objects: Vec<ObjectIdentifier>| {
        let delete = Delete::builder().set_objects(Some(objects)).build().unwrap();
        harness.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap()
    };
    let done = delete(vec![object("a", None), object("b", Some(&gone))]).await;
    let rows = done.deleted();
    assert_eq!((rows[0].delete_marker(), rows[0].version_id()), (Some(true), None));
    let marker = rows[0].delete_marker_version_id().unwrap();
    assert_eq!((rows[1].delete_marker(), rows[1].version_id()), (None, Some(gone.as_str())));
    assert_eq!(rows[1].delete_marker_version_id(), None);
    let undone = delete(vec![object("a", Some(marker)), object("c", Some(&"v".repeat(2000)))]).await;
    assert_eq!(undone.deleted()[0].version_id(), Some(marker));
    assert_eq!(undone.deleted()[0].delete_marker_version_id(), Some(marker));
    assert_eq!(undone.errors()[0].code(), Some("InvalidArgument"));
    assert_eq!(read(&harness, "a", &kept).await, "1");
}

#[tokio::test]
async fn tags_belong_to_a_version() {
    let harness = versioned().await;
    let (first, second) = (put(&harness, "key", "1").await, put(&harness, "key", "2").await);
    let tag = Tag::builder().key("a").value("1").build().unwrap();
    let tagging = Tagging::builder().tag_set(tag).build().unwrap();
    let client = &harness.client;
    let set = client.put_object_tagging().bucket(BUCKET).key("key").version_id(&first).tagging(tagging);
    assert_eq!(set.send().await.unwrap().version_id(), Some(first.as_str()));
    let newest = client.get_object_tagging().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!((newest.tag_set().len(), newest.version_id()), (0, Some(second.as_str())));
    let delete = client.delete_object_tagging().bucket(BUCKET).key("key").version_id(&first);
    assert_eq!(delete.send().await.unwrap().version_id(), Some(first.as_str()));
}

#[tokio::test]
async fn a_copy_is_made_of_a_version_and_is_one() {
    let harness = versioned().await;
    let first = put(&harness, "key", "one").await;
    put(&harness, "key", "two").await;
    let client = &harness.client;
    let copy = client.copy_object().bucket(BUCKET).key("key");
    let copy = copy.copy_source(format!("bucket/key?versionId={first}")).send().await.unwrap();
    assert_eq!(copy.copy_source_version_id(), Some(first.as_str()));
    assert_eq!(read(&harness, "key", copy.version_id().unwrap()).await, "one");
    let newest =
        client.copy_object().bucket(BUCKET).key("third").copy_source("bucket/key").send().await.unwrap();
    assert_eq!(newest.copy_source_version_id(), copy.version_id());
    let marker = client.delete_object().bucket(BUCKET).key("key").send().await.unwrap();
    let of = |source: String| client.copy_object().bucket(BUCKET).key("other").copy_source(source).send();
    assert_eq!(refused(of("bucket/key".into()).await), ("NoSuchKey".into(), 404));
    let named = of(format!("bucket/key?versionId={}", marker.version_id().unwrap())).await;
    assert_eq!(refused(named), ("InvalidRequest".into(), 400));
}

#[tokio::test]
async fn an_upload_in_parts_becomes_a_version() {
    let harness = versioned().await;
    let client = &harness.client;
    let upload = client.create_multipart_upload().bucket(BUCKET).key("key").send().await.unwrap();
    let id = upload.upload_id().unwrap();
    let part = client.upload_part().bucket(BUCKET).key("key").upload_id(id).part_number(1);
    let part = part.body(b"part".to_vec().into()).send().await.unwrap();
    let part =
        aws_sdk_s3::types::CompletedPart::builder().part_number(1).e_tag(part.e_tag().unwrap()).build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let done = client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(id);
    let done = done.multipart_upload(parts).send().await.unwrap();
    assert_eq!(read(&harness, "key", done.version_id().unwrap()).await, "part");
}

#[tokio::test]
async fn all_versions_are_listed_in_pages() {
    let harness = versioned().await;
    for key in ["a", "a", "b/1", "b/2", "c"] {
        put(&harness, key, "x").await;
    }
    harness.client.delete_object().bucket(BUCKET).key("a").send().await.unwrap();
    let (mut found, mut key, mut version) = (Vec::new(), None, None);
    loop {
        let page = harness.client.list_object_versions().bucket(BUCKET).delimiter("/").max_keys(1);
        let page = page.set_key_marker(key).set_version_id_marker(version).send().await.unwrap();
        for entry in page.versions() {
            found.push(format!("{} {}", entry.key().unwrap(), entry.is_latest().unwrap()));
            assert_eq!(entry.size(), Some(1));
        }
        found.extend(page.delete_markers().iter().map(|entry| format!("-{}", entry.key().unwrap())));
        found.extend(page.common_prefixes().iter().map(|prefix| prefix.prefix().unwrap().to_owned()));
        (key, version) =
            (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
        if page.is_truncated() != Some(true) {
            break;
        }
    }
    assert_eq!(found, ["-a", "a false", "a false", "b/", "c true"]);
    let none = harness.client.list_object_versions().bucket(BUCKET).max_keys(0).send().await.unwrap();
    assert_eq!((none.is_truncated(), none.versions().len()), (Some(false), 0));
    let lone = harness.client.list_object_versions().bucket(BUCKET).version_id_marker("v-0001").send().await;
    assert_eq!(refused(lone), ("InvalidArgument".into(), 400));
    let absent = harness.client.list_object_versions().bucket("absent").send().await;
    assert_eq!(refused(absent), ("NoSuchBucket".into(), 404));
}

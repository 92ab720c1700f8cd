//! Every request is asked about by its action, and what is denied is not done.

use aws_sdk_s3::types::{Delete, ObjectIdentifier, Tag, Tagging};

use crate::harness::{BUCKET, Harness, refused};
use crate::memory::ACCESS_KEY;
use crate::raw::{Request, UNSIGNED};

#[tokio::test]
async fn requests_are_asked_about_by_their_actions() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    harness.memory.asked();
    let of = async |method, path: &str, query: &str, headers: &[(&str, &str)]| {
        let request = headers
            .iter()
            .fold(Request::new(method, path, query), |request, (name, value)| request.header(name, value));
        request.sign(UNSIGNED).send(harness.address).await;
        harness.memory.asked()
    };
    assert_eq!(of("GET", "/", "", &[]).await, ["s3:ListAllMyBuckets "]);
    assert_eq!(of("GET", "/bucket", "list-type=2", &[]).await, ["s3:ListBucket bucket"]);
    assert_eq!(of("GET", "/bucket", "versions=", &[]).await, ["s3:ListBucketVersions bucket"]);
    assert_eq!(of("GET", "/bucket/key", "", &[]).await, ["s3:GetObject bucket/key"]);
    assert_eq!(of("HEAD", "/bucket/key", "versionId=v", &[]).await, ["s3:GetObjectVersion bucket/key@v"]);
    let copy = [("content-length", "0"), ("x-amz-copy-source", "bucket/key?versionId=v")];
    assert_eq!(
        of("PUT", "/bucket/copy", "", &copy).await,
        ["s3:PutObject bucket/copy", "s3:GetObjectVersion bucket/key@v"]
    );
    let tagged = [("content-length", "0"), ("x-amz-tagging", "a=1")];
    assert_eq!(
        of("PUT", "/bucket/tagged", "", &tagged).await,
        ["s3:PutObject bucket/tagged", "s3:PutObjectTagging bucket/tagged"]
    );
}

#[tokio::test]
async fn what_is_denied_is_not_done() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    harness.memory.gate(|_, _| false);
    let client = &harness.client;
    let denied = ("AccessDenied".to_owned(), 403);
    assert_eq!(refused(client.put_object().bucket(BUCKET).key("other").send().await), denied);
    assert_eq!(refused(client.delete_object().bucket(BUCKET).key("key").send().await), denied);
    assert_eq!(refused(client.create_bucket().bucket("second").send().await), denied);
    assert_eq!(refused(client.get_bucket_policy().bucket(BUCKET).send().await), denied);
    let tags = Tagging::builder().tag_set(Tag::builder().key("a").value("1").build().unwrap());
    let tag = client.put_object_tagging().bucket(BUCKET).key("key").tagging(tags.build().unwrap());
    assert_eq!(refused(tag.send().await), denied);
    let hold = client.put_object_legal_hold().bucket(BUCKET).key("key");
    let on = aws_sdk_s3::types::ObjectLockLegalHoldStatus::On;
    let hold = hold.legal_hold(aws_sdk_s3::types::ObjectLockLegalHold::builder().status(on).build());
    assert_eq!(refused(hold.send().await), denied);
    let lift = aws_sdk_s3::types::ObjectLockRetention::builder().build();
    let lift = client.put_object_retention().bucket(BUCKET).key("key").retention(lift);
    assert_eq!(refused(lift.send().await), denied);
    harness.memory.gate(|_, _| true);
    assert_eq!(harness.get("key").await, b"x");
    assert_eq!(harness.memory.objects(), 1);
}

#[tokio::test]
async fn a_copy_needs_the_right_to_its_source() {
    let harness = Harness::start().await;
    harness.put("secret", "x").await;
    harness.memory.gate(|_, asked| asked.key != Some("secret"));
    let copy = harness.client.copy_object().bucket(BUCKET).key("copy").copy_source("bucket/secret");
    assert_eq!(refused(copy.send().await), ("AccessDenied".into(), 403));
    let upload = harness.client.create_multipart_upload().bucket(BUCKET).key("parts").send().await.unwrap();
    let part = harness.client.upload_part_copy().bucket(BUCKET).key("parts").part_number(1);
    let part = part.upload_id(upload.upload_id().unwrap()).copy_source("bucket/secret");
    assert_eq!(refused(part.send().await), ("AccessDenied".into(), 403));
}

#[tokio::test]
async fn many_deletions_are_allowed_one_by_one() {
    let harness = Harness::start().await;
    harness.put("mine", "x").await;
    harness.put("yours", "x").await;
    harness.memory.gate(|_, asked| asked.key != Some("yours"));
    let objects = ["mine", "yours"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(objects.to_vec())).build().unwrap();
    let done = harness.client.delete_objects().bucket(BUCKET).delete(delete).send().await.unwrap();
    assert_eq!(done.deleted().iter().map(|row| row.key().unwrap()).collect::<Vec<_>>(), ["mine"]);
    let error = &done.errors()[0];
    assert_eq!((error.key(), error.code()), (Some("yours"), Some("AccessDenied")));
    assert_eq!(harness.memory.objects(), 1);
}

#[tokio::test]
async fn who_shows_no_key_may_do_what_the_view_allows() {
    let harness = Harness::start().await;
    harness.put("public", "x").await;
    let get = Request::new("GET", "/bucket/public", "");
    assert_eq!(get.send(harness.address).await.error(), (403, "AccessDenied"));
    harness
        .memory
        .gate(|who, asked| who.access_key.as_deref() == Some(ACCESS_KEY) || asked.action == "s3:GetObject");
    let answer = get.send(harness.address).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "x"));
    for (name, value) in [("response-content-type", "text/html"), ("response-cache-control", "no-store")] {
        let dressed = Request::new("GET", "/bucket/public", &format!("{name}={value}"));
        assert_eq!(dressed.send(harness.address).await.error(), (400, "InvalidRequest"), "{name}");
        let head = Request::new("HEAD", "/bucket/public", &format!("{name}={value}"));
        assert_eq!(head.send(harness.address).await.status, 400, "{name}");
    }
    let put = Request::new("PUT", "/bucket/public", "").body("y");
    assert_eq!(put.send(harness.address).await.error(), (403, "AccessDenied"));
    assert_eq!(harness.get("public").await, b"x");
}

/// Their documents say what they are about, and nobody unknown has a document read.
#[tokio::test]
async fn who_shows_no_key_has_no_document_read() {
    let harness = Harness::start().await;
    harness.memory.gate(|_, _| true);
    for (method, path, query) in [
        ("POST", "/bucket", "delete="),
        ("PUT", "/bucket/key", "tagging="),
        ("PUT", "/bucket/key", "retention="),
        ("PUT", "/bucket/key", "legal-hold="),
    ] {
        let answer = Request::new(method, path, query).body("no document").send(harness.address).await;
        assert_eq!(answer.error(), (403, "AccessDenied"), "{query}");
    }
}

#[tokio::test]
async fn what_a_request_says_is_told_to_the_view() {
    let harness = Harness::start().await;
    harness.memory.gate(|_, asked| {
        let has = |key: &str, value: &str| {
            asked.conditions.iter().any(|(known, values)| known == key && values == &[value.to_owned()])
        };
        match asked.action {
            "s3:ListBucket" => has("s3:prefix", "home/") && has("s3:authType", "REST-HEADER"),
            "s3:PutObject" => has("s3:RequestObjectTag/class", "public"),
            "s3:PutObjectTagging" => has("s3:RequestObjectTagKeys", "class"),
            _ => true,
        }
    });
    let client = &harness.client;
    let list = |prefix: &str| client.list_objects_v2().bucket(BUCKET).prefix(prefix).send();
    list("home/").await.unwrap();
    assert_eq!(refused(list("other/").await), ("AccessDenied".into(), 403));
    let put = |tags: &str| client.put_object().bucket(BUCKET).key("key").tagging(tags).send();
    put("class=public").await.unwrap();
    assert_eq!(refused(put("class=secret").await), ("AccessDenied".into(), 403));
    let set = |name: &str| {
        let tag = Tag::builder().key(name).value("x").build().unwrap();
        let tags = Tagging::builder().tag_set(tag).build().unwrap();
        client.put_object_tagging().bucket(BUCKET).key("key").tagging(tags).send()
    };
    set("class").await.unwrap();
    assert_eq!(refused(set("other").await), ("AccessDenied".into(), 403));
}

#[tokio::test]
async fn that_an_object_is_not_there_is_said_to_who_may_list() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let get = || client.get_object().bucket(BUCKET).key("absent").send();
    assert_eq!(refused(get().await), ("NoSuchKey".into(), 404));
    harness.memory.gate(|_, asked| asked.action != "s3:ListBucket");
    assert_eq!(refused(get().await), ("AccessDenied".into(), 403));
    assert_eq!(refused(client.head_object().bucket(BUCKET).key("absent").send().await).1, 403);
    let copy = client.copy_object().bucket(BUCKET).key("copy").copy_source("bucket/absent");
    assert_eq!(refused(copy.send().await), ("AccessDenied".into(), 403));
}

#[tokio::test]
async fn operations_that_are_not_offered_are_refused_by_name() {
    let harness = Harness::start().await;
    harness.memory.gate(|_, _| true);
    for (method, path, query) in [
        ("PUT", "/bucket", "replication="),
        ("PUT", "/bucket", "website="),
        ("GET", "/bucket", "analytics="),
        ("GET", "/bucket/key", "torrent="),
    ] {
        let request = Request::new(method, path, query).body("x");
        let answer = request.clone().sign(UNSIGNED).send(harness.address).await;
        assert_eq!(answer.error(), (501, "NotImplemented"), "{query}");
        assert_eq!(request.send(harness.address).await.error(), (403, "AccessDenied"), "{query}");
    }
}

//! Uploads by forms of web pages: signed, bounded, and refused when the form says more than its policy.

use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use s3s::dto::{Timestamp, TimestampFormat};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Harness;
use crate::hashes::base64;
use crate::memory::{ACCESS_KEY, SECRET_KEY};
use crate::raw::{Answer, Request, scope, sign_text};

const DATE: &str = "20260101T000000Z";
const TYPE: &str = "multipart/form-data; boundary=border";

/// A form.
#[derive(Clone)]
struct Form {
    fields: Vec<(String, String)>,
    file: Vec<u8>,
}

fn in_seconds(seconds: i64) -> String {
    let since = Duration::from_secs(seconds.unsigned_abs());
    let time = if seconds < 0 { SystemTime::now() - since } else { SystemTime::now() + since };
    let mut text = Vec::new();
    Timestamp::from(time).format(TimestampFormat::DateTime, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

impl Form {
    fn new(file: impl Into<Vec<u8>>) -> Self {
        Self { fields: Vec::new(), file: file.into() }
    }

    fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Signs a policy with conditions, besides those of the fields that a signature needs.
    fn sign(self, conditions: &str, seconds: i64) -> Self {
        let credential = format!("{ACCESS_KEY}/{}", scope(DATE));
        let policy = format!(
            r#"{{"expiration": "{}", "conditions": [{{"x-amz-algorithm": "AWS4-HMAC-SHA256"}},
               {{"x-amz-credential": "{credential}"}}, {{"x-amz-date": "{DATE}"}}, {conditions}]}}"#,
            in_seconds(seconds)
        );
        let policy = base64(policy.as_bytes());
        let signature = sign_text(DATE, &policy);
        self.field("policy", &policy)
            .field("x-amz-algorithm", "AWS4-HMAC-SHA256")
            .field("x-amz-credential", &credential)
            .field("X-Amz-Date", DATE)
            .field("x-amz-signature", &signature)
    }

    /// Signs a policy in version 2, as older clients do.
    fn sign_version_two(self, conditions: &str, secret: &str) -> Self {
        let policy = format!(r#"{{"expiration": "{}", "conditions": [{conditions}]}}"#, in_seconds(60));
        let policy = base64(policy.as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
        let signature = base64(hmac::sign(&key, policy.as_bytes()).as_ref());
        let form = self.field("AWSAccessKeyId", ACCESS_KEY).field("policy", &policy);
        form.field("signature", &signature)
    }

    /// Another value for a field.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.field(name, value)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut form = Vec::new();
        for (name, value) in &self.fields {
            let head = format!("--border\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
            form.extend(head.bytes().chain(value.bytes()).chain(*b"\r\n"));
        }
        let head =
            "--border\r\nContent-Disposition: form-data; name=\"file\"; filename=\"photo.png\"\r\n\r\n";
        form.extend(head.bytes().chain(self.file.iter().copied()).chain(*b"\r\n--border--\r\n"));
        form
    }

    async fn send(&self, harness: &Harness) -> Answer {
        let request = Request::new("POST", "/bucket", "").header("content-type", TYPE);
        request.body(self.bytes()).send(harness.address).await
    }
}

/// A form that may put what it likes under `user/`.
fn signed(file: impl Into<Vec<u8>>) -> Form {
    let conditions = r#"{"bucket": "bucket"}, ["starts-with", "$key", "user/"]"#;
    Form::new(file).field("key", "user/${filename}").sign(conditions, 60)
}

#[tokio::test]
async fn a_signed_form_puts_its_file() {
    let harness = Harness::start().await;
    let file: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let answer = signed(file.clone()).send(&harness).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
    assert!(answer.head.contains("etag: \""));
    assert!(answer.head.contains("location: http://localhost/bucket/user/photo.png"), "{}", answer.head);
    assert!(harness.get("user/photo.png").await == file);
    let asked = harness.memory.asked();
    assert_eq!(asked[0], "s3:PutObject bucket/user/photo.png");
}

#[tokio::test]
async fn the_answer_is_what_the_form_asks_for() {
    let harness = Harness::start().await;
    let with = async |name: &str, value: &str| {
        let conditions =
            format!(r#"["starts-with", "$key", ""], ["starts-with", "${name}", ""], {{"bucket": "bucket"}}"#);
        let form = Form::new("x").field("key", "a b").field(name, value).sign(&conditions, 60);
        form.send(&harness).await
    };
    let created = with("success_action_status", "201").await;
    assert_eq!(created.status, 201);
    assert_eq!(created.element("Bucket"), "bucket");
    assert_eq!(created.element("Key"), "a b");
    assert_eq!(created.element("Location"), "http://localhost/bucket/a%20b");
    assert_eq!(with("success_action_status", "200").await.status, 200);
    assert_eq!(with("success_action_status", "418").await.status, 204);
    let moved = with("success_action_redirect", "https://example.com/done?x=1").await;
    assert_eq!(moved.status, 303);
    assert!(
        moved.head.contains("location: https://example.com/done?x=1&bucket=bucket&key=a+b&etag=%22"),
        "{}",
        moved.head
    );
}

#[tokio::test]
async fn a_form_says_what_headers_say() {
    let harness = Harness::start().await;
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
    let conditions = r#"{"bucket": "bucket"}, ["eq", "$key", "key"], ["starts-with", "$Content-Type", "image/"],
        ["starts-with", "$x-amz-meta-who", ""], ["starts-with", "$tagging", ""]"#;
    let form = Form::new("x").field("key", "key").field("Content-Type", "image/png");
    let form = form.field("x-amz-meta-who", "me").field("tagging", tags).sign(conditions, 60);
    assert_eq!(form.send(&harness).await.status, 204);
    let head = harness.client.head_object().bucket("bucket").key("key").send().await.unwrap();
    assert_eq!(head.content_type(), Some("image/png"));
    assert_eq!(head.metadata().unwrap()["who"], "me");
    let tags = harness.client.get_object_tagging().bucket("bucket").key("key").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 1);
    let html = form.with("Content-Type", "text/html").send(&harness).await;
    assert_eq!(html.error(), (403, "AccessDenied"));
}

#[tokio::test]
async fn what_the_policy_does_not_allow_is_refused() {
    let harness = Harness::start().await;
    let denied = (403, "AccessDenied");
    assert_eq!(signed("x").with("key", "other/key").send(&harness).await.error(), denied);
    assert_eq!(signed("x").field("acl", "private").send(&harness).await.error(), denied);
    assert_eq!(signed("x").field("x-ignore-me", "1").send(&harness).await.status, 204);
    let of_bucket = r#"["eq", "$key", "k"], {"bucket": "bucket"}"#;
    let expired = Form::new("x").field("key", "k").sign(of_bucket, -1);
    assert_eq!(expired.send(&harness).await.error(), denied);
    let of_any = Form::new("x").field("key", "k").sign(r#"["eq", "$key", "k"]"#, 60);
    assert_eq!(of_any.send(&harness).await.error(), denied);
    let of_other = Form::new("x").field("key", "k").sign(r#"["eq", "$key", "k"], {"bucket": "other"}"#, 60);
    assert_eq!(of_other.send(&harness).await.error(), denied);
    let no_list = Form::new("x").field("key", "k").sign("5", 60);
    assert_eq!(no_list.send(&harness).await.error(), (400, "InvalidPolicyDocument"));
    assert_eq!(harness.memory.objects(), 1);
}

#[tokio::test]
async fn a_file_has_the_length_that_the_policy_says() {
    let harness = Harness::start().await;
    let of = async |bytes: usize| {
        let conditions = r#"{"bucket": "bucket"}, ["eq", "$key", "k"], ["content-length-range", 10, 100000]"#;
        let form = Form::new(vec![b'x'; bytes]).field("key", "k").sign(conditions, 60);
        form.send(&harness).await
    };
    assert_eq!(of(9).await.error(), (400, "EntityTooSmall"));
    assert_eq!(of(100_001).await.error(), (400, "EntityTooLarge"));
    assert_eq!(of(2_000_000).await.error(), (400, "EntityTooLarge"));
    assert_eq!(harness.memory.objects(), 0);
    assert_eq!(of(10).await.status, 204);
    assert_eq!(of(100_000).await.status, 204);
}

#[tokio::test]
async fn a_form_is_signed_by_who_it_says() {
    let harness = Harness::start().await;
    let of = async |name: &str, value: &str| signed("x").with(name, value).send(&harness).await;
    assert_eq!(of("x-amz-signature", &"0".repeat(64)).await.error(), (403, "SignatureDoesNotMatch"));
    assert_eq!(of("x-amz-signature", "no").await.error(), (403, "SignatureDoesNotMatch"));
    let other = format!("AKIDOTHER/{}", scope(DATE));
    assert_eq!(of("x-amz-credential", &other).await.error(), (403, "InvalidAccessKeyId"));
    assert_eq!(of("x-amz-credential", "none").await.error(), (400, "InvalidArgument"));
    assert_eq!(of("x-amz-algorithm", "AWS4-ECDSA-P256-SHA256").await.error(), (400, "InvalidArgument"));
    assert_eq!(of("X-Amz-Date", "20200101T000000Z").await.error(), (400, "InvalidArgument"));
    assert_eq!(of("policy", &base64(b"{}")).await.error(), (403, "SignatureDoesNotMatch"));
    assert_eq!(harness.memory.objects(), 0);
    assert!(!SECRET_KEY.is_empty());
}

/// What was signed in version 2 is the policy too, and so is bounded by it in the same way.
#[tokio::test]
async fn a_form_may_be_signed_in_the_second_version() {
    let harness = Harness::start().await;
    let conditions = r#"{"bucket": "bucket"}, ["starts-with", "$key", "user/"]"#;
    let signed = |secret| Form::new("old").field("key", "user/a").sign_version_two(conditions, secret);
    let good = signed(SECRET_KEY);
    assert_eq!(good.send(&harness).await.status, 204);
    assert_eq!(harness.get("user/a").await, b"old");
    assert_eq!(signed("another").send(&harness).await.error(), (403, "SignatureDoesNotMatch"));
    let with = async |name: &str, value: &str| good.clone().with(name, value).send(&harness).await;
    assert_eq!(with("signature", "no base64!").await.error(), (403, "SignatureDoesNotMatch"));
    assert_eq!(with("AWSAccessKeyId", "AKIDOTHER").await.error(), (403, "InvalidAccessKeyId"));
    assert_eq!(with("policy", &base64(b"{}")).await.error(), (403, "SignatureDoesNotMatch"));
    assert_eq!(with("key", "other/a").await.error(), (403, "AccessDenied"));
    assert_eq!(with("acl", "private").await.error(), (403, "AccessDenied"));
    assert_eq!(with("x-amz-signature", "00").await.error(), (400, "InvalidArgument"), "in both versions");
    let without = |name: &str| {
        let mut form = good.clone();
        form.fields.retain(|(known, _)| known != name);
        form
    };
    for missing in ["policy", "signature", "AWSAccessKeyId"] {
        assert_eq!(without(missing).send(&harness).await.error(), (400, "InvalidArgument"), "{missing}");
    }
    assert_eq!(harness.memory.objects(), 1);
}

#[tokio::test]
async fn a_form_without_a_policy_is_somebodys_without_a_key() {
    let harness = Harness::start().await;
    let form = Form::new("x").field("key", "public/${filename}");
    assert_eq!(form.send(&harness).await.error(), (403, "AccessDenied"));
    harness.memory.gate(|who, asked| {
        who.access_key.is_none() && asked.key.is_some_and(|key| key.starts_with("public/"))
    });
    assert_eq!(form.send(&harness).await.status, 204);
    assert_eq!(form.with("key", "other").send(&harness).await.error(), (403, "AccessDenied"));
    assert_eq!(harness.memory.objects(), 1);
}

#[tokio::test]
async fn what_is_no_form_is_told_apart() {
    let harness = Harness::start().await;
    let of = async |body: Vec<u8>| {
        let request = Request::new("POST", "/bucket", "").header("content-type", TYPE);
        request.body(body).send(harness.address).await
    };
    assert_eq!(of(b"--border\r\nno head\r\n\r\n".to_vec()).await.error(), (400, "MalformedPOSTRequest"));
    assert_eq!(of(b"--border--\r\n".to_vec()).await.error(), (400, "IncorrectNumberOfFilesInPostRequest"));
    let long = Form::new("x").field("key", "k").field("x-ignore-me", &"v".repeat(30 << 10));
    assert_eq!(of(long.bytes()).await.error(), (400, "MaxPostPreDataLengthExceeded"));
    let mut cut = signed("file").bytes();
    cut.truncate(cut.len() - 15);
    assert_eq!(of(cut).await.error(), (400, "IncompleteBody"));
    let no_key = Form::new("x").sign(r#"{"bucket": "bucket"}"#, 60);
    assert_eq!(of(no_key.bytes()).await.error(), (400, "InvalidArgument"));
    let no_border = Request::new("POST", "/bucket", "").header("content-type", "multipart/form-data");
    let answer = no_border.body("x").send(harness.address).await;
    assert_eq!(answer.error(), (400, "MalformedPOSTRequest"));
    let to_key = Request::new("POST", "/bucket/key", "").header("content-type", TYPE);
    let answer = to_key.body(signed("x").bytes()).send(harness.address).await;
    assert_eq!(answer.error(), (405, "MethodNotAllowed"));
    assert_eq!(harness.memory.objects(), 0);
}

/// What follows the file is read, so that the connection can be used again.
#[tokio::test]
async fn the_next_request_follows_a_form() {
    let harness = Harness::start().await;
    let form = Request::new("POST", "/bucket", "").header("content-type", TYPE).body(signed("x").bytes());
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(&form.head()).await.unwrap();
    stream.write_all(&signed("x").bytes()).await.unwrap();
    let get = Request::new("GET", "/bucket/user/photo.png", "").sign(crate::raw::UNSIGNED);
    stream.write_all(&get.header("connection", "close").head()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 204 "), "{text}");
    assert!(text.contains("HTTP/1.1 200 "), "{text}");
}

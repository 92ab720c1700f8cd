//! Who may come in: signatures in headers and in addresses, clocks, hosts.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::presigning::PresigningConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{BUCKET, Harness, config_with, refused};
use crate::memory::{ACCESS_KEY, SECRET_KEY};
use crate::raw::{Answer, Request, UNSIGNED, read_answer};

#[tokio::test]
async fn unsigned_requests_are_refused_before_their_body_is_read() {
    let harness = Harness::start().await;
    for (method, path) in [("PUT", "/bucket/key"), ("GET", "/bucket/key"), ("DELETE", "/bucket")] {
        let answer = Request::new(method, path, "").send(harness.address).await;
        assert_eq!(answer.error(), (403, "AccessDenied"), "{method} {path}");
        assert_eq!(answer.element("RequestId").len(), 16);
    }
    // The client waits for a word before it sends its body, and gets the refusal instead.
    let head = b"PUT /bucket/key HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(head).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!(answer.error(), (403, "AccessDenied"));
    assert!(answer.head.contains("connection: close"));
    assert_eq!(harness.memory.objects(), 0);
}

#[tokio::test]
async fn a_refused_client_that_goes_on_sending_hears_why() {
    let harness = Harness::start().await;
    let put = Request::new("PUT", "/bucket/key", "").body(vec![0; 4 << 20]);
    assert_eq!(put.send(harness.address).await.error(), (403, "AccessDenied"));
}

#[tokio::test]
async fn who_waits_for_a_word_before_a_good_request_gets_it() {
    let harness = Harness::start().await;
    let put = Request::new("PUT", "/bucket/key", "").header("expect", "100-continue").body("hello");
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(&put.sign(UNSIGNED).header("connection", "close").head()).await.unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    assert_eq!(harness.get("key").await, b"hello");
}

/// Gets no word, and an answer instead: botocore would send nothing more on that connection.
#[tokio::test]
async fn who_waits_for_a_word_and_has_no_body_is_answered_and_let_go() {
    let harness = Harness::start().await;
    let put = Request::new("PUT", "/bucket/key", "").header("expect", "100-continue");
    let put = put.header("content-length", "0");
    let mut stream = TcpStream::connect(harness.address).await.unwrap();
    stream.write_all(&put.sign(UNSIGNED).head()).await.unwrap();
    let mut text = String::new();
    // To the end: it is the server that closes.
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.to_ascii_lowercase().contains("connection: close"), "{text}");
    assert_eq!(harness.get("key").await, b"");
}

#[tokio::test]
async fn unknown_keys_and_wrong_secrets_are_told_apart() {
    let harness = Harness::start().await;
    let endpoint = format!("http://{}", harness.address);
    let list = |access_key: &str, secret_key: &str| {
        let client = Client::from_conf(config_with(&endpoint, access_key, secret_key).build());
        async move { refused(client.list_objects_v2().bucket(BUCKET).send().await) }
    };
    assert_eq!(list("AKIDUNKNOWN", SECRET_KEY).await, ("InvalidAccessKeyId".into(), 403));
    assert_eq!(list(ACCESS_KEY, "wrong").await, ("SignatureDoesNotMatch".into(), 403));
}

#[tokio::test]
async fn clocks_may_differ_by_fifteen_minutes() {
    let harness = Harness::start().await;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let get = |time: SystemTime| {
        let request = Request::new("GET", "/bucket", "location=").at(time).sign(UNSIGNED);
        let address = harness.address;
        async move { request.send(address).await }
    };
    let now = SystemTime::now();
    assert_eq!(get(now - minutes(14)).await.status, 200);
    for time in [now - minutes(16), now + minutes(16)] {
        assert_eq!(get(time).await.error(), (403, "RequestTimeTooSkewed"));
    }
}

#[tokio::test]
async fn the_second_version_of_the_signature_is_not_taken() {
    let harness = Harness::start().await;
    let string = "GET\n\n\nThu, 17 Nov 2005 18:49:58 GMT\n/bucket/";
    let key =
        aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET_KEY.as_bytes());
    let signature = crate::hashes::base64(aws_lc_rs::hmac::sign(&key, string.as_bytes()).as_ref());
    let request = Request::new("GET", "/bucket/", "")
        .header("date", "Thu, 17 Nov 2005 18:49:58 GMT")
        .header("authorization", &format!("AWS {ACCESS_KEY}:{signature}"));
    assert_eq!(request.send(harness.address).await.error(), (400, "InvalidRequest"));
}

/// A request to a presigned address.
fn to_address(harness: &Harness, method: &'static str, uri: &str) -> Request {
    let address = format!("http://{}", harness.address);
    let (path, query) = uri.strip_prefix(&address).unwrap().split_once('?').unwrap();
    Request::new(method, path, query).header("host", &harness.address.to_string())
}

/// Fetches a presigned address.
async fn fetch(harness: &Harness, method: &'static str, uri: &str, body: &str) -> Answer {
    to_address(harness, method, uri).body(body).send(harness.address).await
}

#[tokio::test]
async fn presigned_addresses_work_until_they_expire() {
    let harness = Harness::start().await;
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let put =
        harness.client.put_object().bucket(BUCKET).key("a/key").presigned(minute.clone()).await.unwrap();
    let answer = fetch(&harness, "PUT", put.uri(), "hello").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let get = harness.client.get_object().bucket(BUCKET).key("a/key").presigned(minute).await.unwrap();
    let answer = fetch(&harness, "GET", get.uri(), "").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    let other = get.uri().replace("a/key", "a/kez");
    assert_eq!(fetch(&harness, "GET", &other, "").await.error(), (403, "SignatureDoesNotMatch"));
    let expired = PresigningConfig::builder()
        .start_time(SystemTime::now() - Duration::from_mins(10))
        .expires_in(Duration::from_mins(1));
    let get = harness.client.get_object().bucket(BUCKET).key("a/key");
    let get = get.presigned(expired.build().unwrap()).await.unwrap();
    assert_eq!(fetch(&harness, "GET", get.uri(), "").await.error(), (403, "AccessDenied"));
}

/// A header that nobody checks does not make an address a request of another kind to a policy.
#[tokio::test]
async fn a_signature_in_an_address_stands_alone_and_is_told_as_what_it_is() {
    let harness = Harness::start().await;
    harness.put("key", "hello").await;
    harness.memory.gate(|_, asked| {
        let kind = asked.conditions.iter().find(|(key, _)| key == "s3:authType");
        kind.is_some_and(|(_, said)| said == &["REST-HEADER".to_owned()])
    });
    assert_eq!(harness.get("key").await, b"hello");
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let get = harness.client.get_object().bucket(BUCKET).key("key").presigned(minute).await.unwrap();
    assert_eq!(fetch(&harness, "GET", get.uri(), "").await.error(), (403, "AccessDenied"));
    let both = to_address(&harness, "GET", get.uri()).header("authorization", "Bearer of nothing");
    assert_eq!(both.send(harness.address).await.error(), (400, "InvalidArgument"));
}

/// Whoever was given an address sends what its signer signed, and nothing besides that would be obeyed.
#[tokio::test]
async fn what_the_signer_did_not_sign_is_refused() {
    let harness = Harness::start().await;
    harness.put("secret", "hidden").await;
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let put = harness.client.put_object().bucket(BUCKET).key("key");
    let put = put.presigned(minute.clone()).await.unwrap();
    let delete = harness.client.delete_object().bucket(BUCKET).key("secret").presigned(minute).await.unwrap();
    for (method, uri, name, value) in [
        ("PUT", put.uri(), "x-amz-copy-source", "bucket/secret"),
        ("PUT", put.uri(), "x-amz-object-lock-legal-hold", "ON"),
        ("PUT", put.uri(), "x-amz-tagging", "a=1"),
        ("PUT", put.uri(), "content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
        ("DELETE", delete.uri(), "x-amz-bypass-governance-retention", "true"),
    ] {
        let request = to_address(&harness, method, uri).header(name, value).body("");
        let answer = request.send(harness.address).await;
        assert_eq!(answer.error(), (403, "AccessDenied"), "{name}");
        assert_eq!(answer.element("HeadersNotSigned"), name);
    }
    let late = Request::new("PUT", "/bucket/key", "").body("").sign(UNSIGNED);
    let answer = late.header("x-amz-copy-source", "bucket/secret").send(harness.address).await;
    assert_eq!(answer.error(), (403, "AccessDenied"));
    assert_eq!(harness.memory.objects(), 1);
}

#[tokio::test]
async fn what_the_signer_signed_is_obeyed_and_the_rest_may_come_along() {
    let harness = Harness::start().await;
    let minute = PresigningConfig::expires_in(Duration::from_mins(1)).unwrap();
    let put = harness.client.put_object().bucket(BUCKET).key("key").metadata("who", "me");
    let put = put.presigned(minute).await.unwrap();
    assert!(put.headers().any(|(name, _)| name == "x-amz-meta-who"), "it is to be sent");
    let own = put.headers().chain([
        ("content-language", "de"),
        ("x-amz-content-sha256", UNSIGNED),
        ("x-amz-user-agent", "a browser"),
        ("x-amzn-trace-id", "Root=1"),
    ]);
    let request =
        own.fold(to_address(&harness, "PUT", put.uri()), |put, (name, value)| put.header(name, value));
    let answer = request.body("hello").send(harness.address).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let head = harness.client.head_object().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!(head.metadata().unwrap()["who"], "me");
}

#[tokio::test]
async fn what_a_policy_may_ask_of_a_request_and_its_signature_is_told_to_the_view() {
    let harness = Harness::start().await;
    harness.put("key", "hello").await;
    harness.memory.gate(|_, asked| {
        let said = |key: &str| asked.conditions.iter().find(|(known, _)| known == key).map(|(_, said)| said);
        match asked.action {
            "s3:PutObject" => said("s3:if-none-match").is_some_and(|said| said == &["*".to_owned()]),
            "s3:GetObject" => {
                said("s3:signatureAge").is_some_and(|said| said[0].parse::<u64>().unwrap() < 600_000)
            }
            _ => said("s3:TlsVersion").is_none(),
        }
    });
    let put = || harness.client.put_object().bucket(BUCKET).key("new");
    assert_eq!(refused(put().send().await), ("AccessDenied".into(), 403));
    put().if_none_match("*").send().await.unwrap();
    let before = |minutes: u64| SystemTime::now() - Duration::from_mins(minutes);
    let denied = (403, "AccessDenied");
    for (minutes, status) in [(0, 200), (12, 403)] {
        let get = Request::new("GET", "/bucket/key", "").at(before(minutes)).sign(UNSIGNED);
        assert_eq!(get.send(harness.address).await.status, status, "{minutes}");
        let hour =
            PresigningConfig::builder().start_time(before(minutes)).expires_in(Duration::from_hours(1));
        let get = harness.client.get_object().bucket(BUCKET).key("key").presigned(hour.build().unwrap());
        let answer = fetch(&harness, "GET", get.await.unwrap().uri(), "").await;
        assert_eq!(answer.status, status, "{minutes}");
        assert!(status == 200 || answer.error() == denied);
    }
    harness.client.head_bucket().bucket(BUCKET).send().await.expect("there is no TLS");
}

#[tokio::test]
async fn a_bucket_may_be_named_by_the_host() {
    let harness = Harness::start().await;
    let of = |method, path: &str, host: &str, body: &str| {
        let request = Request::new(method, path, "").header("host", host).body(body).sign(UNSIGNED);
        let address = harness.address;
        async move { request.send(address).await }
    };
    assert_eq!(of("PUT", "/a/key", "bucket.s3.example.com:9000", "hello").await.status, 200);
    assert_eq!(harness.get("a/key").await, b"hello");
    assert_eq!(of("GET", "/a/key", "Bucket.S3.Example.Com", "").await.body, "hello");
    assert_eq!(of("GET", "/bucket/a/key", "s3.example.com", "").await.body, "hello");
    assert_eq!(of("GET", "/bucket/a/key", "nas.local:9000", "").await.body, "hello");
    let listed = of("GET", "/", "bucket.s3.example.com", "").await;
    assert_eq!(listed.element("Key"), "a/key");
    assert_eq!(of("GET", "/key", "absent.s3.example.com", "").await.error(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn what_can_be_no_request_is_refused_by_name() {
    let harness = Harness::start().await;
    let life = Request::new("GET", "/bucket/key", "X-Amz-Expires=604801");
    let answer = life.send(harness.address).await;
    assert_eq!(answer.error(), (400, "AuthorizationQueryParametersError"));
    assert_eq!(answer.element("Resource"), "/bucket/key");
    let twice = Request::new("GET", "/bucket/key", "X-Amz-Signature=c").sign(UNSIGNED);
    assert_eq!(twice.send(harness.address).await.error(), (400, "InvalidArgument"));
    let method = Request::new("PATCH", "/bucket/key", "").sign(UNSIGNED).send(harness.address).await;
    assert_eq!(method.error(), (405, "MethodNotAllowed"));
}

#[tokio::test]
async fn every_answer_has_an_id_and_changes_say_how_durable_they_are() {
    let harness = Harness::start().await;
    for (in_repository, how) in [(false, "local"), (true, "repository")] {
        *harness.memory.in_repository.lock() = in_repository;
        let put = Request::new("PUT", "/bucket/key", "").body("x").sign(UNSIGNED).send(harness.address).await;
        assert!(put.head.contains(&format!("x-tidegate-durability: {how}")), "{}", put.head);
        assert!(put.head.contains("x-amz-server-side-encryption: aes256"), "{}", put.head);
        let copy = Request::new("PUT", "/bucket/copy", "").header("x-amz-copy-source", "bucket/key").body("");
        let copy = copy.sign(UNSIGNED).send(harness.address).await;
        assert!(copy.head.contains(&format!("x-tidegate-durability: {how}")), "{copy:?}");
        assert!(copy.head.contains("x-amz-request-id: "));
    }
}

#[tokio::test]
async fn deletions_tags_locks_and_parts_say_how_durable_they_are_too() {
    let harness = Harness::start().await;
    let locked = harness.client.create_bucket().bucket("locked-bucket").object_lock_enabled_for_bucket(true);
    locked.send().await.unwrap();
    for (in_repository, how) in [(false, "local"), (true, "repository")] {
        *harness.memory.in_repository.lock() = in_repository;
        harness.put("key", "x").await;
        let client = &harness.client;
        client.put_object().bucket("locked-bucket").key("key").send().await.unwrap();
        let upload = client.create_multipart_upload().bucket("bucket").key("parts").send().await.unwrap();
        let part = |number| format!("partNumber={number}&uploadId={}", upload.upload_id().unwrap());
        let first = part(1);
        let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
        let [on, off] = ["ON", "OFF"].map(|how| format!("<LegalHold><Status>{how}</Status></LegalHold>"));
        let until = "<RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate>";
        let retention = format!("<Retention><Mode>GOVERNANCE</Mode>{until}</Retention>");
        let many = "<Delete><Object><Key>one</Key></Object><Object><Key>other</Key></Object></Delete>";
        let changes = [
            ("PUT", "/bucket/key", "tagging=", tags, how),
            ("DELETE", "/bucket/key", "tagging=", "", how),
            ("PUT", "/locked-bucket/key", "retention=", retention.as_str(), how),
            ("PUT", "/locked-bucket/key", "legal-hold=", on.as_str(), how),
            ("PUT", "/locked-bucket/key", "legal-hold=", off.as_str(), how),
            ("PUT", "/bucket/parts", first.as_str(), "x", "local"),
            ("DELETE", "/bucket/key", "", "", how),
            ("POST", "/bucket", "delete=", many, how),
            ("DELETE", "/locked-bucket/key", "", "", how),
        ];
        for (method, path, query, body, how) in changes {
            let request = Request::new(method, path, query).body(body).sign(UNSIGNED);
            let answer = request.send(harness.address).await;
            assert!(matches!(answer.status, 200 | 204), "{method} {path}?{query}: {answer:?}");
            let said = format!("x-tidegate-durability: {how}");
            assert!(answer.head.contains(&said), "{method} {path}?{query}: {answer:?}");
        }
        harness.put("source", "x").await;
        let copy =
            Request::new("PUT", "/bucket/parts", &part(2)).header("x-amz-copy-source", "bucket/source");
        let copy = copy.body("").sign(UNSIGNED).send(harness.address).await;
        assert!(copy.head.contains("x-tidegate-durability: local"), "{copy:?}");
    }
}

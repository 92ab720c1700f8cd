//! Goal: the S3 store keeps the contract and leaves nothing behind when it fails.
//! Method: s3s-fs served in this process on a loopback port, with switches for what shall go wrong; and a
//! server that answers every request with the same canned bytes, for what no good store would say.

mod canned;
mod server;
mod unfinished;
mod ways;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_replicator::store::{
    Body, ChecksumMode, Conduct, Connection, ErrorKind, ObjectName, PutMode, S3Store, Store, StoreSettings,
    Style, contract, open, probe,
};

use self::server::{BUCKET, Server, connection, credentials, keys};

const TRUSTED: Conduct =
    Conduct { create_new: true, checksum: ChecksumMode::Crc32c, lock: None, append_only: false };
const UNTRUSTED: Conduct =
    Conduct { create_new: false, checksum: ChecksumMode::None, lock: None, append_only: false };

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).expect("a legal name")
}

fn large() -> Body {
    Body::Bytes(contract::sample((40 << 20) + 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract_with_conditions_and_checksums() {
    let server = Server::start().await;
    contract::check(Arc::new(server.store("some/prefix", TRUSTED)), "contract").await;
    let (begun, aborted) = (&server.switches.uploads_begun, &server.switches.uploads_aborted);
    assert!(begun.load(Ordering::SeqCst) > 0, "large objects go up in parts");
    assert_eq!(aborted.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract_without_conditions_and_checksums() {
    let server = Server::start().await;
    server.switches.ignore_conditions.store(true, Ordering::SeqCst);
    contract::check(Arc::new(server.store("", UNTRUSTED)), "contract").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_the_contract_under_all_decorators() {
    let server = Server::start().await;
    let settings = server.settings("prefix");
    let report = probe(&settings, &credentials()).await.expect("probed");
    let opened = open("test", &settings, &credentials(), Some(&report)).expect("opened");
    contract::check(opened.store, "contract").await;
    assert!(opened.counts.requests_total() > 100);
}

#[tokio::test]
async fn two_prefixes_of_a_bucket_do_not_see_each_other() {
    let server = Server::start().await;
    let (one, other) = (server.store("one", TRUSTED), server.store("one-more", TRUSTED));
    one.put(&name("a"), Body::Bytes(Bytes::from("1")), PutMode::Overwrite).await.expect("stored");
    assert_eq!(other.get(&name("a"), None).await.expect_err("not there").kind(), ErrorKind::Missing);
    assert!(other.list("", None, 10).await.expect("listed").objects.is_empty());
    assert_eq!(one.list("", None, 10).await.expect("listed").objects.len(), 1);
    assert_eq!(one.address(), "s3://bucket/one");
}

#[tokio::test]
async fn keys_of_others_are_skipped_and_do_not_end_a_listing() {
    let server = Server::start().await;
    let store = server.store("p", TRUSTED);
    for foreign in 0..5 {
        std::fs::create_dir_all(server.bucket().join("p/a b")).expect("made");
        std::fs::write(server.bucket().join(format!("p/a b/{foreign}")), b"").expect("written");
    }
    store.put(&name("z"), Body::Bytes(Bytes::from("1")), PutMode::Overwrite).await.expect("stored");
    let page = store.list("", None, 2).await.expect("listed");
    assert_eq!((page.objects[0].name.as_str(), page.more), ("z", false));
    assert!(store.list_folders("").await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_failed_upload_is_aborted_and_leaves_the_old_object() {
    let server = Server::start().await;
    let store = server.store("", TRUSTED);
    store.put(&name("a"), Body::Bytes(Bytes::from("old")), PutMode::Overwrite).await.expect("stored");
    server.switches.parts_to_fail.store(1, Ordering::SeqCst);
    let error = store.put(&name("a"), large(), PutMode::Overwrite).await.expect_err("a part fails");
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert_eq!(server.switches.uploads_aborted.load(Ordering::SeqCst), 1);
    assert_eq!(store.get(&name("a"), None).await.expect("read"), "old");
}

#[tokio::test]
async fn an_upload_that_nobody_waits_for_is_aborted() {
    let server = Server::start().await;
    server.switches.part_delay_ms.store(60_000, Ordering::SeqCst);
    let store = server.store("", TRUSTED);
    let object = name("a");
    let put = store.put(&object, large(), PutMode::Overwrite);
    assert!(tokio::time::timeout(Duration::from_secs(1), put).await.is_err(), "parts are slow");
    assert_eq!(server.switches.uploads_begun.load(Ordering::SeqCst), 1);
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.switches.uploads_aborted.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the upload stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn damage_on_the_way_up_is_refused_by_a_store_that_checks() {
    let server = Server::start().await;
    let report = probe(&server.settings("p"), &credentials()).await.expect("probed");
    assert_eq!(report.checksum, ChecksumMode::Crc32c);
    assert!(report.checksum_verified, "{report}");
}

#[tokio::test]
async fn a_probe_tells_a_bucket_that_honours_conditions_from_one_that_does_not() {
    let server = Server::start().await;
    let report = probe(&server.settings("p"), &credentials()).await.expect("probed");
    assert!(report.create_new && report.obstacles().is_empty(), "{report}");
    server.switches.ignore_conditions.store(true, Ordering::SeqCst);
    let report = probe(&server.settings("p"), &credentials()).await.expect("probed");
    assert!(!report.create_new && report.obstacles().is_empty(), "{report}");
    let left = server.store("p", TRUSTED).list("", None, 10).await.expect("listed");
    assert!(left.objects.is_empty(), "{left:?}");
}

#[tokio::test]
async fn wrong_keys_are_denied() {
    let server = Server::start().await;
    for wrong in [keys("access", "wrong"), keys("nobody", "secret")] {
        let store = S3Store::open(BUCKET, "", &connection(server.address), &wrong, TRUSTED).expect("opened");
        let error = store.list("", None, 1).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert_eq!(store.head(&name("a")).await.expect_err("refused").kind(), ErrorKind::Denied);
        let error = probe(&server.settings("p"), &wrong).await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_not_a_missing_object() {
    let server = Server::start().await;
    let store =
        S3Store::open("absent", "", &connection(server.address), &credentials(), TRUSTED).expect("opened");
    assert_eq!(store.head(&name("a")).await.expect_err("no bucket").kind(), ErrorKind::Misconfigured);
    assert_eq!(store.list("", None, 1).await.expect_err("no bucket").kind(), ErrorKind::Misconfigured);
}

#[tokio::test]
async fn a_certificate_file_that_holds_none_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ca.pem");
    for (contents, what) in [
        ("", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "trusted certificates"),
        ("-----BEGIN CERTIFICATE-----\n%%%%\n", "trusted certificates"),
    ] {
        std::fs::write(&file, contents).expect("written");
        let connection = Connection {
            ca_file: Some(file.clone()),
            endpoint: Some("https://127.0.0.1:1".to_owned()),
            ..connection("127.0.0.1:1".parse().expect("an address"))
        };
        let error = S3Store::open(BUCKET, "", &connection, &credentials(), TRUSTED).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Misconfigured);
        let text = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(text.contains(what) && text.contains("ca.pem"), "{text}");
    }
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_transient() {
    let store = S3Store::open(
        BUCKET,
        "",
        &connection("127.0.0.1:1".parse().expect("an address")),
        &credentials(),
        TRUSTED,
    )
    .expect("opened");
    assert_eq!(store.list("", None, 1).await.expect_err("refused").kind(), ErrorKind::Transient);
}

#[tokio::test]
async fn a_store_that_hangs_ends_as_transient_within_the_deadline() {
    let address = canned::serve(canned::Answer::Never).await;
    let settings = StoreSettings {
        endpoint: Some(format!("http://{address}")),
        answer_timeout_ms: 200,
        transfer_bytes_per_s_min: 1 << 20,
        attempts_max: 2,
        ..StoreSettings::new("s3://bucket/p".parse().expect("an address"))
    };
    let store = open("test", &settings, &credentials(), None).expect("opened").store;
    let begun = Instant::now();
    assert_eq!(store.list("", None, 1).await.expect_err("hangs").kind(), ErrorKind::Transient);
    assert_eq!(store.get(&name("a"), None).await.expect_err("hangs").kind(), ErrorKind::Transient);
    assert_eq!(store.head(&name("a")).await.expect_err("hangs").kind(), ErrorKind::Transient);
    assert_eq!(store.delete(&name("a")).await.expect_err("hangs").kind(), ErrorKind::Transient);
    let put = store.put(&name("a"), Body::Bytes(Bytes::from("1")), PutMode::Overwrite).await;
    assert_eq!(put.expect_err("hangs").kind(), ErrorKind::Transient);
    let put = store.put(&name("a"), Body::Bytes(Bytes::from("1")), PutMode::CreateNew).await;
    assert_eq!(put.expect_err("hangs").kind(), ErrorKind::Transient);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn answers_become_the_kinds_that_say_what_to_do() {
    let xml =
        |code: &str| format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>");
    for (status, body, expected) in [
        ("404 Not Found", xml("NoSuchKey"), ErrorKind::Missing),
        ("404 Not Found", xml("NoSuchBucket"), ErrorKind::Misconfigured),
        ("404 Not Found", "<html>a proxy's page</html>".to_owned(), ErrorKind::Misconfigured),
        ("403 Forbidden", xml("AccessDenied"), ErrorKind::Denied),
        ("403 Forbidden", xml("RequestTimeTooSkewed"), ErrorKind::Denied),
        ("403 Forbidden", xml("InvalidObjectState"), ErrorKind::Asleep),
        ("400 Bad Request", xml("ExpiredToken"), ErrorKind::Denied),
        ("400 Bad Request", xml("AuthorizationHeaderMalformed"), ErrorKind::Misconfigured),
        ("301 Moved Permanently", xml("PermanentRedirect"), ErrorKind::Misconfigured),
        ("416 Range Not Satisfiable", xml("InvalidRange"), ErrorKind::Invalid),
        ("503 Slow Down", xml("SlowDown"), ErrorKind::Transient),
        ("500 Internal Server Error", xml("InternalError"), ErrorKind::Transient),
        ("502 Bad Gateway", "<html>".to_owned(), ErrorKind::Transient),
        ("429 Too Many Requests", String::new(), ErrorKind::Transient),
        ("507 Insufficient Storage", String::new(), ErrorKind::Full),
        ("200 OK", "0123456789".to_owned(), ErrorKind::Damaged),
    ] {
        let address = canned::serve(canned::Answer::whole(status, &body)).await;
        let store = S3Store::open(BUCKET, "", &connection(address), &credentials(), TRUSTED).expect("opened");
        let error = store.get(&name("a"), Some(2..4)).await.expect_err(status);
        assert_eq!(error.kind(), expected, "{status} {body}: {:?}", std::error::Error::source(&error));
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_transient_and_one_that_goes_on_is_damaged() {
    for (answer, expected) in [
        (
            canned::Answer::Cut(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 2-5/10\r\n\r\n23",
            ),
            ErrorKind::Transient,
        ),
        (
            canned::Answer::Cut(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 2-5/10\r\n\r\n23456",
            ),
            ErrorKind::Damaged,
        ),
        (
            canned::Answer::Cut(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 2-5/10\r\n\r\n234",
            ),
            ErrorKind::Damaged,
        ),
        (
            canned::Answer::Cut(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\nContent-Range: bytes 3-6/10\r\n\r\n3456",
            ),
            ErrorKind::Damaged,
        ),
        (
            canned::Answer::Cut(
                "HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 2-4/5\r\n\r\n234",
            ),
            ErrorKind::Invalid,
        ),
        (canned::Answer::Cut(""), ErrorKind::Transient),
        (canned::Answer::Cut("rubbish\r\n\r\n"), ErrorKind::Transient),
    ] {
        let address = canned::serve(answer.clone()).await;
        let store = S3Store::open(BUCKET, "", &connection(address), &credentials(), TRUSTED).expect("opened");
        let error = store.get(&name("a"), Some(2..6)).await.expect_err("spoiled");
        assert_eq!(error.kind(), expected, "{answer:?}: {:?}", std::error::Error::source(&error));
    }
}

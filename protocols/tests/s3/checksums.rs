//! Integrity on the way in and out: MD5 and the five checksums, in headers and in trailers, right and wrong.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm as Algorithm, ChecksumMode};
use tidegate_protocols::objects::ChecksumAlgorithm;
use tidegate_protocols::s3::S3Limits;

use crate::harness::{BUCKET, Harness, refused};
use crate::hashes::{base64, digest};
use crate::raw::{Request, UNSIGNED, sha256};

const TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const SIGNED_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";

fn value(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> String {
    base64(&digest(algorithm, bytes))
}

fn header(algorithm: ChecksumAlgorithm) -> String {
    format!("x-amz-checksum-{}", algorithm.as_str().to_ascii_lowercase())
}

#[tokio::test]
async fn all_five_checksums_are_verified_kept_and_given_back() {
    let harness = Harness::start().await;
    for algorithm in ChecksumAlgorithm::ALL {
        let key = algorithm.as_str();
        let put = harness.client.put_object().bucket(BUCKET).key(key).body(ByteStream::from_static(b"hello"));
        put.checksum_algorithm(Algorithm::from(key)).send().await.unwrap();
        // The client checks the body against the checksum of the answer.
        let got = harness.client.get_object().bucket(BUCKET).key(key).checksum_mode(ChecksumMode::Enabled);
        let got = got.send().await.unwrap();
        let all = [
            got.checksum_crc32(),
            got.checksum_crc32_c(),
            got.checksum_crc64_nvme(),
            got.checksum_sha1(),
            got.checksum_sha256(),
        ];
        let given: Vec<_> = all.into_iter().flatten().collect();
        assert_eq!(given, [value(algorithm, b"hello")], "{key}");
        assert_eq!(got.body.collect().await.unwrap().to_vec(), b"hello");
    }
}

#[tokio::test]
async fn who_names_no_checksum_gets_crc64nvme_when_asking() {
    let harness = Harness::start().await;
    let put = Request::new("PUT", "/bucket/key", "").body("hello").sign(UNSIGNED).send(harness.address).await;
    assert_eq!(put.status, 200, "{put:?}");
    let expected = value(ChecksumAlgorithm::Crc64Nvme, b"hello");
    assert!(put.head.contains(&format!("x-amz-checksum-crc64nvme: {}", expected.to_ascii_lowercase())));
    let head = harness.client.head_object().bucket(BUCKET).key("key");
    assert!(
        head.clone()
            .checksum_mode(ChecksumMode::Enabled)
            .send()
            .await
            .unwrap()
            .checksum_crc64_nvme()
            .is_some()
    );
    let range = head.checksum_mode(ChecksumMode::Enabled).range("bytes=1-2").send().await.unwrap();
    assert!(range.checksum_crc64_nvme().is_none(), "the checksum of the whole is none of a range");
}

#[tokio::test]
async fn a_wrong_digest_leaves_what_was_there() {
    let harness = Harness::start().await;
    harness.put("key", "before").await;
    for algorithm in ChecksumAlgorithm::ALL {
        let wrong = value(algorithm, b"other");
        let put = Request::new("PUT", "/bucket/key", "").header(&header(algorithm), &wrong).body("hello");
        let put = put.sign(&sha256(b"hello")).send(harness.address).await;
        assert_eq!(put.error(), (400, "BadDigest"), "{}", algorithm.as_str());
    }
    let put =
        || harness.client.put_object().bucket(BUCKET).key("key").body(ByteStream::from_static(b"hello"));
    let md5 = put().content_md5("AAAAAAAAAAAAAAAAAAAAAA==").send().await;
    assert_eq!(refused(md5), ("BadDigest".into(), 400));
    let malformed = put().content_md5("AAAA").send().await;
    assert_eq!(refused(malformed), ("InvalidDigest".into(), 400));
    let payload = Request::new("PUT", "/bucket/key", "").body("hello").sign(&sha256(b"other"));
    assert_eq!(payload.send(harness.address).await.error(), (400, "XAmzContentSHA256Mismatch"));
    assert_eq!(harness.get("key").await, b"before");
    put().content_md5("XUFAKrxLKna5cZ2REBfFkg==").send().await.unwrap();
    assert_eq!(harness.get("key").await, b"hello");
}

#[tokio::test]
async fn claims_that_cannot_be_are_refused_before_the_body_is_read() {
    let harness = Harness::start().await;
    let crc = value(ChecksumAlgorithm::Crc32, b"hello");
    for headers in [
        vec![("x-amz-checksum-crc32", "AAAA")],
        vec![("x-amz-checksum-crc32", crc.as_str()), ("x-amz-checksum-crc32c", crc.as_str())],
        vec![("x-amz-checksum-crc32", crc.as_str()), ("x-amz-sdk-checksum-algorithm", "SHA1")],
        vec![("x-amz-sdk-checksum-algorithm", "MD4")],
    ] {
        let put = Request::new("PUT", "/bucket/key", "").header("expect", "100-continue").body("hello");
        let put = headers.iter().fold(put, |put, (name, value)| put.header(name, value));
        let answer = put.sign(UNSIGNED).send(harness.address).await;
        assert_eq!(answer.error(), (400, "InvalidRequest"), "{headers:?}");
        assert!(!answer.head.contains("100 continue"));
    }
}

fn with_trailer(algorithm: ChecksumAlgorithm, value: &str, data: &str) -> Request {
    let name = header(algorithm);
    let body = format!("{:x}\r\n{data}\r\n0\r\n{name}:{value}\r\n\r\n", data.len());
    Request::new("PUT", "/bucket/key", "")
        .header("x-amz-trailer", &name)
        .header("content-encoding", "aws-chunked")
        .header("x-amz-decoded-content-length", &data.len().to_string())
        .body(body)
        .sign(TRAILER)
}

#[tokio::test]
async fn unsigned_trailers_are_verified() {
    let harness = Harness::start().await;
    for algorithm in ChecksumAlgorithm::ALL {
        let right = with_trailer(algorithm, &value(algorithm, b"hello"), "hello").send(harness.address).await;
        assert_eq!(right.status, 200, "{right:?}");
        assert_eq!(harness.get("key").await, b"hello");
        let wrong = with_trailer(algorithm, &value(algorithm, b"other"), "world").send(harness.address).await;
        assert_eq!(wrong.error(), (400, "BadDigest"), "{}", algorithm.as_str());
        let malformed = with_trailer(algorithm, "AAAA", "world").send(harness.address).await;
        assert_eq!(malformed.error(), (400, "InvalidRequest"));
        assert_eq!(harness.get("key").await, b"hello");
    }
    let head = harness.client.head_object().bucket(BUCKET).key("key").send().await.unwrap();
    assert_eq!(head.content_encoding(), None, "the encoding of the transfer is not kept");
}

#[tokio::test]
async fn a_trailer_that_was_announced_must_come() {
    let harness = Harness::start().await;
    let put = Request::new("PUT", "/bucket/key", "")
        .header("x-amz-trailer", "x-amz-checksum-crc32")
        .header("x-amz-decoded-content-length", "5")
        .body("5\r\nhello\r\n0\r\n\r\n")
        .sign(TRAILER);
    assert_eq!(put.send(harness.address).await.error(), (400, "MalformedTrailerError"));
    assert_eq!(harness.memory.objects(), 0);
}

fn signed(data: &[u8], payload: &str) -> Request {
    let length = data.len().to_string();
    Request::new("PUT", "/bucket/key", "").header("x-amz-decoded-content-length", &length).sign(payload)
}

#[tokio::test]
async fn a_chunk_that_would_take_too_much_memory_is_refused() {
    let harness = Harness::start_with(S3Limits { chunk_bytes_max: 1 << 20, ..S3Limits::default() }).await;
    let data = vec![5; 4 << 20];
    let start = format!("{:x};chunk-signature={}\r\n", data.len(), "0".repeat(64));
    let put = signed(&data, SIGNED).body([start.as_bytes(), &data[..]].concat());
    assert_eq!(put.send(harness.address).await.error(), (400, "InvalidRequest"));
    assert_eq!(harness.memory.objects(), 0);
    let put = signed(&data, SIGNED).chunked(&data, None).relength();
    assert_eq!(put.send(harness.address).await.status, 200, "of small chunks there may be many");
}

#[tokio::test]
async fn signatures_of_chunks_and_of_trailers_are_verified() {
    let harness = Harness::start().await;
    let data = vec![5; 20_000];
    let put = signed(&data, SIGNED).chunked(&data, None).relength();
    assert_eq!(put.send(harness.address).await.status, 200);
    assert_eq!(harness.get("key").await, data);
    let mut other = data.clone();
    other[15_000] = 6;
    let forged = signed(&data, SIGNED).chunked(&data, None).relength().flip(15_000);
    assert_eq!(forged.send(harness.address).await.error(), (403, "SignatureDoesNotMatch"));
    let crc = value(ChecksumAlgorithm::Crc32c, &data);
    let trailer = Some(("x-amz-checksum-crc32c", crc.as_str()));
    let announced = |data: &[u8]| {
        Request::new("PUT", "/bucket/key", "")
            .header("x-amz-decoded-content-length", &data.len().to_string())
            .header("x-amz-trailer", "x-amz-checksum-crc32c")
            .sign(SIGNED_TRAILER)
    };
    let put = announced(&data).chunked(&data, trailer).relength();
    let answer = put.send(harness.address).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let wrong = announced(&other).chunked(&other, trailer).relength();
    assert_eq!(wrong.send(harness.address).await.error(), (400, "BadDigest"));
    assert_eq!(harness.get("key").await, data);
}

#[tokio::test]
async fn documents_are_held_against_their_checksum() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    let text = "<Delete><Object><Key>key</Key></Object></Delete>";
    let delete = |value: &str| {
        let request = Request::new("POST", "/bucket", "delete=").header("x-amz-checksum-crc32c", value);
        request.body(text).sign(UNSIGNED)
    };
    let wrong = delete("AAAAAA==").send(harness.address).await;
    assert_eq!(wrong.error(), (400, "BadDigest"));
    assert_eq!(delete("nothing").send(harness.address).await.error(), (400, "InvalidRequest"));
    assert_eq!(harness.memory.objects(), 1);
    let right = value(ChecksumAlgorithm::Crc32c, text.as_bytes());
    assert_eq!(delete(&right).send(harness.address).await.status, 200);
    assert_eq!(harness.memory.objects(), 0);
}

#[tokio::test]
async fn documents_are_held_against_their_md5() {
    let harness = Harness::start().await;
    harness.put("key", "x").await;
    let text = "<Delete><Object><Key>key</Key></Object></Delete>";
    let delete = |md5: &str| {
        let request = Request::new("POST", "/bucket", "delete=").header("content-md5", md5);
        request.body(text).sign(UNSIGNED)
    };
    let wrong = delete("AAAAAAAAAAAAAAAAAAAAAA==").send(harness.address).await;
    assert_eq!(wrong.error(), (400, "BadDigest"));
    assert_eq!(harness.memory.objects(), 1);
    let md5 = base64(&<s3s::crypto::Md5 as s3s::crypto::Checksum>::checksum(text.as_bytes()));
    assert_eq!(delete(&md5).send(harness.address).await.status, 200);
    assert_eq!(harness.memory.objects(), 0);
}

//! Uploads in parts: order, sizes, checksums, copies, listings, and their errors.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm as Algorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
    ObjectAttributes,
};
use bytes::Bytes;
use tidegate_protocols::objects::ChecksumAlgorithm;

use crate::harness::{BUCKET, Harness, refused};
use crate::hashes::{checksum_of, composite};

/// The least size of a part but the last.
const PART: usize = 5 << 20;

async fn begin(harness: &Harness, key: &str) -> String {
    let begun = harness.client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    begun.upload_id().unwrap().to_owned()
}

async fn part(harness: &Harness, key: &str, upload: &str, number: i32, bytes: Vec<u8>) -> CompletedPart {
    let put = harness.client.upload_part().bucket(BUCKET).key(key).upload_id(upload).part_number(number);
    let put = put.body(ByteStream::from(bytes)).send().await.unwrap();
    CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap()).build()
}

fn parts(parts: impl IntoIterator<Item = CompletedPart>) -> CompletedMultipartUpload {
    CompletedMultipartUpload::builder().set_parts(Some(parts.into_iter().collect())).build()
}

#[tokio::test]
async fn parts_out_of_order_become_one_object() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let begun = client.create_multipart_upload().bucket(BUCKET).key("key").content_type("text/plain");
    let begun = begun.metadata("color", "red").tagging("k=v").send().await.unwrap();
    let upload = begun.upload_id().unwrap();
    let last = part(&harness, "key", upload, 7, vec![3; 10]).await;
    part(&harness, "key", upload, 2, vec![9; PART]).await;
    let second = part(&harness, "key", upload, 2, vec![2; PART]).await;
    let first = part(&harness, "key", upload, 1, vec![1; PART + 1]).await;
    let complete = || client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(upload);
    let all = parts([first, second, last]);
    let done = complete().multipart_upload(all.clone()).send().await.unwrap();
    assert!(done.e_tag().unwrap().ends_with("-3\""));
    let again = complete().multipart_upload(all).send().await.unwrap();
    assert_eq!(again.e_tag(), done.e_tag());
    let expected = [vec![1; PART + 1], vec![2; PART], vec![3; 10]].concat();
    assert_eq!(harness.get("key").await, expected);
    let get = client.get_object().bucket(BUCKET).key("key").part_number(3).send().await.unwrap();
    assert_eq!(get.parts_count(), Some(3));
    assert_eq!(get.content_range(), Some("bytes 10485761-10485770/10485771"));
    assert_eq!(get.body.collect().await.unwrap().to_vec(), [3; 10]);
    let head = client.head_object().bucket(BUCKET).key("key").part_number(1).send().await.unwrap();
    assert_eq!((head.parts_count(), head.content_length()), (Some(3), Some(PART as i64 + 1)));
    assert_eq!(
        (head.content_type(), &head.metadata().unwrap()["color"]),
        (Some("text/plain"), &"red".to_owned())
    );
    let attributes = client.get_object_attributes().bucket(BUCKET).key("key").max_parts(2);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectParts).send().await.unwrap();
    let listed = attributes.object_parts().unwrap();
    assert_eq!((listed.total_parts_count(), listed.parts().len()), (Some(3), 2));
    assert_eq!((listed.is_truncated(), listed.parts()[1].size()), (Some(true), Some(PART as i64)));
}

#[tokio::test]
async fn each_part_of_an_object_has_its_checksum() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let create = client.create_multipart_upload().bucket(BUCKET).key("key");
    let create = create.checksum_algorithm(Algorithm::Sha256).send().await.unwrap();
    let upload = create.upload_id().unwrap();
    let bodies = [vec![1; PART], vec![2; PART], vec![3; 10]];
    let mut all = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        let put = client.upload_part().bucket(BUCKET).key("key").upload_id(upload).part_number(number);
        let put = put.checksum_algorithm(Algorithm::Sha256).body(body.clone().into());
        let put = put.send().await.unwrap();
        let named = CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap());
        all.push(named.checksum_sha256(put.checksum_sha256().unwrap()).build());
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(upload);
    complete.multipart_upload(parts(all)).send().await.unwrap();
    let sum = |body: &[u8]| checksum_of(ChecksumAlgorithm::Sha256, body).value;
    let attributes = client.get_object_attributes().bucket(BUCKET).key("key").max_parts(2);
    let attributes = attributes.object_attributes(ObjectAttributes::ObjectParts);
    let attributes = attributes.part_number_marker("1").send().await.unwrap();
    let listed: Vec<_> =
        attributes.object_parts().unwrap().parts().iter().map(|part| part.checksum_sha256()).collect();
    assert_eq!(listed, [Some(sum(&bodies[1]).as_str()), Some(sum(&bodies[2]).as_str())]);
    for (number, body) in (1..).zip(&bodies) {
        let got = client.get_object().bucket(BUCKET).key("key").part_number(number);
        let got = got.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(got.checksum_sha256(), Some(sum(body).as_str()));
        let head = client.head_object().bucket(BUCKET).key("key").part_number(number);
        assert_eq!(head.clone().send().await.unwrap().checksum_sha256(), None, "nobody asked");
        let head = head.checksum_mode(ChecksumMode::Enabled).send().await.unwrap();
        assert_eq!(head.checksum_sha256(), Some(sum(body).as_str()));
    }
}

#[tokio::test]
async fn the_errors_of_uploads_are_those_of_s3() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let upload = begin(&harness, "key").await;
    let first = part(&harness, "key", &upload, 1, vec![1; 10]).await;
    let second = part(&harness, "key", &upload, 2, vec![2; 10]).await;
    let complete = |all: Vec<CompletedPart>| {
        let request = client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(&upload);
        request.multipart_upload(parts(all)).send()
    };
    let code = |(code, status): (String, u16)| format!("{code} {status}");
    let swapped = complete(vec![second.clone(), first.clone()]).await;
    assert_eq!(code(refused(swapped)), "InvalidPartOrder 400");
    let small = complete(vec![first.clone(), second.clone()]).await;
    assert_eq!(code(refused(small)), "EntityTooSmall 400");
    let missing = CompletedPart::builder().part_number(3).e_tag("\"e\"").build();
    assert_eq!(code(refused(complete(vec![missing]).await)), "InvalidPart 400");
    let other = CompletedPart::builder().part_number(1).e_tag("\"other\"").build();
    assert_eq!(code(refused(complete(vec![other]).await)), "InvalidPart 400");
    assert_eq!(code(refused(complete(Vec::new()).await)), "MalformedXML 400");
    let put = || client.upload_part().bucket(BUCKET).key("key");
    for number in [0, 10_001] {
        let wrong = put().upload_id(&upload).part_number(number).send().await;
        assert_eq!(code(refused(wrong)), "InvalidArgument 400");
    }
    let unknown = put().upload_id("unknown").part_number(1).send().await;
    assert_eq!(code(refused(unknown)), "NoSuchUpload 404");
    let abort = || client.abort_multipart_upload().bucket(BUCKET).key("key").upload_id(&upload).send();
    abort().await.unwrap();
    assert_eq!(code(refused(abort().await)), "NoSuchUpload 404");
    let listed = client.list_parts().bucket(BUCKET).key("key").upload_id(&upload).send().await;
    assert_eq!(code(refused(listed)), "NoSuchUpload 404");
    assert_eq!(harness.memory.objects(), 0);
    let elsewhere = client.create_multipart_upload().bucket("absent").key("key").send().await;
    assert_eq!(code(refused(elsewhere)), "NoSuchBucket 404");
}

#[tokio::test]
async fn a_completion_may_have_conditions_and_a_size() {
    let harness = Harness::start().await;
    harness.put("key", "there").await;
    let upload = begin(&harness, "key").await;
    let only = part(&harness, "key", &upload, 1, vec![1; 10]).await;
    let complete = || {
        let request = harness.client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(&upload);
        request.multipart_upload(parts([only.clone()]))
    };
    let there = complete().if_none_match("*").send().await;
    assert_eq!(refused(there), ("PreconditionFailed".into(), 412));
    let size = complete().mpu_object_size(11).send().await;
    assert_eq!(refused(size), ("InvalidRequest".into(), 400));
    complete().mpu_object_size(10).send().await.unwrap();
}

#[tokio::test]
async fn checksums_of_parts_make_that_of_the_object() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let data = [Bytes::from(vec![1; PART]), Bytes::from(vec![2; 100])];
    let whole = data.concat();
    for (algorithm, kind) in [
        (ChecksumAlgorithm::Sha256, ChecksumType::Composite),
        (ChecksumAlgorithm::Sha1, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc32c, ChecksumType::Composite),
        (ChecksumAlgorithm::Crc32, ChecksumType::FullObject),
        (ChecksumAlgorithm::Crc64Nvme, ChecksumType::FullObject),
    ] {
        let name = Algorithm::from(algorithm.as_str());
        let begun = client.create_multipart_upload().bucket(BUCKET).key("key");
        let begun = begun.checksum_algorithm(name.clone()).checksum_type(kind.clone()).send().await.unwrap();
        assert_eq!((begun.checksum_algorithm(), begun.checksum_type()), (Some(&name), Some(&kind)));
        let upload = begun.upload_id().unwrap();
        let mut all = Vec::new();
        for (number, bytes) in (1..).zip(&data) {
            let put = client.upload_part().bucket(BUCKET).key("key").upload_id(upload).part_number(number);
            let put = put.checksum_algorithm(name.clone()).body(ByteStream::from(bytes.clone()));
            let put = put.send().await.unwrap();
            let part = CompletedPart::builder().part_number(number).e_tag(put.e_tag().unwrap());
            let part = part.set_checksum_sha256(put.checksum_sha256().map(str::to_owned));
            let part = part.set_checksum_sha1(put.checksum_sha1().map(str::to_owned));
            all.push(part.set_checksum_crc32_c(put.checksum_crc32_c().map(str::to_owned)).build());
        }
        let complete = client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(upload);
        let done = complete.multipart_upload(parts(all)).send().await.unwrap();
        assert_eq!(done.checksum_type(), Some(&kind), "{name}");
        let expected = if kind == ChecksumType::Composite {
            composite(algorithm, &data).value
        } else {
            checksum_of(algorithm, &whole).value
        };
        let given = [
            done.checksum_crc32(),
            done.checksum_crc32_c(),
            done.checksum_crc64_nvme(),
            done.checksum_sha1(),
            done.checksum_sha256(),
        ];
        assert_eq!(given.into_iter().flatten().collect::<Vec<_>>(), [expected]);
        let got = client.get_object().bucket(BUCKET).key("key").checksum_mode(ChecksumMode::Enabled);
        assert_eq!(got.send().await.unwrap().body.collect().await.unwrap().to_vec(), whole);
    }
}

#[tokio::test]
async fn checksums_that_do_not_fit_are_refused() {
    let harness = Harness::start().await;
    let create = || harness.client.create_multipart_upload().bucket(BUCKET).key("key");
    let composite = create().checksum_algorithm(Algorithm::Crc64Nvme).checksum_type(ChecksumType::Composite);
    assert_eq!(refused(composite.send().await), ("InvalidRequest".into(), 400));
    let full = create().checksum_algorithm(Algorithm::Sha256).checksum_type(ChecksumType::FullObject);
    assert_eq!(refused(full.send().await), ("InvalidRequest".into(), 400));
    let begun = create().checksum_algorithm(Algorithm::Crc64Nvme).send().await.unwrap();
    let upload = begun.upload_id().unwrap();
    let only = part(&harness, "key", upload, 1, vec![1; 10]).await;
    let complete = harness.client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(upload);
    let complete = complete.multipart_upload(parts([only]));
    let wrong = complete.clone().checksum_crc64_nvme("AAAAAAAAAAA=").send().await;
    assert_eq!(refused(wrong), ("BadDigest".into(), 400));
    let right = checksum_of(ChecksumAlgorithm::Crc64Nvme, &[1; 10]).value;
    complete.checksum_crc64_nvme(right).send().await.unwrap();
}

#[tokio::test]
async fn parts_are_made_of_objects_too() {
    let harness = Harness::start().await;
    let client = &harness.client;
    let etag = harness.put("source", (0..100).collect::<Vec<u8>>()).await;
    let upload = begin(&harness, "key").await;
    let copy = || {
        let request = client.upload_part_copy().bucket(BUCKET).key("key").upload_id(&upload).part_number(1);
        request.copy_source("bucket/source")
    };
    let code = |(code, status): (String, u16)| format!("{code} {status}");
    assert_eq!(code(refused(copy().copy_source_range("bytes=10-").send().await)), "InvalidArgument 400");
    assert_eq!(code(refused(copy().copy_source_range("bytes=10-100").send().await)), "InvalidRange 416");
    let changed = copy().copy_source_if_none_match(&etag).send().await;
    assert_eq!(code(refused(changed)), "PreconditionFailed 412");
    let done = copy().copy_source_range("bytes=10-19").copy_source_if_match(&etag).send().await.unwrap();
    let result = done.copy_part_result().unwrap();
    let only = CompletedPart::builder().part_number(1).e_tag(result.e_tag().unwrap()).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("key").upload_id(&upload);
    complete.multipart_upload(parts([only])).send().await.unwrap();
    assert_eq!(harness.get("key").await, (10..20).collect::<Vec<u8>>());
}

#[tokio::test]
async fn parts_come_in_pages() {
    let harness = Harness::start().await;
    let upload = begin(&harness, "key").await;
    for number in [1, 3, 5, 10_000] {
        part(&harness, "key", &upload, number, vec![0; 3]).await;
    }
    let list = || harness.client.list_parts().bucket(BUCKET).key("key").upload_id(&upload);
    let mut found = Vec::new();
    let mut marker = None;
    loop {
        let page = list().max_parts(3).set_part_number_marker(marker).send().await.unwrap();
        found.extend(page.parts().iter().filter_map(aws_sdk_s3::types::Part::part_number));
        assert!(page.parts().iter().all(|part| part.size() == Some(3) && part.e_tag().is_some()));
        if page.is_truncated() != Some(true) {
            break;
        }
        marker = page.next_part_number_marker().map(str::to_owned);
    }
    assert_eq!(found, [1, 3, 5, 10_000]);
    assert_eq!(refused(list().max_parts(-1).send().await), ("InvalidArgument".into(), 400));
}

#[tokio::test]
async fn uploads_come_in_pages() {
    let harness = Harness::start().await;
    let mut expected = Vec::new();
    for key in ["a/1", "a/2", "b", "b", "c ü"] {
        expected.push((key.to_owned(), begin(&harness, key).await));
    }
    let list = || harness.client.list_multipart_uploads().bucket(BUCKET);
    let mut found = Vec::new();
    let (mut key, mut upload) = (None, None);
    loop {
        let page =
            list().max_uploads(2).set_key_marker(key).set_upload_id_marker(upload).send().await.unwrap();
        let names = page
            .uploads()
            .iter()
            .map(|found| (found.key().unwrap().to_owned(), found.upload_id().unwrap().to_owned()));
        found.extend(names);
        if page.is_truncated() != Some(true) {
            break;
        }
        key = page.next_key_marker().map(str::to_owned);
        upload = page.next_upload_id_marker().map(str::to_owned);
    }
    assert_eq!(found, expected);
    let rolled = list().delimiter("/").max_uploads(1).send().await.unwrap();
    assert_eq!(rolled.common_prefixes()[0].prefix(), Some("a/"));
    assert_eq!(rolled.next_key_marker(), Some("a/"));
    let rest = list().delimiter("/").key_marker("a/").send().await.unwrap();
    assert_eq!(rest.uploads().len(), 3);
    let encoded =
        list().prefix("c").encoding_type(aws_sdk_s3::types::EncodingType::Url).send().await.unwrap();
    assert_eq!(encoded.uploads()[0].key(), Some("c%20%C3%BC"));
    assert!(list().max_uploads(0).send().await.unwrap().uploads().is_empty());
}

//! Uploads in parts: out of order, replaced, completed, dropped, interrupted; copied from objects.

use futures::StreamExt;
use tidegate_protocols::objects::{
    Checksum, ChecksumAlgorithm, ChecksumKind, CompletedPart, Completion, Conditions, CopySource, Digests,
    NewObject, ObjectError, ObjectView, PART_BYTES_MIN, PartCopy, PartName, PartQuery, UploadQuery, sums,
};

use crate::scene::{FLAT, Given, Scene, TREE, admin, get, name};
use crate::support::noise;

const PART: usize = PART_BYTES_MIN as usize;

async fn begin(scene: &Scene, bucket: &str, key: &str, new: NewObject) -> String {
    scene.objects.create_upload(&admin(), &name(bucket, key), new).await.unwrap()
}

fn part(bucket: &str, key: &str, upload: &str, number: u16) -> PartName {
    PartName { object: name(bucket, key), upload: upload.into(), number }
}

async fn put_part(scene: &Scene, part: &PartName, data: &[u8]) -> CompletedPart {
    let done = scene.objects.put_part(&admin(), part, None, &mut Given::whole(data)).await.unwrap();
    assert_eq!(done.digests.md5, sums::md5_hex(data));
    CompletedPart { number: part.number, etag: done.digests.md5, checksum: None }
}

async fn complete(
    scene: &Scene,
    (bucket, key): (&str, &str),
    upload: &str,
    parts: &[CompletedPart],
) -> Result<String, ObjectError> {
    let done = scene.objects.complete_upload(&admin(), &name(bucket, key), upload, &of(parts)).await;
    done.map(|done| done.etag)
}

fn of(parts: &[CompletedPart]) -> Completion {
    Completion { parts: parts.to_vec(), ..Completion::default() }
}

fn etag_of(parts: &[&[u8]]) -> String {
    let etags: Vec<u8> = parts
        .iter()
        .flat_map(|part| u128::from_str_radix(&sums::md5_hex(part), 16).unwrap().to_be_bytes())
        .collect();
    format!("{}-{}", sums::md5_hex(&etags), parts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_any_order_become_one_object_and_nothing_of_them_is_left() {
    let mut scene = Scene::new().await;
    let (one, two, three) = (noise(1, PART), noise(2, PART + 17), noise(3, 1000));
    for bucket in [FLAT, TREE] {
        let used = scene.namespace(bucket).share().usage();
        let upload = begin(&scene, bucket, "a/big", NewObject::default()).await;
        let at = |number| part(bucket, "a/big", &upload, number);
        let last = put_part(&scene, &at(10_000), &three).await;
        put_part(&scene, &at(7), &noise(9, 500)).await;
        let second = put_part(&scene, &at(7), &two).await;
        scene.appliance.commit(bucket).await.unwrap();
        let first = put_part(&scene, &at(1), &one).await;
        put_part(&scene, &at(2), b"never named").await;
        assert_eq!(scene.get(bucket, "a/big").await, Err(ObjectError::NoSuchKey));
        let parts = [first, second, last];
        let etag = complete(&scene, (bucket, "a/big"), &upload, &parts).await.unwrap();
        assert_eq!(etag, etag_of(&[&one, &two, &three]));
        assert_eq!(complete(&scene, (bucket, "a/big"), &upload, &parts).await, Ok(etag), "asked again");
        let upload = begin(&scene, bucket, "twice", NewObject::default()).await;
        let last = [put_part(&scene, &part(bucket, "twice", &upload, 1), b"").await];
        let ask = || complete(&scene, (bucket, "twice"), &upload, &last);
        let (first, again) = tokio::join!(ask(), ask());
        assert!(first.is_ok() && first == again, "{first:?} {again:?}");
        scene.delete(bucket, "twice").await.unwrap();
        let bytes = scene.namespace(bucket).share().usage().bytes - used.bytes;
        assert_eq!(bytes, (one.len() + two.len() + three.len()) as u64);
        let info = scene.info(bucket, "a/big").await.unwrap();
        assert_eq!(info.parts.iter().collect::<Vec<_>>(), [one.len() as u64, two.len() as u64, 1000]);
        let query = UploadQuery { limit: 10, ..UploadQuery::default() };
        let uploads = scene.objects.uploads(&admin(), bucket, &query).await.unwrap();
        assert!(uploads.uploads.is_empty());
        scene.appliance.commit(bucket).await.unwrap();
    }
    scene.restart().await;
    let whole = [&one[..], &two, &three].concat();
    let (_away, objects) = scene.elsewhere().await;
    for bucket in [FLAT, TREE] {
        assert_eq!(scene.get(bucket, "a/big").await.unwrap(), whole);
        assert_eq!(get(&objects, bucket, "a/big").await.unwrap(), whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_parts_are_refused_by_name_and_the_upload_stays() {
    let scene = Scene::new().await;
    let upload = begin(&scene, FLAT, "key", NewObject::default()).await;
    let first = put_part(&scene, &part(FLAT, "key", &upload, 1), b"small").await;
    let second = put_part(&scene, &part(FLAT, "key", &upload, 2), b"last").await;
    let complete = async |parts: &[CompletedPart]| complete(&scene, (FLAT, "key"), &upload, parts).await;
    let small = ObjectError::PartTooSmall { number: 1, bytes: 5 };
    assert_eq!(complete(&[first.clone(), second.clone()]).await, Err(small));
    assert_eq!(complete(&[second.clone(), first.clone()]).await, Err(ObjectError::InvalidPartOrder));
    assert_eq!(complete(&[first.clone(), first.clone()]).await, Err(ObjectError::InvalidPartOrder));
    let wrong = CompletedPart { etag: "0".repeat(32), ..second.clone() };
    assert_eq!(complete(&[wrong]).await, Err(ObjectError::InvalidPart { number: 2 }));
    let absent = CompletedPart { number: 3, ..second.clone() };
    assert_eq!(complete(&[absent]).await, Err(ObjectError::InvalidPart { number: 3 }));
    assert!(matches!(complete(&[]).await, Err(ObjectError::InvalidArgument(_))));
    assert!(complete(&[second]).await.is_ok());
    assert_eq!(scene.get(FLAT, "key").await.unwrap(), b"last");
    let gone = scene.objects.abort_upload(&admin(), &name(FLAT, "key"), &upload).await;
    assert_eq!(gone, Err(ObjectError::NoSuchUpload));
    for id in ["", "zz", &"0".repeat(32), &"ü".repeat(16)] {
        let put = part(FLAT, "key", id, 1);
        let put = scene.objects.put_part(&admin(), &put, None, &mut Given::whole(b"x")).await;
        assert_eq!(put, Err(ObjectError::NoSuchUpload), "{id:?}");
    }
}

/// An object of one piece was not made by the upload that has no number.
#[tokio::test]
async fn no_upload_was_completed_that_there_never_was() {
    let scene = Scene::new().await;
    let one = [CompletedPart { number: 1, etag: sums::md5_hex(b"data"), checksum: None }];
    for bucket in [FLAT, TREE] {
        scene.put(bucket, "key", b"data").await.unwrap();
        for id in ["0".repeat(32), format!("{:016x}{:016x}", 0, 7), format!("{:016x}{:016x}", 7, 0)] {
            let done = complete(&scene, (bucket, "key"), &id, &one).await;
            assert_eq!(done, Err(ObjectError::NoSuchUpload), "{bucket} {id}");
        }
        assert_eq!(scene.get(bucket, "key").await.unwrap(), b"data");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_a_restart_and_at_another_site_and_goes_when_it_is_dropped() {
    let mut scene = Scene::new().await;
    let used = scene.namespace(FLAT).share().usage();
    let upload = begin(&scene, FLAT, "key", NewObject::default()).await;
    let first = put_part(&scene, &part(FLAT, "key", &upload, 1), &noise(1, PART)).await;
    scene.appliance.commit(FLAT).await.unwrap();
    scene.appliance.commit(TREE).await.unwrap();
    scene.restart().await;
    let second = put_part(&scene, &part(FLAT, "key", &upload, 2), b"end").await;
    let query = PartQuery { after: 0, limit: 1 };
    let parts = scene.objects.parts(&admin(), &name(FLAT, "key"), &upload, &query).await.unwrap();
    assert_eq!((parts.parts[0].etag.clone(), parts.more), (first.etag.clone(), true));
    let (_away, objects) = scene.elsewhere().await;
    objects.complete_upload(&admin(), &name(FLAT, "key"), &upload, &of(&[first])).await.unwrap();
    assert_eq!(get(&objects, FLAT, "key").await.unwrap(), noise(1, PART));
    scene.objects.abort_upload(&admin(), &name(FLAT, "key"), &upload).await.unwrap();
    let late = complete(&scene, (FLAT, "key"), &upload, &[second]).await;
    assert_eq!(late, Err(ObjectError::NoSuchUpload));
    assert_eq!(scene.namespace(FLAT).share().usage(), used);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_may_be_a_piece_of_an_object() {
    let scene = Scene::new().await;
    let data = noise(6, 2 * PART);
    scene.put(FLAT, "source", &data).await.unwrap();
    scene.put(TREE, "source", &data).await.unwrap();
    for from in [FLAT, TREE] {
        let upload = begin(&scene, FLAT, "key", NewObject::default()).await;
        let mut parts = Vec::new();
        for (number, range) in [(1, Some(100..100 + PART as u64)), (2, None)] {
            let source =
                CopySource { name: name(from, "source"), version: None, conditions: Conditions::default() };
            let copy = PartCopy { source, range };
            let at = part(FLAT, "key", &upload, number);
            let done = scene.objects.copy_part(&admin(), &at, &copy).await.unwrap();
            parts.push(CompletedPart { number, etag: done.digests.md5, checksum: None });
        }
        complete(&scene, (FLAT, "key"), &upload, &parts).await.unwrap();
        let wanted = [&data[100..100 + PART], &data[..]].concat();
        assert_eq!(scene.get(FLAT, "key").await.unwrap(), wanted);
        scene.appliance.commit(FLAT).await.unwrap();
        assert_eq!(scene.get(FLAT, "key").await.unwrap(), wanted);
    }
}

/// The checksums of the parts of an object, one at a time.
async fn part_sums(scene: &Scene, key: &str) -> Vec<String> {
    let object = scene.objects.open(&admin(), &name(FLAT, key), None).await.unwrap();
    let mut sums = Vec::new();
    for after in 0.. {
        let found = object.part_checksums(after, 1).await.unwrap();
        let Some(sum) = found.first() else { break };
        sums.push(sum.value.clone());
    }
    assert_eq!(object.part_checksums(0, 1000).await.unwrap().len(), sums.len());
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_parts_make_that_of_the_object() {
    let scene = Scene::new().await;
    let (one, two) = (noise(1, PART), noise(2, 12_345));
    for algorithm in ChecksumAlgorithm::ALL {
        for kind in [ChecksumKind::Full, ChecksumKind::Composite] {
            let new = NewObject { algorithm: Some(algorithm), checksum_kind: kind, ..NewObject::default() };
            let upload = begin(&scene, FLAT, "key", new).await;
            let mut parts = Vec::new();
            for (number, data) in [(1, &one), (2, &two)] {
                let (at, mut body) = (part(FLAT, "key", &upload, number), Given::summed(data, algorithm));
                let done = scene.objects.put_part(&admin(), &at, Some(algorithm), &mut body).await.unwrap();
                let (etag, checksum) = (done.digests.md5, done.digests.checksum);
                parts.push(CompletedPart { number, etag, checksum });
            }
            let (who, name) = (admin(), name(FLAT, "key"));
            let done = scene.objects.complete_upload(&who, &name, &upload, &of(&parts)).await.unwrap();
            let sums = [sums::of_bytes(algorithm, &one), sums::of_bytes(algorithm, &two)];
            let wanted = match kind {
                ChecksumKind::Composite => sums::composite(algorithm, &[&sums[0], &sums[1]]),
                ChecksumKind::Full => {
                    let whole = sums::of_bytes(algorithm, &[&one[..], &two].concat());
                    let known = sums::combined(algorithm, &[(&sums[0], PART as u64), (&sums[1], 12_345)]);
                    assert!(known.as_ref().is_none_or(|known| known.value == whole));
                    known
                }
            };
            assert_eq!(done.checksum, wanted, "{algorithm:?} {kind:?}");
            assert_eq!(scene.info(FLAT, "key").await.unwrap().checksum, wanted);
            let of_parts: &[String] = if wanted.is_some() { &sums } else { &[] };
            assert_eq!(part_sums(&scene, "key").await, of_parts, "{algorithm:?} {kind:?}");
            let source = CopySource { name, version: None, conditions: Conditions::default() };
            let (copy, new) = (crate::scene::name(FLAT, "copy"), NewObject::default());
            scene.objects.copy(&who, &source, &copy, new, true, true).await.unwrap();
            assert_eq!(part_sums(&scene, "copy").await, of_parts, "a copy has them too");
            let new = NewObject { algorithm: Some(ChecksumAlgorithm::Crc32), ..NewObject::default() };
            scene.objects.copy(&who, &source, &copy, new, true, true).await.unwrap();
            let kept = if algorithm == ChecksumAlgorithm::Crc32 { of_parts } else { &[] };
            assert_eq!(part_sums(&scene, "copy").await, kept, "but not those of another algorithm");
        }
    }
}

async fn copy_part(scene: &Scene, at: &PartName, range: Option<std::ops::Range<u64>>) -> Digests {
    let source = CopySource { name: name(FLAT, "source"), version: None, conditions: Conditions::default() };
    scene.objects.copy_part(&admin(), at, &PartCopy { source, range }).await.unwrap().digests
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_part_has_the_checksum_that_its_upload_names() {
    use ChecksumKind::{Composite, Full};
    let scene = Scene::new().await;
    let (source, own) = (noise(6, 2 * PART), noise(7, 99));
    scene.put(FLAT, "source", &source).await.unwrap();
    for (algorithm, checksum_kind) in [
        (ChecksumAlgorithm::Sha256, Composite),
        (ChecksumAlgorithm::Crc32, Composite),
        (ChecksumAlgorithm::Crc32c, Full),
    ] {
        let new = NewObject { algorithm: Some(algorithm), checksum_kind, ..NewObject::default() };
        let upload = begin(&scene, FLAT, "key", new).await;
        let at = |number| part(FLAT, "key", &upload, number);
        let (piece, whole) = (&source[10..10 + PART], &source[..]);
        let mut parts = Vec::new();
        for (number, range, bytes) in [(1, Some(10..10 + PART as u64), piece), (2, None, whole)] {
            let digests = copy_part(&scene, &at(number), range).await;
            assert_eq!(digests.md5, sums::md5_hex(bytes), "the ETag of bytes that were read is their MD5");
            let checksum = digests.checksum.unwrap();
            assert_eq!(checksum.value, sums::of_bytes(algorithm, bytes));
            parts.push(CompletedPart { number, etag: digests.md5, checksum: Some(checksum) });
        }
        let mut body = Given::summed(&own, algorithm);
        let done = scene.objects.put_part(&admin(), &at(3), Some(algorithm), &mut body).await.unwrap();
        let (etag, checksum) = (done.digests.md5, done.digests.checksum);
        parts.push(CompletedPart { number: 3, etag, checksum });
        let wrong =
            Checksum { value: sums::of_bytes(algorithm, b"else"), ..parts[0].checksum.clone().unwrap() };
        let mut wrong_parts = parts.clone();
        wrong_parts[0].checksum = Some(wrong);
        let refused = complete(&scene, (FLAT, "key"), &upload, &wrong_parts).await;
        assert_eq!(refused, Err(ObjectError::InvalidPart { number: 1 }));
        complete(&scene, (FLAT, "key"), &upload, &parts).await.unwrap();
        let found = scene.info(FLAT, "key").await.unwrap().checksum.expect("a checksum of the object");
        let bytes: [&[u8]; 3] = [piece, whole, &own];
        let values = bytes.map(|bytes| sums::of_bytes(algorithm, bytes));
        let expected = match checksum_kind {
            Full => sums::of_bytes(algorithm, &bytes.concat()),
            Composite => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                sums::composite(algorithm, &values).unwrap().value
            }
        };
        assert_eq!((found.algorithm, found.value), (algorithm, expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_completion_claims_of_copied_bytes_is_held_against_them() {
    let scene = Scene::new().await;
    let source = noise(6, 2 * PART);
    scene.put(FLAT, "source", &source).await.unwrap();
    // What is computed when a client names nothing: copied parts are not read for it.
    let (algorithm, name) = (ChecksumAlgorithm::Crc64Nvme, name(FLAT, "key"));
    let usual = || NewObject { algorithm: Some(algorithm), ..NewObject::default() };
    let upload = begin(&scene, FLAT, "key", usual()).await;
    let digests = copy_part(&scene, &part(FLAT, "key", &upload, 1), Some(0..PART as u64)).await;
    assert_eq!(digests.checksum, None);
    assert!(digests.md5.ends_with("-1"), "an ETag that is no MD5 says so");
    let value = |bytes: &[u8]| sums::of_bytes(algorithm, bytes);
    let sum = |value| Checksum { algorithm, kind: ChecksumKind::Full, value };
    let piece = &source[..PART];
    let named = |checksum| CompletedPart { number: 1, etag: digests.md5.clone(), checksum };
    let complete = async |part, whole| {
        let completion = Completion { checksum: whole, ..of(&[part]) };
        scene.objects.complete_upload(&admin(), &name, &upload, &completion).await
    };
    let wrong = sum(value(b"else"));
    let refused = complete(named(None), Some(wrong.clone())).await;
    assert_eq!(refused, Err(ObjectError::BadDigest("CRC64NVME")));
    let query = PartQuery { after: 0, limit: 10 };
    let kept = scene.objects.parts(&admin(), &name, &upload, &query).await.unwrap().parts.remove(0);
    assert_eq!(kept.checksum, Some(sum(value(piece))), "what was computed is not computed again");
    let refused = complete(named(Some(wrong)), None).await;
    assert_eq!(refused, Err(ObjectError::InvalidPart { number: 1 }));
    let other = ChecksumAlgorithm::Crc32;
    let unknown = Checksum { algorithm: other, ..sum(sums::of_bytes(other, piece)) };
    let refused = complete(named(Some(unknown)), None).await;
    assert_eq!(refused, Err(ObjectError::InvalidPart { number: 1 }), "nobody has verified it");
    let done = complete(named(Some(sum(value(piece)))), Some(sum(value(piece)))).await.unwrap();
    assert_eq!(done.checksum, Some(sum(value(piece))));

    let none = begin(&scene, FLAT, "key", NewObject::default()).await;
    let only = put_part(&scene, &part(FLAT, "key", &none, 1), b"x").await;
    let completion = Completion { checksum: Some(sum(value(b"x"))), ..of(&[only]) };
    let refused = scene.objects.complete_upload(&admin(), &name, &none, &completion).await;
    assert!(matches!(refused, Err(ObjectError::InvalidRequest(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_are_listed_by_key_and_age_in_pages() {
    let scene = Scene::new().await;
    let mut wanted = Vec::new();
    for key in ["a", "b/1", "b/1", "b/2", "c"] {
        wanted.push((key.to_owned(), begin(&scene, FLAT, key, NewObject::default()).await));
    }
    let mut found = Vec::new();
    let mut query = UploadQuery { limit: 2, ..UploadQuery::default() };
    loop {
        let page = scene.objects.uploads(&admin(), FLAT, &query).await.unwrap();
        found.extend(page.uploads.iter().map(|upload| (upload.key.clone(), upload.id.clone())));
        let last = page.uploads.last().unwrap();
        (query.after_key, query.after_upload) = (Some(last.key.clone()), Some(last.id.clone()));
        if !page.more {
            break;
        }
    }
    assert_eq!(found, wanted);
    let query = UploadQuery { limit: 10, delimiter: Some("/".into()), ..UploadQuery::default() };
    let page = scene.objects.uploads(&admin(), FLAT, &query).await.unwrap();
    assert_eq!((page.uploads.len(), page.prefixes), (2, vec!["b/".to_owned()]));
    let (mut seen, mut query) = (Vec::new(), UploadQuery { limit: 1, delimiter: Some("/".into()), ..query });
    loop {
        let page = scene.objects.uploads(&admin(), FLAT, &query).await.unwrap();
        let prefix = page.prefixes.first().map(|prefix| (prefix.clone(), None));
        let upload = page.uploads.first().map(|upload| (upload.key.clone(), Some(upload.id.clone())));
        let (key, id) = prefix.or(upload).unwrap();
        seen.push(key.clone());
        (query.after_key, query.after_upload) = (Some(key), id);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, ["a", "b/", "c"]);
    let query = UploadQuery { prefix: "b/".into(), limit: 10, ..UploadQuery::default() };
    assert_eq!(scene.objects.uploads(&admin(), FLAT, &query).await.unwrap().uploads.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_commits_at_the_same_time_lose_nothing() {
    let mut scene = Scene::new().await;
    let data = |number: u64| [noise(number, PART), noise(number + 1, 70_000)];
    let (appliance, stop) = (scene.appliance.clone(), tokio_util::sync::CancellationToken::new());
    let commits = tokio::spawn({
        let stop = stop.clone();
        async move {
            while !stop.is_cancelled() {
                appliance.commit(FLAT).await.unwrap();
            }
        }
    });
    let scene_ref = &scene;
    futures::stream::iter(0..12_u64)
        .for_each_concurrent(4, |number| async move {
            let key = format!("key-{number}");
            let upload = begin(scene_ref, FLAT, &key, NewObject::default()).await;
            let mut parts = Vec::new();
            for (at, data) in data(number).iter().enumerate() {
                parts.push(put_part(scene_ref, &part(FLAT, &key, &upload, at as u16 + 1), data).await);
            }
            complete(scene_ref, (FLAT, &key), &upload, &parts).await.unwrap();
        })
        .await;
    stop.cancel();
    commits.await.unwrap();
    for _ in 0..2 {
        scene.appliance.commit(FLAT).await.unwrap();
    }
    scene.restart().await;
    for number in 0..12 {
        let found = scene.get(FLAT, &format!("key-{number}")).await.unwrap();
        assert!(found == data(number).concat(), "key-{number}");
    }
    let usage = scene.namespace(FLAT).share().usage();
    assert_eq!(usage.bytes, 12 * (PART as u64 + 70_000));
}

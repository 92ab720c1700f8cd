//! An upload of as many parts as there may be: it is taken, listed in pages, completed and read by its parts, and not one part more.
//!
//! All parts but the last are copies of two objects, which share their bytes: the object has 50 GB and costs none of them.

use futures::StreamExt;
use tidegate_protocols::objects::{
    Conditions, CopySource, ObjectView, PART_BYTES_MIN, PART_NUMBER_MAX, PartCopy, PartName,
};

use crate::scene::{FLAT, Scene, admin, name};
use crate::support::noise;
use crate::wire::{Answer, Wire};

const LARGE: &str = "/backups/large";
/// What parts are copied from, those with an even number and those with an odd one.
const SOURCES: [&str; 2] = ["even", "odd"];
/// The last part.
const END: &[u8] = b"in the end";

fn bytes_of(number: u16) -> u64 {
    match number {
        PART_NUMBER_MAX => END.len() as u64,
        number => PART_BYTES_MIN + u64::from(number % 2),
    }
}

/// Copies all parts but the last, many at a time; their ETags, in quotes and in order. Not over the wire, where each would have a connection.
async fn copy_parts(scene: &Scene, upload: &str) -> Vec<String> {
    let copies = futures::stream::iter(1..PART_NUMBER_MAX).map(|number| {
        let object = name(FLAT, "large");
        let part = PartName { object, upload: upload.to_owned(), number };
        let source = name(FLAT, SOURCES[usize::from(number % 2)]);
        let source = CopySource { name: source, version: None, conditions: Conditions::default() };
        async move {
            let copy = PartCopy { source, range: None };
            scene.objects.copy_part(&admin(), &part, &copy).await.unwrap().digests.md5
        }
    });
    copies.buffered(64).map(|md5| format!("\"{md5}\"")).collect().await
}

/// A page of a listing of parts, as numbers and sizes.
fn parts_of(page: &Answer) -> Vec<(u16, u64)> {
    let (numbers, sizes) = (page.elements("PartNumber"), page.elements("Size"));
    assert_eq!(numbers.len(), sizes.len());
    let pairs = numbers.iter().zip(&sizes);
    pairs.map(|(number, size)| (number.parse().unwrap(), size.parse().unwrap())).collect()
}

/// All parts by their pages, and how many pages there were.
async fn listed(wire: &Wire, upload: &str) -> (Vec<(u16, u64)>, usize) {
    let (mut found, mut pages): (Vec<(u16, u64)>, _) = (Vec::new(), 0);
    loop {
        let after = found.last().map_or(0, |(number, _)| *number);
        let query = format!("part-number-marker={after}&uploadId={upload}");
        let page = wire.call("GET", LARGE, &query, &[], b"").await;
        found.extend(parts_of(&page));
        pages += 1;
        if page.element("IsTruncated") != "true" {
            return (found, pages);
        }
        assert_eq!(page.element("NextPartNumberMarker"), found.last().unwrap().0.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_parts_are_listed_in_pages_and_become_one_object() {
    let scene = Scene::new().await;
    let wire = Wire::start(&scene.objects);
    let odd = noise(1, PART_BYTES_MIN as usize + 1);
    for (source, data) in SOURCES.into_iter().zip([&odd[1..], &odd[..]]) {
        assert_eq!(wire.put(&format!("/{FLAT}/{source}"), data).await.status, 200);
    }
    let before = scene.namespace(FLAT).share().usage();
    let upload = wire.begin_upload(LARGE).await;
    let last = wire.put_part(LARGE, &upload, PART_NUMBER_MAX, END).await;
    let beyond = wire.put_part(LARGE, &upload, PART_NUMBER_MAX + 1, END).await;
    assert_eq!(beyond.error(), (400, "InvalidArgument".to_owned()));
    let etags = copy_parts(&scene, &upload).await;

    let wanted: Vec<_> = (1..=PART_NUMBER_MAX).map(|number| (number, bytes_of(number))).collect();
    assert_eq!(listed(&wire, &upload).await, (wanted, 10));
    let query = format!("max-parts=3&part-number-marker=4999&uploadId={upload}");
    let page = wire.call("GET", LARGE, &query, &[], b"").await;
    assert_eq!(parts_of(&page), [5000, 5001, 5002].map(|number| (number, bytes_of(number))));
    assert_eq!(page.element("IsTruncated"), "true");

    let mut parts: Vec<(u16, String)> = (1..).zip(etags).collect();
    parts.push((PART_NUMBER_MAX, last.header("etag").expect("an ETag").to_owned()));
    let one_more = [&parts[..], &[(PART_NUMBER_MAX + 1, "0".repeat(32))]].concat();
    assert_eq!(wire.complete(LARGE, &upload, &one_more).await.status, 400);
    let done = wire.complete(LARGE, &upload, &parts).await;
    assert!(done.status == 200 && done.element("ETag").contains("-10000"), "{done:?}");

    let total: u64 = (1..=PART_NUMBER_MAX).map(bytes_of).sum();
    let usage = scene.namespace(FLAT).share().usage();
    assert_eq!((usage.bytes, usage.inodes), (before.bytes + total, before.inodes + 1), "no part is left");
    let head = wire.call("HEAD", LARGE, "", &[], b"").await;
    assert_eq!(head.header("content-length"), Some(total.to_string().as_str()));
    let head = wire.call("HEAD", LARGE, "partNumber=10000", &[], b"").await;
    assert_eq!(
        (head.header("x-amz-mp-parts-count"), head.header("content-length")),
        (Some("10000"), Some("10"))
    );
    let tail = wire.call("GET", LARGE, "", &[("range", "bytes=-15")], b"").await;
    assert_eq!((tail.status, tail.body), (206, [&odd[odd.len() - 5..], END].concat()));
}

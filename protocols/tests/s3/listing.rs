//! Listings of keys: both versions against a naive model, and their edges.

use std::collections::BTreeSet;

use aws_sdk_s3::types::EncodingType;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

use crate::harness::{BUCKET, Harness, refused};

/// What a listing gave: keys, and prefixes.
type Found = (Vec<String>, Vec<String>);

/// What a listing should give, made the slow way and apart from the view.
fn model(keys: &BTreeSet<String>, prefix: &str, delimiter: &str, after: &str) -> Found {
    let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
    for key in keys.iter().filter(|key| key.starts_with(prefix)) {
        let rest = &key[prefix.len()..];
        match rest.find(delimiter).filter(|_| !delimiter.is_empty()) {
            Some(at) => _ = prefixes.insert(key[..prefix.len() + at + delimiter.len()].to_owned()),
            None => objects.push(key.clone()),
        }
    }
    objects.retain(|key| key.as_str() > after);
    prefixes.retain(|name| name.as_str() > after);
    (objects, prefixes.into_iter().collect())
}

async fn list_v1(harness: &Harness, prefix: &str, delimiter: &str, after: &str, limit: i32) -> Found {
    let (mut keys, mut prefixes, mut marker) = (Vec::new(), Vec::new(), after.to_owned());
    loop {
        let request = harness.client.list_objects().bucket(BUCKET).prefix(prefix).delimiter(delimiter);
        let page = request.marker(&marker).max_keys(limit).send().await.unwrap();
        keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        prefixes.extend(page.common_prefixes().iter().filter_map(|found| found.prefix().map(str::to_owned)));
        assert!(page.contents().len() + page.common_prefixes().len() <= limit as usize);
        if page.is_truncated() != Some(true) {
            return (keys, prefixes);
        }
        assert_eq!(page.next_marker().is_some(), !delimiter.is_empty());
        marker = page.next_marker().map_or_else(|| keys.last().unwrap().clone(), str::to_owned);
    }
}

async fn list_v2(harness: &Harness, prefix: &str, delimiter: &str, after: &str, limit: i32) -> Found {
    let (mut keys, mut prefixes, mut token) = (Vec::new(), Vec::new(), None);
    loop {
        let request = harness.client.list_objects_v2().bucket(BUCKET).prefix(prefix).delimiter(delimiter);
        let request = request.start_after(after).max_keys(limit).set_continuation_token(token);
        let page = request.send().await.unwrap();
        keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        prefixes.extend(page.common_prefixes().iter().filter_map(|found| found.prefix().map(str::to_owned)));
        let count = page.contents().len() + page.common_prefixes().len();
        assert_eq!(page.key_count(), Some(count as i32));
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(token.is_some(), page.is_truncated() == Some(true));
        if token.is_none() {
            return (keys, prefixes);
        }
    }
}

/// Reproduce a failure with `TIDEGATE_SEED=<the printed seed>`.
#[test]
fn pages_of_both_versions_join_to_the_model() {
    let seed = std::env::var("TIDEGATE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).unwrap();
        u64::from_be_bytes(bytes)
    });
    println!("TIDEGATE_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let key = "[ab/ü+&]{1,5}";
    let inputs =
        (prop::collection::btree_set(key, 0..40), "[ab/]{0,2}", "(|/|b|a/)", "[ab/ü]{0,3}", 1..7_i32);
    let config = Config { cases: 40, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    let outcome = TestRunner::new(config).run(&inputs, |(keys, prefix, delimiter, after, limit)| {
        runtime.block_on(async {
            let harness = Harness::start().await;
            harness.memory.fill(BUCKET, keys.iter().cloned());
            let expected = model(&keys, &prefix, &delimiter, &after);
            let first = list_v1(&harness, &prefix, &delimiter, &after, limit).await;
            prop_assert_eq!(&first, &expected);
            let second = list_v2(&harness, &prefix, &delimiter, &after, limit).await;
            prop_assert_eq!(&second, &expected);
            Ok(())
        })
    });
    outcome.unwrap();
}

#[tokio::test]
async fn a_listing_says_what_is_known_of_each_key() {
    let harness = Harness::start().await;
    let etag = harness.put("key", "hello").await;
    let list = || harness.client.list_objects_v2().bucket(BUCKET);
    let page = list().send().await.unwrap();
    let object = &page.contents()[0];
    assert_eq!((object.key(), object.size(), object.e_tag()), (Some("key"), Some(5), Some(etag.as_str())));
    assert_eq!(object.storage_class().unwrap().as_str(), "STANDARD");
    assert!(object.last_modified().is_some() && object.owner().is_none());
    assert_eq!(page.max_keys(), Some(1000));
    let page = list().fetch_owner(true).send().await.unwrap();
    assert!(page.contents()[0].owner().is_some());
    let first = harness.client.list_objects().bucket(BUCKET).send().await.unwrap();
    assert!(first.contents()[0].owner().is_some());
}

#[tokio::test]
async fn the_edges_of_listings_are_those_of_s3() {
    let harness = Harness::start().await;
    harness.memory.fill(BUCKET, (0..1100).map(|key| format!("{key:04}")));
    let list = || harness.client.list_objects_v2().bucket(BUCKET);
    let all = list().max_keys(5000).send().await.unwrap();
    assert_eq!((all.key_count(), all.max_keys(), all.is_truncated()), (Some(1000), Some(1000), Some(true)));
    let none = list().max_keys(0).send().await.unwrap();
    assert_eq!((none.key_count(), none.is_truncated()), (Some(0), Some(false)));
    assert_eq!(refused(list().max_keys(-1).send().await), ("InvalidArgument".into(), 400));
    let first = harness.client.list_objects().bucket(BUCKET).max_keys(-1).send().await;
    assert_eq!(refused(first), ("InvalidArgument".into(), 400));
    let first = list().continuation_token("").max_keys(1).send().await.unwrap();
    assert_eq!((first.contents()[0].key(), first.continuation_token()), (Some("0000"), Some("")));
    let token = all.next_continuation_token().unwrap();
    assert_eq!(list().continuation_token(token).send().await.unwrap().key_count(), Some(100));
    for wrong in ["AAAA", &token[1..]] {
        let wrong = list().continuation_token(wrong).send().await;
        assert_eq!(refused(wrong), ("InvalidArgument".into(), 400));
    }
    let other = list().prefix("1").continuation_token(token).send().await;
    assert_eq!(refused(other), ("InvalidArgument".into(), 400));
    let encoding = list().encoding_type(EncodingType::from("rot13")).send().await;
    assert_eq!(refused(encoding), ("InvalidArgument".into(), 400));
    let absent = harness.client.list_objects_v2().bucket("absent").max_keys(0).send().await;
    assert_eq!(refused(absent), ("NoSuchBucket".into(), 404));
}

#[tokio::test]
async fn names_are_encoded_when_that_is_asked_for() {
    let harness = Harness::start().await;
    harness.memory.fill(BUCKET, ["a b/c", "ü+\u{1}"].map(str::to_owned));
    let list = harness.client.list_objects_v2().bucket(BUCKET).encoding_type(EncodingType::Url);
    let page = list.delimiter(" ").start_after("A ").send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("%C3%BC%2B%01"));
    assert_eq!(page.common_prefixes()[0].prefix(), Some("a%20"));
    assert_eq!((page.delimiter(), page.start_after()), (Some("%20"), Some("A%20")));
    assert_eq!(page.encoding_type(), Some(&EncodingType::Url));
    let list = harness.client.list_objects().bucket(BUCKET).encoding_type(EncodingType::Url);
    let page = list.marker("A ").send().await.unwrap();
    assert_eq!(page.contents()[0].key(), Some("a%20b/c"));
    assert_eq!(page.marker(), Some("A%20"));
}

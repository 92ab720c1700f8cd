//! Listings against a naive model: pages of any size from anywhere, with any prefix and delimiter, of keys whose
//! letters lie around the slash.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tidegate_protocols::objects::{
    ListEntry, ListQuery, Metadata, NewObject, ObjectView, Tags, VersionEntry, VersionQuery,
};

use crate::scene::{FLAT, Scene, TREE, admin};

/// What S3 says a page holds (API reference, ListObjectsV2), over all keys in memory.
fn model(keys: &BTreeSet<String>, query: &ListQuery) -> (Vec<String>, bool) {
    if query.limit == 0 {
        return (Vec::new(), false);
    }
    let after = query.after.clone().unwrap_or_default();
    let mut names: Vec<String> = Vec::new();
    for key in keys.iter().filter(|key| key.starts_with(&query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let cut =
            query.delimiter.as_ref().and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        let name = cut.map_or(key.as_str(), |cut| &key[..query.prefix.len() + cut]);
        if (query.after.is_none() || name > after.as_str()) && names.last().map(String::as_str) != Some(name)
        {
            names.push(name.to_owned());
        }
    }
    let more = names.len() > query.limit;
    names.truncate(query.limit);
    (names, more)
}

/// Keys without what no path can be, none of which is a folder of another.
fn as_paths(keys: &BTreeSet<String>) -> BTreeSet<String> {
    let is_path =
        |key: &&String| key.split('/').all(|name| !matches!(name, "" | "." | "..")) && !key.is_empty();
    let paths: BTreeSet<String> = keys.iter().filter(is_path).cloned().collect();
    let is_folder = |key: &String| paths.iter().any(|other| other.starts_with(&format!("{key}/")));
    paths.iter().filter(|key| !is_folder(key)).cloned().collect()
}

fn text() -> impl Strategy<Value = String> {
    "[a./0! -]{0,4}"
}

async fn check(keys: &BTreeSet<String>, queries: &[ListQuery]) -> Result<(), TestCaseError> {
    let scene = Scene::new().await;
    for (bucket, keys) in [(FLAT, keys.clone()), (TREE, as_paths(keys))] {
        for key in &keys {
            scene
                .put(bucket, key, b"")
                .await
                .map_err(|error| TestCaseError::fail(format!("{key:?}: {error}")))?;
        }
        for committed in [false, true] {
            for query in queries {
                let page = scene.list(bucket, query).await;
                let names: Vec<_> = page.entries.iter().map(|entry| entry.name().to_owned()).collect();
                prop_assert_eq!(
                    (names, page.more),
                    model(&keys, query),
                    "{} {:?} of {:?}",
                    bucket,
                    query,
                    &keys
                );
            }
            if !committed {
                scene.appliance.commit(bucket).await.unwrap();
            }
        }
    }
    Ok(())
}

#[test]
fn pages_are_those_of_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let delimiter =
        prop_oneof![Just(None), Just(Some("/".to_owned())), Just(Some("a".into())), Just(Some("!/".into()))];
    let query = (text(), delimiter, proptest::option::of(text()), 0..8_usize)
        .prop_map(|(prefix, delimiter, after, limit)| ListQuery { prefix, delimiter, after, limit });
    let keys = proptest::collection::btree_set("[a./0! -]{1,6}", 0..40);
    let mut runner = TestRunner::new(Config {
        cases: 12,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&(keys, proptest::collection::vec(query, 60)), |(keys, queries)| {
            runtime.block_on(check(&keys, &queries))
        })
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delimiter_jumps_over_what_it_rolls_up() {
    let scene = Scene::new().await;
    for folder in 0..3 {
        for key in 0..700 {
            scene.put(FLAT, &format!("folder-{folder}/{key:04}"), b"").await.unwrap();
        }
    }
    let query = ListQuery { delimiter: Some("/".into()), limit: 2, ..ListQuery::default() };
    let page = scene.list(FLAT, &query).await;
    let names: Vec<_> = page.entries.iter().map(|entry| entry.name().to_owned()).collect();
    assert_eq!((names, page.more), (vec!["folder-0/".into(), "folder-1/".into()], true));
    let query = ListQuery { prefix: "folder-1/".into(), limit: 1000, ..ListQuery::default() };
    assert_eq!(scene.list(FLAT, &query).await.entries.len(), 700);
}

/// A page of a thousand objects takes no memory for what clients said of each.
#[tokio::test]
async fn lists_hold_what_they_show_of_an_object_and_no_more() {
    let scene = Scene::new().await;
    let headers = [("content-type".to_owned(), "text/plain".to_owned())].into();
    let metadata = Metadata { headers, user: [("colour".to_owned(), "green".to_owned())].into() };
    let tags = Tags::from([("tag".to_owned(), "a".to_owned())]);
    for bucket in [FLAT, TREE] {
        let new = NewObject {
            metadata: metadata.clone(),
            tags: tags.clone(),
            storage_class: Some("STANDARD_IA".into()),
            ..NewObject::default()
        };
        let etag = scene.put_with(bucket, "key", b"data", new).await.unwrap().etag;
        let keys = scene.list(bucket, &ListQuery { limit: 9, ..ListQuery::default() }).await.entries;
        let query = VersionQuery { limit: 9, ..VersionQuery::default() };
        let versions = scene.objects.versions(&admin(), bucket, &query).await.unwrap().entries;
        let (ListEntry::Object { info: of_key, .. }, VersionEntry::Object { info: of_version, .. }) =
            (&keys[0], &versions[0])
        else {
            panic!("{keys:?} {versions:?}")
        };
        for info in [of_key, of_version] {
            assert_eq!(
                (info.size, &info.etag, info.storage_class.as_deref()),
                (4, &etag, Some("STANDARD_IA"))
            );
            assert_eq!((&info.metadata, &info.tags), (&Metadata::default(), &Tags::new()), "{bucket}");
        }
        let info = scene.info(bucket, "key").await.unwrap();
        assert_eq!((info.metadata, info.tags), (metadata.clone(), tags.clone()));
    }
}

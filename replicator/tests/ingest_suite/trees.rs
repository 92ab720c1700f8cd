//! Goal: a tree that is put into packs comes back from its root alone, in few requests.
//! Method: maps with short and long values, written through an ingest, read from local packs and from a
//! store; requests are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use tidegate_replicator::fetch::{
    ChunkReader, FrameSource, LocalFrames, NoIndex, ReadOptions, StoreFrames, StoreFramesOptions, TreeReader,
};
use tidegate_replicator::ingest::{IngestReport, TreeSink};
use tidegate_replicator::store::MemoryStore;
use tidegate_replicator::tree::{Edit, NodeSource, Root, TreeError, Value, apply, get};

use super::support::{Packs, noise, put_packs};

type Map = BTreeMap<Bytes, Value>;

/// Many short values, some so long that they are chunks of their own.
fn map() -> Map {
    (0..5000_u64)
        .map(|number| {
            let length = if number % 100 == 0 { 5000 } else { 40 };
            (Bytes::from(format!("key {number:06}")), Value::plain(noise(number, length)))
        })
        .collect()
}

fn reader(packs: &Packs, source: Arc<dyn FrameSource>) -> TreeReader {
    let keys = Arc::clone(&packs.keys);
    let chunks = ChunkReader::new(keys, source, Arc::new(NoIndex), ReadOptions::default());
    TreeReader::new(Arc::new(chunks), 8 << 20)
}

fn local(packs: &Packs) -> TreeReader {
    reader(packs, Arc::new(LocalFrames::new(packs.folder.path().to_owned())))
}

async fn put(packs: &Packs, base: &Root, source: &dyn NodeSource, changes: &Map) -> (Root, IngestReport) {
    let mut sink = TreeSink::new(packs.start(packs.options()));
    let edits = changes.iter().map(|(key, value)| Ok(Edit::Put(key.clone(), value.clone())));
    let root = apply(base, &[], stream::iter(edits), source, &mut sink, &*packs.keys).await.expect("applied");
    let ingest = sink.into_ingest().await.expect("given back");
    (root, ingest.finish().expect("finished"))
}

async fn assert_holds(root: &Root, source: &dyn NodeSource, map: &Map) {
    for (key, value) in map {
        assert_eq!(get(root, key, source).await.expect("readable").as_ref(), Some(value));
    }
    assert_eq!(get(root, b"no such key", source).await.expect("readable"), None);
}

#[tokio::test]
async fn a_tree_comes_back_from_its_root_by_hints_alone() {
    let (packs, map) = (Packs::new(), map());
    let (root, _) = put(&packs, &Root::EMPTY, &local(&packs), &map).await;
    assert!(root.at.is_some());
    assert_holds(&root, &local(&packs), &map).await;
}

#[tokio::test]
async fn an_edit_stores_only_the_path_to_it() {
    let (packs, mut map) = (Packs::new(), map());
    let (root, first) = put(&packs, &Root::EMPTY, &local(&packs), &map).await;
    let change = Map::from([(Bytes::from("key 002500"), Value::plain("changed"))]);
    let (edited, report) = put(&packs, &root, &local(&packs), &change).await;
    assert!(report.unique_bytes * 10 < first.unique_bytes, "{report:?}");
    map.extend(change);
    assert_holds(&edited, &local(&packs), &map).await;
}

#[tokio::test]
async fn writing_the_same_map_again_stores_nothing() {
    let (packs, map) = (Packs::new(), map());
    let (root, _) = put(&packs, &Root::EMPTY, &local(&packs), &map).await;
    let (again, report) = put(&packs, &Root::EMPTY, &local(&packs), &map).await;
    assert_eq!((again.id, report.packs), (root.id, 0));
}

#[tokio::test]
async fn a_cold_lookup_costs_a_request_a_level_at_most() {
    let (packs, map) = (Packs::new(), map());
    let (root, _) = put(&packs, &Root::EMPTY, &local(&packs), &map).await;
    let store = MemoryStore::new();
    put_packs(&store, &packs.known.take()).await;
    let frames = Arc::new(StoreFrames::new(Arc::new(store), StoreFramesOptions::default()));
    let cold = reader(&packs, Arc::clone(&frames) as _);
    get(&root, b"key 001234", &cold).await.expect("readable").expect("there");
    assert!(frames.counts().requests <= u64::from(root.height), "{:?}", frames.counts());
    let before = frames.counts();
    get(&root, b"key 001234", &cold).await.expect("readable").expect("there");
    assert_eq!(frames.counts(), before);
}

#[tokio::test]
async fn a_lost_pack_is_a_named_error_of_the_tree() {
    let (packs, map) = (Packs::new(), map());
    let (root, _) = put(&packs, &Root::EMPTY, &local(&packs), &map).await;
    for pack in packs.known.take() {
        std::fs::remove_file(pack.path).expect("removed");
    }
    let error = get(&root, b"key 001234", &local(&packs)).await.expect_err("lost");
    assert!(matches!(error, TreeError::Missing { id } if id == root.id), "{error}");
}

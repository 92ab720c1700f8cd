//! A map of a million entries: what is read and written is what must be, and no more.

use std::collections::HashSet;

use bytes::Bytes;
use tidegate_replicator::tree::{ChunkRef, Edit, Root, TreeError, Value, Visitor, get, walk};

use crate::support::{Bench, same_root};

const ENTRIES: u32 = 1_000_000;

fn key(number: u32) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

fn put(number: u32) -> Edit {
    Edit::Put(key(number), Value::plain(number.to_le_bytes().repeat(8)))
}

async fn million(bench: &Bench) -> Root {
    bench.apply(&Root::EMPTY, &[], (0..ENTRIES).map(put)).await.expect("builds")
}

#[tokio::test]
async fn a_million_entries_cost_what_they_must() {
    let bench = Bench::new();
    let root = million(&bench).await;
    assert_eq!((root.entries, root.height), (u64::from(ENTRIES), 3));
    let nodes = bench.nodes.puts();
    assert!((7000..9000).contains(&nodes), "128 entries a node on average, not {nodes} nodes");

    a_lookup_reads_one_node_a_level(&bench, &root).await;
    few_edits_touch_few_nodes(&bench, &root).await;
    a_range_is_dropped_unread(&bench, &root).await;
    a_scan_reads_each_leaf_once_and_none_beyond_its_bound(&bench, &root).await;
    a_walk_finds_all_nodes_once(&bench, &root, nodes).await;
}

async fn a_lookup_reads_one_node_a_level(bench: &Bench, root: &Root) {
    for number in (0..ENTRIES).step_by(99_991) {
        let before = bench.nodes.reads();
        let value = get(root, &key(number), &bench.nodes).await.expect("reads");
        assert_eq!(value, Some(Value::plain(number.to_le_bytes().repeat(8))));
        assert_eq!(bench.nodes.reads() - before, u64::from(root.height));
    }
    assert_eq!(get(root, &key(ENTRIES), &bench.nodes).await.expect("reads"), None);
}

async fn few_edits_touch_few_nodes(bench: &Bench, root: &Root) {
    let (reads, puts) = (bench.nodes.reads(), bench.nodes.puts());
    let numbers = || (0..100).map(|step| step * 9973);
    let edits = numbers().map(|number| Edit::Put(key(number), Value::plain("changed")));
    let changed = bench.apply(root, &[], edits).await.expect("applies");
    let (reads, puts) = (bench.nodes.reads() - reads, bench.nodes.puts() - puts);
    assert!(puts <= 100 + 63 + 1, "a hundred leaves and what is above them, not {puts} nodes");
    assert!(reads <= 500, "leaves, and the nodes above them once a level: not {reads} nodes");

    let reads = bench.nodes.reads();
    assert_eq!(bench.diff(root, &changed).await.len(), 100);
    assert!(bench.nodes.reads() - reads <= 2 * puts, "a diff reads the changed nodes of both trees");

    let back = bench.apply(&changed, &[], numbers().map(put)).await.expect("applies");
    assert!(same_root(&back, root), "undone edits give the old root");
}

async fn a_range_is_dropped_unread(bench: &Bench, root: &Root) {
    let reads = bench.nodes.reads();
    let range = key(100_000)..key(900_000);
    let rest = bench.apply(root, &[range], []).await.expect("applies");
    let reads = bench.nodes.reads() - reads;
    assert_eq!(rest.entries, 200_000);
    assert!(reads <= 40, "only paths to the ends of the range are read: not {reads} nodes");
    let built = bench.apply(&Root::EMPTY, &[], (0..100_000).chain(900_000..ENTRIES).map(put)).await;
    assert!(same_root(&rest, &built.expect("builds")));
    let reads = bench.nodes.reads();
    let none = bench.apply(root, &[Bytes::new()..key(ENTRIES)], []).await.expect("applies");
    assert_eq!(none, Root::EMPTY);
    assert!(bench.nodes.reads() - reads <= 3, "only the root is read, once a level");
}

async fn a_scan_reads_each_leaf_once_and_none_beyond_its_bound(bench: &Bench, root: &Root) {
    let reads = bench.nodes.reads();
    let mut cursor = bench.cursor(root).until(key(100_000));
    let mut count = 0_u32;
    while let Some((found, _)) = cursor.next().await.expect("reads") {
        assert_eq!(found, key(count));
        count += 1;
    }
    assert_eq!(count, 100_000);
    let reads = bench.nodes.reads() - reads;
    assert!((500..1100).contains(&reads), "about 780 leaves, not {reads} nodes");

    let reads = bench.nodes.reads();
    let mut cursor = bench.cursor(root);
    cursor.seek(&key(500_000)).await.expect("seeks");
    for _ in 0..10 {
        cursor.next().await.expect("reads");
    }
    assert!(bench.nodes.reads() - reads <= 6, "a short scan reads little ahead");
}

struct Census {
    nodes: HashSet<ChunkRef>,
    visits: u64,
}

impl Visitor for Census {
    fn node(&mut self, node: &ChunkRef, _level: u8) -> bool {
        self.visits += 1;
        self.nodes.insert(*node)
    }

    fn value(&mut self, _key: &[u8], _value: &ChunkRef) {
        panic!("no payload is long");
    }

    fn data(&mut self, _key: &[u8], _chunk: &ChunkRef) {
        panic!("no value refers to data");
    }

    fn failed(
        &mut self,
        _node: &ChunkRef,
        _above: Option<&[u8]>,
        _last: Option<&[u8]>,
        error: TreeError,
    ) -> Result<(), TreeError> {
        Err(error)
    }
}

async fn a_walk_finds_all_nodes_once(bench: &Bench, root: &Root, nodes: u64) {
    let mut census = Census { nodes: HashSet::new(), visits: 0 };
    walk(root, &bench.nodes, &mut census).await.expect("walks");
    assert_eq!((census.nodes.len() as u64, census.visits), (nodes, nodes));
    let unhinted = census.nodes.iter().filter(|node| node.at.is_none()).count();
    assert_eq!(unhinted, 0, "every node is referred to with a hint");

    let reads = bench.nodes.reads();
    walk(root, &bench.nodes, &mut census).await.expect("walks");
    assert_eq!(bench.nodes.reads(), reads, "a visitor that knows the root needs nothing read");
}

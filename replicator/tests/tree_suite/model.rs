//! Random edits: the tree must hold what a sorted map holds, and be the tree that is built from it.

use std::ops::Range;

use bytes::Bytes;
use proptest::prelude::*;
use tidegate_chunker::ChunkId;
use tidegate_replicator::tree::{Change, ChunkRef, Edit, Root, Value, get, get_many};

use crate::support::{Bench, Map, same_root};

/// Keys from a small space, so that edits meet; some long, some sharing prefixes.
fn key() -> impl Strategy<Value = Bytes> {
    let number = 0..20_000_u32;
    (number, 0..40_u8).prop_map(|(number, shape)| match shape {
        0 => Bytes::new(),
        1 => format!("{:04}/{}", number % 50, "x".repeat((number % 4000) as usize)).into(),
        2 => Bytes::from_static(&[0xff]),
        3..20 => Bytes::copy_from_slice(&number.to_be_bytes()),
        _ => format!("{:04}/{number}", number % 50).into(),
    })
}

fn value() -> impl Strategy<Value = Value> {
    let payload = prop_oneof![20 => 0..60_usize, 2 => 0..1200_usize, 1 => 1024..5000_usize];
    (payload, any::<u8>(), prop_oneof![9 => 0..2_u8, 1 => 0..=255_u8]).prop_map(|(bytes, fill, refs)| Value {
        payload: vec![fill; bytes].into(),
        refs: (0..refs).map(|place| ChunkRef::new(ChunkId::new([fill ^ place; 32]))).collect(),
    })
}

/// One call of `apply`.
#[derive(Clone, Debug)]
struct Round {
    ranges: Vec<Range<Bytes>>,
    edits: Vec<Edit>,
}

fn round(edits_max: usize) -> impl Strategy<Value = Round> {
    let bounds = proptest::collection::btree_set(key(), 0..6);
    let edits =
        proptest::collection::btree_map(key(), proptest::option::weighted(0.7, value()), 0..edits_max);
    (bounds, edits).prop_map(|(bounds, edits)| {
        let bounds: Vec<_> = bounds.into_iter().collect();
        let ranges = bounds.chunks_exact(2).map(|pair| pair[0].clone()..pair[1].clone()).collect();
        let edit = |(key, value)| match value {
            Some(value) => Edit::Put(key, value),
            None => Edit::Delete(key),
        };
        Round { ranges, edits: edits.into_iter().map(edit).collect() }
    })
}

fn carry_out(map: &mut Map, round: &Round) {
    map.retain(|key, _| !round.ranges.iter().any(|range| range.contains(key)));
    for edit in &round.edits {
        match edit.clone() {
            Edit::Put(key, value) => drop(map.insert(key, value)),
            Edit::Delete(key) => drop(map.remove(&key)),
        }
    }
}

fn expected_changes(before: &Map, after: &Map) -> Vec<Change> {
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let change = |key: &Bytes| {
        let (before, after) = (before.get(key).cloned(), after.get(key).cloned());
        (before != after).then_some(Change { key: key.clone(), before, after })
    };
    keys.into_iter().filter_map(change).collect()
}

async fn check(rounds: Vec<Round>, probes: Vec<Bytes>) {
    let bench = Bench::new();
    let (mut map, mut root) = (Map::new(), Root::EMPTY);
    for round in rounds {
        let (map_before, root_before) = (map.clone(), root);
        carry_out(&mut map, &round);
        root = bench.apply(&root, &round.ranges, round.edits).await.expect("applies");
        assert!(same_root(&root, &bench.build(&map).await), "applied and built trees differ");
        assert_eq!(root.entries, map.len() as u64);
        assert_eq!(bench.contents(&root).await, map);
        assert_eq!(bench.diff(&root_before, &root).await, expected_changes(&map_before, &map));
        for probes in [probes.clone(), sorted(probes.clone()), sorted(map.keys().cloned().collect())] {
            let values: Vec<_> = probes.iter().map(|probe| map.get(probe).cloned()).collect();
            assert_eq!(get_many(&root, &probes, &bench.nodes).await.expect("reads"), values);
        }
        let mut cursor = bench.cursor(&root);
        for probe in &probes {
            assert_eq!(get(&root, probe, &bench.nodes).await.expect("reads").as_ref(), map.get(probe));
            cursor.seek(probe).await.expect("seeks");
            let next = map.range(probe.clone()..).next().map(|(key, value)| (key.clone(), value.clone()));
            assert_eq!(cursor.next().await.expect("reads"), next);
        }
    }
}

fn sorted(mut keys: Vec<Bytes>) -> Vec<Bytes> {
    keys.sort_unstable();
    keys
}

fn run(check: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("starts");
    runtime.block_on(check);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_tree_holds_what_a_sorted_map_holds(
        first in round(3000),
        rounds in proptest::collection::vec(round(40), 1..8),
        probes in proptest::collection::vec(key(), 20),
    ) {
        run(check(std::iter::once(first).chain(rounds).collect(), probes));
    }

    #[test]
    fn a_tree_grows_and_shrinks_like_one_built_anew(
        rounds in proptest::collection::vec(round(800), 1..10),
        probes in proptest::collection::vec(key(), 5),
    ) {
        run(check(rounds, probes));
    }
}

//! Keys, maps and short cuts that the tests share.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{DomainId, DomainKeys, RepositoryId, SealEpoch, SecretKey};
use tidegate_replicator::tree::{Change, Cursor, Edit, MemoryNodes, Root, TreeError, Value, apply, diff};

/// The keys of a domain, always the same.
pub(crate) fn keys() -> Arc<DomainKeys> {
    let seals = vec![(SealEpoch(1), SecretKey::new([4; 32]))];
    let keys =
        DomainKeys::new(RepositoryId::new([1; 16]), DomainId::new([2; 16]), &SecretKey::new([3; 32]), seals);
    Arc::new(keys.expect("one seal epoch is given"))
}

pub(crate) type Map = BTreeMap<Bytes, Value>;

/// A place for trees, and the keys that make them.
pub(crate) struct Bench {
    pub(crate) keys: Arc<DomainKeys>,
    pub(crate) nodes: MemoryNodes,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let keys = keys();
        Self { nodes: MemoryNodes::new(keys.clone()), keys }
    }

    pub(crate) async fn apply(
        &self,
        base: &Root,
        ranges: &[Range<Bytes>],
        edits: impl IntoIterator<Item = Edit, IntoIter: Send>,
    ) -> Result<Root, TreeError> {
        let edits = stream::iter(edits).map(Ok);
        apply(base, ranges, edits, &self.nodes, &mut self.nodes.clone(), &*self.keys).await
    }

    /// Builds a tree from nothing.
    pub(crate) async fn build(&self, map: &Map) -> Root {
        let edits: Vec<_> = map.iter().map(|(key, value)| Edit::Put(key.clone(), value.clone())).collect();
        self.apply(&Root::EMPTY, &[], edits).await.expect("builds")
    }

    pub(crate) fn cursor(&self, root: &Root) -> Cursor {
        Cursor::new(root, Arc::new(self.nodes.clone()))
    }

    pub(crate) async fn contents(&self, root: &Root) -> Map {
        let mut cursor = self.cursor(root);
        let mut map = Map::new();
        while let Some((key, value)) = cursor.next().await.expect("reads") {
            assert!(map.last_key_value().is_none_or(|(last, _)| *last < key), "in order");
            map.insert(key, value);
        }
        map
    }

    pub(crate) async fn diff(&self, before: &Root, after: &Root) -> Vec<Change> {
        diff(before, after, Arc::new(self.nodes.clone())).try_collect().await.expect("reads")
    }
}

/// Equal but for hints, which depend on when a chunk was written.
pub(crate) fn same_root(one: &Root, other: &Root) -> bool {
    Root { at: None, ..*one } == Root { at: None, ..*other }
}

//! Looks keys up.

use std::sync::Arc;

use super::node::Node;
use super::seams::{read_node, read_root, read_value};
use super::{NodeSource, Root, TreeError, Value};

/// The value of a key. Reads one node per level, and the payload if it is a chunk of its own.
pub async fn get(root: &Root, key: &[u8], source: &dyn NodeSource) -> Result<Option<Value>, TreeError> {
    let Some(top) = read_root(source, root).await? else { return Ok(None) };
    match leaf_of(top, key, source).await? {
        Some(leaf) => value_in(&leaf, key, source).await,
        None => Ok(None),
    }
}

/// The values of several keys, each as [`get`] gives it. The root is read once, and so is a leaf for keys
/// that follow each other within it: best asked in order.
pub async fn get_many<K: AsRef<[u8]> + Sync>(
    root: &Root,
    keys: &[K],
    source: &dyn NodeSource,
) -> Result<Vec<Option<Value>>, TreeError> {
    let Some(top) = read_root(source, root).await? else { return Ok(vec![None; keys.len()]) };
    let mut values = Vec::with_capacity(keys.len());
    let mut at_hand: Option<Arc<Node>> = None;
    for key in keys.iter().map(AsRef::as_ref) {
        let within = |leaf: &Arc<Node>| *leaf.first_key() <= *key && *key <= *leaf.last_key();
        at_hand = match at_hand.filter(within) {
            Some(leaf) => Some(leaf),
            None => leaf_of(top.clone(), key, source).await?,
        };
        values.push(match &at_hand {
            Some(leaf) => value_in(leaf, key, source).await?,
            None => None,
        });
    }
    Ok(values)
}

/// The leaf that a key is in if it is anywhere; none if it is after all keys.
async fn leaf_of(
    mut node: Arc<Node>,
    key: &[u8],
    source: &dyn NodeSource,
) -> Result<Option<Arc<Node>>, TreeError> {
    while node.level() > 0 {
        let place = node.lower_bound(key);
        if place == node.entries().len() {
            return Ok(None);
        }
        let (child, expected) = node.expected_child(place, None)?;
        let below = read_node(source, &child.node, expected).await?;
        node = below;
    }
    Ok(Some(node))
}

async fn value_in(leaf: &Node, key: &[u8], source: &dyn NodeSource) -> Result<Option<Value>, TreeError> {
    let entry = leaf.entries().get(leaf.lower_bound(key)).filter(|entry| entry.key == key);
    match entry.and_then(|entry| entry.item.value()) {
        Some(stored) => read_value(source, stored).await.map(Some),
        None => Ok(None),
    }
}

//! Looks one key up.

use super::seams::{read_node, read_root, read_value};
use super::{NodeSource, Root, TreeError, Value};

/// The value of a key. Reads one node per level, and the payload if it is a chunk of its own.
pub async fn get(root: &Root, key: &[u8], source: &dyn NodeSource) -> Result<Option<Value>, TreeError> {
    let Some(mut node) = read_root(source, root).await? else { return Ok(None) };
    loop {
        let place = node.lower_bound(key);
        let Some(entry) = node.entries().get(place) else { return Ok(None) };
        if let Some(stored) = entry.item.value() {
            return if entry.key == key { read_value(source, stored).await.map(Some) } else { Ok(None) };
        }
        let (child, expected) = node.expected_child(place, None)?;
        let below = read_node(source, &child.node, expected).await?;
        node = below;
    }
}

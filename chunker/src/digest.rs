//! Names computed from content, under the keys of a domain.
//!
//! All are BLAKE3 in keyed mode. Who lacks the keys can neither compute the id of a guessed content
//! nor choose keys that make a tree lopsided.

use crate::{ChunkId, DomainKeys};

impl DomainKeys {
    /// The id of file data or of a large value: BLAKE3 keyed with the chunk id key.
    pub fn chunk_id(&self, plaintext: &[u8]) -> ChunkId {
        ChunkId::new(self.chunk_id_key().digest(plaintext))
    }

    /// The id of a tree node: BLAKE3 keyed with the node id key, over the node's canonical bytes.
    ///
    /// Under a key of its own, so that file data can never pass for a node.
    pub fn node_id(&self, canonical: &[u8]) -> ChunkId {
        ChunkId::new(self.node_id_key().digest(canonical))
    }

    /// The number that decides whether a tree node of this level ends after `key`: the first eight
    /// bytes, little-endian, of BLAKE3 keyed with the boundary key over `level` and `key`.
    pub fn boundary_hash(&self, level: u8, key: &[u8]) -> u64 {
        let mut hasher = blake3::Hasher::new_keyed(self.boundary_key().as_bytes());
        hasher.update(&[level]).update(key);
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{keys, other_keys};

    #[test]
    fn ids_differ_by_content_purpose_and_key() {
        let (keys, other) = (keys(), other_keys());
        assert_eq!(keys.chunk_id(b"a"), keys.chunk_id(b"a"));
        assert_ne!(keys.chunk_id(b"a"), keys.chunk_id(b"b"));
        assert_ne!(keys.chunk_id(b"a"), keys.node_id(b"a"));
        assert_ne!(keys.chunk_id(b"a"), other.chunk_id(b"a"));
        assert_ne!(keys.node_id(b"a"), other.node_id(b"a"));
    }

    #[test]
    fn boundaries_depend_on_level_key_and_secret() {
        let (keys, other) = (keys(), other_keys());
        assert_ne!(keys.boundary_hash(0, b"a"), keys.boundary_hash(1, b"a"));
        assert_ne!(keys.boundary_hash(0, b"a"), keys.boundary_hash(0, b"b"));
        assert_ne!(keys.boundary_hash(0, b"a"), other.boundary_hash(0, b"a"));
    }
}

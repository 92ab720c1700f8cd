//! `config`: the object that makes a prefix a repository. Written once, last of all at creation, and never
//! changed.
//!
//! Order of writes at creation: key slot, first domain, `config`. A crash before the last leaves no
//! repository, only leftovers, which a later creation names and refuses.
//!
//! Anybody may read it: it holds no secret. That nobody changed it is checked when a key slot opens,
//! since every slot seals a copy of it.

use serde::{Deserialize, Serialize};
use tidegate_chunker::{
    ChunkParams, DomainId, ObjectKind, RepositoryId, read_plain_object, write_plain_object,
};

use super::envelope::{Record, fetch, from_payload, to_payload, unreadable};
use super::error::{RepositoryError, Result};
use super::time::UtcNanos;
use super::{hex, names};
use crate::store::Store;

/// What is fixed for the life of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Which repository this is.
    #[serde(with = "hex")]
    pub repository: RepositoryId,
    /// The first domain: new shares are in it, and it seals index, heads, snapshots and leases.
    #[serde(with = "hex")]
    pub domain: DomainId,
    /// How file data is cut.
    #[serde(with = "chunk_sizes")]
    pub chunks: ChunkParams,
    /// When it was created.
    pub created_at: UtcNanos,
}

impl Record for Config {
    const KIND: ObjectKind = ObjectKind::Config;
    const BYTES_MAX: u64 = 64 << 10;
}

impl Config {
    /// Reads the config of the repository at `store`.
    pub(super) async fn open(store: &dyn Store) -> Result<Self> {
        let name = names::config();
        let bytes = fetch(store, &name, Self::BYTES_MAX).await.map_err(|error| match error {
            RepositoryError::Missing { .. } => RepositoryError::NoRepository { address: store.address() },
            other => other,
        })?;
        let payload =
            read_plain_object(Self::KIND, name.as_str(), &bytes).map_err(|error| unreadable(&name, error))?;
        from_payload(&name, &payload)
    }

    /// The bytes of the object.
    pub(super) fn to_object(&self) -> Result<Vec<u8>> {
        let name = names::config();
        Ok(write_plain_object(Self::KIND, name.as_str(), &to_payload(&name, self)?))
    }
}

/// Chunk sizes as JSON: `{"min": bytes, "avg": bytes, "max": bytes}`.
mod chunk_sizes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tidegate_chunker::ChunkParams;

    #[derive(Serialize, Deserialize)]
    struct Sizes {
        min: u32,
        avg: u32,
        max: u32,
    }

    pub(super) fn serialize<S: Serializer>(params: &ChunkParams, serializer: S) -> Result<S::Ok, S::Error> {
        Sizes { min: params.min(), avg: params.avg(), max: params.max() }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ChunkParams, D::Error> {
        let sizes = Sizes::deserialize(deserializer)?;
        ChunkParams::new(sizes.min, sizes.avg, sizes.max).map_err(serde::de::Error::custom)
    }
}

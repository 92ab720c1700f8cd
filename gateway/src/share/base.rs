//! The base of a live map: the tree that it stands over.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_replicator::repository::HeadName;
use tidegate_replicator::tree::Root;

use super::ShareError;
use crate::live::{Live, LiveError, MapId};

/// What a live map stands over. Kept beside the map, moved only by a rebase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The frozen map.
    pub root: Root,
    /// The newest head of the share's line; none when there is none yet.
    pub head: Option<HeadName>,
    /// Whether that head has this root; not so after a rollback, until the next commit.
    pub published: bool,
}

impl Base {
    /// The base of a map that begins empty.
    pub const EMPTY: Self = Self { root: Root::EMPTY, head: None, published: false };

    /// The base of a map now.
    pub(crate) fn load(live: &Live, map: MapId) -> Result<Self, ShareError> {
        let database = live.database();
        Self::decode(database.base(&database.snapshot(), map)?.as_deref())
    }

    /// Encodes as JSON.
    pub fn encode(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("a base has only strings and numbers"))
    }

    /// Decodes what [`Base::encode`] made; nothing stands for the empty base.
    pub fn decode(record: Option<&[u8]>) -> Result<Self, ShareError> {
        let Some(record) = record else { return Ok(Self::EMPTY) };
        serde_json::from_slice(record).map_err(|_| LiveError::Undecodable("the base of a map").into())
    }
}

//! Snapshots: `snapshots/<share>/<id>`, roots that are kept.
//!
//! A snapshot holds the whole head that it was taken of, except for its heat, so that it can be served
//! when all heads are gone. Ids sort by time. What a snapshot reaches is safe from collection as long as
//! the snapshot is there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_chunker::{ObjectKind, ShareId};

use super::envelope::{Record, list_all};
use super::error::{RepositoryError, Result};
use super::head::{HEAD_BYTES_MAX, Head};
use super::names::{self, HeadName, SnapshotId};
use super::open::{Opened, Repository};
use super::time::UtcNanos;
use crate::store::PutMode;

/// Most tags of a snapshot.
const TAGS_MAX: usize = 64;
/// Longest text in a snapshot: label, policy, a tag's key or value; in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// What is decided when a snapshot is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSnapshot {
    /// What people call it; may be empty.
    pub label: String,
    /// The policy that took it; none if a person did.
    pub policy: Option<String>,
    /// Free marks.
    pub tags: BTreeMap<String, String>,
}

/// A retained root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// What people call it; may be empty.
    #[serde(default)]
    pub label: String,
    /// The policy that took it; none if a person did.
    #[serde(default)]
    pub policy: Option<String>,
    /// Free marks.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// When it was taken, by the taker's clock.
    pub taken_at: UtcNanos,
    /// The name of the head that it was taken of.
    pub head_name: HeadName,
    /// What that head said, without heat, kept heads and plans.
    pub head: Head,
}

impl Record for Snapshot {
    const KIND: ObjectKind = ObjectKind::Snapshot;
    const BYTES_MAX: u64 = HEAD_BYTES_MAX;
}

impl Repository<Opened> {
    /// Keeps a head as a snapshot.
    pub async fn create_snapshot(
        &self,
        (head_name, head): (HeadName, &Head),
        new: NewSnapshot,
        taken_at: UtcNanos,
    ) -> Result<SnapshotId> {
        check_texts(&new.label, new.policy.as_deref(), &new.tags)?;
        let NewSnapshot { label, policy, tags } = new;
        let (heat, kept, passed, plans_honoured) = Default::default();
        let head = Head { plans_honoured, kept, passed, heat, heat_in: None, ..head.clone() };
        let (id, share) = (SnapshotId::new(taken_at)?, head.share.id);
        let name = id.object(share);
        let sealed = self.seal_record(&name, &Snapshot { label, policy, tags, taken_at, head_name, head })?;
        self.store_sealed(&name, sealed, PutMode::Overwrite).await?;
        Ok(id)
    }

    /// The ids of all snapshots of a share, oldest first.
    pub async fn snapshot_ids(&self, share: ShareId) -> Result<Vec<SnapshotId>> {
        let names = list_all(&*self.store, &names::snapshots_of(share)).await?;
        let parse = |name| {
            SnapshotId::parse(names::last_segment(name))
                .ok_or_else(|| RepositoryError::damaged(name, "no snapshot has such a name"))
        };
        names.iter().map(parse).collect()
    }

    /// Reads a snapshot.
    pub async fn read_snapshot(&self, share: ShareId, id: SnapshotId) -> Result<Snapshot> {
        let name = id.object(share);
        let snapshot: Snapshot = self.read_record(&name).await?;
        if snapshot.head.share.id == share {
            return Ok(snapshot);
        }
        Err(RepositoryError::damaged(&name, "it is of another share"))
    }

    /// All snapshots of a share, oldest first; one that cannot be read has its error instead.
    pub async fn list_snapshots(&self, share: ShareId) -> Result<Vec<(SnapshotId, Result<Snapshot>)>> {
        let mut snapshots = Vec::new();
        for id in self.snapshot_ids(share).await? {
            match self.read_snapshot(share, id).await {
                Err(error @ RepositoryError::Store(_)) => return Err(error),
                Err(RepositoryError::Missing { .. }) => {}
                snapshot => snapshots.push((id, snapshot)),
            }
        }
        Ok(snapshots)
    }

    /// Removes a snapshot. What only it reached stays until it is collected.
    pub async fn remove_snapshot(&self, share: ShareId, id: SnapshotId) -> Result<()> {
        Ok(self.store.delete(&id.object(share)).await?)
    }
}

/// Refuses more, or longer, texts than a snapshot may have.
pub(super) fn check_texts(label: &str, policy: Option<&str>, tags: &BTreeMap<String, String>) -> Result<()> {
    let texts = tags.iter().flat_map(|(key, value)| [key.as_str(), value.as_str()]);
    let texts = texts.chain([label]).chain(policy);
    if tags.len() > TAGS_MAX || texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Err(RepositoryError::invalid(format!(
            "a snapshot has at most {TAGS_MAX} tags, and no text of it more than {TEXT_BYTES_MAX} bytes"
        )));
    }
    Ok(())
}

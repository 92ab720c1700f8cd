//! A head: a published root, and all that is needed to serve it.
//!
//! Sealed, below the id of its share, under a name that states its epoch and sequence; what it states
//! itself must agree with its name. A head names its parent, so that the heads of a share form a line
//! (see `line.rs`), and is published only when all that it reaches is durable (see `publish.rs`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tidegate_chunker::{DomainId, ObjectKind, ShareId};

use super::envelope::Record;
use super::error::{RepositoryError, Result};
use super::heat::Heat;
use super::hex::{self, repository_id};
use super::names::{HeadName, PlanId};
use super::time::UtcNanos;
use crate::tree::Root;

/// Greatest length of a head's payload in bytes.
pub const HEAD_BYTES_MAX: u64 = 8 << 20;
/// Most earlier epochs of which a head names the last head.
pub const TURNS_MAX: usize = 256;
/// Most heads that a head names as kept, and most plans as honoured.
pub const KEPT_HEADS_MAX: usize = 1024;
/// Longest name of a share, in bytes.
const SHARE_NAME_BYTES_MAX: usize = 255;

repository_id!(
    /// One uninterrupted life of a live map: random.
    Incarnation,
    8
);

repository_id!(
    /// Handles of one era are valid on every gateway that serves it: random.
    Era,
    8
);

impl Serialize for Era {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        hex::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Era {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        hex::deserialize(deserializer)
    }
}

/// A share, as its heads describe it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareDescription {
    /// Which share, for good.
    #[serde(with = "hex")]
    pub id: ShareId,
    /// What people call it.
    pub name: String,
    /// The domain whose keys name and seal its chunks.
    #[serde(with = "hex")]
    pub domain: DomainId,
}

/// A published root. Numbers that are not further described are explained in the gateway, which makes
/// and reads them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Of which share.
    pub share: ShareDescription,
    /// The epoch of the publisher.
    pub epoch: u32,
    /// Above that of its parent.
    pub sequence: u64,
    /// The head before it on its line; none for the first one of a share.
    pub parent: Option<HeadName>,
    /// The frozen map.
    pub root: Root,
    /// When the map was frozen: everything acknowledged before is in it. By the publisher's clock.
    pub frozen_at: UtcNanos,
    /// When the head was made. By the publisher's clock.
    pub published_at: UtcNanos,
    /// The life of the live map that was frozen.
    #[serde(with = "hex")]
    pub incarnation: Incarnation,
    /// Set when the publisher has handed the share over: it acknowledges no change after this head, and who
    /// attaches it next may keep its handles valid, which are of this era.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Era>,
    /// Set when the share's policy says that handles stay valid after a takeover, although changes may be lost which were
    /// acknowledged after this head: those are of this era.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_handles: Option<Era>,
    /// No inode of the frozen map has this number or a higher one.
    pub next_inode: u64,
    /// The last journal sequence that is in the frozen map.
    pub journal_sequence: u64,
    /// The collection plans that the publisher honours: from this head on it gains no reference to what
    /// they condemn. Those that it knew to be carried out are left out.
    #[serde(default)]
    pub plans_honoured: Vec<PlanId>,
    /// The heads of its line that are kept beside it, newest first, its parent among them.
    #[serde(default)]
    pub kept: Vec<KeptHead>,
    /// Heads of its line, or beside it, that its publisher does not need any more and that may still be there: they
    /// retain nothing.
    #[serde(default)]
    pub passed: Vec<HeadName>,
    /// The last head of each earlier epoch of its line, oldest first, at most [`TURNS_MAX`]: what somebody stored in those
    /// epochs beyond it is beside the line. Programs of old named none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<HeadName>,
    /// What serving needs: exports, identities, quotas. Read by the gateway.
    pub settings: serde_json::Value,
    /// How much the share holds.
    pub usage: Usage,
    /// What was used lately. Not every head says so: see [`Head::heat_in`].
    #[serde(rename = "hot", default, skip_serializing_if = "Heat::is_empty")]
    pub heat: Heat,
    /// The head of its line, among those kept, that says what was used lately, where this one does not.
    #[serde(rename = "hot_in", default, skip_serializing_if = "Option::is_none")]
    pub heat_in: Option<HeadName>,
    /// What all commits of its line have read and stored.
    #[serde(default)]
    pub totals: LineTotals,
    /// What the commit did.
    #[serde(default)]
    pub statistics: CommitStatistics,
}

/// A head that a later one of its line names as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptHead {
    /// Its name.
    pub name: HeadName,
    /// When its map was frozen.
    pub frozen_at: UtcNanos,
}

/// How much a share holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Length of all files in bytes, without holes.
    pub bytes: u64,
    /// Number of inodes.
    pub inodes: u64,
    /// Since when the bytes have been above the soft limit of the share's quota, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_over_since: Option<UtcNanos>,
    /// The same of the inodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes_over_since: Option<UtcNanos>,
}

/// What the commits of a line have done together, as far as heads have said so: how much becomes of how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LineTotals {
    /// File data that was cut, in bytes.
    pub bytes_read: u64,
    /// What it became in packs, after duplicates and compression, in bytes; tree nodes are not in it.
    pub bytes_stored: u64,
}

impl LineTotals {
    /// With one commit more.
    #[must_use]
    pub fn and(self, commit: &CommitStatistics) -> Self {
        Self {
            bytes_read: self.bytes_read.saturating_add(commit.bytes_read),
            bytes_stored: self.bytes_stored.saturating_add(commit.bytes_compressed),
        }
    }
}

/// What a commit did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommitStatistics {
    /// Map entries that changed.
    pub entries_changed: u64,
    /// File data that was cut, in bytes.
    pub bytes_read: u64,
    /// The part of it that was new, in bytes.
    pub bytes_unique: u64,
    /// What the new part became by compression, in bytes.
    pub bytes_compressed: u64,
    /// What went to the store, in bytes.
    pub bytes_uploaded: u64,
    /// Objects that went to the store.
    pub objects_uploaded: u64,
    /// From freeze to publication, in milliseconds.
    pub duration_ms: u64,
}

impl Record for Head {
    const KIND: ObjectKind = ObjectKind::Head;
    const BYTES_MAX: u64 = HEAD_BYTES_MAX;
}

impl Head {
    /// Which head of the line says what was used lately, when this one is stored under `name`.
    pub fn heat_at(&self, name: HeadName) -> Option<HeadName> {
        if self.heat.is_empty() { self.heat_in } else { Some(name) }
    }

    /// Refuses a head that its own line would not let stand.
    pub(super) fn check(&self) -> Result<()> {
        let share = &self.share.name;
        if share.is_empty() || share.len() > SHARE_NAME_BYTES_MAX {
            let length = share.len();
            return Err(RepositoryError::invalid(format!(
                "the share's name has {length} bytes; allowed are 1 to {SHARE_NAME_BYTES_MAX}"
            )));
        }
        let (kept, plans) = (self.kept.len(), self.plans_honoured.len());
        if kept.max(plans).max(self.passed.len()) > KEPT_HEADS_MAX {
            return Err(RepositoryError::invalid(format!(
                "a head names at most {KEPT_HEADS_MAX} each of kept and passed heads and of honoured plans"
            )));
        }
        match self.parent {
            Some(parent) if parent.epoch > self.epoch || parent.sequence >= self.sequence => {
                Err(RepositoryError::invalid(format!(
                    "a head of epoch {} and sequence {} cannot follow {parent:?}",
                    self.epoch, self.sequence
                )))
            }
            _ => Ok(()),
        }
    }

    /// The turns of a head of `epoch` that follows `parent`, which says `head` as far as it can be read.
    pub fn turns_after(parent: Option<HeadName>, head: Option<&Self>, epoch: u32) -> Vec<HeadName> {
        let earlier = head.into_iter().flat_map(|head| head.turns.iter().copied());
        let mut turns: Vec<HeadName> = earlier.chain(parent.filter(|parent| parent.epoch < epoch)).collect();
        turns.drain(..turns.len().saturating_sub(TURNS_MAX));
        turns
    }

    /// Whether a head of an earlier epoch is beside the line that this head continues, as far as that is known.
    pub fn is_beside(&self, other: &HeadName) -> bool {
        if other.epoch >= self.epoch {
            return false;
        }
        let begins_here = self.parent.is_none();
        match self.turns.iter().find(|turn| turn.epoch == other.epoch) {
            Some(turn) => other.sequence >= turn.sequence && other != turn,
            None => begins_here || self.turns.first().is_some_and(|first| first.epoch < other.epoch),
        }
    }

    /// Whether a head of an earlier epoch may be beside the line that this head continues: unless the turns of the line show
    /// that it is on it. They are lost when a parent cannot be read any more.
    pub fn may_be_beside(&self, other: &HeadName) -> bool {
        let has_turn = self.turns.iter().any(|turn| turn.epoch == other.epoch);
        self.is_beside(other) || (other.epoch < self.epoch && !has_turn)
    }

    /// Whether it is what its name says.
    pub(super) fn matches(&self, share: ShareId, name: &HeadName) -> bool {
        self.share.id == share && self.epoch == name.epoch && self.sequence == name.sequence
    }
}

impl Incarnation {
    /// A new life.
    pub fn random() -> Result<Self> {
        Ok(Self::new(super::chance::random()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::testing::{head_after, head_name};

    #[test]
    fn a_head_knows_what_was_stored_beyond_the_turns_of_its_line() {
        let (first, last, next) = (head_name(1, 1), head_name(1, 5), head_name(3, 6));
        let before = head_after(&last, Some(first));
        let turns = Head::turns_after(Some(last), Some(&before), next.epoch);
        assert_eq!(turns, [last]);
        let newest = Head { turns, ..head_after(&next, Some(last)) };
        assert!(!newest.is_beside(&first) && !newest.is_beside(&last));
        assert!(newest.is_beside(&head_name(1, 6)), "its publisher did not know that it had been superseded");
        assert!(newest.is_beside(&HeadName { suffix: 1, ..last }));
        assert!(newest.is_beside(&head_name(2, 1)), "nobody followed it");
        assert!(!newest.is_beside(&head_name(3, 1)));
        assert_eq!(Head::turns_after(Some(next), Some(&newest), 3), [last]);
        let of_old = head_after(&head_name(9, 9), Some(head_name(9, 8)));
        assert!(!of_old.is_beside(&first), "what a program of old published says nothing of it");
        assert!(of_old.may_be_beside(&first) && !newest.may_be_beside(&first));
        assert!(newest.may_be_beside(&head_name(1, 6)) && !newest.may_be_beside(&head_name(3, 1)));
    }
}

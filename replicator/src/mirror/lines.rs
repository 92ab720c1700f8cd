//! How the shares of lead and copy stand to each other.
//!
//! The copy is listed before the lead: what the copy has, the lead had before, so nothing looks newer on the copy
//! only because it was looked at later.

use std::collections::{BTreeSet, HashMap};

use tidegate_chunker::ShareId;

use super::{Mirror, MirrorError};
use crate::repository::{
    ClaimInfo, Head, HeadName, ListedClaim, Opened, Repository, RepositoryError, SnapshotId, UtcNanos,
};
use crate::store::ObjectName;

/// Claims that were read.
pub(super) type Claims = HashMap<(bool, ObjectName), ClaimInfo>;

/// Why nothing of a share is copied, or removed from the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is led from the copy by now, in this epoch: the copy was promoted, or attached by itself.
    LedFromCopy {
        /// In which epoch.
        epoch: u32,
        /// Whether a head was published there: without one the claim may have been given up.
        has_head: bool,
    },
    /// The lead shows an older state than the copy has: its store has lost something.
    LeadIsOlder,
    /// Its newest head on the lead cannot be read.
    Unreadable,
}

/// What one store has of a share.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) heads: Vec<HeadName>,
    pub(super) snapshots: Vec<SnapshotId>,
    pub(super) claims: Vec<ListedClaim>,
}

/// A share on both stores.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) share: ShareId,
    pub(super) lead: Side,
    pub(super) copy: Side,
    /// The newest head on the lead; none if the share has none there.
    pub(super) newest: Option<(HeadName, Head)>,
    pub(super) obstacle: Option<Obstacle>,
}

impl Side {
    async fn look(repository: &Repository<Opened>, share: ShareId) -> Result<Self, MirrorError> {
        let heads = repository.head_names(share).await?;
        let snapshots = repository.snapshot_ids(share).await?;
        // After the heads: the claim of every head listed is seen.
        let claims = repository.claims(share).await?;
        Ok(Self { heads, snapshots, claims })
    }

    fn settled(&self) -> impl Iterator<Item = &ListedClaim> {
        self.claims.iter().filter(|claim| claim.settled)
    }

    /// The newest head that may be followed.
    pub(super) fn newest(&self) -> Option<HeadName> {
        let claimed = |name: &&HeadName| self.settled().any(|claim| claim.epoch == name.epoch);
        self.heads.iter().find(claimed).copied()
    }
}

impl Line {
    /// The heads that come to the copy, oldest first: the newest, and what it keeps.
    pub(super) fn coming(&self) -> Vec<HeadName> {
        let Some((newest, head)) = &self.newest else { return Vec::new() };
        // A program of old names none as kept.
        let parent = head.parent.filter(|_| head.kept.is_empty());
        let wanted: BTreeSet<HeadName> =
            head.kept.iter().map(|kept| kept.name).chain(parent).chain([*newest]).collect();
        let lacks = |name: &&HeadName| wanted.contains(name) && !self.copy.heads.contains(name);
        self.lead.heads.iter().rev().filter(lacks).copied().collect()
    }

    /// Heads of the copy that the lead has removed, or names as passed: oldest first. Those beside the line, of somebody who
    /// published on the copy while it led, are no such heads: the lead never had them.
    pub(super) fn going(&self, promotions: &[(u32, Option<HeadName>)]) -> Vec<HeadName> {
        let Some((newest, head)) = &self.newest else { return Vec::new() };
        let goes = |name: &&HeadName| {
            newest.is_newer_than(name)
                && (!self.lead.heads.contains(name) || head.passed.contains(name))
                && !is_fork_of_promotion(name, promotions)
                && !head.is_beside(name)
                && (head.passed.contains(name) || !head.may_be_beside(name))
        };
        self.copy.heads.iter().rev().filter(goes).copied().collect()
    }

    /// Snapshots that come, and snapshots that the lead has not.
    pub(super) fn snapshots(&self) -> (Vec<SnapshotId>, Vec<SnapshotId>) {
        let without = |one: &[SnapshotId], other: &[SnapshotId]| -> Vec<SnapshotId> {
            one.iter().filter(|id| !other.contains(id)).copied().collect()
        };
        let coming = without(&self.lead.snapshots, &self.copy.snapshots);
        // A share without a head on the lead tells nothing about its snapshots.
        let going = match self.newest {
            Some(_) => without(&self.copy.snapshots, &self.lead.snapshots),
            None => Vec::new(),
        };
        (coming, going)
    }

    /// Whether one of these claims of the copy leads there, in this epoch or above, and not on the lead.
    pub(super) fn is_led_from_copy(&self, of_copy: &[ListedClaim], epoch: u32) -> bool {
        self.of_copy_alone(of_copy).any(|claim| claim.epoch >= epoch)
    }

    /// Whether one of them leads there in this very epoch, and not on the lead.
    pub(super) fn is_led_beside(&self, of_copy: &[ListedClaim], epoch: u32) -> bool {
        self.of_copy_alone(of_copy).any(|claim| claim.epoch == epoch)
    }

    fn of_copy_alone<'c>(&self, of_copy: &'c [ListedClaim]) -> impl Iterator<Item = &'c ListedClaim> {
        let is_known = |claim: &ListedClaim| self.lead.claims.iter().any(|ours| ours.object == claim.object);
        of_copy.iter().filter(move |claim| claim.settled && !is_known(claim))
    }

    /// Settled claims that the copy lacks, by epoch; of epochs that have a head only, since who settles a claim and
    /// does not come to lead takes it back.
    pub(super) fn claims_coming(&self) -> impl Iterator<Item = &ListedClaim> {
        let has_led = |claim: &&ListedClaim| self.lead.heads.iter().any(|head| head.epoch == claim.epoch);
        self.lead.settled().filter(has_led).filter(|claim| !self.copy.claims.contains(claim))
    }
}

/// Whether a head lies beyond what a store had that was promoted in a higher epoch.
fn is_fork_of_promotion(name: &HeadName, promotions: &[(u32, Option<HeadName>)]) -> bool {
    promotions
        .iter()
        .filter(|(epoch, _)| *epoch > name.epoch)
        .any(|(_, after)| after.is_none_or(|after| name.is_newer_than(&after)))
}

impl Mirror {
    /// All shares, as both stores show them.
    pub(super) async fn look_at_lines(&mut self) -> Result<Vec<Line>, MirrorError> {
        let mut of_copy = HashMap::new();
        for share in self.copy.share_ids().await? {
            of_copy.insert(share, Side::look(&self.copy, share).await?);
        }
        let mut shares = self.lead.share_ids().await?;
        shares.extend(of_copy.keys().copied());
        let mut lines = Vec::new();
        for share in shares {
            let copy = of_copy.remove(&share).unwrap_or_default();
            let lead = Side::look(&self.lead, share).await?;
            let (newest, unreadable) = match lead.newest() {
                None => (None, false),
                Some(name) => match self.lead.read_head(share, &name).await {
                    Ok(head) => (Some((name, head)), false),
                    Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                        return Err(error.into());
                    }
                    Err(error) => {
                        tracing::error!(%error, "the newest head of a share cannot be read: it is not copied");
                        (None, true)
                    }
                },
            };
            let obstacle = match self.obstacle(share, &lead, &copy).await? {
                None if unreadable => Some(Obstacle::Unreadable),
                obstacle => obstacle,
            };
            lines.push(Line { share, lead, copy, newest, obstacle });
        }
        Ok(lines)
    }

    async fn obstacle(
        &mut self,
        share: ShareId,
        lead: &Side,
        copy: &Side,
    ) -> Result<Option<Obstacle>, MirrorError> {
        let there = |claim: &ListedClaim| lead.claims.iter().any(|other| other.object == claim.object);
        let led_from_copy = |epoch: u32| {
            let has_head = copy.heads.iter().any(|head| head.epoch == epoch);
            Obstacle::LedFromCopy { epoch, has_head }
        };
        if let Some(strange) = copy.settled().filter(|claim| !there(claim)).last() {
            return Ok(Some(led_from_copy(strange.epoch)));
        }
        // The same name, where names are given to one only, may be another's claim.
        if let Some(last) = copy.settled().last() {
            let (ours, theirs) =
                (self.claim(share, last, true).await?, self.claim(share, last, false).await?);
            if ours != theirs {
                return Ok(Some(led_from_copy(last.epoch)));
            }
        }
        let is_older = match (lead.newest(), copy.newest()) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(lead), Some(copy)) => copy.is_newer_than(&lead),
        };
        Ok(is_older.then_some(Obstacle::LeadIsOlder))
    }

    /// Reads a claim once.
    async fn claim(
        &mut self,
        share: ShareId,
        claim: &ListedClaim,
        of_lead: bool,
    ) -> Result<ClaimInfo, MirrorError> {
        let key = (of_lead, claim.object.clone());
        if let Some(known) = self.claims.get(&key) {
            return Ok(known.clone());
        }
        let repository = if of_lead { &self.lead } else { &self.copy };
        let info = repository.read_listed_claim(share, claim).await?;
        self.claims.insert(key, info.clone());
        Ok(info)
    }

    /// The promotions of a share: their epochs, and what the store that was promoted had by then; and when the last of
    /// them was.
    pub(super) async fn promotions(
        &mut self,
        line: &Line,
    ) -> Result<(Vec<(u32, Option<HeadName>)>, Option<UtcNanos>), MirrorError> {
        let (mut promotions, mut last) = (Vec::new(), None);
        for claim in line.lead.settled() {
            let info = self.claim(line.share, claim, true).await?;
            if let Some(promotion) = info.promotion {
                promotions.push((claim.epoch, promotion.after));
                last = last.max(Some(info.claimed_at));
            }
        }
        Ok((promotions, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(epoch: u32, sequence: u64) -> HeadName {
        HeadName { epoch, sequence, suffix: 0 }
    }

    #[test]
    fn what_lies_beyond_a_promotion_is_a_fork() {
        let promotions = [(256, Some(head(3, 10))), (512, None)];
        assert!(!is_fork_of_promotion(&head(600, 1), &promotions));
        assert!(is_fork_of_promotion(&head(300, 1), &promotions), "the second promotion had nothing");
        assert!(!is_fork_of_promotion(&head(3, 10), &promotions[..1]));
        assert!(is_fork_of_promotion(&head(3, 11), &promotions[..1]));
        assert!(is_fork_of_promotion(&head(4, 1), &promotions[..1]));
    }
}

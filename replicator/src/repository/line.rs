//! The line of heads of a share, and what stands beside it.
//!
//! Every head names its parent; the line is the newest head, its parent, and so on. The newest head also
//! names those of its line that are kept, and those that are *passed* and go. A head beside the
//! line is a *fork*: a publisher that had been superseded, or whose reply was lost before a crash, wrote it. It
//! is kept and shown, for it may hold changes that the line lacks, and is never the newest.
//!
//! A head is named as passed until its removal is certain, so that none is taken for a fork for ever.

use std::collections::BTreeSet;

use super::error::Result;
use super::head::Head;
use super::heads::ListedHead;
use super::names::HeadName;

/// Where a head stands towards the newest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadStanding {
    /// It is the newest.
    Newest,
    /// The newest head descends from it, and it is kept.
    Ancestor,
    /// The newest head does not need it any more: it names it as passed, or descends from it without naming it as
    /// kept.
    Passed,
    /// The newest head does not descend from it.
    Fork,
    /// Older than the last parent that is still there: the line between was removed. Beside the line, if at all, in its
    /// epoch: otherwise the turns of the newest head tell that it is a fork.
    Detached,
    /// No claim for its epoch is known, so nobody may follow it.
    Unclaimed,
}

/// How far the walk along the line has come.
struct Line {
    at: At,
    /// What the newest head names as kept; empty if it names nothing, as programs of old did not.
    kept: BTreeSet<HeadName>,
    /// What it names as passed.
    passed: BTreeSet<HeadName>,
    /// The newest head itself, if it can be read.
    newest: Option<Head>,
}

enum At {
    /// Nothing found yet.
    Start,
    /// The head that comes next on the line; none after the first head of the share.
    Next(Option<HeadName>),
    /// The line ends in a head that cannot be read, or in one that is gone.
    Broken,
}

/// Places heads, given newest first, on the line or beside it.
pub(super) fn place(heads: Vec<(HeadName, Result<Head>)>, claimed_epochs: &BTreeSet<u32>) -> Vec<ListedHead> {
    let mut line = Line { at: At::Start, kept: BTreeSet::new(), passed: BTreeSet::new(), newest: None };
    let mut placed = Vec::with_capacity(heads.len());
    for (name, head) in heads {
        let standing = line.standing(&name, claimed_epochs);
        line.pass(standing, &head);
        placed.push(ListedHead { name, standing, head });
    }
    placed
}

impl Line {
    fn standing(&self, name: &HeadName, claimed_epochs: &BTreeSet<u32>) -> HeadStanding {
        match self.at {
            _ if !claimed_epochs.contains(&name.epoch) => HeadStanding::Unclaimed,
            At::Start => HeadStanding::Newest,
            _ if self.kept.contains(name) => HeadStanding::Ancestor,
            _ if self.passed.contains(name) => HeadStanding::Passed,
            At::Next(Some(next)) if next == *name && self.kept.is_empty() => HeadStanding::Ancestor,
            At::Next(Some(next)) if next == *name => HeadStanding::Passed,
            At::Next(Some(next)) if next.is_newer_than(name) => self.below_a_gap(name),
            At::Next(_) => HeadStanding::Fork,
            At::Broken => self.below_a_gap(name),
        }
    }

    /// Parents do not lead so far down; where the line left each epoch the newest head knows still.
    fn below_a_gap(&self, name: &HeadName) -> HeadStanding {
        let is_beside = self.newest.as_ref().is_some_and(|newest| newest.is_beside(name));
        if is_beside { HeadStanding::Fork } else { HeadStanding::Detached }
    }

    fn pass(&mut self, standing: HeadStanding, head: &Result<Head>) {
        if let (HeadStanding::Newest, Ok(head)) = (standing, head) {
            self.kept = head.kept.iter().map(|kept| kept.name).collect();
            self.passed = head.passed.iter().copied().collect();
            self.newest = Some(head.clone());
        }
        match (standing, head) {
            (HeadStanding::Newest | HeadStanding::Ancestor | HeadStanding::Passed, Ok(head)) => {
                self.at = At::Next(head.parent);
            }
            (HeadStanding::Newest | HeadStanding::Ancestor | HeadStanding::Passed, Err(_))
            | (HeadStanding::Detached, _) => self.at = At::Broken,
            (HeadStanding::Fork | HeadStanding::Unclaimed, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::error::RepositoryError;
    use crate::repository::head::KeptHead;
    use crate::repository::testing::{head_after, head_name};
    use crate::repository::time::UtcNanos;

    fn standings(heads: &[(HeadName, Option<HeadName>)], claimed: &[u32]) -> Vec<HeadStanding> {
        let heads = heads.iter().map(|(name, parent)| (*name, Ok(head_after(name, *parent)))).collect();
        place(heads, &claimed.iter().copied().collect()).iter().map(|head| head.standing).collect()
    }

    #[test]
    fn a_late_head_of_a_lower_epoch_is_a_fork() {
        use HeadStanding::{Ancestor, Fork, Newest};
        let (first, late, takeover) = (head_name(1, 1), head_name(1, 2), head_name(2, 2));
        let heads = [(takeover, Some(first)), (late, Some(first)), (first, None)];
        assert_eq!(standings(&heads, &[1, 2]), [Newest, Fork, Ancestor]);
    }

    #[test]
    fn of_two_heads_of_one_sequence_the_parent_is_on_the_line() {
        use HeadStanding::{Ancestor, Fork, Newest};
        let (first, one, newest) = (head_name(1, 1), head_name(1, 2), head_name(1, 3));
        let twin = HeadName { suffix: one.suffix + 1, ..one };
        let heads = |parent| [(newest, Some(parent)), (one, Some(first)), (twin, Some(first)), (first, None)];
        assert_eq!(standings(&heads(one), &[1]), [Newest, Ancestor, Fork, Ancestor]);
        assert_eq!(standings(&heads(twin), &[1]), [Newest, Fork, Ancestor, Ancestor]);
    }

    #[test]
    fn heads_below_a_removed_parent_are_detached_and_unclaimed_ones_are_said() {
        use HeadStanding::{Detached, Newest, Unclaimed};
        let (oldest, old, newest, foreign) =
            (head_name(1, 1), head_name(1, 2), head_name(1, 4), head_name(9, 9));
        let heads = [(foreign, None), (newest, Some(head_name(1, 3))), (old, Some(oldest)), (oldest, None)];
        assert_eq!(standings(&heads, &[1]), [Unclaimed, Newest, Detached, Detached]);
    }

    #[test]
    fn the_newest_head_says_what_is_kept_and_what_is_passed_across_what_is_gone() {
        use HeadStanding::{Ancestor, Detached, Fork, Newest, Passed};
        let name = |sequence| head_name(1, sequence);
        let after = |at, parent| (name(at), Ok(head_after(&name(at), Some(name(parent)))));
        let kept = |sequence| KeptHead { name: name(sequence), frozen_at: UtcNanos::new(0) };
        let standings = |kept_at: &[u64], passed: &[u64], older: &[(u64, u64)]| {
            let newest = Head {
                kept: kept_at.iter().copied().map(kept).collect(),
                passed: passed.iter().copied().map(name).collect(),
                ..head_after(&name(9), Some(name(8)))
            };
            let older = older.iter().map(|(at, parent)| after(*at, *parent));
            let heads = std::iter::once((name(9), Ok(newest))).chain(older).collect();
            place(heads, &BTreeSet::from([1])).iter().map(|head| head.standing).collect::<Vec<_>>()
        };
        // 7 and 4 are gone; 6 is a fork of 5; 3 could not be removed.
        let older = [(8, 7), (6, 5), (5, 4), (3, 2), (2, 1)];
        assert_eq!(
            standings(&[8, 5, 2], &[3], &older),
            [Newest, Ancestor, Detached, Ancestor, Passed, Ancestor]
        );
        // What is on the line and not named as kept is passed, whether it is named so or not.
        assert_eq!(standings(&[8], &[], &[(8, 7), (7, 6)]), [Newest, Ancestor, Passed]);
        // A head of which its own publisher did not know whether it was stored.
        assert_eq!(standings(&[8], &[7], &[(8, 6), (7, 6), (6, 5)]), [Newest, Ancestor, Passed, Passed]);
        assert_eq!(standings(&[8], &[], &[(8, 6), (7, 6), (6, 5)]), [Newest, Ancestor, Fork, Passed]);
    }

    #[test]
    fn what_came_after_its_epoch_had_ended_is_a_fork_also_below_a_gap() {
        use HeadStanding::{Detached, Fork, Newest};
        let (early, last, late) = (head_name(1, 4), head_name(1, 5), head_name(1, 6));
        let newest = Head { turns: vec![last], ..head_after(&head_name(2, 9), Some(head_name(2, 8))) };
        let of = |name: HeadName, parent| (name, Ok(head_after(&name, Some(parent))));
        let heads = vec![(head_name(2, 9), Ok(newest)), of(late, last), of(early, head_name(1, 3))];
        let placed = place(heads, &BTreeSet::from([1, 2]));
        let standings: Vec<HeadStanding> = placed.iter().map(|head| head.standing).collect();
        assert_eq!(standings, [Newest, Fork, Detached]);
    }

    #[test]
    fn what_lies_below_an_unreadable_head_is_detached() {
        let (first, newest) = (head_name(1, 1), head_name(1, 2));
        let heads =
            vec![(newest, Err(RepositoryError::damaged("x", "y"))), (first, Ok(head_after(&first, None)))];
        let placed = place(heads, &BTreeSet::from([1]));
        assert_eq!(placed[0].standing, HeadStanding::Newest);
        assert_eq!(placed[1].standing, HeadStanding::Detached);
    }
}

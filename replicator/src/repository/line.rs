//! The line of heads of a share, and what stands beside it.
//!
//! Every head names its parent; the line is the newest head, its parent, and so on. A head beside the line
//! is a *fork*: a publisher that had been superseded, or whose reply was lost before a crash, wrote it. It
//! is kept and shown, for it may hold changes that the line lacks, and is never the newest.

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
    /// The newest head descends from it.
    Ancestor,
    /// The newest head does not descend from it.
    Fork,
    /// Older than the last parent that is still there: the line between was removed.
    Detached,
    /// No claim for its epoch is known, so nobody may follow it.
    Unclaimed,
}

/// How far the walk along the line has come.
enum Line {
    /// Nothing found yet.
    Start,
    /// The head that comes next on the line; none after the first head of the share.
    Next(Option<HeadName>),
    /// The line ends in a head that cannot be read, or in one that is gone.
    Broken,
}

/// Places heads, given newest first, on the line or beside it.
pub(super) fn place(heads: Vec<(HeadName, Result<Head>)>, claimed_epochs: &BTreeSet<u32>) -> Vec<ListedHead> {
    let mut line = Line::Start;
    let mut placed = Vec::with_capacity(heads.len());
    for (name, head) in heads {
        let standing = line.standing(&name, claimed_epochs);
        line = line.after(standing, &head);
        placed.push(ListedHead { name, standing, head });
    }
    placed
}

impl Line {
    fn standing(&self, name: &HeadName, claimed_epochs: &BTreeSet<u32>) -> HeadStanding {
        match self {
            _ if !claimed_epochs.contains(&name.epoch) => HeadStanding::Unclaimed,
            Self::Start => HeadStanding::Newest,
            Self::Next(Some(next)) if next == name => HeadStanding::Ancestor,
            Self::Next(Some(next)) if next.is_newer_than(name) => HeadStanding::Detached,
            Self::Next(_) => HeadStanding::Fork,
            Self::Broken => HeadStanding::Detached,
        }
    }

    fn after(self, standing: HeadStanding, head: &Result<Head>) -> Self {
        match (standing, head) {
            (HeadStanding::Newest | HeadStanding::Ancestor, Ok(head)) => Self::Next(head.parent),
            (HeadStanding::Newest | HeadStanding::Ancestor, Err(_)) | (HeadStanding::Detached, _) => {
                Self::Broken
            }
            (HeadStanding::Fork | HeadStanding::Unclaimed, _) => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::error::RepositoryError;
    use crate::repository::testing::{head_after, head_name};

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
    fn what_lies_below_an_unreadable_head_is_detached() {
        let (first, newest) = (head_name(1, 1), head_name(1, 2));
        let heads =
            vec![(newest, Err(RepositoryError::damaged("x", "y"))), (first, Ok(head_after(&first, None)))];
        let placed = place(heads, &BTreeSet::from([1]));
        assert_eq!(placed[0].standing, HeadStanding::Newest);
        assert_eq!(placed[1].standing, HeadStanding::Detached);
    }
}

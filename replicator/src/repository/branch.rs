//! Branches: states of a share that its line of heads does not go on from, kept until a person has looked at them.
//!
//! | branch | comes to be |
//! |---|---|
//! | *named* | what a gateway had acknowledged and not published when it was superseded; or the newest head, when a share was attached at an older state |
//! | *fork* | a head that appeared after its publisher had been superseded, and those that it follows beside the line |
//!
//! A named branch is a snapshot with the tag [`BRANCH_TAG`]. So every program that knows snapshots retains what it
//! reaches, copies it to other targets and shows it; and none takes it for the newest head, since it is no head at
//! all. Its other tags say where it comes from and what it left the line from. Collections keep the state that it left
//! from as well, so that a comparison of the three stays possible for as long as the branch is there.
//!
//! Its id is chosen before it is written ([`new_branch_id`]), so that whoever dies in between finds it again.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use tidegate_chunker::ShareId;

use super::bin::is_binned;
use super::error::{RepositoryError, Result};
use super::head::Head;
use super::heads::ListedHead;
use super::hex::HexId;
use super::line::HeadStanding;
use super::names::{HeadName, SnapshotId};
use super::open::{Opened, Repository};
use super::snapshot::{Snapshot, check_texts};
use super::time::UtcNanos;
use crate::store::PutMode;
use crate::tree::Root;

/// The tag that makes a snapshot a branch; its value is the cause.
pub const BRANCH_TAG: &str = "tidegate.branch";
const SITE_TAG: &str = "tidegate.branch.site";
const ANCESTOR_TAG: &str = "tidegate.branch.ancestor";
const BASE_TAG: &str = "tidegate.branch.base";
const LACKS_TAG: &str = "tidegate.branch.lacks";
/// Snapshots that are read at once.
const READS_MAX: usize = 16;

/// Why there is a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchCause {
    /// Its site had been superseded when it noticed.
    Superseded,
    /// The share was attached at an older state.
    PassedOver,
    /// It is a head that appeared beside the line.
    Fork,
}

impl BranchCause {
    /// As it is written in the tag, and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::PassedOver => "passed-over",
            Self::Fork => "fork",
        }
    }

    fn parse(text: &str) -> Self {
        if text == Self::PassedOver.as_str() { Self::PassedOver } else { Self::Superseded }
    }
}

/// What is decided when a branch is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBranch {
    /// What people call it.
    pub name: String,
    /// The host whose state it is.
    pub site: String,
    /// Why.
    pub cause: BranchCause,
    /// The head of the line that it left from; none if it has nothing in common with the line.
    pub ancestor: Option<HeadName>,
    /// The root of that head.
    pub base: Option<Root>,
    /// Chunks that it refers to and that were not to be had any more when it was made.
    pub lacks: u64,
}

/// The object that is a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BranchId {
    /// A snapshot.
    Named(SnapshotId),
    /// The newest head of a fork.
    Fork(HeadName),
}

impl std::fmt::Display for BranchId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(id) => id.fmt(f),
            Self::Fork(name) => name.fmt(f),
        }
    }
}

/// A branch of a share.
#[derive(Clone, Debug)]
pub struct Branch {
    /// The object that it is.
    pub id: BranchId,
    /// What people call it.
    pub name: String,
    /// The host whose state it is; empty if that is not known.
    pub site: String,
    /// Why it is there.
    pub cause: BranchCause,
    /// When it was made.
    pub made_at: UtcNanos,
    /// The head of the line that it left from, as far as that is known.
    pub ancestor: Option<HeadName>,
    /// The root of that head, where it is written down.
    pub base: Option<Root>,
    /// Chunks that it lacks.
    pub lacks: u64,
    /// What it holds, as a head of its share.
    pub head: Head,
    /// Heads beside the line that are part of it, newest first.
    pub forks: Vec<HeadName>,
}

/// Whether a snapshot is a branch.
pub fn is_branch(snapshot: &Snapshot) -> bool {
    snapshot.tags.contains_key(BRANCH_TAG)
}

/// The root of the state that a branch left from, if the snapshot is a branch that says so.
pub(crate) fn base_of(snapshot: &Snapshot) -> Option<Root> {
    snapshot.tags.get(BASE_TAG).and_then(|root| serde_json::from_str(root).ok())
}

/// An id for a branch that is about to be made.
pub fn new_branch_id(made_at: UtcNanos) -> Result<SnapshotId> {
    SnapshotId::new(made_at)
}

/// A name for a head that is never published: that of a branch.
pub fn unpublished_name(epoch: u32, sequence: u64) -> Result<HeadName> {
    HeadName::new(epoch, sequence)
}

fn named(id: SnapshotId, snapshot: Snapshot) -> Option<Branch> {
    let tag = |key: &str| snapshot.tags.get(key);
    let cause = BranchCause::parse(tag(BRANCH_TAG)?);
    Some(Branch {
        id: BranchId::Named(id),
        name: snapshot.label.clone(),
        site: tag(SITE_TAG).cloned().unwrap_or_default(),
        cause,
        made_at: snapshot.taken_at,
        ancestor: tag(ANCESTOR_TAG).and_then(|name| <HeadName as HexId>::from_hex(name)),
        base: base_of(&snapshot),
        lacks: tag(LACKS_TAG).and_then(|count| count.parse().ok()).unwrap_or(0),
        head: snapshot.head,
        forks: Vec::new(),
    })
}

impl Repository<Opened> {
    /// Keeps a state as a branch, under an id that was chosen before ([`new_branch_id`]). Everything that the head
    /// reaches must be durable.
    pub async fn create_branch(
        &self,
        id: SnapshotId,
        (head_name, head): (HeadName, &Head),
        new: NewBranch,
        made_at: UtcNanos,
    ) -> Result<()> {
        let mut tags = BTreeMap::from([
            (BRANCH_TAG.to_owned(), new.cause.as_str().to_owned()),
            (SITE_TAG.to_owned(), new.site),
        ]);
        tags.extend(new.ancestor.map(|name| (ANCESTOR_TAG.to_owned(), name.to_string())));
        let base = new.base.map(|base| serde_json::to_string(&base)).transpose();
        let base = base.map_err(|error| RepositoryError::invalid(error.to_string()))?;
        tags.extend(base.map(|base| (BASE_TAG.to_owned(), base)));
        tags.extend((new.lacks > 0).then(|| (LACKS_TAG.to_owned(), new.lacks.to_string())));
        check_texts(&new.name, None, &tags)?;
        let (heat, kept, passed, plans_honoured) = Default::default();
        let head = Head { plans_honoured, kept, passed, heat, ..head.clone() };
        let name = id.object(head.share.id);
        let snapshot = Snapshot { label: new.name, policy: None, tags, taken_at: made_at, head_name, head };
        let sealed = self.seal_record(&name, &snapshot)?;
        self.store_sealed(&name, sealed, PutMode::Overwrite).await
    }

    /// The branch under an id that was chosen before; `None` if it was not written.
    pub async fn find_branch(&self, share: ShareId, id: SnapshotId) -> Result<Option<Branch>> {
        match self.read_snapshot(share, id).await {
            Ok(snapshot) => Ok(named(id, snapshot)),
            Err(RepositoryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All branches of a share, named ones and forks, oldest first; what is in the bin is none. A snapshot or head that cannot be read is
    /// none, and in the log.
    pub async fn branches(&self, share: ShareId) -> Result<Vec<Branch>> {
        let ids = self.snapshot_ids(share).await?;
        let reads = ids.into_iter().map(|id| async move { (id, self.read_snapshot(share, id).await) });
        let mut reads = stream::iter(reads).buffered(READS_MAX);
        let mut branches = Vec::new();
        while let Some((id, snapshot)) = reads.next().await {
            match snapshot {
                Ok(snapshot) if is_binned(&snapshot) => {}
                Ok(snapshot) => branches.extend(named(id, snapshot)),
                Err(RepositoryError::Missing { .. }) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                Err(error) => tracing::error!(snapshot = %id, %error, "a snapshot cannot be read"),
            }
        }
        let listed = self.list_heads(share, usize::MAX).await?;
        add_forks(&mut branches, &listed);
        branches.sort_by_key(|branch| branch.made_at);
        Ok(branches)
    }

    /// Removes a branch: its snapshot, and heads beside the line that only it has. What only it reached stays until it is
    /// collected.
    pub async fn remove_branch(&self, share: ShareId, branch: &Branch) -> Result<()> {
        let others = self.branches(share).await?;
        let others = others.iter().filter(|other| other.id != branch.id);
        let shared: BTreeSet<HeadName> = others.flat_map(|other| other.forks.iter().copied()).collect();
        // The newest first: what is left after a crash is a fork still.
        for fork in branch.forks.iter().filter(|fork| !shared.contains(fork)) {
            self.remove_head(share, fork).await?;
        }
        match branch.id {
            BranchId::Named(id) => self.remove_snapshot(share, id).await,
            BranchId::Fork(_) => Ok(()),
        }
    }

    /// Where whoever follows this head left the line. A head that is not there any more was of the line: forks stay.
    pub async fn departure_of(&self, share: ShareId, head: &HeadName) -> Result<Departure> {
        let listed = self.list_heads(share, usize::MAX).await?;
        let by_name: BTreeMap<HeadName, &ListedHead> = listed.iter().map(|head| (head.name, head)).collect();
        let beside = |name: &HeadName| {
            by_name
                .get(name)
                .filter(|listed| matches!(listed.standing, HeadStanding::Fork | HeadStanding::Unclaimed))
        };
        let (mut at, mut is_fork) = (Some(*head), false);
        while let Some(listed) = at.as_ref().and_then(beside) {
            is_fork = true;
            let parent = listed.head.as_ref().ok().and_then(|head| head.parent);
            at = parent.filter(|parent| parent.sequence < listed.name.sequence);
        }
        let on_line = at.and_then(|name| by_name.get(&name)).and_then(|listed| listed.head.as_ref().ok());
        Ok(Departure { ancestor: at, root: on_line.map(|head| head.root), is_fork })
    }

    /// The newest states, without branches and what is in the bin, that were frozen at `time` or before, and the first after it.
    pub async fn moments_around(&self, share: ShareId, time: UtcNanos) -> Result<Around> {
        let mut around = Around::default();
        if let Some(newest) = self.newest_head(share).await? {
            around.note(Point::Head(newest.name), newest.head.frozen_at, time);
            for kept in &newest.head.kept {
                around.note(Point::Head(kept.name), kept.frozen_at, time);
            }
        }
        let ids = self.snapshot_ids(share).await?;
        let reads = ids.into_iter().map(|id| async move { (id, self.read_snapshot(share, id).await) });
        let read: Vec<_> = stream::iter(reads).buffered(READS_MAX).collect().await;
        for (id, snapshot) in read {
            match snapshot {
                Ok(snapshot) if is_branch(&snapshot) || is_binned(&snapshot) => {}
                Ok(snapshot) => around.note(Point::Snapshot(id), snapshot.head.frozen_at, time),
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                Err(error) => tracing::error!(snapshot = %id, %error, "a snapshot cannot be read"),
            }
        }
        Ok(around)
    }
}

/// Where a state left the line of its share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Departure {
    /// The newest head that it has in common with the line.
    pub ancestor: Option<HeadName>,
    /// The root of that, as far as it can be read.
    pub root: Option<Root>,
    /// Whether the head that was asked about is beside the line.
    pub is_fork: bool,
}

/// A retained state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A head of the line.
    Head(HeadName),
    /// A snapshot.
    Snapshot(SnapshotId),
}

/// The states of a share next to a moment, each with when it was frozen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// The newest that is not after it.
    pub before: Option<(Point, UtcNanos)>,
    /// The oldest after it.
    pub after: Option<(Point, UtcNanos)>,
}

impl Around {
    fn note(&mut self, point: Point, frozen_at: UtcNanos, time: UtcNanos) {
        let closer = |known: Option<(Point, UtcNanos)>, is_closer: fn(UtcNanos, UtcNanos) -> bool| {
            known.is_none_or(|(_, known)| is_closer(frozen_at, known))
        };
        if frozen_at <= time && closer(self.before, |new, known| new > known) {
            self.before = Some((point, frozen_at));
        }
        if frozen_at > time && closer(self.after, |new, known| new < known) {
            self.after = Some((point, frozen_at));
        }
    }
}

/// Adds the forks that no named branch goes on from, and tells branches which forks they consist of. `listed` is every
/// head of the share, newest first.
fn add_forks(branches: &mut Vec<Branch>, listed: &[ListedHead]) {
    let forks: BTreeMap<HeadName, &Head> = listed
        .iter()
        .filter(|listed| listed.standing == HeadStanding::Fork)
        .filter_map(|listed| Some((listed.name, listed.head.as_ref().ok()?)))
        .collect();
    let chain = |from: Option<HeadName>| {
        let (mut names, mut next) = (Vec::new(), from);
        while let Some((name, head)) = next.and_then(|name| Some((name, forks.get(&name)?))) {
            names.push(name);
            next = head.parent.filter(|parent| parent.sequence < name.sequence);
        }
        (names, next)
    };
    let mut followed: BTreeSet<HeadName> = forks.values().filter_map(|head| head.parent).collect();
    for branch in branches.iter_mut() {
        let (names, ancestor) = chain(branch.head.parent);
        followed.extend(names.iter().copied());
        if !names.is_empty() {
            branch.ancestor = ancestor;
        }
        branch.forks = names;
    }
    for (name, head) in &forks {
        if followed.contains(name) {
            continue;
        }
        let (names, ancestor) = chain(Some(*name));
        branches.push(Branch {
            id: BranchId::Fork(*name),
            name: format!("{}@epoch-{}-{}", head.share.name, head.epoch, minute(head.frozen_at)),
            site: String::new(),
            cause: BranchCause::Fork,
            made_at: head.published_at,
            ancestor,
            base: None,
            lacks: 0,
            head: (*head).clone(),
            forks: names,
        });
    }
}

/// `2026-11-26T10:05`, in UTC.
pub fn minute(time: UtcNanos) -> String {
    const UP_TO_MINUTES: usize = "2026-11-26T10:05".len();
    time.to_string().chars().take(UP_TO_MINUTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::testing::{head_after, head_name};

    fn listed(name: HeadName, parent: Option<HeadName>, standing: HeadStanding) -> ListedHead {
        ListedHead { name, standing, head: Ok(head_after(&name, parent)) }
    }

    #[test]
    fn a_fork_is_a_branch_with_all_that_it_follows_beside_the_line() {
        let (first, newest) = (head_name(1, 1), head_name(2, 2));
        let (late, later, twin) = (head_name(1, 2), head_name(1, 3), head_name(1, 4));
        let twin = HeadName { suffix: 7, ..twin };
        let heads = [
            listed(newest, Some(first), HeadStanding::Newest),
            listed(twin, Some(late), HeadStanding::Fork),
            listed(later, Some(late), HeadStanding::Fork),
            listed(late, Some(first), HeadStanding::Fork),
            listed(first, None, HeadStanding::Ancestor),
        ];
        let mut branches = Vec::new();
        add_forks(&mut branches, &heads);
        branches.sort_by_key(|branch| branch.head.sequence);
        let forks: Vec<_> = branches.iter().map(|branch| branch.forks.clone()).collect();
        assert_eq!(forks, [vec![later, late], vec![twin, late]]);
        assert!(branches.iter().all(|branch| branch.ancestor == Some(first)));

        // A named branch that goes on from one of them takes its place.
        let unpublished = head_name(1, 9);
        let mut named = vec![Branch {
            id: BranchId::Named(SnapshotId::parse("0000000000000010-00000003").expect("an id")),
            head: head_after(&unpublished, Some(later)),
            ..branches[0].clone()
        }];
        add_forks(&mut named, &heads);
        assert_eq!(named.len(), 2);
        assert_eq!(named[0].forks, [later, late]);
        assert_eq!(named[1].id, BranchId::Fork(twin));
    }

    #[test]
    fn the_states_around_a_moment_are_the_nearest() {
        let point = |second: u64| (Point::Head(head_name(1, second)), UtcNanos::new(second as i64));
        let mut around = Around::default();
        for second in [5, 9, 1, 7, 12] {
            around.note(point(second).0, point(second).1, UtcNanos::new(7));
        }
        assert_eq!(around, Around { before: Some(point(7)), after: Some(point(9)) });
    }
}

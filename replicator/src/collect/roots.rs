//! What is retained: the roots of heads and snapshots; and what is not any more.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use tidegate_chunker::{DomainId, ShareId};

use super::error::CollectError;
use crate::repository::{
    Head, HeadName, HeadStanding, Opened, Repository, RepositoryError, Snapshot, SnapshotId, UtcNanos,
    base_of, is_binned, is_branch, is_over,
};
use crate::tree::Root;

/// The tag of a snapshot that only pins a root which a share is about to be put back to, or cloned from.
pub const PIN_TAG: &str = "tidegate.pin";
/// How long a pin lasts. By then the head that refers to what it pinned has been published; a gateway that
/// was cut off for longer has not honoured any plan either.
pub const PIN_AGE_MAX: Duration = Duration::from_hours(7 * 24);
/// The tag of a pin that lasts for so many days instead.
pub const PIN_DAYS_TAG: &str = "tidegate.pin.days";
/// The most days that a pin may last.
pub const PIN_DAYS_MAX: u64 = 366;

/// A root that something retains.
#[derive(Clone, Debug)]
pub(super) struct RetainedRoot {
    /// The object that retains it.
    pub(super) what: String,
    pub(super) domain: DomainId,
    pub(super) root: Root,
    /// Whether it is beside the line of its share, so that its writer may have known no plan.
    pub(super) is_fork: bool,
}

/// What was listed.
#[derive(Debug, Default)]
pub(super) struct Roots {
    pub(super) retained: Vec<RetainedRoot>,
    /// Heads that their line has passed, of each share the oldest first.
    pub(super) passed: Vec<(ShareId, HeadName)>,
    /// Pins whose time is over.
    pub(super) expired: Vec<(ShareId, SnapshotId)>,
    /// Snapshots in the bin whose time there is over. They are retained for as long as their objects are there.
    pub(super) ended: Vec<(ShareId, SnapshotId)>,
    /// Domains whose keys were destroyed on purpose.
    shredded: BTreeSet<DomainId>,
}

/// Lists everything that is retained at `now`: heads, then snapshots, then heads once more. Nothing is retained of a domain
/// that was shredded: whoever did not know yet may store a head or a branch there, of which nobody reads anything.
pub(super) async fn list(repository: &Repository<Opened>, now: UtcNanos) -> Result<Roots, CollectError> {
    let mut roots = Roots { shredded: repository.shredded_domains().await?, ..Roots::default() };
    for share in repository.share_ids().await? {
        let mut seen = HashSet::new();
        let mut passed = Vec::new();
        for listed in repository.list_heads(share, usize::MAX).await? {
            seen.insert(listed.name);
            if listed.standing == HeadStanding::Passed {
                passed.push((share, listed.name));
                continue;
            }
            let head = listed.head.map_err(unreadable)?;
            let is_fork = matches!(listed.standing, HeadStanding::Fork | HeadStanding::Unclaimed);
            roots.add(listed.name.object(share).to_string(), &head, is_fork);
        }
        roots.passed.extend(passed.into_iter().rev());
        roots.snapshots(repository, share, now).await?;
        for name in repository.head_names(share).await? {
            if seen.insert(name) {
                match repository.read_head(share, &name).await {
                    Ok(head) => roots.add(name.object(share).to_string(), &head, false),
                    Err(RepositoryError::Missing { .. }) => {}
                    Err(error) => return Err(unreadable(error)),
                }
            }
        }
    }
    Ok(roots)
}

impl Roots {
    fn add(&mut self, what: String, head: &Head, is_fork: bool) {
        if self.shredded.contains(&head.share.domain) {
            tracing::warn!(what, "what was stored in a shredded domain keeps nothing");
            return;
        }
        self.retained.push(RetainedRoot { what, domain: head.share.domain, root: head.root, is_fork });
    }

    /// What a snapshot retains; of a branch also the state that it left the line from, and both are tolerated when they
    /// are damaged, as forks are.
    fn keep(&mut self, what: &str, snapshot: &Snapshot) {
        self.add(what.to_owned(), &snapshot.head, is_branch(snapshot));
        let domain = snapshot.head.share.domain;
        if let Some(root) = base_of(snapshot).filter(|_| !self.shredded.contains(&domain)) {
            let what = format!("{what}, the state that it left from");
            self.retained.push(RetainedRoot { what, domain, root, is_fork: true });
        }
    }

    async fn snapshots(
        &mut self,
        repository: &Repository<Opened>,
        share: ShareId,
        now: UtcNanos,
    ) -> Result<(), CollectError> {
        let mut unread = repository.snapshot_ids(share).await?;
        let mut seen: HashSet<SnapshotId> = unread.iter().copied().collect();
        while let Some(id) = unread.pop() {
            match repository.read_snapshot(share, id).await {
                Ok(snapshot) => {
                    let age = now.as_nanos().saturating_sub(snapshot.taken_at.as_nanos());
                    let is_old = u128::try_from(age).is_ok_and(|age| age > pin_age_max(&snapshot).as_nanos());
                    let is_pin = snapshot.tags.contains_key(PIN_TAG) && !is_binned(&snapshot);
                    if is_pin && is_old {
                        self.expired.push((share, id));
                    } else {
                        if is_over(&snapshot, now) {
                            self.ended.push((share, id));
                        }
                        self.keep(&id.object(share).to_string(), &snapshot);
                    }
                }
                // What took its place may have come after the listing.
                Err(RepositoryError::Missing { .. }) => {
                    let listed = repository.snapshot_ids(share).await?;
                    unread.extend(listed.into_iter().filter(|id| seen.insert(*id)));
                }
                Err(error) => return Err(unreadable(error)),
            }
        }
        Ok(())
    }
}

fn pin_age_max(snapshot: &Snapshot) -> Duration {
    let days = snapshot.tags.get(PIN_DAYS_TAG).and_then(|days| days.parse::<u64>().ok());
    days.map_or(PIN_AGE_MAX, |days| Duration::from_hours(24 * days.min(PIN_DAYS_MAX)))
}

/// An object that retains something, and of which nobody can say what.
fn unreadable(error: RepositoryError) -> CollectError {
    match error {
        RepositoryError::Damaged { object, why } => CollectError::Unreadable { what: object, why },
        other => other.into(),
    }
}

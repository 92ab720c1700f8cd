//! The bin: snapshots that a person has removed, and that are kept until a time.
//!
//! A snapshot in the bin is a snapshot with the tag [`BIN_TAG`], under an id of its own. So every program that knows
//! snapshots retains what it reaches, copies it to other targets, locks it and checks it; an older one shows it among the
//! others. Nothing is a root of a collection, or none, because of the bin: a collection takes away the *object* of one
//! whose time is over, and what that alone reached is found by the collection after.
//!
//! **Order of writes, and what a crash after each leaves.** What is retained is there under one id or the other all the
//! time, and an id is never used twice, so that a request which arrives late deletes nothing that came after it.
//!
//! | into the bin | a crash after it leaves |
//! |---|---|
//! | the copy with the tag | the snapshot, as it was; the copy is not shown while the snapshot is there, and ends by its time |
//! | the snapshot is deleted | it is in the bin |
//!
//! | out of the bin | a crash after it leaves |
//! |---|---|
//! | the copy without the tag | the snapshot, and what was in the bin beside it |
//! | what was in the bin is deleted | the snapshot |
//!
//! Between the two writes of either it is looked once more whether what was copied is still there: only then the copy was
//! never without a keeper, however long it took to write.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use futures::{StreamExt, stream};
use tidegate_chunker::ShareId;

use super::error::{RepositoryError, Result};
use super::hex::HexId;
use super::names::SnapshotId;
use super::open::{Opened, Repository};
use super::snapshot::Snapshot;
use super::time::UtcNanos;
use crate::store::PutMode;

/// The tag that puts a snapshot into the bin; its value is since when.
pub const BIN_TAG: &str = "tidegate.bin";
/// Until when it is kept.
const UNTIL_TAG: &str = "tidegate.bin.until";
/// The id that it had before.
const OF_TAG: &str = "tidegate.bin.of";
/// The policy that took it: no policy of an older program takes it for one of its own.
const POLICY_TAG: &str = "tidegate.bin.policy";
/// Snapshots that are read at once.
const READS_MAX: usize = 16;

/// A snapshot in the bin.
#[derive(Clone, Debug, PartialEq)]
pub struct Binned {
    /// Its id there.
    pub id: SnapshotId,
    /// The id that it had before.
    pub of: Option<SnapshotId>,
    /// When it was removed, by the clock of whoever did.
    pub since: Option<UtcNanos>,
    /// When it ends; none: not by itself.
    pub until: Option<UtcNanos>,
    /// What it was, and is again once it is brought back.
    pub snapshot: Snapshot,
    /// The same once more, from removals that were cut: they go with it.
    pub twins: Vec<SnapshotId>,
}

/// Whether a snapshot is in the bin.
pub fn is_binned(snapshot: &Snapshot) -> bool {
    snapshot.tags.contains_key(BIN_TAG)
}

/// Whether a tag is one that the bin gives.
pub fn is_tag_of_bin(tag: &str) -> bool {
    tag.strip_prefix(BIN_TAG).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether the time of a snapshot in the bin is over. What says no time that can be read never ends by itself.
pub(crate) fn is_over(snapshot: &Snapshot, now: UtcNanos) -> bool {
    is_binned(snapshot) && time_of(snapshot, UNTIL_TAG).is_some_and(|until| until <= now)
}

fn time_of(snapshot: &Snapshot, tag: &str) -> Option<UtcNanos> {
    snapshot.tags.get(tag).and_then(|text| UtcNanos::parse(text))
}

/// As it is in the bin.
fn put_in(id: SnapshotId, snapshot: Snapshot, since: UtcNanos, until: UtcNanos) -> Snapshot {
    let mut tags = snapshot.tags;
    tags.insert(BIN_TAG.to_owned(), since.to_string());
    tags.insert(UNTIL_TAG.to_owned(), until.to_string());
    tags.insert(OF_TAG.to_owned(), id.to_string());
    tags.extend(snapshot.policy.map(|policy| (POLICY_TAG.to_owned(), policy)));
    Snapshot { tags, policy: None, ..snapshot }
}

/// As it was before.
fn take_out(snapshot: Snapshot) -> Snapshot {
    let policy = snapshot.tags.get(POLICY_TAG).cloned().or(snapshot.policy);
    let tags: BTreeMap<_, _> = snapshot.tags.into_iter().filter(|(tag, _)| !is_tag_of_bin(tag)).collect();
    Snapshot { policy, tags, ..snapshot }
}

fn binned(id: SnapshotId, snapshot: Snapshot) -> Option<Binned> {
    if !is_binned(&snapshot) {
        return None;
    }
    let of = snapshot.tags.get(OF_TAG).and_then(|of| <SnapshotId as HexId>::from_hex(of));
    let (since, until) = (time_of(&snapshot, BIN_TAG), time_of(&snapshot, UNTIL_TAG));
    Some(Binned { id, of, since, until, snapshot: take_out(snapshot), twins: Vec::new() })
}

/// What is in the bin: of a removal that was cut, the snapshot is not; of one that was begun twice, the later counts, and has
/// the others as its twins.
fn shown(listed: Vec<(SnapshotId, Snapshot)>) -> Vec<Binned> {
    let kept: HashSet<SnapshotId> =
        listed.iter().filter(|(_, snapshot)| !is_binned(snapshot)).map(|(id, _)| *id).collect();
    let (mut found, mut places) = (Vec::<Binned>::new(), HashMap::<_, usize>::new());
    // Ids sort by the time when they were given.
    for (id, snapshot) in listed.into_iter().rev() {
        let Some(entry) = binned(id, snapshot) else { continue };
        match entry.of {
            Some(of) if kept.contains(&of) => continue,
            Some(of) => match places.entry(of) {
                Entry::Occupied(later) => {
                    found[*later.get()].twins.push(entry.id);
                    continue;
                }
                Entry::Vacant(place) => drop(place.insert(found.len())),
            },
            None => {}
        }
        found.push(entry);
    }
    found.reverse();
    found
}

impl Repository<Opened> {
    /// Puts a snapshot into the bin, where it is kept until a time; gives its id there. `None`: there is no such snapshot,
    /// or it went meanwhile.
    ///
    /// # Errors
    ///
    /// As the store and the snapshot have them. What was written stays, and does no harm.
    pub async fn bin_snapshot(
        &self,
        share: ShareId,
        id: SnapshotId,
        now: UtcNanos,
        until: UtcNanos,
    ) -> Result<Option<SnapshotId>> {
        let Some(snapshot) = self.there(share, id).await?.filter(|snapshot| !is_binned(snapshot)) else {
            return Ok(None);
        };
        self.replace_snapshot(share, id, put_in(id, snapshot, now, until), now).await
    }

    /// Brings a snapshot back out of the bin, under a name if one is given, else under the one that it had; gives its id
    /// from now on. It is nobody's but whose who brought it back: no policy counts it any more, or forgets it. `None`: it is
    /// not in the bin, or ended meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Repository::bin_snapshot`].
    pub async fn unbin_snapshot(
        &self,
        share: ShareId,
        id: SnapshotId,
        name: Option<&str>,
        now: UtcNanos,
    ) -> Result<Option<SnapshotId>> {
        let Some(snapshot) = self.there(share, id).await?.filter(is_binned) else { return Ok(None) };
        let mut snapshot = Snapshot { policy: None, ..take_out(snapshot) };
        if let Some(name) = name {
            name.clone_into(&mut snapshot.label);
        }
        super::snapshot::check_texts(&snapshot.label, snapshot.policy.as_deref(), &snapshot.tags)?;
        self.replace_snapshot(share, id, snapshot, now).await
    }

    /// What is in the bin of a share, the longest there first. A snapshot that cannot be read is in no bin, and in the log.
    ///
    /// # Errors
    ///
    /// As the store has them.
    pub async fn bin(&self, share: ShareId) -> Result<Vec<Binned>> {
        let ids = self.snapshot_ids(share).await?;
        let reads = ids.into_iter().map(|id| async move { (id, self.read_snapshot(share, id).await) });
        let mut reads = stream::iter(reads).buffered(READS_MAX);
        let mut listed = Vec::new();
        while let Some((id, snapshot)) = reads.next().await {
            match snapshot {
                Ok(snapshot) => listed.push((id, snapshot)),
                Err(RepositoryError::Missing { .. }) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                Err(error) => tracing::error!(snapshot = %id, %error, "a snapshot cannot be read"),
            }
        }
        Ok(shown(listed))
    }

    /// Writes a snapshot under a new id, and deletes the old one if that was there until then.
    async fn replace_snapshot(
        &self,
        share: ShareId,
        old: SnapshotId,
        snapshot: Snapshot,
        now: UtcNanos,
    ) -> Result<Option<SnapshotId>> {
        // Of this time and not of when it was taken: copies tell by it what they have not been told of yet. And behind the old
        // one, whatever the clock says: who lists while both change places then sees one of them.
        let id = SnapshotId::new(now.max(old.after()))?;
        let name = id.object(share);
        let sealed = self.seal_record(&name, &snapshot)?;
        self.store_sealed(&name, sealed, PutMode::Overwrite).await?;
        if self.there(share, old).await?.is_none() {
            // A collection may have missed both.
            self.remove_snapshot(share, id).await?;
            return Ok(None);
        }
        self.remove_snapshot(share, old).await?;
        Ok(Some(id))
    }

    async fn there(&self, share: ShareId, id: SnapshotId) -> Result<Option<Snapshot>> {
        match self.read_snapshot(share, id).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(RepositoryError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repository::testing::{head_after, head_name};

    fn id(nanos: u64, suffix: u32) -> SnapshotId {
        SnapshotId::parse(&format!("{nanos:016x}-{suffix:08x}")).expect("an id")
    }

    fn snapshot(policy: Option<String>, tags: BTreeMap<String, String>) -> Snapshot {
        let name = head_name(1, 1);
        let (label, taken_at) = ("monday".to_owned(), UtcNanos::new(5));
        Snapshot { label, policy, tags, taken_at, head_name: name, head: head_after(&name, None) }
    }

    proptest! {
        #[test]
        fn what_comes_out_of_the_bin_is_what_went_in(
            policy in proptest::option::of("[a-z]{1,9}"),
            tags in proptest::collection::btree_map("[a-z.]{1,9}", "[a-z]{0,9}", 0..9),
            (since, term) in (0..1_i64 << 60, 0..1_i64 << 60),
        ) {
            let before = snapshot(policy, tags);
            let (since, until) = (UtcNanos::new(since), UtcNanos::new(since + term));
            let inside = put_in(id(1, 2), before.clone(), since, until);
            prop_assert!(is_binned(&inside) && inside.policy.is_none());
            prop_assert!(!is_over(&inside, UtcNanos::new(until.as_nanos() - 1)) && is_over(&inside, until));
            let entry = binned(id(3, 4), inside).expect("it is in the bin");
            prop_assert_eq!((entry.of, entry.since, entry.until), (Some(id(1, 2)), Some(since), Some(until)));
            prop_assert_eq!(entry.snapshot, before);
        }
    }

    #[test]
    fn what_says_no_time_that_can_be_read_never_ends_by_itself() {
        let far = UtcNanos::new(i64::MAX);
        for text in ["", "soon", "2026-01-01"] {
            let mut inside =
                put_in(id(1, 1), snapshot(None, BTreeMap::new()), UtcNanos::new(1), UtcNanos::new(2));
            inside.tags.insert(UNTIL_TAG.to_owned(), text.to_owned());
            assert!(!is_over(&inside, far), "{text:?}");
            inside.tags.remove(UNTIL_TAG);
            assert!(!is_over(&inside, far) && is_binned(&inside));
        }
        assert!(!is_over(&snapshot(None, BTreeMap::new()), far));
        assert!(is_tag_of_bin("tidegate.bin.until") && !is_tag_of_bin("tidegate.binary"));
    }

    #[test]
    fn a_removal_that_was_cut_is_not_shown_and_one_that_was_begun_twice_is_shown_once() {
        let plain = || snapshot(None, BTreeMap::new());
        let inside = |of| put_in(of, plain(), UtcNanos::new(1), UtcNanos::new(2));
        let (here, gone) = (id(1, 1), id(2, 1));
        let listed = vec![
            (here, plain()),
            (id(5, 1), inside(here)),
            (id(6, 1), inside(gone)),
            (id(7, 1), inside(gone)),
            (id(8, 1), inside(id(3, 1))),
        ];
        let ids: Vec<_> = shown(listed).into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [id(7, 1), id(8, 1)]);
    }
}

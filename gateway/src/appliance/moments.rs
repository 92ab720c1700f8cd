//! Which moments a share has: its heads and snapshots in the repository.
//!
//! The list is looked at when somebody asks and what is known is older than [`AGE_MAX`], or was changed
//! from here; by a listing of names, and a read of each head and snapshot that is not known yet,
//! [`READS_MAX`] at once. A store that is away leaves what is known standing. A head that a snapshot was
//! taken of is shown as that snapshot.
//!
//! Memory: some hundred bytes for each head and snapshot, of the newest [`MOMENTS_MAX`] of either.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tidegate_chunker::{SecretKey, ShareId};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::Timestamp;
use tidegate_replicator::repository::{
    Head, HeadName, Opened, Repository, RepositoryError, SnapshotId, UtcNanos, is_binned,
};
use tidegate_replicator::tree::NodeSource;

use crate::files::{Moment, MomentList, Moments};
use crate::share::FrozenMap;

/// The most heads, and the most snapshots, that are shown: the newest.
const MOMENTS_MAX: usize = 16_384;
/// How old the list may be that somebody is shown.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Heads and snapshots that are read at once.
const READS_MAX: usize = 16;
/// The longest label that becomes part of a name, in bytes.
const LABEL_BYTES_MAX: usize = 180;

/// What is retained, as the repository names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Retained {
    Head(HeadName),
    Snapshot(SnapshotId),
}

/// A retained state that was read: what becomes of it in the list, and the head that it shows.
struct Known {
    head: HeadName,
    /// None of a snapshot in the bin: it is not shown, and not read again.
    moment: Option<Arc<Moment>>,
}

#[derive(Default)]
struct State {
    known: HashMap<Retained, Known>,
    /// What could not be read, and was said in the log.
    unreadable: HashSet<Retained>,
    list: Arc<MomentList>,
    looked_at: Option<Instant>,
}

/// The moments of one share.
pub(super) struct ShareMoments {
    repository: Arc<Repository<Opened>>,
    share: ShareId,
    nodes: Arc<dyn NodeSource>,
    /// Makes numbers of names: the same on every gateway, and nobody else's.
    view_key: SecretKey,
    state: Mutex<State>,
    /// Held while the repository is looked at.
    looking: tokio::sync::Mutex<()>,
}

impl ShareMoments {
    pub(super) fn new(
        repository: Arc<Repository<Opened>>,
        share: ShareId,
        nodes: Arc<dyn NodeSource>,
        handle_key: &SecretKey,
    ) -> Self {
        let view_key = handle_key.keyed(b"views");
        let (state, looking) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { repository, share, nodes, view_key, state, looking }
    }

    /// The repository has changed: who asks next is shown it.
    pub(super) fn look_again(&self) {
        self.state.lock().looked_at = None;
    }

    fn fresh(&self) -> Option<Arc<MomentList>> {
        let state = self.state.lock();
        let fresh = state.looked_at.is_some_and(|at| at.elapsed() < AGE_MAX);
        fresh.then(|| state.list.clone())
    }

    /// Looks at the repository; what is there in the end is the list.
    async fn look(&self) -> Result<Arc<MomentList>, RepositoryError> {
        let started = Instant::now();
        let heads = self.repository.head_names(self.share).await?;
        let snapshots = self.repository.snapshot_ids(self.share).await?;
        // Heads are listed newest first, snapshots oldest first.
        let heads = heads.into_iter().take(MOMENTS_MAX).map(Retained::Head);
        let snapshots = snapshots.into_iter().rev().take(MOMENTS_MAX).map(Retained::Snapshot);
        let retained: HashSet<Retained> = heads.chain(snapshots).collect();
        let unknown: Vec<Retained> = {
            let mut state = self.state.lock();
            state.known.retain(|which, _| retained.contains(which));
            state.unreadable.retain(|which| retained.contains(which));
            let unknown =
                |which: &&Retained| !state.known.contains_key(which) && !state.unreadable.contains(which);
            retained.iter().filter(unknown).copied().collect()
        };
        let mut reads = stream::iter(unknown)
            .map(|which| async move { (which, self.read(which).await) })
            .buffer_unordered(READS_MAX);
        while let Some((which, read)) = reads.next().await {
            match read {
                Ok(known) => drop(self.state.lock().known.insert(which, known)),
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                // Removed meanwhile.
                Err(RepositoryError::Missing { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "a head or snapshot cannot be read: it is not shown");
                    self.state.lock().unreadable.insert(which);
                }
            }
        }
        let mut state = self.state.lock();
        state.list = Arc::new(listed(&state.known));
        state.looked_at = Some(started);
        Ok(state.list.clone())
    }

    async fn read(&self, which: Retained) -> Result<Known, RepositoryError> {
        let (name, object, head, label) = match which {
            Retained::Head(name) => {
                let head = self.repository.read_head(self.share, &name).await?;
                (name, name.object(self.share), head, String::new())
            }
            Retained::Snapshot(id) => {
                let snapshot = self.repository.read_snapshot(self.share, id).await?;
                if is_binned(&snapshot) {
                    return Ok(Known { head: snapshot.head_name, moment: None });
                }
                (snapshot.head_name, id.object(self.share), snapshot.head, snapshot.label)
            }
        };
        let moment = self.moment(object.as_str(), &head, &label);
        Ok(Known { head: name, moment: Some(Arc::new(moment)) })
    }

    fn moment(&self, object: &str, head: &Head, label: &str) -> Moment {
        let digest = self.view_key.digest(object.as_bytes());
        let number = digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes) >> 1);
        let nanos = head.frozen_at.as_nanos();
        Moment {
            view: number.max(Moment::VIEW_FIRST),
            name: Bytes::from(name_of(head.frozen_at, label)),
            frozen_at: Timestamp { seconds: nanos / 1_000_000_000, nanos: (nanos % 1_000_000_000) as u32 },
            usage: head.usage,
            map: FrozenMap { root: head.root, nodes: self.nodes.clone() },
        }
    }
}

#[async_trait]
impl Moments for ShareMoments {
    async fn list(&self) -> Result<Arc<MomentList>, FsError> {
        if let Some(list) = self.fresh() {
            return Ok(list);
        }
        let _looking = self.looking.lock().await;
        // Somebody else has looked meanwhile.
        if let Some(list) = self.fresh() {
            return Ok(list);
        }
        match self.look().await {
            Ok(list) => Ok(list),
            Err(error) => {
                let state = self.state.lock();
                if !state.list.is_empty() {
                    return Ok(state.list.clone());
                }
                tracing::debug!(%error, "the moments of a share cannot be listed");
                let away = matches!(error, RepositoryError::Store(_) | RepositoryError::Local { .. });
                Err(if away { FsError::TryLater } else { FsError::Io })
            }
        }
    }

    fn seen(&self) -> Arc<MomentList> {
        self.state.lock().list.clone()
    }
}

/// What is shown of what is known: snapshots that are not in the bin, and heads that none of them was taken of. Names that would come
/// twice are told apart by their numbers.
fn listed(known: &HashMap<Retained, Known>) -> MomentList {
    let is_snapshot = |which: &Retained| matches!(which, Retained::Snapshot(_));
    let known: Vec<_> =
        known.iter().filter_map(|(which, known)| Some((which, known.head, known.moment.as_ref()?))).collect();
    let taken: HashSet<HeadName> =
        known.iter().filter(|(which, ..)| is_snapshot(which)).map(|(_, head, _)| *head).collect();
    let shown = known.iter().filter(|(which, head, _)| is_snapshot(which) || !taken.contains(head));
    let mut moments: Vec<_> = shown.map(|(.., moment)| (*moment).clone()).collect();
    moments.sort_unstable_by_key(|moment| (moment.frozen_at, moment.view));
    let mut names = HashSet::new();
    for moment in &mut moments {
        if !names.insert(moment.name.clone()) {
            let name = [&moment.name[..], format!(".{:016x}", moment.view).as_bytes()].concat();
            let Moment { view, frozen_at, usage, ref map, .. } = **moment;
            *moment = Arc::new(Moment { view, name: name.into(), frozen_at, usage, map: map.clone() });
        }
    }
    MomentList::new(moments)
}

/// `2026-11-25T16.49.03.123Z`, and after another dot the label, with nothing in it that a name may not have.
/// Colons would be refused by Windows.
fn name_of(frozen_at: UtcNanos, label: &str) -> String {
    const UP_TO_MILLISECONDS: usize = "2026-11-25T16:49:03.123".len();
    let time = frozen_at.to_string().replace(':', ".");
    let mut name = format!("{}Z", &time[..UP_TO_MILLISECONDS]);
    if !label.is_empty() {
        name.push('.');
        let letters =
            label.chars().map(|letter| if letter == '/' || letter.is_control() { '_' } else { letter });
        for letter in letters {
            if name.len() + letter.len_utf8() > UP_TO_MILLISECONDS + LABEL_BYTES_MAX {
                break;
            }
            name.push(letter);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_times_to_the_millisecond_with_labels_made_harmless() {
        let at = UtcNanos::parse("2026-11-25T16:49:03.123456789Z").expect("a time");
        assert_eq!(name_of(at, ""), "2026-11-25T16.49.03.123Z");
        assert_eq!(name_of(at, "before/up\0grade"), "2026-11-25T16.49.03.123Z.before_up_grade");
        assert_eq!(name_of(UtcNanos::new(0), "x"), "1970-01-01T00.00.00.000Z.x");
        assert!(name_of(at, &"ä".repeat(300)).len() <= 255 - 17, "room for a number");
    }
}

//! Proposing: which packs to condemn.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_chunker::{PackId, ShareId};

use super::error::CollectError;
use super::held::{Held, ends_soon, locks};
use super::mark::{Live, Marked, MarkedPack, mark};
use super::options::CollectOptions;
use super::repack::SparsePack;
use super::reseal::old_packs;
use crate::observer::Observer;
use crate::repository::{HeadName, Opened, PLAN_PACKS_MAX, Repository, SnapshotId, UtcNanos};
use crate::store::LockState;

/// How far the store's clock may be ahead of this machine's.
const CLOCK_AHEAD_MAX: Duration = Duration::from_mins(15);

/// What a marking has shown, and what follows from it. Nothing has been changed.
#[derive(Clone, Debug, Default)]
pub struct Proposal {
    /// Roots that are retained.
    pub roots: u64,
    /// Packs there are, and their length in bytes.
    pub packs: u64,
    /// See `packs`.
    pub pack_bytes: u64,
    /// Length of all chunks that the index names, and of those that are reached; before compression.
    pub chunk_bytes: u64,
    /// See `chunk_bytes`.
    pub live_bytes: u64,
    /// Packs that nothing reaches and that are old enough, in order of id.
    pub condemned: Vec<PackId>,
    /// Their length in bytes.
    pub condemned_bytes: u64,
    /// Packs that are not under the newest keys, if they are to be repacked, besides those of which little is alive.
    pub old: u64,
    /// Packs of which little is alive, or that are under old keys, the emptiest first, as many as one round copies.
    pub sparse: Vec<SparsePack>,
    /// Packs that were made of them.
    pub replacements: Vec<PackId>,
    /// Packs that nothing reaches, and that were stored too recently; or for which the plan has no room.
    pub deferred: u64,
    /// Their length in bytes.
    pub deferred_bytes: u64,
    /// Packs that nothing reaches, and whose locks have not ended.
    pub held: Held,
    /// Packs that would be condemned or repacked, and whose storage class charges for them until then anyway.
    pub paid: Held,
    /// Packs that would be repacked, and sleep.
    pub asleep: u64,
    /// Packs that trees refer to and of which the index lacks something.
    pub unindexed: Vec<PackId>,
    /// Heads that their line has passed.
    pub passed_heads: Vec<(ShareId, HeadName)>,
    /// Pins whose time is over.
    pub expired_pins: Vec<(ShareId, SnapshotId)>,
    /// Snapshots in the bin whose time there is over. What they reach is retained still: the next proposal finds it.
    pub ended_in_bin: Vec<(ShareId, SnapshotId)>,
}

impl Proposal {
    /// Whether it would condemn a greater part of all packs than `percent`.
    pub fn exceeds(&self, percent: u8) -> bool {
        u128::from(self.condemned_bytes) * 100 > u128::from(self.pack_bytes) * u128::from(percent)
    }
}

/// Marks, and says what could go. Reads only. What open plans condemn is left to them.
pub async fn propose(
    repository: &Arc<Repository<Opened>>,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<Proposal, CollectError> {
    let marked = mark(repository, options, observer).await?;
    check_clock(&marked.packs, options)?;
    let mut proposal = Proposal {
        roots: marked.roots.retained.len() as u64,
        packs: marked.packs.len() as u64,
        passed_heads: marked.roots.passed.clone(),
        expired_pins: marked.roots.expired.clone(),
        ended_in_bin: marked.roots.ended.clone(),
        ..Proposal::default()
    };
    let (mut sparse, mut full, mut dead) = (Vec::new(), Vec::new(), Vec::new());
    let now = system(options.now);
    for (number, pack) in marked.packs.iter().enumerate() {
        proposal.pack_bytes += pack.bytes;
        proposal.chunk_bytes += pack.chunk_bytes;
        proposal.live_bytes += pack.live_bytes;
        if pack.has_strays {
            proposal.unindexed.push(pack.id);
        }
        if pack.in_open_plan {
            continue;
        }
        if pack.lacks_facts && !pack.condemned && !pack.has_strays {
            proposal.unindexed.push(pack.id);
        }
        match fate(pack, options, now) {
            Fate::Stays => {}
            Fate::Sparse => sparse.push(number),
            Fate::Full => full.push(number),
            Fate::Dead => dead.push(pack),
            Fate::TooYoung => {
                proposal.deferred += 1;
                proposal.deferred_bytes += pack.bytes;
            }
            Fate::Paid(until) => proposal.paid.add(pack.bytes, Some(until)),
            Fate::Asleep => proposal.asleep += 1,
        }
    }
    condemn_dead(repository, &dead, &mut proposal, observer).await?;
    if options.reseal {
        let ids = full.iter().map(|number| marked.packs[*number].id).collect();
        let old = old_packs(repository, ids, observer).await?;
        proposal.old = old.len() as u64;
        sparse.extend(full.into_iter().filter(|number| old.contains(&marked.packs[*number].id)));
    }
    proposal.sparse = choose(marked, sparse, options).await?;
    Ok(proposal)
}

/// What may become of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is needed, or too young to be looked at.
    Stays,
    /// Little of it is alive.
    Sparse,
    /// Much of it is alive: only its keys may be too old.
    Full,
    /// Nothing reaches it.
    Dead,
    /// Nothing reaches it, and it was stored too recently.
    TooYoung,
    /// It would go, or be repacked, but for its class's minimum storage duration, which ends then.
    Paid(SystemTime),
    /// It would be repacked, but it cannot be read.
    Asleep,
}

/// A minimum storage duration keeps packs from being repacked and condemned, sleep from being read.
fn fate(pack: &MarkedPack, options: &CollectOptions, now: SystemTime) -> Fate {
    let class = pack.class.as_ref();
    let paid_until = options.classes.kept_until(class, pack.modified, now);
    let is_young = age(pack, now) < options.grace;
    let (is_dead, is_sparse) = (pack.is_dead(), pack.is_sparse(options.repack_below_percent));
    match paid_until {
        _ if pack.is_kept => Fate::Stays,
        _ if is_young && is_dead => Fate::TooYoung,
        _ if is_young => Fate::Stays,
        Some(until) if is_dead || is_sparse => Fate::Paid(until),
        Some(_) => Fate::Stays,
        None if is_dead => Fate::Dead,
        None if options.classes.sleeps(class) && is_sparse => Fate::Asleep,
        None if options.classes.sleeps(class) => Fate::Stays,
        None if is_sparse => Fate::Sparse,
        None => Fate::Full,
    }
}

/// Condemns packs that nothing reaches, but those that are locked for longer, and those that the plan has no room for.
async fn condemn_dead(
    repository: &Arc<Repository<Opened>>,
    dead: &[&MarkedPack],
    proposal: &mut Proposal,
    observer: &dyn Observer,
) -> Result<(), CollectError> {
    let rule = repository.store().capabilities().lock;
    let locks = match rule {
        Some(_) => locks(repository, dead.iter().map(|pack| pack.id).collect(), observer).await?,
        None => HashMap::new(),
    };
    for pack in dead {
        let state = locks.get(&pack.id).filter(|state| state.is_locked());
        // What is void already nobody refers to anew, so it can wait until it can go.
        let waits = |state: &&LockState| pack.condemned || rule.is_some_and(|rule| !ends_soon(rule, state));
        if let Some(state) = state.filter(waits) {
            proposal.held.add(pack.bytes, state.until);
        } else if proposal.condemned.len() < PLAN_PACKS_MAX / 2 {
            proposal.condemned.push(pack.id);
            proposal.condemned_bytes += pack.bytes;
        } else {
            proposal.deferred += 1;
            proposal.deferred_bytes += pack.bytes;
        }
    }
    Ok(())
}

/// The emptiest of the sparse packs, as many as one round copies and a plan has room for, with what is alive
/// of them.
async fn choose(
    marked: Marked,
    mut sparse: Vec<usize>,
    options: &CollectOptions,
) -> Result<Vec<SparsePack>, CollectError> {
    let live_share = |number: &usize| {
        let pack = &marked.packs[*number];
        u128::from(pack.live_bytes) * 1_000_000 / u128::from(pack.chunk_bytes.max(1))
    };
    sparse.sort_by_key(live_share);
    let mut room = options.repack_bytes_max;
    sparse.retain(|number| {
        let fits = marked.packs[*number].live_bytes <= room;
        room -= if fits { marked.packs[*number].live_bytes } else { 0 };
        fits
    });
    sparse.truncate(PLAN_PACKS_MAX / 2);
    if sparse.is_empty() {
        return Ok(Vec::new());
    }
    let packs: Vec<(PackId, u64, u64)> =
        marked.packs.iter().map(|pack| (pack.id, pack.bytes, pack.chunk_bytes)).collect();
    let live = marked.live_in(sparse).await?;
    let pack = |(number, live): (usize, Live)| {
        let (id, bytes, chunk_bytes) = packs[number];
        SparsePack { id, bytes, chunk_bytes, live }
    };
    Ok(live.into_iter().map(pack).collect())
}

fn system(time: UtcNanos) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(time.as_nanos() as u64)
}

fn age(pack: &MarkedPack, now: SystemTime) -> Duration {
    now.duration_since(pack.modified).unwrap_or_default()
}

fn check_clock(packs: &[MarkedPack], options: &CollectOptions) -> Result<(), CollectError> {
    let newest = packs.iter().map(|pack| pack.modified).max().unwrap_or(UNIX_EPOCH);
    match newest.duration_since(system(options.now)) {
        Ok(ahead) if ahead > CLOCK_AHEAD_MAX => Err(CollectError::Clock { seconds: ahead.as_secs() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::repository::PackObject;
    use crate::store::{Classes, StorageClass};

    const DAY: Duration = Duration::from_hours(24);

    fn pack(age_days: u32, class: Option<StorageClass>, live_percent: u64) -> (MarkedPack, SystemTime) {
        let now = UNIX_EPOCH + DAY * 10_000;
        let (id, modified) = (PackId::new([1; 32]), now - DAY * age_days);
        let listed = MarkedPack::listed(PackObject { id, bytes: 500, modified, class });
        let live_bytes = live_percent * 10;
        (MarkedPack { chunk_bytes: 1_000, live_bytes, reached: live_bytes > 0, ..listed }, now)
    }

    fn class(number: u8) -> Option<StorageClass> {
        let names = ["STANDARD_IA", "GLACIER", "DEEP_ARCHIVE", "COLD"];
        names.get(usize::from(number)).map(|name| name.parse().expect("a class"))
    }

    proptest! {
        /// Whatever is known of a pack: before its minimum is over nothing is done to it, and what sleeps is never read.
        #[test]
        fn nothing_is_done_before_the_minimum_and_what_sleeps_is_not_read(
            age_days in 0_u32..400, number in 0_u8..5, live_percent in 0_u64..=100,
        ) {
            let (pack, now) = pack(age_days, class(number), live_percent);
            let options = CollectOptions::new(UtcNanos::from(now), std::path::PathBuf::new());
            let traits = Classes::default().traits(pack.class.as_ref());
            let fate = fate(&pack, &options, now);
            if DAY * age_days < traits.minimum {
                prop_assert!(!matches!(fate, Fate::Sparse | Fate::Full | Fate::Dead | Fate::Asleep), "{fate:?}");
            }
            if traits.sleeps {
                prop_assert!(!matches!(fate, Fate::Sparse | Fate::Full), "{fate:?}");
            }
            if let Fate::Paid(until) = fate {
                prop_assert_eq!(until, pack.modified + traits.minimum);
                prop_assert!(until > now && live_percent < 50);
            }
        }

        /// What may hold something that is lost is neither condemned nor repacked, not even for its keys.
        #[test]
        fn what_is_kept_stays(age_days in 0_u32..400, number in 0_u8..5, live_percent in 0_u64..=100) {
            let (pack, now) = pack(age_days, class(number), live_percent);
            let pack = MarkedPack { is_kept: true, ..pack };
            let options = CollectOptions::new(UtcNanos::from(now), std::path::PathBuf::new());
            prop_assert_eq!(fate(&pack, &options, now), Fate::Stays);
            prop_assert!(!pack.is_dead() && !pack.is_sparse(100));
        }

        /// Without classes all is as it was before there were any.
        #[test]
        fn packs_of_no_class_are_judged_by_age_and_life_alone(age_days in 0_u32..9, live_percent in 0_u64..=100) {
            let (pack, now) = pack(age_days, None, live_percent);
            let options = CollectOptions::new(UtcNanos::from(now), std::path::PathBuf::new());
            let expected = match (age_days >= 1, live_percent) {
                (true, 0) => Fate::Dead,
                (false, 0) => Fate::TooYoung,
                (true, 1..50) => Fate::Sparse,
                (true, _) => Fate::Full,
                (false, _) => Fate::Stays,
            };
            prop_assert_eq!(fate(&pack, &options, now), expected);
        }
    }
}

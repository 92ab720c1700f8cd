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
    /// Heads that their line has passed.
    pub passed_heads: Vec<(ShareId, HeadName)>,
    /// Pins whose time is over.
    pub expired_pins: Vec<(ShareId, SnapshotId)>,
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
        ..Proposal::default()
    };
    let (mut sparse, mut full, now) = (Vec::new(), Vec::new(), system(options.now));
    let mut dead = Vec::new();
    for (number, pack) in marked.packs.iter().enumerate() {
        proposal.pack_bytes += pack.bytes;
        proposal.chunk_bytes += pack.chunk_bytes;
        proposal.live_bytes += pack.live_bytes;
        if pack.in_open_plan {
            continue;
        }
        if !pack.is_dead() {
            let is_sparse = pack.is_sparse(options.repack_below_percent);
            if age(pack, now) >= options.grace {
                let numbers = if is_sparse { &mut sparse } else { &mut full };
                numbers.push(number);
            }
            continue;
        }
        if age(pack, now) >= options.grace {
            dead.push(pack);
        } else {
            proposal.deferred += 1;
            proposal.deferred_bytes += pack.bytes;
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

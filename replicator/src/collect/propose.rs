//! Proposing: which packs to condemn.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_chunker::{PackId, ShareId};

use super::error::CollectError;
use super::mark::{MarkedPack, mark};
use super::options::{CollectOptions, Observer};
use super::void::VoidPacks;
use crate::repository::{HeadName, Opened, PLAN_PACKS_MAX, Repository, SnapshotId};

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
    /// Packs that nothing reaches, and that were stored too recently; or for which the plan has no room.
    pub deferred: u64,
    /// Their length in bytes.
    pub deferred_bytes: u64,
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
    let mut void = VoidPacks::default();
    void.refresh(repository).await?;
    let marked = mark(repository, options, observer).await?;
    check_clock(&marked.packs, options)?;
    let mut proposal = Proposal {
        roots: marked.roots.retained.len() as u64,
        packs: marked.packs.len() as u64,
        passed_heads: marked.roots.passed,
        expired_pins: marked.roots.expired,
        ..Proposal::default()
    };
    for pack in &marked.packs {
        proposal.pack_bytes += pack.bytes;
        proposal.chunk_bytes += pack.chunk_bytes;
        proposal.live_bytes += pack.live_bytes;
        if !pack.is_dead() || void.is_in_open_plan(&pack.id) {
            continue;
        }
        if age(pack, options) >= options.grace && proposal.condemned.len() < PLAN_PACKS_MAX {
            proposal.condemned.push(pack.id);
            proposal.condemned_bytes += pack.bytes;
        } else {
            proposal.deferred += 1;
            proposal.deferred_bytes += pack.bytes;
        }
    }
    Ok(proposal)
}

fn now(options: &CollectOptions) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(options.now.as_nanos() as u64)
}

fn age(pack: &MarkedPack, options: &CollectOptions) -> Duration {
    now(options).duration_since(pack.modified).unwrap_or_default()
}

fn check_clock(packs: &[MarkedPack], options: &CollectOptions) -> Result<(), CollectError> {
    let newest = packs.iter().map(|pack| pack.modified).max().unwrap_or(UNIX_EPOCH);
    match newest.duration_since(now(options)) {
        Ok(ahead) if ahead > CLOCK_AHEAD_MAX => Err(CollectError::Clock { seconds: ahead.as_secs() }),
        _ => Ok(()),
    }
}

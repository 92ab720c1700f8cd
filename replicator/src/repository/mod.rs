//! The repository: all objects below one prefix of a store, with its own keys.
//!
//! ```text
//! config        what is fixed for its life          config.rs
//! keys/         the master key, wrapped by slots    slot/
//! domains/      secrets, sealed by the master key   domain.rs
//! packs/        frames                              packs.rs
//! index/        chunk id -> location                index/
//! heads/        published roots                     head.rs, heads.rs, line.rs, publish.rs
//! snapshots/    retained roots                      snapshot.rs
//! leases/       who may publish                     lease/
//! plans/        what is about to be deleted         plan.rs
//! heartbeats/   which gateways live                 heartbeat.rs
//! shredded/     domains whose keys were destroyed   shredding.rs
//! ```
//!
//! A [`Repository`] is [`Locked`] when its config has been read, and [`Opened`] when a key slot has given
//! the master key and with it all domains. Opening only reads: when it fails, nothing was written.
//!
//! Promises of everything here:
//!
//! * An object is bound to its name and its repository, and has a bounded length. What does not open is
//!   [`RepositoryError::Damaged`] under its name, never a wrong answer and never a panic.
//! * An object that others may refer to is never changed in place; names have a random part or are taken
//!   once.
//! * An error of the store says nothing about whether a write was carried out. All writes here can be
//!   repeated, or leave a leftover that does no harm and is found again by listing.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use tidegate_chunker::{ChunkParams, ShareId};
//! use tidegate_replicator::repository::{
//!     ClaimOptions, ClaimOutcome, Claimant, KeyFile, NewRepository, Repository, RepositoryError, SlotKey, UtcNanos,
//! };
//! use tidegate_replicator::store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), RepositoryError> {
//! # let folder = tempfile::tempdir().expect("a temporary folder");
//! # let path = folder.path().join("key");
//! let store = Arc::new(MemoryStore::new());
//! let now = UtcNanos::from(std::time::SystemTime::now());
//! let key = SlotKey::KeyFile(KeyFile::create(&path)?);
//! let new = NewRepository {
//!     chunks: ChunkParams::default(),
//!     slot_label: "the first gateway".into(),
//!     domain_label: "everything".into(),
//!     created_at: now,
//! };
//! Repository::init(store.clone(), &new, &key).await?;
//!
//! // Another gateway, with nothing but the store and the key.
//! let repository = Repository::open(store, &SlotKey::KeyFile(KeyFile::open(&path)?)).await?;
//! let share = ShareId::new([1; 16]);
//! assert!(repository.newest_head(share).await?.is_none());
//!
//! let claimant = Claimant { host: "harbour".into(), instance: "main".into() };
//! let options = ClaimOptions::new(claimant, now, Duration::from_millis(1))?;
//! let lease = repository.lease(share).await?;
//! let ClaimOutcome::Leading(leadership) = repository.claim(&lease, &options).await? else { panic!("alone") };
//! assert_eq!(leadership.epoch(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! Not here: which chunks there are and what they mean (`tree`), how many packs go up at once (whoever commits),
//! retries and rates (decorators of the store).

mod bin;
mod branch;
mod chance;
mod config;
mod control;
mod domain;
pub(crate) mod envelope;
mod epochs;
mod error;
mod head;
mod heads;
mod heartbeat;
mod heat;
mod hex;
mod index;
mod ladder;
mod lease;
mod line;
pub(crate) mod names;
mod open;
mod packs;
mod plan;
mod publish;
mod secret_hex;
mod seen;
mod shredding;
mod slot;
mod snapshot;
mod time;

pub(crate) use bin::is_over;
pub use bin::{BIN_TAG, Binned, is_binned, is_tag_of_bin};
pub(crate) use branch::base_of;
pub use branch::{
    Around, BRANCH_TAG, Branch, BranchCause, BranchId, Departure, NewBranch, Point, is_branch, minute,
    new_branch_id, unpublished_name,
};
pub use config::Config;
pub use domain::{DOMAIN_OBJECTS_MAX, Domain, UnreadableObject};
pub use error::{RepositoryError, Result};
pub use head::{
    CommitStatistics, Era, HEAD_BYTES_MAX, Head, Incarnation, KEPT_HEADS_MAX, KeptHead, LineTotals,
    ShareDescription, TURNS_MAX, Usage,
};
pub use heads::{ListedHead, NewestHead, ShareState};
pub use heartbeat::{
    BeatAlarm, BeatShare, HEARTBEAT_ALARMS_MAX, HEARTBEAT_SHARES_MAX, HEARTBEATS_KEPT, Heartbeat,
    HeartbeatName, ListedHeartbeat,
};
pub use heat::{HEAT_BYTES_MAX, HOT_RANGE_BYTES_MAX, Heat, HotKind, HotPack};
pub(crate) use hex::{decode as decode_hex, encode as encode_hex};
pub use index::{
    INDEX_ENTRIES_MAX, INDEX_LEVEL_OBJECTS_MAX, IndexEntry, IndexObject, IndexReader, MergeReport,
    RebuildReport,
};
pub use ladder::{Ladder, Rung};
pub(crate) use lease::ListedClaim;
pub use lease::{
    ClaimInfo, ClaimOptions, ClaimOutcome, Claimant, Leadership, LeadershipNote, LeaseState, Promotion,
    Standing, Successor, TokioWait, Wait,
};
pub use line::HeadStanding;
pub use names::{
    ClaimNonce, HeadName, IndexId, IndexName, InstanceId, PlanId, SlotId, SnapshotId, config as config_name,
    pack as pack_name,
};
pub use open::{Locked, NewRepository, Opened, Repository, check_vacant};
pub use packs::{DurablePack, DurablePacks, PackObject};
pub use plan::{ListedPlan, PLAN_PACKS_MAX, Plan, PlanOutcome};
pub use publish::{DurableCommit, PreparedHead, Published};
pub use seen::{Comparison, Seen};
pub use shredding::Shredding;
pub use slot::{
    Argon2Cost, KeyFile, LABEL_BYTES_MAX, PASSPHRASE_BYTES_MAX, Passphrase, RecoveryKey, SLOTS_MAX, SlotInfo,
    SlotKey, SlotKind,
};
pub use snapshot::{NewSnapshot, Snapshot};
pub use time::UtcNanos;

#[cfg(test)]
mod testing;

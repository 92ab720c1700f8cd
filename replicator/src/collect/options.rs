//! What a collection may use and may do.

use std::path::PathBuf;
use std::time::Duration;

use super::error::CollectError;
use crate::observer::Observer;
use crate::repository::UtcNanos;
use crate::store::Classes;

/// What a collection may use and may do.
#[derive(Clone, Debug)]
pub struct CollectOptions {
    /// What time it is.
    pub now: UtcNanos,
    /// Packs that were stored more recently are left alone: a commit that is under way may be about to
    /// refer to them. Nothing that is needed depends on it; it only spares the work.
    pub grace: Duration,
    /// The greatest part of all packs that one plan may condemn, in percent of their bytes.
    pub delete_percent_max: u8,
    /// Packs of which less than this is alive are repacked, in percent of the chunks in them.
    pub repack_below_percent: u8,
    /// Whether packs that are not under the newest sealing epoch of their domain are repacked too, whatever of them
    /// is alive.
    pub reseal: bool,
    /// What is known of storage classes: a pack is neither repacked nor condemned before its class's minimum storage
    /// duration is over, and what sleeps is never read.
    pub classes: Classes,
    /// How much is copied for that in one round, before compression, in bytes.
    pub repack_bytes_max: u64,
    /// What is noted of packs and nodes, and what is kept of what was read, in bytes: about.
    pub memory_bytes_max: u64,
    /// A local folder for what does not fit into memory; what is put there is removed at the end.
    pub scratch: PathBuf,
}

impl CollectOptions {
    /// A day of grace, a third of all packs at most, packs alive to less than a half, of which 4 GiB are copied,
    /// 256 MiB.
    pub fn new(now: UtcNanos, scratch: PathBuf) -> Self {
        Self {
            now,
            grace: Duration::from_hours(24),
            delete_percent_max: 33,
            repack_below_percent: 50,
            reseal: false,
            classes: Classes::default(),
            repack_bytes_max: 4 << 30,
            memory_bytes_max: 256 << 20,
            scratch,
        }
    }
}

/// Ends the collection if it is to be stopped.
pub(super) fn checkpoint(observer: &dyn Observer) -> Result<(), CollectError> {
    if observer.is_cancelled() { Err(CollectError::Cancelled) } else { Ok(()) }
}

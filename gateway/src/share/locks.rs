//! Locks of inodes: who changes an inode holds its lock from before the first read until the change
//! is submitted.
//!
//! Inodes share a fixed number of locks, so memory does not grow with the share. Several are always
//! taken in the order of the locks, so two changes never wait for each other.

use tokio::sync::{Mutex, MutexGuard};

use tidegate_protocols::waits::{Wait, waiting};
use tidegate_replicator::map::InodeNumber;

const LOCKS: usize = 4096;

/// The locks of a share.
#[derive(Debug)]
pub struct InodeLocks {
    locks: Vec<Mutex<()>>,
}

impl Default for InodeLocks {
    fn default() -> Self {
        Self { locks: (0..LOCKS).map(|_| Mutex::new(())).collect() }
    }
}

impl InodeLocks {
    /// Waits for the locks of all `inodes` and holds them until the answer is dropped.
    pub async fn lock(&self, inodes: &[InodeNumber]) -> Vec<MutexGuard<'_, ()>> {
        let mut places: Vec<_> = inodes.iter().map(|inode| inode.0 as usize % LOCKS).collect();
        places.sort_unstable();
        places.dedup();
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(match self.locks[place].try_lock() {
                Ok(guard) => guard,
                Err(_) => waiting(Wait::Lock, self.locks[place].lock()).await,
            });
        }
        guards
    }
}

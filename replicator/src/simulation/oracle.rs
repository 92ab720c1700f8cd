//! What must be true in the end: the dumb model of everything that was ever prepared, published, claimed and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::ShareId;

use super::share::Contents;
use crate::repository::{HeadName, SnapshotId};

/// A head that somebody was about to publish.
#[derive(Clone)]
pub(super) struct Prepared {
    pub(super) contents: Arc<Contents>,
    pub(super) parent: Option<HeadName>,
}

/// A head whose publication was acknowledged to its publisher.
#[derive(Clone, Debug)]
pub(super) struct Publication {
    pub(super) share: ShareId,
    pub(super) site: usize,
    pub(super) name: HeadName,
    pub(super) at: Duration,
}

/// A claim, from the first look at the lease.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) share: ShareId,
    pub(super) site: usize,
    pub(super) epoch: u32,
    /// It came after everything had been brought to its site, from the site that led.
    pub(super) loses_nothing: bool,
    pub(super) begun: Duration,
}

/// See the head of this module.
#[derive(Default)]
pub(super) struct Oracle {
    pub(super) prepared: BTreeMap<(ShareId, HeadName), Prepared>,
    pub(super) published: Vec<Publication>,
    pub(super) claims: Vec<Claim>,
    /// Snapshots whose keeping was acknowledged.
    pub(super) kept: BTreeSet<(ShareId, SnapshotId)>,
    /// Snapshots that somebody began to remove.
    pub(super) removed: BTreeSet<(ShareId, SnapshotId)>,
}

impl Oracle {
    /// The newest head and everything before it, as parents tell.
    pub(super) fn line(&self, share: ShareId, newest: HeadName) -> BTreeSet<HeadName> {
        let (mut line, mut next) = (BTreeSet::new(), Some(newest));
        while let Some(name) = next {
            if !line.insert(name) {
                break;
            }
            next = self.prepared.get(&(share, name)).and_then(|prepared| prepared.parent);
        }
        line
    }
}

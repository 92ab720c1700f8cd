//! Mirror: a repository kept on a second store.
//!
//! A repository is *led* from one store: there its shares are claimed, and there its heads are published. Any
//! number of *copies* follow it, each by passes of its own, at its own speed. Every object of a repository is
//! immutable, sealed, and bound to its name and not to a store; so a copy has the same objects under the same
//! names, and whatever reads the lead reads a copy.
//!
//! ```text
//! prepare.rs   makes an empty store a copy, and refuses a stranger's
//! deleted.rs   what collections have deleted, on either side, and what merely is not there
//! lines.rs     how the shares of lead and copy stand to each other: what comes, what goes, who leads
//! packs.rs     packs, from local files or from the lead
//! index.rs     index objects with their packs, and those that the lead has no more
//! objects.rs   everything else that is small
//! pass.rs      the parts of a pass in their order
//! compare.rs   two stores held against each other by listing; holes of one filled from the other
//! ```
//!
//! **What a pass promises.** A head is on the copy only if everything that it reaches is there too: a copy is at
//! every moment a repository that another gateway can serve, somewhat older than the lead. Order of a pass, and
//! what a crash after each step leaves:
//!
//! | step | a crash after it leaves |
//! |---|---|
//! | look: the copy's index, the lead's plans, then heads, snapshots and claims, the copy's before the lead's | nothing |
//! | domains with their seal epochs, and which were shredded | keys under which nothing is sealed there |
//! | key slots, plans | a copy that opens |
//! | packs of index objects that the copy lacks, then each of those objects; before them epochs that are new | packs and facts that no head reaches |
//! | claims, snapshots, heads, oldest first | a copy that is newer than before |
//! | removal of heads and snapshots that the lead has removed | fewer of those |
//! | packs that somebody who leads from the copy has deleted there during the pass, once more | heads that lack them, until the targets are compared |
//! | deletion of packs that a collection has deleted from the lead, then the outcome of its plan | the same |
//! | deletion of index objects that the lead has no more, and of which others say everything | facts twice |
//!
//! Why the order keeps the promise: on the lead a head appears after an index object names every pack that it
//! reaches. So the index objects that are listed after the heads name at least the packs of those, and an index
//! object is on the copy only when its packs are. A pack that a collection has deleted meanwhile is reached by no
//! head that is still kept, and one that is kept no more is found gone when it is to be copied; if that is the newest, the
//! share waits for the next pass, and nothing of it is removed. Deletion goes by the outcomes of plans
//! that were there before the heads were listed, only when the copy has no head or snapshot left that the lead
//! has not, and only of packs that the lead lacks: what comes to a lead from another store brings its packs with it.
//!
//! **Unknown is not deleted.** Nothing is removed from a copy of a share whose lead shows an older state than the
//! copy has, or that is led from the copy by now; of such a share nothing is copied either, no key slots or plans are, and
//! the pass says so. Seal epochs are copied always: other shares may be sealed under them, and they take nothing away. What a
//! copy has of its own is opened with its own keys: this gateway seals nothing with keys that it has only seen there. A head is removed only when the newest one is there. A snapshot is removed only
//! if it was seen on the lead before, or is an hour older than the newest head there and than every promotion. A claim never
//! takes the place of another that was made on the copy under its name. A pack that is missing on the lead, and that no collection has deleted, is a *hole*: no head
//! is copied until it is filled.
//!
//! **Bounds.** [`MirrorOptions::parallel`] packs at once, each in a file of [`MirrorOptions::scratch`] unless it is on
//! this machine anyway; [`HELD_MAX`] ids of packs known to be on the copy; names of heads and index objects; entries of some
//! index objects that may go (`index.rs`).

mod compare;
mod deleted;
mod error;
mod index;
mod lines;
mod objects;
mod packs;
mod pass;
mod prepare;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{PackId, ShareId};
use tokio::time::Instant;

pub use compare::{Comparison, DIFFERENCES_MAX, Difference, Filled, compare, fill_holes};
pub use error::MirrorError;
pub use lines::Obstacle;
pub use pass::{CopiedShare, PassReport};
pub use prepare::{is_prepared, prepare, prepare_or_find};

use crate::repository::{HeadName, Opened, PlanId, Repository, SnapshotId};
use crate::store::{Classes, ObjectName};
use index::Asked;
use lines::Claims;
use packs::Held;
use pass::StillHeld;

/// How many ids of packs that are known to be on the copy are remembered.
pub const HELD_MAX: usize = 1 << 18;

/// The machine that a mirror runs on.
pub trait MirrorHost: Send + Sync {
    /// The file of a pack and its length in bytes, if it is whole and here.
    fn file(&self, pack: &PackId) -> Option<(PathBuf, u64)>;

    /// These heads, the newest of each share, are about to be copied. Whoever publishes a share here keeps its
    /// head until the next call, so that a pass that takes long does not find it gone.
    fn copying(&self, _heads: &[(ShareId, HeadName)]) {}
}

/// A machine without packs, which publishes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stranger;

impl MirrorHost for Stranger {
    fn file(&self, _: &PackId) -> Option<(PathBuf, u64)> {
        None
    }
}

/// What a mirror may use.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// Packs that are copied at once.
    pub parallel: usize,
    /// A local folder for packs on their way.
    pub scratch: PathBuf,
    /// What is known of storage classes: a pack of the copy is not deleted before its class's minimum storage duration
    /// is over.
    pub classes: Classes,
}

/// One copy of a repository. See the head of this module.
pub struct Mirror {
    lead: Arc<Repository<Opened>>,
    copy: Arc<Repository<Opened>>,
    host: Arc<dyn MirrorHost>,
    options: MirrorOptions,
    held: Held,
    /// Domain objects that the pass has found on the copy, or brought there.
    domains: BTreeSet<ObjectName>,
    /// When the index was last asked about objects that are left.
    asked: Option<Asked>,
    /// Snapshots that were seen on the lead.
    seen: BTreeSet<(ShareId, SnapshotId)>,
    claims: Claims,
    /// Plans of which something is locked on the copy.
    still_held: BTreeMap<PlanId, StillHeld>,
    /// Plans that were open on the copy when heads or snapshots had come there.
    watched: BTreeSet<PlanId>,
    /// Packs that sleep on the lead, and when they are asked for again.
    asleep_until: BTreeMap<PackId, Instant>,
}

impl Mirror {
    /// Mirrors `lead` on `copy`, which [`prepare`] gave.
    pub fn new(
        lead: Arc<Repository<Opened>>,
        copy: Arc<Repository<Opened>>,
        host: Arc<dyn MirrorHost>,
        options: MirrorOptions,
    ) -> Self {
        Self {
            lead,
            copy,
            host,
            options,
            held: Held::default(),
            domains: BTreeSet::new(),
            asked: None,
            seen: BTreeSet::new(),
            claims: Claims::default(),
            still_held: BTreeMap::new(),
            watched: BTreeSet::new(),
            asleep_until: BTreeMap::new(),
        }
    }

    /// Those of these packs that are on the copy: the last pass has seen them, or the copy says so now.
    pub async fn confirm(&self, packs: &[(PackId, u64)]) -> Result<Vec<(PackId, u64)>, MirrorError> {
        let asking = packs.iter().map(|(pack, bytes)| async move {
            if self.held.contains(pack) || self.copy.pack_modified(*pack).await?.is_some() {
                return Ok::<_, MirrorError>(Some((*pack, *bytes)));
            }
            Ok(None)
        });
        let asking: Vec<_> = asking.collect();
        let there: Vec<Option<(PackId, u64)>> =
            stream::iter(asking).buffer_unordered(self.options.parallel.max(1)).try_collect().await?;
        Ok(there.into_iter().flatten().collect())
    }

    /// The repository as the copy has it.
    pub fn copy(&self) -> &Arc<Repository<Opened>> {
        &self.copy
    }
}

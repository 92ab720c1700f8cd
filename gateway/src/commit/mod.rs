//! Commit: how what was acknowledged leaves for the repository.
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | look | takes in which packs collection plans condemn: nothing in them is a duplicate any more | nothing |
//! | freeze | waits until RocksDB holds everything acknowledged, takes a snapshot at sequence S | nothing |
//! | drain | cuts and seals what lies in the journal, into synced local packs | packs that the ledger learns at start |
//! | swap | replaces drained pieces of the journal by chunks in the live map | the same, and a shorter way next time |
//! | tree | applies the changed keys to the base, nodes into local packs | packs |
//! | upload | brings every pack that is only here to the target, then its index | packs there that no head reaches |
//! | publish | writes the head | the head; the rebase is made up for by the next commit |
//! | rebase | moves the live map onto the new root, forgets what only hid the old one | a finished commit |
//!
//! Every step may be done again. A head is written only with the evidence that every pack is on the
//! target ([`DurableCommit`]) and under a leadership that was just confirmed.
//!
//! After the swap no live extent of the share refers to the journal up to S; [`Committed::drained`] says
//! so to whoever shortens the journal.

mod aside;
mod copying;
mod drain;
mod edits;
mod frozen;
mod handover;
mod heat;
mod line;
mod plans;
mod publish;
mod swap;
mod together;
mod upload;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tidegate_chunker::PackId;
use tidegate_replicator::fetch::FetchError;
use tidegate_replicator::ingest::{
    Ingest, IngestError, IngestOptions, IngestReport, TreeSink, random_pack_ids,
};
use tidegate_replicator::repository::{
    CommitStatistics, Era, Head, HeadName, Incarnation, Ladder, Leadership, Opened, PlanId, Repository,
    RepositoryError, ShareDescription, Successor, Usage, UtcNanos,
};
use tidegate_replicator::store::Traffic;
use tidegate_replicator::tree::{Root, TreeError, apply};

use crate::clock::Clock;
use crate::journal::Sequence;
use crate::ledger::{Ledger, LedgerError};
use crate::live::{Batch, Change, LiveError};
use crate::share::{Base, Share, ShareError};
use aside::{NothingKnown, Rescue};
use drain::Runs;
use frozen::Frozen;

pub(crate) use aside::{AsideId, SetAside};
pub(crate) use copying::CopyingHeads;
pub(crate) use plans::Plans;
pub(crate) use publish::NextHead;
pub(crate) use together::{FreezeGroup, Member};

/// What can go wrong with a commit. It is run again, unless somebody else leads now.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The live map.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The packs.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Cutting and sealing.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A run came out with another length than it has.
    #[error("failed to read {expected} bytes of changed data: got {got}")]
    Torn {
        /// Bytes of the run.
        expected: u64,
        /// Bytes read.
        got: u64,
    },
    /// What is to be set aside refers to packs that plans condemn, time after time.
    #[error("collections condemn again and again what the changes refer to; it is tried again")]
    Condemned,
    /// A step of the commit died.
    #[error("a step of the commit ended early: see the log")]
    Died,
    /// Somebody else leads the share: this gateway publishes nothing more.
    #[error("another gateway leads this share now: {by}")]
    Superseded {
        /// Who.
        by: Successor,
    },
    /// This gateway does not lead the share.
    #[error("this gateway does not lead the share")]
    NotLeading,
}

impl From<LiveError> for CommitError {
    fn from(error: LiveError) -> Self {
        Self::Share(error.into())
    }
}

impl From<TreeError> for CommitError {
    fn from(error: TreeError) -> Self {
        Self::Share(error.into())
    }
}

impl From<FetchError> for CommitError {
    fn from(error: FetchError) -> Self {
        Self::Share(error.into())
    }
}

/// What a commit needs besides the share.
pub(crate) struct Committer {
    /// The repository that it publishes to.
    pub repository: Arc<Repository<Opened>>,
    /// Packs made here.
    pub ledger: Arc<Ledger>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How packs are made; their folder is the ledger's.
    pub ingest: IngestOptions,
    /// Packs that are uploaded at once.
    pub uploads_max: usize,
    /// Which collection plans are honoured.
    pub(crate) plans: Plans,
    /// Which heads are kept beside the newest.
    pub ladder: Ladder,
    /// Heads that are being copied to another target.
    pub(crate) copying: Arc<CopyingHeads>,
    /// Held while packs are sent: they are all shares' and sources', and go once.
    pub(crate) uploading: tokio::sync::Mutex<()>,
}

/// What a share is, for its heads.
#[derive(Clone, Debug)]
pub struct Description {
    /// Id, name and domain.
    pub share: ShareDescription,
    /// What serving it needs.
    pub settings: serde_json::Value,
    /// The era of its handles, where they shall stay valid after a takeover too.
    pub kept_era: Option<Era>,
}

/// The outcome of a commit.
#[derive(Clone, Debug)]
pub struct Committed {
    /// No extent refers to the journal up to here any more.
    pub drained: Sequence,
    /// The newest head, and when what it holds was frozen.
    pub head: Option<HeadName>,
    /// The head, when this commit published one.
    pub published: Option<Head>,
}

/// What is between the tree and the head.
struct Plan {
    base: Base,
    root: Root,
    through: Sequence,
    usage: crate::live::Usage,
    next_inode: u64,
    frozen_at: UtcNanos,
    statistics: CommitStatistics,
    /// Older packs that the changes refer to; told only where that was asked ([`aside`]).
    relied_on: Vec<PackId>,
    /// Chunks that the changes refer to and that are to be had nowhere.
    lacks: u64,
}

impl Committer {
    /// Carries everything acknowledged so far to the repository. `leadership` comes back unless it is
    /// lost for good. `drained` is told, before anything is uploaded, up to where no extent of the share
    /// refers to the journal any more; RocksDB has carried out what made it so. `together` is the share's place in a group
    /// that freezes at once. `known` is the newest head, if
    /// it is at hand: that spares a read.
    pub(crate) async fn commit(
        &self,
        share: &Arc<Share>,
        description: &Description,
        leadership: &mut Option<Leadership>,
        known: Option<&(HeadName, Head)>,
        together: Option<Member>,
        drained: &(dyn Fn(Sequence) + Send + Sync),
    ) -> Result<Committed, CommitError> {
        let started = Instant::now();
        let plans = self.plans.look().await?;
        let newest = known.map(|(_, head)| head);
        // Who handed the share over has had its last word; who attached it since goes on in a later epoch.
        let was_last_word = |led: &Leadership| {
            newest.is_some_and(|head| head.handover.is_some() && head.epoch >= led.epoch())
        };
        let may_publish = leadership.as_ref().is_some_and(|led| !was_last_word(led));
        // Who takes over goes by the newest head: it says how the share is served now.
        let is_served_as_said = newest.is_none_or(|head| head.settings == description.settings);
        let must_publish = may_publish && !(plans::are_said(newest, &plans) && is_served_as_said);
        let frozen_at = self.clock.utc();
        share.moved().begin();
        share.live().settle().await?;
        let plan = match self.prepare(share, frozen_at, must_publish, together).await? {
            Prepared::Unchanged { through, base } => {
                return Ok(Committed { drained: through, head: base.head, published: None });
            }
            Prepared::Changed(plan) => plan,
        };
        share.live().settle().await?;
        drained(plan.through);
        if plan.root == plan.base.root && plan.base.published && !must_publish {
            let head = plan.base.head;
            self.rebase(share, &plan, plan.base.clone()).await?;
            return Ok(Committed { drained: plan.through, head, published: None });
        }
        let next = next_head(share, description, &plan, plans);
        let (name, head) = self.publish_next(next, plan.base.head, known, leadership, started).await?;
        crate::crash::point("commit.published");
        self.rebase(share, &plan, Base { root: plan.root, head: Some(name), published: true }).await?;
        Ok(Committed { drained: plan.through, head: Some(name), published: Some(head) })
    }

    /// Freeze to tree. Cutting blocks, so it has a thread of its own.
    async fn prepare(
        &self,
        share: &Arc<Share>,
        frozen_at: UtcNanos,
        must_publish: bool,
        together: Option<Member>,
    ) -> Result<Prepared, CommitError> {
        self.prepare_with(share, frozen_at, must_publish, together, None).await
    }

    /// The same; with `rescue` nothing counts as a duplicate, and what is gone from there is sealed anew.
    async fn prepare_with(
        &self,
        share: &Arc<Share>,
        frozen_at: UtcNanos,
        must_publish: bool,
        together: Option<Member>,
        rescue: Option<Arc<Repository<Opened>>>,
    ) -> Result<Prepared, CommitError> {
        let work = Work {
            share: share.clone(),
            ledger: self.ledger.clone(),
            options: IngestOptions { folder: self.ledger.folder().to_path_buf(), ..self.ingest.clone() },
            frozen_at,
            must_publish,
            rescue,
        };
        let runtime = tokio::runtime::Handle::current();
        let traffic = Traffic::current();
        let working =
            tokio::task::spawn_blocking(move || traffic.scope_blocking(|| work.run(&runtime, together)));
        working.await.map_err(|_| CommitError::Died)?
    }

    async fn rebase(&self, share: &Share, plan: &Plan, base: Base) -> Result<(), CommitError> {
        let change = Change::Rebase { map: share.map().map, through: plan.through, base: base.encode() };
        let batch = Batch { changes: vec![change] };
        let sequence = share.live().submit_durably(batch, Bytes::new()).await?;
        crate::crash::point("commit.rebased");
        Ok(share.live().applied(sequence).await?)
    }
}

/// What the next head says of a share.
fn next_head<'d>(
    share: &Share,
    description: &'d Description,
    plan: &Plan,
    plans: Vec<PlanId>,
) -> NextHead<'d> {
    let over_since = share.account().over_since();
    NextHead {
        description,
        root: plan.root,
        frozen_at: plan.frozen_at,
        incarnation: Incarnation::new(share.incarnation().to_be_bytes()),
        next_inode: plan.next_inode,
        journal_sequence: plan.through.0,
        usage: Usage {
            bytes: plan.usage.bytes,
            inodes: plan.usage.inodes,
            bytes_over_since: over_since.bytes,
            inodes_over_since: over_since.inodes,
        },
        statistics: plan.statistics,
        plans,
        heat: Some(share.heat().clone()),
    }
}

enum Prepared {
    Unchanged { through: Sequence, base: Base },
    Changed(Plan),
}

/// The blocking part of a commit.
struct Work {
    share: Arc<Share>,
    ledger: Arc<Ledger>,
    options: IngestOptions,
    frozen_at: UtcNanos,
    /// Whether a head is wanted even if nothing has changed.
    must_publish: bool,
    /// See [`aside`].
    rescue: Option<Arc<Repository<Opened>>>,
}

impl Work {
    fn run(
        self,
        runtime: &tokio::runtime::Handle,
        together: Option<Member>,
    ) -> Result<Prepared, CommitError> {
        let share = &self.share;
        let map = share.map();
        let live = share.live();
        let take = || live.between_records(|| Frozen::take(live.database(), map.map, map.nodes.clone()));
        let frozen = match together {
            Some(member) => member.freeze(take),
            None => take(),
        }?;
        if !frozen.is_changed()? && frozen.base.published {
            if self.must_publish {
                let statistics = CommitStatistics::default();
                return Ok(Prepared::Changed(self.plan(frozen.base.root, &frozen, statistics)?));
            }
            return Ok(Prepared::Unchanged { through: frozen.through, base: frozen.base });
        }
        let rescue = match &self.rescue {
            Some(repository) => Rescue::find(&frozen, &self.ledger, repository, runtime)?,
            None => Rescue::default(),
        };
        let mut ingest = self.start()?;
        let runs = drain::drain(&frozen, share, &mut ingest, runtime, &rescue)?;
        let data = ingest.finish()?;
        crate::crash::point("commit.drained");
        runtime.block_on(swap::swap(share, &runs))?;
        crate::crash::point("commit.swapped");
        share.heat().note_written(runs.values().flatten().flat_map(drain::Run::places));
        let (root, changed) = self.tree(&frozen, &runs, runtime)?;
        crate::crash::point("commit.tree");
        let plan = self.plan(root, &frozen, statistics(&data, changed))?;
        Ok(Prepared::Changed(Plan { relied_on: rescue.relied_on, lacks: rescue.lacks, ..plan }))
    }

    fn plan(
        &self,
        root: Root,
        frozen: &Frozen<'_>,
        statistics: CommitStatistics,
    ) -> Result<Plan, CommitError> {
        Ok(Plan {
            root,
            through: frozen.through,
            usage: frozen.usage()?,
            next_inode: frozen.next_inode()?,
            frozen_at: self.frozen_at,
            statistics,
            base: frozen.base.clone(),
            relied_on: Vec::new(),
            lacks: 0,
        })
    }

    fn start(&self) -> Result<Ingest, CommitError> {
        let keys = self.share.keys().clone();
        let known = self.ledger.known(keys.domain());
        let known = if self.rescue.is_some() { Arc::new(NothingKnown(known)) } else { known };
        let params = self.share.chunk_params();
        Ok(Ingest::start(keys, params, known, random_pack_ids(), self.options.clone())?)
    }

    /// The new root, and how many keys were changed.
    fn tree(
        &self,
        frozen: &Frozen<'_>,
        runs: &Runs,
        runtime: &tokio::runtime::Handle,
    ) -> Result<(Root, u64), CommitError> {
        let hidden = frozen.hidden()?;
        let mut sink = TreeSink::new(self.start()?);
        let keys = self.share.keys().clone();
        let mut changed = 0;
        let counted = futures::StreamExt::inspect(edits::edits(frozen, runs), |_| changed += 1);
        let nodes = &*self.share.map().nodes;
        let root = runtime.block_on(apply(&frozen.base.root, &hidden, counted, nodes, &mut sink, &*keys))?;
        runtime.block_on(sink.into_ingest())?.finish()?;
        Ok((root, changed))
    }
}

fn statistics(data: &IngestReport, entries_changed: u64) -> CommitStatistics {
    CommitStatistics {
        entries_changed,
        bytes_read: data.bytes_in,
        bytes_unique: data.unique_bytes,
        bytes_compressed: data.stored_bytes,
        ..CommitStatistics::default()
    }
}

//! Garbage collection by the clock, and honouring the plans of others for shares that are not served.
//!
//! One round: plans that are open are gone on with; then it is proposed, condemned and, once the publishers
//! of all shares honour the plan, deleted (`tidegate_replicator::collect`). While a plan waits for
//! publishers it is looked at every [`LOOK_EVERY`], for [`LOOKS_MAX`] times; what is still open then is gone
//! on with in the next round. A round that fails changes nothing that is needed, and is made up for by the
//! next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::collect::{
    CollectError, CollectOptions, Held, Observer, Progress, Proposal, Round, condemn, finish_open, propose,
    sweep_hidden, tidy,
};
use tidegate_replicator::repository::UtcNanos;
use tidegate_replicator::store::{Classes, Store, StoreGroup, Traffic};
use tokio_util::sync::CancellationToken;

use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::commit::CommitError;

/// The time from a start to the first round: what the start needs comes first.
const FIRST_AFTER: Duration = Duration::from_mins(15);
/// How often an open plan is looked at, and a share that is not served asked whether it has one to honour.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Looks at open plans in one round.
const LOOKS_MAX: u32 = 60;

/// When and how garbage is collected.
#[derive(Clone, Debug)]
pub struct CollectConfig {
    /// The time between two rounds.
    pub every: Duration,
    /// See [`CollectOptions::grace`].
    pub grace: Duration,
    /// See [`CollectOptions::delete_percent_max`].
    pub delete_percent_max: u8,
    /// See [`CollectOptions::repack_below_percent`].
    pub repack_below_percent: u8,
    /// See [`CollectOptions::reseal`].
    pub reseal: bool,
    /// See [`CollectOptions::classes`].
    pub classes: Classes,
    /// See [`CollectOptions::memory_bytes_max`].
    pub memory_bytes_max: u64,
    /// See [`CollectOptions::scratch`].
    pub scratch: PathBuf,
}

/// What a round found, when it looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectionFigures {
    /// Packs there are, and their length in bytes.
    pub packs: u64,
    /// See `packs`.
    pub pack_bytes: u64,
    /// Packs that nothing retained reaches and that are old enough to go, and their length in bytes.
    pub condemned: u64,
    /// See `condemned`.
    pub condemned_bytes: u64,
    /// Packs of which little is alive, that are stored anew without the rest.
    pub sparse: u64,
    /// Packs that nothing reaches, and that were stored too recently.
    pub deferred: u64,
    /// Packs that nothing reaches, and whose locks have not ended.
    pub held: u64,
}

impl From<&Proposal> for CollectionFigures {
    fn from(proposal: &Proposal) -> Self {
        Self {
            packs: proposal.packs,
            pack_bytes: proposal.pack_bytes,
            condemned: proposal.condemned.len() as u64,
            condemned_bytes: proposal.condemned_bytes,
            sparse: proposal.sparse.len() as u64,
            deferred: proposal.deferred,
            held: proposal.held.packs,
        }
    }
}

/// How a round ended.
#[derive(Clone, Debug)]
pub struct Collected {
    /// When.
    pub ended: UtcNanos,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// Stops a round when the appliance stops, or another target leads than when the round began.
struct Stop {
    closing: CancellationToken,
    targets: Arc<StoreGroup>,
    lead: Arc<dyn Store>,
}

impl Stop {
    fn is_over(&self) -> bool {
        self.closing.is_cancelled() || !Arc::ptr_eq(&self.lead, &self.targets.lead())
    }
}

impl Observer for Stop {
    fn is_cancelled(&self) -> bool {
        self.is_over()
    }
}

/// Whether publishers are waited for.
fn is_waiting(round: &Round) -> bool {
    matches!(round.progress, Progress::Waiting(_))
}

/// Whether the plan is not finished: publishers are waited for, or somebody who may delete.
fn is_open(round: &Round) -> bool {
    matches!(round.progress, Progress::Waiting(_) | Progress::Ready)
}

impl Appliance {
    /// Collects from now on, until the appliance is closed.
    pub fn start_collecting(self: &Arc<Self>, config: CollectConfig) {
        let (appliance, stop) = (Arc::downgrade(self), self.stop.clone());
        self.loops.spawn(async move {
            let mut pause = FIRST_AFTER.min(config.every);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                let Some(appliance) = appliance.upgrade() else { return };
                let ended = appliance.collect_once(&config).await.map(drop);
                if let Err(error) = &ended {
                    tracing::warn!(%error, "garbage was not collected; the next round tries again");
                }
                appliance.note_collected(&ended);
                pause = config.every;
            }
        });
    }

    /// Keeps how a round ended, unless it was stopped.
    fn note_collected(&self, ended: &Result<(), CollectError>) {
        if !self.stop.is_cancelled() {
            let error = ended.as_ref().err().map(ToString::to_string);
            *self.collected.lock() = Some(Collected { ended: self.now(), error });
        }
    }

    /// How the last round since the start ended.
    pub fn collected(&self) -> Option<Collected> {
        self.collected.lock().clone()
    }

    /// What a round would find now. Reads only.
    pub async fn propose_collection(
        &self,
        config: &CollectConfig,
    ) -> Result<CollectionFigures, CollectError> {
        let lead = self.targets.lead();
        let repository = &Arc::new(self.backend.repository.on(lead.clone()));
        let stop = Stop { closing: self.stop.clone(), targets: self.targets.clone(), lead };
        let options = self.collect_options(config);
        let proposal = Traffic::Housekeeping.scope(propose(repository, &options, &stop)).await?;
        Ok(CollectionFigures::from(&proposal))
    }

    /// One round, after the one that is under way. None: a plan of before is open, and is gone on with first.
    pub async fn collect_once(
        &self,
        config: &CollectConfig,
    ) -> Result<Option<CollectionFigures>, CollectError> {
        let _turn = self.collecting.lock().await;
        Traffic::Housekeeping.scope(self.collect_round(config)).await
    }

    async fn collect_round(&self, config: &CollectConfig) -> Result<Option<CollectionFigures>, CollectError> {
        // From the first look to the last deletion on one store.
        let lead = self.targets.lead();
        let repository = &Arc::new(self.backend.repository.on(lead.clone()));
        let stop = Stop { closing: self.stop.clone(), targets: self.targets.clone(), lead };
        let rounds = finish_open(repository, &self.collect_options(config), &stop).await?;
        if rounds.iter().any(is_open) {
            return Ok(None); // One after the other.
        }
        let options = self.collect_options(config);
        let proposal = propose(repository, &options, &stop).await?;
        let figures = Some(CollectionFigures::from(&proposal));
        if proposal.held.packs > 0 {
            let Held { packs, bytes, .. } = proposal.held;
            tracing::info!(packs, bytes, "packs that nothing retained reaches stay until their locks end");
        }
        if proposal.paid.packs > 0 {
            let Held { packs, bytes, .. } = proposal.paid;
            tracing::info!(packs, bytes, "packs stay until their storage class charges for them no more");
        }
        tidy(repository, &proposal).await?;
        let condemned = condemn(repository, proposal, &options, &stop).await?;
        let may_delete = !repository.store().capabilities().append_only;
        if may_delete {
            sweep_hidden(repository, &stop).await?;
        }
        if condemned.is_none() {
            return Ok(figures);
        }
        for _ in 0..LOOKS_MAX {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(figures),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if stop.is_over() {
                return Ok(figures);
            }
            let rounds = finish_open(repository, &self.collect_options(config), &stop).await?;
            if !rounds.iter().any(is_waiting) {
                return Ok(figures);
            }
        }
        tracing::warn!("a collection plan waits for the publisher of a share: see `tidegate gc`");
        Ok(figures)
    }

    fn collect_options(&self, config: &CollectConfig) -> CollectOptions {
        CollectOptions {
            grace: config.grace,
            delete_percent_max: config.delete_percent_max,
            repack_below_percent: config.repack_below_percent,
            reseal: config.reseal,
            classes: config.classes.clone(),
            memory_bytes_max: config.memory_bytes_max,
            ..CollectOptions::new(self.now(), config.scratch.clone())
        }
    }

    /// Honours plans for a share that this gateway leads and does not serve, until it is served again or
    /// somebody else leads it.
    pub(super) async fn honour_while_retired(self: &Arc<Self>, open: &Arc<OpenShare>) {
        loop {
            let waits = async {
                tokio::select! {
                    goes_on = self.wait_retiring(open, LOOK_EVERY) => goes_on,
                    () = self.committer.plans.changed.notified() => true,
                }
            };
            if !waits.await {
                return;
            }
            let newest = open.newest.lock().clone();
            let honours = self.committer.plans.are_honoured(newest.as_ref().map(|(_, head)| head)).await;
            if honours {
                continue;
            }
            match self.commit_open(open).await {
                Ok(_) => {}
                Err(ApplianceError::Commit(CommitError::Superseded { .. } | CommitError::NotLeading)) => {
                    return;
                }
                Err(error) => {
                    tracing::debug!(share = open.config.name, %error, "a plan cannot be honoured yet");
                }
            }
        }
    }
}

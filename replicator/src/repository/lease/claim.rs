//! Claiming a lease.
//!
//! Order of writes, and what a crash at each step leaves:
//!
//! 1. the claim (not where the store creates names atomically) — a claim that nobody settles. It makes the
//!    old leader stop; whoever claims next goes above it;
//! 2. after the settling time, the settled claim — an epoch that is claimed and without heads. The same;
//! 3. a listing that shows no other settled claim of the epoch: only now there is a leader.
//!
//! Where the store creates names atomically, step 2 is one exclusive name without a nonce, and the settling
//! time comes after it; it is read back, so that a store whose atomicity was misjudged shows itself.
//!
//! Who loses takes his objects back, as far as the store lets him.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::ShareId;

use super::leadership::{Leadership, Successor};
use super::record::{ClaimInfo, LeaseKind, LeaseName, LeaseState, Promotion};
use super::wait::{TokioWait, Wait};
use crate::repository::chance::random;
use crate::repository::envelope::LIST_PAGE;
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::{ClaimNonce, leases_of};
use crate::repository::open::{Opened, Repository};
use crate::repository::time::UtcNanos;
use crate::store::{ErrorKind, PutMode};

/// Longest name of a host or an instance in a claim, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// Epochs by which a promotion goes up.
const PROMOTION_STEP: u32 = 256;

/// Who claims, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The host.
    pub host: String,
    /// The gateway instance.
    pub instance: String,
}

/// How to claim.
#[derive(Clone, Debug)]
pub struct ClaimOptions {
    claimant: Claimant,
    claimed_at: UtcNanos,
    settle: Duration,
    nonce: ClaimNonce,
    wait: Arc<dyn Wait>,
    promotion: Option<Promotion>,
}

/// What became of a claim.
#[derive(Debug)]
pub enum ClaimOutcome {
    /// The claimant leads.
    Leading(Leadership),
    /// Somebody else does, or nobody: look at the lease again before claiming anew.
    Lost {
        /// What was in the way.
        to: Successor,
    },
}

impl ClaimOptions {
    /// Claims in the name of `claimant`. `settle` should exceed the time that a put and a listing take
    /// together.
    pub fn new(claimant: Claimant, claimed_at: UtcNanos, settle: Duration) -> Result<Self> {
        if claimant.host.len() > NAME_BYTES_MAX || claimant.instance.len() > NAME_BYTES_MAX {
            return Err(RepositoryError::invalid(format!(
                "host and instance of a claim have at most {NAME_BYTES_MAX} bytes"
            )));
        }
        let nonce = ClaimNonce::new(random()?);
        Ok(Self { claimant, claimed_at, settle, nonce, wait: Arc::new(TokioWait), promotion: None })
    }

    /// Lets time pass in another way, and takes a given nonce: for tests that must repeat exactly.
    #[must_use]
    pub fn deterministic(self, nonce: ClaimNonce, wait: Arc<dyn Wait>) -> Self {
        Self { nonce, wait, ..self }
    }

    /// Claims on a store that was a copy until now, above every epoch that was ever seen. Epochs go up to the
    /// next multiple of [`PROMOTION_STEP`], so that takeovers on the store that led before stay below.
    #[must_use]
    pub fn promoting(self, promotion: Promotion) -> Self {
        Self { promotion: Some(promotion), ..self }
    }

    /// The epoch above `highest`.
    fn next_epoch(&self, highest: u32) -> Result<u32> {
        let next = match self.promotion {
            None => highest.checked_add(1),
            Some(_) => {
                (highest / PROMOTION_STEP).checked_add(1).and_then(|step| step.checked_mul(PROMOTION_STEP))
            }
        };
        next.ok_or_else(|| RepositoryError::invalid("the share has no epochs left"))
    }

    fn info(&self, share: ShareId, epoch: u32) -> ClaimInfo {
        ClaimInfo {
            share,
            epoch,
            nonce: self.nonce,
            host: self.claimant.host.clone(),
            instance: self.claimant.instance.clone(),
            claimed_at: self.claimed_at,
            promotion: self.promotion,
        }
    }
}

/// A claim under way.
struct Attempt<'a> {
    repository: &'a Repository<Opened>,
    options: &'a ClaimOptions,
    share: ShareId,
    epoch: u32,
}

impl Repository<Opened> {
    /// Claims a share's lease in an epoch above all that `state` shows. Of several who saw the same state at
    /// most one will lead.
    ///
    /// After an error nobody knows whether the claim stands: look at the lease again.
    pub async fn claim(&self, state: &LeaseState, options: &ClaimOptions) -> Result<ClaimOutcome> {
        let epoch = options.next_epoch(state.highest)?;
        let attempt = Attempt { repository: self, options, share: state.share, epoch };
        if self.store.capabilities().create_new {
            attempt.exclusively().await
        } else {
            attempt.by_listing().await
        }
    }
}

impl Attempt<'_> {
    async fn exclusively(&self) -> Result<ClaimOutcome> {
        let name = self.name(LeaseKind::Exclusive);
        match self.put(&name, PutMode::CreateNew).await {
            Err(RepositoryError::Store(error)) if error.kind() == ErrorKind::Exists => {}
            stored => stored?,
        }
        self.options.wait.wait(self.options.settle).await;
        // A retried put may have met itself: what lies there decides, not the reply.
        let there = self.repository.read_claim(self.share, &name).await?;
        if there.nonce != self.options.nonce {
            return Ok(ClaimOutcome::Lost { to: Successor::Claim { epoch: self.epoch, settled: true } });
        }
        self.confirm(name).await
    }

    async fn by_listing(&self) -> Result<ClaimOutcome> {
        let nonce = self.options.nonce;
        let claim = self.name(LeaseKind::Claim(nonce));
        self.put(&claim, PutMode::Overwrite).await?;
        self.options.wait.wait(self.options.settle).await;
        let in_the_way = |name: &LeaseName| match name.kind {
            _ if name.epoch > self.epoch => true,
            LeaseKind::Claim(other) => other < nonce,
            LeaseKind::Settled(_) | LeaseKind::Exclusive => true,
        };
        if let Some(winner) = self.claims().await?.into_iter().find(in_the_way) {
            self.take_back(&claim).await;
            return Ok(lost_to(&winner));
        }
        let settled = self.name(LeaseKind::Settled(nonce));
        self.put(&settled, PutMode::Overwrite).await?;
        let outcome = self.confirm(settled).await;
        self.take_back(&claim).await;
        outcome
    }

    /// The decisive listing, after the settled claim `ours` was stored.
    async fn confirm(&self, ours: LeaseName) -> Result<ClaimOutcome> {
        let in_the_way = |name: &LeaseName| name.epoch > self.epoch || (name.is_settled() && *name != ours);
        if let Some(winner) = self.claims().await?.into_iter().find(in_the_way) {
            self.take_back(&ours).await;
            return Ok(lost_to(&winner));
        }
        Ok(ClaimOutcome::Leading(Leadership::new(self.share, self.epoch, self.options.nonce, ours)))
    }

    /// All claims of this epoch and above. More than a page of them cannot be won against.
    async fn claims(&self) -> Result<Vec<LeaseName>> {
        let before = LeaseName::just_before_epoch(self.share, self.epoch);
        let page = self.repository.store.list(&leases_of(self.share), before.as_ref(), LIST_PAGE).await?;
        if page.more {
            return Err(RepositoryError::damaged(
                leases_of(self.share),
                "it has thousands of claims of one epoch",
            ));
        }
        page.objects.iter().map(|object| LeaseName::parse(&object.name)).collect()
    }

    async fn put(&self, name: &LeaseName, mode: PutMode) -> Result<()> {
        let object = name.object(self.share);
        let info = self.options.info(self.share, self.epoch);
        let sealed = self.repository.seal_record(&object, &info)?;
        self.repository.store_sealed(&object, sealed, mode).await
    }

    async fn take_back(&self, name: &LeaseName) {
        let object = name.object(self.share);
        if let Err(error) = self.repository.store.delete(&object).await {
            tracing::info!(name = %object, %error, "a claim that was given up stays behind");
        }
    }

    fn name(&self, kind: LeaseKind) -> LeaseName {
        LeaseName { epoch: self.epoch, kind }
    }
}

fn lost_to(name: &LeaseName) -> ClaimOutcome {
    ClaimOutcome::Lost { to: Successor::Claim { epoch: name.epoch, settled: name.is_settled() } }
}

//! Leadership: the right to publish heads of a share, and how it ends.
//!
//! A [`Leadership`] is had by winning a claim or by resuming one. Looking at the lease takes it and gives it
//! back only while it holds: who has been superseded has nothing left to publish with.
//!
//! A gateway keeps a [`LeadershipNote`] on its disk to go on leading after a restart. Heads that it was
//! publishing when it died, and those of which it never heard whether they were stored, may still arrive
//! afterwards. So each process that leads has a *life* of its own, counted in the note, and its first head
//! leaves as many times [`LIFE_SEQUENCES`] free as there were lives before it: whatever arrives late is older
//! than what is published now, however many lives have followed the same head. The count is on the disk
//! before anything is published in the life.

use serde::{Deserialize, Serialize};
use tidegate_chunker::ShareId;

use super::record::{LeaseKind, LeaseName};
use crate::repository::error::RepositoryError;
use crate::repository::hex;
use crate::repository::names::{ClaimNonce, HeadName, leases_of};
use crate::repository::open::{Opened, Repository};

/// Heads of unknown fate that are remembered: with more, the oldest may stay as forks.
const UNCERTAIN_MAX: usize = 256;
/// How many heads of unknown fate a life may send in a row: one a second for half a year.
const LIFE_SEQUENCES: u64 = 1 << 24;

/// The right to publish heads of one share in one epoch. There is at most one of it in the world, as long
/// as nobody resumes one note twice at a time.
#[derive(Debug)]
pub struct Leadership {
    share: ShareId,
    epoch: u32,
    nonce: ClaimNonce,
    name: LeaseName,
    life: u32,
    /// Sequences that the next head leaves free.
    gap: u64,
    /// Heads that were sent and of which nobody knows whether they were stored.
    uncertain: Vec<HeadName>,
}

/// What a gateway keeps to go on leading after a restart. Serialisable; the caller stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadershipNote {
    #[serde(with = "hex")]
    share: ShareId,
    epoch: u32,
    #[serde(with = "hex")]
    nonce: ClaimNonce,
    exclusive: bool,
    /// Which process leads, counted from the one that claimed.
    #[serde(default)]
    life: u32,
}

impl LeadershipNote {
    /// The note of the next process. To be stored, so that a crash does not take it back, before that process
    /// [resumes](Repository::resume) to publish anything.
    #[must_use]
    pub fn of_next_life(self) -> Self {
        Self { life: self.life.saturating_add(1), ..self }
    }

    /// In which epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
}

/// What a look at the lease shows.
#[derive(Debug)]
pub enum Standing {
    /// Nobody has claimed the share since.
    StillLeading(Leadership),
    /// Publish nothing, free nothing, take no more writes.
    Superseded {
        /// What ended it.
        by: Successor,
    },
    /// The store did not say. Publish and free nothing until it does.
    Unknown {
        /// Still to be used.
        leadership: Leadership,
        /// Why.
        error: RepositoryError,
    },
}

/// What ended a leadership, or was in the way of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Successor {
    /// A claim.
    #[error("a {} claim of epoch {epoch}", if *.settled { "settled" } else { "pending" })]
    Claim {
        /// Of this epoch.
        epoch: u32,
        /// Whether it is settled; otherwise its author may yet give up, and nobody leads.
        settled: bool,
    },
    /// The leader's own claim is not in the store any more: somebody removed it.
    #[error("the removal of its claim of epoch {epoch}")]
    Removed {
        /// Its epoch.
        epoch: u32,
    },
}

impl Leadership {
    pub(super) fn new(share: ShareId, epoch: u32, nonce: ClaimNonce, name: LeaseName) -> Self {
        Self { share, epoch, nonce, name, life: 0, gap: 0, uncertain: Vec::new() }
    }

    /// Of which share.
    pub fn share(&self) -> ShareId {
        self.share
    }

    /// In which epoch.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What to keep for a restart.
    pub fn note(&self) -> LeadershipNote {
        let exclusive = self.name.kind == LeaseKind::Exclusive;
        let Self { share, epoch, nonce, life, .. } = *self;
        LeadershipNote { share, epoch, nonce, exclusive, life }
    }

    /// The sequence of the next head, given the newest one, which is its parent: above it, and above whatever may have
    /// been sent after it.
    pub fn next_sequence(&self, parent: Option<&HeadName>) -> u64 {
        parent.map_or(0, |parent| parent.sequence).saturating_add(1 + self.gap)
    }

    /// Takes the claim back, of somebody who has published nothing under it. To be tried once: what stays is a claim
    /// without heads.
    pub async fn give_back(self, repository: &Repository<Opened>) {
        let object = self.name.object(self.share);
        if let Err(error) = repository.store.delete(&object).await {
            tracing::warn!(name = %object, %error, "a claim that was given up stays behind");
        }
    }

    /// Looks at the lease. Do so before publishing and before freeing anything.
    pub async fn check(self, repository: &Repository<Opened>) -> Standing {
        match self.successor(repository).await {
            Ok(None) => Standing::StillLeading(self),
            Ok(Some(by)) => Standing::Superseded { by },
            Err(error) => Standing::Unknown { leadership: self, error },
        }
    }

    /// Heads that were sent and of which nobody knows whether they were stored: the next head names them as
    /// passed. Forgotten once one is published.
    pub fn uncertain(&self) -> &[HeadName] {
        &self.uncertain
    }

    pub(in crate::repository) fn has_published(&mut self) {
        self.gap = 0;
        self.uncertain.clear();
    }

    /// A head of this name may be stored or not: the next one is newer than it.
    pub(in crate::repository) fn has_perhaps_published(&mut self, name: HeadName) {
        self.gap += 1;
        self.uncertain.retain(|known| *known != name);
        self.uncertain.push(name);
        if self.uncertain.len() > UNCERTAIN_MAX {
            self.uncertain.remove(0);
        }
    }

    /// A higher claim, or what became of our own. Two requests.
    async fn successor(&self, repository: &Repository<Opened>) -> Result<Option<Successor>, RepositoryError> {
        let after = LeaseName::just_after_epoch(self.share, self.epoch);
        let page = repository.store.list(&leases_of(self.share), Some(&after), 1).await?;
        if let Some(object) = page.objects.first() {
            let name = LeaseName::parse(&object.name)?;
            return Ok(Some(Successor::Claim { epoch: name.epoch, settled: name.is_settled() }));
        }
        match repository.read_claim(self.share, &self.name).await {
            Ok(claim) if claim.nonce == self.nonce => Ok(None),
            Ok(claim) => Ok(Some(Successor::Claim { epoch: claim.epoch, settled: true })),
            Err(RepositoryError::Missing { .. }) => Ok(Some(Successor::Removed { epoch: self.epoch })),
            Err(error) => Err(error),
        }
    }
}

impl Repository<Opened> {
    /// Goes on with a leadership after a restart, if it still holds. Who means to publish under it gives a note
    /// [of the next life](LeadershipNote::of_next_life), which is stored.
    pub async fn resume(&self, note: &LeadershipNote) -> Standing {
        let kind = if note.exclusive { LeaseKind::Exclusive } else { LeaseKind::Settled(note.nonce) };
        let name = LeaseName { epoch: note.epoch, kind };
        let (life, gap) = (note.life, u64::from(note.life) * LIFE_SEQUENCES);
        let resumed = Leadership { life, gap, ..Leadership::new(note.share, note.epoch, note.nonce, name) };
        resumed.check(self).await
    }
}

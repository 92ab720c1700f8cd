//! Publishing: the one way in which a head comes to be.
//!
//! ```text
//! put_pack / confirm_pack -> DurablePacks --write_index--> DurableCommit --+
//! claim / resume          -> Leadership  --------------------------------- +--publish--> head
//! Head                    --prepare_head--> PreparedHead ------------------+
//! ```
//!
//! Order of writes: packs, then index objects, then the head. The types enforce it: the evidence can be
//! had in no other way. A crash before the head leaves packs and index objects that no head reaches; the
//! next commit writes new ones.
//!
//! A prepared head is sealed once and may be published again after an error: the same bytes go to the same
//! name, so a reply that was lost does no harm. The lease is read before each attempt; a leadership that
//! is found superseded is consumed, and with it the ability to publish.

use std::time::{Duration, SystemTime};

use tidegate_chunker::ShareId;
use tokio::time::Instant;

use super::envelope::store_object;
use super::error::{RepositoryError, Result};
use super::head::Head;
use super::lease::{Leadership, Standing, Successor};
use super::names::HeadName;
use super::open::{Opened, Repository};
use crate::store::{ObjectName, PutMode};

/// A head that is stored later than this after a look at the lease began counts only after another one. Less than any claim
/// takes to settle: who claims the share after the look has not looked for its newest head by then.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Evidence that all packs of a commit are on a store, and that its index knows their chunks.
#[derive(Debug)]
pub struct DurableCommit {
    pub(super) store: String,
    pub(super) packs: usize,
    pub(super) index_objects: usize,
}

impl DurableCommit {
    /// How many packs the commit made.
    pub fn packs(&self) -> usize {
        self.packs
    }

    /// How many index objects the commit made.
    pub fn index_objects(&self) -> usize {
        self.index_objects
    }
}

/// A head that is sealed and has a name.
#[derive(Clone, Debug)]
pub struct PreparedHead {
    share: ShareId,
    name: HeadName,
    sealed: bytes::Bytes,
}

impl PreparedHead {
    /// The name that it will have.
    pub fn name(&self) -> HeadName {
        self.name
    }

    /// Its length as stored, in bytes.
    pub fn bytes(&self) -> u64 {
        self.sealed.len() as u64
    }
}

/// What became of an attempt to publish.
#[derive(Debug)]
pub enum Published {
    /// The head is there.
    Done(Leadership),
    /// Somebody else leads; what was published, if anything, may be a fork, and nothing more will be under this
    /// leadership.
    Superseded {
        /// Who leads now.
        by: Successor,
    },
    /// Nobody knows: publish the same prepared head again.
    Failed {
        /// Still to be used.
        leadership: Leadership,
        /// Why.
        error: RepositoryError,
    },
}

/// A look at the lease.
struct Looked {
    /// Stands still while this machine does.
    at: Instant,
    /// Goes on then, and may be set.
    on: SystemTime,
}

impl Looked {
    fn now() -> Self {
        Self { at: Instant::now(), on: SystemTime::now() }
    }

    /// Whether somebody who has claimed the share since may have gone on already.
    fn is_long_ago(&self) -> bool {
        let by_the_clock = self.on.elapsed().unwrap_or_default();
        self.at.elapsed().max(by_the_clock) > LOOK_AGAIN_AFTER
    }
}

fn done(mut leadership: Leadership, name: &ObjectName, durable: &DurableCommit) -> Published {
    leadership.has_published();
    tracing::debug!(%name, packs = durable.packs, index_objects = durable.index_objects, "published a head");
    Published::Done(leadership)
}

impl Repository<Opened> {
    /// Seals a head under a new name. Its epoch must be that of the leadership, its sequence above its
    /// parent's ([`Leadership::next_sequence`]).
    pub fn prepare_head(&self, leadership: &Leadership, head: &Head) -> Result<PreparedHead> {
        head.check()?;
        if head.share.id != leadership.share() || head.epoch != leadership.epoch() {
            return Err(RepositoryError::invalid(format!(
                "a head of share {} and epoch {} cannot be published by the leader of share {} in epoch {}",
                head.share.id,
                head.epoch,
                leadership.share(),
                leadership.epoch()
            )));
        }
        let name = HeadName::new(head.epoch, head.sequence)?;
        let sealed = self.seal_record(&name.object(head.share.id), head)?.into();
        Ok(PreparedHead { share: head.share.id, name, sealed })
    }

    /// Publishes a prepared head, after reading the lease. When the store takes long over it, or this machine stood
    /// still meanwhile, the lease is read once more before the head counts as published.
    ///
    /// `durable` must be of the commit that made the head's root, and of this store.
    pub async fn publish(
        &self,
        leadership: Leadership,
        prepared: &PreparedHead,
        durable: &DurableCommit,
    ) -> Published {
        if let Err(error) = self.check_evidence(&leadership, prepared, durable) {
            return Published::Failed { leadership, error };
        }
        if let Err(error) = self.give_new_epochs().await {
            return Published::Failed { leadership, error };
        }
        let looked = Looked::now();
        let mut leadership = match leadership.check(self).await {
            Standing::StillLeading(leadership) => leadership,
            Standing::Superseded { by } => return Published::Superseded { by },
            Standing::Unknown { leadership, error } => return Published::Failed { leadership, error },
        };
        let name = prepared.name.object(prepared.share);
        match store_object(&*self.store, &name, prepared.sealed.clone(), PutMode::Overwrite).await {
            Ok(()) if looked.is_long_ago() => match leadership.check(self).await {
                Standing::StillLeading(leadership) => done(leadership, &name, durable),
                // Who took over may have gone on without this head, which is a fork then.
                Standing::Superseded { by } => Published::Superseded { by },
                Standing::Unknown { mut leadership, error } => {
                    leadership.has_perhaps_published(prepared.name);
                    Published::Failed { leadership, error }
                }
            },
            Ok(()) => done(leadership, &name, durable),
            Err(error) => {
                leadership.has_perhaps_published(prepared.name);
                Published::Failed { leadership, error }
            }
        }
    }

    fn check_evidence(
        &self,
        leadership: &Leadership,
        prepared: &PreparedHead,
        durable: &DurableCommit,
    ) -> Result<()> {
        if prepared.share != leadership.share() || prepared.name.epoch != leadership.epoch() {
            let name = prepared.name;
            return Err(RepositoryError::invalid(format!(
                "head {name} was prepared under another leadership"
            )));
        }
        if durable.store != self.store.address() {
            let (known, asked) = (&durable.store, self.store.address());
            return Err(RepositoryError::invalid(format!(
                "the commit is durable on {known}, not on {asked}"
            )));
        }
        Ok(())
    }
}

//! Which store has the object of which sealing epoch.
//!
//! Promise: nothing is stored that is sealed under an epoch of which the store has no object. Else who has only that
//! store and a key could not open it. Keys are rotated on one store, by anybody and at any time; a gateway that begins
//! to lead from another one in just that moment would seal there what nobody else could read.
//!
//! The objects are kept in memory, sealed as they are stored (a few hundred bytes each): whichever store turns out to
//! lack one is given it, also when the store that it came from is lost. One thing is not given back: the keys of a
//! domain of which a store has no epoch at all. Somebody has dropped them, to shred what they opened.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tidegate_chunker::{DomainId, SealEpoch};

use super::domain::Domains;
use super::envelope::store_object;
use super::error::Result;
use super::names;
use super::open::{Opened, Repository};
use crate::store::{Body, ErrorKind, ObjectName, PutMode};

/// An epoch of a domain.
pub(super) type Epoch = (DomainId, SealEpoch);

/// See the head of this module.
#[derive(Debug, Default)]
pub(super) struct EpochObjects {
    /// What the object of each epoch holds that was read.
    sealed: BTreeMap<Epoch, Bytes>,
    /// Of which epochs the store at an address has objects. Two stores may have one address, at different endpoints: so
    /// whoever begins to lead from another asks that one, whatever is known of its address.
    on: BTreeMap<String, BTreeSet<Epoch>>,
}

impl EpochObjects {
    /// Takes up what the domains were read from, at `address`: all names that are there, and the objects that could be
    /// read. What was there before and is no more, was removed, and is forgotten; so is everything of a domain that is
    /// there no more.
    pub(super) fn learn(
        &mut self,
        address: Option<String>,
        there: BTreeSet<Epoch>,
        read: BTreeMap<Epoch, Bytes>,
        domains: &Domains,
    ) {
        self.sealed.extend(read);
        if let Some(address) = address {
            let before = self.on.insert(address, there.clone()).unwrap_or_default();
            self.sealed.retain(|epoch, _| there.contains(epoch) || !before.contains(epoch));
        }
        self.sealed.retain(|(domain, _), _| domains.contains_key(domain));
    }

    /// Whether it is known what the store at `address` has, and nothing is known that it lacks.
    fn are_all_on(&self, address: &str) -> bool {
        self.on.get(address).is_some_and(|there| self.lacking(there).next().is_none())
    }

    /// What a store lacks that has these: of the domains that it knows, everything else.
    fn lacking(&self, there: &BTreeSet<Epoch>) -> impl Iterator<Item = (Epoch, &Bytes)> {
        let lacking = |(epoch, sealed): (&Epoch, _)| {
            (knows(there, epoch.0) && !there.contains(epoch)).then_some((*epoch, sealed))
        };
        self.sealed.iter().filter_map(lacking)
    }

    /// Domains of which a store that has these knows nothing.
    fn unknown(&self, there: &BTreeSet<Epoch>) -> BTreeSet<DomainId> {
        let domains = self.sealed.keys().map(|(domain, _)| *domain);
        domains.filter(|domain| !knows(there, *domain)).collect()
    }
}

/// Whether there is an epoch of a domain among these.
fn knows(there: &BTreeSet<Epoch>, domain: DomainId) -> bool {
    there.range((domain, SealEpoch(0))..=(domain, SealEpoch(u32::MAX))).next().is_some()
}

impl Repository<Opened> {
    /// Gives the store the objects of all epochs that are known and that it lacks: one request, and one for each.
    /// Returns the domains that are known and of which it has no epoch.
    pub async fn give_epochs(&self) -> Result<BTreeSet<DomainId>> {
        let address = self.store.address();
        self.state.epochs.lock().on.remove(&address);
        let names = self.domain_objects().names().await?;
        let mut there: BTreeSet<Epoch> = names.into_iter().filter_map(|(_, of)| of).collect();
        let lacking: Vec<(Epoch, Bytes)> = {
            let epochs = self.state.epochs.lock();
            epochs.lacking(&there).map(|(epoch, sealed)| (epoch, sealed.clone())).collect()
        };
        for ((domain, epoch), sealed) in lacking {
            let name = names::domain(domain, epoch);
            match self.store.put(&name, Body::Bytes(sealed), PutMode::CreateNew).await {
                Err(error) if error.kind() != ErrorKind::Exists => return Err(error.into()),
                Err(_) => {}
                Ok(()) => {
                    tracing::info!(%name, address, "the store lacked the keys of an epoch, and was given them");
                }
            }
            there.insert((domain, epoch));
        }
        let mut epochs = self.state.epochs.lock();
        let unknown = epochs.unknown(&there);
        // Another store may have begun to lead meanwhile: then nobody knows whose names these are.
        if self.store.address() == address {
            epochs.on.insert(address, there);
        }
        Ok(unknown)
    }

    /// The same where nothing is known that the store may lack: no request.
    pub(super) async fn give_new_epochs(&self) -> Result<()> {
        if !self.state.epochs.lock().are_all_on(&self.store.address()) {
            self.give_epochs().await?;
        }
        Ok(())
    }

    /// Stores an object that was sealed by this repository's keys.
    pub(super) async fn store_sealed(
        &self,
        name: &ObjectName,
        sealed: impl Into<Bytes>,
        mode: PutMode,
    ) -> Result<()> {
        self.give_new_epochs().await?;
        store_object(&*self.store, name, sealed, mode).await
    }
}

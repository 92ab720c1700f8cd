//! Trying a key on the slots of a repository.
//!
//! A slot that is damaged, or of a newer format, does not keep another from opening. What was tried and
//! what else there is goes into the error, so that a person sees whether the key or the repository is the
//! wrong one.

use std::collections::BTreeMap;

use tidegate_chunker::{ErrorKind as SealErrorKind, RepositoryId, SecretKey, open_object_with};
use zeroize::Zeroizing;

use super::{SLOTS_MAX, SlotKey, SlotKind, SlotRecord, Wrapped};
use crate::repository::config::Config;
use crate::repository::envelope::{Record, fetch, from_payload, unreadable};
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::{self, KEYS};
use crate::store::{ObjectName, Store};

/// What trying a key has shown so far.
#[derive(Default)]
struct Attempts {
    tried: usize,
    kinds: BTreeMap<SlotKind, usize>,
    /// Slots of another repository than the config says.
    foreign: usize,
    unusable: Vec<RepositoryError>,
}

/// Finds the master key of the repository with this config. Only reads.
pub(in crate::repository) async fn unlock(
    store: &dyn Store,
    config: &Config,
    key: &SlotKey,
) -> Result<SecretKey> {
    let mut attempts = Attempts::default();
    let page = store.list(KEYS, None, SLOTS_MAX).await?;
    for name in page.objects.into_iter().map(|object| object.name) {
        if let Some(wrapped) = attempts.try_slot(store, config.repository, &name, key).await? {
            return check_config(config, wrapped);
        }
    }
    Err(attempts.failure(key))
}

/// The slots that a key opens. Only reads; one that cannot be read is passed over.
pub(in crate::repository) async fn opened_by(
    store: &dyn Store,
    config: &Config,
    key: &SlotKey,
) -> Result<Vec<ObjectName>> {
    let (mut attempts, mut opened) = (Attempts::default(), Vec::new());
    let page = store.list(KEYS, None, SLOTS_MAX).await?;
    for name in page.objects.into_iter().map(|object| object.name) {
        if attempts.try_slot(store, config.repository, &name, key).await?.is_some() {
            opened.push(name);
        }
    }
    Ok(opened)
}

impl Attempts {
    /// Tries one slot; `None` when it does not open.
    async fn try_slot(
        &mut self,
        store: &dyn Store,
        repository: RepositoryId,
        name: &ObjectName,
        key: &SlotKey,
    ) -> Result<Option<Wrapped>> {
        let record = match read(store, name).await {
            Ok(record) if record.belongs_to(repository) => record,
            Ok(_) => {
                self.foreign += 1;
                return Ok(None);
            }
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => return Err(error),
            Err(error) => return Ok(self.set_aside(error)),
        };
        *self.kinds.entry(record.kind).or_default() += 1;
        if record.kind != key.kind() {
            return Ok(None);
        }
        self.tried += 1;
        match open(&record, repository, name, key).await {
            Err(error @ RepositoryError::Local { .. }) => Err(error),
            Err(error) => Ok(self.set_aside(error)),
            Ok(opened) => Ok(opened),
        }
    }

    fn set_aside(&mut self, error: RepositoryError) -> Option<Wrapped> {
        self.unusable.push(error);
        None
    }

    fn failure(self, key: &SlotKey) -> RepositoryError {
        let mut slots: Vec<String> =
            self.kinds.iter().map(|(kind, count)| format!("{count} {kind} slot(s)")).collect();
        slots.extend(self.unusable.iter().map(ToString::to_string));
        if self.foreign > 0 {
            let foreign = self.foreign;
            slots.push(format!("{foreign} slot(s) of another repository than `config` says that this is"));
        }
        if slots.is_empty() {
            slots.push("no key slot at all: the objects below `keys/` are gone".to_owned());
        }
        RepositoryError::WrongKey {
            tried: format!("{key} (tried on {} {} slot(s))", self.tried, key.kind()),
            slots: slots.join(", "),
        }
    }
}

async fn read(store: &dyn Store, name: &ObjectName) -> Result<SlotRecord> {
    SlotRecord::read(name, &fetch(store, name, SlotRecord::BYTES_MAX).await?)
}

/// Opens a slot; `None` when the key is not its.
async fn open(
    record: &SlotRecord,
    repository: RepositoryId,
    name: &ObjectName,
    key: &SlotKey,
) -> Result<Option<Wrapped>> {
    let slot_key = key.slot_key(name, record.argon2id.as_ref()).await?;
    match open_object_with(&slot_key, repository, SlotRecord::KIND, name.as_str(), &record.wrapped) {
        Ok(payload) => from_payload(name, &Zeroizing::new(payload)).map(Some),
        Err(error) if error.kind() == SealErrorKind::NotAuthentic => Ok(None),
        Err(error) => Err(unreadable(name, error)),
    }
}

/// The config that anybody could have changed must be the one that the slot sealed.
fn check_config(config: &Config, wrapped: Wrapped) -> Result<SecretKey> {
    if wrapped.config == *config {
        return Ok(wrapped.master);
    }
    Err(RepositoryError::damaged(names::config(), "it is not what the key slots say that it was at creation"))
}

//! Creating and opening a repository, and its key slots and domains.
//!
//! Order of writes of [`Repository::init`], and what a crash at each step leaves:
//!
//! 1. the first key slot — an object without a repository;
//! 2. the first domain — two of them;
//! 3. `config`, refused if there is one — the repository.
//!
//! Before the first write the prefix is checked to be empty. A creation that fails before the last step, or
//! finds that another one was faster, takes back what it wrote; when nobody can tell whether `config` was
//! stored, or after a kill, leftovers stay, which the next creation names. Of two creations at once, one
//! wins `config`; where the store cannot decide that, reading it back does.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tidegate_chunker::{ChunkParams, DomainId, DomainKeys, RepositoryId, SealEpoch, SecretKey, SigningKey};
use zeroize::Zeroizing;

use super::chance::random;
use super::config::Config;
use super::domain::{Domain, DomainObjects, Domains, UnreadableObject};
use super::envelope::{fetch, list_all, store_object};
use super::epochs::EpochObjects;
use super::error::{RepositoryError, Result};
use super::hex::HexId;
use super::names::{self, SlotId};
use super::slot::{self, SLOT_BYTES_MAX, SLOTS_MAX, SlotInfo, SlotKey, SlotRecord};
use super::time::UtcNanos;
use crate::store::{ErrorKind, ObjectName, PutMode, Store};

/// What is decided when a repository is created.
#[derive(Clone, Debug)]
pub struct NewRepository {
    /// How file data is cut, for good.
    pub chunks: ChunkParams,
    /// What people call the first key slot.
    pub slot_label: String,
    /// What people call the first domain.
    pub domain_label: String,
    /// What time it is.
    pub created_at: UtcNanos,
}

/// All objects below one prefix of a store; see the head of this module.
pub struct Repository<State> {
    pub(super) store: Arc<dyn Store>,
    pub(super) config: Config,
    pub(super) state: State,
}

/// The config has been read; nothing is known of the keys.
#[derive(Debug)]
pub struct Locked(());

/// The keys are at hand. Whoever reaches the same repository another way shares them.
#[derive(Clone)]
pub struct Opened {
    master: Arc<SecretKey>,
    domains: Arc<RwLock<Arc<Domains>>>,
    unreadable: Arc<RwLock<Vec<UnreadableObject>>>,
    pub(super) epochs: Arc<Mutex<EpochObjects>>,
}

impl<State> Repository<State> {
    /// What is fixed for the life of the repository.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which repository this is.
    pub fn id(&self) -> RepositoryId {
        self.config.repository
    }

    /// The same repository, reached another way: with another patience, or with more known of the store.
    #[must_use]
    pub fn through(self, store: Arc<dyn Store>) -> Self {
        Self { store, ..self }
    }

    /// The store that it lies on.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}

impl Repository<Locked> {
    /// Finds the repository at a store. Only reads.
    pub async fn locate(store: Arc<dyn Store>) -> Result<Self> {
        let config = Config::open(&*store).await?;
        Ok(Self { store, config, state: Locked(()) })
    }

    /// Opens it. Only reads.
    pub async fn unlock(self, key: &SlotKey) -> Result<Repository<Opened>> {
        let master = slot::unlock(&*self.store, &self.config, key).await?;
        Repository::with_master(self.store, self.config, master).await
    }
}

impl Repository<Opened> {
    /// Finds and opens the repository at a store. Only reads: when it fails, nothing was written.
    pub async fn open(store: Arc<dyn Store>, key: &SlotKey) -> Result<Self> {
        Repository::locate(store).await?.unlock(key).await
    }

    /// Creates a repository below an empty prefix, with one key slot and one domain.
    pub async fn init(store: Arc<dyn Store>, new: &NewRepository, key: &SlotKey) -> Result<Self> {
        check_vacant(&*store).await?;
        let config = Config {
            repository: RepositoryId::new(random()?),
            domain: DomainId::new(random()?),
            chunks: new.chunks,
            created_at: new.created_at,
        };
        let master = SecretKey::new(*Zeroizing::new(random()?));
        let (slot, bytes) = slot::create(&master, &config, key, &new.slot_label, new.created_at).await?;
        let keys = write_keys(&*store, &config, &master, &new.domain_label, (slot, bytes)).await;
        let written = match keys {
            Ok(()) => write_config(&*store, &config).await,
            Err(error) => Err((error, Leftovers::TakeBack)),
        };
        if let Err((error, leftovers)) = written {
            if leftovers == Leftovers::TakeBack {
                take_back(&*store, &config, slot).await;
            }
            return Err(error);
        }
        Self::with_master(store, config, master).await
    }

    /// The key that signs what leaves the repository by another way than its stores.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::of(&self.state.master)
    }

    /// The same repository on another store that holds it, or is about to; both share what is known of keys.
    #[must_use]
    pub fn on(&self, store: Arc<dyn Store>) -> Self {
        Self { store, config: self.config.clone(), state: self.state.clone() }
    }

    /// The same repository on another store that holds it, with the keys that are there and no others: nothing that is
    /// learned of one store's keys is sealed with on the other, which may not have them.
    pub async fn apart(&self, store: Arc<dyn Store>) -> Result<Self> {
        let master = SecretKey::clone(&self.state.master);
        Self::with_master(store, self.config.clone(), master).await
    }

    /// The domain in which shares are unless they have one of their own.
    pub fn default_domain(&self) -> DomainId {
        self.config.domain
    }

    /// All domains.
    pub fn domains(&self) -> Vec<(DomainId, Domain)> {
        self.loaded().iter().map(|(id, domain)| (*id, domain.clone())).collect()
    }

    /// The keys of a domain, as last read.
    pub fn domain_keys(&self, domain: DomainId) -> Result<Arc<DomainKeys>> {
        let keys = self.loaded().get(&domain).map(|domain| domain.keys.clone());
        keys.ok_or_else(|| self.no_domain(domain))
    }

    /// Objects of domains that could not be read when they were last looked at. What only they open stays
    /// closed; everything else is served.
    pub fn unreadable_domains(&self) -> Vec<UnreadableObject> {
        self.state.unreadable.read().clone()
    }

    /// Why there is no such domain: an object of it, if one is there that cannot be read.
    fn no_domain(&self, domain: DomainId) -> RepositoryError {
        let folder = format!("domains/{domain}/");
        let unreadable = self.state.unreadable.read();
        match unreadable.iter().find(|found| found.object.starts_with(&folder)) {
            Some(found) => found.to_error(),
            None => RepositoryError::Missing { object: format!("domains/{domain}") },
        }
    }

    /// Reads the domains again: another gateway may have made one, or rotated its keys.
    pub async fn reload_domains(&self) -> Result<()> {
        let address = self.store.address();
        let loaded = self.domain_objects().load(&self.loaded()).await?;
        let has_default = loaded.domains.contains_key(&self.config.domain);
        *self.state.unreadable.write() = loaded.unreadable;
        if !has_default {
            return Err(self.no_domain(self.config.domain));
        }
        // Another store may have begun to lead meanwhile: then nobody knows whose names these are.
        let address = (self.store.address() == address).then_some(address);
        self.state.epochs.lock().learn(address, loaded.there, loaded.sealed, &loaded.domains);
        *self.state.domains.write() = Arc::new(loaded.domains);
        Ok(())
    }

    /// Takes up what others have added: domains, and seal epochs, of which everybody who holds keys of the domain knows
    /// then. A domain whose keys are gone is forgotten. One request if there is nothing new. Tells whether there was.
    pub async fn learn_epochs(&self) -> Result<bool> {
        let names = self.domain_objects().names().await?;
        let (known, unreadable) = (self.loaded(), self.unreadable_domains());
        let is_new = |name: &ObjectName, of: Option<(DomainId, SealEpoch)>| {
            let is_known =
                of.is_some_and(|(id, epoch)| known.get(&id).is_some_and(|domain| domain.keys.knows(epoch)));
            !is_known && !unreadable.iter().any(|found| found.object == name.as_str())
        };
        let has_new = names.iter().any(|(name, of)| is_new(name, *of));
        let is_there = |id: &DomainId| names.iter().any(|(_, of)| of.is_some_and(|(there, _)| there == *id));
        if has_new || !known.keys().all(is_there) {
            self.reload_domains().await?;
        }
        Ok(has_new)
    }

    /// Creates a domain: shares in it share nothing with shares outside.
    pub async fn create_domain(&self, label: &str) -> Result<DomainId> {
        let domain = DomainId::new(random()?);
        self.domain_objects().create(domain, label).await?;
        self.reload_domains().await?;
        Ok(domain)
    }

    /// Gives a domain a new sealing secret. What is sealed already stays as it is, and readable.
    pub async fn rotate_domain(&self, domain: DomainId) -> Result<SealEpoch> {
        self.reload_domains().await?;
        let current = self.domain_keys(domain)?.current_epoch();
        let epoch = self.domain_objects().rotate(domain, current).await?;
        self.reload_domains().await?;
        Ok(epoch)
    }

    /// All key slots, in order of id. One that cannot be read has its error instead, so that it does not hide
    /// the others.
    pub async fn slots(&self) -> Result<Vec<(SlotId, Result<SlotInfo>)>> {
        let mut slots = Vec::new();
        for name in list_all(&*self.store, names::KEYS).await? {
            let Some(id) = <SlotId as HexId>::from_hex(names::last_segment(&name)) else { continue };
            match self.slot_info(id, &name).await {
                Err(error @ RepositoryError::Store(_)) => return Err(error),
                Ok(None) => {}
                Ok(Some(info)) => slots.push((id, Ok(info))),
                Err(error) => slots.push((id, Err(error))),
            }
        }
        Ok(slots)
    }

    /// Adds a key slot: from now on `key` opens the repository too.
    pub async fn add_slot(&self, key: &SlotKey, label: &str, created_at: UtcNanos) -> Result<SlotId> {
        if self.slots().await?.len() >= SLOTS_MAX {
            return Err(RepositoryError::invalid(format!(
                "the repository has {SLOTS_MAX} key slots already: remove one"
            )));
        }
        let (id, bytes) = slot::create(&self.state.master, &self.config, key, label, created_at).await?;
        store_object(&*self.store, &names::slot(id), bytes, PutMode::Overwrite).await?;
        Ok(id)
    }

    /// The slots that a key opens.
    pub async fn slots_opened_by(&self, key: &SlotKey) -> Result<Vec<SlotId>> {
        let opened = slot::opened_by(&*self.store, &self.config, key).await?;
        let id = |name: &ObjectName| <SlotId as HexId>::from_hex(names::last_segment(name));
        Ok(opened.iter().filter_map(id).collect())
    }

    /// Removes a key slot, also a damaged one. Refuses when no other can be read. Who knew the removed key
    /// may have kept the master key: only a new repository locks him out for certain.
    pub async fn remove_slot(&self, slot: SlotId) -> Result<()> {
        let slots = self.slots().await?;
        if !slots.iter().any(|(id, _)| *id == slot) {
            return Err(RepositoryError::Missing { object: names::slot(slot).to_string() });
        }
        if !slots.iter().any(|(id, info)| *id != slot && info.is_ok()) {
            return Err(RepositoryError::invalid(format!(
                "key slot {slot} is the last one that opens the repository: add another first"
            )));
        }
        Ok(self.store.delete(&names::slot(slot)).await?)
    }

    /// What a slot is; `None` for one of another repository, left by a creation that lost a race.
    async fn slot_info(&self, id: SlotId, name: &ObjectName) -> Result<Option<SlotInfo>> {
        let record = SlotRecord::read(name, &fetch(&*self.store, name, SLOT_BYTES_MAX).await?)?;
        let ours = record.belongs_to(self.id());
        if ours { record.info(id, &self.state.master).map(Some) } else { Ok(None) }
    }

    async fn with_master(store: Arc<dyn Store>, config: Config, master: SecretKey) -> Result<Self> {
        let (domains, unreadable, epochs) = Default::default();
        let state = Opened { master: Arc::new(master), domains, unreadable, epochs };
        let repository = Self { store, config, state };
        repository.reload_domains().await?;
        Ok(repository)
    }

    pub(super) fn loaded(&self) -> Arc<Domains> {
        self.state.domains.read().clone()
    }

    pub(super) fn domain_objects(&self) -> DomainObjects<'_> {
        DomainObjects { store: &*self.store, repository: self.id(), master: &self.state.master }
    }
}

impl<State> std::fmt::Debug for Repository<State> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("id", &self.id())
            .field("store", &self.store.address())
            .finish_non_exhaustive()
    }
}

/// Checks that a repository may be created at a store: that nothing is there. Only reads.
pub async fn check_vacant(store: &dyn Store) -> Result<()> {
    let address = || store.address();
    match store.head(&names::config()).await {
        Ok(_) => return Err(RepositoryError::AlreadyThere { address: address() }),
        Err(error) if error.kind() == ErrorKind::Missing => {}
        Err(error) => return Err(error.into()),
    }
    match store.list("", None, 1).await?.objects.into_iter().next() {
        Some(found) => Err(RepositoryError::NotEmpty { address: address(), found: found.name.to_string() }),
        None => Ok(()),
    }
}

/// What becomes of the key slot and the domain of a creation that failed.
#[derive(PartialEq, Eq)]
enum Leftovers {
    /// They belong to no repository.
    TakeBack,
    /// Their `config` may have been stored.
    Keep,
}

async fn write_keys(
    store: &dyn Store,
    config: &Config,
    master: &SecretKey,
    domain_label: &str,
    (slot, bytes): (SlotId, Vec<u8>),
) -> Result<()> {
    store_object(store, &names::slot(slot), bytes, PutMode::CreateNew).await?;
    let domains = DomainObjects { store, repository: config.repository, master };
    domains.create(config.domain, domain_label).await
}

/// Stores `config`. What lies there afterwards decides, whatever the reply was.
async fn write_config(
    store: &dyn Store,
    config: &Config,
) -> std::result::Result<(), (RepositoryError, Leftovers)> {
    let object = config.to_object().map_err(|error| (error, Leftovers::TakeBack))?;
    let stored = store_object(store, &names::config(), object, PutMode::CreateNew).await;
    match (Config::open(store).await, stored) {
        (Ok(there), _) if there == *config => Ok(()),
        (Ok(_), _) => Err((RepositoryError::AlreadyThere { address: store.address() }, Leftovers::TakeBack)),
        (Err(_), Err(error)) | (Err(error), Ok(())) => Err((error, Leftovers::Keep)),
    }
}

async fn take_back(store: &dyn Store, config: &Config, slot: SlotId) {
    for name in [names::slot(slot), names::domain(config.domain, SealEpoch(1))] {
        if let Err(error) = store.delete(&name).await {
            tracing::warn!(%name, %error, "a creation that failed leaves an object behind");
        }
    }
}

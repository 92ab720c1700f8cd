//! Domains: `domains/<domain id>/<seal epoch>`, the secrets from which all keys of a domain come.
//!
//! Each object holds the domain's root secret (the same in all of its epochs, so that ids and dedup stay)
//! and the sealing secret of one epoch, sealed by the master key. New frames and objects are sealed under
//! the highest epoch; all epochs stay readable.
//!
//! A rotation adds an object and replaces none. Its epoch is the highest so far plus a random step, so
//! that two gateways that rotate at once, on a store that cannot refuse to overwrite, do not meet at one
//! name and lose a key. After a crash, or a reply that was lost, the new epoch is there or it is not;
//! both are whole.
//!
//! An object that is damaged, of a newer format, gone meanwhile, or has no name that a domain could have does not keep the
//! others from being used: what it alone could open stays closed, and is an error under its own name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_chunker::{
    DomainId, DomainKeys, ObjectKind, RepositoryId, SealEpoch, SecretKey, open_object_with, seal_object_with,
};
use zeroize::Zeroizing;

use super::chance::random;
use super::envelope::{
    Record, fetch, from_payload, list_all, store_object, to_payload, unreadable, unsealable,
};
use super::epochs::Epoch;
use super::error::{RepositoryError, Result};
use super::hex::{self, HexId};
use super::names::{self, DOMAINS};
use super::secret_hex;
use super::slot::check_label;
use crate::store::{ObjectName, PutMode, Store};

/// Most domains and epochs of a repository together.
pub const DOMAIN_OBJECTS_MAX: usize = 4096;

/// A domain, and the keys of all its epochs.
#[derive(Clone, Debug)]
pub struct Domain {
    /// What people call it.
    pub label: String,
    /// Its keys.
    pub keys: Arc<DomainKeys>,
}

/// All domains of a repository.
pub(super) type Domains = BTreeMap<DomainId, Domain>;

/// The object, as stored.
#[derive(Clone, Serialize, Deserialize)]
struct DomainRecord {
    label: String,
    #[serde(with = "secret_hex")]
    root: SecretKey,
    #[serde(with = "secret_hex")]
    seal: SecretKey,
}

impl Record for DomainRecord {
    const KIND: ObjectKind = ObjectKind::Domain;
    const BYTES_MAX: u64 = 4 << 10;
}

/// What the objects of one domain say together.
struct Collected {
    newest: DomainRecord,
    seals: Vec<(SealEpoch, SecretKey)>,
}

/// An object among the domains that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableObject {
    /// Its name.
    pub object: String,
    /// What is wrong with it.
    pub why: String,
    /// Whether it says that a newer program wrote it; a flipped bit can say so too.
    pub is_newer: bool,
}

impl UnreadableObject {
    /// The error of somebody who needs it.
    pub(super) fn to_error(&self) -> RepositoryError {
        let (object, why) = (self.object.clone(), self.why.clone());
        if self.is_newer {
            RepositoryError::NewerFormat { object, why }
        } else {
            RepositoryError::Damaged { object, why }
        }
    }
}

/// What is known after all objects of the domains have been read.
pub(super) struct Loaded {
    pub(super) domains: Domains,
    pub(super) unreadable: Vec<UnreadableObject>,
    /// The epochs that have an object, readable or not.
    pub(super) there: BTreeSet<Epoch>,
    /// What was read, as it is stored.
    pub(super) sealed: BTreeMap<Epoch, Bytes>,
}

/// Access to the domains of one repository: what is needed to read and write their objects.
pub(super) struct DomainObjects<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) repository: RepositoryId,
    pub(super) master: &'a SecretKey,
}

impl DomainObjects<'_> {
    /// The objects of all domains, and what each is of, if a domain could have its name.
    pub(super) async fn names(&self) -> Result<Vec<(ObjectName, Option<(DomainId, SealEpoch)>)>> {
        let names = list_all(self.store, DOMAINS).await?;
        if names.len() > DOMAIN_OBJECTS_MAX {
            let (found, most) = (names.len(), DOMAIN_OBJECTS_MAX);
            return Err(RepositoryError::damaged(
                DOMAINS,
                format!("{found} objects; at most {most} are allowed"),
            ));
        }
        let of = |name: ObjectName| {
            let of = parse(&name).ok();
            (name, of)
        };
        Ok(names.into_iter().map(of).collect())
    }

    /// Reads all domains, and says which of their objects cannot be read. Whoever holds the keys of a domain that is
    /// `known` has its new epochs too.
    pub(super) async fn load(&self, known: &Domains) -> Result<Loaded> {
        let names = self.names().await?;
        let mut collected: BTreeMap<DomainId, Collected> = BTreeMap::new();
        let (mut unreadable, mut sealed) = (Vec::new(), BTreeMap::new());
        for (name, _) in &names {
            match self.read_named(name).await {
                Ok((domain, epoch, record, bytes)) => {
                    collect(&mut collected, name, domain, epoch, record)?;
                    sealed.insert((domain, epoch), bytes);
                }
                Err(RepositoryError::Damaged { object, why }) => {
                    unreadable.push(UnreadableObject { object, why, is_newer: false });
                }
                Err(RepositoryError::NewerFormat { object, why }) => {
                    unreadable.push(UnreadableObject { object, why, is_newer: true });
                }
                Err(RepositoryError::Missing { object }) => {
                    let why = "it is missing from the store".to_owned();
                    unreadable.push(UnreadableObject { object, why, is_newer: false });
                }
                Err(error) => return Err(error),
            }
        }
        let domains =
            collected.into_iter().map(|(id, collected)| Ok((id, self.keys(id, collected, known.get(&id))?)));
        let there = names.into_iter().filter_map(|(_, of)| of).collect();
        Ok(Loaded { domains: domains.collect::<Result<Domains>>()?, unreadable, there, sealed })
    }

    /// Creates a domain.
    pub(super) async fn create(&self, domain: DomainId, label: &str) -> Result<()> {
        check_label(label)?;
        let record = DomainRecord { label: label.to_owned(), root: new_secret()?, seal: new_secret()? };
        self.write(domain, SealEpoch(1), &record).await
    }

    /// Adds a seal epoch above `current`; all that is sealed from now on is sealed under it.
    pub(super) async fn rotate(&self, domain: DomainId, current: SealEpoch) -> Result<SealEpoch> {
        if self.names().await?.len() >= DOMAIN_OBJECTS_MAX {
            let most = DOMAIN_OBJECTS_MAX;
            return Err(RepositoryError::invalid(format!(
                "domains and their epochs are {most} already: the most"
            )));
        }
        let step = u32::from(u16::from_be_bytes(random()?)) + 1;
        let epoch = self.highest_epoch(domain, current).await?.0.checked_add(step).map(SealEpoch);
        let epoch = epoch.ok_or_else(|| RepositoryError::invalid("the domain has no seal epochs left"))?;
        let (old, _) = self.read(&names::domain(domain, current)).await?;
        self.write(domain, epoch, &DomainRecord { seal: new_secret()?, ..old }).await?;
        Ok(epoch)
    }

    /// The highest epoch of a domain that has an object, readable or not.
    async fn highest_epoch(&self, domain: DomainId, readable: SealEpoch) -> Result<SealEpoch> {
        let names = list_all(self.store, &names::domain_folder(domain)).await?;
        let epochs = names.iter().filter_map(|name| parse(name).ok()).map(|(_, epoch)| epoch);
        Ok(epochs.chain([readable]).max().unwrap_or(readable))
    }

    async fn read_named(&self, name: &ObjectName) -> Result<(DomainId, SealEpoch, DomainRecord, Bytes)> {
        let (domain, epoch) = parse(name)?;
        let (record, bytes) = self.read(name).await?;
        Ok((domain, epoch, record, bytes))
    }

    /// An object, and its bytes as they are stored.
    async fn read(&self, name: &ObjectName) -> Result<(DomainRecord, Bytes)> {
        let bytes = fetch(self.store, name, DomainRecord::BYTES_MAX).await?;
        let payload =
            open_object_with(self.master, self.repository, DomainRecord::KIND, name.as_str(), &bytes)
                .map_err(|error| unreadable(name, error))?;
        Ok((from_payload(name, &Zeroizing::new(payload))?, bytes))
    }

    async fn write(&self, domain: DomainId, epoch: SealEpoch, record: &DomainRecord) -> Result<()> {
        let name = names::domain(domain, epoch);
        let payload = to_payload(&name, record)?;
        let sealed = seal_object_with(
            self.master,
            self.repository,
            DomainRecord::KIND,
            name.as_str(),
            random()?,
            &payload,
        )
        .map_err(|error| unsealable(&name, error))?;
        store_object(self.store, &name, sealed, PutMode::CreateNew).await
    }

    fn keys(&self, id: DomainId, collected: Collected, known: Option<&Domain>) -> Result<Domain> {
        let Collected { newest, seals } = collected;
        let damaged = |error| RepositoryError::damaged(format!("{DOMAINS}{id}"), error);
        let keys = match known {
            None => Arc::new(DomainKeys::new(self.repository, id, &newest.root, seals).map_err(damaged)?),
            Some(known) => {
                for (epoch, secret) in &seals {
                    known.keys.learn(&newest.root, *epoch, secret).map_err(damaged)?;
                }
                known.keys.clone()
            }
        };
        Ok(Domain { label: newest.label, keys })
    }
}

/// Adds one object to what is known of its domain. Objects come in order of epoch.
fn collect(
    all: &mut BTreeMap<DomainId, Collected>,
    name: &ObjectName,
    domain: DomainId,
    epoch: SealEpoch,
    record: DomainRecord,
) -> Result<()> {
    let seal = (epoch, record.seal.clone());
    match all.get_mut(&domain) {
        Some(known) if known.newest.root != record.root => {
            return Err(RepositoryError::damaged(
                name,
                "its root secret is not that of the domain's other epochs",
            ));
        }
        Some(known) => {
            known.newest = record;
            known.seals.push(seal);
        }
        None => {
            all.insert(domain, Collected { newest: record, seals: vec![seal] });
        }
    }
    Ok(())
}

fn parse(name: &ObjectName) -> Result<(DomainId, SealEpoch)> {
    let parts = || {
        let (domain, epoch) = name.as_str().strip_prefix(DOMAINS)?.split_once('/')?;
        Some((<DomainId as HexId>::from_hex(domain)?, SealEpoch(hex::decode_u32(epoch)?)))
    };
    parts().ok_or_else(|| RepositoryError::damaged(name, "no domain has such a name"))
}

fn new_secret() -> Result<SecretKey> {
    Ok(SecretKey::new(*Zeroizing::new(random()?)))
}

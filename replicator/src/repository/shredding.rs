//! That the keys of a domain were destroyed on purpose: `shredded/<domain>`.
//!
//! Written before the first key goes, by whoever has the master key, and never removed. Who finds no keys of a domain goes
//! by it: with it nobody wants back what they opened, and without it they are missing by accident, or by somebody's malice.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidegate_chunker::{DomainId, ObjectKind, ShareId};

use super::envelope::{Record, list_all};
use super::error::{RepositoryError, Result};
use super::hex::{self, HexId};
use super::names::{self, SHREDDED};
use super::open::{Opened, Repository};
use super::time::UtcNanos;
use crate::store::PutMode;

/// Greatest length of the payload, in bytes.
const SHREDDING_BYTES_MAX: u64 = 64 << 10;

/// Which share was in the domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shredding {
    /// Its id.
    #[serde(with = "hex")]
    pub share: ShareId,
    /// What it was called last.
    pub name: String,
    /// When, by the clock of who did it.
    pub shredded_at: UtcNanos,
}

impl Record for Shredding {
    const KIND: ObjectKind = ObjectKind::Shredding;
    const BYTES_MAX: u64 = SHREDDING_BYTES_MAX;
}

impl Repository<Opened> {
    /// Says, for good, that the keys of a domain are destroyed. May be repeated.
    pub(crate) async fn note_shredding(&self, domain: DomainId, shredding: &Shredding) -> Result<()> {
        let name = names::shredded(domain);
        let sealed = self.seal_record(&name, shredding)?;
        self.store_sealed(&name, sealed, PutMode::Overwrite).await
    }

    /// Whether the keys of a domain were destroyed on purpose, or are about to be. Not if what says so cannot be read: then
    /// everything stays as it is, and nobody else's work waits for it.
    pub async fn is_shredded(&self, domain: DomainId) -> Result<bool> {
        match self.read_record::<Shredding>(&names::shredded(domain)).await {
            Ok(_) => Ok(true),
            Err(RepositoryError::Missing { .. }) => Ok(false),
            Err(RepositoryError::Damaged { object, why }) => {
                tracing::error!(object, why, "nobody can tell whether keys were destroyed on purpose");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// All domains of which that is so.
    pub async fn shredded_domains(&self) -> Result<BTreeSet<DomainId>> {
        let mut found = BTreeSet::new();
        for name in list_all(&*self.store, SHREDDED).await? {
            let Some(domain) = <DomainId as HexId>::from_hex(names::last_segment(&name)) else { continue };
            if self.is_shredded(domain).await? {
                found.insert(domain);
            }
        }
        Ok(found)
    }
}

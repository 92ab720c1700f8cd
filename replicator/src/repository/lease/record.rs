//! Claims as objects: their names, what they say, and what a listing of them tells.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidegate_chunker::{ObjectKind, ShareId};

use crate::repository::envelope::{Record, list_all};
use crate::repository::error::{RepositoryError, Result};
use crate::repository::hex::{self, HexId};
use crate::repository::names::{self, ClaimNonce, HeadName, leases_of};
use crate::repository::open::{Opened, Repository};
use crate::repository::time::UtcNanos;
use crate::store::ObjectName;

/// The name of a claim below its share. Sorts by epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LeaseName {
    pub(super) epoch: u32,
    pub(super) kind: LeaseKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseKind {
    /// Wants to lead.
    Claim(ClaimNonce),
    /// Settled, beside which others may appear.
    Settled(ClaimNonce),
    /// Settled, under a name that the store gives to one only.
    Exclusive,
}

/// What a claim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimInfo {
    /// Of which share.
    #[serde(with = "hex")]
    pub share: ShareId,
    /// In which epoch to lead.
    pub epoch: u32,
    /// Tells this claim from all others.
    #[serde(with = "hex")]
    pub nonce: ClaimNonce,
    /// The host that claims.
    pub host: String,
    /// The gateway instance that claims.
    pub instance: String,
    /// When, by the claimant's clock.
    pub claimed_at: UtcNanos,
    /// Set where the claim moves leadership to another store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<Promotion>,
}

/// A store begins to lead that had been a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// The newest head of the share there; none if it had none. What the store that led before has beyond
    /// it is a fork.
    pub after: Option<HeadName>,
}

/// A claim in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedClaim {
    pub(crate) object: ObjectName,
    pub(crate) epoch: u32,
    pub(crate) settled: bool,
}

impl Record for ClaimInfo {
    const KIND: ObjectKind = ObjectKind::Lease;
    const BYTES_MAX: u64 = 16 << 10;
}

/// What is known of a share's lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    pub(super) share: ShareId,
    pub(super) highest: u32,
    holder: Option<ClaimInfo>,
    contested: bool,
}

impl LeaseState {
    /// Of which share.
    pub fn share(&self) -> ShareId {
        self.share
    }

    /// The highest epoch that anybody has claimed; 0 if nobody ever has.
    pub fn highest_epoch(&self) -> u32 {
        self.highest
    }

    /// The newest settled claim.
    pub fn holder(&self) -> Option<&ClaimInfo> {
        self.holder.as_ref()
    }

    /// Whether there is a claim above the holder's that is not settled: a takeover is under way, or was
    /// given up.
    pub fn is_contested(&self) -> bool {
        self.contested
    }
}

impl LeaseName {
    pub(super) fn parse(name: &ObjectName) -> Result<Self> {
        let read = || {
            let mut parts = names::last_segment(name).split('-');
            let epoch = hex::decode_u32(parts.next()?)?;
            let nonce = parts.next().map(|nonce| <ClaimNonce as HexId>::from_hex(nonce).ok_or(()));
            let kind = match (nonce, parts.next(), parts.next()) {
                (None, None, None) => LeaseKind::Exclusive,
                (Some(Ok(nonce)), None, None) => LeaseKind::Claim(nonce),
                (Some(Ok(nonce)), Some("settled"), None) => LeaseKind::Settled(nonce),
                _ => return None,
            };
            Some(Self { epoch, kind })
        };
        read().ok_or_else(|| RepositoryError::damaged(name, "no claim has such a name"))
    }

    pub(super) fn object(&self, share: ShareId) -> ObjectName {
        let (folder, epoch) = (leases_of(share), self.epoch);
        names::object(match self.kind {
            LeaseKind::Claim(nonce) => format!("{folder}{epoch:08x}-{nonce}"),
            LeaseKind::Settled(nonce) => format!("{folder}{epoch:08x}-{nonce}-settled"),
            LeaseKind::Exclusive => format!("{folder}{epoch:08x}"),
        })
    }

    pub(super) fn is_settled(&self) -> bool {
        match self.kind {
            LeaseKind::Settled(_) | LeaseKind::Exclusive => true,
            LeaseKind::Claim(_) => false,
        }
    }

    /// The name after which the listing of all claims of `epoch` begins.
    pub(super) fn just_before_epoch(share: ShareId, epoch: u32) -> Option<ObjectName> {
        epoch.checked_sub(1).map(|before| Self::just_after_epoch(share, before))
    }

    /// A name above all claims of `epoch` and below all of the next.
    pub(super) fn just_after_epoch(share: ShareId, epoch: u32) -> ObjectName {
        names::object(format!("{}{epoch:08x}-z", leases_of(share)))
    }
}

impl Repository<Opened> {
    /// What is known of a share's lease now: look before claiming it.
    pub async fn lease(&self, share: ShareId) -> Result<LeaseState> {
        let names = self.lease_names(share).await?;
        let highest = names.iter().map(|name| name.epoch).max().unwrap_or(0);
        let settled = names.iter().rev().find(|name| name.is_settled());
        let holder = match settled {
            None => None,
            Some(name) => Some(self.read_claim(share, name).await?),
        };
        let contested = highest > settled.map_or(0, |name| name.epoch);
        Ok(LeaseState { share, highest, holder, contested })
    }

    /// Reads all claims of a share; answers those that cannot be read, each with its name.
    pub async fn check_claims(&self, share: ShareId) -> Result<Vec<(String, RepositoryError)>> {
        let mut unreadable = Vec::new();
        for object in list_all(&*self.store, &leases_of(share)).await? {
            let read = match LeaseName::parse(&object) {
                Ok(name) => self.read_claim(share, &name).await.map(drop),
                Err(error) => Err(error),
            };
            match read {
                Ok(()) | Err(RepositoryError::Missing { .. }) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                Err(error) => unreadable.push((object.to_string(), error)),
            }
        }
        Ok(unreadable)
    }

    /// All claims of a share, by epoch.
    pub(crate) async fn claims(&self, share: ShareId) -> Result<Vec<ListedClaim>> {
        let names = self.lease_names(share).await?;
        let listed = |name: LeaseName| ListedClaim {
            object: name.object(share),
            epoch: name.epoch,
            settled: name.is_settled(),
        };
        Ok(names.into_iter().map(listed).collect())
    }

    /// Reads a claim of a listing.
    pub(crate) async fn read_listed_claim(&self, share: ShareId, claim: &ListedClaim) -> Result<ClaimInfo> {
        self.read_claim(share, &LeaseName::parse(&claim.object)?).await
    }

    /// The epochs of a share whose heads may be followed.
    pub(in crate::repository) async fn claimed_epochs(&self, share: ShareId) -> Result<BTreeSet<u32>> {
        let names = self.lease_names(share).await?;
        Ok(names.iter().filter(|name| name.is_settled()).map(|name| name.epoch).collect())
    }

    /// Reads one claim.
    pub(super) async fn read_claim(&self, share: ShareId, name: &LeaseName) -> Result<ClaimInfo> {
        let object = name.object(share);
        let claim: ClaimInfo = self.read_record(&object).await?;
        let nonce_fits = match name.kind {
            LeaseKind::Claim(nonce) | LeaseKind::Settled(nonce) => claim.nonce == nonce,
            LeaseKind::Exclusive => true,
        };
        if claim.share == share && claim.epoch == name.epoch && nonce_fits {
            return Ok(claim);
        }
        Err(RepositoryError::damaged(&object, "its share, epoch or nonce is not that of its name"))
    }

    async fn lease_names(&self, share: ShareId) -> Result<Vec<LeaseName>> {
        list_all(&*self.store, &leases_of(share)).await?.iter().map(LeaseName::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_sort_by_epoch() {
        let share = ShareId::new([1; 16]);
        let nonce = ClaimNonce::new([0xff; 8]);
        let mut all = Vec::new();
        for epoch in [1, 2, 0x10, u32::MAX] {
            for kind in [LeaseKind::Exclusive, LeaseKind::Claim(nonce), LeaseKind::Settled(nonce)] {
                let name = LeaseName { epoch, kind };
                let object = name.object(share);
                assert_eq!(LeaseName::parse(&object).expect("a claim"), name);
                assert!(LeaseName::just_before_epoch(share, epoch).is_none_or(|before| before < object));
                assert!(object < LeaseName::just_after_epoch(share, epoch));
                all.push(object);
            }
        }
        assert!(all.is_sorted());
    }

    #[test]
    fn other_names_are_no_claims() {
        for wrong in ["1", "00000001-", "00000001-x", "00000001-0000000000000000-lost", "00000001-z"] {
            assert!(LeaseName::parse(&names::object(format!("leases/{wrong}"))).is_err(), "{wrong}");
        }
    }
}

//! Names of objects: the one place that knows how every object of a repository is called.
//!
//! ```text
//! config
//! keys/<slot id>
//! domains/<domain id>/<seal epoch>
//! packs/<first 2 digits of id>/<id>
//! index/<level>-<id>
//! heads/<share id>/<not epoch>-<not sequence>-<random>
//! snapshots/<share id>/<time>-<random>
//! leases/<share id>/<epoch>[-<nonce>[-settled]]
//! plans/<time>-<random>[-done]
//! heartbeats/<instance>/<not sequence>-<random>[-stopped]
//! shredded/<domain>
//! ```
//!
//! Every variable part is lower-case hex of fixed length, so that byte order is numeric order and a
//! name can be read back in one way only. Names reveal ids, counts and times of writing; never a name
//! that a person gave.

use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_chunker::{DomainId, PackId, SealEpoch, ShareId};

use super::chance::random;
use super::error::Result;
use super::hex::{self, HexId, repository_id};
use super::time::UtcNanos;
use crate::store::ObjectName;

repository_id!(
    /// Names a key slot: random.
    SlotId,
    8
);
repository_id!(
    /// Names an index object among those of its level: random.
    IndexId,
    16
);
repository_id!(
    /// Names a gateway among those of the repository: random, made with its local state.
    InstanceId,
    8
);
repository_id!(
    /// Tells one claim to a lease from all others: random.
    ClaimNonce,
    8
);

/// The name of the object that makes a prefix a repository.
pub(crate) const CONFIG: &str = "config";
/// The folder of all key slots.
pub(crate) const KEYS: &str = "keys/";
/// The folder of all domains.
pub(crate) const DOMAINS: &str = "domains/";
/// The folder of all packs.
pub(crate) const PACKS: &str = "packs/";
/// The folder of all index objects.
pub(crate) const INDEX: &str = "index/";
/// The folder of all heads.
pub(crate) const HEADS: &str = "heads/";

/// The folder of all snapshots.
pub(crate) const SNAPSHOTS: &str = "snapshots/";
/// The folder of all leases.
pub(crate) const LEASES: &str = "leases/";
/// The folder of all collection plans.
pub(crate) const PLANS: &str = "plans/";
/// The folder of all heartbeats.
pub(crate) const HEARTBEATS: &str = "heartbeats/";
/// The folder of all domains whose keys were destroyed.
pub(crate) const SHREDDED: &str = "shredded/";

/// The name of the object that makes a prefix a repository.
pub fn config() -> ObjectName {
    object(CONFIG.to_owned())
}

/// The name of the object that says that the keys of a domain were destroyed.
pub(crate) fn shredded(domain: DomainId) -> ObjectName {
    object(format!("{SHREDDED}{domain}"))
}

/// The name of a key slot.
pub(crate) fn slot(slot: SlotId) -> ObjectName {
    object(format!("{KEYS}{slot}"))
}

/// The folder of the objects of a domain.
#[must_use]
pub(crate) fn domain_folder(domain: DomainId) -> String {
    format!("{DOMAINS}{domain}/")
}

/// The name of one seal epoch of a domain.
pub(crate) fn domain(domain: DomainId, epoch: SealEpoch) -> ObjectName {
    object(format!("{DOMAINS}{domain}/{:08x}", epoch.0))
}

/// The name of a pack.
pub fn pack(pack: PackId) -> ObjectName {
    let id = pack.to_string();
    object(format!("{PACKS}{}/{id}", &id[..2]))
}

/// The folder of a share's heads.
pub(crate) fn heads_of(share: ShareId) -> String {
    format!("{HEADS}{share}/")
}

/// The folder of a share's snapshots.
pub(crate) fn snapshots_of(share: ShareId) -> String {
    format!("{SNAPSHOTS}{share}/")
}

/// The folder of a share's leases.
pub(crate) fn leases_of(share: ShareId) -> String {
    format!("{LEASES}{share}/")
}

/// The part of a name after its folder.
pub(crate) fn last_segment(name: &ObjectName) -> &str {
    name.as_str().rsplit('/').next().unwrap_or_default()
}

/// A name made of parts that are legal by construction.
pub(crate) fn object(name: String) -> ObjectName {
    ObjectName::new(name).expect("hex, dashes and fixed folders make a legal name")
}

/// The name of an index object: its level in the merge tree, and an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexName {
    /// 0 for what a commit wrote; one more for each merge behind it.
    pub level: u8,
    /// Random.
    pub id: IndexId,
}

impl IndexName {
    /// Reads the last segment of an object name.
    pub fn parse(segment: &str) -> Option<Self> {
        let (level, id) = segment.split_once('-')?;
        let [level] = hex::decode(level)?.try_into().ok()?;
        Some(Self { level, id: IndexId::from_hex(id)? })
    }

    /// The object's name.
    pub fn object(&self) -> ObjectName {
        object(format!("{INDEX}{self}"))
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}-{}", self.level, self.id)
    }
}

/// The name of a head below its share. Sorts as the name of its object does: newest first, that is by
/// epoch, then by sequence, both falling.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeadName {
    /// The epoch of its publisher.
    pub epoch: u32,
    /// Grows along one line of heads; gaps are allowed.
    pub sequence: u64,
    /// Random, so that two heads never have one name.
    pub suffix: u32,
}

impl HeadName {
    /// A new name.
    pub(crate) fn new(epoch: u32, sequence: u64) -> Result<Self> {
        Ok(Self { epoch, sequence, suffix: u32::from_be_bytes(random()?) })
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_hex(text)
    }

    /// Whether it stands for a newer state than `other`, by epoch, then by sequence.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        (self.epoch, self.sequence) > (other.epoch, other.sequence)
    }

    /// The object's name.
    pub fn object(&self, share: ShareId) -> ObjectName {
        object(format!("{}{self}", heads_of(share)))
    }
}

impl HexId for HeadName {
    fn from_hex(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let name = Self {
            epoch: !hex::decode_u32(parts.next()?)?,
            sequence: !hex::decode_u64(parts.next()?)?,
            suffix: hex::decode_u32(parts.next()?)?,
        };
        parts.next().is_none().then_some(name)
    }
}

impl Ord for HeadName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |name: &Self| (!name.epoch, !name.sequence, name.suffix);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for HeadName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for HeadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:016x}-{:08x}", !self.epoch, !self.sequence, self.suffix)
    }
}

impl fmt::Debug for HeadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeadName({self}: epoch {}, sequence {})", self.epoch, self.sequence)
    }
}

impl Serialize for HeadName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        hex::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for HeadName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        hex::deserialize(deserializer)
    }
}

/// Declares a name that sorts by a time.
macro_rules! timed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// Nanoseconds since 1970-01-01 UTC.
            nanos: u64,
            /// Random.
            suffix: u32,
        }

        impl $name {
            /// A new id of this time.
            pub(crate) fn new(time: UtcNanos) -> Result<Self> {
                Ok(Self { nanos: time.as_nanos() as u64, suffix: u32::from_be_bytes(random()?) })
            }

            /// Reads what `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                let (nanos, suffix) = text.split_once('-')?;
                Some(Self { nanos: hex::decode_u64(nanos)?, suffix: hex::decode_u32(suffix)? })
            }
        }

        impl HexId for $name {
            fn from_hex(text: &str) -> Option<Self> {
                Self::parse(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}-{:08x}", self.nanos, self.suffix)
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                hex::serialize(self, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                hex::deserialize(deserializer)
            }
        }
    };
}

timed_id!(
    /// The name of a snapshot below its share, of the time when it was taken. Sorts oldest first.
    SnapshotId
);
timed_id!(
    /// The name of a collection plan, of the time when it was made. Sorts oldest first.
    PlanId
);

impl SnapshotId {
    /// Whether it was taken earlier than `by` before a time.
    pub(crate) fn is_before(&self, time: UtcNanos, by: std::time::Duration) -> bool {
        u128::from(self.nanos) + by.as_nanos() < u128::from(time.as_nanos().max(0) as u64)
    }

    /// A time at which an id sorts behind this one.
    pub(crate) fn after(&self) -> UtcNanos {
        UtcNanos::new(i64::try_from(self.nanos).unwrap_or(i64::MAX).saturating_add(1))
    }

    /// The object's name.
    pub fn object(&self, share: ShareId) -> ObjectName {
        object(format!("{}{self}", snapshots_of(share)))
    }
}

/// What the name of a plan ends with that has been carried out.
const DONE: &str = "-done";

impl PlanId {
    /// The name of the plan.
    pub fn object(&self) -> ObjectName {
        object(format!("{PLANS}{self}"))
    }

    /// The name of the object that says how it ended.
    pub fn outcome_object(&self) -> ObjectName {
        object(format!("{PLANS}{self}{DONE}"))
    }

    /// Reads the last segment of either name; tells whether it is that of the outcome.
    pub(crate) fn parse_object(segment: &str) -> Option<(Self, bool)> {
        match segment.strip_suffix(DONE) {
            Some(plan) => Some((Self::parse(plan)?, true)),
            None => Some((Self::parse(segment)?, false)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn head_names_sort_newest_first_as_objects_and_as_values(
            one: (u32, u64, u32), other: (u32, u64, u32),
        ) {
            let name = |(epoch, sequence, suffix)| HeadName { epoch, sequence, suffix };
            let (one, other) = (name(one), name(other));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
            prop_assert!(!one.is_newer_than(&other) || one < other);
            prop_assert_eq!(HeadName::from_hex(&one.to_string()), Some(one));
        }

        #[test]
        fn snapshot_ids_sort_by_time(one in 0..i64::MAX, other in 0..i64::MAX) {
            let id = |nanos| SnapshotId::new(UtcNanos::new(nanos)).expect("chance");
            let (first, second) = (id(one), id(other));
            prop_assert_eq!(SnapshotId::parse(&first.to_string()), Some(first));
            if one != other {
                prop_assert_eq!(first.to_string() < second.to_string(), one < other);
            }
        }
    }

    #[test]
    fn names_are_what_the_format_says() {
        let index = IndexName { level: 2, id: IndexId::new([1; 16]) };
        assert_eq!(index.object().as_str(), "index/02-01010101010101010101010101010101");
        assert_eq!(IndexName::parse("02-01010101010101010101010101010101"), Some(index));
        let plan = PlanId { nanos: 16, suffix: 3 };
        assert_eq!(plan.object().as_str(), "plans/0000000000000010-00000003");
        assert_eq!(PlanId::parse_object("0000000000000010-00000003"), Some((plan, false)));
        assert_eq!(PlanId::parse_object("0000000000000010-00000003-done"), Some((plan, true)));
        assert_eq!(PlanId::parse_object("0000000000000010-00000003-gone"), None);
        let head = HeadName { epoch: 1, sequence: 2, suffix: 3 };
        assert_eq!(head.to_string(), "fffffffe-fffffffffffffffd-00000003");
        assert!(pack(PackId::new([0xab; 32])).as_str().starts_with("packs/ab/abab"));
        for wrong in ["fffffffe-fffffffffffffffd", "fffffffe-fffffffffffffffd-00000003-", "x"] {
            assert_eq!(HeadName::from_hex(wrong), None);
        }
    }
}

//! Heartbeats: `heartbeats/<instance>/<name>`, by which a gateway says that it lives and how it is.
//!
//! Each is a new object whose name sorts before those of earlier ones; a gateway removes its own old ones once a new
//! one is there, and keeps [`HEARTBEATS_KEPT`]. When it lives is told by the store, which dates the object; a name
//! that ends with `-stopped` is the last word before a planned stop. Both can be seen without a key.
//!
//! A heartbeat promises nothing about data: nobody who restores, checks or collects goes by one. A reply that was
//! lost leaves one more object, which goes like the others.

use std::fmt;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tidegate_chunker::ObjectKind;

use super::chance::random;
use super::envelope::{LIST_PAGE, Record};
use super::error::{RepositoryError, Result};
use super::head::ShareDescription;
use super::hex::{self, HexId};
use super::names::{self, HEARTBEATS, HeadName, InstanceId};
use super::open::{Opened, Repository};
use super::time::UtcNanos;
use crate::store::{ObjectName, PutMode};

/// Heartbeats that an instance leaves, the newest among them.
pub const HEARTBEATS_KEPT: usize = 3;
/// Most shares that a heartbeat tells of.
pub const HEARTBEAT_SHARES_MAX: usize = 2_000;
/// Most alarms that a heartbeat tells of.
pub const HEARTBEAT_ALARMS_MAX: usize = 100;
/// Greatest length of a heartbeat's payload, in bytes.
const HEARTBEAT_BYTES_MAX: u64 = 2 << 20;
/// Most heartbeats of all instances that are listed. An instance leaves a few.
const LISTED_MAX: usize = 10_000;
/// What the name of a last word ends with.
const STOPPED: &str = "-stopped";

/// The name of a heartbeat below its instance. Sorts newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeartbeatName {
    /// Grows from one heartbeat of an instance to the next.
    pub sequence: u64,
    /// Random.
    pub suffix: u32,
    /// It is the last word before a planned stop.
    pub stopped: bool,
}

impl HeartbeatName {
    /// A new name.
    fn new(sequence: u64, stopped: bool) -> Result<Self> {
        Ok(Self { sequence, suffix: u32::from_be_bytes(random()?), stopped })
    }

    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (text, stopped) = text.strip_suffix(STOPPED).map_or((text, false), |text| (text, true));
        let (sequence, suffix) = text.split_once('-')?;
        Some(Self { sequence: !hex::decode_u64(sequence)?, suffix: hex::decode_u32(suffix)?, stopped })
    }

    /// The object's name.
    pub fn object(&self, instance: InstanceId) -> ObjectName {
        names::object(format!("{HEARTBEATS}{instance}/{self}"))
    }
}

impl fmt::Display for HeartbeatName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}{}", !self.sequence, self.suffix, if self.stopped { STOPPED } else { "" })
    }
}

/// How a gateway is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The name of its machine.
    pub host: String,
    /// The version of its program.
    pub program: String,
    /// When it began to serve, by its clock.
    pub started_at: UtcNanos,
    /// When this was written, by its clock.
    pub beat_at: UtcNanos,
    /// How often it writes one, in seconds.
    pub every_seconds: u64,
    /// The shares that it serves.
    pub shares: Vec<BeatShare>,
    /// What is wrong with it, the most urgent first.
    #[serde(default)]
    pub alarms: Vec<BeatAlarm>,
}

/// A share of a gateway that lives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BeatShare {
    /// Which.
    pub share: ShareDescription,
    /// Whether this gateway publishes it.
    pub leads: bool,
    /// The recovery point objective, in seconds.
    pub rpo_seconds: u64,
    /// How old the newest head is, in seconds, if there are changes that it lacks; else 0.
    pub rpo_now_seconds: u64,
    /// The newest head that it knows.
    #[serde(default)]
    pub head: Option<HeadName>,
}

/// An alarm of a gateway that lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatAlarm {
    /// What kind of thing is wrong.
    pub code: String,
    /// With what.
    pub subject: String,
    /// `warning` or `critical`.
    pub severity: String,
    /// Since when, by the gateway's clock.
    pub since: UtcNanos,
    /// What is wrong, for people.
    pub message: String,
    /// What to do, for people.
    pub todo: String,
}

impl Record for Heartbeat {
    const KIND: ObjectKind = ObjectKind::Heartbeat;
    const BYTES_MAX: u64 = HEARTBEAT_BYTES_MAX;
}

/// A heartbeat in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedHeartbeat {
    /// Whose.
    pub instance: InstanceId,
    /// Which.
    pub name: HeartbeatName,
    /// When it was written, by the store's clock.
    pub written: SystemTime,
}

impl<State> Repository<State> {
    /// All heartbeats, by instance, the newest of each first. Needs no key.
    pub async fn heartbeats(&self) -> Result<Vec<ListedHeartbeat>> {
        self.list_heartbeats(HEARTBEATS).await
    }

    /// The heartbeats of one instance, newest first. Needs no key.
    pub async fn heartbeats_of(&self, instance: InstanceId) -> Result<Vec<ListedHeartbeat>> {
        self.list_heartbeats(&format!("{HEARTBEATS}{instance}/")).await
    }

    async fn list_heartbeats(&self, prefix: &str) -> Result<Vec<ListedHeartbeat>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(prefix, after.as_ref(), LIST_PAGE).await?;
            after = page.objects.last().map(|object| object.name.clone());
            found.extend(page.objects.into_iter().filter_map(|object| {
                let (instance, name) = parse(&object.name)?;
                Some(ListedHeartbeat { instance, name, written: object.modified })
            }));
            if !page.more {
                return Ok(found);
            }
            if found.len() >= LISTED_MAX {
                let most = LISTED_MAX;
                return Err(RepositoryError::damaged(
                    HEARTBEATS,
                    format!("there are more than {most} objects"),
                ));
            }
        }
    }

    /// Removes heartbeats, also of an instance that is gone for good.
    pub async fn remove_heartbeats(&self, instance: InstanceId, names: &[HeartbeatName]) -> Result<()> {
        for name in names {
            self.store.delete(&name.object(instance)).await?;
        }
        Ok(())
    }
}

fn parse(name: &ObjectName) -> Option<(InstanceId, HeartbeatName)> {
    let (instance, name) = name.as_str().strip_prefix(HEARTBEATS)?.split_once('/')?;
    Some((<InstanceId as HexId>::from_hex(instance)?, HeartbeatName::parse(name)?))
}

impl Repository<Opened> {
    /// Stores a heartbeat. `sequence` is above that of all heartbeats of the instance.
    pub async fn beat(
        &self,
        instance: InstanceId,
        sequence: u64,
        stopped: bool,
        heartbeat: &Heartbeat,
    ) -> Result<HeartbeatName> {
        let name = HeartbeatName::new(sequence, stopped)?;
        let object = name.object(instance);
        let sealed = self.seal_record(&object, heartbeat)?;
        self.store_sealed(&object, sealed, PutMode::Overwrite).await?;
        Ok(name)
    }

    /// Reads a heartbeat.
    pub async fn read_heartbeat(&self, instance: InstanceId, name: &HeartbeatName) -> Result<Heartbeat> {
        self.read_record(&name.object(instance)).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_sort_newest_first_and_can_be_read_back(one: (u64, u32, bool), other: (u64, u32, bool)) {
            let name = |(sequence, suffix, stopped)| HeartbeatName { sequence, suffix, stopped };
            let (one, other) = (name(one), name(other));
            prop_assert_eq!(HeartbeatName::parse(&one.to_string()), Some(one));
            if one.sequence > other.sequence {
                prop_assert!(one.to_string() < other.to_string());
            }
            let instance = InstanceId::new([7; 8]);
            prop_assert_eq!(parse(&one.object(instance)), Some((instance, one)));
        }
    }

    #[test]
    fn what_is_no_name_is_passed_over() {
        for text in ["", "0-0", "0000000000000001-00000001-gone", "0000000000000001-0000000g", "-stopped"] {
            assert_eq!(HeartbeatName::parse(text), None, "{text}");
        }
    }
}

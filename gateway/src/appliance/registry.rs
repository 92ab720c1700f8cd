//! The registry: which shares this gateway knows, and which live map each of them has.
//!
//! One record a share under `share/<id>` in the system table, changed only through the journal, so it
//! is as durable as the files are. As JSON; `version` is 1. Beside them stand the id of the repository that
//! all local state belongs to, the target that leads it, the id of this gateway in it, and whether the target's index
//! has been learned.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_chunker::{DomainId, RepositoryId, ShareId};
use tidegate_replicator::repository::{InstanceId, LeadershipNote};

use crate::live::{Batch, Change, Live, LiveError, MapId};

const PREFIX: &[u8] = b"share/";
const NEXT_MAP: &[u8] = b"next-map";
const REPOSITORY: &[u8] = b"repository";
const INDEX_LEARNED: &[u8] = b"index-learned";
const LEAD: &[u8] = b"lead";
const INSTANCE: &[u8] = b"instance";
const VERSION: u32 = 1;

/// What this gateway knows of a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShareRecord {
    version: u32,
    /// What people call it.
    pub name: String,
    id: String,
    domain: String,
    map: u64,
    /// One uninterrupted life of the live map: random.
    pub incarnation: u64,
    /// Handles of another era are stale: random.
    pub era: u64,
    /// The right to publish, to be resumed at a start; none before the first claim.
    pub leadership: Option<LeadershipNote>,
    /// Somebody else leads now: nothing more is written or published from here.
    pub superseded: bool,
    /// It was handed over: changes wait until somebody else serves it, or it is taken back.
    #[serde(default)]
    pub handed_over: bool,
    /// It joined its line again as a follower, whatever the settings say.
    #[serde(default)]
    pub follows: bool,
    /// Which branch keeps what it had beyond its line when it was superseded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aside: Option<AsideNote>,
    /// What became of handles when it was attached or joined again, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<String>,
    /// It was attached, and what was used lately has not come here yet.
    #[serde(default)]
    pub to_warm: bool,
}

/// What was decided about the changes of a superseded share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AsideNote {
    /// The id of the branch.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Whether it has been done.
    pub done: bool,
    /// Whether there was anything to keep.
    pub made: bool,
}

impl ShareRecord {
    /// A share that is new here.
    pub(super) fn new(
        name: String,
        id: ShareId,
        domain: DomainId,
        map: MapId,
        incarnation: u64,
        era: u64,
    ) -> Self {
        Self {
            version: VERSION,
            name,
            id: id.to_string(),
            domain: domain.to_string(),
            map: map.0,
            incarnation,
            era,
            leadership: None,
            superseded: false,
            handed_over: false,
            follows: false,
            aside: None,
            handles: None,
            to_warm: false,
        }
    }

    /// Its live map.
    pub(super) fn map(&self) -> MapId {
        MapId(self.map)
    }

    /// The branch that keeps what it had beyond its line; none while it is not set aside, or when there was nothing.
    pub(super) fn branch(&self) -> Option<String> {
        let made = self.aside.as_ref().filter(|note| note.done && note.made);
        made.map(|note| note.name.clone())
    }

    /// The same share over another live map.
    #[must_use]
    pub(super) fn over(self, map: MapId, incarnation: u64, era: u64) -> Self {
        Self { map: map.0, incarnation, era, ..self }
    }

    /// Which share of the repository it is.
    pub(super) fn id(&self) -> Result<ShareId, LiveError> {
        ShareId::from_hex(&self.id).ok_or(UNDECODABLE)
    }

    /// Its domain.
    pub(super) fn domain(&self) -> Result<DomainId, LiveError> {
        DomainId::from_hex(&self.domain).ok_or(UNDECODABLE)
    }

    /// The change that keeps the record.
    pub(super) fn change(&self) -> Change {
        let key = [PREFIX, self.id.as_bytes()].concat();
        let record = serde_json::to_vec(self).expect("a share record has only strings and numbers");
        Change::System { key: Bytes::from(key), value: Some(Bytes::from(record)) }
    }

    /// Keeps the record durably.
    pub(super) async fn store(&self, live: &Live) -> Result<(), LiveError> {
        live.submit_durably(Batch { changes: vec![self.change()] }, Bytes::new()).await?;
        Ok(())
    }
}

const UNDECODABLE: LiveError = LiveError::Undecodable("the record of a share");

/// Which repository the local state belongs to; none while it is new.
pub(super) fn repository(live: &Live) -> Result<Option<RepositoryId>, LiveError> {
    let record = live.database().system(REPOSITORY)?;
    record.map(|record| RepositoryId::from_slice(&record).ok_or(UNDECODABLE)).transpose()
}

/// The change that binds local state to a repository.
pub(super) fn bind(repository: RepositoryId) -> Change {
    let value = Bytes::copy_from_slice(repository.as_bytes());
    Change::System { key: Bytes::from_static(REPOSITORY), value: Some(value) }
}

/// The name of the target on which this gateway's claims are; none while the local state is new.
pub(super) fn lead(live: &Live) -> Result<Option<String>, LiveError> {
    let record = live.database().system(LEAD)?;
    let text =
        |record: Bytes| String::from_utf8(record.into()).map_err(|_| LiveError::Undecodable("the lead"));
    record.map(text).transpose()
}

/// The change that notes it.
pub(super) fn led_from(target: &str) -> Change {
    let value = Bytes::copy_from_slice(target.as_bytes());
    Change::System { key: Bytes::from_static(LEAD), value: Some(value) }
}

/// What this gateway is called among those of the repository; none while the local state is new.
pub(super) fn instance(live: &Live) -> Result<Option<InstanceId>, LiveError> {
    let undecodable = LiveError::Undecodable("the id of this gateway");
    let record = live.database().system(INSTANCE)?;
    let id = |record: Vec<u8>| record.try_into().map(InstanceId::new).map_err(|_| undecodable);
    record.map(|record| id(record.to_vec())).transpose()
}

/// The change that keeps it.
pub(super) fn bind_instance(instance: InstanceId) -> Change {
    let value = Bytes::copy_from_slice(instance.as_bytes());
    Change::System { key: Bytes::from_static(INSTANCE), value: Some(value) }
}

/// Whether the ledger has learned what the target's index names.
pub(super) fn index_is_learned(live: &Live) -> Result<bool, LiveError> {
    Ok(live.database().system(INDEX_LEARNED)?.is_some())
}

/// The change that notes it.
pub(super) fn index_learned() -> Change {
    Change::System { key: Bytes::from_static(INDEX_LEARNED), value: Some(Bytes::from_static(&[1])) }
}

/// All shares that this gateway knows.
pub(crate) fn load(live: &Live) -> Result<Vec<ShareRecord>, LiveError> {
    let records = live.database().systems(PREFIX)?;
    records.iter().map(|(_, record)| serde_json::from_slice(record).map_err(|_| UNDECODABLE)).collect()
}

/// A number for a map that was never used before, and the change that keeps it so.
pub(crate) fn next_map(live: &Live) -> Result<(MapId, Change), LiveError> {
    let record = live.database().system(NEXT_MAP)?;
    let next = record.as_deref().and_then(|bytes| bytes.try_into().ok()).map_or(1, u64::from_le_bytes);
    let key = Bytes::from_static(NEXT_MAP);
    let value = Bytes::copy_from_slice(&(next + 1).to_le_bytes());
    Ok((MapId(next), Change::System { key, value: Some(value) }))
}

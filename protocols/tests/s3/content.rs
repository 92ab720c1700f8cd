//! What a bucket in memory holds: keys with their versions, uploads, settings. Versions of a key are a list, the
//! newest first; a delete marker is one without an object.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt;
use tidegate_protocols::objects::policy::Policy;
use tidegate_protocols::objects::{
    Bucket, BucketChange, BucketSettings, Checksum, Conditions, DataStream, Deletion, Doomed,
    LockConfiguration, NewObject, ObjectError, ObjectInfo, OpenObject, Part, PutDone, VersionEntry,
    VersionId, Versioning,
};
use tidegate_protocols::view::Time;

use crate::hashes::checksum_of;

/// The bytes of a piece of an answer.
const PIECE_BYTES: usize = 100_000;

#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) info: ObjectInfo,
    pub(crate) bytes: Bytes,
    pub(crate) breaks: bool,
}

#[async_trait::async_trait]
impl OpenObject for Stored {
    fn info(&self) -> &ObjectInfo {
        &self.info
    }

    async fn part_checksums(&self, after: u32, limit: usize) -> Result<Vec<Checksum>, ObjectError> {
        let Some(whole) = &self.info.checksum else { return Ok(Vec::new()) };
        let numbers = (after + 1)..=self.info.parts.count();
        let ranges = numbers.take(limit).filter_map(|number| self.info.parts.range(number));
        let part = |range: Range<u64>| self.bytes.slice(range.start as usize..range.end as usize);
        Ok(ranges.map(|range| checksum_of(whole.algorithm, &part(range))).collect())
    }

    fn read(&self, range: Range<u64>) -> DataStream {
        let bytes = self.bytes.slice(range.start as usize..range.end as usize);
        let pieces: Vec<_> = bytes.chunks(PIECE_BYTES).map(|piece| Ok(bytes.slice_ref(piece))).collect();
        if self.breaks {
            let half = pieces.len() / 2;
            let cut = pieces.into_iter().take(half).chain([Err(ObjectError::Internal)]);
            return futures::stream::iter(cut.collect::<Vec<_>>()).boxed();
        }
        futures::stream::iter(pieces).boxed()
    }
}

/// An upload in parts.
pub(crate) struct Underway {
    pub(crate) new: NewObject,
    pub(crate) begun: Time,
    pub(crate) owner: String,
    pub(crate) parts: BTreeMap<u16, (Part, Bytes)>,
}

/// A version of a key.
struct Entry {
    version: VersionId,
    modified: Time,
    /// None for a delete marker.
    object: Option<Stored>,
}

pub(crate) struct Content {
    pub(crate) created: Time,
    pub(crate) settings: BucketSettings,
    pub(crate) uploads: BTreeMap<(String, String), Underway>,
    pub(crate) completed: BTreeMap<String, PutDone>,
    keys: BTreeMap<String, Vec<Entry>>,
    serial: u64,
}

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() }
}

impl Content {
    pub(crate) fn new(lock: bool) -> Self {
        let mut settings = BucketSettings::default();
        if lock {
            settings.versioning = Some(Versioning::Enabled);
            settings.lock = Some(LockConfiguration::default());
        }
        let keys = BTreeMap::new();
        Self {
            created: now(),
            settings,
            uploads: BTreeMap::new(),
            completed: BTreeMap::new(),
            keys,
            serial: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.uploads.is_empty()
    }

    /// How many versions hold an object.
    pub(crate) fn count(&self) -> usize {
        self.keys.values().flatten().filter(|entry| entry.object.is_some()).count()
    }

    fn shown(&self, entry: &Entry) -> Option<Stored> {
        let mut stored = entry.object.clone()?;
        stored.info.version = self.settings.versioning.map(|_| entry.version.clone());
        Some(stored)
    }

    /// What a key leads to.
    pub(crate) fn newest(&self, key: &str) -> Option<ObjectInfo> {
        self.shown(self.keys.get(key)?.first()?).map(|stored| stored.info)
    }

    fn entry(&self, key: &str, version: Option<&VersionId>) -> Result<&Entry, ObjectError> {
        let entries = self.keys.get(key).map(Vec::as_slice).unwrap_or_default();
        let entry = match version {
            None => entries.first().ok_or(ObjectError::NoSuchKey)?,
            Some(version) => {
                entries.iter().find(|entry| entry.version == *version).ok_or(ObjectError::NoSuchVersion)?
            }
        };
        if entry.object.is_none() {
            return Err(ObjectError::DeleteMarker {
                version: entry.version.clone(),
                named: version.is_some(),
                made: entry.modified,
            });
        }
        Ok(entry)
    }

    /// Whether what a deletion names is what it is believed to be.
    pub(crate) fn check_delete(
        &self,
        key: &str,
        version: Option<&VersionId>,
        conditions: &Conditions,
    ) -> Result<(), ObjectError> {
        let mut entries = self.keys.get(key).into_iter().flatten();
        let found = entries.find(|entry| version.is_none_or(|version| entry.version == *version));
        conditions.check_delete(match found {
            None => Doomed::Nothing,
            Some(Entry { object: Some(stored), .. }) => Doomed::Object(&stored.info),
            Some(Entry { object: None, modified, .. }) => Doomed::Marker(*modified),
        })
    }

    pub(crate) fn described(&self, name: &str) -> Bucket {
        Bucket { name: name.to_owned(), created: self.created, region: self.settings.region.clone() }
    }

    pub(crate) fn find(&self, key: &str, version: Option<&VersionId>) -> Result<Stored, ObjectError> {
        Ok(self.shown(self.entry(key, version)?).expect("an object"))
    }

    pub(crate) fn find_mut(
        &mut self,
        key: &str,
        version: Option<&VersionId>,
    ) -> Result<&mut Stored, ObjectError> {
        let found = self.entry(key, version)?.version.clone();
        let entries = self.keys.get_mut(key).expect("found");
        let entry = entries.iter_mut().find(|entry| entry.version == found).expect("found");
        Ok(entry.object.as_mut().expect("an object"))
    }

    /// Puts a version in front; gives its name if the bucket has versions.
    fn push(&mut self, key: &str, object: Option<Stored>) -> Option<VersionId> {
        self.serial += 1;
        let entries = self.keys.entry(key.to_owned()).or_default();
        let version = if self.settings.versioning == Some(Versioning::Enabled) {
            VersionId::new(format!("v-{:04}", self.serial))
        } else {
            entries.retain(|entry| entry.version != VersionId::null());
            VersionId::null()
        };
        entries.insert(0, Entry { version: version.clone(), modified: now(), object });
        self.settings.versioning.map(|_| version)
    }

    pub(crate) fn insert(
        &mut self,
        key: &str,
        mut info: ObjectInfo,
        bytes: Bytes,
    ) -> Result<Option<VersionId>, ObjectError> {
        if info.lock.retention.is_some() || info.lock.legal_hold {
            self.check_lock()?;
        }
        if let Some(default) = self.settings.lock.and_then(|lock| lock.default) {
            info.lock.retention.get_or_insert(default.from(now()));
        }
        Ok(self.push(key, Some(Stored { info, bytes, breaks: false })))
    }

    pub(crate) fn delete(
        &mut self,
        key: &str,
        version: Option<&VersionId>,
        bypass: bool,
    ) -> Result<Deletion, ObjectError> {
        let Some(version) = version else {
            if self.settings.versioning.is_none() {
                self.keys.remove(key);
                return Ok(Deletion::default());
            }
            let version = self.push(key, None);
            return Ok(Deletion { marker: true, version, ..Deletion::default() });
        };
        let mut deletion = Deletion { version: Some(version.clone()), ..Deletion::default() };
        let Some(entries) = self.keys.get_mut(key) else { return Ok(deletion) };
        if let Some(place) = entries.iter().position(|entry| entry.version == *version) {
            if entries[place].object.as_ref().is_some_and(|stored| stored.info.lock.holds(now(), bypass)) {
                return Err(ObjectError::Locked);
            }
            deletion.marker = entries.remove(place).object.is_none();
        }
        if entries.is_empty() {
            self.keys.remove(key);
        }
        Ok(deletion)
    }

    /// All keys that lead to an object.
    pub(crate) fn objects(&self) -> Vec<(String, ObjectInfo)> {
        self.keys.keys().filter_map(|key| Some((key.clone(), self.newest(key)?))).collect()
    }

    /// All versions.
    pub(crate) fn versions(&self) -> Vec<VersionEntry> {
        let of_key = |(key, entries): (&String, &Vec<Entry>)| {
            let key = key.clone();
            let listed = entries.iter().enumerate().map(move |(place, entry)| {
                let (key, version, latest) = (key.clone(), entry.version.clone(), place == 0);
                match &entry.object {
                    Some(stored) => {
                        VersionEntry::Object { key, version, latest, info: Box::new(stored.info.clone()) }
                    }
                    None => VersionEntry::Marker { key, version, latest, modified: entry.modified },
                }
            });
            listed.collect::<Vec<_>>()
        };
        self.keys.iter().flat_map(of_key).collect()
    }

    /// Whether the bucket has a lock.
    pub(crate) fn check_lock(&self) -> Result<(), ObjectError> {
        if self.settings.lock.is_some() { Ok(()) } else { Err(ObjectError::NoLock) }
    }

    /// Sets a part of the settings.
    pub(crate) fn change(&mut self, change: BucketChange) -> Result<(), ObjectError> {
        let settings = &mut self.settings;
        match change {
            BucketChange::Versioning(Versioning::Suspended) if settings.lock.is_some() => {
                return Err(ObjectError::BucketState("a bucket with a lock keeps its versions"));
            }
            BucketChange::Versioning(versioning) => settings.versioning = Some(versioning),
            BucketChange::Lock(_) if settings.versioning != Some(Versioning::Enabled) => {
                return Err(ObjectError::BucketState("the bucket has no versions"));
            }
            BucketChange::Lock(lock) => settings.lock = Some(lock),
            BucketChange::Tags(tags) => settings.tags = tags,
            BucketChange::Cors(rules) => settings.cors = rules,
            BucketChange::Lifecycle(rules) => settings.lifecycle = rules,
            BucketChange::Policy(policy) => {
                if let Some(text) = &policy {
                    check_policy(text, settings)?;
                }
                settings.policy = policy;
            }
            BucketChange::PublicAccess(block) => settings.public_access = block,
            BucketChange::Ownership(said) => settings.ownership_unsaid = !said,
        }
        Ok(())
    }
}

fn check_policy(text: &str, settings: &BucketSettings) -> Result<(), ObjectError> {
    if !text.starts_with('{') {
        return Err(ObjectError::MalformedPolicy("it is no object".into()));
    }
    let blocked = settings.public_access.is_some_and(|block| block.block_policy);
    let policy = Policy::of_bucket(text, "bucket").map_err(|error| ObjectError::MalformedPolicy(error.0))?;
    if blocked && policy.is_public() { Err(ObjectError::AccessDenied) } else { Ok(()) }
}

//! Objects in memory, as simple as the trait allows: maps under one lock, bodies as bytes. Every rule that the
//! trait gives to a view is kept, so that what a client sees is the server's doing.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use s3s::crypto::{Checksum as _, Md5};
use tidegate_protocols::objects::cors::CorsRule;
use tidegate_protocols::objects::{
    Asked, Body, Bucket, BucketChange, BucketSettings, Changed, ChecksumAlgorithm, ChecksumKind, Completion,
    Conditions, CopySource, Deletion, Digests, ListQuery, Listing, Lock, NewBucket, NewObject, ObjectError,
    ObjectInfo, ObjectName, ObjectView, OpenObject, PART_BYTES_MIN, Part, PartCopy, PartDone, PartName,
    PartQuery, PartSizes, Parts, PutDone, Retention, Tags, Upload, UploadQuery, Uploads, VersionId,
    VersionListing, VersionQuery, Who,
};
use zeroize::Zeroizing;

use crate::content::{Content, Stored, Underway, now};
use crate::hashes::{checksum_of, composite, hex};
use crate::pages;

pub(crate) const ACCESS_KEY: &str = "AKIDTIDEGATE";
pub(crate) const SECRET_KEY: &str = "a secret of the tests";

/// Whether a caller may do something.
type Gate = Box<dyn Fn(&Who, &Asked<'_>) -> bool + Send>;

#[derive(Default)]
pub(crate) struct Memory {
    buckets: Mutex<BTreeMap<String, Content>>,
    /// What every call but `secret` and `authorize` fails with.
    pub(crate) mood: Mutex<Option<ObjectError>>,
    /// What changes say of their durability.
    pub(crate) in_repository: Mutex<bool>,
    /// Whether the next reads fail half way.
    pub(crate) breaks: Mutex<bool>,
    /// Who may do what; unless it is set, whoever shows a key may do everything.
    gate: Mutex<Option<Gate>>,
    asked: Mutex<Vec<String>>,
    serial: Mutex<u64>,
}

async fn read_all(body: &mut dyn Body) -> Result<(Bytes, Digests), ObjectError> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await? {
        bytes.extend_from_slice(&piece);
    }
    let digests = body.finish().await?;
    assert!(body.announced_bytes().is_none_or(|announced| announced == bytes.len() as u64));
    Ok((bytes.freeze(), digests))
}

impl Memory {
    pub(crate) fn with_bucket(name: &str) -> Self {
        let memory = Self::default();
        memory.buckets.lock().insert(name.to_owned(), Content::new(false));
        memory
    }

    /// How many objects there are in all buckets.
    pub(crate) fn objects(&self) -> usize {
        self.buckets.lock().values().map(Content::count).sum()
    }

    /// Puts empty objects.
    pub(crate) fn fill(&self, bucket: &str, keys: impl IntoIterator<Item = String>) {
        let mut buckets = self.buckets.lock();
        let content = buckets.get_mut(bucket).unwrap();
        for key in keys {
            let info = ObjectInfo { etag: "e".into(), modified: now(), ..ObjectInfo::default() };
            content.insert(&key, info, Bytes::new()).unwrap();
        }
    }

    /// Makes a bucket the one of an access key.
    pub(crate) fn give(&self, bucket: &str, owner: &str) {
        self.buckets.lock().get_mut(bucket).unwrap().settings.owner = Some(owner.to_owned());
    }

    /// Decides from now on who may do what.
    pub(crate) fn gate(&self, gate: impl Fn(&Who, &Asked<'_>) -> bool + Send + 'static) {
        *self.gate.lock() = Some(Box::new(gate));
    }

    /// What was asked for since the last time: actions with what they are about.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock())
    }

    fn check(&self) -> Result<(), ObjectError> {
        self.mood.lock().clone().map_or(Ok(()), Err)
    }

    fn in_bucket<T>(
        &self,
        bucket: &str,
        act: impl FnOnce(&mut Content) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        self.check()?;
        act(self.buckets.lock().get_mut(bucket).ok_or(ObjectError::NoSuchBucket)?)
    }

    fn in_upload<T>(
        &self,
        name: &ObjectName,
        upload: &str,
        act: impl FnOnce(&mut Underway) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        self.in_bucket(&name.bucket, |content| {
            let found = content.uploads.get_mut(&(name.key.clone(), upload.to_owned()));
            act(found.ok_or(ObjectError::NoSuchUpload)?)
        })
    }

    fn source(&self, source: &CopySource) -> Result<Stored, ObjectError> {
        let found = self.in_bucket(&source.name.bucket, |content| {
            content.find(&source.name.key, source.version.as_ref())
        })?;
        source.conditions.check_read(&found.info)?;
        Ok(found)
    }

    fn insert(
        &self,
        name: &ObjectName,
        conditions: &Conditions,
        info: ObjectInfo,
        bytes: Bytes,
    ) -> Result<PutDone, ObjectError> {
        let in_repository = *self.in_repository.lock();
        self.in_bucket(&name.bucket, |content| {
            conditions.check_change(content.newest(&name.key).as_ref())?;
            let (etag, checksum, modified) = (info.etag.clone(), info.checksum.clone(), info.modified);
            let version = content.insert(&name.key, info, bytes)?;
            Ok(PutDone { etag, checksum, modified, version, in_repository })
        })
    }

    fn put_bytes(&self, part: &PartName, bytes: Bytes, digests: Digests) -> Result<PartDone, ObjectError> {
        self.in_upload(&part.object, &part.upload, |upload| {
            let done = PartDone { digests, modified: now() };
            let listed = Part {
                number: part.number,
                size: bytes.len() as u64,
                etag: done.digests.md5.clone(),
                checksum: done.digests.checksum.clone(),
                modified: done.modified,
            };
            upload.parts.insert(part.number, (listed, bytes));
            Ok(done)
        })
    }
}

fn info_of(new: NewObject, digests: Digests, size: u64) -> ObjectInfo {
    ObjectInfo {
        size,
        modified: now(),
        etag: digests.md5,
        metadata: new.metadata,
        tags: new.tags,
        storage_class: new.storage_class,
        checksum: digests.checksum,
        parts: PartSizes::default(),
        version: None,
        lock: Lock { retention: new.retention, legal_hold: new.legal_hold == Some(true) },
    }
}

/// The object of the parts of an upload.
fn assemble(upload: &Underway, completion: &Completion) -> Result<(ObjectInfo, Bytes), ObjectError> {
    let (mut bytes, mut sizes, mut md5s, mut parts) = (BytesMut::new(), Vec::new(), Md5::new(), Vec::new());
    for (place, named) in completion.parts.iter().enumerate() {
        let invalid = ObjectError::InvalidPart { number: named.number };
        let Some((part, data)) = upload.parts.get(&named.number) else { return Err(invalid) };
        let same = named.checksum.as_ref().is_none_or(|named| Some(named) == part.checksum.as_ref());
        if part.etag != named.etag || !same {
            return Err(invalid);
        }
        if part.size < PART_BYTES_MIN && place + 1 < completion.parts.len() {
            return Err(ObjectError::PartTooSmall { number: part.number, bytes: part.size });
        }
        md5s.update(&Md5::checksum(data));
        sizes.push(part.size);
        bytes.extend_from_slice(data);
        parts.push(data.clone());
    }
    let bytes = bytes.freeze();
    let algorithm = upload.new.algorithm.expect("the server always says one");
    let checksum = match upload.new.checksum_kind {
        ChecksumKind::Full => checksum_of(algorithm, &bytes),
        ChecksumKind::Composite => composite(algorithm, &parts),
    };
    if completion.checksum.as_ref().is_some_and(|claimed| claimed.value != checksum.value) {
        return Err(ObjectError::BadDigest(algorithm.as_str()));
    }
    if completion.size.is_some_and(|size| size != bytes.len() as u64) {
        return Err(ObjectError::InvalidRequest("the object has another size".into()));
    }
    let digests =
        Digests { md5: format!("{}-{}", hex(&md5s.finalize()), parts.len()), checksum: Some(checksum) };
    let mut info = info_of(upload.new.clone(), digests, bytes.len() as u64);
    info.parts = PartSizes::new(sizes);
    Ok((info, bytes))
}

#[async_trait]
impl ObjectView for Memory {
    async fn secret(&self, access_key: &str) -> Option<Zeroizing<String>> {
        (access_key == ACCESS_KEY).then(|| Zeroizing::new(SECRET_KEY.to_owned()))
    }

    async fn authorize(&self, who: &Who, asked: &Asked<'_>) -> Result<(), ObjectError> {
        assert!(who.address.is_loopback());
        let about = [asked.bucket, asked.key].into_iter().flatten().collect::<Vec<_>>().join("/");
        let version = asked.version.map(|version| format!("@{}", version.as_str())).unwrap_or_default();
        self.asked.lock().push(format!("{} {about}{version}", asked.action));
        let gate = self.gate.lock();
        let allowed = gate.as_ref().map_or(who.access_key.is_some(), |gate| gate(who, asked));
        if allowed { Ok(()) } else { Err(ObjectError::AccessDenied) }
    }

    async fn buckets(&self, who: &Who) -> Result<Vec<Bucket>, ObjectError> {
        self.check()?;
        if who.access_key.is_none() {
            return Ok(Vec::new());
        }
        Ok(self.buckets.lock().iter().map(|(name, content)| content.described(name)).collect())
    }

    async fn bucket(&self, _: &Who, bucket: &str) -> Result<Bucket, ObjectError> {
        self.in_bucket(bucket, |content| Ok(content.described(bucket)))
    }

    async fn create_bucket(&self, who: &Who, bucket: &str, new: NewBucket) -> Result<(), ObjectError> {
        self.check()?;
        let mut buckets = self.buckets.lock();
        if bucket == "taken" {
            return Err(ObjectError::BucketExists);
        }
        if buckets.contains_key(bucket) {
            return Err(ObjectError::BucketOwned);
        }
        let mut content = Content::new(new.lock);
        content.settings.owner.clone_from(&who.access_key);
        content.settings.region = new.region;
        buckets.insert(bucket.to_owned(), content);
        Ok(())
    }

    async fn delete_bucket(&self, _: &Who, bucket: &str) -> Result<(), ObjectError> {
        self.in_bucket(
            bucket,
            |content| {
                if content.is_empty() { Ok(()) } else { Err(ObjectError::BucketNotEmpty) }
            },
        )?;
        self.buckets.lock().remove(bucket);
        Ok(())
    }

    async fn settings(&self, _: &Who, bucket: &str) -> Result<Arc<BucketSettings>, ObjectError> {
        self.in_bucket(bucket, |content| Ok(Arc::new(content.settings.clone())))
    }

    async fn change_settings(&self, _: &Who, bucket: &str, change: BucketChange) -> Result<(), ObjectError> {
        self.in_bucket(bucket, |content| content.change(change))
    }

    async fn cors(&self, bucket: &str) -> Vec<CorsRule> {
        let buckets = self.buckets.lock();
        buckets.get(bucket).and_then(|content| content.settings.cors.clone()).unwrap_or_default()
    }

    async fn put(
        &self,
        _: &Who,
        name: &ObjectName,
        new: NewObject,
        body: &mut dyn Body,
    ) -> Result<PutDone, ObjectError> {
        self.in_bucket(&name.bucket, |_| Ok(()))?;
        let (bytes, digests) = read_all(body).await?;
        let conditions = new.conditions.clone();
        self.insert(name, &conditions, info_of(new, digests, bytes.len() as u64), bytes)
    }

    async fn copy(
        &self,
        _: &Who,
        source: &CopySource,
        name: &ObjectName,
        new: NewObject,
        keep_metadata: bool,
        keep_tags: bool,
    ) -> Result<PutDone, ObjectError> {
        let found = self.source(source)?;
        let kept = found.info.checksum.as_ref().map(|checksum| checksum.algorithm);
        let algorithm = new.algorithm.or(kept).unwrap_or(ChecksumAlgorithm::Crc64Nvme);
        let conditions = new.conditions.clone();
        let digests = Digests {
            md5: hex(&Md5::checksum(&found.bytes)),
            checksum: Some(checksum_of(algorithm, &found.bytes)),
        };
        let mut info = info_of(new, digests, found.info.size);
        if keep_metadata {
            info.metadata = found.info.metadata;
        }
        if keep_tags {
            info.tags = found.info.tags;
        }
        self.insert(name, &conditions, info, found.bytes)
    }

    async fn open(
        &self,
        _: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
    ) -> Result<Box<dyn OpenObject>, ObjectError> {
        let breaks = *self.breaks.lock();
        let found = self.in_bucket(&name.bucket, |content| content.find(&name.key, version))?;
        Ok(Box::new(Stored { breaks, ..found }))
    }

    async fn delete(
        &self,
        _: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        conditions: &Conditions,
        bypass: bool,
    ) -> Result<Deletion, ObjectError> {
        let in_repository = *self.in_repository.lock();
        self.in_bucket(&name.bucket, |content| {
            if name.key == "locked" {
                return Err(ObjectError::AccessDenied);
            }
            let deletion = match content.check_delete(&name.key, version, conditions) {
                Ok(()) => content.delete(&name.key, version, bypass)?,
                Err(ObjectError::NoSuchKey) => Deletion::default(),
                Err(error) => return Err(error),
            };
            Ok(Deletion { in_repository, ..deletion })
        })
    }

    async fn set_tags(
        &self,
        _: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        tags: Tags,
    ) -> Result<Changed, ObjectError> {
        let in_repository = *self.in_repository.lock();
        self.in_bucket(&name.bucket, |content| {
            content.find_mut(&name.key, version)?.info.tags = tags;
            Ok(Changed { version: content.find(&name.key, version)?.info.version, in_repository })
        })
    }

    async fn set_retention(
        &self,
        _: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<Changed, ObjectError> {
        let in_repository = *self.in_repository.lock();
        self.in_bucket(&name.bucket, |content| {
            content.check_lock()?;
            let lock = &mut content.find_mut(&name.key, version)?.info.lock;
            lock.admit(retention.as_ref(), now(), bypass)?;
            lock.retention = retention;
            Ok(Changed { in_repository, ..Changed::default() })
        })
    }

    async fn set_legal_hold(
        &self,
        _: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        held: bool,
    ) -> Result<Changed, ObjectError> {
        let in_repository = *self.in_repository.lock();
        self.in_bucket(&name.bucket, |content| {
            content.check_lock()?;
            content.find_mut(&name.key, version)?.info.lock.legal_hold = held;
            Ok(Changed { in_repository, ..Changed::default() })
        })
    }

    async fn versions(
        &self,
        _: &Who,
        bucket: &str,
        query: &VersionQuery,
    ) -> Result<VersionListing, ObjectError> {
        self.in_bucket(bucket, |content| Ok(pages::versions(content.versions(), query)))
    }

    async fn list(&self, _: &Who, bucket: &str, query: &ListQuery) -> Result<Listing, ObjectError> {
        self.in_bucket(bucket, |content| Ok(pages::objects(content.objects().into_iter(), query)))
    }

    async fn create_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
    ) -> Result<String, ObjectError> {
        let id = {
            let mut serial = self.serial.lock();
            *serial += 1;
            format!("upload-{:04}", *serial)
        };
        self.in_bucket(&name.bucket, |content| {
            let owner = who.name().to_owned();
            let upload = Underway { new, begun: now(), owner, parts: BTreeMap::new() };
            content.uploads.insert((name.key.clone(), id.clone()), upload);
            Ok(id)
        })
    }

    async fn put_part(
        &self,
        _: &Who,
        part: &PartName,
        _: Option<ChecksumAlgorithm>,
        body: &mut dyn Body,
    ) -> Result<PartDone, ObjectError> {
        let algorithm = self.in_upload(&part.object, &part.upload, |upload| Ok(upload.new.algorithm))?;
        body.compute(algorithm.expect("the server always says one"));
        let (bytes, digests) = read_all(body).await?;
        self.put_bytes(part, bytes, digests)
    }

    async fn copy_part(&self, _: &Who, part: &PartName, copy: &PartCopy) -> Result<PartDone, ObjectError> {
        let found = self.source(&copy.source)?;
        let algorithm = self.in_upload(&part.object, &part.upload, |upload| Ok(upload.new.algorithm))?;
        let range = copy.range.clone().unwrap_or(0..found.info.size);
        if range.end > found.info.size {
            return Err(ObjectError::InvalidRange);
        }
        let bytes = found.bytes.slice(range.start as usize..range.end as usize);
        let checksum = checksum_of(algorithm.expect("the server always says one"), &bytes);
        let digests = Digests { md5: hex(&Md5::checksum(&bytes)), checksum: Some(checksum) };
        self.put_bytes(part, bytes, digests)
    }

    async fn parts(
        &self,
        _: &Who,
        name: &ObjectName,
        upload: &str,
        query: &PartQuery,
    ) -> Result<Parts, ObjectError> {
        self.in_upload(name, upload, |upload| {
            let after = |number: u16| number > query.after;
            let rest: Vec<Part> = upload
                .parts
                .values()
                .map(|(part, _)| part.clone())
                .filter(|part| after(part.number))
                .collect();
            Ok(Parts {
                more: rest.len() > query.limit,
                parts: rest.into_iter().take(query.limit).collect(),
                algorithm: upload.new.algorithm,
                kind: upload.new.checksum_kind,
                storage_class: upload.new.storage_class.clone(),
            })
        })
    }

    async fn uploads(&self, _: &Who, bucket: &str, query: &UploadQuery) -> Result<Uploads, ObjectError> {
        self.in_bucket(bucket, |content| {
            let all = content.uploads.iter().map(|((key, id), upload)| Upload {
                key: key.clone(),
                id: id.clone(),
                begun: upload.begun,
                owner: upload.owner.clone(),
                algorithm: upload.new.algorithm,
                kind: upload.new.checksum_kind,
                storage_class: upload.new.storage_class.clone(),
            });
            Ok(pages::uploads(all, query))
        })
    }

    async fn complete_upload(
        &self,
        _: &Who,
        name: &ObjectName,
        upload: &str,
        completion: &Completion,
    ) -> Result<PutDone, ObjectError> {
        let done = self.in_bucket(&name.bucket, |content| Ok(content.completed.get(upload).cloned()))?;
        if let Some(done) = done {
            return Ok(done);
        }
        let (info, bytes) = self.in_upload(name, upload, |upload| assemble(upload, completion))?;
        let done = self.insert(name, &completion.conditions, info, bytes)?;
        self.in_bucket(&name.bucket, |content| {
            content.uploads.remove(&(name.key.clone(), upload.to_owned()));
            content.completed.insert(upload.to_owned(), done.clone());
            Ok(())
        })?;
        Ok(done)
    }

    async fn abort_upload(&self, _: &Who, name: &ObjectName, upload: &str) -> Result<(), ObjectError> {
        self.in_bucket(&name.bucket, |content| {
            let removed = content.uploads.remove(&(name.key.clone(), upload.to_owned()));
            removed.map(|_| ()).ok_or(ObjectError::NoSuchUpload)
        })
    }
}

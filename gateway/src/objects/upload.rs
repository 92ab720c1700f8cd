//! Uploads in parts.
//!
//! A part is a file without a name. Completing an upload shares the extents of its parts with the object: no byte
//! is copied, however large it is (see [`crate::namespace::objects`]). A part that is copied is read only when its
//! upload names a checksum that is not known of it; where it names none, when a completion claims one: then what was
//! computed is kept with the part, and a completion that takes too long is told to come again and goes on there.

use std::time::Duration;

use tidegate_protocols::objects::{
    Body, Checksum, ChecksumAlgorithm, ChecksumKind, CompletedPart, Completion, Digests, NewObject,
    OBJECT_BYTES_MAX, ObjectError, ObjectName, OpenObject, PAGE_ENTRIES_MAX, PART_BYTES_MIN, PART_NUMBER_MAX,
    PUT_BYTES_MAX, Part, PartCopy, PartDone, PartName, PartQuery, PartSizes, Parts, PutDone, Who, sums,
};
use tidegate_replicator::map::{
    InodeNumber, ObjectRecord, PartChecksums, PartRecord, Timestamp, UploadRecord,
};

use tokio::time::Instant;

use super::read::Opened;
use super::{Access, Objects, describe, digest, path};
use crate::namespace::objects::{Description, Held, HeldPart, HeldUpload, Place, Unnamed};

/// A completion that has read parts for so long reads no other one, and is told to come again.
const SUMS_TIME_MAX: Duration = Duration::from_secs(20);

/// The id of an upload: its number, and a random number.
pub(super) fn id_of(upload: &HeldUpload) -> String {
    format!("{:016x}{:016x}", upload.number.0, upload.record.tag)
}

/// The numbers of an id; [`ObjectError::NoSuchUpload`] for what is none. No upload has the number 0: records say by it that an
/// object was made by none.
pub(super) fn parse_id(id: &str) -> Result<(InodeNumber, u64), ObjectError> {
    let number = |text: Option<&str>| text.and_then(|text| u64::from_str_radix(text, 16).ok());
    match (id.len(), number(id.get(..16)), number(id.get(16..))) {
        (32, Some(upload), Some(tag)) if upload > 0 => Ok((InodeNumber(upload), tag)),
        _ => Err(ObjectError::NoSuchUpload),
    }
}

impl Objects {
    pub(super) async fn begin_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        new: &NewObject,
    ) -> Result<String, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        if !access.bucket.flat && path::parse(&name.key)?.is_folder {
            return Err(path::holds_no_bytes());
        }
        if name.key.contains('\0') {
            return Err(ObjectError::InvalidKey("holds a NUL"));
        }
        if access.loaded.settings.lock.is_none() && (new.retention.is_some() || new.legal_hold.is_some()) {
            return Err(ObjectError::NoLock);
        }
        let mut tag = [0; 8];
        getrandom::fill(&mut tag).map_err(|_| ObjectError::Internal)?;
        let record = UploadRecord {
            tag: u64::from_le_bytes(tag),
            begun: Timestamp::default(),
            owner: access.who.clone(),
            algorithm: new.algorithm.map_or(0, describe::algorithm_code),
            composite: new.checksum_kind == ChecksumKind::Composite,
            metadata: describe::metadata_record(new, None),
        };
        Ok(id_of(&access.namespace().begin_upload(name.key.as_bytes(), record).await?))
    }

    pub(super) async fn put_upload_part(
        &self,
        who: &Who,
        part: &PartName,
        algorithm: Option<ChecksumAlgorithm>,
        body: &mut dyn Body,
    ) -> Result<PartDone, ObjectError> {
        let access = self.access_to_change(who, &part.object.bucket).await?;
        let upload = access.upload(&part.object, &part.upload).await?;
        check_part(part.number, algorithm, &upload)?;
        if let Some(wanted) = describe::algorithm(upload.record.algorithm) {
            body.compute(wanted);
        }
        let mut file = access.namespace().make_unnamed(&access.credentials).await?;
        let digests = self.receive(&access, &mut file, PUT_BYTES_MAX, body).await?;
        self.require_current(&access)?;
        access.add_part(&upload, part.number, &file, digests).await
    }

    pub(super) async fn copy_upload_part(
        &self,
        who: &Who,
        part: &PartName,
        copy: &PartCopy,
    ) -> Result<PartDone, ObjectError> {
        let access = self.access_to_change(who, &part.object.bucket).await?;
        let upload = access.upload(&part.object, &part.upload).await?;
        check_part(part.number, None, &upload)?;
        let found = self.find(who, &copy.source.name, copy.source.version.as_ref()).await?;
        copy.source.conditions.check_read(&found.info).map_err(|_| ObjectError::PreconditionFailed)?;
        let range = copy.range.clone().unwrap_or(0..found.info.size);
        let is_some = range.start < range.end || range == (0..0) && found.info.size == 0;
        if !is_some || range.end > found.info.size {
            return Err(ObjectError::InvalidRange);
        }
        if range.end - range.start > PUT_BYTES_MAX {
            return Err(ObjectError::TooLarge { max: PUT_BYTES_MAX });
        }
        let mut file = access.namespace().make_unnamed(&access.credentials).await?;
        self.take_from(&access, &found, range.clone(), &mut file).await?;
        let digests = digests_of_copy(&found, range, &upload).await?;
        found.require_unchanged().await?;
        self.require_current(&access)?;
        access.add_part(&upload, part.number, &file, digests).await
    }

    pub(super) async fn list_parts(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
        query: &PartQuery,
    ) -> Result<Parts, ObjectError> {
        let access = self.access(who, &name.bucket).await?;
        let upload = access.upload(name, upload).await?;
        let limit = query.limit.min(PAGE_ENTRIES_MAX);
        let mut found = access.reader().parts(upload.number, query.after, limit + 1).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        Ok(Parts {
            parts: found.into_iter().map(|(number, record)| part_of(number, record, &upload)).collect(),
            more,
            algorithm: describe::algorithm(upload.record.algorithm),
            kind: describe::kind(upload.record.composite),
            storage_class: upload.record.metadata.storage_class,
        })
    }

    pub(super) async fn finish_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
        completion: &Completion,
    ) -> Result<PutDone, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        let held = match access.upload(name, upload).await {
            Err(ObjectError::NoSuchUpload) => return self.finished_before(&access, &name.key, upload).await,
            held => held?,
        };
        match self.finish(&access, name, &held, completion).await {
            // The same request came twice, and the other one was first.
            Err(ObjectError::NoSuchUpload | ObjectError::Conflict)
                if matches!(access.upload(name, upload).await, Err(ObjectError::NoSuchUpload)) =>
            {
                self.finished_before(&access, &name.key, upload).await
            }
            done => done,
        }
    }

    async fn finish(
        &self,
        access: &Access,
        name: &ObjectName,
        held: &HeldUpload,
        completion: &Completion,
    ) -> Result<PutDone, ObjectError> {
        let seen = access.reader().all_parts(held.number).await?;
        let seen = access.with_checksums(held, seen, completion).await?;
        let chosen = choose(&seen, &completion.parts, held)?;
        let mut description = describe_upload(held, &chosen)?;
        description.record.metadata = access.with_default_lock(description.record.metadata);
        let checksum = description.record.metadata.checksum.as_ref().and_then(describe::checksum);
        check_whole(completion, &chosen, checksum.as_ref())?;
        let mut file = access.namespace().make_unnamed(&access.credentials).await?;
        for (_, part) in &chosen {
            let source = access.reader().node(part.inode).await.map_err(|_| ObjectError::Conflict)?;
            access.namespace().share_from(&source, 0..part.size, &mut file).await.map_err(changed)?;
        }
        crate::crash::point("complete.shared");
        self.require_current(access)?;
        let describe = |existing: Option<&Held>| {
            access.check_conditions(existing, &completion.conditions)?;
            Ok(description.clone())
        };
        let (namespace, mut attempts) = (access.namespace(), 1);
        loop {
            let named = async {
                let (directory, place_name) = access.place_of(&name.key).await?;
                let place = Place { directory, name: place_name, flat: access.bucket.flat };
                namespace.finish_upload(&access.credentials, held, &seen, &file, place, describe).await
            };
            match named.await {
                Err(ObjectError::NoSuchKey) if access.may_try_again(&completion.conditions, attempts) => {
                    attempts += 1;
                }
                Err(error) => {
                    access.prune_for(&name.key).await;
                    return Err(error);
                }
                Ok(done) => {
                    crate::crash::point("complete.named");
                    return self.done(access, &done, checksum).await;
                }
            }
        }
    }

    /// The answer for an upload that was completed already, by a request whose answer was lost.
    async fn finished_before(
        &self,
        access: &Access,
        key: &str,
        upload: &str,
    ) -> Result<PutDone, ObjectError> {
        let (number, _) = parse_id(upload)?;
        let held = access.held(key).await.map_err(|_| ObjectError::NoSuchUpload)?;
        match &held.record {
            Some(record) if record.upload == number.0 => {
                let checksum = record.metadata.checksum.as_ref().and_then(describe::checksum);
                self.done(access, &held, checksum).await
            }
            Some(_) | None => Err(ObjectError::NoSuchUpload),
        }
    }

    pub(super) async fn drop_upload(
        &self,
        who: &Who,
        name: &ObjectName,
        upload: &str,
    ) -> Result<(), ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        let held = access.upload(name, upload).await?;
        access.namespace().drop_upload(&held).await
    }
}

impl Access {
    async fn upload(&self, name: &ObjectName, id: &str) -> Result<HeldUpload, ObjectError> {
        let (number, tag) = parse_id(id)?;
        let held = self.reader().upload(name.key.as_bytes(), number).await?;
        if held.record.tag == tag && self.may_see(&held) { Ok(held) } else { Err(ObjectError::NoSuchUpload) }
    }

    /// In a share an upload is its beginner's, and the superuser's: its parts have no permissions of their own.
    pub(super) fn may_see(&self, upload: &HeldUpload) -> bool {
        self.bucket.flat || self.credentials.is_root() || upload.record.owner == self.who
    }

    /// The parts of an upload with the checksums that its completion claims something of, as far as it computes them. Each is
    /// kept with its part. What takes too long is told [`ObjectError::SlowDown`] after the part that is being read: the same
    /// completion goes on there.
    async fn with_checksums(
        &self,
        upload: &HeldUpload,
        mut parts: Vec<HeldPart>,
        completion: &Completion,
    ) -> Result<Vec<HeldPart>, ObjectError> {
        let (began, mut was_read) = (Instant::now(), false);
        let Some(algorithm) = describe::algorithm(upload.record.algorithm) else { return Ok(parts) };
        for named in &completion.parts {
            let claimed = named.checksum.as_ref().is_some_and(|said| said.algorithm == algorithm);
            let Ok(at) = parts.binary_search_by_key(&named.number, |(number, _)| *number) else { continue };
            let part = &mut parts[at].1;
            let is_meant = part.etag == named.etag && part.checksum.is_none();
            if is_meant && (claimed || completion.checksum.is_some()) {
                if was_read && began.elapsed() >= SUMS_TIME_MAX {
                    return Err(ObjectError::SlowDown);
                }
                was_read = true;
                let found = self.checksum_of_part(part, algorithm).await?;
                let sum = (describe::algorithm_code(algorithm), found.value);
                *part = self.namespace().keep_part_checksum(upload, (named.number, &*part), sum).await?;
            }
        }
        Ok(parts)
    }

    async fn add_part(
        &self,
        upload: &HeldUpload,
        number: u16,
        file: &Unnamed,
        mut digests: Digests,
    ) -> Result<PartDone, ObjectError> {
        // A checksum of another kind than the upload's does not count.
        let wanted = describe::algorithm(upload.record.algorithm);
        digests.checksum = digests.checksum.filter(|checksum| Some(checksum.algorithm) == wanted);
        let checksum = digests.checksum.as_ref();
        let checksum = checksum.map(|sum| (describe::algorithm_code(sum.algorithm), sum.value.clone()));
        let record = self.namespace().put_part(upload, number, file, (digests.md5.clone(), checksum)).await?;
        Ok(PartDone { modified: describe::time(record.modified), digests })
    }
}

/// Parts that changed under the completion are its caller's conflict.
fn changed(error: ObjectError) -> ObjectError {
    if error == ObjectError::NoSuchKey { ObjectError::Conflict } else { error }
}

/// Whether the upload has the checksum that is computed when the client names none: then its parts may come with any,
/// which are verified, as clients do that add one to each request by themselves.
fn is_usual(upload: &HeldUpload) -> bool {
    let algorithm = describe::algorithm(upload.record.algorithm);
    algorithm == Some(ChecksumAlgorithm::Crc64Nvme) && !upload.record.composite
}

fn check_part(
    number: u16,
    algorithm: Option<ChecksumAlgorithm>,
    upload: &HeldUpload,
) -> Result<(), ObjectError> {
    if !(1..=PART_NUMBER_MAX).contains(&number) {
        return Err(ObjectError::InvalidArgument("the part number is not between 1 and 10000".into()));
    }
    let wanted = describe::algorithm(upload.record.algorithm);
    match (algorithm, wanted) {
        (Some(given), Some(wanted)) if given != wanted && !is_usual(upload) => {
            Err(ObjectError::InvalidRequest(format!(
                "the upload computes {}, and the part says {}",
                wanted.as_str(),
                given.as_str()
            )))
        }
        _ => Ok(()),
    }
}

/// The parts that the caller names, in order, which must be what they are believed to be.
fn choose(
    seen: &[HeldPart],
    named: &[CompletedPart],
    upload: &HeldUpload,
) -> Result<Vec<HeldPart>, ObjectError> {
    if named.is_empty() {
        return Err(ObjectError::InvalidArgument("no parts are named".into()));
    }
    if !named.windows(2).all(|pair| pair[0].number < pair[1].number) {
        return Err(ObjectError::InvalidPartOrder);
    }
    let wanted = describe::algorithm(upload.record.algorithm);
    let mut chosen = Vec::with_capacity(named.len());
    let mut total = 0;
    for part in named {
        let invalid = ObjectError::InvalidPart { number: part.number };
        let at = seen.binary_search_by_key(&part.number, |(number, _)| *number);
        let (number, record) = &seen[at.map_err(|_| invalid.clone())?];
        let sum_fits = match (&part.checksum, &record.checksum) {
            // What came with the part was verified then; with a copied piece nothing came.
            (Some(said), found) if Some(said.algorithm) != wanted => {
                is_usual(upload) && found.is_some() && !record.etag.contains('-')
            }
            (Some(said), Some((_, value))) => said.value == *value,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if record.etag != part.etag || !sum_fits {
            return Err(invalid);
        }
        total += record.size;
        chosen.push((*number, record.clone()));
    }
    let small = chosen[..chosen.len() - 1].iter().find(|(_, part)| part.size < PART_BYTES_MIN);
    if let Some((number, part)) = small {
        return Err(ObjectError::PartTooSmall { number: *number, bytes: part.size });
    }
    if total > OBJECT_BYTES_MAX { Err(ObjectError::TooLarge { max: OBJECT_BYTES_MAX }) } else { Ok(chosen) }
}

/// Holds what the caller says of the whole object against what its parts make.
fn check_whole(
    completion: &Completion,
    parts: &[HeldPart],
    checksum: Option<&Checksum>,
) -> Result<(), ObjectError> {
    let size: u64 = parts.iter().map(|(_, part)| part.size).sum();
    if completion.size.is_some_and(|said| said != size) {
        return Err(ObjectError::InvalidRequest(format!("the parts are {size} bytes together")));
    }
    match (&completion.checksum, checksum) {
        (Some(said), Some(found)) if said.algorithm != found.algorithm => Err(ObjectError::InvalidRequest(
            format!("the upload computes {}, and not {}", found.algorithm.as_str(), said.algorithm.as_str()),
        )),
        (Some(said), Some(found)) if said.value != found.value => {
            Err(ObjectError::BadDigest(found.algorithm.as_str()))
        }
        (Some(said), None) => Err(ObjectError::InvalidRequest(format!(
            "the upload computes no checksum that the {} of the whole object could be held against",
            said.algorithm.as_str()
        ))),
        (Some(_), Some(_)) | (None, _) => Ok(()),
    }
}

/// What the object of an upload is: its ETag is the MD5 of the MD5s of its parts and their number.
fn describe_upload(upload: &HeldUpload, parts: &[HeldPart]) -> Result<Description, ObjectError> {
    let mut etags = Vec::with_capacity(parts.len());
    for (number, part) in parts {
        // A copied part may have an ETag that is no MD5.
        let hex = part.etag.get(..32).ok_or(ObjectError::InvalidPart { number: *number })?;
        etags.push(u128::from_str_radix(hex, 16).map_err(|_| ObjectError::InvalidPart { number: *number })?);
    }
    let etags: Vec<u8> = etags.iter().flat_map(|etag| etag.to_be_bytes()).collect();
    let mut metadata = upload.record.metadata.clone();
    metadata.checksum = upload_checksum(upload, parts).as_ref().map(describe::checksum_record);
    let record = ObjectRecord {
        upload: upload.number.0,
        parts: parts.len() as u32,
        etag: format!("{}-{}", sums::md5_hex(&etags), parts.len()),
        metadata,
        ..ObjectRecord::default()
    };
    Ok(Description {
        part_checksums: record.metadata.checksum.as_ref().and_then(|_| part_checksums(upload, parts)),
        record,
        part_runs: PartSizes::new(parts.iter().map(|(_, part)| part.size)).runs().to_vec(),
    })
}

/// The checksums of the parts, if each has one.
fn part_checksums(upload: &HeldUpload, parts: &[HeldPart]) -> Option<PartChecksums> {
    let read = |(_, part): &HeldPart| sums::read(&part.checksum.as_ref()?.1);
    let values: Vec<Vec<u8>> = parts.iter().map(read).collect::<Option<_>>()?;
    PartChecksums::new(upload.record.algorithm, values.iter().map(Vec::as_slice))
}

/// The checksum of an object in parts, as far as it follows from those of its parts.
fn upload_checksum(upload: &HeldUpload, parts: &[HeldPart]) -> Option<Checksum> {
    let algorithm = describe::algorithm(upload.record.algorithm)?;
    let mut found = Vec::with_capacity(parts.len());
    for (_, part) in parts {
        let (_, value) = part.checksum.as_ref()?;
        found.push((&**value, part.size));
    }
    if upload.record.composite {
        let values: Vec<_> = found.iter().map(|(value, _)| *value).collect();
        sums::composite(algorithm, &values)
    } else {
        sums::combined(algorithm, &found)
    }
}

/// What a part hashes to that is a range of an object. Its bytes are read when the upload names a checksum that is not
/// known of them.
async fn digests_of_copy(
    found: &Opened,
    range: std::ops::Range<u64>,
    upload: &HeldUpload,
) -> Result<Digests, ObjectError> {
    let (info, wanted) = (&found.info, describe::algorithm(upload.record.algorithm));
    let is_whole = range == (0..info.size);
    let is_known = |sum: &Checksum| sum.kind == ChecksumKind::Full && Some(sum.algorithm) == wanted;
    let known = info.checksum.clone().filter(|sum| is_whole && is_known(sum));
    match wanted {
        Some(wanted) if known.is_none() && !is_usual(upload) => digest::all(found.read(range), wanted).await,
        _ if is_whole => Ok(Digests { md5: info.etag.clone(), checksum: known }),
        _ => Ok(Digests { md5: piece_etag(&info.etag, &range), checksum: None }),
    }
}

/// What tells a piece of an object, whose MD5 nobody knows, from other pieces; the dash keeps clients from taking it for
/// an MD5.
fn piece_etag(etag: &str, range: &std::ops::Range<u64>) -> String {
    format!("{}-1", sums::md5_hex(format!("{etag} {} {}", range.start, range.end).as_bytes()))
}

fn part_of(number: u16, record: PartRecord, upload: &HeldUpload) -> Part {
    let kind = describe::kind(upload.record.composite);
    let checksum = record
        .checksum
        .and_then(|(code, value)| Some(Checksum { algorithm: describe::algorithm(code)?, kind, value }));
    Part { number, size: record.size, etag: record.etag, checksum, modified: describe::time(record.modified) }
}

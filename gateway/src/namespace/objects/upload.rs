//! Uploads in parts.
//!
//! An upload is a record by the key of its object; a part is a record by its number that names a file without
//! a name. Whoever changes the parts of an upload holds the lock of its number, which is drawn from those of
//! inodes. Completing shares the parts' extents with a new file, a few at a time, and then in one transaction
//! names that file and drops upload and parts: a crash before leaves the upload as it was, and a file that the
//! collection of orphans takes.

use bytes::Bytes;
use tidegate_protocols::objects::ObjectError;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Key, PartRecord, UploadRecord, kind_range, parts_range};

use super::{Description, Held, Place, Unnamed, drop_unnamed};
use crate::namespace::{Credentials, Namespace, Reader};
use crate::share::{ShareError, Transaction};

/// Parts that one look at the map brings.
const PAGE: usize = 1000;

/// An upload with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUpload {
    /// The key of its object.
    pub key: Bytes,
    /// Its number: the first half of its id.
    pub number: InodeNumber,
    /// What is known of it.
    pub record: UploadRecord,
}

/// A part with its number.
pub type HeldPart = (u16, PartRecord);

impl Reader<'_> {
    /// An upload; [`ObjectError::NoSuchUpload`] when it is not under way.
    pub async fn upload(&self, key: &[u8], number: InodeNumber) -> Result<HeldUpload, ObjectError> {
        let key = Bytes::copy_from_slice(key);
        let found = self.map.get(&Key::Upload(key.clone(), number)).await.map_err(FsError::from)?;
        let value = found.ok_or(ObjectError::NoSuchUpload)?;
        let record =
            UploadRecord::decode(&value.payload).map_err(|error| FsError::from(ShareError::from(error)))?;
        Ok(HeldUpload { key, number, record })
    }

    /// Up to `limit` uploads from a place on: `from` is a key, and with a NUL and a number after it the place
    /// of one upload.
    pub async fn uploads(&self, from: &[u8], limit: usize) -> Result<Vec<HeldUpload>, ObjectError> {
        let keys = kind_range(InodeNumber::SHARE, b'u', from);
        let mut uploads = Vec::new();
        for (key, value) in self.map.scan(keys, limit).await.map_err(FsError::from)? {
            let Key::Upload(key, number) = key else { continue };
            let record = UploadRecord::decode(&value.payload)
                .map_err(|error| FsError::from(ShareError::from(error)))?;
            uploads.push(HeldUpload { key, number, record });
        }
        Ok(uploads)
    }

    /// Up to `limit` parts of an upload whose numbers are above `after`.
    pub async fn parts(
        &self,
        upload: InodeNumber,
        after: u16,
        limit: usize,
    ) -> Result<Vec<HeldPart>, ObjectError> {
        let mut parts = Vec::new();
        for (key, value) in self.map.scan(parts_range(upload, after), limit).await.map_err(FsError::from)? {
            let Key::Part(_, number) = key else { continue };
            let record =
                PartRecord::decode(&value.payload).map_err(|error| FsError::from(ShareError::from(error)))?;
            parts.push((number, record));
        }
        Ok(parts)
    }

    /// All parts of an upload: 10,000 at most.
    pub async fn all_parts(&self, upload: InodeNumber) -> Result<Vec<HeldPart>, ObjectError> {
        let mut parts = Vec::new();
        loop {
            let after = parts.last().map_or(0, |(number, _)| *number);
            let page = self.parts(upload, after, PAGE).await?;
            let last = page.len() < PAGE;
            parts.extend(page);
            if last {
                return Ok(parts);
            }
        }
    }
}

/// Inodes to lock, with those of parts that go: a commit may be at their extents.
fn with_parts(inodes: &[InodeNumber], parts: &[HeldPart]) -> Vec<InodeNumber> {
    inodes.iter().copied().chain(parts.iter().map(|(_, part)| part.inode)).collect()
}

impl Namespace {
    /// Begins an upload.
    pub async fn begin_upload(
        &self,
        key: &[u8],
        mut record: UploadRecord,
    ) -> Result<HeldUpload, ObjectError> {
        let number = self.share.numbers().next(self.share.live()).await.map_err(FsError::from)?;
        record.begun = self.now();
        // A bucket that is being removed lets nothing in.
        let locks = self.share.locks().lock(&[InodeNumber::ROOT]).await;
        if self.share.is_closed() {
            return Err(ObjectError::NoSuchBucket);
        }
        let key = Bytes::copy_from_slice(key);
        let mut transaction = Transaction::default();
        transaction.put(&Key::Upload(key.clone(), number), record.encode());
        self.finish_object(locks, transaction).await?;
        Ok(HeldUpload { key, number, record })
    }

    /// Makes a file a part of an upload, in the place of one of that number, with its ETag and, numbered as in
    /// records, its checksum. Durable when this returns.
    pub async fn put_part(
        &self,
        upload: &HeldUpload,
        number: u16,
        file: &Unnamed,
        (etag, checksum): (String, Option<(u8, String)>),
    ) -> Result<PartRecord, ObjectError> {
        // A part that goes is locked too: a commit may be at its extents.
        let (locks, before) = loop {
            let seen = self.part(upload.number, number).await?;
            let inodes =
                [upload.number, file.number()].into_iter().chain(seen.as_ref().map(|part| part.inode));
            let locks = self.share.locks().lock(&inodes.collect::<Vec<_>>()).await;
            if self.part(upload.number, number).await? == seen {
                break (locks, seen);
            }
        };
        self.reader().upload(&upload.key, upload.number).await?;
        let mut inode = self.reader().node(file.number()).await?.inode;
        inode.used += file.shared;
        let record =
            PartRecord { inode: file.number(), size: file.size(), modified: self.now(), etag, checksum };
        let mut transaction = Transaction::default();
        transaction.put_inode(file.number(), &inode);
        transaction.use_more(file.shared as i64, 0);
        transaction.delete(&Key::Orphan(file.number()));
        transaction.put(&Key::Part(upload.number, number), record.encode());
        if let Some(before) = before {
            drop_unnamed(&mut transaction, before.inode, self.used_by(before.inode).await?);
        }
        self.finish_object(locks, transaction).await?;
        Ok(record)
    }

    /// Keeps the checksum of a part that has none, numbered as in records; what is known of the part then. Durable when this
    /// returns. [`ObjectError::Conflict`] when the part was replaced since it was seen.
    pub async fn keep_part_checksum(
        &self,
        upload: &HeldUpload,
        (number, seen): (u16, &PartRecord),
        checksum: (u8, String),
    ) -> Result<PartRecord, ObjectError> {
        let locks = self.share.locks().lock(&[upload.number, seen.inode]).await;
        let found = self.part(upload.number, number).await?.ok_or(ObjectError::Conflict)?;
        let record = PartRecord { checksum: Some(checksum), ..seen.clone() };
        if found == record {
            return Ok(found);
        }
        if found != *seen {
            return Err(ObjectError::Conflict);
        }
        let mut transaction = Transaction::default();
        transaction.put(&Key::Part(upload.number, number), record.encode());
        self.finish_object(locks, transaction).await?;
        Ok(record)
    }

    async fn part(&self, upload: InodeNumber, number: u16) -> Result<Option<PartRecord>, ObjectError> {
        let found = self.reader().parts(upload, number.saturating_sub(1), 1).await?;
        Ok(found.into_iter().find(|(found, _)| *found == number).map(|(_, record)| record))
    }

    async fn used_by(&self, file: InodeNumber) -> Result<u64, ObjectError> {
        Ok(self.reader().node(file).await?.inode.used)
    }

    /// Drops an upload with its parts.
    pub async fn drop_upload(&self, upload: &HeldUpload) -> Result<(), ObjectError> {
        let (locks, parts) = loop {
            let seen = self.reader().all_parts(upload.number).await?;
            let locks = self.share.locks().lock(&with_parts(&[upload.number], &seen)).await;
            if self.reader().all_parts(upload.number).await? == seen {
                break (locks, seen);
            }
        };
        self.reader().upload(&upload.key, upload.number).await?;
        let mut transaction = Transaction::default();
        self.drop_parts(&mut transaction, upload, &parts).await?;
        self.finish_object(locks, transaction).await
    }

    async fn drop_parts(
        &self,
        transaction: &mut Transaction,
        upload: &HeldUpload,
        parts: &[HeldPart],
    ) -> Result<(), ObjectError> {
        transaction.delete(&Key::Upload(upload.key.clone(), upload.number));
        for (number, part) in parts {
            transaction.delete(&Key::Part(upload.number, *number));
            drop_unnamed(transaction, part.inode, self.used_by(part.inode).await?);
        }
        Ok(())
    }

    /// Names a file that shares the bytes of some parts, and drops the upload. `seen` are all parts of the upload
    /// as they were when it was made; [`ObjectError::Conflict`] when they are others now.
    pub async fn finish_upload<F>(
        &self,
        credentials: &Credentials,
        upload: &HeldUpload,
        seen: &[HeldPart],
        file: &Unnamed,
        place: Place<'_>,
        describe: F,
    ) -> Result<Held, ObjectError>
    where
        F: FnOnce(Option<&Held>) -> Result<Description, ObjectError> + Send,
    {
        let further = with_parts(&[file.number(), upload.number], seen);
        let locked = self.lock_name(credentials, place, &further, None).await?;
        self.reader().upload(&upload.key, upload.number).await?;
        if self.reader().all_parts(upload.number).await? != seen {
            return Err(ObjectError::Conflict);
        }
        let description = describe(locked.existing.as_ref().map(|(_, held)| held))?;
        let mut transaction = Transaction::default();
        let held = self.name_unnamed(&mut transaction, file, place, &locked, description).await?;
        self.drop_parts(&mut transaction, upload, seen).await?;
        self.finish_object(locked.locks, transaction).await?;
        Ok(held)
    }
}

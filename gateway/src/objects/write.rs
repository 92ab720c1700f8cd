//! Writing, copying, deleting and tagging objects.
//!
//! Order of a PUT, and what a crash at each step leaves: a file without a name and an orphan record (the next
//! start takes it away); its bytes, piece by piece, in the journal; the body's digests are checked; one
//! transaction names the file and records what it is; the journal is synced; the answer. Nobody sees the object
//! before that transaction, and what it replaces is whole until then.

use std::pin::pin;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::{Either, select};
use tidegate_protocols::objects::{
    Body, Checksum, Conditions, CopySource, Digests, NewObject, ObjectError, ObjectName, OpenObject,
    PUT_BYTES_MAX, PutDone, Who,
};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Kind, ObjectRecord};

use super::incoming::Gathered;
use super::read::Opened;
use super::{Access, Objects, PIECE_BYTES, bounded, describe, digest, locks, path};
use crate::namespace::WRITE;
use crate::namespace::objects::{Description, Held, Place, Unnamed};

/// How often a directory that goes while an object is put into it is made again.
const ATTEMPTS: usize = 4;
/// The MD5 of nothing.
const EMPTY_MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

impl Objects {
    pub(super) async fn put_object(
        &self,
        who: &Who,
        name: &ObjectName,
        new: NewObject,
        body: &mut dyn Body,
    ) -> Result<PutDone, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        access.check_before(&name.key, &new.conditions).await?;
        if !access.bucket.flat && name.key.ends_with('/') {
            let digests = receive_nothing(body).await?;
            return self.put_folder(&access, &name.key, &new, digests.checksum).await;
        }
        let new = access.with_lock(new)?;
        let mut file = access.namespace().make_unnamed(&access.credentials).await?;
        let digests = self.receive(&access, &mut file, PUT_BYTES_MAX, body).await?;
        let record = ObjectRecord {
            etag: digests.md5.clone(),
            metadata: describe::metadata_record(&new, digests.checksum.as_ref()),
            ..ObjectRecord::default()
        };
        let description = Description { record, ..Description::default() };
        self.require_current(&access)?;
        let held = access.name_object(&name.key, &file, description, &new.conditions).await?;
        self.done(&access, &held, digests.checksum).await
    }

    /// A key with a slash at its end, in a share: a directory, which holds no bytes.
    async fn put_folder(
        &self,
        access: &Access,
        key: &str,
        new: &NewObject,
        checksum: Option<Checksum>,
    ) -> Result<PutDone, ObjectError> {
        if new.retention.is_some() || new.legal_hold.is_some() {
            return Err(locks::folder());
        }
        let record = ObjectRecord {
            etag: EMPTY_MD5.into(),
            metadata: describe::metadata_record(new, checksum.as_ref()),
            ..ObjectRecord::default()
        };
        let path = path::parse(key)?;
        self.require_current(access)?;
        let mut attempts = 0;
        loop {
            match access.make_key_folder(&path, record.clone(), &new.conditions).await {
                Ok(held) => return self.done(access, &held, checksum).await,
                // A directory went between the steps: somebody else's, whose condition did not hold, takes his away.
                Err(ObjectError::NoSuchKey) if access.may_try_again(&new.conditions, attempts) => {
                    attempts += 1
                }
                Err(error) => {
                    access.prune(&[&path.folders[..], &[path.name]].concat()).await;
                    return Err(error);
                }
            }
        }
    }

    /// Takes a body in, and checks it. What is gathered of it meanwhile takes room that all bodies share (see
    /// [`super::incoming`]).
    pub(super) async fn receive(
        &self,
        access: &Access,
        file: &mut Unnamed,
        max: u64,
        body: &mut dyn Body,
    ) -> Result<Digests, ObjectError> {
        if body.announced_bytes().is_some_and(|bytes| bytes > max) {
            return Err(ObjectError::TooLarge { max });
        }
        let mut gathered = Gathered::new(&self.incoming);
        while let Some(mut bytes) = self.next_of(access, file, max, &mut gathered, body).await? {
            // What comes in one piece is passed on as it is.
            if gathered.is_empty() && bytes.len() >= PIECE_BYTES {
                self.store(access, file, max, bytes).await?;
                continue;
            }
            while !bytes.is_empty() {
                gathered.add(&mut bytes).await?;
                if gathered.is_full() || !bytes.is_empty() {
                    self.store_gathered(access, file, max, &mut gathered).await?;
                }
            }
        }
        self.store_gathered(access, file, max, &mut gathered).await?;
        body.finish().await
    }

    /// The next bytes of a body. While the client lets them be waited for, what was gathered is stored if its room is
    /// wanted. What comes meanwhile is taken at once, so that the time until then counts as the client's and the rest as ours.
    async fn next_of(
        &self,
        access: &Access,
        file: &mut Unnamed,
        max: u64,
        gathered: &mut Gathered<'_>,
        body: &mut dyn Body,
    ) -> Result<Option<Bytes>, ObjectError> {
        let mut next = body.next();
        while !gathered.is_empty() {
            tokio::select! {
                biased;
                bytes = &mut next => return bytes,
                () = self.incoming.is_wanted() => {}
            }
            let stored = self.store_gathered(access, file, max, gathered);
            match beside(next, stored).await? {
                Either::Left(bytes) => return bytes,
                Either::Right(still_waiting) => next = still_waiting,
            }
        }
        next.await
    }

    async fn store_gathered(
        &self,
        access: &Access,
        file: &mut Unnamed,
        max: u64,
        gathered: &mut Gathered<'_>,
    ) -> Result<(), ObjectError> {
        let (bytes, room) = gathered.take();
        let stored = self.store(access, file, max, bytes).await;
        drop(room);
        stored
    }

    async fn store(
        &self,
        access: &Access,
        file: &mut Unnamed,
        max: u64,
        mut bytes: Bytes,
    ) -> Result<(), ObjectError> {
        if file.size() + bytes.len() as u64 > max {
            return Err(ObjectError::TooLarge { max });
        }
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
            self.room(access, piece.len() as u64).await?;
            access.namespace().extend(&access.credentials, file, piece).await?;
        }
        Ok(())
    }

    pub(super) async fn copy_object(
        &self,
        who: &Who,
        source: &CopySource,
        name: &ObjectName,
        (mut new, keep_metadata, keep_tags): (NewObject, bool, bool),
    ) -> Result<PutDone, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        access.check_before(&name.key, &new.conditions).await?;
        let found = self.find(who, &source.name, source.version.as_ref()).await?;
        source.conditions.check_read(&found.info).map_err(|_| ObjectError::PreconditionFailed)?;
        if found.info.size > PUT_BYTES_MAX {
            return Err(ObjectError::TooLarge { max: PUT_BYTES_MAX });
        }
        if keep_metadata {
            new.metadata = found.info.metadata.clone();
        }
        if keep_tags {
            new.tags = found.info.tags.clone();
        }
        if !access.bucket.flat && name.key.ends_with('/') {
            return self.copy_to_folder(&access, &found, &name.key, &new).await;
        }
        let new = access.with_lock(new)?;
        let mut file = access.namespace().make_unnamed(&access.credentials).await?;
        self.take_from(&access, &found, 0..found.info.size, &mut file).await?;
        // A copy of all bytes has their ETag.
        let etag = found.info.etag.clone();
        let checksum = checksum_of_copy(&found, &new).await?;
        // Those of the parts go with the object's own, if that is the source's.
        let is_sources = checksum.is_some() && checksum == found.info.checksum;
        let part_checksums = if is_sources { found.part_checksums_record().await? } else { None };
        let description = Description {
            part_checksums,
            record: ObjectRecord {
                etag,
                parts: found.info.parts.count(),
                metadata: describe::metadata_record(&new, checksum.as_ref()),
                ..ObjectRecord::default()
            },
            part_runs: found.info.parts.runs().to_vec(),
        };
        found.require_unchanged().await?;
        self.require_current(&access)?;
        let held = access.name_object(&name.key, &file, description, &new.conditions).await?;
        self.done(&access, &held, checksum).await
    }

    /// A copy to a key with a slash at its end, in a share: what the source says of itself, if it holds nothing.
    async fn copy_to_folder(
        &self,
        access: &Access,
        found: &Opened,
        key: &str,
        new: &NewObject,
    ) -> Result<PutDone, ObjectError> {
        if found.info.size > 0 {
            return Err(path::holds_no_bytes());
        }
        let checksum = checksum_of_copy(found, new).await?;
        found.require_unchanged().await?;
        self.put_folder(access, key, new, checksum).await
    }

    /// Adds a range of an object to a file without a name: shared where both lie in one share, else copied.
    pub(super) async fn take_from(
        &self,
        access: &Access,
        found: &Opened,
        range: std::ops::Range<u64>,
        file: &mut Unnamed,
    ) -> Result<(), ObjectError> {
        if found.bucket.share == access.bucket.share && found.source.inode.kind == Kind::Regular {
            let (namespace, source) = (access.namespace(), &found.source);
            return if found.bucket.flat {
                namespace.share_from_object(source, range, file).await
            } else {
                namespace.share_from(source, range, file).await
            };
        }
        let mut data = found.read(range);
        while let Some(piece) = data.try_next().await? {
            self.store(access, file, u64::MAX, piece).await?;
        }
        Ok(())
    }
}

impl Objects {
    /// The answer to a change that made an object; waits for the repository where the bucket promises it.
    pub(super) async fn done(
        &self,
        access: &Access,
        held: &Held,
        checksum: Option<Checksum>,
    ) -> Result<PutDone, ObjectError> {
        let in_repository = self.published(access).await?;
        let info = access.info(held, &[]);
        Ok(PutDone {
            etag: info.etag,
            checksum,
            modified: info.modified,
            version: info.version,
            in_repository,
        })
    }
}

impl Access {
    /// Refuses early what would be refused in the end, before a body is read.
    async fn check_before(&self, key: &str, conditions: &Conditions) -> Result<(), ObjectError> {
        if !self.bucket.flat {
            path::parse(key)?;
        } else if key.contains('\0') {
            return Err(ObjectError::InvalidKey("holds a NUL"));
        }
        if conditions.is_empty() {
            return Ok(());
        }
        match bounded(self.held(key)).await {
            Ok(held) => conditions.check_change(Some(&describe::info(&held, self.bucket.flat, &[]))),
            Err(ObjectError::NoSuchKey) => conditions.check_change(None),
            Err(error) => Err(error),
        }
    }

    /// Names a file by a key.
    pub(super) async fn name_object(
        &self,
        key: &str,
        file: &Unnamed,
        description: Description,
        conditions: &Conditions,
    ) -> Result<Held, ObjectError> {
        let describe = |existing: Option<&Held>| {
            self.check_conditions(existing, conditions)?;
            Ok(description.clone())
        };
        let mut attempts = 1;
        loop {
            let named = async {
                let (directory, name) = self.place_of(key).await?;
                let place = Place { directory, name, flat: self.bucket.flat };
                self.namespace().put_in_place(&self.credentials, file, place, describe).await
            };
            match named.await {
                // A directory went between the steps.
                Err(ObjectError::NoSuchKey) if self.may_try_again(conditions, attempts) => attempts += 1,
                Err(error) => {
                    self.prune_for(key).await;
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    /// Whether a name that was not there may be looked for again: directories come and go, and a condition says so too.
    pub(super) fn may_try_again(&self, conditions: &Conditions, attempts: usize) -> bool {
        !self.bucket.flat && conditions.matches.is_none() && attempts < ATTEMPTS
    }

    /// Takes away directories that were made for a key that came to nothing.
    pub(super) async fn prune_for(&self, key: &str) {
        if let (false, Ok(path)) = (self.bucket.flat, path::parse(key)) {
            self.prune(&path.folders).await;
        }
    }

    /// Checks conditions against what has the name now. What is no object does not count as one.
    pub(super) fn check_conditions(
        &self,
        existing: Option<&Held>,
        conditions: &Conditions,
    ) -> Result<(), ObjectError> {
        let object = existing.filter(|held| held.node.inode.kind == Kind::Regular);
        let info = object.map(|held| describe::info(held, self.bucket.flat, &[]));
        conditions.check_change(info.as_ref())
    }

    /// The directory and the name of a key that is to be made, with bytes; directories that are missing are made.
    pub(super) async fn place_of<'k>(&self, key: &'k str) -> Result<(InodeNumber, &'k [u8]), ObjectError> {
        if self.bucket.flat {
            return Ok((InodeNumber::ROOT, key.as_bytes()));
        }
        let path = path::parse(key)?;
        // Without its slash it would be the name of a file, which is another key.
        if path.is_folder {
            return Err(path::holds_no_bytes());
        }
        Ok((self.make_folders(&path.folders).await?, path.name))
    }

    /// Makes a directory that is a key of its own, or makes one that is there such a key.
    async fn make_key_folder(
        &self,
        path: &path::Path<'_>,
        record: ObjectRecord,
        conditions: &Conditions,
    ) -> Result<Held, ObjectError> {
        let parent = self.make_folders(&path.folders).await?;
        let place = Place { directory: parent, name: path.name, flat: false };
        let implicit = ObjectRecord { implicit: true, ..ObjectRecord::default() };
        let node = self.namespace().make_folder(&self.credentials, place, Some(implicit)).await?;
        self.credentials.require(&node.inode, WRITE)?;
        // One that was there becomes, or stays, a key of its own.
        let describe = |held: &Held| {
            let there = held.is_object().then(|| describe::info(held, false, &[]));
            conditions.check_change(there.as_ref())?;
            Ok(record)
        };
        self.namespace().describe_again(node.number, describe).await
    }

    async fn make_folders(&self, names: &[&[u8]]) -> Result<InodeNumber, ObjectError> {
        let mut folder = self.reader().node(InodeNumber::ROOT).await?;
        for name in names {
            folder = match self.reader().lookup(&folder, name, &self.credentials).await {
                Ok(node) if node.inode.kind == Kind::Directory => node,
                Ok(_) => return Err(ObjectError::InvalidKey("has a file where it needs a folder")),
                Err(FsError::NotFound) => {
                    let place = Place { directory: folder.number, name, flat: false };
                    let implicit = ObjectRecord { implicit: true, ..ObjectRecord::default() };
                    self.namespace().make_folder(&self.credentials, place, Some(implicit)).await?
                }
                Err(error) => return Err(error.into()),
            };
        }
        Ok(folder.number)
    }
}

/// Takes a body in that is to hold nothing, and checks it.
async fn receive_nothing(body: &mut dyn Body) -> Result<Digests, ObjectError> {
    while let Some(bytes) = body.next().await? {
        if !bytes.is_empty() {
            return Err(path::holds_no_bytes());
        }
    }
    body.finish().await
}

/// A copy of all bytes has their checksum, unless another one is asked for.
async fn checksum_of_copy(found: &Opened, new: &NewObject) -> Result<Option<Checksum>, ObjectError> {
    match (new.algorithm, &found.info.checksum) {
        (Some(wanted), known) if known.as_ref().is_none_or(|known| known.algorithm != wanted) => {
            digest::checksum(found.read(0..found.info.size), wanted).await.map(Some)
        }
        (_, known) => Ok(known.clone()),
    }
}

/// Carries some work out to its end, and lets something else come meanwhile: gives that, or what still waits for it.
async fn beside<N: Future + Unpin>(
    next: N,
    work: impl Future<Output = Result<(), ObjectError>>,
) -> Result<Either<N::Output, N>, ObjectError> {
    match select(next, pin!(work)).await {
        Either::Left((came, work)) => work.await.map(|()| Either::Left(came)),
        Either::Right((done, next)) => done.map(|()| Either::Right(next)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::poll;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_comes_while_something_is_stored_is_taken_before_that_is_over() {
        let (sent, (stored, is_stored)) = (Cell::new(false), oneshot::channel());
        let (bytes, came) = oneshot::channel();
        let next = Box::pin(async {
            let bytes: u8 = came.await.expect("they come");
            sent.set(true);
            bytes
        });
        let work = async {
            is_stored.await.expect("it is stored");
            Ok(())
        };
        let mut both = pin!(beside(next, work));
        assert!(poll!(both.as_mut()).is_pending(), "nothing has come, and it is not stored");
        bytes.send(7).expect("they are waited for");
        assert!(poll!(both.as_mut()).is_pending(), "it is not stored");
        assert!(sent.get(), "what came was taken");
        stored.send(()).expect("it is waited for");
        assert!(matches!(both.await, Ok(Either::Left(7))));
    }

    #[tokio::test]
    async fn what_has_not_come_when_something_is_stored_is_waited_for_further() {
        let (bytes, came) = oneshot::channel();
        let next = Box::pin(async { came.await.expect("they come") });
        let Ok(Either::Right(still_waiting)) = beside(next, async { Ok(()) }).await else {
            panic!("nothing has come")
        };
        bytes.send(7_u8).expect("they are waited for");
        assert_eq!(still_waiting.await, 7);
        let failed = beside(std::future::ready(7), async { Err(ObjectError::Quota) }).await;
        assert!(matches!(failed, Err(ObjectError::Quota)), "what came counts for nothing then");
    }
}

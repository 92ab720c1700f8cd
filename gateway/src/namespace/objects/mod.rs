//! Files that are made without a name and get one when they are whole: what objects are.
//!
//! An object appears under its key in one transaction, with its record, in the place of what was there. Until
//! then its bytes lie in a file without a name, which an orphan record names: a crash, or a caller who goes
//! away, leaves nothing but what the collection of orphans takes.
//!
//! Bytes come by [`Namespace::write`], which accounts for them at once, or are shared from another file of the
//! share ([`Unnamed::share_from`]), which is accounted for when the file gets its name: what a completed upload
//! holds counted as its parts until then.
//!
//! Names here are components of a path, or whole keys where the directory is the flat one of a bucket. What a name
//! led to before goes, or becomes a version of its key ([`versions`]).

mod bucket;
mod naming;
mod upload;
mod versions;

use std::ops::Range;

use bytes::Bytes;
use tidegate_protocols::objects::{KEY_BYTES_MAX, OBJECT_BYTES_MAX, ObjectError};
use tidegate_protocols::view::{FsError, LINKS_MAX, SetAttributes};
use tidegate_replicator::map::{
    Extent, Inode, InodeNumber, Key, Kind, ObjectRecord, PART_CHECKSUMS_ATTRIBUTE, PART_SIZES_ATTRIBUTE,
    PartChecksums, RECORD_ATTRIBUTE, Source, inode_range, kind_range,
};
use tokio::sync::MutexGuard;

pub use bucket::{BucketParts, VERSIONING_PART};
pub use upload::{HeldPart, HeldUpload};
pub use versions::{Found, HeldVersion, Removal, Removed, Which};

use super::open::OpenFile;
use super::{Context, Credentials, Namespace, NewFile, Node, Reader, check_name, touch};
use crate::share::{MapRead, ShareError, Transaction};

/// Extents that one transaction shares, about.
const EXTENTS_SHARED_MAX: usize = 512;
/// How often a name that is being replaced is looked at.
const LOOKS_MAX: usize = 64;
/// Permission bits of new objects.
const OBJECT_MODE: u16 = 0o644;
/// Permission bits of folders that are made for objects.
const FOLDER_MODE: u16 = 0o755;

/// The attribute's key.
fn record_key(file: InodeNumber) -> Key {
    Key::ExtendedAttribute(file, Bytes::from_static(RECORD_ATTRIBUTE))
}

fn sizes_key(file: InodeNumber) -> Key {
    Key::ExtendedAttribute(file, Bytes::from_static(PART_SIZES_ATTRIBUTE))
}

fn sums_key(file: InodeNumber) -> Key {
    Key::ExtendedAttribute(file, Bytes::from_static(PART_CHECKSUMS_ATTRIBUTE))
}

/// Where an object is put.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory.
    pub directory: InodeNumber,
    /// The name in it.
    pub name: &'a [u8],
    /// Whether the directory is the flat one of a bucket, whose names are keys.
    pub flat: bool,
}

impl Place<'_> {
    fn check(&self) -> Result<(), ObjectError> {
        if !self.flat {
            return Ok(check_name(self.name)?);
        }
        if self.name.len() > KEY_BYTES_MAX {
            return Err(ObjectError::KeyTooLong);
        }
        if self.name.contains(&0) { Err(ObjectError::InvalidKey("holds a NUL")) } else { Ok(()) }
    }
}

/// A file with what S3 knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The file.
    pub node: Node,
    /// Its record; none for a file that came by another door.
    pub record: Option<ObjectRecord>,
}

/// What an object is to be once it has its name.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Its record, but for the change counter.
    pub record: ObjectRecord,
    /// Runs of equal parts that it was made of.
    pub part_runs: Vec<(u32, u64)>,
    /// The checksums of those parts, if each has one.
    pub part_checksums: Option<PartChecksums>,
}

/// A file without a name, until it gets one. Dropped without one, it goes.
pub struct Unnamed {
    held: OpenFile,
    /// Bytes that it shares with other files, not accounted for yet.
    shared: u64,
    /// Its length.
    size: u64,
}

impl Unnamed {
    /// Its number.
    pub fn number(&self) -> InodeNumber {
        self.held.number()
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Reader<'_> {
    /// What S3 knows of a file.
    pub async fn record(&self, file: InodeNumber) -> Result<Option<ObjectRecord>, FsError> {
        let value = self.map.get(&record_key(file)).await?;
        let record = value.map(|value| ObjectRecord::decode(&value.payload)).transpose();
        Ok(record.map_err(ShareError::from)?)
    }

    /// Runs of equal parts that an object was made of.
    pub async fn part_runs(&self, file: InodeNumber) -> Result<Vec<(u32, u64)>, FsError> {
        let Some(value) = self.map.get(&sizes_key(file)).await? else { return Ok(Vec::new()) };
        Ok(tidegate_replicator::map::decode_part_sizes(&value.payload).map_err(ShareError::from)?)
    }

    /// The checksums of the parts that an object was made of, if they are known.
    pub async fn part_checksums(&self, file: InodeNumber) -> Result<Option<PartChecksums>, FsError> {
        let value = self.map.get(&sums_key(file)).await?;
        let sums = value.map(|value| PartChecksums::decode(&value.payload)).transpose();
        Ok(sums.map_err(ShareError::from)?)
    }

    /// The file of a name with what S3 knows of it. A name that is being given to another file leads, for a moment, to
    /// one that goes or to one that is not whole yet: it is looked at again.
    pub async fn named(&self, directory: InodeNumber, name: &[u8]) -> Result<Option<Held>, FsError> {
        for _ in 0..LOOKS_MAX {
            let Some(entry) = self.entry(directory, name).await? else { return Ok(None) };
            match self.held(entry.inode).await {
                Ok(held) if held.node.inode.links > 0 => return Ok(Some(held)),
                Ok(_) | Err(FsError::Stale) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
        Err(FsError::TryLater)
    }

    /// A file with what S3 knows of it.
    pub async fn held(&self, file: InodeNumber) -> Result<Held, FsError> {
        Ok(Held { node: self.node(file).await?, record: self.record(file).await? })
    }
}

impl Reader<'_> {
    /// Files with what S3 knows of them, read together; none for one that is not there.
    pub async fn held_many(
        &self,
        files: impl Iterator<Item = InodeNumber>,
    ) -> Result<Vec<Option<Held>>, FsError> {
        let keys: Vec<Key> = files.flat_map(|file| [Key::Attributes(file), record_key(file)]).collect();
        let values = self.map.get_many(&keys).await?;
        let mut found = Vec::with_capacity(keys.len() / 2);
        for (keys, values) in keys.chunks_exact(2).zip(values.chunks_exact(2)) {
            let [Some(attributes), record] = values else {
                found.push(None);
                continue;
            };
            let inode = Inode::decode(&attributes.payload).map_err(ShareError::from)?;
            let record = record.as_ref().map(|record| ObjectRecord::decode(&record.payload)).transpose();
            let node = Node { number: keys[0].inode(), inode };
            found.push(Some(Held { node, record: record.map_err(ShareError::from)? }));
        }
        Ok(found)
    }
}

impl Namespace {
    /// Makes a regular file without a name. Durable no sooner than it gets one.
    pub async fn make_unnamed(&self, owner: &Credentials) -> Result<Unnamed, ObjectError> {
        let number = self.share.numbers().next(self.share.live()).await.map_err(FsError::from)?;
        let _locks = self.share.locks().lock(&[number]).await;
        let inode = Inode { links: 0, ..self.new_inode(Kind::Regular, OBJECT_MODE, owner) };
        let mut transaction = Transaction::default();
        transaction.put_inode(number, &inode);
        transaction.put(&Key::Orphan(number), Vec::new());
        transaction.use_more(0, 1);
        self.share.open_files().open(number);
        let held = OpenFile::counted(self.clone(), number);
        transaction.submit(&self.share, Bytes::new()).await.map_err(FsError::from)?;
        Ok(Unnamed { held, shared: 0, size: 0 })
    }

    /// Adds bytes at the end of a file without a name.
    pub async fn extend(
        &self,
        owner: &Credentials,
        file: &mut Unnamed,
        data: Bytes,
    ) -> Result<(), ObjectError> {
        let count = data.len() as u64;
        if file.size + count > OBJECT_BYTES_MAX {
            return Err(ObjectError::TooLarge { max: OBJECT_BYTES_MAX });
        }
        self.write(owner, file.number(), file.size, data).await?;
        file.size += count;
        Ok(())
    }

    /// Adds a range of another file at the end of one without a name: no byte is copied.
    /// [`ObjectError::Conflict`] when the other file changes meanwhile.
    pub async fn share_from(
        &self,
        source: &Node,
        range: Range<u64>,
        file: &mut Unnamed,
    ) -> Result<(), ObjectError> {
        self.share_while(source, range, file, |now, then| now.change == then.change).await
    }

    /// The same of an object of a bucket of objects, which the caller holds: it may lose its name meanwhile, and other things may be
    /// said of it, but its bytes stay what they are.
    pub async fn share_from_object(
        &self,
        source: &Node,
        range: Range<u64>,
        file: &mut Unnamed,
    ) -> Result<(), ObjectError> {
        let is_same = |now: &Inode, then: &Inode| (now.generation, now.size) == (then.generation, then.size);
        self.share_while(source, range, file, is_same).await
    }

    async fn share_while(
        &self,
        source: &Node,
        range: Range<u64>,
        file: &mut Unnamed,
        is_same: fn(&Inode, &Inode) -> bool,
    ) -> Result<(), ObjectError> {
        let (target, first) = (file.number(), file.size);
        let mut from = range.start;
        while from < range.end {
            let _locks = self.share.locks().lock(&[source.number, target]).await;
            if !is_same(&self.reader().node(source.number).await?.inode, &source.inode) {
                return Err(ObjectError::Conflict);
            }
            let (extents, to) = self.some_extents(source.number, from..range.end).await?;
            let mut transaction = Transaction::default();
            for extent in &extents {
                let (start, end) = (extent.start - range.start + first, extent.end - range.start + first);
                file.shared += end - start;
                transaction.put_extent(target, &Extent { start, end, source: extent.source.clone() });
            }
            let mut inode = self.reader().node(target).await?.inode;
            inode.size = to - range.start + first;
            touch(&mut inode, self.now());
            transaction.put_inode(target, &inode);
            let moves = extents.iter().any(|extent| matches!(extent.source, Source::Journal(_)));
            if moves {
                self.share.moved().note(target);
            }
            transaction.submit(&self.share, Bytes::new()).await.map_err(FsError::from)?;
            if moves {
                self.share.moved().note(target);
            }
            file.size = inode.size;
            from = to;
        }
        Ok(())
    }

    /// The first extents of a range of a file, cut to it, and up to where they are all that there are.
    async fn some_extents(
        &self,
        file: InodeNumber,
        range: Range<u64>,
    ) -> Result<(Vec<Extent>, u64), ObjectError> {
        let keys = kind_range(file, b'e', &(range.start + 1).to_be_bytes());
        let page = self.share.map().scan(keys, EXTENTS_SHARED_MAX).await.map_err(FsError::from)?;
        let (is_all, mut to, mut extents) = (page.len() < EXTENTS_SHARED_MAX, range.end, Vec::new());
        for (key, value) in page {
            let Key::Extent(_, end) = key else { continue };
            let extent =
                Extent::from_value(end, &value).map_err(|error| FsError::from(ShareError::from(error)))?;
            let Some(extent) = extent.slice(&range) else { return Ok((extents, range.end)) };
            to = extent.end;
            extents.push(extent);
        }
        Ok((extents, if is_all { range.end } else { to }))
    }

    /// Gives a file its name, in the place of the file that has it. `describe` sees that file, may refuse, and
    /// says what the object is. Durable when this returns.
    pub async fn put_in_place<F>(
        &self,
        credentials: &Credentials,
        file: &Unnamed,
        place: Place<'_>,
        describe: F,
    ) -> Result<Held, ObjectError>
    where
        F: FnOnce(Option<&Held>) -> Result<Description, ObjectError> + Send,
    {
        let locked = self.lock_name(credentials, place, &[file.number()], None).await?;
        let description = describe(locked.existing.as_ref().map(|(_, held)| held))?;
        let mut transaction = Transaction::default();
        let held = self.name_unnamed(&mut transaction, file, place, &locked, description).await?;
        self.finish_object(locked.locks, transaction).await?;
        Ok(held)
    }

    /// Takes a name away, and with its last name the file. `admit` sees the file and may refuse. `bypass`: the caller may
    /// pass governance.
    pub async fn take_object<F>(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
        bypass: bool,
        admit: F,
    ) -> Result<(), ObjectError>
    where
        F: FnOnce(&Held) -> Result<(), ObjectError> + Send,
    {
        let locked = self.lock_name(credentials, place, &[], None).await?;
        // Versions were switched on since the caller decided to delete.
        if locked.beneath.versioning.is_some() {
            return Err(ObjectError::Conflict);
        }
        let Some((entry, held)) = locked.existing else { return Err(ObjectError::NoSuchKey) };
        if held.node.inode.kind != Kind::Regular {
            return Err(ObjectError::NoSuchKey);
        }
        admit(&held)?;
        self.require_unlocked_unless(&held.node, bypass).await?;
        let mut transaction = Transaction::default();
        let parent = self.take_name(&mut transaction, locked.parent, place.name, &entry);
        transaction.put_inode(place.directory, &parent.inode);
        self.drop_link(&mut transaction, held.node);
        self.finish_object(locked.locks, transaction).await
    }

    /// Changes what S3 knows of a file, whose data stays.
    pub async fn describe_again<F>(&self, file: InodeNumber, change: F) -> Result<Held, ObjectError>
    where
        F: FnOnce(&Held) -> Result<ObjectRecord, ObjectError> + Send,
    {
        let locks = self.share.locks().lock(&[file]).await;
        let mut held = self.reader().held(file).await?;
        if held.node.inode.links == 0 {
            return Err(ObjectError::NoSuchKey);
        }
        let mut record = change(&held)?;
        touch(&mut held.node.inode, self.now());
        record.change = held.node.inode.change;
        held.node.inode.locked |= has_lock(&record);
        let mut transaction = Transaction::default();
        transaction.put_inode(file, &held.node.inode);
        transaction.put(&record_key(file), record.encode());
        held.record = Some(record);
        self.finish_object(locks, transaction).await?;
        Ok(held)
    }

    /// Makes a folder for objects; one that is there is as good. An implicit one goes with the last object in it.
    pub async fn make_folder(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
        record: Option<ObjectRecord>,
    ) -> Result<Node, ObjectError> {
        let number = self.share.numbers().next(self.share.live()).await.map_err(FsError::from)?;
        let locked = self.lock_name(credentials, place, &[number], None).await?;
        if let Some((_, held)) = locked.existing {
            return match held.node.inode.kind {
                Kind::Directory => Ok(held.node),
                _ => Err(FsError::NotDirectory.into()),
            };
        }
        if locked.parent.inode.links >= LINKS_MAX {
            return Err(FsError::TooManyLinks.into());
        }
        let set = SetAttributes { mode: Some(u32::from(FOLDER_MODE)), ..SetAttributes::default() };
        let new = NewFile::new(Kind::Directory, set);
        let context = Context::new(credentials);
        let inode = self.inode_of_new(context, &locked.parent.inode, new, None, place.directory)?;
        let mut transaction = Transaction::default();
        let parent = self.add_name(&mut transaction, locked.parent, place.name, number, inode.kind);
        transaction.put_inode(place.directory, &parent.inode);
        transaction.put_inode(number, &inode);
        if let Some(record) = record {
            transaction.put(&record_key(number), ObjectRecord { change: inode.change, ..record }.encode());
        }
        transaction.use_more(0, 1);
        self.finish_object(locked.locks, transaction).await?;
        Ok(Node { number, inode })
    }

    /// Takes a folder away that is empty and there only for what was in it; whether nothing of that name is there then.
    pub async fn take_implicit_folder(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
    ) -> Result<bool, ObjectError> {
        let locked = self.lock_name(credentials, place, &[], None).await?;
        let Some((entry, held)) = locked.existing else { return Ok(true) };
        let implicit = held.record.as_ref().is_some_and(|record| record.implicit);
        if held.node.inode.kind != Kind::Directory || held.node.inode.entries > 0 || !implicit {
            return Ok(false);
        }
        let mut transaction = Transaction::default();
        let parent = self.take_name(&mut transaction, locked.parent, place.name, &entry);
        transaction.put_inode(place.directory, &parent.inode);
        self.drop_link(&mut transaction, held.node);
        self.finish_object(locked.locks, transaction).await?;
        Ok(true)
    }

    async fn finish_object(
        &self,
        locks: Vec<MutexGuard<'_, ()>>,
        transaction: Transaction,
    ) -> Result<(), ObjectError> {
        let sequence = transaction.submit(&self.share, Bytes::new()).await.map_err(FsError::from)?;
        drop(locks);
        Ok(self.durable(sequence).await?)
    }
}

/// Whether a record says of a lock, be it over or not.
fn has_lock(record: &ObjectRecord) -> bool {
    record.metadata.retention.is_some() || record.metadata.legal_hold
}

/// Takes a file without a name away, as a part of an upload that goes.
fn drop_unnamed(transaction: &mut Transaction, file: InodeNumber, bytes: u64) {
    transaction.delete_range(inode_range(file));
    transaction.use_more(-(bytes as i64), -1);
}

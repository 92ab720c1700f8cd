//! Versions of the keys of a bucket of objects.
//!
//! A key's name leads to its newest version, as long as that is an object. Every other version, and every delete
//! marker, is a record under the key and its order, the newest first ([`Key::Version`]); a version's file counts
//! that record as its one link. So a key without a name whose records begin with a marker is hidden, and one
//! without either is not there.
//!
//! Orders are drawn from the numbers of inodes under the lock of the directory, so they grow with time, and are the
//! names of versions. The version `null` is the one that was written without versions; there is at most one of a key,
//! and where the name does not lead to it [`Key::NullVersion`] says its order, so that nobody searches for it.
//!
//! So the records of a key are older than what its name leads to, and of a key without a name the first is a marker.
//!
//! Everything here happens in one transaction under the lock of the directory: a crash leaves the key as it was,
//! or as it is then.

use bytes::Bytes;
use tidegate_protocols::objects::{ObjectError, Versioning};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Key, Kind, MapError, VersionRecord, kind_range, versions_range};

use super::naming::Locked;
use super::{Held, Namespace, Place, Reader};
use crate::namespace::Credentials;
use crate::share::{ShareError, Transaction};

/// A version that its key does not lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldVersion {
    /// Where it stands among the versions of its key.
    pub order: u64,
    /// What is known of it.
    pub record: VersionRecord,
}

/// Which version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The version `null`.
    Null,
    /// The one of this order, which is not `null`.
    Order(u64),
}

impl Which {
    fn is(self, version: Which) -> bool {
        self == version
    }
}

impl Held {
    /// Which version it is.
    pub fn which(&self) -> Which {
        match &self.record {
            Some(record) if record.order > 0 && !record.null => Which::Order(record.order),
            Some(_) | None => Which::Null,
        }
    }

    /// Where it stands among the versions of its key; 0 for one that was made before there were any.
    pub fn order(&self) -> u64 {
        self.record.as_ref().map_or(0, |record| record.order)
    }
}

impl HeldVersion {
    /// Which version it is.
    pub fn which(&self) -> Which {
        if self.record.null || self.order == 0 { Which::Null } else { Which::Order(self.order) }
    }
}

/// What stands beneath the name of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Beneath {
    /// None in a bucket that never had versions, and in a share: then there is nothing.
    pub(super) versioning: Option<Versioning>,
    /// The newest two versions.
    newest: Vec<HeldVersion>,
    /// The version `null`.
    null: Option<HeldVersion>,
    /// The one that was asked for.
    chosen: Option<HeldVersion>,
}

impl Beneath {
    /// The files of versions that may go.
    pub(super) fn files(&self) -> impl Iterator<Item = InodeNumber> + '_ {
        self.null.iter().chain(&self.chosen).filter_map(|version| version.record.inode)
    }
}

/// What a new version of a key is to be.
pub(super) struct Pushed {
    /// Its order; 0 without versions.
    pub(super) order: u64,
    /// Whether it is the version `null`.
    pub(super) null: bool,
    /// Whether what the name led to stays.
    pub(super) keeps: bool,
}

/// Which version of a key goes for ever, and on which terms.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    /// Which.
    pub which: Which,
    /// Whether the caller may pass governance.
    pub bypass: bool,
    /// Whether it stays if it is what the key leads to.
    pub only_beneath: bool,
    /// It stays unless so many versions and markers of its key are newer, without the newest.
    pub newer_needed: u32,
}

/// What a deletion finds.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// An object, or a version that is one.
    Object(&'a Held),
    /// A delete marker.
    Marker(&'a VersionRecord),
    /// Nothing.
    Nothing,
}

/// What a deletion did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The marker that was made, or the version that went.
    pub which: Which,
    /// Whether it is a marker.
    pub marker: bool,
}

fn damaged(error: MapError) -> FsError {
    ShareError::from(error).into()
}

impl Reader<'_> {
    /// Versions of a key that its name does not lead to, from the newest on: up to `limit` that are older than
    /// `after`.
    pub async fn versions_of(
        &self,
        key: &[u8],
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<HeldVersion>, FsError> {
        let found = self.map.scan(versions_range(key, after), limit).await?;
        let version = |(key, value): (Key, tidegate_replicator::tree::Value)| match key {
            Key::Version(_, order) => {
                let record = VersionRecord::decode(&value.payload).map_err(damaged);
                Some(record.map(|record| HeldVersion { order, record }))
            }
            _ => None,
        };
        found.into_iter().filter_map(version).collect()
    }

    /// Versions of all keys from a place on, by key and then from the newest: up to `limit`. `from` is a key,
    /// and with a NUL and an order, inverted, the place of one version.
    pub async fn versions_from(
        &self,
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, HeldVersion)>, FsError> {
        let mut versions = Vec::new();
        for (key, value) in self.map.scan(kind_range(InodeNumber::SHARE, b'v', from), limit).await? {
            let Key::Version(key, order) = key else { continue };
            let record = VersionRecord::decode(&value.payload).map_err(damaged)?;
            versions.push((key, HeldVersion { order, record }));
        }
        Ok(versions)
    }

    /// A version that its name does not lead to.
    pub async fn version(&self, key: &[u8], which: Which) -> Result<Option<HeldVersion>, FsError> {
        let key = Bytes::copy_from_slice(key);
        let order = match which {
            Which::Order(order) => order,
            Which::Null => {
                let Some(value) = self.map.get(&Key::NullVersion(key.clone())).await? else {
                    return Ok(None);
                };
                let order = <[u8; 8]>::try_from(&value.payload[..]).map(u64::from_be_bytes);
                let why = "its order is not eight bytes";
                order.map_err(|_| damaged(MapError { what: "a null version", why }))?
            }
        };
        let Some(value) = self.map.get(&Key::Version(key, order)).await? else { return Ok(None) };
        let record = VersionRecord::decode(&value.payload).map_err(damaged)?;
        Ok(Some(HeldVersion { order, record }).filter(|found| found.which().is(which)))
    }

    /// What stands beneath a name.
    pub(super) async fn beneath(&self, place: Place<'_>, chosen: Option<Which>) -> Result<Beneath, FsError> {
        let versioning = if place.flat { self.versioning().await? } else { None };
        if versioning.is_none() {
            return Ok(Beneath::default());
        }
        let chosen = match chosen {
            Some(which) => self.version(place.name, which).await?,
            None => None,
        };
        Ok(Beneath {
            versioning,
            newest: self.versions_of(place.name, None, 2).await?,
            null: self.version(place.name, Which::Null).await?,
            chosen,
        })
    }
}

impl Namespace {
    /// Puts into a transaction what becomes of the versions of a key when a new one is made.
    pub(super) async fn push_version(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        locked: &Locked<'_>,
    ) -> Result<Pushed, ObjectError> {
        let Some(versioning) = locked.beneath.versioning else {
            return Ok(Pushed { order: 0, null: false, keeps: false });
        };
        let order = self.share.numbers().next(self.share.live()).await.map_err(FsError::from)?.0;
        let (key, null) = (Bytes::copy_from_slice(place.name), versioning == Versioning::Suspended);
        let mut keeps = false;
        if let Some((_, held)) = &locked.existing {
            let is_null = held.which() == Which::Null;
            keeps = !(null && is_null);
            if keeps {
                let record = VersionRecord {
                    inode: Some(held.node.number),
                    null: is_null,
                    made: held.node.inode.times.modified,
                    replaced: self.now(),
                };
                put_version(transaction, &key, HeldVersion { order: held.order(), record });
            }
        } else if let Some(marker) = locked.beneath.newest.first() {
            let record = VersionRecord { replaced: self.now(), ..marker.record };
            put_version(transaction, &key, HeldVersion { record, ..*marker });
        }
        if let Some(old) = locked.beneath.null.filter(|_| null) {
            self.drop_version(transaction, &key, &old, false).await?;
        }
        Ok(Pushed { order, null, keeps })
    }

    /// Takes a version away with its file.
    async fn drop_version(
        &self,
        transaction: &mut Transaction,
        key: &Bytes,
        version: &HeldVersion,
        bypass: bool,
    ) -> Result<(), ObjectError> {
        take_version(transaction, key, version);
        match version.record.inode {
            Some(file) => {
                let node = self.reader().node(file).await?;
                self.require_unlocked_unless(&node, bypass).await?;
                self.drop_link(transaction, node);
            }
            // A marker counts as a file does, so that a quota bounds them too.
            None => transaction.use_more(0, -1),
        }
        Ok(())
    }

    /// Hides a key of a bucket that keeps versions behind a delete marker. `admit` sees what is there, and may refuse.
    pub async fn hide_object<F>(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
        admit: F,
    ) -> Result<Removed, ObjectError>
    where
        F: FnOnce(Found<'_>) -> Result<(), ObjectError> + Send,
    {
        let locked = self.lock_name(credentials, place, &[], None).await?;
        admit(match (&locked.existing, locked.beneath.newest.first()) {
            (Some((_, held)), _) => Found::Object(held),
            (None, Some(marker)) => Found::Marker(&marker.record),
            (None, None) => Found::Nothing,
        })?;
        if locked.beneath.versioning.is_none() {
            return Err(ObjectError::Conflict);
        }
        let mut transaction = Transaction::default();
        let pushed = self.push_version(&mut transaction, place, &locked).await?;
        if let Some((entry, held)) = locked.existing {
            let parent = self.take_name(&mut transaction, locked.parent, place.name, &entry);
            transaction.put_inode(place.directory, &parent.inode);
            if !pushed.keeps {
                self.require_unlocked(&held.node).await?;
                self.drop_link(&mut transaction, held.node);
            }
        }
        let now = self.now();
        let record = VersionRecord { inode: None, null: pushed.null, made: now, replaced: now };
        let marker = HeldVersion { order: pushed.order, record };
        put_version(&mut transaction, &Bytes::copy_from_slice(place.name), marker);
        transaction.use_more(0, 1);
        self.finish_object(locked.locks, transaction).await?;
        Ok(Removed { which: marker.which(), marker: true })
    }

    /// Takes one version of a key away for ever; the name then leads to the next. None when it was not there.
    /// `admit` sees it, and may refuse.
    pub async fn remove_version<F>(
        &self,
        credentials: &Credentials,
        place: Place<'_>,
        how: Removal,
        admit: F,
    ) -> Result<Option<Removed>, ObjectError>
    where
        F: FnOnce(Found<'_>) -> Result<(), ObjectError> + Send,
    {
        let locked = self.lock_name(credentials, place, &[], Some(how.which)).await?;
        let (mut transaction, bypass) = (Transaction::default(), how.bypass);
        let leads = locked.existing.as_ref().is_some_and(|(_, held)| held.which().is(how.which));
        let removed = if leads {
            if how.only_beneath {
                return Ok(None);
            }
            self.remove_newest(&mut transaction, place, &locked, bypass, admit).await?
        } else {
            let Some(chosen) = locked.beneath.chosen else { return Ok(None) };
            if !self.has_newer(place, &locked, chosen.order, how.newer_needed).await? {
                return Ok(None);
            }
            self.remove_beneath(&mut transaction, place, &locked, (chosen, bypass), admit).await?
        };
        self.finish_object(locked.locks, transaction).await?;
        Ok(Some(removed))
    }

    /// Whether so many versions and markers of a key are newer than one, without the newest.
    async fn has_newer(
        &self,
        place: Place<'_>,
        locked: &Locked<'_>,
        order: u64,
        wanted: u32,
    ) -> Result<bool, FsError> {
        if wanted == 0 {
            return Ok(true);
        }
        // Where the name leads nowhere, the newest is a marker among them.
        let wanted = wanted as usize + usize::from(locked.existing.is_none());
        let newest = self.reader().versions_of(place.name, None, wanted).await?;
        Ok(newest.iter().filter(|version| version.order > order).count() >= wanted)
    }

    /// Takes the version away that the name leads to.
    async fn remove_newest<F>(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        locked: &Locked<'_>,
        bypass: bool,
        admit: F,
    ) -> Result<Removed, ObjectError>
    where
        F: FnOnce(Found<'_>) -> Result<(), ObjectError> + Send,
    {
        let Some((entry, held)) = &locked.existing else { return Err(ObjectError::NoSuchVersion) };
        admit(Found::Object(held))?;
        self.require_unlocked_unless(&held.node, bypass).await?;
        let mut parent = locked.parent.clone();
        let next = locked.beneath.newest.first();
        match next.and_then(|next| Some((next, next.record.inode?))) {
            Some((next, file)) => {
                take_version(transaction, &Bytes::copy_from_slice(place.name), next);
                self.lead_elsewhere(transaction, &mut parent, place, entry, file);
            }
            None => parent = self.take_name(transaction, parent, place.name, entry),
        }
        transaction.put_inode(place.directory, &parent.inode);
        self.drop_link(transaction, held.node.clone());
        Ok(Removed { which: held.which(), marker: false })
    }

    /// Takes a version away that the name does not lead to.
    async fn remove_beneath<F>(
        &self,
        transaction: &mut Transaction,
        place: Place<'_>,
        locked: &Locked<'_>,
        (chosen, bypass): (HeldVersion, bool),
        admit: F,
    ) -> Result<Removed, ObjectError>
    where
        F: FnOnce(Found<'_>) -> Result<(), ObjectError> + Send,
    {
        match chosen.record.inode {
            Some(file) => admit(Found::Object(&self.reader().held(file).await?))?,
            None => admit(Found::Marker(&chosen.record))?,
        }
        let key = Bytes::copy_from_slice(place.name);
        self.drop_version(transaction, &key, &chosen, bypass).await?;
        let newest = &locked.beneath.newest;
        let was_first = newest.first().is_some_and(|first| first.order == chosen.order);
        let next = newest.get(1).filter(|_| was_first && locked.existing.is_none());
        if let Some((next, file)) = next.and_then(|next| Some((next, next.record.inode?))) {
            take_version(transaction, &key, next);
            let parent = self.add_name(transaction, locked.parent.clone(), place.name, file, Kind::Regular);
            transaction.put_inode(place.directory, &parent.inode);
        }
        Ok(Removed { which: chosen.which(), marker: chosen.record.inode.is_none() })
    }
}

/// Records a version that its key does not lead to.
fn put_version(transaction: &mut Transaction, key: &Bytes, version: HeldVersion) {
    transaction.put(&Key::Version(key.clone(), version.order), version.record.encode());
    if version.record.null {
        transaction.put(&Key::NullVersion(key.clone()), version.order.to_be_bytes().to_vec());
    }
}

/// Takes the record of a version away; its file stays.
fn take_version(transaction: &mut Transaction, key: &Bytes, version: &HeldVersion) {
    transaction.delete(&Key::Version(key.clone(), version.order));
    if version.record.null {
        transaction.delete(&Key::NullVersion(key.clone()));
    }
}

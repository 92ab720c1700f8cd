//! Deleting objects and versions, and tagging them.
//!
//! In a bucket that keeps versions a deletion hides: it makes a delete marker, and takes nothing away. With a version
//! it takes that one away for ever, unless it is locked. In a share a deletion removes the file, and the
//! directories that were there only for it.

use tidegate_protocols::objects::{
    Changed, Conditions, Deletion, Doomed, ObjectError, ObjectInfo, ObjectName, Tags, VersionId, Who,
};
use tidegate_replicator::map::{InodeNumber, ObjectRecord};

use super::{Access, Objects, describe, path};
use crate::namespace::objects::{Found, Held, Place, Removal};
use crate::namespace::{EXECUTE, WRITE};

impl Objects {
    pub(super) async fn delete_object(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        conditions: &Conditions,
        bypass: bool,
    ) -> Result<Deletion, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        let place = Place { directory: InodeNumber::ROOT, name: name.key.as_bytes(), flat: true };
        let deletion = match version {
            Some(version) if access.keeps_versions() => {
                access.remove_version(place, version, conditions, bypass).await?
            }
            Some(version) if version.as_str() != VersionId::NULL => {
                describe::which(version)?;
                // In a bucket without versions there is no other, and it has been deleted already.
                return Ok(Deletion::default());
            }
            None if access.keeps_versions() => access.hide(place, conditions).await?,
            Some(_) | None => access.delete(&name.key, conditions, bypass).await?,
        };
        let in_repository = self.published(&access).await?;
        Ok(Deletion { in_repository, ..deletion })
    }

    pub(super) async fn tag_object(
        &self,
        who: &Who,
        name: &ObjectName,
        version: Option<&VersionId>,
        tags: Tags,
    ) -> Result<Changed, ObjectError> {
        let access = self.access_to_change(who, &name.bucket).await?;
        let change = |record: &mut ObjectRecord| {
            record.metadata.tags = tags;
            Ok(())
        };
        let info = access.describe_again(&name.key, version, change).await?;
        let in_repository = self.published(&access).await?;
        Ok(Changed { version: info.version, in_repository })
    }
}

impl Access {
    /// Deletes what a key leads to, where there are no versions.
    async fn delete(
        &self,
        key: &str,
        conditions: &Conditions,
        bypass: bool,
    ) -> Result<Deletion, ObjectError> {
        let result = if self.bucket.flat {
            let place = Place { directory: InodeNumber::ROOT, name: key.as_bytes(), flat: true };
            self.take(place, conditions, bypass).await
        } else {
            self.delete_path(key, conditions, bypass).await
        };
        match result {
            // Deleting what is not there has been done already, whatever the conditions are.
            Err(ObjectError::NoSuchKey) => Ok(Deletion::default()),
            result => result.map(|()| Deletion::default()),
        }
    }

    /// Deletes what a key leads to if `is_it` lets it: for the gateway's own housekeeping.
    pub(super) async fn expire<F>(&self, key: &str, is_it: F) -> Result<(), ObjectError>
    where
        F: Fn(&Held) -> Result<(), ObjectError> + Send + Sync,
    {
        let (namespace, credentials) = (self.namespace(), &self.credentials);
        if self.bucket.flat {
            let place = Place { directory: InodeNumber::ROOT, name: key.as_bytes(), flat: true };
            if self.keeps_versions() {
                let admit = |found: Found<'_>| match found {
                    Found::Object(held) => is_it(held),
                    Found::Marker(_) | Found::Nothing => Err(ObjectError::NoSuchKey),
                };
                return namespace.hide_object(credentials, place, admit).await.map(drop);
            }
            return namespace.take_object(credentials, place, false, is_it).await;
        }
        let Ok(path) = path::parse(key) else { return Err(ObjectError::NoSuchKey) };
        // A folder that is a key holds nothing that could grow old.
        if path.is_folder {
            return Err(ObjectError::NoSuchKey);
        }
        let folder = self.folder(&path.folders).await?;
        let place = Place { directory: folder.number, name: path.name, flat: false };
        namespace.take_object(credentials, place, false, is_it).await?;
        self.prune(&path.folders).await;
        Ok(())
    }

    async fn hide(&self, place: Place<'_>, conditions: &Conditions) -> Result<Deletion, ObjectError> {
        let admit = |found: Found<'_>| self.check_deletion(found, conditions);
        match self.namespace().hide_object(&self.credentials, place, admit).await {
            Ok(hidden) => {
                let version = Some(describe::version_id(hidden.which));
                Ok(Deletion { marker: true, version, ..Deletion::default() })
            }
            // What was to be of some kind, and never was, needs no marker.
            Err(ObjectError::NoSuchKey) => Ok(Deletion::default()),
            Err(error) => Err(error),
        }
    }

    async fn remove_version(
        &self,
        place: Place<'_>,
        version: &VersionId,
        conditions: &Conditions,
        bypass: bool,
    ) -> Result<Deletion, ObjectError> {
        let which = describe::which(version)?;
        let admit = |found: Found<'_>| self.check_deletion(found, conditions);
        let how = Removal { which, bypass, only_beneath: false, newer_needed: 0 };
        let removed = self.namespace().remove_version(&self.credentials, place, how, admit).await?;
        let marker = removed.is_some_and(|removed| removed.marker);
        Ok(Deletion { marker, version: Some(version.clone()), ..Deletion::default() })
    }

    async fn take(&self, place: Place<'_>, conditions: &Conditions, bypass: bool) -> Result<(), ObjectError> {
        let admit = |held: &Held| self.check_deletion(Found::Object(held), conditions);
        self.namespace().take_object(&self.credentials, place, bypass, admit).await
    }

    fn check_deletion(&self, found: Found<'_>, conditions: &Conditions) -> Result<(), ObjectError> {
        match found {
            Found::Object(held) => {
                let info = describe::info(held, self.bucket.flat, &[]);
                conditions.check_delete(Doomed::Object(&info))
            }
            Found::Marker(marker) => conditions.check_delete(Doomed::Marker(describe::time(marker.made))),
            Found::Nothing => conditions.check_delete(Doomed::Nothing),
        }
    }

    async fn delete_path(&self, key: &str, conditions: &Conditions, bypass: bool) -> Result<(), ObjectError> {
        let Ok(path) = path::parse(key) else { return Err(ObjectError::NoSuchKey) };
        let folder = self.folder(&path.folders).await?;
        if path.is_folder {
            let held = self.held(key).await?;
            self.credentials.require(&folder.inode, WRITE | EXECUTE)?;
            self.credentials.require_sticky(&folder.inode, &held.node.inode)?;
            let implicit = |held: &Held| {
                let is_there = held.is_object();
                self.check_deletion(if is_there { Found::Object(held) } else { Found::Nothing }, conditions)?;
                Ok(ObjectRecord { implicit: true, ..held.record.clone().unwrap_or_default() })
            };
            self.namespace().describe_again(held.node.number, implicit).await?;
            let mut folders = path.folders.clone();
            folders.push(path.name);
            self.prune(&folders).await;
            return Ok(());
        }
        let place = Place { directory: folder.number, name: path.name, flat: false };
        self.take(place, conditions, bypass).await?;
        self.prune(&path.folders).await;
        Ok(())
    }

    /// Takes away directories that were there only for what was in them, from the innermost on.
    pub(super) async fn prune(&self, folders: &[&[u8]]) {
        for depth in (1..=folders.len()).rev() {
            let parent = match self.folder(&folders[..depth - 1]).await {
                Ok(parent) => parent,
                // What was to be made in it came to nothing before that was made.
                Err(ObjectError::NoSuchKey) => continue,
                Err(_) => return,
            };
            let place = Place { directory: parent.number, name: folders[depth - 1], flat: false };
            match self.namespace().take_implicit_folder(&self.credentials, place).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Changes what S3 knows of an object, or of a version of it, whose data stays; gives what is known then.
    pub(super) async fn describe_again<F>(
        &self,
        key: &str,
        version: Option<&VersionId>,
        change: F,
    ) -> Result<ObjectInfo, ObjectError>
    where
        F: FnOnce(&mut ObjectRecord) -> Result<(), ObjectError> + Send,
    {
        let held = self.version_of(key, version).await?;
        if !self.credentials.owns(&held.node.inode) {
            return Err(ObjectError::AccessDenied);
        }
        let flat = self.bucket.flat;
        let described = self.namespace().describe_again(held.node.number, |held: &Held| {
            let mut record = held.record.clone().unwrap_or_default();
            // An ETag that holds goes on holding: the data is as it was.
            if !flat && record.change != held.node.inode.change {
                record.etag.clear();
            }
            change(&mut record)?;
            Ok(record)
        });
        Ok(self.info(&described.await?, &[]))
    }
}

//! Listing versions and delete markers, a page at a time: by key in byte order, and then from the newest on.
//!
//! What keys lead to stands in the directory, everything else in the records of versions; both stand in the order
//! of keys, so a page merges them from where it begins, and costs what it shows. What a delimiter rolls up is jumped
//! over in both.

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_protocols::objects::{
    ObjectError, PAGE_ENTRIES_MAX, VersionEntry, VersionListing, VersionQuery, Who,
};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Entry, InodeNumber, Key, kind_range};

use super::list::past;
use super::{Access, Objects, bounded, describe};
use crate::namespace::objects::{Held, HeldVersion, Which};
use crate::share::{MapRead, ShareError};

/// Records that one look at the map brings.
const SCAN: usize = 256;

impl Objects {
    pub(super) async fn list_versions(
        &self,
        who: &Who,
        bucket: &str,
        query: &VersionQuery,
    ) -> Result<VersionListing, ObjectError> {
        let access = self.access(who, bucket).await?;
        let mut page =
            Page { query, limit: query.limit.min(PAGE_ENTRIES_MAX), listing: VersionListing::default() };
        if query.limit > 0 {
            bounded(access.fill_versions(&mut page)).await?;
        }
        Ok(page.listing)
    }
}

struct Page<'q> {
    query: &'q VersionQuery,
    limit: usize,
    listing: VersionListing,
}

impl Page<'_> {
    /// What a key is rolled up to.
    fn rolled_up<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let from = self.query.prefix.len();
        let at = key.get(from..)?.find(delimiter)?;
        Some(&key[..from + at + delimiter.len()])
    }

    /// Whether there was room.
    fn push(&mut self, entry: VersionEntry) -> bool {
        if self.listing.entries.len() == self.limit {
            self.listing.more = true;
            return false;
        }
        self.listing.entries.push(entry);
        true
    }
}

/// What keys lead to, and the versions beneath, from a place on, each once: of a key the newest first.
///
/// Names and versions are read at different moments, names first: what a name led to and does no more is then among the
/// versions, and comes from there. What has become the newest since the names were read is looked up when the first version of its
/// key comes, which beneath a name is older than what that leads to, and without one is a marker.
pub(super) struct Merge<'a> {
    access: &'a Access,
    names: VecDeque<(Bytes, InodeNumber)>,
    names_from: Option<Vec<u8>>,
    versions: VecDeque<(Bytes, HeldVersion)>,
    versions_from: Option<Vec<u8>>,
    /// Where those begin that have not come yet.
    versions_left: Vec<u8>,
    /// The key of what came last, and its order: what is not older has come already.
    last: Option<(Bytes, u64)>,
}

/// The next of both.
pub(super) enum Next {
    /// What a key leads to.
    Leading(Bytes, Box<Held>),
    /// What it does not lead to.
    Beneath(Bytes, HeldVersion),
}

impl Next {
    pub(super) fn key(&self) -> &Bytes {
        let (Self::Leading(key, _) | Self::Beneath(key, _)) = self;
        key
    }
}

impl<'a> Merge<'a> {
    /// `versions_from` may lie among the versions of a key, as [`after_version`] says: then something newer of it came before.
    pub(super) fn new(access: &'a Access, names_from: Vec<u8>, versions_from: Vec<u8>) -> Self {
        let end = versions_from.iter().position(|byte| *byte == 0);
        let last = end.map(|end| (Bytes::copy_from_slice(&versions_from[..end]), u64::MAX));
        Self {
            access,
            names: VecDeque::new(),
            names_from: Some(names_from),
            versions: VecDeque::new(),
            versions_from: Some(versions_from.clone()),
            versions_left: versions_from,
            last,
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Next>, ObjectError> {
        loop {
            self.fill().await?;
            // A key's own name comes before what is beneath it.
            let name_first = match (self.names.front(), self.versions.front()) {
                (None, None) => return Ok(None),
                (Some((name, _)), Some((key, _))) => name <= key,
                (name, _) => name.is_some(),
            };
            let next = if name_first { self.next_name().await? } else { self.next_version().await? };
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// What the next name leads to. None when it went, or is among the versions by now.
    async fn next_name(&mut self) -> Result<Option<Next>, ObjectError> {
        let Some((name, inode)) = self.names.pop_front() else { return Ok(None) };
        let held = self.access.held_under(InodeNumber::ROOT, &name, inode).await?;
        let is_newest = |held: &Held| match self.versions.front() {
            Some((key, newest)) => *key != name || newest.order < held.order(),
            None => true,
        };
        Ok(held.filter(is_newest).map(|held| self.lead(name, held)))
    }

    /// The next version, or before it what its key leads to since. None when it came already.
    async fn next_version(&mut self) -> Result<Option<Next>, ObjectError> {
        let Some((key, version)) = self.versions.front().cloned() else { return Ok(None) };
        let before = self.last.as_ref().filter(|(last, _)| *last == key).map(|(_, order)| *order);
        if before.is_none() && version.record.inode.is_some() {
            let led_to = self.access.reader().named(InodeNumber::ROOT, &key).await?;
            if let Some(held) = led_to.filter(|held| held.order() > version.order) {
                return Ok(Some(self.lead(key, held)));
            }
        }
        self.versions.pop_front();
        self.versions_left = after_version(&key, version.order);
        if before.is_some_and(|before| version.order >= before) {
            return Ok(None);
        }
        self.last = Some((key.clone(), version.order));
        Ok(Some(Next::Beneath(key, version)))
    }

    fn lead(&mut self, key: Bytes, held: Held) -> Next {
        self.last = Some((key.clone(), held.order()));
        Next::Leading(key, Box::new(held))
    }

    async fn fill(&mut self) -> Result<(), ObjectError> {
        if self.names.is_empty()
            && let Some(from) = self.names_from.take()
        {
            let keys = kind_range(InodeNumber::ROOT, b'd', &from);
            let found =
                self.access.namespace().share().map().scan(keys, SCAN).await.map_err(FsError::from)?;
            let full = found.len() == SCAN;
            for (key, value) in found {
                let Key::Entry(_, name) = key else { continue };
                let entry =
                    Entry::decode(&value.payload).map_err(|error| FsError::from(ShareError::from(error)))?;
                self.names_from = full.then(|| [&name[..], &[0]].concat());
                self.names.push_back((name, entry.inode));
            }
            // What was read of versions is older than these names; all of it that comes before them has come.
            self.versions.clear();
            self.versions_from = Some(self.versions_left.clone().max(from));
        }
        if self.versions.is_empty()
            && let Some(from) = self.versions_from.take()
        {
            let found = self.access.reader().versions_from(&from, SCAN).await?;
            let full = found.len() == SCAN;
            self.versions_from =
                found.last().filter(|_| full).map(|(key, version)| after_version(key, version.order));
            self.versions.extend(found);
        }
        Ok(())
    }
}

/// Where the versions begin that are older than one.
fn after_version(key: &[u8], order: u64) -> Vec<u8> {
    [key, &[0], &(!order).to_be_bytes(), &[0]].concat()
}

impl Access {
    async fn fill_versions(&self, page: &mut Page<'_>) -> Result<(), ObjectError> {
        if !self.bucket.flat {
            return self.fill_from_share(page).await;
        }
        let (names_from, versions_from) = self.first(page.query).await?;
        let mut merge = Merge::new(self, names_from, versions_from);
        // The key of which something newer was passed already.
        let mut passed: Option<Bytes> = page
            .query
            .after_version
            .as_ref()
            .and(page.query.after_key.as_ref())
            .map(|key| key.clone().into());
        while let Some(next) = merge.next().await? {
            let key = next.key().clone();
            // Keys come from requests, which are UTF-8.
            let Ok(text) = std::str::from_utf8(&key) else { continue };
            if !text.starts_with(&page.query.prefix) {
                if text > page.query.prefix.as_str() {
                    return Ok(());
                }
                continue;
            }
            if let Some(prefix) = page.rolled_up(text).map(str::to_owned) {
                let seen = page.query.after_key.as_ref().is_some_and(|after| prefix <= *after);
                if !seen && !page.push(VersionEntry::Prefix(prefix.clone())) {
                    return Ok(());
                }
                let beyond = past(&prefix);
                merge = Merge::new(self, beyond.clone(), beyond);
                continue;
            }
            let latest = passed.as_ref() != Some(&key);
            let Some(entry) = self.version_entry(text, next, latest).await? else { continue };
            passed = Some(key.clone());
            if !page.push(entry) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// None for what went meanwhile.
    async fn version_entry(
        &self,
        key: &str,
        next: Next,
        latest: bool,
    ) -> Result<Option<VersionEntry>, ObjectError> {
        let object = |held: &Held| VersionEntry::Object {
            key: key.to_owned(),
            version: describe::version_id(held.which()),
            latest,
            info: Box::new(describe::listed(held, self.bucket.flat)),
        };
        Ok(match next {
            Next::Leading(_, held) => Some(object(&held)),
            Next::Beneath(_, version) => match version.record.inode {
                Some(file) => match self.reader().held(file).await {
                    Ok(held) => Some(object(&held)),
                    Err(FsError::Stale) => None,
                    Err(error) => return Err(error.into()),
                },
                None => Some(VersionEntry::Marker {
                    key: key.to_owned(),
                    version: describe::version_id(version.which()),
                    latest,
                    modified: describe::time(version.record.made),
                }),
            },
        })
    }

    /// Where a page begins among the names and among the versions.
    async fn first(&self, query: &VersionQuery) -> Result<(Vec<u8>, Vec<u8>), ObjectError> {
        let prefix = query.prefix.as_bytes().to_vec();
        let Some(key) = query.after_key.as_deref() else { return Ok((prefix.clone(), prefix)) };
        let bytes = key.as_bytes();
        let names = [bytes, &[0]].concat();
        // Versions of longer keys stand behind those of this one: no key holds a zero byte.
        let mut versions = [bytes, &[1]].concat();
        if let Some(version) = &query.after_version {
            let which = describe::which(version)?;
            let leading = match self.held(key).await {
                Ok(held) => held.which() == which,
                Err(ObjectError::NoSuchKey) => false,
                Err(error) => return Err(error),
            };
            // Also when the version has gone meanwhile: what is older follows.
            versions = match which {
                _ if leading => [bytes, &[0]].concat(),
                Which::Order(order) => after_version(bytes, order),
                Which::Null => match self.reader().version(bytes, which).await? {
                    Some(found) => after_version(bytes, found.order),
                    None => [bytes, &[0]].concat(),
                },
            };
        }
        Ok((names.max(prefix.clone()), versions.max(prefix)))
    }

    /// A share has no versions: each key is the one version `null` of itself.
    async fn fill_from_share(&self, page: &mut Page<'_>) -> Result<(), ObjectError> {
        use tidegate_protocols::objects::{ListEntry, ListQuery};
        let query = ListQuery {
            prefix: page.query.prefix.clone(),
            delimiter: page.query.delimiter.clone(),
            after: page.query.after_key.clone(),
            limit: page.limit,
        };
        let listing = self.list_page(&query).await?;
        page.listing.more = listing.more;
        page.listing.entries = listing
            .entries
            .into_iter()
            .map(|entry| match entry {
                ListEntry::Prefix(prefix) => VersionEntry::Prefix(prefix),
                ListEntry::Object { key, info } => VersionEntry::Object {
                    key,
                    version: describe::version_id(Which::Null),
                    latest: true,
                    info,
                },
            })
            .collect();
        Ok(())
    }
}

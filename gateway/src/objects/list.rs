//! Listing keys, a page at a time, in byte order.
//!
//! A page costs what it shows, not what the bucket holds: a bucket of objects is read from where the page begins,
//! and what a delimiter rolls up is jumped over; a share is walked ([`super::tree`]).

use bytes::Bytes;
use tidegate_protocols::objects::{
    ListEntry, ListQuery, Listing, ObjectError, ObjectInfo, PAGE_ENTRIES_MAX, Who,
};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Entry, InodeNumber, Key, kind_range};
use tidegate_replicator::tree::Value;

use super::tree::{Step, Walk};
use super::{Access, Objects, bounded, describe};
use crate::namespace::objects::Held;
use crate::share::{MapRead, ShareError};

/// Keys that one look at the map brings: few after a jump, then ever more.
const SCAN_FIRST: usize = 8;
const SCAN_MAX: usize = 512;

impl Objects {
    pub(super) async fn list_objects(
        &self,
        who: &Who,
        bucket: &str,
        query: &ListQuery,
    ) -> Result<Listing, ObjectError> {
        let access = self.access(who, bucket).await?;
        bounded(access.list_page(query)).await
    }
}

/// A page that is being filled.
pub(super) struct Page<'q> {
    pub(super) query: &'q ListQuery,
    limit: usize,
    /// What is said of each object.
    describe: Describe,
    listing: Listing,
}

/// From a file, and whether its bucket is one of objects, to what a list says of it.
type Describe = fn(&Held, bool) -> ObjectInfo;

/// What to do after a key was offered to a page.
enum Offered {
    /// It stands in the page, or has no place there.
    Taken,
    /// It was rolled up: the next key of interest does not begin with this.
    RolledUp(String),
    /// The page is full; the key comes on the next one.
    Full,
}

/// How far a look at names went.
enum Scanned {
    /// The page is full, or nothing more begins as it asks for.
    Full,
    /// To a name that is rolled up to this.
    Jump(String),
    /// To its last name.
    Through(Bytes),
}

impl<'q> Page<'q> {
    fn new(query: &'q ListQuery, describe: Describe) -> Self {
        Self { query, limit: query.limit.min(PAGE_ENTRIES_MAX), describe, listing: Listing::default() }
    }

    /// What a key is rolled up to.
    fn rolled_up<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let from = self.query.prefix.len();
        let at = key.get(from..)?.find(delimiter)?;
        Some(&key[..from + at + delimiter.len()])
    }

    fn is_after(&self, name: &str) -> bool {
        self.query.after.as_deref().is_none_or(|after| name > after)
    }

    /// How many entries more it takes.
    fn room(&self) -> usize {
        self.limit - self.listing.entries.len()
    }

    fn push(&mut self, entry: ListEntry) -> bool {
        if self.listing.entries.len() == self.limit {
            self.listing.more = true;
            return false;
        }
        self.listing.entries.push(entry);
        true
    }

    /// Rolls a key up, if it is to be.
    fn offer_prefix(&mut self, key: &str) -> Option<Offered> {
        let prefix = self.rolled_up(key)?.to_owned();
        let shown = !self.is_after(&prefix) || self.push(ListEntry::Prefix(prefix.clone()));
        Some(if shown { Offered::RolledUp(prefix) } else { Offered::Full })
    }

    fn offer_object(&mut self, key: String, held: &Held, flat: bool) -> Offered {
        if !self.is_after(&key) {
            return Offered::Taken;
        }
        let info = Box::new((self.describe)(held, flat));
        if self.push(ListEntry::Object { key, info }) { Offered::Taken } else { Offered::Full }
    }
}

impl Access {
    /// A page of a list for a client, without what clients said of the objects.
    pub(super) async fn list_page(&self, query: &ListQuery) -> Result<Listing, ObjectError> {
        self.list_described(query, describe::listed).await
    }

    /// The same with tags, which lifecycle rules ask for.
    pub(super) async fn list_page_with_tags(&self, query: &ListQuery) -> Result<Listing, ObjectError> {
        self.list_described(query, describe::tagged).await
    }

    async fn list_described(&self, query: &ListQuery, describe: Describe) -> Result<Listing, ObjectError> {
        let mut page = Page::new(query, describe);
        if query.limit > 0 {
            if self.bucket.flat {
                self.list_flat(&mut page).await?;
            } else {
                self.list_tree(&mut page).await?;
            }
        }
        Ok(page.listing)
    }

    async fn list_flat(&self, page: &mut Page<'_>) -> Result<(), ObjectError> {
        let prefix = page.query.prefix.as_bytes();
        let after = page.query.after.as_deref().map(|after| [after.as_bytes(), &[0]].concat());
        let mut from = after.unwrap_or_default().max(prefix.to_vec());
        let mut wanted = SCAN_FIRST;
        loop {
            let keys = kind_range(InodeNumber::ROOT, b'd', &from);
            let map = self.namespace().share().map();
            let found = map.scan(keys, wanted).await.map_err(FsError::from)?;
            let last = found.len() < wanted;
            wanted = (wanted * 2).min(SCAN_MAX);
            match self.offer_names(page, found).await? {
                Scanned::Full => return Ok(()),
                Scanned::Jump(prefix) => (from, wanted) = (past(&prefix), SCAN_FIRST),
                Scanned::Through(_) if last => return Ok(()),
                Scanned::Through(name) => from = [&name[..], &[0]].concat(),
            }
        }
    }

    /// Offers the names that a look at the directory brought. Files of names in a row are read together.
    async fn offer_names(
        &self,
        page: &mut Page<'_>,
        found: Vec<(Key, Value)>,
    ) -> Result<Scanned, ObjectError> {
        let (mut run, mut through) = (Vec::new(), Bytes::new());
        for (key, value) in found {
            let Key::Entry(_, name) = key else { continue };
            if !name.starts_with(page.query.prefix.as_bytes()) {
                self.offer_run(page, &mut run).await?;
                return Ok(Scanned::Full);
            }
            let entry =
                Entry::decode(&value.payload).map_err(|error| FsError::from(ShareError::from(error)))?;
            through = name.clone();
            // Keys come from requests, which are UTF-8.
            let Ok(key) = String::from_utf8(name.to_vec()) else { continue };
            if page.rolled_up(&key).is_none() {
                run.push((key, entry.inode));
                if run.len() > page.room() && self.offer_run(page, &mut run).await? {
                    return Ok(Scanned::Full);
                }
                continue;
            }
            if self.offer_run(page, &mut run).await? {
                return Ok(Scanned::Full);
            }
            match page.offer_prefix(&key) {
                Some(Offered::RolledUp(prefix)) => return Ok(Scanned::Jump(prefix)),
                Some(Offered::Full) => return Ok(Scanned::Full),
                Some(Offered::Taken) | None => {}
            }
        }
        let full = self.offer_run(page, &mut run).await?;
        Ok(if full { Scanned::Full } else { Scanned::Through(through) })
    }

    /// Offers keys whose files are read together; whether the page is full.
    async fn offer_run(
        &self,
        page: &mut Page<'_>,
        run: &mut Vec<(String, InodeNumber)>,
    ) -> Result<bool, ObjectError> {
        let held = self.reader().held_many(run.iter().map(|(_, inode)| *inode)).await?;
        for ((key, _), held) in run.drain(..).zip(held) {
            let held = match held.filter(|held| held.node.inode.links > 0) {
                Some(held) => Some(held),
                // Replaced or deleted since the look at the names.
                None => self.reader().named(InodeNumber::ROOT, key.as_bytes()).await?,
            };
            if let Some(held) = held
                && matches!(page.offer_object(key, &held, true), Offered::Full)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The file that a name led to a moment ago, or leads to now.
    pub(super) async fn held_under(
        &self,
        directory: InodeNumber,
        name: &[u8],
        inode: InodeNumber,
    ) -> Result<Option<Held>, ObjectError> {
        match self.reader().held(inode).await {
            Ok(held) if held.node.inode.links > 0 => Ok(Some(held)),
            Ok(_) | Err(FsError::Stale) => Ok(self.reader().named(directory, name).await?),
            Err(error) => Err(error.into()),
        }
    }

    async fn list_tree(&self, page: &mut Page<'_>) -> Result<(), ObjectError> {
        let Some(mut walk) = Walk::begin(self, page.query).await? else { return Ok(()) };
        let mut rolled_up: Option<String> = None;
        while let Some(step) = walk.next().await? {
            let key = step.key();
            if rolled_up.as_ref().is_some_and(|prefix| key.starts_with(prefix)) {
                walk.skip();
                continue;
            }
            let offered = match page.offer_prefix(key) {
                Some(offered) => offered,
                None => match step {
                    Step::File { key, held } => page.offer_object(key, &held, false),
                    Step::Folder { key, held, .. } if held.is_object() => {
                        page.offer_object(key, &held, false)
                    }
                    Step::Folder { .. } => Offered::Taken,
                },
            };
            match offered {
                Offered::Taken => {}
                Offered::Full => return Ok(()),
                Offered::RolledUp(prefix) => {
                    walk.skip();
                    rolled_up = Some(prefix);
                }
            }
        }
        Ok(())
    }
}

/// The first key after all that begin so. Text does not end with the highest byte.
pub(super) fn past(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    bytes
}

impl Held {
    /// Whether a directory is a key of its own.
    pub(super) fn is_object(&self) -> bool {
        self.record.as_ref().is_none_or(|record| !record.implicit)
    }
}

//! The rules of the map: entries by name and by cookie agree, links and entries are counted right, a
//! folder knows its parent, extents do not overlap and end within their file, every name leads to an inode
//! and every inode has its names.
//!
//! Rules within one inode are checked while its keys pass, in memory that does not grow: entries by name
//! and by cookie are compared as sums. Rules between inodes are a [`Census`]. Of the newest root of a share
//! every key is read; of each further root only what differs from the one before, and every inode that it
//! concerns.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use futures::{StreamExt, pin_mut};

use super::census::{Census, Sign, bucket, names_of, version_file};
use super::control::KeptRoot;
use super::finding::Finding;
use super::reach::Reached;
use super::run::{CheckError, Run};
use crate::frozen::{DomainReader, Frozen, ReadError};
use crate::map::{Cookie, Entry, Extent, Inode, InodeNumber, Key, Kind, VersionRecord, inode_range};
use crate::tree::{Cursor, TreeError, Value, diff};

/// Buckets of a census that are looked into when names and inodes do not agree.
const BUCKETS_LOOKED_AT_MAX: usize = 64;

/// A rule that an inode breaks.
pub(super) type Broken = (InodeNumber, String);

/// The keys of one inode as they pass.
struct Passing {
    number: InodeNumber,
    inode: Option<Inode>,
    by_name: (u64, u64),
    by_cookie: (u64, u64),
    folders: u32,
    data_end: u64,
    broken: Vec<String>,
}

impl Passing {
    fn new(number: InodeNumber) -> Self {
        let zero = (0, 0);
        Self {
            number,
            inode: None,
            by_name: zero,
            by_cookie: zero,
            folders: 0,
            data_end: 0,
            broken: Vec::new(),
        }
    }

    fn pass(&mut self, key: &Key, value: &Value) {
        if let Err(error) = self.take(key, value) {
            self.breaks(&error.to_string());
        }
    }

    fn take(&mut self, key: &Key, value: &Value) -> Result<(), crate::map::MapError> {
        match key {
            Key::Attributes(_) => self.inode = Some(Inode::decode(&value.payload)?),
            Key::Cookie(_, cookie) => {
                let entry = Cookie::decode(&value.payload)?;
                add(&mut self.by_cookie, &(&entry.name[..], *cookie, entry.inode.0, entry.kind.code()));
                let next = self.inode.as_ref().map_or(u64::MAX, |inode| inode.next_cookie);
                if !(Entry::COOKIE_FIRST..next).contains(cookie) {
                    self.breaks("a cookie in it was never given out");
                }
            }
            Key::Entry(_, name) => {
                let entry = Entry::decode(&value.payload)?;
                add(&mut self.by_name, &(&name[..], entry.cookie, entry.inode.0, entry.kind.code()));
                self.folders += u32::from(entry.kind == Kind::Directory);
            }
            Key::Extent(_, end) => {
                let extent = Extent::from_value(*end, value)?;
                let size = self.inode.as_ref().map_or(u64::MAX, |inode| inode.size);
                if extent.start < self.data_end || extent.end > size {
                    self.breaks("its extents overlap or reach past its size");
                }
                self.data_end = extent.end;
            }
            Key::Version(..) => drop(VersionRecord::decode(&value.payload)?),
            Key::BucketPart(_)
            | Key::ExtendedAttribute(..)
            | Key::NullVersion(_)
            | Key::Orphan(_)
            | Key::Part(..)
            | Key::Upload(..) => {}
        }
        Ok(())
    }

    /// A rule is named once an inode.
    fn breaks(&mut self, rule: &str) {
        if !self.broken.iter().any(|known| known == rule) {
            self.broken.push(rule.to_owned());
        }
    }

    fn finish(mut self) -> Vec<Broken> {
        if self.number != InodeNumber::SHARE {
            match self.inode.take() {
                None => self.breaks("it has no attributes"),
                Some(inode) => self.check(&inode),
            }
        }
        self.broken.into_iter().map(|rule| (self.number, rule)).collect()
    }

    fn check(&mut self, inode: &Inode) {
        if self.by_name != self.by_cookie {
            self.breaks("its entries by name and by cookie do not agree");
        }
        if inode.kind == Kind::Directory {
            if inode.entries != self.by_name.0 {
                self.breaks("it does not have as many entries as it says");
            }
            if u64::from(inode.links) != 2 + u64::from(self.folders) {
                self.breaks("its link count is not that of its folders");
            }
        } else if self.by_name.0 > 0 {
            self.breaks("it has entries and is no folder");
        }
        if inode.kind == Kind::Symlink && inode.size != inode.target.len() as u64 {
            self.breaks("its size is not the length of its target");
        }
        if inode.kind != Kind::Regular && self.data_end > 0 {
            self.breaks("it has data and is no file");
        }
    }
}

/// Adds an entry to a count and a sum that hang on the entries and not on their order.
fn add(sums: &mut (u64, u64), entry: &impl Hash) {
    let mut hasher = DefaultHasher::new();
    entry.hash(&mut hasher);
    *sums = (sums.0 + 1, sums.1.wrapping_add(hasher.finish()));
}

impl Run<'_> {
    /// Holds the maps of all roots against their rules. Roots of which parts are lost are left out: what
    /// is lost has been reported.
    pub(super) async fn invariants(
        &mut self,
        roots: &[KeptRoot],
        reached: &Reached,
    ) -> Result<(), CheckError> {
        let mut before: Option<(&KeptRoot, Census)> = None;
        for (root, _) in roots.iter().zip(&reached.whole).filter(|(_, whole)| **whole) {
            self.checkpoint()?;
            let Ok(reader) = self.reader(root.domain) else { continue };
            let known =
                before.take().filter(|(known, _)| known.share == root.share && known.domain == root.domain);
            let checked = match known {
                Some((known, census)) if known.root.id == root.root.id => Ok((census, Vec::new())),
                Some((known, census)) => self.check_changes(&reader, known, root, census).await,
                None => check_all(&reader.frozen(&root.root)).await,
            };
            match checked {
                Ok((census, broken)) => {
                    self.report_broken(root, broken).await?;
                    let unbalanced = census.unbalanced();
                    if !unbalanced.is_empty() {
                        let broken = find_unbalanced(&reader.frozen(&root.root), &unbalanced).await?;
                        self.report_broken(root, broken).await?;
                    }
                    before = Some((root, census));
                }
                Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => return Err(error.into()),
                // The walk has said so, under this root or another one that shares the node.
                Err(ReadError::Damaged(why)) => {
                    if self.report.is_clean() {
                        let what = format!("its map could not be read to the end: {why}");
                        self.report.add(Finding::damage(root.object.clone(), what).in_share(&root.share));
                    }
                }
            }
            self.observer.advanced(1);
        }
        Ok(())
    }

    async fn report_broken(&mut self, root: &KeptRoot, broken: Vec<Broken>) -> Result<(), CheckError> {
        for (number, rule) in broken {
            let what = format!("inode {}: {rule}", number.0);
            let finding = Finding::damage(root.object.clone(), what);
            self.report_at(finding, root, Some(number)).await?;
        }
        Ok(())
    }

    /// What differs between two roots, and every inode that it concerns.
    async fn check_changes(
        &self,
        reader: &DomainReader,
        known: &KeptRoot,
        root: &KeptRoot,
        mut census: Census,
    ) -> Result<(Census, Vec<Broken>), ReadError> {
        let frozen = reader.frozen(&root.root);
        let changes = diff(&known.root, &root.root, reader.nodes.clone());
        pin_mut!(changes);
        let (mut broken, mut looked_at) = (Vec::new(), None);
        while let Some(change) = changes.next().await {
            let change = change?;
            let key = match Key::decode(&change.key) {
                Ok(key) => key,
                Err(error) => {
                    broken.push((InodeNumber::SHARE, error.to_string()));
                    continue;
                }
            };
            for (value, sign) in [(&change.before, Sign::Minus), (&change.after, Sign::Plus)] {
                if let Some(value) = value {
                    census.count(&key, value, sign);
                }
            }
            // Changes come in order of keys, so those of an inode come together.
            if looked_at != Some(key.inode()) {
                looked_at = Some(key.inode());
                broken.extend(check_inode(&frozen, key.inode()).await?);
            }
        }
        Ok((census, broken))
    }
}

/// Every key of a map.
async fn check_all(frozen: &Frozen) -> Result<(Census, Vec<Broken>), ReadError> {
    let mut cursor = Cursor::new(&frozen.root, frozen.nodes.clone());
    let (mut census, mut broken) = (Census::default(), Vec::new());
    let mut passing: Option<Passing> = None;
    while let Some((key, value)) = cursor.next().await? {
        let key = match Key::decode(&key) {
            Ok(key) => key,
            Err(error) => {
                broken.push((InodeNumber::SHARE, error.to_string()));
                continue;
            }
        };
        census.count(&key, &value, Sign::Plus);
        if passing.as_ref().is_none_or(|passing| passing.number != key.inode()) {
            broken.extend(passing.take().map(Passing::finish).unwrap_or_default());
        }
        passing.get_or_insert_with(|| Passing::new(key.inode())).pass(&key, &value);
        broken.truncate(super::FINDINGS_MAX);
    }
    broken.extend(passing.map(Passing::finish).unwrap_or_default());
    Ok((census, broken))
}

/// Every key of one inode; nothing if it has gone.
async fn check_inode(frozen: &Frozen, number: InodeNumber) -> Result<Vec<Broken>, ReadError> {
    let range = inode_range(number);
    let mut cursor = Cursor::new(&frozen.root, frozen.nodes.clone()).until(range.end);
    cursor.seek(&range.start).await?;
    let mut passing = None;
    while let Some((key, value)) = cursor.next().await? {
        let passing = passing.get_or_insert_with(|| Passing::new(number));
        match Key::decode(&key) {
            Ok(key) => passing.pass(&key, &value),
            Err(error) => passing.breaks(&error.to_string()),
        }
    }
    Ok(passing.map(Passing::finish).unwrap_or_default())
}

/// Names and inodes of a few buckets, one by one.
#[derive(Default)]
struct Tally {
    names: u64,
    in_folders: Vec<InodeNumber>,
    inode: Option<Inode>,
    other_kind: bool,
}

async fn find_unbalanced(frozen: &Frozen, buckets: &[usize]) -> Result<Vec<Broken>, ReadError> {
    let looked_at = &buckets[..buckets.len().min(BUCKETS_LOOKED_AT_MAX)];
    let concerns = |number: InodeNumber| looked_at.binary_search(&bucket(number)).is_ok();
    let mut tallies: HashMap<InodeNumber, Tally> = HashMap::new();
    let mut cursor = Cursor::new(&frozen.root, frozen.nodes.clone());
    while let Some((key, value)) = cursor.next().await? {
        match Key::decode(&key) {
            Ok(Key::Attributes(number)) if concerns(number) => {
                tallies.entry(number).or_default().inode = Inode::decode(&value.payload).ok();
            }
            Ok(Key::Entry(folder, _)) => {
                if let Ok(entry) = Entry::decode(&value.payload)
                    && concerns(entry.inode)
                {
                    let tally = tallies.entry(entry.inode).or_default();
                    tally.names += 1;
                    tally.in_folders.push(folder);
                    let kind = frozen.inode(entry.inode).await?.map(|inode| inode.kind);
                    tally.other_kind |= kind.is_some_and(|kind| kind != entry.kind);
                }
            }
            Ok(Key::Version(..)) => {
                if let Some(number) = version_file(&value).filter(|number| concerns(*number)) {
                    tallies.entry(number).or_default().names += 1;
                }
            }
            Ok(_) | Err(_) => {}
        }
    }
    let sorted: BTreeMap<_, _> = tallies.into_iter().collect();
    Ok(sorted.into_iter().filter_map(|(number, tally)| tally.judge(number)).collect())
}

impl Tally {
    /// What is wrong; told of the folder when there is no inode.
    fn judge(&self, number: InodeNumber) -> Option<Broken> {
        let Some(inode) = &self.inode else {
            if self.names == 0 {
                return None;
            }
            let folder = self.in_folders.first().unwrap_or(&InodeNumber::SHARE);
            return Some((*folder, format!("a name in it leads to inode {}, which is not there", number.0)));
        };
        let (names, expected) = (self.names, names_of(number, inode));
        if names != expected {
            return Some((number, format!("{names} names lead to it, and it says {expected}")));
        }
        let parent_fits =
            inode.kind != Kind::Directory || self.in_folders.iter().all(|at| *at == inode.parent);
        if self.other_kind || !parent_fits {
            return Some((number, "its name says another kind or another folder than it does".to_owned()));
        }
        None
    }
}

/// That a tree cannot be read is told apart from damage in it.
impl From<TreeError> for CheckError {
    fn from(error: TreeError) -> Self {
        ReadError::from(error).into()
    }
}

//! Two stores of a repository held against each other.
//!
//! By listing: names and lengths, nothing is read. What the frames in a pack are worth is for a check of either
//! store to say. Memory: a page of each listing, and the first [`DIFFERENCES_MAX`] differences.

use std::collections::VecDeque;

use tidegate_chunker::PackId;

use super::deleted::deleted;
use super::packs::copy_pack;
use super::{MirrorError, MirrorOptions};
use crate::observer::Observer;
use crate::repository::names::{HEARTBEATS, PACKS, last_segment};
use crate::repository::{Opened, Repository, RepositoryError};
use crate::store::{LIST_LIMIT_MAX, ObjectInfo, ObjectName, Store};

/// How many differences are named.
pub const DIFFERENCES_MAX: usize = 1000;

/// What one store has and the other has not, or not so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only the first has it.
    OnlyFirst(ObjectInfo),
    /// Only the second has it.
    OnlySecond(ObjectInfo),
    /// Both have it, in different lengths: one of them is damaged.
    Length(ObjectInfo, ObjectInfo),
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Objects that both have in the same length.
    pub same: u64,
    /// Objects that only the first has.
    pub only_first: u64,
    /// Objects that only the second has.
    pub only_second: u64,
    /// Objects of different lengths.
    pub lengths: u64,
    /// The first differences, in order of name.
    pub differences: Vec<Difference>,
}

/// What was filled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Packs that were copied.
    pub packs: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Packs that the other store has not in a sound state either, and why.
    pub failed: Vec<(PackId, String)>,
}

/// Compares all objects of two stores but heartbeats.
pub async fn compare(
    first: &Repository<Opened>,
    second: &Repository<Opened>,
    observer: &dyn Observer,
) -> Result<Comparison, MirrorError> {
    let mut found = Comparison::default();
    let mut walk = Walk::new(first, second, "");
    while let Some(pair) = walk.next().await? {
        if observer.is_cancelled() {
            return Err(MirrorError::Cancelled);
        }
        observer.advanced(1);
        // Each gateway writes them to the lead alone.
        if [&pair.0, &pair.1].into_iter().flatten().any(|object| object.name.as_str().starts_with(HEARTBEATS))
        {
            continue;
        }
        let difference = match pair {
            (Some(one), Some(other)) if one.bytes == other.bytes => {
                found.same += 1;
                continue;
            }
            (Some(one), Some(other)) => {
                found.lengths += 1;
                Difference::Length(one, other)
            }
            (Some(one), None) => {
                found.only_first += 1;
                Difference::OnlyFirst(one)
            }
            (None, Some(other)) => {
                found.only_second += 1;
                Difference::OnlySecond(other)
            }
            (None, None) => continue,
        };
        if found.differences.len() < DIFFERENCES_MAX {
            found.differences.push(difference);
        }
    }
    Ok(found)
}

/// Copies the packs that `to` lacks, or has in another length, from `from`. Leaves out what a collection has deleted.
pub async fn fill_holes(
    from: &Repository<Opened>,
    to: &Repository<Opened>,
    options: &MirrorOptions,
    observer: &dyn Observer,
) -> Result<Filled, MirrorError> {
    let mut gone = deleted(from).await?;
    gone.extend(deleted(to).await?);
    let mut filled = Filled::default();
    let mut walk = Walk::new(from, to, PACKS);
    while let Some(pair) = walk.next().await? {
        if observer.is_cancelled() {
            return Err(MirrorError::Cancelled);
        }
        let (Some(one), other) = pair else { continue };
        if other.is_some_and(|other| other.bytes == one.bytes) {
            continue;
        }
        let Some(pack) = PackId::from_hex(last_segment(&one.name)).filter(|pack| !gone.contains(pack)) else {
            continue;
        };
        match copy_pack(from, to, options, pack).await {
            Ok(bytes) => {
                filled.packs += 1;
                filled.bytes += bytes;
                observer.advanced(bytes);
            }
            Err(MirrorError::Repository(
                error @ (RepositoryError::Damaged { .. } | RepositoryError::Missing { .. }),
            )) => filled.failed.push((pack, error.to_string())),
            Err(MirrorError::Repository(error)) if error.is_asleep() => {
                let why = "it sleeps: `tidegate thaw` brings it back";
                filled.failed.push((pack, why.to_owned()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Two listings, name by name.
struct Walk<'a> {
    first: Listing<'a>,
    second: Listing<'a>,
}

impl<'a> Walk<'a> {
    fn new(first: &'a Repository<Opened>, second: &'a Repository<Opened>, prefix: &'a str) -> Self {
        let listing = |repository: &'a Repository<Opened>| Listing {
            store: &**repository.store(),
            prefix,
            page: VecDeque::new(),
            last: None,
            more: true,
        };
        Self { first: listing(first), second: listing(second) }
    }

    /// The next name, as either has it; none at the end.
    async fn next(&mut self) -> Result<Option<(Option<ObjectInfo>, Option<ObjectInfo>)>, MirrorError> {
        self.first.fill().await?;
        self.second.fill().await?;
        let order = match (self.first.page.front(), self.second.page.front()) {
            (None, None) => return Ok(None),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(one), Some(other)) => one.name.cmp(&other.name),
        };
        let one = if order.is_le() { self.first.page.pop_front() } else { None };
        let other = if order.is_ge() { self.second.page.pop_front() } else { None };
        Ok(Some((one, other)))
    }
}

/// A listing that is read page by page.
struct Listing<'a> {
    store: &'a dyn Store,
    prefix: &'a str,
    page: VecDeque<ObjectInfo>,
    last: Option<ObjectName>,
    more: bool,
}

impl Listing<'_> {
    async fn fill(&mut self) -> Result<(), MirrorError> {
        while self.page.is_empty() && self.more {
            let page = self.store.list(self.prefix, self.last.as_ref(), LIST_LIMIT_MAX).await?;
            self.more = page.more;
            self.last = page.objects.last().map(|object| object.name.clone()).or(self.last.take());
            self.page = page.objects.into();
        }
        Ok(())
    }
}

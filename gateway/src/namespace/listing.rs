//! Listing a directory, page by page, in the order of cookies.
//!
//! A cookie is a number that its directory gives out once. A listing that goes on after a cookie shows
//! every name that was there throughout exactly once, whatever is created, removed or renamed
//! meanwhile.

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Cookie, Entry, InodeNumber, Key, kind_range};

use super::{Node, Reader};
use crate::share::ShareError;

/// One listed name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// Where a listing goes on after it.
    pub cookie: u64,
    /// The file.
    pub number: InodeNumber,
    /// Its name.
    pub name: Bytes,
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Entries after the cookie asked for.
    pub entries: Vec<ListedEntry>,
    /// Whether nothing follows.
    pub end: bool,
}

const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

impl Reader<'_> {
    /// Up to `limit` entries of a directory after `cookie` (0: from the start), "." and ".." first.
    pub async fn list(&self, directory: &Node, cookie: u64, limit: usize) -> Result<Listed, FsError> {
        let mut entries = Vec::new();
        let dots = [
            (DOT, directory.number, Bytes::from_static(b".")),
            (DOT_DOT, directory.inode.parent, Bytes::from_static(b"..")),
        ];
        for (dot, number, name) in dots {
            if cookie < dot && entries.len() < limit {
                entries.push(ListedEntry { cookie: dot, number, name });
            }
        }
        let from = cookie.max(Entry::COOKIE_FIRST - 1).saturating_add(1);
        let wanted = limit - entries.len();
        let keys = kind_range(directory.number, b'c', &from.to_be_bytes());
        let found = self.map.scan(keys, wanted + 1).await?;
        let end = found.len() <= wanted;
        for (key, value) in found.into_iter().take(wanted) {
            let Key::Cookie(_, cookie) = key else { continue };
            let record = Cookie::decode(&value.payload).map_err(ShareError::from)?;
            entries.push(ListedEntry { cookie, number: record.inode, name: record.name });
        }
        Ok(Listed { entries, end })
    }
}

//! The map of one root, by inode.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::ReadError;
use crate::fetch::ChunkReader;
use crate::map::{Entry, Extent, Inode, InodeNumber, Key, kind_range};
use crate::tree::{ChunkRef, Cursor, NodeSource, Root, get};

/// Entries of a directory that a page has at most.
pub const PAGE_ENTRIES_MAX: usize = 256;

/// The map of one root, and how its chunks are read.
#[derive(Clone)]
pub struct Frozen {
    /// The root.
    pub root: Root,
    /// Its nodes.
    pub nodes: Arc<dyn NodeSource>,
    /// The data that it refers to.
    pub chunks: Arc<ChunkReader>,
}

impl Frozen {
    /// The attributes of an inode; `None` if the map has none.
    pub async fn inode(&self, number: InodeNumber) -> Result<Option<Inode>, ReadError> {
        let key = Key::Attributes(number).encode();
        let value = get(&self.root, &key, &*self.nodes).await?;
        Ok(value.map(|value| Inode::decode(&value.payload)).transpose()?)
    }

    /// The entry of a name in a directory.
    pub async fn entry(&self, directory: InodeNumber, name: &[u8]) -> Result<Option<Entry>, ReadError> {
        let key = Key::Entry(directory, Bytes::copy_from_slice(name)).encode();
        let value = get(&self.root, &key, &*self.nodes).await?;
        Ok(value.map(|value| Entry::decode(&value.payload)).transpose()?)
    }

    /// The next entries of a directory by name, after a name (from the first if `None`); fewer than
    /// [`PAGE_ENTRIES_MAX`] at the end.
    pub async fn entries_after(
        &self,
        directory: InodeNumber,
        after: Option<&[u8]>,
    ) -> Result<VecDeque<(Bytes, Entry)>, ReadError> {
        // The first name after another is that with a zero byte more.
        let from = after.map(|name| [name, &[0]].concat()).unwrap_or_default();
        let mut cursor = self.cursor(directory, b'd', &from).await?;
        let mut page = VecDeque::new();
        while page.len() < PAGE_ENTRIES_MAX
            && let Some((key, value)) = cursor.next().await?
        {
            if let Key::Entry(_, name) = Key::decode(&key)? {
                page.push_back((name, Entry::decode(&value.payload)?));
            }
        }
        Ok(page)
    }

    /// The extents of a file, from its beginning.
    pub async fn extents(&self, file: InodeNumber) -> Result<Extents, ReadError> {
        Ok(Extents { cursor: self.cursor(file, b'e', &[]).await?, end: 0 })
    }

    /// The extended attributes of an inode.
    pub async fn extended_attributes(&self, inode: InodeNumber) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let mut cursor = self.cursor(inode, b'x', &[]).await?;
        let mut found = Vec::new();
        while let Some((key, value)) = cursor.next().await? {
            if let Key::ExtendedAttribute(_, name) = Key::decode(&key)? {
                found.push((name, value.payload));
            }
        }
        Ok(found)
    }

    /// A chunk of file data.
    pub async fn chunk(&self, chunk: &ChunkRef) -> Result<Bytes, ReadError> {
        Ok(self.chunks.read(chunk).await?.into_bytes())
    }

    /// A cursor over the keys of one kind of an inode.
    async fn cursor(&self, inode: InodeNumber, kind: u8, from: &[u8]) -> Result<Cursor, ReadError> {
        let range = kind_range(inode, kind, from);
        let mut cursor = Cursor::new(&self.root, self.nodes.clone()).until(range.end);
        cursor.seek(&range.start).await?;
        Ok(cursor)
    }
}

/// Gives the extents of a file in order. Refuses those that overlap or reach past what they should.
pub struct Extents {
    cursor: Cursor,
    end: u64,
}

impl Extents {
    /// The next extent within a file of this size; `None` after the last.
    pub async fn next(&mut self, size: u64) -> Result<Option<Extent>, ReadError> {
        let Some((key, value)) = self.cursor.next().await? else { return Ok(None) };
        let Key::Extent(_, end) = Key::decode(&key)? else {
            return Err(ReadError::damaged("a key of another kind lies among the extents"));
        };
        let extent = Extent::from_value(end, &value)?;
        if extent.start < self.end || extent.end > size {
            return Err(ReadError::damaged("its extents overlap or reach past its size"));
        }
        self.end = extent.end;
        Ok(Some(extent))
    }
}

//! The map of the run before, read by code that blocks.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::error::BackupError;
use crate::frozen::{Extents, Frozen, PAGE_ENTRIES_MAX};
use crate::map::{Entry, Extent, Inode, InodeNumber, Key, inode_range};
use crate::tree::Cursor;

/// See the head of this module.
pub(super) struct Before<'a> {
    frozen: &'a Frozen,
    runtime: &'a Handle,
    /// Inodes are mostly asked for in order, so the leaf at hand mostly has the next one.
    inodes: Cursor,
}

/// The names of a folder of the map before, in order, a page at a time.
#[derive(Default)]
pub(super) struct Names {
    folder: Option<InodeNumber>,
    page: VecDeque<(Bytes, Entry)>,
    last: Option<Bytes>,
    at_end: bool,
}

impl Names {
    /// Those of a folder.
    pub(super) fn of(folder: InodeNumber) -> Self {
        Self { folder: Some(folder), ..Self::default() }
    }
}

impl<'a> Before<'a> {
    pub(super) fn new(frozen: &'a Frozen, runtime: &'a Handle) -> Self {
        let inodes = Cursor::new(&frozen.root, frozen.nodes.clone());
        Self { frozen, runtime, inodes }
    }

    pub(super) fn inode(&mut self, number: InodeNumber) -> Result<Option<Inode>, BackupError> {
        let key = Key::Attributes(number).encode();
        let cursor = &mut self.inodes;
        let found = self.runtime.block_on(async {
            cursor.seek(&key).await?;
            cursor.next().await
        })?;
        let found = found.filter(|(at, _)| *at == key);
        Ok(found.map(|(_, value)| Inode::decode(&value.payload)).transpose()?)
    }

    /// The inode behind a name; that there is none is damage.
    pub(super) fn inode_of(&mut self, entry: &Entry) -> Result<Inode, BackupError> {
        let inode = self.inode(entry.inode)?;
        Ok(inode.ok_or(crate::map::MapError { what: "a name", why: "nothing stands behind it" })?)
    }

    /// The next name, without passing it.
    pub(super) fn peek_name<'n>(
        &mut self,
        names: &'n mut Names,
    ) -> Result<Option<&'n (Bytes, Entry)>, BackupError> {
        if let Some(folder) = names.folder
            && names.page.is_empty()
            && !names.at_end
        {
            let page = self.frozen.entries_after(folder, names.last.as_deref());
            names.page = self.runtime.block_on(page)?;
            names.at_end = names.page.len() < PAGE_ENTRIES_MAX;
            names.last = names.page.back().map(|(name, _)| name.clone());
        }
        Ok(names.page.front())
    }

    pub(super) fn next_name(&mut self, names: &mut Names) -> Result<Option<(Bytes, Entry)>, BackupError> {
        self.peek_name(names)?;
        Ok(names.page.pop_front())
    }

    /// Tells all keys of an inode.
    pub(super) fn keys_of(
        &mut self,
        number: InodeNumber,
        mut each: impl FnMut(&[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let range = inode_range(number);
        let mut cursor = Cursor::new(&self.frozen.root, self.frozen.nodes.clone()).until(range.end);
        self.runtime.block_on(cursor.seek(&range.start))?;
        while let Some((key, _)) = self.runtime.block_on(cursor.next())? {
            each(&key)?;
        }
        Ok(())
    }

    pub(super) fn extents(&mut self, file: InodeNumber) -> Result<Extents, BackupError> {
        Ok(self.runtime.block_on(self.frozen.extents(file))?)
    }

    pub(super) fn next_extent(
        &self,
        extents: &mut Extents,
        size: u64,
    ) -> Result<Option<Extent>, BackupError> {
        Ok(self.runtime.block_on(extents.next(size))?)
    }

    pub(super) fn extended(&mut self, inode: InodeNumber) -> Result<Vec<(Bytes, Bytes)>, BackupError> {
        Ok(self.runtime.block_on(self.frozen.extended_attributes(inode))?)
    }
}

//! Files with several names: the first that is restored is kept by a link of the restore's own until the
//! end, so that the others become links to it without anybody remembering paths.
//!
//! ```text
//! .tidegate-restore/links/<inode>    its file survives a loss of power
//! .tidegate-restore/new/<inode>      not known yet
//! ```
//!
//! Memory: the numbers of the inodes in `new`, which a checkpoint bounds.

use std::collections::HashSet;
use std::io;

use super::folder::Folder;
use crate::map::InodeNumber;

/// See the head of this module.
pub(super) struct Links {
    kept: Folder,
    new: Folder,
    fresh: HashSet<InodeNumber>,
}

impl Links {
    /// Opens them in the restore's own folder. What is not known to be whole is kept only if
    /// `trusts_new`: the machine has not been started anew since.
    pub(super) fn open(state: &Folder, trusts_new: bool) -> io::Result<Self> {
        let (kept, new) = (state.enter(b"links")?, state.enter(b"new")?);
        let mut fresh = HashSet::new();
        for name in new.names()? {
            let name = name?;
            match parse(&name) {
                Some(inode) if trusts_new => drop(fresh.insert(inode)),
                _ => new.clear(&name)?,
            }
        }
        Ok(Self { kept, new, fresh })
    }

    /// Whether the file is there, under some name.
    pub(super) fn has(&self, inode: InodeNumber) -> io::Result<bool> {
        Ok(self.fresh.contains(&inode) || self.kept.has(&name_of(inode))?)
    }

    /// Keeps a file that was just restored under this name.
    pub(super) fn keep(&mut self, inode: InodeNumber, folder: &Folder, name: &[u8]) -> io::Result<()> {
        self.new.link(&name_of(inode), folder, name)?;
        self.fresh.insert(inode);
        Ok(())
    }

    /// Gives the file a further name.
    pub(super) fn link(&self, inode: InodeNumber, folder: &Folder, name: &[u8]) -> io::Result<()> {
        let from = if self.fresh.contains(&inode) { &self.new } else { &self.kept };
        folder.link(name, from, &name_of(inode))
    }

    /// Everything that was kept so far survives a loss of power now.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        for inode in std::mem::take(&mut self.fresh) {
            let name = name_of(inode);
            self.new.rename(&name, &self.kept, &name)?;
        }
        Ok(())
    }

    /// Lets go of all.
    pub(super) fn remove(self, state: &Folder) -> io::Result<()> {
        for (folder, name) in [(self.kept, b"links".as_slice()), (self.new, b"new".as_slice())] {
            // Not removed while they are listed: a listing that changes may leave some out.
            loop {
                let some: Vec<_> = folder.names()?.take(NAMES_AT_ONCE).collect::<io::Result<_>>()?;
                if some.is_empty() {
                    break;
                }
                some.iter().try_for_each(|name| folder.clear(name))?;
            }
            state.remove_folder(name)?;
        }
        Ok(())
    }
}

/// Names that are removed between two listings.
const NAMES_AT_ONCE: usize = 4096;

fn name_of(inode: InodeNumber) -> Vec<u8> {
    format!("{:016x}", inode.0).into_bytes()
}

fn parse(name: &[u8]) -> Option<InodeNumber> {
    let text = std::str::from_utf8(name).ok()?;
    u64::from_str_radix(text, 16).ok().map(InodeNumber)
}

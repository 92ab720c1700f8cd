//! From an inode to a path, for people: up through the folders that inodes name as theirs.
//!
//! Costs a scan of each folder on the way, so it is only done for what is reported. What cannot be read,
//! or goes round in a circle, has no path.

use super::control::KeptRoot;
use super::run::{CheckError, Run};
use crate::frozen::{Frozen, PAGE_ENTRIES_MAX, ReadError, path_text};
use crate::map::InodeNumber;

/// Folders on the way to a path at most.
const DEPTH_MAX: usize = 512;

impl Run<'_> {
    /// The path of an inode; `None` if it has none that can be found.
    pub(super) async fn path_of(
        &self,
        root: &KeptRoot,
        inode: InodeNumber,
    ) -> Result<Option<String>, CheckError> {
        let Ok(reader) = self.reader(root.domain) else { return Ok(None) };
        match climb(&reader.frozen(&root.root), inode).await {
            Ok(path) => Ok(path.map(|path| path_text(&path))),
            Err(ReadError::Damaged(_)) => Ok(None),
            Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => Err(error.into()),
        }
    }
}

async fn climb(frozen: &Frozen, inode: InodeNumber) -> Result<Option<Vec<u8>>, ReadError> {
    let mut names = Vec::new();
    let mut number = inode;
    while number != InodeNumber::ROOT {
        if names.len() == DEPTH_MAX {
            return Ok(None);
        }
        let Some(inode) = frozen.inode(number).await? else { return Ok(None) };
        let Some(name) = name_in(frozen, inode.parent, number).await? else { return Ok(None) };
        names.push(name);
        number = inode.parent;
    }
    if names.is_empty() {
        return Ok(Some(b"/".to_vec()));
    }
    Ok(Some(names.iter().rev().flat_map(|name| [b"/".as_slice(), name]).collect::<Vec<_>>().concat()))
}

/// The first name in a folder that leads to an inode.
async fn name_in(
    frozen: &Frozen,
    folder: InodeNumber,
    inode: InodeNumber,
) -> Result<Option<Vec<u8>>, ReadError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = frozen.entries_after(folder, after.as_deref()).await?;
        if let Some((name, _)) = page.iter().find(|(_, entry)| entry.inode == inode) {
            return Ok(Some(name.to_vec()));
        }
        if page.len() < PAGE_ENTRIES_MAX {
            return Ok(None);
        }
        after = page.back().map(|(name, _)| name.to_vec());
    }
}

//! Goes through a part of a frozen share in order of names, folders before what is in them.
//!
//! The order hangs on the names alone, so a path says how far it has come, also when the next time more
//! or less of the map can be read. What cannot be read is a step too, and the traversal goes on after it.
//!
//! Memory: a page of names for each level of folders.

use std::collections::VecDeque;

use bytes::Bytes;

use super::plan::Start;
use crate::frozen::{Frozen, PAGE_ENTRIES_MAX, ReadError, path_text};
use crate::map::{Entry, Inode, InodeNumber, Kind};

/// What comes next.
pub(super) enum Step {
    /// A folder; what is in it follows, up to its `Leave`.
    Enter { path: Vec<u8>, name: Bytes },
    /// All that is in a folder has come.
    Leave { path: Vec<u8>, number: InodeNumber, inode: Inode },
    /// Anything else.
    File { path: Vec<u8>, name: Bytes, number: InodeNumber, inode: Inode },
    /// What cannot be read.
    Unreadable { path: Vec<u8>, why: String },
}

struct Level {
    number: InodeNumber,
    /// `None` for the folder around a single file, which is not restored itself.
    inode: Option<Inode>,
    page: VecDeque<(Bytes, Entry)>,
    last: Option<Bytes>,
    more: bool,
    /// Length of the path of this folder.
    path_bytes: usize,
}

/// See the head of this module.
pub(super) struct Traversal<'a> {
    frozen: &'a Frozen,
    levels: Vec<Level>,
    path: Vec<u8>,
}

impl<'a> Traversal<'a> {
    pub(super) fn new(frozen: &'a Frozen, start: &Start) -> Self {
        let (number, inode, page, path) = match start {
            Start::Folder { path, number, inode } => {
                (*number, Some((**inode).clone()), VecDeque::new(), path.clone())
            }
            Start::File { parent_path, parent, name, entry } => {
                (*parent, None, VecDeque::from([(name.clone(), *entry)]), parent_path.clone())
            }
        };
        let more = inode.is_some();
        let level = Level { number, inode, page, last: None, more, path_bytes: path.len() };
        Self { frozen, levels: vec![level], path }
    }

    /// The next step; fails only when the repository cannot be asked.
    pub(super) async fn next(&mut self) -> Result<Option<Step>, ReadError> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            self.path.truncate(level.path_bytes);
            if let Some((name, entry)) = level.page.pop_front() {
                return self.visit(name, entry).await.map(Some);
            }
            if level.more {
                match self.frozen.entries_after(level.number, level.last.as_deref()).await {
                    Ok(page) => {
                        level.more = page.len() == PAGE_ENTRIES_MAX;
                        level.last = page.back().map(|(name, _)| name.clone());
                        level.page = page;
                    }
                    Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => return Err(error),
                    Err(ReadError::Damaged(why)) => {
                        level.more = false;
                        let from = level.last.as_ref().map(|name| format!(" after {:?}", path_text(name)));
                        let why = format!("the names in it{} are lost: {why}", from.unwrap_or_default());
                        return Ok(Some(Step::Unreadable { path: self.path.clone(), why }));
                    }
                }
                continue;
            }
            let (number, inode) = (level.number, level.inode.take());
            self.levels.pop();
            if let Some(inode) = inode {
                return Ok(Some(Step::Leave { path: self.path.clone(), number, inode }));
            }
        }
    }

    /// Leaves out what is in the folder that was just entered, and its `Leave`.
    pub(super) fn skip(&mut self) {
        self.levels.pop();
    }

    async fn visit(&mut self, name: Bytes, entry: Entry) -> Result<Step, ReadError> {
        let parent = self.levels.last().map_or(InodeNumber::SHARE, |level| level.number);
        if !self.path.ends_with(b"/") {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&name);
        let path = self.path.clone();
        let lost = |why: String| Ok(Step::Unreadable { path: path.clone(), why });
        if !is_legal(&name) {
            return lost("its name could lead out of its folder".to_owned());
        }
        let inode = match self.frozen.inode(entry.inode).await {
            Ok(Some(inode)) => inode,
            Ok(None) => return lost("nothing stands behind its name".to_owned()),
            Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => return Err(error),
            Err(ReadError::Damaged(why)) => return lost(format!("its attributes are lost: {why}")),
        };
        if inode.kind != entry.kind {
            return lost("its name says that it is of another kind".to_owned());
        }
        let number = entry.inode;
        if inode.kind != Kind::Directory {
            return Ok(Step::File { path, name, number, inode });
        }
        // A folder has one parent: what names it elsewhere could go round in a circle.
        if inode.parent != parent {
            return lost("it is a folder that says that it lies elsewhere".to_owned());
        }
        let path_bytes = self.path.len();
        let (page, last) = (VecDeque::new(), None);
        self.levels.push(Level { number, inode: Some(inode), page, last, more: true, path_bytes });
        Ok(Step::Enter { path, name })
    }
}

/// Whether a name names something in its folder and nothing else.
fn is_legal(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
            assert!(!is_legal(name), "{name:?}");
        }
        assert!(is_legal(b"..."));
        assert!(is_legal(b"\xff\\"));
    }
}

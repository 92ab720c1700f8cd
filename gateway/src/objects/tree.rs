//! Walking a share in the order of keys.
//!
//! The order of keys is not that of directories: `a/x` comes after `a-b`, since a slash comes after a dash, though
//! `a` comes before `a-b`. So a directory waits until every name has passed that comes before its own with a slash
//! at the end. Those that wait are prefixes of each other, the longest first in line: a stack.
//!
//! A walk begins in the directory that the prefix leads to, and goes in each directory straight to where the page
//! begins. It holds one page of names for each level.

use std::collections::VecDeque;

use bytes::Bytes;
use tidegate_protocols::objects::{KEY_BYTES_MAX, ListQuery, ObjectError};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Entry, InodeNumber, Key, Kind, kind_range};

use super::Access;
use crate::namespace::objects::Held;
use crate::namespace::{EXECUTE, READ};
use crate::share::{MapRead, ShareError};

/// Names that one look at a directory brings.
const SCAN: usize = 256;

/// A key on the way.
pub(super) enum Step {
    /// A regular file.
    File {
        /// Its key.
        key: String,
        /// The file.
        held: Box<Held>,
    },
    /// A directory; what is in it comes next, unless it is skipped.
    Folder {
        /// Its key, with a slash at the end.
        key: String,
        /// The directory.
        held: Box<Held>,
    },
}

impl Step {
    pub(super) fn key(&self) -> &str {
        match self {
            Self::File { key, .. } | Self::Folder { key, .. } => key,
        }
    }
}

/// A name with its entry.
type Named = (Bytes, Entry);

/// A directory on the way.
struct Level {
    number: InodeNumber,
    /// The key of the directory.
    prefix: String,
    /// What a name must begin with.
    names: Vec<u8>,
    /// Where the next look begins; none when all names have been seen.
    from: Option<Vec<u8>>,
    ready: VecDeque<Named>,
    /// Directories whose turn has not come.
    waiting: Vec<Named>,
}

/// See the head of this module.
pub(super) struct Walk<'a> {
    access: &'a Access,
    after: String,
    levels: Vec<Level>,
    /// The directory where the walk begins, when it is a key by itself.
    first: Option<Step>,
    /// The directory that was shown last, to be entered next.
    entering: Option<(InodeNumber, String)>,
}

impl<'a> Walk<'a> {
    /// Begins where the prefix leads; none when it leads nowhere.
    pub(super) async fn begin(access: &'a Access, query: &ListQuery) -> Result<Option<Self>, ObjectError> {
        let after = query.after.clone().unwrap_or_default();
        let (folders, names) =
            query.prefix.rsplit_once('/').map_or(("", &*query.prefix), |(path, name)| (path, name));
        let prefix = &query.prefix[..query.prefix.len() - names.len()];
        let path: Vec<&[u8]> = folders.split('/').map(str::as_bytes).collect();
        let path = if prefix.is_empty() { &[][..] } else { &path[..] };
        let folder = match access.folder(path).await {
            Ok(folder) => folder,
            Err(ObjectError::NoSuchKey) => return Ok(None),
            Err(error) => return Err(error),
        };
        access.credentials.require(&folder.inode, READ)?;
        let held = access.reader().held(folder.number).await?;
        let is_first = !prefix.is_empty() && names.is_empty();
        let first = is_first.then(|| Step::Folder { key: prefix.to_owned(), held: Box::new(held) });
        let mut walk = Self { access, after, levels: Vec::new(), first, entering: None };
        walk.enter(folder.number, prefix.to_owned(), names.as_bytes().to_vec()).await?;
        Ok(Some(walk))
    }

    /// What is in the directory that came last is not wanted.
    pub(super) fn skip(&mut self) {
        self.entering = None;
    }

    /// The next key at or after where the page begins; directories come before what is in them.
    pub(super) async fn next(&mut self) -> Result<Option<Step>, ObjectError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if let Some((number, prefix)) = self.entering.take() {
            self.enter(number, prefix, Vec::new()).await?;
        }
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            let Some((name, entry)) = level.next(self.access).await? else {
                self.levels.pop();
                continue;
            };
            // S3 knows no other names than text.
            let Ok(name) = std::str::from_utf8(&name) else { continue };
            let (mut key, directory) = (format!("{}{name}", level.prefix), level.number);
            let is_folder = entry.kind == Kind::Directory;
            if is_folder {
                key.push('/');
            } else if entry.kind != Kind::Regular {
                continue;
            }
            let passed = key < self.after && !(is_folder && self.after.starts_with(&key));
            if passed {
                continue;
            }
            // What is too long to be asked for is not shown, nor what lies below it.
            if key.len() > KEY_BYTES_MAX {
                continue;
            }
            let held = self.access.held_under(directory, name.as_bytes(), entry.inode).await?;
            let Some(held) = held.filter(|held| held.node.inode.kind == entry.kind).map(Box::new) else {
                continue;
            };
            if !is_folder {
                return Ok(Some(Step::File { key, held }));
            }
            if self.access.credentials.may(&held.node.inode, READ | EXECUTE) {
                self.entering = Some((held.node.number, key.clone()));
            }
            return Ok(Some(Step::Folder { key, held }));
        }
    }

    /// Goes into a directory, to where the page begins.
    async fn enter(
        &mut self,
        number: InodeNumber,
        prefix: String,
        names: Vec<u8>,
    ) -> Result<(), ObjectError> {
        let begin = self.after.strip_prefix(&prefix).unwrap_or_default();
        let begin = begin.split('/').next().unwrap_or_default().as_bytes().to_vec();
        let mut waiting = Vec::new();
        // Directories whose names come before that, and their keys after it: `a` where `a-b` begins.
        for at in (0..begin.len()).filter(|at| begin[*at] < b'/') {
            let name = Bytes::copy_from_slice(&begin[..at]);
            if name.is_empty() || !name.starts_with(&names) {
                continue;
            }
            match self.access.reader().entry(number, &name).await? {
                Some(entry) if entry.kind == Kind::Directory => waiting.push((name, entry)),
                Some(_) | None => {}
            }
        }
        let from = Some(begin.max(names.clone()));
        self.levels.push(Level { number, prefix, names, from, ready: VecDeque::new(), waiting });
        Ok(())
    }
}

impl Level {
    /// The next name in the order of keys.
    async fn next(&mut self, access: &Access) -> Result<Option<Named>, ObjectError> {
        loop {
            self.fill(access).await?;
            let Some((name, entry)) = self.ready.front() else { return Ok(self.waiting.pop()) };
            if let Some((folder, _)) = self.waiting.last()
                && [&folder[..], b"/"].concat() < *name
            {
                return Ok(self.waiting.pop());
            }
            let named = (name.clone(), *entry);
            self.ready.pop_front();
            if named.1.kind != Kind::Directory {
                return Ok(Some(named));
            }
            self.waiting.push(named);
        }
    }

    async fn fill(&mut self, access: &Access) -> Result<(), ObjectError> {
        while self.ready.is_empty() {
            let Some(from) = self.from.take() else { return Ok(()) };
            let keys = kind_range(self.number, b'd', &from);
            let map = access.namespace().share().map();
            let found = map.scan(keys, SCAN).await.map_err(FsError::from)?;
            let last = found.len() < SCAN;
            for (key, value) in found {
                let Key::Entry(_, name) = key else { continue };
                if !name.starts_with(&self.names) {
                    return Ok(());
                }
                let entry =
                    Entry::decode(&value.payload).map_err(|error| FsError::from(ShareError::from(error)))?;
                self.from = (!last).then(|| [&name[..], &[0]].concat());
                self.ready.push_back((name, entry));
            }
            if last {
                self.from = None;
            }
        }
        Ok(())
    }
}

//! Listing a directory tree in the byte order of full names, in bounded memory.
//!
//! The order of names within one folder is not that of full names: `a.b` comes before `a/c`, since
//! `.` is less than `/`, although `a` comes before `a.b`. Entries are therefore compared by a key that ends
//! with `/` for folders. A folder of any size is read with at most [`BATCH_ENTRIES`] keys in memory: each
//! pass over it keeps the smallest that come after the last pass.

use std::collections::BinaryHeap;
use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use super::LEFTOVER_AGE;
use super::error::store_error;
use crate::store::durable_file::is_leftover;
use crate::store::{ListPage, ObjectInfo, ObjectName, StoreError};

/// How many keys of a folder one pass keeps: a full page of objects and one that shows there is more.
const BATCH_ENTRIES: usize = crate::store::LIST_LIMIT_MAX + 1;

/// A page of the objects below `root`; `limit` is at least 1.
pub(super) fn page(
    root: &Path,
    prefix: &str,
    after: Option<&ObjectName>,
    limit: usize,
) -> Result<ListPage, StoreError> {
    let after = after.map_or("", ObjectName::as_str);
    let mut walk = Walk { root, prefix, after, wanted: limit + 1, found: Vec::new() };
    let deepest = prefix.rfind('/').map_or("", |slash| &prefix[..=slash]);
    walk.visit(deepest).map_err(|error| store_error(format!("list {prefix:?}"), error))?;
    let more = walk.found.len() > limit;
    walk.found.truncate(limit);
    Ok(ListPage { objects: walk.found, more })
}

/// The folders directly below `prefix` that hold at least one object.
pub(super) fn folders(root: &Path, prefix: &str) -> Result<Vec<String>, StoreError> {
    let failed = |error| store_error(format!("list the folders of {prefix:?}"), error);
    let mut folders = Vec::new();
    let mut after = String::new();
    loop {
        let batch = smallest(root, prefix, &after, |_| true).map_err(failed)?;
        for key in &batch {
            if let Some(folder) = key.strip_suffix('/')
                && !page(root, &format!("{prefix}{key}"), None, 1)?.objects.is_empty()
            {
                folders.push(folder.to_owned());
            }
        }
        match batch.into_iter().last() {
            Some(last) => after = last,
            None => return Ok(folders),
        }
    }
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: &'a str,
    wanted: usize,
    found: Vec<ObjectInfo>,
}

impl Walk<'_> {
    /// Visits a folder, given as `` or `a/b/`. As deep as names are: at most half of
    /// [`ObjectName::BYTES_MAX`].
    fn visit(&mut self, folder: &str) -> io::Result<()> {
        let mut after = String::new();
        while self.found.len() < self.wanted {
            let batch = smallest(self.root, folder, &after, |full| self.may_hold(full))?;
            for key in &batch {
                let full = format!("{folder}{key}");
                if full.ends_with('/') {
                    self.visit(&full)?;
                } else {
                    self.take(full)?;
                }
                if self.found.len() == self.wanted {
                    return Ok(());
                }
            }
            match batch.into_iter().last() {
                Some(last) => after = last,
                None => break,
            }
        }
        Ok(())
    }

    /// Whether an object of this full name, or one below this folder, can be wanted.
    fn may_hold(&self, full: &str) -> bool {
        let below = full.ends_with('/');
        let named = full.starts_with(self.prefix) || (below && self.prefix.starts_with(full));
        named && (full > self.after || (below && self.after.starts_with(full)))
    }

    fn take(&mut self, full: String) -> io::Result<()> {
        let metadata = match fs::symlink_metadata(self.root.join(&full)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            metadata => metadata?,
        };
        if let Ok(name) = ObjectName::new(full) {
            let (bytes, modified) = (metadata.len(), metadata.modified()?);
            self.found.push(ObjectInfo { name, bytes, modified, class: None });
        }
        Ok(())
    }
}

/// The smallest keys of a folder that are greater than `after` and whose full names are wanted, in
/// order. A folder that is not there is empty.
fn smallest(
    root: &Path,
    folder: &str,
    after: &str,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(root.join(folder)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut heap = BinaryHeap::new();
    for entry in entries {
        let Some(key) = key(&entry?)? else { continue };
        if key.as_str() <= after || !wanted(&format!("{folder}{key}")) {
            continue;
        }
        heap.push(key);
        if heap.len() > BATCH_ENTRIES {
            heap.pop();
        }
    }
    Ok(heap.into_sorted_vec())
}

/// The key of an entry by which it is ordered, if it can be an object or a folder of objects.
fn key(entry: &DirEntry) -> io::Result<Option<String>> {
    let Ok(mut name) = entry.file_name().into_string() else { return Ok(None) };
    if is_leftover(&name) {
        reap(entry);
        return Ok(None);
    }
    let kind = entry.file_type()?;
    if ObjectName::new(name.as_str()).is_err() || !(kind.is_file() || kind.is_dir()) {
        return Ok(None);
    }
    if kind.is_dir() {
        name.push('/');
    }
    Ok(Some(name))
}

/// Removes a draft that nobody has written to for long. Failing to do so harms nobody.
fn reap(entry: &DirEntry) {
    let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|modified| modified.elapsed());
    if let Ok(Ok(age)) = age
        && age > LEFTOVER_AGE
    {
        let outcome = fs::remove_file(entry.path());
        tracing::info!(path = %entry.path().display(), ?outcome, "removed what a killed put left behind");
    }
}

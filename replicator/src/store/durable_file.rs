//! Files that are wholly there or not at all, also after a power cut: the one place that orders
//! write, fsync, rename and the fsync of a folder.
//!
//! Owns nothing. Every function blocks; async callers run it on a blocking thread.
//!
//! Order of writes of [`Draft`], and what a crash at each step leaves:
//!
//! 1. create `~draft-<random>` beside the final name — a crash leaves an empty leftover;
//! 2. write the contents — a crash leaves a leftover with some of them;
//! 3. fsync the file — a crash leaves a whole leftover;
//! 4. rename over, or link to, the final name — a crash leaves the old state or the new, never a mix
//!    (after a link the leftover may stay beside it);
//! 5. fsync the folder — only now does a caller hear of success.
//!
//! Leftovers are recognised by [`is_leftover`] and do no harm. An fsync that fails is never repeated
//! on the same file: the draft is thrown away, and whoever tries again writes everything anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::chance;

/// How names of drafts begin. `~` is not allowed in object names, so no draft passes for an object.
const DRAFT_PREFIX: &str = "~draft-";

/// How often a folder that vanishes between its creation and its use is made again.
const FOLDER_ATTEMPTS_MAX: u32 = 3;

/// A file being written under a temporary name in the folder of its final name. Dropping it
/// unpublished removes it.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
    published: bool,
}

impl Draft {
    /// Creates an empty draft of `target`, whose folder must exist.
    pub fn create(target: &Path) -> io::Result<Self> {
        let path = folder_of(target).join(format!("{DRAFT_PREFIX}{}", random_suffix()?));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(Self { file, path, target: target.to_owned(), published: false })
    }

    /// The open file, to be written to.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Makes the draft durable under its final name; replaces what is there.
    pub fn publish_over(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.published = true;
        sync_folder(folder_of(&self.target))
    }

    /// Makes the draft durable under its final name; [`io::ErrorKind::AlreadyExists`] if that is
    /// taken. Of several at once exactly one succeeds.
    pub fn publish_new(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::hard_link(&self.path, &self.target)?;
        sync_folder(folder_of(&self.target))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.published {
            // A draft that cannot be removed is a leftover like one of a killed process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a file name is one of a draft: either being written now, or left by a killed process.
pub fn is_leftover(file_name: &str) -> bool {
    file_name.starts_with(DRAFT_PREFIX)
}

/// Stores `bytes` durably under a new name; [`io::ErrorKind::AlreadyExists`] if it is taken.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::create(path)?;
    draft.file().write_all(bytes)?;
    draft.publish_new()
}

/// Stores `bytes` durably; readers see the old contents or the new, never a mix.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::create(path)?;
    draft.file().write_all(bytes)?;
    draft.publish_over()
}

/// Renames a file whose contents have been synced, over what is at `to`, and makes that durable.
pub fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(folder_of(to))?;
    if folder_of(from) == folder_of(to) { Ok(()) } else { sync_folder(folder_of(from)) }
}

/// Removes a file and makes that durable. [`io::ErrorKind::NotFound`] if there is none.
pub fn remove_durably(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder(folder_of(path))
}

/// Creates a folder and all that are missing above it, durably. A folder that exists already is
/// synced too, since whoever made it may not have done so.
pub fn create_folders(path: &Path) -> io::Result<()> {
    let mut attempts = 1;
    loop {
        match create_folders_once(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < FOLDER_ATTEMPTS_MAX => {
                attempts += 1;
            }
            done => return done,
        }
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn create_folders_once(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.parent().is_some() => {
            create_folders_once(folder_of(path))?;
            fs::create_dir(path)?;
        }
        Err(error) => return Err(error),
    }
    sync_folder(folder_of(path))
}

/// The folder that holds `path`; the working directory for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    }
}

fn random_suffix() -> io::Result<String> {
    Ok(format!("{:016x}", chance::number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary folder")
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_not_written_over_an_old_one() {
        let folder = folder();
        let path = folder.path().join("a");
        write_new(&path, b"first").expect("the name is free");
        let error = write_new(&path, b"second").expect_err("the name is taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("readable"), b"first");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn replacing_leaves_the_new_contents_and_no_draft() {
        let folder = folder();
        let path = folder.path().join("a");
        replace(&path, b"first").expect("written");
        replace(&path, b"second").expect("replaced");
        assert_eq!(fs::read(&path).expect("readable"), b"second");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_dropped_draft_leaves_nothing() {
        let folder = folder();
        let mut draft = Draft::create(&folder.path().join("a")).expect("created");
        draft.file().write_all(b"half").expect("written");
        assert!(is_leftover(&names(folder.path())[0]));
        drop(draft);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn folders_are_made_with_all_above_them() {
        let folder = folder();
        let deep = folder.path().join("a/b/c");
        create_folders(&deep).expect("made");
        create_folders(&deep).expect("made already");
        assert!(deep.is_dir());
        write_new(&folder.path().join("file"), b"").expect("written");
        assert!(create_folders(&folder.path().join("file/x")).is_err());
    }

    #[test]
    fn renaming_and_removing_work_across_folders() {
        let folder = folder();
        create_folders(&folder.path().join("x")).expect("made");
        let (from, to) = (folder.path().join("a"), folder.path().join("x/b"));
        write_new(&from, b"1").expect("written");
        rename_durably(&from, &to).expect("renamed");
        assert_eq!(names(folder.path()), ["x"]);
        remove_durably(&to).expect("removed");
        assert_eq!(remove_durably(&to).expect_err("gone").kind(), io::ErrorKind::NotFound);
    }
}

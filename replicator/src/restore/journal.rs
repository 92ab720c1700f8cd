//! How far a restore has come: `.tidegate-restore` in the folder that it writes to.
//!
//! ```text
//! .tidegate-restore/state    JSON: of what, up to where, what failed
//! .tidegate-restore/links/   see links.rs
//! ```
//!
//! Files are restored in the order of their paths, name by name, so a path says how far it has come:
//! `written` is the last of which the kernel has all before it, `synced` the last of which the disk has.
//! After a restart of the machine only `synced` counts. What failed is tried again by the next run.
//! `state` is replaced by renaming, so it is the old one or the new one.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use super::links::Links;

/// The name of the restore's own folder.
pub const STATE_FOLDER: &str = ".tidegate-restore";
/// After so long the file system is synced: a loss of power takes no more than what was written since.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(15);
/// No state is longer, in bytes.
const STATE_BYTES_MAX: u64 = 1 << 30;
const STATE: &[u8] = b"state";
const STATE_NEW: &[u8] = b"state.new";
const VERSION: u32 = 1;

/// What is restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) repository: String,
    pub(super) share: String,
    pub(super) root: String,
    pub(super) path: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) identity: Identity,
    boot: String,
    written: Vec<u8>,
    synced: Vec<u8>,
    failed: BTreeSet<Vec<u8>>,
    /// Whether the machine has not been started anew since it was saved.
    #[serde(skip)]
    is_of_this_boot: bool,
}

impl State {
    fn new(identity: Identity) -> Self {
        let (written, synced, failed) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { version: VERSION, identity, boot: boot_id(), written, synced, failed, is_of_this_boot: true }
    }

    /// Whether the file of this path needs nothing more.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        in_order(path, &self.written) != Ordering::Greater && !self.has_failed(path)
    }

    /// Whether the path, or a folder on the way to it, failed.
    fn has_failed(&self, path: &[u8]) -> bool {
        let failed = |end: usize| self.failed.contains(if end == 0 { &b"/"[..] } else { &path[..end] });
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        !self.failed.is_empty() && slashes.chain([path.len()]).any(failed)
    }

    /// The state of an earlier restore to this folder; `None` if there is none that can be read.
    pub(super) fn find(folder: &Folder) -> io::Result<Option<Self>> {
        if !folder.has(STATE_FOLDER.as_bytes())? {
            return Ok(None);
        }
        let own = folder.existing(STATE_FOLDER.as_bytes())?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(&own, STATE, flags, Mode::empty()) {
            Ok(file) => std::fs::File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = Vec::new();
        file.take(STATE_BYTES_MAX).read_to_end(&mut text)?;
        let state: Option<Self> = serde_json::from_slice(&text).ok();
        Ok(state.filter(|state| state.version == VERSION).map(Self::after_a_pause))
    }

    fn after_a_pause(mut self) -> Self {
        self.is_of_this_boot = !self.boot.is_empty() && self.boot == boot_id();
        if !self.is_of_this_boot {
            self.written.clone_from(&self.synced);
        }
        self
    }
}

/// The state while it changes.
pub(super) struct Journal {
    folder: Folder,
    own: Folder,
    state: State,
    pub(super) links: Links,
    synced_at: Instant,
}

impl Journal {
    /// Goes on from an earlier state, or begins a new one.
    pub(super) fn open(folder: &Folder, identity: Identity, earlier: Option<State>) -> io::Result<Self> {
        let own = folder.enter(STATE_FOLDER.as_bytes())?;
        let mut state = earlier.unwrap_or_else(|| State::new(identity));
        let links = Links::open(&own, state.is_of_this_boot)?;
        state.boot = boot_id();
        let journal = Self { folder: folder.clone(), own, state, links, synced_at: Instant::now() };
        journal.save(false)?;
        Ok(journal)
    }

    /// Whether the file of this path was restored by an earlier run.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.state.has(path)
    }

    /// Notes that a path failed.
    pub(super) fn failed(&mut self, path: &[u8]) {
        self.state.failed.insert(path.to_vec());
    }

    /// Everything up to `path` is written, but for what failed. Syncs when it is time.
    pub(super) async fn advance(&mut self, path: &[u8]) -> io::Result<()> {
        if in_order(path, &self.state.written) == Ordering::Greater {
            path.clone_into(&mut self.state.written);
        }
        if self.synced_at.elapsed() >= CHECKPOINT_EVERY {
            return self.checkpoint().await;
        }
        self.save(false)
    }

    /// Makes what was written survive a loss of power, and says so.
    pub(super) async fn checkpoint(&mut self) -> io::Result<()> {
        let folder = self.folder.clone();
        let synced = crate::blocking::spawn_blocking(move || rustix::fs::syncfs(&folder));
        synced.await.map_err(io::Error::other)??;
        self.links.settle()?;
        self.state.synced.clone_from(&self.state.written);
        self.synced_at = Instant::now();
        self.save(true)
    }

    /// All paths have been tried, and these failed: the next run tries only them.
    pub(super) async fn keep_failures(&mut self, failed: BTreeSet<Vec<u8>>) -> io::Result<()> {
        self.state.failed = failed;
        self.checkpoint().await
    }

    /// Everything is restored: the restore's own folder goes.
    pub(super) async fn finish(mut self) -> io::Result<()> {
        self.checkpoint().await?;
        self.links.remove(&self.own)?;
        self.own.clear(STATE_NEW)?;
        self.own.clear(STATE)?;
        self.folder.remove_folder(STATE_FOLDER.as_bytes())
    }

    fn save(&self, durably: bool) -> io::Result<()> {
        let mut file = self.own.create_file(STATE_NEW)?;
        file.write_all(&serde_json::to_vec(&self.state)?)?;
        if durably {
            file.sync_all()?;
        }
        self.own.rename(STATE_NEW, &self.own, STATE)?;
        if durably {
            rustix::fs::fsync(&self.own)?;
        }
        Ok(())
    }
}

/// The order in which paths are restored: name by name, each by its bytes.
fn in_order(one: &[u8], other: &[u8]) -> Ordering {
    one.split(|byte| *byte == b'/').cmp(other.split(|byte| *byte == b'/'))
}

/// Which start of the machine this is; empty if it does not say.
fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(written: &str, failed: &[&str]) -> State {
        let identity = Identity {
            repository: String::new(),
            share: String::new(),
            root: String::new(),
            path: "/".to_owned(),
        };
        let failed = failed.iter().map(|path| path.as_bytes().to_vec()).collect();
        State { written: written.as_bytes().to_vec(), failed, ..State::new(identity) }
    }

    #[test]
    fn what_comes_before_a_path_is_there_unless_it_or_its_folder_failed() {
        let there = |state: &State, path: &str| state.has(path.as_bytes());
        let plain = state("/a/x", &[]);
        assert!(there(&plain, "/a/x") && there(&plain, "/a/b/c") && there(&plain, "/0"));
        assert!(!there(&plain, "/a.b"), "a folder and all in it come before what sorts after its name");
        assert!(!there(&plain, "/a/x/y"));
        let some = state("/b", &["/a/x", "/0"]);
        assert!(!there(&some, "/a/x") && !there(&some, "/a/x/y") && there(&some, "/a/xy"));
        assert!(!there(&some, "/0"));
        assert!(!there(&state("/b", &["/"]), "/a"));
        assert!(!there(&state("", &[]), "/a"));
    }
}

//! A disk in memory that loses power, fills up and fails, for the tests of the journal.
//!
//! It keeps what the kernel would show (`shown`) apart from what would survive a power cut (`stable`).
//! What was written and not synced survives in pieces: each run of 1 to 8 sectors of 512 bytes stays
//! or goes by the toss of a seeded coin, in any combination; so do lengths, and names that were not
//! synced. A failed sync drops the dirty state as Linux does: the bytes still show, and a later sync
//! does not write them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, LogFile};

const SECTOR: usize = 512;

/// A small generator of seeded numbers (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
}

#[derive(Clone, Default)]
struct Content {
    shown: Vec<u8>,
    stable: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Content {
    fn sync(&mut self) {
        self.stable.resize(self.shown.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
    }

    fn keep(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.shown.len());
        if start < end {
            let length = self.stable.len().max(end);
            self.stable.resize(length, 0);
            self.stable[start..end].copy_from_slice(&self.shown[start..end]);
        }
    }

    /// What a power cut leaves.
    fn cut(&mut self, random: &mut Random) {
        let (mut keep, mut left) = (false, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if left == 0 {
                (keep, left) = (random.coin(), 1 + random.below(8));
            }
            left -= 1;
            if keep {
                self.keep(sector);
            }
        }
        if random.coin() {
            self.stable.resize(self.shown.len(), 0);
        }
        self.shown = self.stable.clone();
    }
}

type Shared = Arc<Mutex<Content>>;

#[derive(Default)]
struct State {
    shown: BTreeMap<String, Shared>,
    stable: BTreeMap<String, Shared>,
    /// How many more writes succeed; `None` is all.
    writes_left: Option<u64>,
    syncs_left: Option<u64>,
    /// Whether room for new files is refused.
    full: bool,
    /// The power is off: nothing works any more.
    off: bool,
}

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct FaultDisk {
    state: Arc<Mutex<State>>,
}

impl FaultDisk {
    /// What is on the disk after the power has gone and come back. The old one is dead.
    pub(super) fn cut_power(&self, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut state = self.state.lock();
        state.off = true;
        let names: BTreeSet<String> = state.shown.keys().chain(state.stable.keys()).cloned().collect();
        let mut kept = BTreeMap::new();
        for name in names {
            let side = if random.coin() { &state.shown } else { &state.stable };
            if let Some(content) = side.get(&name) {
                let mut content = content.lock().clone();
                content.cut(&mut random);
                kept.insert(name, Arc::new(Mutex::new(content)));
            }
        }
        Self::with(kept.clone(), kept)
    }

    /// What is on the disk after the process was killed. The old one is dead.
    pub(super) fn kill(&self) -> Self {
        let mut state = self.state.lock();
        state.off = true;
        let copy = |files: &BTreeMap<String, Shared>| files.clone();
        Self::with(copy(&state.shown), copy(&state.stable))
    }

    fn with(shown: BTreeMap<String, Shared>, stable: BTreeMap<String, Shared>) -> Self {
        Self { state: Arc::new(Mutex::new(State { shown, stable, ..State::default() })) }
    }

    /// After `count` more, all writes fail.
    pub(super) fn fail_writes_after(&self, count: u64) {
        self.state.lock().writes_left = Some(count);
    }

    /// After `count` more, one sync fails; those after it succeed and prove nothing.
    pub(super) fn fail_one_sync_after(&self, count: u64) {
        self.state.lock().syncs_left = Some(count);
    }

    /// Whether there is room for new files.
    pub(super) fn set_full(&self, full: bool) {
        self.state.lock().full = full;
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(super) fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let content = self.state.lock().shown[name].clone();
        let mut content = content.lock();
        change(&mut content.shown);
        content.stable = content.shown.clone();
    }

    /// Removes a file behind everybody's back.
    pub(super) fn lose(&self, name: &str) {
        let mut state = self.state.lock();
        state.shown.remove(name);
        state.stable.remove(name);
    }

    /// The names of all segments.
    pub(super) fn segments(&self) -> Vec<String> {
        self.state
            .lock()
            .shown
            .keys()
            .filter(|name| super::format::segment_of(name).is_some())
            .cloned()
            .collect()
    }

    fn on(&self) -> io::Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.off { Err(io::Error::other("the power is off")) } else { Ok(state) }
    }
}

/// Whether one more is allowed, counting down.
fn take(left: &mut Option<u64>) -> bool {
    match left {
        None => true,
        Some(0) => false,
        Some(count) => {
            *count -= 1;
            true
        }
    }
}

struct FaultFile {
    disk: FaultDisk,
    content: Shared,
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.on()?.shown.keys().cloned().collect())
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Arc<dyn LogFile>> {
        let mut state = self.on()?;
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.shown.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = Content { shown: vec![0; bytes as usize], ..Content::default() };
        let content = Arc::new(Mutex::new(content));
        state.shown.insert(name.to_owned(), content.clone());
        Ok(Arc::new(FaultFile { disk: self.clone(), content }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn LogFile>> {
        let content = self.on()?.shown.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.on()?;
        let content = state.shown.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.shown.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.on()?.shown.remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.on()?;
        state.stable = state.shown.clone();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/fault").join(name)
    }
}

impl LogFile for FaultFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().shown.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let from = content.shown.len().min(offset as usize);
        let count = buffer.len().min(content.shown.len() - from);
        buffer[..count].copy_from_slice(&content.shown[from..from + count]);
        Ok(count)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    fn write_at(&self, pieces: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
        let allowed = take(&mut self.disk.on()?.writes_left);
        if !allowed {
            bytes.truncate(bytes.len() / 2);
        }
        let mut content = self.content.lock();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        let length = content.shown.len().max(end);
        content.shown.resize(length, 0);
        content.shown[start..end].copy_from_slice(&bytes);
        content.dirty.extend(start / SECTOR..end.div_ceil(SECTOR));
        if allowed { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let _on = self.disk.on()?;
        self.content.lock().shown.resize(bytes as usize, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.on()?;
        let mut content = self.content.lock();
        if take(&mut state.syncs_left) {
            content.sync();
            return Ok(());
        }
        state.syncs_left = None;
        content.dirty.clear();
        Err(io::Error::other("the disk did not take it"))
    }
}

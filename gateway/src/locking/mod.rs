//! Byte-range locks and share reservations of a share's files, for doors whose clients have state: NFS
//! version 4.1 (RFC 8881 sections 9 and 18.10 to 18.12), SMB.
//!
//! Owns who holds what, in memory only: nothing survives a restart, after which clients reclaim. Everything
//! is decided under one lock of the share's table, so a request is granted as a whole or changes nothing.
//!
//! Promises:
//! * two owners never hold ranges with a byte in common unless both are read locks;
//! * an owner holds each byte at most once: a lock over ranges that it has replaces them, by upgrade,
//!   downgrade, split and merge;
//! * no open has an access that another owner's open denies;
//! * a refusal names the holder, and the whole range or mode that it holds;
//! * what is held is bounded, by client and in all ([`LockLimits`]). To give back is refused only where it
//!   would leave more ranges than the bound.
//!
//! Deliberately not here: waiting (a door that lets clients wait asks again), leases of clients, state ids,
//! and any effect on reading and writing. Locks are advisory; version 3 of NFS asks nobody. A door that has
//! mandatory reservations asks [`LockTable::conflicts`] first.
//!
//! Other than [`crate::share::InodeLocks`], which orders changes of inodes inside the gateway, these are
//! visible to clients and held for as long as they wish.

mod opens;
mod ranges;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_replicator::map::InodeNumber;

pub use opens::{OpenDenied, OpenError, OpenMode, Rights};
pub use ranges::{ByteRange, LockDenied, LockKind};

use opens::FileOpens;
use ranges::FileRanges;

/// The longest name of an owner, in bytes (`NFS4_OPAQUE_LIMIT`).
pub const OWNER_BYTES_MAX: usize = 1024;

/// Who holds a lock or has a file open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    client: u64,
    name: Bytes,
}

impl Owner {
    /// An owner of a client; none if the name is longer than [`OWNER_BYTES_MAX`].
    pub fn new(client: u64, name: &[u8]) -> Option<Self> {
        // Copied: the name may be a piece of a long request.
        (name.len() <= OWNER_BYTES_MAX).then(|| Self { client, name: Bytes::copy_from_slice(name) })
    }

    /// Its client.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// What the client calls it.
    pub fn name(&self) -> &Bytes {
        &self.name
    }
}

/// How much may be held. A range and an open count as one each.
#[derive(Clone, Copy, Debug)]
pub struct LockLimits {
    /// By one client.
    pub of_client: usize,
    /// By all together.
    pub in_all: usize,
}

impl Default for LockLimits {
    /// 65,536 and 524,288: at some 300 bytes each, at most 150 MiB.
    fn default() -> Self {
        Self { of_client: 1 << 16, in_all: 1 << 19 }
    }
}

/// Why a byte-range lock was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Another owner holds a byte of it.
    #[error("another owner holds it")]
    Denied(LockDenied),
    /// More would be held than [`LockLimits`] allow.
    #[error("too many locks are held")]
    TooMany,
}

/// What a file has.
#[derive(Debug, Default)]
struct FileState {
    ranges: FileRanges,
    opens: FileOpens,
}

/// What a client has.
#[derive(Debug, Default)]
struct ClientState {
    count: usize,
    /// Every owner with every file where it has something.
    places: BTreeSet<(Owner, InodeNumber)>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<InodeNumber, FileState>,
    clients: HashMap<u64, ClientState>,
    count: usize,
}

/// The table of a share; see the head of this module.
#[derive(Debug, Default)]
pub struct LockTable {
    limits: LockLimits,
    state: Mutex<State>,
}

impl LockTable {
    /// An empty table.
    pub fn new(limits: LockLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Locks a range, or changes the kind of what the owner holds of it.
    pub fn lock(
        &self,
        file: InodeNumber,
        owner: &Owner,
        kind: LockKind,
        range: ByteRange,
    ) -> Result<(), LockError> {
        let mut state = self.state.lock();
        if let Some(denied) = state.denied(file, owner, kind, range) {
            return Err(LockError::Denied(denied));
        }
        state.set_range(file, owner, Some(kind), range, self.limits)
    }

    /// What would keep the owner from locking a range. Its own locks do not.
    pub fn test(
        &self,
        file: InodeNumber,
        owner: &Owner,
        kind: LockKind,
        range: ByteRange,
    ) -> Option<LockDenied> {
        self.state.lock().denied(file, owner, kind, range)
    }

    /// Gives back what the owner holds of a range, if anything. [`LockError::TooMany`] when that would
    /// split a range in two that are one too many.
    pub fn unlock(&self, file: InodeNumber, owner: &Owner, range: ByteRange) -> Result<(), LockError> {
        self.state.lock().set_range(file, owner, None, range, self.limits)
    }

    /// Whether the owner holds a range of the file.
    pub fn holds(&self, file: InodeNumber, owner: &Owner) -> bool {
        self.state.lock().files.get(&file).is_some_and(|file| file.ranges.count(owner) > 0)
    }

    /// Opens a file, or opens it once more: an owner has the union of its modes.
    pub fn open(&self, file: InodeNumber, owner: &Owner, mode: OpenMode) -> Result<(), OpenError> {
        let mut state = self.state.lock();
        let opens = state.files.get(&file).map(|file| &file.opens);
        if let Some(denied) = opens.and_then(|opens| opens.denied(owner, mode)) {
            return Err(OpenError::Denied(denied));
        }
        let is_new = opens.is_none_or(|opens| opens.mode(owner).is_none());
        let more = isize::from(is_new);
        if !state.has_room(owner.client, more, self.limits) {
            return Err(OpenError::TooMany);
        }
        state.files.entry(file).or_default().opens.add(owner, mode);
        state.count_change(file, owner, more);
        Ok(())
    }

    /// Takes an open back to a mode that it has been opened with, or to the union of several.
    pub fn downgrade(&self, file: InodeNumber, owner: &Owner, mode: OpenMode) -> Result<(), OpenError> {
        let mut state = self.state.lock();
        let opens = state.files.get_mut(&file).map(|file| &mut file.opens);
        opens.ok_or(OpenError::NotOpen)?.downgrade(owner, mode)
    }

    /// Ends the open of an owner; whether there was one. Its locks stay.
    pub fn close(&self, file: InodeNumber, owner: &Owner) -> bool {
        let mut state = self.state.lock();
        let was_open = state.files.get_mut(&file).is_some_and(|file| file.opens.remove(owner));
        state.count_change(file, owner, -isize::from(was_open));
        was_open
    }

    /// How an owner has a file open.
    pub fn open_mode(&self, file: InodeNumber, owner: &Owner) -> Option<OpenMode> {
        self.state.lock().files.get(&file)?.opens.mode(owner)
    }

    /// Whose open denies such an access to the file. For whoever reads or writes without an open of his
    /// own, and for those whose door wants reservations to bind: then `asked_by` is not in its own way.
    pub fn conflicts(
        &self,
        file: InodeNumber,
        access: Rights,
        asked_by: Option<&Owner>,
    ) -> Option<OpenDenied> {
        self.state.lock().files.get(&file)?.opens.denies(access, asked_by)
    }

    /// Gives back everything that an owner holds.
    pub fn release_owner(&self, owner: &Owner) {
        let mut state = self.state.lock();
        let Some(client) = state.clients.get(&owner.client) else { return };
        let from = (owner.clone(), InodeNumber(0));
        let of_owner = client.places.range(from..).take_while(|(holder, _)| holder == owner);
        let files: Vec<_> = of_owner.map(|(_, file)| *file).collect();
        for file in files {
            state.release(file, owner);
        }
    }

    /// Gives back everything that a client holds.
    pub fn release_client(&self, client: u64) {
        let mut state = self.state.lock();
        let places = state.clients.get_mut(&client).map(|client| std::mem::take(&mut client.places));
        for (owner, file) in places.unwrap_or_default() {
            state.release(file, &owner);
        }
    }

    /// How many ranges and opens there are.
    pub fn count(&self) -> usize {
        self.state.lock().count
    }
}

impl State {
    fn denied(
        &self,
        file: InodeNumber,
        owner: &Owner,
        kind: LockKind,
        range: ByteRange,
    ) -> Option<LockDenied> {
        self.files.get(&file)?.ranges.denied(owner, kind, range)
    }

    /// Whether a client may hold so much more.
    fn has_room(&self, client: u64, more: isize, limits: LockLimits) -> bool {
        let of_client = self.clients.get(&client).map_or(0, |client| client.count);
        let fits = |count: usize, most: usize| count.saturating_add_signed(more) <= most;
        more <= 0 || fits(self.count, limits.in_all) && fits(of_client, limits.of_client)
    }

    /// Sets what an owner holds of a range, which nobody else is in the way of.
    fn set_range(
        &mut self,
        file: InodeNumber,
        owner: &Owner,
        kind: Option<LockKind>,
        range: ByteRange,
        limits: LockLimits,
    ) -> Result<(), LockError> {
        let nothing = FileRanges::default();
        let ranges = self.files.get(&file).map_or(&nothing, |file| &file.ranges);
        let more = ranges.growth(owner, kind, range);
        if !self.has_room(owner.client, more, limits) {
            return Err(LockError::TooMany);
        }
        self.files.entry(file).or_default().ranges.set(owner, kind, range);
        self.count_change(file, owner, more);
        Ok(())
    }

    /// Takes note that an owner has so much more of a file, and forgets what is empty.
    fn count_change(&mut self, file: InodeNumber, owner: &Owner, more: isize) {
        self.count = self.count.saturating_add_signed(more);
        let client = self.clients.entry(owner.client).or_default();
        client.count = client.count.saturating_add_signed(more);
        let state = self.files.get(&file);
        let place = (owner.clone(), file);
        if state.is_some_and(|state| state.count(owner) > 0) {
            client.places.insert(place);
        } else {
            client.places.remove(&place);
        }
        if client.count == 0 {
            self.clients.remove(&owner.client);
        }
        if state.is_some_and(|state| state.ranges.is_empty() && state.opens.is_empty()) {
            self.files.remove(&file);
        }
    }

    fn release(&mut self, file: InodeNumber, owner: &Owner) {
        let Some(state) = self.files.get_mut(&file) else { return };
        let before = state.count(owner);
        state.ranges.release(owner);
        state.opens.remove(owner);
        self.count_change(file, owner, -before.cast_signed());
    }
}

impl FileState {
    /// How many ranges and opens an owner has.
    fn count(&self, owner: &Owner) -> usize {
        self.ranges.count(owner) + usize::from(self.opens.mode(owner).is_some())
    }
}

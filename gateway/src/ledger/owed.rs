//! What copies of the repository lack: for each copy, the packs that were made here and that it is not known to have.
//!
//! ```text
//! name | 0 | pack id   -> bytes u64 (little-endian)    the copy of that name and place is owed this pack
//! name | 0             -> nothing                      the copy has once had everything
//! ```
//!
//! A pack is *spread* when as many targets have it as the settings require, the
//! lead among them; only then may its file go. A copy that has never had everything counts for nothing, nor does one that
//! this process has not found to be there yet: what it had may lie on a disk that is not mounted.
//!
//! Rows are kept like the rest of the ledger: what a crash takes back is owed once more, and found to be there.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tidegate_chunker::{DomainId, Location, PackId};

use super::{Ledger, LedgerError, PackRecord, Stage};
use crate::live::{LiveError, SideTable};

/// Rows that are changed in one write.
const ROWS_MAX: usize = 1024;

/// Which copies there are.
#[derive(Debug, Default)]
pub(super) struct Copies {
    state: RwLock<State>,
    /// Bytes of packs that the lead has and that are not spread.
    unspread_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// How many targets must have a pack.
    required: usize,
    copies: HashMap<String, Owed>,
    /// The copies that this process has found to be there.
    seen: HashSet<String>,
}

/// What one copy is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owed {
    /// Packs.
    pub packs: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// Whether the copy has once had everything.
    pub whole_once: bool,
}

/// What the keys of a copy's rows begin with.
fn prefix(copy: &str) -> Vec<u8> {
    [copy.as_bytes(), &[0]].concat()
}

fn row(copy: &str, pack: &PackId) -> Vec<u8> {
    [copy.as_bytes(), &[0], pack.as_bytes()].concat()
}

/// The copy and the pack of a row; no pack in the row that says that the copy was whole once.
fn split(key: &[u8]) -> Result<(&str, &[u8]), LiveError> {
    let end = key.iter().position(|byte| *byte == 0).ok_or(UNDECODABLE)?;
    Ok((std::str::from_utf8(&key[..end]).map_err(|_| UNDECODABLE)?, &key[end + 1..]))
}

impl Ledger {
    /// From now on these are the copies, and so many targets must have a pack before its file may go. What other
    /// copies were owed is forgotten. Blocks.
    pub(crate) fn set_copies(&self, names: &[String], required: usize) -> Result<(), LedgerError> {
        let mut copies: HashMap<_, _> = names.iter().map(|name| (name.clone(), Owed::default())).collect();
        let mut strange = Vec::new();
        for entry in self.database.side_entries(SideTable::Owed) {
            let (key, value) = entry?;
            let (copy, pack) = split(&key)?;
            match copies.get_mut(copy) {
                None => strange.push(key),
                Some(owed) if pack.is_empty() => owed.whole_once = true,
                Some(owed) => {
                    owed.packs += 1;
                    owed.bytes += length(&value)?;
                }
            }
        }
        for keys in strange.chunks(ROWS_MAX) {
            self.database.set_side(SideTable::Owed, keys.iter().map(|key| (&key[..], None)))?;
        }
        {
            let mut state = self.copies.state.write();
            let mut seen = std::mem::take(&mut state.seen);
            seen.retain(|copy| copies.contains_key(copy));
            *state = State { required, copies, seen };
        }
        // What waits was perhaps made before there was this copy, or its row was lost in a crash.
        for (pack, record) in self.local()?.into_iter().chain(self.uploaded()?) {
            self.owe(&pack, record.bytes)?;
        }
        self.recount()
    }

    /// Every copy is owed a pack that was just made.
    pub(super) fn owe(&self, pack: &PackId, bytes: u64) -> Result<(), LedgerError> {
        let mut state = self.copies.state.write();
        for (copy, owed) in &mut state.copies {
            let key = row(copy, pack);
            if self.database.side(SideTable::Owed, &key)?.is_none() {
                let value = bytes.to_le_bytes();
                self.database.set_side(SideTable::Owed, [(&key[..], Some(&value[..]))])?;
                owed.packs += 1;
                owed.bytes += bytes;
            }
        }
        Ok(())
    }

    /// What a copy is owed, that the lead has with its index: after the next pass it has these.
    pub(crate) fn owed_packs(&self, copy: &str) -> Result<Vec<(PackId, u64)>, LedgerError> {
        let mut found = Vec::new();
        for (pack, bytes) in self.rows(copy)? {
            if self.record(&pack)?.is_none_or(|record| record.stage == Stage::Indexed) {
                found.push((pack, bytes));
            }
        }
        Ok(found)
    }

    /// A copy has these packs now; `whole` says that it has everything that the lead had. Blocks.
    pub(crate) fn settle(&self, copy: &str, packs: &[(PackId, u64)], whole: bool) -> Result<(), LedgerError> {
        // As in `advance`: who means to evict one of them waits until it is noted that a crash would owe it again.
        let mut stages = self.stages.lock();
        stages.noted += 1;
        for packs in packs.chunks(ROWS_MAX) {
            let mut state = self.copies.state.write();
            let Some(owed) = state.copies.get_mut(copy) else { return Ok(()) };
            let rows: Vec<_> = packs.iter().map(|(pack, _)| row(copy, pack)).collect();
            self.database.set_side(SideTable::Owed, rows.iter().map(|row| (&row[..], None)))?;
            owed.packs = owed.packs.saturating_sub(packs.len() as u64);
            owed.bytes = owed.bytes.saturating_sub(packs.iter().map(|(_, bytes)| bytes).sum());
        }
        if whole {
            let mut state = self.copies.state.write();
            let Some(owed) = state.copies.get_mut(copy) else { return Ok(()) };
            if !owed.whole_once {
                self.database.set_side(SideTable::Owed, [(&prefix(copy)[..], Some(&[][..]))])?;
                owed.whole_once = true;
                drop(state);
                // It can lead from now on, also after a crash.
                self.database.flush()?;
            }
        }
        drop(stages);
        self.recount()
    }

    /// No copy is owed a pack of this domain any more. Blocks.
    pub(super) fn owe_nothing_of(&self, domain: DomainId) -> Result<(), LedgerError> {
        let copies: Vec<String> = self.copies.state.read().copies.keys().cloned().collect();
        for copy in copies {
            let mut rows = Vec::new();
            for (pack, bytes) in self.rows(&copy)? {
                if self.record(&pack)?.is_some_and(|record| record.domain == domain) {
                    rows.push((pack, bytes));
                }
            }
            self.settle(&copy, &rows, false)?;
        }
        Ok(())
    }

    /// A copy was found to be there: from now on, in this process, what it has counts. Blocks.
    pub(crate) fn note_seen(&self, copy: &str) -> Result<(), LedgerError> {
        {
            let mut state = self.copies.state.write();
            if !state.copies.contains_key(copy) || !state.seen.insert(copy.to_owned()) {
                return Ok(());
            }
        }
        self.recount()
    }

    /// A copy was found empty: whatever it had, it has no more. Blocks.
    pub(crate) fn forget_copy(&self, copy: &str) -> Result<(), LedgerError> {
        {
            let mut state = self.copies.state.write();
            let Some(owed) = state.copies.get_mut(copy) else { return Ok(()) };
            self.database.set_side(SideTable::Owed, [(&prefix(copy)[..], None)])?;
            owed.whole_once = false;
        }
        self.database.flush()?;
        self.recount()
    }

    /// What a copy is owed; nothing of a copy that is not known.
    pub(crate) fn owed(&self, copy: &str) -> Owed {
        self.copies.state.read().copies.get(copy).copied().unwrap_or_default()
    }

    /// Whether as many targets have a pack that the lead has as are required, so that its file may go.
    pub(crate) fn is_spread(&self, pack: &PackId) -> Result<bool, LedgerError> {
        self.have_enough(pack, |state, copy| state.seen.contains(copy))
    }

    /// The same, as far as it was known before: what a copy had that has not been found to be there yet makes no writer wait.
    fn was_spread(&self, pack: &PackId) -> Result<bool, LedgerError> {
        self.have_enough(pack, |_, _| true)
    }

    fn have_enough(&self, pack: &PackId, counts: impl Fn(&State, &str) -> bool) -> Result<bool, LedgerError> {
        let state = self.copies.state.read();
        let mut holders = 1;
        for (copy, owed) in &state.copies {
            if holders >= state.required {
                break;
            }
            let counts = owed.whole_once && counts(&state, copy);
            if counts && self.database.side(SideTable::Owed, &row(copy, pack))?.is_none() {
                holders += 1;
            }
        }
        Ok(holders >= state.required)
    }

    /// Bytes of packs that the lead has and that must stay because too few others have them.
    pub(super) fn unspread_bytes(&self) -> u64 {
        self.copies.unspread_bytes.load(Ordering::Relaxed)
    }

    /// Takes note of a pack that the lead has now; whether its file may go by that.
    pub(super) fn note_indexed(&self, pack: &PackId, bytes: u64) -> Result<bool, LedgerError> {
        if !self.was_spread(pack)? {
            self.copies.unspread_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        self.is_spread(pack)
    }

    /// Looks at every pack that is here: those that are spread may be evicted, the others are counted.
    fn recount(&self) -> Result<(), LedgerError> {
        if self.copies.state.read().required <= 1 {
            self.copies.unspread_bytes.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let mut unspread = 0;
        for (pack, bytes) in self.files_of_indexed()? {
            if self.is_spread(&pack)? {
                self.indexed.lock().push((pack, bytes));
            } else if !self.was_spread(&pack)? {
                unspread += bytes;
            }
        }
        self.copies.unspread_bytes.store(unspread, Ordering::Relaxed);
        Ok(())
    }

    /// What the lead has and a copy that is to lead has not goes up anew; gives the packs of which no file is
    /// here. Blocks.
    pub(crate) fn send_again_what_is_owed(&self, copy: &str) -> Result<Vec<PackId>, LedgerError> {
        let mut lost = Vec::new();
        for (pack, _) in self.rows(copy)? {
            let Some(record) = self.record(&pack)?.filter(|record| record.stage != Stage::Local) else {
                continue;
            };
            if !self.path(&pack).exists() {
                lost.push(pack);
                continue;
            }
            self.note(&pack, &PackRecord { stage: Stage::Local, ..record })?;
            self.backlog_bytes.fetch_add(record.bytes, Ordering::Relaxed);
        }
        Ok(lost)
    }

    /// How many known chunks lie in packs that are neither among these nor here, nor condemned: a live map may need
    /// them. Blocks, and looks at every chunk that is known.
    pub(crate) fn count_outside(&self, packs: &HashSet<PackId>) -> Result<u64, LedgerError> {
        let (mut here, mut count) = (HashMap::new(), 0);
        for entry in self.database.side_entries(SideTable::Chunks) {
            let (_, at) = entry?;
            let Ok(at) = <[u8; Location::LEN]>::try_from(&at[..]) else { continue };
            let pack = Location::from_bytes(&at).pack;
            let is_known = packs.contains(&pack)
                || self.is_void(&pack)
                || *here.entry(pack).or_insert_with(|| self.path(&pack).exists());
            count += u64::from(!is_known);
        }
        Ok(count)
    }

    /// Forgets chunks in packs that are neither among these nor here: they count as duplicates no more. Blocks, and
    /// looks at every chunk that is known.
    pub(crate) fn keep_only(&self, packs: &HashSet<PackId>) -> Result<(), LedgerError> {
        let mut here = HashMap::new();
        self.forget_chunks_where(|at| {
            !packs.contains(&at.pack) && !*here.entry(at.pack).or_insert_with(|| self.path(&at.pack).exists())
        })
    }

    fn rows(&self, copy: &str) -> Result<Vec<(PackId, u64)>, LedgerError> {
        let (prefix, mut found) = (prefix(copy), Vec::new());
        for entry in self.database.side_entries_from(SideTable::Owed, &prefix) {
            let (key, value) = entry?;
            let Some(pack) = key.strip_prefix(&prefix[..]) else { break };
            if !pack.is_empty() {
                found.push((PackId::from_slice(pack).ok_or(UNDECODABLE)?, length(&value)?));
            }
        }
        Ok(found)
    }
}

const UNDECODABLE: LiveError = LiveError::Undecodable("what a copy is owed");

fn length(value: &[u8]) -> Result<u64, LiveError> {
    Ok(u64::from_le_bytes(value.try_into().map_err(|_| UNDECODABLE)?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::live::Database;

    const PACK: PackId = PackId::new([7; 32]);

    /// The ledger of a gateway that has started just now, with a copy of which two must have everything.
    fn started(folder: &Path) -> Arc<Ledger> {
        let database = Database::open(&folder.join("meta"), 1 << 20, 8 << 20).expect("a sound database");
        let ledger = Ledger::open(Arc::new(database), folder.join("packs"), &[]).expect("a sound ledger");
        ledger.set_copies(&["away".to_owned()], 2).expect("set");
        ledger
    }

    #[test]
    fn what_a_copy_has_lets_nothing_go_before_it_was_found_to_be_there_and_makes_nobody_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let ledger = started(folder.path());
        ledger.put_for_test(PACK, 1000, DomainId::new([1; 16]));
        ledger.owe(&PACK, 1000).expect("owed");
        ledger.advance(&PACK, Stage::Indexed).expect("indexed");
        ledger.note_seen("away").expect("seen");
        assert_eq!((ledger.may_evict(&PACK).expect("known"), ledger.unspread_bytes()), (false, 1000));
        ledger.settle("away", &[(PACK, 1000)], true).expect("settled");
        assert_eq!((ledger.may_evict(&PACK).expect("known"), ledger.unspread_bytes()), (true, 0));
        ledger.make_stages_durable().expect("durable");
        drop(ledger);
        let ledger = started(folder.path());
        assert_eq!((ledger.may_evict(&PACK).expect("known"), ledger.unspread_bytes()), (false, 0));
        ledger.note_seen("away").expect("seen");
        assert_eq!((ledger.may_evict(&PACK).expect("known"), ledger.unspread_bytes()), (true, 0));
    }
}

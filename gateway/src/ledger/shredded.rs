//! What was made here of a domain whose keys were destroyed goes: nobody opens it any more, and no target is to have it.
//!
//! Order: files, then what copies are owed, then the rows of packs that wait. A crash in between leaves rows of packs that
//! are not here, until the next upload does it again.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tidegate_chunker::{DomainId, PackId};

use super::{Ledger, LedgerError, PackRecord, Stage};
use crate::live::SideTable;

impl Ledger {
    /// Takes away the packs of a domain that wait to be sent or indexed; tells how many. Blocks, and looks at every chunk that
    /// is known. For whoever uploads: nobody else moves packs from stage to stage.
    pub(crate) fn drop_shredded(&self, domain: DomainId) -> Result<u64, LedgerError> {
        let mut waiting: Vec<(PackId, PackRecord)> = self.local()?;
        waiting.extend(self.uploaded()?);
        waiting.retain(|(_, record)| record.domain == domain);
        for (pack, _) in &waiting {
            match std::fs::remove_file(self.path(pack)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.unreadable(error));
                }
                Err(_) | Ok(()) => {}
            }
        }
        self.owe_nothing_of(domain)?;
        let gone: HashSet<PackId> = waiting.iter().map(|(pack, _)| *pack).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        self.forget_chunks_where(|at| gone.contains(&at.pack))?;
        self.database.set_side(SideTable::Waiting, gone.iter().map(|pack| (&pack.as_bytes()[..], None)))?;
        let local = waiting.iter().filter(|(_, record)| record.stage == Stage::Local);
        self.backlog_bytes.fetch_sub(local.map(|(_, record)| record.bytes).sum(), Ordering::Relaxed);
        self.doubtful.lock().retain(|pack| !gone.contains(pack));
        Ok(gone.len() as u64)
    }
}

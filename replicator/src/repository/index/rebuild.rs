//! Making the index anew from the ends of all packs.
//!
//! Order: list the index objects that there are; then list the packs, read the index at the end of each,
//! and write new objects; last of all delete the objects that were listed first. A commit stores its packs
//! before its index, so what an old object says is also said by a pack that is listed afterwards. A crash
//! leaves facts twice, which does no harm.
//!
//! When a pack cannot be read, nothing is deleted: the old index may know what it holds.

use super::{INDEX_ENTRIES_MAX, IndexEntry, LEVEL_LAST};
use crate::repository::error::{RepositoryError, Result};
use crate::repository::open::{Opened, Repository};

/// How many packs are listed at once.
const LIST_PAGE: usize = 1000;

/// What a rebuild did.
#[derive(Debug, Default)]
pub struct RebuildReport {
    /// Packs read.
    pub packs: usize,
    /// Entries found.
    pub entries: usize,
    /// Index objects written.
    pub written: usize,
    /// Old index objects deleted; 0 when packs could not be read.
    pub deleted: usize,
    /// Why packs could not be read, each under its name.
    pub unreadable: Vec<RepositoryError>,
}

impl Repository<Opened> {
    /// Makes the index anew. Stops at an error of the store; the old index is then still there.
    pub async fn rebuild_index(&self) -> Result<RebuildReport> {
        let old = self.index_names().await?;
        let mut report = RebuildReport::default();
        let mut entries = Vec::new();
        let mut after = None;
        loop {
            let (packs, more) = self.list_packs(after, LIST_PAGE).await?;
            after = packs.last().copied();
            for pack in packs {
                match self.pack_index(pack).await {
                    Err(error @ RepositoryError::Store(_)) => return Err(error),
                    Err(error) => report.unreadable.push(error),
                    Ok((domain, index)) => {
                        report.packs += 1;
                        entries.extend(index.chunks().map(|placed| IndexEntry::new(domain, placed)));
                    }
                }
                self.write_full(&mut entries, &mut report).await?;
            }
            if !more {
                break;
            }
        }
        self.write_rebuilt(0, entries, &mut report).await?;
        if report.unreadable.is_empty() {
            for name in &old {
                self.store.delete(&name.object()).await?;
                report.deleted += 1;
            }
        }
        Ok(report)
    }

    /// Writes full objects of `entries` while there are enough for one.
    async fn write_full(&self, entries: &mut Vec<IndexEntry>, report: &mut RebuildReport) -> Result<()> {
        while entries.len() >= INDEX_ENTRIES_MAX {
            let rest = entries.split_off(INDEX_ENTRIES_MAX);
            let full = std::mem::replace(entries, rest);
            self.write_rebuilt(LEVEL_LAST, full, report).await?;
        }
        Ok(())
    }

    async fn write_rebuilt(
        &self,
        level: u8,
        mut entries: Vec<IndexEntry>,
        report: &mut RebuildReport,
    ) -> Result<()> {
        entries.sort_unstable();
        entries.dedup();
        if !entries.is_empty() {
            self.put_index_object(level, &entries, &[]).await?;
            report.entries += entries.len();
            report.written += 1;
        }
        Ok(())
    }
}

//! Does the index say what the packs say?
//!
//! Reads the index once, one object at a time: each fact is held against the packs, and chunks that were
//! not where their hints say are found where the index says.

use std::collections::BTreeMap;

use tidegate_chunker::PackId;

use super::finding::Finding;
use super::packs::{Held, PackBook};
use super::reach::Reached;
use super::run::{CheckError, Run};
use crate::repository::{IndexName, IndexObject, RepositoryError, pack_name};
use crate::store::ErrorKind;

impl Run<'_> {
    /// Reads the index; takes the chunks that it finds out of those that are not resolved.
    pub(super) async fn index(
        &mut self,
        book: &mut PackBook,
        reached: &mut Reached,
    ) -> Result<(), CheckError> {
        let repository = self.repository.clone();
        let mut reader = repository.index_reader();
        loop {
            self.checkpoint()?;
            match reader.next().await {
                Ok(None) => return Ok(()),
                Ok(Some((name, object))) => {
                    self.report.counts.index_objects += 1;
                    self.index_object(name, &object, book, reached).await?;
                }
                Err(RepositoryError::Damaged { object, why }) => {
                    self.report.add(Finding::damage(object, format!("{why}: rebuild the index")));
                }
                Err(error) => self.note("index/", None, error)?,
            }
        }
    }

    async fn index_object(
        &mut self,
        name: IndexName,
        object: &IndexObject,
        book: &mut PackBook,
        reached: &mut Reached,
    ) -> Result<(), CheckError> {
        let (mut wrong, mut unknown) = (BTreeMap::<PackId, u64>::new(), BTreeMap::<PackId, u64>::new());
        for entry in object.entries() {
            let pack = entry.location.pack;
            match book.is_indexed(&entry.chunk, &entry.location) {
                Held::Yes if reached.unresolved.remove(&entry.chunk).is_some() => book.use_pack(&pack),
                Held::Yes | Held::Unknown | Held::BadPack => {}
                Held::No => *wrong.entry(pack).or_default() += 1,
                // What a plan has deleted counts for nothing, whatever the index says.
                Held::NoPack if self.void.contains(&pack) => {}
                Held::NoPack => *unknown.entry(pack).or_default() += 1,
            }
        }
        if !unknown.is_empty() {
            // The plan by which it went may be younger than the check.
            self.plans().await?;
        }
        for (pack, count) in unknown {
            if !self.void.contains(&pack) && !self.is_newer(pack, book).await? {
                wrong.insert(pack, count);
            }
        }
        if let Some(pack) = wrong.keys().next() {
            let (count, pack) = (wrong.values().sum::<u64>(), pack_name(*pack));
            let what = format!(
                "it says of {count} chunks that they lie where no pack has them, such as in {pack}: rebuild the index"
            );
            self.report.add(Finding::damage(name.object().as_str(), what));
        }
        Ok(())
    }

    /// Whether a pack was stored after the packs were listed: a gateway may publish meanwhile.
    async fn is_newer(&self, pack: PackId, book: &mut PackBook) -> Result<bool, CheckError> {
        if book.newer.contains(&pack) {
            return Ok(true);
        }
        match self.repository.store().head(&pack_name(pack)).await {
            Ok(_) => Ok(book.newer.insert(pack)),
            Err(error) if error.kind() == ErrorKind::Missing => Ok(false),
            Err(error) => Err(RepositoryError::from(error).into()),
        }
    }
}

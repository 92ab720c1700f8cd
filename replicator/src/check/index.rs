//! Does the index say what the packs say?
//!
//! Reads the index once, one object at a time: each fact is held against the packs, and chunks that were
//! not where their hints say are found where the index says.

use super::finding::Finding;
use super::packs::{Held, PackBook};
use super::reach::Reached;
use super::run::{CheckError, Run};
use crate::repository::{IndexName, IndexObject, RepositoryError, pack_name};

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
                    self.index_object(name, &object, book, reached);
                }
                Err(RepositoryError::Damaged { object, why }) => {
                    self.report.add(Finding::damage(object, format!("{why}: rebuild the index")));
                }
                Err(error) => self.note("index/", None, error)?,
            }
        }
    }

    fn index_object(
        &mut self,
        name: IndexName,
        object: &IndexObject,
        book: &mut PackBook,
        reached: &mut Reached,
    ) {
        let (mut wrong, mut example) = (0_u64, None);
        for entry in object.entries() {
            match book.is_indexed(&entry.chunk, &entry.location) {
                Held::Yes => drop(reached.unresolved.remove(&entry.chunk)),
                Held::Unknown | Held::BadPack => {}
                Held::No | Held::NoPack => {
                    wrong += 1;
                    example = Some(entry.location.pack);
                }
            }
        }
        if let Some(pack) = example {
            let pack = pack_name(pack);
            let what = format!(
                "it says of {wrong} chunks that they lie where no pack has them, such as in {pack}: rebuild the index"
            );
            self.report.add(Finding::damage(name.object().as_str(), what));
        }
    }
}

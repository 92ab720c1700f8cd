//! Writing index objects.

use super::{INDEX_ENTRIES_MAX, IndexEntry, IndexObject, KIND};
use crate::repository::chance::random;
use crate::repository::envelope::store_object;
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::{IndexId, IndexName};
use crate::repository::open::{Opened, Repository};
use crate::repository::packs::DurablePacks;
use crate::repository::publish::DurableCommit;
use crate::store::PutMode;

impl Repository<Opened> {
    /// Writes the index of one commit: where the chunks lie that its packs hold. Refuses an entry whose pack is
    /// not among them. May be repeated after an error; entries may then be in the index twice.
    pub async fn write_index(
        &self,
        mut entries: Vec<IndexEntry>,
        packs: &DurablePacks,
    ) -> Result<DurableCommit> {
        if let Some(entry) = entries.iter().find(|entry| !packs.contains(entry.location.pack)) {
            let pack = entry.location.pack;
            return Err(RepositoryError::invalid(format!(
                "pack {pack} is to be indexed, but not known to be durable"
            )));
        }
        let store = self.store.address();
        if let Some(pack) = packs.elsewhere(&store) {
            let id = pack.id();
            return Err(RepositoryError::invalid(format!("pack {id} is not known to be durable on {store}")));
        }
        entries.sort_unstable();
        entries.dedup();
        let mut index_objects = 0;
        for entries in entries.chunks(INDEX_ENTRIES_MAX) {
            self.put_index_object(0, entries, &[]).await?;
            index_objects += 1;
        }
        Ok(DurableCommit { store, packs: packs.len(), index_objects })
    }

    /// Writes one object; `entries` rise strictly.
    pub(super) async fn put_index_object(
        &self,
        level: u8,
        entries: &[IndexEntry],
        replaces: &[IndexName],
    ) -> Result<IndexName> {
        let name = IndexName { level, id: IndexId::new(random()?) };
        let object = name.object();
        let sealed = self.seal_control(KIND, &object, &IndexObject::encode(entries, replaces))?;
        store_object(&*self.store, &object, sealed, PutMode::Overwrite).await?;
        Ok(name)
    }
}

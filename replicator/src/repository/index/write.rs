//! Writing index objects.

use super::{INDEX_ENTRIES_MAX, IndexEntry, IndexObject, KIND};
use crate::repository::chance::random;
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::{IndexId, IndexName};
use crate::repository::open::{Opened, Repository};
use crate::repository::packs::DurablePacks;
use crate::repository::publish::DurableCommit;
use crate::store::PutMode;

impl Repository<Opened> {
    /// Writes the index of one commit: where the chunks lie that its packs hold, told in `groups` (of a
    /// pack each, say), which are asked for one after the other: memory holds one object's entries and one
    /// group. Refuses an entry whose pack is not among `packs`. May be repeated after an error; entries may
    /// then be in the index twice.
    pub async fn write_index<E: From<RepositoryError>>(
        &self,
        groups: impl IntoIterator<Item = std::result::Result<Vec<IndexEntry>, E>>,
        packs: &DurablePacks,
    ) -> std::result::Result<DurableCommit, E> {
        let store = self.store.address();
        if let Some(pack) = packs.elsewhere(&store) {
            let id = pack.id();
            let what = format!("pack {id} is not known to be durable on {store}");
            return Err(RepositoryError::invalid(what).into());
        }
        let (mut waiting, mut index_objects) = (Vec::new(), 0);
        for group in groups {
            let group = group?;
            check_durable(&group, packs)?;
            waiting.extend(group);
            while waiting.len() >= INDEX_ENTRIES_MAX {
                let rest = waiting.split_off(INDEX_ENTRIES_MAX);
                index_objects += self.put_entries(std::mem::replace(&mut waiting, rest)).await?;
            }
        }
        index_objects += self.put_entries(waiting).await?;
        Ok(DurableCommit { store, packs: packs.len(), index_objects })
    }

    /// Writes entries as one object of the lowest level, or none; tells how many it was.
    async fn put_entries(&self, mut entries: Vec<IndexEntry>) -> Result<usize> {
        if entries.is_empty() {
            return Ok(0);
        }
        entries.sort_unstable();
        entries.dedup();
        self.put_index_object(0, &entries, &[]).await?;
        Ok(1)
    }

    /// Writes the entries, which rise strictly, in the place of an object, on its level.
    pub(crate) async fn replace_index_object(&self, old: IndexName, entries: &[IndexEntry]) -> Result<()> {
        if !entries.is_empty() {
            self.put_index_object(old.level, entries, &[old]).await?;
        }
        Ok(self.store.delete(&old.object()).await?)
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
        self.store_sealed(&object, sealed, PutMode::Overwrite).await?;
        Ok(name)
    }
}

fn check_durable(entries: &[IndexEntry], packs: &DurablePacks) -> Result<()> {
    match entries.iter().find(|entry| !packs.contains(entry.location.pack)) {
        None => Ok(()),
        Some(entry) => {
            let pack = entry.location.pack;
            Err(RepositoryError::invalid(format!(
                "pack {pack} is to be indexed, but not known to be durable"
            )))
        }
    }
}

//! Merging index objects.
//!
//! One merge: read the objects of a level, write their entries anew, delete what was read. Order of writes
//! and crashes: see the head of the index.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{
    INDEX_ENTRIES_MAX, INDEX_LEVEL_OBJECTS_MAX, IndexEntry, IndexObject, LEVEL_LAST, MERGE_INPUTS_MAX,
};
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::IndexName;
use crate::repository::open::{Opened, Repository};

/// What a merge did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// Objects read and deleted.
    pub merged: usize,
    /// Objects written.
    pub written: usize,
    /// Objects of earlier merges deleted that a crash had left.
    pub leftovers: usize,
}

impl Repository<Opened> {
    /// Merges levels that have too many objects, lowest first, until none has. Anybody may, at any time; two at
    /// once do the work twice. Objects that cannot be read, or are gone, are left out.
    pub async fn merge_index(&self) -> Result<MergeReport> {
        let mut report = MergeReport::default();
        for level in 0..LEVEL_LAST {
            loop {
                let names = self.index_names().await?;
                let of_level: Vec<_> = names.iter().copied().filter(|name| name.level == level).collect();
                if of_level.len() <= INDEX_LEVEL_OBJECTS_MAX {
                    break;
                }
                let inputs = &of_level[..of_level.len().min(MERGE_INPUTS_MAX)];
                let Some(merged) = self.merge_objects(level, inputs, &names).await? else { break };
                report.merged += merged.merged;
                report.written += merged.written;
                report.leftovers += merged.leftovers;
            }
        }
        Ok(report)
    }

    /// Merges those of these objects that can be read; `None` when that is not worth it.
    async fn merge_objects(
        &self,
        level: u8,
        names: &[IndexName],
        present: &[IndexName],
    ) -> Result<Option<MergeReport>> {
        let (mut inputs, mut objects) = (Vec::new(), Vec::new());
        for name in names {
            match self.read_index_object(*name).await {
                Err(error @ RepositoryError::Store(_)) => return Err(error),
                Err(RepositoryError::Missing { .. }) => {}
                Err(error) => {
                    tracing::warn!(%error, "an index object is left out of a merge: rebuild the index");
                }
                Ok(object) => {
                    inputs.push(*name);
                    objects.push(object);
                }
            }
        }
        if inputs.len() < 2 {
            return Ok(None);
        }
        let leftovers = self.delete_leftovers(&objects, &inputs, present).await?;
        let written = self.write_merged(level, &objects, &inputs).await?;
        for name in &inputs {
            self.store.delete(&name.object()).await?;
        }
        Ok(Some(MergeReport { merged: inputs.len(), written, leftovers }))
    }

    /// Deletes what the merges that made these objects have replaced, if it is still there.
    async fn delete_leftovers(
        &self,
        objects: &[IndexObject],
        inputs: &[IndexName],
        present: &[IndexName],
    ) -> Result<usize> {
        let replaced = objects.iter().flat_map(IndexObject::replaces);
        let left = replaced.filter(|name| present.contains(name) && !inputs.contains(name));
        let mut deleted = 0;
        for name in left {
            self.store.delete(&name.object()).await?;
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Writes the union of `objects`: full objects to the last level, the rest to the next. The last object
    /// written names the inputs. Returns how many were written.
    async fn write_merged(&self, level: u8, objects: &[IndexObject], inputs: &[IndexName]) -> Result<usize> {
        let mut union = Union::new(objects).peekable();
        let mut written = 0;
        loop {
            let entries: Vec<_> = union.by_ref().take(INDEX_ENTRIES_MAX).collect();
            let is_last = union.peek().is_none();
            let level = if entries.len() == INDEX_ENTRIES_MAX { LEVEL_LAST } else { level + 1 };
            let replaces = if is_last { inputs } else { &[] };
            self.put_index_object(level, &entries, replaces).await?;
            written += 1;
            if is_last {
                return Ok(written);
            }
        }
    }
}

/// All entries of several objects in order, equal ones once.
struct Union<'a> {
    objects: &'a [IndexObject],
    /// The next entry of each object, with the object's number and the entry's place in it.
    heads: BinaryHeap<Reverse<(IndexEntry, usize, usize)>>,
    last: Option<IndexEntry>,
}

impl<'a> Union<'a> {
    fn new(objects: &'a [IndexObject]) -> Self {
        let first = |(number, object): (usize, &IndexObject)| Some(Reverse((object.entry_at(0)?, number, 0)));
        Self { objects, heads: objects.iter().enumerate().filter_map(first).collect(), last: None }
    }
}

impl Iterator for Union<'_> {
    type Item = IndexEntry;

    fn next(&mut self) -> Option<IndexEntry> {
        loop {
            let Reverse((entry, number, at)) = self.heads.pop()?;
            if let Some(next) = self.objects[number].entry_at(at + 1) {
                self.heads.push(Reverse((next, number, at + 1)));
            }
            if self.last != Some(entry) {
                self.last = Some(entry);
                return Some(entry);
            }
        }
    }
}

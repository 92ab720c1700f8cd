//! Reading the index, object by object, in bounded memory.

use std::collections::{BTreeSet, VecDeque};

use super::{IndexObject, KIND, OBJECT_BYTES_MAX};
use crate::repository::envelope::list_all;
use crate::repository::error::{RepositoryError, Result};
use crate::repository::names::{self, INDEX, IndexName};
use crate::repository::open::{Opened, Repository};
use crate::store::ObjectName;

/// How often the index is listed anew because objects were merged away while it was read.
const LISTINGS_MAX: u32 = 16;

/// Reads every index object once, those too that merges make meanwhile of objects not yet read.
///
/// Holds one object, and the names of all.
#[derive(Debug)]
pub struct IndexReader<'a> {
    repository: &'a Repository<Opened>,
    pending: VecDeque<IndexName>,
    taken: BTreeSet<IndexName>,
    listings: u32,
    /// Whether something was gone since the last listing, so that it takes another.
    stale: bool,
    /// Whether an object with a name that none can have was reported.
    strange: bool,
}

impl Repository<Opened> {
    /// Reads the whole index.
    pub fn index_reader(&self) -> IndexReader<'_> {
        self.index_reader_after(BTreeSet::new())
    }

    /// Reads the index except for these objects, which the caller has read before.
    pub fn index_reader_after(&self, known: BTreeSet<IndexName>) -> IndexReader<'_> {
        IndexReader {
            repository: self,
            pending: VecDeque::new(),
            taken: known,
            listings: 0,
            stale: true,
            strange: false,
        }
    }

    /// The names of all index objects now, in order.
    pub async fn index_names(&self) -> Result<Vec<IndexName>> {
        list_all(&*self.store, INDEX).await?.iter().map(parse).collect()
    }

    /// As [`Repository::index_names`], leaving out objects with names that none can have.
    pub async fn legible_index_names(&self) -> Result<Vec<IndexName>> {
        Ok(list_all(&*self.store, INDEX).await?.iter().filter_map(|name| parse(name).ok()).collect())
    }

    /// Reads one index object.
    pub async fn read_index_object(&self, name: IndexName) -> Result<IndexObject> {
        let object = name.object();
        IndexObject::decode(&object, &self.read_control(KIND, &object, OBJECT_BYTES_MAX).await?)
    }
}

impl IndexReader<'_> {
    /// The next object; `None` when all have been read. After `Damaged` under an object's name, calling again
    /// goes on with the next one: what that object said is then to be had from [`Repository::rebuild_index`].
    /// After an error of the store, calling again tries the same object again.
    pub async fn next(&mut self) -> Result<Option<(IndexName, IndexObject)>> {
        loop {
            let Some(name) = self.pending.pop_front() else {
                if !self.stale {
                    return Ok(None);
                }
                self.list().await?;
                continue;
            };
            match self.repository.read_index_object(name).await {
                Err(RepositoryError::Missing { .. }) => self.stale = true,
                Err(error @ RepositoryError::Store(_)) => {
                    self.pending.push_front(name);
                    return Err(error);
                }
                read => return read.map(|object| Some((name, object))),
            }
        }
    }

    async fn list(&mut self) -> Result<()> {
        if self.listings == LISTINGS_MAX {
            self.stale = false;
            return Err(RepositoryError::damaged(INDEX, "it changes faster than it can be read"));
        }
        let names = list_all(&*self.repository.store, INDEX).await?;
        self.listings += 1;
        self.stale = false;
        let mut strange = None;
        for name in &names {
            match parse(name) {
                Ok(name) if self.taken.insert(name) => self.pending.push_back(name),
                Ok(_) => {}
                Err(error) => strange = Some(error),
            }
        }
        // Said once, whatever a caller does about it; the others are read all the same.
        strange.filter(|_| !std::mem::replace(&mut self.strange, true)).map_or(Ok(()), Err)
    }
}

fn parse(name: &ObjectName) -> Result<IndexName> {
    IndexName::parse(names::last_segment(name))
        .ok_or_else(|| RepositoryError::damaged(name, "no index object has such a name"))
}

//! The edits of a run, gathered in any order and given to the tree by key.
//!
//! Of what was said of one key the last holds. Where a file turns out to be unreadable after its folder was written down,
//! the folder is told that it has one entry fewer; that is added up at the end. Where the file itself was written down
//! by then, all of that is forgotten. Places of new chunks are filled in at the end too, when all are known.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;

use super::record::{Parts, Record};
use super::sorter::{Pair, Sorted, Sorter};
use crate::frozen::Frozen;
use crate::ingest::Known;
use crate::map::{Inode, InodeNumber, Key};
use crate::tree::{Edit, TreeError, Value, get};

const DELETE: u8 = 0;
const PUT: u8 = 1;
const FEWER: u8 = 2;
const FORGET: u8 = 3;

/// Bytes of the number that the keys of an inode begin with; the first of them is that of its attributes.
const NUMBER_BYTES: usize = 8;

/// See the head of this module.
pub(super) struct Edits {
    sorter: Sorter,
}

impl Edits {
    pub(super) fn new(folder: &Path, gathered_bytes_max: usize) -> Self {
        Self { sorter: Sorter::new(folder.to_path_buf(), gathered_bytes_max) }
    }

    pub(super) fn put(&mut self, key: &Key, value: &Value) -> io::Result<()> {
        let mut record = Record::default().u8(PUT);
        record.0.extend_from_slice(&value.encode());
        self.sorter.push(&key.encode(), &record.0)
    }

    pub(super) fn delete(&mut self, key: &[u8]) -> io::Result<()> {
        self.sorter.push(key, &[DELETE])
    }

    /// A folder that was written down has an entry fewer, of a file.
    pub(super) fn fewer(&mut self, folder: InodeNumber) -> io::Result<()> {
        self.sorter.push(&Key::Attributes(folder).encode(), &[FEWER])
    }

    /// Nothing of a file will be in the map, whatever was said of it or is said later.
    pub(super) fn forget(&mut self, file: InodeNumber) -> io::Result<()> {
        self.sorter.push(&Key::Attributes(file).encode(), &[FORGET])
    }

    /// The edits in order. `before` is the map that they change.
    pub(super) fn finish(
        self,
        before: &Frozen,
        known: Arc<dyn Known>,
    ) -> io::Result<impl Stream<Item = Result<Edit, TreeError>> + Send + Unpin> {
        let mut merged =
            Merged { sorted: self.sorter.finish()?, ahead: None, before, known, forgotten: None };
        merged.ahead = merged.sorted.next()?;
        Ok(Box::pin(futures::stream::try_unfold(merged, |mut merged| async move {
            Ok(merged.next().await?.map(|edit| (edit, merged)))
        })))
    }
}

struct Merged<'a> {
    sorted: Sorted,
    /// The record that comes next.
    ahead: Option<Pair>,
    before: &'a Frozen,
    known: Arc<dyn Known>,
    /// The number of the file that was forgotten last.
    forgotten: Option<[u8; NUMBER_BYTES]>,
}

impl Merged<'_> {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        let Some((key, first)) = self.ahead.take() else { return Ok(None) };
        let number = key.first_chunk::<NUMBER_BYTES>().copied();
        let (mut last, mut fewer, mut forgotten) = (None, 0, self.forgotten);
        let mut take = |record: Vec<u8>| match record.first() {
            Some(&FEWER) => fewer += 1,
            Some(&FORGET) => forgotten = number,
            _ => last = Some(record),
        };
        take(first);
        loop {
            match self.sorted.next().map_err(unreadable)? {
                Some((same, record)) if same == key => take(record),
                other => {
                    self.ahead = other;
                    break;
                }
            }
        }
        self.forgotten = forgotten;
        let mut value = match last {
            _ if forgotten.is_some() && forgotten == number => None,
            Some(record) => put_of(&record)?,
            None => get(&self.before.root, &key, &*self.before.nodes).await?,
        };
        if let Some(value) = value.as_mut().filter(|_| fewer > 0) {
            value.payload = with_fewer(&value.payload, fewer)?;
        }
        let key = Bytes::from(key);
        Ok(Some(match value {
            Some(value) => Edit::Put(key, self.placed(value)),
            None => Edit::Delete(key),
        }))
    }

    fn placed(&self, mut value: Value) -> Value {
        for chunk in value.refs.iter_mut().filter(|chunk| chunk.at.is_none()) {
            chunk.at = self.known.find(&chunk.id);
        }
        value
    }
}

fn put_of(record: &[u8]) -> Result<Option<Value>, TreeError> {
    let mut parts = Parts(record);
    match parts.u8().map_err(unreadable)? {
        PUT => Value::decode(parts.0).map(Some),
        _ => Ok(None),
    }
}

fn with_fewer(payload: &[u8], fewer: u64) -> Result<Bytes, TreeError> {
    let mut inode = Inode::decode(payload).map_err(|error| TreeError::source("read a folder", error))?;
    inode.entries = inode.entries.saturating_sub(fewer);
    Ok(Bytes::from(inode.encode()))
}

fn unreadable(error: io::Error) -> TreeError {
    TreeError::source("read the edits of this run from the local disk", error)
}

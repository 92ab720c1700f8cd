//! A transaction: changes of a share that become visible and durable together.
//!
//! Collects resolved puts and deletes; the caller holds the locks of every inode that it touches
//! ([`super::InodeLocks`]) until [`Transaction::submit`] has returned. Reads go to the share's map and
//! do not see what the transaction has put.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use tidegate_replicator::map::{Extent, Inode, InodeNumber, Key};
use tidegate_replicator::tree::PAYLOAD_BYTES_MAX;

use super::{Share, ShareError};
use crate::journal::Sequence;
use crate::live::{Batch, Change};

#[derive(Debug)]
enum Point {
    Put(Bytes),
    Payload { offset: u64, length: u64 },
    Delete,
}

/// See the head of this module.
#[derive(Debug, Default)]
pub struct Transaction {
    points: BTreeMap<Vec<u8>, Point>,
    ranges: Vec<Range<Bytes>>,
    bytes: i64,
    inodes: i64,
    /// The length of a record that is longer than a tree takes.
    too_long: Option<usize>,
    outcome: Option<([u8; 16], Bytes)>,
}

impl Transaction {
    /// Sets a key to a record without references.
    pub fn put(&mut self, key: &Key, record: Vec<u8>) {
        if record.len() > PAYLOAD_BYTES_MAX {
            self.too_long = Some(record.len());
        }
        let value = tidegate_replicator::tree::Value::plain(record);
        self.points.insert(key.encode(), Point::Put(Bytes::from(value.encode())));
    }

    /// Sets the attributes of an inode.
    pub fn put_inode(&mut self, number: InodeNumber, inode: &Inode) {
        self.put(&Key::Attributes(number), inode.encode());
    }

    /// Sets an extent that lies in a chunk, or that lay in the journal before.
    pub fn put_extent(&mut self, file: InodeNumber, extent: &Extent) {
        let value = Bytes::from(extent.to_value().encode());
        self.points.insert(Key::Extent(file, extent.end).encode(), Point::Put(value));
    }

    /// Sets an extent that lies in this transaction's payload, `offset` bytes into it.
    pub fn put_payload(&mut self, file: InodeNumber, covers: Range<u64>, offset: u64) {
        let length = covers.end - covers.start;
        self.points.insert(Key::Extent(file, covers.end).encode(), Point::Payload { offset, length });
    }

    /// Removes a key, unless it is set later in the transaction.
    pub fn delete(&mut self, key: &Key) {
        self.points.insert(key.encode(), Point::Delete);
    }

    /// Removes all keys of a range within one inode, unread; keys set in the transaction stay.
    pub fn delete_range(&mut self, range: Range<Vec<u8>>) {
        self.ranges.push(Bytes::from(range.start)..Bytes::from(range.end));
    }

    /// Accounts for bytes and inodes that come or go.
    pub fn use_more(&mut self, bytes: i64, inodes: i64) {
        self.bytes += bytes;
        self.inodes += inodes;
    }

    /// Notes the outcome of the call, for its repetition.
    pub fn note_outcome(&mut self, retry: [u8; 16], outcome: Bytes) {
        self.outcome = Some((retry, outcome));
    }

    /// Makes the changes visible, and gives the sequence to wait for; [`ShareError::OverQuota`] when they
    /// add more than the share's quota leaves, [`ShareError::TooLong`] when no tree would take a record of them: what could never
    /// be published is not acknowledged.
    pub async fn submit(self, share: &Share, payload: Bytes) -> Result<Sequence, ShareError> {
        self.submit_noting(share, payload, None).await
    }

    /// As [`Transaction::submit`]; `on_its_way` is set when the changes have room: until then they may be dropped.
    pub(crate) async fn submit_noting(
        self,
        share: &Share,
        payload: Bytes,
        on_its_way: Option<&AtomicBool>,
    ) -> Result<Sequence, ShareError> {
        if let Some(bytes) = self.too_long {
            return Err(ShareError::TooLong { bytes });
        }
        let (bytes, inodes) = (self.bytes, self.inodes);
        if (bytes, inodes) == (0, 0) {
            return self.append(share, payload, on_its_way).await;
        }
        let room = share.account().reserve(bytes, inodes, share.clock().utc())?;
        let sequence = self.append(share, payload, on_its_way).await?;
        room.settle(share.clock().utc());
        if let Err(error) = share.account().record(share.live()).await {
            // The change is in the journal. If that has stopped, whoever waits for the disk is told; else
            // the next change records it.
            tracing::debug!(%error, "failed to record since when a soft limit is exceeded");
        }
        Ok(sequence)
    }

    async fn append(
        self,
        share: &Share,
        payload: Bytes,
        on_its_way: Option<&AtomicBool>,
    ) -> Result<Sequence, ShareError> {
        let map = share.map().map;
        let mut changes: Vec<_> =
            self.ranges.into_iter().map(|range| Change::DeleteRange { map, range }).collect();
        changes.extend(self.points.into_iter().map(|(key, point)| {
            let key = Bytes::from(key);
            match point {
                Point::Put(value) => Change::Put { map, key, value },
                Point::Payload { offset, length } => Change::PutPayload { map, key, offset, length },
                Point::Delete => Change::Delete { map, key },
            }
        }));
        if (self.bytes, self.inodes) != (0, 0) {
            changes.push(Change::Usage { map, bytes: self.bytes, inodes: self.inodes });
        }
        if let Some((retry, outcome)) = self.outcome {
            changes.push(Change::Outcome { retry, outcome });
        }
        Ok(share.live().submit_noting(Batch { changes }, payload, on_its_way).await?)
    }
}

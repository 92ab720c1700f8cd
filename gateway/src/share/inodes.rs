//! Giving out inode numbers: never twice, also over a crash.
//!
//! Numbers are reserved in blocks. The end of a block is durable before the first number of it is
//! given out, so a start after a crash goes on above everything that can have been used. Numbers of a
//! block that was not used up are lost; there are 2^64.

use bytes::Bytes;
use tokio::sync::Mutex;

use tidegate_replicator::map::InodeNumber;

use super::ShareError;
use crate::live::{Batch, Change, Live, LiveError, MapId};

const BLOCK: u64 = 1 << 16;

/// Gives out the inode numbers of one map.
#[derive(Debug)]
pub struct InodeNumbers {
    map: MapId,
    block: Mutex<Block>,
}

#[derive(Debug)]
struct Block {
    next: u64,
    end: u64,
}

impl InodeNumbers {
    /// Goes on above what was reserved, or above the root directory.
    pub(crate) fn open(live: &Live, map: MapId) -> Result<Self, ShareError> {
        let end = reserved(live.database().system(&Self::key(map))?.as_deref())?;
        Ok(Self { map, block: Mutex::new(Block { next: end, end }) })
    }

    /// The record that holds the end of the reserved numbers.
    pub(crate) fn key(map: MapId) -> Vec<u8> {
        [b"inodes/", &map.0.to_be_bytes()[..]].concat()
    }

    /// The change that lets a map begin at a number.
    pub(crate) fn start_at(map: MapId, next: InodeNumber) -> Change {
        let value = Bytes::copy_from_slice(&next.0.to_le_bytes());
        Change::System { key: Bytes::from(Self::key(map)), value: Some(value) }
    }

    /// The first number above all that can have been given out, from the record under
    /// [`InodeNumbers::key`].
    pub(crate) fn next_from(record: Option<&[u8]>) -> Result<InodeNumber, ShareError> {
        reserved(record).map(InodeNumber)
    }

    /// A number that was never given out before.
    pub(crate) async fn next(&self, live: &Live) -> Result<InodeNumber, ShareError> {
        let mut block = self.block.lock().await;
        if block.next == block.end {
            let end = block.end + BLOCK;
            let batch = Batch { changes: vec![Self::start_at(self.map, InodeNumber(end))] };
            live.submit_durably(batch, Bytes::new()).await?;
            block.end = end;
        }
        block.next += 1;
        Ok(InodeNumber(block.next - 1))
    }
}

fn reserved(record: Option<&[u8]>) -> Result<u64, ShareError> {
    match record {
        None => Ok(InodeNumber::ROOT.0 + 1),
        Some(record) => {
            let bytes = record.try_into().map_err(|_| LiveError::Undecodable("the inode counter"))?;
            Ok(u64::from_le_bytes(bytes))
        }
    }
}

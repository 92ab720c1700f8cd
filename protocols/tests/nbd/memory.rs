//! The dumbest volume: bytes in memory, a mark for each byte that is no hole, and a count of flushes.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_protocols::blocks::{BlockError, BlockView, OpenVolume, Piece, Stretch, VolumeEntry};
use tokio::sync::Semaphore;

pub struct Memory {
    pub bytes: Mutex<(Vec<u8>, Vec<bool>)>,
    pub read_only: bool,
    pub flushes: AtomicU64,
    pub durable: AtomicU64,
    /// While it is set, reads wait for [`Memory::gate`].
    pub far: AtomicBool,
    pub gate: Semaphore,
}

impl Memory {
    pub fn new(size: usize, read_only: bool) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new((vec![0; size], vec![false; size])),
            read_only,
            flushes: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            far: AtomicBool::new(false),
            gate: Semaphore::new(0),
        })
    }

    fn put(&self, range: Range<u64>, data: Option<&[u8]>, kept: bool, durable: bool) {
        let range = range.start as usize..range.end as usize;
        let mut bytes = self.bytes.lock();
        match data {
            Some(data) => bytes.0[range.clone()].copy_from_slice(data),
            None => bytes.0[range.clone()].fill(0),
        }
        bytes.1[range].fill(kept);
        self.durable.fetch_add(u64::from(durable), Ordering::Relaxed);
    }
}

#[async_trait]
impl OpenVolume for Memory {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn size(&self) -> u64 {
        self.bytes.lock().0.len() as u64
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<Piece>, BlockError> {
        if self.far.load(Ordering::Relaxed) {
            self.gate.acquire().await.map_err(|_| BlockError::Io)?.forget();
        }
        let bytes = self.bytes.lock();
        let range = range.start as usize..range.end as usize;
        let runs = bytes.1[range.clone()].chunk_by(|one, other| one == other);
        let mut at = range.start;
        let piece = |run: &[bool]| {
            let start = at;
            at += run.len();
            if run[0] {
                Piece::Data(Bytes::copy_from_slice(&bytes.0[start..at]))
            } else {
                Piece::Hole(run.len() as u64)
            }
        };
        Ok(runs.map(piece).collect())
    }

    async fn write(&self, offset: u64, data: Bytes, durable: bool) -> Result<(), BlockError> {
        self.put(offset..offset + data.len() as u64, Some(&data), true, durable);
        Ok(())
    }

    async fn zero(&self, range: Range<u64>, keep_room: bool, durable: bool) -> Result<(), BlockError> {
        self.put(range, None, keep_room, durable);
        Ok(())
    }

    async fn trim(&self, range: Range<u64>, durable: bool) -> Result<(), BlockError> {
        self.put(range, None, false, durable);
        Ok(())
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn status(&self, range: Range<u64>, most: usize) -> Result<Vec<Stretch>, BlockError> {
        let bytes = self.bytes.lock();
        let runs = bytes.1[range.start as usize..range.end as usize].chunk_by(|one, other| one == other);
        Ok(runs.map(|run| Stretch { length: run.len() as u64, hole: !run[0] }).take(most).collect())
    }

    async fn expect(&self, _range: Range<u64>) {}
}

/// One volume, "disk", for the clients that it admits.
pub struct Shelf {
    pub disk: Arc<Memory>,
    pub admits: bool,
}

#[async_trait]
impl BlockView for Shelf {
    fn volumes(&self, _client: IpAddr) -> Vec<VolumeEntry> {
        let entry = VolumeEntry { name: "disk".into(), description: "a disk of tests".into() };
        if self.admits { vec![entry] } else { Vec::new() }
    }

    async fn open(&self, _client: IpAddr, name: &str) -> Result<Arc<dyn OpenVolume>, BlockError> {
        match name {
            "disk" | "" if self.admits => Ok(self.disk.clone()),
            _ => Err(BlockError::NotFound),
        }
    }
}

//! Sends packs, a few at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use futures::{Stream, StreamExt, TryStreamExt};
use tidegate_chunker::PackId;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{UploadError, UploadLog, UploadState};
use crate::ingest::FinishedPack;
use crate::repository::{DurablePack, DurablePacks, Opened, Repository, RepositoryError};
use crate::store::Body;

/// Bytes that one permit of [`UploadOptions::bytes_in_flight_max`] stands for.
const PERMIT_BYTES: u64 = 4096;

/// Bounds of an [`Uploader`].
#[derive(Clone, Copy, Debug)]
pub struct UploadOptions {
    /// Packs that are sent at once.
    pub parallel: usize,
    /// Bytes of packs that are sent at once; a pack that is larger goes alone.
    pub bytes_in_flight_max: u64,
}

impl Default for UploadOptions {
    /// Four packs, 256 MiB.
    fn default() -> Self {
        Self { parallel: 4, bytes_in_flight_max: 256 << 20 }
    }
}

/// A pack in the folder of local packs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPack {
    /// Its id.
    pub pack: PackId,
    /// Its file, which must not change.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub bytes: u64,
}

impl From<&FinishedPack> for LocalPack {
    fn from(finished: &FinishedPack) -> Self {
        Self { pack: finished.pack, path: finished.path.clone(), bytes: finished.bytes }
    }
}

/// What an [`Uploader`] has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadCounts {
    /// Packs sent.
    pub packs: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Packs that the store turned out to have already.
    pub confirmed: u64,
    /// Packs being sent now.
    pub in_flight: u64,
}

/// Uploads packs to the repository of one target. See the head of [`upload`](super).
pub struct Uploader {
    repository: Arc<Repository<Opened>>,
    log: Arc<dyn UploadLog>,
    parallel: usize,
    permits_max: u32,
    permits: Semaphore,
    packs: AtomicU64,
    bytes: AtomicU64,
    confirmed: AtomicU64,
    in_flight: AtomicU64,
}

impl Uploader {
    /// Uploads to `repository`, and records in `log` what it has.
    pub fn new(repository: Arc<Repository<Opened>>, log: Arc<dyn UploadLog>, options: UploadOptions) -> Self {
        let permits_max =
            (options.bytes_in_flight_max / PERMIT_BYTES).clamp(1, u64::from(u32::MAX >> 3)) as u32;
        Self {
            repository,
            log,
            parallel: options.parallel.max(1),
            permits_max,
            permits: Semaphore::new(permits_max as usize),
            packs: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
        }
    }

    /// What has been done so far, by all calls.
    pub fn counts(&self) -> UploadCounts {
        UploadCounts {
            packs: self.packs.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            confirmed: self.confirmed.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
        }
    }

    /// Uploads all packs of a stream, and answers the evidence that the store has them.
    ///
    /// Ends at the first error, or at once when `cancel` is; what is in flight is then given up.
    pub async fn upload(
        &self,
        packs: impl Stream<Item = LocalPack> + Send,
        cancel: &CancellationToken,
    ) -> Result<DurablePacks, UploadError> {
        let all = packs.map(|pack| self.upload_one(pack)).buffer_unordered(self.parallel).try_fold(
            DurablePacks::new(),
            |mut durable, pack| async move {
                durable.add(pack);
                Ok(durable)
            },
        );
        cancel.run_until_cancelled(all).await.unwrap_or(Err(UploadError::Cancelled))
    }

    async fn upload_one(&self, pack: LocalPack) -> Result<DurablePack, UploadError> {
        let _permit = self.permit(pack.bytes).await;
        let _flight = InFlight::begin(&self.in_flight);
        if self.log.state(&pack.pack) >= UploadState::Begun
            && let Some(durable) = self.confirm(&pack).await?
        {
            self.record(&pack.pack, UploadState::Uploaded)?;
            self.confirmed.fetch_add(1, Relaxed);
            return Ok(durable);
        }
        self.send(pack).await
    }

    async fn send(&self, pack: LocalPack) -> Result<DurablePack, UploadError> {
        check_length(&pack).await?;
        self.record(&pack.pack, UploadState::Begun)?;
        let LocalPack { pack: id, path, bytes } = pack;
        let stored = self.repository.put_pack(id, Body::File { path, bytes }).await;
        let durable = stored.map_err(|source| UploadError::Store { pack: id, source })?;
        self.record(&id, UploadState::Uploaded)?;
        self.packs.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(durable)
    }

    /// Asks the store for a pack that it may have. One of another length is damaged, and is stored again.
    async fn confirm(&self, pack: &LocalPack) -> Result<Option<DurablePack>, UploadError> {
        match self.repository.confirm_pack(pack.pack, pack.bytes).await {
            Err(RepositoryError::Damaged { object, why }) => {
                tracing::warn!(object, why, "a pack on the store is damaged; it is stored again");
                Ok(None)
            }
            answer => answer.map_err(|source| UploadError::Store { pack: pack.pack, source }),
        }
    }

    async fn permit(&self, bytes: u64) -> SemaphorePermit<'_> {
        let permits = bytes.div_ceil(PERMIT_BYTES).clamp(1, u64::from(self.permits_max)) as u32;
        self.permits.acquire_many(permits).await.expect("the semaphore is never closed")
    }

    fn record(&self, pack: &PackId, state: UploadState) -> Result<(), UploadError> {
        let failed = |source| UploadError::Log { pack: *pack, state: state.word(), source };
        self.log.record(pack, state).map_err(failed)
    }
}

/// Refuses a file that is not as long as the pack.
async fn check_length(pack: &LocalPack) -> Result<(), UploadError> {
    let found = tokio::fs::metadata(&pack.path).await.and_then(|file| {
        let why = || format!("it has {} bytes instead of {}", file.len(), pack.bytes);
        if file.len() == pack.bytes { Ok(()) } else { Err(std::io::Error::other(why())) }
    });
    found.map_err(|source| UploadError::Local { path: pack.path.clone(), source })
}

/// Counts a pack as in flight until it is dropped.
struct InFlight<'a>(&'a AtomicU64);

impl<'a> InFlight<'a> {
    fn begin(count: &'a AtomicU64) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

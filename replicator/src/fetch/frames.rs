//! Opened frames: from memory, or fetched and opened once for everybody who wants them.
//!
//! Two readers of one frame cause one fetch and one opening. A frame that does not open is rejected at
//! the source and asked for again, as long as the source has further copies to offer. Every fetch ends
//! in the cache, also when whoever wanted it has gone.
//!
//! Bounds: [`ReadOptions`] says how many bytes are kept and how many fetches run; a reader waits for
//! its turn. A fetch is of at most [`TOGETHER_MAX`] frames; of each at most [`COPIES_MAX`] copies are
//! tried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_chunker::{Decompressor, DomainKeys, ErrorKind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::flights::{Flight, Flights};
use super::frame_cache::FrameCache;
use super::opened::Opened;
use super::source::FrameResult;
use super::{FetchError, FetchErrorKind, FrameAt, FrameSource, Origin, ReadOptions};

/// Copies of a frame that are tried before it counts as damaged.
const COPIES_MAX: usize = 4;
/// Frames that one fetch asks for together.
const TOGETHER_MAX: usize = 32;

/// Is told what a read has waited for, and how long.
pub(super) type Waited = dyn Fn(Origin, Duration) + Send + Sync;

/// A frame that everybody shares, or why there is none.
pub(super) type OpenResult = Result<Arc<Opened>, FetchError>;

/// What has been done to answer reads so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Frames found opened in memory.
    pub hits: u64,
    /// Frames asked of the source.
    pub fetches: u64,
    /// Copies that were fetched and did not open.
    pub rejected: u64,
}

/// See the head of this module.
pub(super) struct Frames {
    opener: Arc<Opener>,
    flights: Flights<FrameAt, OpenResult>,
    permits: Arc<Semaphore>,
}

/// What the task of a fetch needs.
struct Opener {
    keys: Arc<DomainKeys>,
    source: Arc<dyn FrameSource>,
    cache: FrameCache<FrameAt, Arc<Opened>>,
    decompressors: Mutex<Vec<Decompressor>>,
    decompressors_max: usize,
    hits: AtomicU64,
    fetches: AtomicU64,
    rejected: AtomicU64,
}

impl Frames {
    pub(super) fn new(keys: Arc<DomainKeys>, source: Arc<dyn FrameSource>, options: &ReadOptions) -> Self {
        let fetches_max = options.fetches_max.max(1);
        let opener = Opener {
            keys,
            source,
            cache: FrameCache::new(options.cache_bytes_max),
            decompressors: Mutex::default(),
            decompressors_max: fetches_max,
            hits: AtomicU64::new(0),
            fetches: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
        };
        let permits = Arc::new(Semaphore::new(fetches_max));
        Self { opener: Arc::new(opener), flights: Flights::new(), permits }
    }

    pub(super) fn counts(&self) -> ReadCounts {
        ReadCounts {
            hits: self.opener.hits.load(Ordering::Relaxed),
            fetches: self.opener.fetches.load(Ordering::Relaxed),
            rejected: self.opener.rejected.load(Ordering::Relaxed),
        }
    }

    pub(super) fn cached_bytes(&self) -> u64 {
        self.opener.cache.bytes()
    }

    pub(super) fn source(&self) -> &Arc<dyn FrameSource> {
        &self.opener.source
    }

    /// One opened frame. What it is waited for is told to `waited`, unless it is in memory.
    pub(super) async fn get(&self, at: FrameAt, waited: &Waited) -> OpenResult {
        if let Some(opened) = self.opener.cached(at) {
            return Ok(opened);
        }
        let started = Instant::now();
        let got = self.get_waiting(at).await;
        // What could not be had was asked of every place, the store last.
        let origin = got.as_ref().map_or(Origin::Store, |opened| opened.origin());
        waited(origin, started.elapsed());
        got
    }

    async fn get_waiting(&self, at: FrameAt) -> OpenResult {
        loop {
            if let Some(opened) = self.opener.cached(at) {
                return Ok(opened);
            }
            if let Some(flight) = self.flights.find(&at) {
                return landed(flight, at).await;
            }
            let permit = self.permit().await;
            let flights = self.flights.join(&[at], |absent| self.start(absent, permit));
            // Without a flight the frame has come meanwhile: it is in the cache.
            if let Some(flight) = flights.into_iter().next().flatten() {
                return landed(flight, at).await;
            }
        }
    }

    /// Fetches frames together, so that neighbours come in one request, and keeps them.
    pub(super) async fn fetch(&self, at: &[FrameAt], waited: &Waited) {
        let started = Instant::now();
        let mut origin = None;
        for batch in at.chunks(TOGETHER_MAX) {
            let permit = self.permit().await;
            for flight in self.flights.join(batch, |absent| self.start(absent, permit)).into_iter().flatten()
            {
                let from = flight.await.and_then(Result::ok).map(|opened| opened.origin());
                origin = if origin == Some(Origin::Store) { origin } else { from.or(origin) };
            }
        }
        if let Some(origin) = origin {
            waited(origin, started.elapsed());
        }
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Begins one fetch for those of these frames that are not in memory; none of them is on its way. A
    /// flight lands after its frame is in memory, so a frame is always in one of both places.
    fn start(
        &self,
        mut at: Vec<FrameAt>,
        permit: OwnedSemaphorePermit,
    ) -> Vec<(FrameAt, Flight<OpenResult>)> {
        at.retain(|at| !self.opener.cache.contains(at));
        if at.is_empty() {
            return Vec::new();
        }
        let landing = self.flights.landing(at.clone());
        let opener = Arc::clone(&self.opener);
        let wanted = at.clone();
        let answers = Flights::<FrameAt, Arc<Vec<OpenResult>>>::spawn(async move {
            let _held = (landing, permit);
            Arc::new(opener.fetch(&wanted).await)
        });
        let pick = |place: usize| {
            use futures::FutureExt;
            let answers = answers.clone();
            async move { answers.await.and_then(|answers| answers.get(place).cloned()) }.boxed().shared()
        };
        at.into_iter().enumerate().map(|(place, at)| (at, pick(place))).collect()
    }
}

async fn landed(flight: Flight<OpenResult>, at: FrameAt) -> OpenResult {
    flight.await.unwrap_or_else(|| {
        let error = FetchError::new(FetchErrorKind::Unreachable, at.reading());
        Err(error.caused_by("the fetch was cut short"))
    })
}

impl Opener {
    fn cached(&self, at: FrameAt) -> Option<Arc<Opened>> {
        let opened = self.cache.get(&at)?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        Some(opened)
    }

    async fn fetch(self: Arc<Self>, at: &[FrameAt]) -> Vec<OpenResult> {
        self.fetches.fetch_add(at.len() as u64, Ordering::Relaxed);
        let fetched = self.source.frames(at).await;
        let mut answers = Vec::with_capacity(at.len());
        for (&at, frame) in at.iter().zip(fetched) {
            answers.push(Arc::clone(&self).settle(at, frame).await);
        }
        answers
    }

    /// Opens what came; asks for other copies while it does not open and there are any.
    async fn settle(self: Arc<Self>, at: FrameAt, mut frame: FrameResult) -> OpenResult {
        let mut earlier = None;
        for _ in 0..COPIES_MAX {
            let error = match Arc::clone(&self).open(at, frame).await {
                Ok(opened) => {
                    self.cache.insert(at, Arc::clone(&opened), opened.weight());
                    return Ok(opened);
                }
                Err(error) => error,
            };
            // Also what claims to be of an unknown epoch: a spoilt copy may claim anything.
            let is_bad = matches!(error.kind(), FetchErrorKind::Damaged | FetchErrorKind::Unopened);
            earlier = Some(error.or_worse(earlier));
            if !is_bad || !self.source.reject(at) {
                break;
            }
            self.rejected.fetch_add(1, Ordering::Relaxed);
            frame = self.source.frame(at).await;
        }
        Err(earlier.expect("at least one copy was tried"))
    }

    async fn open(self: Arc<Self>, at: FrameAt, frame: FrameResult) -> OpenResult {
        let frame = frame?;
        let opening = crate::blocking::spawn_blocking(move || {
            let mut decompressor = self.decompressors.lock().pop().unwrap_or_default();
            let opened = Opened::open(&frame, &self.keys, &mut decompressor);
            let mut spare = self.decompressors.lock();
            if spare.len() < self.decompressors_max {
                spare.push(decompressor);
            }
            opened
        });
        match opening.await {
            Ok(Ok(opened)) => Ok(Arc::new(opened)),
            Ok(Err(error)) => Err(FetchError::new(kind_of(error.kind()), at.reading()).caused_by(error)),
            Err(died) => Err(FetchError::new(FetchErrorKind::Unreachable, at.reading()).caused_by(died)),
        }
    }
}

/// What it says of the bytes that they do not open. Without the epoch's key, or with too old a
/// program, nothing is known of them.
fn kind_of(kind: ErrorKind) -> FetchErrorKind {
    match kind {
        ErrorKind::Damaged
        | ErrorKind::NotAuthentic
        | ErrorKind::Foreign
        | ErrorKind::LimitExceeded
        | ErrorKind::Misuse
        | ErrorKind::Output => FetchErrorKind::Damaged,
        ErrorKind::UnknownEpoch | ErrorKind::Unsupported => FetchErrorKind::Unopened,
    }
}

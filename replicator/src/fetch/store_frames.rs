//! Frames out of the store: ranged GETs, neighbours together, each range once.
//!
//! Frames asked for together that lie in one pack with small gaps between come in one request; who
//! asks for a frame that is on its way waits for that request. When a request for several frames
//! fails in a way that may be the fault of one (the pack is too short, the bytes are spoilt), each is
//! asked for alone, so that a damaged neighbour costs nobody else.
//!
//! A pack that sleeps is not asked for again for a moment ([`ASLEEP_FOR`]): readers who are told to try later come back
//! every few seconds, for hours, and each request costs.
//!
//! Bounds: requests in flight and bytes of one request, by [`StoreFramesOptions`]; their product
//! bounds the memory. Retries and limits of rate are the business of the store's decorators.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::PackId;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::coalesce::{Run, runs};
use super::flights::{Flight, Flights, Landing};
use super::source::{FrameResult, Origin};
use super::{FetchError, FetchErrorKind, FrameAt, FrameSource};
use crate::repository::pack_name;
use crate::store::{ErrorKind, Store};

/// Bounds of [`StoreFrames`].
#[derive(Clone, Copy, Debug)]
pub struct StoreFramesOptions {
    /// Bytes between two frames that are rather read and thrown away than asked for separately.
    pub gap_bytes_max: u64,
    /// Bytes of one request, unless a single frame is larger.
    pub request_bytes_max: u64,
    /// Requests in flight.
    pub requests_max: usize,
}

impl Default for StoreFramesOptions {
    /// Gaps up to 128 KiB, requests up to 4 MiB, 32 at once.
    fn default() -> Self {
        Self { gap_bytes_max: 128 << 10, request_bytes_max: 4 << 20, requests_max: 32 }
    }
}

/// What a [`StoreFrames`] has asked the store for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// GET requests, failed ones included.
    pub requests: u64,
    /// Bytes asked for, gaps included.
    pub bytes: u64,
}

/// See the head of this module.
pub struct StoreFrames {
    asker: Arc<Asker>,
    flights: Flights<FrameAt, FrameResult>,
    options: StoreFramesOptions,
}

/// What a task needs to carry out requests.
struct Asker {
    store: Arc<dyn Store>,
    permits: Semaphore,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// Packs that were found asleep, and when.
    asleep: Mutex<HashMap<PackId, Instant>>,
}

/// For so long a pack that was found asleep counts as that.
const ASLEEP_FOR: Duration = Duration::from_secs(10);
/// Packs that are remembered as asleep; with more, all are forgotten, which costs requests.
const ASLEEP_MAX: usize = 4096;

/// The answers of one request, by frame.
type RunAnswers = Arc<HashMap<FrameAt, FrameResult>>;

impl StoreFrames {
    /// Reads packs of the repository on `store`.
    pub fn new(store: Arc<dyn Store>, options: StoreFramesOptions) -> Self {
        let asker = Asker {
            store,
            permits: Semaphore::new(options.requests_max.max(1)),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            asleep: Mutex::default(),
        };
        Self { asker: Arc::new(asker), flights: Flights::new(), options }
    }

    /// What has been asked for so far.
    pub fn counts(&self) -> RequestCounts {
        RequestCounts {
            requests: self.asker.requests.load(Ordering::Relaxed),
            bytes: self.asker.bytes.load(Ordering::Relaxed),
        }
    }

    /// Begins requests for these frames, of which none is on its way.
    fn start(&self, frames: Vec<FrameAt>) -> Vec<(FrameAt, Flight<FrameResult>)> {
        runs(frames, self.options.gap_bytes_max, self.options.request_bytes_max)
            .into_iter()
            .flat_map(|run| self.start_run(run))
            .collect()
    }

    fn start_run(&self, run: Run) -> Vec<(FrameAt, Flight<FrameResult>)> {
        let frames = run.frames.clone();
        let landing = self.flights.landing(frames.clone());
        let answers = Flights::<FrameAt, RunAnswers>::spawn(Arc::clone(&self.asker).carry_out(run, landing));
        frames.into_iter().map(|frame| (frame, pick(answers.clone(), frame))).collect()
    }
}

/// The answer for one frame out of those of its request.
fn pick(answers: Flight<RunAnswers>, frame: FrameAt) -> Flight<FrameResult> {
    use futures::FutureExt;
    async move { answers.await.and_then(|answers| answers.get(&frame).cloned()) }.boxed().shared()
}

#[async_trait]
impl FrameSource for StoreFrames {
    async fn frame(&self, at: FrameAt) -> FrameResult {
        let mut answers = self.frames(&[at]).await;
        answers.pop().unwrap_or_else(|| Err(cut_short(at)))
    }

    async fn frames(&self, at: &[FrameAt]) -> Vec<FrameResult> {
        let flights = self.flights.join(at, |absent| self.start(absent));
        let mut answers = Vec::with_capacity(at.len());
        for (flight, &frame) in flights.into_iter().zip(at) {
            let answer = match flight {
                Some(flight) => flight.await,
                None => None,
            };
            answers.push(answer.unwrap_or_else(|| Err(cut_short(frame))));
        }
        answers
    }
}

impl Asker {
    async fn carry_out(self: Arc<Self>, run: Run, landing: Landing<FrameAt, FrameResult>) -> RunAnswers {
        let _landing = landing;
        let together = self.ask(&run).await;
        let may_be_one_frames_fault = together
            .values()
            .any(|answer| answer.as_ref().is_err_and(|error| error.kind() == FetchErrorKind::Damaged));
        if run.frames.len() == 1 || !may_be_one_frames_fault {
            return Arc::new(together);
        }
        let mut alone = HashMap::with_capacity(run.frames.len());
        for (frame, answer) in together {
            let damaged = answer.as_ref().is_err_and(|error| error.kind() == FetchErrorKind::Damaged);
            if damaged {
                let single = Run { pack: run.pack, range: frame.range(), frames: vec![frame] };
                alone.extend(self.ask(&single).await);
            } else {
                alone.insert(frame, answer);
            }
        }
        Arc::new(alone)
    }

    /// Whether the pack was found asleep just now.
    fn is_asleep(&self, pack: PackId) -> bool {
        let asleep = self.asleep.lock();
        asleep.get(&pack).is_some_and(|found| found.elapsed() < ASLEEP_FOR)
    }

    fn note_asleep(&self, pack: PackId) {
        let mut asleep = self.asleep.lock();
        if asleep.len() >= ASLEEP_MAX {
            asleep.clear();
        }
        asleep.insert(pack, Instant::now());
    }

    /// One request.
    async fn ask(&self, run: &Run) -> HashMap<FrameAt, FrameResult> {
        if self.is_asleep(run.pack) {
            let asleep = FetchError::new(FetchErrorKind::Asleep, format!("read pack {}", run.pack));
            let answer = Err(asleep.in_pack(run.pack));
            return run.frames.iter().map(|&frame| (frame, slice(run, frame, &answer))).collect();
        }
        let _permit = self.permits.acquire().await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(run.range.end - run.range.start, Ordering::Relaxed);
        let answer = self.store.get(&pack_name(run.pack), Some(run.range.clone())).await;
        if answer.as_ref().is_err_and(|error| error.kind() == ErrorKind::Asleep) {
            self.note_asleep(run.pack);
        }
        let answer = answer.map_err(|error| {
            let doing = format!("read pack {} from {}", run.pack, self.store.address());
            FetchError::from_store(doing, error).in_pack(run.pack)
        });
        run.frames.iter().map(|&frame| (frame, slice(run, frame, &answer))).collect()
    }
}

fn slice(run: &Run, frame: FrameAt, answer: &Result<bytes::Bytes, FetchError>) -> FrameResult {
    let bytes = answer.as_ref().map_err(Clone::clone)?;
    let start = (frame.range().start - run.range.start) as usize;
    let end = start + frame.bytes as usize;
    if end > bytes.len() {
        let error = FetchError::new(FetchErrorKind::Damaged, frame.reading());
        return Err(error.caused_by("the store answered fewer bytes than were asked for"));
    }
    frame.received(bytes.slice(start..end), Origin::Store)
}

/// The task that was to bring the frame has died: nothing is known of the bytes.
fn cut_short(frame: FrameAt) -> FetchError {
    FetchError::new(FetchErrorKind::Unreachable, frame.reading()).caused_by("the request was cut short")
}

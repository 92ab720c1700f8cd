//! Fetching ranges into a cache.

use std::collections::HashSet;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use tidegate_chunker::{FrameHeader, PackId, UnverifiedFrame};

use super::{Keep, PackRange, RANGE_BYTES_MAX};
use crate::fetch::FrameAt;
use crate::observer::Observer;
use crate::repository::pack_name;
use crate::store::{ErrorKind, Store, StoreError};

/// Requests that fail one after the other before the whole is given up.
const FAILURES_MAX: u64 = 8;
/// Packs that are remembered to sleep; with more, all are forgotten, and asked for once more.
const SLEEPERS_MAX: usize = 65_536;

/// How to warm.
#[derive(Clone, Copy, Debug)]
pub struct WarmOptions {
    /// Requests at once.
    pub requests_max: usize,
}

impl Default for WarmOptions {
    /// 16 requests at once.
    fn default() -> Self {
        Self { requests_max: 16 }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmReport {
    /// Ranges that were looked at.
    pub ranges: u64,
    /// Ranges of which everything was here.
    pub here: u64,
    /// GET requests.
    pub requests: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Frames that were kept.
    pub frames: u64,
    /// Ranges of packs that are gone, or are not as they were said to be.
    pub gone: u64,
    /// Ranges of packs that sleep. The store is asked for one of each pack.
    pub asleep: u64,
    /// Whether it ended because there is no more room.
    pub is_full: bool,
    /// Whether it ended because it was told to.
    pub is_cancelled: bool,
}

/// What became of a range.
enum Outcome {
    Here,
    NoRoom,
    Gone,
    /// And whether the store was asked.
    Asleep(bool),
    Failed(StoreError),
    Came {
        bytes: u64,
        frames: u64,
        whole: bool,
    },
}

/// Brings ranges here, in their order, several at once. Ends early when the room is used up, when told to, or with the
/// error of the store when it answers nothing any more.
pub async fn warm(
    store: &dyn Store,
    ranges: impl Stream<Item = PackRange> + Send,
    keep: &dyn Keep,
    options: WarmOptions,
    observer: &dyn Observer,
) -> Result<WarmReport, StoreError> {
    let sleepers = Sleepers::default();
    let fetching = ranges.map(|range| {
        let sleepers = &sleepers;
        async move {
            let bytes = range.bytes();
            (bytes, fetch(store, &range, keep, sleepers).await)
        }
    });
    let mut fetching = std::pin::pin!(fetching.buffer_unordered(options.requests_max.max(1)));
    let (mut report, mut failures, mut last_error) = (WarmReport::default(), 0, None);
    while !observer.is_cancelled() {
        let Some((bytes, outcome)) = fetching.next().await else {
            // What did not come is still owed.
            return last_error.map_or(Ok(report), Err);
        };
        report.ranges += 1;
        match outcome {
            Outcome::Here => report.here += 1,
            Outcome::NoRoom => {
                report.is_full = true;
                return Ok(report);
            }
            Outcome::Gone => {
                report.requests += 1;
                report.gone += 1;
            }
            Outcome::Asleep(asked) => {
                report.requests += u64::from(asked);
                report.asleep += 1;
            }
            Outcome::Failed(error) => {
                report.requests += 1;
                failures += 1;
                if failures == FAILURES_MAX {
                    return Err(error);
                }
                tracing::debug!(%error, "a range could not be fetched ahead");
                last_error = Some(error);
            }
            Outcome::Came { bytes, frames, whole } => {
                failures = 0;
                report.requests += 1;
                report.bytes += bytes;
                report.frames += frames;
                report.gone += u64::from(!whole);
            }
        }
        observer.advanced(bytes);
    }
    report.is_cancelled = true;
    Ok(report)
}

/// Packs that were found to sleep.
#[derive(Default)]
struct Sleepers(Mutex<HashSet<PackId>>);

impl Sleepers {
    fn has(&self, pack: &PackId) -> bool {
        self.0.lock().contains(pack)
    }

    fn note(&self, pack: PackId) {
        let mut packs = self.0.lock();
        if packs.len() >= SLEEPERS_MAX {
            packs.clear();
        }
        packs.insert(pack);
    }
}

async fn fetch(store: &dyn Store, wanted: &PackRange, keep: &dyn Keep, sleepers: &Sleepers) -> Outcome {
    if wanted.range.is_empty() || wanted.bytes() > RANGE_BYTES_MAX {
        return Outcome::Gone;
    }
    if !keep.lacks(wanted) {
        return Outcome::Here;
    }
    if sleepers.has(&wanted.pack) {
        return Outcome::Asleep(false);
    }
    if keep.room_bytes() < wanted.bytes() {
        return Outcome::NoRoom;
    }
    match store.get(&pack_name(wanted.pack), Some(wanted.range.clone())).await {
        Ok(bytes) => take(wanted, bytes, keep).await,
        Err(error)
            if matches!(error.kind(), ErrorKind::Missing | ErrorKind::Invalid | ErrorKind::Damaged) =>
        {
            Outcome::Gone
        }
        Err(error) if error.kind() == ErrorKind::Asleep => {
            sleepers.note(wanted.pack);
            Outcome::Asleep(true)
        }
        Err(error) => Outcome::Failed(error),
    }
}

/// Takes a range apart into its frames: each says how long it is.
async fn take(wanted: &PackRange, mut rest: Bytes, keep: &dyn Keep) -> Outcome {
    let (came, mut frames) = (rest.len() as u64, 0);
    let mut offset = wanted.range.start;
    while let Some((at, frame)) = next_frame(wanted, offset, &mut rest) {
        offset = at.range().end;
        frames += u64::from(!keep.has(&at) && keep.keep(at, &frame).await);
    }
    Outcome::Came { bytes: came, frames, whole: offset == wanted.range.end }
}

/// `None` at the end, and at what is no frame.
fn next_frame(wanted: &PackRange, offset: u64, rest: &mut Bytes) -> Option<(FrameAt, UnverifiedFrame)> {
    let bytes = FrameHeader::from_prefix(rest).ok()?.frame_bytes();
    if bytes as usize > rest.len() {
        return None;
    }
    let at = FrameAt { pack: wanted.pack, offset: u32::try_from(offset).ok()?, bytes };
    Some((at, UnverifiedFrame::new(rest.split_to(bytes as usize)).ok()?))
}

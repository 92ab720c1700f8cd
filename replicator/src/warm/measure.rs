//! How fast the way to a store is: the time of an answer, and bytes per second.
//!
//! The time of an answer is the median of a few requests for next to nothing. The rate is found by rounds of requests at
//! once, each round of four times as many bytes, until one takes [`MeasureOptions::enough`] or the bytes are used up: so a
//! slow line is asked for little, and a fast one for enough to fill it. Of a round the time of one answer is taken off.
//!
//! What this says is what the line gives now, besides what else passes. A line that takes long to get up to speed shows
//! less than it can.

use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::time::Instant;

use super::PackRange;
use crate::repository::pack_name;
use crate::store::{ErrorKind, ObjectName, Store, StoreError};

/// Requests for next to nothing.
const ANSWERS: usize = 5;
/// The first round, in bytes.
const FIRST_BYTES: u64 = 64 << 10;
/// Fewer bytes than this say nothing of the rate.
const SAYS_ENOUGH_BYTES: u64 = 256 << 10;
/// From round to round, times as many bytes.
const GROWTH: u64 = 4;
/// The least request, in bytes.
const REQUEST_BYTES_MIN: u64 = 16 << 10;

/// How much to ask for.
#[derive(Clone, Copy, Debug)]
pub struct MeasureOptions {
    /// Requests at once, about: as many as twice of them where ranges end within a round.
    pub requests_max: usize,
    /// Bytes in all.
    pub bytes_max: u64,
    /// A round that takes so long says enough.
    pub enough: Duration,
}

impl Default for MeasureOptions {
    /// 16 requests at once, 32 MiB, one second.
    fn default() -> Self {
        Self { requests_max: 16, bytes_max: 32 << 20, enough: Duration::from_secs(1) }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The time of an answer without a body.
    pub latency: Duration,
    /// Bytes per second; `None` where there was nothing to ask for.
    pub bytes_per_s: Option<f64>,
    /// Requests that it took.
    pub requests: u64,
    /// Bytes that it took.
    pub bytes: u64,
}

/// Measures the way to a store. `small` is an object that is there; `ranges` are of packs that are there.
pub async fn measure(
    store: &dyn Store,
    small: &ObjectName,
    ranges: &[PackRange],
    options: MeasureOptions,
) -> Result<Measured, StoreError> {
    let mut answers = Vec::with_capacity(ANSWERS);
    for _ in 0..ANSWERS {
        let began = Instant::now();
        store.head(small).await?;
        answers.push(began.elapsed());
    }
    answers.sort_unstable();
    let mut measured =
        Measured { latency: answers[ANSWERS / 2], bytes_per_s: None, requests: ANSWERS as u64, bytes: 0 };
    let (mut wanted, mut most_bytes) = (FIRST_BYTES, SAYS_ENOUGH_BYTES);
    loop {
        let pieces = pieces_of(
            ranges,
            wanted.min(options.bytes_max.saturating_sub(measured.bytes)),
            options.requests_max,
        );
        if pieces.is_empty() {
            return Ok(measured);
        }
        // Ends of ranges make a few pieces more: those run too, or the round would take another answer's time.
        let at_once = pieces.len().min(2 * options.requests_max.max(1));
        let (began, requests) = (Instant::now(), pieces.len() as u64);
        let fetched = stream::iter(pieces)
            .map(|piece| async move { store.get(&pack_name(piece.pack), Some(piece.range)).await })
            .buffer_unordered(at_once);
        let came: Vec<_> = fetched.collect().await;
        let took = began.elapsed();
        measured.requests += requests;
        let mut bytes = 0;
        for piece in came {
            match piece {
                Ok(piece) => bytes += piece.len() as u64,
                // What was hot may be gone.
                Err(error) if error.kind() == ErrorKind::Missing => {}
                Err(error) => return Err(error),
            }
        }
        measured.bytes += bytes;
        let moving = took.saturating_sub(measured.latency).max(took / 10);
        // The largest round fills the line best; what is left for the last one may be less.
        if !moving.is_zero() && bytes >= most_bytes {
            most_bytes = bytes;
            measured.bytes_per_s = Some(bytes as f64 / moving.as_secs_f64());
        }
        if took >= options.enough || bytes < wanted {
            return Ok(measured);
        }
        wanted *= GROWTH;
    }
}

/// So many bytes of these ranges, in about as many pieces as run at once.
fn pieces_of(ranges: &[PackRange], wanted: u64, requests_max: usize) -> Vec<PackRange> {
    let piece_bytes = (wanted / requests_max.max(1) as u64).max(REQUEST_BYTES_MIN);
    let (mut left, mut pieces) = (wanted, Vec::new());
    for range in ranges {
        let mut start = range.range.start;
        while start < range.range.end && left > 0 {
            let end = range.range.end.min(start + piece_bytes.min(left));
            pieces.push(PackRange { pack: range.pack, range: start..end });
            left -= end - start;
            start = end;
        }
    }
    pieces
}

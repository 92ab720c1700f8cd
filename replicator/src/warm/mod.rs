//! Warming: what lies in the store comes here before somebody asks for it.
//!
//! ```text
//! Heat ── hot_ranges ─┐
//!                     ├─ warm ── requests, several at once ── frames, verbatim ── Keep (a cache)
//! root ── reach ──────┘
//! measure             how fast the way to the store is, by a few requests
//! ```
//!
//! Promises: tree nodes come before file data; a range is asked for once, in one request; nothing is asked for beyond
//! the room that [`Keep`] has; frames are kept as they came, and checked by whoever reads them. What is gone from the
//! store is passed over: heat is a hint.
//!
//! Bounds: [`WarmOptions::requests_max`] requests of at most [`RANGE_BYTES_MAX`] bytes; [`reach`] holds one path of the tree
//! and some thousand frames.
//!
//! Not here: who goes first on the link (the class of the task), retries (decorators of the store).

mod measure;
mod reach;
mod run;
#[cfg(test)]
mod tests;

use std::ops::Range;

use async_trait::async_trait;
use tidegate_chunker::{FRAME_BYTES_MAX, PackId, UnverifiedFrame};

pub use measure::{MeasureOptions, Measured, measure};
pub use reach::{Part, reach};
pub use run::{WarmOptions, WarmReport, warm};

use crate::fetch::FrameAt;
use crate::repository::{HOT_RANGE_BYTES_MAX, Heat};

/// A longer range is passed over: no head that is sound names one.
pub const RANGE_BYTES_MAX: u64 = HOT_RANGE_BYTES_MAX as u64 + 2 * FRAME_BYTES_MAX as u64;

/// Bytes of a pack that begin where a frame begins and end where one ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRange {
    /// The pack.
    pub pack: PackId,
    /// The bytes.
    pub range: Range<u64>,
}

impl PackRange {
    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }
}

/// Where frames are kept.
#[async_trait]
pub trait Keep: Send + Sync {
    /// Whether anything of the range is not here.
    fn lacks(&self, wanted: &PackRange) -> bool;

    /// Whether the frame is here.
    fn has(&self, frame: &FrameAt) -> bool;

    /// Bytes that may still come.
    fn room_bytes(&self) -> u64;

    /// Takes a frame, and waits for a place on its way if there is none; whether it is kept.
    async fn keep(&self, at: FrameAt, frame: &UnverifiedFrame) -> bool;
}

/// What a heat names, in its order.
pub fn hot_ranges(heat: &Heat) -> Vec<PackRange> {
    let of_pack = |pack: &crate::repository::HotPack| {
        let id = pack.pack;
        let range =
            move |range: &Range<u32>| PackRange { pack: id, range: range.start.into()..range.end.into() };
        pack.ranges.iter().map(range).collect::<Vec<_>>()
    };
    heat.packs().iter().flat_map(of_pack).collect()
}

//! Settings of an ingest, checked before a thread is started.

use std::path::PathBuf;

use tidegate_chunker::{CHUNK_BYTES_MAX, ChunkParams, CompressionLevel, FrameTarget, Padding};

use super::{IngestError, IngestErrorKind};

/// Smallest [`IngestOptions::pack_bytes_target`], in bytes.
pub const PACK_BYTES_TARGET_MIN: u64 = 64 << 10;
/// Greatest [`IngestOptions::pack_bytes_target`], in bytes.
pub const PACK_BYTES_TARGET_MAX: u64 = 512 << 20;

const _: () = assert!(PACK_BYTES_TARGET_MAX <= tidegate_chunker::PACK_BYTES_MAX);
/// Most sealing threads.
pub const WORKERS_MAX: usize = 64;
/// Frames in the pipeline at least, for each worker: one at work and one waiting.
const FRAMES_PER_WORKER_MIN: usize = 2;

/// How an ingest works.
#[derive(Clone, Debug)]
pub struct IngestOptions {
    /// Where local packs go. The folder must exist.
    pub folder: PathBuf,
    /// Threads that compress and seal, 1 to [`WORKERS_MAX`]: the caller's, whenever it would have to wait
    /// for the others, and besides one less than this, but at least one.
    pub workers: usize,
    /// Size that packs are closed at, in bytes. A pack is larger only if its first frame is.
    pub pack_bytes_target: u64,
    /// How much plaintext goes into one frame.
    pub frame_target: FrameTarget,
    /// How hard to compress.
    pub level: CompressionLevel,
    /// Whether the length of a frame may tell how well it compressed.
    pub padding: Padding,
    /// Bounds the frames between cutting and the pack file, with what they are sealed into, in bytes.
    /// At least two frames a worker are in the pipeline, however large they are.
    pub memory_bytes_max: u64,
}

impl IngestOptions {
    /// The defaults for packs in `folder`: a worker for each core, 64 MiB packs, 16 MiB of memory.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            workers: std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX),
            pack_bytes_target: 64 << 20,
            frame_target: FrameTarget::default(),
            level: CompressionLevel::default(),
            padding: Padding::default(),
            memory_bytes_max: 16 << 20,
        }
    }

    /// Refuses what is out of range.
    pub(super) fn check(&self) -> Result<(), IngestError> {
        check("workers", self.workers as u64, 1, WORKERS_MAX as u64)?;
        check("pack bytes target", self.pack_bytes_target, PACK_BYTES_TARGET_MIN, PACK_BYTES_TARGET_MAX)
    }

    /// How many frames may be between cutting and the pack file.
    pub(super) fn frames_max(&self, params: ChunkParams) -> usize {
        let frame_bytes = u64::from(self.frame_target.bytes().max(params.max()).min(CHUNK_BYTES_MAX));
        let by_memory = self.memory_bytes_max / (2 * frame_bytes);
        (by_memory as usize).max(FRAMES_PER_WORKER_MIN * self.workers)
    }
}

fn check(field: &str, value: u64, low: u64, high: u64) -> Result<(), IngestError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    let doing = format!("take {value} for {field}: allowed is {low} to {high}");
    Err(IngestError::new(IngestErrorKind::Misuse, doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let good = IngestOptions::new(PathBuf::from("packs"));
        good.check().expect("the defaults are in range");
        let no_workers = IngestOptions { workers: 0, ..good.clone() };
        let error = no_workers.check().expect_err("refused");
        assert_eq!(error.to_string(), "failed to take 0 for workers: allowed is 1 to 64");
        let tiny_packs = IngestOptions { pack_bytes_target: 1, ..good };
        assert_eq!(tiny_packs.check().expect_err("refused").kind(), IngestErrorKind::Misuse);
    }

    #[test]
    fn memory_bounds_the_frames_but_never_below_two_a_worker() {
        let options = IngestOptions { workers: 3, ..IngestOptions::new(PathBuf::new()) };
        assert_eq!(options.frames_max(ChunkParams::default()), 32);
        let little = IngestOptions { memory_bytes_max: 0, ..options };
        assert_eq!(little.frames_max(ChunkParams::default()), 6);
    }
}

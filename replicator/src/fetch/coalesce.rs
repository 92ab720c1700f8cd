//! Which frames come in one request: neighbours in a pack, with small gaps read and thrown away.
//!
//! Pure. Frames are never split; a run longer than the bound is only made for one frame alone.

use std::ops::Range;

use tidegate_chunker::PackId;

use super::FrameAt;

/// A range of one pack, and the frames in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) pack: PackId,
    pub(super) range: Range<u64>,
    pub(super) frames: Vec<FrameAt>,
}

impl Run {
    fn of(frame: FrameAt) -> Self {
        Self { pack: frame.pack, range: frame.range(), frames: vec![frame] }
    }

    /// Whether `frame`, which does not lie before this run, may join it.
    fn takes(&self, frame: &FrameAt, gap_bytes_max: u64, run_bytes_max: u64) -> bool {
        let range = frame.range();
        self.pack == frame.pack
            && range.start <= self.range.end.saturating_add(gap_bytes_max)
            && range.end.max(self.range.end) - self.range.start <= run_bytes_max
    }
}

/// Groups frames into runs, in the order of packs and offsets.
pub(super) fn runs(mut frames: Vec<FrameAt>, gap_bytes_max: u64, run_bytes_max: u64) -> Vec<Run> {
    frames.sort_unstable();
    frames.dedup();
    let mut runs: Vec<Run> = Vec::new();
    for frame in frames {
        match runs.last_mut() {
            Some(run) if run.takes(&frame, gap_bytes_max, run_bytes_max) => {
                run.range.end = run.range.end.max(frame.range().end);
                run.frames.push(frame);
            }
            _ => runs.push(Run::of(frame)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(pack: u8, offset: u32, bytes: u32) -> FrameAt {
        FrameAt { pack: PackId::new([pack; 32]), offset, bytes }
    }

    #[test]
    fn neighbours_come_together_and_others_do_not() {
        let frames =
            vec![frame(1, 100, 50), frame(1, 0, 100), frame(1, 160, 40), frame(1, 300, 1), frame(2, 0, 5)];
        let runs = runs(frames, 10, 1000);
        let ranges: Vec<_> = runs.iter().map(|run| run.range.clone()).collect();
        assert_eq!(ranges, [0..200, 300..301, 0..5]);
        assert_eq!(runs[0].frames.len(), 3);
    }

    proptest! {
        #[test]
        fn every_frame_lies_in_exactly_one_run_within_its_bounds(
            frames in prop::collection::vec((0..3u8, 0..5000u32, 1..300u32), 0..60),
        ) {
            let mut frames: Vec<_> = frames.into_iter().map(|(p, o, b)| frame(p, o, b)).collect();
            let runs = runs(frames.clone(), 64, 500);
            for run in &runs {
                prop_assert!(run.range.end - run.range.start <= 500);
                for frame in &run.frames {
                    prop_assert!(frame.pack == run.pack);
                    prop_assert!(run.range.start <= frame.range().start && frame.range().end <= run.range.end);
                }
            }
            let mut covered: Vec<_> = runs.into_iter().flat_map(|run| run.frames).collect();
            frames.sort_unstable();
            frames.dedup();
            covered.sort_unstable();
            prop_assert_eq!(covered, frames);
        }
    }
}

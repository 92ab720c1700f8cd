//! Read-ahead: what a sequential reader will want next is fetched before it asks.
//!
//! Each file that is read has a window. It begins at [`WINDOW_BYTES_MIN`] with the second read that
//! follows on the one before, doubles with each window that the reader uses up, to at most
//! [`WINDOW_BYTES_MAX`], and is gone after a seek. The next window is asked for when the reader has half
//! of this one before it.
//!
//! Clients keep several reads in flight, which come in any order: a read within [`SLACK_BYTES`] of where
//! the next was expected follows on.
//!
//! Bounds: files remembered by [`FILES_MAX`], windows being fetched by [`FETCHES_MAX`] (beyond that a
//! window is skipped). What is fetched goes into the reader's own bounded cache.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_replicator::map::InodeNumber;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The first window, in bytes.
const WINDOW_BYTES_MIN: u64 = 512 << 10;
/// The largest window, in bytes.
const WINDOW_BYTES_MAX: u64 = 8 << 20;
/// How far from its expected place a read may begin, in bytes.
const SLACK_BYTES: u64 = 2 << 20;
/// Files whose reading is followed; then the one that began first is forgotten.
const FILES_MAX: usize = 1024;
/// Windows that are fetched at once.
const FETCHES_MAX: usize = 8;

/// How a file is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    /// Where the next read is expected.
    next: u64,
    /// Up to where windows have been asked for.
    ahead: u64,
    /// Length of the last window; 0 before the first.
    window: u64,
}

impl Stream {
    /// Takes note of a read; gives the window to fetch now.
    fn note(&mut self, read: &Range<u64>) -> Option<Range<u64>> {
        if read.start.abs_diff(self.next) > SLACK_BYTES {
            *self = Self { next: read.end, ..Self::default() };
            return None;
        }
        self.next = self.next.max(read.end);
        if self.window > 0 && self.ahead > self.next + self.window / 2 {
            return None;
        }
        self.window = (self.window * 2).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let start = self.ahead.max(self.next);
        self.ahead = self.next + self.window;
        Some(start..self.ahead).filter(|window| !window.is_empty())
    }
}

/// A file, and the number of the map that it is read in (0: the live one).
pub(crate) type FileAt = (u64, InodeNumber);

#[derive(Default)]
struct Streams {
    files: HashMap<FileAt, Stream>,
    order: VecDeque<FileAt>,
}

/// Follows the readers of one share.
pub(crate) struct ReadAhead {
    streams: Mutex<Streams>,
    fetches: Arc<Semaphore>,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self { streams: Mutex::default(), fetches: Arc::new(Semaphore::new(FETCHES_MAX)) }
    }
}

impl ReadAhead {
    /// Takes note of a read of a file; gives what should be fetched now, and the permit to hold
    /// meanwhile.
    pub(crate) fn note(&self, file: FileAt, read: &Range<u64>) -> Option<(Range<u64>, OwnedSemaphorePermit)> {
        let window = self.streams.lock().note(file, read)?;
        Some((window, self.fetches.clone().try_acquire_owned().ok()?))
    }
}

impl Streams {
    fn note(&mut self, file: FileAt, read: &Range<u64>) -> Option<Range<u64>> {
        if let Some(stream) = self.files.get_mut(&file) {
            return stream.note(read);
        }
        self.files.insert(file, Stream { next: read.end, ..Stream::default() });
        self.order.push_back(file);
        if self.order.len() > FILES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.files.remove(&oldest);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u64 = 128 << 10;

    fn windows(streams: &mut Streams, starts: impl IntoIterator<Item = u64>) -> Vec<Range<u64>> {
        starts
            .into_iter()
            .filter_map(|start| streams.note((0, InodeNumber(7)), &(start..start + READ)))
            .collect()
    }

    #[test]
    fn windows_of_a_sequential_reader_double_and_follow_on() {
        let mut streams = Streams::default();
        let windows = windows(&mut streams, (0..400).map(|read| read * READ));
        assert_eq!(windows[0], 2 * READ..2 * READ + WINDOW_BYTES_MIN);
        for pair in windows.windows(2) {
            assert_eq!(pair[0].end, pair[1].start, "nothing is fetched twice or left out");
        }
        let last = windows.last().expect("there are some");
        assert!(last.end - last.start <= WINDOW_BYTES_MAX);
        assert!(windows.len() < 30, "{} windows for 50 MiB", windows.len());
    }

    #[test]
    fn reads_that_come_out_of_order_are_still_sequential() {
        let mut streams = Streams::default();
        let swapped = (0..100).map(|read| (read ^ 1) * READ);
        assert!(windows(&mut streams, swapped).len() > 5);
    }

    #[test]
    fn a_seek_ends_the_window_and_random_reads_have_none() {
        let mut streams = Streams::default();
        let far = |read: u64| (read * 7919 % 1000) * (64 << 20);
        assert_eq!(windows(&mut streams, (1..200).map(far)), []);
    }
}

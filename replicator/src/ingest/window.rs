//! The window over a stream that cuts are found in.
//!
//! Bounded: holds [`WINDOW_LOOKAHEADS`] times as many bytes as decide a cut, and is reused from one
//! stream to the next.

use std::io::{self, Read};

use tidegate_chunker::Cutter;

/// Size of the window, in lengths of the longest chunk: with four, at most a third of the bytes is
/// moved to the front of the window once.
const WINDOW_LOOKAHEADS: usize = 4;
/// Least size of the window in bytes, so that small chunks are read many at a time.
const WINDOW_BYTES_MIN: usize = 1 << 20;

/// Bytes read and not yet cut: `buffer[start..end]`.
#[derive(Default)]
pub(super) struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end_of_data: bool,
}

impl Window {
    /// Begins a new stream.
    pub(super) fn reset(&mut self, cutter: &Cutter) {
        let size = (WINDOW_LOOKAHEADS * cutter.lookahead_bytes()).max(WINDOW_BYTES_MIN);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        (self.start, self.end, self.at_end_of_data) = (0, 0, false);
    }

    /// The next chunk, if what has been read decides where it ends.
    pub(super) fn next_chunk(&mut self, cutter: &Cutter) -> Option<&[u8]> {
        let start = self.start;
        let cut = cutter.next_cut(&self.buffer[start..self.end], self.at_end_of_data)?;
        self.start += cut;
        Some(&self.buffer[start..self.start])
    }

    /// Reads until the window is full or the stream ends; answers whether there may be chunks to cut.
    pub(super) fn fill(&mut self, source: &mut impl Read) -> io::Result<bool> {
        if self.at_end_of_data {
            return Ok(false);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.end < self.buffer.len() && !self.at_end_of_data {
            match source.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end_of_data = true,
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let bytes = self.1.min(self.0.len()).min(out.len());
            out[..bytes].copy_from_slice(&self.0[..bytes]);
            self.0 = &self.0[bytes..];
            Ok(bytes)
        }
    }

    #[test]
    fn the_pieces_of_a_dribbling_stream_rejoin_to_it() {
        let cutter = Cutter::fixed(4096).expect("valid");
        let data: Vec<u8> = (0..3_000_001_u32).map(|place| (place % 251) as u8).collect();
        let mut window = Window::default();
        for step in [1000, 4096, 3_000_000] {
            window.reset(&cutter);
            let (mut source, mut rejoined) = (Dribble(&data, step), Vec::new());
            while window.fill(&mut source).expect("readable") {
                while let Some(chunk) = window.next_chunk(&cutter) {
                    rejoined.extend_from_slice(chunk);
                }
            }
            assert_eq!(rejoined, data);
        }
    }
}

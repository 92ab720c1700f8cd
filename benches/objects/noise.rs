//! Bodies that do not compress and have no piece in common, made while they are sent.
//!
//! Each piece is one block of noise, every word of it changed by a number of the piece's own: that goes as
//! fast as memory is copied, so bodies of any number and length take neither room nor much of the time
//! that is measured.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tidegate_benches::Chance;

/// Length of a piece, in bytes: below what allocators give back to the system at once.
const PIECE_BYTES: u64 = 64 << 10;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| Chance::new(64).bytes(PIECE_BYTES as usize));

/// See the head of this module.
pub(crate) struct Noise {
    chance: Chance,
    left: u64,
}

impl Noise {
    /// So many bytes, those of this seed.
    pub(crate) fn new(seed: u64, bytes: u64) -> Self {
        // Seeds in a row, as they are, would be the same numbers at other places.
        Self { chance: Chance::new(Chance::new(seed).next()), left: bytes }
    }

    /// No body.
    pub(crate) fn none() -> Self {
        Self::new(0, 0)
    }

    fn piece(&mut self) -> Bytes {
        let length = self.left.min(PIECE_BYTES);
        self.left -= length;
        let number = self.chance.next().to_le_bytes();
        let mut piece = BLOCK[..length as usize].to_vec();
        for word in piece.chunks_mut(8) {
            for (byte, change) in word.iter_mut().zip(number) {
                *byte ^= change;
            }
        }
        piece.into()
    }
}

impl Body for Noise {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready((self.left > 0).then(|| Ok(Frame::data(self.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

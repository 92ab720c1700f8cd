//! A piece of a file as the body of a request, read as it is sent, at the pace of the link.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use futures::stream::{BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::store::Direction;
use crate::store::link::passage::Pace;

/// How much is read, and sent, at a time.
const PIECE_BYTES: usize = 64 << 10;

/// See the head of this module.
pub(super) struct PacedBody {
    /// Never locked: the lock only says that the body may be shared between threads, as a body must.
    pieces: Mutex<BoxStream<'static, io::Result<Bytes>>>,
    left: u64,
}

impl PacedBody {
    /// The bytes `offset..offset + bytes` of the file.
    pub(super) async fn open(path: &Path, offset: u64, bytes: u64, pace: Pace) -> io::Result<Self> {
        let mut file = File::open(path).await?;
        file.seek(io::SeekFrom::Start(offset)).await?;
        Ok(Self { pieces: Mutex::new(pieces(file, bytes, pace).boxed()), left: bytes })
    }
}

/// The next `bytes` bytes of a file. One that ends before is an error.
fn pieces(file: File, bytes: u64, pace: Pace) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures::stream::try_unfold((file, bytes), move |(mut file, left)| {
        let pace = pace.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
            file.read_exact(&mut piece).await?;
            pace.moves(Direction::Up, piece.len() as u64).await;
            let left = left - piece.len() as u64;
            Ok(Some((Bytes::from(piece), (file, left))))
        }
    })
}

impl http_body::Body for PacedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = ready!(self.pieces.get_mut().poll_next_unpin(context));
        if let Some(Ok(piece)) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body;

    use super::*;

    async fn read(body: PacedBody) -> io::Result<Vec<u8>> {
        let mut body = Box::pin(body);
        let mut all = Vec::new();
        while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            all.extend_from_slice(&frame?.into_data().expect("data"));
            assert_eq!(body.is_end_stream(), body.size_hint().exact() == Some(0));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn the_piece_of_the_file_comes_whole_and_a_shorter_file_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pack");
        let content: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        std::fs::write(&path, &content).expect("written");
        for (offset, bytes) in [(0, 300_000), (7, 100_000), (299_999, 1), (5, 0)] {
            let body = PacedBody::open(&path, offset, bytes, Pace::current()).await.expect("opened");
            assert_eq!(body.size_hint().exact(), Some(bytes));
            let end = (offset + bytes) as usize;
            assert_eq!(read(body).await.expect("read"), content[offset as usize..end]);
        }
        let body = PacedBody::open(&path, 1, 300_000, Pace::current()).await.expect("opened");
        assert_eq!(read(body).await.expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
    }
}

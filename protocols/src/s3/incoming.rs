//! A body as it comes from the network: watched for silence, counted, and checked where nobody else does.
//!
//! A client that sends nothing for longer than its bound ends the body with an error; waiting costs a timer
//! and delays nobody else. Of small documents (XML) that are sent with a `Content-MD5` the digest is checked
//! here, as nothing above sees their bytes. Everything is written into the [`Note`] of the request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use metrics::Counter;
use s3s::crypto::{Checksum as _, Md5};
use tokio::time::Sleep;

use super::note::{BodyFault, Note};

/// Why a body from the network ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the body was not received")]
pub(super) struct Cut;

/// A body that is read from a connection.
pub(super) struct WatchedBody {
    inner: Incoming,
    note: Arc<Note>,
    silence: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
    received: Counter,
    md5: Option<(Md5, [u8; 16])>,
    left: Option<u64>,
    failed: bool,
}

/// What a body must be; of an object nothing that is not checked elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// What its bytes hash to.
    pub(super) md5: Option<[u8; 16]>,
    /// How many bytes it has at most.
    pub(super) bytes_max: Option<u64>,
}

impl WatchedBody {
    /// Of a request.
    pub(super) fn new(
        inner: Incoming,
        note: Arc<Note>,
        silence: Duration,
        received: Counter,
        expected: Expected,
    ) -> Self {
        if inner.is_end_stream() {
            note.body_was_read();
        }
        let (md5, left) = (expected.md5.map(|md5| (Md5::new(), md5)), expected.bytes_max);
        Self { inner, note, silence, timer: None, waiting_since: None, received, md5, left, failed: false }
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.note.set_fault(fault);
        self.failed = true;
        Poll::Ready(Some(Err(Cut)))
    }

    fn count_waiting(&mut self) {
        self.timer = None;
        if let Some(since) = self.waiting_since.take() {
            self.note.waited_for_client(since.elapsed());
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.waiting_since.get_or_insert_with(Instant::now);
        let silence = self.silence;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(silence)));
        ready!(timer.as_mut().poll(cx));
        self.count_waiting();
        self.fail(BodyFault::Silent)
    }

    /// Counts a frame; whether the body may be as long as that.
    fn took(&mut self, frame: &Frame<Bytes>) -> bool {
        let Some(data) = frame.data_ref() else { return true };
        self.received.increment(data.len() as u64);
        if let Some((hasher, _)) = &mut self.md5 {
            hasher.update(data);
        }
        match &mut self.left {
            None => true,
            Some(left) => left.checked_sub(data.len() as u64).map(|rest| *left = rest).is_some(),
        }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.failed {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else { return self.wait(cx) };
        self.count_waiting();
        match frame {
            Some(Ok(frame)) => {
                if self.took(&frame) {
                    Poll::Ready(Some(Ok(frame)))
                } else {
                    self.fail(BodyFault::TooLong)
                }
            }
            Some(Err(_)) => self.fail(BodyFault::Broken),
            None => {
                self.note.body_was_read();
                let is_right = self.md5.take().is_none_or(|(hasher, expected)| hasher.finalize() == expected);
                if is_right { Poll::Ready(None) } else { self.fail(BodyFault::BadMd5) }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || (self.md5.is_none() && self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        // Whoever reads exactly the announced bytes need not ask for the end.
        if self.inner.is_end_stream() {
            self.note.body_was_read();
        }
    }
}

//! A body as it comes from the network: watched for silence, counted, and checked where nobody else does.
//!
//! A client that sends nothing for longer than its bound ends the body with an error; waiting costs a timer
//! and delays nobody else. Of small documents (XML) that are sent with a `Content-MD5` or a checksum these
//! are checked here, as nothing above sees their bytes. Everything is written into the [`Note`] of the request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use metrics::Counter;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use tokio::time::Sleep;

use super::checksums;
use super::note::{BodyFault, Note};
use crate::objects::ChecksumAlgorithm;

/// Frames of fewer bytes are copied out of the buffer of their connection, which has 8 KiB and more.
const COPIED_BELOW: usize = 8 << 10;

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
    promise: Option<Promise>,
    left: Option<u64>,
    held_bytes_max: Option<u64>,
    failed: bool,
}

/// What a body must be; of an object nothing that is not checked elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    /// What its bytes hash to.
    pub(super) md5: Option<[u8; 16]>,
    /// What the checksum of its bytes is.
    pub(super) checksum: Option<(ChecksumAlgorithm, String)>,
    /// How many bytes it has at most.
    pub(super) bytes_max: Option<u64>,
    /// How many bytes may come before some are passed on, where it comes in chunks.
    pub(super) held_bytes_max: Option<u64>,
}

/// What a client says of the bytes of a body, and what they are so far.
struct Promise {
    md5: Option<(Md5, [u8; 16])>,
    checksum: Option<(ChecksumHasher, ChecksumAlgorithm, String)>,
}

impl Promise {
    /// None when the client says nothing.
    fn of(md5: Option<[u8; 16]>, checksum: Option<(ChecksumAlgorithm, String)>) -> Option<Self> {
        if md5.is_none() && checksum.is_none() {
            return None;
        }
        let checksum = checksum.map(|(algorithm, value)| {
            let mut hasher = ChecksumHasher::default();
            checksums::enable(&mut hasher, algorithm);
            (hasher, algorithm, value)
        });
        Some(Self { md5: md5.map(|md5| (Md5::new(), md5)), checksum })
    }

    fn update(&mut self, data: &[u8]) {
        if let Some((hasher, _)) = &mut self.md5 {
            hasher.update(data);
        }
        if let Some((hasher, ..)) = &mut self.checksum {
            hasher.update(data);
        }
    }

    /// What is wrong with the bytes, if anything is.
    fn broken(self) -> Option<BodyFault> {
        if self.md5.is_some_and(|(hasher, said)| hasher.finalize() != said) {
            return Some(BodyFault::BadMd5);
        }
        let (hasher, algorithm, said) = self.checksum?;
        let is_right = checksums::value_of(&hasher.finalize(), algorithm) == Some(said.as_str());
        (!is_right).then_some(BodyFault::BadChecksum)
    }
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
        let (promise, left) = (Promise::of(expected.md5, expected.checksum), expected.bytes_max);
        Self {
            inner,
            note,
            silence,
            timer: None,
            waiting_since: None,
            received,
            promise,
            left,
            held_bytes_max: expected.held_bytes_max,
            failed: false,
        }
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

    /// What lies here until its chunk is whole keeps no buffer of the connection alive that is much larger.
    fn compact(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let is_held = self.held_bytes_max.is_some();
        let copied =
            |data: Bytes| if data.len() < COPIED_BELOW { Bytes::copy_from_slice(&data) } else { data };
        if is_held { frame.map_data(copied) } else { frame }
    }

    /// Counts a frame; what is wrong when the body, or a chunk of it, may not be as long as that.
    fn took(&mut self, frame: &Frame<Bytes>) -> Option<BodyFault> {
        let data = frame.data_ref()?;
        self.received.increment(data.len() as u64);
        if let Some(promise) = &mut self.promise {
            promise.update(data);
        }
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(data.len() as u64) else { return Some(BodyFault::TooLong) };
            *left = rest;
        }
        let held = self.note.came(data.len() as u64);
        self.held_bytes_max.is_some_and(|most| held > most).then_some(BodyFault::LargeChunk)
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
            Some(Ok(frame)) => match self.took(&frame) {
                None => Poll::Ready(Some(Ok(self.compact(frame)))),
                Some(fault) => self.fail(fault),
            },
            Some(Err(_)) => self.fail(BodyFault::Broken),
            None => {
                self.note.body_was_read();
                match self.promise.take().and_then(Promise::broken) {
                    None => Poll::Ready(None),
                    Some(fault) => self.fail(fault),
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed || (self.promise.is_none() && self.inner.is_end_stream())
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

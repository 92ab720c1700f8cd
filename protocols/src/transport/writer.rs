//! Writing one connection.
//!
//! Replies that are ready together leave together: headers and small parts are copied side by side
//! into one buffer, large parts are written from where they lie, all in one vectored write. What a
//! call holds of the budget goes back when its reply has been written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::budget::InFlight;
use super::limits::Limits;
use crate::rpc::Reply;
use crate::telemetry::ServerMetrics;

/// Parts of at least so many bytes are written from where they lie.
const COPY_BYTES_MAX: usize = 2 << 10;
/// A batch is written when it has so many bytes.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// A batch has at most so many replies.
const BATCH_REPLIES_MAX: usize = 64;
/// The most parts in one write.
const SLICES_MAX: usize = 64;

type Outgoing = (Reply, InFlight);

/// The writing side of a connection. Its task starts with the first reply.
pub(super) struct Writer {
    state: State,
}

enum State {
    Unused(Box<Unused>),
    Started {
        replies: mpsc::Sender<Outgoing>,
        task: AbortOnDrop,
    },
    /// Only while starting.
    Moving,
}

struct Unused {
    half: OwnedWriteHalf,
    capacity: usize,
    stall_timeout: Duration,
    metrics: ServerMetrics,
}

/// Where a call leaves its reply.
#[derive(Clone)]
pub(super) struct Replies(mpsc::Sender<Outgoing>);

impl Replies {
    /// Queues a reply. Never waits for long: the queue has a place for each call of the connection.
    pub(super) async fn send(&self, reply: Reply, in_flight: InFlight) {
        // The connection may have ended; then nobody waits for the reply.
        let _ = self.0.send((reply, in_flight)).await;
    }
}

impl Writer {
    pub(super) fn new(half: OwnedWriteHalf, limits: &Limits, metrics: ServerMetrics) -> Self {
        let capacity = limits.connection_calls_max + limits.connection_waiting_max;
        let stall_timeout = limits.write_stall_timeout;
        Self { state: State::Unused(Box::new(Unused { half, capacity, stall_timeout, metrics })) }
    }

    /// Where to leave replies.
    pub(super) fn replies(&mut self) -> Replies {
        self.state = match std::mem::replace(&mut self.state, State::Moving) {
            State::Unused(unused) => unused.start(),
            started => started,
        };
        match &self.state {
            State::Started { replies, .. } => Replies(replies.clone()),
            State::Unused(_) | State::Moving => unreachable!("the writer was started above"),
        }
    }

    /// Waits until nothing can be written any more.
    pub(super) async fn ended(&self) {
        match &self.state {
            State::Started { replies, .. } => replies.closed().await,
            State::Unused(_) | State::Moving => std::future::pending().await,
        }
    }

    /// Waits until the replies of all calls in flight have been written.
    pub(super) async fn finish(mut self) {
        if let State::Started { replies, task } = std::mem::replace(&mut self.state, State::Moving) {
            drop(replies);
            task.wait().await;
        }
    }
}

/// A writing task, which ends with its connection when a stop runs out of patience.
struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    async fn wait(mut self) {
        // The task neither panics nor is aborted before this.
        let _ = (&mut self.0).await;
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Unused {
    fn start(self) -> State {
        let (replies, queue) = mpsc::channel(self.capacity);
        State::Started { replies, task: AbortOnDrop(tokio::spawn(self.write_all(queue))) }
    }

    async fn write_all(mut self, mut queue: mpsc::Receiver<Outgoing>) {
        let mut batch = Batch::default();
        while let Some(first) = queue.recv().await {
            batch.add(first);
            while batch.has_room()
                && let Ok(next) = queue.try_recv()
            {
                batch.add(next);
            }
            let bytes = batch.seal();
            if let Err(error) = self.write(&mut batch.parts).await {
                tracing::debug!(%error, "failed to write replies");
                return;
            }
            self.metrics.sent_bytes.increment(bytes as u64);
            batch.in_flight.clear();
        }
    }

    async fn write(&mut self, parts: &mut VecDeque<Bytes>) -> io::Result<()> {
        while !parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = parts.len().min(SLICES_MAX);
            for (slice, part) in slices.iter_mut().zip(parts.iter()) {
                *slice = IoSlice::new(part);
            }
            match self.half.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => advance(parts, written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    timeout(self.stall_timeout, self.half.writable()).await??;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn advance(parts: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = parts.front_mut() {
        if first.len() > written {
            return first.advance(written);
        }
        written -= first.len();
        parts.pop_front();
    }
}

/// Replies to be written together.
#[derive(Default)]
struct Batch {
    parts: VecDeque<Bytes>,
    open: BytesMut,
    bytes: usize,
    in_flight: Vec<InFlight>,
}

impl Batch {
    fn has_room(&self) -> bool {
        self.bytes < BATCH_BYTES_MAX && self.in_flight.len() < BATCH_REPLIES_MAX
    }

    fn add(&mut self, (reply, in_flight): Outgoing) {
        const LAST_FRAGMENT: u32 = 1 << 31;
        let length = reply.len();
        self.bytes += length + size_of::<u32>();
        self.open.put_u32(length as u32 | LAST_FRAGMENT);
        reply.put_header(&mut self.open);
        for part in reply.into_results().into_segments() {
            if part.len() <= COPY_BYTES_MAX {
                self.open.put_slice(&part);
            } else {
                self.close_part();
                self.parts.push_back(part);
            }
        }
        self.in_flight.push(in_flight);
    }

    /// Ends the batch; answers its bytes.
    fn seal(&mut self) -> usize {
        self.close_part();
        std::mem::take(&mut self.bytes)
    }

    fn close_part(&mut self) {
        if !self.open.is_empty() {
            self.parts.push_back(self.open.split().freeze());
        }
    }
}

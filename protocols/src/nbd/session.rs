//! Requests and their replies: one task reads, one writes, each request is a task of its own.
//!
//! A silent connection holds the reader's small buffer. Slot and bytes are taken before the data of a request is read; the
//! buffer for that grows with what arrives. A client that is gone takes the requests with it that still wait.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::handshake::Chosen;
use super::limits::NbdLimits;
use super::metrics::{NbdMetrics, answered};
use super::reply;
use super::request::{HEAD_BYTES, Head, Request, Rules};
use super::wire::command;
use super::writer::{Outgoing, write_all};
use crate::blocks::{BlockError, OpenVolume};
use crate::telemetry::SlowCalls;
use crate::transport::{ConnectionBudget, InFlight, Reserved};
use crate::waits::Waits;

/// What is read of a connection at once.
const INBOX_BYTES: usize = 16 << 10;
/// The most by which the buffer for data of a request grows at once.
const GROWTH_BYTES: usize = 256 << 10;
/// Data of so many bytes takes its bytes before it is read.
const SMALL_BYTES: u32 = 16 << 10;
/// A request that takes longer waits for something far away: local work is done sooner.
const WAITING_AFTER: Duration = Duration::from_millis(100);

/// Why a connection is not read any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client said so, or the server stops.
    #[error("closed")]
    Closed,
    /// The client is gone.
    #[error("gone")]
    Gone,
    /// Data took too long.
    #[error("the data of a request took too long")]
    Slow,
    /// Not a request.
    #[error("not a request")]
    NotNbd,
    /// More data than any request may bring.
    #[error("a request brings {0} bytes of data")]
    TooLong(u32),
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A client with a volume.
pub(super) struct Session {
    pub(super) chosen: Chosen,
    pub(super) client: IpAddr,
    pub(super) limits: Arc<NbdLimits>,
    pub(super) budget: ConnectionBudget,
    pub(super) metrics: NbdMetrics,
    pub(super) slow: Arc<SlowCalls>,
    pub(super) stop: CancellationToken,
}

/// What a request needs to be carried out.
#[derive(Clone)]
struct Shared {
    volume: Arc<dyn OpenVolume>,
    rules: Rules,
    limits: Arc<NbdLimits>,
    slow: Arc<SlowCalls>,
    client: IpAddr,
    replies: mpsc::Sender<Outgoing>,
}

impl Session {
    /// Serves requests until the connection ends.
    pub(super) async fn run<S>(self, stream: S) -> End
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (read_half, write_half) = tokio::io::split(stream);
        let (replies, queue) = mpsc::channel(self.limits.requests_max + self.limits.waiting_max);
        let stall = self.limits.write_stall_timeout;
        let writer = write_all(write_half, queue, stall, self.metrics.clone());
        let Chosen { volume, structured, allocation } = self.chosen;
        let rules = Rules { size: volume.size(), read_only: volume.is_read_only(), structured, allocation };
        let shared =
            Shared { volume, rules, limits: self.limits, slow: self.slow, client: self.client, replies };
        let reader = Reader {
            half: BufReader::with_capacity(INBOX_BYTES, read_half),
            shared,
            budget: self.budget,
            metrics: self.metrics,
            stop: self.stop,
            requests: JoinSet::new(),
        };
        // Both end in this task, so that whoever drops it drops them and every request.
        let (end, ()) = tokio::join!(reader.run(), writer);
        end
    }
}

struct Reader<R> {
    half: BufReader<R>,
    shared: Shared,
    budget: ConnectionBudget,
    metrics: NbdMetrics,
    stop: CancellationToken,
    requests: JoinSet<()>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.next().await {
                break end;
            }
        };
        match end {
            // Whoever says goodbye, or is told to go, gets the replies to what was asked before.
            End::Closed => while self.requests.join_next().await.is_some() {},
            End::Gone | End::Slow | End::NotNbd | End::TooLong(_) | End::Io(_) => {
                self.requests.shutdown().await;
            }
        }
        end
    }

    async fn next(&mut self) -> Result<(), End> {
        let mut bytes = [0; HEAD_BYTES];
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(End::Closed),
            () = self.shared.replies.closed() => return Err(End::Gone),
            read = self.half.read_exact(&mut bytes) => match read {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(End::Gone),
                Err(error) => return Err(error.into()),
            },
        }
        self.metrics.received_bytes.increment(HEAD_BYTES as u64);
        let head = Head::decode(&bytes).ok_or(End::NotNbd)?;
        if head.command == command::DISC {
            return Err(End::Closed);
        }
        let (payload, in_flight) = self.admit(&head).await?;
        while self.requests.try_join_next().is_some() {}
        self.requests.spawn(carry_out(self.shared.clone(), head, payload, in_flight));
        Ok(())
    }

    /// Takes room for a request, then reads its data.
    async fn admit(&mut self, head: &Head) -> Result<(Bytes, InFlight), End> {
        let length = head.payload_bytes();
        if length > self.shared.limits.request_bytes_max {
            return Err(End::TooLong(length));
        }
        let reserved: Option<Reserved> = match length {
            0..=SMALL_BYTES => None,
            _ => Some(self.budget.reserve_for(length as usize).await),
        };
        let payload = self.payload(length as usize).await?;
        let bytes = match head.command {
            command::READ => head.length.min(self.shared.limits.request_bytes_max) as usize,
            command::BLOCK_STATUS => 8 * reply::STRETCHES_MAX,
            _ => length as usize,
        };
        Ok((payload, self.budget.admit(bytes, reserved).await))
    }

    async fn payload(&mut self, length: usize) -> Result<Bytes, End> {
        let mut payload = BytesMut::new();
        let read = async {
            while payload.len() < length {
                let left = length - payload.len();
                payload.reserve(left.min(GROWTH_BYTES));
                let half = &mut (&mut self.half).take(left as u64);
                if half.read_buf(&mut payload).await? == 0 {
                    return Err(End::Gone);
                }
            }
            Ok(())
        };
        tokio::select! {
            biased;
            () = self.shared.replies.closed() => return Err(End::Gone),
            read = timeout(self.shared.limits.request_timeout, read) => read.map_err(|_| End::Slow)??,
        }
        self.metrics.received_bytes.increment(length as u64);
        Ok(payload.freeze())
    }
}

async fn carry_out(shared: Shared, head: Head, payload: Bytes, mut in_flight: InFlight) {
    let started = Instant::now();
    let mut answer = pin!(Waits::of(shared.answer(head, payload)));
    let ((parts, error), waits) = if let Ok(answer) = timeout(WAITING_AFTER, &mut answer).await {
        answer
    } else {
        in_flight.make_room();
        answer.await
    };
    let elapsed = started.elapsed();
    answered(head.name(), elapsed, error);
    shared.slow.note(head.name(), shared.client, elapsed, &waits);
    // The connection may have ended; then nobody waits for the reply.
    let _ = shared.replies.send(Outgoing { parts, in_flight }).await;
}

impl Shared {
    /// The reply, and the name of the error in it.
    async fn answer(&self, head: Head, payload: Bytes) -> (Vec<Bytes>, Option<&'static str>) {
        // A volume that was made shorter or longer meanwhile is as large as the client was told, or shorter.
        let rules = Rules { size: self.rules.size.min(self.volume.size()), ..self.rules };
        let done = match Request::check(&head, rules, &self.limits) {
            Ok(request) => self.perform(&head, request, payload).await.map_err(reply::number),
            Err(error) => Err(error),
        };
        match done {
            Ok(parts) => (parts, None),
            Err(error) => {
                // A read, and whatever is answered in chunks, fails in a chunk.
                let chunked = matches!(head.command, command::READ | command::BLOCK_STATUS);
                let make =
                    if chunked && self.rules.structured { reply::structured_error } else { reply::simple };
                (vec![make(head.cookie, error)], Some(reply::error_name(error)))
            }
        }
    }

    async fn perform(&self, head: &Head, request: Request, payload: Bytes) -> Result<Vec<Bytes>, BlockError> {
        let (volume, cookie) = (&self.volume, head.cookie);
        match request {
            Request::Read { range, whole } => {
                let offset = range.start;
                let pieces = volume.read(range).await?;
                return Ok(if self.rules.structured {
                    reply::structured_data(cookie, offset, pieces, whole)
                } else {
                    reply::simple_data(cookie, pieces)
                });
            }
            Request::Status { range, one } => {
                let most = if one { 1 } else { reply::STRETCHES_MAX };
                let stretches = volume.status(range, most).await?;
                return Ok(vec![reply::stretches(cookie, &stretches)]);
            }
            Request::Write { offset, durable } => volume.write(offset, payload, durable).await?,
            Request::Flush => volume.flush().await?,
            Request::Trim { range, durable } => volume.trim(range, durable).await?,
            Request::Zero { range, keep_room, durable } => volume.zero(range, keep_room, durable).await?,
            Request::Cache { range } => volume.expect(range).await,
        }
        Ok(vec![reply::simple(cookie, 0)])
    }
}

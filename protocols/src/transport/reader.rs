//! Reading one connection.
//!
//! A silent connection holds this task and no buffer. Small records are sliced out of an inbox of
//! [`GRANT_BYTES`]; of a large one at most an inbox full is copied, the rest is read into the buffer
//! that its payload stays in. Only a call that writes data is large: any other record of more than an inbox full ends its
//! connection before room is made for it. Reading stops while the budget is used up, and with it the time in which the
//! record under way must come.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::net::tcp::OwnedReadHalf;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::budget::{ConnectionBudget, InFlight, Reserved};
use super::limits::Limits;
use super::writer::{Replies, Writer};
use crate::rpc::{
    CallHeader, GRANT_BYTES, Incoming, PreparedCall, Programs, RecordError, Records, Reply, Step, Transport,
};
use crate::telemetry::ServerMetrics;

/// The least room worth a read.
const READ_BYTES_MIN: usize = 4 << 10;

/// A call that takes longer waits for something far away: local work is done sooner.
const WAITING_AFTER: Duration = Duration::from_millis(100);

/// Why a connection is not read any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client closed it, or the server stops.
    #[error("closed")]
    Closed,
    /// Nothing came for too long.
    #[error("silent for {0:?}")]
    Silent(Duration),
    /// A record took too long.
    #[error("a record took more than {0:?}")]
    Slow(Duration),
    /// Not RPC.
    #[error("not an RPC call")]
    NotRpc,
    /// A long record, and no call that may be long.
    #[error("a long record that writes no data")]
    Long,
    /// The stream breaks a bound of record marking.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads one connection and starts its calls.
pub(super) struct Reader {
    half: OwnedReadHalf,
    peer: SocketAddr,
    programs: Arc<Programs>,
    limits: Arc<Limits>,
    budget: ConnectionBudget,
    metrics: ServerMetrics,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    inbox: BytesMut,
    records: Records,
    reserved: Option<Reserved>,
    called: bool,
}

impl Reader {
    pub(super) fn new(
        half: OwnedReadHalf,
        peer: SocketAddr,
        programs: Arc<Programs>,
        limits: Arc<Limits>,
        budget: ConnectionBudget,
        metrics: ServerMetrics,
        stop: WaitForCancellationFutureOwned,
    ) -> Self {
        let records = Records::new(limits.record_bytes_max);
        Self {
            half,
            peer,
            programs,
            limits,
            budget,
            metrics,
            stop: Box::pin(stop),
            inbox: BytesMut::new(),
            records,
            reserved: None,
            called: false,
        }
    }

    /// Reads until the connection ends.
    pub(super) async fn run(mut self, writer: &mut Writer) -> End {
        loop {
            let received = tokio::select! {
                biased;
                () = writer.ended() => return End::Closed,
                received = self.next_record() => received,
            };
            match received {
                Ok(record) => {
                    if let Err(end) = self.start_call(record, writer).await {
                        return end;
                    }
                }
                Err(end) => return end,
            }
        }
    }

    async fn start_call(&mut self, record: Bytes, writer: &mut Writer) -> Result<(), End> {
        let record_bytes = record.len();
        let reserved = self.reserved.take();
        match self.programs.receive(record, self.peer, Transport::Tcp) {
            Incoming::Call(call) => {
                let in_flight = self.budget.admit(record_bytes + call.reply_bytes_max(), reserved).await;
                tokio::spawn(carry_out(Arc::clone(&self.programs), call, in_flight, writer.replies()));
            }
            Incoming::Reply(reply) => {
                let in_flight = self.admit_refusal(record_bytes, reserved).await;
                writer.replies().send(reply, in_flight).await;
            }
            Incoming::Unreadable => return Err(End::NotRpc),
        }
        self.called = true;
        Ok(())
    }

    async fn admit_refusal(&self, record_bytes: usize, reserved: Option<Reserved>) -> InFlight {
        self.budget.admit(record_bytes + Reply::HEADER_BYTES_MAX, reserved).await
    }

    async fn next_record(&mut self) -> Result<Bytes, End> {
        let silence = if self.called { self.limits.idle_timeout } else { self.limits.first_call_timeout };
        let silent_until = Instant::now() + silence;
        let mut complete_until: Option<Instant> = None;
        loop {
            let mut step = self.records.step(&mut self.inbox)?;
            if matches!(step, Step::More) {
                let nothing_yet = self.inbox.is_empty() && self.records.at_start();
                let deadline = if nothing_yet {
                    silent_until
                } else {
                    *complete_until.get_or_insert_with(|| Instant::now() + self.limits.record_timeout)
                };
                step = self.fill(deadline).await?.ok_or(if nothing_yet {
                    End::Silent(silence)
                } else {
                    End::Slow(self.limits.record_timeout)
                })?;
            }
            match step {
                Step::Record(record) => return Ok(record),
                Step::Grant(_) => {
                    let beginning = self.records.beginning(&self.inbox, CallHeader::BYTES_MAX);
                    if !self.programs.may_be_long(beginning) {
                        return Err(End::Long);
                    }
                    let asked = Instant::now();
                    self.reserved = Some(self.budget.reserve_for_record().await);
                    // It waited for us, not we for its client.
                    complete_until = complete_until.map(|until| until + asked.elapsed());
                    self.records.grant();
                }
                Step::More => {}
            }
        }
    }

    /// Reads once, into the inbox or directly into a large record; `None` when it is too late.
    async fn fill(&mut self, deadline: Instant) -> Result<Option<Step>, End> {
        loop {
            match self.try_fill() {
                Ok((0, _)) => return Err(End::Closed),
                Ok((bytes, step)) => {
                    self.metrics.received_bytes.increment(bytes as u64);
                    return Ok(Some(step));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
            if self.inbox.is_empty() {
                self.inbox = BytesMut::new();
            }
            tokio::select! {
                biased;
                () = &mut self.stop => return Err(End::Closed),
                ready = timeout_at(deadline, self.half.readable()) => match ready {
                    Ok(ready) => ready?,
                    Err(_) => return Ok(None),
                },
            }
        }
    }

    fn try_fill(&mut self) -> io::Result<(usize, Step)> {
        if let Some((buffer, most)) = self.records.direct() {
            reserve(buffer, most);
            let bytes = self.half.try_read_buf(&mut buffer.limit(most))?;
            return Ok((bytes, if bytes == 0 { Step::More } else { self.records.read_directly(bytes) }));
        }
        reserve(&mut self.inbox, usize::MAX);
        Ok((self.half.try_read_buf(&mut self.inbox)?, Step::More))
    }
}

async fn carry_out(
    programs: Arc<Programs>,
    call: Box<PreparedCall>,
    mut in_flight: InFlight,
    replies: Replies,
) {
    let mut answer = pin!(programs.answer(call));
    let reply = if let Ok(reply) = timeout(WAITING_AFTER, &mut answer).await {
        reply
    } else {
        in_flight.make_room();
        answer.await
    };
    if let Some(reply) = reply {
        replies.send(reply, in_flight).await;
    }
}

/// Makes room for a read of up to `most` bytes, an inbox full at most.
fn reserve(buffer: &mut BytesMut, most: usize) {
    if buffer.capacity() - buffer.len() < most.min(READ_BYTES_MIN) {
        buffer.reserve(most.min(GRANT_BYTES));
    }
}

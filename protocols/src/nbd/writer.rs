//! Writes replies of one connection as they become ready; what is ready together leaves together.
//!
//! What a request holds of the budget goes back when its reply has been written.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::metrics::NbdMetrics;
use crate::transport::InFlight;

/// The most parts in one write.
const SLICES_MAX: usize = 64;

/// A reply on its way out.
pub(super) struct Outgoing {
    pub(super) parts: Vec<Bytes>,
    pub(super) in_flight: InFlight,
}

/// Writes until the other end of `queue` is gone or the client takes nothing more.
pub(super) async fn write_all<W: AsyncWrite + Unpin>(
    mut half: W,
    mut queue: mpsc::Receiver<Outgoing>,
    stall: Duration,
    metrics: NbdMetrics,
) {
    let (mut parts, mut in_flight) = (VecDeque::new(), Vec::new());
    while let Some(first) = queue.recv().await {
        parts.extend(first.parts);
        in_flight.push(first.in_flight);
        while parts.len() < SLICES_MAX
            && let Ok(next) = queue.try_recv()
        {
            parts.extend(next.parts);
            in_flight.push(next.in_flight);
        }
        if let Err(error) = write(&mut half, &mut parts, stall, &metrics).await {
            tracing::debug!(%error, "failed to write replies");
            return;
        }
        in_flight.clear();
    }
    // Whoever has gone does not wait for the end.
    let _ = timeout(stall, half.shutdown()).await;
}

async fn write<W: AsyncWrite + Unpin>(
    half: &mut W,
    parts: &mut VecDeque<Bytes>,
    stall: Duration,
    metrics: &NbdMetrics,
) -> io::Result<()> {
    while !parts.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = parts.len().min(SLICES_MAX);
        for (slice, part) in slices.iter_mut().zip(parts.iter()) {
            *slice = IoSlice::new(part);
        }
        let written = timeout(stall, half.write_vectored(&slices[..count])).await??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        metrics.sent_bytes.increment(written as u64);
        advance(parts, written);
    }
    timeout(stall, half.flush()).await?
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

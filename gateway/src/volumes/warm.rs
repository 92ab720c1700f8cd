//! What was read while a machine booted is fetched first when it boots again, in that order.
//!
//! It goes beside the reads of the client, after them where both want the link ([`Traffic::Housekeeping`]), and a few
//! requests ahead, so that it does not take the places of theirs. It ends with the list, or with the volume.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use tidegate_replicator::store::Traffic;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::boot::BootOrder;
use super::source::Source;

/// Ranges that are fetched at once.
const AT_ONCE: usize = 4;
/// The most bytes of one range: what is read in one go.
const RANGE_BYTES_MAX: u64 = 1 << 20;

/// Fetches what an order names; `done` counts its bytes.
pub(super) async fn warm(
    context: Arc<Context>,
    source: Source,
    order: BootOrder,
    done: Arc<AtomicU64>,
    closed: CancellationToken,
) {
    let pieces = order.ranges().flat_map(|range| {
        let starts = (range.start..range.end).step_by(RANGE_BYTES_MAX as usize);
        starts.map(move |start| start..range.end.min(start + RANGE_BYTES_MAX))
    });
    let fetch = futures::stream::iter(pieces).for_each_concurrent(AT_ONCE, |piece| {
        let (context, source, done) = (&context, &source, &done);
        async move {
            let bytes = piece.end - piece.start;
            source.expect(context, piece).await;
            done.fetch_add(bytes, Ordering::Relaxed);
        }
    });
    let fetch = Traffic::Housekeeping.scope(fetch);
    tokio::select! {
        () = closed.cancelled() => {}
        () = fetch => tracing::debug!("what is read first while a machine boots is here"),
    }
}

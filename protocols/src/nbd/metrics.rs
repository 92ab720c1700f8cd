//! Metrics of the NBD server; declared in [`crate::METRICS`].

use std::time::Duration;

use metrics::{Counter, Gauge, counter, gauge, histogram};

pub(crate) const REQUEST_SECONDS: &str = "tidegate_nbd_request_seconds";
pub(crate) const FAILURES: &str = "tidegate_nbd_failures_total";
pub(crate) const CONNECTIONS: &str = "tidegate_nbd_connections";
pub(crate) const CONNECTIONS_REFUSED: &str = "tidegate_nbd_connections_refused_total";
pub(crate) const RECEIVED_BYTES: &str = "tidegate_nbd_received_bytes_total";
pub(crate) const SENT_BYTES: &str = "tidegate_nbd_sent_bytes_total";

/// Metrics of one server.
#[derive(Clone)]
pub(super) struct NbdMetrics {
    connections: Gauge,
    pub(super) refused: Counter,
    pub(super) received_bytes: Counter,
    pub(super) sent_bytes: Counter,
}

impl NbdMetrics {
    /// Registers them.
    pub(super) fn new() -> Self {
        Self {
            connections: gauge!(CONNECTIONS),
            refused: counter!(CONNECTIONS_REFUSED),
            received_bytes: counter!(RECEIVED_BYTES),
            sent_bytes: counter!(SENT_BYTES),
        }
    }

    /// A connection is open until what is given is dropped.
    pub(super) fn connection(&self) -> Open {
        self.connections.increment(1.0);
        Open(self.connections.clone())
    }
}

/// Counts a connection while it is open.
pub(super) struct Open(Gauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// A request was answered.
pub(super) fn answered(command: &'static str, elapsed: Duration, error: Option<&'static str>) {
    histogram!(REQUEST_SECONDS, "command" => command).record(elapsed);
    if let Some(error) = error {
        counter!(FAILURES, "command" => command, "error" => error).increment(1);
    }
}

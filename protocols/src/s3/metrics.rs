//! Metrics of the S3 server; declared in [`crate::METRICS`].

use std::time::Duration;

use http::StatusCode;
use metrics::{Counter, Gauge, counter, gauge, histogram};

pub(crate) const REQUEST_SECONDS: &str = "tidegate_s3_request_seconds";
pub(crate) const REQUESTS: &str = "tidegate_s3_requests_total";
pub(crate) const REQUESTS_IN_FLIGHT: &str = "tidegate_s3_requests_in_flight";
pub(crate) const CONNECTIONS: &str = "tidegate_s3_connections";
pub(crate) const CONNECTIONS_REFUSED: &str = "tidegate_s3_connections_refused_total";
pub(crate) const RECEIVED_BYTES: &str = "tidegate_s3_received_bytes_total";
pub(crate) const SENT_BYTES: &str = "tidegate_s3_sent_bytes_total";

/// Metrics of one server.
#[derive(Clone)]
pub(super) struct S3Metrics {
    in_flight: Gauge,
    connections: Gauge,
    pub(super) refused: Counter,
    pub(super) received_bytes: Counter,
    pub(super) sent_bytes: Counter,
}

impl S3Metrics {
    /// Registers them.
    pub(super) fn new() -> Self {
        Self {
            in_flight: gauge!(REQUESTS_IN_FLIGHT),
            connections: gauge!(CONNECTIONS),
            refused: counter!(CONNECTIONS_REFUSED),
            received_bytes: counter!(RECEIVED_BYTES),
            sent_bytes: counter!(SENT_BYTES),
        }
    }

    /// A request is carried out until what is given is dropped.
    pub(super) fn request(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// A connection is open until what is given is dropped.
    pub(super) fn connection(&self) -> Counted {
        Counted::new(&self.connections)
    }
}

/// A request was answered.
pub(super) fn answered(operation: &'static str, status: StatusCode, elapsed: Duration) {
    histogram!(REQUEST_SECONDS, "operation" => operation).record(elapsed);
    counter!(REQUESTS, "operation" => operation, "outcome" => outcome(status)).increment(1);
}

/// How an answer ended, in few words.
fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        304 => "not_modified",
        401 | 403 => "denied",
        404 => "not_found",
        503 => "slow_down",
        100..=399 => "ok",
        400..=499 => "client_error",
        _ => "server_error",
    }
}

/// One more in a gauge, until dropped.
pub(super) struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_few() {
        let of = |status: u16| outcome(StatusCode::from_u16(status).unwrap());
        assert_eq!([of(200), of(206), of(304), of(403)], ["ok", "ok", "not_modified", "denied"]);
        assert_eq!(
            [of(404), of(412), of(500), of(503)],
            ["not_found", "client_error", "server_error", "slow_down"]
        );
    }
}

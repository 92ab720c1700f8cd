//! What clients may use of the NBD server, with defaults that need no change.

use std::time::Duration;

use crate::transport::{Limits, LimitsError};

/// The largest request that any client makes without asking what the server takes: the specification's bound.
pub(super) const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// The least that the largest request may be.
const REQUEST_BYTES_LEAST: u32 = 1 << 20;
/// What a request in flight costs beside its bytes.
const OVERHEAD_BYTES: usize = 8 << 10;

/// Bounds of an NBD server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdLimits {
    /// Connections open at a time; more are closed at once.
    pub connections_max: usize,
    /// Requests in flight on one connection; more are not read.
    pub requests_max: usize,
    /// Further requests of one connection that wait for something far away.
    pub waiting_max: usize,
    /// Bytes of requests and replies in flight on one connection; more are not read.
    pub connection_bytes_max: usize,
    /// Bytes of requests and replies in flight on all connections; more are not read.
    pub total_bytes_max: usize,
    /// The largest request that moves data, in bytes; at most 32 MiB. It is told to clients that ask.
    pub request_bytes_max: u32,
    /// How long a client may take from the greeting to the choice of a volume.
    pub handshake_timeout: Duration,
    /// How long the data of one request may take to arrive.
    pub request_timeout: Duration,
    /// How long a client may take none of a reply.
    pub write_stall_timeout: Duration,
    /// How long a stop waits for requests in flight and their replies.
    pub drain_timeout: Duration,
    /// Requests that take longer are logged.
    pub slow_call: Duration,
}

impl Default for NbdLimits {
    fn default() -> Self {
        Self {
            connections_max: 1_000,
            requests_max: 128,
            waiting_max: 128,
            connection_bytes_max: 64 << 20,
            total_bytes_max: 512 << 20,
            request_bytes_max: REQUEST_BYTES_MAX,
            handshake_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_mins(1),
            write_stall_timeout: Duration::from_mins(5),
            drain_timeout: Duration::from_secs(30),
            slow_call: Duration::from_secs(1),
        }
    }
}

impl NbdLimits {
    /// The defaults within so many bytes for all connections; the largest request is made as small as that needs.
    pub fn within(total_bytes_max: usize) -> Self {
        let usual = Self::default();
        let total_bytes_max = total_bytes_max.clamp(4 << 20, usual.total_bytes_max);
        // Half of all bytes, less what comes with them, must hold one request.
        let most = (total_bytes_max / 2 - OVERHEAD_BYTES).min(REQUEST_BYTES_MAX as usize) as u32;
        let request_bytes_max = 1 << most.ilog2();
        let connection_bytes_max = usual.connection_bytes_max.min(total_bytes_max / 2);
        Self { connection_bytes_max, total_bytes_max, request_bytes_max, ..usual }
    }

    /// Checks that every request fits into every bound.
    pub fn check(&self) -> Result<(), LimitsError> {
        let request = self.request_bytes_max as usize + OVERHEAD_BYTES;
        let bounds = [
            ("connections_max", self.connections_max, 1),
            ("requests_max", self.requests_max, 1),
            ("request_bytes_max", self.request_bytes_max as usize, REQUEST_BYTES_LEAST as usize),
            ("connection_bytes_max", self.connection_bytes_max, request),
            ("total_bytes_max", self.total_bytes_max, 2 * request),
        ];
        if let Some((setting, value, least)) = bounds.into_iter().find(|(_, value, least)| value < least) {
            return Err(LimitsError { setting, value, least });
        }
        Ok(())
    }

    /// The same for the budget that requests take from.
    pub(super) fn of_budget(&self) -> Limits {
        Limits {
            connections_max: self.connections_max,
            connection_calls_max: self.requests_max,
            connection_waiting_max: self.waiting_max,
            connection_bytes_max: self.connection_bytes_max,
            total_bytes_max: self.total_bytes_max,
            // A call may reserve twice that.
            record_bytes_max: usize::midpoint(self.request_bytes_max as usize, OVERHEAD_BYTES),
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_so_does_every_amount_of_memory() {
        assert_eq!(NbdLimits::default().check(), Ok(()));
        for total in [0, 1 << 20, 21 << 20, 85 << 20, 1 << 30] {
            let limits = NbdLimits::within(total);
            assert_eq!(limits.check(), Ok(()), "{total}: {limits:?}");
            assert!(limits.of_budget().call_bytes_max() <= limits.total_bytes_max / 2);
        }
        assert_eq!(NbdLimits::within(85 << 20).request_bytes_max, REQUEST_BYTES_MAX);
    }
}

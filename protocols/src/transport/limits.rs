//! What clients may use of the server, as settings with defaults that need no change.

use std::time::Duration;

use crate::view::TRANSFER_BYTES_MAX;

/// What a record may hold beside the largest payload: headers, credential, handle, arguments.
const RECORD_OVERHEAD_BYTES: usize = 4 << 10;

/// Bounds of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at a time; more are closed at once.
    pub connections_max: usize,
    /// Calls in flight on one connection; more are not read.
    pub connection_calls_max: usize,
    /// Further calls of one connection that wait for something far away. They do not count as in
    /// flight, so that they do not delay others.
    pub connection_waiting_max: usize,
    /// Bytes of calls and replies in flight on one connection; more are not read.
    pub connection_bytes_max: usize,
    /// Bytes of calls and replies in flight on all connections; more are not read. An eighth is kept for
    /// calls that are small.
    pub total_bytes_max: usize,
    /// The longest record in bytes; a longer one ends its connection.
    pub record_bytes_max: usize,
    /// How long a new connection may stay silent.
    pub first_call_timeout: Duration,
    /// How long a connection may stay silent after its first call. Clients close theirs after about
    /// five minutes and open a new one when they need it.
    pub idle_timeout: Duration,
    /// How long one record may take to arrive.
    pub record_timeout: Duration,
    /// How long a client may take none of a reply.
    pub write_stall_timeout: Duration,
    /// How long a stop waits for calls in flight and their replies.
    pub drain_timeout: Duration,
    /// Calls that take longer are logged.
    pub slow_call: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            connection_calls_max: 128,
            connection_waiting_max: 128,
            connection_bytes_max: 64 << 20,
            total_bytes_max: 1 << 30,
            record_bytes_max: TRANSFER_BYTES_MAX as usize + RECORD_OVERHEAD_BYTES,
            first_call_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(10),
            record_timeout: Duration::from_mins(1),
            write_stall_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(30),
            slow_call: Duration::from_secs(1),
        }
    }
}

/// A bound that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} is {value}: it must be at least {least}")]
pub struct LimitsError {
    /// Which.
    pub setting: &'static str,
    /// As given.
    pub value: usize,
    /// What works.
    pub least: usize,
}

impl Limits {
    /// The most that one call may reserve: the largest record and the largest reply.
    pub(crate) fn call_bytes_max(&self) -> usize {
        2 * self.record_bytes_max
    }

    /// The most that records that are being received hold, on all connections.
    pub(crate) fn receiving_bytes_max(&self) -> usize {
        self.total_bytes_max / 2
    }

    /// Checks that every call fits into every bound.
    pub fn check(&self) -> Result<(), LimitsError> {
        let record = TRANSFER_BYTES_MAX as usize + RECORD_OVERHEAD_BYTES;
        at_least("connections_max", self.connections_max, 1)?;
        at_least("connection_calls_max", self.connection_calls_max, 1)?;
        at_least("record_bytes_max", self.record_bytes_max, record)?;
        at_least("connection_bytes_max", self.connection_bytes_max, self.call_bytes_max())?;
        let least = self.connection_bytes_max.max(2 * self.call_bytes_max());
        at_least("total_bytes_max", self.total_bytes_max, least)
    }
}

fn at_least(setting: &'static str, value: usize, least: usize) -> Result<(), LimitsError> {
    if value < least { Err(LimitsError { setting, value, least }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_bound_below_one_call_is_refused_by_name() {
        let limits = Limits { connection_bytes_max: 1 << 20, ..Limits::default() };
        let error = limits.check().unwrap_err();
        assert!(error.to_string().starts_with("connection_bytes_max is 1048576: it must be at least"));
    }
}

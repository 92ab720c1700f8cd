//! What clients may use of the S3 server, as settings with defaults that need no change.

use std::time::Duration;

use crate::transport::LimitsError;

/// The least that the head of a request may have: what `hyper` needs.
const HEADER_BYTES_LEAST: usize = 8 << 10;
/// The least that a document of a request may have: a thousand short keys to be deleted.
const DOCUMENT_BYTES_LEAST: usize = 64 << 10;

/// The least that a chunk may have: what the clients of AWS send.
const CHUNK_BYTES_LEAST: usize = 1 << 20;

/// Bounds of an S3 server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Limits {
    /// Connections open at a time; more are closed at once.
    pub connections_max: usize,
    /// The head of a request in bytes; a longer one is answered with status 431.
    pub header_bytes_max: usize,
    /// A document (XML) of a request in bytes: lists of parts and of keys.
    pub document_bytes_max: usize,
    /// A chunk of a body in chunks of S3, which is held until it is whole, in bytes.
    pub chunk_bytes_max: usize,
    /// How long a connection may stay without the whole head of its next request.
    pub idle_timeout: Duration,
    /// How long TLS may take to begin.
    pub handshake_timeout: Duration,
    /// How long a client may send nothing of a body that it owes.
    pub body_silence_timeout: Duration,
    /// How long a client may take none of an answer.
    pub write_stall_timeout: Duration,
    /// How long a stop waits for requests in flight and their answers.
    pub drain_timeout: Duration,
    /// Requests that take longer, what they wait for their client apart, are logged.
    pub slow_call: Duration,
}

impl Default for S3Limits {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            header_bytes_max: 64 << 10,
            document_bytes_max: 8 << 20,
            chunk_bytes_max: 16 << 20,
            idle_timeout: Duration::from_mins(5),
            handshake_timeout: Duration::from_secs(10),
            body_silence_timeout: Duration::from_secs(30),
            write_stall_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(30),
            slow_call: Duration::from_secs(1),
        }
    }
}

impl S3Limits {
    /// Checks that requests fit into every bound.
    pub fn check(&self) -> Result<(), LimitsError> {
        at_least("connections_max", self.connections_max, 1)?;
        at_least("header_bytes_max", self.header_bytes_max, HEADER_BYTES_LEAST)?;
        at_least("document_bytes_max", self.document_bytes_max, DOCUMENT_BYTES_LEAST)?;
        at_least("chunk_bytes_max", self.chunk_bytes_max, CHUNK_BYTES_LEAST)
    }
}

fn at_least(setting: &'static str, value: usize, least: usize) -> Result<(), LimitsError> {
    if value < least { Err(LimitsError { setting, value, least }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_work_and_what_cannot_is_refused_by_name() {
        assert_eq!(S3Limits::default().check(), Ok(()));
        let limits = S3Limits { header_bytes_max: 100, ..S3Limits::default() };
        assert_eq!(limits.check().unwrap_err().setting, "header_bytes_max");
    }
}

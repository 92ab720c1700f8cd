//! A program that clients ask for and that is not served.
//!
//! A call to it fails at once (PROG_UNAVAIL, or "no port" from a port mapper), as one to any unknown
//! program does. That it is known makes one difference: the log says what to do, once a minute for
//! each client, however often and at however many addresses the client asks.

use std::net::IpAddr;

use crate::telemetry::ClientNotices;

/// See the head of this module.
pub struct AbsentProgram {
    number: u32,
    advice: &'static str,
    notices: ClientNotices,
}

impl AbsentProgram {
    /// The program of that number, with advice for the log.
    pub fn new(number: u32, advice: &'static str) -> Self {
        Self { number, advice, notices: ClientNotices::default() }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Notes that a client asked for it.
    pub(crate) fn asked_for(&self, client: IpAddr) {
        if self.notices.allows(client.to_canonical()) {
            tracing::warn!(%client, program = self.number, "{}", self.advice);
        }
    }
}

//! What a served protocol is to the RPC layer: the trait [`Program`].

use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;

use super::credential::Credential;
use crate::retransmission::Kind;
use crate::view::RetryKey;
use crate::xdr::Body;

/// What a call came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Transport {
    /// The longest reply that it carries, with its header, in bytes: what is longer has to be cut. (Datagrams
    /// could be longer; but their senders can be forged, and a reply must not be worth forging them for.)
    pub const fn reply_bytes_max(self) -> usize {
        match self {
            Self::Tcp => usize::MAX,
            Self::Udp => 8 << 10,
        }
    }
}

/// One call, as a program gets it. Program, version and procedure exist.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it came from.
    pub peer: SocketAddr,
    /// What it came over.
    pub transport: Transport,
    /// Program version.
    pub version: u32,
    /// Procedure number.
    pub procedure: u32,
    /// Who calls.
    pub credential: Credential,
    /// Arguments, encoded.
    pub arguments: Bytes,
    /// For procedures that are remembered: names this call and its repetitions.
    pub retry: Option<RetryKey>,
}

/// How a program answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Results, encoded.
    Results {
        /// As they travel.
        body: Body,
        /// Name of the status, when the protocol says that the call failed.
        failure: Option<&'static str>,
        /// Whether a repetition of the call should be carried out anew rather than get this answer.
        transient: bool,
    },
    /// The arguments could not be decoded.
    GarbageArguments,
    /// The procedure exists, but not like this.
    ProcedureUnavailable,
}

impl Answer {
    /// Results of a call that succeeded.
    pub fn success(body: Body) -> Self {
        Self::Results { body, failure: None, transient: false }
    }
}

/// What is known of a procedure before it is called.
#[derive(Clone, Copy, Debug)]
pub struct Procedure {
    /// For metrics and the log; unique among all programs of a server.
    pub name: &'static str,
    /// Whether answers are kept for repetitions, because a second execution would do harm; and as what.
    pub remembered: Option<Kind>,
}

impl Procedure {
    /// A procedure that may be carried out twice.
    pub const fn plain(name: &'static str) -> Self {
        Self { name, remembered: None }
    }

    /// A procedure that may not be carried out twice.
    pub const fn remembered(name: &'static str) -> Self {
        Self { name, remembered: Some(Kind::Change) }
    }

    /// A procedure that writes data: it may be carried out twice, but not long after the first time. Calls of no other kind
    /// are long.
    pub const fn writing(name: &'static str) -> Self {
        Self { name, remembered: Some(Kind::Write) }
    }
}

/// A protocol that is served over RPC.
#[async_trait]
pub trait Program: Send + Sync + 'static {
    /// Its number.
    fn number(&self) -> u32;

    /// The versions served, in ascending order; at least one.
    fn versions(&self) -> &'static [u32];

    /// The procedures of a version, at the index of their numbers.
    fn procedures(&self, version: u32) -> &'static [Procedure];

    /// An upper bound of the results of this call, in bytes. Memory for that many is reserved before
    /// the call starts.
    fn results_bytes_max(&self, request: &Request) -> usize;

    /// Carries out a call.
    async fn call(&self, request: Request) -> Answer;
}

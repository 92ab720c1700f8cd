//! Keeps the programs of this server registered with a port mapper that somebody else runs on this machine, such as
//! `rpcbind` (PMAP_SET and PMAP_UNSET, RFC 1833 section 3.2).
//!
//! A port mapper takes this from the loopback only. It is asked there over TCP, from a reserved port where this process may
//! use one: what comes from there belongs to root, and no other user of the machine can take it away. What was there of NFS
//! and MOUNT is removed once, at the first round: a server that died has left it. Of the lock manager nothing is
//! removed, since the kernel has registered its own where this machine is a client of others.
//!
//! Everything is told again every minute: a port mapper that was restarted has forgotten it, and one that was not there may
//! have come. A round ends after three seconds, whatever happens. No failure here is one of the server: clients that are
//! given the ports need no port mapper. Each change of how it goes is one line in the log.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Mapping, PORTMAP_PROGRAM, SET, UNSET};
use crate::nlm::NLM_PROGRAM;
use crate::xdr::{DecodeError, Decoder};

/// How long a round takes at most.
const PATIENCE: Duration = Duration::from_secs(3);
/// The time between two rounds.
const INTERVAL: Duration = Duration::from_mins(1);

/// Reserved ports that a round may come from, the last first. No service that is known by its port has one of these.
const RESERVED_PORTS: Range<u16> = 1000..1024;

const VERSION: u32 = 2;
/// In the mark of a record: no fragment follows (RFC 5531 section 11).
const LAST_FRAGMENT: u32 = 1 << 31;
/// The longest reply that makes sense, in bytes: its header with the longest verifier, and a boolean.
const REPLY_BYTES_MAX: u32 = 512;
/// The longest verifier of a reply, in bytes (RFC 5531 section 8.2).
const VERIFIER_BYTES_MAX: usize = 400;

const RPC_VERSION: u32 = 2;
const CALL: u32 = 0;
const REPLY: u32 = 1;
const ACCEPTED: u32 = 0;
const SUCCESS: u32 = 0;

/// Why a port mapper does not tell of this server.
#[derive(Debug, thiserror::Error)]
enum RegistrationError {
    #[error("it cannot be asked: {0}")]
    Io(#[from] io::Error),
    #[error("it has not answered within three seconds")]
    Silent,
    #[error("its answer is none: {0}")]
    Unreadable(#[from] DecodeError),
    #[error("it refuses {0}")]
    Refused(String),
}

/// The programs of this server at another's port mapper. See the head of this module.
pub(crate) struct Registration {
    address: SocketAddr,
    mappings: Vec<Mapping>,
    /// What the port mapper has taken.
    held: Vec<Mapping>,
    /// Whether what was there before has been removed.
    is_cleared: bool,
    /// How the last round went, as it was told in the log.
    told: Option<Result<(), String>>,
}

impl Registration {
    /// Nothing is asked yet. `port`: where the port mapper listens on the loopback. Where a version of a program is served at
    /// several ports, the first is told: a port mapper keeps one.
    pub(crate) fn new(port: u16, mut mappings: Vec<Mapping>) -> Self {
        let mut seen = HashSet::new();
        mappings.retain(|known| seen.insert((known.program, known.version, known.protocol as u32)));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { address, mappings, held: Vec::new(), is_cleared: false, told: None }
    }

    /// One round. Answers whether the port mapper tells of anything of this server now.
    pub(crate) async fn register(&mut self) -> bool {
        let outcome = timeout(PATIENCE, self.round()).await.unwrap_or(Err(RegistrationError::Silent));
        let outcome = outcome.map_err(|error| error.to_string());
        if self.told.as_ref() != Some(&outcome) {
            match &outcome {
                Ok(()) => tracing::info!(at = %self.address, "the port mapper tells clients of this server"),
                Err(error) => tracing::warn!(
                    at = %self.address,
                    %error,
                    "the port mapper does not tell clients of this server: look whether rpcbind runs, or mount with port= and mountport="
                ),
            }
            self.told = Some(outcome);
        }
        !self.held.is_empty()
    }

    /// A round every minute until stopped; then everything is taken back.
    pub(crate) async fn keep(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(sleep(INTERVAL)).await.is_some() {
            self.register().await;
        }
        let outcome = timeout(PATIENCE, self.take_back()).await.unwrap_or(Err(RegistrationError::Silent));
        if let Err(error) = outcome {
            tracing::warn!(at = %self.address, %error, "the port mapper still tells clients of this server");
        }
    }

    async fn round(&mut self) -> Result<(), RegistrationError> {
        let mut mapper = Mapper::connect(self.address).await?;
        if !self.is_cleared {
            for mapping in &self.mappings {
                if is_ours_alone(mapping) {
                    mapper.ask(UNSET, mapping).await?;
                }
            }
            self.is_cleared = true;
        }
        let mut refused = Vec::new();
        for mapping in &self.mappings {
            // Only an answer tells that it is not held any more: one that is cut off may have been carried out.
            let is_taken = mapper.ask(SET, mapping).await?;
            self.held.retain(|held| held != mapping);
            if is_taken {
                self.held.push(*mapping);
            } else if is_ours_alone(mapping) {
                let Mapping { program, version, protocol, port } = mapping;
                refused.push(format!("program {program} version {version} at {protocol:?} port {port}"));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(RegistrationError::Refused(refused.join(", "))) }
    }

    async fn take_back(&self) -> Result<(), RegistrationError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let mut mapper = Mapper::connect(self.address).await?;
        for mapping in &self.held {
            mapper.ask(UNSET, mapping).await?;
        }
        Ok(())
    }
}

/// Whether nobody else on this machine has a good reason to register the program.
fn is_ours_alone(mapping: &Mapping) -> bool {
    mapping.program != NLM_PROGRAM
}

/// A connection to a port mapper.
struct Mapper {
    stream: TcpStream,
    xid: u32,
}

impl Mapper {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, xid: 0 })
    }

    /// Has a mapping set, or all of its program and version unset. Answers whether that was done.
    async fn ask(&mut self, procedure: u32, mapping: &Mapping) -> Result<bool, RegistrationError> {
        self.xid += 1;
        let header = [self.xid, CALL, RPC_VERSION, PORTMAP_PROGRAM, VERSION, procedure];
        // Neither a credential nor a verifier: it goes by where the call comes from.
        let nobody = [0; 4];
        let Mapping { program, version, protocol, port } = *mapping;
        let arguments = [program, version, protocol as u32, u32::from(port)];
        let words = header.into_iter().chain(nobody).chain(arguments);
        let call: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
        let mark = LAST_FRAGMENT | call.len() as u32;
        self.stream.write_all(&[&mark.to_be_bytes()[..], &call].concat()).await?;
        let mark = self.stream.read_u32().await?;
        let length = mark & !LAST_FRAGMENT;
        if mark & LAST_FRAGMENT == 0 || length > REPLY_BYTES_MAX {
            let limit = REPLY_BYTES_MAX as usize;
            return Err(DecodeError::TooLong { length, limit }.into());
        }
        let mut reply = vec![0; length as usize];
        self.stream.read_exact(&mut reply).await?;
        Ok(is_done(reply, self.xid)?)
    }
}

/// What a reply says. A denial is a refusal, and so is a port mapper that has no such procedure.
fn is_done(reply: Vec<u8>, xid: u32) -> Result<bool, DecodeError> {
    let mut reply = Decoder::new(reply.into());
    for expected in [xid, REPLY] {
        let found = reply.u32()?;
        if found != expected {
            return Err(DecodeError::Undefined(found));
        }
    }
    if reply.u32()? != ACCEPTED {
        return Ok(false);
    }
    let _flavor_of_verifier = reply.u32()?;
    let _verifier = reply.opaque(VERIFIER_BYTES_MAX)?;
    if reply.u32()? == SUCCESS { reply.boolean() } else { Ok(false) }
}

/// From a reserved port if there is one to be had.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    for port in RESERVED_PORTS.rev() {
        let socket = TcpSocket::new_v4()?;
        // The round before came from there a minute ago, and its connection may be waiting yet.
        socket.set_reuseaddr(true)?;
        match socket.bind((Ipv4Addr::LOCALHOST, port).into()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            Err(_) => continue,
        }
        match socket.connect(address).await {
            Err(error) if is_taken(&error) => {}
            connected => return connected,
        }
    }
    TcpStream::connect(address).await
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_reply_says_whether_it_was_done_and_anything_else_is_no_reply() {
        assert_eq!(is_done(reply(&[7, 1, 0, 0, 0, 0, 1]), 7), Ok(true));
        assert_eq!(is_done(reply(&[7, 1, 0, 0, 0, 0, 0]), 7), Ok(false));
        // With a verifier, and a procedure that is not there; a denial of the credential.
        assert_eq!(is_done(reply(&[7, 1, 0, 5, 4, 99, 3]), 7), Ok(false));
        assert_eq!(is_done(reply(&[7, 1, 1, 1, 5]), 7), Ok(false));
        for wrong in
            [&[7, 1, 0, 0, 0, 0][..], &[8, 1, 0, 0, 0, 0, 1], &[7, 0, 0, 0, 0, 0, 1], &[7, 1, 0, 0, 0, 0, 2]]
        {
            assert!(is_done(reply(wrong), 7).is_err(), "{wrong:?}");
        }
    }
}

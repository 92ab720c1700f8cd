//! Options: from the greeting to the choice of a volume.
//!
//! Everything read here is small and bounded ([`OPTION_BYTES_MAX`], [`OPTIONS_MAX`]); whoever calls bounds the time. Replies are
//! written at once: the protocol has no second option before the reply to the first.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::limits::NbdLimits;
use super::options::{Asked, OPTION_BYTES_MAX, Refused, decode};
use super::reply::{ALLOCATION, ALLOCATION_ID, option_reply};
use super::wire::{IHAVEOPT, NBDMAGIC, export, greeting, info, option, option_reply as kind};
use crate::blocks::{BlockError, BlockView, OpenVolume};

/// Options of one connection; more end it.
const OPTIONS_MAX: usize = 1_000;
/// The block size that is best for clients: that of pages and of most file systems.
const PREFERRED_BYTES: u32 = 4096;

/// Why a negotiation ended without a volume.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The client ended it.
    #[error("the client ended the negotiation")]
    Ended,
    /// Not what the protocol says.
    #[error("not the protocol: {0}")]
    NotNbd(&'static str),
    /// A bound.
    #[error("too much: {0}")]
    TooMuch(&'static str),
    /// The way that knows no refusal.
    #[error("the volume that the client wants cannot be had: {0}")]
    Refused(BlockError),
    /// The socket.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a client has chosen.
pub(super) struct Chosen {
    pub(super) volume: Arc<dyn OpenVolume>,
    pub(super) structured: bool,
    pub(super) allocation: bool,
}

/// How a negotiation went on.
pub(super) enum Outcome {
    /// To requests.
    Chosen(Chosen),
    /// To TLS, after which it begins anew.
    StartTls,
}

/// A negotiation with one client.
pub(super) struct Handshake<'a, S> {
    pub(super) stream: S,
    pub(super) view: &'a dyn BlockView,
    pub(super) client: IpAddr,
    pub(super) limits: &'a NbdLimits,
    /// Whether TLS can be had, and whether it must be.
    pub(super) tls: Tls,
    /// Whether both sides leave zeros out of the reply to EXPORT_NAME.
    pub(super) no_zeroes: bool,
    pub(super) state: State,
}

/// What is there of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tls {
    Absent,
    Offered,
    Required,
    Spoken,
}

/// What the client has negotiated so far.
#[derive(Debug, Default)]
pub(super) struct State {
    structured: bool,
    /// The export for which it has chosen `base:allocation`.
    allocation_of: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<'_, S> {
    /// Says hello.
    pub(super) async fn greet(&mut self) -> Result<(), HandshakeError> {
        let flags = greeting::FIXED_NEWSTYLE | greeting::NO_ZEROES;
        let hello = [&NBDMAGIC.to_be_bytes()[..], &IHAVEOPT.to_be_bytes(), &flags.to_be_bytes()].concat();
        self.stream.write_all(&hello).await?;
        self.stream.flush().await?;
        let flags = self.stream.read_u32().await?;
        if flags & !u32::from(greeting::FIXED_NEWSTYLE | greeting::NO_ZEROES) != 0 {
            return Err(HandshakeError::NotNbd("unknown flags in the greeting"));
        }
        self.no_zeroes = flags & u32::from(greeting::NO_ZEROES) != 0;
        Ok(())
    }

    /// Answers options until the client has chosen.
    pub(super) async fn run(&mut self) -> Result<Outcome, HandshakeError> {
        for _ in 0..OPTIONS_MAX {
            if self.stream.read_u64().await? != IHAVEOPT {
                return Err(HandshakeError::NotNbd("an option begins with other bytes"));
            }
            let number = self.stream.read_u32().await?;
            let length = self.stream.read_u32().await?;
            if length > OPTION_BYTES_MAX {
                return Err(HandshakeError::TooMuch("an option is longer than 64 KiB"));
            }
            let mut data = Vec::new();
            if (&mut self.stream).take(u64::from(length)).read_to_end(&mut data).await? < length as usize {
                return Err(HandshakeError::Ended);
            }
            if let Some(outcome) = self.answer(number, &data).await? {
                return Ok(outcome);
            }
        }
        Err(HandshakeError::TooMuch("more than 1000 options"))
    }

    async fn answer(&mut self, number: u32, data: &[u8]) -> Result<Option<Outcome>, HandshakeError> {
        let before_tls = matches!(number, option::ABORT | option::STARTTLS);
        if self.tls == Tls::Required && !before_tls {
            if number == option::EXPORT_NAME {
                return Err(HandshakeError::Refused(BlockError::Denied));
            }
            self.refuse(number, kind::ERR_TLS_REQD, "TLS is required here").await?;
            return Ok(None);
        }
        match decode(number, data) {
            Ok(asked) => self.carry_out(number, asked).await,
            Err(_) if number == option::EXPORT_NAME => Err(HandshakeError::NotNbd("an impossible name")),
            Err(Refused::Invalid(why)) => self.refuse(number, kind::ERR_INVALID, why).await.map(|()| None),
            Err(Refused::TooBig(why)) => self.refuse(number, kind::ERR_TOO_BIG, why).await.map(|()| None),
        }
    }

    async fn carry_out(&mut self, number: u32, asked: Asked) -> Result<Option<Outcome>, HandshakeError> {
        match asked {
            Asked::ExportName(name) => {
                let volume = self.view.open(self.client, &name).await.map_err(HandshakeError::Refused)?;
                let chosen = self.chosen(volume, &name);
                let zeros: &[u8] = if self.no_zeroes { &[] } else { &[0; 124] };
                let (size, flags) = (chosen.volume.size(), flags_of(&*chosen.volume, chosen.structured));
                let reply = [&size.to_be_bytes()[..], &flags.to_be_bytes(), zeros].concat();
                self.send(&reply).await?;
                return Ok(Some(Outcome::Chosen(chosen)));
            }
            Asked::Abort => {
                // It may be gone before it hears that.
                let _ = self.acknowledge(number).await;
                return Err(HandshakeError::Ended);
            }
            Asked::StartTls => return self.start_tls(number).await,
            Asked::Info { name, wanted, go } => return self.info(number, name, &wanted, go).await,
            Asked::List => self.list(number).await?,
            Asked::StructuredReply => {
                self.state.structured = true;
                self.acknowledge(number).await?;
            }
            Asked::MetaContext { name, queries, set } => self.meta(number, name, &queries, set).await?,
            Asked::Unknown => self.refuse(number, kind::ERR_UNSUP, "this option is not known here").await?,
        }
        Ok(None)
    }

    async fn start_tls(&mut self, number: u32) -> Result<Option<Outcome>, HandshakeError> {
        match self.tls {
            Tls::Offered | Tls::Required => {
                self.acknowledge(number).await?;
                Ok(Some(Outcome::StartTls))
            }
            Tls::Spoken => {
                self.refuse(number, kind::ERR_INVALID, "TLS is spoken already").await.map(|()| None)
            }
            Tls::Absent => self.refuse(number, kind::ERR_POLICY, "there is no TLS here").await.map(|()| None),
        }
    }

    async fn list(&mut self, number: u32) -> Result<(), HandshakeError> {
        for volume in self.view.volumes(self.client) {
            let (name, words) = (volume.name.as_bytes(), volume.description.as_bytes());
            let data = [&(name.len() as u32).to_be_bytes()[..], name, words].concat();
            self.stream.write_all(&option_reply(number, kind::SERVER, &data)).await?;
        }
        self.acknowledge(number).await
    }

    async fn info(
        &mut self,
        number: u32,
        name: String,
        wanted: &[u16],
        go: bool,
    ) -> Result<Option<Outcome>, HandshakeError> {
        let volume = match self.view.open(self.client, &name).await {
            Ok(volume) => volume,
            Err(error) => {
                let kind = match error {
                    BlockError::NotFound => kind::ERR_UNKNOWN,
                    BlockError::Denied => kind::ERR_POLICY,
                    BlockError::ShuttingDown => kind::ERR_SHUTDOWN,
                    BlockError::Invalid | BlockError::NotSupported | BlockError::NoSpace | BlockError::Io => {
                        kind::ERR_PLATFORM
                    }
                };
                self.refuse(number, kind, &error.to_string()).await?;
                return Ok(None);
            }
        };
        let chosen = self.chosen(volume, &name);
        let volume = &chosen.volume;
        let (size, flags) = (volume.size(), flags_of(&**volume, chosen.structured));
        let mut facts =
            vec![[&info::EXPORT.to_be_bytes()[..], &size.to_be_bytes(), &flags.to_be_bytes()].concat()];
        let sizes = [1, PREFERRED_BYTES, self.limits.request_bytes_max].map(u32::to_be_bytes).concat();
        facts.push([&info::BLOCK_SIZE.to_be_bytes()[..], &sizes].concat());
        if wanted.contains(&info::NAME) {
            facts.push([&info::NAME.to_be_bytes()[..], volume.name().as_bytes()].concat());
        }
        if wanted.contains(&info::DESCRIPTION) {
            let entries = self.view.volumes(self.client);
            let found = entries.into_iter().find(|entry| entry.name == volume.name());
            let words = found.map(|entry| entry.description).unwrap_or_default();
            facts.push([&info::DESCRIPTION.to_be_bytes()[..], words.as_bytes()].concat());
        }
        for fact in facts {
            self.stream.write_all(&option_reply(number, kind::INFO, &fact)).await?;
        }
        self.acknowledge(number).await?;
        Ok(go.then_some(Outcome::Chosen(chosen)))
    }

    async fn meta(
        &mut self,
        number: u32,
        name: String,
        queries: &[String],
        set: bool,
    ) -> Result<(), HandshakeError> {
        if set {
            self.state.allocation_of = None;
        }
        if !self.state.structured {
            return self.refuse(number, kind::ERR_INVALID, "structured replies come first").await;
        }
        if let Err(error) = self.view.open(self.client, &name).await {
            return self.refuse(number, kind::ERR_UNKNOWN, &error.to_string()).await;
        }
        let all = !set && queries.is_empty();
        let matches = |query: &String| query == ALLOCATION || (!set && query == "base:");
        if all || queries.iter().any(matches) {
            let id = if set { ALLOCATION_ID } else { 0 };
            let data = [&id.to_be_bytes()[..], ALLOCATION.as_bytes()].concat();
            self.stream.write_all(&option_reply(number, kind::META_CONTEXT, &data)).await?;
            if set {
                self.state.allocation_of = Some(name);
            }
        }
        self.acknowledge(number).await
    }

    fn chosen(&self, volume: Arc<dyn OpenVolume>, name: &str) -> Chosen {
        let allocation = self.state.allocation_of.as_deref() == Some(name);
        Chosen { volume, structured: self.state.structured, allocation }
    }

    async fn acknowledge(&mut self, number: u32) -> Result<(), HandshakeError> {
        self.send(&option_reply(number, kind::ACK, &[])).await
    }

    async fn refuse(&mut self, number: u32, kind: u32, why: &str) -> Result<(), HandshakeError> {
        self.send(&option_reply(number, kind, why.as_bytes())).await
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }
}

fn flags_of(volume: &dyn OpenVolume, structured: bool) -> u16 {
    let mut flags = export::HAS_FLAGS | export::SEND_FLUSH | export::SEND_FUA | export::CAN_MULTI_CONN;
    flags |= export::SEND_CACHE;
    flags |= if volume.is_read_only() {
        export::READ_ONLY
    } else {
        export::SEND_TRIM | export::SEND_WRITE_ZEROES | export::SEND_FAST_ZERO
    };
    if structured { flags | export::SEND_DF } else { flags }
}

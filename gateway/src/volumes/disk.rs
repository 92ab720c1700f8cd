//! A volume as a client has it open.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_protocols::blocks::{BlockError, OpenVolume, Piece, Stretch};
use tidegate_protocols::view::FsError;
use tidegate_protocols::waits::{Wait, waiting};

use super::Context;
use super::patience::patiently;
use super::scratch::Scratch;
use super::source::Source;
use super::volume::Volume;
use crate::journal::Sequence;
use crate::namespace::{Credentials, OpenFile};

/// Bytes of one record of the journal: what a large write is divided into.
const PIECE_BYTES: u64 = 1 << 20;
/// Zeros for ranges that must not become holes.
static ZEROS: [u8; PIECE_BYTES as usize] = [0; PIECE_BYTES as usize];

/// See the head of this module.
pub(super) struct Disk {
    context: Arc<Context>,
    volume: Arc<Volume>,
    source: Source,
    /// Where changes go, if not into the share.
    scratch: Option<Arc<Scratch>>,
    /// Holds the live file, which outlives its last name.
    _held: Option<OpenFile>,
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.volume.disconnected();
    }
}

impl Disk {
    pub(super) async fn open(context: Arc<Context>, volume: Arc<Volume>) -> Result<Self, FsError> {
        let source = volume.source(&context).await?;
        let scratch = volume.scratch(&context).await?;
        let held = if volume.config.scratch || volume.config.moment.is_some() {
            None
        } else {
            let served = source.served(&context)?;
            Some(served.namespace.hold(source.number()).await?)
        };
        volume.warm(&context, &source).await;
        volume.connected();
        Ok(Self { context, volume, source, scratch, _held: held })
    }

    /// Tries until it can be done, while the volume is served.
    async fn patiently<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, BlockError>
    where
        F: Future<Output = Result<T, FsError>>,
    {
        patiently(self.context.patience, || {
            let attempt = (!self.volume.is_closed()).then(&mut attempt);
            async move {
                match attempt {
                    Some(attempt) => attempt.await,
                    None => Err(FsError::Stale),
                }
            }
        })
        .await
    }

    /// Reads what is not in a scratch volume.
    async fn read_source(&self, range: &Range<u64>) -> Result<Vec<Piece>, BlockError> {
        self.patiently(|| self.source.read(&self.context, range)).await
    }

    /// Writes into the live file; gives the record to wait for.
    async fn write_live(&self, offset: u64, data: Bytes) -> Result<Sequence, BlockError> {
        let (file, length) = (self.source.number(), data.len() as u64);
        self.patiently(|| {
            let data = data.clone();
            async move {
                let served = self.source.served(&self.context)?;
                waiting(Wait::Room, self.context.files.admit_bytes(&served, length)).await?;
                let (_, sequence) = served.namespace.write(&Credentials::ROOT, file, offset, data).await?;
                Ok(sequence)
            }
        })
        .await
    }

    /// Makes a hole in the live file; none if there was nothing to take away.
    async fn punch_live(&self, range: &Range<u64>) -> Result<Option<Sequence>, BlockError> {
        let file = self.source.number();
        self.patiently(|| async move {
            let served = self.source.served(&self.context)?;
            waiting(Wait::Room, self.context.files.admit_bytes(&served, 0)).await?;
            served.namespace.punch(&Credentials::ROOT, file, range.clone()).await
        })
        .await
    }

    /// Waits until a record is on stable storage.
    async fn settle(&self, sequence: Option<Sequence>, durable: bool) -> Result<(), BlockError> {
        let Some(sequence) = sequence.filter(|_| durable) else { return Ok(()) };
        self.patiently(|| async move { self.source.served(&self.context)?.namespace.sync(sequence).await })
            .await
    }

    async fn punch(&self, range: Range<u64>, durable: bool) -> Result<(), BlockError> {
        self.require_open()?;
        if let Some(scratch) = &self.scratch {
            return scratch.zero(range).await;
        }
        match self.punch_live(&range).await? {
            // There was nothing to take away, but what took it away before may not be on stable storage yet.
            None if durable => self.flush().await,
            sequence => self.settle(sequence, durable).await,
        }
    }

    /// Refuses once the volume is served no more, also what could be had from a scratch volume still.
    fn require_open(&self) -> Result<(), BlockError> {
        if self.volume.is_closed() { Err(BlockError::ShuttingDown) } else { Ok(()) }
    }
}

#[async_trait]
impl OpenVolume for Disk {
    fn name(&self) -> &str {
        &self.volume.config.name
    }

    fn size(&self) -> u64 {
        self.volume.size()
    }

    fn is_read_only(&self) -> bool {
        self.volume.config.read_only || (self.scratch.is_none() && self.volume.config.moment.is_some())
    }

    async fn read(&self, range: Range<u64>) -> Result<Vec<Piece>, BlockError> {
        self.require_open()?;
        let pieces = match &self.scratch {
            None => self.read_source(&range).await?,
            Some(scratch) => {
                let mut pieces = Vec::new();
                for (part, own) in scratch.pieces(&range) {
                    match own {
                        Some(own) => pieces.push(scratch.read(part, own).await?),
                        None => pieces.extend(self.read_source(&part).await?),
                    }
                }
                pieces
            }
        };
        self.volume.note_read(&range);
        Ok(pieces)
    }

    async fn write(&self, offset: u64, data: Bytes, durable: bool) -> Result<(), BlockError> {
        self.require_open()?;
        if let Some(scratch) = &self.scratch {
            return scratch.write(offset, data).await;
        }
        let (mut rest, mut at, mut last) = (data, offset, None);
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES as usize));
            let length = piece.len() as u64;
            last = Some(self.write_live(at, piece).await?);
            at += length;
        }
        self.settle(last, durable).await
    }

    async fn zero(&self, range: Range<u64>, keep_room: bool, durable: bool) -> Result<(), BlockError> {
        if !keep_room {
            return self.punch(range, durable).await;
        }
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(PIECE_BYTES);
            let is_last = at + length == range.end;
            self.write(at, Bytes::from_static(&ZEROS[..length as usize]), durable && is_last).await?;
            at += length;
        }
        Ok(())
    }

    async fn trim(&self, range: Range<u64>, durable: bool) -> Result<(), BlockError> {
        self.punch(range, durable).await
    }

    async fn flush(&self) -> Result<(), BlockError> {
        self.require_open()?;
        if self.is_read_only() || self.scratch.is_some() {
            return Ok(());
        }
        self.patiently(|| async { self.source.served(&self.context)?.namespace.sync_all().await }).await
    }

    async fn status(&self, range: Range<u64>, most: usize) -> Result<Vec<Stretch>, BlockError> {
        let ask = |range: Range<u64>, most: usize| async move {
            self.patiently(|| self.source.status(&self.context, &range, most)).await
        };
        self.require_open()?;
        let Some(scratch) = &self.scratch else { return ask(range, most).await };
        let mut found: Vec<Stretch> = Vec::new();
        for piece in scratch.pieces(&range) {
            let wanted = most - found.len().min(most);
            if wanted == 0 {
                break;
            }
            let Some(stretch) = Scratch::stretch(&piece) else {
                let length = piece.0.end - piece.0.start;
                let below = ask(piece.0, wanted).await?;
                let known: u64 = below.iter().map(|stretch| stretch.length).sum();
                found.extend(below);
                if known < length {
                    break;
                }
                continue;
            };
            found.push(stretch);
        }
        Ok(found)
    }

    async fn expect(&self, range: Range<u64>) {
        self.source.expect(&self.context, range).await;
    }
}

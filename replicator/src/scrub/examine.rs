//! Reads a pack as a whole: its end, its header, every frame, and every chunk in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_chunker::{
    ChunkId, Decompressor, DomainId, DomainKeys, Location, PackHeader, PackId, PackIndex, UnverifiedFrame,
};

use super::Copies;
use crate::fetch::{FrameAt, FrameSource, StoreFrames, StoreFramesOptions};
use crate::frozen::{ReadError, with_causes};
use crate::repository::{Opened, Repository, RepositoryError, Result};
use crate::store::{ErrorKind, StoreError};
use crate::verify::open_chunks;

/// Frames that are asked for together.
const TOGETHER: usize = 32;
/// Requests that one pack takes at once.
const REQUESTS_MAX: usize = 4;

/// What is wrong with frames of a pack that is gone.
const MISSING: &str = "the pack is missing";

/// What was read of a pack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// Bytes asked for.
    pub bytes: u64,
    /// Requests made, about.
    pub requests: u64,
}

/// A frame that is missing or damaged, with what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// Which bytes of which pack.
    pub at: FrameAt,
    /// The chunks that should be there.
    pub chunks: Vec<(ChunkId, Location)>,
    /// What is wrong.
    pub why: String,
}

impl BadFrame {
    /// Whether it stands for a pack of which no frame is known to be bad: its beginning or end is, or it is missing and
    /// nobody knows what lay in it.
    pub fn is_of_whole_pack(&self) -> bool {
        self.at.bytes == 0
    }
}

/// What is wrong with a pack.
#[derive(Clone, Debug)]
pub struct Wounds {
    /// Which.
    pub pack: PackId,
    /// There is no such object.
    pub is_missing: bool,
    /// What is wrong with its beginning or end, which hold no data.
    pub ends: Option<String>,
    /// Frames that are missing or damaged.
    pub frames: Vec<BadFrame>,
    /// Its domain and index, where its end can be read.
    pub(super) index: Option<(DomainId, PackIndex)>,
}

impl Wounds {
    /// All chunks in bad frames.
    pub fn chunks(&self) -> Vec<(ChunkId, Location)> {
        self.frames.iter().flat_map(|frame| frame.chunks.iter().copied()).collect()
    }

    /// These chunks should lie in it, which is missing.
    pub fn should_hold(&mut self, chunks: &[(ChunkId, Location)]) {
        let gone = |(at, chunks)| BadFrame { at, chunks, why: MISSING.to_owned() };
        self.frames = by_frame(chunks).into_iter().map(gone).collect();
    }

    /// The bad frames, or what stands for the pack where there are none.
    pub(super) fn bad_frames(self) -> Vec<BadFrame> {
        if !self.frames.is_empty() {
            return self.frames;
        }
        let at = FrameAt { pack: self.pack, offset: 0, bytes: 0 };
        let why = self.ends.filter(|_| !self.is_missing).unwrap_or_else(|| MISSING.to_owned());
        vec![BadFrame { at, chunks: Vec::new(), why }]
    }
}

/// Examines packs of a repository.
pub struct Examiner {
    pub(super) repository: Arc<Repository<Opened>>,
    pub(super) frames: StoreFrames,
}

impl Examiner {
    /// Reads from the repository's store.
    pub fn new(repository: Arc<Repository<Opened>>) -> Self {
        let options = StoreFramesOptions { requests_max: REQUESTS_MAX, ..StoreFramesOptions::default() };
        let frames = StoreFrames::new(repository.store().clone(), options);
        Self { repository, frames }
    }

    /// Reads a pack; `None` if it is whole. Where its end cannot be read, `copies` says what should lie in it. An error
    /// says nothing about the pack.
    pub async fn examine(&self, pack: PackId, copies: &dyn Copies) -> Result<(Examined, Option<Wounds>)> {
        let before = self.frames.counts();
        let mut wounds = Wounds { pack, is_missing: false, ends: None, frames: Vec::new(), index: None };
        let chunks = match self.repository.pack_index(pack).await {
            Ok((domain, index)) => {
                let chunks = index.chunks().map(|placed| (placed.id, placed.location)).collect();
                wounds.index = Some((domain, index));
                wounds.ends = self.header(pack).await?;
                chunks
            }
            Err(error) if error.is_away() => return Err(error),
            Err(error) => {
                wounds.is_missing = error.is_missing();
                wounds.ends = Some(with_causes(&error));
                copies.known_chunks(&pack).await
            }
        };
        if wounds.is_missing {
            wounds.should_hold(&chunks);
        } else {
            let domain = wounds.index.as_ref().map(|(domain, _)| *domain);
            wounds.frames = self.bad_frames(domain, by_frame(&chunks)).await?;
        }
        let after = self.frames.counts();
        let (bytes, requests) = (after.bytes - before.bytes, after.requests - before.requests + 2);
        let is_whole = wounds.ends.is_none() && wounds.frames.is_empty();
        Ok((Examined { bytes, requests }, (!is_whole).then_some(wounds)))
    }

    /// What is wrong with the first bytes of a pack.
    async fn header(&self, pack: PackId) -> Result<Option<String>> {
        match self.repository.read_pack(pack, 0..PackHeader::LEN as u64).await {
            Ok(bytes) => Ok(match PackHeader::from_prefix(&bytes) {
                Ok(header) if header.pack == pack => None,
                Ok(_) => Some("its header is that of another pack".to_owned()),
                Err(error) => Some(with_causes(&error)),
            }),
            Err(error) if error.is_away() => Err(error),
            Err(error) => Ok(Some(with_causes(&error))),
        }
    }

    async fn bad_frames(
        &self,
        domain: Option<DomainId>,
        expected: Vec<(FrameAt, Vec<(ChunkId, Location)>)>,
    ) -> Result<Vec<BadFrame>> {
        let mut bad = Vec::new();
        for together in expected.chunks(TOGETHER) {
            let at: Vec<FrameAt> = together.iter().map(|(at, _)| *at).collect();
            for ((at, chunks), read) in together.iter().zip(self.frames.frames(&at).await) {
                let verdict = match read.map_err(ReadError::from) {
                    Err(ReadError::Away(why)) => return Err(away(*at, why)),
                    Err(ReadError::Asleep(why)) => return Err(asleep(*at, why)),
                    Err(ReadError::Damaged(why)) => Err(why),
                    Ok(fetched) => verify(&self.repository, domain, &fetched.frame, chunks).map(drop),
                };
                if let Err(why) = verdict {
                    bad.push(BadFrame { at: *at, chunks: chunks.clone(), why });
                }
                // Opening a frame takes its time; others want the thread too.
                tokio::task::yield_now().await;
            }
        }
        Ok(bad)
    }
}

/// Holds a frame against what should be in it, by the keys of its domain, or of whichever opens it.
pub(super) fn verify(
    repository: &Repository<Opened>,
    domain: Option<DomainId>,
    frame: &UnverifiedFrame,
    chunks: &[(ChunkId, Location)],
) -> std::result::Result<Verified, String> {
    let mut decompressor = Decompressor::default();
    let mut failure = "the repository has no domain".to_owned();
    for (id, known) in repository.domains() {
        if domain.is_some_and(|domain| domain != id) {
            continue;
        }
        match open_chunks(frame, &known.keys, &mut decompressor, chunks.iter().copied()) {
            Ok((kind, bytes)) => return Ok(Verified { domain: id, keys: known.keys.clone(), kind, bytes }),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

/// The chunks of a frame, which are certainly those of their ids.
pub(super) struct Verified {
    pub(super) domain: DomainId,
    pub(super) keys: Arc<DomainKeys>,
    pub(super) kind: tidegate_chunker::ChunkKind,
    pub(super) bytes: Vec<bytes::Bytes>,
}

/// Chunks by the frames that they lie in, in order of place.
pub(super) fn by_frame(chunks: &[(ChunkId, Location)]) -> Vec<(FrameAt, Vec<(ChunkId, Location)>)> {
    let mut frames: BTreeMap<FrameAt, Vec<(ChunkId, Location)>> = BTreeMap::new();
    for (id, location) in chunks {
        frames.entry(FrameAt::from(location)).or_default().push((*id, *location));
    }
    frames.into_iter().collect()
}

pub(super) fn away(at: FrameAt, why: String) -> RepositoryError {
    unread(ErrorKind::Transient, at, why)
}

/// The pack was thawed, and sleeps again.
pub(super) fn asleep(at: FrameAt, why: String) -> RepositoryError {
    unread(ErrorKind::Asleep, at, why)
}

fn unread(kind: ErrorKind, at: FrameAt, why: String) -> RepositoryError {
    let doing = format!("read {} bytes at offset {} of pack {}", at.bytes, at.offset, at.pack);
    StoreError::new(kind, doing).caused_by(why).into()
}

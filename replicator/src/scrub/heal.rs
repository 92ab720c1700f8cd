//! Puts a pack back whole, or seals anew what has a copy: see the head of [`scrub`](super).

use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tempfile::NamedTempFile;
use tidegate_chunker::{
    ChunkId, DomainId, Location, PACK_TAIL_BYTES, PackFooter, PackHeader, PackId, PackIndex, PackTail,
    UnverifiedFrame,
};

use super::examine::{asleep, away, by_frame, verify};
use super::{BadFrame, Copies, Examiner, Wounds};
use crate::fetch::{FrameAt, FrameSource};
use crate::frozen::ReadError;
use crate::repository::{Opened, Repository, RepositoryError, Result, pack_name};
use crate::reseal::Resealer;
use crate::store::{Body, ErrorKind, Store, StoreError};

/// Frames that are copied together.
const TOGETHER: usize = 32;
/// How much of a pack is fetched from another store at once, in bytes.
const PIECE_BYTES: u64 = 4 << 20;

/// What became of a pack that was not as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// It is on the store again as it was.
    pub whole: bool,
    /// Chunks that were sealed anew, because it could not be.
    pub chunks_resealed: u64,
    /// Frames that nobody has a copy of; the pack itself ([`BadFrame::is_of_whole_pack`]) where no frame of it is known to be
    /// bad, and it is not as it was all the same.
    pub lost: Vec<BadFrame>,
}

/// Heals a pack. What its wounds name must have been told to [`Copies::lost`]; what is to be had again is told to
/// [`Copies::found`]. `scratch` is a folder with room for a pack.
pub async fn heal(
    examiner: &Examiner,
    wounds: Wounds,
    copies: &dyn Copies,
    scratch: &Path,
) -> Result<Healed> {
    let pack = wounds.pack;
    if let Some(path) = copies.pack_file(&pack)
        && let Some(bytes) = verified_file(&examiner.repository, pack, path.clone()).await
    {
        examiner.repository.put_pack(pack, Body::File { path, bytes }).await?;
        copies.found(&wounds.chunks()).await;
        return Ok(Healed { whole: true, ..Healed::default() });
    }
    let Some(answering) = put_back(examiner, pack, copies, scratch).await? else {
        copies.found(&wounds.chunks()).await;
        return Ok(Healed { whole: true, ..Healed::default() });
    };
    let spool = Spool::gather(examiner, &wounds, copies, answering, scratch).await?;
    if spool.lost.is_empty()
        && let Some(bytes) = spool.complete(examiner, &wounds).await?
    {
        let body = Body::File { path: spool.file.path().to_path_buf(), bytes };
        examiner.repository.put_pack(pack, body).await?;
        copies.found(&wounds.chunks()).await;
        return Ok(Healed { whole: true, ..Healed::default() });
    }
    if !copies.seals_anew() {
        return Ok(Healed { lost: wounds.bad_frames(), ..Healed::default() });
    }
    let chunks_resealed = spool.reseal(examiner, copies, scratch).await?;
    let lost = if wounds.frames.is_empty() { wounds.bad_frames() } else { spool.lost };
    Ok(Healed { whole: false, chunks_resealed, lost })
}

/// Puts a pack back as another store has it, if any of [`Copies::elsewhere`] has it whole; else those of them that have
/// answered, and may have a part of it.
async fn put_back(
    examiner: &Examiner,
    pack: PackId,
    copies: &dyn Copies,
    scratch: &Path,
) -> Result<Option<Vec<Arc<dyn Store>>>> {
    let mut answering = Vec::new();
    for store in copies.elsewhere() {
        match put_back_from(examiner, pack, &*store, scratch).await? {
            Had::Whole => return Ok(None),
            Had::NotWhole => answering.push(store),
            Had::NoAnswer => {}
        }
    }
    Ok(Some(answering))
}

/// What another store has of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Had {
    /// All of it: it was put back.
    Whole,
    /// Nothing, or not all of it.
    NotWhole,
    /// It cannot be told now.
    NoAnswer,
}

/// Whether a store that is asked for something of a pack has answered by this.
fn is_answer(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::Missing | ErrorKind::Damaged | ErrorKind::Invalid)
}

/// Puts a pack back as this store has it.
async fn put_back_from(examiner: &Examiner, pack: PackId, store: &dyn Store, scratch: &Path) -> Result<Had> {
    let mut file = NamedTempFile::new_in(scratch).map_err(local)?;
    let fetched = fetch_pack(pack, store, &mut file).await;
    match fetched {
        Ok(true) => {}
        Ok(false) => return Ok(Had::NotWhole),
        Err(FetchFailure::Local(error)) => return Err(local(error)),
        Err(FetchFailure::Store(failure)) => {
            let error: &dyn std::error::Error = &failure;
            tracing::debug!(%pack, address = store.address(), error, "a pack cannot be had from there");
            return Ok(if is_answer(&failure) { Had::NotWhole } else { Had::NoAnswer });
        }
    }
    let path = file.path().to_path_buf();
    let Some(bytes) = verified_file(&examiner.repository, pack, path.clone()).await else {
        return Ok(Had::NotWhole);
    };
    examiner.repository.put_pack(pack, Body::File { path, bytes }).await?;
    Ok(Had::Whole)
}

/// Why a pack could not be fetched.
enum FetchFailure {
    Store(StoreError),
    Local(std::io::Error),
}

impl From<StoreError> for FetchFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<std::io::Error> for FetchFailure {
    fn from(error: std::io::Error) -> Self {
        Self::Local(error)
    }
}

/// Writes a pack to a file, piece by piece; false if it is not as long as its own end says.
async fn fetch_pack(
    pack: PackId,
    store: &dyn Store,
    file: &mut NamedTempFile,
) -> std::result::Result<bool, FetchFailure> {
    let name = pack_name(pack);
    let (tail, length) = store.get_tail(&name, PACK_TAIL_BYTES).await?;
    if !PackFooter::from_tail(pack, &tail).is_ok_and(|footer| footer.pack_bytes() == length) {
        return Ok(false);
    }
    let mut at = 0;
    while at < length {
        let end = length.min(at + PIECE_BYTES);
        file.write_all(&store.get(&name, Some(at..end)).await?)?;
        at = end;
    }
    file.as_file().sync_data()?;
    Ok(true)
}

/// Copies of bad frames, each at its place in a file as long as the pack.
struct Spool {
    file: NamedTempFile,
    domain: Option<DomainId>,
    found: Vec<(FrameAt, Vec<(ChunkId, Location)>)>,
    lost: Vec<BadFrame>,
}

impl Spool {
    async fn gather(
        examiner: &Examiner,
        wounds: &Wounds,
        copies: &dyn Copies,
        mut answering: Vec<Arc<dyn Store>>,
        scratch: &Path,
    ) -> Result<Self> {
        let file = NamedTempFile::new_in(scratch).map_err(local)?;
        let domain = wounds.index.as_ref().map(|(domain, _)| *domain);
        let mut spool = Self { file, domain, found: Vec::new(), lost: Vec::new() };
        for bad in &wounds.frames {
            let here = copies.frame_copies(bad.at).await;
            let found = match here.into_iter().find(|frame| is_good(examiner, domain, bad, frame)) {
                Some(frame) => Some(frame),
                None => frame_elsewhere(examiner, domain, bad, &mut answering).await,
            };
            match found {
                Some(frame) => {
                    spool.write(bad.at, frame.as_bytes())?;
                    spool.found.push((bad.at, bad.chunks.clone()));
                }
                None => spool.lost.push(bad.clone()),
            }
        }
        Ok(spool)
    }

    fn write(&self, at: FrameAt, bytes: &[u8]) -> Result<()> {
        self.file.as_file().write_all_at(bytes, at.offset.into()).map_err(local)
    }

    fn read(&self, at: FrameAt) -> Result<Bytes> {
        let mut bytes = vec![0; at.bytes as usize];
        self.file.as_file().read_exact_at(&mut bytes, at.offset.into()).map_err(local)?;
        Ok(bytes.into())
    }

    /// Adds from the store what is whole there; the length of the pack, if it is then what it was.
    async fn complete(&self, examiner: &Examiner, wounds: &Wounds) -> Result<Option<u64>> {
        let (Some((_, index)), pack) = (&wounds.index, wounds.pack) else { return Ok(None) };
        let frame_at = |frame: &tidegate_chunker::IndexedFrame| FrameAt {
            pack,
            offset: frame.offset,
            bytes: frame.bytes,
        };
        let is_good = |at: &FrameAt| !self.found.iter().any(|(found, _)| found == at);
        let good: Vec<FrameAt> = index.frames().iter().map(frame_at).filter(is_good).collect();
        for together in good.chunks(TOGETHER) {
            for (at, read) in together.iter().zip(examiner.frames.frames(together).await) {
                match read.map_err(ReadError::from) {
                    Ok(fetched) => self.write(*at, fetched.frame.as_bytes())?,
                    Err(ReadError::Damaged(_)) => return Ok(None),
                    Err(ReadError::Away(why)) => return Err(away(*at, why)),
                    Err(ReadError::Asleep(why)) => return Err(asleep(*at, why)),
                }
            }
        }
        let name = pack_name(pack);
        let (tail, _) = examiner.repository.store().get_tail(&name, PACK_TAIL_BYTES).await?;
        let Ok(footer) = PackFooter::from_tail(pack, &tail) else { return Ok(None) };
        let (tail, _) = examiner.repository.store().get_tail(&name, footer.tail_bytes()).await?;
        let Some(first) = index.frames().first().map(frame_at) else { return Ok(None) };
        let Ok(first) = UnverifiedFrame::new(self.read(first)?) else { return Ok(None) };
        let header = PackHeader { pack, epoch: first.header().epoch };
        let file = self.file.as_file();
        let from = footer.pack_bytes().saturating_sub(tail.len() as u64);
        let written = file.write_all_at(&header.to_bytes(), 0).and_then(|()| file.write_all_at(&tail, from));
        written.and_then(|()| file.sync_data()).map_err(local)?;
        Ok(verified_file(&examiner.repository, pack, self.file.path().to_path_buf()).await)
    }

    /// Seals what has a copy into new packs; how many chunks that were.
    async fn reseal(&self, examiner: &Examiner, copies: &dyn Copies, scratch: &Path) -> Result<u64> {
        if self.found.is_empty() {
            return Ok(0);
        }
        let mut resealer = Resealer::new(&examiner.repository, scratch);
        for (at, chunks) in &self.found {
            let frame = UnverifiedFrame::new(self.read(*at)?).map_err(local)?;
            // It was verified when it was written, to this machine's disk.
            let verified = verify(&examiner.repository, self.domain, &frame, chunks);
            let verified = verified.map_err(|why| local(std::io::Error::other(why)))?;
            for ((id, _), bytes) in chunks.iter().zip(&verified.bytes) {
                resealer.write(verified.domain, &verified.keys, (verified.kind, *id), bytes).await?;
            }
        }
        let entries = resealer.finish().await?.entries;
        let found: Vec<_> = entries.iter().map(|entry| (entry.chunk, entry.location)).collect();
        copies.found(&found).await;
        Ok(found.len() as u64)
    }
}

/// A frame as one of these stores has it. One that does not answer is asked no more: each time may take long.
async fn frame_elsewhere(
    examiner: &Examiner,
    domain: Option<DomainId>,
    bad: &BadFrame,
    answering: &mut Vec<Arc<dyn Store>>,
) -> Option<UnverifiedFrame> {
    let mut next = 0;
    while let Some(store) = answering.get(next).cloned() {
        match store.get(&pack_name(bad.at.pack), Some(bad.at.range())).await {
            Ok(bytes) => {
                let frame = UnverifiedFrame::new(bytes).ok();
                if let Some(frame) = frame.filter(|frame| is_good(examiner, domain, bad, frame)) {
                    return Some(frame);
                }
                next += 1;
            }
            Err(error) if is_answer(&error) => next += 1,
            Err(_) => drop(answering.remove(next)),
        }
    }
    None
}

/// Whether these bytes are what the bad frame should be.
fn is_good(examiner: &Examiner, domain: Option<DomainId>, bad: &BadFrame, frame: &UnverifiedFrame) -> bool {
    frame.as_bytes().len() == bad.at.bytes as usize
        && verify(&examiner.repository, domain, frame, &bad.chunks).is_ok()
}

/// The length of a file, if it is the whole pack and every byte of it as it was.
async fn verified_file(repository: &Arc<Repository<Opened>>, pack: PackId, path: PathBuf) -> Option<u64> {
    let repository = repository.clone();
    crate::blocking::spawn_blocking(move || verified_length(&repository, pack, &path)).await.ok().flatten()
}

fn verified_length(repository: &Repository<Opened>, pack: PackId, path: &Path) -> Option<u64> {
    let file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let read = |range: std::ops::Range<u64>| {
        let mut bytes = vec![0; range.end.checked_sub(range.start)? as usize];
        file.read_exact_at(&mut bytes, range.start).ok()?;
        Some(Bytes::from(bytes))
    };
    let tail = read(length.saturating_sub(PACK_TAIL_BYTES)..length)?;
    let footer = PackFooter::from_tail(pack, &tail).ok().filter(|footer| footer.pack_bytes() == length)?;
    let tail = read(length.checked_sub(footer.tail_bytes())?..length)?;
    let header = PackHeader::from_prefix(&read(0..PackHeader::LEN as u64)?).ok()?;
    let (domain, index) = open_tail(repository, pack, &tail)?;
    let chunks: Vec<_> = index.chunks().map(|placed| (placed.id, placed.location)).collect();
    let is_good = by_frame(&chunks).into_iter().all(|(at, chunks)| {
        let frame = read(at.range()).and_then(|bytes| UnverifiedFrame::new(bytes).ok());
        frame.is_some_and(|frame| {
            header == (PackHeader { pack, epoch: frame.header().epoch })
                && verify(repository, Some(domain), &frame, &chunks).is_ok()
        })
    });
    is_good.then_some(length)
}

fn open_tail(repository: &Repository<Opened>, pack: PackId, tail: &[u8]) -> Option<(DomainId, PackIndex)> {
    repository.domains().into_iter().find_map(|(domain, known)| {
        match PackIndex::from_tail(&known.keys, pack, tail) {
            Ok(PackTail::Index(index)) => Some((domain, index)),
            Ok(PackTail::NeedsBytes(_)) | Err(_) => None,
        }
    })
}

/// What went wrong on this machine.
fn local(error: impl std::error::Error + Send + Sync + 'static) -> RepositoryError {
    RepositoryError::Local { doing: "put a pack together".into(), source: Box::new(error) }
}

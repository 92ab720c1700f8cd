//! Repacking: what is alive of sparse packs is copied, so that they can go.
//!
//! Frames are opened, each live chunk is held against its id, and sealed anew: so a new pack holds nothing dead,
//! and nothing that nobody has looked at. All of a pack is copied, whatever other copies the index names.
//!
//! Order of writes: new packs, then index objects that name them; only then the plan, which condemns the old
//! packs and names the new ones. A crash before that leaves copies that nothing refers to, and the next round
//! condemns them. A pack of which something does not open is left alone.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::NamedTempFile;
use tidegate_chunker::{
    ChunkId, ChunkKind, Decompressor, DomainId, DomainKeys, Location, OpenFrame, PackId, PackOptions,
    PackWriter, PlacedChunk, UnverifiedFrame,
};

use super::error::CollectError;
use super::mark::{HALF, Live};
use super::options::{CollectOptions, checkpoint};
use super::propose::Proposal;
use crate::ingest::random_pack_ids;
use crate::observer::Observer;
use crate::repository::{DurablePacks, IndexEntry, Opened, Repository, RepositoryError};
use crate::store::Body;
use crate::tree::Node;

/// A pack is finished when it has grown to this length, in bytes.
const PACK_BYTES: u64 = 64 << 20;

/// A pack that is worth repacking.
#[derive(Clone, Debug)]
pub struct SparsePack {
    /// Which.
    pub id: PackId,
    /// Its length in bytes.
    pub bytes: u64,
    /// Length of all chunks that the index names in it.
    pub(super) chunk_bytes: u64,
    /// Halves of the ids of what has to be copied.
    pub(super) live: Live,
}

/// Copies what is alive of the sparse packs of a proposal, and has the proposal condemn them; tells how many
/// bytes were written.
pub(super) async fn repack(
    repository: &Arc<Repository<Opened>>,
    proposal: &mut Proposal,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<u64, CollectError> {
    observer.phase("repack");
    let mut work = Work {
        repository,
        options,
        open: BTreeMap::new(),
        durable: DurablePacks::new(),
        entries: Vec::new(),
    };
    let mut copied = Vec::new();
    for pack in std::mem::take(&mut proposal.sparse) {
        checkpoint(observer)?;
        match work.copy(&pack).await {
            Ok(()) => copied.push(pack),
            Err(CollectError::Repository(error)) if !is_away(&error) => {
                tracing::error!(pack = %pack.id, %error, "a pack cannot be repacked: run a check");
            }
            Err(error) => return Err(error),
        }
        observer.advanced(1);
    }
    for (domain, writer) in std::mem::take(&mut work.open) {
        work.finish(domain, writer).await?;
    }
    let groups = std::mem::take(&mut work.entries).into_iter().map(Ok::<_, RepositoryError>);
    repository.write_index(groups, &work.durable).await?;
    proposal.replacements = work.durable.ids().collect();
    for pack in copied {
        proposal.condemned_bytes += pack.bytes;
        proposal.condemned.push(pack.id);
    }
    proposal.condemned.sort_unstable();
    Ok(work.durable.bytes())
}

fn is_away(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Store(_) | RepositoryError::Local { .. })
}

/// A new pack on the local disk.
struct Writer(PackWriter<BufWriter<NamedTempFile>>);

struct Work<'a> {
    repository: &'a Repository<Opened>,
    options: &'a CollectOptions,
    open: BTreeMap<DomainId, Writer>,
    durable: DurablePacks,
    /// What new packs hold, one group a pack.
    entries: Vec<Vec<IndexEntry>>,
}

impl Work<'_> {
    /// Copies what is alive of one pack. All of it is opened before any of it is written.
    async fn copy(&mut self, pack: &SparsePack) -> Result<(), CollectError> {
        let (domain, index) = self.repository.pack_index(pack.id).await?;
        let known: u64 = index.chunks().map(|chunk| u64::from(chunk.location.chunk_bytes)).sum();
        if known > pack.chunk_bytes {
            // What is alive was asked of the index.
            let why = "the index does not know all of its chunks";
            return Err(RepositoryError::damaged(format!("packs/{}", pack.id), why).into());
        }
        let keys = self.repository.domain_keys(domain)?;
        let mut frames: BTreeMap<u32, Vec<PlacedChunk>> = BTreeMap::new();
        for chunk in index.chunks().filter(|chunk| pack.live.contains(&half(&chunk.id))) {
            frames.entry(chunk.location.frame_offset).or_default().push(chunk);
        }
        let mut decompressor = Decompressor::default();
        let mut opened = Vec::new();
        for chunks in frames.into_values() {
            let Location { frame_offset, frame_bytes, .. } = chunks[0].location;
            let range = u64::from(frame_offset)..u64::from(frame_offset) + u64::from(frame_bytes);
            let bytes = self.repository.read_pack(pack.id, range).await?;
            let damaged = |error| RepositoryError::damaged(format!("packs/{}", pack.id), error);
            let frame = UnverifiedFrame::new(bytes).map_err(damaged)?;
            let frame = frame.open(&keys, None, &mut decompressor).map_err(damaged)?;
            for chunk in chunks {
                opened.push((chunk.kind, chunk.id, verified(&frame, &keys, &chunk)?));
            }
        }
        for (kind, id, bytes) in opened {
            self.write(domain, &keys, (kind, id), &bytes).await?;
        }
        Ok(())
    }

    async fn write(
        &mut self,
        domain: DomainId,
        keys: &DomainKeys,
        (kind, id): (ChunkKind, ChunkId),
        bytes: &[u8],
    ) -> Result<(), CollectError> {
        let mut writer = match self.open.remove(&domain) {
            Some(writer) => writer,
            None => self.create(keys)?,
        };
        writer.0.push(kind, id, bytes).map_err(local)?;
        if writer.0.written_bytes() >= PACK_BYTES {
            return self.finish(domain, writer).await;
        }
        self.open.insert(domain, writer);
        Ok(())
    }

    fn create(&self, keys: &DomainKeys) -> Result<Writer, CollectError> {
        let folder = &self.options.scratch;
        let file = NamedTempFile::new_in(folder)
            .map_err(|source| CollectError::Scratch { folder: folder.display().to_string(), source })?;
        let pack = random_pack_ids()().map_err(local)?;
        Ok(Writer(
            PackWriter::create(BufWriter::new(file), keys, pack, PackOptions::default()).map_err(local)?,
        ))
    }

    /// Stores a pack; its file goes.
    async fn finish(&mut self, domain: DomainId, writer: Writer) -> Result<(), CollectError> {
        let (out, summary) = writer.0.finish().map_err(local)?;
        let file = out.into_inner().map_err(|error| local(error.into_error()))?;
        let body = Body::File { path: file.path().to_path_buf(), bytes: summary.bytes };
        self.durable.add(self.repository.put_pack(summary.pack, body).await?);
        self.entries.push(summary.index.chunks().map(|placed| IndexEntry::new(domain, placed)).collect());
        Ok(())
    }
}

/// The bytes of a chunk, which are certainly those of its id. A node is held against it by whoever parses it.
fn verified(frame: &OpenFrame, keys: &DomainKeys, chunk: &PlacedChunk) -> Result<Bytes, CollectError> {
    let damaged = |error: &dyn std::fmt::Display| {
        RepositoryError::damaged(format!("packs/{}", chunk.location.pack), error)
    };
    match chunk.kind {
        ChunkKind::Data | ChunkKind::Value => {
            let chunk = frame.chunk(keys, &chunk.location, chunk.id).map_err(|error| damaged(&error))?;
            Ok(chunk.into_bytes())
        }
        ChunkKind::Node => {
            let bytes = frame.piece(&chunk.location).map_err(|error| damaged(&error))?.into_bytes();
            Node::open(keys, chunk.id, bytes.clone()).map_err(|error| damaged(&error))?;
            Ok(bytes)
        }
    }
}

fn half(id: &ChunkId) -> [u8; HALF] {
    let mut half = [0; HALF];
    half.copy_from_slice(&id.as_bytes()[..HALF]);
    half
}

/// What went wrong on this machine.
fn local(error: impl std::error::Error + Send + Sync + 'static) -> CollectError {
    RepositoryError::Local { doing: "write a pack".into(), source: Box::new(error) }.into()
}

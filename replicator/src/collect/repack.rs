//! Repacking: what is alive of sparse packs is copied, so that they can go.
//!
//! Frames are opened, each live chunk is held against its id, and sealed anew: so a new pack holds nothing dead,
//! and nothing that nobody has looked at. All of a pack is copied, whatever other copies the index names.
//!
//! Order of writes: new packs, then index objects that name them; only then the plan, which condemns the old
//! packs and names the new ones. A crash before that leaves copies that nothing refers to, and the next round
//! condemns them. A pack of which something does not open is left alone; so is one that turns out to sleep, of whatever
//! class it is said to be: it must not keep the others from being condemned.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_chunker::{ChunkId, Decompressor, Location, PackId, UnverifiedFrame};

use super::error::CollectError;
use super::mark::{HALF, Live};
use super::options::{CollectOptions, checkpoint};
use super::propose::Proposal;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError};
use crate::reseal::Resealer;
use crate::verify::open_chunks;

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
    let mut work = Work { repository, resealer: Resealer::new(repository, &options.scratch) };
    let mut copied = Vec::new();
    for pack in std::mem::take(&mut proposal.sparse) {
        checkpoint(observer)?;
        match work.copy(&pack).await {
            Ok(()) => copied.push(pack),
            Err(error) if error.is_asleep() => {
                tracing::info!(pack = %pack.id, "a pack that was to be repacked sleeps: it is left");
                proposal.asleep += 1;
            }
            Err(error) if error.is_away() => return Err(error.into()),
            Err(error) => tracing::error!(pack = %pack.id, %error, "a pack cannot be repacked: run a check"),
        }
        observer.advanced(1);
    }
    let durable = work.resealer.finish().await?.packs;
    proposal.replacements = durable.ids().collect();
    for pack in copied {
        proposal.condemned_bytes += pack.bytes;
        proposal.condemned.push(pack.id);
    }
    proposal.condemned.sort_unstable();
    Ok(durable.bytes())
}

struct Work<'a> {
    repository: &'a Repository<Opened>,
    resealer: Resealer<'a>,
}

impl Work<'_> {
    /// Copies what is alive of one pack. All of it is opened before any of it is written.
    async fn copy(&mut self, pack: &SparsePack) -> Result<(), RepositoryError> {
        let (domain, index) = self.repository.pack_index(pack.id).await?;
        let known: u64 = index.chunks().map(|chunk| u64::from(chunk.location.chunk_bytes)).sum();
        if known > pack.chunk_bytes {
            // What is alive was asked of the index.
            let why = "the index does not know all of its chunks";
            return Err(RepositoryError::damaged(format!("packs/{}", pack.id), why));
        }
        let keys = self.repository.domain_keys(domain)?;
        let mut frames: BTreeMap<u32, Vec<(ChunkId, Location)>> = BTreeMap::new();
        for chunk in index.chunks().filter(|chunk| pack.live.contains(&half(&chunk.id))) {
            frames.entry(chunk.location.frame_offset).or_default().push((chunk.id, chunk.location));
        }
        let mut decompressor = Decompressor::default();
        let mut opened = Vec::new();
        for chunks in frames.into_values() {
            let Location { frame_offset, frame_bytes, .. } = chunks[0].1;
            let range = u64::from(frame_offset)..u64::from(frame_offset) + u64::from(frame_bytes);
            let bytes = self.repository.read_pack(pack.id, range).await?;
            let object = format!("packs/{}", pack.id);
            let frame =
                UnverifiedFrame::new(bytes).map_err(|error| RepositoryError::damaged(&object, error))?;
            let (kind, verified) = open_chunks(&frame, &keys, &mut decompressor, chunks.iter().copied())
                .map_err(|why| RepositoryError::damaged(&object, why))?;
            opened.extend(chunks.into_iter().zip(verified).map(|((id, _), bytes)| (kind, id, bytes)));
        }
        for (kind, id, bytes) in opened {
            self.resealer.write(domain, &keys, (kind, id), &bytes).await?;
        }
        Ok(())
    }
}

fn half(id: &ChunkId) -> [u8; HALF] {
    let mut half = [0; HALF];
    half.copy_from_slice(&id.as_bytes()[..HALF]);
    half
}

//! A batch of file data: pieces of chunks and where they go, fetched in order of packs, so that
//! neighbouring frames come together, several groups at once.
//!
//! Bounds: a batch is of at most [`BATCH_BYTES_MAX`] bytes and one chunk more; of it at most
//! [`GROUPS_AT_ONCE`] groups of [`GROUP_BYTES_MAX`] bytes and one chunk more are in memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::PackId;

use super::error::{RestoreError, is_systemic};
use crate::frozen::{Frozen, ReadError};
use crate::map::{Extent, Source};
use crate::tree::ChunkRef;

/// Bytes of file data that are planned before they are fetched.
pub const BATCH_BYTES_MAX: u64 = 64 << 20;
/// Bytes that are fetched together and held until they are written: of file data, and of frames.
const GROUP_BYTES_MAX: u64 = 4 << 20;
/// Groups that are fetched at once.
const GROUPS_AT_ONCE: usize = 6;

/// A piece of a chunk, and where in which file of the batch it goes.
pub(super) struct Piece {
    pub(super) file: usize,
    start: u64,
    length: u32,
    chunk: ChunkRef,
    offset: u32,
}

impl Piece {
    pub(super) fn new(file: usize, extent: &Extent) -> Result<Self, ReadError> {
        let Source::Chunk { chunk, offset, .. } = &extent.source else {
            return Err(ReadError::damaged("an extent lies in the journal of a gateway"));
        };
        let length = extent.length() as u32;
        Ok(Self { file, start: extent.start, length, chunk: *chunk, offset: *offset })
    }

    /// Where it is fetched: by pack, then by place; what has no hint last.
    fn place(&self) -> (bool, Option<(PackId, u32, u32)>) {
        let place = self.chunk.at.map(|at| (at.pack, at.frame_offset, at.chunk_offset));
        (place.is_none(), place)
    }

    fn frame(&self) -> Option<(PackId, u32)> {
        self.chunk.at.map(|at| (at.pack, at.frame_offset))
    }
}

/// A file of the batch that could not be written, and why.
pub(super) struct Spoilt {
    pub(super) file: usize,
    pub(super) why: String,
    pub(super) damaged: bool,
}

/// Fetches and writes all pieces, and counts the bytes in `written` as they are. A file with a piece that cannot be had is
/// spoilt; only a repository that cannot be asked, or a disk that takes nothing more, ends it.
pub(super) async fn carry_out(
    frozen: Frozen,
    files: Vec<Option<Arc<File>>>,
    pieces: Vec<Piece>,
    written: Arc<AtomicU64>,
) -> Result<Vec<Spoilt>, RestoreError> {
    let (frozen, files, written) = (&frozen, &files[..], &*written);
    let groups: Vec<_> =
        grouped(pieces).into_iter().map(|group| one_group(frozen, files, group, written)).collect();
    let groups = stream::iter(groups);
    let spoilt: Vec<Vec<Spoilt>> = groups.buffer_unordered(GROUPS_AT_ONCE).try_collect().await?;
    Ok(spoilt.into_iter().flatten().collect())
}

/// Pieces in the order of packs, in groups; pieces of one frame stay together.
fn grouped(mut pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    pieces.sort_by_key(Piece::place);
    let mut groups: Vec<Vec<Piece>> = Vec::new();
    let (mut bytes, mut frame_bytes) = (0, 0);
    for piece in pieces {
        let last = groups.last().and_then(|group| group.last());
        let same_frame = last.is_some_and(|last| last.frame().is_some() && last.frame() == piece.frame());
        let is_full = bytes.max(frame_bytes) >= GROUP_BYTES_MAX;
        if groups.is_empty() || (is_full && !same_frame) {
            groups.push(Vec::new());
            (bytes, frame_bytes) = (0, 0);
        }
        bytes += u64::from(piece.length);
        if !same_frame {
            frame_bytes += piece.chunk.at.map_or(0, |at| u64::from(at.frame_bytes));
        }
        if let Some(group) = groups.last_mut() {
            group.push(piece);
        }
    }
    groups
}

async fn one_group(
    frozen: &Frozen,
    files: &[Option<Arc<File>>],
    group: Vec<Piece>,
    counted: &AtomicU64,
) -> Result<Vec<Spoilt>, RestoreError> {
    let chunks: Vec<ChunkRef> = group.iter().map(|piece| piece.chunk).collect();
    frozen.chunks.prefetch(&chunks).await;
    let mut spoilt = Vec::new();
    let mut writes: Vec<(usize, Arc<File>, u64, Bytes)> = Vec::with_capacity(group.len());
    for piece in group {
        let Some(file) = files.get(piece.file).and_then(Option::as_ref) else { continue };
        match bytes_of(frozen, &piece).await {
            Ok(bytes) => writes.push((piece.file, file.clone(), piece.start, bytes)),
            Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => return Err(error.into()),
            Err(ReadError::Damaged(why)) => spoilt.push(Spoilt { file: piece.file, why, damaged: true }),
        }
    }
    let bytes: u64 = writes.iter().map(|(.., bytes)| bytes.len() as u64).sum();
    let written = crate::blocking::spawn_blocking(move || {
        let write = |(number, file, start, bytes): &(usize, Arc<File>, u64, Bytes)| {
            file.write_all_at(bytes, *start).map_err(|error| (*number, error))
        };
        writes.iter().map(write).filter_map(Result::err).collect::<Vec<(usize, io::Error)>>()
    });
    let failed = written.await.map_err(io::Error::other).map_err(RestoreError::local("write file data"))?;
    for (file, error) in failed {
        if is_systemic(&error) {
            return Err(RestoreError::local("write file data")(error));
        }
        spoilt.push(Spoilt { file, why: format!("its data could not be written: {error}"), damaged: false });
    }
    counted.fetch_add(bytes, Ordering::Relaxed);
    Ok(spoilt)
}

/// The bytes of a piece, out of its verified chunk.
async fn bytes_of(frozen: &Frozen, piece: &Piece) -> Result<Bytes, ReadError> {
    let chunk = frozen.chunk(&piece.chunk).await?;
    let (start, end) = (piece.offset as usize, piece.offset as usize + piece.length as usize);
    if end > chunk.len() {
        return Err(ReadError::damaged("an extent reaches past the end of its chunk"));
    }
    Ok(chunk.slice(start..end))
}

#[cfg(test)]
mod tests {
    use tidegate_chunker::{ChunkId, Location};

    use super::*;

    fn piece(pack: u8, frame: u32, chunk: u32, length: u32) -> Piece {
        let at = Location {
            pack: PackId::new([pack; 32]),
            frame_offset: frame,
            frame_bytes: 1,
            chunk_offset: chunk,
            chunk_bytes: length,
        };
        let chunk = ChunkRef { id: ChunkId::new([0; 32]), at: Some(at) };
        Piece { file: 0, start: 0, length, chunk, offset: 0 }
    }

    #[test]
    fn groups_follow_the_packs_and_do_not_divide_frames() {
        let large = GROUP_BYTES_MAX as u32;
        let mut unplaced = piece(0, 0, 0, 5);
        unplaced.chunk.at = None;
        let pieces =
            vec![unplaced, piece(2, 0, 0, 1), piece(1, 9, 7, 1), piece(1, 9, 0, large), piece(1, 0, 0, 1)];
        let places: Vec<Vec<_>> = grouped(pieces)
            .iter()
            .map(|group| group.iter().map(|p| p.frame().map(|f| f.1)).collect())
            .collect();
        assert_eq!(places, [vec![Some(0), Some(9), Some(9)], vec![Some(0), None]]);
    }
}

//! Opens frames, all of them or a sample: every chunk of a frame is verified where it lies, whatever other
//! copies there are. Paths that a bad frame concerns are found by walking the trees once more.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_chunker::{
    ChunkId, Decompressor, DomainKeys, IndexedFrame, PackHeader, PackId, PackIndex, PlacedChunk,
};

use super::control::KeptRoot;
use super::finding::Finding;
use super::packs::PackBook;
use super::run::{CheckError, Run};
use crate::fetch::{FrameAt, FrameResult, FrameSource, StoreFrames, StoreFramesOptions};
use crate::frozen::{ReadError, with_causes};
use crate::map::Key;
use crate::repository::pack_name;
use crate::tree::{ChunkRef, TreeError, Visitor, walk};
use crate::verify::open_chunks;

/// Frames that are asked for together.
const TOGETHER: usize = 32;
/// Bad chunks whose paths are looked for.
const BAD_CHUNKS_MAX: usize = 100_000;
/// Paths that are named for each bad frame.
const USERS_MAX: usize = 1_000;

/// Which part of the frames is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Of a million frames.
    pub per_million: u32,
    /// Chooses which.
    pub seed: u64,
}

impl Sample {
    /// All frames.
    pub const ALL: u32 = 1_000_000;

    /// Whether the frame at an offset of a pack is in the sample. The choice hangs on nothing else.
    fn has(&self, pack: PackId, offset: u32) -> bool {
        let mut state = self.seed ^ u64::from(offset).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for part in pack.as_bytes().chunks(8) {
            let part = part.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            state = (state ^ part).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            state ^= state >> 29;
        }
        state % u64::from(Self::ALL) < u64::from(self.per_million)
    }
}

/// Something that is missing or damaged, and the chunks in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The object.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// The chunks.
    pub chunks: Vec<ChunkId>,
}

/// The chunks of bad frames, and what is wrong with those.
type Bad = HashMap<ChunkId, Arc<Finding>>;

impl Run<'_> {
    /// Reads the sample of all packs that trees reach.
    pub(super) async fn data(
        &mut self,
        roots: &[KeptRoot],
        book: &PackBook,
        sample: Sample,
    ) -> Result<(), CheckError> {
        let frames = StoreFrames::new(self.repository.store().clone(), StoreFramesOptions::default());
        let mut bad = Bad::new();
        for (id, pack) in book.packs.iter().filter(|(_, pack)| pack.is_used && pack.trouble.is_none()) {
            let Some(domain) = pack.domain else { continue };
            let keys = self.repository.domain_keys(domain)?;
            let index = match self.repository.pack_index(*id).await {
                Ok((_, index)) => index,
                Err(_) if self.is_collected(*id).await? => continue,
                Err(error) => {
                    self.note(pack_name(*id).as_str(), None, error)?;
                    continue;
                }
            };
            self.pack_header(*id).await?;
            let placed: Vec<PlacedChunk> = index.chunks().collect();
            let wanted: Vec<IndexedFrame> =
                index.frames().iter().filter(|frame| sample.has(*id, frame.offset)).copied().collect();
            for together in wanted.chunks(TOGETHER) {
                self.checkpoint()?;
                let at: Vec<FrameAt> = together.iter().map(|frame| frame_at(&index, frame)).collect();
                let read = frames.frames(&at).await;
                if read.iter().any(|read| read.is_err()) && self.is_collected(*id).await? {
                    break;
                }
                for (at, read) in at.iter().zip(read) {
                    self.frame(*at, read, &keys, &placed, &mut bad)?;
                }
            }
        }
        if bad.is_empty() { Ok(()) } else { self.name_users(roots, &bad).await }
    }

    /// The first bytes of a pack, which nobody needs to read it.
    async fn pack_header(&mut self, id: PackId) -> Result<(), CheckError> {
        let object = pack_name(id).to_string();
        let header = match self.repository.read_pack(id, 0..PackHeader::LEN as u64).await {
            Ok(header) => header,
            Err(_) if self.is_collected(id).await? => return Ok(()),
            Err(error) => return Ok(self.note(object, None, error)?),
        };
        match PackHeader::from_prefix(&header) {
            Ok(header) if header.pack == id => {}
            Ok(_) => self.report.add(Finding::damage(object, "its header is that of another pack")),
            Err(error) => self.report.add(Finding::damage(object, with_causes(&error))),
        }
        Ok(())
    }

    fn frame(
        &mut self,
        at: FrameAt,
        read: FrameResult,
        keys: &DomainKeys,
        placed: &[PlacedChunk],
        bad: &mut Bad,
    ) -> Result<(), CheckError> {
        self.report.counts.frames_read += 1;
        self.report.counts.frame_bytes_read += u64::from(at.bytes);
        self.observer.advanced(u64::from(at.bytes));
        let first = placed.partition_point(|chunk| chunk.location.frame_offset < at.offset);
        let in_frame = |chunk: &&PlacedChunk| chunk.location.frame_offset == at.offset;
        let chunks: Vec<&PlacedChunk> = placed[first..].iter().take_while(in_frame).collect();
        let why = match read.map_err(ReadError::from) {
            // It was thawed, and sleeps again: the next check finds it asleep from the beginning.
            Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => return Err(error.into()),
            Err(ReadError::Damaged(why)) => why,
            Ok(fetched) => {
                let chunks = chunks.iter().map(|chunk| (chunk.id, chunk.location));
                match open_chunks(&fetched.frame, keys, &mut Decompressor::default(), chunks) {
                    Ok(_) => return Ok(()),
                    Err(why) => why,
                }
            }
        };
        let what = format!("{} bytes at offset {} are damaged: {why}", at.bytes, at.offset);
        let finding = Arc::new(Finding::damage(pack_name(at.pack).as_str(), what));
        self.report.add((*finding).clone());
        if bad.len() < BAD_CHUNKS_MAX {
            bad.extend(chunks.iter().map(|chunk| (chunk.id, finding.clone())));
        }
        Ok(())
    }

    /// Says which shares, moments and paths refer to what is damaged.
    pub(super) async fn name_damage(
        &mut self,
        roots: &[KeptRoot],
        damage: Vec<Damage>,
    ) -> Result<(), CheckError> {
        let mut bad = Bad::new();
        for Damage { object, what, chunks } in damage {
            let finding = Arc::new(Finding::damage(object, what));
            self.report.add((*finding).clone());
            bad.extend(chunks.into_iter().map(|chunk| (chunk, finding.clone())));
        }
        self.name_users(roots, &bad).await
    }

    /// Walks the trees once more, for who refers to bad chunks.
    async fn name_users(&mut self, roots: &[KeptRoot], bad: &Bad) -> Result<(), CheckError> {
        let (mut visited, mut walked) = (HashSet::new(), HashSet::new());
        let mut named: HashMap<String, usize> = HashMap::new();
        for root in roots {
            self.checkpoint()?;
            let Ok(reader) = self.reader(root.domain) else { continue };
            if !walked.insert(root.root.id) {
                continue;
            }
            let mut users = Users { bad, visited: &mut visited, found: Vec::new() };
            walk(&root.root, &*reader.nodes, &mut users).await.map_err(ReadError::from)?;
            for (finding, key) in users.found {
                let count = named.entry(finding.what.clone()).or_default();
                *count += 1;
                if *count <= USERS_MAX {
                    let inode = key.as_deref().and_then(|key| Key::decode(key).ok()).map(|key| key.inode());
                    self.report_at((*finding).clone(), root, inode).await?;
                }
            }
        }
        Ok(())
    }
}

fn frame_at(index: &PackIndex, frame: &IndexedFrame) -> FrameAt {
    FrameAt { pack: index.pack(), offset: frame.offset, bytes: frame.bytes }
}

/// Who refers to bad chunks.
struct Users<'a> {
    bad: &'a Bad,
    visited: &'a mut HashSet<ChunkId>,
    found: Vec<(Arc<Finding>, Option<Bytes>)>,
}

impl Users<'_> {
    fn look(&mut self, chunk: &ChunkRef, key: Option<&[u8]>) {
        if let Some(finding) = self.bad.get(&chunk.id)
            && self.found.len() < BAD_CHUNKS_MAX
        {
            self.found.push((finding.clone(), key.map(Bytes::copy_from_slice)));
        }
    }
}

impl Visitor for Users<'_> {
    fn node(&mut self, node: &ChunkRef, _level: u8) -> bool {
        self.look(node, None);
        self.visited.insert(node.id)
    }

    fn value(&mut self, key: &[u8], value: &ChunkRef) {
        self.look(value, Some(key));
    }

    fn data(&mut self, key: &[u8], chunk: &ChunkRef) {
        self.look(chunk, Some(key));
    }

    fn failed(
        &mut self,
        _node: &ChunkRef,
        _above: Option<&[u8]>,
        _last: Option<&[u8]>,
        error: TreeError,
    ) -> Result<(), TreeError> {
        // The first walk has reported it.
        if ReadError::is_away_from(&error) { Err(error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_large_as_asked_for_and_always_the_same() {
        let sample = |per_million, seed| Sample { per_million, seed };
        let chosen = |sample: Sample| -> Vec<u32> {
            (0..20_000_u32).filter(|offset| sample.has(PackId::new([7; 32]), *offset)).collect()
        };
        let some = chosen(sample(50_000, 1));
        assert!((800..1200).contains(&some.len()), "{}", some.len());
        assert_eq!(some, chosen(sample(50_000, 1)));
        assert_ne!(some, chosen(sample(50_000, 2)));
        assert_eq!(chosen(sample(Sample::ALL, 3)).len(), 20_000);
        assert_eq!(chosen(sample(0, 3)).len(), 0);
    }
}

//! Chunks that are waiting to become one frame.

use crate::error::{Cause, Result, bounded, misuse};
use crate::frame::FRAME_BYTES_MAX;
use crate::{ChunkId, ChunkKind};

/// Least setting of [`FrameTarget`], in bytes.
pub const FRAME_TARGET_BYTES_MIN: u32 = 4 << 10;

/// How much plaintext a frame gathers, in bytes. A single chunk that is larger is a frame of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameTarget(u32);

impl FrameTarget {
    /// A target of `bytes`; `Misuse` outside of [`FRAME_TARGET_BYTES_MIN`] to
    /// [`FRAME_BYTES_MAX`](crate::FRAME_BYTES_MAX).
    pub fn new(bytes: u32) -> Result<Self> {
        if (FRAME_TARGET_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let allowed = format!("{FRAME_TARGET_BYTES_MIN} to {FRAME_BYTES_MAX} bytes");
        Err(Cause::Setting { field: "frame target", value: bytes.into(), allowed }.into())
    }

    /// The target in bytes.
    pub const fn bytes(self) -> u32 {
        self.0
    }
}

impl Default for FrameTarget {
    /// 256 KiB.
    fn default() -> Self {
        Self(256 << 10)
    }
}

/// One or more chunks of one kind, in order, that are sealed together. Reuse it with
/// [`ChunkGroup::clear`].
pub struct ChunkGroup {
    kind: ChunkKind,
    plaintext: Vec<u8>,
    chunks: Vec<(ChunkId, u32)>,
}

impl ChunkGroup {
    /// An empty group for chunks of this kind.
    pub fn new(kind: ChunkKind) -> Self {
        Self { kind, plaintext: Vec::new(), chunks: Vec::new() }
    }

    /// Adds a chunk. Refuses an empty one (`Misuse`) and one that would make the group larger than a
    /// frame may be (`LimitExceeded`); the group is then unchanged.
    pub fn push(&mut self, id: ChunkId, plaintext: &[u8]) -> Result<()> {
        if plaintext.is_empty() {
            return Err(misuse("a chunk must not be empty"));
        }
        let total = self.plaintext.len() as u64 + plaintext.len() as u64;
        bounded("plaintext of a frame", total, FRAME_BYTES_MAX.into())?;
        self.plaintext.extend_from_slice(plaintext);
        self.chunks.push((id, plaintext.len() as u32));
        Ok(())
    }

    /// Whether a chunk of `bytes` still belongs here, if frames aim at `target`. An empty group takes
    /// any chunk.
    pub fn has_room(&self, bytes: usize, target: FrameTarget) -> bool {
        self.is_empty() || self.plaintext.len() + bytes <= target.bytes() as usize
    }

    /// Forgets the chunks and keeps the buffers.
    pub fn clear(&mut self) {
        self.plaintext.clear();
        self.chunks.clear();
    }

    /// The kind of all its chunks.
    pub fn kind(&self) -> ChunkKind {
        self.kind
    }

    /// Whether it holds no chunk.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The chunks' plaintexts, one after the other.
    pub fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }

    /// Id and length in bytes of each chunk, in order.
    pub fn chunks(&self) -> &[(ChunkId, u32)] {
        &self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_group_takes_chunks_up_to_the_target_but_always_one() {
        let target = FrameTarget::new(4096).expect("in range");
        let mut group = ChunkGroup::new(ChunkKind::Data);
        assert!(group.has_room(1 << 20, target));
        group.push(ChunkId::new([1; 32]), &[0; 4000]).expect("fits");
        assert!(group.has_room(96, target));
        assert!(!group.has_room(97, target));
    }

    #[test]
    fn empty_and_oversized_chunks_are_refused_and_leave_the_group_as_it_was() {
        let mut group = ChunkGroup::new(ChunkKind::Data);
        let id = ChunkId::new([1; 32]);
        assert_eq!(group.push(id, &[]).expect_err("empty").kind(), ErrorKind::Misuse);
        let large = vec![0; FRAME_BYTES_MAX as usize + 1];
        assert_eq!(group.push(id, &large).expect_err("large").kind(), ErrorKind::LimitExceeded);
        assert!(group.is_empty() && group.plaintext().is_empty());
    }

    #[test]
    fn targets_out_of_range_are_refused() {
        for bytes in [0, 4095, FRAME_BYTES_MAX + 1] {
            assert_eq!(FrameTarget::new(bytes).expect_err("refused").kind(), ErrorKind::Misuse);
        }
    }
}

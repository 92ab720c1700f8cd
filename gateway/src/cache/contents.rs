//! What a unit of the cache is there for: names or data.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tidegate_chunker::{ChunkKind, FrameHeader, PackHeader};

/// See the head of this module. Commits, backups and collections put the two into packs of their own, and the writer of
/// gathered frames into files of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Contents {
    /// File data.
    Data,
    /// Tree nodes and large values: without them no name is found.
    Names,
}

impl Contents {
    /// Of a frame.
    pub(super) fn of(kind: ChunkKind) -> Self {
        match kind {
            ChunkKind::Data => Self::Data,
            ChunkKind::Node | ChunkKind::Value => Self::Names,
        }
    }

    /// Of a pack, as the header of its first frame says, which nobody has authenticated: a wrong one is kept for too long,
    /// or not long enough. Blocks.
    pub(super) fn of_pack(path: &Path) -> io::Result<Self> {
        let mut header = [0; FrameHeader::LEN];
        File::open(path)?.read_exact_at(&mut header, PackHeader::LEN as u64)?;
        let header = FrameHeader::from_prefix(&header).map_err(io::Error::other)?;
        Ok(Self::of(header.kind))
    }
}

//! A frame held against what is said to lie in it.

use bytes::Bytes;
use tidegate_chunker::{ChunkId, ChunkKind, Decompressor, DomainKeys, Location, UnverifiedFrame};

use crate::frozen::with_causes;
use crate::tree::Node;

/// Opens a frame, and holds every chunk that should be in it against its id: what they are, and their bytes, in
/// order. An error says why one of them is not to be had from these bytes.
pub(crate) fn open_chunks(
    frame: &UnverifiedFrame,
    keys: &DomainKeys,
    decompressor: &mut Decompressor,
    chunks: impl IntoIterator<Item = (ChunkId, Location)>,
) -> Result<(ChunkKind, Vec<Bytes>), String> {
    let opened = frame.open(keys, None, decompressor).map_err(|error| with_causes(&error))?;
    let kind = opened.kind();
    let verified = chunks.into_iter().map(|(id, location)| match kind {
        ChunkKind::Node => {
            let bytes = opened.piece(&location).map_err(|error| with_causes(&error))?.into_bytes();
            Node::open(keys, id, bytes.clone()).map_err(|error| with_causes(&error))?;
            Ok(bytes)
        }
        ChunkKind::Data | ChunkKind::Value => {
            let chunk = opened.chunk(keys, &location, id).map_err(|error| with_causes(&error))?;
            Ok(chunk.into_bytes())
        }
    });
    Ok((kind, verified.collect::<Result<_, String>>()?))
}

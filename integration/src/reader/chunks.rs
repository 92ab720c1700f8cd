//! Chunks by their ids.

use std::collections::VecDeque;
use std::path::Path;

use super::bytes::{Bytes, hex};
use super::frame::{self, Frame};
use super::index::{Id, Index, Location};
use super::keys::Domain;
use super::{In, Read, Refused, expect, pack, refuse};

/// Opened frames that are kept.
const FRAMES_KEPT_MAX: usize = 16;

/// A chunk of file data.
pub(super) const DATA: u8 = 1;
/// A node of a tree.
pub(super) const NODE: u8 = 2;
/// A value of a map.
pub(super) const VALUE: u8 = 3;

/// A chunk, as its user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) id: Id,
    /// Where it lay when that was written.
    pub(super) hint: Option<Location>,
}

/// The chunks of one domain.
#[derive(Debug)]
pub(super) struct Chunks<'a> {
    folder: &'a Path,
    index: &'a Index,
    pub(super) domain: &'a Domain,
    kept: VecDeque<(Id, u32, Frame)>,
}

impl<'a> Chunks<'a> {
    pub(super) const fn new(folder: &'a Path, index: &'a Index, domain: &'a Domain) -> Self {
        Self { folder, index, domain, kept: VecDeque::new() }
    }

    /// The plaintext of a chunk: where the hint says, else where the index says.
    pub(super) fn get(&mut self, kind: u8, reference: &Reference) -> Read<Vec<u8>> {
        if let Some(hint) = &reference.hint
            && let Ok(chunk) = self.at(kind, &reference.id, hint)
        {
            return Ok(chunk);
        }
        let index = self.index;
        let mut why = Refused("the index does not know it".into());
        for (found, location) in index.places.get(&reference.id).into_iter().flatten() {
            let ours = index.packs.get(&location.pack) == Some(&self.domain.id);
            if *found != kind || !ours {
                continue;
            }
            match self.at(kind, &reference.id, location) {
                Ok(chunk) => return Ok(chunk),
                Err(error) => why = error,
            }
        }
        Err(why).within(&format!("chunk {}", hex(&reference.id)))
    }

    fn at(&mut self, kind: u8, id: &Id, location: &Location) -> Read<Vec<u8>> {
        let frame = self.frame(location).within(&pack::name(&location.pack))?;
        expect(frame.kind == kind, "a frame of another kind")?;
        let mut bytes = Bytes(&frame.plaintext);
        bytes.take(location.chunk_offset as usize)?;
        let chunk = bytes.take(location.chunk_bytes as usize)?.to_vec();
        expect(self.id_of(kind, &chunk)? == *id, "a chunk with another digest")?;
        Ok(chunk)
    }

    fn id_of(&self, kind: u8, chunk: &[u8]) -> Read<Id> {
        match kind {
            DATA | VALUE => Ok(self.domain.chunk_id(chunk)),
            NODE => {
                let mut bytes = Bytes(chunk);
                let canonical_bytes = bytes.u32()? as usize;
                Ok(self.domain.node_id(bytes.take(canonical_bytes)?))
            }
            _ => refuse("a chunk of an unknown kind"),
        }
    }

    fn frame(&mut self, at: &Location) -> Read<Frame> {
        let is_it = |kept: &(Id, u32, Frame)| (kept.0, kept.1) == (at.pack, at.frame_offset);
        if let Some((_, _, frame)) = self.kept.iter().find(|kept| is_it(kept)) {
            return Ok(frame.clone());
        }
        let bytes = pack::piece(self.folder, &at.pack, u64::from(at.frame_offset), at.frame_bytes as usize)?;
        let frame = frame::open(&bytes, self.domain)?;
        self.kept.truncate(FRAMES_KEPT_MAX - 1);
        self.kept.push_front((at.pack, at.frame_offset, frame.clone()));
        Ok(frame)
    }
}

//! Strays: chunks that are retained, and that neither a hint nor the index leads to.
//!
//! Where the index is whole there are none but what is lost: of a fork or a branch, say, whose packs went. Where the index has lost
//! something (an object of it was deleted), a chunk that was moved by repacking lies in a pack that looks as if nothing needed it. So
//! packs that would go are asked themselves while there are strays. One that holds a stray is kept, and indexed anew before the next
//! round; so is one that cannot say what it holds, unless only forks and branches lack something. A pack that would be repacked is
//! asked by whoever repacks it.
//!
//! Where a stray is a node of a fork's or a branch's tree, nobody knows what lies below it: nothing goes in this round.
//!
//! Bounds: [`STRAYS_MAX`] strays of 16 bytes; with more, nothing goes. One request for each pack that would go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, stream};
use tidegate_chunker::PackId;

use super::error::CollectError;
use super::held::LOOKS_MAX;
use super::mark::{HALF, MarkedPack};
use super::options::checkpoint;
use crate::observer::Observer;
use crate::repository::{Opened, Repository};

/// The most strays that are looked for.
const STRAYS_MAX: usize = 1 << 20;
/// Packs that are asked for together.
const PACKS_AT_ONCE: usize = 1000;

/// Halves of ids of chunks that nothing leads to.
#[derive(Debug, Default)]
pub(super) struct Strays {
    /// Of each whether more than forks and branches need it.
    found: HashMap<[u8; HALF], bool>,
    are_too_many: bool,
    /// Nodes of forks and branches that could not be read.
    cut: HashSet<[u8; HALF]>,
}

impl Strays {
    /// None yet, of trees that end at these nodes.
    pub(super) fn beside(cut: HashSet<[u8; HALF]>) -> Self {
        Self { cut, ..Self::default() }
    }

    pub(super) fn add(&mut self, half: [u8; HALF], is_needed: bool) {
        if self.found.len() < STRAYS_MAX {
            self.found.insert(half, is_needed);
        } else {
            self.are_too_many |= is_needed;
        }
    }

    #[cfg(test)]
    pub(super) fn found(&self) -> &HashMap<[u8; HALF], bool> {
        &self.found
    }
}

/// Looks for strays in the ends of packs that would go, and marks those that hold some.
pub(super) async fn find(
    repository: &Arc<Repository<Opened>>,
    packs: &mut [MarkedPack],
    strays: Strays,
    observer: &dyn Observer,
) -> Result<(), CollectError> {
    let Strays { found: mut strays, are_too_many, cut } = strays;
    let needed = |strays: &HashMap<_, bool>| strays.values().filter(|is_needed| **is_needed).count();
    if strays.is_empty() {
        return Ok(());
    }
    observer.phase("look for what the index lacks");
    let (mut keeps_all, mut silent) = (are_too_many, Vec::new());
    let dead: Vec<(usize, PackId)> =
        packs.iter().enumerate().filter(|(_, pack)| pack.is_dead()).map(|(at, pack)| (at, pack.id)).collect();
    for batch in dead.chunks(PACKS_AT_ONCE) {
        let reads = batch.iter().map(|(at, pack)| async { (*at, repository.pack_index(*pack).await) });
        let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(LOOKS_MAX);
        while let Some((at, read)) = reads.next().await {
            checkpoint(observer)?;
            observer.advanced(1);
            match read {
                Ok((_, index)) => {
                    for placed in index.chunks() {
                        let mut half = [0; HALF];
                        half.copy_from_slice(&placed.id.as_bytes()[..HALF]);
                        if strays.remove(&half).is_some() {
                            packs[at].has_strays = true;
                            keeps_all |= cut.contains(&half);
                        }
                    }
                }
                Err(error) if error.is_missing() => {}
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(_) => silent.push(at),
            }
        }
    }
    let lost = needed(&strays);
    if lost > 0 {
        tracing::error!(
            chunks = lost,
            "chunks that are retained are in no pack that could be asked: run a check"
        );
    }
    for (at, pack) in packs.iter_mut().enumerate() {
        pack.is_kept = keeps_all || pack.has_strays || (lost > 0 && silent.binary_search(&at).is_ok());
    }
    let found = packs.iter().filter(|pack| pack.has_strays).count();
    if found > 0 {
        tracing::warn!(
            packs = found,
            "the index lacks chunks of packs that are needed: they are indexed anew"
        );
    }
    Ok(())
}

//! Strays: chunks that are retained, and that neither a hint nor the index leads to.
//!
//! There are none as long as the index is whole. Where it has lost something (an object of it was deleted, say), a chunk that was
//! moved by repacking lies in a pack that looks as if nothing needed it. So packs are asked themselves, those first that would go;
//! one that holds a stray, or that does not say what it holds, is kept, and indexed anew before the next round.
//!
//! Bounds: [`STRAYS_MAX`] strays of 16 bytes; one request a pack, only while there are strays.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, stream};

use super::error::CollectError;
use super::held::LOOKS_MAX;
use super::mark::{HALF, MarkedPack};
use super::options::checkpoint;
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError};

/// The most strays that are looked for; with more, nothing is collected.
const STRAYS_MAX: usize = 1 << 20;

/// Halves of ids of chunks that nothing leads to.
#[derive(Debug, Default)]
pub(super) struct Strays {
    found: HashSet<[u8; HALF]>,
    are_too_many: bool,
}

impl Strays {
    pub(super) fn add(&mut self, half: [u8; HALF]) {
        if self.found.len() < STRAYS_MAX {
            self.found.insert(half);
        } else {
            self.are_too_many = true;
        }
    }

    #[cfg(test)]
    pub(super) fn halves(&self) -> &HashSet<[u8; HALF]> {
        &self.found
    }
}

/// Looks for strays in the ends of packs, and marks the packs that hold them.
pub(super) async fn find(
    repository: &Arc<Repository<Opened>>,
    packs: &mut [MarkedPack],
    strays: Strays,
    observer: &dyn Observer,
) -> Result<(), CollectError> {
    let Strays { found: mut strays, are_too_many } = strays;
    if strays.is_empty() {
        return Ok(());
    }
    if are_too_many {
        let why = format!("it lacks more than {STRAYS_MAX} chunks that are retained; rebuild it");
        return Err(CollectError::Unreadable { what: "index/".into(), why });
    }
    tracing::warn!(
        chunks = strays.len(),
        "the index lacks chunks that are retained: they are looked for in packs"
    );
    observer.phase("look for what the index lacks");
    let mut order: Vec<_> = packs.iter().map(|pack| (!pack.is_dead(), pack.id)).enumerate().collect();
    order.sort_by_key(|(_, (is_needed, _))| *is_needed);
    let reads = order
        .into_iter()
        .map(|(number, (_, pack))| async move { (number, repository.pack_index(pack).await) });
    let mut reads = stream::iter(reads.collect::<Vec<_>>()).buffered(LOOKS_MAX);
    while !strays.is_empty()
        && let Some((number, read)) = reads.next().await
    {
        checkpoint(observer)?;
        observer.advanced(1);
        let pack = &mut packs[number];
        match read {
            Ok((_, index)) => {
                for placed in index.chunks() {
                    let mut half = [0; HALF];
                    half.copy_from_slice(&placed.id.as_bytes()[..HALF]);
                    pack.has_strays |= strays.remove(&half);
                }
                pack.reached |= pack.has_strays;
            }
            Err(RepositoryError::Missing { .. }) => {}
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. }))
                if !error.is_asleep() =>
            {
                return Err(error.into());
            }
            // It sleeps, or is damaged: nobody knows what it holds.
            Err(_) => pack.reached = true,
        }
    }
    if !strays.is_empty() {
        tracing::error!(chunks = strays.len(), "chunks that are retained are in no pack: run a check");
    }
    Ok(())
}

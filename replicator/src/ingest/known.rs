//! What is stored already: asked before a chunk is sealed, told when a pack is finished.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, Location, PackId, PackIndex};

/// A pack that is complete, synced, and under its name in the folder of local packs.
#[derive(Clone, Debug)]
pub struct FinishedPack {
    /// Its id.
    pub pack: PackId,
    /// Its file.
    pub path: PathBuf,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Its frames and chunks.
    pub index: Arc<PackIndex>,
}

/// Decides what counts as a duplicate.
pub trait Known: Send + Sync + 'static {
    /// A frame that holds the chunk, is durable (in a synced local pack or on the target), and is
    /// neither condemned nor known to be bad. `None` costs a copy; a wrong answer costs the data.
    fn find(&self, id: &ChunkId) -> Option<Location>;

    /// Takes over a finished pack. From its return on [`Known::find`] must answer for the pack's
    /// chunks. Called by one thread of the ingest, for one pack after the other; an error ends the run.
    fn learn(&self, pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Knows nothing but what it is told, and keeps all of it in memory: for small runs, tools and tests.
#[derive(Default)]
pub struct FinishedPacks(Mutex<Learned>);

#[derive(Default)]
struct Learned {
    packs: Vec<FinishedPack>,
    chunks: std::collections::HashMap<ChunkId, Location>,
}

impl FinishedPacks {
    /// The packs learned since the last call.
    pub fn take(&self) -> Vec<FinishedPack> {
        std::mem::take(&mut self.0.lock().packs)
    }
}

impl Known for FinishedPacks {
    fn find(&self, id: &ChunkId) -> Option<Location> {
        self.0.lock().chunks.get(id).copied()
    }

    fn learn(&self, pack: FinishedPack) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut learned = self.0.lock();
        learned.chunks.extend(pack.index.chunks().map(|placed| (placed.id, placed.location)));
        learned.packs.push(pack);
        Ok(())
    }
}

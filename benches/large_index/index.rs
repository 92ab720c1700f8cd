//! An index that names many chunks, in the shape that the commits of years give it: all but the last of it in full objects
//! that are never merged again.
//!
//! The chunks have ids by chance, so no file has one of them, and nobody will read them. The packs that they are said to
//! lie in are there, so that none of them is missing, and have one byte each.
//!
//! Memory holds what one merge does, however many chunks there are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_benches::{Chance, Outcome};
use tidegate_chunker::{ChunkId, ChunkKind, DomainId, Location, PackId};
use tidegate_replicator::repository::{
    DurablePacks, INDEX_ENTRIES_MAX, IndexEntry, KeyFile, Opened, Repository, RepositoryError, SlotKey,
};
use tidegate_replicator::store::{Body, DirectoryStore};

use crate::place::Place;

/// Packs that chunks are said to lie in.
const PACKS: u32 = 1000;
/// Entries of a full object.
const OBJECT_ENTRIES: u64 = INDEX_ENTRIES_MAX as u64;
/// Objects that are written between two merges: as many as one merge takes.
const OBJECTS_AT_ONCE: u64 = 32;
/// Where in a pack, and in a frame, chunks are said to lie, and how long to be: less than this, in bytes.
const PACK_BYTES: u64 = 64 << 20;
const FRAME_BYTES: u64 = 256 << 10;
const CHUNK_BYTES: u64 = 128 << 10;
/// How often it is said how far it is.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// Writes it to the repository; tells how many objects the index has then.
pub(crate) fn write(place: &Place, chunks: u64) -> Outcome<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(write_all(place, chunks))
}

async fn write_all(place: &Place, chunks: u64) -> Outcome<usize> {
    let store = Arc::new(DirectoryStore::open(&place.repository())?);
    let key = SlotKey::KeyFile(KeyFile::open(&place.key())?);
    let repository = Repository::open(store, &key).await?;
    let mut chance = Chance::new(32);
    let packs = put_packs(&repository, &mut chance).await?;
    let mut facts = Facts { chance, domain: repository.default_domain(), packs: packs.ids().collect() };
    let (begun, mut said, mut written) = (Instant::now(), Instant::now(), 0);
    while written < chunks {
        let now = (chunks - written).min(OBJECTS_AT_ONCE * OBJECT_ENTRIES);
        repository.write_index(groups(&mut facts, now), &packs).await?;
        repository.merge_index().await?;
        written += now;
        if said.elapsed() >= SAID_EVERY {
            println!("  after {} s: {written} of {chunks}", begun.elapsed().as_secs());
            said = Instant::now();
        }
    }
    Ok(repository.index_names().await?.len())
}

async fn put_packs(repository: &Repository<Opened>, chance: &mut Chance) -> Outcome<DurablePacks> {
    let mut packs = DurablePacks::new();
    for _ in 0..PACKS {
        let pack = PackId::new(id(chance));
        packs.add(repository.put_pack(pack, Body::Bytes(Bytes::from_static(&[0]))).await?);
    }
    Ok(packs)
}

/// So many facts, an object's at a time.
fn groups(
    facts: &mut Facts,
    chunks: u64,
) -> impl Iterator<Item = Result<Vec<IndexEntry>, RepositoryError>> + '_ {
    (0..chunks.div_ceil(OBJECT_ENTRIES)).map(move |number| {
        let left = chunks - number * OBJECT_ENTRIES;
        let entries: Vec<IndexEntry> = (0..left.min(OBJECT_ENTRIES)).map(|_| facts.entry()).collect();
        Ok(entries)
    })
}

/// Gives entries, each of another chunk.
struct Facts {
    chance: Chance,
    domain: DomainId,
    packs: Vec<PackId>,
}

impl Facts {
    fn entry(&mut self) -> IndexEntry {
        let chance = &mut self.chance;
        let pack = self.packs[chance.below(self.packs.len() as u64) as usize];
        let location = Location {
            pack,
            frame_offset: chance.below(PACK_BYTES) as u32,
            frame_bytes: 1 + chance.below(FRAME_BYTES) as u32,
            chunk_offset: chance.below(FRAME_BYTES) as u32,
            chunk_bytes: 1 + chance.below(CHUNK_BYTES) as u32,
        };
        IndexEntry { domain: self.domain, chunk: ChunkId::new(id(chance)), kind: ChunkKind::Data, location }
    }
}

fn id(chance: &mut Chance) -> [u8; 32] {
    let mut id = [0; 32];
    for piece in id.chunks_exact_mut(8) {
        piece.copy_from_slice(&chance.next().to_le_bytes());
    }
    id
}

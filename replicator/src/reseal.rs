//! Sealing chunks anew, into new packs that the index then names.
//!
//! Who hands a chunk over has held it against its id. Order of writes: new packs, then index objects that name
//! them. A crash before the last leaves packs that nothing refers to; a collection takes them. File data and what
//! trees consist of go to packs of their own, as a commit puts them: only packs of data alone may come to a cold class.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::Path;

use tempfile::NamedTempFile;
use tidegate_chunker::{ChunkId, ChunkKind, DomainId, DomainKeys, PackOptions, PackWriter};

use crate::ingest::random_pack_ids;
use crate::repository::{DurablePacks, IndexEntry, Opened, Repository, RepositoryError, Result};
use crate::store::Body;

/// A pack is finished when it has grown to this length, in bytes.
const PACK_BYTES: u64 = 64 << 20;

/// A new pack on the local disk.
struct Writer(PackWriter<BufWriter<NamedTempFile>>);

/// See the head of this module.
pub(crate) struct Resealer<'a> {
    repository: &'a Repository<Opened>,
    /// Where packs are written before they go to the store.
    scratch: &'a Path,
    open: BTreeMap<(DomainId, bool), Writer>,
    durable: DurablePacks,
    /// What new packs hold, one group a pack.
    entries: Vec<Vec<IndexEntry>>,
}

/// What was sealed anew.
pub(crate) struct Resealed {
    pub(crate) packs: DurablePacks,
    pub(crate) entries: Vec<IndexEntry>,
}

impl<'a> Resealer<'a> {
    pub(crate) fn new(repository: &'a Repository<Opened>, scratch: &'a Path) -> Self {
        let (open, durable, entries) = (BTreeMap::new(), DurablePacks::new(), Vec::new());
        Self { repository, scratch, open, durable, entries }
    }

    /// Takes a chunk.
    pub(crate) async fn write(
        &mut self,
        domain: DomainId,
        keys: &DomainKeys,
        (kind, id): (ChunkKind, ChunkId),
        bytes: &[u8],
    ) -> Result<()> {
        let place = (domain, kind == ChunkKind::Data);
        let mut writer = match self.open.remove(&place) {
            Some(writer) => writer,
            None => self.create(keys)?,
        };
        writer.0.push(kind, id, bytes).map_err(local)?;
        if writer.0.written_bytes() >= PACK_BYTES {
            return self.store(domain, writer).await;
        }
        self.open.insert(place, writer);
        Ok(())
    }

    /// Stores what is still here, and has the index name everything.
    pub(crate) async fn finish(mut self) -> Result<Resealed> {
        for ((domain, _), writer) in std::mem::take(&mut self.open) {
            self.store(domain, writer).await?;
        }
        let groups = self.entries.iter().cloned().map(Ok::<_, RepositoryError>);
        self.repository.write_index(groups, &self.durable).await?;
        Ok(Resealed { packs: self.durable, entries: self.entries.into_iter().flatten().collect() })
    }

    fn create(&self, keys: &DomainKeys) -> Result<Writer> {
        let file = NamedTempFile::new_in(self.scratch).map_err(local)?;
        let pack = random_pack_ids()().map_err(local)?;
        let writer = PackWriter::create(BufWriter::new(file), keys, pack, PackOptions::default());
        Ok(Writer(writer.map_err(local)?))
    }

    /// Stores a pack; its file goes.
    async fn store(&mut self, domain: DomainId, writer: Writer) -> Result<()> {
        let (out, summary) = writer.0.finish().map_err(local)?;
        let file = out.into_inner().map_err(|error| local(error.into_error()))?;
        let body = Body::File { path: file.path().to_path_buf(), bytes: summary.bytes };
        self.durable.add(self.repository.put_pack(summary.pack, body).await?);
        self.entries.push(summary.index.chunks().map(|placed| IndexEntry::new(domain, placed)).collect());
        Ok(())
    }
}

/// What went wrong on this machine.
fn local(error: impl std::error::Error + Send + Sync + 'static) -> RepositoryError {
    RepositoryError::Local { doing: "write a pack".into(), source: Box::new(error) }
}

//! Upload: every pack that is only here goes to the target, then an index of what they hold.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{DomainKeys, PackId};
use tidegate_replicator::repository::{
    DurableCommit, DurablePack, DurablePacks, IndexEntry, Opened, Repository, RepositoryError,
};
use tidegate_replicator::store::Body;

use super::CommitError;
use crate::ledger::{Ledger, PackRecord, Stage};

/// What went to the target.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
    /// The pack that was sent last, if any was.
    pub(crate) last: Option<PackId>,
}

/// Brings all waiting packs to the target, `parallel` at a time, and indexes them. What a crash
/// interrupts is gone on with: a pack that the target has whole is not sent again, so that at most those go twice
/// that were on their way.
pub(super) async fn upload_waiting(
    repository: &Repository<Opened>,
    ledger: &Ledger,
    parallel: usize,
) -> Result<(DurableCommit, Sent), CommitError> {
    let mut sent = Sent::default();
    let uploads = ledger.local()?.into_iter().map(|(pack, record)| upload(repository, ledger, pack, record));
    let mut uploads = stream::iter(uploads).buffer_unordered(parallel);
    let mut durable = DurablePacks::new();
    while let Some((pack, was_sent)) = uploads.try_next().await? {
        if was_sent {
            sent.bytes += pack.bytes();
            sent.objects += 1;
        }
        sent.last = Some(pack.id());
        durable.add(pack);
        crate::crash::point("upload.pack");
    }
    let unindexed = ledger.uploaded()?;
    for (pack, record) in &unindexed {
        if !durable.contains(*pack) {
            durable.add(confirmed(repository, ledger, *pack, *record).await?);
        }
    }
    let keys: Vec<Arc<DomainKeys>> =
        repository.domains().into_iter().map(|(_, domain)| domain.keys.clone()).collect();
    let packs: Vec<PackId> = unindexed.iter().map(|(pack, _)| *pack).collect();
    let entries = packs.into_iter().map(|pack| entries_of(ledger, pack, &keys));
    let commit = repository.write_index(entries, &durable).await?;
    sent.objects += commit.index_objects() as u64;
    for (pack, _) in &unindexed {
        ledger.advance(pack, Stage::Indexed)?;
    }
    crate::crash::point("upload.indexed");
    Ok((commit, sent))
}

/// What the index of the target is told of a pack.
fn entries_of(
    ledger: &Ledger,
    pack: PackId,
    keys: &[Arc<DomainKeys>],
) -> Result<Vec<IndexEntry>, CommitError> {
    let (domain, index) = ledger.read_index(&pack, keys)?;
    Ok(index.chunks().map(|placed| IndexEntry::new(domain, placed)).collect())
}

/// Brings one pack to the target, unless it turns out to have it; whether it was sent.
async fn upload(
    repository: &Repository<Opened>,
    ledger: &Ledger,
    pack: PackId,
    record: PackRecord,
) -> Result<(DurablePack, bool), CommitError> {
    if ledger.begin_upload(&pack)
        && let Some(durable) = find(repository, pack, record).await?
    {
        ledger.advance(&pack, Stage::Uploaded)?;
        return Ok((durable, false));
    }
    let body = Body::File { path: ledger.path(&pack), bytes: record.bytes };
    let durable = repository.put_pack(pack, body).await?;
    ledger.advance(&pack, Stage::Uploaded)?;
    Ok((durable, true))
}

/// Asks the target for a pack. One of another length is damaged, and is stored again.
async fn find(
    repository: &Repository<Opened>,
    pack: PackId,
    record: PackRecord,
) -> Result<Option<DurablePack>, CommitError> {
    match repository.confirm_pack(pack, record.bytes).await {
        Err(RepositoryError::Damaged { object, why }) => {
            tracing::warn!(object, why, "a pack on the target is damaged; it is stored again");
            Ok(None)
        }
        answer => Ok(answer?),
    }
}

/// A pack that had been uploaded before a crash, or is again: a collection may have deleted what no head had come
/// to reach.
async fn confirmed(
    repository: &Repository<Opened>,
    ledger: &Ledger,
    pack: PackId,
    record: PackRecord,
) -> Result<DurablePack, CommitError> {
    match repository.confirm_pack(pack, record.bytes).await? {
        Some(durable) => Ok(durable),
        None if ledger.path(&pack).exists() => Ok(upload(repository, ledger, pack, record).await?.0),
        None => Err(RepositoryError::Missing { object: format!("pack {pack}") }.into()),
    }
}

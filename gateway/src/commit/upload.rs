//! Upload: every pack that is only here goes to the target, then an index of what they hold.
//!
//! Packs of a domain whose keys are not in the repository stay here, and nobody else waits for them: no share in another
//! domain refers to one. If the repository says that it was shredded, they go. Whoever is in such a domain himself is
//! refused, for his packs would be among those.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{DomainId, DomainKeys, PackId};
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
/// that were on their way. `domain` is that of whoever means to publish.
pub(super) async fn upload_waiting(
    repository: &Repository<Opened>,
    ledger: &Arc<Ledger>,
    parallel: usize,
    domain: Option<DomainId>,
) -> Result<(DurableCommit, Sent), CommitError> {
    let mut sent = Sent::default();
    let keys: BTreeMap<DomainId, Arc<DomainKeys>> =
        repository.domains().into_iter().map(|(id, domain)| (id, domain.keys)).collect();
    if let Some(domain) = domain.filter(|domain| !keys.contains_key(domain)) {
        return Err(RepositoryError::Missing { object: format!("domains/{domain}") }.into());
    }
    let local = ledger.local()?;
    let waiting =
        local.iter().chain(&ledger.uploaded()?).map(|(_, record)| record.domain).collect::<BTreeSet<_>>();
    for domain in waiting.into_iter().filter(|domain| !keys.contains_key(domain)) {
        let_go(repository, ledger, domain).await?;
    }
    let local = local.into_iter().filter(|(_, record)| keys.contains_key(&record.domain));
    let uploads = local.map(|(pack, record)| upload(repository, ledger, pack, record));
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
    let mut unindexed = ledger.uploaded()?;
    unindexed.retain(|(_, record)| keys.contains_key(&record.domain));
    for (pack, record) in &unindexed {
        if !durable.contains(*pack) {
            durable.add(confirmed(repository, ledger, *pack, *record).await?);
        }
    }
    let packs = unindexed.clone().into_iter();
    let entries = packs.map(|(pack, record)| entries_of(ledger, pack, &keys[&record.domain]));
    let commit = repository.write_index(entries, &durable).await?;
    sent.objects += commit.index_objects() as u64;
    for (pack, _) in &unindexed {
        ledger.advance(pack, Stage::Indexed)?;
    }
    crate::crash::point("upload.indexed");
    Ok((commit, sent))
}

/// Takes away what waits of a domain without keys, if it was shredded.
async fn let_go(
    repository: &Repository<Opened>,
    ledger: &Arc<Ledger>,
    domain: DomainId,
) -> Result<(), CommitError> {
    if !repository.is_shredded(domain).await? {
        tracing::warn!(%domain, "packs stay here: the keys of their domain are not in the repository");
        return Ok(());
    }
    let dropping = ledger.clone();
    let dropping = tokio::task::spawn_blocking(move || dropping.drop_shredded(domain));
    let packs = dropping.await.map_err(|_| CommitError::Died)??;
    tracing::warn!(%domain, packs, "packs of a share that has been shredded are gone");
    Ok(())
}

/// What the index of the target is told of a pack.
fn entries_of(ledger: &Ledger, pack: PackId, keys: &Arc<DomainKeys>) -> Result<Vec<IndexEntry>, CommitError> {
    let (domain, index) = ledger.read_index(&pack, std::slice::from_ref(keys))?;
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
    if !ledger.path(&pack).exists() {
        let durable = repository.confirm_pack(pack, record.bytes).await?;
        return durable.ok_or_else(|| RepositoryError::Missing { object: format!("pack {pack}") }.into());
    }
    match find(repository, pack, record).await? {
        Some(durable) => Ok(durable),
        None => Ok(upload(repository, ledger, pack, record).await?.0),
    }
}

//! Shredding: a share with a key domain of its own is made unreadable, wherever its packs still lie.
//!
//! What a domain has sealed is opened by its secrets alone, and those stand in its objects below `domains/` and nowhere
//! else. Ids are keyed by domain, so no other share refers to a pack of this one. Hence it is enough to delete a few
//! objects on every store, and nothing of what others have is touched.
//!
//! Order, on the store that leads and then on each copy, and what a crash after each step leaves:
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | fence | the claims of the share go: who publishes it finds that it does not lead | a share that nobody leads |
//! | keys | the objects of the domain go, with all their versions | heads of which nothing can be read; collections stop until this is run again |
//! | roots | snapshots, branches and heads go | packs that nothing reaches |
//! | condemn | on the lead, a plan condemns every pack that the index names for the domain | an open plan, which collections carry out |
//!
//! All of it may be run again, and is: once more after the time in which a claim settles, since a publication or a pass to a
//! copy may have been on its way. The share is found by any of its heads or snapshots, so whoever runs it again needs nothing
//! but its name.
//!
//! **Refused**: a share in the repository's first domain; one whose domain another share is in as well (a clone); one
//! that stands beside a share of which nothing can be read, for that could be such a clone.
//!
//! **Not done here**: where objects are locked, an object of the domain stays as a version until its lock ends, and so do
//! packs; the answer says so. Somebody who has opened the repository before, and a gateway that runs still, may have the
//! secrets in memory; older copies of the store, seeds among them, have them in any case.

use std::collections::BTreeSet;
use std::time::Duration;

use tidegate_chunker::{DomainId, PackId, ShareId};

use crate::repository::envelope::list_all;
use crate::repository::names::{domain_folder, heads_of, leases_of, snapshots_of};
use crate::repository::{Opened, Plan, PlanId, Repository, RepositoryError, Snapshot, UtcNanos};
use crate::store::{LIST_LIMIT_MAX, ObjectName, SpecialStore};

/// Why a share is not shredded. Nothing has been changed.
#[derive(Debug, thiserror::Error)]
pub enum ShredError {
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// It has no keys of its own.
    #[error(
        "the share is sealed under the keys that all shares have which were made without `own_key`: remove its snapshots and \
         heads by taking it out of the settings, and collect; what it alone had goes then"
    )]
    CommonKeys,
    /// Its keys open another share too.
    #[error("share {other} is sealed under the same keys, as a clone is: shredding one would shred both")]
    SharedKeys {
        /// The other share.
        other: String,
    },
    /// Nothing of a share can be read, so nobody can tell under which keys it is.
    #[error("nothing of share {share} can be read, and it may be sealed under the same keys: run a check")]
    Unreadable {
        /// Which.
        share: ShareId,
    },
}

/// What would go.
#[derive(Clone, Debug)]
pub struct Shreddable {
    /// The share.
    pub share: ShareId,
    /// What it was called last.
    pub name: String,
    /// Its domain.
    pub domain: DomainId,
    /// How many heads the lead has.
    pub heads: usize,
    /// The snapshots that the lead has and that can be read, those in the bin and branches among them.
    pub snapshots: Vec<Snapshot>,
}

/// What was done on one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shredded {
    /// Objects that were deleted: claims, keys, snapshots and heads.
    pub objects: u64,
    /// Objects of the domain of which versions stay until their locks end.
    pub keys_held: u64,
}

/// Looks what would go. Reads only.
pub async fn shreddable(lead: &Repository<Opened>, share: ShareId) -> Result<Shreddable, ShredError> {
    let (name, domain) = domain_of(lead, share).await?.ok_or(ShredError::Unreadable { share })?;
    if domain == lead.default_domain() {
        return Err(ShredError::CommonKeys);
    }
    for other in lead.share_ids().await? {
        if other == share {
            continue;
        }
        match domain_of(lead, other).await? {
            Some((_, theirs)) if theirs != domain => {}
            Some((other, _)) => return Err(ShredError::SharedKeys { other }),
            // A claim alone has no keys.
            None if lead.head_names(other).await?.is_empty()
                && lead.snapshot_ids(other).await?.is_empty() => {}
            None => return Err(ShredError::Unreadable { share: other }),
        }
    }
    let heads = lead.head_names(share).await?.len();
    let snapshots = lead.list_snapshots(share).await?.into_iter().filter_map(|(_, snapshot)| snapshot.ok());
    Ok(Shreddable { share, name, domain, heads, snapshots: snapshots.collect() })
}

/// Takes away everything that opens the share, and everything that refers to it, on one store.
pub async fn shred(
    on: &Repository<Opened>,
    share: ShareId,
    domain: DomainId,
) -> Result<Shredded, RepositoryError> {
    let store = on.store();
    let mut shredded = Shredded::default();
    let delete = |names: Vec<ObjectName>| async move {
        for name in &names {
            store.delete(name).await?;
        }
        Ok::<_, RepositoryError>(names.len() as u64)
    };
    shredded.objects += delete(list_all(&**store, &leases_of(share)).await?).await?;
    for name in list_all(&**store, &domain_folder(domain)).await? {
        match store.purge(&name).await.map_err(RepositoryError::from) {
            Ok(()) => {}
            Err(error) if error.is_held() => {
                // Nobody finds it by its name from now on, and nobody extends its lock.
                store.delete(&name).await?;
                shredded.keys_held += 1;
            }
            Err(error) => return Err(error),
        }
        shredded.objects += 1;
    }
    shredded.objects += delete(list_all(&**store, &snapshots_of(share)).await?).await?;
    shredded.objects += delete(list_all(&**store, &heads_of(share)).await?).await?;
    Ok(shredded)
}

/// Condemns every pack of the domain that the index names: nothing refers to them any more, whatever their age. `None` when
/// there are none.
pub async fn condemn_packs(
    lead: &Repository<Opened>,
    domain: DomainId,
    now: UtcNanos,
) -> Result<Option<PlanId>, RepositoryError> {
    let mut packs: BTreeSet<PackId> = BTreeSet::new();
    let mut reader = lead.index_reader();
    loop {
        match reader.next().await {
            Ok(None) => break,
            Ok(Some((_, object))) => {
                let ours = object.entries().filter(|entry| entry.domain == domain);
                packs.extend(ours.map(|entry| entry.location.pack));
            }
            // An ordinary collection finds what it names, once the index is whole again.
            Err(RepositoryError::Damaged { object, why }) => {
                tracing::warn!(object, why, "packs that only this names are left to a collection");
            }
            Err(error) => return Err(error),
        }
    }
    let (mut condemned, mut bytes, mut after) = (Vec::new(), 0, None);
    loop {
        let (page, more) = lead.list_pack_objects(after, LIST_LIMIT_MAX).await?;
        after = page.last().map(|pack| pack.id);
        for pack in page.iter().filter(|pack| packs.contains(&pack.id)) {
            condemned.push(pack.id);
            bytes += pack.bytes;
        }
        if !more {
            break;
        }
    }
    if condemned.is_empty() {
        return Ok(None);
    }
    condemned.sort_unstable();
    let plan = Plan { made_at: now, condemned, bytes, replacements: Vec::new() };
    lead.create_plan(&plan).await.map(Some)
}

/// Shreds a share on the lead and on copies, as the head of this module says. `pause` is the time in which a claim settles.
/// Gives what was done on each store, in order, and the plan that condemns the packs.
pub async fn shred_everywhere(
    lead: &Repository<Opened>,
    copies: &[Repository<Opened>],
    what: &Shreddable,
    now: UtcNanos,
    pause: Duration,
) -> Result<(Vec<Shredded>, Option<PlanId>), RepositoryError> {
    let stores: Vec<&Repository<Opened>> = std::iter::once(lead).chain(copies).collect();
    let mut done = Vec::with_capacity(stores.len());
    for on in &stores {
        done.push(shred(on, what.share, what.domain).await?);
    }
    loop {
        tokio::time::sleep(pause).await;
        let mut late = 0;
        for (on, done) in stores.iter().zip(&mut done) {
            let again = shred(on, what.share, what.domain).await?;
            late += again.objects;
            done.objects += again.objects;
        }
        if late == 0 {
            break;
        }
    }
    let plan = condemn_packs(lead, what.domain, now).await?;
    Ok((done, plan))
}

/// The name and the domain of a share, by whatever of it can be read.
async fn domain_of(
    repository: &Repository<Opened>,
    share: ShareId,
) -> Result<Option<(String, DomainId)>, RepositoryError> {
    let found = |head: crate::repository::Head| Some((head.share.name, head.share.domain));
    for name in repository.head_names(share).await? {
        match repository.read_head(share, &name).await {
            Ok(head) => return Ok(found(head)),
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => return Err(error),
            Err(_) => {}
        }
    }
    for (_, snapshot) in repository.list_snapshots(share).await? {
        if let Ok(snapshot) = snapshot {
            return Ok(found(snapshot.head));
        }
    }
    Ok(None)
}

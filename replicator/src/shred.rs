//! Shredding: a share with a key domain of its own is made unreadable, wherever its packs still lie.
//!
//! What a domain has sealed is opened by its secrets alone, and those stand in its objects below `domains/` and nowhere
//! else. Ids are keyed by domain, so no other share refers to a pack of this one. Hence it is enough to delete a few
//! objects on every store, and nothing of what others have is touched.
//!
//! Order, each step on every store before the next begins, and what a crash after each leaves:
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | look | every store answers, and holds this repository | nothing |
//! | say | `shredded/<domain>` says for good that it is meant so | a share of which collections keep nothing any more |
//! | fence | the claims of the share go: who publishes it finds that it does not lead | a share that nobody leads |
//! | keys | the objects of the domain go, with all their versions | heads of which nothing can be read |
//! | condemn | on the lead, plans condemn every pack that the index names for the domain | open plans, which collections carry out |
//! | roots | snapshots, branches and heads go, those of the lead last | packs that nothing reaches |
//!
//! Nothing refuses after the first word was said, and whoever runs it again needs nothing but the name of the share: the lead
//! has a head or a snapshot of it until all the rest is done. Fence and keys are repeated until nothing more is found
//! after the time in which a claim settles, since a publication or a pass to a copy may have been on its way; and so are
//! fence and roots. What comes later still keeps nothing ([`crate::collect`]), and is no reason to miss keys.
//!
//! **Refused**: a share in the repository's first domain; one whose domain another share is in as well (a clone); one
//! that stands beside a share of which nothing can be read or that has published nothing yet, for that could be such a
//! clone; copies that do not answer, or hold something else.
//!
//! **Not done here**: where objects are locked, an object of the domain stays as a version until its lock ends, and so do
//! packs; the answer says so. Somebody who has opened the repository before, and a gateway that runs still, may have the
//! secrets in memory; older copies of the store, seeds among them, have them in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_chunker::{DomainId, PackId, ShareId};

use crate::mirror::{MirrorError, is_prepared};
use crate::repository::envelope::list_all;
use crate::repository::names::{domain_folder, heads_of, leases_of, snapshots_of};
use crate::repository::{
    Opened, PLAN_PACKS_MAX, Plan, PlanId, Repository, RepositoryError, Shredding, Snapshot, UtcNanos,
};
use crate::store::{ErrorKind, LIST_LIMIT_MAX, ObjectName, ObjectVersion, SpecialStore, Store, StoreError};

/// A share that was claimed so long ago and has published nothing was given up.
const ABANDONED_AFTER: Duration = Duration::from_hours(24);

/// Why a share is not shredded. Nothing was changed, unless a store has failed in the middle: then run it again.
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
    /// A share has been claimed and has published nothing, so nobody can tell under which keys it will be.
    #[error(
        "share {share} has published nothing yet, and may be a clone under the same keys: wait until it has, and try again"
    )]
    Unpublished {
        /// Which.
        share: ShareId,
    },
    /// A copy does not answer, or is none. Nothing was changed anywhere.
    #[error(transparent)]
    Copy(#[from] MirrorError),
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
    /// Objects of the domain of which versions stay: until their locks end, or because the store refuses to delete them.
    pub keys_held: u64,
    /// The store may keep versions, and does not say which: its answer was a refusal.
    pub versions_unseen: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// On the lead, and on each copy in order.
    pub stores: Vec<Shredded>,
    /// The plans by which the packs go.
    pub plans: Vec<PlanId>,
}

/// Looks what would go. Reads only. `now` by the clock of whoever asks.
pub async fn shreddable(
    lead: &Repository<Opened>,
    share: ShareId,
    now: UtcNanos,
) -> Result<Shreddable, ShredError> {
    let (name, domain) = domain_of(lead, share).await?.ok_or(ShredError::Unreadable { share })?;
    if domain == lead.default_domain() {
        return Err(ShredError::CommonKeys);
    }
    // What was begun is not refused any more.
    if !lead.is_shredded(domain).await? {
        check_others(lead, share, domain, now).await?;
    }
    let heads = lead.head_names(share).await?.len();
    let snapshots = lead.list_snapshots(share).await?.into_iter().filter_map(|(_, snapshot)| snapshot.ok());
    Ok(Shreddable { share, name, domain, heads, snapshots: snapshots.collect() })
}

/// Refuses while another share is in the domain, or may be.
async fn check_others(
    lead: &Repository<Opened>,
    share: ShareId,
    domain: DomainId,
    now: UtcNanos,
) -> Result<(), ShredError> {
    for other in lead.share_ids().await? {
        if other == share {
            continue;
        }
        match domain_of(lead, other).await? {
            Some((_, theirs)) if theirs != domain => {}
            Some((other, _)) => return Err(ShredError::SharedKeys { other }),
            None if !lead.head_names(other).await?.is_empty()
                || !lead.snapshot_ids(other).await?.is_empty() =>
            {
                return Err(ShredError::Unreadable { share: other });
            }
            // A clone has only its claim until it publishes for the first time.
            None if is_claimed(lead, other, now).await? => {
                return Err(ShredError::Unpublished { share: other });
            }
            None => {}
        }
    }
    Ok(())
}

/// Whether somebody has claimed a share and may still publish it: one of its claims is young, or cannot be read.
async fn is_claimed(
    lead: &Repository<Opened>,
    share: ShareId,
    now: UtcNanos,
) -> Result<bool, RepositoryError> {
    for claim in lead.claims(share).await? {
        match lead.read_listed_claim(share, &claim).await {
            Ok(claim) => {
                let age = now.as_nanos().saturating_sub(claim.claimed_at.as_nanos());
                if !u128::try_from(age).is_ok_and(|age| age > ABANDONED_AFTER.as_nanos()) {
                    return Ok(true);
                }
            }
            Err(RepositoryError::Missing { .. }) => {}
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => return Err(error),
            Err(_) => return Ok(true),
        }
    }
    Ok(false)
}

/// Shreds a share on the lead and on copies, as the head of this module says. `pause` is the time in which a claim settles.
/// `now` is noted for people. [`shreddable`] has just been asked.
pub async fn shred_everywhere(
    lead: &Repository<Opened>,
    copies: &[Repository<Opened>],
    what: &Shreddable,
    now: UtcNanos,
    pause: Duration,
) -> Result<Done, ShredError> {
    let mut noted = vec![lead];
    for copy in copies {
        // One that is to be made yet may have keys, and nothing else: in an empty place nothing is noted.
        if is_prepared(lead, copy.store().clone()).await? {
            noted.push(copy);
        }
    }
    let stores: Vec<&Repository<Opened>> = std::iter::once(lead).chain(copies).collect();
    let mut done = vec![Shredded::default(); stores.len()];
    let shredding = Shredding { share: what.share, name: what.name.clone(), shredded_at: now };
    for on in noted {
        on.note_shredding(what.domain, &shredding).await?;
    }
    // Whoever ran this before may have been interrupted just now: so at least twice.
    for round in 0.. {
        let mut found = 0;
        for (on, done) in stores.iter().zip(&mut done) {
            let before = done.objects;
            done.objects += fence(on, what.share).await?;
            destroy_keys(on, what.domain, done).await?;
            found += done.objects - before;
        }
        if round > 0 && found == 0 {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    let plans = condemn_packs(lead, what.domain, now).await?;
    loop {
        let mut found = 0;
        for (on, done) in stores.iter().zip(&mut done).rev() {
            let removed = fence(on, what.share).await? + remove_roots(on, what.share).await?;
            done.objects += removed;
            found += removed;
        }
        if found == 0 {
            return Ok(Done { stores: done, plans });
        }
        tokio::time::sleep(pause).await;
    }
}

/// Takes the claims away; tells how many there were.
async fn fence(on: &Repository<Opened>, share: ShareId) -> Result<u64, RepositoryError> {
    delete_all(&**on.store(), &leases_of(share)).await
}

/// Takes snapshots, branches and heads away; tells how many there were.
async fn remove_roots(on: &Repository<Opened>, share: ShareId) -> Result<u64, RepositoryError> {
    let store = &**on.store();
    Ok(delete_all(store, &snapshots_of(share)).await? + delete_all(store, &heads_of(share)).await?)
}

async fn delete_all(store: &dyn Store, prefix: &str) -> Result<u64, RepositoryError> {
    let names = list_all(store, prefix).await?;
    for name in &names {
        store.delete(name).await?;
    }
    Ok(names.len() as u64)
}

/// Takes the objects of a domain away, and whatever versions of them the store keeps, also of those that were hidden before.
async fn destroy_keys(
    on: &Repository<Opened>,
    domain: DomainId,
    done: &mut Shredded,
) -> Result<(), RepositoryError> {
    let (store, folder) = (&**on.store(), domain_folder(domain));
    // Nobody finds them by their names from now on, and nobody extends their locks.
    done.objects += delete_all(store, &folder).await?;
    match versions_below(store, &folder).await {
        Ok(versions) => purge(store, versions, done).await?,
        // It keeps none.
        Err(error) if error.kind() == ErrorKind::Misconfigured => {}
        Err(error) if error.kind() == ErrorKind::Denied => {
            tracing::warn!(folder, %error, "versions of destroyed keys may be left");
            done.versions_unseen = true;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// All versions and delete markers of names with this prefix, by name.
async fn versions_below(
    store: &dyn Store,
    prefix: &str,
) -> Result<BTreeMap<ObjectName, Vec<ObjectVersion>>, StoreError> {
    let (mut found, mut after) = (BTreeMap::<_, Vec<_>>::new(), None);
    loop {
        let page = store.versions(prefix, after, LIST_LIMIT_MAX).await?;
        for version in page.versions {
            found.entry(version.name.clone()).or_default().push(version);
        }
        after = page.next;
        if after.is_none() {
            return Ok(found);
        }
    }
}

/// Deletes versions for good, as far as that is allowed. Data goes before delete markers, and those stay over what does:
/// without them its name would show it again.
async fn purge(
    store: &dyn Store,
    versions: BTreeMap<ObjectName, Vec<ObjectVersion>>,
    done: &mut Shredded,
) -> Result<(), RepositoryError> {
    done.keys_held = 0;
    for (name, versions) in versions {
        let (data, markers): (Vec<_>, Vec<_>) = versions.iter().partition(|version| version.bytes.is_some());
        let mut stays = false;
        for version in data {
            match store.purge_version(&name, &version.version).await {
                Err(error) if matches!(error.kind(), ErrorKind::Held | ErrorKind::Denied) => {
                    tracing::warn!(%name, %error, "a version of a destroyed key stays");
                    stays = true;
                }
                purged => purged?,
            }
        }
        done.keys_held += u64::from(stays);
        for version in markers.into_iter().filter(|_| !stays) {
            store.purge_version(&name, &version.version).await?;
        }
    }
    Ok(())
}

/// Condemns every pack of the domain that the index names: nothing refers to them any more, whatever their age. As many
/// plans as it takes.
async fn condemn_packs(
    lead: &Repository<Opened>,
    domain: DomainId,
    now: UtcNanos,
) -> Result<Vec<PlanId>, RepositoryError> {
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
    let (mut condemned, mut after) = (BTreeMap::new(), None);
    loop {
        let (page, more) = lead.list_pack_objects(after, LIST_LIMIT_MAX).await?;
        after = page.last().map(|pack| pack.id);
        let there = page.iter().filter(|pack| packs.contains(&pack.id));
        condemned.extend(there.map(|pack| (pack.id, pack.bytes)));
        if !more {
            break;
        }
    }
    let condemned: Vec<(PackId, u64)> = condemned.into_iter().collect();
    let mut plans = Vec::new();
    for part in condemned.chunks(PLAN_PACKS_MAX) {
        let bytes = part.iter().map(|(_, bytes)| bytes).sum();
        let condemned = part.iter().map(|(pack, _)| *pack).collect();
        let plan = Plan { made_at: now, condemned, bytes, replacements: Vec::new() };
        plans.push(lead.create_plan(&plan).await?);
    }
    Ok(plans)
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

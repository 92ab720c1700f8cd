//! The heads of a share: which is the newest, and what heads there are.
//!
//! Names sort newest first, so one page of a listing finds the newest head. It is followed only if its
//! epoch has a settled claim: heads are listed before claims, so the claim of every head listed is seen.
//! A head of a lower epoch than the newest can therefore never be taken for it, whenever it appears.

use std::collections::BTreeSet;

use tidegate_chunker::ShareId;

use super::envelope::{LIST_PAGE, list_all};
use super::error::{RepositoryError, Result};
use super::head::Head;
use super::heat::Heat;
use super::hex::HexId;
use super::line::{HeadStanding, place};
use super::names::{self, HEADS, HeadName};
use super::open::{Opened, Repository};
use crate::store::ObjectName;

/// How often the newest head is looked for anew when it was removed between listing and reading.
const NEWEST_ATTEMPTS_MAX: u32 = 4;

/// The newest head of a share.
#[derive(Clone, Debug, PartialEq)]
pub struct NewestHead {
    /// Its name.
    pub name: HeadName,
    /// What it says.
    pub head: Head,
}

/// A share that the repository knows.
#[derive(Debug)]
pub struct ShareState {
    /// Which share.
    pub share: ShareId,
    /// Its newest head; an error if that cannot be read, so that it does not hide the other shares.
    pub newest: Result<Option<NewestHead>>,
}

/// A head in a listing.
#[derive(Debug)]
pub struct ListedHead {
    /// Its name.
    pub name: HeadName,
    /// Where it stands towards the newest head.
    pub standing: HeadStanding,
    /// What it says, or why it cannot be read.
    pub head: Result<Head>,
}

impl Repository<Opened> {
    /// The ids of all shares that have heads, snapshots or claims.
    pub async fn share_ids(&self) -> Result<BTreeSet<ShareId>> {
        let mut ids = BTreeSet::new();
        for folder in [HEADS, names::SNAPSHOTS, names::LEASES] {
            let shares = self.store.list_folders(folder).await?;
            ids.extend(shares.iter().filter_map(|share| <ShareId as HexId>::from_hex(share)));
        }
        Ok(ids)
    }

    /// The share of this name or id; `None` if there is none. Found by its newest head, or else by any head
    /// or snapshot that can be read, so that one unreadable head does not hide it. When there is none, but
    /// a share of which nothing can be read, that is the error: it may be the one that is meant.
    pub async fn find_share(&self, wanted: &str) -> Result<Option<ShareId>> {
        let ids = self.share_ids().await?;
        if let Some(id) = <ShareId as HexId>::from_hex(wanted)
            && ids.contains(&id)
        {
            return Ok(Some(id));
        }
        let mut nameless = None;
        for id in ids {
            match self.share_name(id).await {
                Ok(Some(name)) if name == wanted => return Ok(Some(id)),
                Ok(_) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error);
                }
                Err(error) => nameless = Some(error),
            }
        }
        nameless.map_or(Ok(None), Err)
    }

    /// What the newest head or snapshot of a share that can be read calls it; `None` for a share that has
    /// neither.
    async fn share_name(&self, share: ShareId) -> Result<Option<String>> {
        let mut unreadable = None;
        match self.newest_head(share).await {
            Ok(Some(newest)) => return Ok(Some(newest.head.share.name)),
            Ok(None) => {}
            Err(error) => unreadable = Some(only_damage(error)?),
        }
        for name in self.head_names(share).await.unwrap_or_default() {
            match self.read_head(share, &name).await {
                Ok(head) => return Ok(Some(head.share.name)),
                Err(error) => unreadable = unreadable.or(Some(only_damage(error)?)),
            }
        }
        for id in self.snapshot_ids(share).await.unwrap_or_default().into_iter().rev() {
            match self.read_snapshot(share, id).await {
                Ok(snapshot) => return Ok(Some(snapshot.head.share.name)),
                Err(error) => unreadable = unreadable.or(Some(only_damage(error)?)),
            }
        }
        unreadable.map_or(Ok(None), Err)
    }

    /// The newest head by its name alone; whether its epoch has a settled claim is not asked. One request.
    pub async fn first_head_name(&self, share: ShareId) -> Result<Option<HeadName>> {
        let page = self.store.list(&names::heads_of(share), None, 1).await?;
        Ok(page.objects.first().and_then(|object| HeadName::from_hex(names::last_segment(&object.name))))
    }

    /// All shares that have heads.
    pub async fn shares(&self) -> Result<Vec<ShareState>> {
        let mut shares = Vec::new();
        for folder in self.store.list_folders(HEADS).await? {
            let Some(share) = <ShareId as HexId>::from_hex(&folder) else { continue };
            match self.newest_head(share).await {
                Err(error @ RepositoryError::Store(_)) => return Err(error),
                newest => shares.push(ShareState { share, newest }),
            }
        }
        Ok(shares)
    }

    /// The newest head of a share; `None` if it has no heads.
    ///
    /// `Damaged` under the head's name if it cannot be read: older heads may be readable
    /// ([`Repository::head_names`], [`Repository::read_head`]), but serving one is for a person to decide.
    pub async fn newest_head(&self, share: ShareId) -> Result<Option<NewestHead>> {
        let mut attempts = 1;
        loop {
            let Some(name) = self.newest_head_name(share).await? else { return Ok(None) };
            match self.read_head(share, &name).await {
                Err(RepositoryError::Missing { .. }) if attempts < NEWEST_ATTEMPTS_MAX => attempts += 1,
                head => return Ok(Some(NewestHead { name, head: head? })),
            }
        }
    }

    /// The name of the newest head, without reading it.
    pub async fn newest_head_name(&self, share: ShareId) -> Result<Option<HeadName>> {
        let folder = names::heads_of(share);
        let mut page = self.store.list(&folder, None, 1).await?;
        if page.objects.is_empty() {
            return Ok(None);
        }
        let claimed = self.claimed_epochs(share).await?;
        loop {
            for object in &page.objects {
                let name = parse(&object.name)?;
                if claimed.contains(&name.epoch) {
                    return Ok(Some(name));
                }
            }
            let last = page.objects.last().map(|object| object.name.clone()).filter(|_| page.more);
            let Some(last) = last else {
                return Err(RepositoryError::damaged(
                    names::leases_of(share),
                    "the share has heads, but none of their epochs has a claim: the claims are gone",
                ));
            };
            page = self.store.list(&folder, Some(&last), LIST_PAGE).await?;
        }
    }

    /// Reads one head.
    pub async fn read_head(&self, share: ShareId, name: &HeadName) -> Result<Head> {
        let object = name.object(share);
        let head: Head = self.read_record(&object).await?;
        if head.matches(share, name) {
            return Ok(head);
        }
        Err(RepositoryError::damaged(&object, "its share, epoch or sequence is not that of its name"))
    }

    /// What was used lately, as a head or the one that it refers to says. Where that one is gone nothing is known.
    pub async fn heat_of(&self, head: &Head) -> Result<Heat> {
        let Some(name) = head.heat_in.filter(|_| head.heat.is_empty()) else { return Ok(head.heat.clone()) };
        match self.read_head(head.share.id, &name).await {
            Ok(head) => Ok(head.heat),
            Err(RepositoryError::Missing { .. }) => Ok(Heat::default()),
            Err(error) => Err(error),
        }
    }

    /// The names of all heads of a share, newest first.
    pub async fn head_names(&self, share: ShareId) -> Result<Vec<HeadName>> {
        list_all(&*self.store, &names::heads_of(share)).await?.iter().map(parse).collect()
    }

    /// The newest `limit` heads of a share by name, each read and placed on the line of heads or beside it.
    pub async fn list_heads(&self, share: ShareId, limit: usize) -> Result<Vec<ListedHead>> {
        let mut names = self.head_names(share).await?;
        names.truncate(limit);
        let claimed = if names.is_empty() { BTreeSet::new() } else { self.claimed_epochs(share).await? };
        let mut heads = Vec::with_capacity(names.len());
        for name in names {
            match self.read_head(share, &name).await {
                Err(error @ RepositoryError::Store(_)) => return Err(error),
                Err(RepositoryError::Missing { .. }) => {}
                head => heads.push((name, head)),
            }
        }
        Ok(place(heads, &claimed))
    }

    /// Removes a head that nobody needs any more. What it reached stays until it is collected.
    pub async fn remove_head(&self, share: ShareId, name: &HeadName) -> Result<()> {
        Ok(self.store.delete(&name.object(share)).await?)
    }
}

/// The error, if it says something about an object.
fn only_damage(error: RepositoryError) -> Result<RepositoryError> {
    if matches!(error, RepositoryError::Store(_) | RepositoryError::Local { .. }) {
        return Err(error);
    }
    Ok(error)
}

fn parse(name: &ObjectName) -> Result<HeadName> {
    <HeadName as HexId>::from_hex(names::last_segment(name))
        .ok_or_else(|| RepositoryError::damaged(name, "no head has such a name"))
}

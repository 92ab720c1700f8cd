//! Joining again: a share that was superseded, handed over, or followed goes on over the newest head of its line, as a follower
//! or as the leader.
//!
//! Order: what is here beyond the line is a branch (refused otherwise); a new live map over the newest head and the record that
//! says so, in one record of the journal; then the old map is dropped. A crash before leaves the share as it was, after it one
//! that has joined; the next start removes an old map that is left. What can fail is tried before a claim, which ends the
//! leadership of whoever led. Local packs and gathered frames stay, so that what was read here before is read from here again; only what
//! changed since comes from the store.
//!
//! Handles of before stay valid under the rules of an attach ([`super::handles`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{HeadName, Leadership, NewestHead, Standing};

use super::handles::{Handles, after_takeover};
use super::registry::{self, ShareRecord};
use super::shares::{OpenShare, begin_over, random};
use super::{Appliance, ApplianceError, ShareConfig};
use crate::live::{Batch, Change};

/// How often, and how many times, it is looked whether calls that were under way have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 500;

/// How a share joins its line again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejoin {
    /// It serves, read-only, what whoever leads publishes.
    Follow,
    /// It leads; refused while another gateway leads and has not handed the share over.
    Lead,
    /// It leads, whoever else does: a takeover.
    TakeOver,
}

/// How a share has joined its line again.
#[derive(Clone, Debug)]
pub struct Rejoined {
    /// Which share.
    pub share: ShareId,
    /// The head that it stands over.
    pub head: HeadName,
    /// Whether it follows.
    pub follows: bool,
    /// The branch that keeps what was here beyond the line, if there was anything.
    pub branch: Option<String>,
    /// What became of the handles of before.
    pub handles: Handles,
}

impl Appliance {
    /// Has a share that somebody else leads join its line again. Waits until what is here beyond the line is a branch.
    pub async fn rejoin(self: &Arc<Self>, share: &str, how: Rejoin) -> Result<Rejoined, ApplianceError> {
        let _changing = self.changing.lock().await;
        let open =
            self.open_or_retiring(share).ok_or_else(|| ApplianceError::NoShare { share: share.into() })?;
        if how != Rejoin::Follow && open.follows_by_settings {
            return Err(ApplianceError::FollowsBySettings { share: share.into() });
        }
        let branch = self.leave_line(&open).await?;
        // What has begun must end; nothing new begins. Clients whose handles stay valid wait meanwhile.
        self.files.withhold(open.share.id());
        open.withdrawn.cancel();
        open.served_again.cancel();
        let held = open.leadership.lock().await;
        let joined = self.join_line(&open, how).await;
        drop(held);
        let (record, head, handles) = match joined {
            Ok(joined) => joined,
            Err(error) => {
                let record = open.record.lock().clone();
                self.open_again(&open, record).await?;
                return Err(error);
            }
        };
        let follows = record.follows;
        let id = self.open_again(&open, record).await?;
        self.drop_map_when_left(open.share.clone());
        tracing::warn!(share, %head, follows, handles = handles.why(), "joined the line of heads again");
        Ok(Rejoined { share: id, head, follows, branch, handles })
    }

    /// Makes sure that nothing is lost when the map goes; gives the branch that keeps what the line lacks.
    async fn leave_line(&self, open: &OpenShare) -> Result<Option<String>, ApplianceError> {
        let share = open.config.name.clone();
        let record = open.record.lock().clone();
        if record.follows || record.handed_over || record.leadership.is_none() {
            return Ok(None);
        }
        if !record.superseded {
            self.look_who_leads(open).await?;
        }
        let mut looks = 0;
        while !self.files.has_left(open.share.id()) {
            looks += 1;
            if looks > LOOKS_MAX {
                return Err(ApplianceError::StillLeaving { share });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.set_aside(open).await
    }

    /// Refuses while this gateway leads; perhaps it has not noticed yet that it does not.
    async fn look_who_leads(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        let mut held = open.leadership.lock().await;
        if let Some(leading) = held.take() {
            match leading.check(&self.backend.repository).await {
                Standing::StillLeading(leading) => {
                    *held = Some(leading);
                    return Err(ApplianceError::Leads { share: open.config.name.clone() });
                }
                Standing::Unknown { leadership, error } => {
                    *held = Some(leadership);
                    return Err(error.into());
                }
                Standing::Superseded { by } => {
                    tracing::error!(share = open.config.name, %by, "another gateway leads this share now: it is read-only here");
                }
            }
        }
        drop(held);
        self.end_leading(open).await
    }

    /// Begins a new map over the newest head, durably.
    async fn join_line(
        &self,
        open: &OpenShare,
        how: Rejoin,
    ) -> Result<(ShareRecord, HeadName, Handles), ApplianceError> {
        let (id, name) = (open.share.id(), &open.config.name);
        if how == Rejoin::Lead {
            self.require_free(open).await?;
        }
        let leadership = match how {
            Rejoin::Follow => None,
            Rejoin::Lead | Rejoin::TakeOver => {
                self.committer.plans.look_surely().await?;
                let nothing = || ApplianceError::NothingToAttach { share: name.clone(), what: "head".into() };
                self.backend.repository.newest_head(id).await?.ok_or_else(nothing)?;
                // The claim comes before the look at the heads that counts: what appears later is a fork.
                Some(self.claim(id, name, self.settle).await?)
            }
        };
        let (changes, joined) = self.begin_joined(open, how, leadership.as_ref()).await?;
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        crate::crash::point("rejoin.recorded");
        Ok(joined)
    }

    /// What begins a new map over the newest head.
    async fn begin_joined(
        &self,
        open: &OpenShare,
        how: Rejoin,
        leadership: Option<&Leadership>,
    ) -> Result<(Vec<Change>, (ShareRecord, HeadName, Handles)), ApplianceError> {
        let (id, name) = (open.share.id(), &open.config.name);
        let newest = self.backend.repository.newest_head(id).await?;
        let nothing = || ApplianceError::NothingToAttach { share: name.clone(), what: "head".into() };
        let newest = newest.ok_or_else(nothing)?;
        let handles = handles_of(&newest, leadership, open.record.lock().era);
        if leadership.is_some() && !handles.nothing_is_lost() {
            self.pin_takeover(newest.name, &newest.head).await?;
        }
        let era = handles.era().map_or_else(random, Ok)?;
        let (map, map_change) = registry::next_map(&self.live)?;
        let mut record = open.record.lock().clone().over(map, random()?, era);
        record.leadership = leadership.map(Leadership::note);
        (record.superseded, record.handed_over, record.aside) = (false, false, None);
        record.follows = how == Rejoin::Follow;
        record.handles = Some(handles.why().to_owned());
        let mut changes = begin_over(map, &newest.head, Some(newest.name), true);
        changes.extend([map_change, record.change()]);
        Ok((changes, (record, newest.name, handles)))
    }

    /// Opens the share anew by its record, in the place of the one that is open.
    async fn open_again(
        self: &Arc<Self>,
        open: &OpenShare,
        record: ShareRecord,
    ) -> Result<ShareId, ApplianceError> {
        let id = open.share.id();
        self.retiring.lock().remove(&id);
        self.drained.lock().remove(&id);
        let config = ShareConfig { follow: open.follows_by_settings, ..open.config.clone() };
        self.open_share(record, config).await
    }

    /// Refuses unless whoever led the share last has handed it over, or it was this gateway.
    async fn require_free(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        let (id, repository) = (open.share.id(), &self.backend.repository);
        let lease = repository.lease(id).await?;
        let newest = repository.newest_head(id).await?;
        let handed_over = newest.as_ref().is_some_and(|newest| {
            newest.head.handover.is_some() && newest.name.epoch == lease.highest_epoch()
        });
        if handed_over {
            return Ok(());
        }
        let by = lease.holder().map_or_else(|| "another gateway".to_owned(), |claim| claim.host.clone());
        Err(ApplianceError::LedElsewhere { share: open.config.name.clone(), by })
    }
}

fn handles_of(newest: &NewestHead, leadership: Option<&Leadership>, here: u64) -> Handles {
    match leadership {
        Some(leadership) => after_takeover(&newest.head, leadership.epoch(), true),
        // A follower shows what the leader has published: handles of the same era name the same files.
        None if newest.head.handover.is_some_and(|era| u64::from_be_bytes(*era.as_bytes()) == here) => {
            Handles::Kept { era: here }
        }
        None => Handles::Followed,
    }
}

//! Fencing: what a gateway does that finds that somebody else leads a share.
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | notice | keeps durably that it was superseded; the share is read-only and publishes nothing | a share that is read-only, also after a restart |
//! | leave | calls that were under way end; everything acknowledged is drained into local packs ([`super::retire`]) | the same |
//! | name | keeps durably under which id and name its changes become a branch | the same |
//! | set aside | writes the branch ([`crate::commit`]), as soon as the store answers | the branch; the next run finds it |
//! | note | keeps durably that it is done | a share that can join again ([`super::rejoin`]) |
//!
//! So each change that was acknowledged is on the line or in the branch. A share of which everything had been published has
//! no branch.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{
    Branch, BranchCause, Head, HeadName, LeadershipNote, NewBranch, SnapshotId, UtcNanos, minute,
    new_branch_id, unpublished_name,
};
use tidegate_replicator::store::Traffic;

use super::registry::AsideNote;
use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::commit::{AsideId, SetAside};
use crate::live::LiveError;

/// Pauses between attempts while the store is away.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Names that are tried for a branch, when there are others of the same minute.
const NAMES_MAX: u32 = 1000;

impl Appliance {
    /// Runs until what a superseded share has beyond its line is a branch, or the share is served again.
    pub(super) async fn keep_aside(&self, open: &OpenShare) {
        let mut pause = PAUSE_MIN;
        while open.record.lock().superseded && !open.served_again.is_cancelled() {
            match self.set_aside(open).await {
                Ok(_) => return,
                Err(error) => {
                    let record = open.record.lock().clone();
                    if self.is_shredded(&record).await {
                        return self.let_go(&record);
                    }
                    *open.last_error.lock() =
                        Some(format!("its changes could not be set aside yet: {error}"));
                    tracing::warn!(share = open.config.name, %error, "changes of a share that another gateway leads could not be set aside; they will be tried again");
                }
            }
            if !self.wait_retiring(open, pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Keeps what a superseded share, which takes no more changes, has beyond its line as a branch; gives what that is
    /// called, none when there was nothing. May be run again.
    pub(super) async fn set_aside(&self, open: &OpenShare) -> Result<Option<String>, ApplianceError> {
        // Nothing is committed meanwhile.
        let _leadership = open.leadership.lock().await;
        let (note, wanted) = self.name_aside(open).await?;
        if note.done {
            return Ok(note.made.then_some(note.name));
        }
        let epoch = open.record.lock().leadership.as_ref().map_or(0, LeadershipNote::epoch);
        let drained = |through| self.note_drained(open, through);
        let setting = self.committer.set_aside(&open.share, &open.description, &wanted, epoch, &drained);
        let outcome = Traffic::Replication.scope(setting).await?;
        let made = outcome == SetAside::Branch;
        let record = {
            let mut record = open.record.lock();
            record.aside = Some(AsideNote { done: true, made, ..note.clone() });
            record.clone()
        };
        record.store(&self.live).await?;
        crate::crash::point("aside.noted");
        *open.last_error.lock() = None;
        open.moments.look_again();
        if made {
            tracing::error!(
                share = open.config.name,
                branch = note.name,
                "changes that another gateway's line lacks were set aside: see `tidegate branch list`"
            );
        } else {
            tracing::warn!(
                share = open.config.name,
                "every change had been published: nothing was set aside"
            );
        }
        Ok(made.then_some(note.name))
    }

    /// Decides, durably, what the branch is called, unless that was decided before.
    async fn name_aside(&self, open: &OpenShare) -> Result<(AsideNote, AsideId), ApplianceError> {
        let known = open.record.lock().aside.clone();
        let note = match known {
            Some(note) => note,
            None => {
                let now = self.now();
                let name = self.free_branch_name(open.share.id(), &open.config.name, now).await?;
                let note = AsideNote { id: new_branch_id(now)?.to_string(), name, done: false, made: false };
                let record = {
                    let mut record = open.record.lock();
                    record.aside = Some(note.clone());
                    record.clone()
                };
                record.store(&self.live).await?;
                crate::crash::point("aside.named");
                note
            }
        };
        let id = SnapshotId::parse(&note.id).ok_or(LiveError::Undecodable("the id of a branch"))?;
        let wanted = AsideId { id, name: note.name.clone(), site: self.claimant.host.clone() };
        Ok((note, wanted))
    }

    /// `SHARE@HOST-2026-11-26T10:05`, with a number if there is one already.
    async fn free_branch_name(
        &self,
        share: ShareId,
        called: &str,
        now: UtcNanos,
    ) -> Result<String, ApplianceError> {
        let taken = self.backend.repository.branches(share).await?;
        let plain = format!("{called}@{}-{}", self.claimant.host, minute(now));
        let numbered = (2..NAMES_MAX).map(|number| format!("{plain}-{number}"));
        let is_free = |name: &String| !taken.iter().any(|branch| branch.name == *name);
        Ok(std::iter::once(plain.clone()).chain(numbered).find(is_free).unwrap_or(plain))
    }

    /// Keeps the newest head as a branch, because the share goes on from an older state.
    pub(super) async fn keep_passed_over(
        &self,
        called: &str,
        (newest, head): (HeadName, &Head),
        (ancestor, base): (HeadName, &Head),
    ) -> Result<String, ApplianceError> {
        let (share, now) = (head.share.id, self.now());
        let name = self.free_branch_name(share, called, now).await?;
        let new = NewBranch {
            name: name.clone(),
            site: self.claimant.host.clone(),
            cause: BranchCause::PassedOver,
            ancestor: Some(ancestor),
            base: Some(base.root),
            lacks: 0,
        };
        let passed_over = Head { parent: Some(newest), ..head.clone() };
        let unpublished = unpublished_name(newest.epoch, newest.sequence + 1)?;
        self.backend
            .repository
            .create_branch(new_branch_id(now)?, (unpublished, &passed_over), new, now)
            .await?;
        Ok(name)
    }

    /// All branches of a share, oldest first. The share need not be served here.
    pub async fn branches(&self, share: &str) -> Result<Vec<Branch>, ApplianceError> {
        Ok(self.backend.repository.branches(self.share_in_repository(share).await?).await?)
    }

    /// A branch by its name or id.
    pub async fn branch(&self, share: &str, branch: &str) -> Result<Branch, ApplianceError> {
        let found = self.branches(share).await?.into_iter().rev();
        let mut called = found.filter(|known| known.name == branch || known.id.to_string() == branch);
        called.next().ok_or_else(|| ApplianceError::NoBranch { share: share.into(), branch: branch.into() })
    }

    /// Removes a branch. What only it reached stays until it is collected.
    pub async fn remove_branch(&self, share: &str, branch: &Branch) -> Result<(), ApplianceError> {
        let id = self.share_in_repository(share).await?;
        self.backend.repository.remove_branch(id, branch).await?;
        if let Some(open) = self.shares.lock().get(&id) {
            open.moments.look_again();
        }
        Ok(())
    }

    /// The id of a share by its name, whether it is known here or only in the repository.
    pub(super) async fn share_in_repository(&self, share: &str) -> Result<ShareId, ApplianceError> {
        if let Ok(open) = self.share_named(share) {
            return Ok(open.share.id());
        }
        let found = self.backend.repository.find_share(share).await?;
        found.ok_or_else(|| ApplianceError::NoShare { share: share.into() })
    }

    /// Has a share that is known to be led elsewhere set its changes aside.
    pub(super) fn start_setting_aside(self: &Arc<Self>, open: Arc<OpenShare>) {
        let appliance = self.clone();
        self.loops.spawn(async move { appliance.retire(&open).await });
    }
}

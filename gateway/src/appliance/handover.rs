//! Handing a share over to another gateway without loss: its handles stay valid there.
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | pause | changes are answered "try later"; those under way end; reads go on | nothing |
//! | commit | publishes everything | a share as any other |
//! | mark | keeps here, durably, that the share is handed over: its changes wait, also after a restart | a share that waits; hand it over again, or take it back |
//! | publish | a head over the same root that carries the *era* of the handles | the share is another gateway's to attach |
//!
//! The mark comes before the head, so that no change is acknowledged after a head which says that none is. Who
//! attaches takes the era over if the head is the newest and nobody has claimed the share since: then
//! everything that any client was told is in it. Else handles are of a new era, and stale.
//!
//! A gateway that starts and finds that its share was handed over and is led elsewhere answers every call on it "try later",
//! reads too: the handles are valid, but its files are those of before. The share joins its line again by
//! [`super::rejoin`].
//!
//! A publication whose outcome is not known leaves the share waiting: it is run again, or taken back by a
//! head without the era, before changes are let in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tidegate_replicator::repository::{Era, Head, HeadName};

use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::files::Served;
use crate::live::{Batch, Change};
use crate::share::Base;

/// How often it is looked whether changes that were under way have ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Appliance {
    /// Hands a share over; gives the head that does. Clients' changes wait from then on. Running it again
    /// publishes another such head.
    pub async fn hand_over(self: &Arc<Self>, share: &str) -> Result<(HeadName, Head), ApplianceError> {
        let _changing = self.changing.lock().await;
        let open = self.share_named(share)?;
        if open.config.follow {
            return Err(ApplianceError::NotLed { share: share.into() });
        }
        let newest = if open.record.lock().handed_over {
            self.newest_of(&open).await?
        } else {
            self.serve_files(&open, Arc::new(AtomicBool::new(true)))?;
            let committed = self.commit_when_left(&open).await;
            if committed.is_err() {
                self.serve_files(&open, open.paused.clone())?;
            }
            let newest = committed?;
            self.mark_handed_over(&open, true).await?;
            open.withdrawn.cancel();
            newest
        };
        let era = Era::new(open.record.lock().era.to_be_bytes());
        self.publish_handover(&open, newest, Some(era)).await
    }

    /// Takes a share back that was handed over and that nobody has attached; changes go on.
    pub async fn take_back(self: &Arc<Self>, share: &str) -> Result<(HeadName, Head), ApplianceError> {
        let _changing = self.changing.lock().await;
        let open = self.share_named(share)?;
        let newest = self.newest_of(&open).await?;
        if !open.record.lock().handed_over {
            return Ok(newest);
        }
        // No plan has waited for this gateway meanwhile.
        self.committer.plans.look_surely().await?;
        let published = self.publish_handover(&open, newest, None).await?;
        self.mark_handed_over(&open, false).await?;
        open.paused.store(false, Ordering::Relaxed);
        self.serve_again(&open, open.config.clone()).await?;
        Ok(published)
    }

    /// The share as it is served, for a change that does not come from a client; refused where the share is
    /// handed over or somebody else leads it. Hold the answer while the change goes on: a handover waits for
    /// that, as it does for clients.
    pub fn admit_change(&self, share: &str) -> Result<Arc<Served>, ApplianceError> {
        let open = self.share_named(share)?;
        let refuse = || ApplianceError::NotLed { share: share.into() };
        // First this, then the look whether changes wait: who hands over does it the other way round.
        let served = self.files.share(open.share.id()).ok_or_else(refuse)?;
        let record = open.record.lock();
        let waits = served.paused.load(Ordering::Relaxed);
        if record.handed_over || record.superseded || open.config.follow || waits {
            return Err(refuse());
        }
        Ok(served)
    }

    async fn commit_when_left(
        self: &Arc<Self>,
        open: &Arc<OpenShare>,
    ) -> Result<(HeadName, Head), ApplianceError> {
        self.until_left(open).await?;
        self.commit_open(open).await
    }

    /// Waits until no call is under way that was let in before the share came to be served as it is.
    pub(super) async fn until_left(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        while !self.files.has_left(open.share.id()) {
            tokio::select! {
                () = self.stop.cancelled() => return Err(ApplianceError::Died),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
        Ok(())
    }

    /// The newest head in the repository.
    async fn newest_of(&self, open: &OpenShare) -> Result<(HeadName, Head), ApplianceError> {
        let newest = self.backend.repository.newest_head(open.share.id()).await?;
        let nothing =
            || ApplianceError::NothingToAttach { share: open.config.name.clone(), what: "head".into() };
        newest.map(|newest| (newest.name, newest.head)).ok_or_else(nothing)
    }

    /// What is published next follows this head, which has the root that the map stands over.
    async fn move_base(&self, open: &OpenShare, head: HeadName) -> Result<(), ApplianceError> {
        let map = open.share.map().map;
        let base = Base { head: Some(head), ..Base::load(&self.live, map)? };
        let through = self.live.settle().await?;
        let changes = vec![Change::Rebase { map, through, base: base.encode() }];
        let sequence = self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        Ok(self.live.applied(sequence).await?)
    }

    async fn mark_handed_over(&self, open: &OpenShare, handed_over: bool) -> Result<(), ApplianceError> {
        let record = {
            let mut record = open.record.lock();
            record.handed_over = handed_over;
            record.clone()
        };
        Ok(record.store(&self.live).await?)
    }

    async fn publish_handover(
        &self,
        open: &OpenShare,
        (name, head): (HeadName, Head),
        era: Option<Era>,
    ) -> Result<(HeadName, Head), ApplianceError> {
        let mut leadership = open.leadership.lock().await;
        let (name, head) = self.committer.hand_over((name, &head), era, &mut leadership).await?;
        drop(leadership);
        self.move_base(open, name).await?;
        *open.newest.lock() = Some((name, head.clone()));
        open.moments.look_again();
        self.note_holds_nothing(open);
        self.shorten_journal()?;
        Ok((name, head))
    }
}

//! The commit loop of a share: a commit at every objective's interval, sooner under pressure.
//!
//! A commit that fails because the store is away is run again, less and less often up to a bound; the
//! share is served meanwhile, as long as the dirty budget lasts (or, if it is set so, its writes wait). What
//! it has drained by then has left the journal all the same, which is shortened at once. A commit that finds
//! somebody else
//! leading ends the loop for good: the share is read-only from then on, and what was not published
//! stays here, as chunks ([`super::retire`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{Head, HeadName, Leadership};
use tidegate_replicator::store::Traffic;
use tokio::sync::OwnedMutexGuard;

use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::commit::{CommitError, Committed, FreezeGroup, Member};
use crate::journal::Sequence;
use crate::namespace::Namespace;
use crate::telemetry::record_commit;

/// The longest pause between two attempts while the store is away.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// The shortest pause between two commits under pressure.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The pause under pressure after a commit that failed.
const PAUSE_PRESSED: Duration = Duration::from_secs(2);

impl Appliance {
    pub(super) fn start_commits(self: &Arc<Self>, open: Arc<OpenShare>) {
        let appliance = self.clone();
        self.loops.spawn(async move { appliance.run_commits(open).await });
    }

    async fn run_commits(self: Arc<Self>, open: Arc<OpenShare>) {
        let mut pause = open.config.rpo;
        let mut pause_pressed = PAUSE_MIN;
        loop {
            let pressed = async {
                self.budget.pressure.notified().await;
                tokio::time::sleep(pause_pressed).await;
            };
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = open.withdrawn.cancelled() => return,
                () = open.superseded.notified() => return self.retire(&open).await,
                () = tokio::time::sleep(pause) => {}
                () = pressed => {}
            }
            match self.commit_open(&open).await {
                Ok(_) => (pause, pause_pressed) = (open.config.rpo, PAUSE_MIN),
                Err(ApplianceError::Commit(CommitError::Superseded { .. } | CommitError::NotLeading)) => {
                    return self.retire(&open).await;
                }
                Err(error) => {
                    pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX.max(open.config.rpo));
                    if self.budget.is_pressed() {
                        pause = pause.min(PAUSE_PRESSED);
                    }
                    pause_pressed = PAUSE_PRESSED;
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(share = open.config.name, error, "a commit failed; it will be run again");
                }
            }
        }
    }

    /// Commits a share now; gives the newest head.
    pub async fn commit(self: &Arc<Self>, share: &str) -> Result<(HeadName, Head), ApplianceError> {
        let open = self.share_named(share)?;
        self.commit_open(&open).await
    }

    /// The same for a share by its id.
    pub async fn commit_share(self: &Arc<Self>, share: ShareId) -> Result<(HeadName, Head), ApplianceError> {
        let open = self.shares.lock().get(&share).cloned();
        let open = open.ok_or_else(|| ApplianceError::NoShare { share: share.to_string() })?;
        self.commit_open(&open).await
    }

    pub(super) async fn commit_open(
        self: &Arc<Self>,
        open: &Arc<OpenShare>,
    ) -> Result<(HeadName, Head), ApplianceError> {
        self.commit_to_the_end(open.clone(), None).await
    }

    /// Waits for its turn, then commits. From there on the commit goes on whether anybody waits for it or not: it holds the
    /// right to publish, which would be lost with it.
    async fn commit_to_the_end(
        self: &Arc<Self>,
        open: Arc<OpenShare>,
        together: Option<Member>,
    ) -> Result<(HeadName, Head), ApplianceError> {
        let (open, mut leadership) = self.in_turn(open).await?;
        let appliance = self.clone();
        let committing = self.loops.spawn(async move {
            appliance.regain(&open, &mut leadership).await?;
            appliance.commit_led(&open, &mut leadership, together).await
        });
        committing.await.map_err(|_| ApplianceError::Died)?
    }

    /// A share as it is open when its turn has come: meanwhile it may have been opened anew, perhaps over another map.
    async fn in_turn(
        &self,
        mut open: Arc<OpenShare>,
    ) -> Result<(Arc<OpenShare>, OwnedMutexGuard<Option<Leadership>>), ApplianceError> {
        loop {
            let leadership = open.leadership.clone().lock_owned().await;
            if !open.served_again.is_cancelled() {
                return Ok((open, leadership));
            }
            drop(leadership);
            // Whoever opens it anew holds this until it is there.
            drop(self.changing.lock().await);
            let (id, share) = (open.share.id(), &open.config.name);
            let now = self.shares.lock().get(&id).cloned();
            let now = now.or_else(|| self.retiring.lock().get(&id).cloned());
            let none = || ApplianceError::NoShare { share: share.clone() };
            open = now.filter(|now| !Arc::ptr_eq(now, &open)).ok_or_else(none)?;
        }
    }

    /// Asks for the right to publish again where a commit that died has lost it.
    async fn regain(
        &self,
        open: &OpenShare,
        leadership: &mut Option<Leadership>,
    ) -> Result<(), ApplianceError> {
        let mut record = open.record.lock().clone();
        let led = record.leadership.is_some() && !(record.superseded || record.handed_over || record.follows);
        if leadership.is_some() || !led || open.config.follow || self.drill {
            return Ok(());
        }
        *leadership = self.resume(&mut record).await?;
        // Other things may have become of it meanwhile.
        open.record.lock().leadership = record.leadership;
        if record.superseded { self.end_leading(open).await } else { Ok(()) }
    }

    /// Commits several shares, all frozen at one sequence; an error for each that was not, and for all if one was not.
    pub(super) async fn commit_together(
        self: &Arc<Self>,
        shares: &[String],
    ) -> Vec<Result<(HeadName, Head), ApplianceError>> {
        let (group, members) = FreezeGroup::new(self.live.clone(), shares.len());
        let commits = shares.iter().zip(members).map(|(share, member)| async move {
            self.commit_to_the_end(self.share_named(share)?, Some(member)).await
        });
        let committed = futures::future::join_all(commits).await;
        if group.were_together() {
            return committed;
        }
        let apart = |result: Result<_, ApplianceError>| {
            result.and_then(|_| Err(ApplianceError::NotTogether { shares: shares.join(", ") }))
        };
        committed.into_iter().map(apart).collect()
    }

    /// The same for whoever holds the right to publish.
    pub(super) async fn commit_led(
        &self,
        open: &OpenShare,
        leadership: &mut Option<Leadership>,
        together: Option<Member>,
    ) -> Result<(HeadName, Head), ApplianceError> {
        // What the journal holds is about to be written a second time.
        self.sweep_cache().await;
        self.collect_orphans(open).await;
        let drained = |through| self.note_drained(open, through);
        let known = open.newest.lock().clone();
        let (share, known) = (&open.share, known.as_ref());
        let commit = self.committer.commit(share, &open.description, leadership, known, together, &drained);
        let result = Traffic::Replication.scope(commit).await;
        let mut committed = match result {
            Ok(committed) => {
                *open.last_error.lock() = None;
                open.paused.store(false, Ordering::Relaxed);
                committed
            }
            Err(error) => {
                *open.last_error.lock() = Some(error.to_string());
                open.paused.store(open.config.stop_without_store, Ordering::Relaxed);
                if let CommitError::Superseded { by } = &error {
                    tracing::error!(share = open.config.name, %by, "another gateway leads this share now: it is read-only here");
                    self.end_leading(open).await?;
                }
                return Err(error.into());
            }
        };
        if let Some(head) = &mut committed.published {
            self.remove_passed(head).await;
            if head.statistics.bytes_read > 0 {
                self.want_index();
            }
            if !head.heat.is_empty() {
                self.keep_heat_of(&open.share).await;
            }
        }
        self.note_drained(open, committed.drained);
        let newest = self.note_commit(open, committed).await?;
        self.sweep_cache().await;
        Ok(newest)
    }

    /// Takes away, once after each start, what was open without a name before it.
    async fn collect_orphans(&self, open: &OpenShare) {
        if open.without_orphans.load(Ordering::Relaxed) {
            return;
        }
        let namespace = Namespace::new(open.share.clone(), self.clock.clone());
        match namespace.collect_orphans().await {
            Ok(_) => open.without_orphans.store(true, Ordering::Relaxed),
            // The store is away, say: the next commit tries again.
            Err(error) => tracing::debug!(share = open.config.name, %error, "cannot look for orphans yet"),
        }
    }

    /// The journal is needed no more up to here, although nothing may have been uploaded yet.
    pub(super) fn note_drained(&self, open: &OpenShare, through: Sequence) {
        // It is open anew since, perhaps over another map, which holds what it holds.
        if open.served_again.is_cancelled() {
            return;
        }
        self.drained
            .lock()
            .entry(open.share.id())
            .and_modify(|known| *known = through.max(*known))
            .or_insert(through);
        if let Err(error) = self.shorten_journal() {
            tracing::warn!(share = open.config.name, %error, "failed to shorten the journal; the next commit tries again");
        }
    }

    async fn note_commit(
        &self,
        open: &OpenShare,
        committed: Committed,
    ) -> Result<(HeadName, Head), ApplianceError> {
        let nothing =
            || ApplianceError::NothingToAttach { share: open.config.name.clone(), what: "head".into() };
        let name = committed.head.ok_or_else(nothing)?;
        if let Some(head) = committed.published {
            record_commit(&open.config.name, &head.statistics);
            let sent = head.statistics.bytes_uploaded;
            self.uploaded_bytes.fetch_add(sent, Ordering::Relaxed);
            tracing::info!(share = open.config.name, head = %name, entries = head.statistics.entries_changed,
                bytes = head.statistics.bytes_uploaded, "published a head");
            *open.newest.lock() = Some((name, head));
            open.moments.look_again();
            self.copies.wake();
        }
        if let Some(newest) = open.newest.lock().clone().filter(|newest| newest.0 == name) {
            return Ok(newest);
        }
        let head = self.backend.repository.read_head(open.share.id(), &name).await?;
        *open.newest.lock() = Some((name, head.clone()));
        Ok((name, head))
    }

    /// Takes no more writes on a share that somebody else leads.
    pub(super) async fn end_leading(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        let record = {
            let mut record = open.record.lock();
            record.superseded = true;
            record.clone()
        };
        record.store(&self.live).await?;
        // A share that is being retired was withdrawn from everybody, and stays so. The lock is held, so
        // that it is not withdrawn between the question and the answer.
        let shares = self.shares.lock();
        if shares.get(&open.share.id()).map(Arc::as_ptr) != Some(std::ptr::from_ref(open)) {
            return Ok(());
        }
        self.serve_files(open, open.paused.clone())?;
        open.superseded.notify_one();
        Ok(())
    }
}

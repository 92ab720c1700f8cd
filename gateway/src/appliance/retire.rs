//! Retiring: a share that takes no more changes gives back what it holds of the journal.
//!
//! The journal is shortened up to where every share that this gateway knows has drained it, so a share
//! that is served no more, or that somebody else leads now, must not hold it for ever. Its last changes
//! are drained into packs and, where this gateway leads, published; from then on it holds nothing.
//!
//! Order: the share is withdrawn, or made read-only; calls that were under way end; the journal's
//! sequence is read; commits follow until one has drained up to there. Only then is it noted, in memory,
//! that the share holds nothing. What a superseded share has beyond its line becomes a branch ([`super::aside`]). A crash forgets that, and the next start retires it again. As long as this
//! gateway leads the share it goes on honouring collection plans for it ([`super::collect`]), so that nothing
//! waits for a share that nobody serves.

use std::sync::Arc;
use std::time::Duration;

use tidegate_chunker::ShareId;

use super::registry::{self, ShareRecord};
use super::shares::OpenShare;
use super::{Appliance, ApplianceError, ShareConfig, WarmWhat};
use crate::commit::CommitError;
use crate::files::{ExportRules, Squash};
use crate::journal::Sequence;
use crate::share::Quota;

/// What a share that holds nothing is drained up to.
pub(super) const NOTHING_HELD: Sequence = Sequence(u64::MAX);
/// How often it is looked whether calls that were under way have ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Pauses between attempts while the store is away.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Nobody.
const ANONYMOUS: u32 = 65_534;

impl Appliance {
    /// Retires every share that is known here and not served. To be called when all shares that shall be
    /// served are.
    pub fn retire_unserved(self: &Arc<Self>) -> Result<(), ApplianceError> {
        for record in registry::load(&self.live)? {
            if !self.is_open(record.id()?) {
                let appliance = self.clone();
                self.loops.spawn(async move { appliance.open_and_retire(record).await });
            }
        }
        Ok(())
    }

    /// Retires a share that was withdrawn just now.
    pub(super) fn retire_withdrawn(self: &Arc<Self>, open: Arc<OpenShare>) {
        open.withdrawn.cancel();
        self.retiring.lock().insert(open.share.id(), open.clone());
        let appliance = self.clone();
        self.loops.spawn(async move { appliance.retire(&open).await });
    }

    /// Runs until the share, which takes no more changes, holds nothing of the journal and, where this
    /// gateway leads it, its newest state is published; or until it is served again. A commit is never
    /// broken off: what it has begun must end before others change the share under new locks.
    pub(super) async fn retire(self: &Arc<Self>, open: &Arc<OpenShare>) {
        match self.commit_the_rest(open).await {
            Ok(true) => self.honour_while_retired(open).await,
            Ok(false) => self.keep_aside(open).await,
            Err(error) => {
                tracing::error!(share = open.config.name, %error, "a share that is not served still holds the journal; a restart tries again");
            }
        }
    }

    /// Whether this gateway leads the share, which is not served and holds nothing.
    async fn commit_the_rest(self: &Arc<Self>, open: &Arc<OpenShare>) -> Result<bool, ApplianceError> {
        while !self.files.has_left(open.share.id()) {
            if !self.wait_retiring(open, LOOK_EVERY).await {
                return Ok(false);
            }
        }
        let last = self.live.journal().appended_sequence();
        let mut pause = PAUSE_MIN;
        while !open.served_again.is_cancelled() {
            let committed = self.commit_open(open).await;
            if self.drained.lock().get(&open.share.id()).is_some_and(|drained| *drained >= last) {
                self.note_holds_nothing(open);
                self.shorten_journal()?;
            }
            match committed {
                Ok(_) => return Ok(true),
                Err(ApplianceError::Commit(CommitError::Superseded { .. } | CommitError::NotLeading)) => {
                    return Ok(false);
                }
                Err(error) => {
                    let record = open.record.lock().clone();
                    if self.is_shredded(&record).await {
                        self.let_go(&record);
                        return Ok(false);
                    }
                    tracing::warn!(share = open.config.name, %error, "the last changes of a share that is not served could not leave; they will be tried again");
                }
            }
            if !self.wait_retiring(open, pause).await {
                return Ok(false);
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(false)
    }

    /// Waits so long; whether the share is still to be retired then.
    pub(super) async fn wait_retiring(&self, open: &OpenShare, pause: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = open.served_again.cancelled() => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Takes note that nothing of the share is in the journal, nor will be until it is served again. Of one that takes
    /// changes nobody knows that.
    pub(super) fn note_holds_nothing(&self, open: &OpenShare) {
        let served = self.shares.lock().get(&open.share.id()).map(Arc::as_ptr);
        let takes_changes = {
            let record = open.record.lock();
            served == Some(std::ptr::from_ref(open))
                && !(record.superseded || record.handed_over || open.config.follow)
        };
        if takes_changes {
            tracing::error!(
                share = open.config.name,
                "a share takes changes and does not publish them: it keeps the journal"
            );
            return;
        }
        let mut drained = self.drained.lock();
        if !open.served_again.is_cancelled() {
            drained.insert(open.share.id(), NOTHING_HELD);
        }
    }

    async fn open_and_retire(self: &Arc<Self>, record: ShareRecord) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.open_to_retire(&record).await {
                Ok(Some(open)) => return self.retire(&open).await,
                Ok(None) => return,
                Err(error) => {
                    if self.is_shredded(&record).await {
                        return self.let_go(&record);
                    }
                    tracing::warn!(share = record.name, %error, "a share that is not served cannot be opened to let its last changes leave");
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Opens a share so that it can be committed, as its newest head says that it was served; none if it
    /// is open by now.
    async fn open_to_retire(&self, record: &ShareRecord) -> Result<Option<Arc<OpenShare>>, ApplianceError> {
        let id = record.id()?;
        let settings = match self.backend.repository.newest_head(id).await {
            Err(error) if !error.is_away() => {
                tracing::error!(share = record.name, %error, "the newest head of a share that is not served cannot be read: what is here of it leaves the journal all the same");
                self.last_settings(id).await?
            }
            newest => newest?.map(|newest| newest.head.settings).unwrap_or_default(),
        };
        let _changing = self.changing.lock().await;
        if self.is_open(id) {
            return Ok(None);
        }
        let open = self.open_unserved(record.clone(), unserved(&record.name, settings)).await?;
        self.retiring.lock().insert(id, open.clone());
        Ok(Some(open))
    }

    /// How the newest head that can be read says that a share is served: what is published of it once more says the same.
    async fn last_settings(&self, share: ShareId) -> Result<serde_json::Value, ApplianceError> {
        let repository = &self.backend.repository;
        let mut names = repository.head_names(share).await?;
        names.sort_unstable();
        for name in names.iter().rev() {
            match repository.read_head(share, name).await {
                Ok(head) => return Ok(head.settings),
                Err(error) if error.is_away() => return Err(error.into()),
                Err(_) => {}
            }
        }
        Ok(serde_json::Value::default())
    }

    fn is_open(&self, share: ShareId) -> bool {
        self.shares.lock().contains_key(&share) || self.retiring.lock().contains_key(&share)
    }
}

/// How a share is opened that nobody may see.
fn unserved(name: &str, settings: serde_json::Value) -> ShareConfig {
    let rules = ExportRules {
        path: String::new(),
        exported: false,
        clients: Vec::new(),
        secure_ports: false,
        read_only: true,
        squash: Squash::All,
        anonymous_uid: ANONYMOUS,
        anonymous_gid: ANONYMOUS,
        snapshot_folder: false,
    };
    ShareConfig {
        name: name.to_owned(),
        rules,
        rpo: PAUSE_MAX,
        follow: false,
        stop_without_store: false,
        own_key: false,
        keep_handles: false,
        warm: WarmWhat::None,
        thaw_on_read: false,
        quota: Quota::default(),
        settings,
    }
}

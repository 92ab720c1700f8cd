//! The copies of the repository: each is brought up to date after every published head, and now and then.
//!
//! A copy that cannot be reached is tried again, less and less often up to a bound, and catches up by itself
//! (`tidegate_replicator::mirror`); nobody waits for it but what may not be evicted before it has it. A share that is
//! found to be led from a copy, in a higher epoch than here, is led from here no more.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_chunker::{PackId, ShareId};
use tidegate_replicator::mirror::{
    Mirror, MirrorError, MirrorHost, MirrorOptions, Obstacle, PassReport, is_prepared, prepare,
};
use tidegate_replicator::repository::{HeadName, Opened, Repository, UtcNanos};
use tidegate_replicator::store::{Store, Traffic};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::targets::{CopyTarget, Targets};
use super::{Appliance, ApplianceError};
use crate::commit::CopyingHeads;
use crate::ledger::{Ledger, Owed};
use crate::outbound::with_causes;

/// How often a copy is looked at although nothing was published here: other gateways publish too.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Pauses after a pass that failed.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// Packs that are sent to a copy at once.
const PARALLEL: usize = 4;
/// The folder for packs on their way from the lead to a copy, in the data folder.
const FOLDER: &str = "copying";

/// What the address of a folder begins with.
const ON_DISK: &str = "file://";

/// How one copy stands.
#[derive(Clone, Debug, Default)]
pub struct CopyReport {
    /// Its name in the settings.
    pub name: String,
    /// What it is owed of the packs that were made here.
    pub owed: Owed,
    /// Bytes of packs sent since the start.
    pub sent_bytes: u64,
    /// The last pass that came to its end, and when.
    pub last_pass: Option<(UtcNanos, PassReport)>,
    /// Why the last pass did not, and when.
    pub failure: Option<(UtcNanos, String)>,
    /// How far it is behind: the age of the oldest of its newest heads that is not the newest of its share. Of one that
    /// could not be reached since the start, and is owed something: the time since then. None if nothing is known.
    pub behind: Option<Duration>,
}

/// One copy.
pub(super) struct Copy {
    pub(super) target: CopyTarget,
    /// What it is a copy of: a lead that is another's later is read no more.
    lead: Arc<dyn Store>,
    /// Since when this process has it.
    since: UtcNanos,
    /// Held through a pass.
    mirror: tokio::sync::Mutex<Option<Mirror>>,
    state: Mutex<CopyReport>,
    sent_bytes: AtomicU64,
    /// Asks for a pass now.
    wake: Notify,
    /// It is a copy no more.
    removed: CancellationToken,
}

/// All copies.
pub(super) struct Copies {
    list: Mutex<Vec<Arc<Copy>>>,
    copying: Arc<CopyingHeads>,
    scratch: PathBuf,
}

impl Copies {
    /// No copies yet. Clears the folder for packs on their way.
    pub(super) fn new(data: &Path, copying: Arc<CopyingHeads>) -> Self {
        Self { list: Mutex::default(), copying, scratch: data.join(FOLDER) }
    }

    /// Asks for a pass over every copy.
    pub(super) fn wake(&self) {
        self.list.lock().iter().for_each(|copy| copy.wake.notify_one());
    }

    /// The stores of all copies.
    pub(super) fn stores(&self) -> Vec<Arc<dyn Store>> {
        self.list.lock().iter().map(|copy| copy.target.store.clone()).collect()
    }

    /// All of them as targets.
    pub(super) fn targets(&self) -> Vec<CopyTarget> {
        self.list.lock().iter().map(|copy| copy.target.clone()).collect()
    }

    pub(super) fn named(&self, name: &str) -> Option<Arc<Copy>> {
        self.list.lock().iter().find(|copy| copy.target.name == name).cloned()
    }
}

/// The machine, as a mirror asks it.
struct Host {
    copy: String,
    ledger: Arc<Ledger>,
    copying: Arc<CopyingHeads>,
}

impl MirrorHost for Host {
    fn file(&self, pack: &PackId) -> Option<(PathBuf, u64)> {
        let record = self.ledger.record(pack).ok()??;
        let path = self.ledger.path(pack);
        let bytes = std::fs::metadata(&path).ok()?.len();
        (bytes == record.bytes).then_some((path, bytes))
    }

    fn copying(&self, heads: &[(ShareId, HeadName)]) {
        self.copying.set(&self.copy, heads);
    }
}

/// Stops a pass when the appliance stops or the copy is removed, and counts what is sent.
struct Watch<'a> {
    copy: &'a Copy,
    stop: &'a CancellationToken,
}

impl tidegate_replicator::collect::Observer for Watch<'_> {
    fn advanced(&self, bytes: u64) {
        self.copy.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled() || self.copy.removed.is_cancelled()
    }
}

impl Appliance {
    /// From now on these are the copies, and so many targets must have what may be evicted.
    pub async fn set_copies(self: &Arc<Self>, targets: &Targets) -> Result<(), ApplianceError> {
        let names: Vec<String> = targets.copies.iter().map(CopyTarget::in_ledger).collect();
        let (ledger, required) = (self.backend.ledger.clone(), targets.required);
        let setting = tokio::task::spawn_blocking(move || ledger.set_copies(&names, required));
        setting.await.map_err(|_| ApplianceError::Died)??;
        let stores = targets.copies.iter().map(|copy| copy.store.clone()).collect();
        self.targets.set_copies(stores);
        let mut begun = Vec::new();
        {
            let mut list = self.copies.list.lock();
            let lead = self.targets.lead();
            let same = |copy: &Arc<Copy>, target: &CopyTarget| {
                copy.target.name == target.name
                    && Arc::ptr_eq(&copy.target.store, &target.store)
                    && Arc::ptr_eq(&copy.lead, &lead)
            };
            list.retain(|copy| {
                let stays = targets.copies.iter().any(|target| same(copy, target));
                if !stays {
                    copy.removed.cancel();
                    self.copies.copying.set(&copy.target.name, &[]);
                }
                stays
            });
            for target in &targets.copies {
                if !list.iter().any(|copy| same(copy, target)) {
                    let copy = Arc::new(Copy::new(target.clone(), lead.clone(), self.now()));
                    list.push(copy.clone());
                    begun.push(copy);
                }
            }
        }
        for copy in begun {
            self.keep_up(copy);
        }
        Ok(())
    }

    /// Brings a copy up to date, again and again.
    fn keep_up(self: &Arc<Self>, copy: Arc<Copy>) {
        let (appliance, stop) = (Arc::downgrade(self), self.stop.clone());
        self.loops.spawn(async move {
            let mut pause = PAUSE_MIN;
            loop {
                let Some(appliance) = appliance.upgrade() else { return };
                let passed = appliance.pass_over(&copy).await;
                drop(appliance);
                let wakes = passed.is_ok();
                // What was overtaken is nearly done.
                let at_once = passed.as_ref().is_ok_and(|report| report.overtaken > 0);
                let wait = match wakes {
                    true if at_once => PAUSE_MIN,
                    true => LOOK_EVERY,
                    false => pause,
                };
                pause = if wakes { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = copy.removed.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                    () = copy.wake.notified(), if wakes => {}
                }
            }
        });
    }

    /// One pass over a copy, by name.
    pub async fn copy_now(&self, name: &str) -> Result<PassReport, ApplianceError> {
        let copy = self.copies.named(name).ok_or_else(|| ApplianceError::NoCopy { target: name.into() })?;
        self.pass_over(&copy).await
    }

    pub(super) async fn pass_over(&self, copy: &Copy) -> Result<PassReport, ApplianceError> {
        let mut mirror = copy.mirror.lock().await;
        let passed = Traffic::Replication.scope(self.try_pass(copy, &mut mirror)).await;
        self.copies.copying.set(&copy.target.name, &[]);
        let mut state = copy.state.lock();
        match &passed {
            Ok(report) => {
                state.failure = None;
                state.last_pass = Some((self.now(), report.clone()));
            }
            Err(ApplianceError::Copy(MirrorError::Cancelled)) => {}
            Err(error) => {
                let text = with_causes(error);
                tracing::warn!(
                    target_name = copy.target.name,
                    error = text,
                    "a copy could not be brought up to date; it will be tried again"
                );
                state.failure = Some((self.now(), text));
            }
        }
        passed
    }

    async fn try_pass(&self, copy: &Copy, mirror: &mut Option<Mirror>) -> Result<PassReport, ApplianceError> {
        let name = copy.target.in_ledger();
        let lead = self.backend.repository.on(copy.lead.clone());
        let is_empty = self.finds_empty(&lead, &copy.target).await?;
        let (ledger, of) = (self.backend.ledger.clone(), name.clone());
        let noting = tokio::task::spawn_blocking(move || {
            // Before anything is there again: a crash in between leaves it as empty as it is.
            if is_empty { ledger.forget_copy(&of) } else { ledger.note_seen(&of) }
        });
        noting.await.map_err(|_| ApplianceError::Died)??;
        if is_empty {
            prepare(&lead, copy.target.store.clone()).await?;
            let (ledger, of) = (self.backend.ledger.clone(), name.clone());
            let noting = tokio::task::spawn_blocking(move || ledger.note_seen(&of));
            noting.await.map_err(|_| ApplianceError::Died)??;
        }
        let mirror = match mirror {
            Some(mirror) => mirror,
            None => mirror.insert(self.open_mirror(copy).await?),
        };
        let (ledger, of) = (self.backend.ledger.clone(), name.clone());
        let owed = tokio::task::spawn_blocking(move || ledger.owed_packs(&of));
        let owed = owed.await.map_err(|_| ApplianceError::Died)??;
        let report = mirror.pass(&Watch { copy, stop: &self.stop }).await?;
        if report.holes.is_empty() {
            // Of every pack it is known that it is there, not only that nothing else was asked for.
            let (there, whole) = (mirror.confirm(&owed).await?, report.is_whole());
            let ledger = self.backend.ledger.clone();
            let settling = tokio::task::spawn_blocking(move || ledger.settle(&name, &there, whole));
            settling.await.map_err(|_| ApplianceError::Died)??;
            self.budget.relief.notify_waiters();
        }
        for share in &report.shares {
            match share.obstacle {
                Some(Obstacle::LedFromCopy { epoch, has_head: true }) => {
                    self.lose_to_copy(&copy.target.name, share.share, epoch).await?;
                }
                Some(Obstacle::LedFromCopy { epoch, has_head: false }) => tracing::error!(
                    target_name = copy.target.name,
                    share = share.name,
                    epoch,
                    "a share is claimed on a copy, and nothing was published there yet: nothing of it is copied"
                ),
                Some(Obstacle::LeadIsOlder) => tracing::error!(
                    target_name = copy.target.name,
                    share = share.name,
                    "the lead shows an older state of a share than the copy has: nothing of it is copied"
                ),
                Some(Obstacle::Unreadable) | None => {}
            }
        }
        if !report.holes.is_empty() {
            tracing::error!(
                target_name = copy.target.name,
                packs = report.holes.len(),
                "packs are missing on the lead: no head is copied until they are there; run `tidegate check`"
            );
        }
        if !report.asleep.is_empty() {
            tracing::error!(
                target_name = copy.target.name,
                packs = report.asleep.len(),
                "packs that the copy lacks sleep on the lead: no head is copied until they are thawed; run `tidegate thaw`"
            );
        }
        Ok(report)
    }

    /// Whether a copy has nothing of the repository, so that it is to be made one. Refuses a folder that has had everything
    /// before: the place that a disk is mounted on looks like that while the disk is not there.
    pub(super) async fn finds_empty(
        &self,
        lead: &Repository<Opened>,
        target: &CopyTarget,
    ) -> Result<bool, ApplianceError> {
        if is_prepared(lead, target.store.clone()).await? {
            return Ok(false);
        }
        let address = target.store.address();
        if address.starts_with(ON_DISK) && self.backend.ledger.owed(&target.in_ledger()).whole_once {
            return Err(ApplianceError::CopyIsGone { target: target.name.clone(), address });
        }
        Ok(true)
    }

    async fn open_mirror(&self, copy: &Copy) -> Result<Mirror, ApplianceError> {
        let target = &copy.target;
        let scratch = self.copies.scratch.join(&copy.target.name);
        let folder = || scratch.display().to_string();
        // What a pass left that a crash ended.
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch)
            .map_err(|source| MirrorError::Scratch { folder: folder(), source })?;
        let lead = Arc::new(self.backend.repository.on(copy.lead.clone()));
        let copy: Repository<Opened> = prepare(&lead, target.store.clone()).await?;
        let host = Host {
            copy: target.name.clone(),
            ledger: self.backend.ledger.clone(),
            copying: self.copies.copying.clone(),
        };
        let options = MirrorOptions { parallel: PARALLEL, scratch, classes: self.classes() };
        Ok(Mirror::new(lead, Arc::new(copy), Arc::new(host), options))
    }

    /// A share is led from a copy. If that is in a higher epoch than here, it is led from here no more.
    async fn lose_to_copy(&self, copy: &str, share: ShareId, epoch: u32) -> Result<(), ApplianceError> {
        let open = self.shares.lock().get(&share).cloned();
        let open = open.or_else(|| self.retiring.lock().get(&share).cloned());
        let Some(open) = open else { return Ok(()) };
        // A commit is under way, or a promotion: the next pass looks again.
        let Ok(mut leadership) = open.leadership.try_lock() else { return Ok(()) };
        let Some(led) = leadership.as_ref() else { return Ok(()) };
        let message = format!("it is led from target {copy:?} in epoch {epoch}");
        if epoch <= led.epoch() {
            tracing::error!(
                share = open.config.name,
                message,
                "a share is led from two targets; this gateway goes on"
            );
            return Ok(());
        }
        tracing::error!(
            share = open.config.name,
            message,
            "another gateway leads this share now: it is read-only here"
        );
        *leadership = None;
        *open.last_error.lock() = Some(message);
        self.end_leading(&open).await
    }

    /// How all copies stand.
    pub fn copies_report(&self) -> Vec<CopyReport> {
        let copies = self.copies.list.lock().clone();
        copies.iter().map(|copy| self.copy_report(copy)).collect()
    }

    fn copy_report(&self, copy: &Copy) -> CopyReport {
        let state = copy.state.lock().clone();
        let owed = self.backend.ledger.owed(&copy.target.in_ledger());
        let behind = match &state.last_pass {
            Some((_, report)) => Some(self.behind(report)),
            None => (state.failure.is_some() && owed.packs > 0).then(|| self.age_of(copy.since)),
        };
        CopyReport {
            name: copy.target.name.clone(),
            owed,
            sent_bytes: copy.sent_bytes.load(Ordering::Relaxed),
            behind,
            ..state
        }
    }

    fn behind(&self, report: &PassReport) -> Duration {
        let shares = self.shares.lock();
        let ages = report.shares.iter().filter_map(|copied| {
            let newest = shares.get(&copied.share)?.newest.lock().as_ref().map(|(name, _)| *name)?;
            let (name, frozen_at) = copied.newest?;
            (name != newest).then(|| self.age_of(frozen_at))
        });
        ages.max().unwrap_or_default()
    }

    fn age_of(&self, at: UtcNanos) -> Duration {
        Duration::from_nanos(self.now().as_nanos().saturating_sub(at.as_nanos()).max(0) as u64)
    }
}

impl Copy {
    fn new(target: CopyTarget, lead: Arc<dyn Store>, since: UtcNanos) -> Self {
        let (mirror, state, sent_bytes) = Default::default();
        Self {
            target,
            lead,
            since,
            mirror,
            state,
            sent_bytes,
            wake: Notify::new(),
            removed: CancellationToken::new(),
        }
    }
}

//! Scrub by the clock: every pack, head and snapshot of each target is read and verified once in a while, packs that are gone
//! are noticed, and what is damaged is healed from what lies here and on the other targets (`tidegate_replicator::scrub`).
//!
//! ```text
//! book.rs    how far it is, what was read today, what is lost: a file, written after each pack
//! copies.rs  local packs, gathered frames and other targets as copies; what the ledger is told
//! follow.rs  rounds over the targets that follow
//! report.rs  what its operator sees
//! ```
//!
//! One turn a minute does what is due by then: a round goes through all packs in order of id, evenly over
//! [`ScrubConfig::every`], and no further on a day than its budgets allow; each target has a round and budgets of its own. All requests are housekeeping. A crash loses
//! at most the pack that was being read. One round or run at a time. What was listed or read while another target came to lead
//! says nothing, and is looked at again.

mod book;
mod copies;
mod follow;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, Location, PackId};
use tidegate_replicator::archive::Scrubbed;
use tidegate_replicator::check;
use tidegate_replicator::collect::{Observer, Silent, VoidPacks};
use tidegate_replicator::repository::{Opened, PackObject, Repository, pack_name};
use tidegate_replicator::scrub::{
    Copies, Examined, Examiner, Inventory, SpoiltObject, Wounds, chunks_named, heal, heal_heads,
    missing_packs,
};
use tidegate_replicator::store::{Classes, Store, Traffic};
use tokio::sync::Notify;

use super::{Appliance, ApplianceError};
use crate::outbound::with_causes;
use book::{Book, LostFrame, Passed};
use copies::LocalCopies;
use follow::OfCopy;

/// How often it is looked what is due.
const TURN_EVERY: Duration = Duration::from_mins(1);
/// Packs that are listed at once.
const LIST_PAGE: usize = 100;

/// When, and how much.
#[derive(Clone, Debug)]
pub struct ScrubConfig {
    /// A round through all packs takes so long; none for no rounds.
    pub every: Option<Duration>,
    /// It is looked so often whether packs are gone.
    pub look_every: Duration,
    /// The most that rounds read on a day from each target, in bytes.
    pub daily_bytes: Option<u64>,
    /// The most requests that rounds make on a day to each target.
    pub daily_requests: Option<u64>,
    /// Whether there are rounds over targets that follow.
    pub copies: bool,
    /// What naming of paths may use of memory, in bytes.
    pub memory_bytes_max: u64,
    /// What is known of storage classes: what sleeps is not read.
    pub classes: Classes,
    /// The folder of the book, and of packs that are put together.
    pub folder: PathBuf,
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubRun {
    /// Packs that were looked at.
    pub packs: u64,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// Packs that are as they were again.
    pub packs_healed: u64,
    /// Chunks that were sealed anew.
    pub chunks_resealed: u64,
    /// Frames that nobody has a copy of.
    pub frames_lost: u64,
}

/// Turns that failed, one after the other.
#[derive(Clone, Debug)]
struct Failing {
    turns: u32,
    /// When the last of them did, in seconds since 1970.
    at: i64,
    message: String,
}

/// See the head of this module.
pub struct Scrubber {
    appliance: Arc<Appliance>,
    config: Mutex<ScrubConfig>,
    book: Mutex<Book>,
    /// What is known of the targets that follow, by name.
    copies: Mutex<BTreeMap<String, OfCopy>>,
    /// Held by whoever reads packs.
    working: tokio::sync::Mutex<()>,
    /// None after a turn that ended well.
    failing: Mutex<Option<Failing>>,
    wake: Notify,
    /// What collections have condemned by the plans of the lead, as far as they were read.
    void: tokio::sync::Mutex<VoidPacks>,
}

/// Why a pack is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It is the next one of a round.
    Round,
    /// It is missing.
    Missing,
    /// Something of it was lost before.
    Again,
}

impl Scrubber {
    /// Goes on where the book says.
    pub fn open(appliance: Arc<Appliance>, config: ScrubConfig) -> Arc<Self> {
        let book = Mutex::new(Book::load(&config.folder));
        let (config, working) = (Mutex::new(config), tokio::sync::Mutex::default());
        let (copies, failing, wake) = Default::default();
        let void = tokio::sync::Mutex::new(appliance.backend.ledger.void());
        let scrubber = Arc::new(Self { appliance, config, book, copies, working, failing, wake, void });
        *scrubber.appliance.scrubber.lock() = Arc::downgrade(&scrubber);
        scrubber
    }

    /// Does what is due from now on, until the appliance is closed.
    pub fn start(self: &Arc<Self>) {
        let (scrubber, stop) = (self.clone(), self.appliance.stop.clone());
        self.appliance.loops.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(TURN_EVERY) => {}
                    () = scrubber.wake.notified() => {}
                }
                let done = tokio::select! {
                    () = stop.cancelled() => return,
                    done = scrubber.turn() => done,
                };
                if let Err(error) = done {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the scrub could not go on; the next turn tries again");
                }
            }
        });
    }

    /// Changes when and how much.
    pub fn set(&self, config: ScrubConfig) {
        *self.config.lock() = config;
        self.wake.notify_one();
    }

    /// What it knows of the packs of a target.
    pub(super) fn scrubbed(&self, target: &str) -> Scrubbed {
        self.book.lock().scrubbed(target)
    }

    /// Does what is due now. Turns that fail are counted until one does not: [`Scrubber::status`] has the last failure.
    pub async fn turn(&self) -> Result<(), ApplianceError> {
        let done = self.do_what_is_due().await;
        let mut failing = self.failing.lock();
        let before = failing.as_ref().map_or(0, |failing| failing.turns);
        *failing = done.as_ref().err().map(|error| Failing {
            turns: before.saturating_add(1),
            at: self.now_seconds(),
            message: with_causes(error),
        });
        drop(failing);
        done
    }

    async fn do_what_is_due(&self) -> Result<(), ApplianceError> {
        let _working = self.working.lock().await;
        let config = self.config.lock().clone();
        let now = self.now_seconds();
        let work = async {
            if self.book.lock().look_is_due(now, &config) {
                self.look_for_missing(&config).await?;
            }
            if config.every.is_some() && self.book.lock().round_is_due(now, &config) {
                self.begin_round(&config).await?;
            }
            if config.every.is_some() && self.book.lock().has_round() {
                let now = || self.now_seconds();
                let due = |book: &mut Book, bytes: u64| book.pack_is_due(now(), bytes, &config);
                self.go_on(&config, &due, &Silent).await?;
            }
            self.go_over_copies(&config, false, &Silent).await?;
            self.settle_lost(&config).await;
            Ok::<(), ApplianceError>(())
        };
        Traffic::Housekeeping.scope(work).await
    }

    /// Looks at every pack now, whatever is due.
    pub async fn run(&self, observer: &dyn Observer) -> Result<ScrubRun, ApplianceError> {
        let _working = self.working.lock().await;
        let config = self.config.lock().clone();
        let work = async {
            self.look_for_missing(&config).await?;
            self.begin_round(&config).await?;
            observer.phase("read packs");
            self.go_on(&config, &|_, _| true, observer).await?;
            observer.phase("read packs of copies");
            self.go_over_copies(&config, true, observer).await?;
            self.settle_lost(&config).await;
            Ok::<_, ApplianceError>(self.book.lock().last_run())
        };
        Traffic::Housekeeping.scope(work).await
    }

    async fn begin_round(&self, config: &ScrubConfig) -> Result<(), ApplianceError> {
        let (lead, repository) = (self.appliance.targets.lead(), &self.appliance.backend.repository);
        let inventory = Inventory::take(repository).await?;
        let spoilt = self.look_at_heads(repository, &lead).await?;
        self.note(config, |book| {
            book.begin_round(self.now_seconds(), inventory, &lead.address());
            book.heads_read(spoilt.as_deref());
        })
    }

    /// Reads all heads and snapshots of the repository as `store` has it, and heals them. None when it cannot be told which
    /// there are.
    async fn look_at_heads(
        &self,
        repository: &Repository<Opened>,
        store: &Arc<dyn Store>,
    ) -> Result<Option<Vec<SpoiltObject>>, ApplianceError> {
        let found = match heal_heads(repository, &self.others(store)).await {
            Ok(found) => found,
            Err(error) if error.is_away() => return Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "heads and snapshots cannot be listed: see `tidegate check`");
                return Ok(None);
            }
        };
        for SpoiltObject { name, why, healed } in &found {
            let (object, address) = (name.as_str(), store.address());
            if *healed {
                tracing::warn!(
                    object,
                    address,
                    why,
                    "it could not be read: put back as another target has it"
                );
            } else {
                tracing::error!(object, address, why, "it cannot be read, nor put back from another target");
            }
        }
        Ok(Some(found))
    }

    /// The stores of all targets but this one.
    fn others(&self, store: &Arc<dyn Store>) -> Vec<Arc<dyn Store>> {
        let all = std::iter::once(self.appliance.targets.lead()).chain(self.appliance.copies.stores());
        all.filter(|other| !Arc::ptr_eq(other, store)).collect()
    }

    /// Goes through packs in order of id for as long as the next one is due.
    async fn go_on(
        &self,
        config: &ScrubConfig,
        due: &(dyn Fn(&mut Book, u64) -> bool + Send + Sync),
        observer: &dyn Observer,
    ) -> Result<(), ApplianceError> {
        let repository = &self.appliance.backend.repository;
        let examiner = Examiner::new(repository.clone());
        'pages: loop {
            let lead = self.appliance.targets.lead();
            let after = self.book.lock().position();
            let (page, more) = repository.list_pack_objects(after, LIST_PAGE).await?;
            let listed: Vec<PackId> = page.iter().map(|pack| pack.id).collect();
            let void = self.condemned(&listed).await?;
            for PackObject { id: pack, bytes, class, .. } in page {
                if observer.is_cancelled() || !due(&mut self.book.lock(), bytes) {
                    return Ok(());
                }
                // What a collection has condemned may go at any time; what sleeps is there, and cannot be read.
                let passed = if void.contains(&pack) {
                    Passed::Condemned
                } else if config.classes.sleeps(class.as_ref()) {
                    Passed::Asleep
                } else {
                    match self.examine(config, &examiner, (pack, Why::Round), &lead).await {
                        Err(ApplianceError::Repository(error)) if error.is_asleep() => Passed::Asleep,
                        Ok(None) => continue 'pages,
                        examined => Passed::Read(examined?.unwrap_or_default()),
                    }
                };
                // What another target has says nothing of this one.
                if !self.leads(&lead) {
                    continue 'pages;
                }
                self.note(config, |book| book.passed(pack, bytes, passed, &lead.address()))?;
                observer.advanced(bytes);
            }
            if !more {
                return self.note(config, |book| book.end_round(self.now_seconds()));
            }
        }
    }

    /// Looks at one pack, and heals it. None when another target has come to lead since `lead` was seen to name it: the pack
    /// may never have been there.
    async fn examine(
        &self,
        config: &ScrubConfig,
        examiner: &Examiner,
        (pack, why): (PackId, Why),
        lead: &Arc<dyn Store>,
    ) -> Result<Option<Examined>, ApplianceError> {
        let mut copies = LocalCopies::new(&self.appliance.backend, self.others(lead), true);
        if why == Why::Again {
            // What could be was sealed anew when it was found damaged.
            copies = copies.without_sealing();
        }
        let (examined, wounds) = examiner.examine(pack, &copies).await?;
        let Some(mut wounds) = wounds else {
            self.note(config, |book| book.is_whole(pack))?;
            return Ok(Some(examined));
        };
        if self.condemned(&[pack]).await?.contains(&pack) {
            // A collection has condemned it since it was listed, and may have deleted it.
            self.note(config, |book| book.is_whole(pack))?;
            return Ok(Some(examined));
        }
        let is_needed = self.look_up(&self.appliance.backend.repository, &mut wounds).await?;
        if !self.leads(lead) {
            return Ok(None);
        }
        let what = if wounds.is_missing { "missing" } else { "damaged" };
        tracing::error!(%pack, frames = wounds.frames.len(), ends = wounds.ends, "a pack on the target is {what}");
        // Where nobody else can have it whole, that its end is damaged takes nothing from anybody: the index names what is in it.
        let is_lost = is_needed && (wounds.is_missing || !copies.elsewhere().is_empty());
        copies.lost(&wounds.chunks()).await;
        let healed = {
            // A copy of the pack into another class that has begun to read what is damaged ends first.
            let _no_copies = self.appliance.heals.write().await;
            heal(examiner, wounds, &copies, &config.folder).await?
        };
        if healed.whole {
            tracing::warn!(%pack, "the pack is on the target again as it was");
        } else if healed.chunks_resealed > 0 {
            tracing::warn!(%pack, chunks = healed.chunks_resealed, "what has a copy was sealed anew");
        }
        self.note(config, |book| {
            book.was_wounded(pack, &healed, self.now_seconds(), why == Why::Round);
            if !is_lost {
                book.drop_lost(|frame| frame.pack == pack && frame.is_of_whole_pack());
            }
        })?;
        Ok(Some(examined))
    }

    /// Of a missing pack of which the ledger knows nothing, the index says what lay in it: what was found to be lost is known here
    /// no more. What somebody has written anew is left out; false when that is all of it.
    async fn look_up(
        &self,
        repository: &Repository<Opened>,
        wounds: &mut Wounds,
    ) -> Result<bool, ApplianceError> {
        if !wounds.is_missing || !wounds.frames.is_empty() {
            return Ok(true);
        }
        let pack = wounds.pack;
        let named = chunks_named(repository, pack).await?;
        let ledger = &self.appliance.backend.ledger;
        let is_anew =
            |chunk: &ChunkId| ledger.find(chunk).ok().flatten().is_some_and(|at: Location| at.pack != pack);
        let needed: Vec<_> = named.iter().copied().filter(|(chunk, _)| !is_anew(chunk)).collect();
        wounds.should_hold(&needed);
        Ok(named.is_empty() || !needed.is_empty())
    }

    /// Those of these packs that a collection has condemned by a plan that is on the lead now: they may go at any time.
    async fn condemned(&self, packs: &[PackId]) -> Result<BTreeSet<PackId>, ApplianceError> {
        let mut void = self.void.lock().await;
        void.refresh(&self.appliance.backend.repository).await?;
        Ok(packs.iter().copied().filter(|pack| void.contains(pack)).collect())
    }

    /// Packs that should be there and are not.
    async fn look_for_missing(&self, config: &ScrubConfig) -> Result<(), ApplianceError> {
        let repository = &self.appliance.backend.repository;
        let examiner = Examiner::new(repository.clone());
        'looks: loop {
            let lead = self.appliance.targets.lead();
            let missing = missing_packs(repository).await?;
            if !self.leads(&lead) {
                continue;
            }
            for pack in &missing {
                if self.examine(config, &examiner, (*pack, Why::Missing), &lead).await?.is_none() {
                    continue 'looks;
                }
            }
            if !self.ask_again(config, &examiner, &missing, &lead).await? {
                continue;
            }
            if !self.book.lock().unreadable.is_empty() {
                let spoilt = self.look_at_heads(repository, &lead).await?;
                self.note(config, |book| book.heads_read(spoilt.as_deref()))?;
            }
            return self.note(config, |book| book.looked(self.now_seconds()));
        }
    }

    /// What was lost may be had from another target by now, which was away perhaps, or is new; or a collection has condemned
    /// it since. Some packs at a time, and none of those that were just looked at. False when another target has come to lead.
    async fn ask_again(
        &self,
        config: &ScrubConfig,
        examiner: &Examiner,
        looked_at: &[PackId],
        lead: &Arc<dyn Store>,
    ) -> Result<bool, ApplianceError> {
        let lost: Vec<PackId> = self.book.lock().lost_packs().into_iter().collect();
        if lost.is_empty() {
            return Ok(true);
        }
        for pack in self.condemned(&lost).await? {
            self.note(config, |book| book.is_whole(pack))?;
        }
        if self.others(lead).is_empty() {
            return Ok(true);
        }
        let again = self.book.lock().ask_again();
        for pack in again.into_iter().filter(|pack| !looked_at.contains(pack)) {
            match self.examine(config, examiner, (pack, Why::Again), lead).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                // It is known to be lost until it can be read.
                Err(ApplianceError::Repository(error)) if error.is_asleep() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn leads(&self, store: &Arc<dyn Store>) -> bool {
        Arc::ptr_eq(store, &self.appliance.targets.lead())
    }

    /// Forgets what somebody has written anew, and names who needs the rest.
    async fn settle_lost(&self, config: &ScrubConfig) {
        let ledger = self.appliance.backend.ledger.clone();
        let is_elsewhere = |frame: &LostFrame| {
            frame.chunks().is_some_and(|chunks| {
                !chunks.is_empty()
                    && chunks.iter().all(|chunk| {
                        let found = ledger.find(chunk).ok().flatten();
                        found.is_some_and(|at| !frame.is_at(&at))
                    })
            })
        };
        let unnamed = {
            let mut book = self.book.lock();
            book.drop_lost(is_elsewhere);
            book.unnamed()
        };
        if !unnamed.is_empty() {
            let damage = unnamed.iter().map(|frame| check::Damage {
                object: pack_name(frame.pack).to_string(),
                what: frame.what(),
                chunks: frame.chunks().unwrap_or_default(),
            });
            let repository = &self.appliance.backend.repository;
            match check::name_users(repository, damage.collect(), config.memory_bytes_max, &Silent).await {
                Ok(report) => self.book.lock().name(&report.findings),
                Err(error) => {
                    tracing::warn!(%error, "what needs the lost data could not be named; the next turn tries again");
                }
            }
        }
        if let Err(error) = self.note(config, |_| ()) {
            tracing::warn!(%error, "the book of the scrub could not be written");
        }
    }

    /// Changes the book, and writes it.
    fn note(&self, config: &ScrubConfig, change: impl FnOnce(&mut Book)) -> Result<(), ApplianceError> {
        let mut book = self.book.lock();
        change(&mut book);
        book.store(&config.folder)
            .map_err(|source| ApplianceError::ScrubBook { folder: config.folder.clone(), source })
    }

    fn now_seconds(&self) -> i64 {
        self.appliance.clock.now().seconds
    }
}

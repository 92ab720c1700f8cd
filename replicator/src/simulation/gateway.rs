//! A gateway of a simulation: its machine, whose disk outlives it, and one life of its process.
//!
//! It is dumb where the real one is fast: a share is a map in memory that an edit changes at once, and that counts as its
//! journal. Everything towards the store is done by the code of this crate, in the order of the real gateway
//! (`gateway/src/commit`, `gateway/src/appliance`): looks at plans, drains, swaps, tree, upload, publication, rebase.
//!
//! What a crash keeps: the share records (the journal), pack files, and of the ledger what was flushed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_chunker::ShareId;

use super::ledger::{Ledger, single};
use super::line::Line;
use super::share::{Contents, Live, nothing};
use super::site::Site;
use super::trouble::{Outcome, Trouble};
use super::world::World;
use crate::collect::VoidPacks;
use crate::mirror::Mirror;
use crate::repository::{
    ClaimOptions, ClaimOutcome, Claimant, Head, HeadName, Leadership, LeadershipNote, Opened, Promotion,
    Repository, RepositoryError, Standing,
};
use crate::store::{RetryPolicy, RetryStore, Store, StoreGroup};
use crate::tree::Root;

/// Longer than a put and a listing take together, unless they are late.
const SETTLE: Duration = Duration::from_secs(2);
const RETRIES: RetryPolicy = RetryPolicy {
    attempts_max: 3,
    delay_first: Duration::from_millis(20),
    delay_max: Duration::from_millis(200),
    retry_percent_max: 100,
};

/// What the live map of a share stands on.
#[derive(Clone)]
pub(super) struct Base {
    pub(super) root: Root,
    pub(super) contents: Arc<Contents>,
    pub(super) head: Option<HeadName>,
    /// Whether that head has that root.
    pub(super) published: bool,
}

/// What a machine knows of a share.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) live: Live,
    pub(super) base: Base,
    pub(super) note: Option<LeadershipNote>,
}

impl Record {
    /// A share without anything in it.
    pub(super) fn empty() -> Self {
        let base = Base { root: Root::EMPTY, contents: nothing(), head: None, published: false };
        Self { live: Live::default(), base, note: None }
    }
}

/// What its operator has set.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The site that leads.
    pub(super) lead: usize,
    pub(super) copies: Vec<usize>,
    /// How many sites must have what is evicted.
    pub(super) required: usize,
    /// Whether calls are tried again.
    pub(super) retries: bool,
}

/// A machine: what outlives a process.
pub(super) struct Machine {
    pub(super) who: usize,
    pub(super) world: Arc<World>,
    pub(super) sites: Vec<Arc<Site>>,
    pub(super) settings: Mutex<Settings>,
    pub(super) folder: tempfile::TempDir,
    pub(super) ledger: Arc<Ledger>,
    pub(super) records: Mutex<BTreeMap<ShareId, Record>>,
    /// The site that its claims are on.
    pub(super) lead: Mutex<Option<usize>>,
}

/// A share that a process has open.
pub(super) struct OpenShare {
    pub(super) id: ShareId,
    /// Held through a commit.
    pub(super) leadership: tokio::sync::Mutex<Option<Leadership>>,
    pub(super) newest: Mutex<Option<(HeadName, Head)>>,
}

/// One life of a process.
pub(super) struct Gateway {
    pub(super) machine: Arc<Machine>,
    pub(super) world: Arc<World>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) lines: Vec<Arc<dyn Store>>,
    pub(super) group: Arc<StoreGroup>,
    pub(super) repository: Arc<Repository<Opened>>,
    /// Reads packs from whoever has them.
    pub(super) readers: Arc<Repository<Opened>>,
    pub(super) shares: Mutex<BTreeMap<ShareId, Arc<OpenShare>>>,
    /// Heads that are being copied, by site.
    pub(super) copying: Arc<Mutex<BTreeMap<usize, Vec<(ShareId, HeadName)>>>>,
    pub(super) plans: tokio::sync::Mutex<VoidPacks>,
    pub(super) uploading: tokio::sync::Mutex<()>,
    /// Held while shares come or go, or another site comes to lead.
    pub(super) changing: tokio::sync::Mutex<()>,
    pub(super) mirrors: Vec<tokio::sync::Mutex<Option<Mirror>>>,
}

impl Machine {
    pub(super) fn new(world: &Arc<World>, sites: &[Arc<Site>], who: usize, settings: Settings) -> Arc<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("tidegate-simulation");
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
        let folder = folder.expect("a temporary folder");
        let packs = folder.path().join("packs");
        for part in ["packs", "scratch"] {
            std::fs::create_dir(folder.path().join(part)).expect("room");
        }
        Arc::new(Self {
            who,
            world: world.clone(),
            sites: sites.to_vec(),
            settings: Mutex::new(settings),
            folder,
            ledger: Ledger::new(world.clone(), packs),
            records: Mutex::default(),
            lead: Mutex::default(),
        })
    }

    pub(super) fn record(&self, share: ShareId) -> Outcome<Record> {
        self.records.lock().get(&share).cloned().ok_or_else(|| Trouble::new("no such share here"))
    }

    /// The shares that it knows itself to lead.
    pub(super) fn led(&self) -> Vec<ShareId> {
        let records = self.records.lock();
        records.iter().filter(|(_, record)| record.note.is_some()).map(|(share, _)| *share).collect()
    }

    pub(super) fn scratch(&self) -> std::path::PathBuf {
        self.folder.path().join("scratch")
    }
}

impl Gateway {
    /// Starts a process on what the machine has.
    pub(super) async fn start(machine: &Arc<Machine>) -> Outcome<Arc<Self>> {
        let (world, settings) = (machine.world.clone(), machine.settings.lock().clone());
        let line = |site: &Arc<Site>| {
            let line = Line::new(world.clone(), site.clone(), machine.who);
            if settings.retries { Arc::new(RetryStore::new(line, RETRIES)) as Arc<dyn Store> } else { line }
        };
        let lines: Vec<Arc<dyn Store>> = machine.sites.iter().map(line).collect();
        let group = StoreGroup::new(lines[settings.lead].clone());
        group.set_copies(settings.copies.iter().map(|copy| lines[*copy].clone()).collect());
        let repository = Arc::new(Repository::open(group.clone(), &super::key()).await?);
        machine.ledger.reopen(&single(&repository.domains()))?;
        let gateway = Arc::new(Self {
            machine: machine.clone(),
            world,
            ledger: machine.ledger.clone(),
            readers: Arc::new(repository.on(group.readers())),
            mirrors: lines.iter().map(|_| tokio::sync::Mutex::default()).collect(),
            lines,
            group,
            repository,
            shares: Mutex::default(),
            copying: Arc::default(),
            plans: tokio::sync::Mutex::new(machine.ledger.void()),
            uploading: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        });
        gateway.promote_at_start(&settings).await?;
        gateway.ledger.set_copies(&settings.copies);
        for share in machine.led() {
            gateway.resume(share).await?;
        }
        gateway.learn_index().await?;
        gateway.world.event(&format!("{} runs, and leads {:?}", machine.who, gateway.led()));
        Ok(gateway)
    }

    pub(super) fn who(&self) -> usize {
        self.machine.who
    }

    /// The shares that it leads.
    pub(super) fn led(&self) -> Vec<ShareId> {
        self.shares.lock().keys().copied().collect()
    }

    pub(super) fn open(&self, share: ShareId) -> Outcome<Arc<OpenShare>> {
        self.shares.lock().get(&share).cloned().ok_or_else(|| Trouble::new("the share is not led here"))
    }

    pub(super) fn open_share(&self, share: ShareId, leadership: Leadership) {
        let open = OpenShare { id: share, leadership: Some(leadership).into(), newest: Mutex::default() };
        self.shares.lock().insert(share, Arc::new(open));
    }

    async fn resume(&self, share: ShareId) -> Outcome<()> {
        let Some(note) = self.machine.record(share)?.note.map(LeadershipNote::of_next_life) else {
            return Ok(());
        };
        if let Some(record) = self.machine.records.lock().get_mut(&share) {
            record.note = Some(note.clone());
        }
        match self.repository.resume(&note).await {
            Standing::StillLeading(leadership) | Standing::Unknown { leadership, .. } => {
                self.open_share(share, leadership);
            }
            Standing::Superseded { by } => self.end_leading(share, &by.to_string()),
        }
        Ok(())
    }

    /// Somebody else leads: nothing more is published from here.
    pub(super) fn end_leading(&self, share: ShareId, by: &str) {
        self.world.event(&format!("{} leads {share} no more: {by}", self.who()));
        self.shares.lock().remove(&share);
        if let Some(record) = self.machine.records.lock().get_mut(&share) {
            record.note = None;
        }
    }

    /// What others have stored counts as a duplicate here too.
    async fn learn_index(&self) -> Outcome<()> {
        if self.ledger.index_learned() {
            return Ok(());
        }
        let mut reader = self.repository.index_reader();
        let void = self.ledger.void();
        while let Some((_, object)) = reader.next().await? {
            let good = object.entries().filter(|entry| !void.contains(&entry.location.pack));
            self.ledger.learn_remote(good.map(|entry| (entry.chunk, entry.location)));
        }
        self.ledger.note_index_learned();
        Ok(())
    }

    /// Claims a share on a store.
    pub(super) async fn claim_on(
        &self,
        repository: &Repository<Opened>,
        share: ShareId,
        promotion: Option<Promotion>,
        settle: bool,
    ) -> Outcome<Leadership> {
        let begun = self.world.elapsed();
        let site = self.lines.iter().position(|line| line.address() == repository.store().address());
        let site = site.expect("one of the sites");
        let state = repository.lease(share).await?;
        let claimant = Claimant { host: format!("machine {}", self.who()), instance: "simulated".into() };
        let settle = if settle { SETTLE } else { Duration::ZERO };
        let options = ClaimOptions::new(claimant, self.world.now(), settle)?;
        let options = match promotion {
            Some(promotion) => options.promoting(promotion),
            None => options,
        };
        match repository.claim(&state, &options).await? {
            ClaimOutcome::Leading(leadership) => {
                let epoch = leadership.epoch();
                self.world.event(&format!("{} claimed {share} in epoch {epoch}", self.who()));
                self.world.oracle.lock().claims.push(super::oracle::Claim {
                    share,
                    site,
                    epoch,
                    loses_nothing: false,
                    begun,
                });
                Ok(leadership)
            }
            ClaimOutcome::Lost { to } => Err(Trouble::superseded(to)),
        }
    }

    /// Makes a share.
    pub(super) async fn create(&self, share: ShareId) -> Outcome<()> {
        let _changing = self.changing.lock().await;
        let leadership = self.claim_on(&self.repository, share, None, false).await?;
        self.look_surely().await?;
        let record = Record { note: Some(leadership.note()), ..Record::empty() };
        self.machine.records.lock().insert(share, record);
        self.open_share(share, leadership);
        Ok(())
    }

    /// Takes a share over, at its newest head.
    pub(super) async fn take_over(&self, share: ShareId) -> Outcome<()> {
        let _changing = self.changing.lock().await;
        if self.shares.lock().contains_key(&share) {
            return Ok(());
        }
        // The claim comes before the look at the heads: what appears later is a fork.
        let leadership = self.claim_on(&self.repository, share, None, true).await?;
        self.look_surely().await?;
        let newest =
            self.repository.newest_head(share).await?.ok_or_else(|| Trouble::new("it has no head"))?;
        let contents = self.contents_of(share, newest.name)?;
        let live = contents.live.clone();
        let base = Base { root: newest.head.root, contents, head: Some(newest.name), published: true };
        let record = Record { live, base, note: Some(leadership.note()) };
        self.machine.records.lock().insert(share, record);
        self.open_share(share, leadership);
        self.world.event(&format!("{} took {share} over at {}", self.who(), newest.name));
        Ok(())
    }

    /// What was frozen into a head, by the model.
    pub(super) fn contents_of(&self, share: ShareId, name: HeadName) -> Outcome<Arc<Contents>> {
        let oracle = self.world.oracle.lock();
        let prepared = oracle.prepared.get(&(share, name));
        prepared
            .map(|prepared| prepared.contents.clone())
            .ok_or_else(|| Trouble::new(format!("nobody made {name}")))
    }

    /// An edit, acknowledged at once.
    pub(super) fn edit(&self, share: ShareId, edit: impl FnOnce(&mut Live)) {
        if let Some(record) = self.machine.records.lock().get_mut(&share) {
            edit(&mut record.live);
        }
    }

    /// Takes in which packs are condemned; what is known so far if the store does not say.
    pub(super) async fn look_at_plans(&self) -> Vec<crate::repository::PlanId> {
        let mut void = self.plans.lock().await;
        let refreshed = tokio::time::timeout(Duration::from_secs(5), void.refresh(&self.repository)).await;
        if !matches!(refreshed, Ok(Ok(()))) {
            self.world.event(&format!("{} cannot see which plans there are", self.who()));
        }
        self.take_in(&mut void).await;
        void.open_plans()
    }

    /// The same, where it must not fail.
    pub(super) async fn look_surely(&self) -> Outcome<()> {
        let mut void = self.plans.lock().await;
        match void.refresh(&self.repository).await {
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                return Err(error.into());
            }
            Err(error) => self.world.violation(format!("a plan cannot be read: {error}")),
            Ok(()) => {}
        }
        self.take_in(&mut void).await;
        Ok(())
    }

    async fn take_in(&self, void: &mut VoidPacks) {
        let replacements = void.take_replacements();
        if !replacements.is_empty() {
            let _ = self.repository.learn_epochs().await;
        }
        for pack in replacements {
            if let Ok((_, index)) = self.repository.pack_index(pack).await {
                self.ledger.learn_remote(index.chunks().map(|placed| (placed.id, placed.location)));
            }
        }
        self.ledger.note_void(void);
    }
}

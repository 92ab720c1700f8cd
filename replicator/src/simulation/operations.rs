//! What else a gateway does: snapshots, putting a share back, copies, collection, scrub, new keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_chunker::{ChunkId, Location, PackId, ShareId, UnverifiedFrame};

use super::gateway::{Base, Gateway};
use super::ledger::Ledger;
use super::trouble::{Outcome, Trouble};
use crate::collect::{
    CollectOptions, Observer, PIN_TAG, Progress, Silent, VoidPacks, condemn, finish_open, propose, tidy,
};
use crate::fetch::FrameAt;
use crate::mirror::{Mirror, MirrorHost, MirrorOptions, Obstacle, PassReport, prepare, prepare_or_find};
use crate::repository::{Head, HeadName, NewSnapshot, Opened, Repository, SnapshotId, UtcNanos};
use crate::scrub::{Copies, Examiner, heal, missing_packs};
use crate::store::{Classes, Store, StoreGroup};

/// Packs that are copied at once.
const PARALLEL: usize = 2;
/// How long what is in the bin stays there: longer than any run.
const BIN_TERM: Duration = Duration::from_hours(24 * 365);

/// How to collect.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Collecting {
    pub(super) grace: Duration,
    pub(super) repack: bool,
    pub(super) reseal: bool,
}

/// Stops a collection when another site leads than when it began.
struct Stop {
    group: Arc<StoreGroup>,
    lead: Arc<dyn Store>,
}

impl Observer for Stop {
    fn is_cancelled(&self) -> bool {
        !Arc::ptr_eq(&self.lead, &self.group.lead())
    }
}

/// The machine, as a mirror asks it.
struct Host {
    site: usize,
    ledger: Arc<Ledger>,
    copying: Arc<Mutex<BTreeMap<usize, Vec<(ShareId, HeadName)>>>>,
}

impl MirrorHost for Host {
    fn file(&self, pack: &PackId) -> Option<(PathBuf, u64)> {
        let path = self.ledger.path(pack);
        let bytes = self.ledger.length(pack)?;
        path.exists().then_some((path, bytes))
    }

    fn copying(&self, heads: &[(ShareId, HeadName)]) {
        self.copying.lock().insert(self.site, heads.to_vec());
    }
}

/// Copies for a scrub: whole packs that are here.
struct Here(Arc<Ledger>);

#[async_trait]
impl Copies for Here {
    fn pack_file(&self, pack: &PackId) -> Option<PathBuf> {
        Some(self.0.path(pack)).filter(|path| path.exists())
    }

    async fn frame_copies(&self, _: FrameAt) -> Vec<UnverifiedFrame> {
        Vec::new()
    }

    async fn known_chunks(&self, pack: &PackId) -> Vec<(ChunkId, Location)> {
        self.0.chunks_in(pack)
    }

    async fn lost(&self, chunks: &[(ChunkId, Location)]) {
        self.0.forget_places(chunks);
    }

    async fn found(&self, chunks: &[(ChunkId, Location)]) {
        self.0.learn_remote(chunks.iter().copied());
    }
}

impl Gateway {
    /// Commits, and keeps what was committed.
    pub(super) async fn take_snapshot(&self, share: ShareId) -> Outcome<Option<(HeadName, SnapshotId)>> {
        let (name, head) = self.commit(share).await?;
        let kept =
            self.keep(name, &head, NewSnapshot { label: "kept".into(), ..NewSnapshot::default() }).await?;
        if let Some(id) = kept {
            self.world.event(&format!("{} keeps {name} of {share} as {id}", self.who()));
            self.world.oracle.lock().kept.insert((share, id));
        }
        Ok(kept.map(|id| (name, id)))
    }

    async fn keep(&self, name: HeadName, head: &Head, new: NewSnapshot) -> Outcome<Option<SnapshotId>> {
        let share = head.share.id;
        let id = self.repository.create_snapshot((name, head), new, self.world.now()).await?;
        // Only if the head is still there it was retained by one or the other all the time.
        if let Err(error) = self.repository.read_head(share, &name).await {
            self.repository.remove_snapshot(share, id).await?;
            return if error.is_missing() { Ok(None) } else { Err(error.into()) };
        }
        self.repository.read_snapshot(share, id).await?;
        Ok(Some(id))
    }

    /// Removes a snapshot, whoever took it.
    pub(super) async fn remove_snapshot(&self, share: ShareId) -> Outcome<()> {
        let ids = self.repository.snapshot_ids(share).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.world.below(ids.len() as u64) as usize];
        self.world.event(&format!("{} removes snapshot {id} of {share}", self.who()));
        self.world.oracle.lock().removed.insert((share, id));
        Ok(self.repository.remove_snapshot(share, id).await?)
    }

    /// Puts a snapshot into the bin.
    pub(super) async fn bin(&self, share: ShareId, id: SnapshotId) -> Outcome<Option<SnapshotId>> {
        self.world.oracle.lock().removed.insert((share, id));
        let now = self.world.now();
        let until = UtcNanos::new(now.as_nanos() + BIN_TERM.as_nanos() as i64);
        let inside = self.repository.bin_snapshot(share, id, now, until).await?;
        self.world.oracle.lock().kept.extend(inside.map(|id| (share, id)));
        Ok(inside)
    }

    /// Brings one back.
    pub(super) async fn unbin(&self, share: ShareId, id: SnapshotId) -> Outcome<Option<SnapshotId>> {
        self.world.oracle.lock().removed.insert((share, id));
        let back = self.repository.unbin_snapshot(share, id, None, self.world.now()).await?;
        self.world.oracle.lock().kept.extend(back.map(|id| (share, id)));
        Ok(back)
    }

    /// Puts a share back to one of its snapshots.
    pub(super) async fn roll_back(&self, share: ShareId) -> Outcome<()> {
        let ids = self.repository.snapshot_ids(share).await?;
        if ids.is_empty() {
            return Ok(());
        }
        let id = ids[self.world.below(ids.len() as u64) as usize];
        let to = self.repository.read_snapshot(share, id).await?;
        let tags = BTreeMap::from([(PIN_TAG.to_owned(), "a rollback".to_owned())]);
        let pin = NewSnapshot { label: "held".into(), policy: None, tags };
        self.repository.create_snapshot((to.head_name, &to.head), pin, self.world.now()).await?;
        // Still there, so it was never without a keeper.
        let to = self.repository.read_snapshot(share, id).await?;
        let Some((newest, _)) = self.take_snapshot(share).await? else { return Ok(()) };
        let _changing = self.changing.lock().await;
        let open = self.open(share)?;
        let leadership = open.leadership.lock().await;
        let contents = self.contents_of(share, to.head_name)?;
        if let Some(record) = self.machine.records.lock().get_mut(&share)
            && record.base.head == Some(newest)
        {
            self.world.event(&format!("{} puts {share} back to {}", self.who(), to.head_name));
            record.live.put_back_to(&contents.live);
            record.base = Base { root: to.head.root, contents, head: Some(newest), published: false };
        }
        drop(leadership);
        Ok(())
    }

    /// One round of collection on the store that leads.
    pub(super) async fn collect(&self, how: Collecting) -> Outcome<()> {
        let lead = self.group.lead();
        let repository = Arc::new(self.repository.on(lead.clone()));
        let stop = Stop { group: self.group.clone(), lead };
        let rounds = finish_open(&repository, &self.collecting(how), &stop).await?;
        if rounds.iter().any(|round| matches!(round.progress, Progress::Waiting(_))) {
            return Ok(());
        }
        let proposal = propose(&repository, &self.collecting(how), &stop).await?;
        tidy(&repository, &proposal).await?;
        if let Some(plan) = condemn(&repository, proposal, &self.collecting(how), &stop).await? {
            self.world.event(&format!("{} has condemned packs by plan {plan}", self.who()));
        }
        Ok(())
    }

    pub(super) fn collecting(&self, how: Collecting) -> CollectOptions {
        CollectOptions {
            grace: how.grace,
            delete_percent_max: 100,
            repack_below_percent: if how.repack { 60 } else { 0 },
            reseal: how.reseal,
            memory_bytes_max: 1 << 20,
            ..CollectOptions::new(self.world.now(), self.machine.scratch())
        }
    }

    /// Brings a copy up to date.
    pub(super) async fn pass_over(&self, copy: usize) -> Outcome<PassReport> {
        let mut mirror = self.mirrors[copy].lock().await;
        let passed = self.try_pass(copy, &mut mirror).await;
        self.copying.lock().remove(&copy);
        passed
    }

    async fn try_pass(&self, copy: usize, mirror: &mut Option<Mirror>) -> Outcome<PassReport> {
        let lead = Arc::new(self.repository.on(self.group.lead()));
        if Arc::ptr_eq(lead.store(), &self.lines[copy]) {
            return Err(Trouble::new("it leads by now"));
        }
        let was_empty = prepare_or_find(&lead, self.lines[copy].clone()).await?;
        if was_empty {
            self.ledger.forget_copy(copy);
        }
        if mirror.is_none() {
            *mirror = Some(self.open_mirror(&lead, copy).await?);
        }
        let mirror = mirror.as_mut().ok_or_else(|| Trouble::new("no mirror"))?;
        let owed = self.ledger.owed(copy);
        let report = mirror.pass(&Silent).await?;
        self.world.event(&format!("{} made a pass over site {copy}: {}", self.who(), said(&report)));
        if !report.holes.is_empty() || !report.damaged.is_empty() {
            self.world.violation(format!("holes {:?}, damaged {:?}", report.holes, report.damaged));
        }
        if report.holes.is_empty() {
            let there = mirror.confirm(&owed).await?;
            self.ledger.settle(copy, &there, report.is_whole());
        }
        for share in &report.shares {
            if let Some(Obstacle::LedFromCopy { epoch, has_head: true }) = share.obstacle {
                self.lose_to_copy(share.share, epoch);
            }
        }
        Ok(report)
    }

    async fn open_mirror(&self, lead: &Arc<Repository<Opened>>, copy: usize) -> Outcome<Mirror> {
        let repository = prepare(lead, self.lines[copy].clone()).await?;
        let host = Host { site: copy, ledger: self.ledger.clone(), copying: self.copying.clone() };
        let options = MirrorOptions {
            parallel: PARALLEL,
            scratch: self.machine.scratch(),
            classes: Classes::default(),
        };
        Ok(Mirror::new(lead.clone(), Arc::new(repository), Arc::new(host), options))
    }

    /// A share is led from a copy, in this epoch.
    fn lose_to_copy(&self, share: ShareId, epoch: u32) {
        let Ok(open) = self.open(share) else { return };
        let Ok(mut leadership) = open.leadership.try_lock() else { return };
        if leadership.as_ref().is_some_and(|led| epoch > led.epoch()) {
            *leadership = None;
            self.end_leading(share, &format!("a claim of epoch {epoch} on a copy"));
        }
    }

    /// Looks at every pack, and heals what is not as it was.
    pub(super) async fn scrub(&self) -> Outcome<u64> {
        // From the first look to the last on one store.
        let repository = Arc::new(self.repository.on(self.group.lead()));
        let examiner = Examiner::new(repository.clone());
        let copies = Here(self.ledger.clone());
        let missing = missing_packs(&repository).await?;
        let (packs, _) = repository.list_packs(None, 1000).await?;
        let mut void = VoidPacks::default();
        void.refresh(&repository).await?;
        let mut healed = 0;
        let wanted: BTreeSet<PackId> =
            packs.into_iter().filter(|pack| !void.contains(pack)).chain(missing).collect();
        for pack in wanted {
            let (_, wounds) = examiner.examine(pack, &copies).await?;
            let Some(wounds) = wounds else { continue };
            void.refresh(&repository).await?;
            if void.contains(&pack) {
                continue;
            }
            self.world.event(&format!("{} finds pack {pack} damaged", self.who()));
            copies.lost(&wounds.chunks()).await;
            if heal(&examiner, wounds, &copies, &self.machine.scratch()).await?.whole {
                healed += 1;
            } else {
                self.world.violation(format!("pack {pack} is damaged, and cannot be healed"));
            }
        }
        Ok(healed)
    }
}

fn said(report: &PassReport) -> String {
    let obstacles: Vec<_> = report.shares.iter().filter_map(|share| share.obstacle).collect();
    format!(
        "{} packs, {} objects, {} removed, {} deleted, {} strangers, {} overtaken, {obstacles:?}",
        report.packs,
        report.objects,
        report.removed,
        report.deleted_packs,
        report.strangers,
        report.overtaken
    )
}

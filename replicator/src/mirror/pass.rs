//! One pass over everything that a copy lacks. The order of steps, and why, is in the head of `mirror`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use tidegate_chunker::{ObjectKind, PackId, ShareId};
use tokio::time::Instant;

use super::deleted::Plans;
use super::lines::{Line, Obstacle};
use super::objects::copy_control;
use super::packs::CarriedPacks;
use super::{Mirror, MirrorError};
use crate::observer::Observer;
use crate::repository::envelope::fetch;
use crate::repository::{HeadName, ListedClaim, PlanId, SnapshotId, UtcNanos, pack_name};
use crate::store::{Body, ErrorKind, ObjectName, PutMode};

/// Greatest length of a claim, in bytes.
const CLAIM_BYTES_MAX: u64 = 16 << 10;
/// How long before a promotion, or before the newest head of the lead, a snapshot may have been taken that the lead never
/// had: clocks differ.
const SNAPSHOT_SKEW: Duration = Duration::from_hours(1);

/// How often packs that were held on the copy are tried again.
const HELD_LOOK_EVERY: Duration = Duration::from_hours(1);

/// What of a plan cannot go from the copy yet.
#[derive(Debug)]
pub(super) struct StillHeld {
    /// When it is tried again.
    until: Instant,
    pub(super) packs: Vec<PackId>,
}

/// How far the copy of one share has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedShare {
    /// Which share.
    pub share: ShareId,
    /// What it is called, if it has a head.
    pub name: Option<String>,
    /// The newest head on the copy, and when what it holds was frozen; none if that is not known.
    pub newest: Option<(HeadName, UtcNanos)>,
    /// Why it does not come further.
    pub obstacle: Option<Obstacle>,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassReport {
    /// Packs that were sent.
    pub packs: u64,
    /// Their length in bytes.
    pub bytes: u64,
    /// Other objects that were copied.
    pub objects: u64,
    /// Heads and snapshots that were removed from the copy.
    pub removed: u64,
    /// Packs that were deleted from the copy, as a collection had from the lead.
    pub deleted_packs: u64,
    /// Packs that are nowhere although heads may need them: as long as there are any, no head is copied.
    pub holes: Vec<PackId>,
    /// Packs that sleep on the lead, so that they cannot be copied before they are thawed: as long as there are any, no head
    /// is copied.
    pub asleep: Vec<PackId>,
    /// Objects of the lead that do not open, and were not copied.
    pub damaged: Vec<String>,
    /// Heads and snapshots on the copy that the lead has not: what they reach is not deleted.
    pub strangers: u64,
    /// Shares whose newest head was removed from the lead before it could be copied: a pass right now is shorter.
    pub overtaken: u64,
    /// All shares.
    pub shares: Vec<CopiedShare>,
}

impl PassReport {
    /// Whether the copy has everything now that the lead had when the pass began.
    pub fn is_whole(&self) -> bool {
        self.holes.is_empty()
            && self.asleep.is_empty()
            && self.overtaken == 0
            && self.damaged.is_empty()
            && self.shares.iter().all(|share| share.obstacle.is_none())
    }
}

impl Mirror {
    /// Copies what the copy lacks. May be repeated after an error or a crash, and by several gateways at once.
    pub async fn pass(&mut self, observer: &dyn Observer) -> Result<PassReport, MirrorError> {
        let mut report = PassReport::default();
        self.held.clear();
        self.domains.clear();
        let indexed = self.index_of_copy().await?;
        let outcomes = self.lead.plans().await?.into_iter().filter(|plan| !plan.open).map(|plan| plan.id);
        let outcomes: Vec<PlanId> = outcomes.collect();
        let lines = self.look_at_lines().await?;
        for line in &lines {
            self.seen.extend(line.lead.snapshots.iter().map(|id| (line.share, *id)));
        }
        let newest = |line: &Line| line.newest.as_ref().map(|(name, _)| (line.share, *name));
        self.host.copying(&lines.iter().filter_map(newest).collect::<Vec<_>>());
        let is_sound = lines.iter().all(|line| matches!(line.obstacle, None | Some(Obstacle::Unreadable)));
        report.objects += self.copy_domains().await?;
        self.copy_shreddings(&mut report).await?;
        let before = Plans::look(&self.copy).await?;
        if is_sound {
            report.objects += self.copy_slots().await? + self.copy_plans(&before).await?;
        }
        let index = self.copy_index(&indexed, &mut report, observer).await?;
        let without_lines = report.objects;
        let mut may_delete = report.holes.is_empty() && report.asleep.is_empty();
        for line in &lines {
            checkpoint(observer)?;
            let copied = self.copy_line(line, &mut report).await?;
            may_delete &= copied.obstacle.is_none();
            report.shares.push(copied);
        }
        let may_lack = report.objects > without_lines && before.has_open();
        if may_lack || !self.watched.is_empty() {
            self.bring_back(&before, &mut report, observer).await?;
            may_delete &= report.holes.is_empty() && report.asleep.is_empty();
        }
        if may_delete && report.strangers == 0 && report.overtaken == 0 {
            for plan in outcomes {
                checkpoint(observer)?;
                if self.still_held.get(&plan).is_none_or(|held| held.until <= Instant::now()) {
                    self.carry_out(plan, &mut report).await?;
                }
            }
            match Box::pin(self.drop_gone(index, observer)).await {
                Err(error @ MirrorError::Cancelled) => return Err(error),
                // The copy has everything; what it has too much goes by a later pass.
                Err(error) => {
                    tracing::warn!(%error, "index objects that the lead has no more stay on a copy for now");
                }
                Ok(()) => {}
            }
        }
        Ok(report)
    }

    /// Whether all of these packs are on the copy now.
    pub(super) async fn carry(
        &mut self,
        packs: BTreeSet<PackId>,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<bool, MirrorError> {
        let CarriedPacks { sent, bytes, nowhere, asleep } =
            self.carry_packs(packs.into_iter(), observer).await?;
        report.packs += sent;
        report.bytes += bytes;
        let is_whole = nowhere.is_empty() && asleep.is_empty();
        report.holes.extend(nowhere);
        report.asleep.extend(asleep);
        Ok(is_whole)
    }

    /// Claims, snapshots and heads of a share; then those go that the lead has removed.
    async fn copy_line(&mut self, line: &Line, report: &mut PassReport) -> Result<CopiedShare, MirrorError> {
        let name = line.newest.as_ref().map(|(_, head)| head.share.name.clone());
        let newest = line.newest.as_ref().map(|(name, head)| (*name, head.frozen_at));
        let copied = |newest, obstacle| CopiedShare { share: line.share, name, newest, obstacle };
        if let Some(obstacle) = line.obstacle {
            return Ok(copied(None, Some(obstacle)));
        }
        if !report.holes.is_empty() || !report.asleep.is_empty() {
            // Not everything is there that a head may reach.
            let known = newest.filter(|(name, _)| line.copy.newest() == Some(*name));
            return Ok(copied(known, None));
        }
        for claim in line.claims_coming() {
            if !self.bring_claim(line, claim, report).await? {
                let (epoch, has_head) = (claim.epoch, false);
                return Ok(copied(None, Some(Obstacle::LedFromCopy { epoch, has_head })));
            }
        }
        let (coming, going) = line.snapshots();
        let mut all_came = true;
        for id in coming {
            all_came &= self.bring(ObjectKind::Snapshot, &id.object(line.share), report).await?;
        }
        let mut has_newest = newest.is_none_or(|(newest, _)| line.copy.heads.contains(&newest));
        for name in line.coming() {
            let brought = self.bring(ObjectKind::Head, &name.object(line.share), report).await?;
            has_newest |= brought && newest.is_some_and(|(newest, _)| newest == name);
        }
        if !has_newest {
            report.overtaken += 1;
            return Ok(copied(None, None));
        }
        let (promotions, promoted_at) = self.promotions(line).await?;
        // Where another gateway leads the share from the copy, a snapshot that it has just taken is not here yet. A head
        // comes here only after the snapshots that were there before it.
        let published_at = line.newest.as_ref().map(|(_, head)| head.published_at);
        let is_told = |id: &SnapshotId| {
            let is_before = |time| id.is_before(time, SNAPSHOT_SKEW);
            published_at.is_some_and(is_before) && promoted_at.is_none_or(is_before)
        };
        let (mut going, unknown): (Vec<_>, Vec<_>) =
            going.into_iter().partition(|id| is_told(id) || self.seen.contains(&(line.share, *id)));
        if !all_came {
            // One that goes may be kept by one that comes (the bin): then only by that.
            going.clear();
        }
        let heads_going = line.going(&promotions);
        for name in &heads_going {
            self.copy.remove_head(line.share, name).await?;
        }
        for id in &going {
            self.copy.remove_snapshot(line.share, *id).await?;
        }
        report.removed += (heads_going.len() + going.len()) as u64;
        let strange = |name: &&HeadName| !line.lead.heads.contains(name) && !heads_going.contains(name);
        report.strangers += line.copy.heads.iter().filter(strange).count() as u64 + unknown.len() as u64;
        Ok(copied(newest, None))
    }

    /// Copies a claim, unless somebody has claimed the share on the copy meanwhile: tells whether nobody has.
    ///
    /// Two stores may name claims differently, and a claim of the same epoch then stands beside ours. Whoever claims lists
    /// after he has stored his claim, and so does this: at least one of both sees the other.
    async fn bring_claim(
        &self,
        line: &Line,
        claim: &ListedClaim,
        report: &mut PassReport,
    ) -> Result<bool, MirrorError> {
        let sound = self.lead.sound_control(ObjectKind::Lease, &claim.object, CLAIM_BYTES_MAX).await;
        let bytes = match sound.map_err(MirrorError::from) {
            Ok(bytes) => bytes,
            Err(error) if error.is_missing() => return Ok(true),
            Err(error) if error.is_of_one_object() => {
                report.damaged.push(error.to_string());
                return Ok(true);
            }
            Err(error) => return Err(error),
        };
        let store = self.copy.store();
        match store.put(&claim.object, Body::Bytes(bytes.clone()), PutMode::CreateNew).await {
            Ok(()) => report.objects += 1,
            Err(error) if error.kind() == ErrorKind::Exists => {
                if fetch(&**store, &claim.object, CLAIM_BYTES_MAX).await? != bytes {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error.into()),
        }
        let there = self.copy.claims(line.share).await?;
        if line.is_led_beside(&there, claim.epoch) {
            // Beside theirs, heads of the lead would be taken for theirs.
            store.delete(&claim.object).await?;
        }
        // Below theirs it stays: another pass may have brought heads under it before they claimed.
        Ok(!line.is_led_from_copy(&there, claim.epoch))
    }

    /// Copies an object that may have gone from the lead meanwhile; tells whether it is on the copy now.
    pub(super) async fn bring(
        &self,
        kind: ObjectKind,
        name: &ObjectName,
        report: &mut PassReport,
    ) -> Result<bool, MirrorError> {
        match copy_control(&self.lead, &self.copy, kind, name).await {
            Ok(()) => {
                report.objects += 1;
                Ok(true)
            }
            Err(error) if error.is_missing() => Ok(false),
            Err(error) if error.is_of_one_object() => {
                report.damaged.push(error.to_string());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes from the copy what a collection has deleted from the lead, and writes down that it is done.
    async fn carry_out(&mut self, plan: PlanId, report: &mut PassReport) -> Result<(), MirrorError> {
        if self.copy.read_outcome(plan).await?.is_some() {
            return Ok(());
        }
        let Some(outcome) = self.lead.read_outcome(plan).await? else { return Ok(()) };
        let mut still_held = Vec::new();
        for pack in self.lead.read_plan(plan).await?.condemned {
            if outcome.spared.binary_search(&pack).is_ok() {
                continue;
            }
            // It came back to the lead after the collection, with something from another store that reaches it.
            if self.lead.pack_modified(pack).await?.is_some() {
                continue;
            }
            if self.is_paid_for(pack).await? {
                still_held.push(pack);
                continue;
            }
            match self.copy.delete_pack(pack).await {
                Ok(()) => {
                    report.deleted_packs += 1;
                    self.held.forget(&[pack]);
                }
                Err(error) if error.is_held() => still_held.push(pack),
                Err(error) => return Err(error.into()),
            }
        }
        if !still_held.is_empty() {
            // Those that are locked there, or paid for in any case, go by a later pass; until then the plan stays open there.
            let held = StillHeld { until: Instant::now() + HELD_LOOK_EVERY, packs: still_held };
            self.still_held.insert(plan, held);
            return Ok(());
        }
        self.still_held.remove(&plan);
        copy_control(&self.lead, &self.copy, ObjectKind::Plan, &plan.outcome_object()).await?;
        report.objects += 1;
        Ok(())
    }
}

impl Mirror {
    /// Whether the storage class that a pack has on the copy charges for it until later anyway. Not asked for where nothing
    /// is ever put to sleep.
    async fn is_paid_for(&self, pack: PackId) -> Result<bool, MirrorError> {
        if self.options.classes.is_empty() {
            return Ok(false);
        }
        match self.copy.store().head(&pack_name(pack)).await {
            Ok(info) => {
                let (now, classes) = (SystemTime::now(), &self.options.classes);
                Ok(classes.kept_until(info.class.as_ref(), info.modified, now).is_some())
            }
            Err(error) if error.kind() == ErrorKind::Missing => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// Ends the pass if it is to be stopped.
pub(super) fn checkpoint(observer: &dyn Observer) -> Result<(), MirrorError> {
    if observer.is_cancelled() { Err(MirrorError::Cancelled) } else { Ok(()) }
}

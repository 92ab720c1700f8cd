//! The targets of a running gateway: opened as the settings say, changed and promoted while it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_replicator::mirror::{Obstacle, PassReport, prepare};
use tidegate_replicator::repository::{HeadName, RepositoryError, UtcNanos};
use tidegate_replicator::store::{Link, OpenStore, RequestCounts, Store, StoreGroup, StoreHealth};

use super::overview::{age_seconds, timestamp};
use super::running::Running;
use super::spent::Charged;
use super::{
    AssemblyError, check_lock, contact_store, open_store, open_store_late, probe_target, refuse_unlockable,
};
use crate::appliance::{Appliance, CopyReport, CopyTarget, LockReport, Targets};
use crate::bandwidth::Links;
use crate::control::{
    ControlError, ErrorKind, JobHandle, LockStatus, PromoteReport, PromoteRequest, StoreFailure, TargetHead,
    TargetStatus, Unit,
};
use crate::settings::{Settings, Target};

/// How many passes a promotion makes before it lets nothing more be published: each leaves less to do.
const PASSES: u32 = 2;

/// The way to the store of a target.
#[derive(Clone)]
pub(super) struct Way {
    /// Whether it answers.
    health: Arc<StoreHealth>,
    /// How fast.
    pub(super) link: Arc<Link>,
    /// How much was asked of it.
    counts: Arc<RequestCounts>,
    /// What that cost.
    charged: Arc<Charged>,
}

/// The ways to all targets, by their names.
pub(super) type Ways = BTreeMap<String, Way>;

impl Way {
    pub(super) fn of(opened: &OpenStore) -> Self {
        let (health, link, counts) = (opened.health.clone(), opened.link.clone(), opened.counts.clone());
        Self { health, link, counts, charged: Arc::default() }
    }
}

/// The targets of the settings, of which `lead` is the store of the one that leads; and the ways to all others.
/// A copy that is not there keeps nobody from being served: it is opened when it comes.
pub(super) fn open_targets(settings: &Settings, lead: Arc<dyn Store>) -> (Targets, Ways) {
    let (mut copies, mut ways) = (Vec::new(), Ways::new());
    for target in settings.copies() {
        let opened = open_store_late(target);
        ways.insert(target.name.as_str().to_owned(), Way::of(&opened));
        copies.push(CopyTarget { name: target.name.as_str().to_owned(), store: opened.store });
    }
    let targets = Targets {
        group: StoreGroup::new(lead),
        lead: settings.lead().name.as_str().to_owned(),
        copies,
        required: settings.repository.required as usize,
    };
    (targets, ways)
}

/// Opens the store of the target that is to lead, with what it really does.
async fn open_lead(target: &Target) -> Result<OpenStore, AssemblyError> {
    let probed = probe_target(target).await.map_err(AssemblyError::at(target))?;
    refuse_unlockable(target, &probed)?;
    open_store(target, Some(&probed)).await
}

impl Running {
    /// Takes over changed targets. A new one that holds something else, or refuses, is refused; one that does not
    /// answer now is tried again later.
    pub(super) async fn apply_targets(
        &self,
        before: &Settings,
        after: &Settings,
    ) -> Result<(), ControlError> {
        let is_led_from = |settings: &Settings| settings.lead().name.as_str().to_owned();
        let same = before.targets == after.targets
            && before.repository.required == after.repository.required
            && is_led_from(before) == is_led_from(after);
        if same {
            return Ok(());
        }
        self.refuse_in_drill()?;
        let repository = self.appliance().repository();
        for target in after.copies().filter(|target| before.target(target.name.as_str()) != Some(*target)) {
            check_lock(target).await.map_err(AssemblyError::at(target))?;
            let store = contact_store(target).await?.store;
            match prepare(repository, store).await {
                Ok(_) => {}
                Err(tidegate_replicator::mirror::MirrorError::Repository(
                    error @ RepositoryError::Store(_),
                )) if error.is_transient() => {
                    tracing::warn!(target_name = target.name.as_str(), %error, "a new target does not answer yet");
                }
                Err(error) => return Err(AssemblyError::at(target)(error).into()),
            }
        }
        let lead = self.appliance().lead_store();
        if is_led_from(before) == is_led_from(after) {
            let (targets, ways) = open_targets(after, lead);
            self.appliance().set_copies(&targets).await?;
            self.overview().know_ways(after, ways);
            return Ok(());
        }
        let promoted = open_lead(after.lead()).await?;
        let way = Way::of(&promoted);
        let (targets, mut ways) = open_targets(after, lead);
        let lost = self.lead_is_lost.load(Ordering::Relaxed);
        self.appliance().promote(&targets, promoted.store, lost).await?;
        ways.insert(targets.lead.clone(), way);
        self.overview().know_ways(after, ways);
        Ok(())
    }

    /// See [`crate::control::Control::target_promote`].
    pub(super) async fn promote(
        &self,
        settings: &Settings,
        name: &str,
        request: &PromoteRequest,
        job: &JobHandle,
    ) -> Result<PromoteReport, ControlError> {
        let led_before = settings.lead().name.as_str().to_owned();
        if settings.target(name).is_none() {
            let error = ControlError::new(ErrorKind::NotFound, format!("there is no target {name:?}"));
            return Err(error.todo("`tidegate target list` shows all targets"));
        }
        if led_before == name {
            return Err(ControlError::new(ErrorKind::Invalid, format!("target {name:?} leads already")));
        }
        if !request.lead_is_lost {
            self.bring_up_to_date(name, job).await?;
        }
        job.phase("move the right to publish", None, Unit::Items);
        let changer = self.changer()?;
        self.lead_is_lost.store(request.lead_is_lost, Ordering::Relaxed);
        let moved = changer.set_lead(name).await;
        self.lead_is_lost.store(false, Ordering::Relaxed);
        moved?;
        Ok(PromoteReport { lead: name.to_owned(), led_before })
    }

    /// While clients write: so that there is little left to do when nothing may be published.
    async fn bring_up_to_date(&self, name: &str, job: &JobHandle) -> Result<(), ControlError> {
        let appliance = self.appliance();
        for _ in 0..PASSES {
            job.phase("publish", None, Unit::Items);
            for share in appliance.report().into_iter().filter(|share| !share.follows && !share.superseded) {
                job.checkpoint()?;
                appliance.commit(&share.name).await?;
            }
            job.phase("bring the copy up to date", None, Unit::Items);
            let report = appliance.copy_now(name).await?;
            let obstacles = obstacles(&report);
            if !obstacles.is_empty() {
                let message = format!("target {name:?} cannot be promoted: {}", obstacles.join("; "));
                return Err(ControlError::new(ErrorKind::Busy, message));
            }
        }
        Ok(())
    }
}

/// What is in the way of a copy, for people.
fn obstacles(report: &PassReport) -> Vec<String> {
    let shares = report.shares.iter().filter_map(|share| {
        let name = share.name.clone().unwrap_or_else(|| share.share.to_string());
        Some(match share.obstacle? {
            Obstacle::LedFromCopy { epoch, .. } => format!("share {name} is led from here, in epoch {epoch}"),
            Obstacle::LeadIsOlder => format!("the lead shows an older state of share {name}"),
            Obstacle::Unreadable => format!("the newest head of share {name} cannot be read"),
        })
    });
    let strangers = (report.strangers > 0).then(|| {
        format!("{} heads and snapshots here are not on the lead: what they reach stays", report.strangers)
    });
    let holes = report.holes.iter().map(|pack| format!("the lead lacks pack {pack}"));
    shares.chain(holes).chain(report.damaged.iter().cloned()).chain(strangers).collect()
}

/// How all targets stand, the lead first.
pub(super) fn target_statuses(
    appliance: &Appliance,
    settings: &Settings,
    (ways, links): (&Ways, &Links),
) -> Vec<TargetStatus> {
    let (backlog_bytes, backlog_packs) = appliance.backlog();
    let of_lead = TargetStatus {
        leads: true,
        behind_seconds: Some(0),
        backlog_bytes,
        backlog_packs,
        uploaded_bytes: appliance.uploaded_bytes(),
        heads: heads_of_lead(appliance),
        ..asked(settings.lead(), ways, links)
    };
    let (copies, locks) = (appliance.copies_report(), appliance.lock_reports());
    let of_copies = settings.copies().map(|target| {
        let report = copies.iter().find(|copy| copy.name == target.name.as_str()).cloned();
        copy_status(asked(target, ways, links), &report.unwrap_or_default())
    });
    let with_estimate = |status: TargetStatus| TargetStatus {
        backlog_seconds: links.seconds_for(&status.name, status.backlog_bytes),
        spent: ways.get(&status.name).and_then(|way| way.charged.count(settings, &status.name, &way.counts)),
        ..status
    };
    let of_all = std::iter::once(of_lead).chain(of_copies).map(with_estimate);
    of_all.map(|status| with_lock(status, &locks)).collect()
}

/// What is known here of the newest heads of the target that leads.
fn heads_of_lead(appliance: &Appliance) -> Vec<TargetHead> {
    let reports = appliance.report().into_iter();
    by_share(reports.filter_map(|share| {
        let (name, head) = share.newest?;
        Some((head.share.name, name, head.frozen_at))
    }))
}

/// What the last pass over a copy has left there.
fn heads_of_copy(pass: &PassReport) -> Vec<TargetHead> {
    by_share(pass.shares.iter().filter_map(|share| {
        let (name, frozen_at) = share.newest?;
        Some((share.name.clone().unwrap_or_else(|| share.share.to_string()), name, frozen_at))
    }))
}

fn by_share(heads: impl Iterator<Item = (String, HeadName, UtcNanos)>) -> Vec<TargetHead> {
    let shown = |(share, name, frozen_at): (String, HeadName, UtcNanos)| {
        let frozen = timestamp(frozen_at);
        TargetHead {
            share,
            name: name.to_string(),
            sequence: name.sequence,
            epoch: u64::from(name.epoch),
            frozen,
            age_seconds: age_seconds(frozen),
        }
    };
    let mut shown: Vec<TargetHead> = heads.map(shown).collect();
    shown.sort_by(|one, other| one.share.cmp(&other.share));
    shown
}

/// With how its locks stand.
fn with_lock(mut status: TargetStatus, locks: &[LockReport]) -> TargetStatus {
    // A store says of a whole bucket `s3://bucket/`.
    let is_of = |report: &&LockReport| report.address.trim_end_matches('/') == status.address;
    let Some(report) = locks.iter().find(is_of) else { return status };
    let failure = report.failure.as_ref().map(|(at, why)| format!(" (at {at}: {why})")).unwrap_or_default();
    let late = || {
        let ended = report.ended.map_or("never".to_owned(), |ended| format!("last at {ended}"));
        format!("locks were not extended in time, {ended}{failure}")
    };
    status.lock = Some(LockStatus {
        mode: report.rule.mode.as_str().to_lowercase(),
        days: report.rule.days,
        extended: report.ended.map(timestamp),
        failure: report.failure.as_ref().map(|(_, why)| why.clone()),
        late: report.is_late.then(late),
    });
    status
}

/// What is known of a target by its requests alone.
fn asked(target: &Target, ways: &Ways, links: &Links) -> TargetStatus {
    let name = target.name.as_str();
    let health = ways.get(name).map(|way| &way.health);
    let failing = health.and_then(|health| health.failing());
    TargetStatus {
        name: name.to_owned(),
        address: target.address.to_string(),
        leads: false,
        reachable: failing.is_none(),
        behind_seconds: None,
        obstacles: Vec::new(),
        backlog_bytes: 0,
        backlog_packs: 0,
        uploaded_bytes: 0,
        backlog_seconds: None,
        link: links.status(name),
        spent: None,
        last_failure: failing
            .map(|failing| StoreFailure { at: timestamp(failing.at.into()), message: failing.why }),
        clock_ahead_ms: health.and_then(|health| health.clock().ahead_ms()),
        lock: None,
        heads: Vec::new(),
    }
}

fn copy_status(asked: TargetStatus, report: &CopyReport) -> TargetStatus {
    let failed = report.failure.as_ref();
    let failed = failed.map(|(at, message)| StoreFailure { at: timestamp(*at), message: message.clone() });
    TargetStatus {
        reachable: asked.reachable && failed.is_none() && report.last_pass.is_some(),
        behind_seconds: report.behind.map(|behind| behind.as_secs()),
        obstacles: report.last_pass.as_ref().map(|(_, pass)| obstacles(pass)).unwrap_or_default(),
        backlog_bytes: report.owed.bytes,
        backlog_packs: report.owed.packs,
        uploaded_bytes: report.sent_bytes,
        last_failure: failed.or(asked.last_failure.clone()),
        heads: report.last_pass.as_ref().map(|(_, pass)| heads_of_copy(pass)).unwrap_or_default(),
        ..asked
    }
}

#[cfg(test)]
mod tests {
    use tidegate_chunker::ShareId;
    use tidegate_replicator::mirror::CopiedShare;

    use super::*;

    #[test]
    fn a_copy_shows_the_heads_that_its_last_pass_left_there() {
        let head = |sequence| HeadName { epoch: 3, sequence, suffix: 7 };
        let copied = |number: u8, name: Option<&str>, newest| CopiedShare {
            share: ShareId::new([number; 16]),
            name: name.map(str::to_owned),
            newest,
            obstacle: None,
        };
        let at = UtcNanos::new(1_000_000_000);
        let shares = vec![
            copied(1, Some("docs"), Some((head(9), at))),
            copied(2, Some("overtaken"), None),
            copied(3, Some("accounts"), Some((head(4), at))),
        ];
        let pass = PassReport { shares, ..PassReport::default() };
        let shown = heads_of_copy(&pass);
        let brief: Vec<_> =
            shown.iter().map(|head| (head.share.as_str(), head.epoch, head.sequence)).collect();
        assert_eq!(brief, [("accounts", 3, 4), ("docs", 3, 9)]);
        assert_eq!(shown[1].name, head(9).to_string());
        assert_eq!((shown[1].frozen, shown[1].age_seconds > 0), (timestamp(at), true));
    }
}

//! How long recovery would take, looked at again and again while the gateway runs.
//!
//! Every [`LOOK_EVERY`] the newest heads, what is hot, and the link as it was measured are put together
//! ([`crate::recovery`]); status, metrics and alarms show what came out last. The link is measured when a share has an
//! objective and the last measurement is old, or when somebody asks; what the link itself saw of faster hours counts
//! too. What was measured is kept in `link.json` in the data folder, for the target that it was measured at. What sleeps
//! in the archive is listed every [`LIST_EVERY`]; while that was never possible no times are told.
//!
//! Not here: the same from another machine (`assembly/recovery_offline.rs`).

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_chunker::{ChunkId, PackId};
use tidegate_replicator::repository::{Head, Opened, Repository, RepositoryError, config_name};
use tidegate_replicator::store::{StorageClass, Store, StoreError, Traffic, durable_file};
use tidegate_replicator::warm::{MeasureOptions, Measured, PackRange, hot_ranges, measure};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::overview::{Overview, timestamp};
use super::{CLAIM_SETTLE, classes, thaw_terms};
use crate::appliance::{Appliance, ApplianceError, WARM_REQUESTS_MAX};
use crate::bandwidth::Links;
use crate::control::{ControlError, ErrorKind, RecoveryLink, RecoveryPlan, ShareRecovery};
use crate::recovery::{
    Amounts, FirstByte, Machine, Objectives, Opening, Prices, Sleepers, Way, asked_of, first_byte,
    plan_share, refusal,
};
use crate::settings::{Settings, Share};

/// From one look to the next.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// From one listing of what sleeps to the next.
const LIST_EVERY: Duration = Duration::from_hours(6);
/// What is known of the link.
const FILE: &str = "link.json";
/// Written to find out how much the disk takes.
const DISK_BYTES: usize = 16 << 20;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    target: String,
    latency_seconds: f64,
    bytes_per_second: Option<f64>,
    disk_bytes_per_second: Option<f64>,
    measured: Timestamp,
}

/// See the head of this module.
pub(super) struct Recovery {
    appliance: Arc<Appliance>,
    links: Arc<Links>,
    folder: PathBuf,
    note: Mutex<Option<Note>>,
    /// Held by whoever measures.
    measuring: tokio::sync::Mutex<()>,
    /// What the last look found, by share.
    found: Mutex<HashMap<String, ShareRecovery>>,
    /// What the first read takes, by the root that it is of.
    first: Mutex<HashMap<String, (ChunkId, FirstByte)>>,
    /// What sleeps, and when that was listed.
    sleepers: tokio::sync::Mutex<Option<(Instant, Arc<Sleepers>)>>,
}

impl Recovery {
    pub(super) fn new(appliance: Arc<Appliance>, links: Arc<Links>, settings: &Settings) -> Arc<Self> {
        let folder = settings.gateway.data.as_path().to_path_buf();
        let note = load(&folder).filter(|note| note.target == settings.lead().name.as_str());
        Arc::new(Self {
            appliance,
            links,
            folder,
            note: Mutex::new(note),
            measuring: tokio::sync::Mutex::default(),
            found: Mutex::default(),
            first: Mutex::default(),
            sleepers: tokio::sync::Mutex::default(),
        })
    }

    /// Looks until `stop`.
    pub(super) async fn keep(self: Arc<Self>, overview: Arc<Overview>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let settings = overview.settings();
            let look = Traffic::Housekeeping.scope(self.look(&settings));
            tokio::select! {
                () = stop.cancelled() => return,
                () = look => {}
            }
        }
    }

    async fn look(&self, settings: &Settings) {
        if settings.shares.iter().any(|share| Objectives::of(share).any())
            && self.is_due(settings)
            && let Err(error) = self.measure(settings).await
        {
            tracing::debug!(%error, "the link could not be measured; the next look tries again");
        }
        match self.plan(settings, None).await {
            Ok(plan) => {
                let by_name = plan.shares.into_iter().map(|share| (share.share.clone(), share));
                *self.found.lock() = by_name.collect();
            }
            Err(error) => tracing::debug!(%error, "it cannot be said now how long recovery would take"),
        }
    }

    fn is_due(&self, settings: &Settings) -> bool {
        let every = settings.recovery.measure_every.duration();
        let note = self.note.lock();
        let is_old =
            |note: &Note| Timestamp::now().duration_since(note.measured).as_secs_f64() >= every.as_secs_f64();
        let target = settings.lead().name.as_str();
        !every.is_zero() && note.as_ref().is_none_or(|note| note.target != target || is_old(note))
    }

    /// What the last look found of a share.
    pub(super) fn known(&self, share: &str) -> Option<ShareRecovery> {
        self.found.lock().get(share).cloned()
    }

    /// Measures the link now, and the disk.
    pub(super) async fn measure(&self, settings: &Settings) -> Result<(), ControlError> {
        let _one_at_a_time = self.measuring.lock().await;
        let mut ranges = Vec::new();
        for (_, _, heat) in self.appliance.recovery_heads().await? {
            ranges.extend(hot_ranges(&heat));
        }
        let store = self.appliance.lead_store();
        let options = MeasureOptions {
            requests_max: requests_max(settings),
            bytes_max: settings.recovery.measure_bytes.bytes(),
            ..MeasureOptions::default()
        };
        let measured = measure_link(&*store, &ranges, options).await.map_err(super::AssemblyError::from)?;
        let folder = self.folder.clone();
        let disk = tokio::task::spawn_blocking(move || disk_speed(&folder)).await.ok().and_then(Result::ok);
        let note = Note {
            target: settings.lead().name.as_str().to_owned(),
            latency_seconds: measured.latency.as_secs_f64(),
            bytes_per_second: measured.bytes_per_s,
            disk_bytes_per_second: disk,
            measured: Timestamp::now(),
        };
        if let Err(error) = save(&self.folder, &note) {
            tracing::warn!(%error, "what was measured of the link could not be kept; it is measured again after a restart");
        }
        *self.note.lock() = Some(note);
        Ok(())
    }

    /// The link as far as it is known.
    fn link(&self, settings: &Settings) -> Option<(RecoveryLink, Way, Machine)> {
        let target = settings.lead().name.as_str();
        let note = self.note.lock().clone().filter(|note| note.target == target)?;
        let seen = self.links.best_down(target);
        let rate = note.bytes_per_second.unwrap_or_default().max(seen as f64);
        if rate < 1.0 {
            return None;
        }
        let way = Way {
            latency: Duration::try_from_secs_f64(note.latency_seconds).ok()?,
            bytes_per_s: rate,
            requests_max: requests_max(settings),
        };
        let machine = Machine { disk_bytes_per_s: note.disk_bytes_per_second, ..Machine::this() };
        Some((shown(target, &way, &machine, Some(note.measured)), way, machine))
    }

    /// How long it would take, of all shares or of one.
    pub(super) async fn plan(
        &self,
        settings: &Settings,
        share: Option<&str>,
    ) -> Result<RecoveryPlan, ControlError> {
        if let Some(share) = share {
            self.appliance.share_id(share)?;
        }
        let mut heads = Vec::new();
        for (name, head, heat) in self.appliance.recovery_heads().await? {
            let first = self.first_of(&name, &head).await?;
            heads.push((name, head, heat, first));
        }
        let asked = heads.iter().flat_map(|(_, _, heat, first)| asked_of(first, heat)).collect();
        let (sleepers, unproven) = match self.sleepers(settings, &asked).await {
            Ok(sleepers) => (sleepers, None),
            Err(error) => (Arc::default(), Some(unlisted(&error))),
        };
        let link = self.link(settings);
        let known = link.as_ref().filter(|_| unproven.is_none());
        let prices = prices(settings, settings.lead().name.as_str());
        let opening = Opening {
            shares: heads.len() as u64,
            domains: self.appliance.repository().domains().len() as u64,
            slots: 1,
            by_command: true,
        };
        let mut shares = Vec::new();
        for (name, head, heat, first) in heads {
            if share.is_some_and(|share| share != name) {
                continue;
            }
            let amounts = Amounts::of(&head, &heat, &first, opening);
            let amounts = amounts.with_sleepers(&sleepers, &first, &heat);
            let wanted = settings.share(&name);
            let planned = Planned { name, head: &head, amounts, share: wanted };
            let target = settings.lead().name.as_str();
            let calendar = |bytes| self.links.time_down(target, bytes);
            shares.push(planned.against(known, prices.as_ref(), &calendar));
        }
        shares.sort_by(|one, other| one.share.cmp(&other.share));
        Ok(RecoveryPlan { link: link.map(|(link, _, _)| link), shares, unproven })
    }

    /// What sleeps on the target that leads, as it was listed last.
    async fn sleepers(
        &self,
        settings: &Settings,
        asked: &HashSet<PackId>,
    ) -> Result<Arc<Sleepers>, RepositoryError> {
        let mut known = self.sleepers.lock().await;
        if let Some((listed, sleepers)) = &*known
            && listed.elapsed() < LIST_EVERY
        {
            return Ok(sleepers.clone());
        }
        match list_sleepers(self.appliance.repository(), settings, asked).await {
            Ok(sleepers) => {
                let sleepers = Arc::new(sleepers);
                *known = Some((Instant::now(), sleepers.clone()));
                Ok(sleepers)
            }
            // What slept some hours ago sleeps.
            Err(error) => known.as_ref().map(|(_, sleepers)| sleepers.clone()).ok_or(error),
        }
    }

    async fn first_of(&self, name: &str, head: &Head) -> Result<FirstByte, ControlError> {
        let known = self.first.lock().get(name).filter(|(root, _)| *root == head.root.id).cloned();
        if let Some((_, first)) = known {
            return Ok(first);
        }
        let map = self.appliance.frozen_map(head)?;
        let first = first_byte(&map.root, map.nodes).await.map_err(ApplianceError::from)?;
        self.first.lock().insert(name.to_owned(), (head.root.id, first.clone()));
        Ok(first)
    }

    /// Refuses objectives of changed settings that cannot be kept by what is known now. What is not served yet, and what
    /// was not measured, is let pass; that is said.
    pub(super) async fn check(&self, before: &Settings, after: &Settings) -> Result<(), ControlError> {
        for share in &after.shares {
            let (name, objectives) = (share.name.as_str(), Objectives::of(share));
            let as_before = before.share(name).is_some_and(|before| Objectives::of(before) == objectives);
            if as_before || objectives.accept_risk || !objectives.any() {
                continue;
            }
            if self.link(after).is_none() || self.appliance.share_id(name).is_err() {
                tracing::warn!(
                    share = name,
                    "whether its objectives can be kept is not known yet: the link or the share was never measured"
                );
                continue;
            }
            let plan = self.plan(after, Some(name)).await?;
            if let Some(missed) = plan.shares.into_iter().find_map(|share| share.missed) {
                let message = format!("share {name:?}: {missed}");
                return Err(ControlError::new(ErrorKind::Invalid, message)
                    .todo("give it more time, make the link faster, or set accept_risk = true"));
            }
        }
        Ok(())
    }
}

/// A share before it is held against what it should keep.
pub(super) struct Planned<'p> {
    pub(super) name: String,
    pub(super) head: &'p Head,
    pub(super) amounts: Amounts,
    /// Its table in the settings.
    pub(super) share: Option<&'p Share>,
}

impl Planned<'_> {
    pub(super) fn against(
        self,
        link: Option<&(RecoveryLink, Way, Machine)>,
        prices: Option<&Prices>,
        calendar: &dyn Fn(u64) -> Option<Duration>,
    ) -> ShareRecovery {
        let objectives = self.share.map(Objectives::of).unwrap_or_default();
        let machine = link.map_or_else(Machine::this, |(_, _, machine)| *machine);
        let way = link.map(|(_, way, _)| way);
        let [first, hot, whole] =
            plan_share(&self.amounts, &objectives, way, (&machine, CLAIM_SETTLE), prices, calendar);
        let missed = refusal([&first, &hot, &whole], link.map(|(link, _, _)| link));
        let frozen = timestamp(self.head.frozen_at);
        ShareRecovery {
            share: self.name,
            frozen,
            age_seconds: Timestamp::now().as_second().saturating_sub(frozen.as_second()).max(0) as u64,
            rpo_seconds: self.share.map(|share| share.rpo.duration().as_secs()),
            first,
            hot,
            whole,
            accept_risk: objectives.accept_risk,
            missed,
        }
    }
}

/// What sleeps on the target that leads.
pub(super) async fn list_sleepers(
    repository: &Repository<Opened>,
    settings: &Settings,
    asked: &HashSet<PackId>,
) -> Result<Sleepers, RepositoryError> {
    let takes = |class: &StorageClass| thaw_terms(settings, class, (None, None)).takes;
    Sleepers::list(repository, &classes(settings), &takes, asked).await
}

/// Why there are no times.
pub(super) fn unlisted(error: &RepositoryError) -> String {
    format!(
        "what sleeps in the archive cannot be listed, so it is not known how long recovery takes: {error}"
    )
}

/// Requests at once of a recovery from the target that leads.
pub(super) fn requests_max(settings: &Settings) -> usize {
    WARM_REQUESTS_MAX.min(settings.lead().connections as usize).max(1)
}

/// What a target charges.
pub(super) fn prices(settings: &Settings, target: &str) -> Option<Prices> {
    let table = settings.prices.iter().find(|table| table.target.as_str() == target)?;
    Some(Prices {
        per_gb_out: table.per_gb_out.units(),
        per_thousand_requests: table.per_thousand_requests.units(),
        currency: table.currency.to_string(),
    })
}

/// A link as it is shown.
pub(super) fn shown(target: &str, way: &Way, machine: &Machine, measured: Option<Timestamp>) -> RecoveryLink {
    RecoveryLink {
        target: target.to_owned(),
        latency_ms: way.latency.as_secs_f64() * 1e3,
        bytes_per_second: way.bytes_per_s as u64,
        requests_max: way.requests_max as u64,
        disk_bytes_per_second: machine.disk_bytes_per_s.map(|rate| rate as u64),
        measured,
    }
}

/// Asks for ranges of packs; heads may name what is gone, which is then left out.
pub(super) async fn measure_link(
    store: &dyn Store,
    ranges: &[PackRange],
    options: MeasureOptions,
) -> Result<Measured, StoreError> {
    measure(store, &config_name(), ranges, options).await
}

/// Writes some bytes durably in the data folder, and takes them away. Blocks.
fn disk_speed(folder: &Path) -> std::io::Result<f64> {
    use std::io::Write;
    let mut file = tempfile_in(folder)?;
    let began = std::time::Instant::now();
    let bytes = vec![0x5a_u8; DISK_BYTES];
    file.write_all(&bytes)?;
    file.sync_data()?;
    Ok(DISK_BYTES as f64 / began.elapsed().as_secs_f64().max(1e-6))
}

/// A file that is gone when it is closed.
fn tempfile_in(folder: &Path) -> std::io::Result<std::fs::File> {
    let path = folder.join("measure.new");
    let file = std::fs::File::create(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn load(folder: &Path) -> Option<Note> {
    serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
}

fn save(folder: &Path, note: &Note) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(note).map_err(std::io::Error::other)?;
    durable_file::replace(&folder.join(FILE), &bytes)
}

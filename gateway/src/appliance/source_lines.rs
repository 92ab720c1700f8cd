//! Sources of backup, as lines of heads that this gateway leads: what is known of them here, who may publish, and honouring
//! collection plans while nothing is saved.
//!
//! A source is to the repository what a share is: an id, heads, a lease, snapshots. Here it has no live map. One record
//! a source under `source/<id>` in the system table, as JSON, `version` 1, changed only through the journal.
//!
//! A line that is new here is one that the repository does not have, or that this very host has published before (its local
//! state was lost, say): that is gone on with under a new epoch. One that another host published is not touched, unless it
//! is to be taken over.
//!
//! **Plans.** A run looks which plans are open before it counts anything as a duplicate, and its head names those. While it
//! runs ([`Line::turn`] is held) no other head of the line names a newer plan: that would promise what the run does not
//! keep. Between runs the newest head is published again when there is a plan that it does not name, so that no
//! collection waits for a source that is saved once a week. A line that was claimed and has no head yet is
//! waited for by collections until its plan is given up.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_chunker::{DomainId, ShareId};
use tidegate_replicator::repository::{
    CommitStatistics, Head, HeadName, Incarnation, Leadership, LeadershipNote, PlanId, RepositoryError,
    ShareDescription, Standing,
};

use super::shares::{random, random_bytes};
use super::{Appliance, ApplianceError};
use crate::commit::{CommitError, Description, NextHead};
use crate::live::{Batch, Change, LiveError};

const PREFIX: &[u8] = b"source/";
const VERSION: u32 = 1;
/// How often it is looked whether there are plans to honour.
const LOOK_EVERY: Duration = Duration::from_mins(1);
const UNDECODABLE: LiveError = LiveError::Undecodable("the record of a source");

/// What is said of a source when it is saved.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// What people call it, and the repository.
    pub name: String,
    /// Whether a new one gets a domain of its own.
    pub own_key: bool,
    /// What a head says about it.
    pub settings: serde_json::Value,
}

/// What this gateway keeps of a source.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct SourceRecord {
    version: u32,
    name: String,
    id: String,
    domain: String,
    incarnation: u64,
    leadership: Option<LeadershipNote>,
    superseded: bool,
}

/// A source that is known here.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) id: ShareId,
    pub(super) domain: DomainId,
    record: Mutex<SourceRecord>,
    /// Held through a run.
    pub(super) turn: Arc<tokio::sync::Mutex<Turn>>,
}

/// What only who has the turn may use.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) leadership: Option<Leadership>,
    /// The newest head, when it is known.
    pub(super) newest: Option<(HeadName, Head)>,
}

/// A line of which nobody else has the turn.
pub(super) struct HeldLine {
    line: Arc<Line>,
    turn: tokio::sync::OwnedMutexGuard<Turn>,
}

impl HeldLine {
    /// Which line.
    pub(super) fn id(&self) -> ShareId {
        self.line.id
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        &self.line.name
    }

    /// Whether this gateway leads it.
    pub(super) fn is_led(&self) -> bool {
        let record = self.line.record.lock();
        record.leadership.is_some() && !record.superseded
    }

    /// Its claim, as far as it is known here.
    pub(super) fn note(&self) -> Option<LeadershipNote> {
        self.line.record.lock().leadership.clone()
    }

    /// The change that keeps a new claim.
    pub(super) fn noting(&self, claimed: &Leadership) -> Result<Change, LiveError> {
        let record = SourceRecord { leadership: Some(claimed.note()), ..self.line.record.lock().clone() };
        record.change()
    }

    /// From now on the line is led under this claim.
    pub(super) fn lead(&mut self, claimed: Leadership) {
        self.line.record.lock().leadership = Some(claimed.note());
        // The newest head is read anew, where the line is led now.
        *self.turn = Turn { leadership: Some(claimed), newest: None };
    }
}

impl SourceRecord {
    fn change(&self) -> Result<Change, LiveError> {
        let key = [PREFIX, self.id.as_bytes()].concat();
        let value = serde_json::to_vec(self).map_err(|_| UNDECODABLE)?;
        Ok(Change::System { key: Bytes::from(key), value: Some(Bytes::from(value)) })
    }
}

/// See the head of this module. By name.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<String, Arc<Line>>>);

impl Line {
    fn open(record: SourceRecord) -> Result<Arc<Self>, LiveError> {
        let id = ShareId::from_hex(&record.id).ok_or(UNDECODABLE)?;
        let domain = DomainId::from_hex(&record.domain).ok_or(UNDECODABLE)?;
        let (name, turn) = (record.name.clone(), Arc::default());
        Ok(Arc::new(Self { name, id, domain, record: Mutex::new(record), turn }))
    }

    pub(super) fn incarnation(&self) -> Incarnation {
        Incarnation::new(self.record.lock().incarnation.to_be_bytes())
    }

    pub(super) fn description(&self, settings: serde_json::Value) -> Description {
        let share = ShareDescription { id: self.id, name: self.name.clone(), domain: self.domain };
        Description { share, settings, kept_era: None }
    }
}

/// The host that this process runs on, as heads of sources name it.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What heads say of a source: its settings, and the host that saves it.
pub(super) fn settings_of_head(config: &SourceConfig) -> serde_json::Value {
    serde_json::json!({ "source": config.settings, "host": host() })
}

impl Appliance {
    /// A line of heads by name: of a share that is open, or of a source.
    pub(crate) fn line_id(&self, name: &str) -> Result<ShareId, ApplianceError> {
        match self.share_named(name) {
            Ok(open) => Ok(open.share.id()),
            Err(error) => Ok(self.known_source(name)?.ok_or(error)?.id),
        }
    }

    /// Whether anything was ever saved of a source here, or begun to be.
    pub fn knows_source(&self, name: &str) -> Result<bool, ApplianceError> {
        Ok(self.known_source(name)?.is_some())
    }

    fn known_source(&self, name: &str) -> Result<Option<Arc<Line>>, ApplianceError> {
        Ok(self.known_sources()?.into_iter().find(|line| line.name == name))
    }

    fn known_sources(&self) -> Result<Vec<Arc<Line>>, ApplianceError> {
        let mut lines = self.sources.0.lock();
        for (_, record) in self.live.database().systems(PREFIX)? {
            let record: SourceRecord = serde_json::from_slice(&record).map_err(|_| UNDECODABLE)?;
            if !lines.contains_key(&record.name) {
                lines.insert(record.name.clone(), Line::open(record)?);
            }
        }
        Ok(lines.values().cloned().collect())
    }

    async fn keep_record(&self, record: &SourceRecord) -> Result<(), ApplianceError> {
        let batch = Batch { changes: vec![record.change()?] };
        let sequence = self.live.submit_durably(batch, Bytes::new()).await?;
        Ok(self.live.applied(sequence).await?)
    }

    /// The line of a source: the one that is known here, or a new one.
    pub(super) async fn source_line(
        &self,
        config: &SourceConfig,
        take_over: bool,
    ) -> Result<Arc<Line>, ApplianceError> {
        let _changing = self.changing.lock().await;
        if let Some(line) = self.known_source(&config.name)? {
            return Ok(line);
        }
        let repository = &self.backend.repository;
        let (id, domain) = match repository.find_share(&config.name).await? {
            Some(id) => (id, self.domain_to_go_on_with(id, &config.name, take_over).await?),
            None if config.own_key => {
                (ShareId::new(random_bytes()?), repository.create_domain(&config.name).await?)
            }
            None => (ShareId::new(random_bytes()?), repository.default_domain()),
        };
        let record = SourceRecord {
            version: VERSION,
            name: config.name.clone(),
            id: id.to_string(),
            domain: domain.to_string(),
            incarnation: random()?,
            leadership: None,
            superseded: false,
        };
        self.keep_record(&record).await?;
        let line = Line::open(record)?;
        self.sources.0.lock().insert(config.name.clone(), line.clone());
        Ok(line)
    }

    /// Whether a line of the repository is this host's to go on with; its domain.
    async fn domain_to_go_on_with(
        &self,
        id: ShareId,
        name: &str,
        take_over: bool,
    ) -> Result<DomainId, ApplianceError> {
        let elsewhere = |whose: String| ApplianceError::SourceElsewhere { name: name.into(), whose };
        let Some(newest) = self.backend.repository.newest_head(id).await? else {
            return Err(elsewhere("has no head that can be read".into()));
        };
        let settings = &newest.head.settings;
        if settings.get("source").is_none() {
            return Err(elsewhere("is a share".into()));
        }
        let of = settings.get("host").and_then(serde_json::Value::as_str).unwrap_or_default();
        if of == host() || take_over {
            return Ok(newest.head.share.domain);
        }
        Err(elsewhere(format!("host {of} saves")))
    }

    /// Sees to it that this gateway leads a line: goes on leading, or claims it.
    pub(super) async fn lead_source(
        &self,
        line: &Line,
        turn: &mut Turn,
        take_over: bool,
    ) -> Result<(), ApplianceError> {
        self.resume_source(line, turn).await?;
        let superseded = line.record.lock().superseded;
        if turn.leadership.is_some() || (superseded && !take_over) {
            let lost = || ApplianceError::NotLed { share: line.name.clone() };
            return turn.leadership.is_some().then_some(()).ok_or_else(lost);
        }
        let leadership = self.claim(line.id, &line.name, self.settle).await?;
        let record = {
            let mut record = line.record.lock();
            (record.leadership, record.superseded) = (Some(leadership.note()), false);
            record.clone()
        };
        turn.leadership = Some(leadership);
        self.keep_record(&record).await
    }

    async fn resume_source(&self, line: &Line, turn: &mut Turn) -> Result<(), ApplianceError> {
        if turn.leadership.is_some() {
            return Ok(());
        }
        let record = {
            let mut record = line.record.lock();
            if record.superseded {
                return Ok(());
            }
            record.leadership = record.leadership.take().map(LeadershipNote::of_next_life);
            record.clone()
        };
        let Some(note) = record.leadership.clone() else { return Ok(()) };
        self.keep_record(&record).await?;
        match self.backend.repository.resume(&note).await {
            Standing::StillLeading(leadership) => {
                turn.leadership = Some(leadership);
                Ok(())
            }
            Standing::Unknown { error, .. } => Err(error.into()),
            Standing::Superseded { by } => {
                tracing::error!(source = line.name, %by, "another gateway saves this source now");
                self.lose_source(line).await
            }
        }
    }

    async fn lose_source(&self, line: &Line) -> Result<(), ApplianceError> {
        let record = {
            let mut record = line.record.lock();
            record.superseded = true;
            record.clone()
        };
        self.keep_record(&record).await
    }

    /// Publishes the next head of a line, after `newest`.
    pub(super) async fn publish_source(
        &self,
        line: &Line,
        turn: &mut Turn,
        next: NextHead<'_>,
        started: Instant,
    ) -> Result<(HeadName, Head), ApplianceError> {
        let newest = turn.newest.take();
        let parent = newest.as_ref().map(|(name, _)| *name);
        let leadership = &mut turn.leadership;
        let published = self.committer.publish_next(next, parent, newest.as_ref(), leadership, started).await;
        if let Err(CommitError::Superseded { by }) = &published {
            tracing::error!(source = line.name, %by, "another gateway saves this source now");
            self.lose_source(line).await?;
        }
        let (name, mut head) = published?;
        self.remove_passed(&mut head).await;
        turn.newest = Some((name, head.clone()));
        Ok((name, head))
    }

    /// The newest head of a line, read anew.
    pub(super) async fn newest_of_source(
        &self,
        line: &Line,
        turn: &mut Turn,
    ) -> Result<Option<(HeadName, Head)>, RepositoryError> {
        let newest = self.backend.repository.newest_head(line.id).await?;
        turn.newest = newest.map(|newest| (newest.name, newest.head));
        Ok(turn.newest.clone())
    }

    /// All lines, each with its turn held: while a copy is promoted nothing is saved. Refused while a source is being
    /// saved.
    pub(super) fn hold_sources(&self) -> Result<Vec<HeldLine>, ApplianceError> {
        let mut held = Vec::new();
        for line in self.known_sources()? {
            let turn = line.turn.clone().try_lock_owned();
            let turn = turn.map_err(|_| ApplianceError::SourceBusy { name: line.name.clone() })?;
            held.push(HeldLine { line, turn });
        }
        Ok(held)
    }

    /// Honours collection plans for sources that are not being saved, until the appliance is closed.
    pub fn start_honouring_for_sources(self: &Arc<Self>) {
        let (appliance, stop) = (Arc::downgrade(self), self.stop.clone());
        self.loops.spawn(async move {
            loop {
                {
                    let Some(appliance) = appliance.upgrade() else { return };
                    appliance.honour_for_sources().await;
                }
                let Some(held) = appliance.upgrade() else { return };
                let changed = held.committer.plans.changed.notified();
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = changed => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        });
    }

    /// Has whoever waits for plans to honour look for them now instead of within a minute.
    pub fn look_at_plans(&self) {
        self.committer.plans.changed.notify_waiters();
    }

    /// One look at all sources. What fails is tried again with the next.
    pub async fn honour_for_sources(&self) {
        let lines = match self.known_sources() {
            Ok(lines) if lines.is_empty() => return,
            Ok(lines) => lines,
            Err(error) => return tracing::error!(%error, "the records of sources cannot be read"),
        };
        let Ok(plans) = self.committer.plans.look().await else { return };
        if plans.is_empty() {
            return;
        }
        for line in lines {
            // A run that is under way ends with a head of its own.
            let Ok(mut turn) = line.turn.try_lock() else { continue };
            if let Err(error) = self.honour_for(&line, &mut turn, &plans).await {
                tracing::debug!(source = line.name, %error, "a plan cannot be honoured yet");
            }
        }
    }

    async fn honour_for(&self, line: &Line, turn: &mut Turn, plans: &[PlanId]) -> Result<(), ApplianceError> {
        let names_all = |head: &Head| plans.iter().all(|plan| head.plans_honoured.contains(plan));
        if turn.newest.as_ref().is_some_and(|(_, head)| names_all(head)) {
            return Ok(());
        }
        self.resume_source(line, turn).await?;
        if turn.leadership.is_none() {
            return Ok(());
        }
        let Some((_, head)) = self.newest_of_source(line, turn).await? else { return Ok(()) };
        if names_all(&head) {
            return Ok(());
        }
        let description = line.description(head.settings.clone());
        let next = NextHead {
            description: &description,
            root: head.root,
            frozen_at: head.frozen_at,
            incarnation: head.incarnation,
            next_inode: head.next_inode,
            journal_sequence: head.journal_sequence,
            usage: head.usage,
            statistics: CommitStatistics::default(),
            plans: plans.to_vec(),
            heat: None,
        };
        self.publish_source(line, turn, next, Instant::now()).await?;
        Ok(())
    }
}

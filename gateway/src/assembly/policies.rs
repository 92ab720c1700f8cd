//! Policies over an appliance.
//!
//! A snapshot never changes, so each is read once; a listing costs a request, however many there are. What
//! cannot be read is said once in the log, belongs to no policy, and is so never forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tidegate_replicator::repository::{NewSnapshot, RepositoryError, Snapshot, SnapshotId};

use super::overview::timestamp;
use super::sources::{ApplianceSources, policy_request};
use crate::appliance::{Appliance, ApplianceError, SnapshotEntry};
use crate::clock::SystemClock;
use crate::control::{ControlError, ErrorKind, JobHandle};
use crate::policy::{Engine, Place, Plan, PolicyHost, Taken};
use crate::settings::Settings;

/// Snapshots that are read at once.
const READS_MAX: usize = 16;

/// Snapshots by id; none for one that cannot be read.
type Known = BTreeMap<SnapshotId, Option<Taken>>;

/// See the head of this module.
pub struct AppliancePolicies {
    appliance: Arc<Appliance>,
    sources: Arc<ApplianceSources>,
    /// By share.
    known: Mutex<HashMap<String, Known>>,
}

impl AppliancePolicies {
    /// Policies over this appliance and these sources.
    pub fn new(appliance: Arc<Appliance>, sources: Arc<ApplianceSources>) -> Arc<Self> {
        Arc::new(Self { appliance, sources, known: Mutex::default() })
    }

    async fn read(&self, share: &str, id: SnapshotId) -> Result<Option<Option<Taken>>, ControlError> {
        match self.appliance.read_snapshot(share, id).await {
            Ok(snapshot) => Ok(Some(Some(taken(id, snapshot)))),
            // Somebody else has removed it meanwhile.
            Err(ApplianceError::Repository(RepositoryError::Missing { .. })) => Ok(None),
            Err(ApplianceError::Repository(
                error @ (RepositoryError::Store(_) | RepositoryError::Local { .. }),
            )) => Err(ApplianceError::from(error).into()),
            Err(ApplianceError::Repository(error)) => {
                tracing::error!(snapshot = %id, %error, "a snapshot cannot be read; no policy forgets it");
                Ok(Some(None))
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl PolicyHost for AppliancePolicies {
    async fn snapshots(&self, share: &str) -> Result<Vec<Taken>, ControlError> {
        // One that was never saved has none.
        if self.sources.has(share) && !self.appliance.knows_source(share)? {
            return Ok(Vec::new());
        }
        let ids = self.appliance.snapshot_ids(share).await?;
        let known = self.known.lock().get(share).cloned().unwrap_or_default();
        let mut now = Known::new();
        let mut unknown = Vec::new();
        for id in ids {
            match known.get(&id) {
                Some(found) => drop(now.insert(id, found.clone())),
                None => unknown.push(id),
            }
        }
        let mut reads = stream::iter(unknown)
            .map(|id| async move { (id, self.read(share, id).await) })
            .buffer_unordered(READS_MAX);
        while let Some((id, read)) = reads.next().await {
            if let Some(found) = read? {
                now.insert(id, found);
            }
        }
        drop(reads);
        let listed = now.values().flatten().cloned().collect();
        self.known.lock().insert(share.to_owned(), now);
        Ok(listed)
    }

    async fn ready(&self, sources: usize, job: &JobHandle) -> Result<Place, ControlError> {
        self.sources.ready(sources, job).await
    }

    async fn take(
        &self,
        share: &str,
        new: NewSnapshot,
        place: Option<&Place>,
        job: &JobHandle,
    ) -> Result<Taken, ControlError> {
        if self.sources.has(share) {
            let request = policy_request(&new.tags);
            let job = job.apart();
            let (entry, run) = self.sources.run_in(place, share, &request, new.policy, &job).await?;
            return Ok(Taken { lacks: run.lacks(), ..taken(entry.id, entry.snapshot) });
        }
        let entry = self.appliance.take_snapshot(share, new).await?;
        Ok(taken(entry.id, entry.snapshot))
    }

    async fn take_together(&self, shares: &[String], new: NewSnapshot) -> Vec<Result<Taken, ControlError>> {
        let entries = self.appliance.take_snapshots_together(shares, &new).await;
        let told = |entry: Result<SnapshotEntry, ApplianceError>| {
            entry.map(|entry| taken(entry.id, entry.snapshot)).map_err(ControlError::from)
        };
        entries.into_iter().map(told).collect()
    }

    async fn forget(&self, share: &str, snapshot: &Taken) -> Result<(), ControlError> {
        let id = SnapshotId::parse(&snapshot.id).ok_or_else(|| {
            ControlError::new(ErrorKind::Invalid, format!("{} is no id of a snapshot", snapshot.id))
        })?;
        Ok(self.appliance.remove_snapshot(share, id).await?)
    }
}

fn taken(id: SnapshotId, snapshot: Snapshot) -> Taken {
    let Snapshot { policy, tags, taken_at, .. } = snapshot;
    Taken { id: id.to_string(), at: timestamp(taken_at), policy, tags, lacks: None }
}

/// Carries out the policies of the settings by the clock of the machine.
pub(super) fn start_policies(
    appliance: &Arc<Appliance>,
    sources: &Arc<ApplianceSources>,
    settings: &Settings,
) -> Arc<Engine> {
    let host = AppliancePolicies::new(appliance.clone(), sources.clone());
    let engine = Engine::new(host, Arc::new(SystemClock));
    engine.set(Plan::all(settings));
    // Nothing that a drill does may be seen outside it, and hooks are.
    if !settings.gateway.drill {
        engine.start();
    }
    engine
}

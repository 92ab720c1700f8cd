//! The admin API of a running gateway: HTTP over a Unix socket, JSON in and out.
//!
//! Owns the routes below, the registry of [`jobs`], and the order in which settings change: check,
//! write the file, apply; a file whose settings the gateway refuses is put back. What is asked is
//! done by [`Control`]; nothing is decided here.
//!
//! ```text
//! GET    /api/v1/status                              Status
//! GET    /api/v1/alarms                              [Alarm], the most urgent first
//! POST   /api/v1/settings/reload                     Applied
//! GET    /api/v1/shares                              [ShareStatus]
//! POST   /api/v1/shares                              keys of [[share]] -> Applied
//! GET    /api/v1/shares/{share}                      ShareStatus
//! DELETE /api/v1/shares/{share}                      Applied (the repository keeps its data)
//! GET    /api/v1/shares/{share}/heads?limit=         [HeadInfo]
//! POST   /api/v1/shares/{share}/commit               job -> HeadInfo
//! GET    /api/v1/shares/{share}/snapshots            [SnapshotInfo]
//! POST   /api/v1/shares/{share}/snapshots            SnapshotRequest -> job -> SnapshotInfo
//! DELETE /api/v1/shares/{share}/snapshots/{snapshot} SnapshotInfo
//! POST   /api/v1/shares/{share}/diff                 DiffRequest -> DiffPage
//! GET    /api/v1/shares/{share}/files?at=&path=      FilesPage, a page of a directory of a moment
//! GET    /api/v1/shares/{share}/file?at=&path=       the bytes of a file of a moment
//! POST   /api/v1/shares/{share}/restore              RestoreRequest -> job -> RestoreReport
//! POST   /api/v1/shares/{share}/rollback             RollbackRequest -> job -> RollbackReport
//! POST   /api/v1/shares/{share}/handover             HandoverRequest -> job -> HeadInfo
//! GET    /api/v1/shares/{share}/branches             [BranchInfo], oldest first
//! DELETE /api/v1/shares/{share}/branches/{branch}    BranchInfo
//! POST   .../branches/{branch}/diff                  BranchDiffRequest -> BranchDiffPage
//! POST   .../branches/{branch}/apply                 BranchApplyRequest -> job -> BranchApplyReport
//! POST   /api/v1/shares/{share}/rejoin               RejoinRequest -> job -> RejoinReport
//! GET    /api/v1/shares/{share}/failback             FailbackPlan
//! POST   /api/v1/shares/{share}/clone                CloneBody -> job -> CloneReport
//! POST   /api/v1/buckets                             keys of [[bucket]] -> Applied
//! DELETE /api/v1/buckets/{bucket}                    Applied (the repository keeps its data)
//! POST   /api/v1/buckets/{bucket}/lifecycle          LifecycleRequest -> job -> LifecycleReport
//! GET    /api/v1/policies                            [PolicyStatus]
//! GET    /api/v1/policies/{policy}                   PolicyDetails
//! POST   /api/v1/policies/{policy}/run               PolicyRunRequest -> job -> PolicyRun
//! GET    /api/v1/policies/{policy}/simulation?days=  PolicySimulation
//! POST   /api/v1/access-keys                         keys of [[access_key]] -> Applied
//! DELETE /api/v1/access-keys/{id}                    Applied
//! GET    /api/v1/jobs                                [JobInfo], newest first
//! GET    /api/v1/jobs/{job}?wait_seconds=            JobInfo, once it has ended or the time is over
//! POST   /api/v1/jobs/{job}/cancel                   JobInfo
//! GET    /console/                                   the console, a web page over all of this
//! GET    /metrics /healthz /readyz                   text; also on gateway.metrics over TCP
//! ```
//!
//! What starts a job answers 202 with its `JobInfo`. An error is a `ControlError` as JSON under a
//! fitting status. Bounds: connections, body size, time to send a request, jobs running and
//! remembered.

mod branches;
mod disks;
mod error;
mod files;
mod health;
mod jobs;
mod listener;
mod payload;
mod policies;
mod recovery;
mod routes;
mod scrub;
mod server;
mod settings;
mod sources;
mod targets;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use jobs::{JOBS_REMEMBERED_MAX, JOBS_RUNNING_MAX, JobInfo, JobState};
pub use listener::{AdminListener, HealthListener};
pub use settings::Applied;

use crate::control::Control;
use crate::settings::SettingsFile;
use crate::telemetry::Metrics;
use jobs::Jobs;
use settings::SettingsChanges;

/// The admin API over one running gateway.
pub struct Admin {
    control: Arc<dyn Control>,
    changes: SettingsChanges,
    jobs: Jobs,
    metrics: Metrics,
}

impl Admin {
    /// The API over `control`, whose settings come from `file`.
    pub fn new(control: Arc<dyn Control>, file: SettingsFile, metrics: Metrics) -> Arc<Self> {
        let changes = SettingsChanges::new(file, control.clone());
        control.settings_changed_by(Some(Arc::new(changes.clone())));
        Arc::new(Self { control, changes, jobs: Jobs::default(), metrics })
    }

    /// Serves the whole API until `stop`; then finishes the calls in flight, within a bound, and
    /// cancels the jobs.
    pub async fn serve(self: &Arc<Self>, listener: AdminListener, stop: CancellationToken) {
        server::serve(listener, routes::all(self.clone()), stop).await;
        self.jobs.stop().await;
    }

    /// Serves metrics and health alone, for anybody who reaches the address, until `stop`.
    pub async fn serve_health(self: &Arc<Self>, listener: HealthListener, stop: CancellationToken) {
        server::serve(listener, health::routes(self.clone()), stop).await;
    }

    /// Loads the settings file again, as `POST /api/v1/settings/reload` does.
    pub async fn reload(&self) -> Result<Applied, crate::control::ControlError> {
        self.changes.reload().await
    }
}

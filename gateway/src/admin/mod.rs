//! The admin API of a running gateway: HTTP over a Unix socket, and over TLS on the network; JSON in and out.
//!
//! Owns the table of routes (`table`), who may call them (`access`, `door`), the registry of [`jobs`], and the order in which
//! settings change: check, write the file, apply; a file whose settings the gateway refuses is put back. What is asked is
//! done by [`Control`]; nothing else is decided here. `docs/openapi.json` is made from the table.
//!
//! ```text
//! /api/v1/...            the rows of the table, each behind its door (decision 0029)
//! /console/              the console, a web page over all of this
//! /metrics               text; on the socket, and on gateway.metrics over TCP
//! /healthz /readyz       text; everywhere
//! ```
//!
//! What starts a job answers 202 with its `JobInfo`. An error is a `ControlError` as JSON under a fitting status. Every change
//! and every refused call is in the audit log ([`crate::audit`]). Bounds: connections, heads, bodies, time to send either,
//! calls a minute, sessions, jobs running and remembered.

mod access;
mod audit;
mod bin;
mod branches;
mod disks;
mod door;
mod error;
mod files;
mod health;
mod in_force;
mod jobs;
mod listener;
mod openapi;
mod payload;
mod policies;
mod recovery;
mod removal;
mod routes;
mod row;
mod runbooks;
mod scrub;
mod server;
mod session;
mod settings;
mod sources;
mod table;
mod targets;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;
mod troubles;
mod within;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use jobs::{JOBS_REMEMBERED_MAX, JOBS_RUNNING_MAX, JobInfo, JobState};
pub use listener::{AdminListener, HealthListener, TlsListener};
pub use openapi::openapi_page;
pub use removal::Removal;
pub use settings::Applied;
pub use tokens::TokenInfo;

use crate::audit::{AuditLog, Entry, Event};
use crate::control::{Control, ControlError};
use crate::settings::{Settings, SettingsFile};
use crate::telemetry::Metrics;
use access::Access;
use in_force::InForce;
use jobs::Jobs;
use settings::SettingsChanges;

/// How long after a failed attempt to listen on the network the next one comes.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(if cfg!(test) { 0 } else { 10 });

/// Calls that are recorded and under way at once.
const CALLS_MAX: usize = 64;
/// How long a stop waits for them once no connection is open.
const CALLS_TIME_MAX: Duration = Duration::from_secs(10);

/// The admin API over one running gateway.
pub struct Admin {
    control: Arc<dyn Control>,
    changes: SettingsChanges,
    jobs: Jobs,
    metrics: Metrics,
    /// Held from the status to what is shown of it: a status that is older than one that was shown would look like counts
    /// that began anew.
    showing: tokio::sync::Mutex<()>,
    in_force: Arc<InForce>,
    access: Access,
    audit: Arc<AuditLog>,
    /// Calls that are recorded, which go on when their client does not.
    calls: TaskTracker,
    /// How many more of them may be under way.
    calls_left: Arc<Semaphore>,
}

impl Admin {
    /// The API over `control`, whose settings come from `file` and are in force as they are given.
    pub fn new(
        control: Arc<dyn Control>,
        file: SettingsFile,
        settings: Arc<Settings>,
        audit: Arc<AuditLog>,
        metrics: Metrics,
    ) -> Arc<Self> {
        let in_force = InForce::new(settings);
        let changes = SettingsChanges::new(file, control.clone(), in_force.clone());
        control.settings_changed_by(Some(Arc::new(changes.clone())));
        let access = Access::new(in_force.clone());
        let (jobs, calls) = (Jobs::default(), TaskTracker::new());
        let calls_left = Arc::new(Semaphore::new(CALLS_MAX));
        let showing = tokio::sync::Mutex::default();
        Arc::new(Self {
            control,
            changes,
            jobs,
            metrics,
            showing,
            in_force,
            access,
            audit,
            calls,
            calls_left,
        })
    }

    /// Binds an address of `api.listen`, and reads the certificate.
    pub async fn bind_tls(&self, address: SocketAddr) -> Result<TlsListener, ControlError> {
        let settings = self.in_force.settings();
        self.in_force.load_certificate(&settings.api).await?;
        let connections_max = settings.api.connections as usize;
        TlsListener::bind(address, connections_max, self.in_force.clone()).await
    }

    /// Serves the whole API on the socket until `stop`; then finishes the calls in flight, within a bound, and
    /// cancels the jobs. Drills end before the socket does: they take away what they made through it.
    pub async fn serve(self: &Arc<Self>, listener: AdminListener, stop: CancellationToken) {
        let routes = table::router(self).merge(health::routes(self.clone()));
        let closing = CancellationToken::new();
        let drills_end = async {
            stop.cancelled().await;
            self.jobs.stop_those(runbooks::DRILL, runbooks::STOP_TIME_MAX).await;
            closing.cancel();
        };
        tokio::join!(server::serve(listener, routes, closing.clone()), drills_end);
        self.calls.close();
        if tokio::time::timeout(CALLS_TIME_MAX, self.calls.wait()).await.is_err() {
            tracing::warn!("calls of the admin API are still under way; how they end is not recorded");
        }
        self.jobs.stop().await;
    }

    /// Serves the API on an address of the network until `stop`. What keeps it from that is an alarm, and tried again: a missing
    /// certificate with the next load of the settings, an address that is taken after a while.
    pub async fn serve_network(self: &Arc<Self>, address: SocketAddr, stop: CancellationToken) {
        let settings = self.in_force.settings();
        if let Err(error) = self.in_force.load_certificate(&settings.api).await {
            tracing::error!(%error, "the admin API is not on the network: it has no certificate");
        }
        let (subject, connections_max) = (format!("api:{address}"), settings.api.connections as usize);
        let mut is_said = false;
        loop {
            let bound = TlsListener::bind(address, connections_max, self.in_force.clone()).await;
            self.in_force.troubles.note(&subject, &bound);
            match bound {
                Ok(listener) => return self.serve_tls(listener, stop).await,
                Err(error) if is_said => tracing::debug!(%error, "the admin API is still not on the network"),
                Err(error) => {
                    is_said = true;
                    tracing::error!(%error, "the admin API is not on the network; it is tried again");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LISTEN_AGAIN_AFTER) => {}
            }
        }
    }

    /// Serves the API and the console on the network until `stop`. Metrics are behind a token there.
    pub async fn serve_tls(self: &Arc<Self>, listener: TlsListener, stop: CancellationToken) {
        server::serve(listener, table::router(self).merge(health::alone()), stop).await;
    }

    /// Serves metrics and health alone, for anybody who reaches the address, until `stop`.
    pub async fn serve_health(self: &Arc<Self>, listener: HealthListener, stop: CancellationToken) {
        server::serve(listener, health::routes(self.clone()), stop).await;
    }

    /// Loads the settings file again because a signal says so; recorded as every other change is.
    pub async fn reload_by_signal(&self) -> Result<Applied, ControlError> {
        let entry = Entry { who: "signal".to_owned(), call: "SIGHUP".to_owned(), ..Entry::default() };
        let number = self.audit.write(Event::Call, entry.clone()).await?;
        let applied = self.reload().await;
        let outcome = applied.as_ref().err().map(ToString::to_string).unwrap_or_default();
        let answered = Entry { of: Some(number), outcome, ..entry };
        if let Err(error) = self.audit.write(Event::Answered, answered).await {
            tracing::error!(%error, record = number, "how the settings were loaded was not recorded");
        }
        applied
    }

    /// Loads the settings file again, as `POST /api/v1/settings/reload` does.
    pub async fn reload(&self) -> Result<Applied, ControlError> {
        self.changes.reload().await
    }
}

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
mod within;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

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

/// The admin API over one running gateway.
pub struct Admin {
    control: Arc<dyn Control>,
    changes: SettingsChanges,
    jobs: Jobs,
    metrics: Metrics,
    in_force: Arc<InForce>,
    access: Access,
    audit: Arc<AuditLog>,
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
        Arc::new(Self { control, changes, jobs: Jobs::default(), metrics, in_force, access, audit })
    }

    /// Binds an address of `api.listen`, and reads the certificate.
    pub async fn bind_tls(&self, address: SocketAddr) -> Result<TlsListener, ControlError> {
        let settings = self.in_force.settings();
        self.in_force.load_certificate(&settings.api).await?;
        let connections_max = settings.api.connections as usize;
        TlsListener::bind(address, connections_max, self.in_force.clone()).await
    }

    /// Serves the whole API on the socket until `stop`; then finishes the calls in flight, within a bound, and
    /// cancels the jobs.
    pub async fn serve(self: &Arc<Self>, listener: AdminListener, stop: CancellationToken) {
        let routes = table::router(self).merge(health::routes(self.clone()));
        server::serve(listener, routes, stop).await;
        self.jobs.stop().await;
    }

    /// Serves the API and the console on the network until `stop`. Metrics are behind a token there.
    pub async fn serve_tls(self: &Arc<Self>, listener: TlsListener, stop: CancellationToken) {
        server::serve(listener, table::router(self).merge(health::alone()), stop).await;
    }

    /// Serves metrics and health alone, for anybody who reaches the address, until `stop`.
    pub async fn serve_health(self: &Arc<Self>, listener: HealthListener, stop: CancellationToken) {
        server::serve(listener, health::routes(self.clone()), stop).await;
    }

    /// Loads the settings file again because a signal says so; recorded as such.
    pub async fn reload_by_signal(&self) -> Result<Applied, ControlError> {
        let entry = Entry { who: "signal".to_owned(), call: "SIGHUP".to_owned(), ..Entry::default() };
        self.audit.write(Event::Call, entry).await?;
        self.changes.reload().await
    }
}

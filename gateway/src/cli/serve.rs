//! `tidegate serve`: runs the gateway until it is told to stop.
//!
//! Order of a start: settings, logging, admin socket (so that a second gateway is refused before it
//! touches anything), core, audit log, admin API, its ports on the network. An audit log or a port that cannot be had is an
//! alarm; data is served in any case. SIGHUP loads the settings again; a file that is wrong is
//! logged, and changes nothing. SIGTERM and SIGINT stop: the admin API first, then the core, which
//! syncs its journal. What ends the core by itself ends the process with an error. A service manager is told of all of it
//! (`service_manager.rs`).

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::exit::Failure;
use super::service_manager;
use super::terminal::failed;
use crate::admin::{Admin, AdminListener, HealthListener};
use crate::audit::{AUDIT_FOLDER, AuditLog, Export};
use crate::control::{Control, ControlError, Start};
use crate::settings::Settings;
use crate::telemetry::{Metrics, follow, start_logging};

/// What the service manager shows.
const SERVING: &str = "serving";
const NOT_RELOADED: &str = "serving; the settings that were loaded last are wrong and not in force";

pub(super) async fn run(context: &Context, core: &dyn Start) -> Result<(), Failure> {
    let settings = Arc::new(context.file.load()?);
    let gateway = settings.gateway.clone();
    start_logging(gateway.log_format, gateway.log_level);
    let metrics = Metrics::start();
    let mut signals = Signals::new()?;
    let socket = AdminListener::bind(gateway.socket.as_path()).await?;
    let health = match gateway.metrics {
        Some(address) => Some(HealthListener::bind(address.0).await?),
        None => None,
    };

    let control = core.start(settings.clone()).await?;
    // After the start: one that is refused leaves nothing behind, and no record of calls that nobody could make.
    let audit = match open_audit(&settings).await {
        Ok(audit) => audit,
        Err(error) => {
            control.stop().await?;
            return Err(error.into());
        }
    };
    let admin = Admin::new(control.clone(), context.file.clone(), settings.clone(), audit, metrics);
    let stop = CancellationToken::new();
    let mut network = JoinSet::new();
    // What serves data does not wait for them, nor end with one that cannot be had.
    for listen in &settings.api.listen {
        let (admin, address, stop) = (admin.clone(), listen.0, stop.clone());
        network.spawn(async move { admin.serve_network(address, stop).await });
    }
    let serving = tokio::spawn({
        let (admin, stop) = (admin.clone(), stop.clone());
        async move { admin.serve(socket, stop).await }
    });
    let showing = health.map(|health| {
        let (admin, stop) = (admin.clone(), stop.clone());
        tokio::spawn(async move { admin.serve_health(health, stop).await })
    });
    tidegate_protocols::follow_calls(follow);
    let exporting = tokio::spawn(admin.clone().export_telemetry(stop.clone()));
    let watchdog = tokio::spawn(service_manager::keep_watchdog(control.clone(), stop.clone()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), socket = %gateway.socket, "serving");
    service_manager::serving(SERVING);

    let ended = until_told_to_stop(&control, &admin, &mut signals).await;
    service_manager::stopping();
    stop.cancel();
    watchdog.await.map_err(|error| failed("stop the watchdog", &error))?;
    exporting.await.map_err(|error| failed("stop sending metrics", &error))?;
    let served = serving.await;
    if let Some(showing) = showing {
        showing.await.map_err(|error| failed("stop showing metrics", &error))?;
    }
    while network.join_next().await.is_some() {}
    let stopped = control.stop().await;
    ended?;
    served.map_err(|error| failed("stop the admin API", &error))?;
    stopped?;
    tracing::info!("stopped");
    Ok(())
}

/// The audit log of these settings. One that cannot be written refuses changes, says so in an alarm, and keeps no data from
/// being served.
async fn open_audit(settings: &Settings) -> Result<Arc<AuditLog>, ControlError> {
    let folder = settings.gateway.data.as_path().join(AUDIT_FOLDER);
    let export = settings.audit.syslog.clone().map(Export::to);
    let files = settings.audit.files as usize;
    let opened = tokio::task::spawn_blocking(move || AuditLog::open_or_stopped(&folder, files, export));
    Ok(Arc::new(opened.await.map_err(|error| failed("open the audit log", &error))?))
}

async fn until_told_to_stop(
    control: &Arc<dyn Control>,
    admin: &Arc<Admin>,
    signals: &mut Signals,
) -> Result<(), ControlError> {
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => return Ok(()),
            _ = signals.interrupt.recv() => return Ok(()),
            _ = signals.hang_up.recv() => {
                service_manager::reloading();
                let status = match admin.reload_by_signal().await {
                    Ok(_) => SERVING,
                    Err(error) => {
                        tracing::error!(%error, "the settings were not applied; those from before stay in force");
                        NOT_RELOADED
                    }
                };
                service_manager::serving(status);
            }
            error = control.failure() => {
                tracing::error!(%error, "the gateway cannot go on");
                return Err(error);
            }
        }
    }
}

/// What this process is told from outside.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, ControlError> {
        let on = |kind| signal(kind).map_err(|error| failed("listen for signals", &error));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    /// Returns once it is to stop.
    pub(super) async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

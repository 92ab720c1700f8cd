//! What the service manager is told: that the gateway serves, that it stops, and that it lives.
//!
//! The protocol is `sd_notify(3)`; without a `NOTIFY_SOCKET` in the environment nothing is said. A unit with
//! `WatchdogSec=` restarts a process that says nothing for so long. It is told that this one lives by a task of the same
//! runtime that serves clients, twice in that time, and only after the gateway has answered how it stands: one whose threads are
//! all stuck says nothing. Whether the store is there makes no difference: a restart would not bring it back.

use std::sync::Arc;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::control::Control;

/// Says that clients are served, in a sentence for `systemctl status`.
pub(super) fn serving(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the settings are being loaded again; [`serving`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no monotonic clock for the service manager"),
    }
}

/// Says that no more calls are taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the gateway lives, until `stop`. Returns at once when nobody watches.
pub(super) async fn keep_watchdog(control: Arc<dyn Control>, stop: CancellationToken) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    let mut beat = tokio::time::interval(patience / 2);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beat.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = control.status() => tell(&[NotifyState::Watchdog]),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told how the gateway stands");
    }
}

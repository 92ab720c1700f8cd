//! The heart of a gateway: writes to the repository that it lives, and how it is.
//!
//! One heartbeat at the start, one at every `heartbeat_every`, one more as the last word of a planned stop. The number of a
//! heartbeat rises from one to the next, also over restarts: the first looks what there is. One that fails is made up
//! for by the next; that the store does not answer is an alarm of its own. A gateway that only follows others protects
//! nothing, and may be allowed to read alone: it has no heartbeat.

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::repository::{
    BeatAlarm, BeatShare, HEARTBEAT_ALARMS_MAX, HEARTBEAT_SHARES_MAX, HEARTBEATS_KEPT, Heartbeat,
    HeartbeatName, RepositoryError, ShareDescription, UtcNanos,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::host_name;
use super::offline::utc_nanos;
use super::overview::Overview;
use crate::appliance::ShareReport;
use crate::control::{Alarm, Status};

/// How long one heartbeat may take.
const BEAT_TIME_MAX: Duration = Duration::from_mins(1);
/// How long the last one may keep a gateway from stopping.
const LAST_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest pause after one that failed.
const PAUSE_FAILED_MAX: Duration = Duration::from_mins(1);

/// See the head of this module.
pub(super) struct Heart {
    overview: Arc<Overview>,
    /// What lies in the repository, newest first; none before the first look.
    written: Mutex<Option<Vec<HeartbeatName>>>,
}

impl Heart {
    /// The heart of the gateway that is reported on.
    pub(super) fn new(overview: Arc<Overview>) -> Arc<Self> {
        Arc::new(Self { overview, written: Mutex::default() })
    }

    /// Beats until `stop`.
    pub(super) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let every = self.overview.settings().alarms.heartbeat_every.duration();
            let pause = tokio::select! {
                () = stop.cancelled() => return,
                beaten = tokio::time::timeout(BEAT_TIME_MAX, self.beat(false)) => match beaten {
                    Ok(Ok(())) => every,
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "a heartbeat failed; the next makes up for it");
                        every.min(PAUSE_FAILED_MAX)
                    }
                    Err(_) => every.min(PAUSE_FAILED_MAX),
                },
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The last word: this stop is meant.
    pub(super) async fn stop(&self) {
        match tokio::time::timeout(LAST_TIME_MAX, self.beat(true)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "who watches will not know that this stop was meant"),
            Err(_) => {
                tracing::warn!("who watches will not know that this stop was meant: the store is too slow");
            }
        }
    }

    async fn beat(&self, stopped: bool) -> Result<(), RepositoryError> {
        // Others may have made new keys; this costs a request.
        if !stopped {
            self.overview.appliance.repository().learn_epochs().await?;
        }
        let shares = self.overview.appliance.report();
        if shares.iter().all(|share| share.follows) {
            return Ok(());
        }
        let (repository, instance) =
            (self.overview.appliance.repository(), self.overview.appliance.instance());
        let mut written = self.written.lock().await;
        let mut names = match written.take() {
            Some(names) => names,
            None => repository.heartbeats_of(instance).await?.into_iter().map(|listed| listed.name).collect(),
        };
        let sequence = names.first().map_or(1, |newest| newest.sequence.saturating_add(1));
        let name = repository.beat(instance, sequence, stopped, &self.heartbeat(&shares)).await?;
        names.insert(0, name);
        let old = names.split_off(HEARTBEATS_KEPT.min(names.len()));
        *written = Some(names);
        // What cannot be removed is found again after the next start.
        if let Err(error) = repository.remove_heartbeats(instance, &old).await {
            tracing::debug!(%error, "old heartbeats stay for now");
        }
        Ok(())
    }

    fn heartbeat(&self, shares: &[ShareReport]) -> Heartbeat {
        let (status, every) = (self.overview.status(), self.overview.settings().alarms.heartbeat_every);
        let Status { version, started, alarms, .. } = status;
        Heartbeat {
            host: host_name(),
            program: version,
            started_at: utc_nanos(started),
            beat_at: UtcNanos::from(std::time::SystemTime::now()),
            every_seconds: every.duration().as_secs(),
            shares: shares.iter().take(HEARTBEAT_SHARES_MAX).map(beat_share).collect(),
            alarms: alarms.iter().take(HEARTBEAT_ALARMS_MAX).map(beat_alarm).collect(),
        }
    }
}

fn beat_share(report: &ShareReport) -> BeatShare {
    BeatShare {
        share: ShareDescription { id: report.id, name: report.name.clone(), domain: report.domain },
        leads: !report.follows && !report.superseded,
        rpo_seconds: report.rpo.as_secs(),
        rpo_now_seconds: report.rpo_now.as_secs(),
        head: report.newest.as_ref().map(|(name, _)| *name),
    }
}

fn beat_alarm(alarm: &Alarm) -> BeatAlarm {
    BeatAlarm {
        code: alarm.code.to_string(),
        subject: alarm.subject.clone(),
        severity: alarm.severity.as_str().to_owned(),
        since: utc_nanos(alarm.since),
        message: alarm.message.clone(),
        todo: alarm.todo.clone(),
    }
}

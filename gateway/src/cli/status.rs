//! `tidegate status`: is everything protected, what is behind.

use super::Context;
use super::exit::Failure;
use super::format::{bytes, seconds, table};
use crate::control::{Alarm, Severity, ShareStatus, Status, TargetStatus};

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let status: Status = context.client()?.get("/status").await?;
    context.terminal.data(&status, overview)
}

fn overview(status: &Status) -> String {
    let process = format!(
        "tidegate {}, up {}, memory {} of {}",
        status.version,
        seconds(status.uptime_seconds),
        bytes(status.memory.resident_bytes),
        bytes(status.memory.budget_bytes)
    );
    let cache = &status.cache;
    let room = format!(
        "cache {} of {}, dirty {} of {}, journal {}, {} free on its disk",
        bytes(cache.disk_bytes),
        bytes(cache.disk_bytes_max),
        bytes(cache.dirty_bytes),
        bytes(cache.dirty_bytes_max),
        bytes(status.journal.bytes),
        bytes(status.journal.free_bytes),
    );
    let parts = [process, shares(&status.shares), targets(&status.targets), room];
    parts.into_iter().chain(status.alarms.iter().map(alarm)).collect::<Vec<_>>().join("\n\n")
}

fn targets(targets: &[TargetStatus]) -> String {
    let row = |target: &TargetStatus| {
        let state = match (&target.last_failure, target.reachable) {
            (_, true) => "reachable".to_owned(),
            (Some(failure), false) => format!("away: {}", failure.message),
            (None, false) => "away".to_owned(),
        };
        let backlog = format!("{} in {} packs", bytes(target.backlog_bytes), target.backlog_packs);
        [target.name.clone(), target.address.clone(), backlog, state]
    };
    let rows: Vec<[String; 4]> = targets.iter().map(row).collect();
    table(["TARGET", "ADDRESS", "BACKLOG", "STATE"], &rows)
}

fn alarm(alarm: &Alarm) -> String {
    let severity = match alarm.severity {
        Severity::Warning => "warning",
        Severity::Critical => "CRITICAL",
    };
    format!("{severity}: {}\n  what to do: {}", alarm.message, alarm.todo)
}

/// The shares as a table, also for `tidegate share list`.
pub(super) fn shares(shares: &[ShareStatus]) -> String {
    let row = |share: &ShareStatus| {
        let head = share
            .head
            .as_ref()
            .map_or("none yet".to_owned(), |head| format!("{} ago", seconds(head.age_seconds)));
        let state = share.state.as_str();
        let reason = share.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        [
            share.name.clone(),
            share.export.clone(),
            format!("{} of {}", seconds(share.rpo_now_seconds), seconds(share.rpo_seconds)),
            bytes(share.dirty_bytes),
            head,
            share.files.to_string(),
            bytes(share.bytes),
            format!("{state}{reason}"),
        ]
    };
    let rows: Vec<[String; 8]> = shares.iter().map(row).collect();
    table(["SHARE", "EXPORT", "RPO NOW", "DIRTY", "HEAD", "FILES", "SIZE", "STATE"], &rows)
}

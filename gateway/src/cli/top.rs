//! `tidegate top`: what the gateway does now: throughput, latency and backlog, again and again.
//!
//! A rate is the difference of two looks at the gateway's counters; latency is the mean of the calls that ended
//! between them. On a terminal each look replaces the one before; else, and with `--json`, one follows the other.

mod sample;

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::Context;
use super::client::Client;
use super::exit::Failure;
use super::format::{bytes, seconds, table};
use crate::control::Status;
use sample::Sample;

/// Clears the screen, and puts the cursor into its corner.
const CLEAR: &str = "\x1b[2J\x1b[H";
/// Procedures and operations that are shown, the busiest first.
const CALLS_SHOWN: usize = 8;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Seconds between two looks.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// How many looks; without it, until it is stopped.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// What happened between two looks.
#[derive(Debug, Serialize)]
struct Look {
    nfs: Flow,
    s3: Flow,
    /// NFS procedures and S3 operations, the busiest first.
    calls: Vec<Calls>,
    journal_sync_ms: f64,
    targets: Vec<TargetFlow>,
    cache_hit_percent: Option<f64>,
    dirty_bytes: u64,
    dirty_percent: u64,
    /// The share that would lose most now, and how many seconds.
    worst_rpo: Option<(String, u64)>,
    alarms: usize,
}

/// Bytes a second.
#[derive(Debug, Serialize)]
struct Flow {
    received: f64,
    sent: f64,
}

#[derive(Debug, Serialize)]
struct Calls {
    door: &'static str,
    name: String,
    per_second: f64,
    mean_ms: f64,
}

#[derive(Debug, Serialize)]
struct TargetFlow {
    name: String,
    up: f64,
    down: f64,
    backlog_bytes: u64,
    backlog_seconds: Option<u64>,
    reachable: bool,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let client = context.client()?;
    let every = Duration::from_secs(command.every);
    let mut beat = tokio::time::interval(every);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    beat.tick().await;
    let mut before = take(&client).await?;
    let mut left = command.count;
    while left != Some(0) {
        tokio::select! {
            _ = beat.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let now = take(&client).await?;
        let status: Status = client.get("/status").await?;
        let look = look(&before, &now, &status);
        let clear = if context.terminal.is_screen() { CLEAR } else { "" };
        context.terminal.data(&look, |look| format!("{clear}{}", shown(look, &status)))?;
        before = now;
        left = left.map(|left| left - 1);
    }
    Ok(())
}

async fn take(client: &Client) -> Result<(Sample, Instant), Failure> {
    let text = client.metrics().await?;
    Ok((Sample::parse(&text), Instant::now()))
}

fn look(before: &(Sample, Instant), now: &(Sample, Instant), status: &Status) -> Look {
    let elapsed = now.1.duration_since(before.1).as_secs_f64().max(f64::EPSILON);
    let grown = now.0.since(&before.0);
    let flow = |door: &str| Flow {
        received: grown.sum(&format!("tidegate_{door}_received_bytes_total")) / elapsed,
        sent: grown.sum(&format!("tidegate_{door}_sent_bytes_total")) / elapsed,
    };
    let mut calls = calls(&grown, "NFS", "tidegate_nfs_call_seconds", "procedure", elapsed);
    calls.extend(self::calls(&grown, "S3", "tidegate_s3_request_seconds", "operation", elapsed));
    calls.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
    let (hits, misses) = (grown.sum("tidegate_cache_hits_total"), grown.sum("tidegate_cache_misses_total"));
    let syncs = grown.sum("tidegate_journal_sync_seconds_count");
    let target = |target: &crate::control::TargetStatus| {
        let moved = |direction| {
            let labels = [("target", target.name.as_str()), ("direction", direction)];
            grown.sum_where("tidegate_target_moved_bytes_total", &labels) / elapsed
        };
        TargetFlow {
            name: target.name.clone(),
            up: moved("up"),
            down: moved("down"),
            backlog_bytes: target.backlog_bytes,
            backlog_seconds: target.backlog_seconds,
            reachable: target.reachable,
        }
    };
    let worst = status.shares.iter().max_by_key(|share| share.rpo_now_seconds);
    Look {
        nfs: flow("nfs"),
        s3: flow("s3"),
        calls,
        journal_sync_ms: mean_ms(grown.sum("tidegate_journal_sync_seconds_sum"), syncs),
        targets: status.targets.iter().map(target).collect(),
        cache_hit_percent: (hits + misses > 0.0).then(|| 100.0 * hits / (hits + misses)),
        dirty_bytes: status.cache.dirty_bytes,
        dirty_percent: status.cache.dirty_percent,
        worst_rpo: worst.map(|share| (share.name.clone(), share.rpo_now_seconds)),
        alarms: status.alarms.len(),
    }
}

fn calls(grown: &Sample, door: &'static str, metric: &str, label: &str, elapsed: f64) -> Vec<Calls> {
    let counts = grown.by_label(&format!("{metric}_count"), label);
    let sums = grown.by_label(&format!("{metric}_sum"), label);
    let row = |(name, count): (String, f64)| {
        let sum = sums.get(&name).copied().unwrap_or_default();
        Calls { door, per_second: count / elapsed, mean_ms: mean_ms(sum, count), name }
    };
    counts.into_iter().filter(|(_, count)| *count > 0.0).map(row).collect()
}

fn mean_ms(seconds: f64, count: f64) -> f64 {
    if count > 0.0 { 1000.0 * seconds / count } else { 0.0 }
}

fn shown(look: &Look, status: &Status) -> String {
    let rate = |per_second: f64| format!("{}/s", bytes(per_second as u64));
    let worst = look.worst_rpo.as_ref().map_or(String::new(), |(share, age)| {
        format!(", a disaster would cost {} of {share}", seconds(*age))
    });
    let head = format!(
        "tidegate {}, up {}, alarms {}{worst}",
        status.version,
        seconds(status.uptime_seconds),
        look.alarms
    );
    let hits = look.cache_hit_percent.map_or("-".to_owned(), |percent| format!("{percent:.1} %"));
    let local = format!(
        "dirty {} ({} %), a sync of the journal {:.2} ms, cache hits {hits}",
        bytes(look.dirty_bytes),
        look.dirty_percent,
        look.journal_sync_ms
    );
    let doors = [("NFS", &look.nfs), ("S3", &look.s3)]
        .map(|(name, flow)| [name.to_owned(), rate(flow.received), rate(flow.sent)]);
    let target = |target: &TargetFlow| {
        let left = target.backlog_seconds.map_or("-".to_owned(), seconds);
        let state = if target.reachable { "reachable" } else { "AWAY" };
        let backlog = bytes(target.backlog_bytes);
        [target.name.clone(), rate(target.up), rate(target.down), backlog, left, state.to_owned()]
    };
    let call = |call: &Calls| {
        let name = format!("{} {}", call.door, call.name);
        [name, format!("{:.0}", call.per_second), format!("{:.2}", call.mean_ms)]
    };
    let targets: Vec<_> = look.targets.iter().map(target).collect();
    let calls: Vec<_> = look.calls.iter().take(CALLS_SHOWN).map(call).collect();
    let parts = [
        head,
        local,
        table(["DOOR", "IN", "OUT"], &doors),
        table(["TARGET", "UP", "DOWN", "BACKLOG", "DONE IN", "STATE"], &targets),
        table(["CALL", "A SECOND", "MEAN MS"], &calls),
    ];
    parts.join("\n\n")
}

//! `tidegate watch`: notices, from elsewhere, that a gateway went silent or that a share is not protected.
//!
//! Looks at the repository again and again and has the notifiers of the settings told, or looks once and ends as
//! monitoring systems want it. What it cannot see it calls unknown, never well.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use tidegate_replicator::repository::{InstanceId, Repository};

use super::Context;
use super::exit::Failure;
use super::format::{seconds, table};
use super::place::RepositoryPlace;
use super::serve::Signals;
use crate::alarm::{Keeper, Reading, Verdict};
use crate::assembly::{AssemblyError, OfflineRepository, contact_store, open_store, sender};
use crate::control::{Alarm, AlarmCode, ControlError, ErrorKind, Severity};
use crate::settings::{Settings, Span};
use crate::watch::{GatewayState, Round, Watcher, readings, standings};

/// How the help text ends in place of the exit codes of other commands.
pub(super) const HELP: &str = "\
Exit codes:
   0  with --once: all is well; else: it was told to stop
   1  with --once: a warning
   2  with --once: critical (and always: the command line is wrong)
   3  with --once: unknown, for the repository cannot be seen; otherwise as for other commands";

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Look once, say how it is, and end with 0 (well), 1 (warning), 2 (critical) or 3 (unknown).
    #[arg(long)]
    once: bool,
    /// How often it is looked.
    #[arg(long, default_value = "2m", value_parser = interval, conflicts_with = "once")]
    every: Span,
    /// Go by names and times alone: needs no key, and sees only who went silent.
    #[arg(long)]
    no_key: bool,
    /// Forget a gateway that is gone for good, by its id: removes its heartbeats.
    #[arg(long, value_name = "ID", value_parser = instance, conflicts_with = "once")]
    forget: Option<InstanceId>,
    #[command(flatten)]
    place: RepositoryPlace,
}

/// The shortest time between two looks.
const EVERY_MIN: Span = Span::seconds(10);

fn interval(text: &str) -> Result<Span, String> {
    let every: Span = text.parse()?;
    if every < EVERY_MIN {
        return Err(format!("is less than {EVERY_MIN}"));
    }
    Ok(every)
}

fn instance(text: &str) -> Result<InstanceId, String> {
    InstanceId::from_hex(text)
        .ok_or_else(|| "the id of a gateway has 16 digits, 0 to 9 and a to f".to_owned())
}

/// How it is, as one look sees it.
#[derive(Debug, Serialize)]
struct Report {
    /// `ok`, `warning` or `critical`.
    state: &'static str,
    gateways: Vec<GatewayState>,
    alarms: Vec<Alarm>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let once = command.once;
    let ended = watch(context, command).await;
    ended.map_err(|failure| match failure.code {
        // What it found.
        1 | 2 if once && failure.error.kind == ErrorKind::Incomplete => failure,
        _ if once => Failure { code: 3, ..failure },
        _ => failure,
    })
}

async fn watch(context: &Context, command: Command) -> Result<(), Failure> {
    let settings = command.place.settings(context)?;
    if let Some(instance) = command.forget {
        return forget(context, &settings, instance).await;
    }
    let mut watcher = open(&settings, command.no_key).await?;
    if command.once {
        let round = watcher.look().await.map_err(AssemblyError::from)?;
        return report(context, &round, &settings);
    }
    keep(context, &settings, &mut watcher, command.every.duration()).await
}

async fn open(settings: &Settings, no_key: bool) -> Result<Watcher, Failure> {
    if !no_key {
        let offline = OfflineRepository::open(settings).await?;
        return Ok(Watcher::with_key(offline.repository, offline.health));
    }
    let target = &settings.targets[0];
    let first = contact_store(target).await?;
    let located = Repository::locate(first.store).await.map_err(AssemblyError::at(target))?;
    let opened = open_store(target, None).await?;
    Ok(Watcher::without_key(located.through(opened.store), opened.health))
}

async fn forget(context: &Context, settings: &Settings, instance: InstanceId) -> Result<(), Failure> {
    let store = open_store(&settings.targets[0], None).await?.store;
    let repository = Repository::locate(store).await.map_err(AssemblyError::from)?;
    let listed = repository.heartbeats_of(instance).await.map_err(AssemblyError::from)?;
    if listed.is_empty() {
        let error =
            ControlError::new(ErrorKind::NotFound, format!("there are no heartbeats of gateway {instance}"));
        return Err(error.todo("`tidegate watch --once` shows those that there are").into());
    }
    let names: Vec<_> = listed.iter().map(|listed| listed.name).collect();
    repository.remove_heartbeats(instance, &names).await.map_err(AssemblyError::from)?;
    context
        .terminal
        .say(&format!("gateway {instance} is forgotten; if it lives, it comes back with its next heartbeat"));
    Ok(())
}

/// What is wrong by one look, without waiting for a second.
fn alarms(round: &Round, settings: &Settings) -> Vec<Alarm> {
    let wrong = readings(round, &settings.alarms).into_iter().filter_map(|reading| {
        let Reading { code, subject, verdict: Verdict::Wrong { severity, message, todo, .. } } = reading
        else {
            return None;
        };
        Some(Alarm { code, subject, severity, since: round.now, message, todo })
    });
    let mut alarms: Vec<Alarm> = wrong.collect();
    alarms.sort_by_key(|alarm| std::cmp::Reverse(alarm.severity));
    alarms
}

fn report(context: &Context, round: &Round, settings: &Settings) -> Result<(), Failure> {
    let alarms = alarms(round, settings);
    let worst = alarms.first().map(|alarm| alarm.severity);
    let state = worst.map_or("ok", Severity::as_str);
    let report = Report { state, gateways: standings(round, &settings.alarms), alarms };
    context.terminal.data(&report, people)?;
    let code = match worst {
        None => return Ok(()),
        Some(Severity::Warning) => 1,
        Some(Severity::Critical) => 2,
    };
    let message = format!("{} alarms", report.alarms.len());
    Err(Failure { error: ControlError::new(ErrorKind::Incomplete, message), code })
}

/// The first line says it all, as monitoring systems show it.
fn people(report: &Report) -> String {
    let first = match report.alarms.first() {
        None => format!("OK: {} gateways, none of them silent", report.gateways.len()),
        Some(worst) => {
            let more = report.alarms.len() - 1;
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            format!("{}: {}{more}", report.state.to_uppercase(), worst.message)
        }
    };
    let row = |gateway: &GatewayState| {
        [
            gateway.instance.clone(),
            gateway.host.clone().unwrap_or_else(|| "-".to_owned()),
            gateway.standing.as_str().to_owned(),
            format!("{} ago", seconds(gateway.age_seconds)),
            gateway.shares.join(","),
        ]
    };
    let rows: Vec<[String; 5]> = report.gateways.iter().map(row).collect();
    let gateways = table(["GATEWAY", "HOST", "STATE", "HEARD OF", "SHARES"], &rows);
    let alarms = report.alarms.iter().map(super::alarms::shown);
    [first, gateways].into_iter().chain(alarms).collect::<Vec<_>>().join("\n\n")
}

/// Looks until it is told to stop.
async fn keep(
    context: &Context,
    settings: &Settings,
    watcher: &mut Watcher,
    every: Duration,
) -> Result<(), Failure> {
    if settings.notify.is_empty() {
        context.terminal.say("no [[notify]] in the settings: alarms are only said here");
    }
    let keeper = Keeper::new(settings, sender(settings));
    let mut stop = Signals::new()?;
    let mut known = Vec::new();
    loop {
        let target = format!("target:{}", settings.targets[0].name);
        let found = match watcher.look().await {
            Ok(round) => {
                known = readings(&round, &settings.alarms);
                let mut found = known.clone();
                found.push(Reading::new(AlarmCode::StoreAway, target, Verdict::Right));
                found
            }
            Err(error) => unseen(&known, target, settings, &error.to_string()),
        };
        keeper.take_in(found, Timestamp::now());
        tokio::select! {
            () = stop.told_to_stop() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// What is said when nothing can be seen: that, and what was said before.
fn unseen(known: &[Reading], target: String, settings: &Settings, why: &str) -> Vec<Reading> {
    tracing::warn!(why, "the repository cannot be seen now");
    let as_before = |reading: &Reading| Reading { verdict: Verdict::Between, ..reading.clone() };
    let mut found: Vec<Reading> = known.iter().map(as_before).collect();
    let verdict = Verdict::Wrong {
        severity: Severity::Critical,
        after: settings.alarms.store_away_after.duration(),
        message: format!("the repository cannot be watched: {why}"),
        todo: "see network, credentials and the store; nobody knows meanwhile whether its gateways live"
            .to_owned(),
    };
    found.push(Reading::new(AlarmCode::StoreAway, target, verdict));
    found
}

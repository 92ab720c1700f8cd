//! `tidegate policy`: list, show, run, simulate.

use std::collections::BTreeMap;

use clap::Subcommand;
use jiff::{Span, Timestamp};
use serde::Serialize;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::table;
use super::snapshot::parse_tag;
use crate::control::{
    ControlError, ErrorKind, PolicyDetails, PolicyRun, PolicyRunRequest, PolicySnapshot, PolicyStatus,
};
use crate::policy::{Plan, Simulation, simulate};

/// The longest time that is simulated, in years.
const SIMULATED_YEARS_MAX: i64 = 30;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all policies: when each runs next, how its last run ended, how many snapshots it has.
    List,
    /// Show a policy, its next runs, and its snapshots with the rules that keep them.
    Show {
        /// The policy.
        policy: String,
    },
    /// Run a policy now.
    Run {
        /// The policy.
        policy: String,
        /// A word kept with the snapshots, as KEY=VALUE; may be repeated.
        #[arg(long = "tag", value_parser = parse_tag)]
        tags: Vec<(String, String)>,
        #[command(flatten)]
        job: JobOptions,
    },
    /// Show which snapshots the rules would keep of those that would be taken. Needs no gateway.
    Simulate {
        /// The policy.
        policy: String,
        /// When it begins, such as 2026-11-20T14:05:00Z; without it now.
        #[arg(long)]
        from: Option<Timestamp>,
        /// How long it goes on, such as 1y, 6mo or 30d.
        #[arg(long = "for", default_value = "1y")]
        span: Span,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let policies: Vec<PolicyStatus> = context.client()?.get("/policies").await?;
            context.terminal.data(&policies, |policies| list(policies))
        }
        Command::Show { policy } => {
            let path = format!("/policies/{}", segment(&policy));
            let details: PolicyDetails = context.client()?.get(&path).await?;
            context.terminal.data(&details, show)
        }
        Command::Run { policy, tags, job } => {
            let path = format!("/policies/{}/run", segment(&policy));
            let request = PolicyRunRequest { tags: BTreeMap::from_iter(tags) };
            if job.detach {
                return follow::run(context, job, &path, &request, said).await;
            }
            let run: PolicyRun = follow::to_its_end(context, &path, &request).await?;
            context.terminal.data(&run, said)?;
            whole(&run)
        }
        Command::Simulate { policy, from, span } => {
            let found = simulated(context, &policy, from.unwrap_or_else(Timestamp::now), span)?;
            context.terminal.data(&found, foretold)
        }
    }
}

fn or_dash(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), to_the_second)
}

fn to_the_second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The policies as a table, also for `tidegate status`.
pub(super) fn list(policies: &[PolicyStatus]) -> String {
    let row = |policy: &PolicyStatus| {
        [
            policy.name.clone(),
            policy.shares.join(","),
            policy.when.clone(),
            or_dash(policy.next),
            or_dash(policy.last_success),
            policy.snapshots.to_string(),
            outcome(policy),
        ]
    };
    let heading = ["POLICY", "SHARES", "WHEN", "NEXT RUN", "LAST SNAPSHOT", "SNAPSHOTS", "LAST RUN"];
    table(heading, &policies.iter().map(row).collect::<Vec<_>>())
}

fn outcome(policy: &PolicyStatus) -> String {
    match &policy.last_run {
        _ if policy.running => "running".to_owned(),
        None => "none since the start".to_owned(),
        Some(PolicyRun { error: None, .. }) if !policy.lacks.is_empty() => {
            let sources: Vec<&str> = policy.lacks.keys().map(String::as_str).collect();
            format!("INCOMPLETE: {}", sources.join(", "))
        }
        Some(PolicyRun { error: None, .. }) => "done".to_owned(),
        Some(PolicyRun { error: Some(error), began, .. }) => {
            format!("FAILED at {}: {error}", to_the_second(*began))
        }
    }
}

fn show(details: &PolicyDetails) -> String {
    let next: Vec<String> = details.next_runs.iter().map(|time| to_the_second(*time)).collect();
    let row = |snapshot: &PolicySnapshot| {
        let kept_by = if snapshot.kept_by.is_empty() {
            "nothing: it goes with the next run".to_owned()
        } else {
            snapshot.kept_by.join(", ")
        };
        [snapshot.share.clone(), to_the_second(snapshot.taken), snapshot.id.clone(), kept_by]
    };
    let rows: Vec<_> = details.snapshots.iter().map(row).collect();
    format!(
        "{}\n\nnext runs: {}\n\n{}",
        list(std::slice::from_ref(&details.status)),
        next.join(", "),
        table(["SHARE", "TAKEN", "ID", "KEPT BY"], &rows)
    )
}

/// A run whose snapshots lack something is no success.
fn whole(run: &PolicyRun) -> Result<(), Failure> {
    let lacks =
        |share: &crate::control::PolicyShareRun| Some(format!("{}: {}", share.share, share.lacks.as_ref()?));
    let lacking: Vec<String> = run.shares.iter().filter_map(lacks).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(ControlError::new(ErrorKind::Incomplete, lacking.join("; ")).into())
}

fn said(run: &PolicyRun) -> String {
    let line = |share: &crate::control::PolicyShareRun| {
        format!(
            "share {}: snapshot {}, {} forgotten, {} kept",
            share.share,
            share.snapshot.as_deref().unwrap_or("none"),
            share.forgotten.len(),
            share.kept
        )
    };
    run.shares.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a policy would do.
#[derive(Debug, Serialize)]
struct Foretold {
    policy: String,
    from: Timestamp,
    to: Timestamp,
    /// How often it would run.
    runs: u64,
    /// The most snapshots of a share after a run.
    most: usize,
    /// What would be kept of each share in the end, newest first.
    kept: Vec<Kept>,
}

#[derive(Debug, Serialize)]
struct Kept {
    taken: Timestamp,
    kept_by: Vec<&'static str>,
}

fn simulated(context: &Context, name: &str, from: Timestamp, span: Span) -> Result<Foretold, Failure> {
    let settings = context.settings()?;
    let policy = settings.policy(name).ok_or_else(|| {
        let error = ControlError::new(ErrorKind::NotFound, format!("the settings have no policy {name:?}"));
        error.todo("write [[policy]] into the settings; docs/settings.md says which keys it has")
    })?;
    let plan = Plan::of(&settings, policy);
    let start = from.to_zoned(plan.rules.zone.clone());
    let end = start.checked_add(span).ok().filter(|end| {
        let latest = start.checked_add(Span::new().years(SIMULATED_YEARS_MAX));
        *end > start && latest.is_ok_and(|latest| *end <= latest)
    });
    let Some(end) = end else {
        return Err(Failure::usage(format!("--for is from a moment to {SIMULATED_YEARS_MAX} years")));
    };
    let to = end.timestamp();
    let found = simulate(&plan.schedule, &plan.rules, from, to);
    let Simulation { runs, most, kept } =
        found.map_err(|error| Failure::usage(format!("{error}; give a shorter --for")))?;
    let kept = kept.into_iter().rev().map(|(taken, reasons)| Kept {
        taken,
        kept_by: reasons.iter().map(crate::policy::Reason::as_str).collect(),
    });
    Ok(Foretold { policy: name.to_owned(), from, to, runs, most, kept: kept.collect() })
}

fn foretold(found: &Foretold) -> String {
    let row = |kept: &Kept| [to_the_second(kept.taken), kept.kept_by.join(", ")];
    let rows: Vec<_> = found.kept.iter().map(row).collect();
    format!(
        "policy {} from {} to {}: {} runs, at most {} snapshots of a share; in the end {} are kept\n\n{}",
        found.policy,
        to_the_second(found.from),
        to_the_second(found.to),
        found.runs,
        found.most,
        found.kept.len(),
        table(["TAKEN", "KEPT BY"], &rows)
    )
}

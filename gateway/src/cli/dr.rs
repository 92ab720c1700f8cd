//! `tidegate dr`: disaster recovery, before the disaster.
//!
//! `plan` asks the running gateway where there is one, and otherwise reads the newest heads from the repository: the
//! machine that will take over is where one wants to know. `history` is that of `tidegate runbook`, where one looks for it too.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::Context;
use super::exit::Failure;
use super::format::{bytes, seconds, table};
use super::place::RepositoryPlace;
use crate::assembly::{GivenLink, OfflineRepository};
use crate::cli::client::segment;
use crate::control::{ControlError, ErrorKind, RecoveryLink, RecoveryPlan, RecoveryStage, ShareRecovery};
use crate::settings::{Rate, Span};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Predict how long recovery would take, what it would cost, and whether the objectives can be kept.
    Plan(Plan),
    /// Show the series of past drills and failovers: how long they took, and what they would have lost.
    History {
        /// The runbook; without it all.
        runbook: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The share; without it: all.
    share: Option<String>,
    /// Ask the repository from this machine, also if a gateway runs here.
    #[arg(long)]
    offline: bool,
    /// Measure the link again first.
    #[arg(long, conflicts_with_all = ["rate", "latency"])]
    measure: bool,
    /// Reckon with a link of this rate, such as 12MiB/s, and ask the repository from this machine.
    #[arg(long)]
    rate: Option<Rate>,
    /// Reckon with this time of an answer, such as 20ms, and ask the repository from this machine.
    #[arg(long)]
    latency: Option<Span>,
    #[command(flatten)]
    place: RepositoryPlace,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let plan = match command {
        Command::Plan(plan) => plan,
        Command::History { runbook } => return super::runbook::history(context, runbook.as_deref()),
    };
    let found = found(context, &plan).await?;
    context.terminal.data(&found, people)?;
    let missed = found.shares.iter().filter(|share| share.missed.is_some() && !share.accept_risk).count();
    if missed == 0 {
        return Ok(());
    }
    let message = format!("objectives of {missed} shares cannot be kept");
    Err(ControlError::new(ErrorKind::Incomplete, message).into())
}

async fn found(context: &Context, plan: &Plan) -> Result<RecoveryPlan, Failure> {
    let is_given = plan.rate.is_some() || plan.latency.is_some();
    if !plan.offline
        && !is_given
        && let Ok(client) = context.client()
        && client.is_there().await
    {
        let share = plan.share.as_ref().map(|share| format!("&share={}", segment(share))).unwrap_or_default();
        return client.get(&format!("/recovery?measure={}{share}", plan.measure)).await;
    }
    let settings = plan.place.settings(context)?;
    let offline = OfflineRepository::open(&settings).await?;
    let given = GivenLink {
        bytes_per_s: plan.rate.map(Rate::bytes_per_second),
        latency: plan.latency.map(Span::duration),
        measure: true,
    };
    Ok(offline.recovery_plan(&settings, plan.share.as_deref(), given).await?)
}

fn people(plan: &RecoveryPlan) -> String {
    let mut rows = Vec::new();
    for share in &plan.shares {
        rows.extend(share.stages().into_iter().map(|(stage, found)| row(share, stage, found)));
    }
    let heading = ["SHARE", "TO", "TIME", "OBJECTIVE", "BYTES", "REQUESTS", "PRICE", "BOUND BY"];
    let mut lines = vec![plan.link.as_ref().map_or_else(unmeasured, link), table(heading, &rows)];
    lines.extend(plan.unproven.clone());
    lines.extend(plan.shares.iter().filter(|share| share.whole.asleep_bytes > 0).map(|share| {
        let takes = share.whole.thaw_seconds.unwrap_or_default().ceil() as u64;
        format!(
            "share {}: up to {} sleep in the archive; the store thaws them in {} at most, which the times include",
            share.share,
            bytes(share.whole.asleep_bytes),
            seconds(takes)
        )
    }));
    lines.extend(plan.shares.iter().filter_map(|share| {
        let missed = share.missed.as_ref()?;
        let accepted = if share.accept_risk { " (accepted)" } else { "" };
        Some(format!("share {}: {missed}{accepted}", share.share))
    }));
    lines.join("\n\n")
}

fn row(share: &ShareRecovery, stage: &str, found: &RecoveryStage) -> [String; 8] {
    let none = || "-".to_owned();
    let kept = match found.is_kept {
        Some(true) => " (kept)",
        Some(false) => " (MISSED)",
        None => "",
    };
    [
        share.share.clone(),
        stage.to_owned(),
        found.seconds.map_or_else(none, span),
        found.objective_seconds.map_or_else(none, |objective| format!("{}{kept}", seconds(objective))),
        bytes(found.bytes),
        found.requests.to_string(),
        found.price.clone().unwrap_or_else(none),
        found.bound.clone().unwrap_or_else(none),
    ]
}

/// Below a minute with a digit after the point.
fn span(time: f64) -> String {
    let whole = Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX).as_secs();
    if whole < 60 { format!("{time:.1} s") } else { seconds(whole) }
}

fn link(link: &RecoveryLink) -> String {
    let when = link.measured.map_or_else(|| "as given".to_owned(), |at| format!("measured {at:.0}"));
    format!(
        "link to target {}: {}/s, {:.1} ms an answer, {} requests at once ({when})",
        link.target,
        bytes(link.bytes_per_second),
        link.latency_ms,
        link.requests_max
    )
}

fn unmeasured() -> String {
    "the link was not measured, so there are no times: `tidegate dr plan --measure`".to_owned()
}

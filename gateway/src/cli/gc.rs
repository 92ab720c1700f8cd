//! `tidegate gc`: deletes what nothing retained reaches any more.
//!
//! The work is `tidegate_replicator::collect`; here its outcome is shown. Needs no running gateway, and works
//! beside those that run: each honours the plan with its next head, within its share's `rpo`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde::Serialize;
use tidegate_replicator::collect::{
    CollectError, CollectOptions, Collected, Held, Observer, Progress, Proposal, Round, Swept, Waiting,
    carry_out, condemn, finish_open, propose, sweep_hidden, tidy,
};
use tidegate_replicator::repository::{Opened, Repository, UtcNanos};

use super::Context;
use super::exit::Failure;
use super::format::bytes;
use super::local_work::{Watched, watch};
use super::place::RepositoryPlace;
use crate::admin::Applied;
use crate::assembly::{OfflineRepository, classes, collect_failed};
use crate::control::{ControlError, ErrorKind, JobHandle};
use crate::settings::{Credentials, LocalPath, SecretReference, Settings, Size, Span};

/// How often it is looked whether a plan is honoured.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Only show what would be deleted.
    #[arg(long, visible_alias = "dry-run")]
    plan: bool,
    /// Delete without asking.
    #[arg(long)]
    yes: bool,
    /// How long to wait until every gateway honours the plan. What is not honoured by then is gone on with
    /// by the next call.
    #[arg(long, default_value = "10m", conflicts_with = "plan")]
    wait: Span,
    /// Leave packs alone that were stored more recently [default: `retention.grace`].
    #[arg(long)]
    grace: Option<Span>,
    /// The greatest part of all packs that may go, in percent of their bytes [default:
    /// `retention.delete_percent_max`].
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    delete_percent_max: Option<u8>,
    /// Also store anew what was sealed before the last `tidegate key rotate`, 4 GiB of it at a time.
    #[arg(long)]
    reseal: bool,
    /// A file (mode 0600) with credentials that may delete versions of objects, access key id and secret access key, each on
    /// a line: for a target with `append_only`, whose own may not.
    #[arg(long, value_name = "FILE")]
    delete_credentials: Option<PathBuf>,
    /// What the search may use of memory.
    #[arg(long, default_value = "256MiB")]
    memory: Size,
    /// A folder for what does not fit into memory: 50 bytes for each chunk of the repository [default: the
    /// folder for temporary files].
    #[arg(long, value_name = "FOLDER")]
    scratch: Option<PathBuf>,
    #[command(flatten)]
    place: RepositoryPlace,
}

/// What is shown.
#[derive(Debug, Default, Serialize)]
struct Report {
    roots: u64,
    packs: u64,
    pack_bytes: u64,
    /// Before compression.
    chunk_bytes: u64,
    live_bytes: u64,
    condemned: u64,
    condemned_bytes: u64,
    sparse: u64,
    sparse_bytes: u64,
    /// Under old keys, all of them; among the sparse ones are as many as one round stores anew.
    old: u64,
    deferred: u64,
    deferred_bytes: u64,
    /// Packs that nothing retained reaches, and that are locked.
    held: u64,
    held_bytes: u64,
    /// When the last of their locks ends, by the store's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<String>,
    /// Packs that would go or be repacked, and whose storage class charges for them for longer.
    paid: u64,
    paid_bytes: u64,
    /// When it charges for the first of them no more, by the store's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_until: Option<String>,
    /// Packs that would be repacked, and sleep.
    asleep: u64,
    heads_removed: u64,
    /// Versions of other objects that were hidden for long, and went for good.
    swept: u64,
    swept_bytes: u64,
    /// Whether it was only looked.
    only_proposed: bool,
    plans: Vec<PlanReport>,
}

/// What became of a plan.
#[derive(Debug, Serialize)]
struct PlanReport {
    id: String,
    done: bool,
    deleted: u64,
    deleted_bytes: u64,
    spared: u64,
    /// Packs that are locked still: a later plan deletes them.
    held: u64,
    held_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_until: Option<String>,
    /// Whether it waits for somebody who may delete.
    needs_deleter: bool,
    waiting_for: Vec<String>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let settings = command.place.settings(context)?;
    let settings = match &command.delete_credentials {
        Some(file) => may_delete(&settings, file)?,
        None => settings,
    };
    let offline = OfflineRepository::open(&settings).await?;
    let retention = &settings.retention;
    let grace = command.grace.unwrap_or(retention.grace).duration();
    let percent = command.delete_percent_max.map_or(retention.delete_percent_max, u32::from);
    let scratch = command.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let options = CollectOptions {
        grace,
        delete_percent_max: u8::try_from(percent).unwrap_or(100),
        repack_below_percent: u8::try_from(retention.repack_below_percent).unwrap_or(0),
        reseal: command.reseal || retention.reseal,
        classes: classes(&settings),
        memory_bytes_max: command.memory.bytes(),
        ..CollectOptions::new(UtcNanos::from(SystemTime::now()), scratch)
    };
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let work =
        Work { context, command: &command, repository: &offline.repository, options, watched: &watched };
    let report = watch(&context.terminal, &job, work.run()).await?;
    context.terminal.data(&report, people)?;
    outcome(&report)
}

/// The settings with other credentials for the target that leads, which may delete.
fn may_delete(settings: &Settings, file: &Path) -> Result<Settings, Failure> {
    let path = std::path::absolute(file).ok().and_then(|path| path.to_str().map(str::to_owned));
    let path = path.and_then(|path| path.parse::<LocalPath>().ok());
    let path =
        path.ok_or_else(|| Failure::usage(format!("{} cannot be the name of a file.", file.display())))?;
    let (lead, mut settings) = (settings.lead().name.clone(), settings.clone());
    for target in settings.targets.iter_mut().filter(|target| target.name == lead) {
        target.credentials = Credentials::Secret(SecretReference::File(path.clone()));
        target.append_only = false;
    }
    Ok(settings)
}

struct Work<'a> {
    context: &'a Context,
    command: &'a Command,
    repository: &'a Arc<Repository<Opened>>,
    options: CollectOptions,
    watched: &'a Watched,
}

impl Work<'_> {
    async fn run(&self) -> Result<Report, Failure> {
        let (repository, options) = (self.repository, &self.options);
        if self.command.plan {
            let proposal = propose(repository, options, self.watched).await.map_err(failed)?;
            return Ok(Report { only_proposed: true, ..proposed(&proposal) });
        }
        let mut rounds = finish_open(repository, options, self.watched).await.map_err(failed)?;
        let proposal = propose(repository, options, self.watched).await.map_err(failed)?;
        let mut report = proposed(&proposal);
        if !proposal.condemned.is_empty() || !proposal.sparse.is_empty() {
            let (packs, size) = (proposal.condemned.len(), bytes(proposal.condemned_bytes));
            let sparse = proposal.sparse.len();
            let question = format!(
                "{packs} packs ({size}) that nothing retained reaches will be deleted, {sparse} repacked."
            );
            self.context.terminal.confirm(self.command.yes, &question)?;
        }
        report.heads_removed = tidy(repository, &proposal).await.map_err(failed)?;
        let until = Instant::now() + self.command.wait.duration();
        for round in &mut rounds {
            self.follow(round, until).await?;
        }
        // One plan after the other.
        if !rounds.iter().any(|round| matches!(round.progress, Progress::Waiting(_) | Progress::Ready)) {
            let condemned = condemn(repository, proposal, options, self.watched).await.map_err(failed)?;
            if let Some(plan) = condemned {
                let mut round = Round { plan, progress: Progress::Waiting(Vec::new()) };
                self.follow(&mut round, until).await?;
                rounds.push(round);
            }
        }
        if !repository.store().capabilities().append_only {
            let Swept { versions, bytes, locked: _ } =
                sweep_hidden(repository, self.watched).await.map_err(failed)?;
            (report.swept, report.swept_bytes) = (versions, bytes);
        }
        report.plans = rounds.iter().map(plan_report).collect();
        Ok(report)
    }

    /// Has the gateway of the settings, if one runs, look for plans now: it would by itself, within a minute.
    async fn nudge(&self) {
        let Ok(client) = self.context.client() else { return };
        if client.is_there().await {
            // It looks by itself if it cannot be told.
            let _: Result<Applied, Failure> = client.post("/settings/reload", &()).await;
        }
    }

    /// Goes on with a plan until it is finished, or the time is over.
    async fn follow(&self, round: &mut Round, until: Instant) -> Result<(), Failure> {
        let mut said = Vec::new();
        while let Progress::Waiting(waiting) = &round.progress {
            if *waiting != said {
                if said.is_empty() {
                    self.nudge().await;
                }
                said.clone_from(waiting);
                self.context.terminal.say(&format!("waiting for {}", names(waiting).join(", ")));
            }
            let is_first = waiting.is_empty();
            if !is_first && (Instant::now() >= until || self.watched.is_cancelled()) {
                return Ok(());
            }
            if !is_first {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let options = CollectOptions { now: UtcNanos::from(SystemTime::now()), ..self.options.clone() };
            round.progress =
                carry_out(self.repository, round.plan, &options, self.watched).await.map_err(failed)?;
        }
        Ok(())
    }
}

fn proposed(proposal: &Proposal) -> Report {
    Report {
        roots: proposal.roots,
        packs: proposal.packs,
        pack_bytes: proposal.pack_bytes,
        chunk_bytes: proposal.chunk_bytes,
        live_bytes: proposal.live_bytes,
        condemned: proposal.condemned.len() as u64,
        condemned_bytes: proposal.condemned_bytes,
        sparse: proposal.sparse.len() as u64,
        sparse_bytes: proposal.sparse.iter().map(|pack| pack.bytes).sum(),
        old: proposal.old,
        deferred: proposal.deferred,
        deferred_bytes: proposal.deferred_bytes,
        held: proposal.held.packs,
        held_bytes: proposal.held.bytes,
        held_until: until(&proposal.held),
        paid: proposal.paid.packs,
        paid_bytes: proposal.paid.bytes,
        paid_until: proposal.paid.first_until.map(|until| until.to_string()),
        asleep: proposal.asleep,
        heads_removed: (proposal.passed_heads.len() + proposal.expired_pins.len()) as u64,
        ..Report::default()
    }
}

/// When the last of the locks ends.
fn until(held: &Held) -> Option<String> {
    held.last_until.map(|until| until.to_string())
}

fn plan_report(round: &Round) -> PlanReport {
    let collected = match &round.progress {
        Progress::Done(collected) => *collected,
        Progress::Waiting(_) | Progress::Ready | Progress::GivenUp => Collected::default(),
    };
    let waiting_for = match &round.progress {
        Progress::Waiting(waiting) => names(waiting),
        Progress::Ready | Progress::GivenUp | Progress::Done(_) => Vec::new(),
    };
    PlanReport {
        id: round.plan.to_string(),
        done: matches!(round.progress, Progress::Done(_)),
        deleted: collected.deleted,
        deleted_bytes: collected.deleted_bytes,
        spared: collected.spared,
        held: collected.held.packs,
        held_bytes: collected.held.bytes,
        held_until: until(&collected.held),
        needs_deleter: round.progress == Progress::Ready,
        waiting_for,
    }
}

/// Publishers for people: the share, and who leads it.
fn names(waiting: &[Waiting]) -> Vec<String> {
    let name = |waiting: &Waiting| {
        let share = waiting.name.clone().unwrap_or_else(|| waiting.share.to_string());
        match &waiting.leader {
            Some((host, instance)) => format!("share {share}, led by {host} ({instance})"),
            None => format!("share {share}, which somebody is about to take over"),
        }
    };
    waiting.iter().map(name).collect()
}

fn people(report: &Report) -> String {
    let mut lines = vec![
        format!("{} packs ({}), {} retained trees", report.packs, bytes(report.pack_bytes), report.roots),
        format!(
            "alive: {} of {} in chunks, before compression",
            bytes(report.live_bytes),
            bytes(report.chunk_bytes)
        ),
        format!("to delete: {} packs ({})", report.condemned, bytes(report.condemned_bytes)),
    ];
    if report.sparse > 0 {
        let (count, size) = (report.sparse, bytes(report.sparse_bytes));
        let why = if report.old > 0 { ", or they are under old keys" } else { "" };
        lines.push(format!("to repack, because little of them is alive{why}: {count} packs ({size})"));
    }
    if report.deferred > 0 {
        let (count, size) = (report.deferred, bytes(report.deferred_bytes));
        lines.push(format!("left for later, stored too recently: {count} packs ({size})"));
    }
    if report.held > 0 {
        lines.push(held(report.held, report.held_bytes, report.held_until.as_deref()));
    }
    if report.paid > 0 {
        let until = report
            .paid_until
            .as_deref()
            .map(|until| format!(", the first until {until}"))
            .unwrap_or_default();
        let size = bytes(report.paid_bytes);
        lines.push(format!(
            "paid for in their storage class, so they stay: {} packs ({size}){until}",
            report.paid
        ));
    }
    if report.asleep > 0 {
        lines.push(format!("asleep in the archive, so not repacked: {} packs", report.asleep));
    }
    if report.swept > 0 {
        let (count, size) = (report.swept, bytes(report.swept_bytes));
        lines.push(format!("deleted for good, hidden for long: {count} versions of small objects ({size})"));
    }
    if report.heads_removed > 0 {
        let what = if report.only_proposed { "to remove" } else { "removed" };
        lines.push(format!("{what}: {} heads that are not kept any more", report.heads_removed));
    }
    for plan in &report.plans {
        if plan.held > 0 {
            lines.push(held(plan.held, plan.held_bytes, plan.held_until.as_deref()));
        }
        lines.push(match (plan.done, plan.waiting_for.is_empty()) {
            (false, true) if plan.needs_deleter => {
                format!("plan {}: all honour it; it waits for `tidegate gc --delete-credentials`", plan.id)
            }
            (true, _) => format!(
                "plan {}: deleted {} packs ({}), spared {}",
                plan.id,
                plan.deleted,
                bytes(plan.deleted_bytes),
                plan.spared
            ),
            (false, true) => format!("plan {}: given up, it waited too long", plan.id),
            (false, false) => format!("plan {}: waits for {}", plan.id, plan.waiting_for.join(", ")),
        });
    }
    lines.join("\n")
}

/// That packs stay until their locks end.
fn held(packs: u64, size: u64, until: Option<&str>) -> String {
    let until = until.map(|until| format!(", the last until {until}")).unwrap_or_default();
    format!("locked, so they stay: {packs} packs ({}){until}", bytes(size))
}

/// A plan that waits is work left to do.
fn outcome(report: &Report) -> Result<(), Failure> {
    let Some(plan) = report.plans.iter().find(|plan| !plan.waiting_for.is_empty()) else { return Ok(()) };
    let message = format!("plan {} waits for {}", plan.id, plan.waiting_for.join(", "));
    let error = ControlError::new(ErrorKind::Incomplete, message);
    Err(error
        .todo("start the gateway that leads the share, or attach the share elsewhere, and call `tidegate gc` again")
        .into())
}

pub(super) fn failed(error: CollectError) -> Failure {
    collect_failed(error).into()
}

//! `tidegate target`: the stores that the repository is kept on.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegate_replicator::mirror::{
    Comparison, Difference, Filled, MirrorOptions, compare, fill_holes, prepare,
};
use tidegate_replicator::repository::{Opened, Repository};
use tidegate_replicator::store::Classes;

use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::bytes;
use super::local_work::{Watched, watch};
use super::removing::Asking;
use super::{Context, edit_offline, link, status, tampering};
use crate::admin::Applied;
use crate::assembly::{AssemblyError, check_lock, contact_store, open_repository, store_settings};
use crate::cli::client::segment;
use crate::control::{
    ControlError, ErrorKind, JobHandle, LimitRequest, PromoteReport, PromoteRequest, Status,
};
use crate::settings::{LockMode, Settings, Span, Target, add_table, table_from_json};

/// Packs that a repair has on their way at once.
const PARALLEL: usize = 1;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all targets, which of them leads, and how far the copies are behind.
    List,
    /// Add a target: it becomes a complete copy of the repository.
    Add {
        /// What it is called.
        target: String,
        #[command(flatten)]
        keys: Keys,
    },
    /// Take a copy out of the settings; what lies there stays there.
    Remove {
        /// The target.
        target: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Lead the repository from another target: what led becomes a copy. Clients notice nothing.
    Promote {
        /// The target.
        target: String,
        /// The target that leads now will not come back, or not soon: do not wait for it. Refused if the other
        /// lacks something that was published.
        #[arg(long)]
        lead_is_lost: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        job: JobOptions,
    },
    /// Set how fast bytes go to and from a target, for a while. A restart of the gateway ends it.
    Limit {
        /// The target.
        target: String,
        /// The most that is sent, such as 5MiB/s; "none" for as fast as it goes.
        #[arg(long, value_name = "RATE", required_unless_present_any = ["down", "off"])]
        up: Option<String>,
        /// The most that is fetched, such as 5MiB/s; "none" for as fast as it goes.
        #[arg(long, value_name = "RATE")]
        down: Option<String>,
        /// For how long, such as 90m; without it until it is ended.
        #[arg(long = "for", value_name = "DURATION")]
        span: Option<Span>,
        /// End it: the settings decide again.
        #[arg(long, conflicts_with_all = ["up", "down", "span"])]
        off: bool,
    },
    /// Compare two targets by listing them; where objects are locked, also name those that were hidden or stored over. Needs no
    /// running gateway.
    Verify {
        /// The target.
        target: String,
        /// The target to compare it with [default: the one that leads].
        #[arg(long)]
        against: Option<String>,
    },
    /// Fill holes of one target from another: packs that are missing there, or have a wrong length; or, where objects
    /// are locked, let names show again what was hidden or stored over. Safe beside running gateways.
    Repair {
        /// The target with the holes.
        target: String,
        /// The target that has what is missing.
        #[arg(long, required_unless_present = "undo")]
        from: Option<String>,
        /// Bring the oldest versions of packs and keys back that somebody has hidden, or stored something else over.
        /// Needs no right to delete.
        #[arg(long, conflicts_with = "from")]
        undo: bool,
    },
}

/// The keys of a target that can be given on the command line. Each means what docs/settings.md says.
#[derive(Debug, Args)]
pub(super) struct Keys {
    /// Where it is: file:///path or s3://bucket/prefix.
    #[arg(long)]
    address: String,
    /// The S3 service; without it AWS.
    #[arg(long)]
    endpoint: Option<String>,
    /// The region of the bucket.
    #[arg(long)]
    region: Option<String>,
    /// A file (mode 0600) with access key id and secret access key, each on a line.
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
    /// Object lock: compliance or governance.
    #[arg(long)]
    lock: Option<LockMode>,
    /// For how many days what is needed is locked at least.
    #[arg(long, value_name = "DAYS", requires = "lock")]
    lock_days: Option<u32>,
}

impl Keys {
    /// As the table [[target]] of that name, in JSON.
    pub(super) fn to_json(&self, name: &str) -> Value {
        let mut keys = Map::new();
        keys.insert("name".to_owned(), name.into());
        keys.insert("address".to_owned(), self.address.clone().into());
        for (key, value) in [("endpoint", &self.endpoint), ("region", &self.region)] {
            keys.extend(value.as_ref().map(|value| (key.to_owned(), value.clone().into())));
        }
        keys.extend(self.lock.map(|lock| ("lock".to_owned(), lock.as_str().into())));
        keys.extend(self.lock_days.map(|days| ("lock_days".to_owned(), days.into())));
        let file = self.credentials_file.as_ref().map(|path| json!({ "file": path }));
        keys.extend(file.map(|file| ("credentials".to_owned(), file)));
        Value::Object(keys)
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let status: Status = context.client()?.get("/status").await?;
            context.terminal.data(&status.targets, |targets| status::targets(targets))
        }
        Command::Add { target, keys } => add(context, &target, &keys).await,
        Command::Remove { target, asking } => remove(context, target, asking).await,
        Command::Promote { target, lead_is_lost, yes, job } => {
            let request = PromoteRequest { lead_is_lost };
            promote(context, &target, request, yes, job).await
        }
        Command::Limit { target, up, down, span, off: _ } => {
            let seconds = span.map(|span| span.duration().as_secs());
            link::limit(
                context,
                &target,
                &LimitRequest { up: link::rate(up), down: link::rate(down), seconds },
            )
            .await
        }
        Command::Verify { target, against } => verify(context, &target, against.as_deref()).await,
        Command::Repair { target, from: Some(from), .. } => repair(context, &target, &from).await,
        Command::Repair { target, from: None, .. } => tampering::undo(context, &target).await,
    }
}

async fn add(context: &Context, name: &str, keys: &Keys) -> Result<(), Failure> {
    let json = keys.to_json(name);
    let (target, table) = table_from_json::<Target>(&json)?;
    tidegate_replicator::store::create_place(&store_settings(&target)).map_err(AssemblyError::at(&target))?;
    // Says now what is wrong with it, not hours later in a log.
    let repository = open_repository(&context.settings()?).await?;
    check_lock(&target).await.map_err(AssemblyError::at(&target))?;
    let store = contact_store(&target).await?.store;
    prepare(&repository, store).await.map_err(AssemblyError::at(&target))?;
    let client = context.client()?;
    let applied: Applied = if client.is_there().await {
        client.post("/targets", &json).await?
    } else {
        edit_offline(context, |document| add_table::<Target>(document, table))?
    };
    context.terminal.data(&applied, |_| {
        format!(
            "target {name} added: the repository is copied there; `tidegate target list` shows how far it is"
        )
    })
}

async fn remove(context: &Context, name: String, asking: Asking) -> Result<(), Failure> {
    let settings = context.settings()?;
    let target = target_named(&settings, &name)?;
    if target.name == settings.lead().name {
        let error =
            ControlError::new(ErrorKind::Invalid, format!("the repository is led from target {name:?}"));
        return Err(error.todo("promote another target first: `tidegate target promote`").into());
    }
    let question =
        format!("Nothing more is copied to target {name}; what lies there stays there. Remove it?");
    asking.confirm(context, &question)?;
    let path = format!("/targets/{}", segment(&name));
    asking.remove::<Target>(context, &path, ("name", &name), &format!("target {name}")).await
}

async fn promote(
    context: &Context,
    name: &str,
    request: PromoteRequest,
    yes: bool,
    job: JobOptions,
) -> Result<(), Failure> {
    let settings = context.settings()?;
    target_named(&settings, name)?;
    let question = format!(
        "The repository is led from target {} now. Lead it from target {name}? Every other gateway of this \
         repository must be told the same.",
        settings.lead().name
    );
    context.terminal.confirm(yes, &question)?;
    let people = |report: &PromoteReport| {
        format!("the repository is led from target {}; {} is a copy now", report.lead, report.led_before)
    };
    let path = format!("/targets/{}/promote", segment(name));
    follow::run(context, job, &path, &request, people).await
}

/// What is shown of a comparison.
#[derive(Debug, Serialize)]
struct Verified {
    target: String,
    against: String,
    same: u64,
    missing: u64,
    only_there: u64,
    lengths_differ: u64,
    differences: Vec<String>,
    /// Objects that were hidden, or stored over, where objects are locked.
    tampered: Vec<String>,
}

async fn verify(context: &Context, name: &str, against: Option<&str>) -> Result<(), Failure> {
    let settings = context.settings()?;
    let lead = settings.lead().name.as_str().to_owned();
    let against = against.map_or(lead, str::to_owned);
    let (first, second) = two(&settings, &against, name).await?;
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let found = watch(&context.terminal, &job, compare(&first, &second, &watched)).await;
    let found = found.map_err(AssemblyError::from)?;
    let tampered = watch(&context.terminal, &job, tampering::look(&second, &watched)).await?;
    let report = Verified {
        target: name.to_owned(),
        same: found.same,
        missing: found.only_first,
        only_there: found.only_second,
        lengths_differ: found.lengths,
        differences: found.differences.iter().map(|found| difference(found, &against, name)).collect(),
        tampered,
        against,
    };
    context.terminal.data(&report, people)?;
    if is_sound(&found) && report.tampered.is_empty() {
        return Ok(());
    }
    let error = ControlError::new(ErrorKind::Damaged, format!("target {name:?} is not whole"));
    let todo = if report.tampered.is_empty() {
        format!("`tidegate target repair {name} --from {}` fills holes in packs", report.against)
    } else {
        format!("`tidegate target repair {name} --undo` brings back what was hidden or stored over")
    };
    Err(error.todo(todo).into())
}

/// A copy may have more than the lead, of its own past.
fn is_sound(found: &Comparison) -> bool {
    found.only_first == 0 && found.lengths == 0
}

fn difference(difference: &Difference, first: &str, second: &str) -> String {
    match difference {
        Difference::OnlyFirst(object) => format!("{}: only on {first}, {} bytes", object.name, object.bytes),
        Difference::OnlySecond(object) => {
            format!("{}: only on {second}, {} bytes", object.name, object.bytes)
        }
        Difference::Length(one, other) => {
            format!("{}: {} bytes on {first}, {} on {second}", one.name, one.bytes, other.bytes)
        }
    }
}

fn people(report: &Verified) -> String {
    let Verified { target, against, same, missing, only_there, lengths_differ, .. } = report;
    let summary = format!(
        "{same} objects of target {target} are as on {against}, {missing} are missing, {lengths_differ} have another \
         length, {only_there} are only there"
    );
    let lines = report.differences.iter().chain(&report.tampered).cloned();
    std::iter::once(summary).chain(lines).collect::<Vec<_>>().join("\n")
}

/// What is shown of a repair.
#[derive(Debug, Serialize)]
struct Repaired {
    packs: u64,
    bytes: u64,
    failed: Vec<String>,
}

async fn repair(context: &Context, name: &str, from: &str) -> Result<(), Failure> {
    let settings = context.settings()?;
    let (from, to) = two(&settings, from, name).await?;
    let options =
        MirrorOptions { parallel: PARALLEL, scratch: std::env::temp_dir(), classes: Classes::default() };
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let filled = watch(&context.terminal, &job, fill_holes(&from, &to, &options, &watched)).await;
    let Filled { packs, bytes: size, failed } = filled.map_err(AssemblyError::from)?;
    let failed: Vec<String> = failed.iter().map(|(pack, why)| format!("pack {pack}: {why}")).collect();
    let report = Repaired { packs, bytes: size, failed };
    context.terminal.data(&report, |report| {
        let summary = format!("{} packs ({}) copied to target {name}", report.packs, bytes(report.bytes));
        std::iter::once(summary).chain(report.failed.iter().cloned()).collect::<Vec<_>>().join("\n")
    })?;
    match report.failed.len() {
        0 => Ok(()),
        count => {
            Err(ControlError::new(ErrorKind::Damaged, format!("{count} packs could not be copied")).into())
        }
    }
}

/// The repository as two targets have it.
async fn two(
    settings: &Settings,
    first: &str,
    second: &str,
) -> Result<(Repository<Opened>, Repository<Opened>), Failure> {
    let (first, second) = (target_named(settings, first)?, target_named(settings, second)?);
    if first.name == second.name {
        return Err(ControlError::new(ErrorKind::Invalid, "a target cannot be held against itself").into());
    }
    let repository = open_repository(&Settings {
        repository: crate::settings::Repository {
            lead: Some(first.name.clone()),
            ..settings.repository.clone()
        },
        ..settings.clone()
    })
    .await?;
    let store = contact_store(second).await?.store;
    let other = prepare(&repository, store).await.map_err(AssemblyError::at(second))?;
    Ok((repository, other))
}

pub(super) fn target_named<'a>(settings: &'a Settings, name: &str) -> Result<&'a Target, ControlError> {
    settings.target(name).ok_or_else(|| {
        ControlError::new(ErrorKind::NotFound, format!("the settings have no target {name:?}"))
            .todo("`tidegate target list` shows all targets")
    })
}

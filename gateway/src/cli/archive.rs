//! `tidegate archive`: which packs come to colder storage classes, and bringing them there now.
//!
//! The work is `tidegate_replicator::archive`. Needs no running gateway, and works beside one: what was used lately is then known from
//! the heads of shares alone; a gateway that archives by the clock knows more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_replicator::archive::{
    Amount, ArchiveOptions, ArchivePlan, LastReads, Reason, Scrubbed, plan, run as carry_out,
};
use tidegate_replicator::collect::CollectOptions;
use tidegate_replicator::repository::{Opened, Repository, UtcNanos};
use tidegate_replicator::store::Store;
use tokio::sync::RwLock;

use super::Context;
use super::exit::Failure;
use super::format::{bytes, table};
use super::gc::failed;
use super::local_work::{Watched, watch};
use super::place::RepositoryPlace;
use crate::assembly::{AssemblyError, OfflineRepository, archive_rules, classes, open_store, packs_daily};
use crate::control::{ControlError, ErrorKind, JobHandle};
use crate::settings::{Archive, PriceTable, Settings, Size};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show which packs would come to which class, and why the others stay.
    Plan(Options),
    /// Bring them there.
    Run {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        options: Options,
    },
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The target [default: the one that leads].
    target: Option<String>,
    /// What the search may use of memory.
    #[arg(long, default_value = "256MiB")]
    memory: Size,
    #[command(flatten)]
    place: RepositoryPlace,
}

/// Packs of one kind.
#[derive(Debug, Serialize)]
struct Group {
    what: String,
    packs: u64,
    bytes: u64,
}

impl Group {
    fn of(what: &str, amount: Amount) -> Self {
        Self { what: what.to_owned(), packs: amount.packs, bytes: amount.bytes }
    }
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Report {
    target: String,
    packs: u64,
    bytes: u64,
    /// By the class that they have.
    classes: Vec<Group>,
    /// By the class that they come to.
    moves: Vec<Group>,
    /// That would move, and are too many for one day.
    later: Group,
    /// By why.
    stay: Vec<Group>,
    /// What the changes cost, where the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    /// Whether it was done.
    done: bool,
    /// Of those that move: packs that are read and verified first, because they will sleep.
    to_be_read: Group,
    /// Packs that were gone, asleep, or changed by somebody else when their turn came.
    left: u64,
    /// Packs that were read, and are damaged.
    wounded: u64,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let (options, does, yes) = match command {
        Command::Plan(options) => (options, false, false),
        Command::Run { yes, options } => (options, true, yes),
    };
    let settings = options.place.settings(context)?;
    let target = options.target.clone().unwrap_or_else(|| settings.lead().name.as_str().to_owned());
    let rules = archive_rules(&settings, &target);
    if rules.is_empty() {
        let message =
            format!("the settings have no [[archive]] for target {target}, so nothing is archived there");
        let error = ControlError::new(ErrorKind::Invalid, message);
        return Err(error
            .todo("write [[archive]] with target and class; docs/settings.md has the keys")
            .into());
    }
    let repository = repository_on(&settings, &target).await?;
    let collect = CollectOptions {
        repack_below_percent: u8::try_from(settings.retention.repack_below_percent).unwrap_or(0),
        classes: classes(&settings),
        memory_bytes_max: options.memory.bytes(),
        ..CollectOptions::new(UtcNanos::from(SystemTime::now()), std::env::temp_dir())
    };
    let packs_max = packs_daily(&settings, &target);
    let copies = copies_of(&settings, &target).await?;
    // What a gateway's scrub knows is not known here: what will sleep is read first.
    let scrubbed = Scrubbed::default();
    let archive = ArchiveOptions { rules, collect, packs_max, copies, scrubbed };
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let planning = async {
        let reads = LastReads::of_heads(&repository).await.map_err(AssemblyError::from)?;
        plan(&repository, &archive, &reads, &watched).await.map_err(failed)
    };
    let planned: ArchivePlan = watch(&context.terminal, &job, planning).await?;
    let mut report = report(&settings, &target, &planned);
    if does && !planned.moves.is_empty() {
        let Amount { packs, bytes: size } = planned.moving();
        let question = format!("{packs} packs ({}) come to colder storage classes. Do it?", bytes(size));
        context.terminal.confirm(yes, &question)?;
        let no_heals = RwLock::default();
        let moving = carry_out(&repository, &planned, &no_heals, &watched);
        let done = watch(&context.terminal, &job, moving).await.map_err(failed)?;
        (report.left, report.wounded) = (done.left, done.wounded);
    }
    report.done = does;
    context.terminal.data(&report, people)
}

/// The repository as a target has it.
async fn repository_on(settings: &Settings, target: &str) -> Result<Arc<Repository<Opened>>, Failure> {
    let offline = OfflineRepository::open(settings).await?;
    if settings.lead().name.as_str() == target {
        return Ok(offline.repository);
    }
    let missing = || ControlError::new(ErrorKind::NotFound, format!("the settings have no target {target}"));
    let store = open_store(settings.target(target).ok_or_else(missing)?, None).await?;
    Ok(Arc::new(offline.repository.on(store.store)))
}

/// The stores of the copies that are fed from a target.
async fn copies_of(settings: &Settings, target: &str) -> Result<Vec<Arc<dyn Store>>, Failure> {
    let mut stores = Vec::new();
    if settings.lead().name.as_str() == target {
        for copy in settings.copies() {
            stores.push(open_store(copy, None).await?.store);
        }
    }
    Ok(stores)
}

fn report(settings: &Settings, target: &str, plan: &ArchivePlan) -> Report {
    let mut moves: BTreeMap<&str, Amount> = BTreeMap::new();
    let mut to_be_read = Amount::default();
    for one in &plan.moves {
        moves.entry(one.to.as_str()).or_default().add(one.bytes);
        if one.to_be_read {
            to_be_read.add(one.bytes);
        }
    }
    let stay = |reason: &Reason| plan.stay.get(reason).map(|amount| Group::of(reason.as_str(), *amount));
    Report {
        target: target.to_owned(),
        packs: plan.all.packs,
        bytes: plan.all.bytes,
        classes: plan.classes.iter().map(|(class, amount)| Group::of(class, *amount)).collect(),
        price: price(settings, target, &moves),
        moves: moves.into_iter().map(|(class, amount)| Group::of(class, amount)).collect(),
        later: Group::of("later", plan.later),
        stay: Reason::ALL.iter().filter_map(stay).collect(),
        done: false,
        to_be_read: Group::of("read", to_be_read),
        left: 0,
        wounded: 0,
    }
}

/// What the changes cost, if the settings say.
fn price(settings: &Settings, target: &str, moves: &BTreeMap<&str, Amount>) -> Option<String> {
    let ours = settings.archives.iter().filter(|archive| archive.target.as_str() == target);
    let of_class = |archive: &Archive| {
        let packs = moves.get(archive.class.as_str()).map_or(0, |amount| amount.packs);
        packs as f64 / 1e3 * archive.price_per_thousand_changes.units()
    };
    let sum: f64 = ours.map(of_class).sum();
    (sum > 0.0).then(|| format!("{sum:.2} {}", currency(settings, target)))
}

/// In what a target is paid.
pub(super) fn currency(settings: &Settings, target: &str) -> String {
    let table = settings.prices.iter().find(|prices: &&PriceTable| prices.target.as_str() == target);
    table.map_or_else(|| "USD".to_owned(), |prices| prices.currency.to_string())
}

fn people(report: &Report) -> String {
    let row = |group: &Group| [group.what.clone(), group.packs.to_string(), bytes(group.bytes)];
    let rows: Vec<_> = report.classes.iter().map(row).collect();
    let mut lines = vec![
        format!("target {}: {} packs ({})", report.target, report.packs, bytes(report.bytes)),
        table(["CLASS", "PACKS", "SIZE"], &rows),
    ];
    let verb = if report.done { "came to" } else { "would come to" };
    if report.moves.is_empty() {
        lines.push("nothing comes to another class now".to_owned());
    }
    for group in &report.moves {
        lines.push(format!("{} packs ({}) {verb} {}", group.packs, bytes(group.bytes), group.what));
    }
    if report.to_be_read.packs > 0 {
        let (packs, size) = (report.to_be_read.packs, bytes(report.to_be_read.bytes));
        lines.push(format!("{packs} packs ({size}) are read and verified before they sleep"));
    }
    lines.extend(report.price.iter().map(|price| format!("the changes cost {price}")));
    if report.later.packs > 0 {
        let (packs, size) = (report.later.packs, bytes(report.later.bytes));
        lines.push(format!("{packs} packs ({size}) follow on later days, by `packs_daily`"));
    }
    for group in &report.stay {
        let reason = Reason::ALL.iter().find(|reason| reason.as_str() == group.what);
        let words = reason.map_or(group.what.as_str(), |reason| reason.words());
        lines.push(format!("{} packs ({}) {words}", group.packs, bytes(group.bytes)));
    }
    if report.left > 0 {
        lines.push(format!(
            "{} packs were gone, asleep or changed by somebody else when their turn came",
            report.left
        ));
    }
    if report.wounded > 0 {
        lines
            .push(format!("{} packs are damaged and stay as they are: `tidegate scrub run`", report.wounded));
    }
    lines.join("\n")
}

//! `tidegate thaw`: what sleeps of a share, what it takes to bring it back, and asking the store for it.
//!
//! The work is `tidegate_replicator::archive`. Needs the repository and its key, and no running gateway: what stays warm says
//! which packs are needed, also where nothing else is left.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;
use tidegate_replicator::archive::{
    Amount, Asked, Need, NeedError, SleepingPack, ThawPlan, ask, need_of, plan_thaw,
};
use tidegate_replicator::repository::{Head, UtcNanos};
use tidegate_replicator::store::StorageClass;

use super::Context;
use super::archive::currency;
use super::exit::Failure;
use super::format::{bytes, seconds, table};
use super::local_work::{Watched, watch};
use super::place::RepositoryPlace;
use crate::assembly::{AssemblyError, OfflineRepository, classes, thaw_terms};
use crate::control::{ControlError, ErrorKind, FilePath, JobHandle, Moment, Unit};
use crate::settings::{Settings, Size, Span, ThawTier};

/// What a request that reads brings at most, in bytes: neighbours come together.
const RANGE_BYTES: u64 = 4 << 20;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// A file, or a directory with everything below it [default: everything].
    path: Option<FilePath>,
    /// The moment whose files are needed: head, head:NAME, snapshot:NAME or at:TIME.
    #[arg(long, alias = "from", default_value = "head")]
    at: Moment,
    /// Only show what sleeps, how long it takes to bring it back, and what that costs by the settings.
    #[arg(long)]
    plan: bool,
    /// Return once the store has been asked, instead of waiting until everything can be read.
    #[arg(long, conflicts_with = "plan")]
    no_wait: bool,
    /// For how many days it is to be readable [default: `thaw_days` of the class].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: Option<u32>,
    /// How fast: expedited, standard or bulk [default: `thaw_tier` of the class].
    #[arg(long, value_parser = tier)]
    tier: Option<ThawTier>,
    /// How often it is looked whether everything can be read.
    #[arg(long, default_value = "5m", conflicts_with = "plan")]
    every: Span,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// What the search may use of memory.
    #[arg(long, default_value = "192MiB")]
    memory: Size,
    #[command(flatten)]
    place: RepositoryPlace,
}

fn tier(text: &str) -> Result<ThawTier, String> {
    match text {
        "expedited" => Ok(ThawTier::Expedited),
        "standard" => Ok(ThawTier::Standard),
        "bulk" => Ok(ThawTier::Bulk),
        _ => Err("write expedited, standard or bulk".to_owned()),
    }
}

/// What sleeps in one class.
#[derive(Debug, Serialize)]
struct OfClass {
    class: String,
    packs: u64,
    bytes: u64,
    /// How long the store takes for it, about.
    hours: f64,
    /// For how many days it can be read then.
    days: u32,
    tier: &'static str,
    /// What it costs, if the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Report {
    share: String,
    path: FilePath,
    /// When the state was frozen.
    frozen: String,
    /// Packs that are needed, and their length.
    packs: u64,
    bytes: u64,
    /// What sleeps, and nobody had asked for.
    asleep: Vec<OfClass>,
    packs_asleep: u64,
    bytes_asleep: u64,
    packs_thawing: u64,
    packs_thawed: u64,
    /// When the first of those that were thawed sleeps again, by the store's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    sleeps_again: Option<String>,
    /// Until everything can be read, about.
    hours: f64,
    /// What thawing costs, if the settings say.
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    /// What reading it out costs besides, if [[prices]] says.
    #[serde(skip_serializing_if = "Option::is_none")]
    price_out: Option<String>,
    /// Packs that the store was asked for just now.
    asked: u64,
    /// Whether everything can be read.
    readable: bool,
    /// Pieces of files of which nobody knows where they lie.
    lost: u64,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let settings = command.place.settings(context)?;
    let offline = OfflineRepository::open(&settings).await?;
    let share = offline.share(&command.share).await?;
    let head = offline.head_at(share, &command.at).await?;
    let job = JobHandle::new();
    let work = Work { context, command: &command, settings: &settings, offline: &offline, job: &job };
    let need = work.need(&head).await?;
    let plan = work.look(&need).await?;
    let mut report = work.report(&head, &plan);
    if !command.plan {
        if !plan.asleep.is_empty() {
            context.terminal.confirm(command.yes, &question(&report))?;
            report.asked = work.ask(&plan.asleep).await?;
        }
        let wanted: Vec<SleepingPack> = plan.unreadable().cloned().collect();
        report.readable = wanted.is_empty() || (!command.no_wait && work.wait(wanted).await?);
    }
    context.terminal.data(&report, people)?;
    outcome(&command, &report)
}

struct Work<'a> {
    context: &'a Context,
    command: &'a Command,
    settings: &'a Settings,
    offline: &'a OfflineRepository,
    job: &'a JobHandle,
}

impl Work<'_> {
    async fn need(&self, head: &Head) -> Result<Need, Failure> {
        let path = self.command.path.clone().unwrap_or_else(FilePath::root);
        let names: Vec<Vec<u8>> = path.names().map(<[u8]>::to_vec).collect();
        let watched = Watched(self.job.clone());
        let of = (head.share.domain, &head.root);
        let memory = self.command.memory.bytes();
        let needing = need_of(&self.offline.repository, of, &names, memory, &watched);
        watch(&self.context.terminal, self.job, needing).await.map_err(told)
    }

    async fn look(&self, need: &Need) -> Result<ThawPlan, Failure> {
        let (watched, classes) = (Watched(self.job.clone()), classes(self.settings));
        let looking = plan_thaw(&self.offline.repository, need, &classes, &watched);
        watch(&self.context.terminal, self.job, looking).await.map_err(told)
    }

    /// Asks for packs, class by class; how many.
    async fn ask(&self, packs: &[SleepingPack]) -> Result<u64, Failure> {
        let watched = Watched(self.job.clone());
        let mut by_class: BTreeMap<&StorageClass, Vec<SleepingPack>> = BTreeMap::new();
        for pack in packs {
            by_class.entry(&pack.class).or_default().push(pack.clone());
        }
        let mut count = 0;
        for (class, packs) in by_class {
            let terms = thaw_terms(self.settings, class, (self.command.tier, self.command.days));
            let asking = ask(&self.offline.repository, &packs, terms.request, &watched);
            let Asked { asked, .. } = watch(&self.context.terminal, self.job, asking).await.map_err(told)?;
            count += asked.packs;
        }
        Ok(count)
    }

    /// Waits until all of these can be read; whether they can, for it may be told to stop.
    async fn wait(&self, mut packs: Vec<SleepingPack>) -> Result<bool, Failure> {
        let total = packs.len() as u64;
        let waiting = async {
            self.job.phase("wait for the store", Some(total), Unit::Items);
            while !packs.is_empty() {
                let before = packs.len();
                packs = self.still_asleep(packs).await?;
                self.job.advance((before - packs.len()) as u64);
                if packs.is_empty() || self.job.is_cancelled() {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(self.command.every.duration()) => {}
                    () = cancelled(self.job) => {}
                }
            }
            Ok::<bool, Failure>(packs.is_empty())
        };
        watch(&self.context.terminal, self.job, waiting).await
    }

    /// Those that cannot be read yet.
    async fn still_asleep(&self, packs: Vec<SleepingPack>) -> Result<Vec<SleepingPack>, Failure> {
        let mut need = Need::default();
        for pack in packs {
            let (id, bytes, class) = (pack.id, pack.bytes, Some(pack.class));
            let modified = SystemTime::UNIX_EPOCH;
            let object = tidegate_replicator::repository::PackObject { id, bytes, modified, class };
            need.packs.insert(id, object);
        }
        let plan = plan_thaw(&self.offline.repository, &need, &classes(self.settings), &Quiet(self.job))
            .await
            .map_err(told)?;
        Ok(plan.unreadable().cloned().collect())
    }

    fn report(&self, head: &Head, plan: &ThawPlan) -> Report {
        let lead = self.settings.lead().name.as_str();
        let mut by_class: BTreeMap<StorageClass, Amount> = BTreeMap::new();
        for pack in &plan.asleep {
            by_class.entry(pack.class.clone()).or_default().add(pack.bytes);
        }
        let wanted = (self.command.tier, self.command.days);
        let (mut takes, mut price, mut is_priced) = (Duration::ZERO, 0.0, !by_class.is_empty());
        let mut asleep = Vec::new();
        for (class, amount) in by_class {
            let terms = thaw_terms(self.settings, &class, wanted);
            let cost = terms.price.map(|price| {
                amount.bytes as f64 / 1e9 * price.per_gb + amount.packs as f64 / 1e3 * price.per_thousand
            });
            takes = takes.max(terms.takes);
            price += cost.unwrap_or_default();
            is_priced &= cost.is_some();
            asleep.push(OfClass {
                class: class.to_string(),
                packs: amount.packs,
                bytes: amount.bytes,
                hours: hours(terms.takes),
                days: terms.request.days,
                tier: terms.request.tier.as_str(),
                price: cost.map(|cost| money(cost, self.settings, lead)),
            });
        }
        for pack in &plan.thawing {
            takes = takes.max(thaw_terms(self.settings, &pack.class, wanted).takes);
        }
        Report {
            share: self.command.share.clone(),
            path: self.command.path.clone().unwrap_or_else(FilePath::root),
            frozen: head.frozen_at.to_string(),
            packs: plan.needed.packs,
            bytes: plan.needed.bytes,
            packs_asleep: plan.asleep.len() as u64,
            bytes_asleep: plan.asleep.iter().map(|pack| pack.bytes).sum(),
            packs_thawing: plan.thawing.len() as u64,
            packs_thawed: plan.thawed.packs,
            sleeps_again: plan.sleeps_again.map(|until| UtcNanos::from(until).to_string()),
            hours: hours(takes),
            price: is_priced.then(|| money(price, self.settings, lead)),
            price_out: self.price_out(plan),
            asleep,
            asked: 0,
            readable: plan.unreadable().next().is_none(),
            lost: plan.lost,
        }
    }

    /// What it costs to read all that is needed, by [[prices]].
    fn price_out(&self, plan: &ThawPlan) -> Option<String> {
        let lead = self.settings.lead().name.as_str();
        let prices = self.settings.prices.iter().find(|prices| prices.target.as_str() == lead)?;
        let Amount { packs, bytes } = plan.needed;
        let requests = bytes.div_ceil(RANGE_BYTES).max(packs);
        let cost = bytes as f64 / 1e9 * prices.per_gb_out.units()
            + requests as f64 / 1e3 * prices.per_thousand_requests.units();
        Some(money(cost, self.settings, lead))
    }
}

/// Looks without saying so; stops when the job is to.
struct Quiet<'a>(&'a JobHandle);

impl tidegate_replicator::collect::Observer for Quiet<'_> {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

async fn cancelled(job: &JobHandle) {
    while !job.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / 3_600.0
}

fn money(cost: f64, settings: &Settings, target: &str) -> String {
    format!("{cost:.2} {}", currency(settings, target))
}

fn question(report: &Report) -> String {
    let price = report.price.as_ref().map_or_else(
        || ", and costs what the store charges for that: the settings have no price".to_owned(),
        |price| format!(", and costs {price}"),
    );
    format!(
        "Thawing {} packs ({}) takes up to {}{price}. Ask the store for them?",
        report.packs_asleep,
        bytes(report.bytes_asleep),
        span(report.hours)
    )
}

fn span(hours: f64) -> String {
    seconds((hours * 3_600.0).round() as u64)
}

fn people(report: &Report) -> String {
    let mut lines = vec![format!(
        "{} of share {} as at {}: {} packs ({}) are needed",
        report.path,
        report.share,
        report.frozen,
        report.packs,
        bytes(report.bytes)
    )];
    if !report.asleep.is_empty() {
        let row = |of: &OfClass| {
            let price = of.price.clone().unwrap_or_else(|| "-".to_owned());
            let (size, takes) = (bytes(of.bytes), span(of.hours));
            [
                of.class.clone(),
                of.packs.to_string(),
                size,
                of.tier.to_owned(),
                takes,
                of.days.to_string(),
                price,
            ]
        };
        let rows: Vec<_> = report.asleep.iter().map(row).collect();
        lines.push(table(["ASLEEP IN", "PACKS", "SIZE", "TIER", "TAKES UP TO", "DAYS", "PRICE"], &rows));
    }
    if report.packs_thawing > 0 {
        lines.push(format!("{} packs are being thawed", report.packs_thawing));
    }
    if report.packs_thawed > 0 {
        let again =
            report.sleeps_again.as_ref().map(|at| format!(", the first until {at}")).unwrap_or_default();
        lines.push(format!("{} packs were thawed, and can be read{again}", report.packs_thawed));
    }
    if report.asked > 0 {
        lines.push(format!("the store was asked for {} packs", report.asked));
    }
    lines.extend(report.price_out.iter().map(|price| format!("reading all of it out costs {price} besides")));
    if report.lost > 0 {
        lines.push(format!("{} pieces of files are not to be found: run `tidegate check`", report.lost));
    }
    lines.push(match (report.readable, report.packs_asleep + report.packs_thawing) {
        (true, _) => "everything can be read".to_owned(),
        (false, count) => format!(
            "{count} packs cannot be read yet; up to {} from when they are asked for",
            span(report.hours)
        ),
    });
    lines.join("\n")
}

/// What was asked for and is not there yet is work left to wait for.
fn outcome(command: &Command, report: &Report) -> Result<(), Failure> {
    if report.readable || command.plan || command.no_wait {
        return Ok(());
    }
    let error =
        ControlError::new(ErrorKind::Cancelled, "not everything can be read yet; the store goes on thawing");
    Err(error.todo("call the same command again to go on waiting").into())
}

fn told(error: NeedError) -> Failure {
    match error {
        NeedError::NoSuchPath => ControlError::new(ErrorKind::NotFound, error.to_string()).into(),
        NeedError::Read(read) if read.is_away() => {
            ControlError::new(ErrorKind::StoreAway, format!("failed to read the repository: {read}")).into()
        }
        NeedError::Read(_) => ControlError::new(ErrorKind::Damaged, error.to_string()).into(),
        NeedError::Repository(error) => AssemblyError::from(error).into(),
        NeedError::Cancelled => ControlError::new(ErrorKind::Cancelled, error.to_string()).into(),
    }
}

//! `tidegate check`: is everything there that heads and snapshots promise?
//!
//! The work is `tidegate_replicator::check`; here its outcome is shown. Reads only, with a running gateway
//! or without.

use std::str::FromStr;

use clap::Args;
use tidegate_replicator::check::{
    CheckError, CheckOptions, CheckReport, Finding, Sample, Weight, check, unopened,
};

use super::Context;
use super::exit::Failure;
use super::format::bytes;
use super::local_work::{Watched, watch};
use super::place::RepositoryPlace;
use crate::assembly::{AssemblyError, OfflineRepository};
use crate::control::{ControlError, ErrorKind, JobHandle};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The shares to check, by name or id [default: all].
    shares: Vec<String>,
    /// Also open and verify frames: all of them, or a sample such as 5%.
    #[arg(
        long,
        value_name = "PERCENT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "100%"
    )]
    read_data: Option<Percent>,
    /// Chooses the sample; without it chance does. It is shown, so that a check can be repeated.
    #[arg(long, requires = "read_data")]
    seed: Option<u64>,
    #[command(flatten)]
    place: RepositoryPlace,
}

/// A part of a million, written as percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Percent(u32);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: f64 = text.strip_suffix('%').unwrap_or(text).parse().unwrap_or(f64::NAN);
        if number > 0.0 && number <= 100.0 {
            return Ok(Self((number / 100.0 * f64::from(Sample::ALL)).ceil() as u32));
        }
        Err(format!("{text:?} is no part to read; write a percentage above 0% and up to 100%"))
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let settings = command.place.settings(context)?;
    let report = match OfflineRepository::open(&settings).await {
        Ok(offline) => {
            let options = options(&command)?;
            let job = JobHandle::new();
            let watched = Watched(job.clone());
            let checking = check(&offline.repository, &options, &watched);
            watch(&context.terminal, &job, checking).await.map_err(not_finished)?
        }
        Err(AssemblyError::Repository(error)) => match unopened(&error) {
            Some(report) => report,
            None => return Err(AssemblyError::Repository(error).into()),
        },
        Err(error) => return Err(error.into()),
    };
    context.terminal.data(&report, people)?;
    outcome(&report)?;
    asleep(&command, &report)
}

fn options(command: &Command) -> Result<CheckOptions, ControlError> {
    let mut options = CheckOptions { shares: command.shares.clone(), ..CheckOptions::default() };
    if let Some(Percent(per_million)) = command.read_data {
        let chance = || {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).map(|()| u64::from_le_bytes(bytes)).map_err(|error| {
                ControlError::new(ErrorKind::Failed, format!("failed to get random bytes: {error}"))
            })
        };
        let seed = command.seed.map_or_else(chance, Ok)?;
        options.read_data = Some(Sample { per_million, seed });
    }
    Ok(options)
}

fn people(report: &CheckReport) -> String {
    let mut lines: Vec<String> = report.findings.iter().map(line).collect();
    if report.more_findings > 0 {
        lines.push(format!("and {} more findings of damage", report.more_findings));
    }
    let counts = report.counts;
    lines.push(format!(
        "{} shares, {} heads, {} snapshots: {} trees of {} nodes and {} references",
        counts.shares, counts.heads, counts.snapshots, counts.roots, counts.nodes, counts.references
    ));
    lines.push(format!(
        "{} packs ({}), of which nothing reaches {}; {} index objects",
        counts.packs,
        bytes(counts.pack_bytes),
        counts.packs_unreached,
        counts.index_objects
    ));
    if counts.frames_read > 0 {
        let seed = report.seed.map(|seed| format!(", chosen by --seed {seed}")).unwrap_or_default();
        let read = bytes(counts.frame_bytes_read);
        lines.push(format!("{} frames ({read}) were opened and verified{seed}", counts.frames_read));
    }
    lines.push(if report.is_clean() { "no damage was found" } else { "there is damage" }.to_owned());
    lines.join("\n")
}

fn line(finding: &Finding) -> String {
    let Finding { object, what, weight, share, moment, path } = finding;
    let weight = match weight {
        Weight::Damage => "damage",
        Weight::Notice => "notice",
    };
    let place: Vec<&str> = [share, moment, path].into_iter().filter_map(Option::as_deref).collect();
    let place = if place.is_empty() { String::new() } else { format!(" [{}]", place.join(", ")) };
    format!("{weight}: {object}: {what}{place}")
}

/// Damage decides how the command ends; notices do not.
fn outcome(report: &CheckReport) -> Result<(), Failure> {
    if report.is_clean() {
        return Ok(());
    }
    let count = report.damage().count() as u64 + report.more_findings;
    let error = ControlError::new(ErrorKind::Damaged, format!("{count} findings of damage, listed above"));
    Err(error
        .todo("restore what is named from a snapshot or another copy; `tidegate restore --to` saves the rest")
        .into())
}

/// What was to be read and sleeps was not read: that is no damage, and not done either.
fn asleep(command: &Command, report: &CheckReport) -> Result<(), Failure> {
    let (packs, size) = (report.counts.packs_asleep, bytes(report.counts.pack_bytes_asleep));
    if command.read_data.is_none() || packs == 0 {
        return Ok(());
    }
    let message = format!("{packs} packs ({size}) sleep in the archive of the store, and were not read");
    Err(ControlError::new(ErrorKind::Incomplete, message)
        .todo("`tidegate thaw --plan SHARE` says what it takes to bring them back; then check again")
        .into())
}

/// A check that did not come to its end says nothing about the repository.
fn not_finished(error: CheckError) -> Failure {
    match error {
        CheckError::Away(_) => ControlError::new(ErrorKind::StoreAway, error.text()).into(),
        CheckError::Cancelled => ControlError::new(ErrorKind::Cancelled, error.text()).into(),
        CheckError::NoShare { .. } => ControlError::new(ErrorKind::NotFound, error.text()).into(),
        CheckError::Repository(error) => AssemblyError::Repository(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_to_read_is_a_percentage() {
        assert_eq!("100%".parse(), Ok(Percent(1_000_000)));
        assert_eq!("5%".parse(), Ok(Percent(50_000)));
        assert_eq!("0.5".parse(), Ok(Percent(5_000)));
        for wrong in ["", "0", "0%", "101%", "-1", "x", "nan"] {
            assert!(wrong.parse::<Percent>().is_err(), "{wrong}");
        }
    }
}

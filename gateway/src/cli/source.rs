//! `tidegate source`: list, show, run.

use std::collections::BTreeMap;

use clap::Subcommand;
use jiff::Timestamp;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::{bytes, table};
use super::snapshot::parse_tag;
use crate::control::{
    ControlError, ErrorKind, PathTrouble, SnapshotInfo, SourceDetails, SourceRun, SourceRunRequest,
    SourceStatus,
};

/// Paths that are listed for people.
const LISTED_MAX: usize = 50;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all sources: what each saves, which policies do, how its last run ended.
    List,
    /// Show a source and its snapshots.
    Show {
        /// The source.
        source: String,
    },
    /// Save a source now. Ends with 12 when something of it could not be read.
    Run {
        /// The source.
        source: String,
        /// A word kept with the snapshot, as KEY=VALUE; may be repeated.
        #[arg(long = "tag", value_parser = parse_tag)]
        tags: Vec<(String, String)>,
        /// Read everything, also what does not look changed.
        #[arg(long)]
        rescan: bool,
        /// Save it also when there is nothing in it.
        #[arg(long)]
        allow_empty: bool,
        /// Go on with what another gateway has saved under this name. That one saves it no more.
        #[arg(long)]
        take_over: bool,
        #[command(flatten)]
        job: JobOptions,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let sources: Vec<SourceStatus> = context.client()?.get("/sources").await?;
            context.terminal.data(&sources, |sources| list(sources))
        }
        Command::Show { source } => {
            let path = format!("/sources/{}", segment(&source));
            let details: SourceDetails = context.client()?.get(&path).await?;
            context.terminal.data(&details, show)
        }
        Command::Run { source, tags, rescan, allow_empty, take_over, job } => {
            let path = format!("/sources/{}/run", segment(&source));
            let tags = BTreeMap::from_iter(tags);
            let request = SourceRunRequest { tags, rescan, allow_empty, take_over };
            if job.detach {
                return follow::run(context, job, &path, &request, said).await;
            }
            let run: SourceRun = follow::to_its_end(context, &path, &request).await?;
            context.terminal.data(&run, said)?;
            run.lacks().map_or(Ok(()), |lacks| Err(ControlError::new(ErrorKind::Incomplete, lacks).into()))
        }
    }
}

fn to_the_second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn list(sources: &[SourceStatus]) -> String {
    let row = |source: &SourceStatus| {
        let last = source.last_run.as_ref();
        [
            source.name.clone(),
            source.what.clone(),
            source.policies.join(","),
            last.map_or_else(|| "-".to_owned(), |run| to_the_second(run.began)),
            outcome(source),
        ]
    };
    let heading = ["SOURCE", "SAVES", "POLICIES", "LAST RUN", "OUTCOME"];
    table(heading, &sources.iter().map(row).collect::<Vec<_>>())
}

fn outcome(source: &SourceStatus) -> String {
    match &source.last_run {
        _ if source.running => "running".to_owned(),
        None => "none since the start".to_owned(),
        Some(SourceRun { error: Some(error), .. }) => format!("FAILED: {error}"),
        Some(run) if run.left_out > 0 => format!("INCOMPLETE: {} names missing", run.left_out),
        Some(_) => "done".to_owned(),
    }
}

fn show(details: &SourceDetails) -> String {
    let row = |snapshot: &SnapshotInfo| {
        let tags: Vec<String> = snapshot.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        [
            to_the_second(snapshot.frozen),
            snapshot.id.clone(),
            snapshot.policy.clone().unwrap_or_else(|| "-".to_owned()),
            snapshot.files.to_string(),
            bytes(snapshot.bytes),
            tags.join(","),
        ]
    };
    let rows: Vec<_> = details.snapshots.iter().map(row).collect();
    format!(
        "{}\n\n{}",
        list(std::slice::from_ref(&details.status)),
        table(["FROZEN", "ID", "POLICY", "FILES", "SIZE", "TAGS"], &rows)
    )
}

fn said(run: &SourceRun) -> String {
    let mut lines = vec![format!(
        "source {}: snapshot {}; {} names, {} new, {} changed, {} gone; read {}, of it new {}, stored as {}",
        run.source,
        run.snapshot.as_deref().unwrap_or("none"),
        run.names,
        run.new,
        run.changed,
        run.gone,
        bytes(run.bytes_read),
        bytes(run.bytes_new),
        bytes(run.bytes_stored),
    )];
    let mut name = |paths: &[PathTrouble], count: u64| {
        let listed = paths.iter().take(LISTED_MAX);
        lines.extend(listed.map(|trouble| format!("{}: {}", trouble.path, trouble.why)));
        let more = count.saturating_sub(paths.len().min(LISTED_MAX) as u64);
        lines.extend((more > 0).then(|| format!("and {more} more")));
    };
    name(&run.left_out_paths, run.left_out);
    name(&run.torn_paths, run.torn);
    lines.join("\n")
}

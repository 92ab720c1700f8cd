//! `tidegate snapshot`: create, list, diff, remove.

use std::collections::BTreeMap;

use clap::Subcommand;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::{bytes, table};
use super::removing::Asking;
use crate::assembly::OfflineRepository;
use crate::control::{
    Change, ChangeKind, DIFF_PAGE_MAX, DiffPage, DiffRequest, FilePath, Moment, SnapshotInfo, SnapshotRequest,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Retain the present state of a share.
    Create {
        /// The share.
        share: String,
        /// What to call it; without one it is called by its time.
        name: Option<String>,
        /// A word kept with it, as KEY=VALUE; may be repeated.
        #[arg(long = "tag", value_parser = parse_tag)]
        tags: Vec<(String, String)>,
        #[command(flatten)]
        job: JobOptions,
    },
    /// Show the retained snapshots of a share, newest first. Where no gateway runs, those that the repository has.
    List {
        /// The share.
        share: String,
    },
    /// Show what differs between two moments of a share.
    Diff {
        /// The share.
        share: String,
        /// The earlier moment: live, head, head:NAME, snapshot:NAME or at:TIME.
        from: Moment,
        /// The later moment.
        #[arg(default_value = "live")]
        to: Moment,
        /// Only at and below this path.
        #[arg(long, default_value = "/")]
        path: FilePath,
    },
    /// Put a snapshot into the bin, which keeps it as long as `retention.bin` says.
    Remove {
        /// The share.
        share: String,
        /// The snapshot, by name or id.
        snapshot: String,
        #[command(flatten)]
        asking: Asking,
    },
}

pub(super) fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("write KEY=VALUE".to_owned()),
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { share, name, tags, job } => create(context, &share, name, tags, job).await,
        Command::List { share } => {
            let client = context.client()?;
            let snapshots: Vec<SnapshotInfo> = if client.is_there().await {
                client.get(&format!("/shares/{}/snapshots", segment(&share))).await?
            } else {
                OfflineRepository::open(&context.settings()?).await?.snapshots(&share).await?
            };
            context.terminal.data(&snapshots, |snapshots| list(snapshots))
        }
        Command::Diff { share, from, to, path } => diff(context, &share, from, to, path).await,
        Command::Remove { share, snapshot, asking } => {
            let question = format!(
                "Snapshot {snapshot} of share {share} goes to the bin, and for good once its time there is over. Remove it?"
            );
            asking.confirm(context, &question)?;
            let path = format!("/shares/{}/snapshots/{}", segment(&share), segment(&snapshot));
            let removed: SnapshotInfo =
                context.client()?.delete(&format!("{path}{}", asking.query())).await?;
            context.terminal.data(&removed, |removed| {
                let until = removed.bin_until.map(|until| format!("; the bin keeps it until {until}"));
                format!(
                    "snapshot {} ({}) {}{}",
                    removed.name,
                    removed.id,
                    asking.verb(),
                    until.unwrap_or_default()
                )
            })
        }
    }
}

async fn create(
    context: &Context,
    share: &str,
    name: Option<String>,
    tags: Vec<(String, String)>,
    job: JobOptions,
) -> Result<(), Failure> {
    let request = SnapshotRequest { name, tags: BTreeMap::from_iter(tags) };
    let path = format!("/shares/{}/snapshots", segment(share));
    let people = |made: &SnapshotInfo| {
        format!("snapshot {} ({}): {} files, {}", made.name, made.id, made.files, bytes(made.bytes))
    };
    follow::run(context, job, &path, &request, people).await
}

fn list(snapshots: &[SnapshotInfo]) -> String {
    let row = |snapshot: &SnapshotInfo| {
        let tags: Vec<String> = snapshot.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
        [
            snapshot.name.clone(),
            snapshot.frozen.to_string(),
            snapshot.files.to_string(),
            bytes(snapshot.bytes),
            snapshot.id.clone(),
            snapshot.policy.clone().unwrap_or_default(),
            tags.join(" "),
        ]
    };
    table(
        ["NAME", "FROZEN", "FILES", "SIZE", "ID", "POLICY", "TAGS"],
        &snapshots.iter().map(row).collect::<Vec<_>>(),
    )
}

/// Shows each page as it comes, so that a long answer needs no memory; `--json` gives one document a
/// page.
async fn diff(
    context: &Context,
    share: &str,
    from: Moment,
    to: Moment,
    path: FilePath,
) -> Result<(), Failure> {
    let client = context.client()?;
    let mut request = DiffRequest { from, to, path, after: None, limit: DIFF_PAGE_MAX };
    loop {
        let page: DiffPage = client.post(&format!("/shares/{}/diff", segment(share)), &request).await?;
        if !page.changes.is_empty() || request.after.is_none() {
            context.terminal.data(&page, |page| {
                if page.changes.is_empty() { "no difference".to_owned() } else { lines(&page.changes) }
            })?;
        }
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(()),
        }
    }
}

pub(super) fn lines(changes: &[Change]) -> String {
    let line = |change: &Change| {
        let mark = match change.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Modified => 'M',
            ChangeKind::Attributes => 'a',
        };
        format!("{mark} {}", change.path)
    };
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

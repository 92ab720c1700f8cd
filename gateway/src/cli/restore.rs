//! `tidegate restore`: puts a path of a live share back to what it was, or writes it to a folder.
//!
//! In place the running gateway does it, and no data moves. To a folder it needs no gateway, only the
//! repository and its key; see `restore_folder.rs`.

use std::path::PathBuf;

use clap::Args;

use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::bytes;
use super::place::RepositoryPlace;
use super::{Context, restore_folder};
use crate::control::{FilePath, Moment, RestoreReport, RestoreRequest};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// What to restore: a file, or a directory with everything below it. With --to it may be left out, for
    /// everything.
    path: Option<FilePath>,
    /// The moment to take it from: head, head:NAME, snapshot:NAME or at:TIME; with --to and a running
    /// gateway also live.
    #[arg(long, alias = "from", default_value = "head")]
    at: Moment,
    /// Write it to this folder, which is new, empty or holds an interrupted restore of the same state. Needs
    /// no running gateway.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Also remove what is below the path now and was not then.
    #[arg(long, conflicts_with = "to")]
    remove_newer: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    job: JobOptions,
    #[command(flatten)]
    place: RepositoryPlace,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command { share, path, at, to, remove_newer, dry_run, yes, job, place } = command;
    if let Some(to) = to {
        if job.detach {
            return Err(Failure::usage("With --to this very process restores: leave --detach out."));
        }
        let path = path.unwrap_or_else(FilePath::root);
        let wanted = restore_folder::Wanted { share, path, at, to, dry_run };
        return restore_folder::run(context, wanted, &place).await;
    }
    let Some(path) = path else {
        return Err(Failure::usage("Say which path to put back, or with --to where to write the share."));
    };
    let question = format!(
        "{path} in share {share} will be as at {at}; what it is now is lost unless a snapshot has it. Restore it?"
    );
    context.terminal.confirm(yes || dry_run, &question)?;
    let request = RestoreRequest { from: at, path, remove_newer, dry_run };
    let verb = if dry_run { "would restore" } else { "restored" };
    let people = |report: &RestoreReport| {
        format!(
            "{verb} {} files ({}), {} removed, {} already as wanted",
            report.files,
            bytes(report.bytes),
            report.removed,
            report.unchanged
        )
    };
    follow::run(context, job, &format!("/shares/{}/restore", segment(&share)), &request, people).await
}

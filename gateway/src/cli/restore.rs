//! `tidegate restore`: puts a path of a live share back to what it was.

use clap::Args;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::bytes;
use crate::control::{FilePath, Moment, RestoreReport, RestoreRequest};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// What to put back: a file, or a directory with everything below it.
    path: FilePath,
    /// The moment to take it from: head, head:NAME, snapshot:NAME or at:TIME.
    #[arg(long, default_value = "head")]
    from: Moment,
    /// Also remove what is below the path now and was not then.
    #[arg(long)]
    remove_newer: bool,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command { share, path, from, remove_newer, dry_run, yes, job } = command;
    let question = format!(
        "{path} in share {share} will be as at {from}; what it is now is lost unless a snapshot has it. Restore it?"
    );
    context.terminal.confirm(yes || dry_run, &question)?;
    let request = RestoreRequest { from, path, remove_newer, dry_run };
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

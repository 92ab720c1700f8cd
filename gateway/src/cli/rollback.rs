//! `tidegate rollback`: puts a whole share back, in constant time.

use clap::Args;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use crate::control::{Moment, RollbackReport, RollbackRequest};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// The moment to go back to: head, head:NAME, snapshot:NAME or at:TIME.
    to: Moment,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command { share, to, yes, job } = command;
    let question = format!(
        "Share {share} will be as at {to}, and open files of clients become stale. \
         A snapshot of the present state is kept. Roll back?"
    );
    context.terminal.confirm(yes, &question)?;
    let people = |report: &RollbackReport| {
        format!(
            "share {share} is as of {}; to undo: tidegate rollback {share} snapshot:{}",
            report.frozen, report.before.name
        )
    };
    let path = format!("/shares/{}/rollback", segment(&share));
    follow::run(context, job, &path, &RollbackRequest { to }, people).await
}

//! `tidegate rollback`: puts a whole share back, in constant time.

use clap::Args;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::snapshot::lines;
use crate::control::{DiffPage, Moment, RollbackReport, RollbackRequest};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// The moment to go back to: head, head:NAME, snapshot:NAME or at:TIME.
    to: Moment,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only show what would change: what differs between the newest head and that moment.
    #[arg(long, conflicts_with = "detach")]
    dry_run: bool,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command { share, to, yes, dry_run, job } = command;
    let path = format!("/shares/{}/rollback", segment(&share));
    if dry_run {
        let request = RollbackRequest { to };
        let page: DiffPage = context.client()?.post(&format!("{path}?dry-run=true"), &request).await?;
        return context.terminal.data(&page, shown);
    }
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
    follow::run(context, job, &path, &RollbackRequest { to }, people).await
}

fn shown(page: &DiffPage) -> String {
    let mut text = lines(&page.changes);
    if page.next.is_some() {
        text.push_str("\nand more");
    }
    if page.changes.is_empty() {
        text.push_str("nothing would change");
    }
    text
}

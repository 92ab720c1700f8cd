//! `tidegate failback`: what it would take to go back to this site.

use clap::Subcommand;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::format::bytes;
use crate::control::{ChangeKind, FailbackPlan};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what changed since this site led the share, how much of it must come from the store, how long that takes, and
    /// what is to be done. Changes nothing.
    Plan {
        /// The share.
        share: String,
        /// Name the first paths that changed.
        #[arg(long)]
        paths: bool,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Plan { share, paths } = command;
    let plan: FailbackPlan = context.client()?.get(&format!("/shares/{}/failback", segment(&share))).await?;
    context.terminal.data(&plan, |plan| text(plan, paths))
}

fn text(plan: &FailbackPlan, paths: bool) -> String {
    let about = if plan.at_most { "at most " } else { "" };
    let time = match plan.fetch_seconds {
        Some(seconds) => format!("about {seconds} s at the speed of the last minute"),
        None => "no speed was measured yet".to_owned(),
    };
    let mut lines = vec![
        format!("share     {}", plan.share),
        format!("newest    {} ({})", plan.newest, plan.frozen),
        format!("here      {}", plan.here.as_deref().unwrap_or("nothing of it")),
        format!(
            "led by    {}{}",
            plan.leader.as_deref().unwrap_or("unknown"),
            match (plan.leads, plan.handed_over) {
                (true, _) => ", from here",
                (_, true) => ", handed over: handles stay valid",
                _ => ", not handed over yet",
            }
        ),
        format!("changed   {} inodes, {} of file data", plan.inodes, bytes(plan.bytes)),
        format!(
            "to fetch  {about}{} in {} frames of {} packs; {} are here already",
            bytes(plan.fetch_bytes),
            plan.fetch_frames,
            plan.fetch_packs,
            bytes(plan.here_bytes)
        ),
        format!("takes     {time}; files are served meanwhile"),
    ];
    lines.extend(plan.branches.iter().map(|branch| format!("branch    {branch}")));
    lines.extend(plan.steps.iter().enumerate().map(|(number, step)| format!("{}. {step}", number + 1)));
    if paths {
        lines.extend(plan.changes.iter().map(|change| {
            let mark = match change.kind {
                ChangeKind::Added => '+',
                ChangeKind::Removed => '-',
                ChangeKind::Modified => 'M',
                ChangeKind::Attributes => 'a',
            };
            format!("{mark} {}", change.path)
        }));
    }
    lines.join("\n")
}

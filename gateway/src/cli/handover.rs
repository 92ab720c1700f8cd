//! `tidegate handover`: gives a share to another gateway, without loss and under the same handles.

use clap::Args;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use crate::control::{HandoverRequest, HeadInfo};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// Take it back: nobody has attached it.
    #[arg(long)]
    take_back: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command { share, take_back, yes, job } = command;
    if !take_back {
        let question = format!(
            "Writers of share {share} will wait from now on, until another gateway serves it under this \
             address. Hand it over?"
        );
        context.terminal.confirm(yes, &question)?;
    }
    let people = |head: &HeadInfo| {
        if take_back {
            return format!("share {share} is served from here again, after head {}", head.name);
        }
        format!(
            "share {share} is handed over with head {}; on the other gateway: tidegate attach {share}",
            head.name
        )
    };
    let path = format!("/shares/{}/handover", segment(&share));
    follow::run(context, job, &path, &HandoverRequest { take_back }, people).await
}

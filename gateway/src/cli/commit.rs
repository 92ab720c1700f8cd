//! `tidegate commit`: publishes what was acknowledged so far, and waits for it.

use clap::Args;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use crate::control::HeadInfo;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let people = |head: &HeadInfo| {
        format!("head {} (number {}) has everything up to {}", head.name, head.sequence, head.frozen)
    };
    let path = format!("/shares/{}/commit", segment(&command.share));
    follow::run(context, command.job, &path, &(), people).await
}

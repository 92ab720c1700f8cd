//! `tidegate head list`: the published heads that a share can go back to.

use clap::Subcommand;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::format::{seconds, table};
use crate::assembly::OfflineRepository;
use crate::control::HeadInfo;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the published heads of a share, newest first. Where no gateway runs, those that the repository has.
    List {
        /// The share.
        share: String,
        /// At most so many.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::List { share, limit } = command;
    let client = context.client()?;
    let heads: Vec<HeadInfo> = if client.is_there().await {
        client.get(&format!("/shares/{}/heads?limit={limit}", segment(&share))).await?
    } else {
        OfflineRepository::open(&context.settings()?).await?.heads(&share, limit).await?
    };
    context.terminal.data(&heads, |heads| list(heads))
}

fn list(heads: &[HeadInfo]) -> String {
    let row = |head: &HeadInfo| {
        [
            head.sequence.to_string(),
            head.epoch.to_string(),
            head.frozen.to_string(),
            seconds(head.age_seconds),
            head.name.clone(),
        ]
    };
    table(["NUMBER", "EPOCH", "FROZEN", "AGE", "NAME"], &heads.iter().map(row).collect::<Vec<_>>())
}

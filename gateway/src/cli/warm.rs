//! `tidegate warm`: brings a share here before it is asked for.

use clap::Args;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::format::bytes;
use crate::control::{WarmDone, WarmRequest};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share.
    share: String,
    /// Bring everything, not only what was used lately.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let path = format!("/shares/{}/warm", segment(&command.share));
    let request = WarmRequest { all: command.all };
    follow::run(context, command.job, &path, &request, people).await
}

fn people(done: &WarmDone) -> String {
    let mut line = format!("{} came in {} requests", bytes(done.bytes), done.requests);
    if done.here > 0 {
        line += &format!("; {} ranges were here before", done.here);
    }
    if done.gone > 0 {
        line += &format!("; {} ranges are in the store no more", done.gone);
    }
    if done.asleep > 0 {
        line += &format!("; {} ranges sleep in the archive: `tidegate thaw` brings them back", done.asleep);
    }
    if done.is_full {
        line += "; the cache has no more room: raise cache.disk for more";
    }
    line
}

//! `tidegate clone`: a new share over a moment of another one, in constant time.

use clap::Args;
use serde_json::json;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::share::Keys;
use crate::control::{CloneReport, Moment};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share to clone.
    share: String,
    /// What the new share is called.
    name: String,
    /// The moment that it starts from: live, head, head:NAME, snapshot:NAME or at:TIME.
    #[arg(long, default_value = "head")]
    from: Moment,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    job: JobOptions,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command { share, name, from, keys, job } = command;
    let body = json!({ "from": from, "settings": keys.to_json(&name) });
    let people =
        |made: &CloneReport| format!("share {} ({}) starts from {}", made.name, made.id, made.frozen);
    follow::run(context, job, &format!("/shares/{}/clone", segment(&share)), &body, people).await
}

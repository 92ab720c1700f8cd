//! `tidegate share`: list, add, rejoin, remove.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::exit::Failure;
use super::follow::{self, JobOptions};
use super::removing::Asking;
use super::{Context, edit_offline, status};
use crate::admin::Applied;
use crate::cli::client::segment;
use crate::control::{ControlError, ErrorKind, RejoinReport, RejoinRequest, ShareStatus};
use crate::settings::{Share, add_table, table_from_json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all shares.
    List,
    /// Add a share to the settings, and serve it.
    Add {
        /// What it is called.
        share: String,
        #[command(flatten)]
        keys: Keys,
    },
    /// Have a share that another gateway leads join its line again: what is here beyond the line stays as a branch, and the
    /// share follows whoever leads, or (with --lead) is led from here again.
    Rejoin {
        /// The share.
        share: String,
        /// Lead it. Whoever led it has handed it over (`tidegate handover`).
        #[arg(long)]
        lead: bool,
        /// Lead it although it was not handed over: what was acknowledged there since the newest head becomes a branch.
        #[arg(long, conflicts_with = "lead")]
        take_over: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        job: JobOptions,
    },
    /// Take a share out of the settings; the repository keeps its data, and `tidegate bin restore` serves it again.
    Remove {
        /// The share.
        share: String,
        #[command(flatten)]
        asking: Asking,
    },
}

/// The keys of a share that can be given on the command line. Each means what docs/settings.md says;
/// those that are not given keep their defaults.
#[derive(Debug, Args)]
pub(super) struct Keys {
    #[command(flatten)]
    rules: Rules,
    /// Refuse every change by clients.
    #[arg(long)]
    read_only: bool,
    /// Keep it in a key domain of its own.
    #[arg(long)]
    own_key: bool,
    /// The most bytes that its files may use, such as 100GiB; soft limits are set in the settings file.
    #[arg(long, value_name = "SIZE")]
    quota_bytes: Option<String>,
    /// The most files, directories and other inodes that it may have.
    #[arg(long, value_name = "COUNT")]
    quota_inodes: Option<u64>,
}

/// How clients see a share.
#[derive(Debug, Args)]
pub(super) struct Rules {
    /// The path that clients mount [default: / and the name].
    #[arg(long)]
    export: Option<String>,
    /// How old the newest head may become, such as 30s.
    #[arg(long)]
    rpo: Option<String>,
    /// A network whose machines may mount it, such as 10.0.0.0/8; may be repeated [default: this machine].
    #[arg(long = "client")]
    clients: Vec<String>,
    /// Which users lose their identity: root, all or none.
    #[arg(long)]
    squash: Option<String>,
}

impl Keys {
    /// As the table [[share]] of that name, in JSON.
    pub(super) fn to_json(&self, name: &str) -> Map<String, Value> {
        let mut keys = self.rules.to_json(name);
        for (key, value) in [("read_only", self.read_only), ("own_key", self.own_key)] {
            keys.extend(value.then(|| (key.to_owned(), true.into())));
        }
        let hard = |limit: Value| json!({ "hard": limit });
        let bytes = self.quota_bytes.as_ref().map(|bytes| ("bytes".to_owned(), hard(bytes.clone().into())));
        let inodes = self.quota_inodes.map(|inodes| ("inodes".to_owned(), hard(inodes.into())));
        let quota: Map<String, Value> = bytes.into_iter().chain(inodes).collect();
        if !quota.is_empty() {
            keys.insert("quota".to_owned(), quota.into());
        }
        keys
    }
}

impl Rules {
    /// As the table [[share]] of that name, in JSON.
    pub(super) fn to_json(&self, name: &str) -> Map<String, Value> {
        let mut keys = Map::new();
        keys.insert("name".to_owned(), name.into());
        for (key, value) in [("export", &self.export), ("rpo", &self.rpo), ("squash", &self.squash)] {
            keys.extend(value.as_ref().map(|value| (key.to_owned(), value.clone().into())));
        }
        if !self.clients.is_empty() {
            keys.insert("clients".to_owned(), self.clients.clone().into());
        }
        keys
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let shares: Vec<ShareStatus> = context.client()?.get("/shares").await?;
            context.terminal.data(&shares, |shares| status::shares(shares))
        }
        Command::Add { share, keys } => add(context, &share, &keys).await,
        Command::Rejoin { share, lead, take_over, yes, job } => {
            let request = RejoinRequest { lead: lead || take_over, take_over };
            rejoin(context, &share, request, yes, job).await
        }
        Command::Remove { share, asking } => remove(context, share, asking).await,
    }
}

async fn add(context: &Context, share: &str, keys: &Keys) -> Result<(), Failure> {
    let json = Value::Object(keys.to_json(share));
    let (_, table) = table_from_json::<Share>(&json)?;
    let client = context.client()?;
    let applied: Applied = if client.is_there().await {
        client.post("/shares", &json).await?
    } else {
        edit_offline(context, |document| add_table::<Share>(document, table))?
    };
    context.terminal.data(&applied, |_| format!("share {share} added"))
}

async fn rejoin(
    context: &Context,
    share: &str,
    request: RejoinRequest,
    yes: bool,
    job: JobOptions,
) -> Result<(), Failure> {
    if request.take_over {
        let question = format!(
            "Another gateway may still acknowledge changes of share {share}; what it has not published becomes a branch. \
             Take it over?"
        );
        context.terminal.confirm(yes, &question)?;
    }
    let people = |report: &RejoinReport| {
        let how = if report.follows { "follows its leader" } else { "is led from here" };
        let branch = report
            .branch
            .as_ref()
            .map(|branch| format!("; what was here beyond the line is branch {branch}"));
        format!(
            "share {share} {how}, at head {}{}\n{}",
            report.head,
            branch.unwrap_or_default(),
            report.handles
        )
    };
    follow::run(context, job, &format!("/shares/{}/rejoin", segment(share)), &request, people).await
}

async fn remove(context: &Context, share: String, asking: Asking) -> Result<(), Failure> {
    if context.settings()?.share(&share).is_none() {
        let error = ControlError::new(ErrorKind::NotFound, format!("the settings have no share {share:?}"));
        return Err(error.todo("`tidegate share list` shows all shares").into());
    }
    let question =
        format!("Clients of share {share} will lose it; the repository keeps its data. Remove it?");
    asking.confirm(context, &question)?;
    let path = format!("/shares/{}", segment(&share));
    asking.remove::<Share>(context, &path, ("name", &share), &format!("share {share}")).await
}

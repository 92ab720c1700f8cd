//! `tidegate attach`: takes a share over from the repository alone, as after the loss of its gateway.
//!
//! Order, and what a crash at each step leaves: the share is claimed and its local state made over the
//! head (attaching again goes on from there); the settings file is written or gets the share (then it is
//! served by the next start). The rules by which the share is served come with the head, and may be
//! overridden here.

use clap::Args;
use serde::Serialize;
use tidegate_replicator::repository::{Head, Opened, Repository, SnapshotId};

use super::exit::Failure;
use super::place::Place;
use super::share::Keys;
use super::{Context, serve};
use crate::appliance::{ApplianceError, AttachPoint};
use crate::assembly::{AssemblyError, open_appliance, open_repository};
use crate::control::{ControlError, ErrorKind, Moment, Start};
use crate::settings::{Settings, Share, Table, add_share, table_from_json, table_from_toml};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share, by the name that it had.
    share: String,
    /// The state to go on from: head (the newest), head:NAME or snapshot:ID.
    #[arg(long, default_value = "head")]
    at: Moment,
    /// Serve at once.
    #[arg(long)]
    pub(super) serve: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    overrides: Keys,
}

/// A share that was taken over.
#[derive(Debug, Serialize)]
struct Attached {
    share: String,
    id: String,
    frozen: String,
}

pub(super) async fn run(context: &Context, command: Command, core: &dyn Start) -> Result<(), Failure> {
    let prepared = command.place.prepare(context)?;
    let settings = &prepared.settings;
    let repository = open_repository(settings).await?;
    let (head, point) = find(&repository, &command.share, &command.at).await?;
    let rules = share_rules(&head, &command)?;
    attach(settings, &command.share, point).await?;
    prepared.write(context)?;
    if settings.share(&command.share).is_none() {
        context.file.edit(|document| add_share(document, rules.write()))?;
    }
    let attached = Attached {
        share: command.share.clone(),
        id: head.share.id.to_string(),
        frozen: head.frozen_at.to_string(),
    };
    context.terminal.data(&attached, |attached| {
        format!("share {} ({}) goes on from {}", attached.share, attached.id, attached.frozen)
    })?;
    if command.serve { serve::run(context, core).await } else { Ok(()) }
}

/// The state of the share that was asked for.
async fn find(
    repository: &Repository<Opened>,
    share: &str,
    at: &Moment,
) -> Result<(Head, AttachPoint), Failure> {
    let missing = |message: String| ControlError::new(ErrorKind::NotFound, message);
    let shares = repository.shares().await.map_err(AssemblyError::from)?;
    let newest = shares.into_iter().filter_map(|state| state.newest.ok().flatten());
    let newest = newest
        .map(|newest| newest.head)
        .find(|head| head.share.name == share)
        .ok_or_else(|| missing(format!("the repository has no share {share:?} with a readable head")))?;
    let id = newest.share.id;
    match at {
        Moment::NewestHead => Ok((newest, AttachPoint::Newest)),
        Moment::Head(name) => {
            let names = repository.head_names(id).await.map_err(AssemblyError::from)?;
            let found = names.into_iter().find(|head| head.to_string() == *name);
            let found = found.ok_or_else(|| missing(format!("share {share:?} has no head {name}")))?;
            let head = repository.read_head(id, &found).await.map_err(AssemblyError::from)?;
            Ok((head, AttachPoint::Head(found)))
        }
        Moment::Snapshot(name) => {
            let found = SnapshotId::parse(name).ok_or_else(|| {
                missing(format!("{name:?} is no id of a snapshot; give the id, not the name"))
            })?;
            let snapshot = repository.read_snapshot(id, found).await.map_err(AssemblyError::from)?;
            Ok((snapshot.head, AttachPoint::Snapshot(found)))
        }
        Moment::Live | Moment::At(_) => {
            Err(Failure::usage(format!("{at} cannot be attached: give head, head:NAME or snapshot:ID.")))
        }
    }
}

/// How the share is to be served: as its head says, but for what the command line says.
fn share_rules(head: &Head, command: &Command) -> Result<Share, Failure> {
    let text = head.settings.get("share").and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut rules: Share = if text.is_empty() {
        table_from_json::<Share>(&serde_json::json!({ "name": command.share }))?.0
    } else {
        table_from_toml(text)?
    };
    let given = command.overrides.to_json(&command.share);
    let (overrides, _) = table_from_json::<Share>(&serde_json::Value::Object(given.clone()))?;
    if given.contains_key("export") {
        rules.export = overrides.export;
    }
    if given.contains_key("rpo") {
        rules.rpo = overrides.rpo;
    }
    if given.contains_key("clients") {
        rules.clients = overrides.clients;
    }
    if given.contains_key("squash") {
        rules.squash = overrides.squash;
    }
    rules.read_only |= overrides.read_only;
    Ok(rules)
}

/// Makes the local state. A share that this machine knows already is as wanted.
async fn attach(settings: &Settings, share: &str, point: AttachPoint) -> Result<(), Failure> {
    let appliance = open_appliance(settings).await?;
    let attached = match appliance.attach(share, point).await {
        Ok(_) | Err(ApplianceError::ShareExists { .. }) => Ok(()),
        Err(error) => Err(AssemblyError::from(error)),
    };
    appliance.close().await.map_err(AssemblyError::from)?;
    Ok(attached?)
}

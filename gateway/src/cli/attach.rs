//! `tidegate attach`: takes a share over from the repository alone, as after the loss of its gateway.
//!
//! Order, and what a crash at each step leaves: the share is claimed and its local state made over the
//! head (attaching again goes on from there); the settings file is written or gets the share (then it is
//! served by the next start); then it gets the policies and buckets that the head carries. The rules by which the share is
//! served come with the head, and may be overridden here.
//!
//! With `--read-only` nothing is taken over: the share goes to the settings as one to be followed, and the
//! gateway that leads it goes on.
//!
//! With `--drill` nothing is taken over either, and the share may be written: it is a clone that publishes nothing and
//! goes with its local state. The settings file becomes that of a drill; one of a gateway that is none is refused.

use clap::Args;
use serde::Serialize;
use tidegate_replicator::repository::{Head, Opened, Point, Repository, SnapshotId};
use toml_edit::{DocumentMut, Item};

use super::exit::Failure;
use super::place::Place;
use super::share::Rules;
use super::{Context, serve};
use crate::appliance::{ApplianceError, AttachPoint};
use crate::assembly::{self, AssemblyError, not_after, open_appliance, open_repository, utc_nanos};
use crate::control::{ControlError, ErrorKind, Moment, Start};
use crate::settings::{
    Bucket, Gateway, Settings, Share, Squash, Table, add_table, table_from_json, table_from_toml,
};

#[derive(Debug, Args)]
pub(super) struct Command {
    /// The share, by the name that it had.
    share: String,
    /// The state to go on from: head (the newest), head:NAME, snapshot:ID, or a time such as "2026-11-20 14:05" (UTC, unless
    /// it says otherwise): the newest state that is not after it. What is newer stays as a branch.
    #[arg(long, default_value = "head")]
    at: Moment,
    /// Take nothing over: serve it read-only, and follow what its gateway publishes.
    #[arg(long)]
    read_only: bool,
    /// Take nothing over: serve a clone of it that may be written, publishes nothing, and is thrown away with its folder.
    #[arg(long, conflicts_with = "read_only")]
    drill: bool,
    /// Serve at once.
    #[arg(long)]
    pub(super) serve: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    overrides: Rules,
}

/// A share that was taken over.
#[derive(Debug, Serialize)]
struct Attached {
    share: String,
    id: String,
    frozen: String,
    follows: bool,
    drill: bool,
    /// What else of the settings came with its head, for people.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    adopted: Vec<String>,
}

pub(super) async fn run(context: &Context, command: Command, core: &dyn Start) -> Result<(), Failure> {
    let mut prepared = command.place.prepare(context)?;
    if command.drill {
        begin_drill(context, &mut prepared.settings)?;
        // Before anything is made, so that nothing of it is ever served as if it were meant.
        prepared.edit(context, set_drill)?;
    }
    let settings = &prepared.settings;
    let repository = open_repository(settings).await?;
    let (head, point) = find(&repository, &command.share, &command.at).await?;
    let rules = rules(&head, &command)?;
    if command.read_only {
        check_follows(settings, &command, point)?;
    } else {
        attach(settings, &command.share, point).await?;
    }
    prepared.write(context)?;
    match rules {
        Served::Share(share) if settings.share(&command.share).is_none() => {
            context.file.edit(|document| add_table::<Share>(document, share.write()))?;
        }
        Served::Bucket(bucket) if settings.bucket(&command.share).is_none() => {
            context.file.edit(|document| add_table::<Bucket>(document, bucket.write()))?;
        }
        Served::Share(_) | Served::Bucket(_) => {}
    }
    let adopted = if command.drill || command.read_only { Vec::new() } else { adopt(context, &head) };
    let attached = Attached {
        share: command.share.clone(),
        id: head.share.id.to_string(),
        frozen: head.frozen_at.to_string(),
        follows: command.read_only,
        drill: command.drill,
        adopted,
    };
    context.terminal.data(&attached, |attached| {
        let verb = match attached {
            Attached { follows: true, .. } => "follows its gateway, now at",
            Attached { drill: true, .. } => "has a clone for a drill, made from",
            Attached { .. } => "goes on from",
        };
        let first = format!("share {} ({}) {verb} {}", attached.share, attached.id, attached.frozen);
        std::iter::once(first).chain(attached.adopted.iter().cloned()).collect::<Vec<_>>().join("\n")
    })?;
    if command.serve { serve::run(context, core).await } else { Ok(()) }
}

/// Takes over policies and buckets that the head carries; says what. That they cannot be is said, and no reason to fail: the
/// share is served.
fn adopt(context: &Context, head: &Head) -> Vec<String> {
    let mut adopted = Vec::new();
    let edited = context.file.edit(|document| {
        adopted = assembly::adopt(document, &head.share.name, &head.settings)?;
        Ok(())
    });
    match edited {
        Ok(_) => adopted,
        Err(error) => vec![format!("its policies and buckets are not taken over: {error}")],
    }
}

/// The state of the share that was asked for.
async fn find(
    repository: &Repository<Opened>,
    share: &str,
    at: &Moment,
) -> Result<(Head, AttachPoint), Failure> {
    let missing = |message: String| ControlError::new(ErrorKind::NotFound, message);
    let id = repository.find_share(share).await.map_err(AssemblyError::from)?;
    let id = id.ok_or_else(|| missing(format!("the repository has no share {share:?}")))?;
    match at {
        Moment::NewestHead => {
            let newest = repository.newest_head(id).await.map_err(AssemblyError::from)?;
            let newest = newest.ok_or_else(|| missing(format!("share {share:?} has no head")))?;
            Ok((newest.head, AttachPoint::Newest))
        }
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
        Moment::At(time) => {
            let (point, _, head) = not_after(repository, id, utc_nanos(*time)).await?;
            let point = match point {
                Point::Head(name) => AttachPoint::Head(name),
                Point::Snapshot(id) => AttachPoint::Snapshot(id),
            };
            Ok((head, point))
        }
        Moment::Live => Err(Failure::usage(format!(
            "{at} cannot be attached: give head, head:NAME, snapshot:ID or a time."
        ))),
    }
}

/// How what was attached is served.
enum Served {
    Share(Box<Share>),
    Bucket(Box<Bucket>),
}

/// As its head says: a share, or a bucket of objects.
fn rules(head: &Head, command: &Command) -> Result<Served, Failure> {
    let Some(text) = head.settings.get("bucket").and_then(serde_json::Value::as_str) else {
        return Ok(Served::Share(Box::new(share_rules(head, command)?)));
    };
    let mut bucket: Bucket = table_from_toml(text)?;
    bucket.follow = command.read_only;
    Ok(Served::Bucket(Box::new(bucket)))
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
    rules.follow = command.read_only;
    if command.drill {
        for_a_drill(&mut rules, given.contains_key("clients"));
    }
    Ok(rules)
}

/// How the clone of a share is served: to this machine, whatever its head says about clients and who they are.
fn for_a_drill(rules: &mut Share, with_clients: bool) {
    if !with_clients {
        rules.clients = ["127.0.0.0/8", "::1/128"].map(|network| network.parse().expect("a network")).into();
    }
    (rules.secure_ports, rules.squash, rules.quota) = (false, Squash::None, None);
}

/// Makes settings those of a drill; not those of a gateway that is none.
fn begin_drill(context: &Context, settings: &mut Settings) -> Result<(), Failure> {
    let acts = !settings.policies.is_empty() || !settings.sources.is_empty() || !settings.notify.is_empty();
    let serves = !settings.shares.is_empty() || !settings.buckets.is_empty() || acts;
    if serves && !settings.gateway.drill {
        let place = context.file.path().display();
        let message = format!("{place} has shares, policies, sources or notifiers that are meant for good");
        let error = ControlError::new(ErrorKind::Exists, message);
        return Err(error
            .todo("name a new file for the drill with --settings, and a new folder with --data")
            .into());
    }
    settings.gateway.drill = true;
    Ok(())
}

fn set_drill(document: &mut DocumentMut) -> Result<(), String> {
    let gateway = document.entry(Gateway::NAME).or_insert_with(|| Item::Table(toml_edit::Table::new()));
    let gateway = gateway.as_table_like_mut().ok_or("has no table [gateway]")?;
    gateway.insert("drill", toml_edit::value(true));
    Ok(())
}

/// What is followed is the newest head; and a share that is served here already stays as it is.
fn check_follows(settings: &Settings, command: &Command, point: AttachPoint) -> Result<(), Failure> {
    if point != AttachPoint::Newest {
        return Err(Failure::usage("What is followed is the newest head: leave --at out."));
    }
    let share = settings.share(&command.share).is_some_and(|share| !share.follow);
    let bucket = settings.bucket(&command.share).is_some_and(|bucket| !bucket.follow);
    if share || bucket {
        let message = format!("the settings have a share {:?} that is not followed", command.share);
        return Err(ControlError::new(ErrorKind::Exists, message).into());
    }
    Ok(())
}

/// Makes the local state. A share that this machine knows already is as wanted.
async fn attach(settings: &Settings, share: &str, point: AttachPoint) -> Result<(), Failure> {
    let appliance = open_appliance(settings).await?;
    let attached = if settings.gateway.drill {
        appliance.attach_clone(share, point).await
    } else {
        appliance.attach(share, point).await
    };
    let attached = match attached {
        Ok(_) | Err(ApplianceError::ShareExists { .. }) => Ok(()),
        Err(error) => Err(AssemblyError::from(error)),
    };
    appliance.close().await.map_err(AssemblyError::from)?;
    Ok(attached?)
}

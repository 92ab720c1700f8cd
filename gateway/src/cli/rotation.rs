//! `tidegate key rotate` and `tidegate key usage`: new sealing keys, and how much still lies under old ones.

use std::sync::Arc;

use serde::Serialize;
use tidegate_chunker::SealEpoch;
use tidegate_replicator::collect::{SealUsage, Silent, seal_usage};
use tidegate_replicator::repository::{Opened, Repository};

use super::Context;
use super::exit::Failure;
use super::format::{bytes, table};
use crate::admin::Applied;
use crate::assembly::AssemblyError;
use crate::control::{ControlError, ErrorKind};

/// A domain that has new keys.
#[derive(Debug, Serialize)]
struct Rotated {
    domain: String,
    label: String,
    /// The sealing epoch that everything is sealed under from now on.
    epoch: u32,
}

/// Gives every domain a new sealing secret, and has the gateway of the settings take it up.
pub(super) async fn rotate(
    context: &Context,
    repository: &Repository<Opened>,
    yes: bool,
) -> Result<(), Failure> {
    context.terminal.confirm(
        yes,
        "Everything that is stored from now on is sealed under new keys. What is stored already stays under the old ones \
         until it is stored anew. Rotate?",
    )?;
    let mut rotated = Vec::new();
    for (id, domain) in repository.domains() {
        let epoch = repository.rotate_domain(id).await.map_err(AssemblyError::from)?;
        rotated.push(Rotated { domain: id.to_string(), label: domain.label, epoch: epoch.0 });
    }
    let client = context.client()?;
    if client.is_there().await {
        let _: Applied = client.post("/settings/reload", &()).await?;
        context
            .terminal
            .say("the gateway here seals under the new keys now; others do within their heartbeat_every");
    } else {
        context.terminal.say("gateways that run seal under the new keys within their heartbeat_every");
    }
    if let Some(days) = stays_for(repository) {
        context.terminal.say(&format!(
            "packs are locked: once they are stored anew, those under the old keys stay for up to {days} days more"
        ));
    }
    context.terminal.data(&rotated, |rotated| {
        let row =
            |rotated: &Rotated| [rotated.domain.clone(), rotated.epoch.to_string(), rotated.label.clone()];
        table(["DOMAIN", "EPOCH", "LABEL"], &rotated.iter().map(row).collect::<Vec<_>>())
    })
}

/// For how many days a pack stays that nothing needs any more, where packs are locked.
fn stays_for(repository: &Repository<Opened>) -> Option<u64> {
    repository.store().capabilities().lock.map(|rule| rule.days_max())
}

/// What lies under one epoch.
#[derive(Debug, Serialize)]
struct UnderEpoch {
    epoch: u32,
    packs: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Usage {
    packs: u64,
    bytes: u64,
    /// Not under the newest epoch of their domain.
    old_packs: u64,
    old_bytes: u64,
    unreadable_packs: u64,
    /// Of which that cannot be told, for they sleep.
    asleep_packs: u64,
    asleep_bytes: u64,
    /// For how many days a pack stays after it was stored anew, where packs are locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_days: Option<u64>,
    epochs: Vec<UnderEpoch>,
}

impl From<SealUsage> for Usage {
    fn from(usage: SealUsage) -> Self {
        let under =
            |(epoch, (packs, bytes)): (SealEpoch, (u64, u64))| UnderEpoch { epoch: epoch.0, packs, bytes };
        Self {
            packs: usage.packs,
            bytes: usage.bytes,
            old_packs: usage.old_packs,
            old_bytes: usage.old_bytes,
            unreadable_packs: usage.unreadable,
            asleep_packs: usage.asleep,
            asleep_bytes: usage.asleep_bytes,
            locked_days: None,
            epochs: usage.epochs.into_iter().map(under).collect(),
        }
    }
}

/// Shows how much lies under which epoch.
pub(super) async fn usage(context: &Context, repository: Arc<Repository<Opened>>) -> Result<(), Failure> {
    let usage = seal_usage(&repository, &Silent)
        .await
        .map_err(|error| ControlError::from_source(ErrorKind::Failed, "look at all packs", &error))?;
    let usage = Usage { locked_days: stays_for(&repository), ..Usage::from(usage) };
    context.terminal.data(&usage, people)
}

fn people(usage: &Usage) -> String {
    let row = |under: &UnderEpoch| [under.epoch.to_string(), under.packs.to_string(), bytes(under.bytes)];
    let epochs = table(["EPOCH", "PACKS", "SIZE"], &usage.epochs.iter().map(row).collect::<Vec<_>>());
    let old = match usage.old_packs {
        0 => "everything is under the newest keys".to_owned(),
        count => format!(
            "{count} packs ({}) are under old keys; `tidegate gc --reseal`, or reseal in [retention], stores them anew",
            bytes(usage.old_bytes)
        ),
    };
    let unreadable = match usage.unreadable_packs {
        0 => String::new(),
        count => format!("\n{count} packs cannot be read: run `tidegate check`"),
    };
    let asleep = match usage.asleep_packs {
        0 => String::new(),
        count => format!(
            "\n{count} packs ({}) sleep in the archive of the store: under which keys they are is told once they are thawed",
            bytes(usage.asleep_bytes)
        ),
    };
    let locked = match usage.locked_days {
        Some(days) if usage.old_packs > 0 => {
            format!("\nthey are locked, and stay for up to {days} days after that")
        }
        Some(_) | None => String::new(),
    };
    format!("{epochs}\n{old}{locked}{asleep}{unreadable}")
}

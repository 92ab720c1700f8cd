//! `tidegate key`: the slots that open the repository: list, add, remove.
//!
//! Works on the repository itself, whether a gateway runs or not. Secrets are read from private files
//! or made here; they are never arguments.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_replicator::repository::{
    Argon2Cost, KeyFile, Opened, Passphrase, RecoveryKey, Repository, SlotId, SlotInfo, SlotKey, UtcNanos,
};

use super::Context;
use super::exit::Failure;
use super::format::table;
use crate::assembly::{AssemblyError, open_repository};
use crate::control::{ControlError, ErrorKind};
use crate::settings::{LocalPath, SecretReference};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what opens the repository.
    List,
    /// Add something that opens the repository.
    #[command(subcommand)]
    Add(New),
    /// Remove a slot. Who knew its secret may have kept the master key.
    Remove {
        /// The slot.
        slot: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum New {
    /// Make a key file.
    KeyFile {
        /// The file to make.
        file: PathBuf,
        #[command(flatten)]
        label: Label,
    },
    /// Take a passphrase.
    Passphrase {
        /// A file (mode 0600) with the passphrase.
        file: PathBuf,
        #[command(flatten)]
        label: Label,
    },
    /// Make a recovery key, to be printed.
    Recovery {
        #[command(flatten)]
        label: Label,
    },
}

/// What people call a slot.
#[derive(Debug, Args)]
pub(super) struct Label {
    /// What to call it.
    #[arg(long, default_value = "")]
    label: String,
}

/// A slot, or what is wrong with it.
#[derive(Debug, Serialize)]
struct Slot {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    label: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    damage: Option<String>,
}

/// A slot that was added.
#[derive(Debug, Serialize)]
struct Added {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<String>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let repository = open_repository(&context.settings()?).await?;
    match command {
        Command::List => list(context, &repository).await,
        Command::Add(new) => add(context, &repository, new).await,
        Command::Remove { slot, yes } => remove(context, &repository, &slot, yes).await,
    }
}

async fn list(context: &Context, repository: &Repository<Opened>) -> Result<(), Failure> {
    let slots = repository.slots().await.map_err(AssemblyError::from)?;
    let slots: Vec<Slot> = slots
        .into_iter()
        .map(|(id, info)| match info {
            Ok(info) => readable(&info),
            Err(error) => Slot {
                id: id.to_string(),
                kind: None,
                label: String::new(),
                created: None,
                damage: Some(error.to_string()),
            },
        })
        .collect();
    context.terminal.data(&slots, |slots| {
        let row = |slot: &Slot| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            [
                slot.id.clone(),
                slot.kind.unwrap_or("damaged").to_owned(),
                text(&slot.created),
                slot.label.clone() + &text(&slot.damage),
            ]
        };
        table(["SLOT", "KIND", "CREATED", "LABEL"], &slots.iter().map(row).collect::<Vec<_>>())
    })
}

fn readable(info: &SlotInfo) -> Slot {
    use tidegate_replicator::repository::SlotKind;
    let kind = match info.kind {
        SlotKind::Passphrase => "passphrase",
        SlotKind::KeyFile => "key-file",
        SlotKind::Recovery => "recovery",
    };
    Slot {
        id: info.id.to_string(),
        kind: Some(kind),
        label: info.label.clone(),
        created: Some(info.created_at.to_string()),
        damage: None,
    }
}

async fn add(context: &Context, repository: &Repository<Opened>, new: New) -> Result<(), Failure> {
    let (key, label, recovery_key) = match new {
        New::KeyFile { file, label } => {
            (SlotKey::KeyFile(KeyFile::create(&file).map_err(AssemblyError::from)?), label, None)
        }
        New::Passphrase { file, label } => (passphrase(&file).await?, label, None),
        New::Recovery { label } => {
            let key = RecoveryKey::generate().map_err(AssemblyError::from)?;
            let text = key.to_text().to_string();
            (SlotKey::Recovery(key), label, Some(text))
        }
    };
    let now = UtcNanos::from(std::time::SystemTime::now());
    let id = repository.add_slot(&key, &label.label, now).await.map_err(AssemblyError::from)?;
    let added = Added { id: id.to_string(), recovery_key };
    context.terminal.data(&added, |added| match &added.recovery_key {
        None => format!("slot {} added", added.id),
        Some(key) => format!("slot {} added; its recovery key, shown this once:\n\n  {key}\n", added.id),
    })
}

/// A passphrase out of a private file.
async fn passphrase(file: &std::path::Path) -> Result<SlotKey, Failure> {
    let file = std::path::absolute(file).map_err(|error| super::failed("find the working folder", &error))?;
    let path: LocalPath = file
        .to_string_lossy()
        .parse()
        .map_err(|reason| Failure::usage(format!("{} {reason}.", file.display())))?;
    let secret = SecretReference::File(path).resolve().await.map_err(AssemblyError::from)?;
    let text = secret.expose_text().ok_or_else(|| Failure::usage("The passphrase is not UTF-8 text."))?;
    let passphrase = Passphrase::new(text, Argon2Cost::default()).map_err(AssemblyError::from)?;
    Ok(SlotKey::Passphrase(passphrase))
}

async fn remove(
    context: &Context,
    repository: &Repository<Opened>,
    slot: &str,
    yes: bool,
) -> Result<(), Failure> {
    let id = SlotId::from_hex(slot).ok_or_else(|| {
        ControlError::new(ErrorKind::NotFound, format!("{slot:?} is no slot"))
            .todo("`tidegate key list` shows them")
    })?;
    context.terminal.confirm(
        yes,
        &format!("What slot {id} was made for will not open the repository any more. Remove it?"),
    )?;
    repository.remove_slot(id).await.map_err(AssemblyError::from)?;
    context.terminal.data(&Added { id: id.to_string(), recovery_key: None }, |_| format!("slot {id} removed"))
}

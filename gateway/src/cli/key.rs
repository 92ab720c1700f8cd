//! `tidegate key`: the slots that open the repository: list, add, remove; a page for the safe; new sealing keys.
//!
//! Works on the repository itself, whether a gateway runs or not. Secrets are read from private files
//! or made here; they are never arguments.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;
use tidegate_replicator::repository::{
    Argon2Cost, KeyFile, Opened, Passphrase, RecoveryKey, Repository, SlotId, SlotInfo, SlotKey, UtcNanos,
};

use super::Context;
use super::exit::Failure;
use super::format::table;
use super::removing::Asking;
use super::{recovery_sheet, rotation, shred};
use crate::assembly::{AssemblyError, open_repository, slot_key};
use crate::control::{ControlError, ErrorKind};
use crate::settings::{LocalPath, SecretReference, Settings};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show what opens the repository.
    List,
    /// Add something that opens the repository.
    #[command(subcommand)]
    Add(New),
    /// Make a recovery key and print a page for the safe: all that is needed to get the data back.
    RecoverySheet(recovery_sheet::Command),
    /// Seal what is stored from now on under new keys. `gc --reseal` stores anew what is under old ones.
    Rotate {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Show how much is sealed under which keys. Reads the beginning of every pack.
    Usage,
    /// Destroy the keys of a share that has its own (`own_key`) and that is not in the settings any more, on every target of
    /// the settings: nobody can read what it stored afterwards. Its packs go by collections.
    Shred {
        /// The share, by its name or id.
        share: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// Remove a slot: what it was made for does not open the repository any more. It does not help against
    /// somebody who has opened the repository before and kept the master key, nor against a copy of the slot and of
    /// what was stored by then. The last slot stays, and so does the only one that these settings open.
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
    #[arg(long, default_value = "made by key add")]
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
    /// The same key in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<String>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let settings = context.settings()?;
    let repository = open_repository(&settings).await?;
    match command {
        Command::List => list(context, &repository).await,
        Command::Add(new) => add(context, &repository, new).await,
        Command::RecoverySheet(command) => {
            recovery_sheet::run(context, &settings, &repository, command).await
        }
        Command::Rotate { yes } => rotation::rotate(context, &repository, yes).await,
        Command::Usage => rotation::usage(context, Arc::new(repository)).await,
        Command::Shred { share, asking } => shred::run(context, &settings, &repository, &share, asking).await,
        Command::Remove { slot, yes } => remove(context, &settings, &repository, &slot, yes).await,
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
    let (key, label, shown) = match new {
        New::KeyFile { file, label } => {
            (SlotKey::KeyFile(KeyFile::create(&file).map_err(AssemblyError::from)?), label, None)
        }
        New::Passphrase { file, label } => (passphrase(&file).await?, label, None),
        New::Recovery { label } => {
            let key = RecoveryKey::generate().map_err(AssemblyError::from)?;
            let shown = (key.to_text().to_string(), key.to_words().to_string());
            (SlotKey::Recovery(key), label, Some(shown))
        }
    };
    let now = UtcNanos::from(std::time::SystemTime::now());
    let id = repository.add_slot(&key, &label.label, now).await.map_err(AssemblyError::from)?;
    let (recovery_key, words) = shown.unzip();
    let added = Added { id: id.to_string(), recovery_key, words };
    context.terminal.data(&added, |added| match added.recovery_key.as_ref().zip(added.words.as_ref()) {
        None => format!("slot {} added", added.id),
        Some((key, words)) => format!(
            "slot {} added; its recovery key, shown this once, in characters and in words:\n\n  {key}\n\n  {words}\n",
            added.id
        ),
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
    settings: &Settings,
    repository: &Repository<Opened>,
    slot: &str,
    yes: bool,
) -> Result<(), Failure> {
    let id = SlotId::from_hex(slot).ok_or_else(|| {
        ControlError::new(ErrorKind::NotFound, format!("{slot:?} is no slot"))
            .todo("`tidegate key list` shows them")
    })?;
    let own = slot_key(&settings.repository).await?;
    let is_own = repository.slots_opened_by(&own).await.map_err(AssemblyError::from)? == [id];
    // The last one is refused for another reason.
    if is_own && repository.slots().await.map_err(AssemblyError::from)?.len() > 1 {
        let message = format!("slot {id} is the one that these settings open the repository with");
        let todo = "let repository.key name another key first; otherwise the gateway could not start again";
        return Err(ControlError::new(ErrorKind::Busy, message).todo(todo).into());
    }
    context.terminal.confirm(
        yes,
        &format!(
            "What slot {id} was made for will not open the repository any more. Who has used it before may have kept \
             the master key, which stays the same. Remove it?"
        ),
    )?;
    repository.remove_slot(id).await.map_err(AssemblyError::from)?;
    let removed = Added { id: id.to_string(), recovery_key: None, words: None };
    context.terminal.data(&removed, |_| format!("slot {id} removed"))
}

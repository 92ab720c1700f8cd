//! `tidegate init`: makes a repository, its key and, when there is none, the settings file.
//!
//! Order, and what a crash at each step leaves: the settings are checked in memory; the place is looked at,
//! and refused unless it is empty; the store is probed (a crash leaves objects below `probe/`, which the next probe removes); the key file is written (a key
//! that opens nothing); the repository is made (see its own order; it opens with the key); a recovery
//! key is added and shown; the settings file is written. A key file is never removed: it may be the
//! only one that opens a repository whose creation was not answered.

use clap::Args;
use serde::Serialize;
use tidegate_chunker::ChunkParams;
use tidegate_replicator::repository::{
    NewRepository, Opened, RecoveryKey, Repository, SlotKey, UtcNanos, check_vacant,
};
use tidegate_replicator::store::{ProbeReport, create_place};

use super::Context;
use super::exit::Failure;
use super::place::Place;
use crate::assembly::{
    AssemblyError, contact_store, open_store, probe_target, slot_key, store_settings, write_key_file,
};
use crate::control::{ControlError, ErrorKind};
use crate::settings::{Settings, Target};

#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    place: Place,
    /// Make no recovery key.
    #[arg(long)]
    no_recovery_key: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
pub(super) struct Made {
    repository: String,
    address: String,
    settings: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery_key: Option<String>,
    store: ProbeReport,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let made = Box::pin(make(context, &command.place, !command.no_recovery_key)).await?;
    context.terminal.data(&made, people)
}

/// Makes repository, key, settings and, if it is wanted, a recovery key.
pub(super) async fn make(context: &Context, place: &Place, recovery: bool) -> Result<Made, Failure> {
    let prepared = place.prepare(context)?;
    let settings = &prepared.settings;
    let target = settings.lead();
    let store = usable_store(target).await?;
    let repository = create(settings, &store).await?;
    let recovery_key = if recovery { Some(add_recovery_key(&repository).await?) } else { None };
    prepared.write(context)?;
    Ok(Made {
        repository: repository.id().to_string(),
        address: target.address.to_string(),
        settings: context.file.path().display().to_string(),
        key: settings.repository.key.to_string(),
        recovery_key,
        store,
    })
}

/// Finds out what the store does, and whether it will do.
async fn usable_store(target: &Target) -> Result<ProbeReport, Failure> {
    create_place(&store_settings(target)).map_err(AssemblyError::at(target))?;
    let first = contact_store(target).await?.store;
    check_vacant(&*first).await.map_err(AssemblyError::at(target))?;
    let report = probe_target(target).await.map_err(AssemblyError::at(target))?;
    match report.obstacles().as_slice() {
        [] => Ok(report),
        obstacles => {
            let message = format!("{} cannot hold a repository: {}", target.address, obstacles.join("; "));
            Err(ControlError::new(ErrorKind::Denied, message).todo("use another bucket or service").into())
        }
    }
}

async fn create(settings: &Settings, probed: &ProbeReport) -> Result<Repository<Opened>, Failure> {
    let store = open_store(settings.lead(), Some(probed)).await?.store;
    write_key_file(&settings.repository)?;
    let key = slot_key(&settings.repository).await?;
    let new = NewRepository {
        chunks: ChunkParams::default(),
        slot_label: "made by init".to_owned(),
        domain_label: "default".to_owned(),
        created_at: UtcNanos::from(std::time::SystemTime::now()),
    };
    Ok(Repository::init(store, &new, &key).await.map_err(AssemblyError::from)?)
}

async fn add_recovery_key(repository: &Repository<Opened>) -> Result<String, Failure> {
    let key = RecoveryKey::generate().map_err(AssemblyError::from)?;
    let text = key.to_text().to_string();
    let now = UtcNanos::from(std::time::SystemTime::now());
    repository
        .add_slot(&SlotKey::Recovery(key), "recovery key made by init", now)
        .await
        .map_err(AssemblyError::from)?;
    Ok(text)
}

/// For people.
pub(super) fn people(made: &Made) -> String {
    let recovery = made.recovery_key.as_ref().map(|key| {
        format!("\nrecovery key, shown this once (print it, and keep it where the key is not):\n\n  {key}\n")
    });
    format!(
        "repository {} made\n\nsettings  {}\nkey       {} (keep a copy away from this machine: without a key nobody can read the repository)\n{}\nstore     {}",
        made.repository,
        made.settings,
        made.key,
        recovery.unwrap_or_default(),
        made.store
    )
}

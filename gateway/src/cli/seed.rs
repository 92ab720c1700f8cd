//! `tidegate seed`: the repository on a disk that travels, for a far store behind a slow link.
//!
//! The work is `tidegate_replicator::seed`. Needs no running gateway, and works beside those that run.

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use tidegate_chunker::VerifyingKey;
use tidegate_replicator::seed::{Exported, Imported, SIGNER_BYTES, SeedError, export, import};
use tidegate_replicator::store::create_place;

use super::Context;
use super::exit::Failure;
use super::format::bytes;
use super::local_work::{Watched, watch};
use super::place::RepositoryPlace;
use super::target::Keys;
use crate::assembly::{AssemblyError, OfflineRepository, open_store, probe_target, store_settings};
use crate::control::{ControlError, ErrorKind, JobHandle};
use crate::settings::{Target, table_from_json};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the whole repository to a folder, and sign what is there; again: bring it up to date.
    Export {
        /// The folder, on a disk with room for the repository.
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        #[command(flatten)]
        place: RepositoryPlace,
    },
    /// Check what an export wrote, and store it. Needs no key of the repository; afterwards add the store as a target.
    Import {
        /// The folder.
        #[arg(long, value_name = "FOLDER")]
        from: PathBuf,
        /// Who signed it, as the export said.
        #[arg(long, value_name = "KEY")]
        signer: String,
        #[command(flatten)]
        keys: Keys,
    },
}

/// What an export did.
#[derive(Debug, Serialize)]
struct ExportReport {
    folder: PathBuf,
    objects: u64,
    bytes: u64,
    fetched_bytes: u64,
    signer: String,
}

/// What an import did.
#[derive(Debug, Serialize)]
struct ImportReport {
    objects: u64,
    bytes: u64,
    before: u64,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Export { to, place } => run_export(context, to, &place).await,
        Command::Import { from, signer, keys } => run_import(context, from, &signer, &keys).await,
    }
}

async fn run_export(context: &Context, folder: PathBuf, place: &RepositoryPlace) -> Result<(), Failure> {
    let settings = place.settings(context)?;
    let offline = OfflineRepository::open(&settings).await?;
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let exported = watch(&context.terminal, &job, export(&offline.repository, &folder, &watched)).await;
    let Exported { objects, bytes: size, fetched_bytes, signer } = exported.map_err(failed)?;
    let signer = signer.to_hex();
    let report = ExportReport { folder, objects, bytes: size, fetched_bytes, signer };
    context.terminal.data(&report, |report| {
        format!(
            "{} objects ({}) are in {}, of which {} were fetched now\n\nwhere the disk goes to:\n\n  tidegate seed import \
             --from FOLDER --address … --signer {}",
            report.objects,
            bytes(report.bytes),
            report.folder.display(),
            bytes(report.fetched_bytes),
            report.signer
        )
    })
}

async fn run_import(context: &Context, folder: PathBuf, signer: &str, keys: &Keys) -> Result<(), Failure> {
    let signer = VerifyingKey::from_hex(signer).ok_or_else(|| {
        ControlError::new(
            ErrorKind::Invalid,
            format!("{signer:?} is no signer: it has {SIGNER_BYTES} bytes in hex"),
        )
        .todo("give what `tidegate seed export` has said")
    })?;
    let (target, _) = table_from_json::<Target>(&keys.to_json("seed"))?;
    create_place(&store_settings(&target)).map_err(AssemblyError::at(&target))?;
    let probed = probe_target(&target).await.map_err(AssemblyError::at(&target))?;
    let store = open_store(&target, Some(&probed)).await?.store;
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let imported = watch(&context.terminal, &job, import(&folder, &store, &signer, &watched)).await;
    let Imported { objects, bytes: size, before } = imported.map_err(failed)?;
    let report = ImportReport { objects, bytes: size, before };
    context.terminal.data(&report, |report| {
        let (objects, size) = (report.objects, bytes(report.bytes));
        format!(
            "{objects} objects ({size}) stored, {} were there already; where the gateway runs: tidegate target add",
            report.before
        )
    })
}

fn failed(error: SeedError) -> ControlError {
    let kind = match &error {
        SeedError::Cancelled => ErrorKind::Cancelled,
        SeedError::Occupied { .. } => ErrorKind::Exists,
        SeedError::NotSigned { .. } => ErrorKind::Denied,
        SeedError::BadLine { .. } | SeedError::Changed { .. } | SeedError::NotWhole { .. } => {
            ErrorKind::Damaged
        }
        SeedError::Disk { .. } => ErrorKind::Failed,
        SeedError::Repository(_) | SeedError::Copy(_) => {
            return match error {
                SeedError::Repository(source) => AssemblyError::from(source).into(),
                SeedError::Copy(source) => AssemblyError::from(source).into(),
                other => ControlError::new(ErrorKind::Failed, other.to_string()),
            };
        }
    };
    ControlError::from_source(kind, "seed a store", &error)
}

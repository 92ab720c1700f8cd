//! Collecting garbage when somebody asks for it, which the gateway does by itself by the clock.

use std::sync::Arc;

use tidegate_replicator::collect::CollectError;

use super::{AssemblyError, collect_config};
use crate::appliance::{Appliance, CollectionFigures};
use crate::control::{CollectionReport, ControlError, ErrorKind, JobHandle, Unit};
use crate::settings::Settings;

/// One round now; or, with `dry_run`, what it would find.
pub(super) async fn collect_now(
    appliance: &Arc<Appliance>,
    settings: &Settings,
    dry_run: bool,
    job: &JobHandle,
) -> Result<CollectionReport, ControlError> {
    if settings.gateway.drill && !dry_run {
        return Err(ControlError::new(ErrorKind::Denied, "the clone of a drill deletes nothing"));
    }
    let config = collect_config(settings);
    job.phase("mark what is retained", None, Unit::Items);
    let round = async {
        if dry_run {
            appliance.propose_collection(&config).await.map(Some)
        } else {
            appliance.collect_once(&config).await
        }
    };
    // Dropped half way, a round leaves a plan that the next one goes on with.
    let figures = tokio::select! {
        figures = round => figures.map_err(collect_failed)?,
        () = job.cancelled() => return Err(ControlError::new(ErrorKind::Cancelled, "the job was cancelled")),
    };
    let figures = figures.ok_or_else(|| {
        ControlError::new(
            ErrorKind::Busy,
            "a plan of before is open: it was gone on with, and no other was made",
        )
        .todo("see `tidegate gc` for whom it waits for")
    })?;
    Ok(report(figures, dry_run))
}

fn report(figures: CollectionFigures, dry_run: bool) -> CollectionReport {
    CollectionReport {
        dry_run,
        packs: figures.packs,
        pack_bytes: figures.pack_bytes,
        condemned: figures.condemned,
        condemned_bytes: figures.condemned_bytes,
        sparse: figures.sparse,
        deferred: figures.deferred,
        held: figures.held,
    }
}

/// Why garbage was not collected.
pub(crate) fn collect_failed(error: CollectError) -> ControlError {
    let kind = match &error {
        CollectError::Repository(_) => None,
        CollectError::Unreadable { .. } => Some(ErrorKind::Damaged),
        CollectError::Away(_) => Some(ErrorKind::StoreAway),
        CollectError::TooMuch { .. } | CollectError::Clock { .. } => Some(ErrorKind::Invalid),
        CollectError::Scratch { .. } => Some(ErrorKind::Full),
        CollectError::Died => Some(ErrorKind::Failed),
        CollectError::Cancelled => Some(ErrorKind::Cancelled),
    };
    match (kind, error) {
        (_, CollectError::Repository(error)) => AssemblyError::Repository(error).into(),
        (kind, error) => ControlError::new(kind.unwrap_or(ErrorKind::Failed), error.to_string()),
    }
}

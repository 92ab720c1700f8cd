//! What somebody has hidden, or stored something else over, in a target that locks objects: named by `tidegate target
//! verify`, undone by `tidegate target repair --undo`.

use serde::Serialize;
use tidegate_replicator::collect::{Tampered, revive, tampered};
use tidegate_replicator::repository::{Opened, Repository};

use super::Context;
use super::exit::Failure;
use super::gc::failed;
use super::local_work::{Watched, watch};
use super::target::target_named;
use crate::assembly::{AssemblyError, open_repository};
use crate::control::{ControlError, ErrorKind, JobHandle};
use crate::settings::{Repository as RepositorySettings, Settings};

/// What was brought back.
#[derive(Debug, Serialize)]
struct Undone {
    revived: Vec<String>,
    failed: Vec<String>,
}

/// Names what was tampered with, for people.
pub(super) async fn look(repository: &Repository<Opened>, watched: &Watched) -> Result<Vec<String>, Failure> {
    Ok(tampered(repository, watched).await.map_err(failed)?.iter().map(name).collect())
}

fn name(tampered: &Tampered) -> String {
    let what =
        if tampered.is_hidden { "hidden by a delete marker" } else { "something else was stored over it" };
    format!("{}: {what}; its oldest version is {}", tampered.name, tampered.oldest)
}

/// Lets every name show its oldest version again.
pub(super) async fn undo(context: &Context, target: &str) -> Result<(), Failure> {
    let settings = context.settings()?;
    let target = target_named(&settings, target)?;
    if target.lock.is_none() {
        let message = format!("target {} locks nothing, so it keeps no older versions", target.name);
        return Err(ControlError::new(ErrorKind::Invalid, message)
            .todo("fill holes from another target: `tidegate target repair --from`")
            .into());
    }
    let lead = Some(target.name.clone());
    let repository = RepositorySettings { lead, ..settings.repository.clone() };
    let repository = open_repository(&Settings { repository, ..settings.clone() }).await?;
    let job = JobHandle::new();
    let watched = Watched(job.clone());
    let found = watch(&context.terminal, &job, tampered(&repository, &watched)).await.map_err(failed)?;
    let mut undone = Undone { revived: Vec::new(), failed: Vec::new() };
    for tampered in &found {
        match revive(&repository, tampered).await {
            Ok(()) => undone.revived.push(tampered.name.to_string()),
            Err(error) if error.is_transient() => return Err(AssemblyError::from(error).into()),
            Err(error) => undone.failed.push(format!("{}: {error}", tampered.name)),
        }
    }
    context.terminal.data(&undone, |undone| {
        let summary = format!("{} objects show their oldest version again", undone.revived.len());
        std::iter::once(summary).chain(undone.failed.iter().cloned()).collect::<Vec<_>>().join("\n")
    })?;
    match undone.failed.len() {
        0 => Ok(()),
        count => {
            let message = format!("{count} objects could not be brought back");
            Err(ControlError::new(ErrorKind::Damaged, message).into())
        }
    }
}

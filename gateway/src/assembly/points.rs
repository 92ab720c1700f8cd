//! A point in time of a share: the newest head of its line, or snapshot, that was not frozen after it.
//!
//! Branches are no points of the line, and never chosen.

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{Around, Head, HeadName, Opened, Point, Repository, UtcNanos};

use super::AssemblyError;
use super::overview::timestamp;
use crate::control::{ControlError, ErrorKind};

/// The newest state that was not frozen after `time`; an error that names the nearest one when there is none.
pub(crate) async fn not_after(
    repository: &Repository<Opened>,
    share: ShareId,
    time: UtcNanos,
) -> Result<(Point, HeadName, Head), ControlError> {
    let around = repository.moments_around(share, time).await.map_err(AssemblyError::from)?;
    let Some((point, _)) = around.before else { return Err(nothing_before(time, &around)) };
    let (name, head) = match point {
        Point::Head(name) => (name, repository.read_head(share, &name).await.map_err(AssemblyError::from)?),
        Point::Snapshot(id) => {
            let snapshot = repository.read_snapshot(share, id).await.map_err(AssemblyError::from)?;
            (snapshot.head_name, snapshot.head)
        }
    };
    Ok((point, name, head))
}

fn nothing_before(time: UtcNanos, around: &Around) -> ControlError {
    let message = format!("nothing of the share is kept from {} (UTC) or before", timestamp(time));
    let error = ControlError::new(ErrorKind::NotFound, message);
    match around.after {
        Some((point, frozen)) => {
            let point = match point {
                Point::Head(name) => format!("head:{name}"),
                Point::Snapshot(id) => format!("snapshot:{id}"),
            };
            error.todo(format!(
                "the oldest state that there is was frozen at {} (UTC): {point}",
                timestamp(frozen)
            ))
        }
        None => error.todo("the share has no head or snapshot at all"),
    }
}

//! History: looking at moments of a share, comparing two of them, putting paths back to what they were, and bringing
//! what a branch has changed into the share.

mod apply;
mod browse;
mod diff;
mod growth;
mod restore;
mod three;

pub use apply::apply;
pub use browse::{Seen, list, open};
pub use diff::diff;
pub use restore::restore;
pub use three::Sides;

use tidegate_protocols::view::FsError;

use crate::control::{ControlError, ErrorKind, FilePath};
use crate::namespace::{Credentials, Node, Reader};
use crate::share::ShareError;

/// The inode of a path of a frozen or live map.
async fn resolve(reader: Reader<'_>, path: &FilePath) -> Result<Node, ControlError> {
    let mut node = reader.node(tidegate_replicator::map::InodeNumber::ROOT).await.map_err(control_error)?;
    for name in path.names() {
        node = reader.lookup(&node, name, &Credentials::ROOT).await.map_err(|error| match error {
            FsError::NotFound | FsError::NotDirectory => {
                ControlError::new(ErrorKind::NotFound, format!("there is no {path} at that moment"))
            }
            other => control_error(other),
        })?;
    }
    Ok(node)
}

fn control_error(error: FsError) -> ControlError {
    let kind = match error {
        FsError::TryLater => ErrorKind::StoreAway,
        FsError::Stale | FsError::NotFound => ErrorKind::NotFound,
        FsError::NoSpace | FsError::Quota => ErrorKind::Full,
        _ => ErrorKind::Failed,
    };
    ControlError::new(kind, error.to_string())
}

fn share_error(error: ShareError) -> ControlError {
    control_error(error.into())
}

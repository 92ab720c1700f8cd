//! Why a copy did not come further, and what to do about it.

use crate::repository::RepositoryError;
use crate::store::StoreError;

/// A pass that ended early. What it had copied stays, and the next pass goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The lead, or the copy.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The store of the copy holds another repository. Nothing was written.
    #[error("{address} holds another repository: choose another prefix for this copy")]
    Foreign {
        /// The address.
        address: String,
    },
    /// The store of the copy holds something, and no repository. Nothing was written.
    #[error(
        "{address} is not empty (there is {found:?}) and no copy of this repository: choose another prefix"
    )]
    Occupied {
        /// The address.
        address: String,
        /// One of the objects found.
        found: String,
    },
    /// The folder for packs on their way.
    #[error("failed to write a pack to {folder}")]
    Scratch {
        /// Which folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// The caller asked to stop.
    #[error("the copying was stopped")]
    Cancelled,
}

impl From<StoreError> for MirrorError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}

impl MirrorError {
    /// Whether it is about one object, so that the others can be gone on with.
    pub(super) fn is_of_one_object(&self) -> bool {
        matches!(
            self,
            Self::Repository(RepositoryError::Damaged { .. } | RepositoryError::NewerFormat { .. })
        )
    }

    /// Whether what was to be copied sleeps.
    pub(super) fn is_asleep(&self) -> bool {
        matches!(self, Self::Repository(error) if error.is_asleep())
    }

    /// Whether what was to be copied is gone.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Repository(error) if error.is_missing())
    }
}

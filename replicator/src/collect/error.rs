//! What can end a collection.

use crate::frozen::{ReadError, with_causes};
use crate::repository::RepositoryError;

/// Why a collection did not come to its end. The next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A tree could not be walked, so nobody knows what it reaches.
    #[error("nothing is collected, because what {what} reaches cannot be read: {why}: run a check")]
    Unreadable {
        /// The head or snapshot.
        what: String,
        /// What happened.
        why: String,
    },
    /// The store did not answer.
    #[error("the collection could not be finished: {0}")]
    Away(String),
    /// The plan would delete more than is allowed.
    #[error(
        "{condemned} of {total} bytes in packs would be deleted, which is more than {percent_max} %: \
         nothing was condemned; look at the proposal, and raise the limit if that is what you want"
    )]
    TooMuch {
        /// Bytes to delete.
        condemned: u64,
        /// Bytes of all packs.
        total: u64,
        /// The limit, in percent.
        percent_max: u8,
    },
    /// The clock of this machine is far behind the store's, so ages cannot be told.
    #[error(
        "the store holds an object that was written {seconds} s from now by this machine's clock: set the \
         clock; nothing is collected until then"
    )]
    Clock {
        /// How far ahead it is.
        seconds: u64,
    },
    /// The local disk.
    #[error("failed to use the scratch folder {folder}: {source}")]
    Scratch {
        /// Which folder.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// A step died.
    #[error("a step of the collection ended early: see the log")]
    Died,
    /// It was asked to stop.
    #[error("the collection was stopped")]
    Cancelled,
}

impl CollectError {
    /// What an error of a walk says about the root that was walked.
    pub(super) fn of_walk(what: &str, error: ReadError) -> Self {
        match error {
            ReadError::Away(_) | ReadError::Asleep(_) => Self::Away(with_causes(&error)),
            ReadError::Damaged(_) => Self::Unreadable { what: what.to_owned(), why: with_causes(&error) },
        }
    }
}

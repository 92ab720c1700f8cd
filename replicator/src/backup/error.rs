//! Why a backup did not come to its end. Nothing that was there before is touched by any of these.

use std::io;

use crate::frozen::ReadError;
use crate::ingest::IngestError;
use crate::map::MapError;
use crate::tree::TreeError;

/// A source that cannot be read as a whole; the text says what failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct SourceError {
    /// What failed.
    pub what: String,
    /// Why, if somebody else knows.
    #[source]
    pub cause: Option<io::Error>,
}

impl SourceError {
    /// A failure whose text says everything.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// A failure with its cause; `what` reads before a colon and the cause.
    pub fn because(what: impl std::fmt::Display, cause: io::Error) -> Self {
        Self { what: format!("{what}: {cause}"), cause: Some(cause) }
    }
}

/// See the head of this module.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source has nothing where something is expected.
    #[error(
        "the source is empty: that looks like something that is not mounted, or a command that failed without saying so; \
         if it is meant to be empty, set allow_empty"
    )]
    Empty,
    /// The source has something, and nothing of it can be read.
    #[error("nothing of the source can be read: {path}: {why}")]
    NothingRead {
        /// The first that was left out.
        path: String,
        /// Why.
        why: String,
    },
    /// The map of the run before.
    #[error("failed to read the map of the run before: {0}")]
    Before(#[from] ReadError),
    /// The new tree.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Cutting and sealing.
    #[error("{}{}", .0, cause(.0))]
    Ingest(#[from] IngestError),
    /// Lists on the local disk.
    #[error("failed to {doing} on the local disk: {source}")]
    Local {
        /// Reads after "failed to".
        doing: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("the backup was cancelled")]
    Cancelled,
}

fn cause(error: &IngestError) -> String {
    std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default()
}

impl BackupError {
    /// For `map_err` of files of our own.
    pub(super) fn local(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Local { doing, source }
    }
}

impl From<MapError> for BackupError {
    fn from(error: MapError) -> Self {
        Self::Before(error.into())
    }
}

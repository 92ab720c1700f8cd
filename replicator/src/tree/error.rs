//! What can go wrong with a tree, by what it asks of the caller.

use tidegate_chunker::ChunkId;

/// A failed tree operation.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Nobody who was asked has this chunk: heal it from a copy, or report what it held as lost.
    #[error("failed to find tree chunk {id}: no target holds it")]
    Missing {
        /// The node or outlined value.
        id: ChunkId,
    },
    /// The chunk was read, but is not what its id or its parent says: heal it from a copy.
    #[error("failed to read tree chunk {id}: {what}")]
    Damaged {
        /// The node or outlined value.
        id: ChunkId,
        /// What does not fit.
        what: &'static str,
    },
    /// The bytes given to [`Value::decode`](super::Value::decode) are no value.
    #[error("failed to decode a value of the map: {what}")]
    BadValue {
        /// What does not fit.
        what: &'static str,
    },
    /// The edits break the rules of [`apply`](super::apply): a mistake of the caller, nothing is lost.
    #[error("failed to apply edit {position} to the tree: {what}")]
    BadEdit {
        /// Which edit or range, counted from 0.
        position: u64,
        /// The rule that it breaks.
        what: &'static str,
    },
    /// Chunks or edits could not be read, or chunks could not be written, for a reason below the
    /// tree. Says nothing about whether they exist; trying again may help if the cause says so.
    #[error("failed to {doing}")]
    Source {
        /// What was being done: reads after "failed to".
        doing: String,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TreeError {
    /// A failure below the tree; `doing` reads after "failed to".
    pub fn source(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Source { doing: doing.into(), source: source.into() }
    }
}

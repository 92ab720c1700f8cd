//! Why packs did not go up, and what the caller should do about it.

use std::path::PathBuf;

use tidegate_chunker::PackId;

use crate::repository::RepositoryError;

/// A failed upload. What went up before is recorded and is not sent again.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The caller asked to stop.
    #[error("the upload was stopped")]
    Cancelled,
    /// A local pack cannot be read, or is not as long as it was: its chunks must be sealed anew.
    #[error("failed to read the local pack {}", path.display())]
    Local {
        /// The pack's file.
        path: PathBuf,
        /// What was found.
        source: std::io::Error,
    },
    /// The record of uploads cannot be kept: nothing is uploaded that nobody would know of.
    #[error("failed to record that pack {pack} is {state}")]
    Log {
        /// Which pack.
        pack: PackId,
        /// What was to be recorded.
        state: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed for good, or for longer than retries last: try again later; where its kind
    /// says so, a person must act.
    #[error("failed to upload pack {pack}")]
    Store {
        /// Which pack.
        pack: PackId,
        /// What the store said.
        source: RepositoryError,
    },
}

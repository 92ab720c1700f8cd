//! The record of what has gone up to one target, kept by the caller over restarts.

use std::collections::HashMap;

use parking_lot::Mutex;
use tidegate_chunker::PackId;

/// How far the upload of a pack has got, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UploadState {
    /// Nothing of it was ever sent.
    #[default]
    New,
    /// It was being sent: the target may have it or not.
    Begun,
    /// The target has said that it has it.
    Uploaded,
}

impl UploadState {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Begun => "begun",
            Self::Uploaded => "uploaded",
        }
    }
}

/// The record for one target.
///
/// A record that is lost costs a repeated upload, never data. So [`UploadLog::record`] need not be
/// durable at its return; it must be quick, since it is called on an async thread.
pub trait UploadLog: Send + Sync + 'static {
    /// What is recorded of a pack; [`UploadState::New`] if nothing is.
    fn state(&self, pack: &PackId) -> UploadState;

    /// Records how far a pack has got.
    fn record(
        &self,
        pack: &PackId,
        state: UploadState,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// A record that ends with the process: for tools and tests.
#[derive(Debug, Default)]
pub struct MemoryUploadLog(Mutex<HashMap<PackId, UploadState>>);

impl UploadLog for MemoryUploadLog {
    fn state(&self, pack: &PackId) -> UploadState {
        self.0.lock().get(pack).copied().unwrap_or_default()
    }

    fn record(
        &self,
        pack: &PackId,
        state: UploadState,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().insert(*pack, state);
        Ok(())
    }
}

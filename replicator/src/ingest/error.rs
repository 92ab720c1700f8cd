//! What can go wrong when bytes are taken in, and what the caller should do about it.

use std::fmt;
use std::sync::Arc;

/// What an [`IngestError`] asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IngestErrorKind {
    /// The bytes to take in could not be read. The run goes on: what was cut of them before is stored
    /// and harmless.
    Source,
    /// Local packs cannot be written or synced, or [`Known::learn`](super::Known::learn) refused one:
    /// make room or repair, and begin a new run. Nothing of an unfinished pack counts.
    Local,
    /// The caller broke the contract of the call, or gave a setting out of range.
    Misuse,
}

/// A failed ingest: kind, what was being done (reads after "failed to"), and the cause. Cheap to
/// clone: every call after the first failure of a run repeats it.
#[derive(Clone, Debug)]
pub struct IngestError {
    kind: IngestErrorKind,
    doing: Arc<str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl IngestError {
    pub(super) fn new(kind: IngestErrorKind, doing: impl Into<Arc<str>>) -> Self {
        Self { kind, doing: doing.into(), source: None }
    }

    pub(super) fn local(
        doing: impl Into<Arc<str>>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::new(IngestErrorKind::Local, doing).caused_by(source)
    }

    #[must_use]
    pub(super) fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What it asks of the caller.
    pub fn kind(&self) -> IngestErrorKind {
        self.kind
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.doing)
    }
}

impl std::error::Error for IngestError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

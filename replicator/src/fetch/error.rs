//! What can go wrong when bytes are read back, and what the caller should do about it.
//!
//! A read has five ways to fail, and they are never confused: *asleep*, *unreachable* and *unopened* say nothing
//! against the bytes (unknown is not deleted), *missing* and *damaged* say that no place that could be
//! asked has them. When several places were tried, the error that says least about loss wins.

use std::fmt;
use std::sync::Arc;

use tidegate_chunker::{ChunkId, PackId};

use crate::store::{self, StoreError};

/// What a [`FetchError`] asks of the caller. Ordered: of several, the greatest is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FetchErrorKind {
    /// Every place that could hold the bytes was asked, and has none: a scrub must name what is lost.
    Missing,
    /// What was found is not what was written, and there is no other copy to be had here.
    Damaged,
    /// What was found is of an epoch whose key is not here, or of a later format. Says nothing about
    /// the bytes; and waiting brings nothing, a key or a newer program does.
    Unopened,
    /// A place that may hold the bytes cannot be asked now: try later. Says nothing about the bytes.
    Unreachable,
    /// The pack sleeps: the bytes are there, and can be read some hours after somebody asked the store for it.
    Asleep,
}

/// A failed read: kind, the chunk that was wanted, what was being done (reads after "failed to"),
/// and the cause. Cheap to clone, since everybody who waits for a frame gets it.
#[derive(Clone, Debug)]
pub struct FetchError {
    kind: FetchErrorKind,
    chunk: Option<ChunkId>,
    pack: Option<PackId>,
    doing: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl FetchError {
    /// An error without a deeper cause.
    pub fn new(kind: FetchErrorKind, doing: impl Into<String>) -> Self {
        Self { kind, chunk: None, pack: None, doing: doing.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Names the chunk that was wanted.
    #[must_use]
    pub fn for_chunk(mut self, id: &ChunkId) -> Self {
        self.chunk = Some(*id);
        self
    }

    /// Names the pack that was read.
    #[must_use]
    pub fn in_pack(mut self, pack: PackId) -> Self {
        self.pack = Some(pack);
        self
    }

    /// The same trouble for what a store said, while doing `doing`.
    pub fn from_store(doing: impl Into<String>, error: StoreError) -> Self {
        Self::new(kind_of(error.kind()), doing).caused_by(error)
    }

    /// What it asks of the caller.
    pub fn kind(&self) -> FetchErrorKind {
        self.kind
    }

    /// The chunk that was wanted, where one was.
    pub fn chunk(&self) -> Option<&ChunkId> {
        self.chunk.as_ref()
    }

    /// The pack that was read, where one was.
    pub fn pack(&self) -> Option<PackId> {
        self.pack
    }

    /// Of this and an earlier error the one to report: the greater kind, of equals the earlier.
    #[must_use]
    pub(super) fn or_worse(self, earlier: Option<Self>) -> Self {
        match earlier {
            Some(earlier) if earlier.kind >= self.kind => earlier,
            _ => self,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.kind {
            FetchErrorKind::Missing => "it is missing",
            FetchErrorKind::Damaged => "it is damaged",
            FetchErrorKind::Unopened => "it cannot be opened here",
            FetchErrorKind::Unreachable => "try later",
            FetchErrorKind::Asleep => "it sleeps in the archive of the store",
        };
        write!(f, "failed to {}: {advice}", self.doing)
    }
}

impl std::error::Error for FetchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// What a store's answer says about the bytes. Only the store's word that there is no such object, or
/// that the object is too short or spoilt, counts against them.
fn kind_of(kind: store::ErrorKind) -> FetchErrorKind {
    match kind {
        store::ErrorKind::Missing => FetchErrorKind::Missing,
        store::ErrorKind::Invalid | store::ErrorKind::Damaged => FetchErrorKind::Damaged,
        store::ErrorKind::Asleep => FetchErrorKind::Asleep,
        store::ErrorKind::Exists
        | store::ErrorKind::Denied
        | store::ErrorKind::Misconfigured
        | store::ErrorKind::Full
        | store::ErrorKind::Held
        | store::ErrorKind::Transient => FetchErrorKind::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_that_says_least_about_loss_wins() {
        let error = |kind| FetchError::new(kind, "read");
        let away = error(FetchErrorKind::Unreachable);
        let gone = error(FetchErrorKind::Missing);
        let spoilt = error(FetchErrorKind::Damaged);
        assert_eq!(gone.clone().or_worse(Some(away)).kind(), FetchErrorKind::Unreachable);
        assert_eq!(spoilt.or_worse(Some(gone.clone())).kind(), FetchErrorKind::Damaged);
        assert_eq!(gone.clone().or_worse(None).kind(), FetchErrorKind::Missing);
        let asleep = FetchError::from_store("read", StoreError::new(store::ErrorKind::Asleep, "get"));
        assert_eq!(gone.or_worse(Some(asleep)).kind(), FetchErrorKind::Asleep);
    }
}

//! What the disks of a machine hold, for providers that copy them to where they run machines.
//!
//! A copy is of a published moment, which everybody who has the repository can read: so what was copied once is known by the name of
//! its head, also to another gateway, and only what has changed since is copied again.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// Why the content of a disk cannot be had, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ContentError(pub String);

/// Which file of which share a disk is, and of when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The share, by its id, which is the same everywhere.
    pub share: String,
    /// The file in it.
    pub path: String,
    /// The head that has it.
    pub head: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of share {} at head {}", self.path, self.share, self.head)
    }
}

/// A disk as it was published.
#[async_trait]
pub trait DiskContent: Send + Sync {
    /// What it is of.
    fn origin(&self) -> &Origin;

    /// Its size, in bytes.
    fn bytes(&self) -> u64;

    /// Which blocks of so many bytes differ from those of the same file at an earlier head, as rising runs of their numbers;
    /// blocks beyond the end hold zeros. Without a head: those that are no holes. `None` if that head, or the file in it, is not
    /// there any more. Found in the trees of both: no data is read.
    async fn blocks(
        &self,
        block_bytes: u64,
        since: Option<&str>,
    ) -> Result<Option<Vec<Range<u64>>>, ContentError>;

    /// The bytes of a range, with zeros for holes and for what lies beyond the end.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, ContentError>;
}

/// The disks of a machine.
#[async_trait]
pub trait Contents: Send + Sync {
    /// What an export holds: as it is now, published for that if need be.
    async fn open(&self, export: &str) -> Result<Arc<dyn DiskContent>, ContentError>;
}

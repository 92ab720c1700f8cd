//! The store: objects under names, as every object storage has them.
//!
//! Owns the trait [`Store`] and its vocabulary. Adapters (memory, local directory, S3) implement
//! it; decorators (retry, rate limit, metrics, faults) implement it over another store.
//!
//! Guarantees that every store gives, and that the contract suite checks:
//!
//! * An object is never seen in part: it is wholly there or not at all, also after a crash.
//! * After [`Store::put`] returned `Ok` the object is durable, and every later `get`, `head` and
//!   `list` shows it (strong consistency, as S3 has had it since 2020).
//! * Names are listed in byte order.
//! * Deleting what is not there succeeds.
//!
//! Not promised: that [`PutMode::CreateNew`] is atomic. [`Capabilities::create_new`] says whether a
//! probe in this very store has shown it to hold.

mod address;
mod body;
mod checks;
mod class;
pub mod contract;
mod deadline;
mod directory;
pub mod durable_file;
mod fault;
mod group;
mod health;
mod late;
mod limit;
mod link;
mod lock;
mod memory;
mod metered;
mod operation;
mod probe;
mod random;
mod read_only;
mod retry;
mod retry_budget;
mod s3;
mod settings;
mod special;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::address::{Address, AddressError};
pub use self::class::{
    ClassState, ClassTraits, Classes, STANDARD, StorageClass, ThawRequest, ThawTier, Wakefulness,
};
pub use self::deadline::{DeadlineStore, Patience};
pub use self::directory::DirectoryStore;
pub use self::fault::{Fault, FaultStore, Rule};
pub use self::group::StoreGroup;
pub use self::health::{Failing, StoreClock, StoreHealth};
pub use self::late::GiveCredentials;
pub use self::limit::LimitStore;
pub use self::link::{Direction, LaneReport, Limits, Link, Traffic};
pub use self::lock::{LockMode, LockRule};
pub use self::memory::{MemoryStore, TimeOfStore};
pub use self::metered::{MeteredStore, RequestCounts};
pub use self::operation::Operation;
pub use self::probe::{LockFound, ProbeReport, probe};
pub use self::read_only::ReadOnlyStore;
pub use self::retry::{RetryPolicy, RetryStore};
pub use self::retry_budget::RetryBudget;
pub use self::s3::{AwsAccess, ChecksumMode, Conduct, Connection, Credentials, S3Store, Style, aws_access};
pub use self::settings::{OpenStore, StoreSettingError, StoreSettings, create_place, open, open_late};
pub use self::special::{Answer, LockState, ObjectVersion, Special, SpecialStore, VersionMark, VersionPage};

/// The most objects in a page of a listing.
pub const LIST_LIMIT_MAX: usize = 1000;

/// The name of an object below the repository's prefix: segments of `[0-9a-zA-Z._-]` joined by `/`,
/// none of them empty, `.` or `..`, at most [`ObjectName::BYTES_MAX`] bytes in all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 512;

    /// Checks and takes a name.
    pub fn new(name: impl Into<String>) -> Result<Self, StoreError> {
        let name = name.into();
        let legal = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if name.len() <= Self::BYTES_MAX && name.split('/').all(legal) {
            Ok(Self(name))
        } else {
            Err(StoreError::new(ErrorKind::Invalid, format!("take {name:?} as an object name")))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What a store error asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No such object.
    Missing,
    /// The object exists ([`PutMode::CreateNew`]).
    Exists,
    /// Credentials are wrong or do not suffice: a person must act.
    Denied,
    /// The bucket or directory is not there, or the configuration cannot work: a person must act.
    Misconfigured,
    /// Asked for something that no store can answer, such as a range past the end.
    Invalid,
    /// The store is full.
    Full,
    /// Passing trouble: throttling, 5xx, time-outs, broken connections. Trying again may help. Says
    /// nothing about whether a write was carried out.
    Transient,
    /// What came back is not what was stored (length, checksum).
    Damaged,
    /// It is locked, so nobody can delete it now. Later it can be.
    Held,
    /// It is of a class that sleeps: there, whole, and not to be read before it has been thawed.
    Asleep,
}

/// A failed store call: kind, what was being done (reads after "failed to"), and the cause.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}")]
pub struct StoreError {
    kind: ErrorKind,
    doing: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a deeper cause.
    pub fn new(kind: ErrorKind, doing: impl Into<String>) -> Self {
        Self { kind, doing: doing.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What it asks of the caller.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// What is put: bytes at hand, or a file that is streamed and must not change meanwhile.
#[derive(Clone, Debug)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A local file and its length.
    File {
        /// Where it is.
        path: PathBuf,
        /// How many bytes it has.
        bytes: u64,
    },
}

impl Body {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whether a put may replace an object of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PutMode {
    /// Replaces it. Only used where the bytes are the same by construction, or the name is new.
    #[default]
    Overwrite,
    /// [`ErrorKind::Exists`] if there is one; atomic where [`Capabilities::create_new`] says so.
    CreateNew,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub name: ObjectName,
    /// Length in bytes.
    pub bytes: u64,
    /// When it was written, by the store's clock. A change of its class counts as that.
    pub modified: SystemTime,
    /// Its storage class; none for the one that objects have without a word.
    pub class: Option<StorageClass>,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In byte order of names.
    pub objects: Vec<ObjectInfo>,
    /// Whether more may follow the last of them.
    pub more: bool,
}

/// What a store can do beyond the guarantees; found out by a probe, not assumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// [`PutMode::CreateNew`] lets exactly one of several racing writers win.
    pub create_new: bool,
    /// Objects are locked when they are stored, by this rule.
    pub lock: Option<LockRule>,
    /// Nothing is deleted for good from here: to purge is [`ErrorKind::Held`].
    pub append_only: bool,
}

/// An object store below one prefix. See the head of this module for the guarantees.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// The address for people: scheme, bucket and prefix, never a credential.
    fn address(&self) -> String;

    /// What the store can do, as far as it has been probed.
    fn capabilities(&self) -> Capabilities;

    /// Stores an object durably.
    async fn put(&self, name: &ObjectName, body: Body, mode: PutMode) -> Result<(), StoreError>;

    /// Reads a range, or everything; a range that does not lie within the object is
    /// [`ErrorKind::Invalid`]. The answer has exactly the length asked for.
    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes, StoreError>;

    /// Reads the last `bytes` bytes, or all of a shorter object, and tells the object's length.
    async fn get_tail(&self, name: &ObjectName, bytes: u64) -> Result<(Bytes, u64), StoreError>;

    /// Asks for length, time and class of an object.
    async fn head(&self, name: &ObjectName) -> Result<ObjectInfo, StoreError>;

    /// Lists at most `limit` (from 1 to [`LIST_LIMIT_MAX`]) objects whose names start with `prefix` and are greater
    /// than `after`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectName>,
        limit: usize,
    ) -> Result<ListPage, StoreError>;

    /// Lists the distinct next segments of names below `prefix` (which is empty or ends with `/`),
    /// without the `/`.
    async fn list_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Deletes an object; succeeds when there is none. Where objects are locked, the name is only hidden: see
    /// [`Special`].
    async fn delete(&self, name: &ObjectName) -> Result<(), StoreError>;

    /// What only some stores can do. [`SpecialStore`] has a function for each; decorators hand it on.
    async fn special(&self, call: Special) -> Result<Answer, StoreError> {
        special::without(self, call).await
    }
}

//! The file view: what a file server asks of whoever has the files.
//!
//! Owns the trait [`FileView`] and the types in its signatures. The NFS server in this crate calls
//! it; the gateway implements it. Nothing here knows a wire encoding, nor how files are kept.
//!
//! What an implementation promises:
//!
//! * A change that returned `Ok` is durable: it survives a power cut (the exception is
//!   [`FileView::write`] with [`Stability::Unstable`], which [`FileView::commit`] makes durable).
//! * The [`Wcc`] of a change was read in the same transaction as the change.
//! * No call hangs: one that must wait for something far away ends with [`FsError::TryLater`]
//!   within a bound.
//! * Export rules, squashing and permissions are checked by the implementation, on every call: it
//!   alone knows which share a handle belongs to.
//! * Dropping the future of a call may not leave a change half done.

use std::fmt;
use std::net::SocketAddr;

use async_trait::async_trait;
use bytes::Bytes;

/// The longest handle in bytes (NFS3_FHSIZE, RFC 1813 section 2.4).
pub const HANDLE_BYTES_MAX: usize = 64;
/// The longest name of one directory entry, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest path (mount path, link target), in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// The most names that one file may have, and the most directories in one, less two. PATHCONF announces it.
pub const LINKS_MAX: u32 = 1 << 20;
/// The largest READ or WRITE, in bytes; also what FSINFO announces.
pub const TRANSFER_BYTES_MAX: u32 = 1 << 20;

/// An opaque name for a file, given out by the view and given back by clients, who may forge it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Handle(Bytes);

impl Handle {
    /// Takes up to [`HANDLE_BYTES_MAX`] bytes; `None` when there are more.
    pub fn new(bytes: impl Into<Bytes>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() <= HANDLE_BYTES_MAX).then_some(Self(bytes))
    }

    /// The bytes as they travel.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} bytes)", self.0.len())
    }
}

/// Seconds and nanoseconds since 1970-01-01 UTC; nanoseconds are below 10^9.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Time {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// Nanoseconds added to them.
    pub nanos: u32,
}

/// The types of file that NFS version 3 has (ftype3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device node.
    Block,
    /// A character device node.
    Character,
    /// A named pipe.
    Fifo,
    /// A local socket.
    Socket,
}

/// Major and minor number of a device node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Device {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What is known of a file without reading it (fattr3, and what version 4 adds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What it is.
    pub kind: FileKind,
    /// Permission, set-id and sticky bits: the low twelve.
    pub mode: u32,
    /// How many names it has.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Bytes that are not holes.
    pub used: u64,
    /// For device nodes; zero otherwise.
    pub device: Device,
    /// Which file system: one for each share and view.
    pub fsid: u64,
    /// Inode number, never used twice in one file system.
    pub file_id: u64,
    /// Told apart from an earlier file of the same number.
    pub generation: u64,
    /// Grows with every change of data or attributes.
    pub change: u64,
    /// Last read, as far as it is kept.
    pub accessed: Time,
    /// Last change of data.
    pub modified: Time,
    /// Last change of data or attributes.
    pub changed: Time,
    /// When it was made.
    pub born: Time,
}

/// Attributes from just before a change (wcc_attr).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// Length in bytes.
    pub size: u64,
    /// Last change of data.
    pub modified: Time,
    /// Last change of data or attributes.
    pub changed: Time,
}

/// Weak cache consistency data: attributes around a change, both from its transaction (wcc_data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wcc {
    /// From just before.
    pub before: Option<Before>,
    /// From just after.
    pub after: Option<Attributes>,
}

/// How to set one of the two times that a client may set (time_how).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetTime {
    /// Leave it.
    #[default]
    Keep,
    /// Now, by the server's clock.
    Server,
    /// As given.
    Client(Time),
}

/// Attributes to set (sattr3); `None` and `Keep` leave the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Mode bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length: truncates, or extends with a hole.
    pub size: Option<u64>,
    /// Last read.
    pub accessed: SetTime,
    /// Last change of data.
    pub modified: SetTime,
}

/// How a file is created (createhow3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateHow {
    /// Succeeds on an existing file; only the size is then applied.
    Unchecked(SetAttributes),
    /// Fails on an existing file.
    Guarded(SetAttributes),
    /// Succeeds again only with the verifier that made the file.
    Exclusive([u8; 8]),
}

/// When a write must be durable (stable_how), and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stability {
    /// After a later commit.
    Unstable,
    /// Data, and what is needed to read it, before the reply.
    DataSync,
    /// Data and all attributes before the reply.
    FileSync,
}

/// Changes exactly when unstable data may have been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteVerifier(pub [u8; 8]);

/// Names one call of one client, so that a repeated call is not carried out twice.
///
/// A digest over client address (without port), xid, program, version, procedure, length and a
/// checksum of the first 256 bytes of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RetryKey(pub [u8; 16]);

/// Who calls, before any squashing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// User id from the credential (65534 for AUTH_NONE).
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// At most 16 further groups.
    pub gids: Vec<u32>,
    /// Where the call came from.
    pub address: SocketAddr,
}

/// The context of one call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// Set on calls that are not idempotent.
    pub retry: Option<RetryKey>,
}

/// Why a call failed; one for each status of RFC 1813 section 2.6 that a view can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FsError {
    /// Not the owner.
    #[error("operation not permitted")]
    NotOwner,
    /// Under object lock: nobody may change or remove it yet.
    #[error("the file is under object lock")]
    Locked,
    /// No such name.
    #[error("no such file or directory")]
    NotFound,
    /// Local disk or damaged data.
    #[error("input or output error")]
    Io,
    /// Permission denied.
    #[error("permission denied")]
    Access,
    /// The name exists.
    #[error("file exists")]
    Exists,
    /// Link or rename between file systems.
    #[error("cross-device link")]
    CrossDevice,
    /// Not a directory.
    #[error("not a directory")]
    NotDirectory,
    /// Is a directory.
    #[error("is a directory")]
    IsDirectory,
    /// An argument that makes no sense for this file.
    #[error("invalid argument")]
    Invalid,
    /// Beyond the largest file.
    #[error("file too large")]
    FileTooBig,
    /// The disk or the dirty budget is full for good.
    #[error("no space left")]
    NoSpace,
    /// Read-only export or view.
    #[error("read-only file system")]
    ReadOnly,
    /// Link count at its bound.
    #[error("too many links")]
    TooManyLinks,
    /// A name over [`NAME_BYTES_MAX`] or a path over [`PATH_BYTES_MAX`].
    #[error("name too long")]
    NameTooLong,
    /// The directory has entries.
    #[error("directory not empty")]
    NotEmpty,
    /// Hard quota reached.
    #[error("quota exceeded")]
    Quota,
    /// The file is gone, or the map went back in time.
    #[error("stale file handle")]
    Stale,
    /// Not a handle of this server.
    #[error("bad file handle")]
    BadHandle,
    /// The guard of a guarded change did not match.
    #[error("guard time does not match")]
    NotSync,
    /// A directory cookie that was never given out.
    #[error("bad directory cookie")]
    BadCookie,
    /// This file cannot do that.
    #[error("operation not supported")]
    NotSupported,
    /// The reply cannot hold even one entry.
    #[error("buffer too small")]
    TooSmall,
    /// A defect of the server.
    #[error("server fault")]
    ServerFault,
    /// A type of file that cannot be made.
    #[error("bad file type")]
    BadType,
    /// Data or space must be waited for: ask again (NFS3ERR_JUKEBOX).
    #[error("try again later")]
    TryLater,
}

/// A failed look at a file: why, and the attributes of the file that was asked, where known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub error: FsError,
    /// Of the object in the first handle, for the reply.
    pub attributes: Option<Attributes>,
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        Self { error, attributes: None }
    }
}

/// A failed change: why, and the consistency data of the one or two files concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangeFailure {
    /// Why.
    pub error: FsError,
    /// Of the file changed (the directory, for calls with a name; the source one for rename).
    pub first: Wcc,
    /// Of the target directory of rename and link.
    pub second: Wcc,
}

impl From<FsError> for ChangeFailure {
    fn from(error: FsError) -> Self {
        Self { error, first: Wcc::default(), second: Wcc::default() }
    }
}

/// The outcome of a change other than a write. One type for all of them, so that it can be kept in
/// the journal beside the change and answered again after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What was made or linked, with its attributes (create, mkdir, symlink, mknod, link).
    pub object: Option<(Handle, Attributes)>,
    /// Of the file changed (the directory, for calls with a name; the source one for rename).
    pub first: Wcc,
    /// Of the target directory of rename and link.
    pub second: Wcc,
}

/// A name found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub handle: Handle,
    /// Its attributes.
    pub attributes: Attributes,
    /// Those of the directory.
    pub directory: Attributes,
}

/// Data read.
#[derive(Clone, Debug)]
pub struct ReadData {
    /// The bytes in order, in as many pieces as the cache has them in.
    pub pieces: Vec<Bytes>,
    /// Whether the read reached the end of the file.
    pub end: bool,
    /// Attributes after the read.
    pub attributes: Attributes,
}

/// Data written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many bytes.
    pub count: u32,
    /// How durable they are now: at least what was asked.
    pub committed: Stability,
    /// To be compared with that of the later commit.
    pub verifier: WriteVerifier,
    /// Around the write.
    pub wcc: Wcc,
}

/// One entry of a directory page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Inode number.
    pub file_id: u64,
    /// Name.
    pub name: Bytes,
    /// Where the listing goes on after this entry.
    pub cookie: u64,
    /// For a listing with attributes; missing when the file vanished meanwhile.
    pub object: Option<(Handle, Attributes)>,
}

/// What a page of a directory may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Most entries worth returning; the caller cuts by encoded bytes.
    pub entries: usize,
    /// Whether handles and attributes are wanted.
    pub with_objects: bool,
}

/// A page of a directory, in cookie order, "." (cookie 1) and ".." (cookie 2) first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryPage {
    /// The entries after the cookie asked for.
    pub entries: Vec<DirectoryEntry>,
    /// Whether nothing follows the last of them.
    pub end: bool,
    /// Cookie verifier.
    pub verifier: [u8; 8],
    /// Attributes of the directory.
    pub directory: Attributes,
}

/// Room in a file system (FSSTAT), as the caller may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All bytes.
    pub bytes_total: u64,
    /// Free bytes.
    pub bytes_free: u64,
    /// Free bytes for this caller.
    pub bytes_available: u64,
    /// All inodes.
    pub files_total: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Free inodes for this caller.
    pub files_available: u64,
    /// Attributes of the file asked.
    pub attributes: Attributes,
}

/// A share as MOUNT shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportEntry {
    /// Export path, starting with `/`.
    pub path: Bytes,
    /// Client networks, as text; empty for everybody.
    pub clients: Vec<String>,
}

/// Files, as a file server needs them. See the head of this module for the promises.
#[async_trait]
pub trait FileView: Send + Sync + 'static {
    /// All exports, in order of path.
    fn exports(&self) -> Vec<ExportEntry>;

    /// The handle of a path for a client that mounts: an export, or a directory below it. The empty
    /// path and `/` mean the only export, or a missing one when there are several.
    async fn mount(&self, call: &Call, path: &[u8]) -> Result<Handle, FsError>;

    /// Attributes of a file.
    async fn attributes(&self, call: &Call, file: &Handle) -> Result<Attributes, FsError>;

    /// Sets attributes, if `guard` is none or equals the file's change time.
    async fn set_attributes(
        &self,
        call: &Call,
        file: &Handle,
        set: SetAttributes,
        guard: Option<Time>,
    ) -> Result<Changed, ChangeFailure>;

    /// Finds a name. "." and ".." are names like others.
    async fn lookup(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Found, Failure>;

    /// Which of the asked ACCESS3 bits the caller has.
    async fn access(&self, call: &Call, file: &Handle, asked: u32) -> Result<(u32, Attributes), Failure>;

    /// The target of a symbolic link.
    async fn read_link(&self, call: &Call, link: &Handle) -> Result<(Bytes, Attributes), Failure>;

    /// Reads at most `count` bytes at `offset`; holes read as zeros.
    async fn read(&self, call: &Call, file: &Handle, offset: u64, count: u32) -> Result<ReadData, Failure>;

    /// Writes all of `data` at `offset`, or nothing.
    async fn write(
        &self,
        call: &Call,
        file: &Handle,
        offset: u64,
        data: Bytes,
        stability: Stability,
    ) -> Result<Written, ChangeFailure>;

    /// Creates a regular file.
    async fn create(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        how: CreateHow,
    ) -> Result<Changed, ChangeFailure>;

    /// Creates a directory.
    async fn make_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure>;

    /// Creates a symbolic link.
    async fn make_symlink(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
        target: &[u8],
    ) -> Result<Changed, ChangeFailure>;

    /// Creates a device node, named pipe or socket; [`FsError::BadType`] for other kinds.
    async fn make_node(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
        kind: FileKind,
        device: Device,
        set: SetAttributes,
    ) -> Result<Changed, ChangeFailure>;

    /// Removes a name of anything but a directory.
    async fn remove(&self, call: &Call, directory: &Handle, name: &[u8]) -> Result<Changed, ChangeFailure>;

    /// Removes an empty directory.
    async fn remove_directory(
        &self,
        call: &Call,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure>;

    /// Renames, replacing what may be replaced. `first` and `second` of the outcome are the source
    /// and the target directory.
    async fn rename(
        &self,
        call: &Call,
        from: (&Handle, &[u8]),
        to: (&Handle, &[u8]),
    ) -> Result<Changed, ChangeFailure>;

    /// Gives a file one more name. `object` of the outcome is the file; `second` the directory.
    async fn link(
        &self,
        call: &Call,
        file: &Handle,
        directory: &Handle,
        name: &[u8],
    ) -> Result<Changed, ChangeFailure>;

    /// The entries after `cookie` (0: from the start). `verifier` is what an earlier page said, or
    /// zero, which is always right.
    async fn read_directory(
        &self,
        call: &Call,
        directory: &Handle,
        cookie: u64,
        verifier: [u8; 8],
        limit: PageLimit,
    ) -> Result<DirectoryPage, Failure>;

    /// Room left.
    async fn space(&self, call: &Call, file: &Handle) -> Result<Space, Failure>;

    /// Makes durable what was written unstably to the file.
    async fn commit(&self, call: &Call, file: &Handle) -> Result<(WriteVerifier, Wcc), ChangeFailure>;

    /// The outcome of a change that was carried out before a restart, if this call is its repetition.
    async fn replayed(&self, key: RetryKey) -> Option<Changed>;

    /// Nobody asks [`FileView::replayed`] any more: what it was for may go.
    fn forget_replays(&self) {}
}

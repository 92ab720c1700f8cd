//! The block view: what a server of disks asks of whoever has them.
//!
//! Owns the traits [`BlockView`] and [`OpenVolume`] and the types in their signatures. The NBD server in this crate
//! calls them; the gateway implements them. Nothing here knows a wire encoding, nor how disks are kept.
//!
//! What an implementation promises:
//!
//! * A change that returned `Ok` is seen by every later read, whichever connection asks.
//! * [`OpenVolume::flush`] returns once every change is durable that had returned when it was called, whichever connection
//!   made it; a change with `durable` returns once it is durable itself.
//! * Changes of ranges that do not meet do not disturb each other. A change that failed, or whose future was dropped, may
//!   have been made in part.
//! * No call waits longer than a bound of the implementation for what is far away; it then fails.
//! * Who may use which volume is checked by [`BlockView::open`].
//!
//! What the server promises: ranges lie within the size that [`OpenVolume::size`] said, none is empty, and one that
//! brings bytes is no longer than the largest request; nothing changes a volume that is read-only.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// Why a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BlockError {
    /// There is no such volume, or not for this client.
    #[error("no such volume")]
    NotFound,
    /// Not allowed.
    #[error("not permitted")]
    Denied,
    /// An argument that makes no sense.
    #[error("invalid argument")]
    Invalid,
    /// The disk, the quota or the room for changes is full.
    #[error("no space left")]
    NoSpace,
    /// What was asked cannot be done in the way that was asked.
    #[error("not supported")]
    NotSupported,
    /// The volume is not served any more.
    #[error("shutting down")]
    ShuttingDown,
    /// Something is damaged, or could not be reached in time.
    #[error("input or output error")]
    Io,
}

/// A volume that may be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeEntry {
    /// Its name.
    pub name: String,
    /// A line about it, for people.
    pub description: String,
}

/// A piece of data on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes; none is empty.
    Data(Bytes),
    /// So many zeros where nothing is kept; more than none.
    Hole(u64),
}

impl Piece {
    /// How many bytes of the volume it stands for.
    pub fn length(&self) -> u64 {
        match self {
            Self::Data(bytes) => bytes.len() as u64,
            Self::Hole(length) => *length,
        }
    }
}

/// A stretch of a volume of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// How long, in bytes; never zero.
    pub length: u64,
    /// Whether nothing is kept there, so that it reads as zeros.
    pub hole: bool,
}

/// Volumes by name. See the head of this module.
#[async_trait]
pub trait BlockView: Send + Sync + 'static {
    /// The volumes that a client may open, by name. A client that may open none is not spoken to.
    fn volumes(&self, client: IpAddr) -> Vec<VolumeEntry>;

    /// Opens a volume for a client. The empty name means the only one that the client may open.
    async fn open(&self, client: IpAddr, name: &str) -> Result<Arc<dyn OpenVolume>, BlockError>;
}

/// A volume that is open as long as this is held.
#[async_trait]
pub trait OpenVolume: Send + Sync + 'static {
    /// Its name: not the empty one.
    fn name(&self) -> &str;

    /// How large it is, in bytes. It may become another while it is open.
    fn size(&self) -> u64;

    /// Whether it takes no changes.
    fn is_read_only(&self) -> bool;

    /// The bytes of a range, in order, all of them.
    async fn read(&self, range: Range<u64>) -> Result<Vec<Piece>, BlockError>;

    /// Writes all of `data` at `offset`.
    async fn write(&self, offset: u64, data: Bytes, durable: bool) -> Result<(), BlockError>;

    /// Makes a range read as zeros; with `keep_room` without making holes, so that later writes there find room.
    async fn zero(&self, range: Range<u64>, keep_room: bool, durable: bool) -> Result<(), BlockError>;

    /// What a range holds is not needed any more: it reads as zeros from now on.
    async fn trim(&self, range: Range<u64>, durable: bool) -> Result<(), BlockError>;

    /// Makes all changes durable.
    async fn flush(&self) -> Result<(), BlockError>;

    /// What a range consists of, from its beginning: at least one stretch and at most `most`, which together are no longer
    /// than the range and may be shorter.
    async fn status(&self, range: Range<u64>, most: usize) -> Result<Vec<Stretch>, BlockError>;

    /// A range will be read soon. Whatever comes of it is told to whoever reads.
    async fn expect(&self, range: Range<u64>);
}

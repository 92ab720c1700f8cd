//! What can go wrong with the journal, and what to do then.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Position, Sequence};

/// Why the journal did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process holds the folder. Nothing was read or written.
    #[error(
        "the journal in {folder} is in use by another gateway: stop that one, or give this one a data folder of its own"
    )]
    InUse {
        /// The folder of the journal.
        folder: PathBuf,
    },
    /// Stored bytes are not what was written. Never a torn tail: that is cut silently at open.
    #[error(
        "journal file {file} is damaged at byte {offset}: {what}; acknowledged changes may be lost: keep the folder as it is and run `tidegate journal salvage --to FOLDER`"
    )]
    Damaged {
        /// The damaged (or missing) file.
        file: PathBuf,
        /// Where in it, bytes from its start.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// The journal was written by a newer release. Nothing was changed.
    #[error(
        "journal file {file} has format version {version}, which this release does not know: use a newer one"
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The segment has been deleted. Look the extent up again: its data has moved.
    #[error("journal segment {:016x} has been deleted: look the extent up again", .position.segment)]
    Gone {
        /// What was to be read.
        position: Position,
    },
    /// These bytes are not payload of one record: the extent that names them is wrong.
    #[error("no record has {bytes} bytes of payload at {position}")]
    NoSuchPayload {
        /// Where the bytes should begin.
        position: Position,
        /// How many were asked for.
        bytes: u64,
    },
    /// The disk has no room for another segment. Nothing was appended; try later, after deletes.
    #[error("no room for another journal segment: {cause}")]
    NoSpace {
        /// What the disk answered.
        cause: Arc<str>,
    },
    /// A write or sync failed: nothing more is acknowledged until the gateway is started again.
    #[error("the journal has stopped, restart the gateway when the disk is sound: {cause}")]
    Stopped {
        /// The first failure.
        cause: Arc<str>,
    },
    /// A record over the bound. Split the change.
    #[error("a journal record of {bytes} bytes is over the bound of {bytes_max}")]
    TooLarge {
        /// Length of the record, head and checksums included.
        bytes: u64,
        /// The longest record that fits.
        bytes_max: u64,
    },
    /// The permit does not cover the record: reserve more.
    #[error("a permit for {permitted} journal bytes does not cover a record of {bytes}")]
    PermitTooSmall {
        /// What was reserved, head and checksums included.
        permitted: u64,
        /// What the record needs.
        bytes: u64,
    },
    /// Durability was asked for a record that was never appended.
    #[error("record {sequence} has not been appended, the last one is {appended}")]
    NotAppended {
        /// What was asked for.
        sequence: Sequence,
        /// The newest record.
        appended: Sequence,
    },
    /// Replay was asked for records that are deleted already: the map is older than the journal.
    #[error("records from {wanted} were asked for, but the journal begins with {oldest}")]
    Missing {
        /// The first record asked for.
        wanted: Sequence,
        /// The oldest record there is.
        oldest: Sequence,
    },
    /// Replay was asked for records that the journal does not have: it is older than the map.
    #[error(
        "records from {wanted} were asked for, but the journal ends with {newest}: an older journal was put beside a newer map"
    )]
    Behind {
        /// The first record asked for.
        wanted: Sequence,
        /// The newest record there is.
        newest: Sequence,
    },
    /// An option is out of its range.
    #[error("journal option {0}")]
    Option(String),
    /// The operating system refused something else.
    #[error("failed to {doing} {path}")]
    Io {
        /// A verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

impl JournalError {
    /// For `map_err`: an error of the operating system while `doing` something to `path`.
    pub(super) fn io(doing: &'static str, path: PathBuf) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { cause: format!("failed to {doing} {}: {source}", path.display()).into() }
            }
            _ => Self::Io { doing, path, source },
        }
    }
}

//! The seam to what is backed up: what a source must be able to say, and who watches.

use std::io::{self, Read};

use bytes::Bytes;

use super::error::BackupError;
use super::found::Found;
use super::links::Ticket;
use super::take::Written;

/// What a listing says.
#[derive(Debug)]
pub enum Listed {
    /// Something is there.
    Found(Found),
    /// Something is there, or may be, and cannot be looked at.
    Unreadable {
        /// Its path in the source.
        path: Vec<u8>,
        /// Why.
        why: String,
    },
}

/// Something that can be backed up. Calls block.
pub trait Source: Send {
    /// Tells everything that is there, each path once, in any order; the top too. Folders must be told for
    /// everything in them. Ends early when `told` fails.
    fn list(&mut self, told: Told<'_>) -> Result<(), BackupError>;

    /// Opens what is wanted and gives it to `take`, each once, in about the order in which it is wanted; an error says why
    /// one cannot be read, and one of the kind [`NotFound`](io::ErrorKind::NotFound) that it is not there any more. A
    /// source that finds out at the end that all of it was nothing fails then.
    fn read(&mut self, wanted: WantedFiles<'_>, take: Take<'_>) -> Result<(), BackupError>;

    /// What was found out of files only after they had been taken in. Asked for once, after [`Source::read`].
    fn afterwards(&mut self) -> Vec<(Receipt, Late)> {
        Vec::new()
    }

    /// Paths of folders that are told of whatever the source has: one that has nothing but these is empty.
    fn frame(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// Takes in what was opened, or why it could not be.
pub type Take<'t> = &'t mut dyn FnMut(Wanted, io::Result<Opened<'_>>) -> Result<Receipt, BackupError>;

/// Is told what a listing says.
pub type Told<'t> = &'t mut dyn FnMut(Listed) -> Result<(), BackupError>;

/// What is to be read, in order.
pub type WantedFiles<'a> = Box<dyn Iterator<Item = Result<Wanted, BackupError>> + Send + 'a>;

/// A regular file or folder whose content or extended attributes are needed.
#[derive(Debug)]
pub struct Wanted {
    /// As it was listed.
    pub found: Found,
    pub(super) ticket: Ticket,
}

/// What was taken in: for a source that finds out more of it afterwards.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub(super) found: Found,
    pub(super) ticket: Ticket,
    /// None if it is a folder, or was left out.
    pub(super) written: Option<Written>,
}

impl Receipt {
    /// The path of what was taken in.
    pub fn path(&self) -> &[u8] {
        &self.found.path
    }
}

/// What was found out of a file after it had been taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Late {
    /// It changed while it was read.
    Torn,
    /// What was taken in is not its content, and why. It is left out after all.
    Unreadable(String),
}

/// How the content of a file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// By content: what moves within a file finds itself again.
    Content,
    /// In pieces of so many bytes: for what is overwritten in place.
    Fixed(u32),
}

/// A file that was opened.
pub struct Opened<'a> {
    /// As it is now.
    pub found: Found,
    /// Its extended attributes.
    pub extended: Vec<(Bytes, Bytes)>,
    /// How it is cut.
    pub cut: Cut,
    /// Its data; of a regular file.
    pub content: Option<Box<dyn Content + 'a>>,
}

/// The data of a file. [`Read::read`] gives 0 at the end of each piece of data.
pub trait Content: Read + Send {
    /// Goes to the next piece of data, and tells where in the file it begins; none when only holes are left. Pieces come
    /// in order.
    fn next_data(&mut self) -> io::Result<Option<u64>>;

    /// After all data: whether it is the content of one moment, and how long the file is.
    fn end(&mut self) -> io::Result<Ended>;

    /// Begins again at the front, as the file is now; gives that. None if that cannot be done.
    fn again(&mut self) -> io::Result<Option<Found>>;
}

/// How the reading of a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its length in bytes; it is taken for no shorter than its data.
    pub size: u64,
    /// Whether it changed while it was read, or had less data than it said.
    pub torn: bool,
}

/// Is told how a backup goes, stops it, and holds it up.
pub trait Observer: Send + Sync {
    /// A step begins: so much there is to do in it, in things or in bytes, if that is known.
    fn phase(&self, _phase: &'static str, _total: Option<u64>, _in_bytes: bool) {}

    /// So much more of it is done.
    fn advanced(&self, _by: u64) {}

    /// Whether to stop.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Asked before more is stored: waits while too much is here that has not left. Fails to stop the backup.
    fn admit(&self) -> Result<(), BackupError> {
        Ok(())
    }
}

/// Fails when somebody has asked to stop.
pub(super) fn checkpoint(observer: &dyn Observer) -> Result<(), BackupError> {
    if observer.is_cancelled() { Err(BackupError::Cancelled) } else { Ok(()) }
}

//! Why a restore did not start, or stopped before its end.

use std::io;
use std::path::PathBuf;

use crate::frozen::{ReadError, path_text};

/// A restore that did not come to its end. What it wrote stays, and running it again goes on.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The share has no such path then.
    #[error("there is no {path} in the share at that moment")]
    NoSuchPath {
        /// The path, as text.
        path: String,
    },
    /// There is something in the folder that is not from this restore. Nothing was written.
    #[error("{folder} is not empty ({why}): name a new or an empty folder")]
    NotEmpty {
        /// Which folder.
        folder: PathBuf,
        /// What is there.
        why: String,
    },
    /// It does not fit. Nothing was written.
    #[error("{folder} has room for {free_bytes} bytes, and {needed_bytes} are to be written")]
    NoRoom {
        /// Which folder.
        folder: PathBuf,
        /// What is needed, in bytes.
        needed_bytes: u64,
        /// What is free, in bytes.
        free_bytes: u64,
    },
    /// The repository cannot be read: away, or damaged where nothing can go on without it.
    #[error("failed to read the repository: {0}")]
    Read(#[from] ReadError),
    /// This machine does not take it.
    #[error("failed to {doing}")]
    Local {
        /// What was being done.
        doing: String,
        /// Why.
        source: io::Error,
    },
    /// More failed than is worth going on for.
    #[error("{count} files could not be restored: the restore was given up")]
    TooManyFailures {
        /// How many.
        count: usize,
        /// Whether stored data is missing or damaged; else this machine did not take them.
        damaged: bool,
    },
    /// It was asked to stop.
    #[error("the restore was stopped; run it again to go on")]
    Cancelled,
}

impl RestoreError {
    pub(super) fn local(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Local { doing, source }
    }

    /// Trouble with the file of this path.
    pub(super) fn at(verb: &str, path: &[u8]) -> impl FnOnce(io::Error) -> Self + use<> {
        Self::local(format!("{verb} {}", path_text(path)))
    }
}

/// Whether trouble with one file will be trouble with all that follow.
pub(super) fn is_systemic(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let Some(code) = error.raw_os_error() else { return false };
    [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::IO, Errno::MFILE, Errno::NFILE, Errno::NODEV]
        .iter()
        .any(|errno| errno.raw_os_error() == code)
}

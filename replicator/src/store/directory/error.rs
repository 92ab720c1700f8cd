//! From errors of the operating system to kinds of store errors.

use std::io;

use crate::store::{ErrorKind, StoreError};

/// A store error with its cause.
pub(super) fn store_error(doing: String, error: io::Error) -> StoreError {
    StoreError::new(kind(&error), doing).caused_by(error)
}

/// What an error of the operating system asks of the caller. [`io::ErrorKind`] cannot be matched
/// exhaustively; what is not named here passes, or a retry shows that it does not.
fn kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::Missing,
        io::ErrorKind::AlreadyExists => ErrorKind::Exists,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        io::ErrorKind::Unsupported => ErrorKind::Misconfigured,
        io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::FileTooLarge => ErrorKind::Invalid,
        io::ErrorKind::UnexpectedEof => ErrorKind::Damaged,
        _ => ErrorKind::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_medium_error_are_told_apart() {
        let kind_of = |errno: rustix::io::Errno| kind(&errno.into());
        assert_eq!(kind_of(rustix::io::Errno::NOSPC), ErrorKind::Full);
        assert_eq!(kind_of(rustix::io::Errno::DQUOT), ErrorKind::Full);
        assert_eq!(kind_of(rustix::io::Errno::IO), ErrorKind::Transient);
        assert_eq!(kind_of(rustix::io::Errno::STALE), ErrorKind::Transient);
        assert_eq!(kind_of(rustix::io::Errno::ACCESS), ErrorKind::Denied);
        assert_eq!(kind_of(rustix::io::Errno::ROFS), ErrorKind::Denied);
    }
}

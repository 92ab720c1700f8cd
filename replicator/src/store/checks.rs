//! Ranges and prefixes, checked the same way by every adapter, and the errors that go with them.

use std::ops::Range;

use super::{ErrorKind, ObjectName, StoreError};

/// Refuses a prefix that no name can have, such as one that leads out of a directory.
pub(super) fn check_prefix(prefix: &str) -> Result<(), StoreError> {
    match ObjectName::new(format!("{prefix}x")) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(StoreError::new(ErrorKind::Invalid, format!("list below {prefix:?}")).caused_by(error))
        }
    }
}

/// Refuses what is not a folder: a prefix that neither is empty nor ends with `/`.
pub(super) fn check_folder(prefix: &str) -> Result<(), StoreError> {
    check_prefix(prefix)?;
    if prefix.is_empty() || prefix.ends_with('/') {
        Ok(())
    } else {
        Err(StoreError::new(ErrorKind::Invalid, format!("list the folders below {prefix:?}, which is none")))
    }
}

/// The range to read from an object of `length` bytes, if it lies within.
pub(super) fn checked_range(
    name: &ObjectName,
    range: Option<Range<u64>>,
    length: u64,
) -> Result<Range<u64>, StoreError> {
    let range = range.unwrap_or(0..length);
    if range.start <= range.end && range.end <= length {
        Ok(range)
    } else {
        Err(outside(name, &range).caused_by(format!("the object has {length} bytes")))
    }
}

/// The last `bytes` bytes of an object of `length` bytes.
pub(super) fn tail_range(bytes: u64, length: u64) -> Range<u64> {
    length.saturating_sub(bytes)..length
}

/// The error for a range that does not lie within the object.
pub(super) fn outside(name: &ObjectName, range: &Range<u64>) -> StoreError {
    StoreError::new(ErrorKind::Invalid, format!("read bytes {} to {} of {name}", range.start, range.end))
}

/// The error for an object that is not there.
pub(super) fn missing(name: &ObjectName) -> StoreError {
    StoreError::new(ErrorKind::Missing, format!("find {name}"))
}

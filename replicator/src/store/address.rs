//! Addresses of repositories, as people write them: `file:///path` and `s3://bucket/prefix`.
//!
//! An address names a place and never holds a credential. It is taken literally: nothing is
//! percent-decoded, and a path is not cleaned up.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ObjectName;

/// The longest bucket name. AWS ends at 63; others, and old buckets, go further.
const BUCKET_BYTES_MAX: usize = 255;

/// Where a repository lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Address {
    /// `file:///path`: a directory, by its absolute path.
    Directory(PathBuf),
    /// `s3://bucket/prefix`: the part of a bucket whose keys begin with the prefix and a `/`.
    Bucket {
        /// The name of the bucket.
        bucket: String,
        /// Segments joined by `/`, without one at either end; empty for the whole bucket.
        prefix: String,
    },
}

/// Why a text is no address; says how to write it instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address:?} is no repository address: {reason}")]
pub struct AddressError {
    address: String,
    reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = match text.split_once("://") {
            Some(("file", path)) => directory(path),
            Some(("s3", rest)) => bucket(rest),
            _ => Err("write file:///path or s3://bucket/prefix"),
        };
        // What looks like a credential must not reach a log by way of the message.
        let shown = if text.contains('@') { "(not shown, since it holds an @)" } else { text };
        parsed.map_err(|reason| AddressError { address: shown.to_owned(), reason })
    }
}

fn directory(path: &str) -> Result<Address, &'static str> {
    if !path.starts_with('/') {
        return Err("the path must be absolute: write file:///path, with three slashes");
    }
    if path.contains('\0') || path.split('/').any(|segment| segment == "..") {
        return Err("the path must not contain .. or a zero byte");
    }
    Ok(Address::Directory(PathBuf::from(path)))
}

fn bucket(rest: &str) -> Result<Address, &'static str> {
    if rest.contains('@') {
        return Err("credentials do not belong in an address; name them with `credentials`");
    }
    if rest.contains(['?', '#', ':']) {
        return Err("endpoint, port and region do not belong in an address; give them as settings beside it");
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if bucket.is_empty() || bucket.len() > BUCKET_BYTES_MAX || !bucket.bytes().all(legal) {
        return Err("the bucket must be named, with letters, digits, `.`, `_` and `-`");
    }
    if !prefix.is_empty() && ObjectName::new(prefix).is_err() {
        return Err(
            "the prefix must be segments of letters, digits, `.`, `_` and `-`, joined by single slashes",
        );
    }
    Ok(Address::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "file://{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_is_shown_again() {
        for text in ["file:///srv/backup", "s3://bucket", "s3://my.bucket-1/a/b_c", "file:///with blank"] {
            assert_eq!(text.parse::<Address>().expect("an address").to_string(), text);
        }
        assert_eq!("s3://bucket/a/".parse::<Address>().expect("an address").to_string(), "s3://bucket/a");
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("/srv/backup", "write file:///path or s3://bucket/prefix"),
            ("file://srv/backup", "three slashes"),
            ("file:///a/../b", ".."),
            ("s3://", "must be named"),
            ("s3:///prefix", "must be named"),
            ("s3://bucket//a", "single slashes"),
            ("s3://bucket/a b", "single slashes"),
            ("s3://bucket?region=x", "settings beside"),
            ("s3://host:9000/bucket", "settings beside"),
            ("gs://bucket", "write file:///path"),
        ] {
            let message = text.parse::<Address>().expect_err("no address").to_string();
            assert!(message.contains(hint) && message.contains(text), "{message}");
        }
    }

    #[test]
    fn a_credential_in_an_address_is_refused_and_not_repeated() {
        let message = "s3://key:secret@host/bucket".parse::<Address>().expect_err("no address").to_string();
        assert!(message.contains("credentials"), "{message}");
        assert!(!message.contains("secret@"), "{message}");
    }
}

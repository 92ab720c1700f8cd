//! Names and places: of shares and targets, on the local disk, of exports and repositories.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::values::text_setting;

/// The longest name, in bytes: one DNS label.
const NAME_BYTES_MAX: usize = 63;

/// The name of a share or target: usable in a URL, a file name, a metric and a shell as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let first_is_legal = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first_is_legal && text.len() <= NAME_BYTES_MAX && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is no name".to_owned())
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(Name, "a name of 1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit");

/// The name of a bucket (Amazon S3 user guide, "General purpose bucket naming rules").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketName(String);

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        let at_an_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let is_address = text.parse::<std::net::Ipv4Addr>().is_ok();
        let fits = (3..=NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(legal)
            && at_an_end(text.bytes().next())
            && at_an_end(text.bytes().next_back())
            && !text.contains("..")
            && !is_address;
        if fits { Ok(Self(text.to_owned())) } else { Err("is no name of a bucket".to_owned()) }
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(
    BucketName,
    "a name of 3 to 63 of a-z, 0-9, - and ., beginning and ending with a letter or digit, no IP address"
);

/// The id of an access key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccessKeyId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if (3..=128).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is no id of an access key".to_owned())
        }
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(AccessKeyId, "3 to 128 letters, digits, -, _ and .");

/// A domain name (RFC 1123 section 2.1), without a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |label: &str| {
            (1..=NAME_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(legal) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err("is no domain name".to_owned())
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(HostName, "a domain name such as \"s3.example.net\"");

/// A place on the local disk, from the root of the file system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalPath(PathBuf);

impl LocalPath {
    /// The place.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for LocalPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        if !path.is_absolute() || text.contains('\0') {
            return Err("is not an absolute path".to_owned());
        }
        if path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err("has .. in it".to_owned());
        }
        Ok(Self(path.components().collect()))
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

text_setting!(LocalPath, "an absolute path such as \"/var/lib/tidegate\", without ..");

/// The longest path of an export, in bytes (MNTPATHLEN, RFC 1813 appendix I).
const EXPORT_BYTES_MAX: usize = 1024;

/// The path under which NFS clients mount a share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExportPath(String);

impl ExportPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExportPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |name: &str| {
            !matches!(name, "" | "." | "..")
                && !name.contains(|letter: char| letter.is_control() || letter == ' ')
        };
        match text.strip_prefix('/') {
            Some(names) if text.len() <= EXPORT_BYTES_MAX && names.split('/').all(legal) => {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err("is no export path".to_owned()),
        }
    }
}

impl fmt::Display for ExportPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(ExportPath, "a path such as \"/docs\": names after slashes, no space, none at the end");

/// Where a repository lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RepositoryAddress {
    /// In a local directory.
    File(LocalPath),
    /// In a bucket, below a prefix (without `/` at either end; empty: the whole bucket).
    S3 {
        /// The bucket.
        bucket: String,
        /// The prefix.
        prefix: String,
    },
}

/// The longest prefix in a bucket, in bytes; leaves room for the names below it in S3's 1,024.
const PREFIX_BYTES_MAX: usize = 512;

impl FromStr for RepositoryAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("file://") {
            return path.parse().map(Self::File);
        }
        let place = text.strip_prefix("s3://").ok_or("begins neither with file:/// nor with s3://")?;
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if !(3..=63).contains(&bucket.len())
            || !bucket.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        {
            return Err("has no bucket name of 3 to 63 of a-z, 0-9, - and .".to_owned());
        }
        let legal = |name: &str| {
            !matches!(name, "" | "." | "..")
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        if prefix.len() > PREFIX_BYTES_MAX || !(prefix.is_empty() || prefix.split('/').all(legal)) {
            return Err("has a prefix of other letters than 0-9, a-z, A-Z, ., _, - and /".to_owned());
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for RepositoryAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{path}"),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

text_setting!(RepositoryAddress, "\"file:///absolute/path\" or \"s3://bucket/prefix\"");

/// A region of an S3 service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Region(String);

impl Region {
    /// The region as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if (1..=63).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is no region".to_owned())
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(Region, "a region such as \"eu-central-1\"");

/// The longest word of a cloud, in bytes: the value of a tag is the longest (Amazon EC2 user guide, "Tag restrictions").
const CLOUD_WORD_BYTES_MAX: usize = 256;

/// What a cloud calls something of its own: a kind of machine, a network, a role, a mark as `key=value`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloudWord(String);

impl CloudWord {
    /// The word as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CloudWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"+-=._:/@".contains(&byte);
        if (1..=CLOUD_WORD_BYTES_MAX).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is no name that a cloud gives".to_owned())
        }
    }
}

impl fmt::Display for CloudWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_setting!(CloudWord, "1 to 256 letters, digits and any of + - = . _ : / @");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["file:///srv/repository", "s3://bucket", "s3://bucket/a/b"] {
            assert_eq!(text.parse::<RepositoryAddress>().expect(text).to_string(), text);
        }
        assert_eq!(
            "s3://bucket/a/".parse::<RepositoryAddress>().expect("slash").to_string(),
            "s3://bucket/a"
        );
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_refused() {
        let wrong = [
            "",
            "/srv",
            "file://srv",
            "file:///a/../b",
            "s3://",
            "s3://ab",
            "s3://Bucket",
            "s3://bucket//a",
            "s3://bucket/..",
            "s3://bucket/ä",
            "https://bucket",
        ];
        for text in wrong {
            assert!(text.parse::<RepositoryAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_safe_everywhere() {
        for text in ["docs", "0", "a-b_c"] {
            assert!(text.parse::<Name>().is_ok(), "{text}");
        }
        for text in ["", "-a", "a b", "a/b", "Docs", "ä", &"a".repeat(64)] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
        for text in ["docs", "/", "/a/", "/a//b", "/a b", "/..", "/a\n"] {
            assert!(text.parse::<ExportPath>().is_err(), "{text}");
        }
    }
}

//! A path inside a share, as bytes, with a form that people, JSON and terminals can carry.
//!
//! Names in a share are bytes and need not be UTF-8. The text form shows UTF-8 as it is and every
//! other byte, control characters and the backslash as `\xHH`; reading it gives the same bytes back.

use std::fmt::{self, Write};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest path, in bytes.
const PATH_BYTES_MAX: usize = 4096;
/// The longest name of one directory entry, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// An absolute path inside a share: `/`, or `/` before each name and none at the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(Vec<u8>);

/// A path that cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no path inside a share: {reason}")]
pub struct PathError {
    path: String,
    reason: &'static str,
}

impl FilePath {
    /// The root of the share.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Checks and takes a path as bytes; one `/` at the end is dropped.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        let refuse = |reason| Err(PathError { path: String::from_utf8_lossy(bytes).into_owned(), reason });
        if bytes.len() > PATH_BYTES_MAX {
            return refuse("it is longer than 4096 bytes");
        }
        let Some(inner) = bytes.strip_prefix(b"/") else {
            return refuse("it does not begin with /");
        };
        let inner = inner.strip_suffix(b"/").unwrap_or(inner);
        if inner.is_empty() {
            return if bytes.len() == 1 { Ok(Self::root()) } else { refuse("it has an empty name") };
        }
        for name in inner.split(|byte| *byte == b'/') {
            match name {
                b"" => return refuse("it has an empty name"),
                b"." | b".." => return refuse("it has . or .. in it"),
                _ if name.len() > NAME_BYTES_MAX => return refuse("a name is longer than 255 bytes"),
                _ if name.contains(&0) => return refuse("it has a zero byte in it"),
                _ => {}
            }
        }
        Ok(Self([b"/", inner].concat()))
    }

    /// The path as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of a name in this directory.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        let parent = self.0.strip_suffix(b"/").unwrap_or(&self.0);
        Self::from_bytes(&[parent, b"/", name].concat())
    }

    /// Its names, from the root down; none for the root.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bytes(f, &self.0)
    }
}

/// Bytes in the form of this module: whatever stands in a link, too.
pub fn text_of(bytes: &[u8]) -> String {
    let mut text = String::new();
    write_bytes(&mut text, bytes).expect("strings take everything");
    text
}

fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || letter == '\\' {
                letter.encode_utf8(&mut [0; 4]).bytes().try_for_each(|byte| write!(out, "\\x{byte:02x}"))?;
            } else {
                out.write_char(letter)?;
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))?;
    }
    Ok(())
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePath({self})")
    }
}

impl FromStr for FilePath {
    type Err = PathError;

    fn from_str(text: &str) -> Result<Self, PathError> {
        let refuse = || PathError {
            path: text.to_owned(),
            reason: "a backslash stands only before xHH, the byte with that hexadecimal value",
        };
        let mut bytes = Vec::with_capacity(text.len());
        let mut pieces = text.split('\\');
        bytes.extend_from_slice(pieces.next().unwrap_or_default().as_bytes());
        for piece in pieces {
            let (digits, rest) =
                piece.strip_prefix('x').and_then(|tail| tail.split_at_checked(2)).ok_or_else(refuse)?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| refuse())?);
            bytes.extend_from_slice(rest.as_bytes());
        }
        Self::from_bytes(&bytes)
    }
}

impl TryFrom<String> for FilePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_lead_out_or_nowhere_are_refused() {
        for path in ["", "a", "//", "/a//b", "/./a", "/a/..", "/a\\x00", "/a\\", "/a\\x", "/a\\xg0"] {
            assert!(path.parse::<FilePath>().is_err(), "{path}");
        }
        assert!(FilePath::from_bytes(&[b"/".as_slice(), &[b'n'; 256]].concat()).is_err());
        assert!(FilePath::from_bytes(&b"/n".repeat(2049)).is_err());
    }

    #[test]
    fn a_slash_at_the_end_is_dropped_and_the_root_has_no_names() {
        let path: FilePath = "/a/b/".parse().expect("a path");
        assert_eq!(path.to_string(), "/a/b");
        assert_eq!(path.names().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(FilePath::root().names().count(), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_survive_the_text_form(names in prop::collection::vec(prop::collection::vec(1u8.., 1..9), 1..5)) {
            let bytes: Vec<u8> = names.iter().flat_map(|name| [b"/", name.as_slice()].concat()).collect();
            if let Ok(path) = FilePath::from_bytes(&bytes) {
                let text = path.to_string();
                prop_assert!(!text.contains(|letter: char| letter.is_control()));
                prop_assert_eq!(text.parse::<FilePath>().expect("own output"), path);
            }
        }
    }
}

//! Keys as paths, in a share that S3 clients see.
//!
//! | key | is |
//! |---|---|
//! | `a/b/c` | the regular file `/a/b/c` |
//! | `a/b/` | the directory `/a/b`, an object of no bytes, unless it is there only for what is in it |
//!
//! What cannot be a path is refused when it is to be made, and not there otherwise: an empty component (`//`, a
//! slash at the start), `.`, `..`, `.snapshot`, a NUL, a component of more than 255 bytes.
//! Symbolic links and other special files are no objects, and links are not followed.
//!
//! A directory that an S3 client needs for a key is made *implicit*: it is no key of its own, and goes when the
//! last object in it is deleted. One that was made over NFS, or as a key with a slash at its end, stays.

use tidegate_protocols::objects::{KEY_BYTES_MAX, ObjectError};
use tidegate_protocols::view::NAME_BYTES_MAX;

/// The folder of retained states.
const MOMENTS_NAME: &[u8] = b".snapshot";

/// A key taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path<'k> {
    /// The directories, from the root of the share.
    pub(super) folders: Vec<&'k [u8]>,
    /// The name in the last of them.
    pub(super) name: &'k [u8],
    /// Whether the key ends with a slash.
    pub(super) is_folder: bool,
}

/// Takes a key apart, or says why it is no path.
pub(super) fn parse(key: &str) -> Result<Path<'_>, ObjectError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(ObjectError::KeyTooLong);
    }
    let (path, is_folder) = key.strip_suffix('/').map_or((key, false), |path| (path, true));
    let names: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').collect();
    for name in &names {
        match *name {
            b"" => return Err(ObjectError::InvalidKey("has an empty component, and so is no path")),
            b"." | b".." => {
                return Err(ObjectError::InvalidKey("has a component . or .., and so is no path"));
            }
            MOMENTS_NAME => {
                return Err(ObjectError::InvalidKey(
                    "has a component .snapshot, the folder of retained states",
                ));
            }
            name if name.contains(&0) => return Err(ObjectError::InvalidKey("holds a NUL")),
            name if name.len() > NAME_BYTES_MAX => {
                return Err(ObjectError::InvalidKey("has a component of more than 255 bytes"));
            }
            _ => {}
        }
    }
    let mut folders = names;
    let name = folders.pop().unwrap_or_default();
    Ok(Path { folders, name, is_folder })
}

/// The answer to who would put bytes under the key of a folder.
pub(super) fn holds_no_bytes() -> ObjectError {
    let what = "a key that ends with a slash is a folder in this bucket, which holds no bytes";
    ObjectError::InvalidArgument(what.into())
}

/// Says why a component can be none.
pub(super) fn check(name: &[u8]) -> Result<(), &'static str> {
    match name {
        b"" => Err("has an empty component, and so is no path"),
        b"." | b".." => Err("has a component . or .., and so is no path"),
        MOMENTS_NAME => Err("has a component .snapshot, the folder of retained states"),
        name if name.contains(&0) => Err("holds a NUL"),
        name if name.len() > NAME_BYTES_MAX => Err("has a component of more than 255 bytes"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules of `docs/semantics.md`, as dumb as can be.
    fn is_path(key: &str) -> bool {
        let refused = ["", ".", "..", ".snapshot"];
        let is_name = |name: &str| !refused.contains(&name) && !name.contains('\0') && name.len() <= 255;
        key.len() <= 1024 && key.strip_suffix('/').unwrap_or(key).split('/').all(is_name)
    }

    /// Any text, and names around what is refused with slashes between them.
    fn key() -> impl Strategy<Value = String> {
        let names = ["", ".", "..", "...", ".snapshot", ".snapshots", "a", "a\0", "ä"].map(str::to_owned);
        let name = prop_oneof![
            8 => proptest::sample::select(names.to_vec()),
            1 => (250..260_usize).prop_map(|length| "n".repeat(length)),
        ];
        prop_oneof![
            1 => any::<String>(),
            3 => proptest::collection::vec(name, 0..8).prop_map(|names| names.join("/")),
        ]
    }

    proptest! {
        // A path says its whole key, so no two keys have one.
        #[test]
        fn a_key_is_the_path_that_it_says_or_none(key in key()) {
            let found = parse(&key);
            prop_assert_eq!(found.is_ok(), is_path(&key), "{:?}", found);
            if let Ok(path) = found {
                let names: Vec<&[u8]> = path.folders.iter().copied().chain([path.name]).collect();
                prop_assert!(names.iter().all(|name| check(name).is_ok()), "{:?}", names);
                let end: &[u8] = if path.is_folder { b"/" } else { b"" };
                prop_assert_eq!([&names.join(&b'/')[..], end].concat(), key.as_bytes());
            }
        }
    }

    #[test]
    fn a_key_is_folders_and_a_name() {
        let path = parse("a/b/c").expect("a path");
        assert_eq!((path.folders, path.name, path.is_folder), (vec![&b"a"[..], b"b"], &b"c"[..], false));
        let path = parse("a/").expect("a path");
        assert_eq!((path.folders.len(), path.name, path.is_folder), (0, &b"a"[..], true));
        assert!(parse(&"n".repeat(255)).is_ok());
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for key in
            ["", "/", "/a", "a//b", "a//", ".", "a/..", "../a", "a/./b", ".snapshot/x", "a/.snapshot", "a\0"]
        {
            assert!(matches!(parse(key), Err(ObjectError::InvalidKey(_))), "{key:?}");
        }
        assert!(parse(&"n".repeat(256)).is_err());
        assert_eq!(parse(&"a/".repeat(513)), Err(ObjectError::KeyTooLong));
    }
}

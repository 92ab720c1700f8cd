//! Secrets: only ever named in the settings, read when needed, wiped after use.
//!
//! A reference says where a secret lies. The secret itself is a type that cannot be printed and is
//! zeroed when dropped. Neither appears in a message: errors name the place, never the content.

use std::fmt;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use toml_edit::{Array, InlineTable, Value};
use zeroize::Zeroizing;

use super::names::LocalPath;
use super::schema::Setting;

/// The longest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// How long a command may take to print a secret.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// The most words of a command.
const COMMAND_WORDS_MAX: usize = 64;

/// Where a secret lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretReference {
    /// In a file that only its owner can read: the owner is this process's user or root.
    File(LocalPath),
    /// In a credential that systemd hands to the service (`LoadCredential=`).
    Credential(String),
    /// On the standard output of a command: its path and arguments.
    Command(Vec<String>),
    /// In an environment variable.
    Environment(String),
}

/// A secret. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a secret could not be had. Names the place, not the content.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the secret from {place}: {reason}")]
pub struct SecretError {
    place: String,
    reason: String,
}

impl Secret {
    /// Takes the bytes; one line break at the end does not count.
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = Zeroizing::new(bytes);
        let length = bytes
            .strip_suffix(b"\n")
            .map_or(bytes.len(), |line| line.strip_suffix(b"\r").unwrap_or(line).len());
        bytes.truncate(length);
        Self(bytes)
    }

    /// The bytes, to be used and not kept.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}

impl SecretReference {
    /// Fetches the secret. An empty one is an error.
    pub async fn resolve(&self) -> Result<Secret, SecretError> {
        let bytes = match self {
            Self::File(path) => read_private_file(path.as_path(), Owner::Checked),
            Self::Credential(name) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
                // The service manager owns the folder and may show the files through an access list.
                Some(folder) => read_private_file(&PathBuf::from(folder).join(name), Owner::Any),
                None => {
                    Err("CREDENTIALS_DIRECTORY is not set; start the gateway as a systemd service".to_owned())
                }
            },
            Self::Command(words) => run_command(words).await,
            Self::Environment(name) => std::env::var_os(name)
                .map(std::os::unix::ffi::OsStringExt::into_vec)
                .ok_or_else(|| "the variable is not set".to_owned()),
        };
        match bytes.map(Secret::new) {
            Ok(secret) if secret.0.is_empty() => Err("it is empty".to_owned()),
            other => other,
        }
        .map_err(|reason| SecretError { place: self.to_string(), reason })
    }
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {path}"),
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::Command(words) => write!(f, "command {}", words[0]),
            Self::Environment(name) => write!(f, "environment variable {name}"),
        }
    }
}

impl Setting for SecretReference {
    const SHOWN: bool = false; // Somebody may have written the secret itself.

    fn form() -> String {
        "a reference to a secret: { file = \"/path\" } (mode 0600), { credential = \"name\" }, \
         { command = [\"/path\", \"argument\"] } or { env = \"NAME\" }"
            .to_owned()
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let table = value.as_inline_table().ok_or("is not a table in braces")?;
        let mut entries = table.iter();
        let (Some((source, value)), None) = (entries.next(), entries.next()) else {
            return Err("does not have exactly one source".to_owned());
        };
        match source {
            "file" => LocalPath::parse(value).map(Self::File),
            "credential" => plain_name(value, "._-@").map(Self::Credential),
            "env" => plain_name(value, "_").map(Self::Environment),
            "command" => command_words(value).map(Self::Command),
            _ => Err("has a source of another name".to_owned()),
        }
    }

    fn write(&self) -> Value {
        let (source, value): (&str, Value) = match self {
            Self::File(path) => ("file", path.write()),
            Self::Credential(name) => ("credential", name.into()),
            Self::Command(words) => ("command", Value::Array(words.iter().collect::<Array>())),
            Self::Environment(name) => ("env", name.into()),
        };
        Value::InlineTable(InlineTable::from_iter([(source, value)]))
    }
}

/// A name of ASCII letters, digits and the marks given.
fn plain_name(value: &Value, marks: &str) -> Result<String, String> {
    let name = value.as_str().ok_or("has a source that is not a string")?;
    let legal = |letter: char| letter.is_ascii_alphanumeric() || marks.contains(letter);
    if matches!(name, "" | "." | "..") || name.len() > 255 || !name.chars().all(legal) {
        return Err("has a source that is no plain name".to_owned());
    }
    Ok(name.to_owned())
}

fn command_words(value: &Value) -> Result<Vec<String>, String> {
    let words = value.as_array().ok_or("has a command that is not a list of words")?;
    let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
    match words {
        Some(words) if words.len() > COMMAND_WORDS_MAX => Err("has a command of too many words".to_owned()),
        Some(words) if words.first().is_some_and(|program| program.starts_with('/')) => Ok(words),
        Some(_) => Err("has a command that does not begin with an absolute path".to_owned()),
        None => Err("has a command with a word that is not a string".to_owned()),
    }
}

/// Whether the owner of a file matters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// One that [`may_own`] such a file; and nobody else has any right.
    Checked,
    /// Any.
    Any,
}

/// Whether a user may own a file with a secret that another one reads: root, and who reads it. Root, who runs commands for a
/// gateway that is a service of another user, reads what that user owns too, as far as that one owns the folder as
/// well: whoever does could put any file there.
fn may_own(reader: u32, owner: u32, owner_of_folder: Option<u32>) -> bool {
    owner == 0 || owner == reader || (reader == 0 && owner_of_folder == Some(owner))
}

/// Reads a file that nobody but its owner can read. Never waits: a pipe or device is refused.
fn read_private_file(path: &Path, owner: Owner) -> Result<Vec<u8>, String> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)
        .map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if owner == Owner::Checked {
        let uid = rustix::process::geteuid().as_raw();
        let of_folder = path.parent().and_then(|folder| folder.metadata().ok()).map(|folder| folder.uid());
        if !may_own(uid, metadata.uid(), of_folder) {
            return Err(format!(
                "it belongs to user {}; chown it to the gateway's user{}",
                metadata.uid(),
                if uid == 0 { String::new() } else { format!(" {uid}") }
            ));
        }
        if metadata.mode() & 0o177 != 0 {
            return Err(format!("its mode is {:04o}; chmod it to 0600", metadata.mode() & 0o7777));
        }
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    bounded(bytes)
}

/// Runs a command without a shell and takes what it prints.
async fn run_command(words: &[String]) -> Result<Vec<u8>, String> {
    let mut child = tokio::process::Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut output = child.stdout.take().ok_or("it has no output")?.take(SECRET_BYTES_MAX as u64 + 1);
    let run = async {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
        let bytes = bounded(bytes)?;
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() { Ok(bytes) } else { Err(format!("it failed with {status}")) }
    };
    let late = format!("it did not end within {} seconds", COMMAND_TIME_MAX.as_secs());
    tokio::time::timeout(COMMAND_TIME_MAX, run).await.unwrap_or(Err(late))
}

fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(format!("it is longer than {SECRET_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn parse(text: &str) -> Result<SecretReference, String> {
        SecretReference::parse(&text.parse().expect("a TOML value"))
    }

    fn file_with(mode: u32, content: &[u8]) -> (tempfile::TempDir, SecretReference) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        write(&path, content).expect("a file");
        set_permissions(&path, Permissions::from_mode(mode)).expect("its mode");
        let path = path.to_str().expect("UTF-8").parse().expect("absolute");
        (folder, SecretReference::File(path))
    }

    #[tokio::test]
    async fn a_file_is_read_only_when_nobody_else_can() {
        for mode in [0o600, 0o400] {
            let (_folder, reference) = file_with(mode, b"hunter2\n");
            assert_eq!(reference.resolve().await.expect("readable").expose(), b"hunter2");
        }
        for mode in [0o640, 0o604, 0o700, 0o666] {
            let (_folder, reference) = file_with(mode, b"hunter2\n");
            let error = reference.resolve().await.expect_err("too open").to_string();
            assert!(error.contains("chmod it to 0600") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_file_is_of_root_of_its_reader_or_for_root_of_whoever_has_its_folder() {
        let (root, gateway, other) = (0, 5, 6);
        for (reader, owner, folder, may) in [
            (gateway, gateway, root, true),
            (gateway, root, root, true),
            (gateway, other, gateway, false),
            (gateway, other, other, false),
            (root, root, other, true),
            (root, gateway, gateway, true),
            (root, gateway, root, false),
            (root, other, gateway, false),
        ] {
            assert_eq!(
                may_own(reader, owner, Some(folder)),
                may,
                "{reader} reads what {owner} has in {folder}"
            );
        }
        assert!(!may_own(root, gateway, None));
    }

    #[tokio::test]
    async fn empty_endless_and_odd_files_are_refused() {
        let (_folder, empty) = file_with(0o600, b"\n");
        assert!(empty.resolve().await.is_err());
        let (_folder, long) = file_with(0o600, &vec![b'x'; SECRET_BYTES_MAX + 2]);
        assert!(long.resolve().await.is_err());
        for path in ["/dev/zero", "/", "/nowhere/at/all"] {
            assert!(
                SecretReference::File(path.parse().expect("absolute")).resolve().await.is_err(),
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn a_command_is_judged_by_its_end_and_its_output() {
        let command = |line: &str| SecretReference::Command(vec!["/bin/sh".into(), "-c".into(), line.into()]);
        assert_eq!(command("echo secret").resolve().await.expect("printed").expose(), b"secret");
        assert!(command("echo secret; exit 3").resolve().await.is_err());
        assert!(command("cat /dev/zero").resolve().await.is_err());
        assert!(command("true").resolve().await.is_err());
    }

    #[test]
    fn each_source_round_trips() {
        for text in [
            "{ file = \"/k\" }",
            "{ credential = \"key\" }",
            "{ command = [\"/bin/k\", \"x\"] }",
            "{ env = \"KEY\" }",
        ] {
            let reference = parse(text).expect(text);
            assert_eq!(SecretReference::parse(&reference.write()), Ok(reference));
        }
    }

    #[test]
    fn a_secret_written_where_a_reference_belongs_is_refused_and_not_repeated() {
        for text in [
            "\"hunter2\"",
            "{ value = \"hunter2\" }",
            "{ file = \"hunter2\" }",
            "{ env = \"hunter 2\" }",
            "{ command = [\"hunter2\"] }",
            "{ file = \"/k\", env = \"K\" }",
            "{}",
            "7",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!error.contains("hunter"), "{error}");
        }
        assert!(!format!("{:?}", Secret::new(b"hunter2".to_vec())).contains("hunter"));
    }
}

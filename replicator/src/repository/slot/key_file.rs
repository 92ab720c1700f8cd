//! The key file: 32 random bytes that open a repository without anybody typing.
//!
//! One line of text: `tidegate-key-1-<64 hex digits>-<8 hex digits>`, the last part being CRC-32C of the
//! bytes, so that a damaged or cut file is told apart from a wrong one. Only its owner may read it
//! (mode 0600 or less): otherwise it is refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tidegate_chunker::SecretKey;
use zeroize::Zeroizing;

use crate::repository::chance::random;
use crate::repository::error::{RepositoryError, Result};
use crate::repository::hex;
use crate::store::durable_file::sync_folder;

const PREFIX: &str = "tidegate-key-1-";
/// No key file is longer, in bytes.
const BYTES_MAX: u64 = 256;
/// The mode bits that nobody but the owner may have.
const MODE_OTHERS: u32 = 0o077;

/// The secret of a key file, and where it was read.
#[derive(Clone, Debug)]
pub struct KeyFile {
    secret: SecretKey,
    path: PathBuf,
}

impl KeyFile {
    /// Makes a secret and writes it durably to a new file of mode 0600. Refuses an existing file.
    pub fn create(path: &Path) -> Result<Self> {
        let secret = SecretKey::new(*Zeroizing::new(random()?));
        let text = Zeroizing::new(format!("{PREFIX}{}-{}\n", *hex_of(&secret), checksum(&secret)));
        write_new(path, text.as_bytes()).map_err(|error| {
            RepositoryError::local(format!("create the key file {}", path.display()), error)
        })?;
        Ok(Self { secret, path: path.to_owned() })
    }

    /// Reads a key file. Refuses one that others than its owner may read.
    pub fn open(path: &Path) -> Result<Self> {
        let text = read(path)?;
        let secret = parse(text.trim_end()).ok_or_else(|| {
            RepositoryError::invalid(format!(
                "{} is no whole key file: expected one line {PREFIX}..., 64 hex digits, a checksum",
                path.display()
            ))
        })?;
        Ok(Self { secret, path: path.to_owned() })
    }

    /// Takes a secret that came another way, such as a credential of the service manager: the text of a
    /// key file. `origin` is what errors call it.
    pub fn from_text(text: &str, origin: &str) -> Result<Self> {
        let secret = parse(text.trim())
            .ok_or_else(|| RepositoryError::invalid(format!("{origin} is not the text of a key file")))?;
        Ok(Self { secret, path: PathBuf::from(origin) })
    }

    pub(super) fn secret(&self) -> &SecretKey {
        &self.secret
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.sync_all()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_folder(folder)
}

fn read(path: &Path) -> Result<Zeroizing<String>> {
    let failed = |error| RepositoryError::local(format!("read the key file {}", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & MODE_OTHERS != 0 {
        return Err(RepositoryError::invalid(format!(
            "others than its owner may use the key file {} (mode {:04o}): chmod 600 it, and replace the key if anybody may have read it",
            path.display(),
            mode & 0o7777
        )));
    }
    let mut text = Zeroizing::new(String::with_capacity(BYTES_MAX as usize));
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

fn parse(text: &str) -> Option<SecretKey> {
    let (digits, sum) = text.strip_prefix(PREFIX)?.split_once('-')?;
    let bytes = Zeroizing::new(hex::decode(digits)?);
    let secret = SecretKey::new(*Zeroizing::new(<[u8; SecretKey::LEN]>::try_from(bytes.as_slice()).ok()?));
    (checksum(&secret) == sum).then_some(secret)
}

fn hex_of(secret: &SecretKey) -> Zeroizing<String> {
    Zeroizing::new(hex::encode(secret.as_bytes()))
}

fn checksum(secret: &SecretKey) -> String {
    format!("{:08x}", crc32c::crc32c(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_file_is_written_for_its_owner_only_and_read_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        let made = KeyFile::create(&path).expect("created");
        let read = KeyFile::open(&path).expect("opens");
        assert_eq!(made.secret(), read.secret());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
        assert!(KeyFile::create(&path).is_err(), "an existing file is left alone");

        let text = fs::read_to_string(&path).expect("readable");
        assert_eq!(KeyFile::from_text(&text, "credential").expect("reads").secret(), made.secret());
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        KeyFile::create(&path).expect("created");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        let error = KeyFile::open(&path).expect_err("refused").to_string();
        assert!(error.contains("0640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_cut_or_changed_key_file_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("key");
        KeyFile::create(&path).expect("created");
        let text = fs::read_to_string(&path).expect("readable");
        let changed = text.replacen(&text[20..21], if &text[20..21] == "0" { "1" } else { "0" }, 1);
        for wrong in [&text[..text.len() - 3], changed.as_str(), "", "\u{e9}"] {
            fs::write(&path, wrong).expect("written");
            assert!(KeyFile::open(&path).expect_err("refused").to_string().contains("no whole key file"));
        }
    }
}

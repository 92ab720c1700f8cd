//! The key of the repository, from the secret that the settings refer to.

use std::path::Path;

use tidegate_replicator::repository::{Argon2Cost, KeyFile, Passphrase, RecoveryKey, SlotKey};

use super::AssemblyError;
use crate::settings::{Repository, SecretReference};

/// How the text of every key file begins: nobody's passphrase does.
const KEY_FILE_START: &str = "tidegate-key-";

/// A key that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewKey {
    /// A key file was written.
    Written,
    /// There was one already.
    Found,
}

/// The key of a slot: a key file's content, a recovery key, or else a passphrase.
pub async fn slot_key(repository: &Repository) -> Result<SlotKey, AssemblyError> {
    let secret = repository.key.resolve().await?;
    let unusable = |why: &str| AssemblyError::Unusable {
        what: format!("the key in {}", repository.key),
        why: why.into(),
    };
    let text = secret.expose_text().ok_or_else(|| unusable("it is not text"))?;
    let origin = match &repository.key {
        SecretReference::File(path) => path.as_path().display().to_string(),
        elsewhere => format!("from {elsewhere}"),
    };
    if let Ok(key) = KeyFile::from_text(text, &origin) {
        return Ok(SlotKey::KeyFile(key));
    }
    if text.starts_with(KEY_FILE_START) {
        return Err(unusable("it is a key file's, but its text is not whole: fetch a copy of the key file"));
    }
    if let Ok(key) = RecoveryKey::parse(text) {
        return Ok(SlotKey::Recovery(key));
    }
    Ok(SlotKey::Passphrase(Passphrase::new(text, Argon2Cost::default())?))
}

/// Makes a key file where the settings expect one, unless there is one. A key that comes from anywhere
/// else must be there already.
pub fn write_key_file(repository: &Repository) -> Result<NewKey, AssemblyError> {
    let SecretReference::File(path) = &repository.key else { return Ok(NewKey::Found) };
    let path: &Path = path.as_path();
    if path.exists() {
        return Ok(NewKey::Found);
    }
    KeyFile::create(path)?;
    Ok(NewKey::Written)
}

//! Key slots: `keys/<slot id>`, the master key wrapped by one secret that people or machines have.
//!
//! ```text
//! keys/<id> = plain object { version, repository, kind, argon2id?, wrapped, note }
//! wrapped   = { master key, copy of config }, sealed by the slot's key   (opens the repository)
//! note      = { label, created_at },          sealed by the master key   (shown to who has it)
//! ```
//!
//! The slot's key is what Argon2id makes of a passphrase, or the 32 random bytes of a key file or a
//! recovery key. Kind and cost must be readable before anything is open; altering them only makes the
//! slot not open.
//!
//! Bounds: at most [`SLOTS_MAX`] slots are looked at, each of at most [`SLOT_BYTES_MAX`] bytes, and each
//! passphrase slot costs at most what [`Argon2Cost`] allows.

mod argon2id;
mod key_file;
mod recovery_key;
mod unlock;
mod words;

use std::fmt;

use serde::{Deserialize, Serialize};
use tidegate_chunker::{
    ObjectKind, RepositoryId, SecretKey, open_object_with, read_plain_object, seal_object_with,
    write_plain_object,
};
use zeroize::Zeroizing;

pub use self::argon2id::Argon2Cost;
pub use self::key_file::KeyFile;
pub use self::recovery_key::RecoveryKey;
pub(super) use self::unlock::{opened_by, unlock};
use super::chance::random;
use super::config::Config;
use super::envelope::{Record, from_payload, to_payload, unreadable, unsealable};
use super::error::{RepositoryError, Result};
use super::names::{self, SlotId};
use super::time::UtcNanos;
use super::{hex, secret_hex};
use crate::store::ObjectName;

/// Most slots of a repository.
pub const SLOTS_MAX: usize = 32;
/// Greatest length of a slot's payload, in bytes.
pub(super) const SLOT_BYTES_MAX: u64 = 512 << 10;
/// Longest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Longest label of a slot or a domain, in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// What opens a slot.
#[derive(Clone, Debug)]
pub enum SlotKey {
    /// Something that a person knows.
    Passphrase(Passphrase),
    /// A file that a machine has.
    KeyFile(KeyFile),
    /// A sheet of paper in a safe.
    Recovery(RecoveryKey),
}

/// A passphrase, and what a slot made with it costs to try.
#[derive(Clone)]
pub struct Passphrase {
    text: Zeroizing<String>,
    cost: Argon2Cost,
}

/// The kinds of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlotKind {
    /// Opened by a passphrase.
    Passphrase,
    /// Opened by a key file.
    KeyFile,
    /// Opened by a recovery key.
    Recovery,
}

/// A slot, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotInfo {
    /// Which.
    pub id: SlotId,
    /// What opens it.
    pub kind: SlotKind,
    /// What people call it.
    pub label: String,
    /// When it was added.
    pub created_at: UtcNanos,
}

/// The object, as stored.
#[derive(Serialize, Deserialize)]
pub(super) struct SlotRecord {
    #[serde(with = "hex")]
    repository: RepositoryId,
    kind: SlotKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argon2id: Option<Kdf>,
    #[serde(with = "hex::bytes")]
    wrapped: Vec<u8>,
    #[serde(with = "hex::bytes")]
    note: Vec<u8>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Kdf {
    #[serde(flatten)]
    cost: Argon2Cost,
    #[serde(with = "hex::bytes")]
    salt: Vec<u8>,
}

/// What a slot's key opens.
#[derive(Serialize, Deserialize)]
pub(super) struct Wrapped {
    #[serde(with = "secret_hex")]
    pub(super) master: SecretKey,
    pub(super) config: Config,
}

/// What the master key opens.
#[derive(Serialize, Deserialize)]
struct Note {
    label: String,
    created_at: UtcNanos,
}

impl Record for SlotRecord {
    const KIND: ObjectKind = ObjectKind::KeySlot;
    const BYTES_MAX: u64 = SLOT_BYTES_MAX;
}

impl Record for Wrapped {
    const KIND: ObjectKind = ObjectKind::KeySlot;
    const BYTES_MAX: u64 = 2 * Config::BYTES_MAX;
}

impl Record for Note {
    const KIND: ObjectKind = ObjectKind::KeySlot;
    const BYTES_MAX: u64 = 4 << 10;
}

impl Passphrase {
    /// Takes a passphrase for a slot of this cost; opening uses the cost that the slot states.
    pub fn new(text: impl Into<String>, cost: Argon2Cost) -> Result<Self> {
        let text = Zeroizing::new(text.into());
        if text.is_empty() || text.len() > PASSPHRASE_BYTES_MAX {
            let length = text.len();
            return Err(RepositoryError::invalid(format!(
                "the passphrase has {length} bytes; allowed are 1 to {PASSPHRASE_BYTES_MAX}"
            )));
        }
        Ok(Self { text, cost })
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(hidden)")
    }
}

impl SlotKey {
    /// What kind of slot it opens.
    pub fn kind(&self) -> SlotKind {
        match self {
            Self::Passphrase(_) => SlotKind::Passphrase,
            Self::KeyFile(_) => SlotKind::KeyFile,
            Self::Recovery(_) => SlotKind::Recovery,
        }
    }

    /// The cost and salt that a new slot for this key states.
    fn new_kdf(&self) -> Result<Option<Kdf>> {
        match self {
            Self::Passphrase(passphrase) => {
                Ok(Some(Kdf { cost: passphrase.cost, salt: random::<{ argon2id::SALT_LEN }>()?.to_vec() }))
            }
            Self::KeyFile(_) | Self::Recovery(_) => Ok(None),
        }
    }

    /// The slot's key. For a passphrase this takes a while and is done on a blocking thread.
    async fn slot_key(&self, name: &ObjectName, kdf: Option<&Kdf>) -> Result<SecretKey> {
        match (self, kdf) {
            (Self::KeyFile(file), _) => Ok(file.secret().clone()),
            (Self::Recovery(key), _) => Ok(key.secret().clone()),
            (Self::Passphrase(_), None) => {
                Err(RepositoryError::damaged(name, "a passphrase slot without the cost of Argon2id"))
            }
            (Self::Passphrase(passphrase), Some(kdf)) => {
                let salt = kdf.salt.as_slice().try_into();
                let salt = salt.map_err(|_| RepositoryError::damaged(name, "its salt has a wrong length"))?;
                let (text, cost) = (passphrase.text.clone(), kdf.cost);
                crate::blocking::spawn_blocking(move || cost.key(&text, &salt))
                    .await
                    .map_err(|error| RepositoryError::local("derive a key with Argon2id", error))?
            }
        }
    }
}

impl fmt::Display for SlotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passphrase(_) => f.write_str("this passphrase"),
            Self::KeyFile(file) => write!(f, "the key file {}", file.path().display()),
            Self::Recovery(_) => f.write_str("this recovery key"),
        }
    }
}

impl fmt::Display for SlotKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "passphrase",
            Self::KeyFile => "key file",
            Self::Recovery => "recovery key",
        })
    }
}

/// Makes a slot: its id and the bytes of its object.
pub(super) async fn create(
    master: &SecretKey,
    config: &Config,
    key: &SlotKey,
    label: &str,
    created_at: UtcNanos,
) -> Result<(SlotId, Vec<u8>)> {
    check_label(label)?;
    let (id, argon2id) = (SlotId::new(random()?), key.new_kdf()?);
    let name = names::slot(id);
    let slot_key = key.slot_key(&name, argon2id.as_ref()).await?;
    let wrapped = Wrapped { master: master.clone(), config: config.clone() };
    let note = Note { label: label.to_owned(), created_at };
    let record = SlotRecord {
        repository: config.repository,
        kind: key.kind(),
        argon2id,
        wrapped: seal(&slot_key, config.repository, &name, &wrapped)?,
        note: seal(master, config.repository, &name, &note)?,
    };
    Ok((id, write_plain_object(SlotRecord::KIND, name.as_str(), &to_payload(&name, &record)?)))
}

impl SlotRecord {
    /// Reads the object `name`.
    pub(super) fn read(name: &ObjectName, bytes: &[u8]) -> Result<Self> {
        let payload =
            read_plain_object(Self::KIND, name.as_str(), bytes).map_err(|error| unreadable(name, error))?;
        from_payload(name, &payload)
    }

    /// What it is, for who has the master key.
    pub(super) fn info(&self, id: SlotId, master: &SecretKey) -> Result<SlotInfo> {
        let name = names::slot(id);
        let note: Note = open(master, self.repository, &name, &self.note)?;
        Ok(SlotInfo { id, kind: self.kind, label: note.label, created_at: note.created_at })
    }

    /// Whether it is a slot of this repository, and not left by a creation that lost a race.
    pub(super) fn belongs_to(&self, repository: RepositoryId) -> bool {
        self.repository == repository
    }
}

/// Refuses a label that is empty or too long.
pub(super) fn check_label(label: &str) -> Result<()> {
    if (1..=LABEL_BYTES_MAX).contains(&label.len()) {
        return Ok(());
    }
    let length = label.len();
    Err(RepositoryError::invalid(format!("the label has {length} bytes; allowed are 1 to {LABEL_BYTES_MAX}")))
}

fn seal<R: Record>(
    key: &SecretKey,
    repository: RepositoryId,
    name: &ObjectName,
    record: &R,
) -> Result<Vec<u8>> {
    let payload = to_payload(name, record)?;
    seal_object_with(key, repository, R::KIND, name.as_str(), random()?, &payload)
        .map_err(|error| unsealable(name, error))
}

fn open<R: Record>(key: &SecretKey, repository: RepositoryId, name: &ObjectName, sealed: &[u8]) -> Result<R> {
    let payload = open_object_with(key, repository, R::KIND, name.as_str(), sealed)
        .map_err(|error| unreadable(name, error))?;
    from_payload(name, &Zeroizing::new(payload))
}

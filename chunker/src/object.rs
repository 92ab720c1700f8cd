//! Control objects: everything in a repository that is not a pack.
//!
//! ```text
//! object = header, body
//! header = magic 8 | format version u16 | kind u8 | protection u8 | seal epoch u32 | salt 32
//! ```
//!
//! | protection | salt | body |
//! |---|---|---|
//! | 0 plain | BLAKE3 of the header with a zero salt, the length of the name (u32), the name, the payload | the payload |
//! | 1 sealed by a domain | random | AES-256-GCM under the epoch's object key, keyed with the salt |
//! | 2 sealed by one secret | random | AES-256-GCM under that secret, derived for objects, keyed with the salt; the epoch is 0 |
//!
//! Authenticated with a sealed body: header, repository id, full name of the object. So an object that is
//! moved, renamed or shown in another repository does not open. The nonce is 0, because the salt makes
//! each key new: **a salt is 32 fresh random bytes for every object**.
//!
//! A plain object is bound to its name too, but by a checksum that anybody can compute: it tells damage,
//! not forgery. Only `config` is plain.

mod header;
mod plain;
mod sealed;

pub use plain::{read_plain_object, write_plain_object};
pub use sealed::{open_object, open_object_with, seal_object, seal_object_with};

/// Greatest length of an object in bytes. Readers fetch no more.
pub const OBJECT_BYTES_MAX: u64 = 64 << 20;

/// What an object is. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ObjectKind {
    /// The repository's `config`.
    Config = 1,
    /// The master key, wrapped by one slot.
    KeySlot = 2,
    /// The secrets of a domain.
    Domain = 3,
    /// What describes a share.
    Share = 4,
    /// Settings.
    Settings = 5,
    /// A run of the index: chunk ids and locations.
    Index = 6,
    /// A published root.
    Head = 7,
    /// A retained root.
    Snapshot = 8,
    /// A lease, or a claim to one.
    Lease = 9,
    /// What a garbage collection condemns.
    Plan = 10,
    /// What was hot at home.
    Heat = 11,
    /// A root that somebody reads and that must stay.
    Pin = 12,
    /// The outcome of a run: a drill, a scrub, a restore.
    Report = 13,
    /// That a gateway lives, and how it is.
    Heartbeat = 14,
    /// That the keys of a domain were destroyed on purpose.
    Shredding = 15,
}

//! A second reader of whole repositories, written from `docs/format.md` alone.
//!
//! It owns its own code for every layer: keys, objects, packs, index, heads, claims, tree, map, files. It
//! shares nothing with the program but crates for public standards (AES-256-GCM, Argon2id, BLAKE3, CRC-32C,
//! JSON, Zstandard); a test sees to that. If it reads what the program writes, the page says what the program
//! does.
//!
//! It promises to refuse what the page does not allow, and to check every digest, seal and bound on its way.
//! It writes nothing, knows no store but a folder, and does not try to be fast: the index of a whole
//! repository is held in memory.

mod bytes;
mod chunks;
mod claims;
mod files;
mod frame;
mod heads;
mod heartbeats;
mod index;
mod keys;
mod map;
mod objects;
mod pack;
mod repository;
mod tree;

use std::fmt;

pub use bytes::hex;
pub use files::{File, Files};
pub use heads::{Fields, Head};
pub use heartbeats::Heartbeat;
pub use keys::Secret;
pub use map::{Attributes, Moment};
pub use repository::Repository;

/// Why something was not read: a sentence that names the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

/// What was read, or why not.
pub type Read<T> = Result<T, Refused>;

impl fmt::Display for Refused {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Refuses.
fn refuse<T>(why: impl Into<String>) -> Read<T> {
    Err(Refused(why.into()))
}

/// Refuses unless `holds`.
fn expect(holds: bool, why: &str) -> Read<()> {
    if holds { Ok(()) } else { refuse(why) }
}

/// Says where something was refused.
trait In<T> {
    fn within(self, place: &str) -> Read<T>;
}

impl<T> In<T> for Read<T> {
    fn within(self, place: &str) -> Self {
        self.map_err(|Refused(why)| Refused(format!("{place}: {why}")))
    }
}

//! From a passphrase to a key: Argon2id (RFC 9106), whose cost is stored in the slot.
//!
//! Cost is a bounded type: what a slot in the store asks for is checked before any memory is taken, so
//! that a forged slot cannot make a gateway run out of memory or time.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use tidegate_chunker::SecretKey;
use zeroize::Zeroizing;

use crate::repository::error::{RepositoryError, Result};

/// Salt of a passphrase, in bytes.
pub(super) const SALT_LEN: usize = 16;

/// What one try of a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CostText", into = "CostText")]
pub struct Argon2Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Argon2Cost {
    /// Memory in KiB, least.
    pub const MEMORY_KIB_MIN: u32 = 19 << 10;
    /// Memory in KiB, most.
    pub const MEMORY_KIB_MAX: u32 = 512 << 10;
    /// Passes over the memory, least.
    pub const PASSES_MIN: u32 = 2;
    /// Passes over the memory, most.
    pub const PASSES_MAX: u32 = 16;
    /// Lanes, most.
    pub const LANES_MAX: u32 = 16;

    /// The cheapest cost that is allowed: 19 MiB, two passes, one lane.
    pub const LEAST: Self = Self { memory_kib: Self::MEMORY_KIB_MIN, passes: Self::PASSES_MIN, lanes: 1 };

    /// Refuses a value out of range, with its name, value and range.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        check("Argon2 memory in KiB", memory_kib, Self::MEMORY_KIB_MIN, Self::MEMORY_KIB_MAX)?;
        check("Argon2 passes", passes, Self::PASSES_MIN, Self::PASSES_MAX)?;
        check("Argon2 lanes", lanes, 1, Self::LANES_MAX)?;
        Ok(Self { memory_kib, passes, lanes })
    }

    /// The key that a passphrase gives. Takes the stated memory and about a second: blocks.
    pub(super) fn key(self, passphrase: &str, salt: &[u8; SALT_LEN]) -> Result<SecretKey> {
        let failed =
            |error: argon2::Error| RepositoryError::local("derive a key with Argon2id", error.to_string());
        let params =
            Params::new(self.memory_kib, self.passes, self.lanes, Some(SecretKey::LEN)).map_err(failed)?;
        let mut key = Zeroizing::new([0; SecretKey::LEN]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.as_bytes(), salt, key.as_mut())
            .map_err(failed)?;
        Ok(SecretKey::new(*key))
    }
}

impl Default for Argon2Cost {
    /// 64 MiB, three passes, four lanes: the second recommended choice of RFC 9106, section 4.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 4 }
    }
}

#[derive(Serialize, Deserialize)]
struct CostText {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl From<Argon2Cost> for CostText {
    fn from(Argon2Cost { memory_kib, passes, lanes }: Argon2Cost) -> Self {
        Self { memory_kib, passes, lanes }
    }
}

impl TryFrom<CostText> for Argon2Cost {
    type Error = RepositoryError;

    fn try_from(text: CostText) -> Result<Self> {
        Self::new(text.memory_kib, text.passes, text.lanes)
    }
}

fn check(what: &str, value: u32, least: u32, most: u32) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(RepositoryError::invalid(format!("{what} is {value}; allowed is {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_out_of_range_is_refused_also_when_read() {
        for (memory, passes, lanes, named) in [
            (1, 2, 1, "memory"),
            (Argon2Cost::MEMORY_KIB_MAX + 1, 2, 1, "memory"),
            (Argon2Cost::MEMORY_KIB_MIN, 1, 1, "passes"),
            (Argon2Cost::MEMORY_KIB_MIN, 17, 1, "passes"),
            (Argon2Cost::MEMORY_KIB_MIN, 2, 0, "lanes"),
        ] {
            let text = format!(r#"{{"memory_kib":{memory},"passes":{passes},"lanes":{lanes}}}"#);
            let error = serde_json::from_str::<Argon2Cost>(&text).expect_err("refused").to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn passphrase_and_salt_decide_the_key() {
        let key = |passphrase, salt| Argon2Cost::LEAST.key(passphrase, &[salt; SALT_LEN]).expect("derived");
        assert_eq!(key("a", 1), key("a", 1));
        assert_ne!(key("a", 1), key("b", 1));
        assert_ne!(key("a", 1), key("a", 2));
    }
}

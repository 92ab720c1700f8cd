//! Chance: the one place of this crate that asks the operating system for random bytes.
//!
//! In the crate's own unit tests a simulation may stand in for the system, so that a run follows from a seed. That code
//! is under `cfg(test)`, which cargo sets for the tests of a crate and never for a crate that others are built on: no
//! program can contain it, whatever features are chosen. Ids of packs must never come twice, or a key and a nonce would
//! meet twice; so the way around chance must not exist where there is something to lose.

use std::io;

/// Fills `bytes` with random bytes from the operating system, fit for keys.
pub(crate) fn fill(bytes: &mut [u8]) -> io::Result<()> {
    #[cfg(test)]
    if crate::simulation::chance::fill(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// A random number.
pub(crate) fn number() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

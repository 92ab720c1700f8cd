//! Chance: the one place of the repository that asks the operating system for random bytes.

use super::error::{RepositoryError, Result};

/// `N` random bytes from the operating system, fit for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        RepositoryError::local("get random bytes from the operating system", error.to_string())
    })?;
    Ok(bytes)
}

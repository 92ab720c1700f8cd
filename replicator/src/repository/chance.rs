//! Random bytes, as the repository asks for them.

use super::error::{RepositoryError, Result};
use crate::chance;

/// `N` random bytes, fit for keys.
pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    chance::fill(&mut bytes).map_err(|error| {
        RepositoryError::local("get random bytes from the operating system", error.to_string())
    })?;
    Ok(bytes)
}

//! For how long packs have not been read.
//!
//! Two sources, both hints: what heads of shares say was used lately, whoever serves them, and what a gateway knows by
//! itself. What neither knows counts as not read. Reads that nobody waited for, such as those of a scrub, are no uses.

use std::collections::HashMap;
use std::time::Duration;

use tidegate_chunker::PackId;

use crate::repository::{Opened, Repository, RepositoryError};

/// See the head of this module.
#[derive(Clone, Debug, Default)]
pub struct LastReads(HashMap<PackId, Duration>);

impl LastReads {
    /// What the newest heads of all shares say: what is hot there was read just now. A share whose head cannot be
    /// read says nothing.
    pub async fn of_heads(repository: &Repository<Opened>) -> Result<Self, RepositoryError> {
        let mut reads = Self::default();
        for share in repository.share_ids().await? {
            let heat = match repository.newest_head(share).await {
                Ok(Some(newest)) => repository.heat_of(&newest.head).await,
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match heat {
                Ok(heat) => heat.packs().iter().for_each(|hot| reads.note(hot.pack, Duration::ZERO)),
                Err(error) if error.is_away() => return Err(error),
                Err(error) => tracing::warn!(%share, %error, "what is hot of a share cannot be read"),
            }
        }
        Ok(reads)
    }

    /// The pack was read last at least so long ago, and not earlier than anything else says.
    pub fn note(&mut self, pack: PackId, unread_for: Duration) {
        let known = self.0.entry(pack).or_insert(unread_for);
        *known = (*known).min(unread_for);
    }

    /// For how long the pack was not read, as far as anybody knows.
    pub fn unread_for(&self, pack: &PackId) -> Duration {
        self.0.get(pack).copied().unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_read_counts() {
        let (mut reads, pack) = (LastReads::default(), PackId::new([1; 32]));
        assert_eq!(reads.unread_for(&pack), Duration::MAX);
        reads.note(pack, Duration::from_secs(9));
        reads.note(pack, Duration::from_secs(7));
        reads.note(pack, Duration::from_secs(8));
        assert_eq!(reads.unread_for(&pack), Duration::from_secs(7));
    }
}

//! What a gateway remembers of a store between two looks at it.
//!
//! [`Seen`] is a note that the gateway keeps on its own disk: the highest head that it has ever seen of
//! each share. A store that later shows less was rolled back, restored from an old copy, or lies; that
//! is said aloud and never followed by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_chunker::ShareId;

use super::hex::HexId;
use super::names::HeadName;

/// The highest head seen of each share. Serialisable; the caller stores it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, HeadName>", into = "BTreeMap<String, HeadName>")]
pub struct Seen(BTreeMap<ShareId, HeadName>);

/// How what a store shows relates to what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Never seen before, or newer than ever seen.
    Newer,
    /// As it was.
    Same,
    /// **The store shows an older state than before.** Do not follow it without a person's word.
    Older {
        /// What was seen before.
        seen: HeadName,
        /// What is shown now; none if the share has no head any more.
        shown: Option<HeadName>,
    },
}

impl Seen {
    /// Compares the newest head that the store shows now.
    pub fn compare(&self, share: ShareId, shown: Option<HeadName>) -> Comparison {
        match (self.0.get(&share).copied(), shown) {
            (None, None) => Comparison::Same,
            (None, Some(_)) => Comparison::Newer,
            (Some(seen), Some(shown)) if shown.is_newer_than(&seen) => Comparison::Newer,
            (Some(seen), Some(shown)) if !seen.is_newer_than(&shown) => Comparison::Same,
            (Some(seen), shown) => Comparison::Older { seen, shown },
        }
    }

    /// Remembers a head, unless a newer one is remembered. Returns whether the note changed.
    pub fn remember(&mut self, share: ShareId, head: HeadName) -> bool {
        let newer = self.0.get(&share).is_none_or(|seen| head.is_newer_than(seen));
        if newer {
            self.0.insert(share, head);
        }
        newer
    }

    /// Forgets a share, after a person has said that the older state is right.
    pub fn forget(&mut self, share: ShareId) {
        self.0.remove(&share);
    }
}

impl From<Seen> for BTreeMap<String, HeadName> {
    fn from(seen: Seen) -> Self {
        seen.0.into_iter().map(|(share, head)| (share.to_string(), head)).collect()
    }
}

impl TryFrom<BTreeMap<String, HeadName>> for Seen {
    type Error = &'static str;

    fn try_from(text: BTreeMap<String, HeadName>) -> Result<Self, Self::Error> {
        let read = |(share, head): (String, HeadName)| Some((<ShareId as HexId>::from_hex(&share)?, head));
        text.into_iter()
            .map(read)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or("a share id is 32 digits of lower-case hex")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: ShareId = ShareId::new([1; 16]);

    fn head(epoch: u32, sequence: u64) -> HeadName {
        HeadName { epoch, sequence, suffix: 0 }
    }

    #[test]
    fn a_store_that_shows_less_than_before_is_noticed() {
        let mut seen = Seen::default();
        assert_eq!(seen.compare(SHARE, None), Comparison::Same);
        assert_eq!(seen.compare(SHARE, Some(head(1, 5))), Comparison::Newer);
        assert!(seen.remember(SHARE, head(1, 5)));
        assert!(!seen.remember(SHARE, head(1, 4)));
        assert_eq!(seen.compare(SHARE, Some(head(1, 5))), Comparison::Same);
        assert_eq!(seen.compare(SHARE, Some(head(2, 1))), Comparison::Newer);
        for shown in [None, Some(head(1, 4)), Some(head(0, 9))] {
            assert_eq!(seen.compare(SHARE, shown), Comparison::Older { seen: head(1, 5), shown });
        }
        seen.forget(SHARE);
        assert_eq!(seen.compare(SHARE, Some(head(1, 4))), Comparison::Newer);
    }

    #[test]
    fn the_note_round_trips_as_json() {
        let mut seen = Seen::default();
        seen.remember(SHARE, head(3, 9));
        let text = serde_json::to_string(&seen).expect("serialises");
        assert_eq!(serde_json::from_str::<Seen>(&text).expect("reads"), seen);
        assert!(serde_json::from_str::<Seen>(r#"{"x":"fffffffe-fffffffffffffffd-00000003"}"#).is_err());
    }
}

//! What becomes of the handles of a share when another gateway begins to lead it, and why.

use tidegate_replicator::repository::{Era, Head};

/// See the head of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handles {
    /// They stay valid: the share was handed over, and nothing that was acknowledged is lost.
    Kept {
        /// Their era.
        era: u64,
    },
    /// They stay valid because the policy of the share says so, although acknowledged changes may be lost.
    KeptByPolicy {
        /// Their era.
        era: u64,
    },
    /// They are stale: changes may be lost that were acknowledged after the head.
    NotHandedOver,
    /// They are stale: an older state was chosen.
    OlderState,
    /// They are stale: the share follows another gateway, read-only.
    Followed,
}

impl Handles {
    /// The era to go on with; none for a new one.
    pub fn era(&self) -> Option<u64> {
        match self {
            Self::Kept { era } | Self::KeptByPolicy { era } => Some(*era),
            Self::NotHandedOver | Self::OlderState | Self::Followed => None,
        }
    }

    /// Whether everything that was acknowledged is on the line.
    pub fn nothing_is_lost(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    /// For people.
    pub fn why(&self) -> &'static str {
        match self {
            Self::Kept { .. } => {
                "handles of before stay valid: the share was handed over and nothing is lost"
            }
            Self::KeptByPolicy { .. } => {
                "handles of before stay valid, since keep_handles says so; changes may be lost that clients still have in \
                 their caches"
            }
            Self::NotHandedOver => {
                "handles of before are stale: the share was taken over without a handover, so acknowledged changes may be \
                 lost; clients mount it anew"
            }
            Self::OlderState => {
                "handles of before are stale: the share goes on from an older state; clients mount it anew"
            }
            Self::Followed => "handles of before are stale: the share follows another gateway",
        }
    }
}

/// What becomes of them when the state of a head is led in `epoch`. `is_newest` says whether it is the newest of its line.
pub(super) fn after_takeover(head: &Head, epoch: u32, is_newest: bool) -> Handles {
    let number = |era: Era| u64::from_be_bytes(*era.as_bytes());
    // Nothing can have been acknowledged since: not by who handed it over, nor by anybody between.
    if let Some(era) = head.handover.filter(|_| is_newest && epoch == head.epoch + 1) {
        return Handles::Kept { era: number(era) };
    }
    match head.keep_handles {
        _ if !is_newest => Handles::OlderState,
        Some(era) => Handles::KeptByPolicy { era: number(era) },
        None => Handles::NotHandedOver,
    }
}

//! Bytes and requests that recovery takes, from what a head says.

use tidegate_replicator::repository::{Head, Heat, HotKind, LineTotals};
use tidegate_replicator::warm::RANGE_BYTES_MAX;

use super::asleep::{Asleep, Sleepers};
use super::first::FirstByte;
use super::model::Amount;

/// Requests between nothing and the claim, of a share that is the only one: the config; a listing of key slots and the one
/// that opens; a listing of domains; three listings of folders, the heads and claims of the share, its newest head.
const OPENING_REQUESTS: u64 = 4 + 3 + 3;
/// Requests of the claim and after it: the claims, and the last of them; the claim, read back, and the listing that decides;
/// the plans; the newest head by two listings and a read; a pin of it; whether the claim still stands, by a listing and a read;
/// the head again, for what was hot.
const CLAIM_REQUESTS: u64 = LOOK_REQUESTS + 2 + 3 + 1 + 3 + 1 + 2 + 1;
/// Before that: the plans, claims, heads and the newest head, so that nothing is claimed that cannot be read.
const LOOK_REQUESTS: u64 = 1 + 1 + 1 + 1;
/// What the two commands ask besides: they open the repository three times, look for the share twice, and probe the store
/// twice. A probe makes some of its requests at once; so many follow each other.
const COMMAND_REQUESTS: u64 = 2 * 4 + 9 + 4 + 2 * PROBE_REQUESTS;
const PROBE_REQUESTS: u64 = 40;
/// Listings and a read for each other share that is looked at until the right one is found.
const OTHER_SHARE_REQUESTS: u64 = 3;
/// A head without its heat, and small objects, as stored, in bytes.
const HEAD_BYTES: u64 = 3 << 10;
const SMALL_BYTES: u64 = 512;
/// Length of an entry of the map in a pack with what is above it in the tree, in bytes, about.
const ENTRY_BYTES: u64 = 48;
/// What a range of a whole share has on average, in bytes: the neighbours of a pack come together up to 4 MiB, less half a
/// frame and what is left at the end of a pack.
const WHOLE_RANGE_BYTES: u64 = 15 << 18;

const _: () = assert!(WHOLE_RANGE_BYTES < RANGE_BYTES_MAX);

/// What has to be opened on the way to a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Shares of the repository.
    pub shares: u64,
    /// Its domains, with each of their sealing secrets.
    pub domains: u64,
    /// Its key slots.
    pub slots: u64,
    /// Whether programs do it one after the other, as `tidegate attach` and `tidegate serve` do: each opens the
    /// repository anew, and finds out what the store really does.
    pub by_command: bool,
}

/// See the head of this module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// To the first byte, one request after the other.
    pub first: Amount,
    /// To what is hot.
    pub hot: Amount,
    /// To everything.
    pub whole: Amount,
    /// What of it sleeps.
    pub asleep: Asleep,
}

impl Amounts {
    /// What recovery of the share takes whose newest head this is. `heat` is what is known of it, here or in the head that
    /// it names; on average half of the other shares are looked at first.
    pub fn of(head: &Head, heat: &Heat, first: &FirstByte, opening: Opening) -> Self {
        let others = opening.shares.saturating_sub(1).div_ceil(2);
        // The heat of a head is written as hex; it is read to find the share, under the claim, and for the heat.
        let head_bytes = HEAD_BYTES + 2 * head.heat.encode().len() as u64;
        let keys = opening.domains + opening.slots.saturating_sub(1).div_ceil(2);
        let requests = OPENING_REQUESTS + CLAIM_REQUESTS + keys + others * OTHER_SHARE_REQUESTS;
        let (commands, heads) = if opening.by_command { (COMMAND_REQUESTS + 2 * keys, 5) } else { (0, 3) };
        let requests = requests + commands;
        let bytes = heads * head_bytes + others * HEAD_BYTES + (keys + 4) * SMALL_BYTES;
        let kind = |kind| Amount { requests: heat.requests(kind), bytes: heat.bytes(kind) };
        Self {
            first: Amount { requests, bytes } + first.amount(),
            hot: kind(HotKind::Nodes) + kind(HotKind::Data),
            whole: whole(head),
            asleep: Asleep::default(),
        }
    }

    /// The same, where so much sleeps.
    #[must_use]
    pub fn with_sleepers(self, sleepers: &Sleepers, first: &FirstByte, heat: &Heat) -> Self {
        Self { asleep: Asleep::of(sleepers, first, heat, self.whole.bytes), ..self }
    }
}

/// Everything that a head reaches, about: file data as it was stored up to now for so much that was read, and the tree.
fn whole(head: &Head) -> Amount {
    let data = whole_bytes(head.usage.bytes, &head.totals);
    let nodes = head.root.entries.saturating_mul(ENTRY_BYTES);
    let bytes = data.saturating_add(nodes);
    Amount { requests: bytes.div_ceil(WHOLE_RANGE_BYTES), bytes }
}

/// What files of so many bytes take in packs, by what the line has stored of what it has read: duplicates and compression
/// are in that; what was overwritten since is not. Without any record: as many as they have.
pub fn whole_bytes(used: u64, totals: &LineTotals) -> u64 {
    if totals.bytes_read == 0 {
        return used;
    }
    let ratio = totals.bytes_stored as f64 / totals.bytes_read as f64;
    (used as f64 * ratio) as u64
}

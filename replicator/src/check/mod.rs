//! Check: is everything that heads and snapshots promise there, and does it fit together?
//!
//! Reads only. Looks at key slots, domains, leases, heads and snapshots; at the ends of all packs and at
//! the index; walks every tree that a head of a share's line or a snapshot reaches; holds the maps against
//! their own rules; and, when asked, opens and verifies frames. What is wrong becomes a [`Finding`] that
//! names the object and, where they are known, share, head or snapshot, and path. Any damage gives
//! findings, never a panic and never a wrong all-clear; only a store that does not answer ends a check
//! early ([`CheckError`]).
//!
//! ```text
//! control.rs      slots, domains, leases, heads, snapshots: what roots there are
//! packs.rs        the ends of packs: which chunks lie where
//! reach.rs        walks the trees: is every chunk in a pack that says so?
//! index.rs        does the index say what the packs say?
//! invariants.rs   the rules of the map: entries, links, parents, extents
//! census.rs       names against inodes, in sums
//! data.rs         opens frames
//! paths.rs        from an inode to a path
//! ```
//!
//! Bounds: [`CheckOptions::memory_bytes_max`] for what is noted of packs and nodes and what readers keep;
//! [`FINDINGS_MAX`] findings. A subtree that several roots share is walked once; of roots of one share
//! only the newest is held against the rules of the map as a whole, the others by what differs.
//!
//! What a check cannot see: that an object is gone that nothing names, such as the newest head, a snapshot
//! or a key slot. A gateway remembers the newest head that it has seen, and says so.

mod census;
mod control;
mod data;
mod finding;
mod index;
mod invariants;
mod packs;
mod paths;
mod reach;
mod run;

pub use data::{Damage, Sample};
pub use finding::{CheckReport, Counts, FINDINGS_MAX, Finding, Weight};
pub use run::{CheckError, CheckOptions, check, name_users, unopened};

pub use crate::observer::{Observer, Silent};

//! Recovery: how long it would take to have a share elsewhere, said before it must be done.
//!
//! ```text
//! first    what the first read of a file will ask of the store         a walk down one path of the tree
//! asleep   what the store has to thaw before, and how long that takes        from a listing
//! amounts  bytes and requests to the first byte, to what is hot, to all  from a head
//! model    time from those, the link and the machine                    pure
//! price    what the store will charge                                   pure
//! plan     the three put together, and held against the objectives      pure
//! ```
//!
//! The *first byte* is there when a machine that has nothing but address and key serves a read; *hot* is when what was
//! used lately is in its cache; *whole* when everything that the head reaches is.
//!
//! What bounds each is said with it: answers of the store one after the other, the link, the disk, opening, or thawing. What was
//! not measured is not guessed: without a link that was measured there are bytes and requests, and no times.
//!
//! Not here: measuring (`tidegate_replicator::warm`), when it is looked at (`assembly/recovery.rs`), fetching.

mod amounts;
mod asleep;
mod first;
mod model;
mod plan;
mod price;
#[cfg(test)]
mod tests;

pub use amounts::{Amounts, Opening, whole_bytes};
pub use asleep::{Asleep, Sleepers, Thaw, asked_of};
pub use first::{FirstByte, first_byte};
pub use model::{Amount, Bound, Machine, Way, fetch, one_by_one};
pub use plan::{Objectives, plan_share, refusal};
pub use price::Prices;

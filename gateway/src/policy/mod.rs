//! Policies: snapshots that are taken by themselves, and those of them that are kept.
//!
//! ```text
//! schedule   when a policy runs                    pure
//! keep       which snapshots its rules keep        pure
//! simulate   both over a time to come              pure
//! hook       a command beside a run                a process
//! place      where a run's sources are read            waits before its hooks
//! run        one run: hooks, snapshots, forgetting
//! engine     what is due, by the clock; retries; what is known of each policy
//! host       what a run asks of the gateway        a seam
//! ```
//!
//! Promises: only snapshots that carry the policy's name are ever forgotten, and of those that a share has at
//! least one stays, and at least one that is whole, if there is any. A due time that passed while the gateway was off
//! is made up for once. There is no state besides the snapshots: a snapshot taken at a time has done what was due before.
//!
//! Not here: what a snapshot is (`appliance/snapshots.rs`), and what becomes of data that no snapshot reaches.

mod engine;
pub mod hook;
mod host;
mod keep;
mod place;
mod plan;
mod run;
mod schedule;
mod simulate;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use host::{PolicyHost, Taken};
pub use keep::{Dated, Reason, Reasons, Rules};
pub use place::{Place, Turn};
pub use plan::Plan;
pub use schedule::Schedule;
pub use simulate::{RUNS_MAX, Simulation, TooManyRuns, simulate};

//! Alarms: what is wrong with this gateway, said once, kept while it lasts, and told to whoever should know.
//!
//! ```text
//! reading    one look at one thing: wrong, right, or in between     plain data
//! rules      what the appliance reports -> readings                 pure
//! trend      whether a backlog shrinks                              pure
//! board      readings over time -> alarms; hysteresis               pure
//! dispatch   what is new, and which notifier hears of it            pure
//! notice     what a notifier is told, as text and as JSON           plain data
//! ways       by command, by webhook, by mail                        I/O
//! courier    one notifier: bounded queue, retries                   a task
//! keeper     looks, keeps the board, tells                          a task
//! ```
//!
//! Promises: an alarm is raised once, when its reading has been wrong for as long as its rule says, and cleared once,
//! when it has been right for as long as the settings say; what lies between neither raises nor clears. A reading
//! that is not there any more (a share that is served no more) clears at once. Nothing waits for a notifier.
//!
//! A new fact is a field of [`Status`](crate::control::Status), a code, and a rule in [`rules`].
//!
//! Not here: what is reported (`assembly/overview.rs`), and noticing that the gateway itself is gone
//! ([`crate::watch`], from elsewhere).

mod board;
mod courier;
mod dispatch;
mod keeper;
mod notice;
mod reading;
mod recovery;
pub mod rules;
#[cfg(test)]
mod tests;
mod trend;
mod ways;

pub use board::{Board, Event};
pub use courier::{ATTEMPTS_MAX, Courier, QUEUE_MAX};
pub use dispatch::{Dispatch, Recipient};
pub use keeper::{Facts, Keeper, Source};
pub use notice::{Notice, Sender, Tidings};
pub use reading::{Reading, Verdict};
pub use trend::Trend;
pub use ways::{DeliverError, Way, way};

//! Bandwidth by the calendar: which rates hold for the link to a target, and until when.
//!
//! `calendar.rs` is pure: rows of the settings, a moment, the rates. [`Links`] sets them on the links of the
//! targets as time goes by, when the settings change, and when somebody sets others by hand for a while. What is set
//! by hand is kept in memory only: after a restart the calendar holds. `estimate.rs` says when what waits will have left.

mod calendar;
mod estimate;
mod links;

pub use calendar::{Calendar, InForce, Rates};
pub use links::Links;

//! History: comparing two moments of a share, and putting paths back to what they were.

mod diff;
mod restore;

pub use diff::diff;
pub use restore::restore;

//! Watching gateways from elsewhere: by what they leave in the repository, without asking them.
//!
//! ```text
//! look    one round: what lies in the repository     a few requests
//! judge   what that says about the gateways          pure
//! ```
//!
//! Promises: only reads; goes by the store's clock where the store tells it; a round asks for little
//! ([`HEADS_LOOKED_MAX`]); what cannot be read now is not taken for good or bad. Without a key it sees who went silent and
//! who was stopped; with it, also whether what clients wrote is published, and what the gateways say is wrong.
//!
//! Not here: who is told ([`crate::alarm`]), and heartbeats themselves (`replicator/src/repository/heartbeat.rs`).

mod judge;
mod look;
#[cfg(test)]
mod tests;

pub use judge::{GatewayState, Round, Seen, Standing, readings, standings};
pub use look::{HEADS_LOOKED_MAX, Watcher};

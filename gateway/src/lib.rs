//! The appliance: journal, live map, namespace, cache, shares, settings, the binary.

pub mod admin;
pub mod alarm;
mod amounts;
pub mod appliance;
pub mod assembly;
pub mod bandwidth;
mod cache;
pub mod cli;
pub mod clock;
pub mod commit;
pub mod console;
pub mod control;
pub mod crash;
pub mod files;
pub mod history;
pub mod journal;
pub mod ledger;
pub mod live;
pub mod locking;
pub mod namespace;
pub mod objects;
pub mod policy;
pub mod settings;
pub mod share;
pub mod source;
pub mod telemetry;
pub mod watch;

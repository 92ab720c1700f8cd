//! The appliance: journal, live map, namespace, cache, shares, settings, the binary.

pub mod appliance;
pub mod clock;
pub mod commit;
pub mod crash;
pub mod files;
pub mod journal;
pub mod ledger;
pub mod live;
pub mod namespace;
pub mod share;

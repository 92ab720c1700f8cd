//! What of a target's settings is taken over while the gateway runs: its link.

use crate::settings::{Settings, Target};

/// Whether the target that leads is reached another way `after` a change, which waits for a restart.
pub(super) fn leads_elsewhere(before: &Settings, after: &Settings) -> bool {
    let lead = after.lead();
    match before.target(lead.name.as_str()) {
        Some(old) => with_link_of(lead, old) != *old,
        None => true,
    }
}

/// A target with what the link of an earlier form of it takes over at once.
fn with_link_of(target: &Target, old: &Target) -> Target {
    Target {
        upload_rate: old.upload_rate,
        download_rate: old.download_rate,
        connections: old.connections,
        ..target.clone()
    }
}

//! What of changed settings is taken over while the gateway runs, and what waits for a restart.

use crate::settings::{Retention, Settings, Target};

/// The tables whose change waits for a restart.
pub(super) fn waiting_for_restart(before: &Settings, after: &Settings) -> Vec<String> {
    let mut keys = Vec::new();
    let mut note = |changed: bool, key: &str| {
        if changed {
            keys.push(key.to_owned());
        }
    };
    note(before.gateway != after.gateway, "gateway");
    note(before.repository.key != after.repository.key, "repository.key");
    // A lead that is reached another way; copies follow at once.
    note(leads_elsewhere(before, after), "target");
    note(before.cache != after.cache, "cache");
    // How long the bin keeps is asked each time.
    let retention = Retention { bin: after.retention.bin, ..before.retention.clone() };
    note(retention != after.retention, "retention");
    note(before.nfs != after.nfs, "nfs");
    note(before.s3 != after.s3, "s3");
    note(before.nbd != after.nbd, "nbd");
    note(before.api.listen != after.api.listen, "api.listen");
    note(before.api.connections != after.api.connections, "api.connections");
    note(before.audit.syslog != after.audit.syslog, "audit.syslog");
    keys
}

/// Whether the target that leads is reached another way `after` a change.
fn leads_elsewhere(before: &Settings, after: &Settings) -> bool {
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

//! What of a target's settings is taken over while the gateway runs: its link.

use crate::settings::Target;

/// The targets `after` a change, with what their links take over at once as it was `before`: what still differs waits for
/// a restart.
pub(super) fn with_links_of(after: &[Target], before: &[Target]) -> Vec<Target> {
    let as_before = |target: &Target| match before.iter().find(|old| old.name == target.name) {
        Some(old) => Target {
            upload_rate: old.upload_rate,
            download_rate: old.download_rate,
            connections: old.connections,
            ..target.clone()
        },
        None => target.clone(),
    };
    after.iter().map(as_before).collect()
}

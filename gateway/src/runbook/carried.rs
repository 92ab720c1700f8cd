//! Runbooks that travel with heads: written by the gateway that leads a share, found by the machine that replaces it.
//!
//! A head carries, sealed, the runbooks that attach its share, as text under `runbooks` beside the settings of the share.
//! They hold no secret: only references to where one lies, which the other site must have too.

use jiff::Timestamp;
use tidegate_replicator::repository::{Opened, Repository, RepositoryError};

use crate::settings::{Runbook, Settings, runbooks_from_toml, runbooks_to_toml};

/// The key beside the settings of a share.
const KEY: &str = "runbooks";

/// What the heads of a share or bucket carry, given what they carry already.
pub fn carried(settings: &Settings, share: &str, mut with: serde_json::Value) -> serde_json::Value {
    let runbooks: Vec<&Runbook> =
        settings.runbooks.iter().filter(|runbook| runbook.shares().contains(&share)).collect();
    if let (Some(object), false) = (with.as_object_mut(), runbooks.is_empty()) {
        object.insert(KEY.to_owned(), runbooks_to_toml(runbooks).into());
    }
    with
}

/// The runbooks that the newest heads of all shares carry, each in its newest form; by name. What a later version wrote and
/// this one cannot read is left out, and said.
pub async fn find_carried(repository: &Repository<Opened>) -> Result<Vec<Runbook>, RepositoryError> {
    let mut found: Vec<(Timestamp, Runbook)> = Vec::new();
    for share in repository.shares().await? {
        let Some(head) = share.newest.ok().flatten().map(|newest| newest.head) else { continue };
        let Some(text) = head.settings.get(KEY).and_then(serde_json::Value::as_str) else { continue };
        let frozen = Timestamp::from_nanosecond(head.frozen_at.as_nanos().into()).unwrap_or_default();
        match runbooks_from_toml(text) {
            Ok(runbooks) => found.extend(runbooks.into_iter().map(|runbook| (frozen, runbook))),
            Err(error) => {
                tracing::warn!(share = head.share.name, %error, "runbooks of a head cannot be read")
            }
        }
    }
    found.sort_by(|(time, one), (other_time, other)| {
        one.name.cmp(&other.name).then_with(|| other_time.cmp(time))
    });
    found.dedup_by(|(_, later), (_, kept)| later.name == kept.name);
    Ok(found.into_iter().map(|(_, runbook)| runbook).collect())
}

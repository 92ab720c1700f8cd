//! The snapshots of a disk that are complete, whichever gateway made them.
//!
//! They are found by their tags, so a site that has nothing but the repository finds what another one has copied. Which head one has the
//! content of is said by a tag that it gets last: one without that tag is not complete, whatever its state.

use std::cmp::Ordering;
use std::time::Duration;

use aws_sdk_ec2::types::{Filter, Snapshot, SnapshotState};
use tidegate_replicator::repository::HeadName;
use tokio::time::Instant;

use super::client::Clients;
use super::error::{Doing, code};
use super::tags;
use crate::machine::ProviderError;

/// How often it is asked whether EBS has taken a snapshot in.
const POLL: Duration = Duration::from_secs(2);
/// How long that may take. The blocks are there then: it is for EBS to finish.
const TAKE_IN_TIME_MAX: Duration = Duration::from_hours(2);

/// A snapshot that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) id: String,
    /// The head whose content it has.
    pub(super) head: String,
    /// Its size.
    pub(super) gib: i32,
}

impl Complete {
    fn of(snapshot: &Snapshot) -> Option<Self> {
        let head = tags::find(snapshot.tags(), tags::HEAD)?.to_owned();
        let is_usable = snapshot.state() == Some(&SnapshotState::Completed);
        let (id, gib) = (snapshot.snapshot_id()?.to_owned(), snapshot.volume_size()?);
        is_usable.then_some(Self { id, head, gib })
    }
}

/// Those of a disk that are complete, of the newest head first.
pub(super) async fn complete(
    clients: &Clients,
    doing: Doing<'_>,
    disk: &str,
) -> Result<Vec<Complete>, ProviderError> {
    let all = with_tags(clients, doing, vec![tags::filter(tags::DISK, disk)]).await?;
    let mut found: Vec<Complete> = all.iter().filter_map(Complete::of).collect();
    found.sort_by(|one, other| newest_first(one, other));
    Ok(found)
}

fn newest_first(one: &Complete, other: &Complete) -> Ordering {
    let place = |snapshot: &Complete| {
        let head = HeadName::parse(&snapshot.head);
        (head.map(|head| (head.epoch, head.sequence)), snapshot.id.clone())
    };
    place(other).cmp(&place(one))
}

/// What this account has of snapshots with such tags.
pub(super) async fn with_tags(
    clients: &Clients,
    doing: Doing<'_>,
    filters: Vec<Filter>,
) -> Result<Vec<Snapshot>, ProviderError> {
    let pages = clients.ec2.describe_snapshots().owner_ids("self").set_filters(Some(filters)).into_paginator();
    let found = pages.items().send().collect::<Result<Vec<_>, _>>().await;
    found.map_err(doing.asking("ec2:DescribeSnapshots"))
}

/// A snapshot; none if it is not there any more.
pub(super) async fn find(
    clients: &Clients,
    doing: Doing<'_>,
    id: &str,
) -> Result<Option<Snapshot>, ProviderError> {
    match clients.ec2.describe_snapshots().snapshot_ids(id).send().await {
        Ok(found) => Ok(found.snapshots().first().cloned()),
        Err(error) if code(&error).is_some_and(is_gone) => Ok(None),
        Err(error) => Err(doing.asking("ec2:DescribeSnapshots")(error)),
    }
}

/// Waits until EBS has taken in a snapshot whose blocks are all there, so that images can be made of it; what it says if it will not.
pub(super) async fn taken_in(
    clients: &Clients,
    doing: Doing<'_>,
    id: &str,
) -> Result<Option<String>, ProviderError> {
    let until = Instant::now() + TAKE_IN_TIME_MAX;
    loop {
        let found = find(clients, doing, id).await?;
        match found.as_ref().and_then(Snapshot::state) {
            Some(SnapshotState::Completed) => return Ok(None),
            Some(SnapshotState::Error) | None => {
                let said = found.as_ref().and_then(Snapshot::state_message).unwrap_or("it is gone");
                return Ok(Some(said.to_owned()));
            }
            Some(_) if Instant::now() > until => {
                return Err(doing.failed(format!("EBS has not taken snapshot {id} in yet; try again later")));
            }
            Some(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Says of which head the content is. From now on it is complete.
pub(super) async fn say_head(
    clients: &Clients,
    doing: Doing<'_>,
    id: &str,
    head: &str,
) -> Result<(), ProviderError> {
    let said = clients.ec2.create_tags().resources(id).tags(tags::tag(tags::HEAD, head)).send().await;
    said.map(drop).map_err(doing.asking("ec2:CreateTags"))
}

/// Deletes a snapshot, unless an image needs it. That it is gone is no error.
pub(super) async fn delete(clients: &Clients, doing: Doing<'_>, id: &str) -> Result<(), ProviderError> {
    match clients.ec2.delete_snapshot().snapshot_id(id).send().await {
        Err(error) if !code(&error).is_some_and(|code| is_gone(code) || code == "InvalidSnapshot.InUse") => {
            Err(doing.asking("ec2:DeleteSnapshot")(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_gone(code: &str) -> bool {
    code == "InvalidSnapshot.NotFound"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_head_comes_first_and_what_is_no_head_last() {
        let name = |epoch: u32, sequence: u64| HeadName { epoch, sequence, suffix: 7 }.to_string();
        let snapshot = |id: &str, head: String| Complete { id: id.into(), head, gib: 1 };
        let mut all = vec![
            snapshot("a", name(1, 9)),
            snapshot("b", "nonsense".into()),
            snapshot("c", name(2, 3)),
            snapshot("d", name(2, 4)),
        ];
        all.sort_by(newest_first);
        let order: Vec<&str> = all.iter().map(|snapshot| snapshot.id.as_str()).collect();
        assert_eq!(order, ["d", "c", "a", "b"]);
    }
}

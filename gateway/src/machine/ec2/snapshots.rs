//! The snapshots of a disk that are complete, whichever gateway made them.
//!
//! They are found by their tags, so a site that has nothing but the repository finds what another one has copied. Which head one has the
//! content of is said by a tag that it gets last: one without that tag is not complete, whatever its state.

use std::cmp::Ordering;
use std::time::Duration;

use tidegate_replicator::repository::HeadName;
use tokio::time::Instant;

use super::client::Clients;
use super::error::Doing;
use super::note::SETTLE_TIME;
use super::query::{Form, QueryError};
use super::tags;
use super::xml::Element;
use crate::machine::ProviderError;

/// Snapshots of one answer.
const PAGE: u32 = 500;
/// How often it is asked whether EBS has taken a snapshot in.
const POLL: Duration = Duration::from_secs(2);
/// How long that may take. The blocks are there then: it is for EBS to finish.
const TAKE_IN_TIME_MAX: Duration = Duration::from_hours(2);

/// How EBS has a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It takes blocks, or is being taken in.
    Pending,
    /// It can be used.
    Completed,
    /// It cannot, and what EBS says of why.
    Lost(String),
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) standing: Standing,
    /// The head whose content it has, once it is complete.
    head: Option<String>,
    /// Whether it is a copy of a disk: others have the owner's mark too, such as backups of volumes of the instance, whose tags they take
    /// over.
    is_copy: bool,
    owner: Option<String>,
    is_of_trial: bool,
    gib: i32,
}

impl Snapshot {
    fn of(item: &Element) -> Option<Self> {
        let standing = match item.text(&["status"])? {
            "completed" => Standing::Completed,
            "error" => Standing::Lost(item.text(&["statusMessage"]).unwrap_or("no reason").to_owned()),
            // Also those that come back from an archive, which is somebody else's doing.
            _ => Standing::Pending,
        };
        Some(Self {
            id: item.text(&["snapshotId"])?.to_owned(),
            standing,
            head: tags::find(item, tags::HEAD).map(str::to_owned),
            is_copy: tags::find(item, tags::DISK).is_some(),
            owner: tags::find(item, tags::OWNER).map(str::to_owned),
            is_of_trial: tags::find(item, tags::TRIAL).is_some(),
            gib: item.text(&["volumeSize"])?.parse().ok()?,
        })
    }

    /// Whether it is a copy that was begun and of which nobody may know yet.
    pub(super) fn is_begun_copy(&self) -> bool {
        self.is_copy && self.head.is_none()
    }
}

/// A snapshot that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) id: String,
    /// The head whose content it has.
    pub(super) head: String,
    /// The mark of who made it.
    pub(super) owner: Option<String>,
    /// Whether it was made for a trial.
    pub(super) is_of_trial: bool,
    /// Its size.
    pub(super) gib: i32,
}

impl Complete {
    fn of(snapshot: Snapshot) -> Option<Self> {
        let is_usable = snapshot.standing == Standing::Completed && snapshot.is_copy;
        let Snapshot { id, head, owner, is_of_trial, gib, .. } = snapshot;
        head.filter(|_| is_usable).map(|head| Self { id, head, owner, is_of_trial, gib })
    }

    /// Whether it was made for a machine of this mark.
    pub(super) fn is_of(&self, owner: &str) -> bool {
        self.owner.as_deref() == Some(owner)
    }
}

/// Those of a disk that are complete, of the newest head first.
pub(super) async fn complete(
    clients: &Clients,
    doing: Doing<'_>,
    disk: &str,
) -> Result<Vec<Complete>, ProviderError> {
    let all = with_tag(clients, doing, tags::DISK, disk).await?;
    let mut found: Vec<Complete> = all.into_iter().filter_map(Complete::of).collect();
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

/// What this account has of snapshots with a tag.
pub(super) async fn with_tag(
    clients: &Clients,
    doing: Doing<'_>,
    key: &str,
    value: &str,
) -> Result<Vec<Snapshot>, ProviderError> {
    let form = Form::default().with("Owner.1", "self").filter(&format!("tag:{key}"), value);
    let (mut found, mut next) = (Vec::new(), None::<String>);
    loop {
        let page = form.clone().with("MaxResults", PAGE).with_some("NextToken", next);
        let answer = clients.ec2.call("DescribeSnapshots", &page).await;
        let answer = answer.map_err(doing.asking("ec2:DescribeSnapshots"))?;
        found.extend(answer.list(&["snapshotSet"]).filter_map(Snapshot::of));
        next = answer.text(&["nextToken"]).map(str::to_owned);
        if next.is_none() {
            return Ok(found);
        }
    }
}

/// A snapshot; none if it is not there any more.
pub(super) async fn find(
    clients: &Clients,
    doing: Doing<'_>,
    id: &str,
) -> Result<Option<Snapshot>, ProviderError> {
    match clients.ec2.call("DescribeSnapshots", &Form::default().with("SnapshotId.1", id)).await {
        Ok(answer) => Ok(answer.list(&["snapshotSet"]).find_map(Snapshot::of)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(doing.asking("ec2:DescribeSnapshots")(error)),
    }
}

/// Waits until EBS has taken in a snapshot whose blocks are all there, so that images can be made of it; what it says if it will not.
pub(super) async fn taken_in(
    clients: &Clients,
    doing: Doing<'_>,
    id: &str,
) -> Result<Option<String>, ProviderError> {
    let (until, settled) = (Instant::now() + TAKE_IN_TIME_MAX, Instant::now() + SETTLE_TIME);
    loop {
        match find(clients, doing, id).await?.map(|snapshot| snapshot.standing) {
            Some(Standing::Completed) => return Ok(None),
            Some(Standing::Lost(said)) => return Ok(Some(said)),
            // One that was made a moment ago is not shown everywhere.
            None if Instant::now() < settled => tokio::time::sleep(POLL).await,
            None => return Ok(Some("it is gone".to_owned())),
            Some(Standing::Pending) if Instant::now() > until => {
                return Err(doing.failed(format!("EBS has not taken snapshot {id} in yet; try again later")));
            }
            Some(Standing::Pending) => tokio::time::sleep(POLL).await,
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
    let form =
        Form::default().with("ResourceId.1", id).with("Tag.1.Key", tags::HEAD).with("Tag.1.Value", head);
    let said = clients.ec2.call("CreateTags", &form).await;
    said.map(drop).map_err(doing.asking("ec2:CreateTags"))
}

/// Deletes a snapshot, unless an image needs it. That it is gone is no error.
pub(super) async fn delete(clients: &Clients, doing: Doing<'_>, id: &str) -> Result<(), ProviderError> {
    match clients.ec2.call("DeleteSnapshot", &Form::default().with("SnapshotId", id)).await {
        Err(error) if !is_gone(&error) && error.code() != Some("InvalidSnapshot.InUse") => {
            Err(doing.asking("ec2:DeleteSnapshot")(error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn is_gone(error: &QueryError) -> bool {
    error.code() == Some("InvalidSnapshot.NotFound")
}

#[cfg(test)]
mod tests {
    use super::super::door::{self, Answer, Asked, Door};
    use super::*;

    #[test]
    fn the_newest_head_comes_first_and_what_is_no_head_last() {
        let name = |epoch: u32, sequence: u64| HeadName { epoch, sequence, suffix: 7 }.to_string();
        let snapshot = |id: &str, head: String| Complete {
            id: id.into(),
            head,
            owner: None,
            is_of_trial: false,
            gib: 1,
        };
        let mut all = [
            snapshot("a", name(1, 9)),
            snapshot("b", "nonsense".into()),
            snapshot("c", name(2, 3)),
            snapshot("d", name(2, 4)),
        ];
        all.sort_by(newest_first);
        let order: Vec<&str> = all.iter().map(|snapshot| snapshot.id.as_str()).collect();
        assert_eq!(order, ["d", "c", "a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_is_not_shown_yet_is_waited_for_and_believed_to_be_gone_after_a_minute() {
        let doing = Doing { what: "copy the disks of", name: "web" };
        let completed = "<R><snapshotSet><item><snapshotId>snap-1</snapshotId><status>completed</status>\
                         <volumeSize>1</volumeSize></item></snapshotSet></R>";
        let late = Door::new(move |asked: &Asked| match asked.nth {
            0..=9 => Answer::refused("InvalidSnapshot.NotFound"),
            _ => Answer::xml(completed),
        });
        assert_eq!(taken_in(&door::clients(&late), doing, "snap-1").await.expect("answered"), None);
        let never = Door::new(|_: &Asked| Answer::refused("InvalidSnapshot.NotFound"));
        let begun = Instant::now();
        let said = taken_in(&door::clients(&never), doing, "snap-1").await.expect("answered");
        assert_eq!(said.as_deref(), Some("it is gone"));
        assert!(begun.elapsed() >= SETTLE_TIME, "{:?}", begun.elapsed());
    }
}

//! Looking at the files of a moment, on the running appliance.
//!
//! A head or snapshot that is named by its id is read alone; only labels and times need a listing.

use tidegate_replicator::repository::{Head, HeadName, SnapshotId};

use super::Running;
use super::overview::timestamp;
use crate::control::{ControlError, FileData, FileRequest, FilesPage, FilesRequest, Moment};
use crate::history::{self, Seen};

impl Running {
    pub(super) async fn list_files(
        &self,
        share: &str,
        request: &FilesRequest,
    ) -> Result<FilesPage, ControlError> {
        let (seen, head) = self.seen_at(share, &request.at).await?;
        let page = history::list(&seen, request).await?;
        Ok(FilesPage { frozen: head.map(|head| timestamp(head.frozen_at)), ..page })
    }

    pub(super) async fn open_file(
        &self,
        share: &str,
        request: &FileRequest,
    ) -> Result<FileData, ControlError> {
        let (seen, _) = self.seen_at(share, &request.at).await?;
        history::open(seen, &request.path).await
    }

    async fn seen_at(&self, share: &str, moment: &Moment) -> Result<(Seen, Option<Head>), ControlError> {
        let open = self.appliance().namespace(share)?.share().clone();
        if *moment == Moment::Live {
            return Ok((Seen::Live(open), None));
        }
        let head = match self.named_by_id(share, moment).await? {
            Some(head) => head,
            None => self.head_at(share, moment).await?.1,
        };
        let map = self.appliance().frozen_map(&head)?;
        Ok((Seen::Frozen(open, map), Some(head)))
    }

    /// The head of a moment that names a head or a snapshot by its id, if it is there.
    async fn named_by_id(&self, share: &str, moment: &Moment) -> Result<Option<Head>, ControlError> {
        let appliance = self.appliance();
        match moment {
            Moment::Head(name) => {
                let Some(name) = HeadName::parse(name) else { return Ok(None) };
                let id = appliance.share_id(share)?;
                Ok(appliance.repository().read_head(id, &name).await.ok())
            }
            Moment::Snapshot(name) => {
                let Some(id) = SnapshotId::parse(name) else { return Ok(None) };
                Ok(appliance.read_snapshot(share, id).await.ok().map(|snapshot| snapshot.head))
            }
            Moment::Live | Moment::NewestHead | Moment::At(_) => Ok(None),
        }
    }
}

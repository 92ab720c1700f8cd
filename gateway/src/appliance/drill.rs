//! The clone of a drill: a share over a head of the repository that may be written, and that nobody will ever see.
//!
//! It has no lease, so it can publish nothing; it has no commit loop, so nothing is drained into packs; and nothing
//! is pinned. What clients write lies in the journal until the dirty budget is used up, and goes with the
//! local state. That its store takes no changes at all is seen to where it is opened (`assembly`).
//!
//! Not promised: that an old moment stays readable for longer than the repository keeps it. A collection that deletes
//! what it reaches lets a drill fail, not production.

use bytes::Bytes;
use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{Head, HeadName};

use super::registry::{self, ShareRecord};
use super::shares::{AttachPoint, begin_over, random};
use super::{Appliance, ApplianceError};
use crate::live::Batch;
use crate::share::Base;

impl Appliance {
    /// Whether it is the clone of a drill.
    pub fn is_drill(&self) -> bool {
        self.drill
    }

    /// Makes a share of the repository known here, as the clone of a drill over its state at a point. One that is
    /// known already is as wanted. Serve it afterwards.
    pub async fn attach_clone(&self, name: &str, point: AttachPoint) -> Result<ShareId, ApplianceError> {
        let _changing = self.changing.lock().await;
        if let Some(known) = registry::load(&self.live)?.iter().find(|record| record.name == name) {
            return Ok(known.id()?);
        }
        let nothing = |what: &str| ApplianceError::NothingToAttach { share: name.into(), what: what.into() };
        let share = self.backend.repository.find_share(name).await?.ok_or_else(|| nothing("head"))?;
        let (head_name, head) = self.head_of(share, point).await?.ok_or_else(|| nothing("head"))?;
        let (map, map_change) = registry::next_map(&self.live)?;
        let record = ShareRecord::new(name.into(), share, head.share.domain, map, random()?, random()?);
        let mut changes = begin_over(map, &head, Some(head_name), true);
        changes.extend([map_change, record.change()]);
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        Ok(share)
    }

    /// The head that the clone of a share was made over.
    pub async fn clone_base(&self, share: &str) -> Result<(HeadName, Head), ApplianceError> {
        let open = self.share_named(share)?;
        let nothing = || ApplianceError::NothingToAttach { share: share.into(), what: "head".into() };
        let name = Base::load(&self.live, open.share.map().map)?.head.ok_or_else(nothing)?;
        Ok((name, self.backend.repository.read_head(open.share.id(), &name).await?))
    }

    async fn head_of(
        &self,
        share: ShareId,
        point: AttachPoint,
    ) -> Result<Option<(HeadName, Head)>, ApplianceError> {
        let repository = &self.backend.repository;
        Ok(match point {
            AttachPoint::Newest => {
                repository.newest_head(share).await?.map(|newest| (newest.name, newest.head))
            }
            AttachPoint::Head(name) => Some((name, repository.read_head(share, &name).await?)),
            AttachPoint::Snapshot(id) => {
                let snapshot = repository.read_snapshot(share, id).await?;
                Some((snapshot.head_name, snapshot.head))
            }
        })
    }
}

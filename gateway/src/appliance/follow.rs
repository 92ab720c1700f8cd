//! Following: a share that serves, read-only, what another gateway publishes.
//!
//! It has no lease and makes no head. At every interval the newest head is looked for; a newer one becomes
//! the base of the live map by a rebase, in constant time, under handles that stay valid.

use std::sync::Arc;

use bytes::Bytes;

use super::registry::{self, ShareRecord};
use super::shares::{OpenShare, begin_over, random};
use super::{Appliance, ApplianceError, ShareConfig};
use crate::live::{Batch, Change, Usage};
use crate::share::{Base, OverSince};

impl Appliance {
    /// Makes a share of the repository known here, to be followed.
    pub(super) async fn create_follower(&self, config: &ShareConfig) -> Result<ShareRecord, ApplianceError> {
        let nothing =
            || ApplianceError::NothingToAttach { share: config.name.clone(), what: "head to follow".into() };
        let found = self.find_in_repository(&config.name).await?.ok_or_else(nothing)?;
        let newest = self.backend.repository.newest_head(found.share.id).await?.ok_or_else(nothing)?;
        let (map, map_change) = registry::next_map(&self.live)?;
        let (id, domain) = (newest.head.share.id, newest.head.share.domain);
        let mut record = ShareRecord::new(config.name.clone(), id, domain, map, random()?, random()?);
        record.to_warm = true;
        let mut changes = begin_over(map, &newest.head, Some(newest.name), true);
        changes.extend([map_change, record.change()]);
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        Ok(record)
    }

    pub(super) fn start_following(self: &Arc<Self>, open: Arc<OpenShare>) {
        let appliance = self.clone();
        self.loops.spawn(async move {
            loop {
                tokio::select! {
                    () = appliance.stop.cancelled() => return,
                    () = open.withdrawn.cancelled() => return,
                    () = tokio::time::sleep(open.config.rpo) => {}
                }
                let followed = appliance.follow(&open).await;
                *open.last_error.lock() = followed.as_ref().err().map(ToString::to_string);
                if let Err(error) = followed {
                    tracing::warn!(share = open.config.name, %error, "the newest head could not be followed");
                }
            }
        });
    }

    /// Moves the map onto the newest head, if it stands on an older one.
    pub(super) async fn follow(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        if open.record.lock().leadership.is_some() {
            // It was led from here: moving its map on would lose what it has beyond the line.
            return Err(ApplianceError::NotSetAside { share: open.config.name.clone() });
        }
        let map = open.share.map().map;
        let base = Base::load(&self.live, map)?;
        let Some(newest) = self.backend.repository.newest_head(open.share.id()).await? else { return Ok(()) };
        self.note_holds_nothing(open);
        if base.head == Some(newest.name) {
            return Ok(());
        }
        let through = self.live.settle().await?;
        let base = Base { root: newest.head.root, head: Some(newest.name), published: true };
        let (account, usage) = (open.share.account(), newest.head.usage);
        let more = |now: u64, before: u64| now.wrapping_sub(before).cast_signed();
        let before = account.used();
        let changes = vec![
            Change::Rebase { map, through, base: base.encode() },
            Change::Usage {
                map,
                bytes: more(usage.bytes, before.bytes),
                inodes: more(usage.inodes, before.inodes),
            },
        ];
        let sequence = self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.applied(sequence).await?;
        let since = OverSince { bytes: usage.bytes_over_since, inodes: usage.inodes_over_since };
        account.follow(Usage { bytes: usage.bytes, inodes: usage.inodes }, since, self.now());
        account.record(&self.live).await?;
        tracing::info!(share = open.config.name, head = %newest.name, "follows a newer head");
        *open.newest.lock() = Some((newest.name, newest.head));
        Ok(())
    }
}

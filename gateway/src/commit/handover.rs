//! Handing a share over: a head that says that nothing follows it from here.

use tidegate_replicator::repository::{CommitStatistics, Era, Head, HeadName, Leadership};

use super::{CommitError, Committer, upload_waiting};

impl Committer {
    /// Publishes the newest head once more, over the same root, with the era of the share's handles; without
    /// one (`None`) that takes an earlier handover back. Nothing of the share may have changed since.
    pub async fn hand_over(
        &self,
        (parent, newest): (HeadName, &Head),
        era: Option<Era>,
        leadership: &mut Option<Leadership>,
    ) -> Result<(HeadName, Head), CommitError> {
        let leading = leadership.as_ref().ok_or(CommitError::NotLeading)?;
        let head = Head {
            epoch: leading.epoch(),
            sequence: leading.next_sequence(Some(&parent)),
            parent: Some(parent),
            published_at: self.clock.utc(),
            handover: era,
            statistics: CommitStatistics::default(),
            ..newest.clone()
        };
        let (durable, _) = upload_waiting(&self.repository, &self.ledger, self.uploads_max).await?;
        let name = self.publish(&head, &durable, leadership).await?;
        Ok((name, head))
    }
}

//! Handing a share over: a head that says that nothing follows it from here.

use tidegate_replicator::repository::{
    CommitStatistics, Era, Head, HeadName, Heat, KEPT_HEADS_MAX, Leadership,
};

use super::line::Parent;
use super::{CommitError, Committer};

impl Committer {
    /// Publishes the newest head once more, over the same root, with the era of the share's handles; without
    /// one (`None`) that takes an earlier handover back. Nothing of the share may have changed since.
    pub(crate) async fn hand_over(
        &self,
        (parent, newest): (HeadName, &Head),
        era: Option<Era>,
        leadership: &mut Option<Leadership>,
    ) -> Result<(HeadName, Head), CommitError> {
        let leading = leadership.as_ref().ok_or(CommitError::NotLeading)?;
        let (epoch, sequence) = (leading.epoch(), leading.next_sequence(Some(&parent)));
        let line = self.line(newest.share.id, Some(&Parent { name: parent, head: newest.clone() })).await?;
        // The ladder is left alone: what it would drop goes with the next commit.
        let kept = line.iter().copied().take(KEPT_HEADS_MAX).collect();
        let head = Head {
            epoch,
            sequence,
            kept,
            parent: Some(parent),
            turns: Head::turns_after(Some(parent), Some(newest), epoch),
            published_at: self.clock.utc(),
            handover: era,
            statistics: CommitStatistics::default(),
            heat: Heat::default(),
            heat_in: newest.heat_at(parent),
            ..newest.clone()
        };
        let (durable, _) = self.upload(Some(newest.share.domain)).await?;
        let name = self.publish(&head, &durable, leadership).await?;
        Ok((name, head))
    }
}

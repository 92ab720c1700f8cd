//! Publishing: what waits goes to the target, and a head follows the newest one of its line. For shares and for sources of
//! backup alike.

use std::sync::Arc;
use std::time::Instant;

use tidegate_chunker::DomainId;
use tidegate_replicator::repository::{
    CommitStatistics, DurableCommit, Head, HeadName, Incarnation, Leadership, PlanId, Published, Standing,
    Usage, UtcNanos,
};
use tidegate_replicator::tree::Root;

use super::line::passed;
use super::upload::{Sent, upload_waiting};
use super::{CommitError, Committer, Description};
use crate::heat::Meter;

/// What the next head of a line says; the line itself is added when it is published.
pub(crate) struct NextHead<'d> {
    pub(crate) description: &'d Description,
    pub(crate) root: Root,
    pub(crate) frozen_at: UtcNanos,
    pub(crate) incarnation: Incarnation,
    pub(crate) next_inode: u64,
    pub(crate) journal_sequence: u64,
    pub(crate) usage: Usage,
    /// What is known before anything is sent.
    pub(crate) statistics: CommitStatistics,
    /// The plans that were looked at before anything was counted as a duplicate.
    pub(crate) plans: Vec<PlanId>,
    /// Who knows what is used of it; none of what nobody reads.
    pub(crate) heat: Option<Arc<Meter>>,
}

impl Committer {
    /// Sends everything that waits, then publishes the head that follows `parent`. `leadership` comes back unless it is lost
    /// for good. `known` spares the read of the parent.
    pub(crate) async fn publish_next(
        &self,
        next: NextHead<'_>,
        parent: Option<HeadName>,
        known: Option<&(HeadName, Head)>,
        leadership: &mut Option<Leadership>,
        started: Instant,
    ) -> Result<(HeadName, Head), CommitError> {
        self.check_keys(next.description.share.domain, leadership).await?;
        let leading = leadership.as_ref().ok_or(CommitError::NotLeading)?;
        let (durable, sent) = self.upload(Some(next.description.share.domain)).await?;
        let statistics = CommitStatistics {
            bytes_uploaded: next.statistics.bytes_uploaded + sent.bytes,
            objects_uploaded: next.statistics.objects_uploaded + sent.objects + 1,
            duration_ms: started.elapsed().as_millis() as u64,
            ..next.statistics
        };
        let (epoch, sequence) = (leading.epoch(), leading.next_sequence(parent.as_ref()));
        let share = next.description.share.id;
        let before = self.parent(share, parent, known).await?;
        let line = self.line(share, before.as_ref()).await?;
        let (heat, heat_in) = self.heat(next.heat.as_deref(), before.as_ref(), &line, next.frozen_at);
        let kept = self.kept(share, &line, (next.frozen_at, heat_in), &sent).await?;
        let passed = passed(&line, &kept, before.as_ref(), leading);
        let head = Head {
            share: next.description.share.clone(),
            epoch,
            sequence,
            parent,
            root: next.root,
            frozen_at: next.frozen_at,
            published_at: self.clock.utc(),
            incarnation: next.incarnation,
            handover: None,
            keep_handles: next.description.kept_era,
            next_inode: next.next_inode,
            journal_sequence: next.journal_sequence,
            plans_honoured: next.plans,
            kept,
            passed,
            turns: Head::turns_after(parent, before.as_ref().map(|before| &before.head), epoch),
            settings: next.description.settings.clone(),
            usage: next.usage,
            heat,
            heat_in,
            totals: before.map(|before| before.head.totals).unwrap_or_default().and(&statistics),
            statistics,
        };
        let name = self.publish(&head, &durable, leadership).await?;
        Ok((name, head))
    }

    /// Whoever shreds a share takes its claims first: where there are no keys, it is looked whether this gateway leads still.
    async fn check_keys(
        &self,
        domain: DomainId,
        leadership: &mut Option<Leadership>,
    ) -> Result<(), CommitError> {
        let note = leadership.as_ref().ok_or(CommitError::NotLeading)?.note();
        if self.repository.domain_keys(domain).is_err()
            && let Standing::Superseded { by } = self.repository.resume(&note).await
        {
            *leadership = None;
            return Err(CommitError::Superseded { by });
        }
        Ok(())
    }

    /// Sends everything that waits; `domain` is that of whoever means to publish.
    pub(crate) async fn upload(
        &self,
        domain: Option<DomainId>,
    ) -> Result<(DurableCommit, Sent), CommitError> {
        let _uploading = self.uploading.lock().await;
        upload_waiting(&self.repository, &self.ledger, self.uploads_max, domain).await
    }

    /// Writes a head. `leadership` comes back unless it is lost for good.
    pub(super) async fn publish(
        &self,
        head: &Head,
        durable: &DurableCommit,
        leadership: &mut Option<Leadership>,
    ) -> Result<HeadName, CommitError> {
        let leading = leadership.take().ok_or(CommitError::NotLeading)?;
        let prepared = match self.repository.prepare_head(&leading, head) {
            Ok(prepared) => prepared,
            Err(error) => {
                *leadership = Some(leading);
                return Err(error.into());
            }
        };
        match self.repository.publish(leading, &prepared, durable).await {
            Published::Done(leading) => {
                *leadership = Some(leading);
                Ok(prepared.name())
            }
            Published::Superseded { by } => Err(CommitError::Superseded { by }),
            Published::Failed { leadership: leading, error } => {
                *leadership = Some(leading);
                Err(error.into())
            }
        }
    }
}

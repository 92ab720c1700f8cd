//! The line of heads, as whoever publishes goes on with it: what there was of it before the new head.

use std::time::Duration;

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{
    Head, HeadName, HeadStanding, KEPT_HEADS_MAX, KeptHead, Leadership, Opened, Repository, RepositoryError,
    UtcNanos,
};

use super::upload::Sent;
use super::{CommitError, Committer};

/// Heads at the front of a line that go although they are young: the ladder does not keep every head.
const YOUNG: usize = 2;
/// How far the clocks of this machine and of the store may differ.
const CLOCKS_APART_MAX: Duration = Duration::from_mins(15);

/// The head that the next one follows, as far as it can be read.
pub(super) struct Parent {
    pub(super) name: HeadName,
    pub(super) head: Head,
}

impl Committer {
    /// The parent of the next head. `known` spares the read when it is that head. A parent that is damaged or
    /// gone is passed over: its line cannot be gone on with, and everything older is then kept.
    pub(super) async fn parent(
        &self,
        share: ShareId,
        name: Option<HeadName>,
        known: Option<&(HeadName, Head)>,
    ) -> Result<Option<Parent>, CommitError> {
        let Some(name) = name else { return Ok(None) };
        if let Some((_, head)) = known.filter(|(known, _)| *known == name) {
            return Ok(Some(Parent { name, head: head.clone() }));
        }
        match self.repository.read_head(share, &name).await {
            Ok(head) => Ok(Some(Parent { name, head })),
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => Err(error.into()),
            Err(error) => {
                tracing::error!(%error, "the newest head cannot be read: which older ones are kept is not known any more");
                Ok(None)
            }
        }
    }

    /// All heads of the line that were kept up to now, newest first, the parent at the front.
    pub(super) async fn line(
        &self,
        share: ShareId,
        parent: Option<&Parent>,
    ) -> Result<Vec<KeptHead>, CommitError> {
        let Some(Parent { name, head }) = parent else { return Ok(Vec::new()) };
        let this = KeptHead { name: *name, frozen_at: head.frozen_at };
        if head.kept.is_empty() && head.parent.is_some() {
            // A program of old published it.
            return Ok(line_by_parents(&self.repository, share).await?);
        }
        Ok(std::iter::once(this).chain(head.kept.iter().copied()).collect())
    }
}

impl Committer {
    /// Which heads of the line are kept beside the next one: those of the ladder, what is being copied, and the one that
    /// says what was used lately. A head that would go only because it is old stays as long as this machine's clock and
    /// the store's do not agree.
    pub(super) async fn kept(
        &self,
        share: ShareId,
        line: &[KeptHead],
        (frozen_at, heat_in): (UtcNanos, Option<HeadName>),
        sent: &Sent,
    ) -> Result<Vec<KeptHead>, CommitError> {
        let on_ladder = self.ladder.keep(line, frozen_at);
        let stays = |head: &&KeptHead| {
            on_ladder.contains(head) || heat_in == Some(head.name) || self.copying.contains(share, &head.name)
        };
        let kept: Vec<KeptHead> = line.iter().filter(stays).take(KEPT_HEADS_MAX).copied().collect();
        let grows_old = line.iter().skip(YOUNG).any(|head| !kept.contains(head));
        if !grows_old || self.clocks_agree(sent).await? {
            return Ok(kept);
        }
        Ok(line.iter().copied().take(KEPT_HEADS_MAX).collect())
    }

    /// Whether the store dates what it has just been sent as this machine would.
    async fn clocks_agree(&self, sent: &Sent) -> Result<bool, CommitError> {
        let Some(pack) = sent.last else { return Ok(false) };
        let Some(modified) = self.repository.pack_modified(pack).await? else { return Ok(false) };
        let apart = UtcNanos::from(modified).as_nanos().abs_diff(self.clock.utc().as_nanos());
        let agree = u128::from(apart) <= CLOCKS_APART_MAX.as_nanos();
        if !agree {
            let seconds = Duration::from_nanos(apart).as_secs();
            tracing::error!(
                seconds,
                "the clocks of this machine and of the store differ: no head is removed for its age"
            );
        }
        Ok(agree)
    }
}

/// What the next head names as passed: what it keeps no more, what its parent could not see removed, and heads
/// of which nobody knows whether they were stored.
pub(super) fn passed(
    line: &[KeptHead],
    kept: &[KeptHead],
    parent: Option<&Parent>,
    leading: &Leadership,
) -> Vec<HeadName> {
    let dropped = line.iter().filter(|head| !kept.contains(head)).map(|head| head.name);
    let earlier = parent.into_iter().flat_map(|parent| parent.head.passed.iter().copied());
    let mut passed: Vec<HeadName> =
        dropped.chain(leading.uncertain().iter().copied()).chain(earlier).collect();
    passed.truncate(KEPT_HEADS_MAX);
    passed
}

/// The line as its parents tell it.
async fn line_by_parents(
    repository: &Repository<Opened>,
    share: ShareId,
) -> Result<Vec<KeptHead>, RepositoryError> {
    let listed = repository.list_heads(share, usize::MAX).await?;
    let on_line = |standing| matches!(standing, HeadStanding::Newest | HeadStanding::Ancestor);
    let kept = listed
        .into_iter()
        .filter(|listed| on_line(listed.standing))
        .filter_map(|listed| Some(KeptHead { name: listed.name, frozen_at: listed.head.ok()?.frozen_at }));
    Ok(kept.take(KEPT_HEADS_MAX).collect())
}

//! The line of heads, as whoever publishes goes on with it: what there was of it before the new head.

use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{
    Head, HeadName, HeadStanding, KEPT_HEADS_MAX, KeptHead, Opened, Repository, RepositoryError,
};

use super::{CommitError, Committer};

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

//! The index on a copy: objects come with their packs, and go when the lead has them no more.
//!
//! Whatever a merge or a collection writes anew on the lead comes under a new name, and what it was made of goes. That an object
//! is gone from the lead does not tell that from a loss, so an object of the copy goes only once other objects of the copy are seen
//! to say all that it says, but for packs that the copy has no more. One that says something of its own stays, and is looked at
//! again later and later.
//!
//! Bounds: [`ENTRIES_MAX`] entries of objects that may go, and one object more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{DomainId, ObjectKind, PackId};
use tokio::time::Instant;

use super::objects::copy_control;
use super::pass::checkpoint;
use super::{Mirror, MirrorError, PassReport};
use crate::observer::Observer;
use crate::repository::names::INDEX;
use crate::repository::{IndexEntry, IndexName, IndexObject, RepositoryError};
use crate::store::LIST_LIMIT_MAX;

/// How often the index is listed in one pass.
const LISTINGS_MAX: u32 = 16;

/// How many entries of objects that may go are held against the others in one pass; the rest waits for the next.
const ENTRIES_MAX: usize = 1 << 17;
/// When an object that says something of its own is looked at again: at first, and at most.
const LOOK_AGAIN_FIRST: Duration = Duration::from_hours(1);
const LOOK_AGAIN_MAX: Duration = Duration::from_hours(7 * 24);

/// What copying the index has shown.
#[derive(Debug)]
pub(super) struct CopiedIndex {
    /// Objects of the copy that the lead has not.
    gone: BTreeSet<IndexName>,
    /// Objects that have come to the copy.
    brought: Vec<IndexName>,
    /// Objects that both had before.
    common: Vec<IndexName>,
}

/// Objects of the copy that the lead has not, and that say something of their own: when each is looked at again, and after how
/// long it was this time.
pub(super) type Kept = BTreeMap<IndexName, (Instant, Duration)>;

/// Entries of objects that may go, in order, each with the place of its object among those.
type Unsaid = Vec<(IndexEntry, usize)>;

impl Mirror {
    /// The index objects that the copy has.
    pub(super) async fn index_of_copy(&self) -> Result<BTreeSet<IndexName>, MirrorError> {
        Ok(self.copy.legible_index_names().await?.into_iter().collect())
    }

    /// Index objects that the copy lacks, each after its packs.
    ///
    /// What heads that were listed before need was in the index before the first listing, and is named by what that showed
    /// or by what was merged of it since. So it goes on while something vanishes, and lists twice at least: a merge
    /// amid the pages of a listing may show neither what it read nor what it wrote. What is new for other reasons is left
    /// to the next pass, or somebody who commits faster than this copies would hold it up for ever.
    ///
    /// `there` is what the copy had before heads and claims were looked at: who begins to publish there later has an object in it
    /// only if his claim was seen.
    pub(super) async fn copy_index(
        &mut self,
        there: &BTreeSet<IndexName>,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<CopiedIndex, MirrorError> {
        let (mut seen, mut brought) = (there.clone(), Vec::new());
        for listing in 0..LISTINGS_MAX {
            let wanted: BTreeSet<IndexName> = self.lead.legible_index_names().await?.into_iter().collect();
            let new: Vec<IndexName> = wanted.difference(&seen).copied().collect();
            if !new.is_empty() {
                report.objects += self.copy_domains().await?;
            }
            let mut has_vanished = false;
            for name in new {
                checkpoint(observer)?;
                seen.insert(name);
                match self.copy_index_object(name, report, observer).await? {
                    Came::Yes => brought.push(name),
                    Came::No => {}
                    Came::Vanished => has_vanished = true,
                }
            }
            if listing > 0 && !has_vanished {
                let gone = there.difference(&wanted).copied().collect();
                let common = there.intersection(&wanted).copied().collect();
                return Ok(CopiedIndex { gone, brought, common });
            }
        }
        Err(RepositoryError::damaged(INDEX, "it changes faster than it can be copied").into())
    }

    async fn copy_index_object(
        &mut self,
        name: IndexName,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<Came, MirrorError> {
        let object = match self.lead.read_index_object(name).await.map_err(MirrorError::from) {
            Ok(object) => object,
            Err(error) if error.is_missing() => return Ok(Came::Vanished),
            Err(error) if error.is_of_one_object() => {
                report.damaged.push(error.to_string());
                self.carry_all_packs(report, observer).await?;
                return Ok(Came::No);
            }
            Err(error) => return Err(error),
        };
        let packs = self.with_keys(&object).await?;
        if !self.carry(packs, report, observer).await? {
            return Ok(Came::No);
        }
        match copy_control(&self.lead, &self.copy, ObjectKind::Index, &name.object()).await {
            Err(error) if error.is_missing() => Ok(Came::Vanished),
            Err(error) => Err(error),
            Ok(()) => {
                report.objects += 1;
                Ok(Came::Yes)
            }
        }
    }

    /// The packs that an index object names, but for those of a domain whose keys were destroyed: they open for nobody.
    async fn with_keys(&self, object: &IndexObject) -> Result<BTreeSet<PackId>, MirrorError> {
        let mut packs: BTreeSet<PackId> = object.packs().collect();
        let known: BTreeSet<DomainId> = self.lead.domains().into_iter().map(|(domain, _)| domain).collect();
        let mut gone: BTreeMap<DomainId, bool> = BTreeMap::new();
        for entry in object.entries().filter(|entry| !known.contains(&entry.domain)) {
            let is_gone = match gone.get(&entry.domain) {
                Some(is_gone) => *is_gone,
                None => self.lead.is_shredded(entry.domain).await?,
            };
            gone.insert(entry.domain, is_gone);
            if is_gone {
                packs.remove(&entry.location.pack);
            }
        }
        Ok(packs)
    }

    /// What an index object that does not open may have named.
    async fn carry_all_packs(
        &mut self,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<(), MirrorError> {
        let mut after = None;
        loop {
            let (packs, more) = self.lead.list_packs(after, LIST_LIMIT_MAX).await?;
            after = packs.last().copied().or(after);
            self.carry(packs.into_iter().collect(), report, observer).await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Deletes from the copy what the lead has no more, as the head of this file says. To be called when packs have been deleted.
    pub(super) async fn drop_gone(
        &mut self,
        index: CopiedIndex,
        observer: &dyn Observer,
    ) -> Result<(), MirrorError> {
        let (now, CopiedIndex { gone, brought, common }) = (Instant::now(), index);
        self.index_kept.retain(|name, _| gone.contains(name));
        let (mut going, mut unsaid) = (Vec::new(), Unsaid::new());
        for name in gone {
            if unsaid.len() >= ENTRIES_MAX
                || self.index_kept.get(&name).is_some_and(|(until, _)| *until > now)
            {
                continue;
            }
            checkpoint(observer)?;
            match self.copy.read_index_object(name).await {
                Ok(object) => {
                    unsaid.extend(object.entries().map(|entry| (entry, going.len())));
                    going.push(name);
                }
                Err(RepositoryError::Missing { .. }) => {}
                Err(error) if is_of_store(&error) => return Err(error.into()),
                // Nobody knows what it says.
                Err(_) => self.keep(name),
            }
        }
        unsaid.sort_unstable();
        self.strike(&mut unsaid, brought, observer).await?;
        let there = self.packs_there(&unsaid).await?;
        unsaid.retain(|(entry, _)| there.contains(&entry.location.pack));
        self.strike(&mut unsaid, common, observer).await?;
        let stays: BTreeSet<usize> = unsaid.into_iter().map(|(_, place)| place).collect();
        for (place, name) in going.into_iter().enumerate() {
            if stays.contains(&place) {
                self.keep(name);
            } else {
                self.copy.store().delete(&name.object()).await?;
                self.index_kept.remove(&name);
            }
        }
        Ok(())
    }

    /// An object stays, and is looked at again after twice as long as the last time.
    fn keep(&mut self, name: IndexName) {
        let last = self.index_kept.get(&name).map(|(_, after)| *after);
        let after = last.map_or(LOOK_AGAIN_FIRST, |after| LOOK_AGAIN_MAX.min(2 * after));
        self.index_kept.insert(name, (Instant::now() + after, after));
    }

    /// Takes out what these objects say, as the copy has them.
    async fn strike(
        &self,
        unsaid: &mut Unsaid,
        objects: Vec<IndexName>,
        observer: &dyn Observer,
    ) -> Result<(), MirrorError> {
        for name in objects {
            if unsaid.is_empty() {
                return Ok(());
            }
            checkpoint(observer)?;
            match self.copy.read_index_object(name).await {
                Ok(object) => {
                    let mut said = object.entries().peekable();
                    unsaid.retain(|(entry, _)| {
                        while said.next_if(|other| other < entry).is_some() {}
                        said.peek() != Some(entry)
                    });
                }
                Err(error) if is_of_store(&error) => return Err(error.into()),
                // Gone meanwhile, or damaged: it says nothing.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The packs of these entries that the copy has.
    async fn packs_there(&self, unsaid: &Unsaid) -> Result<BTreeSet<PackId>, MirrorError> {
        let packs: BTreeSet<PackId> = unsaid.iter().map(|(entry, _)| entry.location.pack).collect();
        let looks = packs.into_iter().map(|pack| async move {
            Ok::<_, MirrorError>(self.copy.pack_modified(pack).await?.map(|_| pack))
        });
        let looks: Vec<_> = looks.collect();
        let looks = stream::iter(looks).buffer_unordered(self.options.parallel.max(1));
        let there: Vec<Option<PackId>> = looks.try_collect().await?;
        Ok(there.into_iter().flatten().collect())
    }
}

/// Whether an object has come to the copy.
enum Came {
    Yes,
    /// Not everything that it names is there, or it does not open.
    No,
    /// It was merged into another meanwhile, which the next listing shows.
    Vanished,
}

fn is_of_store(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Store(_) | RepositoryError::Local { .. })
}

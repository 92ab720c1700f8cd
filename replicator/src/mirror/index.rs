//! The index on a copy: objects come with their packs, and go when the lead has them no more.
//!
//! Whatever a merge or a collection writes anew on the lead comes under a new name, which says whose place it takes. What it
//! replaces goes from the copy in the same pass, if that may delete anything at all. Else, and where the lead has replaced
//! something twice between two passes, nothing names it any more: it is *left*. Such an object goes too, once the index of the
//! lead is seen to name every pack of it that the copy still has. An object that names another pack stays: only the copy may know
//! what it says, or the lead has lost a part of its index.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::{DomainId, ObjectKind, PackId};

use super::objects::copy_control;
use super::pass::checkpoint;
use super::{Mirror, MirrorError, PassReport};
use crate::observer::Observer;
use crate::repository::names::INDEX;
use crate::repository::{IndexName, IndexObject, RepositoryError};
use crate::store::LIST_LIMIT_MAX;

/// How often the index is listed in one pass.
const LISTINGS_MAX: u32 = 16;

/// What copying the index has shown.
#[derive(Debug, Default)]
pub(super) struct CopiedIndex {
    /// Objects of the copy that one which has just come replaces.
    replaced: BTreeSet<IndexName>,
    /// Other objects of the copy that the lead has not.
    left: Vec<IndexName>,
    /// Objects that both had before.
    common: Vec<IndexName>,
}

impl CopiedIndex {
    fn new(there: &BTreeSet<IndexName>, wanted: &BTreeSet<IndexName>, replaced: BTreeSet<IndexName>) -> Self {
        let left = there.difference(wanted).filter(|name| !replaced.contains(name)).copied().collect();
        Self { left, common: there.intersection(wanted).copied().collect(), replaced }
    }
}

impl Mirror {
    /// Index objects that the copy lacks, each after its packs.
    ///
    /// What heads that were listed before need was in the index before the first listing, and is named by what that showed
    /// or by what was merged of it since. So it goes on while something vanishes, and lists twice at least: a merge
    /// amid the pages of a listing may show neither what it read nor what it wrote. What is new for other reasons is left
    /// to the next pass, or somebody who commits faster than this copies would hold it up for ever.
    pub(super) async fn copy_index(
        &mut self,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<CopiedIndex, MirrorError> {
        let there: BTreeSet<IndexName> = self.copy.legible_index_names().await?.into_iter().collect();
        let (mut seen, mut replaced) = (there.clone(), BTreeSet::new());
        for listing in 0..LISTINGS_MAX {
            let wanted: BTreeSet<IndexName> = self.lead.legible_index_names().await?.into_iter().collect();
            let new: Vec<IndexName> = wanted.difference(&seen).copied().collect();
            if new.is_empty() {
                return Ok(CopiedIndex::new(&there, &wanted, replaced));
            }
            report.objects += self.copy_domains().await?;
            let mut has_vanished = false;
            for name in new {
                checkpoint(observer)?;
                seen.insert(name);
                match self.copy_index_object(name, report, observer).await? {
                    None => has_vanished = true,
                    Some(old) => {
                        let is_gone = |old: &IndexName| there.contains(old) && !wanted.contains(old);
                        replaced.extend(old.into_iter().filter(is_gone));
                    }
                }
            }
            if listing > 0 && !has_vanished {
                return Ok(CopiedIndex::new(&there, &wanted, replaced));
            }
        }
        Err(RepositoryError::damaged(INDEX, "it changes faster than it can be copied").into())
    }

    /// Gives the names of the objects that this one replaces; none if it has vanished, merged into another.
    async fn copy_index_object(
        &mut self,
        name: IndexName,
        report: &mut PassReport,
        observer: &dyn Observer,
    ) -> Result<Option<Vec<IndexName>>, MirrorError> {
        let object = match self.lead.read_index_object(name).await.map_err(MirrorError::from) {
            Ok(object) => object,
            // What it was merged into the next listing shows.
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) if error.is_of_one_object() => {
                report.damaged.push(error.to_string());
                self.carry_all_packs(report, observer).await?;
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let packs = self.with_keys(&object).await?;
        if !self.carry(packs, report, observer).await? {
            return Ok(Some(Vec::new()));
        }
        match copy_control(&self.lead, &self.copy, ObjectKind::Index, &name.object()).await {
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
            Ok(()) => {
                report.objects += 1;
                self.indexed.extend(object.packs());
                Ok(Some(object.replaces().to_vec()))
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

    /// Deletes what objects that have just come replace.
    pub(super) async fn drop_replaced(&self, index: &CopiedIndex) -> Result<(), MirrorError> {
        for name in &index.replaced {
            self.copy.store().delete(&name.object()).await?;
        }
        Ok(())
    }

    /// Deletes objects that were left, as the head of this file says. To be called when packs have been deleted. What stays is not
    /// looked at again by this mirror.
    pub(super) async fn drop_left(
        &mut self,
        index: CopiedIndex,
        observer: &dyn Observer,
    ) -> Result<(), MirrorError> {
        let mut left = Vec::new();
        for name in index.left {
            checkpoint(observer)?;
            if self.index_kept.contains(&name) {
                continue;
            }
            match self.copy.read_index_object(name).await {
                Ok(object) => {
                    let packs = object.packs().filter(|pack| !self.indexed.contains(pack));
                    left.push((name, packs.collect::<BTreeSet<PackId>>()));
                }
                Err(RepositoryError::Missing { .. }) => {}
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error.into());
                }
                Err(_) => {
                    self.index_kept.insert(name);
                }
            }
        }
        let unknown = left.iter().flat_map(|(_, packs)| packs).copied().collect();
        let unknown = self.named_by_none(unknown, index.common, observer).await?;
        for (name, packs) in left {
            if packs.is_disjoint(&unknown) {
                self.copy.store().delete(&name.object()).await?;
            } else {
                self.index_kept.insert(name);
            }
        }
        Ok(())
    }

    /// Those of these packs that are on the copy, and that none of these objects of the lead names.
    async fn named_by_none(
        &self,
        packs: BTreeSet<PackId>,
        objects: Vec<IndexName>,
        observer: &dyn Observer,
    ) -> Result<BTreeSet<PackId>, MirrorError> {
        let looks = packs.into_iter().map(|pack| async move {
            Ok::<_, MirrorError>(self.copy.pack_modified(pack).await?.map(|_| pack))
        });
        let looks: Vec<_> = looks.collect();
        let looks = stream::iter(looks).buffer_unordered(self.options.parallel.max(1));
        let there: Vec<Option<PackId>> = looks.try_collect().await?;
        let mut packs: BTreeSet<PackId> = there.into_iter().flatten().collect();
        for name in objects {
            if packs.is_empty() {
                break;
            }
            checkpoint(observer)?;
            match self.lead.read_index_object(name).await {
                Ok(object) => {
                    for pack in object.packs() {
                        packs.remove(&pack);
                    }
                }
                Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                    return Err(error.into());
                }
                // Merged away meanwhile, or damaged: what it names is not known to be named.
                Err(_) => {}
            }
        }
        Ok(packs)
    }
}

//! The index on a copy: objects come with their packs, and go when the lead has them no more.
//!
//! Whatever a merge or a collection writes anew on the lead comes under a new name, and what it was made of goes. That an object
//! is gone from the lead does not tell that from a loss, so an object of the copy goes only once other objects of the copy are seen
//! to say all that it says, but for packs that the copy has no more. Which those are, objects that have just come tell by what they
//! replace; where they do not (the lead has replaced something twice between two passes, a pass died), all others are asked, now and
//! then. What says something of its own stays.
//!
//! Bounds: [`ENTRIES_MAX`] entries of objects that may go, and two objects more.

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
use crate::store::{ErrorKind, LIST_LIMIT_MAX};

/// How often the index is listed in one pass.
const LISTINGS_MAX: u32 = 16;

/// How many entries of objects that may go are held against the others together.
const ENTRIES_MAX: usize = 1 << 17;
/// Packs that are looked for together.
const PACKS_AT_ONCE: usize = 1000;
/// When all others are asked again: at first, and at most, as long as that is in vain.
const ASK_AGAIN_FIRST: Duration = Duration::from_hours(1);
const ASK_AGAIN_MAX: Duration = Duration::from_hours(7 * 24);

/// What copying the index has shown.
#[derive(Debug)]
pub(super) struct CopiedIndex {
    /// Objects of the copy that the lead has not.
    gone: BTreeSet<IndexName>,
    /// Objects that have come to the copy, with what they say that they replace.
    brought: BTreeMap<IndexName, Vec<IndexName>>,
    /// Objects that both had before.
    common: Vec<IndexName>,
}

/// When all objects were last asked about those that are left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Instant,
    /// After how long they are asked again.
    after: Duration,
    /// The last that they were asked about: there may be too many for one time.
    about: Option<IndexName>,
}

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
        let (mut seen, mut brought) = (there.clone(), BTreeMap::new());
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
                    Came::Replacing(old) => drop(brought.insert(name, old)),
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
                Ok(Came::Replacing(object.replaces().to_vec()))
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
        let CopiedIndex { gone, brought, common } = index;
        let mut replacers: BTreeMap<IndexName, Vec<IndexName>> = BTreeMap::new();
        for (name, old) in &brought {
            for old in old.iter().filter(|old| gone.contains(old)) {
                replacers.entry(*old).or_default().push(*name);
            }
        }
        let (mut named, mut left): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|name| replacers.contains_key(name));
        while !named.is_empty() {
            let (going, mut unsaid) = self.read_together(&mut named, observer).await?;
            let by: BTreeSet<IndexName> =
                going.iter().filter_map(|name| replacers.get(name)).flatten().copied().collect();
            self.strike(&mut unsaid, by, observer).await?;
            self.strike_without_packs(&mut unsaid).await?;
            self.strike(&mut unsaid, brought.keys().copied(), observer).await?;
            self.drop_said(going, unsaid).await?;
        }
        let asked = self.asked.filter(|asked| asked.at.elapsed() < asked.after);
        if asked.is_some() || left.is_empty() {
            return Ok(());
        }
        if let Some(about) = self.asked.and_then(|asked| asked.about) {
            let below = left.partition_point(|name| *name < about);
            left.rotate_left(below);
        }
        let (going, mut unsaid) = self.read_together(&mut left, observer).await?;
        let about = going.last().copied();
        self.strike_without_packs(&mut unsaid).await?;
        self.strike(&mut unsaid, brought.into_keys().chain(common), observer).await?;
        let dropped = self.drop_said(going, unsaid).await?;
        let in_vain = self.asked.filter(|_| dropped == 0).map(|asked| ASK_AGAIN_MAX.min(2 * asked.after));
        self.asked = Some(Asked { at: Instant::now(), after: in_vain.unwrap_or(ASK_AGAIN_FIRST), about });
        Ok(())
    }

    /// Deletes objects of which nothing is left unsaid; tells how many that were.
    async fn drop_said(&self, going: Vec<IndexName>, unsaid: Unsaid) -> Result<usize, MirrorError> {
        let stays: BTreeSet<usize> = unsaid.into_iter().map(|(_, place)| place).collect();
        let mut dropped = 0;
        let goes = |(place, name)| (!stays.contains(&place)).then_some(name);
        for name in going.into_iter().enumerate().filter_map(goes) {
            match self.copy.store().delete(&name.object()).await {
                Ok(()) => dropped += 1,
                Err(error) if error.kind() == ErrorKind::Transient => return Err(error.into()),
                Err(error) => tracing::warn!(%error, "an index object cannot be deleted from a copy"),
            }
        }
        Ok(dropped)
    }

    /// Reads objects of the copy, from the end, until it is enough; those that do not open stay where they are.
    async fn read_together(
        &self,
        waiting: &mut Vec<IndexName>,
        observer: &dyn Observer,
    ) -> Result<(Vec<IndexName>, Unsaid), MirrorError> {
        let (mut going, mut unsaid) = (Vec::new(), Unsaid::new());
        while unsaid.len() < ENTRIES_MAX
            && let Some(name) = waiting.pop()
        {
            checkpoint(observer)?;
            match self.copy.read_index_object(name).await {
                Ok(object) => {
                    unsaid.extend(object.entries().map(|entry| (entry, going.len())));
                    going.push(name);
                }
                Err(error) if error.is_transient() => return Err(error.into()),
                Err(_) => {}
            }
        }
        unsaid.sort_unstable();
        Ok((going, unsaid))
    }

    /// Takes out what these objects say, as the copy has them.
    async fn strike(
        &self,
        unsaid: &mut Unsaid,
        objects: impl IntoIterator<Item = IndexName>,
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
                Err(error) if error.is_transient() => return Err(error.into()),
                // Gone meanwhile, or damaged: it says nothing.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Takes out what is said of packs that the copy has no more, or that only a lock or a storage class keeps there.
    async fn strike_without_packs(&self, unsaid: &mut Unsaid) -> Result<(), MirrorError> {
        let mut packs: BTreeSet<PackId> = unsaid.iter().map(|(entry, _)| entry.location.pack).collect();
        for pack in self.still_held.values().flat_map(|held| &held.packs) {
            packs.remove(pack);
        }
        let packs: Vec<PackId> = packs.into_iter().collect();
        let mut there = BTreeSet::new();
        for some in packs.chunks(PACKS_AT_ONCE) {
            let looks = some.iter().map(|pack| async {
                let is_there = self.held.contains(pack) || self.copy.pack_modified(*pack).await?.is_some();
                Ok::<_, MirrorError>(is_there.then_some(*pack))
            });
            let looks: Vec<_> = looks.collect();
            let looks = stream::iter(looks).buffer_unordered(self.options.parallel.max(1));
            there.extend(looks.try_collect::<Vec<_>>().await?.into_iter().flatten());
        }
        unsaid.retain(|(entry, _)| there.contains(&entry.location.pack));
        Ok(())
    }
}

/// Whether an object has come to the copy.
enum Came {
    /// And says that it replaces these.
    Replacing(Vec<IndexName>),
    /// Not everything that it names is there, or it does not open.
    No,
    /// It was merged into another meanwhile, which the next listing shows.
    Vanished,
}

//! Rounds over the targets that follow: each has a book of its own, and goes evenly over the same time as the lead's.
//!
//! What is missing or damaged on a copy is put back whole, from here or from another target; nothing is ever sealed anew there,
//! since a copy has the objects of its lead. What nobody has whole is named in the copy's book, and asked for again every
//! [`ScrubConfig::look_every`]. That packs are gone from a copy is looked for when a round begins.
//!
//! A copy that does not answer keeps no other from its turn. That it is away is told of by its own alarm; that its round is
//! late, by the scrub's.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_chunker::PackId;
use tidegate_replicator::collect::{Observer, VoidPacks};
use tidegate_replicator::repository::{Opened, PackObject, Repository};
use tidegate_replicator::scrub::{Examined, Examiner, Inventory, heal, missing_packs};

use super::book::{Book, Passed};
use super::copies::LocalCopies;
use super::{LIST_PAGE, ScrubConfig, Scrubber};
use crate::appliance::{ApplianceError, CopyTarget};
use crate::outbound::with_causes;

/// What is known of a copy.
#[derive(Debug, Default)]
pub(super) struct OfCopy {
    book: Book,
    /// Why its round did not go on the last time.
    failure: Option<String>,
    /// What collections have condemned by its own plans, as far as they were read.
    void: Arc<tokio::sync::Mutex<VoidPacks>>,
}

/// The repository as a copy has it.
struct Followed<'a> {
    config: &'a ScrubConfig,
    target: &'a CopyTarget,
    repository: Arc<Repository<Opened>>,
    examiner: Examiner,
}

impl Scrubber {
    /// Does what is due of each copy; all of a round, with `at_once`.
    pub(super) async fn go_over_copies(
        &self,
        config: &ScrubConfig,
        at_once: bool,
        observer: &dyn Observer,
    ) -> Result<(), ApplianceError> {
        if !config.copies {
            return Ok(());
        }
        for target in self.appliance.copies.targets() {
            if observer.is_cancelled() {
                return Ok(());
            }
            let failure = match self.go_over_copy(config, &target, at_once, observer).await {
                Ok(()) => None,
                Err(error @ ApplianceError::ScrubBook { .. }) => return Err(error),
                Err(error) => Some(with_causes(&error)),
            };
            if let Some(why) = &failure {
                tracing::debug!(target_name = target.name, why, "the round over a copy could not go on");
            }
            if let Some(known) = self.copies.lock().get_mut(&target.name) {
                known.failure = failure;
            }
        }
        Ok(())
    }

    async fn go_over_copy(
        &self,
        config: &ScrubConfig,
        target: &CopyTarget,
        at_once: bool,
        observer: &dyn Observer,
    ) -> Result<(), ApplianceError> {
        let now = self.now_seconds();
        let has_rounds = config.every.is_some();
        let is_due = self.with_book(config, target, |book| has_rounds && book.round_is_due(now, config));
        let begins = at_once || is_due;
        let pack_is_due =
            self.with_book(config, target, |book| has_rounds && book.pack_is_due(now, 0, config));
        let looks = self.with_book(config, target, |book| book.has_wounds() && book.look_is_due(now, config));
        // Nothing is asked of it while no pack can be due.
        if !begins && !pack_is_due && !looks {
            return Ok(());
        }
        let repository = Arc::new(self.appliance.backend.repository.apart(target.store.clone()).await?);
        let examiner = Examiner::new(repository.clone());
        let followed = Followed { config, target, repository, examiner };
        if begins {
            self.begin_round_over(&followed).await?;
        } else if looks {
            self.look_again_over(&followed).await?;
        }
        if begins || pack_is_due {
            self.go_on_over(&followed, at_once, observer).await?;
        }
        Ok(())
    }

    /// What could be put back from no other target may be had from one by now.
    async fn look_again_over(&self, followed: &Followed<'_>) -> Result<(), ApplianceError> {
        let Followed { config, target, repository, .. } = followed;
        if self.with_book(config, target, |book| !book.unreadable.is_empty()) {
            let spoilt = self.look_at_heads(repository, &target.store).await?;
            self.note_of(config, target, |book| book.heads_read(spoilt.as_deref()))?;
        }
        for pack in self.with_book(config, target, Book::ask_again) {
            match self.examine_on(followed, (pack, false)).await {
                // It is known to be lost until it can be read.
                Err(ApplianceError::Repository(error)) if error.is_asleep() => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        let now = self.now_seconds();
        self.note_of(config, target, |book| book.looked(now))
    }

    async fn begin_round_over(&self, followed: &Followed<'_>) -> Result<(), ApplianceError> {
        let Followed { config, target, repository, .. } = followed;
        let inventory = Inventory::take(repository).await?;
        let spoilt = self.look_at_heads(repository, &target.store).await?;
        let missing = missing_packs(repository).await?;
        self.note_of(config, target, |book| {
            book.begin_round(self.now_seconds(), inventory, &target.store.address());
            book.heads_read(spoilt.as_deref());
            book.looked(self.now_seconds());
        })?;
        for pack in self.with_book(config, target, |book| book.lost_packs()) {
            // What was deleted since, and what nothing names any more, is lost to nobody.
            if !missing.contains(&pack) && repository.pack_modified(pack).await?.is_none() {
                self.note_of(config, target, |book| book.is_whole(pack))?;
            }
        }
        for pack in missing {
            self.examine_on(followed, (pack, true)).await?;
        }
        Ok(())
    }

    /// Goes through packs in order of id for as long as the next one is due.
    async fn go_on_over(
        &self,
        followed: &Followed<'_>,
        at_once: bool,
        observer: &dyn Observer,
    ) -> Result<(), ApplianceError> {
        let Followed { config, target, repository, .. } = followed;
        loop {
            let after = self.with_book(config, target, |book| book.position());
            let (page, more) = repository.list_pack_objects(after, LIST_PAGE).await?;
            let listed: Vec<PackId> = page.iter().map(|pack| pack.id).collect();
            let void = self.condemned_on(followed, &listed).await?;
            for PackObject { id: pack, bytes, class, .. } in page {
                let now = self.now_seconds();
                let is_due =
                    at_once || self.with_book(config, target, |book| book.pack_is_due(now, bytes, config));
                if observer.is_cancelled() || !is_due {
                    return Ok(());
                }
                let passed = if void.contains(&pack) {
                    Passed::Condemned
                } else if config.classes.sleeps(class.as_ref()) {
                    Passed::Asleep
                } else {
                    match self.examine_on(followed, (pack, true)).await {
                        Err(ApplianceError::Repository(error)) if error.is_asleep() => Passed::Asleep,
                        examined => Passed::Read(examined?),
                    }
                };
                let place = target.store.address();
                self.note_of(config, target, |book| book.passed(pack, bytes, passed, &place))?;
                observer.advanced(bytes);
            }
            if !more {
                let ended = self.now_seconds();
                return self.note_of(config, target, |book| book.end_round(ended));
            }
        }
    }

    /// Looks at one pack of a copy, in a round or not, and puts it back whole.
    async fn examine_on(
        &self,
        followed: &Followed<'_>,
        (pack, in_round): (PackId, bool),
    ) -> Result<Examined, ApplianceError> {
        let Followed { config, target, repository, examiner } = followed;
        let copies = LocalCopies::new(&self.appliance.backend, self.others(&target.store), false);
        let (examined, wounds) = examiner.examine(pack, &copies).await?;
        let Some(mut wounds) = wounds else {
            self.note_of(config, target, |book| book.is_whole(pack))?;
            return Ok(examined);
        };
        if self.condemned_on(followed, &[pack]).await?.contains(&pack) {
            // A collection has condemned it since it was listed: a pass may have deleted it, or its keys are gone.
            self.note_of(config, target, |book| book.is_whole(pack))?;
            return Ok(examined);
        }
        let (target_name, what) = (&target.name, if wounds.is_missing { "missing" } else { "damaged" });
        tracing::error!(%pack, target_name, ends = wounds.ends, "a pack on a copy is {what}");
        let is_needed = self.look_up(repository, &mut wounds).await?;
        let healed = {
            let _no_copies = self.appliance.heals.write().await;
            heal(examiner, wounds, &copies, &config.folder).await?
        };
        if healed.whole {
            tracing::warn!(%pack, target_name, "the pack is on the copy again as it was");
        }
        let now = self.now_seconds();
        self.note_of(config, target, |book| {
            book.was_wounded(pack, &healed, now, in_round);
            if !is_needed {
                book.drop_lost(|frame| frame.pack == pack && frame.is_of_whole_pack());
            }
        })?;
        Ok(examined)
    }

    /// Those of these packs that collections have condemned by the plans of the lead, or by those of the copy: each may have
    /// some that the other has not yet.
    async fn condemned_on(
        &self,
        followed: &Followed<'_>,
        packs: &[PackId],
    ) -> Result<BTreeSet<PackId>, ApplianceError> {
        let Followed { config, target, repository, .. } = followed;
        let mut found = self.condemned(packs).await?;
        let void = self.with_copy(config, target, |known| known.void.clone());
        let mut void = void.lock().await;
        void.refresh(repository).await?;
        found.extend(packs.iter().copied().filter(|pack| void.contains(pack)));
        Ok(found)
    }

    /// Uses what is known of a copy.
    fn with_copy<T>(
        &self,
        config: &ScrubConfig,
        target: &CopyTarget,
        work: impl FnOnce(&mut OfCopy) -> T,
    ) -> T {
        let (mut copies, place) = (self.copies.lock(), target.store.address());
        let load =
            || OfCopy { book: Book::load_of_copy(&config.folder, &target.name, &place), ..OfCopy::default() };
        let known = copies.entry(target.name.clone()).or_insert_with(load);
        if !known.book.is_of(&place) {
            *known = OfCopy::default();
        }
        work(known)
    }

    /// Uses the book of a copy.
    fn with_book<T>(
        &self,
        config: &ScrubConfig,
        target: &CopyTarget,
        work: impl FnOnce(&mut Book) -> T,
    ) -> T {
        self.with_copy(config, target, |known| work(&mut known.book))
    }

    /// Changes the book of a copy, and writes it.
    fn note_of(
        &self,
        config: &ScrubConfig,
        target: &CopyTarget,
        change: impl FnOnce(&mut Book),
    ) -> Result<(), ApplianceError> {
        let stored = self.with_book(config, target, |book| {
            change(book);
            book.store_of_copy(&config.folder, &target.name)
        });
        stored.map_err(|source| ApplianceError::ScrubBook { folder: config.folder.clone(), source })
    }

    /// The books of all copies by name, each with why its round does not go on.
    pub(super) fn books_of_copies(&self, config: &ScrubConfig) -> Vec<(String, Book, Option<String>)> {
        if !config.copies {
            return Vec::new();
        }
        let of = |target: CopyTarget| {
            let book = self.with_book(config, &target, |book| book.clone());
            let failure = self.copies.lock().get(&target.name).and_then(|known| known.failure.clone());
            (target.name, book, failure)
        };
        self.appliance.copies.targets().into_iter().map(of).collect()
    }
}

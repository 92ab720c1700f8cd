//! Promotion: a copy of the repository begins to lead.
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | hold | takes the right to publish of every share; nothing is published from here until the end | nothing |
//! | drain | a last commit of each share, and a last pass over the copy; not when the lead is lost | nothing |
//! | look | the copy has the newest head of every share that is led here, and every pack that is not here; it is given the keys that it lacks | nothing that matters |
//! | forget | when the lead is lost: what the copy's index does not name is no duplicate any more | nothing that matters |
//! | claim | claims each share on the copy, above every epoch, naming its newest head there, which must still be ours | claims without heads; a new promotion goes above them |
//! | look back | unless the lead is lost: each share is still led here; of one that somebody took over meanwhile, heads may lie on the old lead alone | the same |
//! | note | in one record of the journal: which target leads, and the new claims | a promoted copy |
//! | switch | everything goes to the new lead, first of all keys that were made since the look; what led is a copy from now on | the same |
//!
//! Which target the claims of this gateway are on is noted in the local state. A start whose settings name another one
//! promotes that: so a crash anywhere, once the settings are changed, is gone on with.
//!
//! Nothing is lost when the lead is: a copy that lacks a head which this gateway has published there is refused,
//! as are packs that were made here and that are neither on the copy nor on this disk. What the old lead was sent
//! and the copy lacks goes up anew from this disk.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tidegate_chunker::{DomainId, PackId, ShareId};
use tidegate_replicator::mirror::prepare;
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Leadership, Opened, Promotion, Repository, RepositoryError, Standing,
};
use tidegate_replicator::store::Store;

use super::registry::{self, ShareRecord};
use super::shares::OpenShare;
use super::source_lines::HeldLine;
use super::targets::{self, CopyTarget, Targets};
use super::{Appliance, ApplianceError};
use crate::ledger::LedgerError;
use crate::live::{Batch, Change};
use crate::share::Base;

/// How many shares or packs a refusal names.
const NAMED_MAX: usize = 5;

impl Appliance {
    /// Leads from the target that `targets` names, whose store is `store`. `lead_is_lost` says that the one that
    /// leads now is not to be waited for.
    pub async fn promote(
        self: &Arc<Self>,
        targets: &Targets,
        store: Arc<dyn Store>,
        lead_is_lost: bool,
    ) -> Result<(), ApplianceError> {
        // What is learned of the old lead's index afterwards would count as duplicates.
        self.index_learned().await;
        let _changing = self.changing.lock().await;
        let old = registry::lead(&self.live)?;
        let mut open: Vec<Arc<OpenShare>> = self.shares.lock().values().cloned().collect();
        open.extend(self.retiring.lock().values().cloned());
        let mut held = Vec::new();
        for share in &open {
            held.push((share, share.leadership.lock().await));
        }
        let mut sources = self.hold_sources()?;
        for (share, leadership) in &mut held {
            if leadership.is_some() && !lead_is_lost {
                self.commit_led(share, leadership, None).await?;
            }
        }
        // From the last pass to the switch nothing goes to the old lead.
        let _uploading = self.committer.uploading.lock().await;
        if let Some(copy) = self.copies.named(&targets.lead).filter(|_| !lead_is_lost) {
            self.pass_over(&copy).await?;
        }
        let promoted = CopyTarget { name: targets.lead.clone(), store: store.clone() };
        self.finds_empty(&self.backend.repository, &promoted).await?;
        let repository = prepare(&self.backend.repository, store.clone()).await?;
        let of_copy = targets::in_ledger(&targets.lead, &*store);
        let claimed = self.claim_all(&repository, (&targets.lead, &of_copy), &sources, lead_is_lost).await?;
        if !lead_is_lost && let Err(error) = self.look_back(&claimed, &mut held, &sources).await {
            give_back(&repository, claimed.into_iter().map(|(_, claimed)| claimed)).await;
            return Err(error);
        }
        // Keys may have been rotated since the look, and something sealed under them that goes up from here.
        if let Err(error) = self.give_keys(&repository).await {
            give_back(&repository, claimed.into_iter().map(|(_, claimed)| claimed)).await;
            return Err(error.into());
        }
        let claimed = self.note_claimed(&repository, &targets.lead, &sources, claimed).await?;
        self.targets.set_lead(store);
        if let Err(error) = self.backend.repository.give_epochs().await {
            tracing::warn!(%error, "the new lead may lack keys that are in use; it is given them before anything else");
        }
        for claimed in claimed {
            let of_share = |(share, _): &&mut (&Arc<OpenShare>, _)| share.share.id() == claimed.share();
            if let Some((share, leadership)) = held.iter_mut().find(of_share) {
                share.record.lock().leadership = Some(claimed.note());
                **leadership = Some(claimed);
            } else if let Some(source) = sources.iter_mut().find(|source| source.id() == claimed.share()) {
                source.lead(claimed);
            }
        }
        // Passes that are under way end: they copy from what led.
        self.set_copies(targets).await?;
        if !lead_is_lost {
            self.know_as_whole(old.as_deref(), targets).await?;
        }
        drop(held);
        tracing::info!(target_name = targets.lead, "the repository is led from this target now");
        Ok(())
    }

    /// At a start: leads from the target of the settings, if the local state has its claims on another one.
    pub(super) async fn promote_at_start(self: &Arc<Self>, targets: &Targets) -> Result<(), ApplianceError> {
        let old = registry::lead(&self.live)?;
        if old.as_ref() == Some(&targets.lead) {
            return Ok(());
        }
        let Some(old) = old else { return self.note_lead(&targets.lead, &[], Vec::new()).await };
        let to = &targets.lead;
        tracing::warn!(from = old, to, "the settings name another target as the lead: it is promoted");
        // As long as it was a copy, it was owed something.
        let of_copy = targets::in_ledger(to, &*self.targets.lead());
        let names = targets.copies.iter().map(CopyTarget::in_ledger).chain([of_copy.clone()]);
        let (ledger, names, required) =
            (self.backend.ledger.clone(), names.collect::<Vec<_>>(), targets.required);
        let setting = tokio::task::spawn_blocking(move || ledger.set_copies(&names, required));
        setting.await.map_err(|_| ApplianceError::Died)??;
        let repository = prepare(&self.backend.repository, self.targets.lead()).await?;
        let mut sources = self.hold_sources()?;
        let claimed = self.claim_all(&repository, (to, &of_copy), &sources, true).await?;
        if let Err(error) = self.committer.plans.look_surely().await {
            give_back(&repository, claimed.into_iter().map(|(_, claimed)| claimed)).await;
            return Err(error.into());
        }
        for claimed in self.note_claimed(&repository, to, &sources, claimed).await? {
            if let Some(source) = sources.iter_mut().find(|source| source.id() == claimed.share()) {
                source.lead(claimed);
            }
        }
        Ok(())
    }

    /// Claims everything that is led here on a copy, after finding that the copy has what it takes; gives each claim, with
    /// the record of its share. Nothing is noted yet; what fails takes its claims back.
    async fn claim_all(
        &self,
        repository: &Repository<Opened>,
        (target, of_copy): (&str, &str),
        sources: &[HeldLine],
        lead_is_lost: bool,
    ) -> Result<Vec<(Option<ShareRecord>, Leadership)>, ApplianceError> {
        let mut records = registry::load(&self.live)?;
        records.retain(|record| record.leadership.is_some() && !record.superseded);
        self.check_copy(repository, (target, of_copy), &records).await?;
        self.forget_what_is_not_on(repository, target, lead_is_lost).await?;
        let mut wanted = Vec::new();
        for record in records {
            wanted.push((record.id()?, record.name.clone(), Some(record)));
        }
        let led = sources.iter().filter(|source| source.is_led());
        let published: Vec<ShareRecord> = wanted.iter().filter_map(|(.., record)| record.clone()).collect();
        wanted.extend(led.map(|source| (source.id(), source.name().to_owned(), None)));
        let mut claimed = Vec::new();
        for (share, name, record) in wanted {
            match self.claim_one(repository, share, &name).await {
                Ok(leadership) => claimed.push((record, leadership)),
                Err(error) => {
                    give_back(repository, claimed.into_iter().map(|(_, claimed)| claimed)).await;
                    return Err(error);
                }
            }
        }
        // Whoever led a share there may have published since the look; from the claims on he does not.
        let refused = match self.lacking_heads(repository, &published).await {
            Ok(behind) if behind.is_empty() => return Ok(claimed),
            Ok(behind) => ApplianceError::NotToBePromoted { target: target.into(), lacks: some_of(&behind) },
            Err(error) => error,
        };
        give_back(repository, claimed.into_iter().map(|(_, claimed)| claimed)).await;
        Err(refused)
    }

    /// Shares whose newest head on a copy is not the one that this gateway goes on from.
    async fn lacking_heads(
        &self,
        repository: &Repository<Opened>,
        records: &[ShareRecord],
    ) -> Result<Vec<String>, ApplianceError> {
        let mut behind = Vec::new();
        for record in records {
            let base = Base::load(&self.live, record.map())?;
            if repository.newest_head_name(record.id()?).await? != base.head {
                behind.push(format!("the newest head of share {:?}, as its newest", record.name));
            }
        }
        Ok(behind)
    }

    /// Refuses what somebody has taken over on the store that still leads, which is not led here from then on. After the claims
    /// on the copy, so that whoever takes over later comes after them.
    async fn look_back(
        &self,
        claimed: &[(Option<ShareRecord>, Leadership)],
        held: &mut [(&Arc<OpenShare>, tokio::sync::MutexGuard<'_, Option<Leadership>>)],
        sources: &[HeldLine],
    ) -> Result<(), ApplianceError> {
        for (record, leadership) in claimed {
            let source = sources.iter().find(|source| source.id() == leadership.share());
            let (name, note) = match (record, source) {
                (Some(record), _) => (record.name.clone(), record.leadership.clone()),
                (None, Some(source)) => (source.name().to_owned(), source.note()),
                (None, None) => continue,
            };
            let Some(note) = note else { continue };
            let by = match self.backend.repository.resume(&note).await {
                Standing::StillLeading(_) => continue,
                Standing::Unknown { error, .. } => return Err(error.into()),
                Standing::Superseded { by } => by,
            };
            if let Some((open, led)) = held.iter_mut().find(|(open, _)| open.share.id() == leadership.share())
            {
                **led = None;
                self.end_leading(open).await?;
            }
            return Err(ApplianceError::Superseded { share: name, by });
        }
        Ok(())
    }

    /// Notes claims, and the target that they are on. From the note on they are not taken back: it may be on the disk although
    /// it is said to have failed.
    async fn note_claimed(
        &self,
        repository: &Repository<Opened>,
        target: &str,
        sources: &[HeldLine],
        claimed: Vec<(Option<ShareRecord>, Leadership)>,
    ) -> Result<Vec<Leadership>, ApplianceError> {
        let (mut records, mut of_sources, mut leaderships) = (Vec::new(), Vec::new(), Vec::new());
        let mut noted = Ok(());
        for (record, leadership) in claimed {
            if let Some(mut record) = record {
                record.leadership = Some(leadership.note());
                records.push(record);
            } else if let Some(source) = sources.iter().find(|source| source.id() == leadership.share()) {
                noted = noted.and(source.noting(&leadership).map(|change| of_sources.push(change)));
            }
            leaderships.push(leadership);
        }
        if let Err(error) = noted {
            give_back(repository, leaderships.into_iter()).await;
            return Err(error.into());
        }
        self.note_lead(target, &records, of_sources).await?;
        Ok(leaderships)
    }

    async fn claim_one(
        &self,
        repository: &Repository<Opened>,
        share: ShareId,
        name: &str,
    ) -> Result<Leadership, ApplianceError> {
        let after = repository.newest_head_name(share).await?;
        let state = repository.lease(share).await?;
        let options = ClaimOptions::new(self.claimant.clone(), self.now(), self.settle)?;
        match repository.claim(&state, &options.promoting(Promotion { after })).await? {
            ClaimOutcome::Leading(leadership) => Ok(leadership),
            ClaimOutcome::Lost { to } => Err(ApplianceError::Superseded { share: name.into(), by: to }),
        }
    }

    /// Refuses a copy that lacks something that only it could give.
    async fn check_copy(
        &self,
        repository: &Repository<Opened>,
        (target, of_copy): (&str, &str),
        records: &[ShareRecord],
    ) -> Result<(), ApplianceError> {
        let refuse = |lacks: String| ApplianceError::NotToBePromoted { target: target.into(), lacks };
        if let Some(record) = records.iter().find(|record| record.handed_over) {
            let why =
                format!("share {:?} to be served by whom it was handed over to, or taken back", record.name);
            return Err(refuse(why));
        }
        if !self.backend.ledger.owed(of_copy).whole_once {
            return Err(refuse("a first pass that came to its end".into()));
        }
        if let Some(domain) = self.give_keys(repository).await?.first() {
            return Err(refuse(format!("the keys of domain {domain}, which is known here")));
        }
        let behind = self.lacking_heads(repository, records).await?;
        if !behind.is_empty() {
            return Err(refuse(some_of(&behind)));
        }
        let (ledger, of) = (self.backend.ledger.clone(), of_copy.to_owned());
        let lost = tokio::task::spawn_blocking(move || ledger.send_again_what_is_owed(&of));
        let lost: Vec<PackId> = lost.await.map_err(|_| ApplianceError::Died)??;
        if !lost.is_empty() {
            let names: Vec<String> = lost.iter().map(|pack| format!("pack {pack}")).collect();
            return Err(refuse(some_of(&names)));
        }
        Ok(())
    }

    /// Gives a copy the keys that are in use here and that it lacks; the domains of which it has none.
    async fn give_keys(&self, copy: &Repository<Opened>) -> Result<BTreeSet<DomainId>, RepositoryError> {
        self.backend.repository.on(copy.store().clone()).give_epochs().await
    }

    /// In one record: the target on which this gateway's claims are, and the claims.
    async fn note_lead(
        &self,
        target: &str,
        records: &[ShareRecord],
        of_sources: Vec<Change>,
    ) -> Result<(), ApplianceError> {
        let mut changes = of_sources;
        changes.push(registry::led_from(target));
        changes.extend(records.iter().map(ShareRecord::change));
        self.live.submit_durably(Batch { changes }, bytes::Bytes::new()).await?;
        self.live.settle().await?;
        Ok(())
    }

    /// What led has everything that it ever was sent.
    async fn know_as_whole(&self, old: Option<&str>, targets: &Targets) -> Result<(), ApplianceError> {
        let Some(copy) = targets.copies.iter().find(|copy| Some(&*copy.name) == old) else { return Ok(()) };
        let (ledger, old) = (self.backend.ledger.clone(), copy.in_ledger());
        let settling = tokio::task::spawn_blocking(move || ledger.settle(&old, &[], true));
        Ok(settling.await.map_err(|_| ApplianceError::Died)??)
    }

    /// Nothing counts as a duplicate that lies in a pack which neither the new lead nor this disk has. When the lead is
    /// lost, live maps may need such a chunk: then it is refused.
    async fn forget_what_is_not_on(
        &self,
        repository: &Repository<Opened>,
        target: &str,
        lead_is_lost: bool,
    ) -> Result<(), ApplianceError> {
        let mut packs: HashSet<PackId> = HashSet::new();
        let mut reader = repository.index_reader();
        loop {
            match reader.next().await {
                Ok(Some((_, object))) => packs.extend(object.packs()),
                Ok(None) => break,
                Err(RepositoryError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ledger = self.backend.ledger.clone();
        let forgetting = tokio::task::spawn_blocking(move || {
            let outside = if lead_is_lost { ledger.count_outside(&packs)? } else { 0 };
            if outside == 0 {
                ledger.keep_only(&packs)?;
            }
            Ok::<_, LedgerError>(outside)
        });
        match forgetting.await.map_err(|_| ApplianceError::Died)?? {
            0 => Ok(()),
            outside => Err(ApplianceError::NotToBePromoted {
                target: target.into(),
                lacks: format!("{outside} chunks that others have stored and that only the lead has"),
            }),
        }
    }
}

/// Claims under which nothing was published, and nothing will be.
async fn give_back(repository: &Repository<Opened>, claimed: impl Iterator<Item = Leadership>) {
    for leadership in claimed {
        leadership.give_back(repository).await;
    }
}

/// The first few, and how many more there are.
fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let named = names[..names.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

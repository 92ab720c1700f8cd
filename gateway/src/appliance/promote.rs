//! Promotion: a copy of the repository begins to lead.
//!
//! | step | does | a crash after it leaves |
//! |---|---|---|
//! | hold | takes the right to publish of every share; nothing is published from here until the end | nothing |
//! | drain | a last commit of each share, and a last pass over the copy; not when the lead is lost | nothing |
//! | look | the copy has the newest head of every share that is led here, and every pack that is not here | nothing |
//! | forget | when the lead is lost: what the copy's index does not name is no duplicate any more | nothing that matters |
//! | claim | claims each share on the copy, above every epoch, naming its newest head there | claims without heads; a new promotion goes above them |
//! | note | in one record of the journal: which target leads, and the new claims | a promoted copy |
//! | switch | everything goes to the new lead; what led is a copy from now on | the same |
//!
//! Which target the claims of this gateway are on is noted in the local state. A start whose settings name another one
//! promotes that: so a crash anywhere, once the settings are changed, is gone on with.
//!
//! Nothing is lost when the lead is: a copy that lacks a head which this gateway has published there is refused,
//! as are packs that were made here and that are neither on the copy nor on this disk. What the old lead was sent
//! and the copy lacks goes up anew from this disk.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tidegate_chunker::{PackId, ShareId};
use tidegate_replicator::mirror::prepare;
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Leadership, Opened, Promotion, Repository, RepositoryError,
};
use tidegate_replicator::store::Store;

use super::registry::{self, ShareRecord};
use super::shares::OpenShare;
use super::source_lines::HeldLine;
use super::targets::Targets;
use super::{Appliance, ApplianceError};
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
        let _changing = self.changing.lock().await;
        let old = registry::lead(&self.live)?;
        let mut open: Vec<Arc<OpenShare>> = self.shares.lock().values().cloned().collect();
        open.extend(self.retiring.lock().values().cloned());
        let mut held = Vec::new();
        for share in &open {
            held.push((share, share.leadership.lock().await));
        }
        let mut sources = self.hold_sources()?;
        if !lead_is_lost {
            for (share, leadership) in &mut held {
                if leadership.is_some() {
                    self.commit_led(share, leadership, None).await?;
                }
            }
            if let Some(copy) = self.copies.named(&targets.lead) {
                self.pass_over(&copy).await?;
            }
        }
        let repository = prepare(&self.backend.repository, store.clone()).await?;
        if lead_is_lost {
            self.forget_what_is_not_on(&repository).await?;
        }
        let (records, mut leaderships) = self.claim_on(&repository, &targets.lead).await?;
        let of_sources = self.claim_sources(&repository, &sources).await?;
        self.note_lead(&targets.lead, &records, noting(&sources, &of_sources)?).await?;
        crate::crash::point("promote.noted");
        self.targets.set_lead(store);
        for (share, leadership) in &mut held {
            if let Some(claimed) = leaderships.remove(&share.share.id()) {
                share.record.lock().leadership = Some(claimed.note());
                **leadership = Some(claimed);
            }
        }
        for (source, claimed) in sources.iter_mut().zip(of_sources) {
            source.lead(claimed);
        }
        // Passes that are under way end: they copy from what led.
        self.set_copies(targets).await?;
        self.know_as_whole(old.as_deref(), targets).await?;
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
        tracing::warn!(
            from = old,
            to = targets.lead,
            "the settings name another target as the lead: it is promoted"
        );
        let repository = prepare(&self.backend.repository, self.targets.lead()).await?;
        self.forget_what_is_not_on(&repository).await?;
        let (records, _) = self.claim_on(&repository, &targets.lead).await?;
        let sources = self.hold_sources()?;
        let of_sources = self.claim_sources(&repository, &sources).await?;
        self.committer.plans.look_surely().await?;
        self.note_lead(&targets.lead, &records, noting(&sources, &of_sources)?).await?;
        drop(sources);
        self.know_as_whole(Some(&old), targets).await
    }

    /// Claims every share that is led here on a copy, after finding that the copy has what it takes. Nothing is
    /// noted yet.
    async fn claim_on(
        &self,
        repository: &Repository<Opened>,
        target: &str,
    ) -> Result<(Vec<ShareRecord>, HashMap<ShareId, Leadership>), ApplianceError> {
        let mut records = registry::load(&self.live)?;
        records.retain(|record| record.leadership.is_some() && !record.superseded);
        self.check_copy(repository, target, &records).await?;
        let mut leaderships = HashMap::new();
        for record in &mut records {
            let share = record.id()?;
            let leadership = self.claim_one(repository, share, &record.name).await?;
            record.leadership = Some(leadership.note());
            leaderships.insert(share, leadership);
        }
        Ok((records, leaderships))
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
            ClaimOutcome::Leading(leadership) => {
                crate::crash::point("promote.claimed");
                Ok(leadership)
            }
            ClaimOutcome::Lost { to } => Err(ApplianceError::Superseded { share: name.into(), by: to }),
        }
    }

    /// The same for sources of backup. Of those nothing is here that a head would need; what is not on the copy is saved
    /// again by the next run.
    async fn claim_sources(
        &self,
        repository: &Repository<Opened>,
        sources: &[HeldLine],
    ) -> Result<Vec<Leadership>, ApplianceError> {
        let mut claimed = Vec::new();
        for source in sources {
            claimed.push(self.claim_one(repository, source.id(), source.name()).await?);
        }
        Ok(claimed)
    }

    /// Refuses a copy that lacks something that only it could give.
    async fn check_copy(
        &self,
        repository: &Repository<Opened>,
        target: &str,
        records: &[ShareRecord],
    ) -> Result<(), ApplianceError> {
        let refuse = |lacks: String| ApplianceError::NotToBePromoted { target: target.into(), lacks };
        if let Some(record) = records.iter().find(|record| record.handed_over) {
            let why =
                format!("share {:?} to be served by whom it was handed over to, or taken back", record.name);
            return Err(refuse(why));
        }
        if !self.backend.ledger.owed(target).whole_once {
            return Err(refuse("a first pass that came to its end".into()));
        }
        let mut behind = Vec::new();
        for record in records {
            let base = Base::load(&self.live, record.map())?;
            if repository.newest_head_name(record.id()?).await? != base.head {
                behind.push(format!("the newest head of share {:?}", record.name));
            }
        }
        if !behind.is_empty() {
            return Err(refuse(some_of(&behind)));
        }
        let (ledger, of) = (self.backend.ledger.clone(), target.to_owned());
        let lost = tokio::task::spawn_blocking(move || ledger.send_again_what_is_owed(&of));
        let lost: Vec<PackId> = lost.await.map_err(|_| ApplianceError::Died)??;
        if !lost.is_empty() {
            let names: Vec<String> = lost.iter().map(|pack| format!("pack {pack}")).collect();
            return Err(refuse(some_of(&names)));
        }
        Ok(())
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
        let Some(old) = old.filter(|old| targets.copies.iter().any(|copy| copy.name == **old)) else {
            return Ok(());
        };
        let (ledger, old) = (self.backend.ledger.clone(), old.to_owned());
        let settling = tokio::task::spawn_blocking(move || ledger.settle(&old, &[], true));
        Ok(settling.await.map_err(|_| ApplianceError::Died)??)
    }

    /// Nothing counts as a duplicate that lies in a pack which neither the new lead nor this disk has.
    async fn forget_what_is_not_on(&self, repository: &Repository<Opened>) -> Result<(), ApplianceError> {
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
        let forgetting = tokio::task::spawn_blocking(move || ledger.keep_only(&packs));
        Ok(forgetting.await.map_err(|_| ApplianceError::Died)??)
    }
}

/// The changes that keep the claims of sources.
fn noting(sources: &[HeldLine], claimed: &[Leadership]) -> Result<Vec<Change>, ApplianceError> {
    Ok(sources
        .iter()
        .zip(claimed)
        .map(|(source, claimed)| source.noting(claimed))
        .collect::<Result<_, _>>()?)
}

/// The first few, and how many more there are.
fn some_of(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let named = names[..names.len() - more].join(", ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

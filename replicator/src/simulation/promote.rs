//! A copy begins to lead. The order of `gateway/src/appliance/promote.rs`, and a death after each of its steps.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_chunker::{PackId, ShareId};

use super::gateway::{Gateway, Settings};
use super::trouble::{Outcome, Trouble};
use crate::mirror::prepare;
use crate::repository::{Leadership, Opened, Promotion, Repository, RepositoryError, Standing};

/// Where a promotion may be told to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Hold,
    Drain,
    Look,
    Forget,
    Claim,
    Note,
    Switch,
    Never,
}

impl Step {
    pub(super) const ALL: [Self; 8] = [
        Self::Hold,
        Self::Drain,
        Self::Look,
        Self::Forget,
        Self::Claim,
        Self::Note,
        Self::Switch,
        Self::Never,
    ];
}

impl Gateway {
    /// Leads from another site.
    pub(super) async fn promote(&self, to: usize, lead_is_lost: bool, dies_after: Step) -> Outcome<()> {
        let dies = |step: Step| if step == dies_after { Err(Trouble::new("it dies")) } else { Ok(()) };
        let _changing = self.changing.lock().await;
        let settings = self.settings_to(to);
        let old = self.leading_site();
        if old == to {
            return Ok(());
        }
        let open: Vec<_> = self.shares.lock().values().cloned().collect();
        let mut held = Vec::new();
        for share in &open {
            held.push((share, share.leadership.lock().await));
        }
        dies(Step::Hold)?;
        for (share, leadership) in &mut held {
            if leadership.is_some() && !lead_is_lost {
                self.commit_led(share, leadership).await?;
            }
        }
        let _uploading = self.uploading.lock().await;
        if !lead_is_lost {
            self.pass_over(to).await?;
        }
        dies(Step::Drain)?;
        let repository = prepare(&self.repository, self.lines[to].clone()).await?;
        let led: Vec<ShareId> =
            held.iter().filter(|(_, leadership)| leadership.is_some()).map(|(share, _)| share.id).collect();
        self.check_copy(&repository, to, &led).await?;
        dies(Step::Look)?;
        self.forget_what_is_not_on(&repository, lead_is_lost).await?;
        dies(Step::Forget)?;
        let claimed = self.claim_all(&repository, &led, lead_is_lost).await?;
        if let Err(error) = self.repository.on(repository.store().clone()).give_epochs().await {
            give_back(&repository, claimed).await;
            return Err(error.into());
        }
        dies(Step::Claim)?;
        self.note_lead(to, &claimed);
        *self.machine.settings.lock() = settings.clone();
        dies(Step::Note)?;
        self.group.set_lead(self.lines[to].clone());
        if let Err(error) = self.repository.give_epochs().await {
            self.world.event(&format!("{} cannot give its keys to site {to}: {error}", self.who()));
        }
        for claimed in claimed {
            if let Some((_, leadership)) = held.iter_mut().find(|(share, _)| share.id == claimed.share()) {
                **leadership = Some(claimed);
            }
        }
        self.set_copies(&settings).await;
        dies(Step::Switch)?;
        if !lead_is_lost {
            // What led has everything that it was ever sent.
            self.ledger.settle(old, &[], true);
        }
        self.world.event(&format!("{} leads from site {to}", self.who()));
        Ok(())
    }

    /// At a start: leads from the site of the settings, if its claims are on another one.
    pub(super) async fn promote_at_start(&self, settings: &Settings) -> Outcome<()> {
        let old = *self.machine.lead.lock();
        let to = settings.lead;
        if old == Some(to) {
            return Ok(());
        }
        if old.is_none() {
            self.note_lead(to, &[]);
            return Ok(());
        }
        // As long as it was a copy, it was owed something.
        let owed_to: Vec<usize> = settings.copies.iter().copied().chain([to]).collect();
        self.ledger.set_copies(&owed_to);
        let repository = prepare(&self.repository, self.lines[to].clone()).await?;
        let led = self.machine.led();
        self.check_copy(&repository, to, &led).await?;
        self.forget_what_is_not_on(&repository, true).await?;
        let claimed = self.claim_all(&repository, &led, true).await?;
        if let Err(trouble) = self.look_surely().await {
            give_back(&repository, claimed).await;
            return Err(trouble);
        }
        self.note_lead(to, &claimed);
        self.world.event(&format!("{} leads from site {to} since its start", self.who()));
        Ok(())
    }

    /// The settings with another lead.
    pub(super) fn settings_to(&self, to: usize) -> Settings {
        let settings = self.machine.settings.lock().clone();
        let copies =
            settings.copies.iter().copied().filter(|copy| *copy != to).chain([settings.lead]).collect();
        Settings { lead: to, copies, ..settings }
    }

    async fn set_copies(&self, settings: &Settings) {
        self.ledger.set_copies(&settings.copies);
        self.group.set_copies(settings.copies.iter().map(|copy| self.lines[*copy].clone()).collect());
        for mirror in &self.mirrors {
            *mirror.lock().await = None;
        }
    }

    /// Refuses a copy that lacks something that only it could give.
    async fn check_copy(&self, repository: &Repository<Opened>, to: usize, led: &[ShareId]) -> Outcome<()> {
        if !self.ledger.was_whole_once(to) {
            return Err(Trouble::new("refused: it has never come to the end of a pass"));
        }
        let there = self.repository.on(repository.store().clone());
        let unknown = there.give_epochs().await?;
        if !unknown.is_empty() {
            return Err(Trouble::new(format!("refused: it lacks the domains {unknown:?}")));
        }
        self.check_heads(repository, led).await?;
        let lost = self.ledger.send_again_what_is_owed(to);
        if lost.is_empty() { Ok(()) } else { Err(Trouble::new(format!("refused: it lacks {lost:?}"))) }
    }

    async fn forget_what_is_not_on(
        &self,
        repository: &Repository<Opened>,
        lead_is_lost: bool,
    ) -> Outcome<()> {
        let mut packs: BTreeSet<PackId> = BTreeSet::new();
        let mut reader = repository.index_reader();
        loop {
            match reader.next().await {
                Ok(Some((_, object))) => packs.extend(object.packs()),
                Ok(None) => break,
                Err(RepositoryError::Damaged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let outside = if lead_is_lost { self.ledger.count_outside(&packs) } else { 0 };
        if outside > 0 {
            return Err(Trouble::new(format!("refused: {outside} chunks are only on the lead")));
        }
        self.ledger.keep_only(&packs);
        Ok(())
    }

    async fn claim_all(
        &self,
        repository: &Repository<Opened>,
        led: &[ShareId],
        lead_is_lost: bool,
    ) -> Outcome<Vec<Leadership>> {
        let mut claimed = Vec::new();
        for share in led {
            let claiming = async {
                let after = repository.newest_head_name(*share).await?;
                self.claim_on(repository, *share, Some(Promotion { after }), true).await
            };
            match claiming.await {
                Ok(leadership) => {
                    if !lead_is_lost && let Some(claim) = self.world.oracle.lock().claims.last_mut() {
                        claim.loses_nothing = true;
                    }
                    claimed.push(leadership);
                }
                Err(trouble) => {
                    give_back(repository, claimed).await;
                    return Err(trouble);
                }
            }
        }
        if let Err(trouble) = self.check_heads(repository, led).await {
            give_back(repository, claimed).await;
            return Err(trouble);
        }
        if !lead_is_lost && let Err(trouble) = self.still_leads(led).await {
            give_back(repository, claimed).await;
            return Err(trouble);
        }
        Ok(claimed)
    }

    async fn check_heads(&self, repository: &Repository<Opened>, led: &[ShareId]) -> Outcome<()> {
        for share in led {
            let base = self.machine.record(*share)?.base;
            if repository.newest_head_name(*share).await? != base.head {
                return Err(Trouble::new(format!("refused: it lacks the newest head of {share}")));
            }
        }
        Ok(())
    }

    /// Refuses what somebody has taken over on the site that still leads.
    async fn still_leads(&self, led: &[ShareId]) -> Outcome<()> {
        for share in led {
            let Some(note) = self.machine.record(*share)?.note else { continue };
            match self.repository.resume(&note).await {
                Standing::StillLeading(_) => {}
                Standing::Superseded { by } => return Err(Trouble::superseded(by)),
                Standing::Unknown { error, .. } => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// In one record: the site that this gateway's claims are on, and the claims.
    fn note_lead(&self, lead: usize, claimed: &[Leadership]) {
        *self.machine.lead.lock() = Some(lead);
        let mut records = self.machine.records.lock();
        for leadership in claimed {
            if let Some(record) = records.get_mut(&leadership.share()) {
                record.note = Some(leadership.note());
            }
        }
    }
}

/// Claims under which nothing was published, and nothing will be.
async fn give_back(repository: &Repository<Opened>, claimed: Vec<Leadership>) {
    for leadership in claimed {
        leadership.give_back(repository).await;
    }
}

/// Whoever promoted may be gone, and the operator starts it with the new settings.
pub(super) fn set_lead(gateway: &Arc<super::gateway::Machine>, to: usize) {
    let mut settings = gateway.settings.lock();
    if settings.lead != to {
        let old = settings.lead;
        settings.copies.retain(|copy| *copy != to);
        settings.copies.push(old);
        settings.lead = to;
    }
}

//! Archiving by the clock: once a day packs that nobody reads come to colder storage classes
//! (`tidegate_replicator::archive`).
//!
//! One round goes through the targets of the settings that have rules, one after the other. All of it is housekeeping, so
//! clients and replication go first. A round that fails, or is cut, is made up for by the next: what is to be done is
//! derived from what the store shows. A pack comes to sleep only when it is known to be whole, by the scrub or by reading it, and
//! all copies have it.
//!
//! What was used lately is known from the heads of all shares, and from what this gateway counts itself, which reaches
//! further back: a use loses half of its weight in a day, so a weight of 2⁻ⁿ is that of one use n days ago, or of
//! more that are longer ago.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::archive::{ArchiveOptions, ArchiveRule, Archived, LastReads, Scrubbed, plan, run};
use tidegate_replicator::collect::{CollectError, CollectOptions, Observer};
use tidegate_replicator::repository::RepositoryError;
use tidegate_replicator::store::{Classes, StorageClass, Store, Traffic};
use tokio_util::sync::CancellationToken;

use super::thaw::ThawRule;
use super::{Appliance, ApplianceError};

/// The time from a start to the first round: what the start needs comes first, and the collection.
const FIRST_AFTER: Duration = Duration::from_hours(1);
/// The time between two rounds.
const EVERY: Duration = Duration::from_hours(24);

/// The rules of one target.
#[derive(Clone, Debug)]
pub struct TargetRules {
    /// Its name in the settings.
    pub target: String,
    /// Its address, as its store tells it.
    pub address: String,
    /// The rules.
    pub rules: Vec<ArchiveRule>,
    /// Packs that one round changes.
    pub packs_max: usize,
}

/// How packs are archived, and how they come back.
#[derive(Clone, Debug, Default)]
pub struct ArchiveConfig {
    /// Of each target that has any.
    pub targets: Vec<TargetRules>,
    /// What is known of classes.
    pub classes: Classes,
    /// How packs of a class are thawed for readers.
    pub thaw: HashMap<StorageClass, ThawRule>,
    /// What a collection would repack is not archived.
    pub repack_below_percent: u8,
    /// See [`CollectOptions::memory_bytes_max`].
    pub memory_bytes_max: u64,
    /// See [`CollectOptions::scratch`].
    pub scratch: PathBuf,
}

/// Stops a round when the appliance stops.
struct Stop(CancellationToken);

impl Observer for Stop {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Appliance {
    /// From now on it is archived and thawed so.
    pub fn set_archive(&self, config: ArchiveConfig) {
        self.thawer.set_rules(config.thaw.clone());
        *self.archive.lock() = config;
    }

    /// What is known of storage classes.
    pub(super) fn classes(&self) -> Classes {
        self.archive.lock().classes.clone()
    }

    /// Archives from now on, until the appliance is closed.
    pub fn start_archiving(self: &Arc<Self>) {
        let (appliance, stop) = (Arc::downgrade(self), self.stop.clone());
        self.loops.spawn(async move {
            let mut pause = FIRST_AFTER;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                let Some(appliance) = appliance.upgrade() else { return };
                // A store that is away is not waited for when the appliance is closed.
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = appliance.archive_once() => {}
                }
                pause = EVERY;
            }
        });
    }

    /// One round over all targets that have rules.
    pub async fn archive_once(&self) {
        let config = self.archive.lock().clone();
        for rules in &config.targets {
            let Some(store) = self.store_of(rules) else {
                tracing::warn!(
                    target_name = rules.target,
                    "a target of [[archive]] is no target of this repository now"
                );
                continue;
            };
            let round = self.archive_target(&config, rules, store);
            match Traffic::Housekeeping.scope(round).await {
                Ok(Archived { moved, left, wounded }) if moved.packs + wounded > 0 => tracing::info!(
                    target_name = rules.target,
                    packs = moved.packs,
                    bytes = moved.bytes,
                    left,
                    wounded,
                    "packs came to colder storage classes"
                ),
                Ok(_) => {}
                Err(error) if self.stop.is_cancelled() => {
                    tracing::debug!(%error, "archiving was stopped; the next round goes on");
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        target_name = rules.target,
                        error,
                        "packs were not archived; the next round tries again"
                    );
                }
            }
        }
    }

    /// The store of a target: a copy's by name, else the lead's if it lies where the target does.
    fn store_of(&self, rules: &TargetRules) -> Option<Arc<dyn Store>> {
        if let Some(copy) = self.copies.named(&rules.target) {
            return Some(copy.target.store.clone());
        }
        let lead = self.targets.lead();
        let place = |address: &str| address.trim_end_matches('/').to_owned();
        (place(&lead.address()) == place(&rules.address)).then_some(lead)
    }

    async fn archive_target(
        &self,
        config: &ArchiveConfig,
        rules: &TargetRules,
        store: Arc<dyn Store>,
    ) -> Result<Archived, ApplianceError> {
        let (copies, scrubbed) = self.known_of(&store);
        let repository = Arc::new(self.backend.repository.on(store));
        let collect = CollectOptions {
            repack_below_percent: config.repack_below_percent,
            classes: config.classes.clone(),
            memory_bytes_max: config.memory_bytes_max,
            ..CollectOptions::new(self.now(), config.scratch.clone())
        };
        let (rules, packs_max) = (rules.rules.clone(), rules.packs_max);
        let options = ArchiveOptions { rules, collect, packs_max, copies, scrubbed };
        let mut reads = LastReads::of_heads(&repository).await?;
        self.note_reads_here(&mut reads);
        let stop = Stop(self.stop.clone());
        let planned = plan(&repository, &options, &reads, &stop).await.map_err(told)?;
        run(&repository, &planned, &self.heals, &stop).await.map_err(told)
    }

    /// The copies that are fed from a target, and what a scrub knows of it: both only of the one that leads.
    fn known_of(&self, store: &Arc<dyn Store>) -> (Vec<Arc<dyn Store>>, Scrubbed) {
        let lead = self.targets.lead();
        if !Arc::ptr_eq(&lead, store) {
            return Default::default();
        }
        let scrubber = self.scrubber.lock().upgrade();
        let scrubbed = scrubber.map(|scrubber| scrubber.scrubbed(&lead.address())).unwrap_or_default();
        (self.copies.stores(), scrubbed)
    }

    /// What this gateway counts of its shares' reads.
    fn note_reads_here(&self, reads: &mut LastReads) {
        let shares: Vec<_> = self.shares.lock().values().map(|open| open.share.clone()).collect();
        for share in shares {
            for region in share.heat().regions().1 {
                reads.note(region.pack, unread_for(region.weight));
            }
        }
    }
}

/// For how long something of this weight was not used at least; see the head of this file.
fn unread_for(weight: f64) -> Duration {
    let days = (-weight.log2()).max(0.0);
    Duration::try_from_secs_f64(days * 86_400.0).unwrap_or(Duration::MAX)
}

fn told(error: CollectError) -> ApplianceError {
    match error {
        CollectError::Repository(error) => error.into(),
        error => RepositoryError::Local { doing: "archive packs".into(), source: Box::new(error) }.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_says_how_long_ago_the_last_use_may_be() {
        let days = |weight| unread_for(weight).as_secs_f64() / 86_400.0;
        assert_eq!((days(1.0), days(8.0), days(0.5)), (0.0, 0.0, 1.0));
        assert_eq!(days(f64::exp2(-30.0)), 30.0);
        assert_eq!(unread_for(0.0), Duration::MAX);
    }
}

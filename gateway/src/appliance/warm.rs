//! Warming a share: what was used lately, or everything, comes from the store into the cache.
//!
//! A share that was attached is owed that once: it begins when the share is first served, goes on after a restart, and is
//! noted in the registry when it is done. What is hot is said by the head that was attached, or the one that it names.
//! By hand it can be done at any time ([`Appliance::warm`]).
//!
//! It yields: on the link what is hot goes with replication, and everything with housekeeping, so reads of clients go
//! before both. One share is warmed at a time. A crash loses what was on its way to the cache; what came before is
//! found there.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt};
use tidegate_chunker::PackId;
use tidegate_replicator::collect::Observer;
use tidegate_replicator::repository::{Head, Heat};
use tidegate_replicator::store::Traffic;
use tidegate_replicator::warm::{PackRange, Part, WarmOptions, WarmReport, hot_ranges, reach, warm};
use tokio_util::sync::CancellationToken;

use super::shares::OpenShare;
use super::{Appliance, ApplianceError};
use crate::cache::Warmth;
use crate::share::Base;

/// Requests at once, of up to 4 MiB each: they fill a line of 1 Gbit/s as long as answers take less than 130 ms, and a client
/// whose read comes meanwhile has a fifth of a slow line, not less.
pub(crate) const REQUESTS_MAX: usize = 4;
/// From one attempt to the next, while the store does not answer.
const PAUSE: Duration = Duration::from_secs(30);

/// What of a share comes here before it is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarmWhat {
    /// Nothing.
    None,
    /// What was used lately.
    #[default]
    Hot,
    /// That, then everything else.
    All,
}

/// How far the warming of a share is, in bytes.
#[derive(Debug, Default)]
pub(super) struct WarmProgress {
    total: AtomicU64,
    done: AtomicU64,
}

impl WarmProgress {
    /// Done, and all there is; none while nothing is going on.
    pub(super) fn now(&self) -> Option<(u64, u64)> {
        let total = self.total.load(Ordering::Relaxed);
        (total > 0).then(|| (self.done.load(Ordering::Relaxed).min(total), total))
    }

    fn begin(&self, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
    }
}

/// Who counts what an attempt in the background does, and stops it.
struct Watched<'a> {
    progress: &'a WarmProgress,
    stop: &'a CancellationToken,
    withdrawn: &'a CancellationToken,
}

impl Observer for Watched<'_> {
    fn advanced(&self, by: u64) {
        self.progress.done.fetch_add(by, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled() || self.withdrawn.is_cancelled()
    }
}

impl Appliance {
    /// Brings a share here: what was used lately, and then everything if that is wanted.
    pub async fn warm(
        &self,
        share: &str,
        what: WarmWhat,
        observer: &dyn Observer,
    ) -> Result<WarmReport, ApplianceError> {
        let open = self.share_named(share)?;
        self.warm_open(&open, what, observer).await
    }

    /// Begins what a share is owed since it was attached.
    pub(super) fn start_warming(self: &Arc<Self>, open: &Arc<OpenShare>) {
        if !open.record.lock().to_warm {
            return;
        }
        let (appliance, open) = (self.clone(), open.clone());
        self.loops.spawn(async move {
            loop {
                match appliance.warm_owed(&open).await {
                    Ok(report) if report.is_cancelled => return,
                    Ok(report) => {
                        tracing::info!(
                            share = open.config.name,
                            requests = report.requests,
                            bytes = report.bytes,
                            asleep = report.asleep,
                            full = report.is_full,
                            "what was used lately is here, but for what sleeps"
                        );
                        return;
                    }
                    Err(error) => tracing::warn!(share = open.config.name, %error, "warming goes on later"),
                }
                tokio::select! {
                    () = appliance.stop.cancelled() => return,
                    () = open.withdrawn.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        });
    }

    async fn warm_owed(&self, open: &OpenShare) -> Result<WarmReport, ApplianceError> {
        let progress = &open.warmed;
        let watched = Watched { progress, stop: &self.stop, withdrawn: &open.withdrawn };
        let report = self.warm_open(open, open.config.warm, &watched).await;
        progress.begin(0);
        let report = report?;
        // Who changes the share's record holds this, so a record that was replaced is not written again.
        let _changing = self.changing.lock().await;
        if !report.is_cancelled && !open.withdrawn.is_cancelled() {
            let record = {
                let mut record = open.record.lock();
                record.to_warm = false;
                record.clone()
            };
            record.store(&self.live).await?;
        }
        Ok(report)
    }

    async fn warm_open(
        &self,
        open: &OpenShare,
        what: WarmWhat,
        observer: &dyn Observer,
    ) -> Result<WarmReport, ApplianceError> {
        let _one_at_a_time = self.warming.lock().await;
        // It may have waited for long: who was withdrawn meanwhile has another successor.
        if open.withdrawn.is_cancelled() {
            return Ok(WarmReport { is_cancelled: true, ..WarmReport::default() });
        }
        let Some(head) = self.head_below(open).await? else { return Ok(WarmReport::default()) };
        let heat = self.heat_known(open, &head).await?;
        if what == WarmWhat::None {
            return Ok(WarmReport::default());
        }
        let ranges = hot_ranges(&heat);
        open.warmed.begin(ranges.iter().map(PackRange::bytes).sum());
        observer.phase("fetch what was used lately");
        let hot: HashSet<_> = ranges.iter().map(|range| range.pack).collect();
        let keep = self.warmth(hot.clone(), false);
        let fetching = self.fetch_ahead(&keep, futures::stream::iter(ranges), observer);
        let mut report = Traffic::Replication.scope(fetching).await?;
        if what == WarmWhat::All && !report.is_cancelled && !report.is_full {
            observer.phase("fetch everything");
            let keep = self.warmth(hot, true);
            let rest = Traffic::Housekeeping.scope(self.warm_all(&head, &keep, observer)).await?;
            report = together(report, rest);
        }
        Ok(report)
    }

    /// The head that the live map stands over; none before the first one.
    pub(super) async fn head_below(&self, open: &OpenShare) -> Result<Option<Head>, ApplianceError> {
        let base = Base::load(&self.live, open.share.map().map)?;
        let Some(name) = base.head else { return Ok(None) };
        let known = open.newest.lock().clone().filter(|(newest, _)| *newest == name);
        if let Some((_, head)) = known {
            return Ok(Some(head));
        }
        Ok(Some(self.backend.repository.read_head(open.share.id(), &name).await?))
    }

    /// What is known of a share to be hot: by what was read here, or by what its heads say.
    pub(super) async fn heat_known(&self, open: &OpenShare, head: &Head) -> Result<Heat, ApplianceError> {
        let ledger = &self.backend.ledger;
        let said = self.backend.repository.heat_of(head).await?;
        open.share.heat().begin_with(&said);
        let here = open.share.heat().summary(|pack| ledger.is_void(pack));
        // What was hot before the takeover stays so until much was read here.
        Ok(if open.record.lock().to_warm && !said.is_empty() { said } else { here })
    }

    /// Tree nodes, then file data.
    async fn warm_all(
        &self,
        head: &Head,
        keep: &Warmth,
        observer: &dyn Observer,
    ) -> Result<WarmReport, ApplianceError> {
        let nodes = self.backend.reader(head.share.domain)?.nodes;
        let mut report = WarmReport::default();
        for part in [Part::Nodes, Part::Data] {
            let trouble = parking_lot::Mutex::new(None);
            let ranges = reach(&head.root, nodes.clone(), part).filter_map(|range| {
                let range = range.map_err(|error| *trouble.lock() = Some(error)).ok();
                futures::future::ready(range)
            });
            report = together(report, self.fetch_ahead(keep, ranges, observer).await?);
            if let Some(error) = trouble.into_inner() {
                return Err(ApplianceError::Share(error.into()));
            }
            if report.is_cancelled || report.is_full {
                break;
            }
        }
        Ok(report)
    }

    fn warmth(&self, hot: HashSet<PackId>, with_others: bool) -> Warmth {
        let backend = &self.backend;
        let parts = (backend.gathered().clone(), backend.keeper.clone(), backend.ledger.clone());
        Warmth::new(parts, hot, with_others)
    }

    async fn fetch_ahead(
        &self,
        keep: &Warmth,
        ranges: impl Stream<Item = PackRange> + Send,
        observer: &dyn Observer,
    ) -> Result<WarmReport, ApplianceError> {
        let store = self.targets.readers();
        let options = WarmOptions { requests_max: REQUESTS_MAX };
        let warming = warm(&*store, ranges, keep, options, observer);
        Ok(warming.await.map_err(tidegate_replicator::repository::RepositoryError::from)?)
    }
}

fn together(one: WarmReport, other: WarmReport) -> WarmReport {
    WarmReport {
        ranges: one.ranges + other.ranges,
        here: one.here + other.here,
        requests: one.requests + other.requests,
        bytes: one.bytes + other.bytes,
        frames: one.frames + other.frames,
        gone: one.gone + other.gone,
        asleep: one.asleep + other.asleep,
        is_full: one.is_full || other.is_full,
        is_cancelled: one.is_cancelled || other.is_cancelled,
    }
}

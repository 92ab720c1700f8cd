//! Packs that readers wait for: the store is asked to thaw them.
//!
//! Shares that allow it tell which packs their readers met asleep ([`Waker`]); one task asks the store for them, one after
//! the other. What was asked for is remembered for [`ASKED_FOR`]; after that, or a restart, the store itself says that it is
//! under way, and nothing is paid twice.
//!
//! Bounds: [`QUEUE_MAX`] packs wait, more are told again by the next read; on a day as many bytes are thawed as the
//! settings say of the class, at most.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_chunker::PackId;
use tidegate_replicator::repository::pack_name;
use tidegate_replicator::store::{
    SpecialStore, StorageClass, Store, StoreError, ThawRequest, ThawTier, Wakefulness,
};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Appliance;
use crate::share::Waker;

/// Packs that wait to be asked for.
const QUEUE_MAX: usize = 16_384;
/// For so long a pack that was asked for is not asked for again.
const ASKED_FOR: Duration = Duration::from_hours(1);
/// Packs that are remembered as asked for; with more, all are forgotten.
const REMEMBERED_MAX: usize = 65_536;
const DAY_SECONDS: i64 = 86_400;

/// How packs of a class are thawed for readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThawRule {
    /// For how long, and how fast.
    pub request: ThawRequest,
    /// So many bytes on a day at most.
    pub daily_bytes: u64,
}

impl Default for ThawRule {
    /// A week, within hours, 100 GiB a day.
    fn default() -> Self {
        let request = ThawRequest { days: 7, tier: ThawTier::Standard };
        Self { request, daily_bytes: 100 << 30 }
    }
}

/// What was thawed of a class on a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    day: i64,
    bytes: u64,
}

impl Spent {
    /// Whether so much more fits the day; then it counts.
    fn take(&mut self, day: i64, bytes: u64, daily_bytes: u64) -> bool {
        if self.day != day {
            *self = Self { day, bytes: 0 };
        }
        // One pack a day goes whatever its size: else it would never.
        let fits = self.bytes == 0 || self.bytes.saturating_add(bytes) <= daily_bytes;
        if fits {
            self.bytes = self.bytes.saturating_add(bytes);
        }
        fits
    }

    /// What was taken was not thawed after all.
    fn give_back(&mut self, day: i64, bytes: u64) {
        if self.day == day {
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }
}

/// What became of a pack that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The store was asked.
    Asked,
    /// It is being thawed, or can be read.
    UnderWay,
    /// Not today.
    OverBudget,
}

/// See the head of this module.
pub(super) struct Thawer {
    queue: mpsc::Sender<PackId>,
    waiting: Mutex<Option<mpsc::Receiver<PackId>>>,
    asked: Mutex<HashMap<PackId, Instant>>,
    rules: Mutex<HashMap<StorageClass, ThawRule>>,
    spent: Mutex<HashMap<StorageClass, Spent>>,
}

impl Default for Thawer {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let (asked, rules, spent) = Default::default();
        Self { queue, waiting: Mutex::new(Some(waiting)), asked, rules, spent }
    }
}

impl Waker for Thawer {
    fn wake(&self, packs: &BTreeSet<PackId>) {
        for pack in packs {
            if self.is_news(*pack) && self.queue.try_send(*pack).is_err() {
                self.forget(pack);
            }
        }
    }
}

impl Thawer {
    /// From now on packs of classes are thawed so.
    pub(super) fn set_rules(&self, rules: HashMap<StorageClass, ThawRule>) {
        *self.rules.lock() = rules;
    }

    fn is_news(&self, pack: PackId) -> bool {
        let (mut asked, now) = (self.asked.lock(), Instant::now());
        if asked.get(&pack).is_some_and(|at| now.duration_since(*at) < ASKED_FOR) {
            return false;
        }
        if asked.len() >= REMEMBERED_MAX {
            asked.clear();
        }
        asked.insert(pack, now);
        true
    }

    fn forget(&self, pack: &PackId) {
        self.asked.lock().remove(pack);
    }

    /// Asks the store for a pack, if it sleeps and the day has room for it.
    async fn thaw(&self, store: &dyn Store, pack: PackId, day: i64) -> Result<Outcome, StoreError> {
        let name = pack_name(pack);
        let (state, bytes) = (store.class(&name).await?, store.head(&name).await?.bytes);
        let (Wakefulness::Asleep, Some(class)) = (state.wakefulness, state.class) else {
            return Ok(Outcome::UnderWay);
        };
        let rule = self.rules.lock().get(&class).copied().unwrap_or_default();
        if !self.spent.lock().entry(class.clone()).or_default().take(day, bytes, rule.daily_bytes) {
            return Ok(Outcome::OverBudget);
        }
        let asked = store.thaw(&name, rule.request).await;
        if asked.is_err() {
            self.spent.lock().entry(class).or_default().give_back(day, bytes);
        }
        asked.map(|()| Outcome::Asked)
    }
}

impl Appliance {
    /// Asks for packs from now on, until the appliance is closed.
    pub(super) fn start_thawing(self: &Arc<Self>) {
        let Some(mut waiting) = self.thawer.waiting.lock().take() else { return };
        let (appliance, stop) = (Arc::downgrade(self), self.stop.clone());
        self.loops.spawn(async move {
            while let Some(pack) = next(&mut waiting, &stop).await {
                let Some(appliance) = appliance.upgrade() else { return };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = appliance.thaw_for_readers(pack) => {}
                }
            }
        });
    }

    async fn thaw_for_readers(&self, pack: PackId) {
        let day = self.clock.now().seconds.div_euclid(DAY_SECONDS);
        match self.thawer.thaw(&*self.targets.lead(), pack, day).await {
            Ok(Outcome::Asked) => {
                tracing::info!(%pack, "a reader waits for a pack that sleeps: the store thaws it")
            }
            Ok(Outcome::UnderWay) => {}
            Ok(Outcome::OverBudget) => {
                tracing::warn!(%pack, "a reader waits for a pack that sleeps, and `thaw_daily` of its class is used up: `tidegate thaw` brings it back");
            }
            Err(error) => {
                self.thawer.forget(&pack);
                tracing::warn!(%pack, %error, "a pack that sleeps could not be asked for; the next read tries again");
            }
        }
    }
}

/// The next pack, unless the appliance stops.
async fn next(waiting: &mut mpsc::Receiver<PackId>, stop: &CancellationToken) -> Option<PackId> {
    tokio::select! {
        () = stop.cancelled() => None,
        pack = waiting.recv() => pack,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidegate_replicator::store::MeteredStore;
    use tidegate_replicator::store::{
        Body, Classes, MemoryStore, Operation, PutMode, ReadOnlyStore, RequestCounts,
    };

    use super::*;

    #[test]
    fn a_day_has_room_for_so_much_and_for_one_pack_at_least() {
        let mut spent = Spent::default();
        assert!(spent.take(1, 500, 100), "the first goes whatever its size");
        assert!(!spent.take(1, 1, 100));
        assert!(spent.take(2, 60, 100) && spent.take(2, 40, 100) && !spent.take(2, 1, 100));
        assert!(spent.take(3, 1, 100));
        spent.give_back(3, 1);
        assert_eq!(spent, Spent { day: 3, bytes: 0 });
    }

    #[tokio::test]
    async fn what_the_store_refused_to_thaw_is_not_spent() {
        let (store, _) = asleep(2).await;
        let refusing = ReadOnlyStore::new(store.clone());
        let thawer = Thawer::default();
        let rule = ThawRule { daily_bytes: 15, ..ThawRule::default() };
        thawer.set_rules(HashMap::from([("GLACIER".parse().expect("a class"), rule)]));
        assert!(thawer.thaw(&refusing, pack(0), 7).await.is_err());
        assert!(thawer.thaw(&refusing, pack(1), 7).await.is_err(), "refused, not over the budget");
        assert_eq!(thawer.thaw(&*store, pack(0), 7).await.expect("asked"), Outcome::Asked);
        assert_eq!(thawer.thaw(&*store, pack(1), 7).await.expect("not today"), Outcome::OverBudget);
    }

    fn pack(number: u8) -> PackId {
        PackId::new([number; 32])
    }

    async fn asleep(packs: u8) -> (Arc<dyn Store>, Arc<RequestCounts>) {
        let glacier: StorageClass = "GLACIER".parse().expect("a class");
        let store = MemoryStore::new().freezing(
            std::slice::from_ref(&glacier),
            Classes::default(),
            Duration::from_hours(5),
        );
        for number in 0..packs {
            let name = pack_name(pack(number));
            let body = Body::Bytes(Bytes::from_static(b"ten bytes!"));
            store.put(&name, body, PutMode::Overwrite).await.expect("stored");
            store.change_class(&name, &glacier).await.expect("changed");
        }
        let metered = MeteredStore::new(Arc::new(store), "cold");
        let counts = metered.counts();
        (Arc::new(metered), counts)
    }

    #[tokio::test]
    async fn the_store_is_asked_once_for_each_pack_within_the_budget() {
        use Outcome::{Asked, OverBudget, UnderWay};
        let (store, counts) = asleep(4).await;
        let thawer = Thawer::default();
        let rule = ThawRule { daily_bytes: 25, ..ThawRule::default() };
        thawer.set_rules(HashMap::from([("GLACIER".parse().expect("a class"), rule)]));
        let mut outcomes = Vec::new();
        for number in [0, 0, 1, 2, 3] {
            outcomes.push(thawer.thaw(&*store, pack(number), 7).await.expect("asked"));
        }
        assert_eq!(outcomes, [Asked, UnderWay, Asked, OverBudget, OverBudget]);
        assert_eq!(counts.requests(Operation::Change), 2);
        assert_eq!(thawer.thaw(&*store, pack(2), 8).await.expect("asked"), Asked, "another day");
        assert!(thawer.thaw(&*store, pack(9), 8).await.is_err(), "there is none");
    }

    #[tokio::test]
    async fn packs_wait_once_and_those_beyond_the_bound_are_told_again() {
        let thawer = Thawer::default();
        let mut waiting = thawer.waiting.lock().take().expect("nobody has taken it");
        let packs = BTreeSet::from([pack(1), pack(2)]);
        thawer.wake(&packs);
        thawer.wake(&packs);
        let mut seen = Vec::new();
        while let Ok(pack) = waiting.try_recv() {
            seen.push(pack);
        }
        assert_eq!(seen, [pack(1), pack(2)]);
        drop(waiting);
        thawer.wake(&BTreeSet::from([pack(3)]));
        assert!(thawer.is_news(pack(3)), "it did not get a place");
    }
}

//! Locks of what is retained, on every target that locks objects: extended by the clock, before they end.
//!
//! A round extends what is due (`tidegate_replicator::collect::extend_locks`) of one target after the other; it is
//! begun four times in the rule's margin, so that one that fails is made up for while everything is locked for the
//! rule's period still. Where a round is, and when the last one ended, stands in `locks.json` in the data folder,
//! written after each batch of packs. A crash loses at most that batch, of which nothing is extended twice.
//!
//! A snapshot can be locked by its tag [`LOCKED_UNTIL_TAG`]: it is not removed before, by the store's clock, nor
//! forgotten by a policy, and its own object is locked until then at once; what it needs is locked as anything retained.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_chunker::{PackId, ShareId};
use tidegate_replicator::collect::{
    CollectError, CollectOptions, ExtendProgress, Extended, Observer, extend_locks,
};
use tidegate_replicator::repository::{SnapshotId, UtcNanos};
use tidegate_replicator::store::{ErrorKind, LockRule, SpecialStore, Store, Traffic, durable_file};
use tokio_util::sync::CancellationToken;

use super::{Appliance, ApplianceError};

/// The tag of a snapshot that is not removed before a time: RFC 3339 in UTC, or a date.
pub const LOCKED_UNTIL_TAG: &str = "tidegate.locked-until";

/// The time from a start to the first look.
const FIRST_AFTER: Duration = Duration::from_mins(10);
/// How often it is looked whether a round is due.
const LOOK_EVERY: Duration = Duration::from_mins(30);
/// Rounds that are begun in the time in which one must have ended.
const ROUNDS: u32 = 2;
/// The file of the book.
const FILE: &str = "locks.json";

/// What rounds may use.
#[derive(Clone, Debug)]
pub struct LockConfig {
    /// See [`CollectOptions::memory_bytes_max`].
    pub memory_bytes_max: u64,
    /// A local folder for what does not fit into memory, and for the book.
    pub folder: PathBuf,
}

/// How the locks of one target stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockReport {
    /// The address of its store.
    pub address: String,
    /// Its rule.
    pub rule: LockRule,
    /// When the last round that came to its end began; none if none has.
    pub ended: Option<UtcNanos>,
    /// Why the newest round did not end well, and when.
    pub failure: Option<(UtcNanos, String)>,
    /// Whether locks may have become shorter than the rule says: no round has ended in time.
    pub is_late: bool,
}

/// Where the rounds of one target are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    rule: LockRule,
    /// When the first look at it was.
    since: UtcNanos,
    /// When the last round that came to its end began.
    ended: Option<UtcNanos>,
    /// The round under way; none between rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    under_way: Option<UnderWay>,
    #[serde(skip)]
    failure: Option<(UtcNanos, String)>,
}

/// A round that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UnderWay {
    /// When.
    begun: UtcNanos,
    /// The pack up to which it has come; none before the first batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// The places of all targets, by address.
#[derive(Debug, Default)]
pub(super) struct LockBook(Mutex<BTreeMap<String, Place>>);

impl LockBook {
    /// What is written there. A book that cannot be read is empty: rounds begin anew.
    pub(super) fn open(folder: &Path) -> Self {
        let text = std::fs::read(folder.join(FILE)).unwrap_or_default();
        Self(Mutex::new(serde_json::from_slice(&text).unwrap_or_default()))
    }

    fn store(&self, folder: &Path) {
        let text = serde_json::to_vec(&*self.0.lock());
        let stored = text.map_err(std::io::Error::other);
        if let Err(error) = stored.and_then(|text| durable_file::replace(&folder.join(FILE), &text)) {
            tracing::warn!(%error, "the book of locks cannot be written; after a restart a round begins anew");
        }
    }

    /// The place of a target; a new one, when its rule is another.
    fn place(&self, address: &str, rule: LockRule, now: UtcNanos) -> Place {
        let mut places = self.0.lock();
        let place = places.get(address).filter(|place| place.rule == rule).cloned();
        let (ended, under_way, failure) = Default::default();
        let place = place.unwrap_or(Place { rule, since: now, ended, under_way, failure });
        places.insert(address.to_owned(), place.clone());
        place
    }

    fn change(&self, address: &str, change: impl FnOnce(&mut Place)) {
        if let Some(place) = self.0.lock().get_mut(address) {
            change(place);
        }
    }
}

impl Place {
    /// The time from the beginning of a round to the next one.
    fn round_every(&self) -> Duration {
        self.rule.round_every() / ROUNDS
    }

    /// Whether a round is to be begun, or gone on with. A clock that was turned back makes one due.
    fn is_due(&self, now: UtcNanos) -> bool {
        self.ended.is_none_or(|ended| apart(ended, now) >= self.round_every())
    }

    /// The round to go on with: the one under way, or a new one. One that was cut long ago begins anew: what it had looked
    /// at first may be due again.
    fn round(&self, now: UtcNanos) -> UnderWay {
        let under_way = self.under_way.clone().filter(|round| apart(round.begun, now) < self.round_every());
        under_way.unwrap_or(UnderWay { begun: now, after: None })
    }

    fn is_late(&self, now: UtcNanos) -> bool {
        apart(self.ended.unwrap_or(self.since), now) > self.rule.round_every()
    }
}

fn apart(one: UtcNanos, other: UtcNanos) -> Duration {
    Duration::from_nanos(one.as_nanos().abs_diff(other.as_nanos()))
}

/// Notes where a round is.
struct Noting<'a> {
    book: &'a LockBook,
    address: &'a str,
    begun: UtcNanos,
    folder: &'a Path,
}

impl ExtendProgress for Noting<'_> {
    fn at(&self, pack: PackId) {
        let (begun, after) = (self.begun, Some(pack.to_string()));
        self.book.change(self.address, |place| place.under_way = Some(UnderWay { begun, after }));
        self.book.store(self.folder);
    }
}

/// Ends a round when the appliance stops.
struct Stop(CancellationToken);

impl Observer for Stop {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

impl Appliance {
    /// Extends locks from now on, until the appliance is closed.
    pub fn start_extending_locks(self: &Arc<Self>, config: LockConfig) {
        let (appliance, stop) = (Arc::downgrade(self), self.stop.clone());
        self.loops.spawn(async move {
            let mut pause = FIRST_AFTER;
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                let Some(appliance) = appliance.upgrade() else { return };
                appliance.extend_due_locks(&config).await;
                pause = LOOK_EVERY;
            }
        });
    }

    /// A round of each target of which one is due.
    pub async fn extend_due_locks(&self, config: &LockConfig) {
        for store in self.locking_stores() {
            let (address, now) = (store.address(), self.now());
            let Some(rule) = store.capabilities().lock else { continue };
            if !self.locks.place(&address, rule, now).is_due(now) {
                continue;
            }
            let round = self.extend_locks_of(store, rule, config);
            match Traffic::Housekeeping.scope(round).await {
                Ok(done) => tracing::info!(address, ?done, "extended the locks of what is retained"),
                Err(CollectError::Cancelled) => return,
                Err(error) => {
                    tracing::warn!(address, %error, "locks were not all extended; the next look tries again");
                    let failure = Some((self.now(), error.to_string()));
                    self.locks.change(&address, |place| place.failure = failure);
                }
            }
        }
    }

    /// One round of one target.
    async fn extend_locks_of(
        &self,
        store: Arc<dyn Store>,
        rule: LockRule,
        config: &LockConfig,
    ) -> Result<Extended, CollectError> {
        let address = store.address();
        let round = self.locks.place(&address, rule, self.now()).round(self.now());
        let after = round.after.as_deref().and_then(PackId::from_hex);
        let repository = Arc::new(self.backend.repository.on(store));
        let options = CollectOptions {
            memory_bytes_max: config.memory_bytes_max,
            ..CollectOptions::new(self.now(), config.folder.clone())
        };
        let noting =
            Noting { book: &self.locks, address: &address, begun: round.begun, folder: &config.folder };
        let stop = Stop(self.stop.clone());
        let done = extend_locks(&repository, after, &options, (&stop, &noting)).await?;
        let ended = self.now();
        let failure = (done.failed > 0).then(|| {
            let failed = done.failed;
            (ended, format!("{failed} objects could not be locked for longer: the log names them"))
        });
        self.locks.change(&address, |place| {
            // What was looked at first was looked at when the round began: the next one is due by that.
            *place = Place { ended: Some(round.begun), under_way: None, failure, ..place.clone() };
        });
        self.locks.store(&config.folder);
        Ok(done)
    }

    /// How locks stand, of every target that has any.
    pub fn lock_reports(&self) -> Vec<LockReport> {
        let now = self.now();
        let report = |store: Arc<dyn Store>| {
            let (address, rule) = (store.address(), store.capabilities().lock?);
            let place = self.locks.place(&address, rule, now);
            let is_late = place.is_late(now);
            Some(LockReport { address, rule, ended: place.ended, failure: place.failure, is_late })
        };
        self.locking_stores().into_iter().filter_map(report).collect()
    }

    fn locking_stores(&self) -> Vec<Arc<dyn Store>> {
        let stores = std::iter::once(self.targets.lead()).chain(self.copies.stores());
        stores.filter(|store| store.capabilities().lock.is_some()).collect()
    }

    /// Refuses tags that lock a snapshot until no time that can be read.
    pub(super) fn check_lock_tag(tags: &BTreeMap<String, String>) -> Result<(), ApplianceError> {
        match tags.get(LOCKED_UNTIL_TAG) {
            Some(text) if parse_until(text).is_none() => {
                Err(ApplianceError::SnapshotLock { text: text.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Locks the object of a snapshot for as long as its tag says, where the target locks objects.
    pub(super) async fn lock_snapshot(
        &self,
        share: ShareId,
        id: SnapshotId,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), ApplianceError> {
        let store = self.targets.lead();
        let (Some(until), Some(rule)) = (locked_until(tags), store.capabilities().lock) else {
            return Ok(());
        };
        let (name, until) = (id.object(share), system(until));
        let state =
            store.lock(&name).await.map_err(tidegate_replicator::repository::RepositoryError::from)?;
        if until > rule.until(state.now) {
            let extended = store.extend_lock(&name, until).await;
            extended.map_err(tidegate_replicator::repository::RepositoryError::from)?;
        }
        Ok(())
    }

    /// Refuses while the tag of a snapshot locks it, by the store's clock.
    pub(super) async fn check_unlocked(&self, share: ShareId, id: SnapshotId) -> Result<(), ApplianceError> {
        let repository = &self.backend.repository;
        let snapshot = match repository.read_snapshot(share, id).await {
            Ok(snapshot) => snapshot,
            // Unknown is not unlocked.
            Err(error) if error.is_transient() => return Err(error.into()),
            // What can never be read was locked by nobody who can be asked.
            Err(_) => return Ok(()),
        };
        let Some(until) = locked_until(&snapshot.tags) else { return Ok(()) };
        let now = match repository.store().lock(&id.object(share)).await {
            Ok(state) => UtcNanos::from(state.now),
            Err(error) if error.kind() == ErrorKind::Missing => return Ok(()),
            Err(error) => return Err(tidegate_replicator::repository::RepositoryError::from(error).into()),
        };
        if until > now {
            return Err(ApplianceError::SnapshotLocked { snapshot: id.to_string(), until });
        }
        Ok(())
    }
}

/// Until when the tags of a snapshot lock it.
pub fn locked_until(tags: &BTreeMap<String, String>) -> Option<UtcNanos> {
    tags.get(LOCKED_UNTIL_TAG).and_then(|text| parse_until(text))
}

fn parse_until(text: &str) -> Option<UtcNanos> {
    UtcNanos::parse(text).or_else(|| UtcNanos::parse(&format!("{text}T00:00:00Z")))
}

fn system(time: UtcNanos) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(time.as_nanos()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use tidegate_replicator::store::LockMode;

    use super::*;

    const DAY: i64 = 86_400_000_000_000;

    #[test]
    fn a_round_is_begun_in_time_to_be_made_up_for() {
        let rule = LockRule { mode: LockMode::Governance, days: 30 };
        let ended = Some(UtcNanos::new(100 * DAY));
        let place = Place { rule, since: UtcNanos::new(0), ended, under_way: None, failure: None };
        assert!(!place.is_due(UtcNanos::new(102 * DAY)) && place.is_due(UtcNanos::new(103 * DAY)));
        assert!(!place.is_late(UtcNanos::new(105 * DAY)) && place.is_late(UtcNanos::new(106 * DAY)));
        assert!(place.is_due(UtcNanos::new(90 * DAY)), "the clock was turned back");
    }

    #[test]
    fn the_book_is_kept_and_a_new_rule_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let rule = LockRule { mode: LockMode::Compliance, days: 7 };
        let (book, now) = (LockBook::open(folder.path()), UtcNanos::new(DAY));
        book.place("s3://a", rule, now);
        book.change("s3://a", |place| place.ended = Some(now));
        let noting = Noting { book: &book, address: "s3://a", begun: now, folder: folder.path() };
        noting.at(PackId::new([7; 32]));
        let book = LockBook::open(folder.path());
        let place = book.place("s3://a", rule, UtcNanos::new(2 * DAY));
        let cut = UnderWay { begun: now, after: Some("07".repeat(32)) };
        assert_eq!((place.ended, place.under_way.as_ref()), (Some(now), Some(&cut)));
        let soon = UtcNanos::new(DAY + DAY / 4);
        assert_eq!(place.round(soon), cut, "a round that was cut is gone on with");
        let late = UtcNanos::new(9 * DAY);
        let anew = UnderWay { begun: late, after: None };
        assert_eq!(place.round(late), anew, "what it had looked at first may be due again");
        let longer = LockRule { days: 8, ..rule };
        assert_eq!(book.place("s3://a", longer, now).ended, None);
    }

    #[test]
    fn a_lock_of_a_snapshot_is_a_time_or_a_date() {
        let tags = |text: &str| BTreeMap::from([(LOCKED_UNTIL_TAG.to_owned(), text.to_owned())]);
        assert_eq!(locked_until(&tags("1970-01-02")), Some(UtcNanos::new(DAY)));
        assert_eq!(locked_until(&tags("1970-01-02T00:00:00Z")), Some(UtcNanos::new(DAY)));
        assert!(Appliance::check_lock_tag(&tags("tomorrow")).is_err());
        assert!(Appliance::check_lock_tag(&BTreeMap::new()).is_ok());
    }
}

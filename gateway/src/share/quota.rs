//! The quota of a share, and the account of what its files use.
//!
//! Owns the exact sum of what the files of a live map use, counting every transaction that was submitted,
//! and the decision whether one that makes it grow still fits. Every transaction asks in the step in which
//! it is submitted ([`super::Transaction::submit`]), so no change of the namespace gets past it.
//!
//! Relations, all under one lock, for bytes and for inodes alike:
//! * `used` counts the transactions that are in the journal, `reserved` the growth of those on their way;
//! * a growth is let in only if `used + reserved` stays within the limit with it, whoever else writes at the
//!   same time. What shrinks or stays equal is always let in;
//! * `over_since` has a time exactly while `used` is above the soft limit, once limits were set.
//!
//! Growth is counted before the append and taken back if there was none; what shrinks is counted after it.
//! So the sum is at no moment below what the journal holds.
//!
//! `used` may be above a limit: after the limit was lowered, a rollback, a move to where it is lower. Then
//! nothing grows until it is below.
//!
//! What survives: the sums stand in RocksDB, moved by the records of the changes. Since when they are above
//! the soft limit is a record of its own, submitted after the change that made it so; after a crash
//! between the two the grace period begins when the share is next served.

use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_replicator::repository::UtcNanos;

use super::ShareError;
use crate::live::{Batch, Change, Live, LiveError, MapId, Usage};

/// What a quota limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Bytes of data; holes, names and extended attributes do not count.
    Bytes,
    /// Files, directories and all other inodes.
    Inodes,
}

impl Resource {
    /// As people say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Inodes => "inodes",
        }
    }
}

/// Limits of one resource. The soft one is not above the hard one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// May be exceeded for as long as the grace period.
    pub soft: Option<u64>,
    /// Is never exceeded.
    pub hard: Option<u64>,
}

/// How much a share may use. By default: as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Of data.
    pub bytes: Limits,
    /// Of files.
    pub inodes: Limits,
    /// How long a soft limit may be exceeded before it counts as a hard one.
    pub grace: Duration,
}

/// Since when each soft limit has been exceeded without a break.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverSince {
    /// That of bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<UtcNanos>,
    /// That of inodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inodes: Option<UtcNanos>,
}

/// One resource of a share at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What its files use.
    pub used: u64,
    /// What they may use.
    pub limits: Limits,
    /// Since when that is above the soft limit.
    pub over_since: Option<UtcNanos>,
    /// Whether the soft limit counts as a hard one, because the grace period is over.
    pub grace_is_over: bool,
}

impl Standing {
    /// What is announced as the whole: the hard limit, or the soft one if there is only that.
    pub fn total(&self) -> Option<u64> {
        self.limits.hard.or(self.limits.soft)
    }

    /// What of that is not used.
    pub fn free(&self) -> Option<u64> {
        self.total().map(|total| total.saturating_sub(self.used))
    }

    /// What may be used of that now.
    pub fn available(&self) -> Option<u64> {
        let limit = if self.grace_is_over { self.limits.soft } else { self.total() };
        limit.map(|limit| limit.saturating_sub(self.used))
    }
}

/// A share with regard to its quota, at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaReport {
    /// Data.
    pub bytes: Standing,
    /// Files.
    pub inodes: Standing,
    /// How long a soft limit may be exceeded.
    pub grace: Duration,
}

/// One resource in the account.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    used: u64,
    reserved: u64,
    limits: Limits,
    over_since: Option<UtcNanos>,
}

impl Tally {
    fn grace_is_over(&self, grace: Duration, now: UtcNanos) -> bool {
        // A clock that was set back gives no time that has passed.
        let passed = |since: UtcNanos| (now.as_nanos() - since.as_nanos()).max(0).unsigned_abs();
        self.over_since.is_some_and(|since| u128::from(passed(since)) >= grace.as_nanos())
    }

    /// Whether it may grow by so much.
    fn admits(&self, growth: u64, grace: Duration, now: UtcNanos) -> bool {
        let limit = if self.grace_is_over(grace, now) { self.limits.soft } else { self.limits.hard };
        let wanted = (self.used + self.reserved).saturating_add(growth);
        growth == 0 || limit.is_none_or(|limit| wanted <= limit)
    }

    /// Counts what came or went, and gives back what was set aside for it.
    fn count(&mut self, delta: i64) {
        self.reserved -= growth(delta);
        self.used = self.used.saturating_add_signed(delta);
    }

    /// Takes note of when the soft limit was passed, in either direction.
    fn watch(&mut self, now: UtcNanos) {
        let is_over = self.limits.soft.is_some_and(|soft| self.used > soft);
        self.over_since = is_over.then(|| self.over_since.unwrap_or(now));
    }

    fn standing(&self, grace: Duration, now: UtcNanos) -> Standing {
        let grace_is_over = self.grace_is_over(grace, now);
        Standing { used: self.used, limits: self.limits, over_since: self.over_since, grace_is_over }
    }
}

#[derive(Debug, Default)]
struct Books {
    bytes: Tally,
    inodes: Tally,
    grace: Duration,
    /// Whether limits were set: until then nothing is refused, and what was recorded stays.
    served: bool,
    /// What the record says.
    recorded: OverSince,
}

impl Books {
    fn over_since(&self) -> OverSince {
        OverSince { bytes: self.bytes.over_since, inodes: self.inodes.over_since }
    }

    fn refuses(&self, bytes: u64, inodes: u64, now: UtcNanos) -> Option<Resource> {
        if !self.bytes.admits(bytes, self.grace, now) {
            Some(Resource::Bytes)
        } else if !self.inodes.admits(inodes, self.grace, now) {
            Some(Resource::Inodes)
        } else {
            None
        }
    }

    fn watch(&mut self, now: UtcNanos) {
        if self.served {
            self.bytes.watch(now);
            self.inodes.watch(now);
        }
    }
}

/// The account of a share; see the head of this module.
#[derive(Debug)]
pub struct Account {
    map: MapId,
    books: Mutex<Books>,
    /// Held while the record is written, so that the newest state is written last.
    recording: tokio::sync::Mutex<()>,
}

impl Account {
    /// Opens the account of a map of which RocksDB holds everything.
    pub(super) fn open(live: &Live, map: MapId) -> Result<Self, LiveError> {
        let usage = live.usage(map)?;
        let recorded = match live.database().system(&record_key(map))? {
            None => OverSince::default(),
            Some(record) => serde_json::from_slice(&record)
                .map_err(|_| LiveError::Undecodable("since when a soft limit is exceeded"))?,
        };
        let tally = |used, over_since| Tally { used, reserved: 0, limits: Limits::default(), over_since };
        let books = Books {
            bytes: tally(usage.bytes, recorded.bytes),
            inodes: tally(usage.inodes, recorded.inodes),
            recorded,
            ..Books::default()
        };
        Ok(Self { map, books: Mutex::new(books), recording: tokio::sync::Mutex::default() })
    }

    /// The change that lets a map begin with soft limits exceeded since then.
    pub(crate) fn begin_over_since(map: MapId, since: OverSince) -> Change {
        let record = serde_json::to_vec(&since).expect("a record of times has only strings");
        Change::System { key: Bytes::from(record_key(map)), value: Some(Bytes::from(record)) }
    }

    /// Sets the quota, from now on; also below what is used.
    pub fn set_quota(&self, quota: &Quota, now: UtcNanos) {
        let mut books = self.books.lock();
        (books.bytes.limits, books.inodes.limits) = (quota.bytes, quota.inodes);
        (books.grace, books.served) = (quota.grace, true);
        books.watch(now);
    }

    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        let books = self.books.lock();
        [books.bytes.limits, books.inodes.limits] != [Limits::default(); 2]
    }

    /// What the files use.
    pub fn used(&self) -> Usage {
        let books = self.books.lock();
        Usage { bytes: books.bytes.used, inodes: books.inodes.used }
    }

    /// Takes over what another gateway counted, and since when it saw soft limits exceeded.
    pub(crate) fn follow(&self, usage: Usage, since: OverSince, now: UtcNanos) {
        let mut books = self.books.lock();
        (books.bytes.used, books.inodes.used) = (usage.bytes, usage.inodes);
        (books.bytes.over_since, books.inodes.over_since) = (since.bytes, since.inodes);
        books.watch(now);
    }

    /// Since when soft limits have been exceeded.
    pub fn over_since(&self) -> OverSince {
        self.books.lock().over_since()
    }

    /// Where the share stands.
    pub fn report(&self, now: UtcNanos) -> QuotaReport {
        let books = self.books.lock();
        QuotaReport {
            bytes: books.bytes.standing(books.grace, now),
            inodes: books.inodes.standing(books.grace, now),
            grace: books.grace,
        }
    }

    /// What would be refused if the share grew by so much now.
    pub fn refuses(&self, bytes: u64, inodes: u64, now: UtcNanos) -> Option<Resource> {
        self.books.lock().refuses(bytes, inodes, now)
    }

    /// Lets a change in that adds so much (or takes it away), or refuses it. What it adds is set aside
    /// until the answer is settled or dropped.
    pub(super) fn reserve(
        &self,
        bytes: i64,
        inodes: i64,
        now: UtcNanos,
    ) -> Result<Reservation<'_>, ShareError> {
        let mut books = self.books.lock();
        if let Some(resource) = books.refuses(growth(bytes), growth(inodes), now) {
            return Err(ShareError::OverQuota { resource });
        }
        books.bytes.reserved += growth(bytes);
        books.inodes.reserved += growth(inodes);
        Ok(Reservation { account: self, bytes, inodes })
    }

    /// Brings the record in accord with the books, if it is not.
    pub(crate) async fn record(&self, live: &Live) -> Result<(), LiveError> {
        let differs = || {
            let books = self.books.lock();
            (books.served && books.recorded != books.over_since()).then(|| books.over_since())
        };
        if differs().is_none() {
            return Ok(());
        }
        let _recording = self.recording.lock().await;
        let Some(since) = differs() else { return Ok(()) };
        let batch = Batch { changes: vec![Self::begin_over_since(self.map, since)] };
        live.submit(batch, Bytes::new()).await?;
        self.books.lock().recorded = since;
        Ok(())
    }
}

fn growth(delta: i64) -> u64 {
    delta.max(0).unsigned_abs()
}

/// The record that holds since when soft limits are exceeded.
fn record_key(map: MapId) -> Vec<u8> {
    [b"over-since/", &map.0.to_be_bytes()[..]].concat()
}

/// Room set aside for a change that is being submitted.
#[derive(Debug)]
pub(super) struct Reservation<'a> {
    account: &'a Account,
    bytes: i64,
    inodes: i64,
}

impl Reservation<'_> {
    /// The change is in the journal: counts it.
    pub(super) fn settle(mut self, now: UtcNanos) {
        let account = self.account;
        let mut books = account.books.lock();
        books.bytes.count(std::mem::take(&mut self.bytes));
        books.inodes.count(std::mem::take(&mut self.inodes));
        books.watch(now);
    }
}

impl Drop for Reservation<'_> {
    /// There was no change; after [`Reservation::settle`] nothing is set aside any more.
    fn drop(&mut self) {
        let mut books = self.account.books.lock();
        books.bytes.reserved -= growth(self.bytes);
        books.inodes.reserved -= growth(self.inodes);
    }
}

//! What would come to which class. Reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate_chunker::PackId;

use super::health::Scrubbed;
use super::owed::owed;
use super::reads::LastReads;
use super::rule::{ArchiveRule, PackFacts, Reason, Verdict, judge};
use crate::collect::{CollectError, CollectOptions, MarkedPack, mark};
use crate::observer::Observer;
use crate::repository::{Opened, Repository, RepositoryError};
use crate::store::{STANDARD, StorageClass, Store};

/// How packs of one target are archived.
#[derive(Clone, Debug)]
pub struct ArchiveOptions {
    /// In whatever order.
    pub rules: Vec<ArchiveRule>,
    /// How it is marked, what is known of classes, and what a collection would repack.
    pub collect: CollectOptions,
    /// Packs that one run changes.
    pub packs_max: usize,
    /// The copies of the repository that are fed from this target: what one of them lacks stays.
    pub copies: Vec<Arc<dyn Store>>,
    /// What a scrub of this target knows.
    pub scrubbed: Scrubbed,
}

/// A pack that comes to another class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub pack: PackId,
    /// Its length in bytes.
    pub bytes: u64,
    /// The class that it has.
    pub from: Option<StorageClass>,
    /// The class that it comes to.
    pub to: StorageClass,
    /// Whether it is read and verified first: it will sleep, and no scrub has read it since it was written.
    pub to_be_read: bool,
}

/// Packs, and their length together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub packs: u64,
    /// Their length in bytes.
    pub bytes: u64,
}

impl Amount {
    /// One more.
    pub fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }
}

/// What a run would do, and why it leaves the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivePlan {
    /// All packs.
    pub all: Amount,
    /// All packs by the class that they have.
    pub classes: BTreeMap<String, Amount>,
    /// Those that come to another class, in order of id.
    pub moves: Vec<Move>,
    /// Those that would, but for the bound of one run.
    pub later: Amount,
    /// Those that stay, by why.
    pub stay: BTreeMap<Reason, Amount>,
}

impl ArchivePlan {
    /// Those that come to another class.
    pub fn moving(&self) -> Amount {
        let bytes = self.moves.iter().map(|one| one.bytes).sum();
        Amount { packs: self.moves.len() as u64, bytes }
    }
}

/// Marks, and judges every pack.
pub async fn plan(
    repository: &Arc<Repository<Opened>>,
    options: &ArchiveOptions,
    reads: &LastReads,
    observer: &dyn Observer,
) -> Result<ArchivePlan, CollectError> {
    if repository.store().capabilities().lock.is_some() {
        let why = "packs of a target with `lock` are not archived from here: a change of class is a copy, and the version \
                   before stays, locked and paid for; a lifecycle rule of the bucket may bring packs/ to a class that does not sleep";
        return Err(RepositoryError::Invalid(why.into()).into());
    }
    let mut rules = options.rules.clone();
    rules.sort_by_key(|rule| rule.after);
    let marked = mark(repository, &options.collect, observer).await?;
    let now = UNIX_EPOCH + Duration::from_nanos(options.collect.now.as_nanos().max(0) as u64);
    let (mut plan, mut moves) = (ArchivePlan::default(), Vec::new());
    for pack in &marked.packs {
        plan.all.add(pack.bytes);
        let class = pack.class.as_ref().map_or(STANDARD, StorageClass::as_str);
        plan.classes.entry(class.to_owned()).or_default().add(pack.bytes);
        let facts = facts(pack, options, reads, now);
        match judge(&facts, &rules, &options.collect.classes) {
            Verdict::Stays(reason) => plan.stay.entry(reason).or_default().add(pack.bytes),
            Verdict::Moves(rule) => moves.push(move_of(pack, rule, options)),
        }
    }
    let packs: BTreeSet<PackId> = moves.iter().map(|one| one.pack).collect();
    let owed = owed(repository, &options.copies, &packs, observer).await?;
    for one in moves {
        if owed.contains(&one.pack) {
            plan.stay.entry(Reason::Owed).or_default().add(one.bytes);
        } else if plan.moves.len() >= options.packs_max {
            plan.later.add(one.bytes);
        } else {
            plan.moves.push(one);
        }
    }
    Ok(plan)
}

fn move_of(pack: &MarkedPack, rule: &ArchiveRule, options: &ArchiveOptions) -> Move {
    let sleeps = options.collect.classes.sleeps(Some(&rule.class));
    Move {
        pack: pack.id,
        bytes: pack.bytes,
        from: pack.class.clone(),
        to: rule.class.clone(),
        to_be_read: sleeps && !options.scrubbed.has_read(pack.modified),
    }
}

fn facts(pack: &MarkedPack, options: &ArchiveOptions, reads: &LastReads, now: SystemTime) -> PackFacts {
    PackFacts {
        bytes: pack.bytes,
        age: now.duration_since(pack.modified).unwrap_or_default(),
        class: pack.class.clone(),
        is_going: pack.condemned
            || pack.in_open_plan
            // Nobody knows what is in it before the next round.
            || pack.is_kept
            || pack.is_dead()
            || pack.is_sparse(options.collect.repack_below_percent),
        has_metadata: pack.has_metadata,
        is_known: pack.chunk_bytes > 0,
        is_wounded: options.scrubbed.wounded.contains(&pack.id),
        unread_for: reads.unread_for(&pack.id),
    }
}

//! What the appliance reports, judged.
//!
//! Each rule looks at one kind of thing and gives a reading of every such thing that there is. A bound at which a
//! thing is wrong and a lower one at which it is right again lie apart, so that what wavers about one of them
//! neither raises nor clears.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::reading::{Reading, Verdict};
use super::recovery::recovery;
use crate::amounts::{bytes, seconds};
use crate::control::{
    AlarmCode, LockStatus, PolicyStatus, Severity, ShareState, ShareStatus, Status, TargetStatus,
};
use crate::settings::Alarms;

/// The room that is kept free, in percent of itself, at which a disk is well again.
const DISK_WELL_PERCENT: u64 = 125;
/// How far below the bound the dirty budget is well again, in percent of the budget.
const DIRTY_WELL_BELOW: u64 = 10;

/// So many turns of the scrub, of which there is one a minute, fail one after the other before that is wrong.
const SCRUB_TURNS: u32 = 3;
/// A round of the scrub may be late by this part of its time: a machine that was off makes up for it.
const SCRUB_LATE_PART: u64 = 4;
/// After a time off, the round that is owed begins within this.
const SCRUB_BEGINS: Duration = Duration::from_mins(5);

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    /// What the appliance reports.
    pub status: &'v Status,
    /// Of each target whether its backlog does not shrink, as far as that can be told.
    pub growing: &'v BTreeMap<String, bool>,
    /// From where on something is wrong.
    pub bounds: &'v Alarms,
    /// The time.
    pub now: Timestamp,
}

type Rule = fn(&View<'_>, &mut Vec<Reading>);

const RULES: [Rule; 6] = [shares, recovery, policies, targets, scrub, machine];

/// Everything there is to say about a gateway.
pub fn readings(view: &View<'_>) -> Vec<Reading> {
    let mut found = Vec::new();
    for rule in RULES {
        rule(view, &mut found);
    }
    found
}

/// A verdict of two bounds: wrong from one on, right up to the other.
fn judge(is_wrong: bool, is_right: bool, wrong: impl FnOnce() -> Verdict) -> Verdict {
    match (is_wrong, is_right) {
        (true, _) => wrong(),
        (false, true) => Verdict::Right,
        (false, false) => Verdict::Between,
    }
}

fn wrong(severity: Severity, after: Duration, message: String, todo: impl Into<String>) -> Verdict {
    Verdict::Wrong { severity, after, message, todo: todo.into() }
}

fn shares(view: &View<'_>, found: &mut Vec<Reading>) {
    let after = view.bounds.raise_after.duration();
    for share in &view.status.shares {
        let (name, subject) = (&share.name, format!("share:{}", share.name));
        let superseded = share.state == ShareState::Superseded;
        let verdict = judge(superseded, !superseded, || {
            let message = format!("another gateway leads share {name}; here it is read-only");
            let todo = format!(
                "what was not published is kept as a branch (`tidegate branch list {name}`); if the takeover is meant, \
                 `tidegate share rejoin {name}` has the share follow, else `--take-over` takes it back"
            );
            wrong(Severity::Critical, Duration::ZERO, message, todo)
        });
        found.push(Reading::new(AlarmCode::ShareSuperseded, &*subject, verdict));
        if !superseded && share.state != ShareState::Following {
            found.push(Reading::new(AlarmCode::RpoMissed, &*subject, protection(view, share)));
        }
        if let Some(quota) = &share.quota {
            let over = [("bytes", quota.bytes), ("inodes", quota.files)];
            let over = over.into_iter().find_map(|(of, limit)| Some((of, limit, limit.over_soft_since?)));
            let verdict = over.map_or(Verdict::Right, |(of, limit, since)| {
                let so = if limit.grace_is_over {
                    "nothing grows any more"
                } else {
                    "that is allowed for a while"
                };
                let message =
                    format!("share {name} has been above its soft limit of {of} since {since}; {so}");
                wrong(Severity::Warning, after, message, "remove files, or raise the quota in the settings")
            });
            found.push(Reading::new(AlarmCode::QuotaExceeded, &*subject, verdict));
        }
    }
}

/// Whether the newest head of a share is as young as its objective wants.
fn protection(view: &View<'_>, share: &ShareStatus) -> Verdict {
    let (name, objective, late) = (&share.name, share.rpo_seconds, share.rpo_now_seconds);
    let bound = objective.saturating_mul(u64::from(view.bounds.rpo_multiple));
    let why =
        share.reason.as_ref().map(|why| format!(" (the last commit failed: {why})")).unwrap_or_default();
    let todo = "see `tidegate status`: does the store answer, is the link fast enough? What was written since is on \
                this machine alone: keep its disks";
    if share.head.is_none() {
        let after = Duration::from_secs(bound).max(view.bounds.raise_after.duration());
        let message =
            format!("share {name} has never been published{why}; its objective is {}", seconds(objective));
        return wrong(Severity::Critical, after, message, todo);
    }
    judge(late > bound, late <= objective.max(bound / 2), || {
        let message = format!(
            "the newest head of share {name} is {} old and there are changes since{why}; its objective is {}",
            seconds(late),
            seconds(objective)
        );
        wrong(Severity::Critical, view.bounds.raise_after.duration(), message, todo)
    })
}

fn policies(view: &View<'_>, found: &mut Vec<Reading>) {
    for policy in &view.status.policies {
        let subject = format!("policy:{}", policy.name);
        found.push(Reading::new(AlarmCode::PolicyFailed, &*subject, last_run(view, policy)));
        found.push(Reading::new(AlarmCode::PolicyIncomplete, &*subject, wholeness(view, policy)));
        found.push(Reading::new(AlarmCode::PolicyOverdue, &*subject, lateness(view, policy)));
    }
}

fn last_run(view: &View<'_>, policy: &PolicyStatus) -> Verdict {
    let Some(run) = &policy.last_run else { return Verdict::Right };
    let Some(error) = &run.error else { return Verdict::Right };
    let message = format!("the run of policy {} at {} failed: {error}", policy.name, run.began);
    let todo = format!("it is tried again by itself; see `tidegate policy show {}` and the log", policy.name);
    wrong(Severity::Warning, view.bounds.raise_after.duration(), message, todo)
}

/// Whether the newest snapshots of a policy have all that its sources had.
fn wholeness(view: &View<'_>, policy: &PolicyStatus) -> Verdict {
    let Some(first) = policy.lacks.keys().next() else { return Verdict::Right };
    let lacks: Vec<String> =
        policy.lacks.iter().map(|(source, lacks)| format!("{source}: {lacks}")).collect();
    let message = format!("what policy {} saved last is not whole: {}", policy.name, lacks.join("; "));
    let todo = format!(
        "let the gateway read it, or leave it out by `exclude`; `tidegate --json source show {first}` names what is missing. \
         The newest whole snapshot is kept meanwhile"
    );
    wrong(Severity::Warning, view.bounds.raise_after.duration(), message, todo)
}

fn lateness(view: &View<'_>, policy: &PolicyStatus) -> Verdict {
    let late = policy.due.map(|due| view.now.duration_since(due).as_secs());
    let late = late.and_then(|late| u64::try_from(late).ok()).unwrap_or(0);
    judge(late > view.bounds.policy_late_after.duration().as_secs(), late == 0, || {
        let message = format!("policy {} was to run {} ago, and has not done so", policy.name, seconds(late));
        let todo = format!("see `tidegate policy show {}`; `tidegate policy run` runs it now", policy.name);
        wrong(Severity::Critical, Duration::ZERO, message, todo)
    })
}

fn targets(view: &View<'_>, found: &mut Vec<Reading>) {
    for target in &view.status.targets {
        let (name, subject) = (&target.name, format!("target:{}", target.name));
        let verdict = judge(!target.reachable, target.reachable, || {
            let failure = target.last_failure.as_ref();
            let why = failure.map_or_else(|| "its calls fail".to_owned(), |failure| failure.message.clone());
            let message = format!("target {name} ({}) does not do its work: {why}", target.address);
            let todo = "clients are served from this machine as long as its dirty budget lasts (`tidegate status`); \
                        see network, credentials and room of the store";
            wrong(Severity::Critical, view.bounds.store_away_after.duration(), message, todo)
        });
        found.push(Reading::new(AlarmCode::StoreAway, &*subject, verdict));
        let grows = view.growing.get(name);
        let verdict = judge(grows == Some(&true), grows == Some(&false), || {
            let waits = bytes(target.backlog_bytes);
            let message = format!("{waits} wait for target {name}, and do not become less");
            let todo =
                "more is written than goes up: see upload_rate and connections of the target, and the link";
            wrong(Severity::Warning, Duration::ZERO, message, todo)
        });
        found.push(Reading::new(AlarmCode::BacklogGrows, &*subject, verdict));
        found.push(Reading::new(AlarmCode::ClockDiffers, &*subject, clock(view, target)));
        if let Some(lock) = &target.lock {
            found.push(Reading::new(AlarmCode::LocksLate, &*subject, locks(view, target, lock)));
        }
        if !target.leads {
            found.push(Reading::new(AlarmCode::CopyBehind, &*subject, behind(view, target)));
            found.push(Reading::new(AlarmCode::CopyObstructed, &*subject, obstructed(view, target)));
        }
    }
}

/// Whether a copy follows.
fn behind(view: &View<'_>, target: &TargetStatus) -> Verdict {
    let Some(late) = target.behind_seconds else { return Verdict::Between };
    let bound = view.bounds.copy_behind_after.duration().as_secs();
    judge(late > bound, late <= bound / 2, || {
        let message = format!("target {} is {} behind the target that leads", target.name, seconds(late));
        let todo = "what was published since is on the other targets alone: see `tidegate target list`, and whether \
                    the link is fast enough";
        wrong(Severity::Warning, view.bounds.raise_after.duration(), message, todo)
    })
}

/// Whether anything keeps a copy from becoming whole.
fn obstructed(view: &View<'_>, target: &TargetStatus) -> Verdict {
    let obstacles = &target.obstacles;
    judge(!obstacles.is_empty(), obstacles.is_empty(), || {
        let message = format!("target {} does not become whole: {}", target.name, obstacles.join("; "));
        let todo =
            "run `tidegate check`; packs that one target lacks come from another by `tidegate target repair`";
        wrong(Severity::Critical, view.bounds.raise_after.duration(), message, todo)
    })
}

fn clock(view: &View<'_>, target: &TargetStatus) -> Verdict {
    let Some(ahead) = target.clock_ahead_ms else { return Verdict::Between };
    let (apart, most) = (ahead.unsigned_abs() / 1000, view.bounds.clock_apart_max.duration().as_secs());
    judge(apart > most, apart <= most / 2, || {
        let (name, apart) = (&target.name, seconds(apart));
        let side = if ahead > 0 { "behind" } else { "ahead of" };
        let message = format!("the clock of this machine is {apart} {side} that of target {name}");
        let todo =
            "set the clock by NTP: stores refuse requests that are 15 minutes off, and ages count by it";
        wrong(Severity::Warning, view.bounds.raise_after.duration(), message, todo)
    })
}

/// Whether what is needed is locked for as long as the rule of the target says.
fn locks(view: &View<'_>, target: &TargetStatus, lock: &LockStatus) -> Verdict {
    let Some(late) = &lock.late else { return Verdict::Right };
    let (name, days) = (&target.name, lock.days);
    let message = format!("what is needed on target {name} may be locked for less than {days} days: {late}");
    let todo = "see the log and `tidegate target list`: do the credentials allow longer locks (PutObjectRetention), and does \
                the store answer?";
    wrong(Severity::Critical, view.bounds.raise_after.duration(), message, todo)
}

/// Whether packs on the target are read and verified as the settings say.
fn scrub(view: &View<'_>, found: &mut Vec<Reading>) {
    let scrub = &view.status.scrub;
    let verdict = match &scrub.failure {
        None => Verdict::Right,
        Some(failure) if failure.turns < SCRUB_TURNS => Verdict::Between,
        Some(failure) => {
            let (turns, at, why) = (failure.turns, failure.at, &failure.message);
            let message = format!("the scrub has failed {turns} times in a row, last at {at}: {why}");
            let todo = "it is tried again every minute, and nothing is lost by that; does the store answer? \
                        `tidegate scrub status` says how far it is";
            wrong(Severity::Warning, view.bounds.raise_after.duration(), message, todo)
        }
    };
    found.push(Reading::new(AlarmCode::ScrubFailed, "", verdict));
    let (every, late) = (scrub.every_seconds.unwrap_or(0), scrub.late_seconds);
    let verdict = judge(late > every / SCRUB_LATE_PART, late == 0, || {
        let (every, late) = (seconds(every), seconds(late));
        let message =
            format!("every pack was to be read and verified once in {every}; the round is {late} late");
        let todo = "see `tidegate scrub status`: does the store answer, and do daily_bytes and daily_requests of [scrub] \
                    allow so much? Raise them, or every";
        wrong(Severity::Warning, view.bounds.raise_after.duration().max(SCRUB_BEGINS), message, todo)
    });
    found.push(Reading::new(AlarmCode::ScrubOverdue, "", verdict));
}

/// What concerns the gateway as a whole.
fn machine(view: &View<'_>, found: &mut Vec<Reading>) {
    let status = view.status;
    found.push(Reading::new(AlarmCode::CollectionFailed, "", collection(view)));
    let lost = status.lost_parts;
    let verdict = judge(lost > 0, lost == 0, || {
        let message = format!(
            "{lost} parts of packs, heads or snapshots are missing or damaged on a target, and no other target has them"
        );
        let todo = "see `tidegate scrub status` for what they are of; a target that was away is asked again within a day, or by \
                    `tidegate scrub run`; writing the same content again heals them too";
        wrong(Severity::Critical, Duration::ZERO, message, todo)
    });
    found.push(Reading::new(AlarmCode::PartsLost, "", verdict));
    let (free, reserve) = (status.journal.free_bytes, status.journal.reserve_bytes);
    let verdict = judge(free < reserve, free >= reserve / 100 * DISK_WELL_PERCENT, || {
        let message = format!(
            "the file system of the local state has {} free; {} are kept for making room",
            bytes(free),
            bytes(reserve)
        );
        let todo = "make it larger, or find out what else fills it; the cache has given way already";
        wrong(Severity::Critical, view.bounds.raise_after.duration(), message, todo)
    });
    found.push(Reading::new(AlarmCode::DiskFull, "", verdict));
    found.push(Reading::new(AlarmCode::DirtyFull, "", dirty(view)));
    let damaged = &status.unreadable_keys;
    let verdict = judge(!damaged.is_empty(), damaged.is_empty(), || {
        let message = format!("{} cannot be read: what it alone opens stays closed", damaged.join(", "));
        let todo = "put the object back from a copy of the repository; `tidegate check` says what it opens";
        wrong(Severity::Critical, Duration::ZERO, message, todo)
    });
    found.push(Reading::new(AlarmCode::KeyDamaged, "", verdict));
}

fn collection(view: &View<'_>) -> Verdict {
    let Some(collection) = &view.status.collection else { return Verdict::Right };
    let Some(error) = &collection.error else { return Verdict::Right };
    let message = format!("garbage was not collected at {}: {error}", collection.ended);
    let todo = "nothing is lost, and the next round tries again; `tidegate gc --plan` says more";
    wrong(Severity::Warning, view.bounds.raise_after.duration(), message, todo)
}

fn dirty(view: &View<'_>) -> Verdict {
    let (used, bound) = (view.status.cache.dirty_percent, u64::from(view.bounds.dirty_percent));
    judge(used >= bound, used < bound.saturating_sub(DIRTY_WELL_BELOW), || {
        let severity = if used >= 100 { Severity::Critical } else { Severity::Warning };
        let so = if used >= 100 { "writes wait" } else { "writes slow down from 70 % on" };
        let (dirty, most) = (bytes(view.status.cache.dirty_bytes), bytes(view.status.cache.dirty_bytes_max));
        let message = format!(
            "{used} % of what may wait for the store is used: {so} ({dirty} wait; the bound is {most}, or less by \
             disk and memory)"
        );
        let todo = "let the uploads keep up (store, link, upload_rate), or raise cache.dirty";
        wrong(severity, view.bounds.raise_after.duration(), message, todo)
    })
}

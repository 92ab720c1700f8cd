//! Crash points: named places where a test can make the process die.
//!
//! Owns the list of all names ([`POINTS`]) and the one function that dies at them ([`point`]). The
//! crash sweep runs the binary once for each name, lets it die there, starts it again and checks the
//! invariants.
//!
//! Promises: without the environment variable `TIDEGATE_CRASH_AT` a point costs one atomic load and
//! does nothing. With `TIDEGATE_CRASH_AT="name"` or `"name:nth"` the process aborts when the point is
//! reached for the nth time (1 is the first): no destructor runs, no buffer is flushed, as with
//! `kill -9`. A name that is not in [`POINTS`] aborts at once, so that a sweep cannot pass by
//! misspelling.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable that names the point to die at.
pub const VARIABLE: &str = "TIDEGATE_CRASH_AT";

/// Every crash point, by module, in the order in which a run meets them.
pub const POINTS: &[&str] = &[
    "journal.open.cut",
    "journal.segment.headed",
    "journal.segment.renamed",
    "journal.segment.entered",
    "journal.records.written",
    "journal.records.synced",
    "journal.segment.sealed",
    "journal.segment.removed",
    "commit.drained",
    "commit.swapped",
    "commit.tree",
    "upload.pack",
    "upload.indexed",
    "commit.published",
    "commit.rebased",
    "aside.named",
    "aside.uploaded",
    "aside.stored",
    "aside.noted",
    "rejoin.recorded",
    "apply.built",
    "apply.path",
    "cache.stage.flushed",
    "cache.pack.removed",
    "complete.shared",
    "complete.named",
];

/// Where this process shall die.
struct Target {
    name: String,
    visits_left: AtomicU64,
}

/// Dies here if the environment says so; see the head of this file.
pub fn point(name: &'static str) {
    static TARGET: OnceLock<Option<Target>> = OnceLock::new();
    let target = TARGET.get_or_init(|| std::env::var(VARIABLE).ok().map(|value| parse(&value)));
    if let Some(target) = target {
        visit(target, name);
    }
}

fn visit(target: &Target, name: &str) {
    if !POINTS.contains(&name) || !POINTS.contains(&target.name.as_str()) {
        die(&format!("{name} or {} is not a crash point", target.name));
    }
    if target.name == name && target.visits_left.fetch_sub(1, Ordering::Relaxed) == 1 {
        die(&format!("crash point {name}"));
    }
}

fn parse(value: &str) -> Target {
    let (name, nth) = match value.rsplit_once(':') {
        Some((name, nth)) => (name, nth.parse().unwrap_or(0)),
        None => (value, 1),
    };
    if nth == 0 {
        die(&format!("{VARIABLE}={value}: want name or name:nth, nth from 1"));
    }
    Target { name: name.to_owned(), visits_left: AtomicU64::new(nth) }
}

fn die(why: &str) -> ! {
    eprintln!("abort: {why}");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_listed_once() {
        let mut names = POINTS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), POINTS.len());
    }

    #[test]
    fn a_target_is_a_name_or_a_name_and_a_count() {
        let first = parse("journal.open.cut");
        assert_eq!((first.name.as_str(), first.visits_left.into_inner()), ("journal.open.cut", 1));
        let third = parse("journal.open.cut:3");
        assert_eq!((third.name.as_str(), third.visits_left.into_inner()), ("journal.open.cut", 3));
    }

    #[test]
    fn without_the_variable_nothing_happens() {
        if std::env::var_os(VARIABLE).is_none() {
            point("journal.open.cut");
        }
    }
}

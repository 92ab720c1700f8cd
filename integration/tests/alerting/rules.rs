//! The rules of the package with times that a test can wait for. Nothing else of them changes, and what is to be changed must
//! be there: else a test would try rules that nobody has.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// How long anything has to be so before it fires.
const FOR: &str = "for: 3s";

/// What stands in the rules, and what in its place; in this order.
const SHORTER: &[(&str, &str)] = &[
    // A day, or a week, and the last hour, as 40 seconds and 10.
    ("[1d] offset 1h) / 24", "[40s] offset 10s) / 4"),
    ("[7d] offset 1h", "[40s] offset 10s"),
    ("total offset 1d", "total offset 40s"),
    // How long the free room is looked at, and how far ahead.
    ("[1h:1m]", "[15s:1s]"),
    ("4 * 3600", "60"),
    ("tidegate_uptime_seconds[30m]", "tidegate_uptime_seconds[1m]"),
    // The windows of rates and growth.
    ("[1h]", "[10s]"),
    ("[30m] offset 30m", "[10s] offset 10s"),
    ("[30m]", "[10s]"),
    ("[5m]", "[15s]"),
    // Bounds of time.
    ("tidegate_target_behind_seconds > 3600", "tidegate_target_behind_seconds > 8"),
    ("(tidegate_policy_due_seconds > 0) > 900", "(tidegate_policy_due_seconds > 0) > 5"),
    ("(tidegate_journal_round_began_seconds > 0) > 30", "(tidegate_journal_round_began_seconds > 0) > 3"),
    // Least amounts: of an hour, in seconds.
    ("> 1073741824", "> 1048576"),
    ("> 5e6", "> 1e3"),
    ("rate(tidegate_cache_misses_total[10s]) > 10", "rate(tidegate_cache_misses_total[10s]) > 1"),
];

/// Where the rules lie.
pub(super) fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/monitoring/alerts.yml")
}

/// The rules, shortened.
pub(super) fn shortened() -> String {
    let mut rules = fs::read_to_string(file()).expect("the rules");
    for (long, short) in SHORTER {
        assert!(rules.contains(long), "the rules have no {long:?}: has a rule changed?");
        rules = rules.replace(long, short);
    }
    let mut count = 0;
    let shortened = rules.lines().fold(String::new(), |mut text, line| {
        let is_for = line.trim().starts_with("for: ");
        count += usize::from(is_for);
        let line = if is_for { format!("        {FOR}") } else { line.to_owned() };
        writeln!(text, "{line}").expect("writing to a string cannot fail");
        text
    });
    assert!(count > 10, "only {count} rules wait before they fire");
    shortened
}

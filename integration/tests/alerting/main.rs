//! Goal: whoever is on duty hears of each thing that can go wrong, from the rules that the package brings: a cause makes its
//! alert fire, it ends when the cause does, and a gateway that is well is silent.
//!
//! Method: the real program with its metrics on an address, a real Prometheus that scrapes it twice a second, and the rules of
//! `packaging/monitoring/alerts.yml` with shorter times (`rules`). Each test breaks something as the world does: a hook that
//! fails, a repository that is moved away, a disk that hangs, a pack that is spoilt.
//!
//! They belong to the nightly tests, and say so in any other run.

mod disk;
mod loss;
mod outage;
mod policies;
mod prometheus;
mod recovery;
mod rules;
mod slow_store;
mod stage;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of all alerts in the rules.
fn alerts() -> BTreeSet<String> {
    let text = fs::read_to_string(rules::file()).expect("the rules");
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn each_alert_is_fired_by_a_test_here_and_explained_in_the_book() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = fs::read_dir(here.join("tests/alerting")).expect("these sources");
    let sources = sources.map(|entry| fs::read_to_string(entry.expect("an entry").path()).expect("text"));
    let sources: String = sources.collect();
    let page = fs::read_to_string(here.join("../docs/book/src/monitoring.md")).expect("the page");
    let alerts = alerts();
    assert!(alerts.len() > 20, "{alerts:?}");
    for alert in alerts {
        assert!(sources.contains(&format!("\"{alert}\"")), "no test makes {alert} fire");
        assert!(page.contains(&format!("`{alert}`")), "docs/book/src/monitoring.md says nothing of {alert}");
    }
}

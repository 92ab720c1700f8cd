//! Metrics of the runs of runbooks, read off their reports when somebody asks for them.
//!
//! Runs are processes of their own, which nobody can ask; what came of them lies below the data folder.

use std::collections::BTreeSet;
use std::path::Path;

use super::metrics;
use crate::runbook::{Outcome, Report, Runs};

/// The most runs that are looked at, the newest first.
const LOOKED_AT_MAX: usize = 100;

/// Sets what is measured of the newest run of each runbook that has ended. Reads files.
pub fn record_runs(data: &Path) {
    let runs = Runs::below(data);
    let names = runs.names().unwrap_or_else(|error| {
        tracing::debug!(%error, "runs of runbooks are not listed for the metrics");
        Vec::new()
    });
    let mut seen = BTreeSet::new();
    for name in names.iter().rev().take(LOOKED_AT_MAX) {
        let Ok(report) = runs.kept_report(name) else { continue };
        let (Some(outcome), Some(ended)) = (report.outcome, report.ended) else { continue };
        if seen.insert((report.runbook.clone(), report.mode.as_str())) {
            record(&report, outcome, ended);
        }
    }
}

fn record(report: &Report, outcome: Outcome, ended: jiff::Timestamp) {
    let label = [report.runbook.as_str(), report.mode.as_str()];
    let seconds = |milliseconds: u64| milliseconds as f64 / 1e3;
    let rto = &report.rto_checked;
    metrics::RUNBOOK_RTO_SECONDS.with(&label).set(rto.measured_ms.map_or(f64::NAN, seconds));
    metrics::RUNBOOK_RTO_OBJECTIVE_SECONDS.with(&label).set(rto.objective_ms.map_or(0.0, seconds));
    metrics::RUNBOOK_ENDED_SECONDS.with(&label).set(ended.as_second() as f64);
    metrics::RUNBOOK_FAILED.with(&label).set(f64::from(u8::from(outcome != Outcome::Done)));
}

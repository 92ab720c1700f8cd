//! A policy over a time to come, without a gateway: what would be there in the end, as if every run came in time.

use jiff::Timestamp;

use super::keep::{Dated, Reasons, Rules};
use super::schedule::Schedule;

/// The most runs of a simulation: a little more than a year of minutes.
pub const RUNS_MAX: u64 = 530_000;

/// What a simulation found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// How often the policy ran.
    pub runs: u64,
    /// The most snapshots that there were after a run.
    pub most: usize,
    /// What is kept in the end, oldest first.
    pub kept: Vec<(Timestamp, Reasons)>,
}

/// There would be more than [`RUNS_MAX`] runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {RUNS_MAX} runs in that time")]
pub struct TooManyRuns;

/// Runs after `from` and not after `to`, each followed by the rules.
pub fn simulate(
    schedule: &Schedule,
    rules: &Rules,
    from: Timestamp,
    to: Timestamp,
) -> Result<Simulation, TooManyRuns> {
    let mut found = Simulation::default();
    let mut kept: Vec<Dated> = Vec::new();
    let mut next = schedule.next_after(from);
    while let Some(run) = next.filter(|run| *run <= to) {
        found.runs += 1;
        if found.runs > RUNS_MAX {
            return Err(TooManyRuns);
        }
        kept.push(rules.date(run, []));
        let mut reasons = rules.reasons(&kept).into_iter();
        kept.retain(|_| reasons.next().is_some_and(Reasons::is_kept));
        found.most = found.most.max(kept.len());
        next = schedule.next_after(run);
    }
    let reasons = rules.reasons(&kept);
    found.kept = kept.iter().map(|snapshot| snapshot.at).zip(reasons).collect();
    Ok(found)
}

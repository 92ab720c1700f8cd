//! Runbooks and runs, for people.

use super::super::format::table;
use super::{Listed, ListedRun, ListedRunbook};
use crate::runbook::{Check, Objective, Outcome, Planned, Report, StepReport, shown_duration};

pub(super) fn listed(listed: &Listed) -> String {
    let runbook = |runbook: &ListedRunbook| {
        [
            runbook.name.clone(),
            runbook.shares.join(","),
            runbook.steps.to_string(),
            runbook.from.to_owned(),
            runbook.about.clone(),
        ]
    };
    let run =
        |run: &ListedRun| [run.run.clone(), run.runbook.clone(), run.mode.to_owned(), run.outcome.to_owned()];
    let runbooks: Vec<_> = listed.runbooks.iter().map(runbook).collect();
    let runs: Vec<_> = listed.runs.iter().map(run).collect();
    format!(
        "{}\n\n{}",
        table(["RUNBOOK", "SHARES", "STEPS", "FROM", "ABOUT"], &runbooks),
        table(["RUN", "RUNBOOK", "MODE", "OUTCOME"], &runs)
    )
}

fn duration(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(|| "-".to_owned(), shown_duration)
}

pub(super) fn planned(steps: &[Planned]) -> String {
    let row = |step: &Planned| {
        [
            step.rank.to_string(),
            step.step.clone(),
            step.does.clone(),
            step.after.join(","),
            duration(Some(step.time_max_ms)),
            step.retries.to_string(),
            step.on_failure.clone(),
            duration(step.expected_ms),
        ]
    };
    let heading = ["RANK", "STEP", "DOES", "AFTER", "AT MOST", "RETRIES", "ON FAILURE", "EXPECTED"];
    table(heading, &steps.iter().map(row).collect::<Vec<_>>())
}

pub(super) fn checks(found: &[Check]) -> String {
    let row =
        |check: &Check| [check.what.clone(), check.problem.clone().unwrap_or_else(|| "there".to_owned())];
    table(["WHAT", "HOW IT IS"], &found.iter().map(row).collect::<Vec<_>>())
}

fn objective(name: &str, objective: &Objective) -> [String; 4] {
    let verdict = match objective.is_kept() {
        Some(true) => "kept",
        Some(false) => "MISSED",
        None => "-",
    };
    [name.to_owned(), duration(objective.measured_ms), duration(objective.objective_ms), verdict.to_owned()]
}

pub(super) fn report(report: &Report) -> String {
    let outcome = report.outcome.map_or("under way", Outcome::as_str);
    let step = |step: &StepReport| {
        [
            step.step.clone(),
            step.standing.as_str().to_owned(),
            duration(step.took_ms),
            duration(step.expected_ms),
            step.attempts.to_string(),
            step.note.clone(),
        ]
    };
    let steps: Vec<_> = report.steps.iter().map(step).collect();
    let objectives = [
        objective("recovery time, to the first byte", &report.rto_first_byte),
        objective("recovery time, to the last check", &report.rto_checked),
        objective("recovery point", &report.rpo),
    ];
    let shares: Vec<String> = report.shares.iter().map(share).collect();
    let mut parts = vec![
        format!("{} of runbook {}: {outcome} (run {})", report.mode.as_str(), report.runbook, report.run),
        table(["STEP", "HOW IT IS", "TOOK", "PLANNED", "ATTEMPTS", "SAID"], &steps),
        table(["OBJECTIVE", "MEASURED", "PROMISED", ""], &objectives),
        shares.join("\n"),
    ];
    if let Some(torn_down) = report.torn_down {
        let taken = if torn_down { "everything was taken away" } else { "SOMETHING IS LEFT" };
        let repository = if report.differences.is_empty() {
            "the repository is as it was".to_owned()
        } else {
            format!("THE REPOSITORY IS NOT AS IT WAS: {}", report.differences.join("; "))
        };
        let meanwhile = match report.published_meanwhile {
            0 => String::new(),
            count => format!(" (production published or took away {count} objects meanwhile)"),
        };
        parts.push(format!("{taken}; {repository}{meanwhile}"));
    }
    parts.join("\n\n")
}

fn share(share: &crate::runbook::ShareEvidence) -> String {
    let unpublished = share.unpublished_bytes.map_or_else(
        || "production could not be asked what it had acknowledged since".to_owned(),
        |bytes| format!("production had acknowledged {bytes} bytes since"),
    );
    let head = share.head.as_deref().unwrap_or("none");
    format!("share {}: newest head {head}, {} old; {unpublished}", share.share, duration(share.age_ms))
}

pub(super) fn history(reports: &[Report]) -> String {
    let row = |report: &Report| {
        [
            report.began.strftime("%Y-%m-%d %H:%M").to_string(),
            report.runbook.clone(),
            report.mode.as_str().to_owned(),
            report.outcome.map_or("under way", Outcome::as_str).to_owned(),
            duration(report.rto_first_byte.measured_ms),
            duration(report.rto_checked.measured_ms),
            duration(report.rto_checked.objective_ms),
            duration(report.rpo.measured_ms),
            duration(report.rpo.objective_ms),
            report.run.clone(),
        ]
    };
    let heading =
        ["BEGAN", "RUNBOOK", "MODE", "OUTCOME", "FIRST BYTE", "CHECKED", "RTO", "HEAD WAS OLD", "RPO", "RUN"];
    table(heading, &reports.iter().map(row).collect::<Vec<_>>())
}

//! The report as a page: one file, nothing from elsewhere, readable in print, in light and in dark.

use std::fmt::Write;

use super::Outcome;
use super::plot::{plot, shown};
use super::report::{Objective, Report, StepReport};
use super::state::{Standing, Undo};

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fff; --soft: #66707f; --line: #d5dae1; --good: #1a7f4b; \
--bad: #b3261e; --mark: #2f6fb5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e9ef; --paper: #14181e; --soft: #98a3b3; --line: #323a46; \
--good: #5cc98f; --bad: #ff8a80; --mark: #7fb2ee; } }
@media print { :root { --ink: #000; --paper: #fff; --soft: #444; --line: #bbb; --good: #064; --bad: #900; --mark: #024; } \
body { max-width: none; } tr, svg { break-inside: avoid; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem; margin: 2rem auto; \
padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p.about { color: var(--soft); margin-top: 0; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; } .good { color: var(--good); } .bad { color: var(--bad); }
.bar { fill: var(--mark); } .bar.failed { fill: var(--bad); } .bar.planned { fill: none; stroke: var(--soft); stroke-dasharray: 3 2; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); } .axis, .stem { stroke: var(--line); }
.objective { stroke: var(--bad); stroke-dasharray: 5 4; } text.objective { stroke: none; fill: var(--bad); }
.drill { fill: var(--mark); } .real { fill: var(--good); } .missed { fill: var(--bad); }
code { font-size: .9em; overflow-wrap: anywhere; }
";

/// The page of a report; `past` are the reports of earlier runs of the same runbook, oldest first.
pub fn page(report: &Report, past: &[Report]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} {}: {}</title><style>\n{STYLE}</style></head><body>\n",
        text(&report.runbook),
        report.mode.as_str(),
        report.outcome.map_or("under way", Outcome::as_str)
    );
    add(&mut page, &head(report));
    add(&mut page, &objectives(report));
    add(&mut page, &shares(report));
    add(&mut page, &steps(report));
    add(&mut page, &left(report));
    add(&mut page, &history(report, past));
    add(&mut page, &events(report));
    page.push_str("</body></html>\n");
    page
}

fn add(page: &mut String, part: &str) {
    writeln!(page, "{part}").expect("writing to a string cannot fail");
}

/// A text as HTML.
fn text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

fn head(report: &Report) -> String {
    let (class, outcome) = match report.outcome {
        None => ("", "under way"),
        Some(Outcome::Done) => ("good", "done"),
        Some(outcome) => ("bad", outcome.as_str()),
    };
    let ended =
        report.ended.map(|ended| format!(", ended {}", ended.strftime("%H:%M:%S"))).unwrap_or_default();
    format!(
        "<h1>{} of runbook {}: <span class=\"{class}\">{outcome}</span></h1><p class=\"about\">{}</p>\
         <p>Began {}{ended}, on {}, from <code>{}</code>. Run <code>{}</code>.</p>",
        report.mode.as_str(),
        text(&report.runbook),
        text(&report.about),
        report.began.strftime("%Y-%m-%d %H:%M:%S UTC"),
        text(&report.host),
        text(&report.repository),
        text(&report.run)
    )
}

fn duration(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(|| "\u{2013}".to_owned(), shown)
}

fn verdict(objective: &Objective) -> &'static str {
    match objective.is_kept() {
        Some(true) => "<span class=\"good\">kept</span>",
        Some(false) => "<span class=\"bad\">missed</span>",
        None => "",
    }
}

fn objectives(report: &Report) -> String {
    let row = |name: &str, objective: &Objective| {
        format!(
            "<tr><td>{name}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
            duration(objective.measured_ms),
            duration(objective.objective_ms),
            verdict(objective)
        )
    };
    format!(
        "<h2>Objectives</h2><table><tr><th></th><th>Measured</th><th>Objective</th><th></th></tr>{}{}{}</table>",
        row("Recovery time, to the first byte served", &report.rto_first_byte),
        row("Recovery time, to the last check passed", &report.rto_checked),
        row("Recovery point: age of the newest head at the beginning", &report.rpo)
    )
}

fn shares(report: &Report) -> String {
    let row = |share: &super::ShareEvidence| {
        let unpublished = share.unpublished_bytes.map_or_else(
            || "production could not be asked".to_owned(),
            |bytes| format!("{bytes} bytes, the oldest {}", duration(share.unpublished_ms)),
        );
        format!(
            "<tr><td>{}</td><td><code>{}</code></td><td class=\"number\">{}</td><td>{unpublished}</td></tr>",
            text(&share.share),
            text(share.head.as_deref().unwrap_or("none")),
            duration(share.age_ms)
        )
    };
    let rows: String = report.shares.iter().map(row).collect();
    format!(
        "<h2>Shares</h2><table><tr><th>Share</th><th>Newest head</th><th>Its age</th>\
         <th>Acknowledged and in no head</th></tr>{rows}</table>"
    )
}

/// Where a step lies in the time of the run.
fn bar(step: &StepReport, whole: u64) -> String {
    let (Some(began), Some(took)) = (step.began_ms, step.took_ms) else { return String::new() };
    let at = |milliseconds: u64| milliseconds as f64 / whole.max(1) as f64 * 160.0;
    let failed = matches!(step.standing, Standing::Failed | Standing::PassedOver);
    let planned = step.expected_ms.map_or_else(String::new, |expected| {
        let (x, width) = (at(began), at(expected).min(160.0 - at(began)).max(1.0));
        format!("<rect class=\"bar planned\" x=\"{x:.1}\" y=\"1\" width=\"{width:.1}\" height=\"14\"/>")
    });
    format!(
        "<svg viewBox=\"0 0 160 16\" style=\"width:10rem\"><rect class=\"bar{}\" x=\"{:.1}\" y=\"4\" width=\"{:.1}\" \
         height=\"8\"/>{planned}</svg>",
        if failed { " failed" } else { "" },
        at(began),
        at(took).max(1.0)
    )
}

fn steps(report: &Report) -> String {
    let ends = report.steps.iter().filter_map(|step| Some(step.began_ms? + step.took_ms?));
    let whole = ends.max().unwrap_or(1);
    let row = |step: &StepReport| {
        let class = match step.standing {
            Standing::Done => "good",
            Standing::Failed | Standing::PassedOver => "bad",
            _ => "",
        };
        let undo = match step.undo {
            Undo::Not => "",
            Undo::Running => " (being taken back)",
            Undo::Done => " (taken back)",
            Undo::Failed => " (could not be taken back)",
        };
        format!(
            "<tr><td>{}<br><small>{}</small></td><td class=\"{class}\">{}{undo}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td>{}</td><td>{}</td></tr>",
            text(&step.step),
            text(&step.action),
            step.standing.as_str(),
            duration(step.took_ms),
            duration(step.expected_ms),
            bar(step, whole),
            text(&step.note)
        )
    };
    let rows: String = report.steps.iter().map(row).collect();
    format!(
        "<h2>Steps</h2><table><tr><th>Step</th><th></th><th>Took</th><th>Planned</th><th></th><th>Said</th></tr>\
         {rows}</table>"
    )
}

fn left(report: &Report) -> String {
    let Some(torn_down) = report.torn_down else { return String::new() };
    let taken = if torn_down {
        "<span class=\"good\">Everything that the drill made was taken away.</span>"
    } else {
        "<span class=\"bad\">Something of the drill is left: see below.</span>"
    };
    let count = |listed: Option<(u64, u64)>| {
        listed.map_or_else(
            || "not listed".to_owned(),
            |(objects, bytes)| format!("{objects} objects, {bytes} bytes"),
        )
    };
    let meanwhile = match report.published_meanwhile {
        0 => String::new(),
        count => format!(" Production itself published, or took away, {count} objects meanwhile."),
    };
    let differences = if report.differences.is_empty() {
        "<span class=\"good\">The repository is as it was.</span>".to_owned()
    } else {
        let items: String =
            report.differences.iter().map(|what| format!("<li>{}</li>", text(what))).collect();
        format!("<span class=\"bad\">The repository is not as it was:</span><ul>{items}</ul>")
    };
    format!(
        "<h2>What the drill left</h2><p>{taken} {differences}</p><p>Before: {}. Afterwards: {}.{meanwhile}</p>",
        count(report.repository_before),
        count(report.repository_after)
    )
}

fn history(report: &Report, past: &[Report]) -> String {
    let earlier = past.iter().filter(|past| past.run != report.run && past.runbook == report.runbook);
    let mut runs: Vec<&Report> = earlier.collect();
    runs.push(report);
    runs.sort_by_key(|run| run.began);
    format!(
        "<h2>Recovery time over all runs</h2>{}<h2>Recovery point over all runs</h2>{}",
        plot("Recovery time to the last check passed", &runs, |run| match run.rto_checked.measured_ms {
            Some(_) => run.rto_checked,
            None => run.rto_first_byte,
        }),
        plot("Age of the newest head at the beginning", &runs, |run| run.rpo)
    )
}

fn events(report: &Report) -> String {
    let row = |(at, what): &(jiff::Timestamp, String)| {
        format!("<tr><td class=\"number\">{}</td><td>{}</td></tr>", at.strftime("%H:%M:%S%.3f"), text(what))
    };
    let rows: String = report.events.iter().map(row).collect();
    format!("<h2>What happened</h2><table>{rows}</table>")
}

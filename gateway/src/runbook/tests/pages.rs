//! Claims about reports: what is measured, and a page that needs nothing from elsewhere.

use std::path::Path;

use jiff::{Timestamp, ToSpan};

use super::scripted::runbook;
use crate::runbook::{
    Entry, Evidence, Mode, Outcome, Record, Report, Run, ShareEvidence, preview, report_page,
};
use crate::settings::runbooks_to_toml;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + seconds.seconds()
}

fn entries() -> Vec<Entry> {
    let step = |name: &str, keys: &str| format!("name = \"{name}\"\n{keys}");
    let mut runbook = runbook(&[
        step("attach", "action = \"attach\"\nshare = \"docs\"\nexpect = \"3s\""),
        step("serve", "action = \"serve\"\nafter = [\"attach\"]"),
        step("check", "action = \"check-tcp\"\naddress = \"{nfs}\"\nafter = [\"serve\"]"),
    ]);
    runbook.rules.rto = Some("20s".parse().expect("a duration"));
    let share = ShareEvidence {
        share: "docs".to_owned(),
        head: Some("<h>".to_owned()),
        age_ms: Some(7_000),
        rpo_ms: Some(5_000),
        ..ShareEvidence::default()
    };
    let evidence = Evidence { shares: vec![share], objects: Some(3), bytes: Some(9), grown: 0 };
    let done = |step: &str, first_byte| Record::StepDone {
        step: step.to_owned(),
        note: "<script>&".to_owned(),
        first_byte,
    };
    let begun = |step: &str| Record::StepBegun { step: step.to_owned(), attempt: 1 };
    let records = [
        Record::Begun {
            run: "r".to_owned(),
            mode: Mode::Drill,
            runbook: runbooks_to_toml([&runbook]),
            at: None,
            version: "1".to_owned(),
            host: "h".to_owned(),
            repository: "file:///r".to_owned(),
        },
        Record::Before { evidence: evidence.clone() },
        begun("attach"),
        done("attach", false),
        begun("serve"),
        done("serve", true),
        begun("check"),
        done("check", false),
        Record::TornDown { note: String::new() },
        Record::After { evidence: Some(evidence), differences: Vec::new() },
        Record::Ended { outcome: Outcome::Done },
    ];
    records.into_iter().zip(0..).map(|(record, second)| Entry { at: at(second * 3), record }).collect()
}

fn report() -> Report {
    let entries = entries();
    let run = Run::of(Path::new("/runs/r"), &entries).expect("a run");
    Report::of(&run, &entries)
}

#[test]
fn recovery_time_counts_from_the_beginning_and_recovery_point_is_the_age_of_the_head() {
    let report = report();
    assert_eq!(
        (report.rto_first_byte.measured_ms, report.rto_first_byte.is_kept()),
        (Some(15_000), Some(true))
    );
    assert_eq!((report.rto_checked.measured_ms, report.rto_checked.is_kept()), (Some(21_000), Some(false)));
    assert_eq!((report.rpo.measured_ms, report.rpo.objective_ms), (Some(7_000), Some(5_000)));
    assert_eq!(report.torn_down, Some(true));
    assert_eq!((report.steps[0].took_ms, report.steps[0].expected_ms), (Some(3_000), Some(3_000)));
    let json = serde_json::to_string(&report).expect("plain data");
    assert_eq!(serde_json::from_str::<Report>(&json).expect("own output"), report);
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_shows_texts_as_texts() {
    let report = report();
    let page = report_page(&report, std::slice::from_ref(&report));
    for absent in ["<script", "http://", "https://", "src=", "@import", "<link"] {
        assert!(!page.contains(absent), "{absent} is in the page");
    }
    for present in [
        "&lt;script&gt;&amp;",
        "&lt;h&gt;",
        "prefers-color-scheme: dark",
        "@media print",
        "<svg",
        "objective 20.0 s",
    ] {
        assert!(page.contains(present), "{present} is not in the page");
    }
}

#[test]
fn a_preview_has_every_step_after_those_that_it_waits_for() {
    let entries = entries();
    let run = Run::of(Path::new("/runs/r"), &entries).expect("a run");
    let planned = preview(&run.runbook, Mode::Drill);
    assert_eq!(planned.iter().map(|step| step.rank).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(planned[0].does.contains("opens a clone of share docs"), "{planned:?}");
    assert!(preview(&run.runbook, Mode::Failover)[0].does.contains("takes share docs over"));
}

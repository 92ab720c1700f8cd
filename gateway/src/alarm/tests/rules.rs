//! Rules, over what an appliance reports.

use std::collections::BTreeMap;

use super::*;
use crate::alarm::rules::{View, readings};
use crate::control::{
    CacheStatus, CollectionStatus, HeadCost, HeadInfo, JournalStatus, LinkStatus, LockStatus, MemoryStatus,
    PolicyRun, PolicyStatus, RecoveryStage, ScrubFailure, ScrubHealth, ShareRecovery, ShareState,
    ShareStatus, Status, StoreFailure, TargetStatus,
};
use crate::settings::Settings;

const NOW: i64 = 1_000_000;

fn target() -> TargetStatus {
    TargetStatus {
        name: "main".to_owned(),
        address: "s3://bucket/prefix".to_owned(),
        leads: false,
        reachable: true,
        behind_seconds: Some(0),
        obstacles: Vec::new(),
        backlog_bytes: 0,
        backlog_packs: 0,
        uploaded_bytes: 0,
        backlog_seconds: Some(0),
        link: LinkStatus::default(),
        spent: None,
        last_failure: None,
        clock_ahead_ms: Some(-900),
        lock: None,
        heads: Vec::new(),
    }
}

fn well() -> Status {
    let head = HeadInfo {
        name: "head".to_owned(),
        sequence: 1,
        epoch: 1,
        frozen: second(NOW),
        age_seconds: 1,
        cost: HeadCost::default(),
    };
    let share = ShareStatus {
        name: "docs".to_owned(),
        id: "0".repeat(32),
        export: "/docs".to_owned(),
        state: ShareState::Serving,
        reason: None,
        handles: None,
        rpo_seconds: 30,
        rpo_now_seconds: 20,
        dirty_bytes: 0,
        head: Some(head),
        files: 1,
        bytes: 1,
        quota: None,
        recovery: None,
        warming: None,
    };
    let policy = PolicyStatus {
        name: "nightly".to_owned(),
        shares: vec!["docs".to_owned()],
        when: "every 1h".to_owned(),
        next: Some(second(NOW + 100)),
        due: Some(second(NOW + 100)),
        running: false,
        last_success: None,
        last_run: None,
        failures: 0,
        snapshots: 0,
        lacks: BTreeMap::new(),
    };
    Status {
        version: "0".to_owned(),
        started: second(0),
        uptime_seconds: NOW as u64,
        shares: vec![share],
        targets: vec![target()],
        lost_parts: 0,
        scrub: ScrubHealth { every_seconds: Some(86_400), ..ScrubHealth::default() },
        policies: vec![policy],
        cache: CacheStatus { dirty_percent: 10, ..CacheStatus::default() },
        journal: JournalStatus { free_bytes: 10 << 30, reserve_bytes: 1 << 30, ..JournalStatus::default() },
        memory: MemoryStatus::default(),
        collection: Some(CollectionStatus { ended: second(NOW), error: None }),
        unreadable_keys: Vec::new(),
        alarms: Vec::new(),
    }
}

/// What is read of a status, but for what is right.
fn judged(status: &Status) -> Vec<(String, String, Option<Severity>)> {
    let text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n";
    let bounds = Settings::parse(text).expect("the least").alarms;
    let growing = status.targets.iter().map(|target| (target.name.clone(), target.backlog_bytes > 0));
    let growing = &growing.collect::<BTreeMap<_, _>>();
    let view = View { status, growing, bounds: &bounds, now: second(NOW) };
    let found = readings(&view).into_iter().filter_map(|reading| {
        let severity = match reading.verdict {
            Verdict::Right => return None,
            Verdict::Between => None,
            Verdict::Wrong { severity, message, todo, .. } => {
                assert!(!message.is_empty() && !todo.is_empty());
                Some(severity)
            }
        };
        Some((reading.code.to_string(), reading.subject, severity))
    });
    found.collect()
}

fn only(code: &str, subject: &str, severity: Option<Severity>) -> Vec<(String, String, Option<Severity>)> {
    vec![(code.to_owned(), subject.to_owned(), severity)]
}

#[test]
fn nothing_is_wrong_with_a_gateway_that_is_well() {
    assert_eq!(judged(&well()), []);
}

#[test]
fn each_fact_has_its_alarm_and_a_margin_between_wrong_and_right() {
    type Change = fn(&mut Status);
    let (critical, warning) = (Some(Severity::Critical), Some(Severity::Warning));
    let cases: [(Change, &str, &str, Option<Severity>); 28] = [
        (|status| status.shares[0].rpo_now_seconds = 91, "rpo-missed", "share:docs", critical),
        (|status| status.shares[0].rpo_now_seconds = 60, "rpo-missed", "share:docs", None),
        (|status| status.shares[0].head = None, "rpo-missed", "share:docs", critical),
        (|status| status.shares[0].recovery = Some(recovery(false)), "rto-missed", "share:docs", warning),
        (
            |status| status.shares[0].state = ShareState::Superseded,
            "share-superseded",
            "share:docs",
            critical,
        ),
        (
            |status| status.policies[0].due = Some(second(NOW - 3601)),
            "policy-overdue",
            "policy:nightly",
            critical,
        ),
        (|status| status.policies[0].due = Some(second(NOW - 60)), "policy-overdue", "policy:nightly", None),
        (
            |status| status.policies[0].last_run = Some(failed_run()),
            "policy-failed",
            "policy:nightly",
            warning,
        ),
        (
            |status| status.policies[0].lacks = [("home".to_owned(), "a: no permission".to_owned())].into(),
            "policy-incomplete",
            "policy:nightly",
            warning,
        ),
        (|status| status.targets[0].reachable = false, "store-away", "target:main", critical),
        (|status| status.targets[0].backlog_bytes = 1, "backlog-grows", "target:main", warning),
        (|status| status.targets[0].clock_ahead_ms = Some(-61_000), "clock-differs", "target:main", warning),
        (|status| status.targets[0].clock_ahead_ms = Some(45_000), "clock-differs", "target:main", None),
        (|status| status.targets[0].clock_ahead_ms = None, "clock-differs", "target:main", None),
        (|status| status.targets[0].behind_seconds = Some(3_601), "copy-behind", "target:main", warning),
        (|status| status.targets[0].behind_seconds = Some(3_000), "copy-behind", "target:main", None),
        (
            |status| status.targets[0].obstacles.push("the lead lacks a pack".to_owned()),
            "copy-obstructed",
            "target:main",
            critical,
        ),
        (|status| status.lost_parts = 2, "parts-lost", "", critical),
        (|status| status.journal.free_bytes = 1, "disk-full", "", critical),
        (|status| status.journal.free_bytes = 9 << 27, "disk-full", "", None),
        (|status| status.cache.dirty_percent = 80, "dirty-full", "", warning),
        (|status| status.cache.dirty_percent = 100, "dirty-full", "", critical),
        (|status| status.unreadable_keys.push("domains/x".to_owned()), "key-damaged", "", critical),
        (|status| status.scrub.failure = Some(failed_turns(3)), "scrub-failed", "", warning),
        (|status| status.scrub.failure = Some(failed_turns(2)), "scrub-failed", "", None),
        (|status| status.scrub.late_seconds = 21_601, "scrub-overdue", "", warning),
        (|status| status.scrub.late_seconds = 1, "scrub-overdue", "", None),
        (|status| status.collection = Some(failed_collection()), "collection-failed", "", warning),
    ];
    for (change, code, subject, severity) in cases {
        let mut status = well();
        change(&mut status);
        assert_eq!(judged(&status), only(code, subject, severity));
    }
}

#[test]
fn an_objective_that_was_given_up_is_no_alarm() {
    let mut status = well();
    status.shares[0].recovery = Some(recovery(true));
    assert_eq!(judged(&status), []);
}

fn recovery(accept_risk: bool) -> ShareRecovery {
    ShareRecovery {
        share: "docs".to_owned(),
        frozen: second(NOW),
        age_seconds: 0,
        rpo_seconds: Some(30),
        first: RecoveryStage::default(),
        hot: RecoveryStage::default(),
        whole: RecoveryStage::default(),
        accept_risk,
        missed: Some("rto_whole = 1 h cannot be kept".to_owned()),
    }
}

#[test]
fn late_locks_are_an_alarm_of_the_target_that_leads_as_of_a_copy() {
    for leads in [true, false] {
        let mut status = well();
        let (mode, days) = ("compliance".to_owned(), 30);
        let (extended, failure) = (Some(second(NOW)), None);
        status.targets[0].leads = leads;
        status.targets[0].lock = Some(LockStatus { mode, days, extended, failure, late: None });
        assert_eq!(judged(&status), [], "they are in time; leads: {leads}");
        let late = Some("locks were not extended in time".to_owned());
        status.targets[0].lock.as_mut().expect("just set").late = late;
        assert_eq!(judged(&status), only("locks-late", "target:main", Some(Severity::Critical)), "{leads}");
    }
}

fn failed_turns(turns: u32) -> ScrubFailure {
    ScrubFailure { at: second(NOW), turns, message: "no".to_owned() }
}

fn failed_run() -> PolicyRun {
    let (began, ended) = (second(NOW - 9), second(NOW - 8));
    PolicyRun { policy: "nightly".to_owned(), began, ended, shares: Vec::new(), error: Some("no".to_owned()) }
}

fn failed_collection() -> CollectionStatus {
    CollectionStatus { ended: second(NOW), error: Some("no".to_owned()) }
}

#[test]
fn an_alarm_says_why() {
    let mut status = well();
    status.targets[0].reachable = false;
    status.targets[0].last_failure =
        Some(StoreFailure { at: second(NOW), message: "failed to put x: no route to host".to_owned() });
    let text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n";
    let bounds = Settings::parse(text).expect("the least").alarms;
    let growing = BTreeMap::new();
    let found = readings(&View { status: &status, growing: &growing, bounds: &bounds, now: second(NOW) });
    let says = |reading: &Reading| matches!(&reading.verdict, Verdict::Wrong { message, .. } if message.contains("no route"));
    assert_eq!(found.iter().filter(|reading| says(reading)).count(), 1);
}

//! Claims about single runs.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scripted::{Kept, Kill, Script, Scripted, live, runbook};
use crate::runbook::{Mode, Outcome, Record, Standing, TakenUp};
use crate::settings::Runbook;

fn run_step(name: &str, after: &[&str], keys: &str) -> String {
    format!(
        "name = \"{name}\"\naction = \"run\"\ncommand = [\"/x\"]\nafter = {after:?}\ndrill = \"run\"\n{keys}"
    )
}

async fn whole(runbook: &Runbook, mode: Mode, scripts: &[(&str, Script)]) -> (Outcome, Scripted, Kept) {
    let scripts: BTreeMap<_, _> =
        scripts.iter().map(|(name, script)| ((*name).to_owned(), script.clone())).collect();
    let (world, journal) = (Scripted::new(scripts), Kept::default());
    let ended = live(runbook, mode, (&world, &journal), Kill::default(), None).await;
    (ended.expect("nobody kills it").expect("it goes on"), world, journal)
}

fn fails(times: u32) -> Script {
    Script { fails: times, ..Script::default() }
}

#[tokio::test(start_paused = true)]
async fn steps_that_do_not_wait_for_each_other_run_at_once() {
    let runbook = runbook(&[run_step("a", &[], ""), run_step("b", &[], ""), run_step("c", &["a", "b"], "")]);
    let takes = Script { takes: Duration::from_secs(60), ..Script::default() };
    let began = tokio::time::Instant::now();
    let scripts = [("a", takes.clone()), ("b", takes.clone()), ("c", takes)];
    let (outcome, world, _) = whole(&runbook, Mode::Failover, &scripts).await;
    assert_eq!((outcome, began.elapsed()), (Outcome::Done, Duration::from_secs(120)));
    assert_eq!(world.facts.lock().there.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_step_is_tried_again_after_longer_and_longer_pauses() {
    let runbook = runbook(&[run_step("a", &[], "idempotent = true\nretries = 3\nbackoff = \"10s\"")]);
    let began = tokio::time::Instant::now();
    let (outcome, world, _) = whole(&runbook, Mode::Failover, &[("a", fails(3))]).await;
    assert_eq!((outcome, began.elapsed()), (Outcome::Done, Duration::from_secs(10 + 20 + 40)));
    let (outcome, _, journal) = whole(&runbook, Mode::Failover, &[("a", fails(4))]).await;
    assert_eq!((outcome, journal.state().standing("a")), (Outcome::Failed, Standing::Failed));
    assert_eq!(world.facts.lock().effects["a"], 1);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_given_up_and_looked_at() {
    let keys = "timeout = \"5s\"\nprobe = [\"/p\"]\nretries = 1";
    let runbook = runbook(&[run_step("a", &[], keys)]);
    let slow = Script { takes: Duration::from_secs(60), ..Script::default() };
    let (outcome, world, journal) = whole(&runbook, Mode::Failover, &[("a", slow)]).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(journal.state().steps["a"].note.contains("longer than 5 s"));
    assert!(world.facts.lock().effects.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_stops_passes_over_or_rolls_back_as_the_step_says() {
    let steps = |then: &str| {
        runbook(&[
            run_step("a", &[], "undo = [\"/u\"]"),
            run_step("b", &["a"], &format!("undo = [\"/u\"]\non_failure = \"{then}\"")),
            run_step("c", &["b"], "undo = [\"/u\"]"),
        ])
    };
    let scripts = [("b", Script { fails: 9, fails_after: true, ..Script::default() })];
    let (outcome, world, _) = whole(&steps("stop"), Mode::Failover, &scripts).await;
    assert_eq!(outcome, Outcome::Failed);
    assert!(!world.facts.lock().effects.contains_key("c"));
    let (outcome, world, journal) = whole(&steps("continue"), Mode::Failover, &scripts).await;
    assert_eq!((outcome, journal.state().standing("b")), (Outcome::Done, Standing::PassedOver));
    assert!(world.facts.lock().effects.contains_key("c"));
    let (outcome, world, _) = whole(&steps("roll-back"), Mode::Failover, &scripts).await;
    assert_eq!(outcome, Outcome::RolledBack);
    // What failed may have had a part of its effect.
    assert_eq!(world.facts.lock().undone, ["b", "a"]);
    assert!(world.facts.lock().there.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drill_takes_everything_back_and_skips_what_is_not_for_drills() {
    let runbook = runbook(&[
        run_step("a", &[], "undo = [\"/u\"]"),
        "name = \"b\"\naction = \"run\"\ncommand = [\"/x\"]\nafter = [\"a\"]".to_owned(),
        run_step("c", &["b"], "undo = [\"/u\"]"),
    ]);
    for (scripts, outcome) in [(vec![], Outcome::Done), (vec![("c", fails(1))], Outcome::Failed)] {
        let (ended, world, journal) = whole(&runbook, Mode::Drill, &scripts).await;
        assert_eq!((ended, journal.state().standing("b")), (outcome, Standing::Skipped));
        let facts = world.facts.lock();
        assert!(facts.there.is_empty() && !facts.made && journal.state().torn_down, "{facts:?}");
        assert_eq!(facts.undone, ["c", "a"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_asked_of_a_person_and_never_done_twice() {
    let runbook = runbook(&[run_step("a", &[], ""), run_step("b", &["a"], "")]);
    let (world, journal) = (Scripted::new(BTreeMap::new()), Kept::default());
    // Look, its record, preparation, the record of the beginning; then before and after the effect.
    let kill = Kill::at(9);
    assert!(live(&runbook, Mode::Failover, (&world, &journal), kill, None).await.is_none());
    assert_eq!((world.facts.lock().effects["a"], journal.state().standing("a")), (1, Standing::Running));
    let take_up = |done: &[&str]| {
        let done: Vec<String> = done.iter().map(|&step| step.to_owned()).collect();
        TakenUp::of(&runbook, Mode::Failover, &journal.state(), &done, &[])
    };
    let taken_up = take_up(&[]).expect("it can be gone on with");
    let ended = live(&runbook, Mode::Failover, (&world, &journal), Kill::default(), Some(taken_up)).await;
    assert_eq!(ended.expect("nobody kills it").expect("it goes on"), Outcome::Failed);
    let refused = take_up(&[]).expect_err("nobody has said how it is");
    assert!(refused.contains("say --done a or --again a"), "{refused}");
    let taken_up = take_up(&["a"]).expect("somebody has");
    let ended = live(&runbook, Mode::Failover, (&world, &journal), Kill::default(), Some(taken_up)).await;
    assert_eq!(ended.expect("nobody kills it").expect("it goes on"), Outcome::Done);
    assert_eq!(world.facts.lock().effects, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 1)]));
    assert!(journal.entries.lock().iter().any(|entry| matches!(entry.record, Record::StepReopened { .. })));
    TakenUp::of(&runbook, Mode::Failover, &journal.state(), &[], &[]).expect_err("it has ended");
}

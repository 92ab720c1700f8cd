//! Goal: over a year, with a machine that is off at times and a store that is away at times, a share has the snapshots
//! that its policy says, and nobody else's snapshot is touched.
//!
//! Method: the engine over a gateway in memory, by a clock that a test turns from one thing to do to the next.

use std::time::Duration;

use super::keep::{Written, model, random_rules};
use super::*;
use crate::control::{JobHandle, PolicyRunRequest};

/// An engine with one policy.
fn engine(host: &Arc<FakeHost>, plan: &Plan) -> Arc<Engine> {
    let engine = Engine::new(host.clone(), host.clock.clone());
    engine.set(vec![plan.clone()]);
    engine
}

/// Turns the clock from one thing to do to the next, up to a time.
async fn go_on(engine: &Engine, clock: &Turned, until: Timestamp) {
    while let Some(next) = engine.run_due().await.filter(|next| *next < until) {
        assert!(next > clock.time(), "there is nothing to do at {next} that was not done");
        clock.turn(next);
    }
    clock.turn(until);
}

fn random_plan(chance: &mut Chance) -> Plan {
    let when = *chance.one_of(&[
        "every = \"3h\"",
        "every = \"7h\"",
        "schedule = \"30 2 * * *\"",
        "schedule = \"0 */6 * * *\"",
        "schedule = \"15 1,2,3 * * MON-FRI\"",
    ]);
    let jitter = *chance.one_of(&["0s", "5m", "20m"]);
    let rules = random_rules(chance);
    let zone = rules.zone.iana_name().expect("it has a name").to_owned();
    let mut plan = plan(&format!("{when}\njitter = \"{jitter}\"\ntime_zone = \"{zone}\"\nkeep_last = 1"));
    plan.rules = rules;
    plan
}

/// When snapshots are taken by a gateway that serves during these times, one after the other.
fn expected_runs(plan: &Plan, served: &[(Timestamp, Timestamp)]) -> Vec<Timestamp> {
    let mut runs: Vec<Timestamp> = Vec::new();
    for (start, end) in served {
        let mut now = *start;
        while let Some(begins) = plan.schedule.next_after(runs.last().copied().unwrap_or(*start)) {
            now = begins.max(now);
            if now >= *end {
                break;
            }
            runs.push(now);
        }
    }
    runs
}

/// What is there after these runs, each of which ends with the rules.
fn expected_kept(plan: &Plan, runs: &[Timestamp]) -> Vec<Timestamp> {
    let mut kept: Vec<Written> = Vec::new();
    for run in runs {
        kept.push(Written::new((*run, false), &plan.rules.zone));
        let reasons = model(&plan.rules, &kept);
        let mut reasons = reasons.iter();
        kept.retain(|_| reasons.next().is_some_and(|reasons| !reasons.is_empty()));
    }
    kept.into_iter().map(|kept| kept.at).collect()
}

#[tokio::test]
async fn a_year_with_times_off_leaves_what_the_model_leaves() {
    for seed in seeds() {
        let mut chance = Chance::new(seed);
        for _ in 0..4 {
            let plan = random_plan(&mut chance);
            let begin = time("2026-01-10T11:22:33Z");
            let clock = Turned::at(begin);
            let host = FakeHost::new(clock.clone());
            host.add("a", None, BTreeMap::new());
            host.add("a", Some("weekly"), BTreeMap::new());
            let mut served = Vec::new();
            let end = later(begin, 365 * 86_400);
            while clock.time() < end {
                let start = clock.time();
                let length = *chance.one_of(&[3_600, 3 * 86_400, 40 * 86_400, 100 * 86_400]);
                let stop = later(start, 1 + chance.below(length) as i64).min(end);
                go_on(&engine(&host, &plan), &clock, stop).await;
                served.push((start, stop));
                // The machine is off.
                let off = *chance.one_of(&[600, 86_400, 20 * 86_400]);
                clock.turn(later(stop, chance.below(off) as i64));
            }
            let runs = expected_runs(&plan, &served);
            assert_eq!(host.runs_of("a"), runs, "{}", plan.policy.when());
            assert_eq!(host.runs_of("b"), runs, "{}", plan.policy.when());
            assert!(runs.len() > 30, "it was a long year");
            let kept = expected_kept(&plan, &runs);
            assert_eq!(host.of("a", Some("nightly")), kept, "{:?}", plan.rules);
            assert_eq!(host.of("a", None).len() + host.of("a", Some("weekly")).len(), 2);
        }
    }
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_once() {
    let plan = plan("schedule = \"0 2 * * *\"\nkeep_last = 100");
    let clock = Turned::at(time("2026-01-01T00:00:00Z"));
    let host = FakeHost::new(clock.clone());
    go_on(&engine(&host, &plan), &clock, time("2026-01-02T00:00:00Z")).await;
    clock.turn(time("2026-01-20T12:00:00Z"));
    let again = engine(&host, &plan);
    assert_eq!(again.run_due().await, Some(time("2026-01-21T02:00:00Z")));
    assert_eq!(host.of("a", Some("nightly")), [time("2026-01-01T02:00:00Z"), time("2026-01-20T12:00:00Z")]);
}

#[tokio::test]
async fn a_run_that_failed_is_tried_again_ever_less_often_for_the_shares_that_failed() {
    let plan = plan("schedule = \"0 2 * * *\"\nkeep_last = 1");
    let clock = Turned::at(time("2026-01-01T01:00:00Z"));
    let host = FakeHost::new(clock.clone());
    host.add("b", Some("nightly"), BTreeMap::new());
    host.state.lock().away.push("b".to_owned());
    let engine = engine(&host, &plan);
    let mut tries = Vec::new();
    while let Some(next) = engine.run_due().await.filter(|next| *next < time("2026-01-01T05:00:00Z")) {
        tries.push(next.as_second() - time("2026-01-01T02:00:00Z").as_second());
        clock.turn(next);
    }
    assert_eq!(
        tries[..8],
        [0, 60, 180, 420, 900, 1_860, 3_660, 5_460],
        "never further apart than half an hour"
    );
    assert_eq!(host.runs_of("a"), [time("2026-01-01T02:00:00Z")], "what succeeded is not done again");
    assert_eq!(engine.statuses()[0].failures, tries.len() as u64);
    let last = engine.statuses()[0].last_run.clone().expect("it ran");
    assert_eq!(last.error.as_deref(), Some("share b: the store is away"));

    host.state.lock().away.clear();
    go_on(&engine, &clock, time("2026-01-02T00:00:00Z")).await;
    assert_eq!(host.of("b", Some("nightly")).len(), 1, "and the older one is gone");
    let status = &engine.statuses()[0];
    assert_eq!((status.last_success, status.snapshots), (Some(time("2026-01-01T02:00:00Z")), 2));
    assert_eq!(status.next, Some(time("2026-01-02T02:00:00Z")));
}

#[tokio::test]
async fn a_policy_that_fails_once_after_days_is_late_since_today() {
    let plan = plan("schedule = \"0 2 * * *\"\nkeep_last = 2");
    let clock = Turned::at(time("2026-01-01T00:00:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan);
    go_on(&engine, &clock, time("2026-01-04T02:00:00Z")).await;
    assert_eq!(host.runs_of("a").len(), 3);
    host.state.lock().away = vec!["a".to_owned(), "b".to_owned()];
    engine.run_due().await;
    let status = &engine.statuses()[0];
    assert_eq!((status.failures, status.due), (1, Some(time("2026-01-04T02:00:00Z"))));
    assert_eq!((status.last_success, status.snapshots), (Some(time("2026-01-03T02:00:00Z")), 4));
    // A run that failed for one share is late for that one alone.
    host.state.lock().away = vec!["b".to_owned()];
    go_on(&engine, &clock, time("2026-01-05T02:00:00Z")).await;
    host.state.lock().away.clear();
    go_on(&engine, &clock, time("2026-01-06T00:00:00Z")).await;
    let status = &engine.statuses()[0];
    assert_eq!(status.due, Some(time("2026-01-06T02:00:00Z")), "nothing is late any more");
    assert_eq!((host.runs_of("a").len(), host.runs_of("b").len()), (5, 4));
}

#[tokio::test]
async fn a_snapshot_that_was_taken_although_it_was_denied_is_not_taken_again() {
    let plan = plan("schedule = \"0 2 * * *\"\nkeep_last = 3");
    let clock = Turned::at(time("2026-01-01T01:00:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan);
    go_on(&engine, &clock, time("2026-01-01T02:00:00Z")).await;
    {
        let mut state = host.state.lock();
        state.lost_answers = true;
        state.away = vec!["a".to_owned(), "b".to_owned()];
    }
    engine.run_due().await;
    host.state.lock().away.clear();
    go_on(&engine, &clock, time("2026-01-01T20:00:00Z")).await;
    assert_eq!(host.runs_of("a"), [time("2026-01-01T02:00:00Z")]);
    assert_eq!(engine.statuses()[0].snapshots, 2);
}

#[tokio::test]
async fn nothing_is_forgotten_by_a_listing_without_the_new_snapshot() {
    let plan = plan("every = \"1h\"\nkeep_last = 1");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let old = host.add("a", Some("nightly"), BTreeMap::new());
    let engine = engine(&host, &plan);
    engine.run_due().await;
    host.state.lock().stale = true;
    clock.turn(time("2026-01-01T01:00:00Z"));
    engine.run_due().await;
    let left = host.of("a", Some("nightly"));
    assert_eq!(left, [old.at, time("2026-01-01T01:00:00Z")]);
    let error = engine.statuses()[0].last_run.clone().and_then(|run| run.error).expect("it failed");
    assert!(error.contains("listed without the new one"), "{error}");
}

#[tokio::test]
async fn nothing_of_one_moment_is_forgotten_for_what_is_not_of_one() {
    let plan = plan("every = \"1h\"\nkeep_last = 1\nconsistent = true");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan);
    go_on(&engine, &clock, time("2026-01-01T01:30:00Z")).await;
    {
        let mut state = host.state.lock();
        (state.apart, state.away) = (true, vec!["b".to_owned()]);
    }
    clock.turn(time("2026-01-01T02:00:00Z"));
    engine.run_due().await;
    assert_eq!(engine.statuses()[0].failures, 1);
    assert!(
        host.of("a", Some("nightly")).contains(&time("2026-01-01T01:00:00Z")),
        "the last one that is whole"
    );
}

#[tokio::test]
async fn the_newest_whole_snapshot_stays_while_only_incomplete_ones_are_newer() {
    let plan = plan("every = \"1h\"\nkeep_last = 2");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan);
    go_on(&engine, &clock, time("2026-01-01T01:30:00Z")).await;
    host.state.lock().lacking.push("a".to_owned());
    go_on(&engine, &clock, time("2026-01-01T05:30:00Z")).await;
    let [first, fourth, fifth] = [1, 4, 5].map(|hour| time(&format!("2026-01-01T0{hour}:00:00Z")));
    assert_eq!(host.of("a", Some("nightly")), [first, fourth, fifth]);
    assert_eq!(host.of("b", Some("nightly")), [fourth, fifth], "what is whole goes by the rules alone");
    let details = engine.details("nightly").await.expect("it is there");
    let kept_by = details.snapshots.iter().filter(|snapshot| snapshot.share == "a");
    let kept_by: Vec<_> = kept_by.map(|snapshot| snapshot.kept_by.join(" ")).collect();
    assert_eq!(kept_by, ["newest last", "last", "whole"]);
    host.state.lock().lacking.clear();
    go_on(&engine, &clock, time("2026-01-01T06:30:00Z")).await;
    assert_eq!(host.of("a", Some("nightly")), [fifth, time("2026-01-01T06:00:00Z")]);
}

#[tokio::test]
async fn what_a_source_lacks_is_known_until_its_next_snapshot_is_whole() {
    let plan = plan("every = \"1h\"\nkeep_last = 5");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let before = engine(&host, &plan);
    host.state.lock().lacking.push("a".to_owned());
    go_on(&before, &clock, time("2026-01-01T01:30:00Z")).await;
    let of_a = |engine: &Engine| {
        let lacks = engine.statuses()[0].lacks.clone();
        assert!(lacks.keys().all(|share| share == "a"), "{lacks:?}");
        lacks.get("a").cloned().unwrap_or_default()
    };
    assert_eq!(of_a(&before), "2 names could not be read: x: no permission and others");
    // After a start the snapshot says so itself.
    let after = engine(&host, &plan);
    after.run_due().await;
    assert_eq!(of_a(&after), "2 names could not be read");
    {
        let mut state = host.state.lock();
        state.lacking.clear();
        state.away.push("a".to_owned());
    }
    go_on(&after, &clock, time("2026-01-01T02:30:00Z")).await;
    assert_eq!(of_a(&after), "2 names could not be read", "there is no newer snapshot");
    host.state.lock().away.clear();
    go_on(&after, &clock, time("2026-01-01T03:30:00Z")).await;
    assert_eq!(of_a(&after), "");
}

#[tokio::test]
async fn snapshots_from_times_to_come_neither_stop_a_policy_nor_are_forgotten() {
    let plan = plan("every = \"1h\"\nkeep_within = \"2h\"");
    let clock = Turned::at(time("2040-01-01T00:00:00Z"));
    let host = FakeHost::new(clock.clone());
    host.add("a", Some("nightly"), BTreeMap::new());
    clock.turn(time("2026-01-01T00:00:00Z"));
    go_on(&engine(&host, &plan), &clock, time("2026-01-02T00:00:00Z")).await;
    assert_eq!(host.runs_of("a").len(), 23);
    let left = host.of("a", Some("nightly"));
    assert_eq!(left.len(), 1 + 3, "{left:?}");
    assert!(left.contains(&time("2040-01-01T00:00:00Z")));
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_no_policy() {
    let plan = plan("every = \"1h\"\nkeep_last = 100");
    let clock = Turned::at(time("2040-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan);
    go_on(&engine, &clock, time("2040-01-01T03:30:00Z")).await;
    clock.turn(time("2026-01-01T00:30:00Z"));
    go_on(&engine, &clock, time("2026-01-01T04:30:00Z")).await;
    assert_eq!(host.runs_of("a").len(), 3 + 4);
    assert_eq!(host.of("b", Some("nightly")).len(), 3 + 4);
}

#[tokio::test]
async fn a_share_that_cannot_be_looked_at_holds_no_other_up() {
    let plan = plan("every = \"1h\"\nkeep_last = 2");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    host.state.lock().hidden.push("a".to_owned());
    let engine = engine(&host, &plan);
    go_on(&engine, &clock, time("2026-01-01T02:30:00Z")).await;
    assert_eq!((host.runs_of("a").len(), host.runs_of("b").len()), (0, 2));
    assert_eq!(engine.statuses()[0].last_success, None);
    host.state.lock().hidden.clear();
    go_on(&engine, &clock, time("2026-01-01T03:30:00Z")).await;
    assert_eq!(engine.statuses()[0].last_success, Some(time("2026-01-01T03:00:00Z")));
}

#[tokio::test]
async fn tags_keep_what_a_person_had_a_policy_take() {
    let plan = plan("every = \"1h\"\nkeep_last = 1\nkeep_tags = [\"why=audit\"]");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan);
    let job = JobHandle::new();
    for value in ["audit", "whim"] {
        let request = PolicyRunRequest { tags: [("why".to_owned(), value.to_owned())].into() };
        let run = engine.run_now("nightly", &request, &job).await.expect("it runs");
        assert_eq!(run.shares.len(), 2);
        clock.turn(later(clock.time(), 60));
    }
    go_on(&engine, &clock, time("2026-01-01T03:30:00Z")).await;
    assert_eq!(host.of("a", Some("nightly")), [time("2026-01-01T00:30:00Z"), time("2026-01-01T03:00:00Z")]);
    let details = engine.details("nightly").await.expect("it is there");
    let kept: Vec<_> = details.snapshots.iter().map(|snapshot| snapshot.kept_by.join(" ")).collect();
    assert_eq!(kept, ["newest last", "tag", "newest last", "tag"]);
    assert_eq!(details.next_runs[..2], [time("2026-01-01T04:00:00Z"), time("2026-01-01T05:00:00Z")]);
}

#[tokio::test]
async fn settings_change_while_policies_run() {
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan("every = \"1h\"\nkeep_last = 5"));
    go_on(&engine, &clock, time("2026-01-01T06:30:00Z")).await;
    let runs = host.runs_of("a").len();
    assert_eq!((runs, host.of("a", Some("nightly")).len()), (6, 5));

    engine.set(vec![plan("schedule = \"0 20 * * *\"\nkeep_last = 2")]);
    go_on(&engine, &clock, time("2026-01-01T20:30:00Z")).await;
    assert_eq!((host.runs_of("a").len() - runs, host.of("a", Some("nightly")).len()), (1, 2));
    assert!(engine.statuses()[0].last_run.is_some(), "what is known of it stays");

    engine.set(Vec::new());
    assert_eq!((engine.run_due().await, engine.statuses().len()), (None, 0));
    let none = engine.run_now("nightly", &PolicyRunRequest::default(), &JobHandle::new()).await;
    assert_eq!(none.map_err(|error| error.kind), Err(ErrorKind::NotFound));
    assert_eq!(host.of("a", Some("nightly")).len(), 2, "its snapshots stay");
}

#[tokio::test]
async fn a_cancelled_run_takes_nothing_and_is_no_failure() {
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    let engine = engine(&host, &plan("every = \"1h\"\nkeep_last = 5"));
    let job = JobHandle::new();
    job.cancel();
    let run = engine.run_now("nightly", &PolicyRunRequest::default(), &job).await;
    assert_eq!(run.map_err(|error| error.kind), Err(ErrorKind::Cancelled));
    assert_eq!((host.runs_of("a").len(), engine.statuses()[0].failures), (0, 0));
}

#[tokio::test]
async fn an_engine_that_was_started_runs_what_is_due_and_stops() {
    let plan = plan("every = \"1h\"\nkeep_last = 5");
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    host.add("a", Some("nightly"), BTreeMap::new());
    host.add("b", Some("nightly"), BTreeMap::new());
    clock.turn(time("2026-01-01T01:30:00Z"));
    let engine = engine(&host, &plan);
    engine.start();
    while host.runs_of("b").is_empty() {
        tokio::task::yield_now().await;
    }
    engine.stop().await;
    assert_eq!((host.runs_of("a").len(), host.runs_of("b").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn sources_that_are_being_saved_for_long_hold_no_policy_of_shares_up() {
    let clock = Turned::at(time("2026-01-01T00:30:00Z"));
    let host = FakeHost::new(clock.clone());
    host.add("a", Some("nightly"), BTreeMap::new());
    let mut tables =
        "[[policy]]\nname = \"nightly\"\nshares = [\"a\"]\nevery = \"1h\"\nkeep_last = 1\n".to_owned();
    for name in ["host-1", "host-2", "host-3", "host-4"] {
        tables += &format!(
            "[[source]]\nname = \"{name}\"\nfolder = \"/srv/{name}\"\n\
             [[policy]]\nname = \"{name}\"\nsources = [\"{name}\"]\nevery = \"1h\"\nkeep_last = 1\n"
        );
        host.add(name, Some(name), BTreeMap::new());
        host.state.lock().stuck.push(name.to_owned());
    }
    clock.turn(time("2026-01-01T01:30:00Z"));
    let engine = Engine::new(host.clone(), clock.clone());
    engine.set(plans(&tables));
    engine.start();
    let of_the_share = async {
        while host.runs_of("a").is_empty() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(10), of_the_share).await.expect("it waits for no source");
    let running: Vec<_> = engine.statuses().into_iter().filter(|status| status.running).collect();
    assert_eq!(running.len(), 4, "the sources are still being saved");
    engine.stop().await;
}

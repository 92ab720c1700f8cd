//! Claims about hooks, with real processes.

use std::path::Path;
use std::time::Duration;

use super::hook::{self, HookError, OUTPUT_BYTES_MAX, VARIABLE_BYTES_MAX};
use super::*;
use crate::control::{JobHandle, PolicyRun, PolicyRunRequest};
use crate::settings::Argument;

/// Longer than any of these takes.
const LONG: Duration = Duration::from_mins(5);

fn command(words: &[&str]) -> Vec<Argument> {
    words.iter().map(|word| word.parse().expect("an argument")).collect()
}

fn shell(script: &str) -> Vec<Argument> {
    command(&["/bin/sh", "-c", script])
}

#[tokio::test]
async fn a_hook_has_an_environment_of_its_own_and_no_shell() {
    let job = JobHandle::new();
    let variables = [("TIDEGATE_POLICY", "nightly".to_owned())];
    let output = hook::run(&command(&["/usr/bin/env"]), &variables, LONG, &job).await.expect("it ends well");
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{output}");
    assert!(
        lines[0].starts_with("PATH=/usr/local/sbin:") && lines[1] == "TIDEGATE_POLICY=nightly",
        "{output}"
    );
    let output =
        hook::run(&command(&["/bin/echo", "$PATH; *"]), &[], LONG, &job).await.expect("it ends well");
    assert_eq!(output, "$PATH; *");
}

#[tokio::test]
async fn a_flood_of_output_is_read_and_bounded() {
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero | tr '\\0' y >&2";
    let output = hook::run(&shell(script), &[], LONG, &JobHandle::new()).await.expect("it ends well");
    assert!(output.len() < OUTPUT_BYTES_MAX + 100, "{} bytes", output.len());
    let left_out = 6_000_000 - OUTPUT_BYTES_MAX;
    assert!(output.ends_with(&format!("(and {left_out} bytes more)")), "{}", &output[OUTPUT_BYTES_MAX..]);
}

#[tokio::test]
async fn what_takes_too_long_is_killed() {
    let soon = Duration::from_millis(20);
    let error = hook::run(&command(&["/bin/sleep", "100000"]), &[], soon, &JobHandle::new()).await;
    assert!(matches!(error, Err(HookError::TimedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn what_a_hook_started_is_killed_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("child");
    let script = format!("sleep 100000 & echo $! > {0}.new; mv {0}.new {0}; wait", written.display());
    let job = JobHandle::new();
    let cancel = async {
        while !written.exists() {
            tokio::task::yield_now().await;
        }
        job.cancel();
    };
    let command = shell(&script);
    let (ended, ()) = tokio::join!(hook::run(&command, &[], LONG, &job), cancel);
    assert!(matches!(ended, Err(HookError::Cancelled { .. })), "{ended:?}");
    let child = std::fs::read_to_string(&written).expect("written").trim().to_owned();
    // Killed is killed at once, but when it is seen to be gone is for the system to say.
    while is_alive(&child) {
        tokio::task::yield_now().await;
    }
}

/// Whether there is such a process that is not only waiting to be forgotten.
fn is_alive(process: &str) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(process).join("stat"));
    status.is_ok_and(|status| status.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}

#[tokio::test]
async fn what_does_not_start_or_ends_badly_says_so() {
    let job = JobHandle::new();
    let error = hook::run(&command(&["/nowhere/program"]), &[], LONG, &job).await.expect_err("not there");
    assert!(error.to_string().starts_with("/nowhere/program cannot be started"), "{error}");
    let error = hook::run(&shell("echo why; exit 3"), &[], LONG, &job).await.expect_err("it fails");
    assert_eq!(error.to_string(), "/bin/sh ended with exit status: 3: why");
    assert_eq!(hook::run(&[], &[], LONG, &job).await.expect("nothing to do"), "");
}

/// A policy with these keys; `%` in them is a folder. Share `a` has a snapshot of half past midnight.
fn prepared(folder: &Path, keys: &str) -> (Arc<FakeHost>, Arc<Engine>) {
    let host = FakeHost::new(Turned::at(time("2026-01-01T00:30:00Z")));
    let engine = Engine::new(host.clone(), host.clock.clone());
    let keys = keys.replace('%', &folder.display().to_string());
    engine.set(vec![plan(&format!("every = \"1h\"\nkeep_last = 1\n{keys}"))]);
    host.add("a", Some("nightly"), BTreeMap::new());
    (host, engine)
}

/// Runs a policy with these keys once; `%` in them is a folder.
async fn run(folder: &Path, keys: &str) -> (Arc<FakeHost>, Result<PolicyRun, ControlError>) {
    let (host, engine) = prepared(folder, keys);
    host.clock.turn(time("2026-01-01T00:40:00Z"));
    let run = engine.run_now("nightly", &PolicyRunRequest::default(), &JobHandle::new()).await;
    (host, run)
}

fn read(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

#[tokio::test]
async fn hooks_come_before_and_after_and_know_what_was_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = r#"
before = ["/bin/sh", "-c", "echo $TIDEGATE_HOOK $TIDEGATE_RUN_TIME $TIDEGATE_SHARES [$TIDEGATE_SNAPSHOTS] > %/before"]
after = ["/bin/sh", "-c", "echo $TIDEGATE_HOOK $TIDEGATE_SNAPSHOTS > %/after"]
on_failure = ["/bin/sh", "-c", "touch %/failed"]"#;
    let (host, run) = run(folder.path(), keys).await;
    let run = run.expect("it runs");
    assert_eq!(read(folder.path(), "before").as_deref(), Some("before 2026-01-01T00:40:00Z a b []\n"));
    assert_eq!(read(folder.path(), "after").as_deref(), Some("after a=id-2 b=id-3\n"));
    assert_eq!(read(folder.path(), "failed"), None);
    assert_eq!(run.shares[0].forgotten, ["id-1"]);
    assert_eq!(host.of("a", Some("nightly")).len(), 1);
}

#[tokio::test]
async fn a_hook_that_fails_ends_the_run_unless_it_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let failing = r#"
before = ["/bin/sh", "-c", "echo not now; exit 1"]
on_failure = ["/bin/sh", "-c", "echo $TIDEGATE_HOOK: $TIDEGATE_ERROR > %/failed"]"#;
    let (host, ended) = run(folder.path(), failing).await;
    let error = ended.expect_err("it fails");
    assert!(error.message.contains("hook before failed") && error.message.contains("not now"), "{error}");
    assert_eq!(host.runs_of("a").len(), 0);
    let told = read(folder.path(), "failed").expect("it was told");
    assert!(told.starts_with("on_failure: hook before failed") && told.contains("not now"), "{told}");

    let (host, ended) = run(folder.path(), &format!("{failing}\non_hook_failure = \"continue\"")).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(host.runs_of("a").len(), 1);
}

#[tokio::test]
async fn after_a_hook_that_failed_nothing_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (host, ended) = run(folder.path(), "after = [\"/bin/false\"]").await;
    assert!(ended.is_err());
    assert_eq!(host.of("a", Some("nightly")).len(), 2, "the new one and the one from before");
}

#[tokio::test]
async fn what_an_end_that_may_fail_has_left_is_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let hooks = r#"
before = ["/bin/sh", "-c", "touch %/before"]
after = ["/bin/sh", "-c", "echo stuck; exit 1"]
on_failure = ["/bin/sh", "-c", "echo $TIDEGATE_ERROR > %/failed"]
on_hook_failure = "continue""#;
    let (host, ended) = run(folder.path(), hooks).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(host.runs_of("a").len(), 1);
    assert!(read(folder.path(), "failed").expect("it was told").contains("stuck"));
}

/// Hooks that write down that they ran; `before` waits after that for as long as it is let.
const ENDLESS: &str = r#"
before = ["/bin/sh", "-c", "touch %/before; sleep 100000"]
after = ["/bin/sh", "-c", "touch %/after"]
on_failure = ["/bin/sh", "-c", "echo $TIDEGATE_ERROR > %/failed"]"#;

/// The same, but that `before` ends at once.
const QUICK: &str = r#"
before = ["/bin/sh", "-c", "touch %/before"]
after = ["/bin/sh", "-c", "touch %/after"]
on_failure = ["/bin/sh", "-c", "echo $TIDEGATE_ERROR > %/failed"]"#;

async fn is_written(path: &Path) {
    while !path.exists() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_before_has_begun_is_ended_though_the_run_is_cancelled_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let (host, engine) = prepared(folder.path(), ENDLESS);
    let (request, job) = (PolicyRunRequest::default(), JobHandle::new());
    let cancel = async {
        is_written(&folder.path().join("before")).await;
        job.cancel();
    };
    let (ended, ()) = tokio::join!(engine.run_now("nightly", &request, &job), cancel);
    assert_eq!(ended.map_err(|error| error.kind), Err(ErrorKind::Cancelled));
    let told = read(folder.path(), "failed").expect("on_failure ran to its end");
    assert!(told.contains("the run was cancelled"), "{told}");
    assert_eq!(read(folder.path(), "after"), None, "there are no snapshots");
    assert_eq!((host.runs_of("a").len(), engine.statuses()[0].failures), (0, 0));
}

#[tokio::test]
async fn what_before_has_begun_is_ended_by_the_hook_that_the_snapshots_at_the_cancellation_ask_for() {
    for (cancels_at, taken, ends) in [("a", 1, "failed"), ("b", 2, "after")] {
        let folder = tempfile::tempdir().expect("a folder");
        let (host, engine) = prepared(folder.path(), QUICK);
        host.state.lock().cancels_at = Some(cancels_at.to_owned());
        host.clock.turn(time("2026-01-01T00:40:00Z"));
        let ended = engine.run_now("nightly", &PolicyRunRequest::default(), &JobHandle::new()).await;
        assert_eq!(ended.map_err(|error| error.kind), Err(ErrorKind::Cancelled), "{cancels_at}");
        assert_eq!(host.runs_of("a").len() + host.runs_of("b").len(), taken, "{cancels_at}");
        let ran: Vec<_> =
            ["after", "failed"].into_iter().filter(|name| folder.path().join(name).exists()).collect();
        assert_eq!(ran, [ends], "one of both, and no more");
    }
}

#[tokio::test]
async fn what_before_has_begun_is_ended_however_long_and_strange_the_failure_is() {
    for refusal in ["x".repeat(200 << 10), "ends in \0 and more".to_owned()] {
        let folder = tempfile::tempdir().expect("a folder");
        let (host, engine) = prepared(folder.path(), QUICK);
        {
            let mut state = host.state.lock();
            state.away.push("b".to_owned());
            state.refusal = Some(refusal.clone());
        }
        let ended = engine.run_now("nightly", &PolicyRunRequest::default(), &JobHandle::new()).await;
        assert!(ended.expect_err("it fails").message.contains(&refusal));
        let told = read(folder.path(), "failed").expect("on_failure has run");
        let begin = format!("share b: {}", &refusal[..8]);
        assert!(told.starts_with(&begin) && told.len() <= VARIABLE_BYTES_MAX + 1, "{} bytes", told.len());
    }
}

#[tokio::test]
async fn a_run_that_is_cancelled_before_its_first_hook_runs_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_host, engine) = prepared(folder.path(), QUICK);
    let job = JobHandle::new();
    job.cancel();
    let ended = engine.run_now("nightly", &PolicyRunRequest::default(), &job).await;
    assert_eq!(ended.map_err(|error| error.kind), Err(ErrorKind::Cancelled));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

/// An engine whose policy has begun to run by the clock, and whose hook `before` has been started.
async fn begun(folder: &Path, keys: &str) -> (Arc<FakeHost>, Arc<Engine>) {
    let (host, engine) = prepared(folder, keys);
    host.add("b", Some("nightly"), BTreeMap::new());
    host.clock.turn(time("2026-01-01T01:30:00Z"));
    engine.start();
    is_written(&folder.join("before")).await;
    (host, engine)
}

#[tokio::test]
async fn what_before_has_begun_is_ended_before_the_gateway_has_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let (host, engine) = begun(folder.path(), ENDLESS).await;
    engine.stop().await;
    assert!(read(folder.path(), "failed").is_some(), "the stop has waited for on_failure");
    assert_eq!(host.runs_of("a").len(), 0);
}

#[tokio::test]
async fn a_hook_that_does_not_end_holds_a_stop_up_no_longer_than_its_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let last = "before = [\"/bin/sh\", \"-c\", \"touch %/before; sleep 100000\"]\nhook_timeout = \"1d\"\n\
        on_failure = [\"/bin/sh\", \"-c\", \"touch %/last; sleep 100000\"]";
    let (_host, engine) = begun(folder.path(), last).await;
    let stop = engine.stop();
    tokio::pin!(stop);
    let written = folder.path().join("last");
    tokio::select! {
        () = &mut stop => panic!("the stop waits for the hook"),
        () = is_written(&written) => {}
    }
    // From here on time goes to the next bound by itself.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    stop.await;
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

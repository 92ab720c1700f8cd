//! Goal: wherever the process dies, nothing that was acknowledged is missing after the next start, and everything that the
//! newest head reaches is in the repository.
//!
//! Method: for each crash point of the product, the real program runs under load with
//! `TIDEGATE_CRASH_AT` naming it, dies there, is started again, and every file is compared with what was
//! acknowledged; then everything is published and `tidegate check` looks at the whole repository. All points are met in
//! one long-lived state, so what a crash leaves is what the next one starts from. Points of an eviction are met in a state of
//! their own, whose cache is so small that the load fills it. `TIDEGATE_SEED` repeats a run; `TIDEGATE_SWEEP_VISITS` sweeps
//! later visits of each point too.

use tidegate_gateway::crash;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{Gateway, PATIENCE};
use tidegate_integration::load::Load;

/// Which visit of each point is the last to be swept, unless the environment says otherwise.
const VISITS: u64 = 1;
/// The beginnings of points that are met once a start, before anything is served.
const AT_START: [&str; 2] = ["journal.open.", "start."];
/// The beginning of points that every acknowledged call meets: there a random visit is swept.
const OFTEN: &str = "journal.records.";
/// The beginning of points of an eviction.
const EVICTION: &str = "cache.";
/// Points of fencing, of joining again and of applying a branch: `failover.rs` sweeps them. Points of uploads in parts:
/// `s3_clients` does.
const ELSEWHERE: [&str; 4] = ["aside.", "rejoin.", "apply.", "complete."];
/// The last visit of those that may be swept.
const OFTEN_VISITS_MAX: u64 = 300;

fn visits() -> u64 {
    let given = std::env::var("TIDEGATE_SWEEP_VISITS").ok();
    given.map_or(VISITS, |text| text.parse().expect("TIDEGATE_SWEEP_VISITS is a number"))
}

fn begins(point: &str, with: &[&str]) -> bool {
    with.iter().any(|part| point.starts_with(part))
}

/// How often the log says that the process died at the point.
fn deaths_at(point: &str, gateway: &Gateway) -> usize {
    let said = format!("abort: crash point {point}");
    gateway.log().lines().filter(|line| line.ends_with(&said)).count()
}

/// Lets the gateway run under load until it dies at the point.
async fn die_at(point: &str, visit: u64, mut gateway: Gateway, load: &mut Load) -> Gateway {
    let before = deaths_at(point, &gateway);
    gateway.start_to_crash(&format!("{point}:{visit}"));
    let address = gateway.address();
    let serving = tokio::task::spawn_blocking(move || {
        let serving = gateway.wait_until_serving();
        (gateway, serving)
    });
    let (mut gateway, serving) = serving.await.expect("waiting does not panic");
    if serving {
        let death = tokio::task::spawn_blocking(move || {
            let died = gateway.wait_for_death(PATIENCE);
            gateway.kill();
            (gateway, died)
        });
        let (back, died) = load.run(address, death).await.expect("waiting does not panic");
        gateway = back;
        assert!(died, "{point} was not met under load:\n{}", gateway.log());
    }
    assert_eq!(
        deaths_at(point, &gateway),
        before + 1,
        "it died elsewhere than at {point}:\n{}",
        gateway.log()
    );
    gateway
}

/// Dies at the points, one after the other; after each nothing is missing, here and in the repository.
async fn sweep(points: &[&str], gateway: Gateway, chance: &mut Chance) {
    let (mut gateway, mut load) = (gateway, Load::new(chance));
    gateway.start();
    load.check(gateway.address()).await;
    gateway.kill();
    for visit in 1..=visits() {
        for point in points {
            let at = match *point {
                once if begins(once, &AT_START) => 1,
                often if often.starts_with(OFTEN) => 1 + chance.below(OFTEN_VISITS_MAX),
                _ => visit,
            };
            gateway = die_at(point, at, gateway, &mut load).await;
            gateway.start();
            load.check(gateway.address()).await;
            gateway.commit();
            gateway.run(&["check"]);
            gateway.kill();
            println!("{point}:{at}: {} calls acknowledged so far, all there", load.acknowledged());
        }
    }
    gateway.start();
    gateway.run(&["check", "--read-data=100%"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_crash_at_any_named_point() {
    let mut chance = Chance::announced("crash_sweep");
    let folder = tempfile::tempdir().expect("a folder");
    let elsewhere = |point: &str| point.starts_with(EVICTION) || begins(point, &ELSEWHERE);
    let points: Vec<_> = crash::POINTS.iter().copied().filter(|point| !elsewhere(point)).collect();
    sweep(&points, Gateway::create(folder.path()), &mut chance).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_crash_in_an_eviction() {
    let mut chance = Chance::announced("crash_sweep, evictions");
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = Gateway::create(folder.path());
    gateway.change_settings("[cache]\n", "[cache]\ndisk = \"64MiB\"\n");
    let points: Vec<_> = crash::POINTS.iter().copied().filter(|point| point.starts_with(EVICTION)).collect();
    assert!(!points.is_empty(), "an eviction has crash points");
    sweep(&points, gateway, &mut chance).await;
}

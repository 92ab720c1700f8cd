//! Goal: wherever the process dies between a change and its published head, nothing that was
//! acknowledged is missing after the next start.
//!
//! Method: for each crash point of the product, the real program runs under load with
//! `TIDEGATE_CRASH_AT` naming it, dies there, is started again, and every file is compared with what was
//! acknowledged. All points are met in one long-lived state, so what a crash leaves is what the next one
//! starts from. `TIDEGATE_SEED` repeats a run; `TIDEGATE_SWEEP_VISITS` sweeps later visits of each point too.

use tidegate_gateway::crash;
use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{Gateway, PATIENCE};
use tidegate_integration::load::Load;

/// Which visit of each point is the last to be swept, unless the environment says otherwise.
const VISITS: u64 = 1;
/// Met once a start.
const ONCE: &str = "journal.open.cut";
/// The beginning of points that every acknowledged call meets: there a random visit is swept.
const OFTEN: &str = "journal.records.";
/// Points of an eviction: this load is far too small to fill a cache.
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

/// Lets the gateway run under load until it dies at the point.
async fn die_at(point: &str, visit: u64, mut gateway: Gateway, load: &mut Load) -> Gateway {
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
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_crash_at_any_named_point() {
    let mut chance = Chance::announced("crash_sweep");
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    let mut load = Load::new(&mut chance);
    gateway.start();
    load.check(gateway.address()).await;
    gateway.kill();
    for visit in 1..=visits() {
        let elsewhere = |point: &str| ELSEWHERE.iter().any(|part| point.starts_with(part));
        let swept = crash::POINTS.iter().filter(|point| !point.starts_with(EVICTION) && !elsewhere(point));
        for point in swept {
            let at = match *point {
                ONCE => 1,
                often if often.starts_with(OFTEN) => 1 + chance.below(OFTEN_VISITS_MAX),
                _ => visit,
            };
            gateway = die_at(point, at, gateway, &mut load).await;
            gateway.start();
            load.check(gateway.address()).await;
            gateway.kill();
            println!("{point}:{at}: {} calls acknowledged so far, all there", load.acknowledged());
        }
    }
}

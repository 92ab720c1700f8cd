//! Targets that are away: the one that leads, with clients that go on writing; and a copy.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tidegate_integration::gateway::{SHARE, free_address};

use super::stage::{Client, Stage, can_be_made, folder};

/// What a store that is away comes to, while somebody writes.
const AWAY: [&str; 8] = [
    "TidegateTargetAway",
    "TidegateObjectiveMissed",
    "TidegateAlarm",
    "TidegateBacklogGrows",
    "TidegateDirtyFilling",
    "TidegateDirtyFull",
    "TidegateShareNotServed",
    "TidegateNfsSlow",
];

/// A life that is long enough to be seen: the time since the start is shown in seconds.
const LIFE: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_is_away_is_an_alert_and_so_is_each_thing_that_comes_of_it() {
    if !can_be_made("the store is away") {
        return;
    }
    let folder = folder();
    let stage = Stage::set(folder, "");
    let client = Client::at_work(stage.gateway.address());
    stage.is_well();

    // All that is written from now on waits, and so do all who write.
    client.stop().await;
    let (repository, away) = (stage.gateway.repository(), stage.path("away"));
    fs::rename(&repository, &away).expect("moved");
    let filler = Client::that_fills(stage.gateway.address(), "filler");
    stage.prometheus.until_fired(&AWAY, || {});
    fs::rename(&away, &repository).expect("moved back");
    filler.stop().await;
    stage.prometheus.until_over(&AWAY);
    let client = Client::at_work(stage.gateway.address());
    stage.is_well();
    client.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_that_is_away_is_an_alert_until_it_follows_or_is_no_target_any_more() {
    if !can_be_made("a copy is away") {
        return;
    }
    let folder = folder();
    let stage = Stage::set(folder, "");
    let (copy, away) = (stage.path("copy"), stage.path("copy that is away"));
    fs::create_dir(&copy).expect("a folder");
    let address = format!("file://{}", copy.display());
    stage.gateway.run(&["target", "add", "copy", "--address", &address]);
    let client = Client::at_work(stage.gateway.address());
    stage.until_metric("tidegate_target_reachable{target=\"copy\"}", |reachable| reachable == 1.0);
    stage.prometheus.until_over(&["TidegateTargetAway"]);
    stage.is_well();

    let alerts = ["TidegateTargetAway", "TidegateTargetBehind"];
    fs::rename(&copy, &away).expect("moved");
    stage.prometheus.until_fired(&alerts, || {});
    fs::rename(&away, &copy).expect("moved back");
    stage.prometheus.until_over(&alerts);

    // What is told of a target goes with it, also while it was wrong.
    fs::rename(&copy, &away).expect("moved");
    stage.prometheus.until_fired(&alerts, || {});
    stage.gateway.run(&["target", "remove", "copy", "--yes"]);
    stage.prometheus.until_over(&alerts);
    stage.prometheus.until_over(&["TidegateAlarm"]);
    assert!(!stage.metrics().contains("target=\"copy\""), "a target that is gone is shown");
    client.stop().await;
    stage.is_well();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_that_died_is_an_alert_and_every_metric_is_on_the_page() {
    if !can_be_made("the gateway died") {
        return;
    }
    let folder = folder();
    let s3 = free_address();
    let settings =
        format!("\n[s3]\nlisten = [\"{s3}\"]\n\n[[bucket]]\nname = \"{SHARE}\"\nshare = \"{SHARE}\"\n");
    let mut stage = Stage::set(folder, &settings);
    let client = Client::at_work(stage.gateway.address());
    stage.is_well();
    client.stop().await;

    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = fs::read_to_string(page).expect("the page");
    for line in stage.metrics().lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|line| line.split(' ').next()) {
            assert!(page.contains(&format!("`{name}`")), "{name} is shown, and not on the page of metrics");
        }
    }
    stage.gateway.kill();
    stage.prometheus.until_fired(&["TidegateSilent"], || {});
    stage.gateway.start();
    stage.prometheus.until_over(&["TidegateSilent"]);

    // One that begins anew again and again: each life is long enough to be seen.
    let Stage { prometheus, gateway, .. } = &mut stage;
    prometheus.until_fired(&["TidegateRestarts"], || {
        std::thread::sleep(LIFE);
        gateway.kill();
        gateway.start();
    });
    stage.prometheus.until_over(&["TidegateRestarts"]);
}

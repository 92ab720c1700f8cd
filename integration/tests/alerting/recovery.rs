//! Recovery that would take too long, and one that was practised and did.

use tidegate_integration::nfs::Nfs;

use super::stage::{Client, Stage, can_be_made, folder, noise};

/// How long everything may take to come back.
const OBJECTIVE: &str = "rto_whole = \"60s\"\n";
/// By a link that is so slow, it takes longer.
const SLOW: &str = "16KiB/s";
/// Files of one MiB.
const FILES: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn recovery_that_is_predicted_to_take_too_long_is_an_alert() {
    if !can_be_made("predicted recovery") {
        return;
    }
    let folder = folder();
    let stage = Stage::set_with(folder, "", |gateway| {
        gateway.change_settings("squash = \"none\"\n", &format!("squash = \"none\"\n{OBJECTIVE}"));
    });
    let mut nfs = Nfs::connect(stage.gateway.address()).await;
    let root = nfs.root();
    for number in 0..FILES {
        let file = nfs.create(&root, format!("noise-{number}").as_bytes()).await.expect("made");
        nfs.write(&file, 0, &noise(number)).await.expect("written");
    }
    stage.gateway.commit();
    stage.until_metric("tidegate_share_recovery_seconds{share=\"files\",stage=\"whole\"}", f64::is_finite);
    stage.is_well();

    stage.gateway.run(&["target", "limit", "local", "--down", SLOW]);
    stage.prometheus.until_fired(&["TidegateRecoveryTooSlow"], || {});
    stage.gateway.run(&["target", "limit", "local", "--off"]);
    stage.prometheus.until_over(&["TidegateRecoveryTooSlow"]);
    stage.is_well();
}

/// A drill whose last check takes two seconds, and fails while there is a file `fail`.
fn runbook(fail: &std::path::Path) -> String {
    format!(
        "[runbook.loss]\nrto = \"10m\"\n\
         [[runbook.loss.step]]\nname = \"attach\"\naction = \"attach\"\nshare = \"files\"\n\
         [[runbook.loss.step]]\nname = \"serve\"\naction = \"serve\"\nafter = [\"attach\"]\n\
         [[runbook.loss.step]]\nname = \"check\"\naction = \"check-command\"\nafter = [\"serve\"]\nretries = 0\n\
         command = [\"/bin/sh\", \"-c\", \"sleep 2; test ! -e {}\"]\n",
        fail.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drill_that_fails_or_takes_longer_than_it_may_is_an_alert() {
    if !can_be_made("drills") {
        return;
    }
    let folder = folder();
    let fail = folder.path().join("fail");
    let runbook = runbook(&fail);
    let stage = Stage::set(folder, &runbook);
    let client = Client::at_work(stage.gateway.address());
    stage.gateway.commit();
    let drill = |passes: bool| {
        let ended = stage.gateway.attempt(&["runbook", "drill", "loss"]);
        assert_eq!(ended.code == Some(0), passes, "{ended:?}");
    };
    drill(true);
    stage.is_well();

    std::fs::write(&fail, "").expect("a file");
    drill(false);
    stage.prometheus.until_fired(&["TidegateDrillMissed"], || {});
    std::fs::remove_file(&fail).expect("it is there");
    drill(true);
    stage.prometheus.until_over(&["TidegateDrillMissed"]);

    // The same drill, of which more is wanted than can be.
    stage.gateway.change_settings("rto = \"10m\"", "rto = \"1s\"");
    let ended = stage.gateway.attempt(&["runbook", "drill", "loss"]);
    assert!(
        stage.metric("tidegate_runbook_rto_seconds{runbook=\"loss\",mode=\"drill\"}") > Some(1.0),
        "{ended:?}"
    );
    stage.prometheus.until_fired(&["TidegateDrillMissed"], || {});
    client.stop().await;
}

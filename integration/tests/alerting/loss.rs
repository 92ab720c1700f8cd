//! What is lost: parts of a pack that nobody has any more, and the right to lead a share.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidegate_integration::gateway::{Gateway, SHARE};
use tidegate_integration::nfs::Nfs;

use super::stage::{Client, Stage, can_be_made, folder, noise};

/// The exit code for what is damaged.
const DAMAGED: i32 = 9;

/// A repository that a gateway left behind with this many files of noise, and a gateway elsewhere, whose cache is empty, that
/// took its share over.
async fn left_behind(files: u64) -> (TempDir, Gateway) {
    let folder = folder();
    let (home, site) = (folder.path().join("home"), folder.path().join("site"));
    fs::create_dir(&home).expect("a folder");
    fs::create_dir(&site).expect("a folder");
    let mut gateway = Gateway::create(&home);
    gateway.start();
    let mut nfs = Nfs::connect(gateway.address()).await;
    let root = nfs.root();
    for number in 0..files {
        let file = nfs.create(&root, format!("noise-{number}").as_bytes()).await.expect("made");
        nfs.write(&file, 0, &noise(number)).await.expect("written");
    }
    gateway.commit();
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    let site = Gateway::configure(&site, &gateway.repository(), &gateway.key());
    // Else it fetches what is hot, and has a copy to heal with.
    site.change_settings("squash = \"none\"\n", "squash = \"none\"\nwarm = \"none\"\n");
    site.run(&["attach", SHARE]);
    (folder, site)
}

/// The largest file below a folder: a pack of data.
fn largest(folder: &Path) -> PathBuf {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let metadata = entry.metadata().expect("it is there");
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((metadata.len(), entry.path()));
            }
        }
    }
    found.into_iter().max().expect("there is a pack").1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_spoilt_pack_without_a_copy_and_a_share_that_was_taken_away_are_alerts() {
    if !can_be_made("parts and shares that are lost") {
        return;
    }
    let (folder, gateway) = left_behind(4).await;
    let repository = folder.path().join("home/repository");
    let key = folder.path().join("home/repository.key");
    let stage = Stage::watch(folder, gateway);
    let client = Client::at_work(stage.gateway.address());
    stage.leads();
    stage.is_well();

    let pack = largest(&repository.join("packs"));
    let whole = fs::read(&pack).expect("a pack");
    let mut spoilt = whole.clone();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 1;
    fs::write(&pack, &spoilt).expect("it can be spoilt");
    let scrubbed = stage.gateway.attempt(&["scrub", "run"]);
    assert_eq!(scrubbed.code, Some(DAMAGED), "{scrubbed:?}");
    stage.prometheus.until_fired(&["TidegatePartsLost"], || {});
    fs::write(&pack, &whole).expect("it can be put back");
    stage.gateway.run(&["scrub", "run"]);
    stage.prometheus.until_over(&["TidegatePartsLost"]);

    let third = stage.path("third");
    fs::create_dir(&third).expect("a folder");
    let third = Gateway::attach(&third, &repository, &key);
    let alerts = ["TidegateShareNotServed", "TidegateAlarm"];
    stage.prometheus.until_fired(&alerts, || {});
    client.stop().await;
    drop(third);
    stage.gateway.run(&["share", "rejoin", SHARE, "--take-over", "--yes"]);
    stage.prometheus.until_over(&alerts);
    stage.is_well();
}

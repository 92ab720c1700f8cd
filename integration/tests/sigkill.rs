//! Goal: `kill -9` at any instant loses nothing that was acknowledged, and needs no repair.
//!
//! Method: clients change files over NFS while heads are published every second; the process is killed
//! at a random instant, started again, and every file compared with what was acknowledged. The next
//! round goes on in the same state. `TIDEGATE_KILLS` says how often (100 in `make nightly`), `TIDEGATE_SEED`
//! repeats a run.

use std::time::Duration;

use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::load::Load;
use tidegate_integration::nfs::Nfs;

/// Kills unless the environment says otherwise.
const KILLS: u64 = 10;
/// The longest that a gateway lives under load, in milliseconds: two commits.
const LIFE_MAX_MS: u64 = 2500;

fn kills() -> u64 {
    let given = std::env::var("TIDEGATE_KILLS").ok();
    given.map_or(KILLS, |text| text.parse().expect("TIDEGATE_KILLS is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_a_kill_at_any_instant() {
    let mut chance = Chance::announced("sigkill");
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    let mut load = Load::new(&mut chance);
    for kill in 0..kills() {
        gateway.start();
        let address = gateway.address();
        load.check(address).await;
        let life = Duration::from_millis(chance.below(LIFE_MAX_MS));
        let death = tokio::task::spawn_blocking(move || {
            std::thread::sleep(life);
            gateway.kill();
            gateway
        });
        gateway = load.run(address, death).await.expect("the killer does not panic");
        println!(
            "kill {kill} after {} ms: {} calls acknowledged so far",
            life.as_millis(),
            load.acknowledged()
        );
    }
    gateway.start();
    load.check(gateway.address()).await;
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    gateway.start();
    load.check(gateway.address()).await;
    assert!(load.acknowledged() > 0, "the load did something");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_start_shows_in_the_verifier_of_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let mut nfs = Nfs::connect(gateway.address()).await;
    let root = nfs.root();
    let file = nfs.create(&root, b"file").await.expect("made");
    let first = nfs.write_verifier(&file).await.expect("told");
    assert_eq!(nfs.write_unstable(&file, 0, b"data").await, Ok(4));
    assert_eq!(nfs.write_verifier(&file).await, Ok(first), "one life, one verifier");
    gateway.kill();
    gateway.start();
    nfs.reconnect(gateway.address()).await;
    assert_ne!(nfs.write_verifier(&file).await, Ok(first), "what was not committed may be lost");
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    gateway.start();
    nfs.reconnect(gateway.address()).await;
    assert_ne!(nfs.write_verifier(&file).await, Ok(first));
}

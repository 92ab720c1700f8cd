//! Goal: the whole gateway over a bucket: what was acknowledged survives kills and an outage of the store,
//! and comes back on a second machine from bucket and key alone.
//!
//! Method: the real program, an S3 server in this process (s3s over a folder), and between the two a gate
//! that can be shut: connections are cut, and new ones end at once. `TIDEGATE_SEED` repeats a run.

#[allow(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../replicator/tests/store_s3/server.rs"]
mod server;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tidegate_integration::chance::Chance;
use tidegate_integration::gate::Gate;
use tidegate_integration::gateway::{Gateway, SHARE};
use tidegate_integration::load::Load;

use server::{BUCKET, Server};

/// How long the load goes on in each phase.
const LIFE: Duration = Duration::from_secs(3);

/// The lines of the settings that name the bucket behind the gate.
fn target(folder: &Path, gate: SocketAddr) -> String {
    let credentials = folder.join("s3");
    fs::write(&credentials, "access\nsecret\n").expect("the folder can be written");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).expect("it is ours");
    format!(
        "address = \"s3://{BUCKET}/tidegate\"\nregion = \"us-east-1\"\nendpoint = \"http://{gate}\"\n\
         credentials = {{ file = \"{}\" }}",
        credentials.display()
    )
}

/// Lets the gateway run under load, kills it, and starts it again once `between` has run.
async fn live_and_die(mut gateway: Gateway, load: &mut Load, between: impl FnOnce()) -> Gateway {
    let address = gateway.address();
    let death = async move {
        tokio::time::sleep(LIFE).await;
        gateway.kill();
        gateway
    };
    let mut gateway = load.run(address, death).await;
    between();
    gateway = tokio::task::spawn_blocking(move || {
        gateway.start();
        gateway
    })
    .await
    .expect("it starts");
    load.check(address).await;
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_brings_everything_back_after_kills_an_outage_and_the_loss_of_the_machine() {
    let mut chance = Chance::announced("bucket");
    let server = Server::start().await;
    let gate = Gate::before(server.address).await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("repository.key");
    let target = target(folder.path(), gate.address());
    let mut gateway = Gateway::configure_on(folder.path(), &target, &key);
    gateway = tokio::task::spawn_blocking(move || {
        gateway.run(&["init", "--no-recovery-key"]);
        gateway.start();
        gateway
    })
    .await
    .expect("it starts");
    let mut load = Load::new(&mut chance);
    gateway = live_and_die(gateway, &mut load, || {}).await;

    gate.shut();
    let before = load.acknowledged();
    gateway = live_and_die(gateway, &mut load, || gate.reopen()).await;
    assert!(load.acknowledged() > before, "changes are taken while the store is away");

    let second = folder.path().join("second");
    fs::create_dir(&second).expect("a folder");
    let second = tokio::task::spawn_blocking(move || {
        gateway.commit();
        gateway.kill();
        let mut second = Gateway::configure_on(&second, &target, &key);
        second.run(&["attach", SHARE]);
        second.start();
        second
    })
    .await
    .expect("it starts");
    load.check(second.address()).await;
}

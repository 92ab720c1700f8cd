//! A gateway whose cache is empty, over a bucket that is slow and then away: what clients wait for, and what is paid.
//!
//! The bucket is served in this process (s3s over a folder); a gate before it holds back what it answers.

#[allow(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../../replicator/tests/store_s3/server.rs"]
mod server;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_integration::gateway::{Gateway, SHARE, free_address};
use tidegate_integration::nfs::Nfs;
use tidegate_replicator::store::{Credentials, ObjectName, Store, StoreSettings, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::stage::{Client, Stage, can_be_made, folder, noise};
use server::{BUCKET, Server};

/// How long an answer is held back by a store that is slow.
const SLOW: Duration = Duration::from_secs(3);
/// The most that is one piece.
const PIECE: usize = 1 << 20;
/// Objects of one MiB that nobody has read yet.
const OBJECTS: u64 = 96;
/// The access key of the gateway's own bucket.
const ACCESS_KEY: &str = "duty";
const SECRET: &str = "a-secret-of-the-tests";

/// What stands between gateway and store: how long it holds answers back; none when it is shut.
struct Gate {
    address: SocketAddr,
    delay: watch::Sender<Option<Duration>>,
}

impl Gate {
    async fn before(store: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (delay, seen) = watch::channel(Some(Duration::ZERO));
        tokio::spawn(async move {
            while let Ok((outside, _)) = listener.accept().await {
                tokio::spawn(carry(outside, store, seen.clone()));
            }
        });
        Self { address, delay }
    }

    fn set(&self, delay: Option<Duration>) {
        self.delay.send_replace(delay);
    }
}

/// Carries bytes both ways until an end hangs up or the gate is shut. What answers a request is held back once.
async fn carry(outside: TcpStream, store: SocketAddr, delay: watch::Receiver<Option<Duration>>) {
    let Ok(inside) = TcpStream::connect(store).await else { return };
    let (asks, answered) = outside.into_split();
    let (answers, asked) = inside.into_split();
    let (is_asked, mut shut) = (Arc::new(AtomicBool::new(false)), delay.clone());
    tokio::select! {
        () = ask(asks, asked, is_asked.clone()) => {}
        () = answer(answers, answered, is_asked, delay) => {}
        _ = shut.wait_for(Option::is_none) => {}
    }
}

/// Passes requests on, and says so.
async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_asked: Arc<AtomicBool>) {
    let mut piece = vec![0; PIECE];
    while let Ok(length) = from.read(&mut piece).await {
        is_asked.store(true, Ordering::Relaxed);
        if length == 0 || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// Passes answers on; the first piece after a request waits.
async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    is_asked: Arc<AtomicBool>,
    delay: watch::Receiver<Option<Duration>>,
) {
    let mut piece = vec![0; PIECE];
    while let Ok(length) = from.read(&mut piece).await {
        let held = delay.borrow().unwrap_or_default();
        if is_asked.swap(false, Ordering::Relaxed) {
            tokio::time::sleep(held).await;
        }
        if length == 0 || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

/// The lines of the settings that name the bucket behind the gate.
fn target(folder: &Path, gate: SocketAddr) -> String {
    let credentials = folder.join("s3");
    secret(&credentials, "access\nsecret\n");
    format!(
        "address = \"s3://{BUCKET}/tidegate\"\nregion = \"us-east-1\"\nendpoint = \"http://{gate}\"\n\
         credentials = {{ file = \"{}\" }}",
        credentials.display()
    )
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).expect("the folder can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

/// The tables of a gateway that serves its share as a bucket, and knows what its target charges.
fn tables(folder: &Path, door: SocketAddr) -> String {
    let place = folder.join("secret");
    secret(&place, SECRET);
    format!(
        "\n[s3]\nlisten = [\"{door}\"]\n\n[[bucket]]\nname = \"{SHARE}\"\nshare = \"{SHARE}\"\n\n\
         [[access_key]]\nid = \"{ACCESS_KEY}\"\nsecret = {{ file = \"{}\" }}\nuid = 0\ngid = 0\n\n\
         [[prices]]\ntarget = \"local\"\nper_gb_out = \"1\"\ncurrency = \"EUR\"\n",
        place.display()
    )
}

/// A bucket that a gateway left behind with many objects, and another gateway that serves them from it.
async fn left_behind(folder: &TempDir, gate: SocketAddr, door: SocketAddr) -> Gateway {
    let (home, site) = (folder.path().join("home"), folder.path().join("site"));
    fs::create_dir(&home).expect("a folder");
    fs::create_dir(&site).expect("a folder");
    let (target, key) = (target(folder.path(), gate), folder.path().join("repository.key"));
    let mut gateway = Gateway::configure_on(&home, &target, &key);
    gateway.run(&["init", "--no-recovery-key"]);
    gateway.start();
    let mut nfs = Nfs::connect(gateway.address()).await;
    let root = nfs.root();
    let directory = nfs.make_directory(&root, b"store").await.expect("made");
    for number in 0..OBJECTS {
        let file = nfs.create(&directory, format!("cold-{number}").as_bytes()).await.expect("made");
        nfs.write(&file, 0, &noise(number)).await.expect("written");
    }
    gateway.commit();
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    let gateway = Gateway::configure_on(&site, &target, &key);
    let settings = fs::read_to_string(gateway.settings()).expect("it was written");
    fs::write(gateway.settings(), settings + &tables(folder.path(), door))
        .expect("the folder can be written");
    gateway.change_settings("squash = \"none\"\n", "squash = \"none\"\nwarm = \"none\"\n");
    gateway.run(&["attach", SHARE]);
    gateway
}

/// The bucket of the gateway, through our own adapter; each request is made once.
fn bucket(door: SocketAddr) -> Arc<dyn Store> {
    let address = format!("s3://{SHARE}/store").parse().expect("an address");
    let endpoint = Some(format!("http://{door}"));
    let settings = StoreSettings { endpoint, attempts_max: 1, ..StoreSettings::new(address) };
    let credentials = Credentials::Static {
        access_key: ACCESS_KEY.into(),
        secret_key: SECRET.to_owned().into(),
        session_token: None,
    };
    open("test", &settings, &credentials, None).expect("opened").store
}

/// A client that reads objects which nobody has read yet, one after the other, from number `first` on; goes around.
fn reader(store: Arc<dyn Store>, first: u64) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        for number in (0..OBJECTS).cycle().skip(first as usize) {
            let name = ObjectName::new(format!("cold-{number}")).expect("a name");
            if let Ok(read) = store.get(&name, None).await {
                assert!(read == noise(number), "object {number} differs");
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_clients_wait_for_and_what_is_paid_are_alerts() {
    if !can_be_made("a slow store") {
        return;
    }
    let server = Server::start().await;
    let gate = Gate::before(server.address).await;
    let folder = folder();
    let door = free_address();
    let gateway = left_behind(&folder, gate.address, door).await;
    let stage = Stage::watch(folder, gateway);
    let client = Client::at_work(stage.gateway.address());
    let (prometheus, store) = (&stage.prometheus, bucket(door));
    stage.leads();
    stage.is_well();

    let cold = reader(store.clone(), 0);
    prometheus.until_fired(&["TidegateCacheMisses", "TidegateSpendingJumps"], || {});
    cold.abort();
    prometheus.until_over(&["TidegateCacheMisses", "TidegateSpendingJumps"]);

    // Everything was text; from now on nothing is.
    client.stop().await;
    let noise = Client::that_fills(stage.gateway.address(), "encrypted");
    prometheus.until_fired(&["TidegateSavingsFell"], || {});
    noise.stop().await;
    prometheus.until_over(&["TidegateSavingsFell"]);

    gate.set(Some(SLOW));
    let cold = reader(store.clone(), OBJECTS / 2);
    prometheus.until_fired(&["TidegateS3Slow", "TidegateStoreSlow"], || {});
    gate.set(None);
    prometheus.until_fired(&["TidegateS3Failing"], || {});
    gate.set(Some(Duration::ZERO));
    cold.abort();
    prometheus.until_over(&["TidegateS3Slow", "TidegateStoreSlow", "TidegateS3Failing"]);
}

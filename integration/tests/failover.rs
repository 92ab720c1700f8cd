//! Goal: of two sites that believe that they lead a share one line of heads goes on, and every write that either of them
//! acknowledged is on the line or in a branch; a planned move costs clients nothing but a pause.
//!
//! Method: the real program, two gateways with a repository in a folder, clients over NFS that keep a log of what was
//! acknowledged. A gateway is stopped in the middle of its load (`SIGSTOP`), its share is taken over, and it is woken
//! (`SIGCONT`); dies at each crash point on the way to a branch and back; and hands its share and its address over while a
//! client goes on under the handles that it has. What a branch holds is read without a gateway (`tidegate restore --to`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nfs3_types::nfs3::nfsstat3;
use serde_json::Value;
use tidegate_gateway::crash;
use tidegate_integration::gateway::{Gateway, PATIENCE, SHARE};
use tidegate_integration::nfs::Nfs;

/// Writes that a client has acknowledged before its gateway is stopped.
const BEFORE: usize = 40;
/// Length of a write: so that some files are one chunk, and some are several.
const LENGTHS: [usize; 4] = [100, 5_000, 70_000, 400_000];
/// How often something is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a client was told.
type Log = BTreeMap<String, Vec<u8>>;

fn content(name: &str, length: usize) -> Vec<u8> {
    name.bytes()
        .cycle()
        .enumerate()
        .map(|(at, byte)| byte.wrapping_add((at / 251) as u8))
        .take(length)
        .collect()
}

/// Makes files until the share is read-only; gives what was acknowledged.
async fn write_until_fenced(mut client: Nfs, prefix: &str, acknowledged: Arc<AtomicUsize>) -> Log {
    let (mut log, root) = (Log::new(), client.root());
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        let data = content(&name, LENGTHS[number % LENGTHS.len()]);
        let written = async {
            let file = client.create(&root, name.as_bytes()).await?;
            client.write(&file, 0, &data).await
        };
        match written.await {
            Ok(()) => drop(log.insert(name, data)),
            Err(nfsstat3::NFS3ERR_ROFS) => break,
            Err(error) => panic!("a write failed with {error:?}"),
        }
        acknowledged.store(log.len(), Ordering::Relaxed);
    }
    log
}

async fn write(address: std::net::SocketAddr, name: &str) -> (String, Vec<u8>) {
    let mut client = Nfs::connect(address).await;
    let root = client.root();
    let file = client.create(&root, name.as_bytes()).await.expect("it may be made");
    let data = content(name, LENGTHS[2]);
    client.write(&file, 0, &data).await.expect("it is acknowledged");
    (name.to_owned(), data)
}

/// All files in the root directory of a share.
async fn files_of(address: std::net::SocketAddr) -> Log {
    let mut client = Nfs::connect(address).await;
    let root = client.root();
    let mut found = Log::new();
    for listed in client.list(&root).await.expect("it is listed") {
        let name = String::from_utf8(listed.name).expect("a name of ours");
        if name == "." || name == ".." {
            continue;
        }
        let file = client.lookup(&root, name.as_bytes()).await.expect("it is there");
        let size = client.attributes(&file).await.expect("attributes").size;
        found.insert(name, client.read(&file, 0, size).await.expect("it is read"));
    }
    found
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn branch_names(gateway: &Gateway) -> Vec<String> {
    let listed = json(&gateway.run(&["branch", "list", SHARE]));
    let listed = listed.as_array().expect("a list").iter();
    listed.map(|branch| branch["name"].as_str().expect("a name").to_owned()).collect()
}

/// Waits until there are so many branches.
async fn wait_for_branches(gateway: &Gateway, count: usize) -> Vec<String> {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let names = branch_names(gateway);
        if names.len() >= count {
            return names;
        }
        assert!(tokio::time::Instant::now() < end, "no branch came to be:\n{}", gateway.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What a branch holds, by whoever has the repository and its key.
fn files_of_branch(gateway: &Gateway, branch: &str, folder: &Path) -> Log {
    let to = folder.join(branch.replace([':', '@'], "-"));
    let place = to.to_str().expect("a path of ours").to_owned();
    gateway.run(&["restore", SHARE, "--at", &format!("snapshot:{branch}"), "--to", &place]);
    let read = |entry: PathBuf| {
        let name = entry.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(entry).expect("a file"))
    };
    let entries = fs::read_dir(&to).expect("it was restored").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file()).map(read).collect()
}

/// Two gateways of one repository; the second is empty.
struct Sites {
    folder: tempfile::TempDir,
    home: Gateway,
}

impl Sites {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a folder");
        let home = Gateway::create(&home);
        Self { folder, home }
    }

    /// Takes the share over.
    fn attach(&self) -> Gateway {
        let away = self.folder.path().join("away");
        fs::create_dir(&away).expect("a folder");
        Gateway::attach(&away, &self.home.repository(), &self.home.key())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_wakes_up_after_it_was_taken_over_keeps_what_it_acknowledged_as_a_branch() {
    let mut sites = Sites::new();
    sites.home.start();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let client = Nfs::connect(sites.home.address()).await;
    let writing = tokio::spawn(write_until_fenced(client, "home", acknowledged.clone()));
    // What the other site takes over, and then what only this one has.
    sites.home.commit();
    let published = acknowledged.load(Ordering::Relaxed);
    while acknowledged.load(Ordering::Relaxed) < published + BEFORE {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    sites.home.pause();
    let mut away = sites.attach();
    away.start();
    let (name, data) = write(away.address(), "elsewhere").await;
    away.commit();
    sites.home.wake();
    let log = writing.await.expect("the client does not panic");
    assert!(log.len() >= BEFORE);

    let branch = wait_for_branches(&away, 1).await.remove(0);
    let (line, aside) =
        (files_of(away.address()).await, files_of_branch(&away, &branch, sites.folder.path()));
    assert_eq!(line.get(&name), Some(&data), "the line has what was written there");
    assert!(!aside.contains_key(&name), "and the branch has not");
    let mut only_aside = 0;
    for (name, data) in &log {
        let (on_line, beside) = (line.get(name), aside.get(name));
        assert!(on_line == Some(data) || beside == Some(data), "{name} was acknowledged, and is lost");
        only_aside += usize::from(on_line.is_none());
    }
    println!("{} files acknowledged, {only_aside} of them in branch {branch} alone", log.len());

    // What the branch changed comes into the line; then both have everything.
    away.run(&["branch", "apply", SHARE, &branch, "--yes"]);
    let line = files_of(away.address()).await;
    assert!(log.iter().all(|(name, data)| line.get(name) == Some(data)));
    let joined = json(&sites.home.run(&["share", "rejoin", SHARE]));
    assert_eq!(joined["follows"], true, "{joined}");
    assert_eq!(joined["branch"].as_str(), Some(branch.as_str()));
    // Back home, without loss.
    let plan = json(&sites.home.run(&["failback", "plan", SHARE]));
    assert_eq!(plan["handed_over"], false, "{plan}");
    away.run(&["handover", SHARE, "--yes"]);
    let joined = json(&sites.home.run(&["share", "rejoin", SHARE, "--lead"]));
    assert!(joined["handles"].as_str().expect("a text").contains("stay valid"), "{joined}");
    assert!(files_of(sites.home.address()).await == line);
    write(sites.home.address(), "home again").await;
    sites.home.commit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_under_its_handles_when_share_and_address_have_moved_and_come_back() {
    let mut sites = Sites::new();
    sites.home.start();
    let address = sites.home.address();
    let mut client = Nfs::connect(address).await;
    let root = client.root();
    let file = client.create(&root, b"open").await.expect("it may be made");
    let mut wanted = Vec::new();
    let mut step = 0;
    let mut append = async |client: &mut Nfs| {
        let data = content(&format!("step {step}"), 10_000);
        client.write(&file, wanted.len() as u64, &data).await.expect("no handle is stale");
        wanted.extend(data);
        step += 1;
        assert!(client.read(&file, 0, wanted.len() as u64).await.expect("it is read") == wanted);
    };
    append(&mut client).await;

    // Over, with the address.
    sites.home.run(&["handover", SHARE, "--yes"]);
    assert!(sites.home.stop().success());
    let mut away = sites.attach();
    away.take_address_of(&sites.home);
    away.start();
    client.reconnect(address).await;
    append(&mut client).await;
    let made = client.create(&root, b"made elsewhere").await.expect("directories go on too");
    append(&mut client).await;

    // And back: the site that comes back serves elsewhere until it leads again.
    away.run(&["handover", SHARE, "--yes"]);
    assert!(away.stop().success());
    sites.home.start();
    sites.home.run(&["share", "rejoin", SHARE, "--lead"]);
    client.reconnect(address).await;
    append(&mut client).await;
    client.write(&made, 0, b"at home").await.expect("what was made there is valid here");
    assert_eq!(files_of(address).await["made elsewhere"], b"at home");
    assert!(branch_names(&sites.home).is_empty(), "nothing was lost");
}

/// One leads, and has unpublished changes; the other follows it.
struct Turn {
    leads: Gateway,
    other: Gateway,
    folder: PathBuf,
    branches: usize,
}

impl Turn {
    /// The leader acknowledges something and dies; the other takes over; gives what was acknowledged.
    async fn fail_over(&mut self, name: &str) -> (String, Vec<u8>) {
        let written = write(self.leads.address(), name).await;
        self.leads.kill();
        self.other.run(&["share", "rejoin", SHARE, "--take-over", "--yes"]);
        std::mem::swap(&mut self.leads, &mut self.other);
        written
    }

    /// The branch of the last failover, which has what was acknowledged.
    async fn check_branch(&mut self, (name, data): &(String, Vec<u8>)) -> String {
        let names = wait_for_branches(&self.leads, self.branches + 1).await;
        assert_eq!(names.len(), self.branches + 1, "one branch, however often it was begun: {names:?}");
        self.branches += 1;
        let branch = names[0].clone();
        let found = files_of_branch(&self.leads, &branch, &self.folder);
        assert_eq!(found.get(name), Some(data), "{name} was acknowledged, and is lost");
        branch
    }
}

fn start_to_die(mut gateway: Gateway, point: &str) -> Gateway {
    gateway.start_to_crash(point);
    gateway
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_anywhere_on_the_way_to_a_branch_and_back_loses_nothing() {
    let mut sites = Sites::new();
    // Heads are published when asked for.
    sites.home.change_settings("rpo = \"1s\"", "rpo = \"1h\"");
    sites.home.start();
    sites.home.commit();
    let mut away = sites.attach();
    away.change_settings("rpo = \"1s\"", "rpo = \"1h\"");
    away.start();
    let folder = sites.folder.path().to_path_buf();
    let Sites { home, folder: _folder } = sites;
    let mut turn = Turn { leads: away, other: home, folder, branches: 0 };
    turn.other.run(&["share", "rejoin", SHARE]);
    let points = crash::POINTS.iter();
    for point in points.clone().filter(|point| point.starts_with("aside.")) {
        let written = turn.fail_over(&format!("before {point}")).await;
        let mut dies = start_to_die(turn.other, point);
        assert!(dies.wait_for_death(PATIENCE), "{point} was not met:\n{}", dies.log());
        dies.start();
        turn.other = dies;
        turn.check_branch(&written).await;
        turn.other.run(&["share", "rejoin", SHARE]);
        println!("{point}: one branch, and it is whole");
    }
    for point in points.clone().filter(|point| point.starts_with("rejoin.")) {
        let written = turn.fail_over(&format!("before {point}")).await;
        let mut dies = start_to_die(turn.other, point);
        assert!(dies.wait_until_serving(), "{}", dies.log());
        turn.other = dies;
        turn.check_branch(&written).await;
        turn.other.attempt(&["share", "rejoin", SHARE]);
        assert!(turn.other.wait_for_death(PATIENCE), "{point} was not met:\n{}", turn.other.log());
        turn.other.start();
        turn.other.run(&["share", "rejoin", SHARE]);
        assert_eq!(branch_names(&turn.leads).len(), turn.branches);
    }
    for point in points.filter(|point| point.starts_with("apply.")) {
        let (name, data) = turn.fail_over(&format!("before {point}")).await;
        turn.other.start();
        let branch = turn.check_branch(&(name.clone(), data.clone())).await;
        turn.other.run(&["share", "rejoin", SHARE]);
        turn.leads.kill();
        let mut dies = start_to_die(turn.leads, point);
        assert!(dies.wait_until_serving(), "{}", dies.log());
        dies.attempt(&["branch", "apply", SHARE, &branch, "--yes"]);
        assert!(dies.wait_for_death(PATIENCE), "{point} was not met:\n{}", dies.log());
        dies.start();
        dies.run(&["branch", "apply", SHARE, &branch, "--yes"]);
        let found = files_of(dies.address()).await;
        assert_eq!(found.get(&name), Some(&data), "{point}");
        assert!(
            !found.keys().any(|name| name.starts_with(".tidegate")),
            "nothing is left over: {:?}",
            found.keys()
        );
        dies.commit();
        turn.leads = dies;
    }
}

//! Goal: a runbook brings a share back from bucket and key alone; a drill of it leaves production, repository and machine
//! as they were, whatever becomes of it.
//!
//! Method: a gateway with data, under load or killed; the program run at an empty site, as its operator would; the
//! repository listed, with digests, before and after; processes and folders of the drill looked for.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_integration::attempt::{Ended, attempt, picture};
use tidegate_integration::gateway::{Gateway, PATIENCE, free_address, program};
use tidegate_integration::nfs::Nfs;

/// The runbook of most tests; `more` are further steps.
fn runbook(more: &str) -> String {
    format!(
        "[runbook.loss]\nrto = \"5m\"\nrpo = \"1h\"\n\
         [[runbook.loss.step]]\nname = \"attach\"\naction = \"attach\"\nshare = \"files\"\n\
         [[runbook.loss.step]]\nname = \"serve\"\naction = \"serve\"\nafter = [\"attach\"]\n\
         [[runbook.loss.step]]\nname = \"file\"\naction = \"check-file\"\nshare = \"files\"\npath = \"folder/marker\"\n\
         contains = \"it is there\"\nafter = [\"serve\"]\nretries = 0\n\
         [[runbook.loss.step]]\nname = \"port\"\naction = \"check-tcp\"\naddress = \"{{nfs}}\"\nafter = [\"serve\"]\n\
         [[runbook.loss.step]]\nname = \"command\"\naction = \"check-command\"\n\
         command = [\"/bin/sh\", \"-c\", \"echo $TIDEGATE_MODE {{mode}}\"]\nafter = [\"serve\"]\n{more}"
    )
}

/// Production, and the folder of another site that has the address of the repository and the key.
struct Stage {
    /// Both sites lie below it.
    _folder: TempDir,
    production: Gateway,
    site: PathBuf,
    address: SocketAddr,
}

impl Stage {
    async fn set(more: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let (home, site) = (folder.path().join("home"), folder.path().join("site"));
        fs::create_dir(&home).expect("a folder");
        fs::create_dir(&site).expect("a folder");
        let mut production = Gateway::create_with(&home, &runbook(more));
        production.start();
        let mut nfs = Nfs::connect(production.address()).await;
        let root = nfs.root();
        let directory = nfs.make_directory(&root, b"folder").await.expect("made");
        let marker = nfs.create(&directory, b"marker").await.expect("made");
        nfs.write(&marker, 0, b"and it is there indeed").await.expect("written");
        production.commit();
        Self { _folder: folder, production, site, address: free_address() }
    }

    fn settings(&self) -> PathBuf {
        self.site.join("tidegate.toml")
    }

    /// The line of a command that begins a run at the other site.
    fn line(&self, mode: &str) -> Vec<String> {
        let place = |name: &str| self.site.join(name).display().to_string();
        let address = format!("file://{}", self.production.repository().display());
        let key = self.production.key().display().to_string();
        let mut line = vec!["runbook".to_owned(), mode.to_owned(), "loss".to_owned()];
        if !self.settings().exists() {
            let (data, socket, listen) = (place("data"), place("admin.sock"), self.address.to_string());
            for (name, value) in [
                ("--address", address),
                ("--key-file", key),
                ("--data", data),
                ("--socket", socket),
                ("--listen", listen),
            ] {
                line.extend([name.to_owned(), value]);
            }
        }
        if mode != "drill" {
            line.push("--yes".to_owned());
        }
        line
    }

    fn begin(&self, mode: &str) -> Ended {
        let line = self.line(mode);
        attempt(&self.settings(), &line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn begin_and_leave(&self, mode: &str) -> Child {
        let mut command = Command::new(program());
        command.arg("--settings").arg(self.settings()).arg("--json").args(self.line(mode));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
    }

    /// The folder of the only run.
    fn run(&self) -> PathBuf {
        let mut runs: Vec<_> = fs::read_dir(self.site.join("data/runbooks"))
            .expect("there was a run")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        runs.sort();
        runs.pop().expect("there was a run")
    }

    fn repository(&self) -> BTreeMap<PathBuf, String> {
        picture(&self.production.repository())
    }

    /// The processes of the other site but those that were begun here.
    fn processes(&self) -> Vec<i32> {
        let site = self.site.display().to_string();
        let of = |entry: fs::DirEntry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            (line.contains(&site) && line.trim_end().ends_with("serve")).then_some(id)
        };
        fs::read_dir("/proc").expect("processes").flatten().filter_map(of).collect()
    }

    fn check_nothing_is_left(&self) {
        assert!(self.processes().is_empty(), "a gateway of the drill runs on");
        assert!(!self.run().join("scratch").exists(), "the folder of the drill is left");
        assert!(self.run().join("report.html").exists() && self.run().join("report.json").exists());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for id in self.processes() {
            if let Some(process) = rustix::process::Pid::from_raw(id) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
    }
}

fn report(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes files until it is told to stop; how many were acknowledged.
async fn load(address: SocketAddr, stop: Arc<AtomicBool>) -> u32 {
    let mut nfs = Nfs::connect(address).await;
    let (root, mut written) = (nfs.root(), 0);
    while !stop.load(Ordering::Relaxed) {
        let name = format!("load-{written}");
        let file = nfs.create(&root, name.as_bytes()).await.expect("made");
        nfs.write(&file, 0, name.repeat(1_000).as_bytes()).await.expect("written");
        written += 1;
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_under_load_takes_nothing_from_production_and_leaves_nothing() {
    let stage = Stage::set("").await;
    let stop = Arc::new(AtomicBool::new(false));
    let loading = tokio::spawn(load(stage.production.address(), stop.clone()));
    let ended = tokio::task::block_in_place(|| stage.begin("drill"));
    stop.store(true, Ordering::Relaxed);
    let written = loading.await.expect("the load goes on");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = report(&ended);
    assert_eq!((&report["outcome"], &report["torn_down"]), (&"done".into(), &true.into()), "{report:#}");
    assert_eq!(report["differences"], serde_json::json!([]), "{report:#}");
    assert!(
        report["rto_first_byte"]["measured_ms"].is_u64() && report["rto_checked"]["measured_ms"].is_u64()
    );
    assert!(report["rpo"]["measured_ms"].is_u64(), "{report:#}");
    let said: Vec<_> = report["steps"].as_array().expect("steps").iter().map(|step| &step["note"]).collect();
    assert!(said.iter().any(|said| said.as_str() == Some("drill drill")), "{said:?}");
    assert!(written > 0, "production answered all the while");
    stage.check_nothing_is_left();
    // It leads as before.
    stage.production.commit();
    let heads = stage.production.run(&["head", "list", "files", "--limit", "1000"]);
    let heads: Value = serde_json::from_str(&heads).expect("JSON");
    let first = &heads[0]["epoch"];
    assert!(heads.as_array().expect("heads").iter().all(|head| head["epoch"] == *first), "{heads:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drills_that_pass_or_fail_leave_every_byte_of_the_repository_as_it_was() {
    let more = "[[runbook.loss.step]]\nname = \"spoil\"\naction = \"run\"\ndrill = \"run\"\nafter = [\"file\"]\n\
                command = [\"/bin/sh\", \"-c\", \"test ! -e $0.fail && touch $0.was\", \"{settings}\"]\n\
                undo = [\"/bin/rm\", \"-f\", \"{settings}.was\"]\n";
    let mut stage = Stage::set(more).await;
    stage.production.kill();
    let before = stage.repository();
    let passed = stage.begin("drill");
    assert_eq!(passed.code, Some(0), "{passed:?}");
    assert_eq!(report(&passed)["published_meanwhile"], 0);
    stage.check_nothing_is_left();
    assert_eq!(stage.repository(), before);
    fs::remove_file(stage.site.join("tidegate.toml")).expect("the settings");
    // The moment is none: the first step fails for good.
    let line = stage.line("drill");
    let mut line: Vec<&str> = line.iter().map(String::as_str).collect();
    line.extend(["--at", "snapshot:0000000000000000-00000000"]);
    let failed = attempt(&stage.settings(), &line);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(report(&failed)["outcome"], "failed");
    stage.check_nothing_is_left();
    assert_eq!(stage.repository(), before);
    let history = attempt(&stage.settings(), &["runbook", "history"]);
    assert_eq!(report(&history).as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_whose_process_is_killed_is_torn_down_by_resuming_it() {
    let more = "[[runbook.loss.step]]\nname = \"hang\"\naction = \"run\"\ndrill = \"run\"\nafter = [\"file\"]\n\
                command = [\"/bin/sh\", \"-c\", \"touch {scratch}/hangs; exec sleep 600\"]\n";
    let mut stage = Stage::set(more).await;
    stage.production.kill();
    let before = stage.repository();
    let mut drill = stage.begin_and_leave("drill");
    wait("the drill comes to its last step", || {
        stage.site.join("data/runbooks").exists() && stage.run().join("scratch/hangs").exists()
    });
    drill.kill().expect("it can be killed");
    drill.wait().expect("it ends");
    assert_eq!(stage.processes().len(), 1, "its gateway outlives it");
    let name = stage.run().file_name().expect("a name").to_string_lossy().into_owned();
    let resumed = attempt(&stage.settings(), &["runbook", "resume", &name]);
    assert_eq!(resumed.code, Some(130), "{resumed:?}");
    let report = report(&resumed);
    assert_eq!(
        (&report["outcome"], &report["torn_down"]),
        (&"interrupted".into(), &true.into()),
        "{report:#}"
    );
    stage.check_nothing_is_left();
    assert_eq!(stage.repository(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_an_empty_machine_that_dies_in_the_middle_is_gone_on_with() {
    let more = "[[runbook.loss.step]]\nname = \"go\"\naction = \"approve\"\nmessage = \"Go?\"\nafter = [\"file\"]\n\
                [[runbook.loss.step]]\nname = \"once\"\naction = \"run\"\nafter = [\"go\"]\n\
                command = [\"/bin/sh\", \"-c\", \"echo x >> $0.once\", \"{settings}\"]\n";
    let mut stage = Stage::set(more).await;
    stage.production.kill();
    let mut failover = stage.begin_and_leave("failover");
    let journal = || fs::read_to_string(stage.run().join("journal")).unwrap_or_default();
    wait("the failover waits for a person", || {
        stage.site.join("data/runbooks").exists() && journal().contains("\"step\":\"go\"")
    });
    failover.kill().expect("it can be killed");
    failover.wait().expect("it ends");
    let name = stage.run().file_name().expect("a name").to_string_lossy().into_owned();
    let approved = attempt(&stage.settings(), &["runbook", "approve", &name, "go"]);
    assert_eq!(approved.code, Some(0), "{approved:?}");
    let resumed = attempt(&stage.settings(), &["runbook", "resume", &name]);
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    let report = report(&resumed);
    assert_eq!(report["outcome"], "done", "{report:#}");
    assert_eq!(fs::read_to_string(stage.site.join("tidegate.toml.once")).expect("it ran"), "x\n");
    // It is production now: it serves, takes writes, and its heads carry the runbook on.
    let mut nfs = Nfs::connect(stage.address).await;
    let marker = nfs.find(b"folder/marker").await.expect("it is there");
    assert_eq!(nfs.read(&marker, 0, 100).await.expect("read"), b"and it is there indeed");
    nfs.write(&marker, 0, b"AND").await.expect("written");
    let committed = attempt(&stage.settings(), &["commit", "files"]);
    assert_eq!(committed.code, Some(0), "{committed:?}");
    let third = TempDir::new().expect("a folder");
    let line = stage.line("drill");
    assert!(!line.contains(&"--address".to_owned()), "the site has settings now");
    let address = format!("file://{}", stage.production.repository().display());
    let key = stage.production.key().display().to_string();
    let arguments = ["runbook", "dry-run", "loss", "--address", &address, "--key-file", &key];
    let planned = attempt(&third.path().join("tidegate.toml"), &arguments);
    assert_eq!(planned.code, Some(0), "{planned:?}");
    assert!(planned.out.contains("\"once\""), "{planned:?}");
}

#[test]
fn the_example_is_a_runbook() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = manifest.parent().expect("the workspace").join("docs/runbooks/site-loss.toml");
    let example = fs::read_to_string(example).expect("readable");
    let folder = TempDir::new().expect("a folder");
    let gateway = Gateway::create_with(folder.path(), &example);
    let planned = gateway.run(&["runbook", "dry-run", "site-loss"]);
    let planned: Value = serde_json::from_str(&planned).expect("JSON");
    let steps = planned.as_array().expect("steps");
    assert_eq!(steps.len(), 13);
    let rank = |name: &str| {
        let step = steps.iter().find(|step| step["step"] == name);
        step.and_then(|step| step["rank"].as_u64()).unwrap_or_else(|| panic!("there is no step {name}"))
    };
    assert!(
        rank("attach-database") == 1
            && rank("serve") > rank("attach-files")
            && rank("tell") > rank("address")
    );
    let drill = gateway.run(&["runbook", "dry-run", "site-loss", "--drill"]);
    assert!(drill.contains("files-drill.example.net") && drill.contains("nothing in a drill"), "{drill}");
}

/// A machine of the other site that a shell plays: what it "writes" and where its disk is shows in files.
fn machine(site: &Path) -> String {
    let place = site.display();
    let command = |verb: &str, line: &str| {
        format!("{verb} = [\"/bin/sh\", \"-c\", \"{line}\", \"{{name}}\", \"{{disk0}}\"]\n")
    };
    format!(
        "[nbd]\nlisten = [\"127.0.0.1:0\"]\n\n\
         [[volume]]\nname = \"disk\"\nshare = \"files\"\npath = \"/disk\"\nlater = true\n\n\
         [[machine]]\nname = \"web\"\nprovider = \"command\"\nvolumes = [\"disk\"]\n{}{}{}{}",
        command("start", &format!("echo $1 > {place}/vm-$0")),
        command("drill_start", &format!("echo $1 > {place}/vm-$0; echo drill > {place}/drilled")),
        command("stop", &format!("rm -f {place}/vm-$0")),
        command("state", &format!("test -e {place}/vm-$0 || exit 3")),
    )
}

/// The machines of the other site that "run".
fn machines(site: &Path) -> Vec<String> {
    let entries = fs::read_dir(site).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    entries.filter_map(|name| name.into_string().ok()?.strip_prefix("vm-").map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_is_started_over_the_clones_in_a_drill_and_for_good_in_a_failover() {
    let more = "[[runbook.loss.step]]\nname = \"machine\"\naction = \"start-machine\"\nmachine = \"web\"\n\
                after = [\"serve\"]\n\
                [[runbook.loss.step]]\nname = \"heat\"\naction = \"warm\"\nshare = \"files\"\nall = true\nafter = [\"serve\"]\n";
    let mut stage = Stage::set(more).await;
    let mut nfs = Nfs::connect(stage.production.address()).await;
    let root = nfs.root();
    let disk = nfs.create(&root, b"disk").await.expect("made");
    nfs.write(&disk, 0, &[7; 8192]).await.expect("written");
    stage.production.commit();
    let repository = stage.production.repository();
    let (site, key) = (stage.site.clone(), stage.production.key());
    let place = site.display();
    let settings = format!(
        "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\n\n\
         [repository]\nkey = {{ file = \"{}\" }}\n\n[[target]]\nname = \"local\"\naddress = \"file://{}\"\n\n\
         [nfs]\nlisten = [\"{}\"]\n\n{}",
        key.display(),
        repository.display(),
        stage.address,
        machine(&site)
    );
    fs::write(stage.settings(), settings).expect("written");

    let ended = tokio::task::block_in_place(|| stage.begin("drill"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(site.join("drilled").exists(), "the drill started it by the command for drills");
    assert_eq!(machines(&site), Vec::<String>::new(), "what the drill started is stopped");
    stage.check_nothing_is_left();

    fs::remove_file(site.join("drilled")).expect("it is there");
    stage.production.kill();
    let ended = tokio::task::block_in_place(|| stage.begin("failover"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(machines(&site), ["web"], "{ended:?}");
    assert!(!site.join("drilled").exists(), "a failover starts it by the command of every day");
    let disk = fs::read_to_string(site.join("vm-web")).expect("it runs");
    assert!(disk.trim().starts_with("nbd://127.0.0.1:") && disk.trim().ends_with("/disk"), "{disk}");
}

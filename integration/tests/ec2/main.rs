//! Goal: a runbook starts a machine in EC2 over what a lost site had published; a drill of it leaves nothing there but the snapshot,
//! which the failover then need not make again. What was begun and failed can be found and stopped, and an AWS that does not answer keeps
//! nobody from seeing the list.
//!
//! Method: a gateway with a disk in a share, killed; the program run at an empty site, as its operator would, over moto in the place
//! of AWS; moto asked what there is.

#![cfg(feature = "ec2")]

#[path = "../../../replicator/tests/store_classes/moto.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod moto;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use moto::{Moto, Xml};
use tempfile::TempDir;
use tidegate_integration::attempt::{Ended, attempt};
use tidegate_integration::gateway::{Gateway, free_address};
use tidegate_integration::nfs::Nfs;

const RUNBOOK: &str = "[runbook.loss]\nrto = \"5m\"\nrpo = \"1h\"\n\
     [[runbook.loss.step]]\nname = \"attach\"\naction = \"attach\"\nshare = \"files\"\n\
     [[runbook.loss.step]]\nname = \"serve\"\naction = \"serve\"\nafter = [\"attach\"]\n\
     [[runbook.loss.step]]\nname = \"machine\"\naction = \"start-machine\"\nmachine = \"web\"\nafter = [\"serve\"]\n";
const BLOCK: u64 = 512 << 10;

/// A site that has the address of the repository and the key, and a machine in EC2.
struct Site {
    folder: PathBuf,
}

impl Site {
    fn set(folder: PathBuf, production: &Gateway, moto: &Moto) -> Self {
        fs::create_dir(&folder).expect("a folder");
        let keys = folder.join("keys");
        fs::write(&keys, "testing\ntesting\n").expect("written");
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("its mode");
        let (subnet, drill_subnet) = moto.two_subnets();
        let (place, keys, key) = (folder.display(), keys.display(), production.key());
        let ec2 = format!(
            "provider = \"ec2\"\nvolumes = [\"disk\"]\nregion = \"us-east-1\"\nendpoint = \"{}\"\n\
             credentials = {{ file = \"{keys}\" }}\ninstance_type = \"t3.small\"\n",
            moto.endpoint(),
        );
        let settings = format!(
            "[gateway]\ndata = \"{place}/data\"\nsocket = \"{place}/admin.sock\"\n\n\
             [repository]\nkey = {{ file = \"{}\" }}\n\n[[target]]\nname = \"local\"\naddress = \"file://{}\"\n\n\
             [nfs]\nlisten = [\"{}\"]\n\n\
             [[volume]]\nname = \"disk\"\nshare = \"files\"\npath = \"/disk\"\nlater = true\n\n\
             [[machine]]\nname = \"web\"\n{ec2}subnet = \"{subnet}\"\ndrill_subnet = \"{drill_subnet}\"\n\
             [[machine]]\nname = \"web-nowhere\"\n{ec2}subnet = \"subnet-0123456789abcdef0\"\n",
            key.display(),
            production.repository().display(),
            free_address(),
        );
        fs::write(folder.join("tidegate.toml"), settings).expect("written");
        Self { folder }
    }

    fn settings(&self) -> PathBuf {
        self.folder.join("tidegate.toml")
    }

    fn machines(&self) -> serde_json::Value {
        serde_json::from_str(&self.run(&["machine", "list"]).out).expect("JSON")
    }

    fn run(&self, line: &[&str]) -> Ended {
        tokio::task::block_in_place(|| attempt(&self.settings(), line))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let folder = self.folder.display().to_string();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|id| id.parse().ok());
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let is_ours = line.contains(&folder) && line.trim_end().ends_with("serve");
            if let Some(process) = id.filter(|_| is_ours).and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Ids of instances that run.
fn instances(moto: &Moto) -> Vec<String> {
    let answer = moto.query("ec2", "Action=DescribeInstances");
    let runs = |item: &&&Xml| {
        item.child("instanceState")
            .and_then(|state| state.value("name"))
            .is_some_and(|name| name == "running")
    };
    answer.all("item").iter().filter(runs).filter_map(|item| item.value("instanceId")).collect()
}

/// Ids of snapshots that are copies of disks.
fn copies(moto: &Moto) -> Vec<String> {
    let form = "Action=DescribeSnapshots&Owner.1=self&Filter.1.Name=tag-key&Filter.1.Value.1=tidegate:head";
    let answer = moto.query("ec2", form);
    answer.all("snapshotId").iter().map(|id| id.text.clone()).collect()
}

async fn production(folder: &Path) -> Gateway {
    let mut production = Gateway::create_with(folder, RUNBOOK);
    production.start();
    let mut nfs = Nfs::connect(production.address()).await;
    let root = nfs.root();
    let disk = nfs.create(&root, b"disk").await.expect("made");
    for (block, byte) in [(0u64, 7u8), (5, 9)] {
        nfs.write(&disk, block * BLOCK, &vec![byte; BLOCK as usize]).await.expect("written");
    }
    production.commit();
    production
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_leaves_a_snapshot_and_the_failover_runs_over_it() {
    let Some(moto) = Moto::start() else { return };
    let folder = TempDir::new().expect("a folder");
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    let mut production = production(&home).await;
    let site = Site::set(folder.path().join("site"), &production, &moto);

    let drilled = site.run(&["runbook", "drill", "loss"]);
    assert_eq!(drilled.code, Some(0), "{drilled:?}");
    let left = copies(&moto);
    assert_eq!((instances(&moto).len(), left.len()), (0, 1), "{drilled:?}");
    let blocks = moto.get("ebs", &format!("/snapshots/{}/blocks", left[0]));
    let blocks: serde_json::Value = serde_json::from_slice(&blocks).expect("JSON");
    let blocks = blocks["Blocks"].as_array().expect("blocks").iter();
    // In the order in which they came.
    let sent: BTreeSet<u64> = blocks.map(|block| block["BlockIndex"].as_u64().expect("a number")).collect();
    assert_eq!(sent, BTreeSet::from([0, 5]), "only what is no hole");

    production.kill();
    let failover = site.run(&["runbook", "failover", "loss", "--yes"]);
    assert_eq!(failover.code, Some(0), "{failover:?}");
    let running = instances(&moto);
    assert_eq!((running.len(), copies(&moto)), (1, left), "the snapshot of the drill is used: {failover:?}");
    let machines = site.machines();
    assert_eq!(machines[0]["running"]["id"], running[0], "{machines}");
    a_start_that_fails_half_way_is_listed_and_can_be_stopped(&site, &moto);

    let stopped = site.run(&["machine", "stop", "web"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!((instances(&moto).len(), images(&moto)), (0, 0));
}

/// Its subnet is none, which EC2 says when the copies and the image are there.
fn a_start_that_fails_half_way_is_listed_and_can_be_stopped(site: &Site, moto: &Moto) {
    let (listed, images_before) = (|| names(&site.machines()), images(moto));
    let failed = site.run(&["machine", "start", "web-nowhere", "--as", "trial", "--scratch"]);
    assert!(failed.code != Some(0) && failed.err.contains("ec2:RunInstances"), "{failed:?}");
    assert_eq!(images(moto), images_before + 1);
    assert_eq!(listed(), ["trial", "web", "web-nowhere"]);
    let other = site.run(&["machine", "start", "web", "--as", "trial", "--scratch"]);
    assert!(other.code != Some(0) && other.err.contains("machine stop trial"), "{other:?}");
    let stopped = site.run(&["machine", "stop", "trial"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert_eq!(images(moto), images_before);
    assert_eq!(listed(), ["web", "web-nowhere"]);
}

fn names(machines: &serde_json::Value) -> Vec<String> {
    let all = machines.as_array().expect("a list").iter();
    all.map(|machine| machine["name"].as_str().expect("a name").to_owned()).collect()
}

fn images(moto: &Moto) -> usize {
    moto.query("ec2", "Action=DescribeImages&Owner.1=self").all("imageId").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_of_machines_comes_also_when_aws_does_not_answer() {
    let folder = TempDir::new().expect("a folder");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let keys = folder.path().join("keys");
    fs::write(&keys, "testing\ntesting\n").expect("written");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).expect("its mode");
    let machines = ["east", "west"].map(|name| {
        format!(
            "[[machine]]\nname = \"{name}\"\nprovider = \"ec2\"\nvolumes = [\"disk\"]\nregion = \"us-east-1\"\n\
             endpoint = \"http://{}\"\ncredentials = {{ file = \"{}\" }}\ninstance_type = \"t3.small\"\n\
             subnet = \"subnet-1\"\n",
            silent.local_addr().expect("an address"),
            keys.display()
        )
    });
    let volume = "[[volume]]\nname = \"disk\"\nshare = \"files\"\npath = \"/disk\"\n";
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    let mut gateway = Gateway::create_with(&home, &format!("{volume}{}", machines.concat()));
    for name in ["east", "west"] {
        // Something was made for them, so AWS is asked.
        let folder = home.join("data/machines").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(
            folder.join("ec2.json"),
            r#"{"owner":"mark","disks":[],"image":null,"instance":"i-1","before":0}"#,
        )
        .expect("written");
    }
    gateway.start();
    let listed = tokio::task::block_in_place(|| attempt(&gateway.settings(), &["machine", "list"]));
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let listed: serde_json::Value = serde_json::from_str(&listed.out).expect("JSON");
    assert_eq!(names(&listed), ["east", "west"]);
    for machine in listed.as_array().expect("a list") {
        let trouble = machine["trouble"].as_str().unwrap_or_default();
        assert!(machine["state"].is_null() && trouble.contains("has not answered"), "{machine}");
    }
}

//! Claims about machines in EC2: only what has changed of a disk is sent, a copy that was broken off goes on, what was made goes again,
//! and nothing else is touched.
//!
//! Method: the provider over moto, which answers as EC2 and EBS do, keeps the blocks of snapshots, and writes down what it was asked; over a
//! disk that the test makes, whose reads it may stop. Each step is taken by a new provider, as by a new process. moto does not check
//! checksums nor idempotency tokens: the tests look at those in the requests. It has not been run against AWS.

#![cfg(feature = "ec2")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod disk;
#[path = "../../../replicator/tests/store_classes/moto.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod moto;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use aws_smithy_types::base64;
use disk::{BLOCK, Disk, State};
use place::{Place, Site};
use tidegate_gateway::machine::{MachineState, Provider, ProviderError, Stop};

/// What a snapshot of a disk holds.
fn expected(state: &State) -> BTreeMap<u32, u8> {
    let blocks = state.iter().enumerate().filter_map(|(at, byte)| Some((at as u32, (*byte)?)));
    blocks.filter(|(_, byte)| *byte != 0).collect()
}

/// Returns once something is so, which others bring about.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

/// Sixteen blocks: holes, some data, and one that holds nothing but zeros.
fn first_state() -> State {
    let mut state = vec![None; 16];
    (state[0], state[3], state[5], state[7]) = (Some(1), Some(3), Some(5), Some(0));
    state
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_blocks_that_have_changed_since_the_newest_snapshot_are_sent() {
    let Some(place) = Place::new() else { return };
    let (disk, machine) = (Disk::new("/disk", first_state()), place.machine(""));
    let site = Site::new(machine.clone(), &place.folder.path().join("one"), &disk);
    let first = site.prepare().await.unwrap();
    assert_eq!(place.puts().len(), 3, "neither holes nor zeros are sent");
    assert_eq!(place.content(&first[0]), expected(&disk.newest()));
    assert_eq!(site.prepare().await.unwrap(), first, "there is one of this head");

    disk.publish(&[(3, Some(33)), (5, None), (9, Some(9))]);
    let second = site.prepare().await.unwrap();
    assert_eq!(place.puts().len(), 3 + 3, "a hole that was none is sent as zeros");
    assert_eq!(place.content(&second[0]), expected(&disk.newest()));
    let started = place.asked("POST /snapshots");
    let started: Vec<_> = started.iter().filter(|asked| asked.what == "POST /snapshots").collect();
    assert_eq!(started.len(), 2);
    assert!(!started[0].text().contains("ParentSnapshotId") && started[1].text().contains(&first[0]));

    // Another place, which has nothing but the repository, and another head of the same content.
    disk.publish(&[]);
    let other = Site::new(machine, &place.folder.path().join("other"), &disk);
    assert_eq!(other.prepare().await.unwrap(), second, "what was copied is found by its tags");
    assert_eq!(place.puts().len(), 6);
    let snapshots = place.snapshots();
    let newest = snapshots.iter().find(|snapshot| snapshot.id == second[0]).unwrap();
    assert_eq!(newest.tag("tidegate:head"), Some(disk.head().as_str()));
    disk.publish(&[(0, Some(2))]);
    let third = other.prepare().await.unwrap();
    assert_eq!((place.puts().len(), place.content(&third[0])), (7, expected(&disk.newest())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_and_every_snapshot_have_their_checksums() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    Site::new(place.machine(""), place.folder.path(), &disk).prepare().await.unwrap();
    let mut sums = BTreeMap::new();
    for put in place.asked("PUT /snapshots/") {
        let block: u32 = put.what.rsplit('/').next().unwrap().parse().unwrap();
        let sum = digest(&SHA256, &put.body).as_ref().to_vec();
        assert_eq!(put.headers["x-amz-checksum"], base64::encode(&sum));
        assert_eq!(put.headers["x-amz-checksum-algorithm"], "SHA256");
        assert_eq!(put.headers["x-amz-data-length"], BLOCK.to_string());
        sums.insert(block, sum);
    }
    let all: Vec<u8> = sums.into_values().flatten().collect();
    let completed = &place.asked("POST /snapshots/completion/")[0].headers;
    assert_eq!(completed["x-amz-changedblockscount"], "3");
    assert_eq!(completed["x-amz-checksum"], base64::encode(digest(&SHA256, &all)));
    assert_eq!(completed["x-amz-checksum-aggregation-method"], "LINEAR");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_broken_off_goes_on_and_sends_what_the_share_has_changed_since() {
    let Some(place) = Place::new() else { return };
    let full: State = (0..80).map(|at| Some(at as u8 + 1)).collect();
    let disk = Disk::new("/disk", full);
    let site = Site::new(place.machine(""), place.folder.path(), &disk);
    disk.answer(50);
    tokio::select! {
        copied = site.prepare() => panic!("it cannot be through: {copied:?}"),
        () = until(|| disk.is_waited_for() && place.puts().len() == 50) => {}
    }
    let noted = std::fs::read(site.folder.join("ec2-disk0.blocks")).unwrap().len() / 40;
    assert!(noted > 0 && noted <= 50, "{noted} of 50 are noted");
    let sent = place.puts();

    // One block of those that were sent, and one of those that were not.
    let missing = (0..80).find(|block| !sent.contains(block)).unwrap();
    disk.publish(&[(sent[0] as usize, Some(200)), (missing as usize, Some(201))]);
    disk.answer(u64::MAX);
    let copied = site.prepare().await.unwrap();
    assert_eq!(place.content(&copied[0]), expected(&disk.newest()));
    let again = place.puts().len() - 50;
    assert!((31..=80 - noted + 1).contains(&again), "{again} blocks were sent, {noted} of 50 had been noted");
    assert_eq!(place.snapshots().len(), 1, "it is the same snapshot");
    let completed = &place.asked("POST /snapshots/completion/")[0].headers;
    assert_eq!(completed["x-amz-changedblockscount"], "80");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_and_an_instance_come_up_and_go_again_also_by_another_process() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let site =
        Site::new(place.machine("tags = [\"cost=dr\"]\nboot_mode = \"uefi\"\n"), place.folder.path(), &disk);
    let known = site.known();
    assert_eq!(site.provider().state(&known).await.unwrap(), MachineState::Stopped);
    let running = site.start().await.unwrap();
    assert_eq!(site.provider().state(&known).await.unwrap(), MachineState::Running);
    let instances = place.instances();
    assert_eq!((instances.len(), &instances[0].id), (1, &running.id));
    let instance = &instances[0];
    assert_eq!((instance.subnet(), instance.state()), (place.subnet.clone(), "running".to_owned()));
    let tags = ["Name", "cost", "tidegate:drill"].map(|key| instance.tag(key));
    assert_eq!(tags, [Some("web"), Some("dr"), None]);
    let image = place.asked("RegisterImage")[0].text();
    let snapshot = place.snapshots()[0].id.clone();
    for part in [
        "BootMode=uefi",
        "Architecture=x86_64",
        &format!("Ebs.SnapshotId={snapshot}"),
        "Ebs.DeleteOnTermination=false",
    ] {
        assert!(image.contains(part), "{part}: {image}");
    }
    assert!(place.asked("RunInstances")[0].text().contains("ClientToken="));
    assert!(matches!(
        site.provider().start(&site.spec(vec![snapshot])).await,
        Err(ProviderError::Runs { .. })
    ));

    // The process was killed after the request and before the note of it.
    let note = std::fs::read_to_string(site.folder.join("ec2.json")).unwrap();
    std::fs::write(site.folder.join("ec2.json"), note.replace(&format!("\"{}\"", running.id), "null"))
        .unwrap();
    assert_eq!(site.provider().state(&known).await.unwrap(), MachineState::Running);
    assert_eq!(site.prepare().await.unwrap(), Vec::<String>::new(), "it has disks of its own");
    assert_eq!(place.instances().len(), 1);

    site.provider().stop(&known, Stop::Gently).await.unwrap();
    site.provider().stop(&known, Stop::Gently).await.expect("nothing to do");
    assert_eq!(site.provider().state(&known).await.unwrap(), MachineState::Stopped);
    assert_eq!((place.instances().len(), place.images()), (0, 0));
    disk.publish(&[(2, Some(2))]);
    site.start().await.unwrap();
    assert_eq!(
        (place.puts().len(), place.snapshots().len()),
        (4, 2),
        "the snapshot of the last time is below"
    );
    site.provider().stop(&known, Stop::AtOnce).await.unwrap();
    let left = place.snapshots();
    assert_eq!(left.len(), 1, "only the newest stays");
    assert_eq!(left[0].tag("tidegate:head"), Some(disk.head().as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_has_shut_down_is_started_again_with_its_own_disks() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let site = Site::new(place.machine(""), place.folder.path(), &disk);
    let running = site.start().await.unwrap();
    place.moto.query("ec2", &format!("Action=StopInstances&InstanceId.1={}", running.id));
    assert_eq!(site.provider().state(&running).await.unwrap(), MachineState::Stopped);
    disk.publish(&[(2, Some(2))]);
    assert_eq!(site.start().await.unwrap().id, running.id);
    assert_eq!(place.puts().len(), 3, "nothing is copied over what it wrote");
    // One that was ended by somebody else is made anew.
    place.moto.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={}", running.id));
    let again = site.start().await.unwrap();
    assert_ne!(again.id, running.id);
    assert_eq!(place.puts().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_touches_nothing_that_it_did_not_make() {
    let Some(place) = Place::new() else { return };
    let (disk, production) = (Disk::new("/disk", first_state()), place.machine("keep_disks = true\n"));
    let site = Site::new(production.clone(), &place.folder.path().join("production"), &disk);
    let running = site.start().await.unwrap();
    let drilled = production.for_drill("web-0a1b2c3d".parse().unwrap()).unwrap();
    let drill = Site::new(drilled, &place.folder.path().join("drill"), &disk);
    let drilled = drill.start().await.unwrap();
    assert_eq!(place.puts().len(), 3, "it has the copy of production");
    let instances = place.instances();
    let of_drill = instances.iter().find(|instance| instance.id == drilled.id).unwrap();
    assert_eq!(of_drill.subnet(), place.drill_subnet);
    assert_eq!(of_drill.tag("tidegate:drill"), Some("web-0a1b2c3d"));
    assert!(place.asked("RegisterImage")[1].text().contains("Ebs.DeleteOnTermination=true"));

    // A machine of the same name in another place of the same account.
    let stranger = Site::new(production, &place.folder.path().join("stranger"), &disk);
    assert_eq!(stranger.provider().state(&stranger.known()).await.unwrap(), MachineState::Stopped);
    stranger.provider().stop(&stranger.known(), Stop::AtOnce).await.unwrap();

    drill.provider().stop(&drill.known(), Stop::AtOnce).await.unwrap();
    let left = place.instances();
    assert_eq!((left.len(), &left[0].id), (1, &running.id));
    assert_eq!(left[0].state(), "running");
    assert_eq!((place.images(), place.snapshots().len()), (1, 1));
    assert_eq!(site.provider().state(&running).await.unwrap(), MachineState::Running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_not_taken_and_rights_that_lack_are_told_with_what_to_do() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let site = Site::new(place.machine(""), place.folder.path(), &disk);
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:Describe*","ec2:CreateTags","ebs:*"],"Resource":"*"}]}"#;
    let (id, secret) = place.moto.make_keys(policy);
    place.moto.begin_to_check_keys();
    let error = site.start().await.unwrap_err().to_string();
    assert!(error.contains("does not take the credentials") && error.contains("key credentials"), "{error}");
    place.write_keys(&id, &secret);
    let error = site.start().await.unwrap_err().to_string();
    assert!(error.contains("are not allowed ec2:RegisterImage"), "{error}");
    assert!(!error.contains(&secret), "{error}");
    place.write_keys(&id, "another");
    let error = site.start().await.unwrap_err().to_string();
    assert!(error.contains("does not take the credentials") && !error.contains("another"), "{error}");
}

/// Names of actions in a text: `ec2:RunInstances`, in quotation marks.
fn actions(text: &str) -> BTreeSet<String> {
    let parts = text.split('"').filter(|part| part.starts_with("ec2:") || part.starts_with("ebs:"));
    let is_action = |name: &&str| name[4..].chars().all(char::is_alphanumeric);
    parts.filter(is_action).map(str::to_owned).collect()
}

#[test]
fn the_policy_allows_what_is_asked_for_and_no_more() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut asked = BTreeSet::new();
    for entry in std::fs::read_dir(top.join("src/machine/ec2")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        asked.extend(actions(text.split("#[cfg(test)]").next().unwrap()));
    }
    let policy = std::fs::read_to_string(top.join("../packaging/cloud/ec2-policy.json")).unwrap();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let allowed = statements.flat_map(|statement| actions(&statement["Action"].to_string())).collect();
    assert_eq!(asked, allowed);
}

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
mod policy;

use std::collections::BTreeMap;

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
async fn a_block_that_was_sent_and_not_noted_is_sent_again_when_the_share_has_taken_it_back() {
    let Some(place) = Place::new() else { return };
    let full: State = (0..80).map(|at| Some(at as u8 + 1)).collect();
    let disk = Disk::new("/disk", full);
    let site = Site::new(place.machine(""), place.folder.path(), &disk);
    disk.answer(50);
    tokio::select! {
        copied = site.prepare() => panic!("it cannot be through: {copied:?}"),
        () = until(|| disk.is_waited_for() && place.puts().len() == 50) => {}
    }
    // A power cut: nothing of what was noted had reached the disk.
    std::fs::write(site.folder.join("ec2-disk0.blocks"), "").unwrap();
    disk.publish(&[(place.puts()[0] as usize, None)]);
    disk.answer(u64::MAX);
    let copied = site.prepare().await.unwrap();
    assert_eq!(place.content(&copied[0]), expected(&disk.newest()));
    assert_eq!(place.snapshots().len(), 1, "it is the same snapshot");
    let completed = &place.asked("POST /snapshots/completion/")[0].headers;
    assert_eq!(completed["x-amz-changedblockscount"], "80", "all that were ever sent count");
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
    site.set_note("instance", serde_json::Value::Null);
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
    let (images, runs) = (place.asked("RegisterImage"), place.asked("RunInstances"));
    assert_eq!((images.len(), runs.len()), (2, 2), "it does not boot from the snapshots of the last time");
    let newest = place.snapshots().into_iter().find(|known| known.tag("tidegate:head") == Some(&disk.head()));
    assert_eq!(images[1].value("BlockDeviceMapping.1.Ebs.SnapshotId"), newest.map(|newest| newest.id));
    for name in ["ImageId", "ClientToken"] {
        assert_ne!(runs[0].value(name), runs[1].value(name), "{name}");
    }
    site.provider().stop(&again, Stop::AtOnce).await.unwrap();
    assert_eq!(place.images(), 0, "also the image of the first time goes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_stay_is_never_started_on_the_disks_of_a_trial_nor_a_trial_on_those_that_stay() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    for made_as_trial in [true, false] {
        let folder = place.folder.path().join(format!("trial-{made_as_trial}"));
        let mut site = Site::new(place.machine(""), &folder, &disk);
        site.scratch = made_as_trial;
        let running = site.start().await.unwrap();
        place.moto.query("ec2", &format!("Action=StopInstances&InstanceId.1={}", running.id));
        assert_eq!(site.provider().state(&running).await.unwrap(), MachineState::Stopped);
        site.scratch = !made_as_trial;
        let error = site.start().await.unwrap_err().to_string();
        assert!(error.contains("tidegate machine stop"), "{error}");
        assert_eq!(
            site.provider().state(&running).await.unwrap(),
            MachineState::Stopped,
            "it is left as it is"
        );
        site.scratch = made_as_trial;
        // A trial begins from its copies, so one that was stopped is not gone on with either.
        assert_eq!(site.start().await.is_err(), made_as_trial);
        site.provider().stop(&running, Stop::AtOnce).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_ended_so_long_ago_that_ec2_shows_it_no_more_is_made_anew() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let site = Site::new(place.machine(""), place.folder.path(), &disk);
    let running = site.start().await.unwrap();
    place.moto.query("ec2", &format!("Action=TerminateInstances&InstanceId.1={}", running.id));
    // Of this one it knows nothing, as of one after an hour.
    site.set_note("instance", "i-0123456789abcdef0");
    assert!(
        matches!(site.provider().state(&running).await.unwrap(), MachineState::Unwell(_)),
        "one that was asked for a moment ago may be there"
    );
    site.set_note("asked", 0);
    assert_eq!(site.provider().state(&running).await.unwrap(), MachineState::Stopped);
    let again = site.start().await.unwrap();
    assert_eq!(site.provider().state(&again).await.unwrap(), MachineState::Running);
    let runs = place.asked("RunInstances");
    assert_eq!(runs[0].value("ImageId"), runs[1].value("ImageId"));
    assert_ne!(
        runs[0].value("ClientToken"),
        runs[1].value("ClientToken"),
        "its token would give the old one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_is_looked_for_where_it_was_made() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let mut site = Site::new(place.machine(""), place.folder.path(), &disk);
    let running = site.start().await.unwrap();
    site.machine.region = "eu-west-1".parse().ok();
    assert_eq!(site.provider().state(&running).await.unwrap(), MachineState::Running);
    let refused = site.start().await.unwrap_err().to_string();
    assert!(refused.contains("region eu-west-1") && refused.contains("region us-east-1"), "{refused}");
    assert!(refused.contains("tidegate machine stop web"), "{refused}");
    site.provider().stop(&running, Stop::AtOnce).await.unwrap();
    assert_eq!((place.instances().len(), place.images()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_of_its_volumes_stay_when_it_is_stopped() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let site = Site::new(place.machine(""), place.folder.path(), &disk);
    let running = site.start().await.unwrap();
    let owner = site.note()["owner"].as_str().unwrap().to_owned();
    let made = |form: &str, id: &str| place.moto.query("ec2", form).value(id).unwrap();
    let volume = made("Action=CreateVolume&Size=1&AvailabilityZone=us-east-1a", "volumeId");
    let backup = made(&format!("Action=CreateSnapshot&VolumeId={volume}"), "snapshotId");
    let unfinished = made(&format!("Action=CreateSnapshot&VolumeId={volume}"), "snapshotId");
    for (snapshot, more) in [(&backup, ""), (&unfinished, "&Tag.2.Key=tidegate:disk&Tag.2.Value=d")] {
        let form =
            format!("Action=CreateTags&ResourceId.1={snapshot}&Tag.1.Key=tidegate:owner&Tag.1.Value={owner}");
        place.moto.query("ec2", &format!("{form}{more}"));
    }
    site.provider().stop(&running, Stop::AtOnce).await.unwrap();
    let left: Vec<_> = place.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    assert!(left.contains(&backup), "it has the mark, as its volume has, and is no copy of a disk: {left:?}");
    assert!(!left.contains(&unfinished), "a copy that was begun goes: {left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_over_scratch_disks_leaves_no_volumes_and_nobody_elses_snapshots_change() {
    let Some(place) = Place::new() else { return };
    let disk = Disk::new("/disk", first_state());
    let machine = place.machine("keep_disks = true\n");
    let production = Site::new(machine.clone(), &place.folder.path().join("production"), &disk);
    production.start().await.unwrap();
    disk.publish(&[(2, Some(2))]);
    let mut trial = Site::new(machine, &place.folder.path().join("trial"), &disk);
    trial.scratch = true;
    let running = trial.start().await.unwrap();
    let images = place.asked("RegisterImage");
    let kept = images.iter().map(|image| image.value("BlockDeviceMapping.1.Ebs.DeleteOnTermination"));
    assert_eq!(kept.collect::<Vec<_>>(), [Some("false".to_owned()), Some("true".to_owned())]);
    trial.provider().stop(&running, Stop::AtOnce).await.unwrap();
    assert_eq!(place.snapshots().len(), 2, "that of production is older, and not its to delete");
}

/// The heads that snapshots say they are of, the newest first, as their names sort.
fn heads(place: &Place) -> Vec<String> {
    let mut heads: Vec<String> =
        place.snapshots().iter().filter_map(|known| known.tag("tidegate:head").map(str::to_owned)).collect();
    heads.sort();
    heads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_neither_deletes_nor_retags_snapshots_of_production() {
    let Some(place) = Place::new() else { return };
    let (disk, production) = (Disk::new("/disk", first_state()), place.machine(""));
    let site = Site::new(production.clone(), &place.folder.path().join("production"), &disk);
    let running = site.start().await.unwrap();
    let of_production = disk.head();
    let drill = async |number: u32| {
        let name = format!("web-{number:08x}").parse().unwrap();
        let drilled = production.for_drill(name).unwrap();
        let drill = Site::new(drilled, &place.folder.path().join("drill"), &disk);
        let running = drill.start().await.unwrap();
        drill.provider().stop(&running, Stop::AtOnce).await.unwrap();
    };
    disk.publish(&[]);
    drill(1).await;
    assert_eq!(
        heads(&place),
        std::slice::from_ref(&of_production),
        "production keeps that head, and nobody keeps the drill's"
    );
    disk.publish(&[(2, Some(2))]);
    drill(2).await;
    assert_eq!(heads(&place), [disk.head(), of_production.clone()]);
    disk.publish(&[(2, Some(3))]);
    drill(3).await;
    assert_eq!(heads(&place), [disk.head(), of_production], "that of the drill before went");
    site.provider().stop(&running, Stop::AtOnce).await.unwrap();
    assert_eq!(heads(&place), [disk.head()]);
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

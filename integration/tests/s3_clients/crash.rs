//! `kill -9` while objects are put and uploads completed: each is wholly there or not at all, what was acknowledged is there,
//! and nothing is left of what was not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::PATIENCE;
use tidegate_replicator::store::{Body, ObjectName, PutMode};

use crate::{FLAT, Front, TREE, run, store_at};

/// Kills in one run.
const KILLS: usize = 3;
/// Objects that are put at once.
const WRITERS: u64 = 4;
/// Beyond this an object goes in parts.
const SIZES: [u64; 4] = [0, 5000, 3 << 20, 20 << 20];

fn data(seed: u64) -> Vec<u8> {
    let mut chance = Chance::new(seed);
    let size = SIZES[(seed % 4) as usize];
    chance.bytes(size as usize)
}

#[test]
fn what_was_acknowledged_is_there_and_nothing_is_half_there() {
    let mut chance = Chance::announced("s3_crash");
    let mut front = Front::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut acknowledged: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    let mut tried: BTreeMap<(&'static str, String), u64> = BTreeMap::new();
    for _ in 0..KILLS {
        let life = Duration::from_millis(500 + chance.below(2500));
        let first = chance.next();
        let (told, done) = std::sync::mpsc::channel();
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let bucket = if writer % 2 == 0 { FLAT } else { TREE };
            let (store, told) = (store_at(&front.endpoint(), bucket), told.clone());
            writers.push(runtime.spawn(async move {
                for number in 0_u64.. {
                    let seed = first.wrapping_add(writer << 32).wrapping_add(number);
                    let name = format!("w{writer}/{}", number % 5);
                    let _ = told.send((bucket, name.clone(), seed, false));
                    let object = ObjectName::new(&*name).expect("a name");
                    let put = store.put(&object, Body::Bytes(data(seed).into()), PutMode::Overwrite).await;
                    if put.is_err() || told.send((bucket, name, seed, true)).is_err() {
                        return;
                    }
                }
            }));
        }
        drop(told);
        std::thread::sleep(life);
        front.gateway.kill();
        writers.iter().for_each(tokio::task::JoinHandle::abort);
        for (bucket, name, seed, is_done) in &done {
            let log = if is_done { &mut acknowledged } else { &mut tried };
            log.insert((bucket, name), seed);
        }
        front.gateway.start();
        check(&runtime, &front, &mut acknowledged, &tried);
    }
    assert!(!acknowledged.is_empty(), "the load got somewhere");
    front.stop();
}

/// What is there counts as acknowledged from then on, also what was on its way when the gateway died.
fn check(
    runtime: &tokio::runtime::Runtime,
    front: &Front,
    acknowledged: &mut BTreeMap<(&'static str, String), u64>,
    tried: &BTreeMap<(&'static str, String), u64>,
) {
    for ((bucket, name), last_tried) in tried {
        let object = ObjectName::new(name.as_str()).expect("a name");
        let found = runtime.block_on(store_at(&front.endpoint(), bucket).get(&object, None));
        let known = acknowledged.get(&(*bucket, name.clone())).copied();
        match found {
            Ok(found) => {
                let seed = [Some(*last_tried), known].into_iter().flatten().find(|seed| found == data(*seed));
                let seed = seed.unwrap_or_else(|| {
                    panic!("{bucket}/{name} is neither what was acknowledged nor what was being put")
                });
                acknowledged.insert((*bucket, name.clone()), seed);
            }
            Err(error) => assert!(known.is_none(), "{bucket}/{name} was acknowledged: {error}"),
        }
    }
}

const COMPLETION: &str = include_str!("completion.py");
/// The parts of that upload: how many, and their bytes.
const PARTS: Usage = Usage { files: 2, bytes: (5 << 20) + 7 };
/// How often it is looked whether what is left has gone.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the files of a bucket use, with those that have no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Usage {
    files: u64,
    bytes: u64,
}

fn usage(front: &Front, bucket: &str) -> Usage {
    let status: serde_json::Value = serde_json::from_str(&front.gateway.run(&["status"])).expect("JSON");
    let shares = status["shares"].as_array().expect("a list");
    let share = shares.iter().find(|share| share["name"] == bucket).expect("it is served");
    let number = |name: &str| share[name].as_u64().expect("a number");
    Usage { files: number("files"), bytes: number("bytes") }
}

/// Waits until a bucket uses so much. The first commit after a start takes away what has no name.
fn wait_for(front: &Front, bucket: &str, wanted: Usage) {
    front.gateway.run(&["commit", bucket]);
    let end = Instant::now() + PATIENCE;
    while usage(front, bucket) != wanted {
        let found = usage(front, bucket);
        assert!(Instant::now() < end, "{bucket} uses {found:?}, not {wanted:?}:\n{}", front.gateway.log());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The two sides of the transaction that completes an upload: before it everything is as it was, after it the object is
/// there; and who asks again is answered in both. Nothing stays of what had been put together and has no name.
#[test]
fn a_completion_that_is_killed_is_done_or_can_be_asked_for_again() {
    let mut front = Front::start();
    let script = |front: &Front, step: &str, bucket: &str| {
        let mut command = front.command("python3");
        command.args(["-c", COMPLETION, step, bucket]);
        command
    };
    let python = |front: &Front| {
        let mut command = front.command("python3");
        command.args(["-c", "import boto3"]).output().is_ok_and(|done| done.status.success())
    };
    if !python(&front) {
        println!("crash: skipped: boto3 is not installed");
        return;
    }
    for bucket in [FLAT, TREE] {
        for (point, then) in [("complete.shared", "not-done"), ("complete.named", "done")] {
            let before = usage(&front, bucket);
            front.gateway.kill();
            front.gateway.start_to_crash(point);
            assert!(front.gateway.wait_until_serving(), "{}", front.gateway.log());
            run(&mut script(&front, "complete", bucket));
            assert!(front.gateway.wait_for_death(PATIENCE), "{point} was not met:\n{}", front.gateway.log());
            front.gateway.start();
            let files = before.files + if then == "done" { 1 } else { PARTS.files };
            wait_for(&front, bucket, Usage { files, bytes: before.bytes + PARTS.bytes });
            run(&mut script(&front, then, bucket));
            wait_for(&front, bucket, before);
        }
    }
    front.stop();
}

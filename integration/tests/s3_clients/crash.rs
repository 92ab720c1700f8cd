//! `kill -9` while objects are put and uploads completed: each is wholly there or not at all, and what was
//! acknowledged is there.

use std::collections::BTreeMap;
use std::time::Duration;

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

/// The two sides of the transaction that completes an upload: before it everything is as it was, after it the object is
/// there; and who asks again is answered in both.
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
            front.gateway.kill();
            front.gateway.start_to_crash(point);
            assert!(front.gateway.wait_until_serving(), "{}", front.gateway.log());
            run(&mut script(&front, "complete", bucket));
            assert!(front.gateway.wait_for_death(PATIENCE), "{point} was not met:\n{}", front.gateway.log());
            front.gateway.start();
            run(&mut script(&front, then, bucket));
        }
    }
    front.stop();
}

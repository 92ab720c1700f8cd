//! Claims about volumes: a disk is what was written to it, whatever comes between; what is thrown away leaves no trace; what
//! was read while a machine booted is fetched first.
//!
//! Method: random changes of a disk and of a dumb model; between them commits, restarts and views of earlier states.
//! `TIDEGATE_SEED` repeats a run, `TIDEGATE_STEPS` makes it longer.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod published;
mod scene;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use bytes::Bytes;
use scene::{Chance, Model, SCRATCH_BYTES, SHARE, Scene, kept, read, volume};
use tidegate_gateway::control::Moment;
use tidegate_gateway::volumes::{BOOT_ORDER_ATTRIBUTE, UNIT_BYTES, VolumeConfig};
use tidegate_protocols::blocks::{BlockError, BlockView};
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::InodeNumber;

const SIZE: u64 = 3 << 20;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The bytes that the file of the volumes uses.
async fn used(scene: &Scene) -> u64 {
    let namespace = scene.appliance.namespace(SHARE).unwrap();
    let folder = support::lookup(&namespace, InodeNumber::ROOT, b"disks").await.unwrap();
    let file = support::lookup(&namespace, folder, b"one.img").await.unwrap();
    namespace.reader().node(file).await.unwrap().inode.used
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_is_what_was_written_whatever_comes_between() {
    let steps = setting("TIDEGATE_STEPS").unwrap_or(60);
    let seeds = setting("TIDEGATE_SEED").map_or_else(|| vec![1, 2, 3], |seed| vec![seed]);
    for seed in seeds {
        println!("TIDEGATE_SEED={seed} TIDEGATE_STEPS={steps}");
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut scene = Scene::new(vec![volume("one", Some(SIZE)), volume("same", None)]).await;
        let mut model = Model(vec![0; SIZE as usize]);
        let mut before: Vec<(String, Model)> = Vec::new();
        let mut disk = scene.open("one").await;
        for step in 0..steps {
            model.change(&*disk, &mut chance).await;
            match chance.below(12) {
                0 => {
                    disk.flush().await.unwrap();
                    drop(disk);
                    scene = scene.restart().await;
                    disk = scene.open("one").await;
                    model.check(&*disk).await;
                }
                1 | 2 => {
                    let kept = scene.appliance.create_snapshot(SHARE, "", BTreeMap::new()).await.unwrap();
                    before.push((kept.id.to_string(), model.clone()));
                    model.check(&*disk).await;
                }
                3 => {
                    let range = chance.range(SIZE, 1 << 20);
                    let expected = &model.0[range.start as usize..range.end as usize];
                    assert!(read(&*disk, range.clone()).await == expected, "step {step}, {range:?}");
                    let other = scene.open("same").await;
                    assert!(read(&*other, range).await == expected, "another volume of the file");
                }
                4 => {
                    let all: u64 =
                        kept(&*disk, 0..SIZE, 3).await.iter().map(|range| range.end - range.start).sum();
                    assert_eq!(all, used(&scene).await, "what is no hole is what the file uses");
                }
                _ => {}
            }
        }
        model.check(&*disk).await;
        for (at, (snapshot, was)) in before.iter().enumerate() {
            check_moment(&scene, snapshot, was, at, &mut chance).await;
        }
        model.check(&*disk).await;
        disk.trim(0..SIZE, true).await.unwrap();
        assert_eq!(used(&scene).await, 0);
    }
}

/// The disk as it was, read-only and to be changed for a while.
async fn check_moment(scene: &Scene, snapshot: &str, was: &Model, at: usize, chance: &mut Chance) {
    let moment = Some(Moment::Snapshot(snapshot.to_owned()));
    let show =
        |name: String, scratch| VolumeConfig { moment: moment.clone(), scratch, ..volume(&name, None) };
    let (old, scratch) = (format!("old-{at}"), format!("scratch-{at}"));
    assert!(scene.volumes.add(show(old.clone(), false)) && scene.volumes.add(show(scratch.clone(), true)));
    let disk = scene.open(&old).await;
    assert!(disk.is_read_only());
    was.check(&*disk).await;
    let changing = scene.open(&scratch).await;
    let mut changed = was.clone();
    for _ in 0..10 {
        changed.change(&*changing, chance).await;
    }
    changed.check(&*changing).await;
    // Another connection sees the same, and the old state is as it was.
    changed.check(&*scene.open(&scratch).await).await;
    was.check(&*disk).await;
    assert!(scene.volumes.remove(&old) && scene.volumes.remove(&scratch));
    assert_eq!(changing.read(0..1).await, Err(BlockError::ShuttingDown));
}

#[tokio::test]
async fn a_scratch_volume_keeps_no_more_than_it_may_and_starts_anew() {
    let scratch = VolumeConfig { scratch: true, ..volume("try", None) };
    let scene = Scene::new(vec![volume("one", Some(2 * SCRATCH_BYTES)), scratch]).await;
    let one = scene.open("one").await;
    one.write(0, Bytes::from_static(b"below"), true).await.unwrap();
    scene.appliance.commit(SHARE).await.unwrap();
    let disk = scene.open("try").await;
    let much = Bytes::from(vec![7; 1 << 20]);
    for at in 0..3 {
        disk.write(at << 20, much.clone(), false).await.unwrap();
    }
    assert_eq!(disk.write(3 << 20, much.clone(), false).await, Err(BlockError::NoSpace));
    disk.trim(0..1 << 20, false).await.unwrap();
    disk.write(3 << 20, much, false).await.unwrap();
    assert_eq!(read(&*disk, 0..5).await, [0; 5], "trimmed, so not what is below");
    assert_eq!(read(&*one, 0..5).await, b"below");
    drop((disk, one));
    let scene = scene.restart().await;
    assert_eq!(read(&*scene.open("try").await, 0..5).await, b"below", "thrown away");
}

#[tokio::test]
async fn who_may_not_does_not_and_what_is_gone_is_told() {
    let closed = VolumeConfig { clients: vec!["10.0.0.0/8".parse().unwrap()], ..volume("closed", Some(512)) };
    let read_only = VolumeConfig { read_only: true, ..volume("readable", None) };
    let scene = Scene::new(vec![closed, volume("one", Some(SIZE)), read_only]).await;
    let names: Vec<String> =
        scene.volumes.volumes([127, 0, 0, 1].into()).into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["one", "readable"]);
    let open = |name| scene.volumes.open([127, 0, 0, 1].into(), name);
    assert_eq!(open("closed").await.err(), Some(BlockError::NotFound));
    assert_eq!(open("").await.err(), Some(BlockError::NotFound), "there are two");
    assert_eq!(open("readable").await.err(), Some(BlockError::NotFound), "nobody has made its file");
    let disk = scene.open("one").await;
    assert!(open("readable").await.unwrap().is_read_only());
    disk.write(0, Bytes::from_static(b"x"), false).await.unwrap();
    let (_, head) = scene.appliance.commit(SHARE).await.unwrap();
    disk.write(0, Bytes::from_static(b"y"), true).await.unwrap();
    scene.appliance.roll_back(SHARE, &head).await.unwrap();
    assert_eq!(disk.read(0..1).await, Err(BlockError::ShuttingDown), "it is another disk now");
    assert_eq!(read(&*scene.open("one").await, 0..1).await, b"x");
}

#[tokio::test]
async fn a_volume_is_made_longer_and_shorter() {
    let scene = Scene::new(vec![volume("one", Some(SIZE))]).await;
    let disk = scene.open("one").await;
    disk.write(SIZE - 4, Bytes::from_static(b"end."), false).await.unwrap();
    scene.volumes.resize("one", 2 * SIZE).await.unwrap();
    assert_eq!(scene.open("one").await.size(), 2 * SIZE);
    assert_eq!(read(&*disk, SIZE - 4..SIZE).await, b"end.");
    assert_eq!(scene.volumes.resize("none", SIZE).await, Err(FsError::NotFound));
    drop(disk);
    let scene = scene.restart().await;
    assert_eq!(scene.open("one").await.size(), 2 * SIZE, "the settings make nothing shorter");
}

#[tokio::test]
async fn a_very_large_disk_costs_what_is_on_it() {
    let size = 64 << 40;
    let scene = Scene::new(vec![volume("one", Some(size))]).await;
    let disk = scene.open("one").await;
    for at in 0..3000u64 {
        disk.write(at << 33, Bytes::from_static(&[1; 512]), false).await.unwrap();
    }
    let kept = kept(&*disk, 0..size, 100).await;
    assert_eq!(kept.len(), 3000);
    assert_eq!(kept[2999], 2999 << 33..(2999 << 33) + 512);
    disk.trim(1..size, true).await.unwrap();
    assert_eq!(used(&scene).await, 1);
    assert_eq!(read(&*disk, 0..2).await, [1, 0]);
}

#[tokio::test]
async fn what_was_read_is_recorded_with_the_file_and_fetched_first() {
    let scene = Scene::new(vec![volume("one", Some(64 * UNIT_BYTES))]).await;
    let disk = scene.open("one").await;
    disk.write(0, Bytes::from(support::noise(1, 64 * UNIT_BYTES as usize)), false).await.unwrap();
    assert!(scene.volumes.record("one").unwrap());
    assert!(!scene.volumes.record("one").unwrap(), "it is being done");
    for unit in [40, 3, 4, 40, 5] {
        disk.read(unit * UNIT_BYTES..unit * UNIT_BYTES + 100).await.unwrap();
    }
    let order = scene.volumes.end_recording("one").unwrap().unwrap();
    let ranges: Vec<_> =
        order.ranges().map(|range| range.start / UNIT_BYTES..range.end / UNIT_BYTES).collect();
    assert_eq!(ranges, [40..41, 3..6]);
    scene.volumes.set_boot_order("one", Some(&order)).await.unwrap();
    scene.appliance.commit(SHARE).await.unwrap();
    drop(disk);
    let scene = scene.restart().await;
    assert_eq!(scene.volumes.boot_order("one").await.unwrap(), Some(order.clone()));
    let _disk = scene.open("one").await;
    let all = order.bytes();
    let warmed = async {
        while scene.volumes.reports()[0].warmed != Some((all, all)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), warmed).await.expect("it is fetched");
    let namespace = scene.appliance.namespace(SHARE).unwrap();
    assert!(!String::from_utf8_lossy(BOOT_ORDER_ATTRIBUTE).starts_with("user."), "clients do not see it");
    drop(namespace);
    scene.volumes.set_boot_order("one", None).await.unwrap();
    assert_eq!(scene.volumes.boot_order("one").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_connections_change_one_disk() {
    let scene = Scene::new(vec![volume("one", Some(SIZE))]).await;
    let mut tasks = Vec::new();
    for lane in 0..4u64 {
        let disk = scene.open("one").await;
        tasks.push(tokio::spawn(async move {
            for round in 0..20u64 {
                for place in 0..8 {
                    let at = (place * 4 + lane) * 4096;
                    let data = Bytes::from(vec![(lane * 50 + round) as u8; 4096]);
                    disk.write(at, data, place == 7).await.unwrap();
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let scene = scene.restart().await;
    let disk = scene.open("one").await;
    for block in 0..32u64 {
        let expected = vec![((block % 4) * 50 + 19) as u8; 4096];
        assert!(read(&*disk, block * 4096..(block + 1) * 4096).await == expected, "block {block}");
    }
}

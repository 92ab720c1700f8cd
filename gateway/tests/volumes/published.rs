//! What has changed of a disk between two heads, as whoever copies it elsewhere is told.

use std::collections::BTreeSet;

use tidegate_gateway::machine::DiskContent;
use tidegate_gateway::volumes::PublishedDisk;

use crate::scene::{Chance, Model, Scene, volume};
use crate::setting;

const BLOCK: u64 = 64 << 10;
const SIZE: u64 = 40 * BLOCK + 4096;

async fn changed(disk: &PublishedDisk, since: Option<&str>) -> Option<BTreeSet<u64>> {
    let runs = disk.blocks(BLOCK, since).await.unwrap()?;
    assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start), "rising, and apart: {runs:?}");
    Some(runs.into_iter().flatten().collect())
}

/// Blocks in which two states differ.
fn differing(one: &Model, other: &Model) -> BTreeSet<u64> {
    let blocks = one.0.chunks(BLOCK as usize).zip(other.0.chunks(BLOCK as usize)).enumerate();
    blocks.filter(|(_, (one, other))| one != other).map(|(block, _)| block as u64).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_that_differs_between_two_heads_is_told_and_holds_what_was_published() {
    let steps = setting("TIDEGATE_STEPS").unwrap_or(60) / 10;
    let seeds = setting("TIDEGATE_SEED").map_or_else(|| vec![1, 2], |seed| vec![seed]);
    for seed in seeds {
        println!("TIDEGATE_SEED={seed}");
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let scene = Scene::new(vec![volume("one", Some(SIZE))]).await;
        let disk = scene.open("one").await;
        let mut model = Model(vec![0; SIZE as usize]);
        let mut before: Vec<(String, Model)> = Vec::new();
        for _ in 0..steps {
            for _ in 0..=chance.below(3) {
                model.change(&*disk, &mut chance).await;
            }
            let published = scene.volumes.published("one", None).await.unwrap();
            assert_eq!(published.bytes(), SIZE);
            for (head, was) in &before {
                let told = changed(&published, Some(head)).await.unwrap();
                let differs = differing(was, &model);
                assert!(differs.is_subset(&told), "seed {seed}: {:?}", differs.difference(&told));
            }
            let zeros = Model(vec![0; SIZE as usize]);
            let whole = changed(&published, None).await.unwrap();
            assert!(differing(&zeros, &model).is_subset(&whole), "seed {seed}");
            for block in 0..SIZE.div_ceil(BLOCK) {
                let read = published.read(block * BLOCK..(block + 1) * BLOCK).await.unwrap();
                let mut expected = model.0.chunks(BLOCK as usize).nth(block as usize).unwrap().to_vec();
                expected.resize(BLOCK as usize, 0);
                assert!(read == expected, "seed {seed}, block {block}");
            }
            before.push((published.origin().head.clone(), model.clone()));
        }
    }
}

#[tokio::test]
async fn a_small_write_is_a_block_whatever_extents_it_cuts() {
    let scene = Scene::new(vec![volume("one", Some(SIZE))]).await;
    let disk = scene.open("one").await;
    let noise = crate::support::noise(5, SIZE as usize);
    disk.write(0, noise.into(), true).await.unwrap();
    let first = scene.volumes.published("one", None).await.unwrap().origin().head.clone();
    disk.write(17 * BLOCK + 5000, vec![1; 512].into(), true).await.unwrap();
    disk.trim(30 * BLOCK..31 * BLOCK, true).await.unwrap();
    let published = scene.volumes.published("one", None).await.unwrap();
    let told = changed(&published, Some(&first)).await.unwrap();
    // Published, the neighbourhood of a write may be cut into chunks anew; what is far from it is not.
    assert!(told.contains(&17) && told.contains(&30), "{told:?}");
    assert!(told.iter().all(|block| (14..=20).contains(block) || (28..=33).contains(block)), "{told:?}");
    let same = published.origin().head.clone();
    assert_eq!(changed(&published, Some(&same)).await, Some(BTreeSet::new()));
    assert_eq!(
        changed(&published, Some("ffffffff-ffffffffffffffff-00000000")).await,
        None,
        "there is no such head"
    );
}

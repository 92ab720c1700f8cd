//! Goal: more data than the disk has goes through a gateway, and a store that goes away until the disk is full harms nothing.
//!
//! Method: the program, with its local state on a small file system of its own (an ext4 image, mounted over a loop device,
//! which needs root), and a client over NFS. More than the disk is written, one file larger than the disk among it, and read
//! back. Then the repository is moved away: writers are slowed down and at last told to try later (`NFS3ERR_JUKEBOX`), while
//! reads and deletes go on; when it is back everything drains.
//!
//! `TIDEGATE_DISK_MIB` and `TIDEGATE_WRITE_MIB` say how large the disk is, and how much is written; the nightly run takes
//! 2048 and 10240. Where the file system cannot be had, the test says why and passes; not with `TIDEGATE_NIGHTLY`.

use std::fs;
use std::time::{Duration, Instant};

use nfs3_types::nfs3::nfsstat3;
use tidegate_integration::chance::Chance;
use tidegate_integration::disk::Disk;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::{Handle, Nfs};
use tidegate_integration::skip::skip;

const MIB: u64 = 1 << 20;
/// The disk, unless the environment says otherwise, in MiB.
const DISK_MIB: u64 = 320;
/// Names that are made before anything else: some hundred KiB of tree nodes.
const NAMES: u64 = 2000;
/// Blocks are numbered within files, and files apart by this.
const FILE_STRIDE: u64 = 1 << 32;

fn mib(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number of MiB"))
}

/// One MiB that neither repeats nor compresses.
fn content(file: u64, block: u64) -> Vec<u8> {
    let mut chance = Chance::new(file * FILE_STRIDE + block);
    (0..MIB / 8).flat_map(|_| chance.next().to_le_bytes()).collect()
}

/// Writes a file as clients do: "try later" is tried again.
async fn write(nfs: &mut Nfs, name: &str, number: u64, blocks: u64) -> Handle {
    let root = nfs.root();
    let file = nfs.create(&root, name.as_bytes()).await.expect("made");
    for block in 0..blocks {
        let written = nfs.write_unstable(&file, block * MIB, &content(number, block)).await;
        assert_eq!(written, Ok(MIB as usize), "{name} at {block} MiB");
    }
    file
}

/// A directory with enough names for some tree nodes of its own.
async fn make_names(nfs: &mut Nfs) -> Handle {
    let root = nfs.root();
    let names = nfs.make_directory(&root, b"names").await.expect("made");
    for number in 0..NAMES {
        nfs.create(&names, name(number).as_bytes()).await.expect("made");
    }
    names
}

fn name(number: u64) -> String {
    format!("a name that is asked for later {number}")
}

async fn check(nfs: &mut Nfs, file: &Handle, number: u64, blocks: u64) {
    for block in 0..blocks {
        let read = nfs.read(file, block * MIB, MIB).await.expect("it can be read");
        assert!(read == content(number, block), "block {block} of file {number} differs");
    }
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Writes while the store is away, until the client is told to try later: how many blocks were taken.
async fn fill(nfs: &mut Nfs, file: &Handle, number: u64, blocks_max: u64) -> u64 {
    let mut times = Vec::new();
    loop {
        let block = times.len() as u64;
        assert!(block < blocks_max, "nobody was stopped by a store that is away");
        let begun = Instant::now();
        match nfs.try_write(file, block * MIB, &content(number, block)).await {
            Ok(count) => assert_eq!(u64::from(count), MIB),
            Err(status) => {
                assert_eq!(status, nfsstat3::NFS3ERR_JUKEBOX);
                break;
            }
        }
        times.push(begun.elapsed());
    }
    // The budget fills evenly: the first half lies below the mark at which writers are slowed down, the last tenth well above.
    let (free, slowed) = (median(&times[..times.len() / 2]), median(&times[times.len() * 9 / 10..]));
    println!("{} MiB were taken; a write took {free:?} at first, {slowed:?} before the end", times.len());
    assert!(slowed > 2 * free, "writers were not slowed down: {free:?}, then {slowed:?}");
    times.len() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_disk_goes_through_it_and_an_outage_fills_it_without_harm() {
    let disk_mib = mib("TIDEGATE_DISK_MIB", DISK_MIB);
    let write_mib = mib("TIDEGATE_WRITE_MIB", disk_mib * 2);
    let folder = tempfile::tempdir().expect("a folder");
    let disk = match Disk::mount(&folder.path().join("data"), disk_mib * MIB) {
        Ok(disk) => disk,
        Err(why) => {
            return skip("larger than disk", &format!("a small file system cannot be mounted: {why}"));
        }
    };
    let mut gateway = Gateway::create(folder.path());
    assert_eq!(gateway.data(), disk.path());
    // What the settings allow is more than the disk has: the disk is what bounds.
    gateway.change_settings("[cache]\ndirty = \"128MiB\"", "[cache]\ndirty = \"1TiB\"");
    gateway.change_settings("[gateway]\n", "[gateway]\nmemory = \"256MiB\"\n");
    gateway.start();
    let mut nfs = Nfs::connect(gateway.address()).await;
    let names = make_names(&mut nfs).await;
    gateway.commit();

    let large_blocks = disk_mib * 5 / 4;
    let small_blocks = write_mib.saturating_sub(large_blocks) / 4;
    let large = write(&mut nfs, "larger than the disk", 1, large_blocks).await;
    let mut small = Vec::new();
    for number in 2..=5 {
        small.push((write(&mut nfs, &format!("file {number}"), number, small_blocks).await, number));
    }
    check(&mut nfs, &large, 1, large_blocks).await;
    for (file, number) in &small {
        check(&mut nfs, file, *number, small_blocks).await;
    }
    gateway.commit();

    let (repository, away) = (gateway.repository(), folder.path().join("away"));
    fs::rename(&repository, &away).expect("moved");
    let root = nfs.root();
    // Nobody has asked for these since, and all the data that went through the cache has not driven them out of it.
    nfs.create(&names, b"made without the store").await.expect("names are here");
    let filler = nfs.create(&root, b"filler").await.expect("made");
    let taken = fill(&mut nfs, &filler, 6, disk_mib).await;
    assert!(taken > disk_mib / 5, "only {taken} MiB were taken");
    check(&mut nfs, &filler, 6, taken).await;
    nfs.remove(&root, b"file 5").await.expect("deletes work");
    nfs.remove(&names, name(NAMES / 2).as_bytes()).await.expect("names are still here");
    assert_eq!(nfs.list(&names).await.expect("names are still here").len() as u64, NAMES);
    assert!(!gateway.has_died(), "{}", gateway.log());

    fs::rename(&away, &repository).expect("moved back");
    let begun = Instant::now();
    let last = nfs.write_unstable(&filler, taken * MIB, &content(6, taken)).await;
    assert_eq!(last, Ok(MIB as usize), "writes go on");
    gateway.commit();
    println!("everything was in the repository {:?} after it came back", begun.elapsed());
    check(&mut nfs, &filler, 6, taken + 1).await;
    check(&mut nfs, &large, 1, large_blocks).await;
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
}

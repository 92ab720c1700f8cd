//! Claims about lengths and holes.

use std::fs;
use std::path::Path;

use nfs3_types::nfs3::{Nfs3Option, sattr3};
use tidegate_integration::chance::Chance;
use tidegate_integration::machines::Machines;
use tidegate_integration::nfs::{Handle, Nfs};
use tidegate_integration::scribe::Scribe;

const MIB: u64 = 1 << 20;
/// Length of the sparse file, in bytes.
const SPARSE_BYTES: u64 = 20_000_000_000;
/// Bytes of each of its islands.
const ISLAND_BYTES: u64 = 3 * MIB / 2;
/// What the repository may take for it.
const SPARSE_STORED_BYTES_MAX: u64 = 3 * ISLAND_BYTES + MIB;
/// Smallest, average and largest chunk.
const CHUNK_SIZES: [usize; 3] = [16 << 10, 64 << 10, 256 << 10];

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry"));
    let bytes = |entry: fs::DirEntry| {
        let found = entry.metadata().expect("it is there");
        if found.is_dir() { bytes_below(&entry.path()) } else { found.len() }
    };
    entries.map(bytes).sum()
}

/// What must be at `range` of the file whose islands begin at `starts`.
fn expected(islands: &[(u64, Vec<u8>)], offset: u64, length: u64) -> Vec<u8> {
    let mut wanted = vec![0; length as usize];
    for (start, island) in islands {
        let (from, to) = (offset.max(*start), (offset + length).min(start + island.len() as u64));
        if from < to {
            wanted[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&island[(from - start) as usize..(to - start) as usize]);
        }
    }
    wanted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sparse_file_of_20_gigabytes_costs_what_it_holds() {
    let mut chance = Chance::announced("sparse");
    let machines = Machines::start();
    let repository = machines.repository();
    let mut nfs = Nfs::connect(machines.address()).await;
    let root = nfs.root();
    let file = nfs.create(&root, b"sparse").await.expect("a file");
    let starts = [0, SPARSE_BYTES / 2 + 1, SPARSE_BYTES - ISLAND_BYTES];
    let islands = starts.map(|start| (start, chance.bytes(ISLAND_BYTES as usize)));
    for (start, island) in &islands {
        nfs.write(&file, *start, island).await.expect("a write");
    }
    let shores = islands.iter().flat_map(|(start, _)| [*start, start + ISLAND_BYTES]);
    let mut looks: Vec<u64> = shores.map(|shore| shore.saturating_sub(MIB / 2)).collect();
    looks.extend((0..20).map(|_| chance.below(SPARSE_BYTES - MIB)));
    machines
        .outlive(async |when, nfs| {
            let file = nfs.find(b"sparse").await.expect("it is there");
            let found = nfs.attributes(&file).await.expect("attributes");
            assert_eq!((found.size, found.used), (SPARSE_BYTES, 3 * ISLAND_BYTES), "{when}");
            for look in &looks {
                let length = MIB.min(SPARSE_BYTES - look);
                let got = nfs.read(&file, *look, MIB).await.expect("it can be read");
                assert!(got == expected(&islands, *look, length), "{when}: other bytes from {look} on");
            }
            let stored = bytes_below(&repository);
            assert!(stored <= SPARSE_STORED_BYTES_MAX, "{when}: {stored} bytes are stored");
        })
        .await;
}

/// Lengths around the sizes of chunks.
fn lengths() -> Vec<usize> {
    let around = CHUNK_SIZES.into_iter().flat_map(|size| [size - 1, size, size + 1]);
    [0, 1].into_iter().chain(around).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_cut_and_grown_across_the_bounds_of_chunks() {
    const LONG: usize = 700_000;
    let mut chance = Chance::announced("truncate");
    let machines = Machines::start();
    let mut scribe = Scribe::connect(machines.address()).await;
    scribe.file("never written", b"").await;
    scribe.file("grown from nothing", b"").await;
    scribe.truncate("grown from nothing", LONG).await;
    for length in lengths() {
        for name in ["fresh", "published"] {
            scribe.file(format!("{name} {length}"), &chance.bytes(LONG)).await;
        }
        // Cut and grown before any of it is published.
        scribe.truncate(format!("fresh {length}"), length).await;
        scribe.truncate(format!("fresh {length}"), LONG + 1).await;
    }
    machines.gateway().commit();
    for length in lengths() {
        let name = format!("published {length}");
        scribe.truncate(&name, length).await;
        scribe.truncate(&name, length + 100_000).await;
        scribe.write(&name, length + 50_000, &chance.bytes(10)).await;
        scribe.truncate(format!("fresh {length}"), length).await;
    }
    machines.outlive_as_written(&scribe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_file_is_kept_and_nothing_is_written_beyond_it() {
    let machines = Machines::start();
    let mut nfs = Nfs::connect(machines.address()).await;
    let root = nfs.root();
    let file = nfs.create(&root, b"longest").await.expect("a file");
    let longest = i64::MAX as u64;
    nfs.write(&file, longest - 5, b"bytes").await.expect("the last bytes");
    assert!(nfs.write(&file, longest - 4, b"bytes").await.is_err(), "beyond the end");
    assert!(set_size(&mut nfs, &file, longest + 1).await.is_err(), "longer than a file may be");
    machines
        .outlive(async |when, nfs| {
            let file = nfs.find(b"longest").await.expect("it is there");
            assert_eq!(nfs.attributes(&file).await.expect("attributes").size, longest, "{when}");
            let last = nfs.read(&file, longest - 10, 100).await.expect("it can be read");
            assert_eq!(last, b"\0\0\0\0\0bytes", "{when}");
        })
        .await;
}

async fn set_size(nfs: &mut Nfs, file: &Handle, size: u64) -> Result<(), nfs3_types::nfs3::nfsstat3> {
    nfs.set(file, sattr3 { size: Nfs3Option::Some(size), ..sattr3::default() }).await
}

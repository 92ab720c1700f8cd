//! Goal: whoever lists a directory sees every name that was there throughout exactly once, however many others
//! create, remove and rename names in it meanwhile.
//!
//! Method: names that stay, and among them names that come, go and are renamed by several clients for as long as
//! the listings last. Listings of READDIRPLUS and of READDIR, in small pages, so that most of the churn happens
//! between two of them. With `TIDEGATE_NIGHTLY` a million names stay.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;

use futures::future::join_all;
use nfs3_types::nfs3::nfsstat3;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::{Handle, Listed, Nfs};
use tidegate_integration::skip::is_nightly;

/// Names that stay.
const STAY: usize = 4000;
/// The same in a nightly run.
const STAY_NIGHTLY: usize = 1_000_000;
/// Clients that make the names that stay.
const MAKERS: usize = 8;
/// Clients that create, remove and rename.
const CHURNERS: usize = 3;
/// Names that each of them plays with.
const PLAYED: usize = 50;
/// Bytes of a page of a listing: some sixty names.
const PAGE_BYTES: u32 = 4 << 10;
/// The same in a nightly run.
const PAGE_BYTES_NIGHTLY: u32 = 64 << 10;

/// Makes its part of the names that stay; names that churn lie between them.
async fn make(address: SocketAddr, directory: Handle, maker: usize, stay: usize) {
    let mut nfs = Nfs::connect(address).await;
    for number in (maker..stay).step_by(MAKERS) {
        nfs.create(&directory, format!("stays-{number:07}").as_bytes()).await.expect("a name");
    }
}

/// What is answered to who may come too late, or too early.
fn allowed(answer: Result<(), nfsstat3>) {
    let may = matches!(answer, Ok(()) | Err(nfsstat3::NFS3ERR_EXIST | nfsstat3::NFS3ERR_NOENT));
    assert!(may, "{answer:?}");
}

/// How far the churn is.
#[derive(Default)]
struct Churn {
    done: Cell<bool>,
    turns: Cell<usize>,
}

/// Creates, renames and removes until it is told to stop. Renames lead over existing names too.
async fn churn(address: SocketAddr, directory: Handle, churner: usize, churn: &Churn) {
    let mut nfs = Nfs::connect(address).await;
    let name = |number: usize| format!("plays-{churner}-{number}").into_bytes();
    for turn in 0.. {
        if churn.done.get() {
            return;
        }
        let (one, other) = (name(turn % PLAYED), name(turn * 7 % PLAYED));
        allowed(nfs.create(&directory, &one).await.map(drop));
        allowed(nfs.rename((&directory, &one), (&directory, &other)).await);
        if turn % 3 == 0 {
            allowed(nfs.remove(&directory, &other).await);
        }
        churn.turns.set(churn.turns.get() + 1);
    }
}

/// Each name that stays is there once, as the same file as in every listing.
fn check(listed: &[Listed], stay: usize, known: &mut HashMap<Vec<u8>, u64>) {
    let mut seen: HashMap<&[u8], u64> = HashMap::with_capacity(listed.len());
    for entry in listed.iter().filter(|entry| entry.name.starts_with(b"stays-")) {
        let twice = seen.insert(&entry.name, entry.inode);
        assert!(twice.is_none(), "{:?} is listed twice", String::from_utf8_lossy(&entry.name));
        let inode = *known.entry(entry.name.clone()).or_insert(entry.inode);
        assert_eq!(inode, entry.inode, "{:?} is another file", String::from_utf8_lossy(&entry.name));
    }
    assert_eq!(seen.len(), stay, "names that were there throughout");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_stay_are_listed_once_while_others_come_and_go() {
    let (stay, page) = if is_nightly() { (STAY_NIGHTLY, PAGE_BYTES_NIGHTLY) } else { (STAY, PAGE_BYTES) };
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let address = gateway.address();
    let nfs = &mut Nfs::connect(address).await;
    let directory = nfs.make_directory(&nfs.root(), b"directory").await.expect("a directory");
    join_all((0..MAKERS).map(|maker| make(address, directory.clone(), maker, stay))).await;
    let state = Churn::default();
    let churners = join_all((0..CHURNERS).map(|churner| churn(address, directory.clone(), churner, &state)));
    let listings = async {
        let mut known = HashMap::new();
        for with_attributes in [true, false, true, false] {
            let before = state.turns.get();
            let listed = nfs.list_in_pages(&directory, page, with_attributes).await.expect("a listing");
            check(&listed, stay, &mut known);
            let meanwhile = state.turns.get() - before;
            assert!(meanwhile > 0, "nothing happened meanwhile: the test shows nothing");
            println!("{} names listed, {meanwhile} turns of churn meanwhile", listed.len());
        }
        state.done.set(true);
    };
    futures::join!(listings, churners);
    gateway.stop();
}

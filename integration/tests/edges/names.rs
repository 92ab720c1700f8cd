//! Claims about names, directories and kinds.

use std::collections::BTreeSet;

use nfs3_types::nfs3::nfsstat3;
use tidegate_integration::machines::Machines;
use tidegate_integration::nfs::{Nfs, Special};
use tidegate_integration::scribe::Scribe;

const CROWD: usize = 10_000;
/// Clients that fill the crowded directory at once.
const CLIENTS: usize = 40;
/// Every so many of the crowd is read.
const SAMPLE: usize = 101;
const DEPTH: usize = 200;

fn member(number: usize) -> Vec<u8> {
    format!("member-{number}").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_names_in_one_directory_are_listed_exactly_once() {
    let machines = Machines::start();
    let address = machines.address();
    let mut first = Nfs::connect(address).await;
    let root = first.root();
    let crowd = first.make_directory(&root, b"crowd").await.expect("a directory");
    let fill = async |client: usize| {
        let mut nfs = Nfs::connect(address).await;
        for number in (client..CROWD).step_by(CLIENTS) {
            let file = nfs.create(&crowd, &member(number)).await.expect("a file");
            nfs.write(&file, 0, number.to_string().as_bytes()).await.expect("a write");
        }
    };
    futures::future::join_all((0..CLIENTS).map(fill)).await;
    machines
        .outlive(async |when, nfs| {
            let crowd = nfs.find(b"crowd").await.expect("it is there");
            let listed = nfs.list(&crowd).await.expect("a listing");
            assert_eq!(listed.len(), CROWD, "{when}");
            let names: BTreeSet<_> = listed.iter().map(|listed| listed.name.clone()).collect();
            assert!(names == (0..CROWD).map(member).collect(), "{when}: other names than were made");
            let inodes: BTreeSet<_> = listed.iter().map(|listed| listed.inode).collect();
            assert_eq!(inodes.len(), CROWD, "{when}: files of their own");
            for number in (0..CROWD).step_by(SAMPLE) {
                let file = nfs.lookup(&crowd, &member(number)).await.expect("it is there");
                let content = nfs.read(&file, 0, 100).await.expect("it can be read");
                assert_eq!(content, number.to_string().as_bytes(), "{when}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_have_up_to_255_bytes_and_any_bytes() {
    let machines = Machines::start();
    let mut scribe = Scribe::connect(machines.address()).await;
    for byte in (1..=255).filter(|byte| !b"/.".contains(byte)) {
        scribe.file([byte], &[byte]).await;
    }
    scribe.directory([0xff; 255]).await;
    scribe.file([[0xff; 255].as_slice(), b"/", &[b'n'; 255]].concat(), b"longest").await;
    scribe.file("...", b"three dots").await;
    scribe.file(b"\xc3\xa9", b"composed").await;
    scribe.file(b"e\xcc\x81", b"decomposed").await;
    assert_eq!(long_names(scribe.nfs()).await, [nfsstat3::NFS3ERR_NAMETOOLONG; 7]);
    machines.outlive_as_written(&scribe).await;
}

/// What each call says of a name of 256 bytes.
async fn long_names(nfs: &mut Nfs) -> [nfsstat3; 7] {
    let (root, long) = (nfs.root(), [b'n'; 256]);
    let file = nfs.find(b"...").await.expect("it is there");
    [
        nfs.lookup(&root, &long).await.expect_err("too long"),
        nfs.create(&root, &long).await.expect_err("too long"),
        nfs.make_directory(&root, &long).await.expect_err("too long"),
        nfs.symlink(&root, &long, b"target").await.expect_err("too long"),
        nfs.make_special(&root, &long, Special::Pipe).await.expect_err("too long"),
        nfs.link(&file, &root, &long).await.expect_err("too long"),
        nfs.rename((&root, b"..."), (&root, &long)).await.expect_err("too long"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directories_are_nested_as_deep_as_anybody_likes() {
    let machines = Machines::start();
    let mut scribe = Scribe::connect(machines.address()).await;
    let mut path = Vec::new();
    for level in 0..DEPTH {
        path.extend_from_slice(format!("{}level-{level}", if level == 0 { "" } else { "/" }).as_bytes());
        scribe.directory(&path).await;
    }
    path.extend_from_slice(b"/bottom");
    scribe.file(&path, b"far down").await;
    machines.outlive_as_written(&scribe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_file_is_kept_and_a_file_may_have_names_in_several_directories() {
    let machines = Machines::start();
    let mut scribe = Scribe::connect(machines.address()).await;
    for directory in ["one", "two", "two/three"] {
        scribe.directory(directory).await;
    }
    scribe.special("one/pipe", Special::Pipe).await;
    scribe.special("one/socket", Special::Socket).await;
    scribe.special("one/block", Special::Block(0, 0)).await;
    scribe.special("one/character", Special::Character(u32::MAX, u32::MAX)).await;
    scribe.symlink("one/link", b"../two/\xff").await;
    scribe.symlink("one/longest link", &[b'l'; 4096]).await;
    scribe.file("one/file", b"shared by four names").await;
    for name in ["one/again", "two/file", "two/three/other"] {
        scribe.link("one/file", name).await;
    }
    scribe.link("one/pipe", "two/pipe").await;
    scribe.link("one/link", "two/link").await;
    scribe.link("one/block", "two/three/block").await;
    scribe.write("two/three/other", 7, b"BY FOUR").await;
    scribe.remove("one/file").await;
    scribe.own("one/again", 0o6755, (u32::MAX - 1, 3)).await;
    machines.outlive_as_written(&scribe).await;
}

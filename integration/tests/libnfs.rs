//! Goal: programs that are built on libnfs, which media players and virtual machines read shares with, see and
//! copy files there.
//!
//! Method: its own tools on an unchanged gateway. A tool that is not installed is said to be skipped.

use std::fs;
use std::process::Command;

use tidegate_integration::gateway::{Gateway, SHARE};
use tidegate_integration::guest::program;
use tidegate_integration::nfs::Nfs;
use tidegate_integration::skip::skip;

/// More than one transfer of whatever size the library chooses.
const BYTES: usize = 5 << 20;

/// What a tool prints, which must succeed.
fn run(tool: &str, arguments: &[&str]) -> String {
    let done = Command::new(tool).args(arguments).output().expect("it runs");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{tool} {arguments:?} failed with {}: {error}", done.status);
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_tools_list_and_copy_both_ways() {
    for tool in ["nfs-ls", "nfs-cp", "nfs-cat"] {
        if let Err(reason) = program(tool) {
            return skip("libnfs", &reason);
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let nfs = &mut Nfs::connect(gateway.address()).await;
    let top = nfs.root();
    let directory = nfs.make_directory(&top, b"directory").await.expect("a directory");
    let content = noise(BYTES);
    let file = nfs.create(&directory, b"written elsewhere").await.expect("a file");
    nfs.write(&file, 0, &content).await.expect("its content");

    let port = gateway.address().port();
    let url =
        |path: &str| format!("nfs://127.0.0.1/{SHARE}{path}?nfsport={port}&mountport={port}&uid=0&gid=0");
    let listed = run("nfs-ls", &["-R", &url("")]);
    for (name, size) in [("directory", 4096), ("written elsewhere", BYTES)] {
        let line = listed.lines().find(|line| line.ends_with(name));
        let line = line.unwrap_or_else(|| panic!("no {name:?} in\n{listed}"));
        let is_file = line.starts_with('-');
        let with_size = line.split_whitespace().any(|word| word == size.to_string());
        assert!(is_file == (size == BYTES) && (with_size || !is_file), "{line}");
    }

    let local = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    run("nfs-cp", &[&url("/directory/written elsewhere"), &local("copied")]);
    assert!(fs::read(local("copied")).expect("a copy") == content, "it was read as it was written");
    run("nfs-cp", &[&local("copied"), &url("/directory/copied back")]);
    let copied = nfs.find(b"directory/copied back").await.expect("it is there");
    assert!(nfs.read(&copied, 0, u64::MAX).await.expect("a read") == content, "it is there as it was sent");
    fs::write(local("text"), "a line\n").expect("a file");
    run("nfs-cp", &[&local("text"), &url("/text")]);
    assert_eq!(run("nfs-cat", &[&url("/text")]), "a line\n");
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
}

//! Claims about quotas, as clients see them.

use std::fs;

use nfs3_types::nfs3::{Nfs3Option, nfsstat3, sattr3};
use tidegate_integration::gateway::{Gateway, PATIENCE, SHARE};
use tidegate_integration::nfs::{Nfs, Space, Special};

const OVER: Result<(), nfsstat3> = Err(nfsstat3::NFS3ERR_DQUOT);

/// Sets the quota of the share in the settings, and waits until clients see it.
async fn set_quota(gateway: &Gateway, nfs: &mut Nfs, quota: &str, wanted: impl Fn(&Space) -> bool) {
    let settings = gateway.settings();
    let text = fs::read_to_string(&settings).expect("settings");
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with("quota")).collect();
    // The share stands last.
    fs::write(&settings, format!("{}\n{quota}\n", kept.join("\n"))).expect("they can be written");
    gateway.reload();
    let seen = async {
        while !wanted(&nfs.space().await.expect("room")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("the settings are taken over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_the_room_that_is_announced_and_enforced_and_moves_with_the_share() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let nfs = &mut Nfs::connect(gateway.address()).await;
    let root = nfs.root();
    let file = nfs.create(&root, b"file").await.expect("a file");
    nfs.write(&file, 0, &vec![7; 30_000]).await.expect("a write");
    let free = nfs.space().await.expect("room");
    assert!(free.bytes[1] >= 1 << 50 && free.bytes[0] == free.bytes[1] + 30_000, "{free:?}");

    let quota =
        "quota = { bytes = { soft = \"16KiB\", hard = \"64KiB\" }, inodes = { hard = 4 }, grace = \"1d\" }";
    set_quota(&gateway, nfs, quota, |space| space.bytes[0] == 65_536).await;
    let space = nfs.space().await.expect("room");
    assert_eq!(space, Space { bytes: [65_536, 35_536, 35_536], files: [4, 2, 2] });

    // An unstable write is refused as such, not when it is committed.
    assert_eq!(nfs.write_unstable(&file, 30_000, &vec![7; 35_537]).await.map(drop), OVER);
    assert_eq!(nfs.write_unstable(&file, 30_000, &vec![7; 35_536]).await, Ok(35_536));
    assert_eq!(nfs.write_unstable(&file, 65_536, b"x").await.map(drop), OVER);
    nfs.write(&file, 0, &vec![8; 65_536]).await.expect("in place");
    let grown = sattr3 { size: Nfs3Option::Some(1 << 40), ..sattr3::default() };
    nfs.set(&file, grown).await.expect("a hole costs nothing");

    nfs.make_directory(&root, b"directory").await.expect("the third");
    nfs.symlink(&root, b"link", b"target").await.expect("the fourth");
    assert_eq!(nfs.create(&root, b"more").await.map(drop), OVER);
    assert_eq!(nfs.make_directory(&root, b"more").await.map(drop), OVER);
    assert_eq!(nfs.symlink(&root, b"more", b"target").await, OVER);
    assert_eq!(nfs.make_special(&root, b"more", Special::Pipe).await, OVER);
    nfs.link(&file, &root, b"other name").await.expect("another name is no inode");
    nfs.remove(&root, b"link").await.expect("a removal");
    nfs.make_special(&root, b"pipe", Special::Pipe).await.expect("in its place");

    let shown = quota_status(&gateway);
    assert_eq!((&shown["bytes"]["soft"], &shown["bytes"]["hard"]), (&16_384.into(), &65_536.into()));
    assert_eq!(shown["files"]["hard"], 4);
    let since = shown["bytes"]["over_soft_since"].clone();
    assert!(since.is_string(), "{shown}");

    gateway.commit();
    gateway.kill();
    gateway.start();
    check("after a kill", &gateway).await;
    gateway.kill();
    let place = folder.path().join("second");
    fs::create_dir(&place).expect("a folder");
    let mut second = Gateway::configure(&place, &gateway.repository(), &gateway.key());
    let text = fs::read_to_string(second.settings()).expect("settings");
    let (without_share, _) = text.split_once("[[share]]").expect("the share stands last");
    fs::write(second.settings(), without_share).expect("they can be written");
    second.run(&["attach", SHARE]);
    second.start();
    check("on a second machine that has its rules from the head", &second).await;
    assert_eq!(quota_status(&second)["bytes"]["over_soft_since"], since, "the grace period runs on");
    assert!(second.stop().success(), "it stops well:\n{}", second.log());
}

/// That nothing is left, and that this is so for clients.
async fn check(when: &str, gateway: &Gateway) {
    let nfs = &mut Nfs::connect(gateway.address()).await;
    let space = nfs.space().await.expect("room");
    assert_eq!(space, Space { bytes: [65_536, 0, 0], files: [4, 0, 0] }, "{when}");
    let file = nfs.find(b"file").await.expect("it is there");
    assert_eq!(nfs.write(&file, 65_536, b"x").await, OVER, "{when}");
    nfs.write(&file, 0, b"in place").await.expect("nothing more");
}

fn quota_status(gateway: &Gateway) -> serde_json::Value {
    let status: serde_json::Value = serde_json::from_str(&gateway.run(&["status"])).expect("JSON");
    status["shares"][0]["quota"].clone()
}

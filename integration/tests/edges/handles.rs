//! Claims about handles of files that lose their names.

use nfs3_types::nfs3::nfsstat3;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::machines::Machines;
use tidegate_integration::nfs::{Handle, Nfs};

const STALE: nfsstat3 = nfsstat3::NFS3ERR_STALE;

/// What a client that still holds the handle is told.
async fn stale(nfs: &mut Nfs, file: &Handle) -> [nfsstat3; 3] {
    [
        nfs.write(file, 3, b"late").await.expect_err("the file is gone"),
        nfs.read(file, 0, 100).await.expect_err("the file is gone"),
        nfs.attributes(file).await.map(drop).expect_err("the file is gone"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_removed_under_a_writer_is_stale_and_stays_gone() {
    let machines = Machines::start();
    let mut writer = Nfs::connect(machines.address()).await;
    let mut remover = Nfs::connect(machines.address()).await;
    let root = writer.root();
    let published = writer.create(&root, b"published").await.expect("a file");
    writer.write(&published, 0, b"before").await.expect("a write");
    machines.gateway().commit();
    let fresh = writer.create(&root, b"fresh").await.expect("a file");
    writer.write(&fresh, 0, b"before").await.expect("a write");
    let linked = writer.create(&root, b"linked").await.expect("a file");
    writer.write(&linked, 0, b"before").await.expect("a write");
    writer.link(&linked, &root, b"other name").await.expect("a link");
    for name in [b"published".as_slice(), b"fresh", b"linked"] {
        remover.remove(&root, name).await.expect("it can be removed");
    }
    assert_eq!(stale(&mut writer, &published).await, [STALE; 3]);
    assert_eq!(stale(&mut writer, &fresh).await, [STALE; 3]);
    writer.write(&linked, 3, b"late").await.expect("it has a name yet");

    let made_anew = remover.create(&root, b"fresh").await.expect("the name is free");
    assert_ne!(made_anew, fresh, "another file has another handle");
    assert_eq!(stale(&mut writer, &fresh).await, [STALE; 3]);
    let mut old = vec![published, fresh];
    machines
        .outlive(async |when, nfs| {
            let mut names: Vec<_> = nfs.list(&nfs.root()).await.expect("a listing");
            names.sort_by(|one, other| one.name.cmp(&other.name));
            let names: Vec<_> = names.into_iter().map(|listed| listed.name).collect();
            assert_eq!(names, [b"fresh".to_vec(), b"other name".to_vec()], "{when}");
            let other = nfs.find(b"other name").await.expect("it is there");
            assert_eq!(nfs.read(&other, 0, 100).await.expect("it can be read"), b"beflate", "{when}");
            assert_eq!(nfs.attributes(&other).await.expect("attributes").nlink, 1, "{when}");
            for handle in &mut old {
                assert_eq!(stale(nfs, handle).await, [STALE; 3], "{when}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_outlive_a_kill_and_are_stale_on_another_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    let mut nfs = Nfs::connect(gateway.address()).await;
    let root = nfs.root();
    let file = nfs.create(&root, b"file").await.expect("a file");
    nfs.write(&file, 0, b"content").await.expect("a write");
    gateway.commit();
    gateway.kill();
    gateway.start();
    let mut nfs = Nfs::connect(gateway.address()).await;
    assert_eq!(nfs.root(), root);
    assert_eq!(nfs.read(&file, 0, 100).await.expect("the handle holds"), b"content");
    gateway.kill();
    let second = folder.path().join("second");
    std::fs::create_dir(&second).expect("a folder");
    let mut second = Gateway::attach(&second, &gateway.repository(), &gateway.key());
    second.start();
    let mut nfs = Nfs::connect(second.address()).await;
    assert_eq!(nfs.read(&file, 0, 100).await.expect_err("another era"), STALE);
    let file = nfs.find(b"file").await.expect("it is there");
    assert_eq!(nfs.read(&file, 0, 100).await.expect("it can be read"), b"content");
}

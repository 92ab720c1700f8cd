//! Claims about times.

use nfs3_types::nfs3::{nfsstat3, nfstime3, sattr3, set_atime, set_mtime};
use tidegate_integration::machines::Machines;
use tidegate_integration::nfs::Nfs;

/// Seconds as NFS has them: unsigned. Clients write those before 1970 as their complement.
const SECONDS: [u32; 6] = [0, 1, i32::MAX as u32, i32::MIN as u32, u32::MAX - 1, u32::MAX];
const NANOSECONDS: [u32; 3] = [0, 1, 999_999_999];

fn moments() -> impl Iterator<Item = nfstime3> {
    SECONDS.into_iter().flat_map(|seconds| NANOSECONDS.map(|nseconds| nfstime3 { seconds, nseconds }))
}

fn name(moment: nfstime3) -> Vec<u8> {
    format!("at {}.{:09}", moment.seconds, moment.nseconds).into_bytes()
}

fn set_both(moment: nfstime3) -> sattr3 {
    let (atime, mtime) = (set_atime::SET_TO_CLIENT_TIME(moment), set_mtime::SET_TO_CLIENT_TIME(moment));
    sattr3 { atime, mtime, ..sattr3::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_come_back_to_the_nanosecond_as_the_client_gave_them() {
    let machines = Machines::start();
    let mut nfs = Nfs::connect(machines.address()).await;
    let root = nfs.root();
    for moment in moments() {
        let file = nfs.create(&root, &name(moment)).await.expect("a file");
        nfs.set(&file, set_both(moment)).await.expect("its owner may");
        let wrong = nfstime3 { nseconds: 1_000_000_000, ..moment };
        assert_eq!(nfs.set(&file, set_both(wrong)).await, Err(nfsstat3::NFS3ERR_INVAL));
    }
    machines
        .outlive(async |when, nfs| {
            for moment in moments() {
                let file = nfs.find(&name(moment)).await.expect("it is there");
                let found = nfs.attributes(&file).await.expect("attributes");
                assert_eq!((found.atime, found.mtime), (moment, moment), "{when}");
            }
        })
        .await;
}

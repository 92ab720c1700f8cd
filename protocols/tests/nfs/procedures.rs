//! Goal: each of the 22 procedures does what RFC 1813 says, seen by a client written by others.

use nfs3_types::nfs3::*;
use nfs3_types::xdr_codec::Opaque;

use crate::harness::{at, create, handle, root, serve, status, write};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn null_answers_with_nothing() {
    serve().await.client().await.null().await.unwrap();
}

#[tokio::test]
async fn a_created_file_has_the_caller_as_owner_and_consistent_attributes() {
    let served = serve().await;
    let mut client = served.client().await;
    let how = createhow3::GUARDED(sattr3 { mode: Nfs3Option::Some(0o640), ..sattr3::default() });
    let made = client.create(&CREATE3args { where_: at(&root(), b"a"), how }).await.unwrap().unwrap();
    let attributes = made.obj_attributes.unwrap();
    assert_eq!((attributes.uid, attributes.gid, attributes.mode), (1000, 100, 0o640));
    assert_eq!(attributes.type_, ftype3::NF3REG);
    let (before, after) = (made.dir_wcc.before.unwrap(), made.dir_wcc.after.unwrap());
    assert!(before.ctime != after.ctime);

    let found = client.lookup(&LOOKUP3args { what: at(&root(), b"a") }).await.unwrap().unwrap();
    assert_eq!(found.object, made.obj.unwrap());
    assert_eq!(found.dir_attributes.unwrap().ctime, after.ctime);
    let got = client.getattr(&GETATTR3args { object: found.object }).await.unwrap().unwrap();
    assert_eq!(got.obj_attributes.fileid, attributes.fileid);
}

#[tokio::test]
async fn creation_keeps_its_three_promises() {
    let served = serve().await;
    let mut client = served.client().await;
    let mut create = async |name: &[u8], how| {
        client.create(&CREATE3args { where_: at(&root(), name), how }).await.unwrap()
    };
    let guarded = || createhow3::GUARDED(sattr3::default());
    let exclusive = |byte| createhow3::EXCLUSIVE(createverf3([byte; 8]));
    create(b"a", guarded()).await.unwrap();
    assert_eq!(status(create(b"a", guarded()).await), nfsstat3::NFS3ERR_EXIST);
    create(b"a", createhow3::UNCHECKED(sattr3::default())).await.unwrap();
    let first = create(b"b", exclusive(1)).await.unwrap().obj.unwrap();
    assert_eq!(create(b"b", exclusive(1)).await.unwrap().obj.unwrap(), first);
    assert_eq!(status(create(b"b", exclusive(2)).await), nfsstat3::NFS3ERR_EXIST);
}

#[tokio::test]
async fn a_guarded_setattr_whose_guard_fails_changes_nothing() {
    let served = serve().await;
    let mut client = served.client().await;
    let (file, made) = create(&mut client, &root(), b"a").await;
    let mut set = async |size, guard| {
        let new_attributes = sattr3 { size: Nfs3Option::Some(size), ..sattr3::default() };
        client.setattr(&SETATTR3args { object: file.clone(), new_attributes, guard }).await.unwrap()
    };
    let wrong = nfstime3 { seconds: 1, nseconds: 2 };
    assert_eq!(status(set(5, Nfs3Option::Some(wrong)).await), nfsstat3::NFS3ERR_NOT_SYNC);
    let wcc = set(6, Nfs3Option::Some(made.ctime)).await.unwrap().obj_wcc;
    assert_eq!((wcc.before.unwrap().size, wcc.after.unwrap().size), (0, 6));
}

#[tokio::test]
async fn times_are_set_to_what_the_client_or_the_server_says() {
    let served = serve().await;
    let mut client = served.client().await;
    let (object, _) = create(&mut client, &root(), b"a").await;
    let given = nfstime3 { seconds: 1_000_000_000, nseconds: 999_999_999 };
    let mut set = async |atime, mtime| {
        let new_attributes = sattr3 { atime, mtime, ..sattr3::default() };
        let guard = Nfs3Option::None;
        client.setattr(&SETATTR3args { object: object.clone(), new_attributes, guard }).await.unwrap()
    };
    let wcc = set(set_atime::SET_TO_CLIENT_TIME(given), set_mtime::SET_TO_SERVER_TIME).await.unwrap();
    let after = wcc.obj_wcc.after.unwrap();
    assert_eq!(after.atime, given);
    assert!(after.mtime.seconds > given.seconds);
    let wrong = nfstime3 { seconds: 1, nseconds: 1_000_000_000 };
    let refused = set(set_atime::DONT_CHANGE, set_mtime::SET_TO_CLIENT_TIME(wrong)).await;
    assert_eq!(status(refused), nfsstat3::NFS3ERR_INVAL);
}

#[tokio::test]
async fn access_answers_only_bits_that_were_asked_for() {
    let served = serve().await;
    let mut client = served.client().await;
    let (object, _) = create(&mut client, &root(), b"a").await;
    let asked = ACCESS3_READ | ACCESS3_EXECUTE;
    let granted = client.access(&ACCESS3args { object, access: asked }).await.unwrap().unwrap();
    assert_eq!(granted.access, ACCESS3_READ);
}

#[tokio::test]
async fn a_transfer_of_one_mebibyte_comes_back_as_it_went() {
    let served = serve().await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    let data: Vec<u8> = (0..MIB).map(|at| (at * 7 / 8) as u8).collect();
    for (offset, stable) in
        [(0, stable_how::UNSTABLE), (3, stable_how::DATA_SYNC), (5, stable_how::FILE_SYNC)]
    {
        let written = write(&mut client, &file, offset, &data, stable).await;
        assert_eq!((written.count, written.committed), (MIB as u32, stable));
        let commit = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
        assert_eq!(client.commit(&commit).await.unwrap().unwrap().verf.0, written.verf.0);
        let arguments = READ3args { file: file.clone(), offset, count: MIB as u32 };
        let read = client.read(&arguments).await.unwrap().unwrap();
        assert_eq!((read.count, read.eof), (MIB as u32, true));
        assert!(read.data.0 == data);
    }
}

#[tokio::test]
async fn reads_of_every_alignment_are_padded_right_and_end_at_the_end() {
    let served = serve().await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    let data: Vec<u8> = (0..100).collect();
    write(&mut client, &file, 0, &data, stable_how::FILE_SYNC).await;
    for offset in [0, 1, 50, 97, 99, 100, 1000, u64::MAX] {
        for count in [0, 1, 2, 3, 4, 5, 99, 100, u32::MAX] {
            let arguments = READ3args { file: file.clone(), offset, count };
            let read = client.read(&arguments).await.unwrap().unwrap();
            let start = offset.min(100) as usize;
            let end = (start + count as usize).min(100);
            assert_eq!(&*read.data.0, &data[start..end], "{count} bytes at {offset}");
            assert_eq!((read.count as usize, read.eof), (end - start, end == 100));
        }
    }
}

#[tokio::test]
async fn a_write_that_lies_about_its_length_or_ends_beyond_two_to_the_63_is_refused() {
    let served = serve().await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    let mut write = async |offset, count| {
        let (file, stable, data) = (file.clone(), stable_how::UNSTABLE, Opaque::borrowed(b"abcd"));
        client.write(&WRITE3args { file, offset, count, stable, data }).await.unwrap()
    };
    assert_eq!(status(write(0, 3).await), nfsstat3::NFS3ERR_INVAL);
    assert_eq!(status(write(0, 5).await), nfsstat3::NFS3ERR_INVAL);
    assert_eq!(status(write(i64::MAX as u64, 4).await), nfsstat3::NFS3ERR_FBIG);
    assert_eq!(status(write(u64::MAX, 4).await), nfsstat3::NFS3ERR_FBIG);
}

#[tokio::test]
async fn links_directories_and_nodes_are_made_and_found() {
    let served = serve().await;
    let mut client = served.client().await;
    let attributes = sattr3 { mode: Nfs3Option::Some(0o711), ..sattr3::default() };
    let made = client.mkdir(&MKDIR3args { where_: at(&root(), b"d"), attributes }).await.unwrap().unwrap();
    assert_eq!(made.obj_attributes.unwrap().mode, 0o711);
    let directory = made.obj.unwrap();

    let target = b"../\xff odd name";
    let symlink =
        symlinkdata3 { symlink_attributes: sattr3::default(), symlink_data: target.to_vec().into() };
    let made =
        client.symlink(&SYMLINK3args { where_: at(&directory, b"s"), symlink }).await.unwrap().unwrap();
    let read = client.readlink(&READLINK3args { symlink: made.obj.unwrap() }).await.unwrap().unwrap();
    assert_eq!(&*read.data.0.0, target);

    let spec = || specdata3 { specdata1: 8, specdata2: 17 };
    let device = || devicedata3 { dev_attributes: sattr3::default(), spec: spec() };
    let kinds = [
        (mknoddata3::NF3BLK(device()), ftype3::NF3BLK, 8),
        (mknoddata3::NF3CHR(device()), ftype3::NF3CHR, 8),
        (mknoddata3::NF3FIFO(sattr3::default()), ftype3::NF3FIFO, 0),
        (mknoddata3::NF3SOCK(sattr3::default()), ftype3::NF3SOCK, 0),
    ];
    for (number, (what, kind, major)) in kinds.into_iter().enumerate() {
        let where_ = at(&directory, format!("node{number}").as_bytes());
        let made = client.mknod(&MKNOD3args { where_, what }).await.unwrap().unwrap();
        let attributes = made.obj_attributes.unwrap();
        assert_eq!((attributes.type_, attributes.rdev.specdata1), (kind, major));
    }
}

#[tokio::test]
async fn a_linked_file_is_renamed_and_removed_name_by_name() {
    let served = serve().await;
    let mut client = served.client().await;
    let (file, _) = create(&mut client, &root(), b"a").await;
    let link = LINK3args { file: file.clone(), link: at(&root(), b"b") };
    let linked = client.link(&link).await.unwrap().unwrap();
    assert_eq!(linked.file_attributes.unwrap().nlink, 2);
    assert!(linked.linkdir_wcc.before.is_some());

    let rename = RENAME3args { from: at(&root(), b"b"), to: at(&root(), b"c") };
    let renamed = client.rename(&rename).await.unwrap().unwrap();
    assert!(renamed.fromdir_wcc.after.is_some() && renamed.todir_wcc.after.is_some());
    assert_eq!(status(client.rename(&rename).await.unwrap()), nfsstat3::NFS3ERR_NOENT);

    for name in [b"a", b"c"] {
        client.remove(&REMOVE3args { object: at(&root(), name) }).await.unwrap().unwrap();
    }
    let gone = client.getattr(&GETATTR3args { object: file }).await.unwrap();
    assert_eq!(status(gone), nfsstat3::NFS3ERR_STALE);
}

#[tokio::test]
async fn remove_and_rmdir_are_told_apart() {
    let served = serve().await;
    let mut client = served.client().await;
    create(&mut client, &root(), b"file").await;
    let mkdir = MKDIR3args { where_: at(&root(), b"dir"), attributes: sattr3::default() };
    let directory = client.mkdir(&mkdir).await.unwrap().unwrap().obj.unwrap();
    create(&mut client, &directory, b"inside").await;

    let rmdir = |name: &[u8]| RMDIR3args { object: at(&root(), name) };
    let remove = |directory: &nfs_fh3, name: &[u8]| REMOVE3args { object: at(directory, name) };
    assert_eq!(status(client.rmdir(&rmdir(b"file")).await.unwrap()), nfsstat3::NFS3ERR_NOTDIR);
    assert_eq!(status(client.remove(&remove(&root(), b"dir")).await.unwrap()), nfsstat3::NFS3ERR_ISDIR);
    assert_eq!(status(client.rmdir(&rmdir(b"dir")).await.unwrap()), nfsstat3::NFS3ERR_NOTEMPTY);
    client.remove(&remove(&directory, b"inside")).await.unwrap().unwrap();
    client.rmdir(&rmdir(b"dir")).await.unwrap().unwrap();
}

#[tokio::test]
async fn names_that_cannot_be_names_never_reach_the_view() {
    let served = serve().await;
    let mut client = served.client().await;
    let longest = vec![b'n'; 255];
    // A longer call that is no WRITE ends its connection.
    let overlong = vec![b'n'; 7_000];
    create(&mut client, &root(), &longest).await;
    let names: [(&[u8], nfsstat3); 5] = [
        (&[b'n'; 256], nfsstat3::NFS3ERR_NAMETOOLONG),
        (&overlong, nfsstat3::NFS3ERR_NAMETOOLONG),
        (b"", nfsstat3::NFS3ERR_ACCES),
        (b"a/b", nfsstat3::NFS3ERR_INVAL),
        (b"a\0b", nfsstat3::NFS3ERR_INVAL),
    ];
    let entered = served.view.count("LOOKUP") + served.view.count("CREATE");
    for (name, expected) in names {
        let found = client.lookup(&LOOKUP3args { what: at(&root(), name) }).await.unwrap();
        assert_eq!(status(found), expected);
        let how = createhow3::UNCHECKED(sattr3::default());
        let made = client.create(&CREATE3args { where_: at(&root(), name), how }).await.unwrap();
        assert_eq!(status(made), expected);
        let rename = RENAME3args { from: at(&root(), &longest), to: at(&root(), name) };
        assert_eq!(status(client.rename(&rename).await.unwrap()), expected);
    }
    assert_eq!(served.view.count("LOOKUP") + served.view.count("CREATE"), entered);
    assert_eq!(served.view.count("RENAME"), 0);
}

#[tokio::test]
async fn a_link_target_has_at_most_4096_bytes() {
    let served = serve().await;
    let mut client = served.client().await;
    let mut symlink = async |name: &[u8], length| {
        let symlink_data = vec![b't'; length].into();
        let symlink = symlinkdata3 { symlink_attributes: sattr3::default(), symlink_data };
        client.symlink(&SYMLINK3args { where_: at(&root(), name), symlink }).await.unwrap()
    };
    symlink(b"longest", 4096).await.unwrap();
    assert_eq!(status(symlink(b"longer", 4097).await), nfsstat3::NFS3ERR_NAMETOOLONG);
}

#[tokio::test]
async fn what_the_server_can_do_is_announced() {
    let served = serve().await;
    let mut client = served.client().await;
    let info = client.fsinfo(&FSINFO3args { fsroot: root() }).await.unwrap().unwrap();
    assert_eq!((info.rtmax, info.rtpref, info.wtmax, info.wtpref), (1 << 20, 1 << 20, 1 << 20, 1 << 20));
    assert_eq!((info.dtpref, info.maxfilesize), (64 << 10, i64::MAX as u64));
    assert_eq!((info.time_delta.seconds, info.time_delta.nseconds), (0, 1));
    assert_eq!(info.properties, FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME);
    let conf = client.pathconf(&PATHCONF3args { object: root() }).await.unwrap().unwrap();
    assert_eq!((conf.name_max, conf.no_trunc, conf.chown_restricted), (255, true, true));
    assert_eq!((conf.case_insensitive, conf.case_preserving), (false, true));
    let stat = client.fsstat(&FSSTAT3args { fsroot: root() }).await.unwrap().unwrap();
    assert_eq!((stat.tbytes, stat.fbytes, stat.abytes), (1 << 40, 1 << 39, 1 << 38));
    assert_eq!((stat.tfiles, stat.ffiles, stat.afiles), (1 << 30, 1 << 29, 1 << 28));
}

#[tokio::test]
async fn a_forged_handle_is_bad_and_a_lost_one_stale() {
    let served = serve().await;
    let mut client = served.client().await;
    let forged = nfs_fh3 { data: Opaque::owned(vec![7; 64]) };
    let got = client.getattr(&GETATTR3args { object: forged }).await.unwrap();
    assert_eq!(status(got), nfsstat3::NFS3ERR_BADHANDLE);
    let got = client.getattr(&GETATTR3args { object: handle(99) }).await.unwrap();
    assert_eq!(status(got), nfsstat3::NFS3ERR_STALE);
}

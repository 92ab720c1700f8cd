//! Errors of the procedures that change something, and of COMMIT.

use nfs3_types::nfs3::nfsstat3::{
    NFS3_OK as OK, NFS3ERR_ACCES as ACCES, NFS3ERR_BADHANDLE as BADHANDLE, NFS3ERR_BADTYPE as BADTYPE,
    NFS3ERR_DQUOT as DQUOT, NFS3ERR_EXIST as EXIST, NFS3ERR_FBIG as FBIG, NFS3ERR_INVAL as INVAL,
    NFS3ERR_ISDIR as ISDIR, NFS3ERR_NAMETOOLONG as NAMETOOLONG, NFS3ERR_NOENT as NOENT,
    NFS3ERR_NOT_SYNC as NOT_SYNC, NFS3ERR_NOTDIR as NOTDIR, NFS3ERR_NOTEMPTY as NOTEMPTY,
    NFS3ERR_PERM as PERM, NFS3ERR_ROFS as ROFS, NFS3ERR_STALE as STALE, NFS3ERR_XDEV as XDEV,
};
use nfs3_types::nfs3::{
    createhow3, createverf3, devicedata3, ftype3, mknoddata3, nfs_fh3, nfstime3, sattr3, set_mtime,
};
use tidegate_integration::nfs::mode;

use crate::asker::{Asker, Place, Refused};
use crate::stage::{LONG, Stage, size};
use crate::successes::attributes;
use crate::{Row, row, row_beside};

const NEW: &[u8] = b"new";
/// When no file was changed.
const LONG_AGO: nfstime3 = nfstime3 { seconds: 1, nseconds: 1 };

pub(crate) async fn setattr(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    guards_decide(root, &files.file).await;
    let no_time = nfstime3 { seconds: 1, nseconds: 1_000_000_000 };
    let no_time = sattr3 { mtime: set_mtime::SET_TO_CLIENT_TIME(no_time), ..sattr3::default() };
    let now = sattr3 { mtime: set_mtime::SET_TO_SERVER_TIME, ..sattr3::default() };
    vec![
        row(PERM, user.setattr(&files.file, mode(0o777), None).await),
        row(ACCES, user.setattr(&files.file, size(0), None).await),
        row(ACCES, user.setattr(&files.file, now, None).await),
        row(INVAL, root.setattr(&files.pipe, size(0), None).await),
        row(INVAL, root.setattr(&files.file, no_time, None).await),
        row(ISDIR, root.setattr(&files.top, size(0), None).await),
        row(FBIG, root.setattr(&files.file, size(1 << 63), None).await),
        row(ROFS, root.setattr(&files.frozen, mode(0o777), None).await),
        row(NOT_SYNC, root.setattr(&files.file, mode(0o777), Some(LONG_AGO)).await),
        row(STALE, root.setattr(&files.gone, mode(0o777), None).await),
        row(BADHANDLE, root.setattr(&files.junk, mode(0o777), None).await),
    ]
}

/// A guard that is not the file's time of change keeps all of it as it is; one that is lets it be changed.
async fn guards_decide(root: &mut Asker, file: &nfs_fh3) {
    let before = attributes(root, file).await;
    let almost = nfstime3 { nseconds: before.ctime.nseconds ^ 1, ..before.ctime };
    for wrong in [LONG_AGO, almost] {
        let set = sattr3 { mtime: set_mtime::SET_TO_SERVER_TIME, ..mode(0o777) };
        assert_eq!(root.setattr(file, set, Some(wrong)).await.status, NOT_SYNC, "SETATTR: {wrong:?}");
        let after = attributes(root, file).await;
        assert_eq!(format!("{after:?}"), format!("{before:?}"), "SETATTR: nothing has changed");
    }
    for changed in [0o664, 0o644] {
        let now = attributes(root, file).await;
        let set = root.setattr(file, mode(changed), Some(now.ctime)).await;
        assert_eq!(set.status, OK, "SETATTR: the guard is the time of change");
        let after = attributes(root, file).await;
        assert_eq!(after.mode & 0o7777, changed);
        assert_ne!(after.ctime, now.ctime, "SETATTR: it is another guard now");
    }
}

pub(crate) async fn write(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(ACCES, user.write(&files.file, 0).await),
        row(FBIG, root.write(&files.file, i64::MAX as u64 - 2).await),
        row(FBIG, root.write(&files.file, u64::MAX).await),
        row(ROFS, root.write(&files.frozen, 0).await),
        row(INVAL, root.write(&files.pipe, 0).await),
        row(INVAL, root.write(&files.link, 0).await),
        row(ISDIR, root.write(&files.top, 0).await),
        row(DQUOT, root.write(&files.used.file, 4095).await),
        row(STALE, root.write(&files.gone, 0).await),
        row(BADHANDLE, root.write(&files.junk, 0).await),
    ]
}

/// What all procedures that make a file have in common.
async fn making(stage: &mut Stage, make: impl AsyncFn(&mut Asker, Place<'_>) -> Refused) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(ACCES, make(user, (&files.top, NEW)).await),
        row(ACCES, make(root, (&files.top, b"")).await),
        row(EXIST, make(root, (&files.top, b"file")).await),
        row(EXIST, make(root, (&files.top, b"full")).await),
        row(EXIST, make(root, (&files.top, b".")).await),
        row(EXIST, make(root, (&files.top, b"..")).await),
        row(NOTDIR, make(root, (&files.file, NEW)).await),
        row(ROFS, make(root, (&files.frozen, NEW)).await),
        row(NAMETOOLONG, make(root, (&files.top, &LONG)).await),
        row(DQUOT, make(root, (&files.used.top, NEW)).await),
        row(INVAL, make(root, (&files.top, b"full/new")).await),
        row(INVAL, make(root, (&files.top, b"n\0w")).await),
        row(STALE, make(root, (&files.gone_directory, NEW)).await),
        row(BADHANDLE, make(root, (&files.junk, NEW)).await),
    ]
}

pub(crate) async fn create(stage: &mut Stage) -> Vec<Row> {
    let mut rows = making(stage, async |asker: &mut Asker, place: Place<'_>| {
        asker.create(place, createhow3::GUARDED(sattr3::default())).await
    })
    .await;
    let how = || createhow3::EXCLUSIVE(createverf3([7; 8]));
    rows.push(row(EXIST, stage.root.create((&stage.files.top, b"file"), how()).await));
    rows
}

pub(crate) async fn mkdir(stage: &mut Stage) -> Vec<Row> {
    making(stage, async |asker: &mut Asker, place: Place<'_>| asker.mkdir(place).await).await
}

pub(crate) async fn symlink(stage: &mut Stage) -> Vec<Row> {
    let make = async |asker: &mut Asker, place: Place<'_>| asker.symlink(place, b"target").await;
    let mut rows = making(stage, make).await;
    let place = (&stage.files.top, NEW);
    rows.push(row(NAMETOOLONG, stage.root.symlink(place, &[b't'; 4097]).await));
    rows
}

pub(crate) async fn mknod(stage: &mut Stage) -> Vec<Row> {
    let mut rows = making(stage, async |asker: &mut Asker, place: Place<'_>| asker.mknod(place).await).await;
    let place = (&stage.files.top, NEW);
    for kind in [ftype3::NF3REG, ftype3::NF3DIR, ftype3::NF3LNK] {
        rows.push(row(BADTYPE, stage.root.mknod_of(place, kind).await));
    }
    let shared = &stage.files.shared;
    let devices: [fn(devicedata3) -> mknoddata3; 2] = [mknoddata3::NF3BLK, mknoddata3::NF3CHR];
    for (device, name) in devices.into_iter().zip([b"block", b"chars"]) {
        rows.push(row(PERM, stage.user.mknod_device((shared, name), device).await));
        assert_eq!(stage.root.mknod_device((shared, name), device).await.status, OK, "MKNOD: root may");
    }
    assert_eq!(stage.user.mknod((shared, b"pipe")).await.status, OK, "MKNOD: a pipe is nothing special");
    rows
}

pub(crate) async fn remove(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(NOENT, root.remove((&files.top, b"missing")).await),
        row(ACCES, user.remove((&files.top, b"file")).await),
        row(ACCES, root.remove((&files.top, b"")).await),
        row(NOTDIR, root.remove((&files.file, b"missing")).await),
        row(ISDIR, root.remove((&files.top, b"empty")).await),
        row(NAMETOOLONG, root.remove((&files.top, &LONG)).await),
        row(INVAL, root.remove((&files.top, b"full/inside")).await),
        row(ROFS, root.remove((&files.frozen, b"missing")).await),
        row(STALE, root.remove((&files.gone_directory, b"missing")).await),
        row(BADHANDLE, root.remove((&files.junk, b"missing")).await),
    ]
}

pub(crate) async fn rmdir(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(NOENT, root.rmdir((&files.top, b"missing")).await),
        row(ACCES, user.rmdir((&files.top, b"empty")).await),
        row(INVAL, root.rmdir((&files.top, b".")).await),
        row(NOTEMPTY, root.rmdir((&files.top, b"..")).await),
        row(NOTEMPTY, root.rmdir((&files.top, b"full")).await),
        row(NOTDIR, root.rmdir((&files.top, b"file")).await),
        row(NOTDIR, root.rmdir((&files.file, b"missing")).await),
        row(NAMETOOLONG, root.rmdir((&files.top, &LONG)).await),
        row(ROFS, root.rmdir((&files.frozen, b"missing")).await),
        row(STALE, root.rmdir((&files.gone_directory, b"missing")).await),
        row(BADHANDLE, root.rmdir((&files.junk, b"missing")).await),
    ]
}

pub(crate) async fn rename(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    let (top, file): (_, Place<'_>) = (&files.top, (&files.top, b"file"));
    let (gone, junk): (Place<'_>, Place<'_>) = ((&files.gone_directory, NEW), (&files.junk, NEW));
    vec![
        row(NOENT, root.rename((top, b"missing"), (top, NEW)).await),
        row(ACCES, user.rename(file, (top, NEW)).await),
        row(ACCES, root.rename(file, (top, b"")).await),
        row(XDEV, root.rename(file, (&files.other, NEW)).await),
        row(NOTDIR, root.rename((top, b"empty"), file).await),
        row(NOTDIR, root.rename(file, (&files.file, NEW)).await),
        row(ISDIR, root.rename(file, (top, b"empty")).await),
        row(INVAL, root.rename((top, b"full"), (&files.full, NEW)).await),
        row(INVAL, root.rename((top, b"full"), (&files.inside, NEW)).await),
        row(INVAL, root.rename((top, b"."), (top, NEW)).await),
        row(INVAL, root.rename(file, (top, b"..")).await),
        row(ROFS, root.rename((&files.frozen, b"missing"), (&files.frozen, NEW)).await),
        row(NAMETOOLONG, root.rename(file, (top, &LONG)).await),
        row(NAMETOOLONG, root.rename((top, &LONG), file).await),
        row(NOTEMPTY, root.rename((top, b"empty"), (top, b"full")).await),
        row_beside(STALE, root.rename(gone, file).await, &[false, true]),
        row_beside(STALE, root.rename(file, gone).await, &[true, false]),
        row_beside(BADHANDLE, root.rename(junk, file).await, &[false, true]),
        row_beside(BADHANDLE, root.rename(file, junk).await, &[true, false]),
    ]
}

pub(crate) async fn link(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    let (top, file) = (&files.top, &files.file);
    vec![
        row(ACCES, user.link(file, (top, NEW)).await),
        row(ACCES, root.link(file, (top, b"")).await),
        row(EXIST, root.link(file, (top, b"file")).await),
        row(XDEV, root.link(file, (&files.other, NEW)).await),
        row(NOTDIR, root.link(file, (&files.secret, NEW)).await),
        row(INVAL, root.link(file, (top, b"full/new")).await),
        row(PERM, root.link(&files.full, (top, NEW)).await),
        row(ROFS, root.link(&files.frozen, (&files.frozen, NEW)).await),
        row(NAMETOOLONG, root.link(file, (top, &LONG)).await),
        row_beside(STALE, root.link(&files.gone, (top, NEW)).await, &[false, true]),
        row_beside(STALE, root.link(file, (&files.gone_directory, NEW)).await, &[true, false]),
        row_beside(BADHANDLE, root.link(&files.junk, (top, NEW)).await, &[false, true]),
        row_beside(BADHANDLE, root.link(file, (&files.junk, NEW)).await, &[true, false]),
    ]
}

pub(crate) async fn commit(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![row(STALE, root.commit(&files.gone).await), row(BADHANDLE, root.commit(&files.junk).await)]
}

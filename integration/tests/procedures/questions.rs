//! Errors of the procedures that change nothing.

use nfs3_types::nfs3::nfsstat3::{
    NFS3ERR_ACCES as ACCES, NFS3ERR_BADHANDLE as BADHANDLE, NFS3ERR_INVAL as INVAL, NFS3ERR_ISDIR as ISDIR,
    NFS3ERR_NAMETOOLONG as NAMETOOLONG, NFS3ERR_NOENT as NOENT, NFS3ERR_NOTDIR as NOTDIR,
    NFS3ERR_STALE as STALE, NFS3ERR_TOOSMALL as TOOSMALL,
};

use crate::stage::{LONG, Stage};
use crate::{Row, row};

/// Room for the attributes of a directory, and for no entry.
const NO_ROOM: u32 = 100;
const ROOM: u32 = 4096;

pub(crate) async fn getattr(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![row(STALE, root.getattr(&files.gone).await), row(BADHANDLE, root.getattr(&files.junk).await)]
}

pub(crate) async fn lookup(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(NOENT, root.lookup((&files.top, b"missing")).await),
        row(ACCES, user.lookup((&files.closed, b"missing")).await),
        row(ACCES, root.lookup((&files.top, b"")).await),
        row(NOTDIR, root.lookup((&files.file, b"missing")).await),
        row(NAMETOOLONG, root.lookup((&files.top, &LONG)).await),
        row(INVAL, root.lookup((&files.top, b"full/inside")).await),
        row(STALE, root.lookup((&files.gone_directory, b"missing")).await),
        row(BADHANDLE, root.lookup((&files.junk, b"missing")).await),
    ]
}

pub(crate) async fn access(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![row(STALE, root.access(&files.gone).await), row(BADHANDLE, root.access(&files.junk).await)]
}

pub(crate) async fn readlink(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![
        row(INVAL, root.readlink(&files.file).await),
        row(INVAL, root.readlink(&files.top).await),
        row(STALE, root.readlink(&files.gone).await),
        row(BADHANDLE, root.readlink(&files.junk).await),
    ]
}

pub(crate) async fn read(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(ACCES, user.read(&files.secret).await),
        row(INVAL, root.read(&files.pipe).await),
        row(INVAL, root.read(&files.link).await),
        row(ISDIR, root.read(&files.top).await),
        row(STALE, root.read(&files.gone).await),
        row(BADHANDLE, root.read(&files.junk).await),
    ]
}

pub(crate) async fn readdir(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(ACCES, user.readdir(&files.closed, ROOM).await),
        row(NOTDIR, root.readdir(&files.file, ROOM).await),
        row(TOOSMALL, root.readdir(&files.top, NO_ROOM).await),
        row(STALE, root.readdir(&files.gone_directory, ROOM).await),
        row(BADHANDLE, root.readdir(&files.junk, ROOM).await),
    ]
}

pub(crate) async fn readdirplus(stage: &mut Stage) -> Vec<Row> {
    let (root, user, files) = (&mut stage.root, &mut stage.user, &stage.files);
    vec![
        row(ACCES, user.readdirplus(&files.closed, ROOM).await),
        row(NOTDIR, root.readdirplus(&files.file, ROOM).await),
        row(TOOSMALL, root.readdirplus(&files.top, NO_ROOM).await),
        row(STALE, root.readdirplus(&files.gone_directory, ROOM).await),
        row(BADHANDLE, root.readdirplus(&files.junk, ROOM).await),
    ]
}

pub(crate) async fn fsstat(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![row(STALE, root.fsstat(&files.gone).await), row(BADHANDLE, root.fsstat(&files.junk).await)]
}

pub(crate) async fn fsinfo(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![row(STALE, root.fsinfo(&files.gone).await), row(BADHANDLE, root.fsinfo(&files.junk).await)]
}

pub(crate) async fn pathconf(stage: &mut Stage) -> Vec<Row> {
    let (root, files) = (&mut stage.root, &stage.files);
    vec![row(STALE, root.pathconf(&files.gone).await), row(BADHANDLE, root.pathconf(&files.junk).await)]
}

//! Goal: every change that succeeds tells the attributes of its files from just before and from just
//! after. Method: they are compared with what GETATTR says before and after.

use nfs3_types::nfs3::{
    COMMIT3args, COMMIT3res, CREATE3args, CREATE3res, GETATTR3args, GETATTR3res, LINK3args, LINK3res,
    MKDIR3args, MKDIR3res, MKNOD3args, MKNOD3res, Nfs3Option, REMOVE3args, REMOVE3res, RENAME3args,
    RENAME3res, RMDIR3args, RMDIR3res, SETATTR3args, SETATTR3res, SYMLINK3args, SYMLINK3res, WRITE3args,
    WRITE3res, createhow3, fattr3, mknoddata3, nfs_fh3, nfspath3, sattr3, stable_how, symlinkdata3, wcc_data,
};
use nfs3_types::xdr_codec::Opaque;
use tidegate_integration::nfs::mode;

use crate::asker::{Asker, at};
use crate::stage::Stage;

/// What GETATTR says.
pub(crate) async fn attributes(asker: &mut Asker, file: &nfs_fh3) -> fattr3 {
    let answer: GETATTR3res = asker.call(1, &GETATTR3args { object: file.clone() }).await;
    answer.unwrap().obj_attributes
}

/// What was told of a change, and what GETATTR said before and after it.
fn compare(name: &str, told: wcc_data, before: &fattr3, after: &fattr3) {
    let Nfs3Option::Some(told_before) = told.before else { panic!("{name} tells nothing from before") };
    let Nfs3Option::Some(told_after) = told.after else { panic!("{name} tells nothing from after") };
    let told_before = (told_before.size, told_before.mtime, told_before.ctime);
    assert_eq!(told_before, (before.size, before.mtime, before.ctime), "{name}: before");
    assert_eq!(format!("{told_after:?}"), format!("{after:?}"), "{name}: after");
}

/// Makes a change, and compares the consistency data of one file.
macro_rules! change {
    ($asker:ident, $name:literal, $number:literal, $file:expr, $arguments:expr, $answer:ty, $told:ident) => {{
        let before = attributes($asker, $file).await;
        let answer: $answer = $asker.call($number, &$arguments).await;
        let told = answer.expect($name).$told;
        compare($name, told, &before, &attributes($asker, $file).await);
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_that_succeeds_tells_the_attributes_before_and_after() {
    let mut stage = Stage::set().await;
    let (asker, files) = (&mut stage.root, &stage.files);
    changes_of_files(asker, &files.file).await;
    let directory = &files.top;
    new_names(asker, directory, &files.file).await;
    lost_names(asker, directory, &files.full).await;
}

async fn changes_of_files(asker: &mut Asker, file: &nfs_fh3) {
    let (object, new_attributes) = (file.clone(), mode(0o640));
    let set = SETATTR3args { object, new_attributes, guard: Nfs3Option::None };
    change!(asker, "SETATTR", 2, file, set, SETATTR3res, obj_wcc);
    // One sync covers data and attributes, so that whatever is more than nothing is everything.
    for (stable, committed) in [
        (stable_how::UNSTABLE, stable_how::UNSTABLE),
        (stable_how::DATA_SYNC, stable_how::FILE_SYNC),
        (stable_how::FILE_SYNC, stable_how::FILE_SYNC),
    ] {
        let data = Opaque::borrowed(b"abc");
        let write = WRITE3args { file: file.clone(), offset: 9, count: 3, stable, data };
        let before = attributes(asker, file).await;
        let written: WRITE3res = asker.call(7, &write).await;
        let written = written.expect("WRITE");
        assert_eq!((written.count, written.committed), (3, committed), "WRITE: asked for {stable}");
        compare("WRITE", written.file_wcc, &before, &attributes(asker, file).await);
    }
    let commit = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
    let committed: COMMIT3res = asker.call(21, &commit).await;
    // A commit changes nothing, so that there is nothing from before it.
    assert!(committed.unwrap().file_wcc.after.is_some());
}

async fn new_names(asker: &mut Asker, directory: &nfs_fh3, file: &nfs_fh3) {
    let place = |name: &[u8]| at((directory, name));
    let create = CREATE3args { where_: place(b"created"), how: createhow3::GUARDED(sattr3::default()) };
    change!(asker, "CREATE", 8, directory, create, CREATE3res, dir_wcc);
    let mkdir = MKDIR3args { where_: place(b"directory"), attributes: sattr3::default() };
    change!(asker, "MKDIR", 9, directory, mkdir, MKDIR3res, dir_wcc);
    let symlink_data = nfspath3(Opaque::borrowed(b"target"));
    let symlink = symlinkdata3 { symlink_attributes: sattr3::default(), symlink_data };
    let symlink = SYMLINK3args { where_: place(b"symlink"), symlink };
    change!(asker, "SYMLINK", 10, directory, symlink, SYMLINK3res, dir_wcc);
    let mknod = MKNOD3args { where_: place(b"node"), what: mknoddata3::NF3SOCK(sattr3::default()) };
    change!(asker, "MKNOD", 11, directory, mknod, MKNOD3res, dir_wcc);
    let link = LINK3args { file: file.clone(), link: place(b"linked") };
    change!(asker, "LINK", 15, directory, link, LINK3res, linkdir_wcc);
}

async fn lost_names(asker: &mut Asker, directory: &nfs_fh3, other: &nfs_fh3) {
    let remove = REMOVE3args { object: at((directory, b"created")) };
    change!(asker, "REMOVE", 12, directory, remove, REMOVE3res, dir_wcc);
    let rmdir = RMDIR3args { object: at((directory, b"directory")) };
    change!(asker, "RMDIR", 13, directory, rmdir, RMDIR3res, dir_wcc);
    let (from, to) = (attributes(asker, directory).await, attributes(asker, other).await);
    let rename = RENAME3args { from: at((directory, b"node")), to: at((other, b"renamed")) };
    let renamed: RENAME3res = asker.call(14, &rename).await;
    let renamed = renamed.unwrap();
    compare("RENAME", renamed.fromdir_wcc, &from, &attributes(asker, directory).await);
    compare("RENAME", renamed.todir_wcc, &to, &attributes(asker, other).await);
}

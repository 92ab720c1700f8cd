//! Goal: every procedure of NFS version 3 answers every error that RFC 1813 lists for it and that can
//! happen here, with the attributes that the RFC wants beside it.
//!
//! Method: an independent client asks the real program. `rfc.rs` has the lists of the RFC; each procedure
//! has a function that provokes what can be provoked, and a list of what cannot happen here, with the
//! reason. Both together must be the list of the RFC: no error is forgotten, and none is excused that
//! comes about after all.

mod asker;
mod changes;
mod questions;
mod rfc;
mod stage;
mod successes;

use std::collections::BTreeSet;

use self::asker::Refused;
use self::rfc::{Listed, PROCEDURES};
use self::stage::Stage;

/// What was provoked: which error was meant, what was answered, and the attributes that are wanted.
pub(crate) struct Row {
    meant: nfs3_types::nfs3::nfsstat3,
    refused: Refused,
    beside: Option<Vec<bool>>,
}

/// A row in which all attributes are wanted, unless the handle is good for nothing.
pub(crate) fn row(meant: nfs3_types::nfs3::nfsstat3, refused: Refused) -> Row {
    Row { meant, refused, beside: None }
}

/// A row in which these attributes are wanted.
pub(crate) fn row_beside(meant: nfs3_types::nfs3::nfsstat3, refused: Refused, beside: &[bool]) -> Row {
    Row { meant, refused, beside: Some(beside.to_vec()) }
}

impl Row {
    fn check(&self, procedure: &str) {
        use nfs3_types::nfs3::nfsstat3::{NFS3ERR_BADHANDLE, NFS3ERR_STALE};
        let Self { meant, refused, beside } = self;
        assert_eq!(refused.status, *meant, "{procedure}");
        let good = !matches!(meant, NFS3ERR_STALE | NFS3ERR_BADHANDLE);
        let wanted = beside.clone().unwrap_or_else(|| vec![good; refused.attributes.len()]);
        assert_eq!(refused.attributes, wanted, "{procedure}: attributes beside {meant:?}");
    }
}

/// All that a procedure was seen to answer is what the RFC lists, but for what cannot happen, and for
/// what is answered beyond the RFC.
fn check(listed: &Listed, rows: &[Row]) {
    for row in rows {
        row.check(listed.name);
    }
    let number = |status: &nfs3_types::nfs3::nfsstat3| *status as u32;
    let seen: BTreeSet<_> = rows.iter().map(|row| number(&row.meant)).collect();
    let never: BTreeSet<_> = listed.never.iter().map(|(status, _)| number(status)).collect();
    let beyond: BTreeSet<_> = listed.beyond.iter().map(|(status, _)| number(status)).collect();
    let rfc: BTreeSet<_> = listed.errors.iter().map(number).collect();
    assert!(seen.is_disjoint(&never), "{}: what never happens was seen", listed.name);
    assert!(rfc.is_disjoint(&beyond), "{}: what is beyond the RFC is in it", listed.name);
    let accounted: BTreeSet<_> = seen.union(&never).copied().collect();
    let wanted: BTreeSet<_> = rfc.union(&beyond).copied().collect();
    assert_eq!(accounted, wanted, "{}: errors seen or excused, and those of the RFC", listed.name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_procedure_has_every_error_of_the_rfc_that_can_happen_here() {
    let mut stage = Stage::set().await;
    for listed in &PROCEDURES {
        let rows = match listed.name {
            "GETATTR" => questions::getattr(&mut stage).await,
            "SETATTR" => changes::setattr(&mut stage).await,
            "LOOKUP" => questions::lookup(&mut stage).await,
            "ACCESS" => questions::access(&mut stage).await,
            "READLINK" => questions::readlink(&mut stage).await,
            "READ" => questions::read(&mut stage).await,
            "WRITE" => changes::write(&mut stage).await,
            "CREATE" => changes::create(&mut stage).await,
            "MKDIR" => changes::mkdir(&mut stage).await,
            "SYMLINK" => changes::symlink(&mut stage).await,
            "MKNOD" => changes::mknod(&mut stage).await,
            "REMOVE" => changes::remove(&mut stage).await,
            "RMDIR" => changes::rmdir(&mut stage).await,
            "RENAME" => changes::rename(&mut stage).await,
            "LINK" => changes::link(&mut stage).await,
            "READDIR" => questions::readdir(&mut stage).await,
            "READDIRPLUS" => questions::readdirplus(&mut stage).await,
            "FSSTAT" => questions::fsstat(&mut stage).await,
            "FSINFO" => questions::fsinfo(&mut stage).await,
            "PATHCONF" => questions::pathconf(&mut stage).await,
            "COMMIT" => changes::commit(&mut stage).await,
            other => panic!("nothing provokes the errors of {other}"),
        };
        check(listed, &rows);
        println!("{}: {} errors provoked, {} excused", listed.name, rows.len(), listed.never.len());
    }
}

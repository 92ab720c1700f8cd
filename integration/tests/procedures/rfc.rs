//! The errors that RFC 1813 section 3.3 lists for each procedure, those that cannot happen here, and
//! those that are answered beyond the lists. (NULL has none. JUKEBOX, which the RFC allows everywhere
//! without listing it, is answered when something must be waited for.)

use nfs3_types::nfs3::nfsstat3::{
    self, NFS3ERR_ACCES as ACCES, NFS3ERR_BAD_COOKIE as BAD_COOKIE, NFS3ERR_BADHANDLE as BADHANDLE,
    NFS3ERR_BADTYPE as BADTYPE, NFS3ERR_DQUOT as DQUOT, NFS3ERR_EXIST as EXIST, NFS3ERR_FBIG as FBIG,
    NFS3ERR_INVAL as INVAL, NFS3ERR_IO as IO, NFS3ERR_ISDIR as ISDIR, NFS3ERR_MLINK as MLINK,
    NFS3ERR_NAMETOOLONG as NAMETOOLONG, NFS3ERR_NOENT as NOENT, NFS3ERR_NOSPC as NOSPC,
    NFS3ERR_NOT_SYNC as NOT_SYNC, NFS3ERR_NOTDIR as NOTDIR, NFS3ERR_NOTEMPTY as NOTEMPTY,
    NFS3ERR_NOTSUPP as NOTSUPP, NFS3ERR_NXIO as NXIO, NFS3ERR_PERM as PERM, NFS3ERR_ROFS as ROFS,
    NFS3ERR_SERVERFAULT as SERVERFAULT, NFS3ERR_STALE as STALE, NFS3ERR_TOOSMALL as TOOSMALL,
    NFS3ERR_XDEV as XDEV,
};

/// A status, and why it is never answered or is answered all the same.
type Because = (nfsstat3, &'static str);

/// A procedure and its errors.
pub(crate) struct Listed {
    pub(crate) name: &'static str,
    /// As the RFC has them.
    pub(crate) errors: &'static [nfsstat3],
    /// Those that cannot be provoked here.
    pub(crate) never: &'static [Because],
    /// What is answered though the RFC does not list it.
    pub(crate) beyond: &'static [Because],
}

const DAMAGE: Because = (IO, "data that is damaged everywhere, or a broken local disk: tested with damage");
const DEFECT: Because = (SERVERFAULT, "a defect: there is none that is known");
const ROOM: Because = (NOSPC, "a full dirty budget passes, so the answer is JUKEBOX");
const QUOTA: Because = (DQUOT, "adds nothing that a quota counts: another name, attributes, a hole");
const SERVED: Because = (NOTSUPP, "every procedure is served, on every directory");
const EMPTY: Because = (EXIST, "NOTEMPTY, ISDIR and NOTDIR say more exactly what is in the way");
const LINKS: Because = (MLINK, "comes with more than a million links, which takes too long");
const UNPROTECTED: Because = (ACCES, "POSIX protects a link's target only by the directories above it");
const COOKIES: Because = (BAD_COOKIE, "a cookie is good for ever: a listing goes on after it");
const DEVICES: Because = (NXIO, "device nodes are kept, not opened");
const DIRECTORY: Because = (ISDIR, "says more exactly than INVAL what is wrong; Linux answers the same");
const SUPERUSER: Because =
    (PERM, "device nodes are the superuser's to make; POSIX and Linux answer the same");
const NO_NAME: Because = (INVAL, "a name with a slash or a zero byte, of which the RFC says nothing");

pub(crate) const PROCEDURES: [Listed; 21] = [
    Listed {
        name: "GETATTR",
        errors: &[IO, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "SETATTR",
        errors: &[PERM, IO, ACCES, INVAL, NOSPC, ROFS, DQUOT, NOT_SYNC, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, ROOM, QUOTA, DEFECT],
        beyond: &[DIRECTORY, (FBIG, "a size of 2^63 and more; Linux answers the same")],
    },
    Listed {
        name: "LOOKUP",
        errors: &[IO, NOENT, ACCES, NOTDIR, NAMETOOLONG, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEFECT],
        beyond: &[NO_NAME],
    },
    Listed {
        name: "ACCESS",
        errors: &[IO, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "READLINK",
        errors: &[IO, INVAL, ACCES, STALE, BADHANDLE, NOTSUPP, SERVERFAULT],
        never: &[DAMAGE, UNPROTECTED, SERVED, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "READ",
        errors: &[IO, NXIO, ACCES, INVAL, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEVICES, DEFECT],
        beyond: &[DIRECTORY],
    },
    Listed {
        name: "WRITE",
        errors: &[IO, ACCES, FBIG, DQUOT, NOSPC, ROFS, INVAL, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, ROOM, DEFECT],
        beyond: &[DIRECTORY],
    },
    Listed {
        name: "CREATE",
        errors: &[
            IO,
            ACCES,
            EXIST,
            NOTDIR,
            NOSPC,
            ROFS,
            NAMETOOLONG,
            DQUOT,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
        ],
        never: &[DAMAGE, ROOM, SERVED, DEFECT],
        beyond: &[NO_NAME],
    },
    Listed {
        name: "MKDIR",
        errors: &[
            IO,
            ACCES,
            EXIST,
            NOTDIR,
            NOSPC,
            ROFS,
            NAMETOOLONG,
            DQUOT,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
        ],
        never: &[DAMAGE, ROOM, SERVED, DEFECT],
        beyond: &[NO_NAME],
    },
    Listed {
        name: "SYMLINK",
        errors: &[
            IO,
            ACCES,
            EXIST,
            NOTDIR,
            NOSPC,
            ROFS,
            NAMETOOLONG,
            DQUOT,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
        ],
        never: &[DAMAGE, ROOM, SERVED, DEFECT],
        beyond: &[NO_NAME],
    },
    Listed {
        name: "MKNOD",
        errors: &[
            IO,
            ACCES,
            EXIST,
            NOTDIR,
            NOSPC,
            ROFS,
            NAMETOOLONG,
            DQUOT,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
            BADTYPE,
        ],
        never: &[DAMAGE, ROOM, SERVED, DEFECT],
        beyond: &[NO_NAME, SUPERUSER],
    },
    Listed {
        name: "REMOVE",
        errors: &[NOENT, IO, ACCES, NOTDIR, NAMETOOLONG, ROFS, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEFECT],
        beyond: &[(ISDIR, "directories are removed with RMDIR; the RFC leaves the error open"), NO_NAME],
    },
    Listed {
        name: "RMDIR",
        errors: &[
            NOENT,
            IO,
            ACCES,
            INVAL,
            EXIST,
            NOTDIR,
            NAMETOOLONG,
            ROFS,
            NOTEMPTY,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
        ],
        never: &[DAMAGE, EMPTY, SERVED, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "RENAME",
        errors: &[
            NOENT,
            IO,
            ACCES,
            EXIST,
            XDEV,
            NOTDIR,
            ISDIR,
            INVAL,
            NOSPC,
            ROFS,
            MLINK,
            NAMETOOLONG,
            NOTEMPTY,
            DQUOT,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
        ],
        never: &[DAMAGE, EMPTY, ROOM, LINKS, QUOTA, SERVED, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "LINK",
        errors: &[
            IO,
            ACCES,
            EXIST,
            XDEV,
            NOTDIR,
            INVAL,
            NOSPC,
            ROFS,
            MLINK,
            NAMETOOLONG,
            DQUOT,
            STALE,
            BADHANDLE,
            NOTSUPP,
            SERVERFAULT,
        ],
        never: &[DAMAGE, ROOM, LINKS, QUOTA, SERVED, DEFECT],
        beyond: &[(PERM, "a directory has one name; POSIX and Linux answer the same")],
    },
    Listed {
        name: "READDIR",
        errors: &[IO, ACCES, NOTDIR, BAD_COOKIE, TOOSMALL, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, COOKIES, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "READDIRPLUS",
        errors: &[IO, ACCES, NOTDIR, BAD_COOKIE, TOOSMALL, STALE, BADHANDLE, NOTSUPP, SERVERFAULT],
        never: &[DAMAGE, COOKIES, SERVED, DEFECT],
        beyond: &[],
    },
    Listed {
        name: "FSSTAT",
        errors: &[IO, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEFECT],
        beyond: &[],
    },
    Listed { name: "FSINFO", errors: &[STALE, BADHANDLE, SERVERFAULT], never: &[DEFECT], beyond: &[] },
    Listed { name: "PATHCONF", errors: &[STALE, BADHANDLE, SERVERFAULT], never: &[DEFECT], beyond: &[] },
    Listed {
        name: "COMMIT",
        errors: &[IO, STALE, BADHANDLE, SERVERFAULT],
        never: &[DAMAGE, DEFECT],
        beyond: &[],
    },
];

//! Goal: every error of a view reaches the client as the status that RFC 1813 has for it, from every
//! procedure, in a reply of exactly the right shape. Method: the view fails each call with each
//! error; the numbers and lengths below are those of the RFC.

use nfs3_types::nfs3::*;
use nfs3_types::xdr_codec::Opaque;
use tidegate_protocols::view::FsError;

use crate::harness::{NFS, at, call, packed, root, serve, word};

const STATUSES: [(FsError, u32); 26] = [
    (FsError::NotOwner, 1),
    (FsError::Locked, 1),
    (FsError::NotFound, 2),
    (FsError::Io, 5),
    (FsError::Access, 13),
    (FsError::Exists, 17),
    (FsError::CrossDevice, 18),
    (FsError::NotDirectory, 20),
    (FsError::IsDirectory, 21),
    (FsError::Invalid, 22),
    (FsError::FileTooBig, 27),
    (FsError::NoSpace, 28),
    (FsError::ReadOnly, 30),
    (FsError::TooManyLinks, 31),
    (FsError::NameTooLong, 63),
    (FsError::NotEmpty, 66),
    (FsError::Quota, 69),
    (FsError::Stale, 70),
    (FsError::BadHandle, 10_001),
    (FsError::NotSync, 10_002),
    (FsError::BadCookie, 10_003),
    (FsError::NotSupported, 10_004),
    (FsError::TooSmall, 10_005),
    (FsError::ServerFault, 10_006),
    (FsError::BadType, 10_007),
    (FsError::TryLater, 10_008),
];

const NOTHING: usize = 0;
/// A post_op_attr without attributes.
const ATTRIBUTES: usize = 4;
/// A wcc_data without attributes.
const CONSISTENCY: usize = 8;

/// Number, well-formed arguments and length of a failure's results, for each procedure.
pub(crate) fn procedures() -> Vec<(u32, Vec<u8>, usize)> {
    let (name, other) = (|| at(&root(), b"name"), || at(&root(), b"other"));
    let plain = sattr3::default;
    let symlink_data = b"target".to_vec().into();
    let symlink = symlinkdata3 { symlink_attributes: plain(), symlink_data };
    let directory = READDIR3args { dir: root(), cookie: 0, cookieverf: cookieverf3([0; 8]), count: 4096 };
    let plus = READDIRPLUS3args {
        dir: root(),
        cookie: 0,
        cookieverf: cookieverf3([0; 8]),
        dircount: 4096,
        maxcount: 8192,
    };
    let write = WRITE3args {
        file: root(),
        offset: 0,
        count: 3,
        stable: stable_how::UNSTABLE,
        data: Opaque::borrowed(b"abc"),
    };
    let setattr = SETATTR3args { object: root(), new_attributes: plain(), guard: Nfs3Option::None };
    let create = CREATE3args { where_: name(), how: createhow3::GUARDED(plain()) };
    let mknod = MKNOD3args { where_: name(), what: mknoddata3::NF3FIFO(plain()) };
    vec![
        (1, packed(&GETATTR3args { object: root() }), NOTHING),
        (2, packed(&setattr), CONSISTENCY),
        (3, packed(&LOOKUP3args { what: name() }), ATTRIBUTES),
        (4, packed(&ACCESS3args { object: root(), access: 1 }), ATTRIBUTES),
        (5, packed(&READLINK3args { symlink: root() }), ATTRIBUTES),
        (6, packed(&READ3args { file: root(), offset: 0, count: 10 }), ATTRIBUTES),
        (7, packed(&write), CONSISTENCY),
        (8, packed(&create), CONSISTENCY),
        (9, packed(&MKDIR3args { where_: name(), attributes: plain() }), CONSISTENCY),
        (10, packed(&SYMLINK3args { where_: name(), symlink }), CONSISTENCY),
        (11, packed(&mknod), CONSISTENCY),
        (12, packed(&REMOVE3args { object: name() }), CONSISTENCY),
        (13, packed(&RMDIR3args { object: name() }), CONSISTENCY),
        (14, packed(&RENAME3args { from: name(), to: other() }), 2 * CONSISTENCY),
        (15, packed(&LINK3args { file: root(), link: name() }), ATTRIBUTES + CONSISTENCY),
        (16, packed(&directory), ATTRIBUTES),
        (17, packed(&plus), ATTRIBUTES),
        (18, packed(&FSSTAT3args { fsroot: root() }), ATTRIBUTES),
        (19, packed(&FSINFO3args { fsroot: root() }), ATTRIBUTES),
        (20, packed(&PATHCONF3args { object: root() }), ATTRIBUTES),
        (21, packed(&COMMIT3args { file: root(), offset: 0, count: 0 }), CONSISTENCY),
    ]
}

#[tokio::test]
async fn every_error_of_every_procedure_has_its_status_and_shape() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let mut xid = 0;
    for (procedure, arguments, shape) in procedures() {
        for (error, status) in STATUSES {
            xid += 1;
            *served.view.failure.lock() = Some(error);
            let reply = raw.exchange(&call(xid, NFS, 3, procedure, &arguments)).await;
            assert_eq!((word(&reply, 0), word(&reply, 5)), (xid, 0), "procedure {procedure} is accepted");
            assert_eq!(word(&reply, 6), status, "procedure {procedure} with {error:?}");
            assert_eq!(reply.len(), 28 + shape, "procedure {procedure} with {error:?}");
            assert!(reply[28..].iter().all(|&byte| byte == 0));
        }
    }
}

#[tokio::test]
async fn arguments_cut_short_anywhere_are_garbage_for_every_procedure() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let mut xid = 0;
    for (procedure, arguments, _) in procedures() {
        for length in (0..arguments.len()).step_by(4) {
            xid += 1;
            let reply = raw.exchange(&call(xid, NFS, 3, procedure, &arguments[..length])).await;
            assert_eq!(word(&reply, 5), 4, "procedure {procedure} with {length} bytes of arguments");
            assert_eq!(reply.len(), 24);
        }
    }
    assert!(served.view.entered.lock().is_empty());
}

#[tokio::test]
async fn values_that_the_protocol_does_not_define_are_garbage_or_a_bad_type() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let where_ = packed(&at(&root(), b"name"));
    let with = |word: u32| [where_.as_slice(), &word.to_be_bytes(), &[0; 64]].concat();
    let create = raw.exchange(&call(1, NFS, 3, 8, &with(3))).await;
    assert_eq!(word(&create, 5), 4, "createmode3 of 3");
    for (xid, kind) in [(2, 0), (3, 1), (4, 2), (5, 5), (6, 8)] {
        let mknod = raw.exchange(&call(xid, NFS, 3, 11, &with(kind))).await;
        assert_eq!((word(&mknod, 5), word(&mknod, 6)), (0, 10_007), "MKNOD of type {kind}");
    }
}

#[tokio::test]
async fn a_refusal_waits_a_moment_for_attributes_and_not_for_as_long_as_a_call_may_take() {
    let served = serve().await;
    let mut raw = served.raw().await;
    let _held = served.view.hold("GETATTR");
    let began = std::time::Instant::now();
    let mkdir = [packed(&at(&root(), b"a/b")), vec![0; 24]].concat();
    let reply = raw.exchange(&call(1, NFS, 3, 9, &mkdir)).await;
    assert_eq!((word(&reply, 5), served.view.count("GETATTR")), (0, 1), "they were asked for");
    assert_eq!((word(&reply, 6), reply.len()), (22, 28 + CONSISTENCY), "and left out");
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
}

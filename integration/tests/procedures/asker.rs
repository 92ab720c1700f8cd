//! A client that says of each call whether it was refused, and which attributes came beside that.
//!
//! Made of `nfs3_client` and `nfs3_types`, which share no code with the server.

use std::net::SocketAddr;

use nfs3_client::rpc::RpcClient;
use nfs3_client::tokio::TokioIo;
use nfs3_types::nfs3::{
    ACCESS3args, ACCESS3res, COMMIT3args, COMMIT3res, CREATE3args, CREATE3res, FSINFO3args, FSINFO3res,
    FSSTAT3args, FSSTAT3res, GETATTR3args, GETATTR3res, LINK3args, LINK3res, LOOKUP3args, LOOKUP3res,
    MKDIR3args, MKDIR3res, MKNOD3args, MKNOD3res, Nfs3Option, Nfs3Result, PATHCONF3args, PATHCONF3res,
    READ3args, READ3res, READDIR3args, READDIR3res, READDIRPLUS3args, READDIRPLUS3res, READLINK3args,
    READLINK3res, REMOVE3args, REMOVE3res, RENAME3args, RENAME3res, RMDIR3args, RMDIR3res, SETATTR3args,
    SETATTR3res, SYMLINK3args, SYMLINK3res, WRITE3args, WRITE3res, cookieverf3, createhow3, devicedata3,
    diropargs3, ftype3, mknoddata3, nfs_fh3, nfspath3, nfsstat3, nfstime3, sattr3, specdata3, stable_how,
    symlinkdata3,
};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::{Opaque, Pack, Unpack};
use tokio::net::TcpStream;
use tokio::time::timeout;

use tidegate_integration::gateway::PATIENCE;

const NFS: u32 = 100_003;

/// A name in a directory.
pub(crate) type Place<'a> = (&'a nfs_fh3, &'a [u8]);

/// What a call was answered.
pub(crate) struct Refused {
    /// `NFS3_OK` when it was not refused.
    pub(crate) status: nfsstat3,
    /// Whether attributes came, for each place where the answer has room for them.
    pub(crate) attributes: Vec<bool>,
}

/// A user of a client's machine.
pub(crate) struct Asker {
    rpc: RpcClient<TokioIo<TcpStream>>,
}

fn refused<T, E>(answer: Nfs3Result<T, E>, attributes: impl FnOnce(E) -> Vec<bool>) -> Refused {
    match answer {
        Nfs3Result::Ok(_) => Refused { status: nfsstat3::NFS3_OK, attributes: Vec::new() },
        Nfs3Result::Err((status, beside)) => Refused { status, attributes: attributes(beside) },
    }
}

/// A procedure with one object: its arguments, its answer, and where attributes are in a refusal.
macro_rules! ask {
    ($self:ident, $number:literal, $answer:ty, $arguments:expr, $($attributes:ident).+) => {{
        let answer: $answer = $self.call($number, &$arguments).await;
        refused(answer, |beside| vec![beside.$($attributes).+.is_some()])
    }};
}

impl Asker {
    /// A user of that id, in a group of the same id.
    pub(crate) async fn connect(address: SocketAddr, uid: u32) -> Self {
        let stream = TcpStream::connect(address).await.expect("it serves");
        let machinename = Opaque::owned(b"test".to_vec());
        let credential = auth_unix { stamp: 0, machinename, uid, gid: uid, gids: Vec::new() };
        let credential = opaque_auth::auth_unix(&credential);
        Self { rpc: RpcClient::new_with_auth(TokioIo::new(stream), credential, opaque_auth::default()) }
    }

    /// A call that is answered, in whatever way.
    pub(crate) async fn call<C: Pack + Send + Sync, R: Unpack>(&mut self, number: u32, arguments: &C) -> R {
        let answer = self.rpc.call::<C, R>(NFS, 3, number, arguments);
        timeout(PATIENCE, answer).await.expect("an answer in time").expect("an answer")
    }

    pub(crate) async fn getattr(&mut self, object: &nfs_fh3) -> Refused {
        let answer: GETATTR3res = self.call(1, &GETATTR3args { object: object.clone() }).await;
        refused(answer, |_| Vec::new())
    }

    pub(crate) async fn setattr(
        &mut self,
        object: &nfs_fh3,
        new_attributes: sattr3,
        guard: Option<nfstime3>,
    ) -> Refused {
        let guard = guard.map_or(Nfs3Option::None, Nfs3Option::Some);
        let arguments = SETATTR3args { object: object.clone(), new_attributes, guard };
        ask!(self, 2, SETATTR3res, arguments, obj_wcc.after)
    }

    pub(crate) async fn lookup(&mut self, what: Place<'_>) -> Refused {
        ask!(self, 3, LOOKUP3res, LOOKUP3args { what: at(what) }, dir_attributes)
    }

    pub(crate) async fn access(&mut self, object: &nfs_fh3) -> Refused {
        ask!(self, 4, ACCESS3res, ACCESS3args { object: object.clone(), access: 0x3f }, obj_attributes)
    }

    pub(crate) async fn readlink(&mut self, link: &nfs_fh3) -> Refused {
        ask!(self, 5, READLINK3res<'static>, READLINK3args { symlink: link.clone() }, symlink_attributes)
    }

    pub(crate) async fn read(&mut self, file: &nfs_fh3) -> Refused {
        let arguments = READ3args { file: file.clone(), offset: 0, count: 10 };
        ask!(self, 6, READ3res<'static>, arguments, file_attributes)
    }

    pub(crate) async fn write(&mut self, file: &nfs_fh3, offset: u64) -> Refused {
        let (file, stable) = (file.clone(), stable_how::FILE_SYNC);
        let arguments = WRITE3args { file, offset, count: 3, stable, data: Opaque::borrowed(b"abc") };
        ask!(self, 7, WRITE3res, arguments, file_wcc.after)
    }

    pub(crate) async fn create(&mut self, place: Place<'_>, how: createhow3) -> Refused {
        ask!(self, 8, CREATE3res, CREATE3args { where_: at(place), how }, dir_wcc.after)
    }

    pub(crate) async fn mkdir(&mut self, place: Place<'_>) -> Refused {
        let arguments = MKDIR3args { where_: at(place), attributes: sattr3::default() };
        ask!(self, 9, MKDIR3res, arguments, dir_wcc.after)
    }

    pub(crate) async fn symlink(&mut self, place: Place<'_>, target: &[u8]) -> Refused {
        let symlink_data = nfspath3(Opaque::owned(target.to_vec()));
        let symlink = symlinkdata3 { symlink_attributes: sattr3::default(), symlink_data };
        ask!(self, 10, SYMLINK3res, SYMLINK3args { where_: at(place), symlink }, dir_wcc.after)
    }

    pub(crate) async fn mknod(&mut self, place: Place<'_>) -> Refused {
        let arguments = MKNOD3args { where_: at(place), what: mknoddata3::NF3FIFO(sattr3::default()) };
        ask!(self, 11, MKNOD3res, arguments, dir_wcc.after)
    }

    /// MKNOD of a device.
    pub(crate) async fn mknod_device(
        &mut self,
        place: Place<'_>,
        kind: fn(devicedata3) -> mknoddata3,
    ) -> Refused {
        let spec = specdata3 { specdata1: 1, specdata2: 3 };
        let what = kind(devicedata3 { dev_attributes: sattr3::default(), spec });
        ask!(self, 11, MKNOD3res, MKNOD3args { where_: at(place), what }, dir_wcc.after)
    }

    /// MKNOD of a type that it cannot make.
    pub(crate) async fn mknod_of(&mut self, place: Place<'_>, kind: ftype3) -> Refused {
        let answer: MKNOD3res = self.call(11, &Two(at(place), kind)).await;
        refused(answer, |beside| vec![beside.dir_wcc.after.is_some()])
    }

    pub(crate) async fn remove(&mut self, place: Place<'_>) -> Refused {
        ask!(self, 12, REMOVE3res, REMOVE3args { object: at(place) }, dir_wcc.after)
    }

    pub(crate) async fn rmdir(&mut self, place: Place<'_>) -> Refused {
        ask!(self, 13, RMDIR3res, RMDIR3args { object: at(place) }, dir_wcc.after)
    }

    pub(crate) async fn rename(&mut self, from: Place<'_>, to: Place<'_>) -> Refused {
        let answer: RENAME3res = self.call(14, &RENAME3args { from: at(from), to: at(to) }).await;
        refused(answer, |beside| vec![beside.fromdir_wcc.after.is_some(), beside.todir_wcc.after.is_some()])
    }

    pub(crate) async fn link(&mut self, file: &nfs_fh3, place: Place<'_>) -> Refused {
        let answer: LINK3res = self.call(15, &LINK3args { file: file.clone(), link: at(place) }).await;
        refused(answer, |beside| vec![beside.file_attributes.is_some(), beside.linkdir_wcc.after.is_some()])
    }

    pub(crate) async fn readdir(&mut self, dir: &nfs_fh3, count: u32) -> Refused {
        let (dir, cookieverf) = (dir.clone(), cookieverf3::default());
        let arguments = READDIR3args { dir, cookie: 0, cookieverf, count };
        ask!(self, 16, READDIR3res<'static>, arguments, dir_attributes)
    }

    pub(crate) async fn readdirplus(&mut self, dir: &nfs_fh3, maxcount: u32) -> Refused {
        let (dir, cookieverf) = (dir.clone(), cookieverf3::default());
        let arguments = READDIRPLUS3args { dir, cookie: 0, cookieverf, dircount: maxcount, maxcount };
        ask!(self, 17, READDIRPLUS3res<'static>, arguments, dir_attributes)
    }

    pub(crate) async fn fsstat(&mut self, fsroot: &nfs_fh3) -> Refused {
        ask!(self, 18, FSSTAT3res, FSSTAT3args { fsroot: fsroot.clone() }, obj_attributes)
    }

    pub(crate) async fn fsinfo(&mut self, fsroot: &nfs_fh3) -> Refused {
        ask!(self, 19, FSINFO3res, FSINFO3args { fsroot: fsroot.clone() }, obj_attributes)
    }

    pub(crate) async fn pathconf(&mut self, object: &nfs_fh3) -> Refused {
        ask!(self, 20, PATHCONF3res, PATHCONF3args { object: object.clone() }, obj_attributes)
    }

    pub(crate) async fn commit(&mut self, file: &nfs_fh3) -> Refused {
        let arguments = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
        ask!(self, 21, COMMIT3res, arguments, file_wcc.after)
    }
}

/// Two things, one after the other.
struct Two<A, B>(A, B);

impl<A: Pack, B: Pack> Pack for Two<A, B> {
    fn packed_size(&self) -> usize {
        self.0.packed_size() + self.1.packed_size()
    }

    fn pack(&self, out: &mut impl std::io::Write) -> nfs3_types::xdr_codec::Result<usize> {
        Ok(self.0.pack(out)? + self.1.pack(out)?)
    }
}

/// A name in a directory, as it travels.
pub(crate) fn at((directory, name): Place<'_>) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.to_vec().into() }
}

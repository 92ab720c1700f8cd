//! A client of the gateway that was started: what is read by it was served.
//!
//! NFS version 3 (RFC 1813) over TCP, as root, read only. A call that is told to try later is tried again until
//! whoever waits has enough.

use std::net::SocketAddr;
use std::time::Duration;

use nfs3_client::tokio::TokioIo;
use nfs3_client::{MountClient, Nfs3Client};
use nfs3_types::mount::dirpath;
use nfs3_types::nfs3::{
    GETATTR3args, LOOKUP3args, Nfs3Result, READ3args, READDIR3args, cookieverf3, diropargs3, fattr3, ftype3,
    nfs_fh3, nfsstat3,
};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::Opaque;
use tokio::net::TcpStream;

use crate::runbook::world::StepFailure;

/// When a call that is told to try later is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// The longest read, in bytes.
const READ_BYTES_MAX: u32 = 512 << 10;
/// How many names are looked at to find a file with a byte in it.
const NAMES_MAX: usize = 256;

/// Why a client was not served.
#[derive(Debug)]
pub(in super::super) enum Refused {
    /// The rules of the share do not let this machine, or its root, see it.
    ToUs(String),
    /// Anything else.
    Failed(String),
}

impl From<Refused> for StepFailure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::ToUs(why) | Refused::Failed(why) => Self::passing(why),
        }
    }
}

/// A share that is mounted.
pub(in super::super) struct Mounted {
    nfs: Nfs3Client<TokioIo<TcpStream>>,
    root: nfs_fh3,
}

fn refused(doing: &str, status: nfsstat3) -> Refused {
    let why = format!("failed to {doing}: {status:?}");
    match status {
        nfsstat3::NFS3ERR_ACCES | nfsstat3::NFS3ERR_PERM => Refused::ToUs(why),
        _ => Refused::Failed(why),
    }
}

fn broken(doing: &str, error: &dyn std::fmt::Debug) -> Refused {
    Refused::Failed(format!("failed to {doing}: {error:?}"))
}

/// Makes a call until it is answered otherwise than with "try later".
macro_rules! call {
    ($client:ident . $procedure:ident ( $arguments:expr ), $doing:expr) => {{
        let arguments = $arguments;
        loop {
            match $client.nfs.$procedure(&arguments).await {
                Err(error) => break Err(broken($doing, &error)),
                Ok(Nfs3Result::Ok(value)) => break Ok(value),
                Ok(Nfs3Result::Err((nfsstat3::NFS3ERR_JUKEBOX, _))) => tokio::time::sleep(RETRY).await,
                Ok(Nfs3Result::Err((status, _))) => break Err(refused($doing, status)),
            }
        }
    }};
}

impl Mounted {
    /// Mounts an export.
    pub(in super::super) async fn connect(address: SocketAddr, export: &str) -> Result<Self, Refused> {
        let connect = || TcpStream::connect(address);
        let stream = connect().await.map_err(|error| broken("connect", &error))?;
        let path = dirpath(Opaque::owned(export.as_bytes().to_vec()));
        let mounted = MountClient::new(TokioIo::new(stream)).mnt(path).await.map_err(|error| {
            let why = format!("failed to mount {export}: {error:?}");
            if why.contains("ACCES") || why.contains("PERM") {
                Refused::ToUs(why)
            } else {
                Refused::Failed(why)
            }
        })?;
        let stream = connect().await.map_err(|error| broken("connect", &error))?;
        let credential = auth_unix {
            stamp: 0,
            machinename: Opaque::owned(b"tidegate".to_vec()),
            uid: 0,
            gid: 0,
            gids: Vec::new(),
        };
        let credential = opaque_auth::auth_unix(&credential);
        let nfs = Nfs3Client::new_with_auth(TokioIo::new(stream), credential, opaque_auth::default());
        Ok(Self { nfs, root: nfs_fh3 { data: mounted.fhandle.0 } })
    }

    /// Looks a path up from the top.
    pub(in super::super) async fn find(&mut self, path: &str) -> Result<nfs_fh3, Refused> {
        let mut found = self.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            found = self.lookup(&found, name.as_bytes()).await?;
        }
        Ok(found)
    }

    async fn lookup(&mut self, folder: &nfs_fh3, name: &[u8]) -> Result<nfs_fh3, Refused> {
        let what = diropargs3 { dir: folder.clone(), name: name.to_vec().into() };
        let doing = format!("look up {:?}", String::from_utf8_lossy(name));
        Ok(call!(self.lookup(LOOKUP3args { what }), &doing)?.object)
    }

    /// What is known of a file.
    pub(in super::super) async fn attributes(&mut self, object: &nfs_fh3) -> Result<fattr3, Refused> {
        Ok(call!(self.getattr(GETATTR3args { object: object.clone() }), "get attributes")?.obj_attributes)
    }

    /// Reads at most so many bytes; fewer only at the end of the file.
    pub(in super::super) async fn read(
        &mut self,
        file: &nfs_fh3,
        offset: u64,
        bytes: u32,
    ) -> Result<(Vec<u8>, bool), Refused> {
        let count = bytes.min(READ_BYTES_MAX);
        let read = call!(self.read(READ3args { file: file.clone(), offset, count }), "read")?;
        Ok((read.data.as_ref().to_vec(), read.eof))
    }

    /// The names of a folder after a cookie, and the cookie of the last; none of them is `.` or `..`.
    pub(in super::super) async fn names(
        &mut self,
        folder: &nfs_fh3,
        from: (u64, cookieverf3),
    ) -> Result<(Vec<Vec<u8>>, Option<(u64, cookieverf3)>), Refused> {
        let (cookie, cookieverf) = from;
        let arguments = READDIR3args { dir: folder.clone(), cookie, cookieverf, count: 32 << 10 };
        let page = call!(self.readdir(arguments), "list a folder")?;
        let mut names = Vec::new();
        let mut last = cookie;
        for entry in page.reply.entries.0 {
            last = entry.cookie;
            let name = entry.name.as_ref().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        let more = (!page.reply.eof && last != cookie).then_some((last, page.cookieverf));
        Ok((names, more))
    }

    /// Opens a name of a folder: its handle, and what it is.
    pub(in super::super) async fn open(
        &mut self,
        folder: &nfs_fh3,
        name: &[u8],
    ) -> Result<(nfs_fh3, fattr3), Refused> {
        let handle = self.lookup(folder, name).await?;
        let attributes = self.attributes(&handle).await?;
        Ok((handle, attributes))
    }

    /// Reads a byte of some file; where there is none near the top, the listing is what was served.
    pub(in super::super) async fn first_byte(mut self) -> Result<String, Refused> {
        let mut folders = vec![(self.root.clone(), String::new())];
        let mut looked = 0;
        while let Some((folder, path)) = folders.pop() {
            let (names, _) = self.names(&folder, (0, cookieverf3::default())).await?;
            for name in names {
                looked += 1;
                if looked > NAMES_MAX {
                    return Ok("its folders were listed".to_owned());
                }
                let (handle, attributes) = self.open(&folder, &name).await?;
                let place = format!("{path}/{}", String::from_utf8_lossy(&name));
                match attributes.type_ {
                    ftype3::NF3DIR => folders.push((handle, place)),
                    ftype3::NF3REG if attributes.size > 0 => match self.read(&handle, 0, 1).await {
                        Ok((byte, _)) if byte.len() == 1 => return Ok(format!("first byte read of {place}")),
                        Ok(_) => return Err(Refused::Failed(format!("no byte came of {place}"))),
                        // Somebody else's: there are others.
                        Err(Refused::ToUs(_)) => {}
                        Err(failed) => return Err(failed),
                    },
                    _ => {}
                }
            }
        }
        Ok("it has no file with a byte in it; its folders were listed".to_owned())
    }
}

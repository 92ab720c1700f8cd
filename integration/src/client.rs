//! An NFS client of one directory: `nfs3_client`, which shares no code with the server.
//!
//! Every call says whether it was answered. An error of the connection means that nobody knows whether
//! the call was done; a refusal by the server is a bug here, and panics.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nfs3_client::tokio::TokioIo;
use nfs3_client::{MountClient, Nfs3Client};
use nfs3_types::mount::dirpath;
use nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, GETATTR3args, LOOKUP3args, MKDIR3args, Nfs3Option, Nfs3Result, READ3args,
    READDIRPLUS3args, REMOVE3args, RENAME3args, SETATTR3args, WRITE3args, cookieverf3, createhow3,
    diropargs3, nfs_fh3, nfsstat3, sattr3, stable_how,
};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::Opaque;
use tokio::net::TcpStream;

use crate::gateway::SHARE;

/// The longest piece of a read or a write, in bytes.
const TRANSFER_MAX: u32 = 1 << 20;

/// The connection broke before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// What was answered, if anything was.
pub type Answer<T> = Result<T, Lost>;

/// A client of one directory in the share.
pub struct Client {
    nfs: Nfs3Client<TokioIo<TcpStream>>,
    directory: nfs_fh3,
}

impl Client {
    /// Connects to a gateway, as root, and makes the directory unless it is there.
    pub async fn connect(address: SocketAddr, directory: &str) -> Answer<Self> {
        let stream = TcpStream::connect(address).await.map_err(|_| Lost)?;
        let path = format!("/{SHARE}").into_bytes();
        let mounted = MountClient::new(TokioIo::new(stream)).mnt(dirpath(Opaque::owned(path))).await;
        let root = nfs_fh3 { data: mounted.map_err(|_| Lost)?.fhandle.0 };
        let stream = TcpStream::connect(address).await.map_err(|_| Lost)?;
        let credential = auth_unix {
            stamp: 0,
            machinename: Opaque::owned(b"test".to_vec()),
            uid: 0,
            gid: 0,
            gids: Vec::new(),
        };
        let credential = opaque_auth::auth_unix(&credential);
        let mut nfs = Nfs3Client::new_with_auth(TokioIo::new(stream), credential, opaque_auth::default());
        let attributes = sattr3 { mode: Nfs3Option::Some(0o755), ..sattr3::default() };
        let made = nfs.mkdir(&MKDIR3args { where_: at(&root, directory), attributes }).await;
        if let Nfs3Result::Err((status, _)) = made.map_err(|_| Lost)? {
            assert_eq!(status, nfsstat3::NFS3ERR_EXIST, "the directory cannot be made");
        }
        let found = nfs.lookup(&LOOKUP3args { what: at(&root, directory) }).await.map_err(|_| Lost)?;
        let directory = granted("look up the directory", found).object;
        Ok(Self { nfs, directory })
    }

    /// Makes a file, or empties the one of that name, and writes it: pieces that are not stable, then COMMIT.
    pub async fn put(&mut self, name: &str, content: &[u8]) -> Answer<()> {
        let how = createhow3::UNCHECKED(sattr3 {
            mode: Nfs3Option::Some(0o644),
            size: Nfs3Option::Some(0),
            ..sattr3::default()
        });
        let made = self.nfs.create(&CREATE3args { where_: at(&self.directory, name), how }).await;
        granted("create", made.map_err(|_| Lost)?);
        let file = self.lookup(name).await?;
        let mut first = None;
        for (index, piece) in content.chunks(TRANSFER_MAX as usize).enumerate() {
            let offset = index as u64 * u64::from(TRANSFER_MAX);
            let verifier = self.write(&file, offset, piece, stable_how::UNSTABLE).await?;
            assert_eq!(*first.get_or_insert(verifier), verifier, "the verifier changes with a restart only");
        }
        let commit = self.nfs.commit(&COMMIT3args { file, offset: 0, count: 0 }).await;
        let verifier = granted("commit", commit.map_err(|_| Lost)?).verf;
        assert!(first.is_none_or(|first| first == verifier.0), "the verifier changes with a restart only");
        Ok(())
    }

    /// Writes into a file; the answer means that it is durable.
    pub async fn write_through(&mut self, name: &str, offset: u64, data: &[u8]) -> Answer<()> {
        let file = self.lookup(name).await?;
        self.write(&file, offset, data, stable_how::FILE_SYNC).await.map(|_| ())
    }

    async fn write(
        &mut self,
        file: &nfs_fh3,
        offset: u64,
        data: &[u8],
        stable: stable_how,
    ) -> Answer<[u8; 8]> {
        let mut done = 0;
        loop {
            let rest = &data[done..];
            let arguments = WRITE3args {
                file: file.clone(),
                offset: offset + done as u64,
                count: rest.len() as u32,
                stable,
                data: Opaque::borrowed(rest),
            };
            let wrote = granted("write", self.nfs.write(&arguments).await.map_err(|_| Lost)?);
            done += wrote.count as usize;
            if done >= data.len() {
                return Ok(wrote.verf.0);
            }
        }
    }

    /// Sets the length of a file.
    pub async fn truncate(&mut self, name: &str, length: u64) -> Answer<()> {
        let object = self.lookup(name).await?;
        let new_attributes = sattr3 { size: Nfs3Option::Some(length), ..sattr3::default() };
        let arguments = SETATTR3args { object, new_attributes, guard: Nfs3Option::None };
        granted("truncate", self.nfs.setattr(&arguments).await.map_err(|_| Lost)?);
        Ok(())
    }

    /// Renames a file, over another one if there is one of that name.
    pub async fn rename(&mut self, from: &str, to: &str) -> Answer<()> {
        let arguments = RENAME3args { from: at(&self.directory, from), to: at(&self.directory, to) };
        granted("rename", self.nfs.rename(&arguments).await.map_err(|_| Lost)?);
        Ok(())
    }

    /// Removes a file.
    pub async fn remove(&mut self, name: &str) -> Answer<()> {
        let arguments = REMOVE3args { object: at(&self.directory, name) };
        granted("remove", self.nfs.remove(&arguments).await.map_err(|_| Lost)?);
        Ok(())
    }

    async fn lookup(&mut self, name: &str) -> Answer<nfs_fh3> {
        let found = self.nfs.lookup(&LOOKUP3args { what: at(&self.directory, name) }).await;
        Ok(granted("look up", found.map_err(|_| Lost)?).object)
    }

    /// Every file of the directory, with its content.
    pub async fn read_all(&mut self) -> Answer<BTreeMap<String, Vec<u8>>> {
        let mut files = BTreeMap::new();
        for name in self.names().await? {
            let file = self.lookup(&name).await?;
            files.insert(name, self.read(&file).await?);
        }
        Ok(files)
    }

    async fn names(&mut self) -> Answer<Vec<String>> {
        let (mut names, mut cookie, mut cookieverf) = (Vec::new(), 0, cookieverf3::default());
        loop {
            let dir = self.directory.clone();
            let arguments =
                READDIRPLUS3args { dir, cookie, cookieverf, dircount: 32 << 10, maxcount: 64 << 10 };
            let page = granted("list", self.nfs.readdirplus(&arguments).await.map_err(|_| Lost)?);
            cookieverf = page.cookieverf;
            for entry in page.reply.entries.0 {
                cookie = entry.cookie;
                let name = String::from_utf8(entry.name.as_ref().to_vec()).expect("names here are text");
                if name != "." && name != ".." {
                    names.push(name);
                }
            }
            if page.reply.eof {
                return Ok(names);
            }
        }
    }

    async fn read(&mut self, file: &nfs_fh3) -> Answer<Vec<u8>> {
        let found = self.nfs.getattr(&GETATTR3args { object: file.clone() }).await;
        let size = granted("get attributes", found.map_err(|_| Lost)?).obj_attributes.size;
        let mut content = Vec::new();
        loop {
            let arguments =
                READ3args { file: file.clone(), offset: content.len() as u64, count: TRANSFER_MAX };
            let piece = granted("read", self.nfs.read(&arguments).await.map_err(|_| Lost)?);
            content.extend_from_slice(piece.data.as_ref());
            if piece.eof || piece.count == 0 {
                assert_eq!(content.len() as u64, size, "a file is as long as its attributes say");
                return Ok(content);
            }
        }
    }
}

fn at(directory: &nfs_fh3, name: &str) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.as_bytes().to_vec().into() }
}

/// What a call gave, which must not be refused.
fn granted<T, E>(what: &str, result: Nfs3Result<T, E>) -> T {
    match result {
        Nfs3Result::Ok(value) => value,
        Nfs3Result::Err((status, _)) => panic!("the gateway refused to {what}: {status:?}"),
    }
}

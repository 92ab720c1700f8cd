//! An NFS client of a whole share: names are bytes, and refusals are answers.
//!
//! Built on `nfs3_client`, which shares no code with the server. A call that is told to try later is tried
//! again; one that is not answered in time, or whose connection breaks, panics: nothing here is killed
//! under a call. (For that there is `client`.)

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nfs3_client::tokio::TokioIo;
use nfs3_client::{MountClient, Nfs3Client};
use nfs3_types::mount::dirpath;
use nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, FSSTAT3args, GETATTR3args, LINK3args, LOOKUP3args, MKDIR3args, MKNOD3args,
    Nfs3Option, Nfs3Result, READ3args, READDIR3args, READDIRPLUS3args, READLINK3args, REMOVE3args,
    RENAME3args, RMDIR3args, SETATTR3args, SYMLINK3args, WRITE3args, cookieverf3, createhow3, devicedata3,
    diropargs3, fattr3, mknoddata3, nfs_fh3, nfspath3, nfsstat3, sattr3, specdata3, stable_how, symlinkdata3,
};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use nfs3_types::xdr_codec::Opaque;
use tokio::net::TcpStream;

use crate::gateway::{PATIENCE, SHARE};

/// The longest piece of a read or a write, in bytes.
pub const TRANSFER_MAX: u32 = 1 << 20;
/// When a call that is told to try later is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// What a call gave, or why it was refused.
pub type Answer<T> = Result<T, nfsstat3>;

/// Names a file to the server.
pub type Handle = nfs_fh3;

/// A file that is no regular file, directory or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// A block device.
    Block(u32, u32),
    /// A character device.
    Character(u32, u32),
    /// A socket.
    Socket,
    /// A named pipe.
    Pipe,
}

/// The room of a file system: all of it, what is free, and what may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// In bytes.
    pub bytes: [u64; 3],
    /// In inodes.
    pub files: [u64; 3],
}

/// One name of a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// The inode.
    pub inode: u64,
}

/// A connection to the share of a gateway.
pub struct Nfs {
    nfs: Nfs3Client<TokioIo<TcpStream>>,
    root: Handle,
}

/// Root, on a machine called `test`.
fn credential() -> opaque_auth<'static> {
    let credential = auth_unix {
        stamp: 0,
        machinename: Opaque::owned(b"test".to_vec()),
        uid: 0,
        gid: 0,
        gids: Vec::new(),
    };
    opaque_auth::auth_unix(&credential)
}

/// Makes a call until it is answered otherwise than with "try later".
macro_rules! call {
    ($client:ident . $procedure:ident ( $arguments:expr )) => {{
        let arguments = $arguments;
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = tokio::time::timeout(PATIENCE, $client.nfs.$procedure(&arguments)).await;
            match answer.expect("an answer in time").expect("a connection that holds") {
                Nfs3Result::Ok(value) => break Ok(value),
                Nfs3Result::Err((nfsstat3::NFS3ERR_JUKEBOX, _)) if Instant::now() < end => {
                    tokio::time::sleep(RETRY).await;
                }
                Nfs3Result::Err((status, _)) => break Err(status),
            }
        }
    }};
}

impl Nfs {
    /// Connects anew, wherever its address leads now, without mounting: the handles of before are gone on with, as the
    /// kernel of a client does.
    pub async fn reconnect(&mut self, address: SocketAddr) {
        let stream = TcpStream::connect(address).await.expect("it serves");
        self.nfs = Nfs3Client::new_with_auth(TokioIo::new(stream), credential(), opaque_auth::default());
    }

    /// Mounts the one share of most tests, as root.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::mount(address, SHARE).await
    }

    /// Mounts a share by its name, as root.
    pub async fn mount(address: SocketAddr, share: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it serves");
        let path = dirpath(Opaque::owned(format!("/{share}").into_bytes()));
        let mounted = MountClient::new(TokioIo::new(stream)).mnt(path).await.expect("it may be mounted");
        let stream = TcpStream::connect(address).await.expect("it serves");
        let nfs = Nfs3Client::new_with_auth(TokioIo::new(stream), credential(), opaque_auth::default());
        Self { nfs, root: Handle { data: mounted.fhandle.0 } }
    }

    /// The root directory.
    pub fn root(&self) -> Handle {
        self.root.clone()
    }

    /// Looks a name up.
    pub async fn lookup(&mut self, directory: &Handle, name: &[u8]) -> Answer<Handle> {
        Ok(call!(self.lookup(LOOKUP3args { what: at(directory, name) }))?.object)
    }

    /// Looks a path up, name by name from the root; the empty path is the root.
    pub async fn find(&mut self, path: &[u8]) -> Answer<Handle> {
        let mut found = self.root();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            found = self.lookup(&found, name).await?;
        }
        Ok(found)
    }

    /// The attributes of a file.
    pub async fn attributes(&mut self, object: &Handle) -> Answer<fattr3> {
        Ok(call!(self.getattr(GETATTR3args { object: object.clone() }))?.obj_attributes)
    }

    /// Sets attributes.
    pub async fn set(&mut self, object: &Handle, new_attributes: sattr3) -> Answer<()> {
        let object = object.clone();
        call!(self.setattr(SETATTR3args { object, new_attributes, guard: Nfs3Option::None })).map(drop)
    }

    /// Makes an empty file; a name that is there is refused.
    pub async fn create(&mut self, directory: &Handle, name: &[u8]) -> Answer<Handle> {
        let how = createhow3::GUARDED(mode(0o644));
        call!(self.create(CREATE3args { where_: at(directory, name), how }))?;
        self.lookup(directory, name).await
    }

    /// Makes a directory.
    pub async fn make_directory(&mut self, directory: &Handle, name: &[u8]) -> Answer<Handle> {
        call!(self.mkdir(MKDIR3args { where_: at(directory, name), attributes: mode(0o755) }))?;
        self.lookup(directory, name).await
    }

    /// Makes a symbolic link.
    pub async fn symlink(&mut self, directory: &Handle, name: &[u8], target: &[u8]) -> Answer<()> {
        let symlink_data = nfspath3(Opaque::owned(target.to_vec()));
        let symlink = symlinkdata3 { symlink_attributes: mode(0o777), symlink_data };
        call!(self.symlink(SYMLINK3args { where_: at(directory, name), symlink })).map(drop)
    }

    /// Makes a special file.
    pub async fn make_special(&mut self, directory: &Handle, name: &[u8], special: Special) -> Answer<()> {
        let dev_attributes = mode(0o600);
        let spec = |specdata1, specdata2| specdata3 { specdata1, specdata2 };
        let what = match special {
            Special::Block(major, minor) => {
                mknoddata3::NF3BLK(devicedata3 { dev_attributes, spec: spec(major, minor) })
            }
            Special::Character(major, minor) => {
                mknoddata3::NF3CHR(devicedata3 { dev_attributes, spec: spec(major, minor) })
            }
            Special::Socket => mknoddata3::NF3SOCK(dev_attributes),
            Special::Pipe => mknoddata3::NF3FIFO(dev_attributes),
        };
        call!(self.mknod(MKNOD3args { where_: at(directory, name), what })).map(drop)
    }

    /// Where a symbolic link leads.
    pub async fn target(&mut self, link: &Handle) -> Answer<Vec<u8>> {
        Ok(call!(self.readlink(READLINK3args { symlink: link.clone() }))?.data.0.to_vec())
    }

    /// Gives a file another name.
    pub async fn link(&mut self, file: &Handle, directory: &Handle, name: &[u8]) -> Answer<()> {
        call!(self.link(LINK3args { file: file.clone(), link: at(directory, name) })).map(drop)
    }

    /// Renames.
    pub async fn rename(&mut self, from: (&Handle, &[u8]), to: (&Handle, &[u8])) -> Answer<()> {
        call!(self.rename(RENAME3args { from: at(from.0, from.1), to: at(to.0, to.1) })).map(drop)
    }

    /// Removes what is no directory.
    pub async fn remove(&mut self, directory: &Handle, name: &[u8]) -> Answer<()> {
        call!(self.remove(REMOVE3args { object: at(directory, name) })).map(drop)
    }

    /// Removes a directory.
    pub async fn remove_directory(&mut self, directory: &Handle, name: &[u8]) -> Answer<()> {
        call!(self.rmdir(RMDIR3args { object: at(directory, name) })).map(drop)
    }

    /// Writes; the answer means that it is durable.
    pub async fn write(&mut self, file: &Handle, offset: u64, data: &[u8]) -> Answer<()> {
        let mut done = 0;
        while done < data.len() {
            let piece = &data[done..data.len().min(done + TRANSFER_MAX as usize)];
            done += self.write_unstable(file, offset + done as u64, piece).await?;
        }
        call!(self.commit(COMMIT3args { file: file.clone(), offset: 0, count: 0 })).map(drop)
    }

    /// Writes at most one piece, and does not wait until it is durable; how many bytes of it.
    pub async fn write_unstable(&mut self, file: &Handle, offset: u64, piece: &[u8]) -> Answer<usize> {
        let wrote = call!(self.write(WRITE3args {
            file: file.clone(),
            offset,
            count: piece.len() as u32,
            stable: stable_how::UNSTABLE,
            data: Opaque::borrowed(piece),
        }))?;
        Ok(wrote.count as usize)
    }

    /// As [`Self::write_unstable`], but told once: also "try later" is an answer.
    pub async fn try_write(&mut self, file: &Handle, offset: u64, piece: &[u8]) -> Answer<u32> {
        let arguments = WRITE3args {
            file: file.clone(),
            offset,
            count: piece.len() as u32,
            stable: stable_how::UNSTABLE,
            data: Opaque::borrowed(piece),
        };
        let answer = tokio::time::timeout(PATIENCE, self.nfs.write(&arguments)).await;
        match answer.expect("an answer in time").expect("a connection that holds") {
            Nfs3Result::Ok(wrote) => Ok(wrote.count),
            Nfs3Result::Err((status, _)) => Err(status),
        }
    }

    /// The verifier of writes: another one says that what was written unstably may be lost.
    pub async fn write_verifier(&mut self, file: &Handle) -> Answer<[u8; 8]> {
        let done = call!(self.commit(COMMIT3args { file: file.clone(), offset: 0, count: 0 }))?;
        Ok(done.verf.0)
    }

    /// How much room the file system has.
    pub async fn space(&mut self) -> Answer<Space> {
        let found = call!(self.fsstat(FSSTAT3args { fsroot: self.root() }))?;
        Ok(Space {
            bytes: [found.tbytes, found.fbytes, found.abytes],
            files: [found.tfiles, found.ffiles, found.afiles],
        })
    }

    /// Reads `length` bytes, or up to the end of the file.
    pub async fn read(&mut self, file: &Handle, offset: u64, length: u64) -> Answer<Vec<u8>> {
        let mut content = Vec::new();
        while (content.len() as u64) < length {
            let count = TRANSFER_MAX.min((length - content.len() as u64) as u32);
            let offset = offset + content.len() as u64;
            let piece = call!(self.read(READ3args { file: file.clone(), offset, count }))?;
            content.extend_from_slice(piece.data.as_ref());
            if piece.eof || piece.count == 0 {
                break;
            }
        }
        Ok(content)
    }

    /// All names of a directory but `.` and `..`, in the order in which they come.
    pub async fn list(&mut self, directory: &Handle) -> Answer<Vec<Listed>> {
        self.list_in_pages(directory, 64 << 10, true).await
    }

    /// The same in pages of at most so many bytes; with attributes (READDIRPLUS) or without (READDIR).
    pub async fn list_in_pages(
        &mut self,
        directory: &Handle,
        page_bytes: u32,
        with_attributes: bool,
    ) -> Answer<Vec<Listed>> {
        let (mut listed, mut cookie, mut cookieverf) = (Vec::new(), 0, cookieverf3::default());
        loop {
            let dir = directory.clone();
            let (page, verifier, is_last) = if with_attributes {
                let (dircount, maxcount) = (page_bytes / 2, page_bytes);
                let arguments = READDIRPLUS3args { dir, cookie, cookieverf, dircount, maxcount };
                let page = call!(self.readdirplus(arguments))?;
                let entries = page.reply.entries.0.into_iter();
                let entries: Vec<_> =
                    entries.map(|entry| (entry.cookie, entry.fileid, entry.name.as_ref().to_vec())).collect();
                (entries, page.cookieverf, page.reply.eof)
            } else {
                let page = call!(self.readdir(READDIR3args { dir, cookie, cookieverf, count: page_bytes }))?;
                let entries = page.reply.entries.0.into_iter();
                let entries: Vec<_> =
                    entries.map(|entry| (entry.cookie, entry.fileid, entry.name.as_ref().to_vec())).collect();
                (entries, page.cookieverf, page.reply.eof)
            };
            cookieverf = verifier;
            cookie = page.last().map_or(cookie, |(last, ..)| *last);
            let names = page.into_iter().filter(|(_, _, name)| name != b"." && name != b"..");
            listed.extend(names.map(|(_, inode, name)| Listed { name, inode }));
            if is_last {
                return Ok(listed);
            }
        }
    }
}

fn at(directory: &Handle, name: &[u8]) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.to_vec().into() }
}

/// Attributes with a mode and nothing else.
pub fn mode(mode: u32) -> sattr3 {
    sattr3 { mode: Nfs3Option::Some(mode), ..sattr3::default() }
}

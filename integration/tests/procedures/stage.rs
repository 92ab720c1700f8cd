//! The files that calls are refused on.

use std::fs::OpenOptions;
use std::io::Write;

use nfs3_types::nfs3::{Nfs3Option, nfs_fh3, sattr3};
use nfs3_types::xdr_codec::Opaque;
use tempfile::TempDir;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::nfs::{Nfs, Special, mode};

use crate::asker::Asker;

/// A user who owns nothing.
const USER: u32 = 1000;

/// A share with files, another one, one that is read-only, and one with a quota that is used up.
const SHARES: &str = "\n[[share]]\nname = \"other\"\nrpo = \"1s\"\nsquash = \"none\"\n\
                      \n[[share]]\nname = \"frozen\"\nrpo = \"1s\"\nsquash = \"none\"\nread_only = true\n\
                      \n[[share]]\nname = \"used\"\nrpo = \"1s\"\nsquash = \"none\"\n\
                      quota = { bytes = { hard = \"4KiB\" }, inodes = { hard = 2 } }\n";

/// Everything belongs to root; a user may look at it, and change nothing but the names in one directory.
pub(crate) struct Stage {
    pub(crate) root: Asker,
    pub(crate) user: Asker,
    pub(crate) files: Files,
    _gateway: Gateway,
    _folder: TempDir,
}

/// Handles.
pub(crate) struct Files {
    /// The root of the share; it holds what is named like the fields below.
    pub(crate) top: nfs_fh3,
    /// A file that everybody may read.
    pub(crate) file: nfs_fh3,
    /// A file that nobody else may read or write.
    pub(crate) secret: nfs_fh3,
    /// A directory that nobody else may read, search or write.
    pub(crate) closed: nfs_fh3,
    /// A directory in which everybody may make names.
    pub(crate) shared: nfs_fh3,
    /// A directory with `inside`, a directory too.
    pub(crate) full: nfs_fh3,
    /// That directory.
    pub(crate) inside: nfs_fh3,
    pub(crate) link: nfs_fh3,
    pub(crate) pipe: nfs_fh3,
    /// A file, and a directory, that were removed.
    pub(crate) gone: nfs_fh3,
    pub(crate) gone_directory: nfs_fh3,
    /// Not a handle of this server.
    pub(crate) junk: nfs_fh3,
    /// The root of another share, and that of one that is read-only.
    pub(crate) other: nfs_fh3,
    pub(crate) frozen: nfs_fh3,
    pub(crate) used: Used,
}

/// A share whose quota leaves nothing.
pub(crate) struct Used {
    pub(crate) top: nfs_fh3,
    /// A file that has all the bytes.
    pub(crate) file: nfs_fh3,
}

impl Used {
    async fn fill(nfs: &mut Nfs) -> Self {
        let top = nfs.root();
        let file = nfs.create(&top, b"file").await.expect("a file, and with the root two inodes");
        nfs.write(&file, 0, &[7; 4096]).await.expect("all the bytes");
        Self { top, file }
    }
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut gateway = Gateway::create(folder.path());
        let mut settings = OpenOptions::new().append(true).open(gateway.settings()).expect("its settings");
        settings.write_all(SHARES.as_bytes()).expect("they can be changed");
        gateway.start();
        let address = gateway.address();
        let files = Files::make(
            &mut Nfs::connect(address).await,
            Nfs::mount(address, "other").await.root(),
            Nfs::mount(address, "frozen").await.root(),
            Used::fill(&mut Nfs::mount(address, "used").await).await,
        )
        .await;
        let (root, user) = (Asker::connect(address, 0).await, Asker::connect(address, USER).await);
        Self { root, user, files, _gateway: gateway, _folder: folder }
    }
}

impl Files {
    async fn make(nfs: &mut Nfs, other: nfs_fh3, frozen: nfs_fh3, used: Used) -> Self {
        let top = nfs.root();
        let file = nfs.create(&top, b"file").await.expect("a file");
        let secret = nfs.create(&top, b"secret").await.expect("a file");
        nfs.set(&secret, mode(0o600)).await.expect("its mode");
        let closed = nfs.make_directory(&top, b"closed").await.expect("a directory");
        nfs.set(&closed, mode(0o700)).await.expect("its mode");
        let shared = nfs.make_directory(&top, b"shared").await.expect("a directory");
        nfs.set(&shared, mode(0o777)).await.expect("its mode");
        let full = nfs.make_directory(&top, b"full").await.expect("a directory");
        let inside = nfs.make_directory(&full, b"inside").await.expect("a directory");
        nfs.make_directory(&top, b"empty").await.expect("a directory");
        nfs.symlink(&top, b"link", b"file").await.expect("a link");
        nfs.make_special(&top, b"pipe", Special::Pipe).await.expect("a pipe");
        let (link, pipe) = (nfs.find(b"link").await, nfs.find(b"pipe").await);
        let gone = nfs.create(&top, b"gone").await.expect("a file");
        nfs.remove(&top, b"gone").await.expect("it can be removed");
        let gone_directory = nfs.make_directory(&top, b"gone").await.expect("a directory");
        nfs.remove_directory(&top, b"gone").await.expect("it can be removed");
        Self {
            file,
            secret,
            closed,
            shared,
            full,
            inside,
            link: link.expect("it is there"),
            pipe: pipe.expect("it is there"),
            gone,
            gone_directory,
            junk: nfs_fh3 { data: Opaque::owned(vec![7; top.data.0.len()]) },
            top,
            other,
            frozen,
            used,
        }
    }
}

/// A name that is too long by one byte.
pub(crate) const LONG: [u8; 256] = [b'n'; 256];

/// Attributes with a size and nothing else.
pub(crate) fn size(size: u64) -> sattr3 {
    sattr3 { size: Nfs3Option::Some(size), ..sattr3::default() }
}

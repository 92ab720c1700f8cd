//! What a machine has mounted: the gateway's exports, through an NFS client of the test.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use nfs3_types::nfs3::{Nfs3Option, nfsstat3, sattr3};
use tidegate_integration::nfs::{Handle, Nfs};
use tokio::runtime::Runtime;

/// See the head of this file.
pub(crate) struct Mounted {
    address: SocketAddr,
    /// Folders, and the shares that are mounted there.
    shares: BTreeMap<String, String>,
    runtime: Arc<Runtime>,
}

impl Mounted {
    pub(crate) const fn new(address: SocketAddr, runtime: Arc<Runtime>) -> Self {
        Self { address, shares: BTreeMap::new(), runtime }
    }

    /// As `mount -t nfs` with these options: they must lead to this gateway, in its version and without locks, and the export be granted.
    pub(crate) fn mount(&mut self, options: &str, export: &str, at: &str) {
        let has = |option: &str| options.split(',').any(|given| given == option);
        let port = self.address.port();
        for option in ["vers=3", "nolock", &format!("port={port}"), &format!("mountport={port}")] {
            assert!(has(option), "the mount has no {option}: {options}");
        }
        let share = export.split_once(":/").map(|(_, share)| share).expect("a host and an export");
        self.shares.insert(at.to_owned(), share.to_owned());
        self.runtime.block_on(Nfs::mount(self.address, share));
    }

    /// The same on a machine where somebody else has mounted it.
    pub(crate) fn assume(&mut self, share: &str, at: &Path) {
        self.shares.insert(at.display().to_string(), share.to_owned());
    }

    /// Whether a path lies in what is mounted.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.place(path).is_some()
    }

    /// The share of a path, and the path in it.
    fn place(&self, path: &str) -> Option<(&str, String)> {
        self.shares.iter().find_map(|(at, share)| {
            let inside = path.strip_prefix(at.as_str())?;
            (inside.is_empty() || inside.starts_with('/')).then(|| (share.as_str(), inside.to_owned()))
        })
    }

    fn of(&self, path: &str) -> (&str, String) {
        self.place(path).unwrap_or_else(|| panic!("{path} is in no mount"))
    }

    /// The names in a directory.
    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        let (share, inside) = self.of(path);
        self.runtime.block_on(async {
            let mut nfs = Nfs::mount(self.address, share).await;
            let directory = nfs.find(inside.as_bytes()).await.expect("it is there");
            let listed = nfs.list(&directory).await.expect("it can be listed");
            listed.into_iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
        })
    }

    /// As `cp`: from or to a mount; the target is a file, or a directory where it ends with a slash.
    pub(crate) fn copy(&self, folder: &Path, from: &str, to: &str) {
        let content =
            if self.has(from) { self.read(from) } else { fs::read(folder.join(from)).expect("a file") };
        let name = from.rsplit('/').next().expect("a name");
        let to = if to.ends_with('/') { format!("{to}{name}") } else { to.to_owned() };
        if self.has(&to) {
            self.write(&to, &content);
        } else {
            fs::write(folder.join(to), content).expect("a writable folder");
        }
    }

    /// What a file holds.
    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        let (share, inside) = self.of(path);
        self.runtime.block_on(async {
            let mut nfs = Nfs::mount(self.address, share).await;
            let file = nfs.find(inside.as_bytes()).await.unwrap_or_else(|why| panic!("{path}: {why:?}"));
            let size = nfs.attributes(&file).await.expect("attributes").size;
            nfs.read(&file, 0, size).await.expect("it can be read")
        })
    }

    /// Writes a file, durably; directories on the way are made.
    pub(crate) fn write(&self, path: &str, content: &[u8]) {
        let (share, inside) = self.of(path);
        self.runtime.block_on(async {
            let mut nfs = Nfs::mount(self.address, share).await;
            let (folders, name) = inside.rsplit_once('/').expect("a path");
            let mut directory = nfs.root();
            for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
                directory = match nfs.lookup(&directory, folder.as_bytes()).await {
                    Err(nfsstat3::NFS3ERR_NOENT) => {
                        nfs.make_directory(&directory, folder.as_bytes()).await.expect("a directory")
                    }
                    found => found.expect("a directory"),
                };
            }
            let file = open_or_create(&mut nfs, &directory, name.as_bytes()).await;
            nfs.write(&file, 0, content).await.expect("it can be written");
        });
    }
}

async fn open_or_create(nfs: &mut Nfs, directory: &Handle, name: &[u8]) -> Handle {
    match nfs.lookup(directory, name).await {
        Err(nfsstat3::NFS3ERR_NOENT) => {
            nfs.create(directory, name).await.unwrap_or_else(|why| panic!("it may not be made: {why:?}"))
        }
        found => {
            let found = found.expect("it is there");
            let empty = sattr3 { size: Nfs3Option::Some(0), ..sattr3::default() };
            nfs.set(&found, empty).await.expect("it can be emptied");
            found
        }
    }
}

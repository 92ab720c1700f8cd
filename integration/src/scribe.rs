//! Writes files over NFS and keeps account of what must be there.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nfs3_types::nfs3::{Nfs3Option, nfstime3, sattr3, set_mtime};

use crate::manifest::{Line, Manifest, Moment, digest};
use crate::nfs::{Handle, Nfs, Special, mode};
use crate::reader::hex;

/// What a file is.
#[derive(Clone, Debug)]
enum Content {
    Directory,
    Data(Vec<u8>),
    Link(Vec<u8>),
    Special(Special),
}

#[derive(Clone, Debug)]
struct Node {
    mode: u32,
    owner: (u32, u32),
    modified: Option<Moment>,
    content: Content,
}

/// What must be there. Clone it, and it is what must be there at that moment.
#[derive(Clone, Debug)]
pub struct Account {
    names: BTreeMap<Vec<u8>, usize>,
    nodes: Vec<Node>,
}

impl Account {
    fn new() -> Self {
        let root = Node { mode: 0o755, owner: (0, 0), modified: None, content: Content::Directory };
        Self { names: BTreeMap::from([(Vec::new(), 0)]), nodes: vec![root] }
    }

    fn add(&mut self, path: &[u8], mode: u32, content: Content) {
        self.names.insert(path.to_vec(), self.nodes.len());
        self.nodes.push(Node { mode, owner: (0, 0), modified: None, content });
        self.touch_parent(path);
    }

    fn touch_parent(&mut self, path: &[u8]) {
        let parent = self.names[split(path).0];
        self.nodes[parent].modified = None;
    }

    fn node(&mut self, path: &[u8]) -> &mut Node {
        &mut self.nodes[self.names[path]]
    }

    fn data(&mut self, path: &[u8]) -> &mut Vec<u8> {
        let node = self.node(path);
        node.modified = None;
        match &mut node.content {
            Content::Data(data) => data,
            other => panic!("no data but {other:?}"),
        }
    }

    /// As a manifest.
    pub fn manifest(&self) -> Manifest {
        let mut first = BTreeMap::new();
        let mut manifest = Manifest::new();
        for (path, node) in &self.names {
            let first = first.entry(node).or_insert_with(|| path.clone()).clone();
            manifest.insert(path.clone(), self.line(path, *node, first));
        }
        manifest
    }

    fn line(&self, path: &[u8], node: usize, first: Vec<u8>) -> Line {
        let links = self.names.values().filter(|other| **other == node).count() as u32;
        let Node { mode, owner, modified, content } = self.nodes[node].clone();
        let mut line = Line {
            kind: 1,
            mode,
            links,
            owner,
            size: 0,
            modified,
            device: (0, 0),
            content: String::new(),
            first,
        };
        match content {
            Content::Directory => {
                line.kind = 2;
                line.links = 2 + self.subdirectories(path);
            }
            Content::Data(data) => {
                line.size = data.len() as u64;
                line.content = digest(&data);
            }
            Content::Link(target) => {
                line.kind = 5;
                line.size = target.len() as u64;
                line.content = hex(&target);
            }
            Content::Special(Special::Block(major, minor)) => {
                (line.kind, line.device) = (3, (major, minor));
            }
            Content::Special(Special::Character(major, minor)) => {
                (line.kind, line.device) = (4, (major, minor));
            }
            Content::Special(Special::Socket) => line.kind = 6,
            Content::Special(Special::Pipe) => line.kind = 7,
        }
        line
    }

    fn subdirectories(&self, path: &[u8]) -> u32 {
        let is_in = |below: &[u8]| !below.is_empty() && split(below).0 == path;
        let directories =
            self.names.iter().filter(|(_, node)| matches!(self.nodes[**node].content, Content::Directory));
        directories.filter(|(below, _)| is_in(below)).count() as u32
    }
}

/// Directory and name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A client that writes and remembers. What it does must be granted.
pub struct Scribe {
    nfs: Nfs,
    account: Account,
}

impl Scribe {
    /// Mounts a share that is empty.
    pub async fn connect(address: SocketAddr) -> Self {
        Self { nfs: Nfs::connect(address).await, account: Account::new() }
    }

    /// Mounts the same share again.
    pub async fn reconnect(&mut self, address: SocketAddr) {
        self.nfs = Nfs::connect(address).await;
    }

    /// The connection, for whoever only reads.
    pub const fn nfs(&mut self) -> &mut Nfs {
        &mut self.nfs
    }

    /// What must be there.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    async fn place<'a>(&mut self, path: &'a [u8]) -> (Handle, &'a [u8]) {
        let (directory, name) = split(path);
        (self.nfs.find(directory).await.expect("the directory is there"), name)
    }

    async fn find(&mut self, path: &[u8]) -> Handle {
        self.nfs.find(path).await.expect("it is there")
    }

    /// Makes a directory.
    pub async fn directory(&mut self, path: impl AsRef<[u8]>) {
        let path = path.as_ref();
        let (directory, name) = self.place(path).await;
        self.nfs.make_directory(&directory, name).await.expect("a directory can be made");
        self.account.add(path, 0o755, Content::Directory);
    }

    /// Makes a file.
    pub async fn file(&mut self, path: impl AsRef<[u8]>, content: &[u8]) {
        let path = path.as_ref();
        let (directory, name) = self.place(path).await;
        let file = self.nfs.create(&directory, name).await.expect("a file can be made");
        self.account.add(path, 0o644, Content::Data(Vec::new()));
        self.nfs.write(&file, 0, content).await.expect("a file can be written");
        self.account.data(path).extend_from_slice(content);
    }

    /// Writes a piece of a file.
    pub async fn write(&mut self, path: impl AsRef<[u8]>, offset: usize, piece: &[u8]) {
        let path = path.as_ref();
        let file = self.find(path).await;
        self.nfs.write(&file, offset as u64, piece).await.expect("a file can be written");
        let data = self.account.data(path);
        data.resize(data.len().max(offset + piece.len()), 0);
        data[offset..offset + piece.len()].copy_from_slice(piece);
    }

    /// Sets the length of a file.
    pub async fn truncate(&mut self, path: impl AsRef<[u8]>, length: usize) {
        let path = path.as_ref();
        let file = self.find(path).await;
        let set = sattr3 { size: Nfs3Option::Some(length as u64), ..sattr3::default() };
        self.nfs.set(&file, set).await.expect("a file can be cut");
        self.account.data(path).resize(length, 0);
    }

    /// Makes a symbolic link.
    pub async fn symlink(&mut self, path: impl AsRef<[u8]>, target: &[u8]) {
        let path = path.as_ref();
        let (directory, name) = self.place(path).await;
        self.nfs.symlink(&directory, name, target).await.expect("a link can be made");
        self.account.add(path, 0o777, Content::Link(target.to_vec()));
    }

    /// Makes a special file.
    pub async fn special(&mut self, path: impl AsRef<[u8]>, special: Special) {
        let path = path.as_ref();
        let (directory, name) = self.place(path).await;
        self.nfs.make_special(&directory, name, special).await.expect("a special file can be made");
        self.account.add(path, 0o600, Content::Special(special));
    }

    /// Gives a file another name.
    pub async fn link(&mut self, path: impl AsRef<[u8]>, other: impl AsRef<[u8]>) {
        let (path, other) = (path.as_ref(), other.as_ref());
        let file = self.find(path).await;
        let (directory, name) = self.place(other).await;
        self.nfs.link(&file, &directory, name).await.expect("a link can be made");
        self.account.names.insert(other.to_vec(), self.account.names[path]);
        self.account.touch_parent(other);
    }

    /// Renames what has nothing below it.
    pub async fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (old, new) = (self.place(from).await, self.place(to).await);
        self.nfs.rename((&old.0, old.1), (&new.0, new.1)).await.expect("it can be renamed");
        let node = self.account.names.remove(from).expect("it was there");
        self.account.names.insert(to.to_vec(), node);
        self.account.touch_parent(from);
        self.account.touch_parent(to);
    }

    /// Removes what is no directory.
    pub async fn remove(&mut self, path: impl AsRef<[u8]>) {
        let path = path.as_ref();
        let (directory, name) = self.place(path).await;
        self.nfs.remove(&directory, name).await.expect("it can be removed");
        self.account.names.remove(path);
        self.account.touch_parent(path);
    }

    /// Sets mode and owner.
    pub async fn own(&mut self, path: impl AsRef<[u8]>, bits: u32, owner: (u32, u32)) {
        let path = path.as_ref();
        let object = self.find(path).await;
        let set = sattr3 { uid: Nfs3Option::Some(owner.0), gid: Nfs3Option::Some(owner.1), ..mode(bits) };
        self.nfs.set(&object, set).await.expect("root may");
        (self.account.node(path).mode, self.account.node(path).owner) = (bits, owner);
    }

    /// Sets the time of the last change of the data.
    pub async fn modified(&mut self, path: impl AsRef<[u8]>, seconds: u32, nseconds: u32) {
        let path = path.as_ref();
        let object = self.find(path).await;
        let mtime = set_mtime::SET_TO_CLIENT_TIME(nfstime3 { seconds, nseconds });
        self.nfs.set(&object, sattr3 { mtime, ..sattr3::default() }).await.expect("root may");
        self.account.node(path).modified = Some((i64::from(seconds), nseconds));
    }
}

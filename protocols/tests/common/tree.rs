//! The tree of the file system in memory: what is in it and how it is read.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tidegate_protocols::view::{
    Attributes, Before, Caller, Device, DirectoryEntry, DirectoryPage, Failure, FileKind, Found, FsError,
    Handle, PageLimit, ReadData, Time,
};

const ROOT: u64 = 1;
const FSID: u64 = 0x7464;
const COOKIE_VERIFIER: [u8; 8] = *b"cookies!";
/// The first cookie after those of "." and "..".
const FIRST_COOKIE: u64 = 3;

/// What a file holds.
#[derive(Clone, Debug)]
pub enum Content {
    Regular(Vec<u8>),
    /// Name to cookie and inode.
    Directory(BTreeMap<Bytes, (u64, u64)>),
    Symlink(Bytes),
    Node(FileKind, Device),
}

/// A file.
#[derive(Clone, Debug)]
pub struct Inode {
    pub content: Content,
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub accessed: Time,
    pub modified: Time,
    pub changed: Time,
    pub created_by: Option<[u8; 8]>,
    pub parent: u64,
}

/// All files.
#[derive(Debug)]
pub struct Tree {
    pub inodes: BTreeMap<u64, Inode>,
    pub last_inode: u64,
    pub last_cookie: u64,
    clock: Time,
}

impl Tree {
    pub fn new() -> Self {
        let mut tree = Self {
            inodes: BTreeMap::new(),
            last_inode: ROOT,
            last_cookie: FIRST_COOKIE,
            clock: Time::default(),
        };
        let now = tree.now();
        let root = Inode {
            content: Content::Directory(BTreeMap::new()),
            mode: 0o777,
            links: 2,
            uid: 0,
            gid: 0,
            accessed: now,
            modified: now,
            changed: now,
            created_by: None,
            parent: ROOT,
        };
        tree.inodes.insert(ROOT, root);
        tree
    }

    /// The time, later than at every earlier call.
    pub fn now(&mut self) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
        let wall = Time { seconds: since.as_secs() as i64, nanos: since.subsec_nanos() };
        let mut next = Time { nanos: self.clock.nanos + 1, ..self.clock };
        if next.nanos == 1_000_000_000 {
            next = Time { seconds: next.seconds + 1, nanos: 0 };
        }
        self.clock = wall.max(next);
        self.clock
    }

    pub fn handle(inode: u64) -> Handle {
        Handle::new([inode.to_be_bytes(), *b"tidegate"].concat()).expect("sixteen bytes")
    }

    pub fn inode_of(&self, handle: &Handle) -> Result<u64, FsError> {
        let (number, check) = handle.as_bytes().split_first_chunk::<8>().ok_or(FsError::BadHandle)?;
        if check != b"tidegate" {
            return Err(FsError::BadHandle);
        }
        let number = u64::from_be_bytes(*number);
        if self.inodes.contains_key(&number) { Ok(number) } else { Err(FsError::Stale) }
    }

    pub fn get(&self, handle: &Handle) -> Result<&Inode, FsError> {
        Ok(&self.inodes[&self.inode_of(handle)?])
    }

    pub fn get_mut(&mut self, handle: &Handle) -> Result<&mut Inode, FsError> {
        let number = self.inode_of(handle)?;
        self.inodes.get_mut(&number).ok_or(FsError::Stale)
    }

    pub fn attributes(&self, handle: &Handle) -> Result<Attributes, FsError> {
        self.inode_of(handle).map(|number| self.attributes_of(number))
    }

    pub fn attributes_of(&self, number: u64) -> Attributes {
        let inode = &self.inodes[&number];
        let size = match &inode.content {
            Content::Regular(data) => data.len() as u64,
            Content::Directory(entries) => 4096 + 64 * entries.len() as u64,
            Content::Symlink(target) => target.len() as u64,
            Content::Node(..) => 0,
        };
        Attributes {
            kind: inode.kind(),
            mode: inode.mode,
            links: inode.links,
            uid: inode.uid,
            gid: inode.gid,
            size,
            used: size,
            device: if let Content::Node(_, device) = inode.content { device } else { Device::default() },
            fsid: FSID,
            file_id: number,
            generation: 1,
            change: 1,
            accessed: inode.accessed,
            modified: inode.modified,
            changed: inode.changed,
            born: inode.changed,
        }
    }

    pub fn before(&self, handle: &Handle) -> Result<Before, FsError> {
        let Attributes { size, modified, changed, .. } = self.attributes(handle)?;
        Ok(Before { size, modified, changed })
    }

    pub fn entries(&self, directory: u64) -> Result<&BTreeMap<Bytes, (u64, u64)>, FsError> {
        match &self.inodes[&directory].content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(FsError::NotDirectory),
        }
    }

    pub fn child(&self, directory: u64, name: &[u8]) -> Result<u64, FsError> {
        let entries = self.entries(directory)?;
        match name {
            b"." => Ok(directory),
            b".." => Ok(self.inodes[&directory].parent),
            name => entries.get(name).map(|entry| entry.1).ok_or(FsError::NotFound),
        }
    }

    pub fn walk(&self, path: &[u8]) -> Result<Handle, FsError> {
        let mut names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty());
        names.try_fold(ROOT, |directory, name| self.child(directory, name)).map(Self::handle)
    }

    pub fn lookup(&self, directory: &Handle, name: &[u8]) -> Result<Found, Failure> {
        let number = self.inode_of(directory)?;
        let attributes = self.attributes_of(number);
        let failed = |error| Failure { error, attributes: Some(attributes) };
        let child = self.child(number, name).map_err(failed)?;
        Ok(Found {
            handle: Self::handle(child),
            attributes: self.attributes_of(child),
            directory: attributes,
        })
    }

    pub fn read_link(&self, link: &Handle) -> Result<(Bytes, Attributes), Failure> {
        let attributes = self.attributes(link)?;
        match &self.get(link)?.content {
            Content::Symlink(target) => Ok((target.clone(), attributes)),
            _ => Err(Failure { error: FsError::Invalid, attributes: Some(attributes) }),
        }
    }

    pub fn read(&self, file: &Handle, offset: u64, count: u32) -> Result<ReadData, Failure> {
        let attributes = self.attributes(file)?;
        let data = match &self.get(file)?.content {
            Content::Regular(data) => data,
            Content::Directory(_) => {
                return Err(Failure { error: FsError::IsDirectory, attributes: Some(attributes) });
            }
            _ => return Err(Failure { error: FsError::Invalid, attributes: Some(attributes) }),
        };
        let start = offset.min(data.len() as u64) as usize;
        let end = (start + count as usize).min(data.len());
        // In two pieces of odd lengths, to try the vectored reply.
        let middle = start + (end - start) / 3;
        let pieces =
            vec![Bytes::copy_from_slice(&data[start..middle]), Bytes::copy_from_slice(&data[middle..end])];
        Ok(ReadData { pieces, end: end == data.len(), attributes })
    }

    pub fn page(
        &self,
        directory: &Handle,
        cookie: u64,
        verifier: [u8; 8],
        limit: PageLimit,
    ) -> Result<DirectoryPage, Failure> {
        let number = self.inode_of(directory)?;
        let attributes = self.attributes_of(number);
        let failed = |error| Failure { error, attributes: Some(attributes) };
        let entries = self.entries(number).map_err(failed)?;
        if verifier != [0; 8] && verifier != COOKIE_VERIFIER {
            return Err(failed(FsError::BadCookie));
        }
        let dots = [
            (1, (number, Bytes::from_static(b"."))),
            (2, (self.inodes[&number].parent, Bytes::from_static(b".."))),
        ];
        let named = entries.iter().map(|(name, &(cookie, inode))| (cookie, (inode, name.clone())));
        let all: BTreeMap<u64, (u64, Bytes)> = dots.into_iter().chain(named).collect();
        let mut rest = all.range((Bound::Excluded(cookie), Bound::Unbounded));
        let entries = rest.by_ref().take(limit.entries).map(|(&cookie, (inode, name))| DirectoryEntry {
            file_id: *inode,
            name: name.clone(),
            cookie,
            object: limit.with_objects.then(|| (Self::handle(*inode), self.attributes_of(*inode))),
        });
        let entries = entries.collect();
        let end = rest.next().is_none();
        Ok(DirectoryPage { entries, end, verifier: COOKIE_VERIFIER, directory: attributes })
    }
}

impl Inode {
    pub fn kind(&self) -> FileKind {
        match &self.content {
            Content::Regular(_) => FileKind::Regular,
            Content::Directory(_) => FileKind::Directory,
            Content::Symlink(_) => FileKind::Symlink,
            Content::Node(kind, _) => *kind,
        }
    }
}

/// The ACCESS3 bits that mode bits give to a caller.
pub fn granted(attributes: &Attributes, caller: &Caller) -> u32 {
    let shift = if caller.uid == 0 || caller.uid == attributes.uid {
        6
    } else if caller.gid == attributes.gid || caller.gids.contains(&attributes.gid) {
        3
    } else {
        0
    };
    let bits = attributes.mode >> shift;
    let directory = attributes.kind == FileKind::Directory;
    let read = u32::from(bits & 4 != 0);
    let write = if bits & 2 != 0 { 0x04 | 0x08 | if directory { 0x10 } else { 0 } } else { 0 };
    let execute = if bits & 1 != 0 { if directory { 0x02 } else { 0x20 } } else { 0 };
    read | write | execute
}

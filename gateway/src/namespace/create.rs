//! Making files, directories, links: everything that adds a name.

use bytes::Bytes;
use tidegate_protocols::view::{CreateHow, FsError, LINKS_MAX, PATH_BYTES_MAX, SetAttributes};
use tidegate_replicator::map::{Cookie, Device, Entry, Inode, InodeNumber, Key, Kind};

use super::permission::{SET_GID, WRITE};
use super::{Around, Context, EXECUTE, Namespace, Node, Outcome, check_name, touch, touch_content};
use crate::share::Transaction;

/// How often a CREATE finds its name now taken and now free, because others make and remove it, before its
/// client is told to try later.
const CREATE_ATTEMPTS: usize = 64;

/// What is to be made, apart from its name.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its kind.
    pub kind: Kind,
    /// For device nodes.
    pub device: Device,
    /// Of a symbolic link.
    pub target: Bytes,
    /// Attributes to begin with.
    pub set: SetAttributes,
}

impl NewFile {
    /// A new file of a kind, with attributes.
    pub fn new(kind: Kind, set: SetAttributes) -> Self {
        Self { kind, device: Device::default(), target: Bytes::new(), set }
    }
}

impl Namespace {
    /// Creates a regular file (RFC 1813 section 3.3.8).
    pub async fn create(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
        how: CreateHow,
    ) -> Result<Outcome, FsError> {
        let (set, verifier) = match how {
            CreateHow::Unchecked(set) | CreateHow::Guarded(set) => (set, None),
            CreateHow::Exclusive(verifier) => (SetAttributes::default(), Some(verifier)),
        };
        for _ in 0..CREATE_ATTEMPTS {
            let new = NewFile::new(Kind::Regular, set);
            match self.make(context, directory, name, new, verifier).await {
                Err(FsError::Exists) if !matches!(how, CreateHow::Guarded(_)) => {}
                made => return made,
            }
            if let Some(outcome) = self.create_over(context, directory, name, how).await? {
                return Ok(outcome);
            }
        }
        Err(FsError::TryLater)
    }

    /// The name is taken: that may still be what was asked for. None when it is free again, or leads
    /// elsewhere, by the time that it is looked at.
    async fn create_over(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
        how: CreateHow,
    ) -> Result<Option<Outcome>, FsError> {
        let Some(found) = self.lookup_taken(context, directory, name).await? else { return Ok(None) };
        let locks = self.share.locks().lock(&[directory, found]).await;
        let parent = self.reader().directory(directory).await?;
        let found = match self.reader().lookup(&parent, name, context.credentials).await {
            Ok(now) if now.number == found => now,
            Ok(_) | Err(FsError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        };
        let as_it_is = || Around { before: parent.inode.clone(), after: parent.clone() };
        let outcome = |object| Outcome { object: Some(object), first: as_it_is(), second: None };
        match how {
            CreateHow::Exclusive(verifier) if found.inode.create_verifier == Some(verifier) => {}
            CreateHow::Guarded(_) | CreateHow::Exclusive(_) => return Err(FsError::Exists),
            CreateHow::Unchecked(SetAttributes { size: Some(size), .. })
                if found.inode.kind == Kind::Regular =>
            {
                let set = SetAttributes { size: Some(size), ..SetAttributes::default() };
                let (transaction, object) = self.changed_attributes(context, &found, set).await?;
                return self.finish(context, locks, transaction, outcome(object)).await.map(Some);
            }
            CreateHow::Unchecked(_) => {}
        }
        drop(locks);
        self.sync_all().await?;
        Ok(Some(outcome(found)))
    }

    /// What a name leads to that was taken a moment ago.
    async fn lookup_taken(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
    ) -> Result<Option<InodeNumber>, FsError> {
        let parent = self.reader().directory(directory).await?;
        match self.reader().lookup(&parent, name, context.credentials).await {
            Ok(found) => Ok(Some(found.number)),
            Err(FsError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a file of any kind under a name that must be free.
    pub async fn make(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
        new: NewFile,
        verifier: Option<[u8; 8]>,
    ) -> Result<Outcome, FsError> {
        if matches!(name, b"." | b"..") {
            return Err(FsError::Exists);
        }
        check_name(name)?;
        if new.target.len() > PATH_BYTES_MAX {
            return Err(FsError::NameTooLong);
        }
        let number = self.share.numbers().next(self.share.live()).await?;
        let locks = self.share.locks().lock(&[directory]).await;
        let parent = self.parent_for_new_name(context, directory, name).await?;
        // A device node is a door to a machine of whoever opens it there.
        if matches!(new.kind, Kind::Block | Kind::Character) && !context.credentials.is_root() {
            return Err(FsError::NotOwner);
        }
        let inode = self.inode_of_new(context, &parent.inode, new, verifier, directory)?;
        if inode.kind == Kind::Directory && parent.inode.links >= LINKS_MAX {
            return Err(FsError::TooManyLinks);
        }
        let mut transaction = Transaction::default();
        let before = parent.inode.clone();
        let after = self.add_name(&mut transaction, parent, name, number, inode.kind);
        transaction.put_inode(directory, &after.inode);
        transaction.put_inode(number, &inode);
        transaction.use_more(0, 1);
        let object = Some(Node { number, inode });
        let outcome = Outcome { object, first: Around { before, after }, second: None };
        self.finish(context, locks, transaction, outcome).await
    }

    /// Gives a file one more name.
    pub async fn link(
        &self,
        context: Context<'_>,
        file: InodeNumber,
        directory: InodeNumber,
        name: &[u8],
    ) -> Result<Outcome, FsError> {
        if matches!(name, b"." | b"..") {
            return Err(FsError::Exists);
        }
        check_name(name)?;
        let locks = self.share.locks().lock(&[file, directory]).await;
        let old = self.reader().node(file).await?;
        let parent = self.parent_for_new_name(context, directory, name).await?;
        if old.inode.kind == Kind::Directory {
            return Err(FsError::NotOwner);
        }
        self.require_unlocked(&old).await?;
        // Open, and without a name: it gets none any more.
        if old.inode.links == 0 {
            return Err(FsError::NotFound);
        }
        if old.inode.links >= LINKS_MAX {
            return Err(FsError::TooManyLinks);
        }
        let mut linked = old.inode.clone();
        linked.links += 1;
        touch(&mut linked, self.now());
        let mut transaction = Transaction::default();
        let before = parent.inode.clone();
        let after = self.add_name(&mut transaction, parent, name, file, linked.kind);
        transaction.put_inode(directory, &after.inode);
        transaction.put_inode(file, &linked);
        let object = Node { number: file, inode: linked };
        let outcome = Outcome {
            object: Some(object.clone()),
            first: Around { before: old.inode, after: object },
            second: Some(Around { before, after }),
        };
        self.finish(context, locks, transaction, outcome).await
    }

    async fn parent_for_new_name(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
    ) -> Result<Node, FsError> {
        let parent = self.reader().directory(directory).await?;
        context.credentials.require(&parent.inode, EXECUTE)?;
        if self.reader().entry(directory, name).await?.is_some() {
            return Err(FsError::Exists);
        }
        context.credentials.require(&parent.inode, WRITE)?;
        Ok(parent)
    }

    /// Attributes of a new file. A set-group-id directory passes its group on, and to directories the
    /// bit as well. Nobody makes a program that runs as a group he is not in.
    pub(super) fn inode_of_new(
        &self,
        context: Context<'_>,
        parent: &Inode,
        new: NewFile,
        verifier: Option<[u8; 8]>,
        directory: InodeNumber,
    ) -> Result<Inode, FsError> {
        let default_mode = if new.kind == Kind::Symlink { 0o777 } else { 0 };
        let mode = new.set.mode.map_or(default_mode, |mode| (mode & 0o7777) as u16);
        let mut inode = self.new_inode(new.kind, mode, context.credentials);
        if parent.mode & SET_GID != 0 {
            inode.gid = parent.gid;
            if new.kind == Kind::Directory {
                inode.mode |= SET_GID;
            }
        }
        inode.device = new.device;
        inode.create_verifier = verifier;
        inode.parent = directory;
        if new.kind == Kind::Symlink {
            inode.size = new.target.len() as u64;
            inode.target = new.target;
        }
        let set = SetAttributes { mode: None, ..new.set };
        let mode = inode.mode;
        self.apply_set(context.credentials, &mut inode, &set)?;
        // What is only being made changes under nobody: to be given to somebody takes no bits away.
        inode.mode = mode;
        let of_own_group = context.credentials.is_root() || context.credentials.in_group(inode.gid);
        if new.kind != Kind::Directory && !of_own_group {
            inode.mode &= !SET_GID;
        }
        if new.kind == Kind::Regular {
            inode.size = new.set.size.unwrap_or(0);
        }
        inode.change = 1;
        Ok(inode)
    }

    /// Puts entry and cookie of a new name; gives the directory as it is then, not yet put.
    pub(super) fn add_name(
        &self,
        transaction: &mut Transaction,
        mut directory: Node,
        name: &[u8],
        number: InodeNumber,
        kind: Kind,
    ) -> Node {
        let name = Bytes::copy_from_slice(name);
        let cookie = directory.inode.next_cookie;
        directory.inode.next_cookie += 1;
        directory.inode.entries += 1;
        if kind == Kind::Directory {
            directory.inode.links += 1;
        }
        touch_content(&mut directory.inode, self.now());
        let entry = Entry { inode: number, kind, cookie };
        transaction.put(&Key::Entry(directory.number, name.clone()), entry.encode());
        let record = Cookie { inode: number, kind, name };
        transaction.put(&Key::Cookie(directory.number, cookie), record.encode());
        directory
    }
}

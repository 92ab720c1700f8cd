//! Changes to the tree of the file system in memory, each with its consistency data.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_protocols::view::{
    Before, Caller, ChangeFailure, Changed, CreateHow, FsError, Handle, SetAttributes, SetTime, Time, Wcc,
};

use super::tree::{Content, Inode, Tree};

type Outcome = Result<Changed, ChangeFailure>;

impl Tree {
    pub fn set_attributes(&mut self, file: &Handle, set: SetAttributes, guard: Option<Time>) -> Outcome {
        self.change_one(file, |tree| {
            if guard.is_some_and(|guard| tree.get(file).map(|inode| inode.changed) != Ok(guard)) {
                return Err(FsError::NotSync);
            }
            tree.apply(file, set).map(|()| None)
        })
    }

    pub fn write(&mut self, file: &Handle, offset: u64, data: &[u8]) -> Result<Wcc, ChangeFailure> {
        let changed = self.change_one(file, |tree| {
            let now = tree.now();
            let inode = tree.get_mut(file)?;
            let Content::Regular(content) = &mut inode.content else { return Err(FsError::Invalid) };
            let end = offset as usize + data.len();
            if content.len() < end {
                content.resize(end, 0);
            }
            content[offset as usize..end].copy_from_slice(data);
            (inode.modified, inode.changed) = (now, now);
            Ok(None)
        });
        changed.map(|changed| changed.first)
    }

    pub fn create(&mut self, caller: &Caller, directory: &Handle, name: &[u8], how: CreateHow) -> Outcome {
        let existing = self.inode_of(directory).and_then(|number| self.child(number, name)).ok();
        let (set, verifier) = match how {
            CreateHow::Unchecked(set) | CreateHow::Guarded(set) => (set, None),
            CreateHow::Exclusive(verifier) => (SetAttributes::default(), Some(verifier)),
        };
        let Some(existing) = existing else {
            let made = self.make(caller, directory, name, set, Content::Regular(Vec::new()))?;
            if let Some((handle, _)) = &made.object {
                self.get_mut(handle)?.created_by = verifier;
            }
            return Ok(made);
        };
        self.change_one(directory, |tree| {
            let handle = Self::handle(existing);
            let same = verifier.is_some() && tree.inodes[&existing].created_by == verifier;
            match how {
                CreateHow::Unchecked(set) => {
                    let size_only = SetAttributes { size: set.size, ..SetAttributes::default() };
                    tree.apply(&handle, size_only)?;
                    Ok(Some(existing))
                }
                CreateHow::Exclusive(_) if same => Ok(Some(existing)),
                CreateHow::Exclusive(_) | CreateHow::Guarded(_) => Err(FsError::Exists),
            }
        })
    }

    pub fn make(
        &mut self,
        caller: &Caller,
        directory: &Handle,
        name: &[u8],
        set: SetAttributes,
        content: Content,
    ) -> Outcome {
        self.change_one(directory, |tree| {
            let parent = tree.inode_of(directory)?;
            if tree.child(parent, name) != Err(FsError::NotFound) {
                tree.entries(parent)?;
                return Err(FsError::Exists);
            }
            let now = tree.now();
            let is_directory = matches!(content, Content::Directory(_));
            tree.last_inode += 1;
            let number = tree.last_inode;
            let inode = Inode {
                content,
                mode: if is_directory { 0o755 } else { 0o644 },
                links: if is_directory { 2 } else { 1 },
                uid: caller.uid,
                gid: caller.gid,
                accessed: now,
                modified: now,
                changed: now,
                created_by: None,
                parent,
            };
            tree.inodes.insert(number, inode);
            tree.apply(&Self::handle(number), set)?;
            tree.enter(parent, name, number)?;
            Ok(Some(number))
        })
    }

    pub fn remove(&mut self, directory: &Handle, name: &[u8], as_directory: bool) -> Outcome {
        self.change_one(directory, |tree| {
            let parent = tree.inode_of(directory)?;
            let number = tree.child(parent, name)?;
            match (&tree.inodes[&number].content, as_directory) {
                (Content::Directory(entries), true) if !entries.is_empty() => return Err(FsError::NotEmpty),
                (Content::Directory(_), false) => return Err(FsError::IsDirectory),
                (Content::Directory(_), true) | (_, false) => {}
                (_, true) => return Err(FsError::NotDirectory),
            }
            tree.leave(parent, name)?;
            Ok(None)
        })
    }

    pub fn rename(&mut self, from: (&Handle, &[u8]), to: (&Handle, &[u8])) -> Outcome {
        self.change_two(from.0, to.0, |tree| {
            let (source, target) = (tree.inode_of(from.0)?, tree.inode_of(to.0)?);
            let number = tree.child(source, from.1)?;
            let moves_directory = tree.entries(number).is_ok();
            if moves_directory && tree.is_inside(target, number) {
                return Err(FsError::Invalid);
            }
            match tree.child(target, to.1) {
                Ok(existing) if existing == number => return Ok(None),
                Ok(existing) => match (tree.entries(existing), moves_directory) {
                    (Ok(entries), true) if !entries.is_empty() => return Err(FsError::NotEmpty),
                    (Ok(_), false) => return Err(FsError::IsDirectory),
                    (Err(_), true) => return Err(FsError::NotDirectory),
                    _ => tree.leave(target, to.1)?,
                },
                Err(FsError::NotFound) => {}
                Err(error) => return Err(error),
            }
            tree.enter(target, to.1, number)?;
            tree.inodes.get_mut(&number).ok_or(FsError::Stale)?.links += 1;
            tree.leave(source, from.1)?;
            if moves_directory {
                tree.inodes.get_mut(&number).ok_or(FsError::Stale)?.parent = target;
            }
            Ok(None)
        })
    }

    pub fn link(&mut self, file: &Handle, directory: &Handle, name: &[u8]) -> Outcome {
        self.change_two(file, directory, |tree| {
            let (number, parent) = (tree.inode_of(file)?, tree.inode_of(directory)?);
            if tree.entries(number).is_ok() {
                return Err(FsError::Invalid);
            }
            match tree.child(parent, name) {
                Err(FsError::NotFound) => {}
                Ok(_) => return Err(FsError::Exists),
                Err(error) => return Err(error),
            }
            tree.inodes.get_mut(&number).ok_or(FsError::Stale)?.links += 1;
            tree.enter(parent, name, number)?;
            Ok(Some(number))
        })
    }

    fn apply(&mut self, file: &Handle, set: SetAttributes) -> Result<(), FsError> {
        let now = self.now();
        let inode = self.get_mut(file)?;
        if let Some(size) = set.size {
            let Content::Regular(data) = &mut inode.content else { return Err(FsError::Invalid) };
            data.resize(size as usize, 0);
            inode.modified = now;
        }
        inode.mode = set.mode.map_or(inode.mode, |mode| mode & 0o7777);
        inode.uid = set.uid.unwrap_or(inode.uid);
        inode.gid = set.gid.unwrap_or(inode.gid);
        for (time, how) in [(&mut inode.accessed, set.accessed), (&mut inode.modified, set.modified)] {
            *time = match how {
                SetTime::Keep => *time,
                SetTime::Server => now,
                SetTime::Client(given) => given,
            };
        }
        inode.changed = now;
        Ok(())
    }

    fn directory_mut(&mut self, number: u64) -> Result<&mut BTreeMap<Bytes, (u64, u64)>, FsError> {
        let now = self.now();
        let inode = self.inodes.get_mut(&number).ok_or(FsError::Stale)?;
        (inode.modified, inode.changed) = (now, now);
        match &mut inode.content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(FsError::NotDirectory),
        }
    }

    fn enter(&mut self, parent: u64, name: &[u8], number: u64) -> Result<(), FsError> {
        let cookie = self.last_cookie;
        self.last_cookie += 1;
        self.directory_mut(parent)?.insert(Bytes::copy_from_slice(name), (cookie, number));
        Ok(())
    }

    fn leave(&mut self, parent: u64, name: &[u8]) -> Result<(), FsError> {
        let (_, number) = self.directory_mut(parent)?.remove(name).ok_or(FsError::NotFound)?;
        let now = self.now();
        let inode = self.inodes.get_mut(&number).ok_or(FsError::Stale)?;
        inode.changed = now;
        inode.links -= 1;
        let least = u32::from(matches!(inode.content, Content::Directory(_)));
        if inode.links <= least {
            self.inodes.remove(&number);
        }
        Ok(())
    }

    fn is_inside(&self, mut directory: u64, ancestor: u64) -> bool {
        loop {
            let parent = self.inodes[&directory].parent;
            if directory == ancestor {
                return true;
            }
            if parent == directory {
                return false;
            }
            directory = parent;
        }
    }

    fn change_one(
        &mut self,
        file: &Handle,
        change: impl FnOnce(&mut Self) -> Result<Option<u64>, FsError>,
    ) -> Outcome {
        self.change_two(file, file, change).map(|changed| Changed { second: Wcc::default(), ..changed })
    }

    fn change_two(
        &mut self,
        first: &Handle,
        second: &Handle,
        change: impl FnOnce(&mut Self) -> Result<Option<u64>, FsError>,
    ) -> Outcome {
        let (first_before, second_before) = (self.before(first), self.before(second));
        let result = change(self);
        let wcc = |before: Result<Before, FsError>, file| Wcc {
            before: before.ok(),
            after: self.attributes(file).ok(),
        };
        let (first, second) = (wcc(first_before, first), wcc(second_before, second));
        match result {
            Ok(object) => {
                let object = object.map(|number| (Self::handle(number), self.attributes_of(number)));
                Ok(Changed { object, first, second })
            }
            Err(error) => Err(ChangeFailure { error, first, second }),
        }
    }
}

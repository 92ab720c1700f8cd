//! Removing names, and with the last name the file.

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{Entry, InodeNumber, Key, Kind, inode_range};

use super::permission::{EXECUTE, WRITE};
use super::{Around, Context, Namespace, Node, Outcome, check_name, touch, touch_content};
use crate::share::Transaction;

impl Namespace {
    /// Removes a name of anything but a directory.
    pub async fn remove(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
    ) -> Result<Outcome, FsError> {
        if matches!(name, b"." | b"..") {
            return Err(FsError::IsDirectory);
        }
        self.remove_name(context, directory, name, false).await
    }

    /// Removes an empty directory.
    pub async fn remove_directory(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
    ) -> Result<Outcome, FsError> {
        match name {
            b"." => Err(FsError::Invalid),
            b".." => Err(FsError::NotEmpty),
            _ => self.remove_name(context, directory, name, true).await,
        }
    }

    async fn remove_name(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
        want_directory: bool,
    ) -> Result<Outcome, FsError> {
        check_name(name)?;
        let (locks, parent, entry, child) = self.lock_child(context, directory, name).await?;
        context.credentials.require(&parent.inode, WRITE)?;
        context.credentials.require_sticky(&parent.inode, &child.inode)?;
        match (child.inode.kind == Kind::Directory, want_directory) {
            (true, false) => return Err(FsError::IsDirectory),
            (false, true) => return Err(FsError::NotDirectory),
            (true, true) if child.inode.entries > 0 => return Err(FsError::NotEmpty),
            (true, true) | (false, false) => {}
        }
        self.require_unlocked(&child).await?;
        let mut transaction = Transaction::default();
        let before = parent.inode.clone();
        let after = self.take_name(&mut transaction, parent, name, &entry);
        transaction.put_inode(directory, &after.inode);
        self.drop_link(&mut transaction, child);
        let outcome = Outcome { object: None, first: Around { before, after }, second: None };
        self.finish(context, locks, transaction, outcome).await
    }

    /// Locks a directory and the file under a name in it. The name is looked up before, to know what
    /// to lock, and again after, to see that it has not moved.
    async fn lock_child(
        &self,
        context: Context<'_>,
        directory: InodeNumber,
        name: &[u8],
    ) -> Result<(Vec<tokio::sync::MutexGuard<'_, ()>>, Node, Entry, Node), FsError> {
        let reader = self.reader();
        loop {
            let parent = reader.directory(directory).await?;
            context.credentials.require(&parent.inode, EXECUTE)?;
            let seen = reader.entry(directory, name).await?.ok_or(FsError::NotFound)?;
            let locks = self.share.locks().lock(&[directory, seen.inode]).await;
            if reader.entry(directory, name).await? == Some(seen) {
                let parent = reader.directory(directory).await?;
                let child = reader.node(seen.inode).await?;
                return Ok((locks, parent, seen, child));
            }
        }
    }

    /// Deletes entry and cookie of a name; gives the directory as it is then, not yet put.
    pub(super) fn take_name(
        &self,
        transaction: &mut Transaction,
        mut directory: Node,
        name: &[u8],
        entry: &Entry,
    ) -> Node {
        transaction.delete(&Key::Entry(directory.number, Bytes::copy_from_slice(name)));
        transaction.delete(&Key::Cookie(directory.number, entry.cookie));
        directory.inode.entries -= 1;
        if entry.kind == Kind::Directory {
            directory.inode.links -= 1;
        }
        touch_content(&mut directory.inode, self.now());
        directory
    }

    /// Takes one link from a file, or all from an empty directory. Without links all its keys go as
    /// one range, unread, however long the file is; unless it is open, see [`super::open`].
    pub(super) fn drop_link(&self, transaction: &mut Transaction, mut child: Node) {
        let last = child.inode.kind == Kind::Directory || child.inode.links <= 1;
        let open = self.share.open_files().is_open(child.number);
        if last && !(open && child.inode.kind != Kind::Directory) {
            transaction.delete_range(inode_range(child.number));
            transaction.use_more(-(child.inode.used as i64), -1);
        } else {
            if last {
                transaction.put(&Key::Orphan(child.number), Vec::new());
            }
            child.inode.links -= 1;
            touch(&mut child.inode, self.now());
            transaction.put_inode(child.number, &child.inode);
        }
    }
}

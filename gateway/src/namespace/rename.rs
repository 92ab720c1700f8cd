//! Renaming: a name moves, and replaces what may be replaced, in one transaction.
//!
//! Source: rename() in IEEE Std 1003.1-2017; RFC 1813 section 3.3.14.

use tidegate_protocols::view::{FsError, LINKS_MAX};
use tidegate_replicator::map::{Entry, InodeNumber, Kind};
use tokio::sync::MutexGuard;

use super::permission::{EXECUTE, WRITE};
use super::{Around, Context, Namespace, Node, Outcome, check_name, touch};
use crate::share::Transaction;

/// One side of a rename.
#[derive(Clone, Copy, Debug)]
struct Side<'a> {
    directory: InodeNumber,
    name: &'a [u8],
}

/// Everything that a rename reads, under the locks.
struct Plan {
    from: Node,
    to: Node,
    entry: Entry,
    moved: Node,
    replaced: Option<(Entry, Node)>,
}

impl Namespace {
    /// Renames, replacing what may be replaced.
    pub async fn rename(
        &self,
        context: Context<'_>,
        from: (InodeNumber, &[u8]),
        to: (InodeNumber, &[u8]),
    ) -> Result<Outcome, FsError> {
        let from = Side { directory: from.0, name: from.1 };
        let to = Side { directory: to.0, name: to.1 };
        for name in [from.name, to.name] {
            check_name(name)?;
            if matches!(name, b"." | b"..") {
                return Err(FsError::Invalid);
            }
        }
        let crossing = from.directory != to.directory;
        let _moves = if crossing { Some(self.share.directory_moves().lock().await) } else { None };
        let (locks, plan) = self.lock_rename(context, from, to).await?;
        self.check_rename(context, &plan, crossing).await?;
        if plan.replaced.as_ref().is_some_and(|(_, replaced)| replaced.number == plan.moved.number) {
            drop(locks);
            // What made it so may be of another client, and on its way to the disk.
            self.sync_all().await?;
            return Ok(unchanged(plan));
        }
        let (transaction, outcome) = self.carry_out(plan, from, to);
        self.finish(context, locks, transaction, outcome).await
    }

    /// Locks both directories, what moves and what it replaces; looked up before, to know what to lock,
    /// and again after, to see that nothing has moved.
    async fn lock_rename(
        &self,
        context: Context<'_>,
        from: Side<'_>,
        to: Side<'_>,
    ) -> Result<(Vec<MutexGuard<'_, ()>>, Plan), FsError> {
        let reader = self.reader();
        loop {
            for side in [from, to] {
                let directory = reader.directory(side.directory).await?;
                context.credentials.require(&directory.inode, EXECUTE)?;
            }
            let entry = reader.entry(from.directory, from.name).await?.ok_or(FsError::NotFound)?;
            let target = reader.entry(to.directory, to.name).await?;
            let mut inodes = vec![from.directory, to.directory, entry.inode];
            inodes.extend(target.map(|target| target.inode));
            let locks = self.share.locks().lock(&inodes).await;
            let same = reader.entry(from.directory, from.name).await? == Some(entry)
                && reader.entry(to.directory, to.name).await? == target;
            if !same {
                continue;
            }
            let replaced = match target {
                Some(target) => Some((target, reader.node(target.inode).await?)),
                None => None,
            };
            let plan = Plan {
                from: reader.directory(from.directory).await?,
                to: reader.directory(to.directory).await?,
                entry,
                moved: reader.node(entry.inode).await?,
                replaced,
            };
            return Ok((locks, plan));
        }
    }

    async fn check_rename(&self, context: Context<'_>, plan: &Plan, crossing: bool) -> Result<(), FsError> {
        let credentials = context.credentials;
        credentials.require(&plan.from.inode, WRITE)?;
        credentials.require(&plan.to.inode, WRITE)?;
        credentials.require_sticky(&plan.from.inode, &plan.moved.inode)?;
        self.require_unlocked(&plan.moved).await?;
        let moves_directory = plan.moved.inode.kind == Kind::Directory;
        if let Some((_, replaced)) = &plan.replaced {
            credentials.require_sticky(&plan.to.inode, &replaced.inode)?;
            self.require_unlocked(replaced).await?;
            match (moves_directory, replaced.inode.kind == Kind::Directory) {
                (true, false) => return Err(FsError::NotDirectory),
                (false, true) => return Err(FsError::IsDirectory),
                (true, true) if replaced.inode.entries > 0 => return Err(FsError::NotEmpty),
                (true, true) | (false, false) => {}
            }
        }
        if moves_directory && crossing {
            // Its ".." changes, which is writing to it.
            credentials.require(&plan.moved.inode, WRITE)?;
            if plan.replaced.is_none() && plan.to.inode.links >= LINKS_MAX {
                return Err(FsError::TooManyLinks);
            }
            self.refuse_ring(plan).await?;
        }
        Ok(())
    }

    /// Refuses to move a directory below itself.
    async fn refuse_ring(&self, plan: &Plan) -> Result<(), FsError> {
        let mut at = plan.to.clone();
        loop {
            if at.number == plan.moved.number {
                return Err(FsError::Invalid);
            }
            if at.number == InodeNumber::ROOT {
                return Ok(());
            }
            at = self.reader().node(at.inode.parent).await?;
        }
    }

    fn carry_out(&self, plan: Plan, from: Side<'_>, to: Side<'_>) -> (Transaction, Outcome) {
        let Plan { from: old_home, to: new_home, entry, mut moved, replaced } = plan;
        let mut transaction = Transaction::default();
        let (before_from, before_to) = (old_home.inode.clone(), new_home.inode.clone());
        let same_directory = from.directory == to.directory;
        let left = self.take_name(&mut transaction, old_home, from.name, &entry);
        let mut joined = if same_directory { left.clone() } else { new_home };
        if let Some((target, replaced)) = replaced {
            joined = self.take_name(&mut transaction, joined, to.name, &target);
            self.drop_link(&mut transaction, replaced);
        }
        let joined = self.add_name(&mut transaction, joined, to.name, moved.number, entry.kind);
        moved.inode.parent = to.directory;
        touch(&mut moved.inode, self.now());
        transaction.put_inode(moved.number, &moved.inode);
        let left = if same_directory { joined.clone() } else { left };
        transaction.put_inode(left.number, &left.inode);
        transaction.put_inode(joined.number, &joined.inode);
        let outcome = Outcome {
            object: None,
            first: Around { before: before_from, after: left },
            second: Some(Around { before: before_to, after: joined }),
        };
        (transaction, outcome)
    }
}

/// Both names are of one file already: POSIX leaves both.
fn unchanged(plan: Plan) -> Outcome {
    Outcome {
        object: None,
        first: Around { before: plan.from.inode.clone(), after: plan.from },
        second: Some(Around { before: plan.to.inode.clone(), after: plan.to }),
    }
}

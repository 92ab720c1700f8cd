//! Setting attributes.
//!
//! Who may: chmod() and chown() in IEEE Std 1003.1-2017, and utimensat(); RFC 1813 section 3.3.2.

use tidegate_protocols::view::{FsError, SetAttributes, SetTime, Time};
use tidegate_replicator::map::{Inode, InodeNumber, Kind, Timestamp};

use super::permission::{SET_GID, WRITE, without_set_ids};
use super::{Around, Context, Credentials, FILE_BYTES_MAX, Namespace, Node, Outcome, touch, touch_content};
use crate::share::Transaction;

impl Namespace {
    /// Sets attributes; with a guard only if the file's change time equals it.
    pub async fn set_attributes(
        &self,
        context: Context<'_>,
        number: InodeNumber,
        set: SetAttributes,
        guard: Option<Time>,
    ) -> Result<Outcome, FsError> {
        let locks = self.share.locks().lock(&[number]).await;
        let old = self.reader().node(number).await?;
        let changed = old.inode.times.changed;
        if guard.is_some_and(|guard| (guard.seconds, guard.nanos) != (changed.seconds, changed.nanos)) {
            return Err(FsError::NotSync);
        }
        let (transaction, after) = self.changed_attributes(context, &old, set).await?;
        let outcome = Outcome { object: None, first: Around { before: old.inode, after }, second: None };
        self.finish(context, locks, transaction, outcome).await
    }

    /// The change that sets attributes, and the file as it is then. The caller has locked it.
    pub(super) async fn changed_attributes(
        &self,
        context: Context<'_>,
        old: &Node,
        set: SetAttributes,
    ) -> Result<(Transaction, Node), FsError> {
        self.require_unlocked(old).await?;
        let Node { number, mut inode } = old.clone();
        let mut transaction = Transaction::default();
        if let Some(size) = set.size {
            check_resize(context.credentials, &inode, size)?;
            let freed = self.resize(&mut transaction, number, &mut inode, size).await?;
            transaction.use_more(-(freed as i64), 0);
            if !context.credentials.is_root() {
                inode.mode = without_set_ids(&inode, context.credentials);
            }
        }
        self.apply_set(context.credentials, &mut inode, &set)?;
        if inode != old.inode {
            // As in `touch_content`.
            inode.create_verifier = None;
        }
        transaction.put_inode(number, &inode);
        Ok((transaction, Node { number, inode }))
    }

    /// Everything but the size.
    pub(super) fn apply_set(
        &self,
        credentials: &Credentials,
        inode: &mut Inode,
        set: &SetAttributes,
    ) -> Result<(), FsError> {
        let now = self.now();
        let before = inode.clone();
        set_owner(credentials, inode, set)?;
        set_mode(credentials, &before, inode, set)?;
        let writable = credentials.owns(&before) || credentials.may(&before, WRITE);
        for (how, time) in
            [(set.accessed, &mut inode.times.accessed), (set.modified, &mut inode.times.modified)]
        {
            match how {
                SetTime::Keep => {}
                SetTime::Server if writable => *time = now,
                SetTime::Client(_) if !credentials.owns(&before) => return Err(FsError::NotOwner),
                SetTime::Client(given) => *time = checked_time(given)?,
                SetTime::Server => return Err(FsError::Access),
            }
        }
        if *inode != before || set.mode.is_some() || set.uid.is_some() || set.gid.is_some() {
            touch(inode, now);
        }
        Ok(())
    }

    /// Changes the size of a regular file in a transaction; gives how many bytes of data went.
    async fn resize(
        &self,
        transaction: &mut Transaction,
        number: InodeNumber,
        inode: &mut Inode,
        size: u64,
    ) -> Result<u64, FsError> {
        let before = inode.used;
        if size < inode.size {
            inode.used = self.cut_data(transaction, number, inode, size).await?;
        }
        inode.size = size;
        touch_content(inode, self.now());
        Ok(before - inode.used)
    }
}

fn check_resize(credentials: &Credentials, inode: &Inode, size: u64) -> Result<(), FsError> {
    match inode.kind {
        Kind::Regular => {}
        Kind::Directory => return Err(FsError::IsDirectory),
        Kind::Symlink | Kind::Block | Kind::Character | Kind::Fifo | Kind::Socket => {
            return Err(FsError::Invalid);
        }
    }
    if size > FILE_BYTES_MAX {
        return Err(FsError::FileTooBig);
    }
    if credentials.uid == inode.uid { Ok(()) } else { credentials.require(inode, WRITE) }
}

/// Sets owner and group. Whoever does that, set-id bits go: a client leaves it to the server. A mode in the same call is
/// set afterwards, and stands.
fn set_owner(credentials: &Credentials, inode: &mut Inode, set: &SetAttributes) -> Result<(), FsError> {
    if set.uid.is_none() && set.gid.is_none() {
        return Ok(());
    }
    let (uid, gid) = (set.uid.unwrap_or(inode.uid), set.gid.unwrap_or(inode.gid));
    let own = credentials.uid == inode.uid && uid == inode.uid;
    let group_allowed = gid == inode.gid || credentials.in_group(gid);
    if !(credentials.is_root() || own && group_allowed) {
        return Err(FsError::NotOwner);
    }
    inode.mode = without_set_ids(inode, credentials);
    (inode.uid, inode.gid) = (uid, gid);
    Ok(())
}

fn set_mode(
    credentials: &Credentials,
    before: &Inode,
    inode: &mut Inode,
    set: &SetAttributes,
) -> Result<(), FsError> {
    let Some(mode) = set.mode else { return Ok(()) };
    if !credentials.owns(before) {
        return Err(FsError::NotOwner);
    }
    inode.mode = (mode & 0o7777) as u16;
    if !credentials.is_root() && !credentials.in_group(inode.gid) {
        inode.mode &= !SET_GID;
    }
    Ok(())
}

fn checked_time(time: Time) -> Result<Timestamp, FsError> {
    if time.nanos < 1_000_000_000 {
        Ok(Timestamp { seconds: time.seconds, nanos: time.nanos })
    } else {
        Err(FsError::Invalid)
    }
}

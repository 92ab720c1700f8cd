//! Open files, which outlive their last name (IEEE Std 1003.1-2017, unlink()).
//!
//! Whoever keeps state of clients says here which files they have open. The removal of the last name of
//! such a file leaves its keys, and an orphan record that names it; its last close takes both away, in one
//! transaction. NFS version 3 has no opens: its clients rename such files aside, and never get here.
//!
//! After a crash, a move to another machine or a rollback nobody has a file open, and the orphan records
//! say what to take away: [`Namespace::collect_orphans`].

use bytes::Bytes;
use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Key, inode_range, kind_range};

use super::Namespace;
use crate::share::{MapRead, Transaction};

/// A file that is open as long as this is held.
pub struct OpenFile {
    namespace: Namespace,
    number: InodeNumber,
}

impl OpenFile {
    /// Takes over a count that was taken already.
    pub(super) fn counted(namespace: Namespace, number: InodeNumber) -> Self {
        Self { namespace, number }
    }

    /// Which file.
    pub fn number(&self) -> InodeNumber {
        self.number
    }
}

impl Drop for OpenFile {
    /// Closes it in the background. If that fails the next start takes a file without names away.
    fn drop(&mut self) {
        let (namespace, number) = (self.namespace.clone(), self.number);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = namespace.close(number).await {
                tracing::debug!(?error, "a file could not be closed");
            }
        });
    }
}

/// Orphan records that one look at the map brings.
const PAGE: usize = 256;

impl Namespace {
    /// Counts one more who has the file open; [`FsError::Stale`] when there is no such file.
    pub async fn open(&self, file: InodeNumber) -> Result<(), FsError> {
        let _locks = self.share.locks().lock(&[file]).await;
        self.reader().node(file).await?;
        self.share.open_files().open(file);
        Ok(())
    }

    /// As [`Namespace::open`], until the answer is dropped.
    pub async fn hold(&self, file: InodeNumber) -> Result<OpenFile, FsError> {
        self.open(file).await?;
        Ok(OpenFile::counted(self.clone(), file))
    }

    /// Counts one less. With the last, a file without names goes.
    pub async fn close(&self, file: InodeNumber) -> Result<(), FsError> {
        let _locks = self.share.locks().lock(&[file]).await;
        if self.share.open_files().close(file) {
            self.take_orphan(file).await?;
        }
        Ok(())
    }

    /// Takes away files without names that nobody has open; gives how many. Runs beside everything else.
    pub async fn collect_orphans(&self) -> Result<u64, FsError> {
        let mut keys = kind_range(InodeNumber::SHARE, b'o', &[]);
        let mut taken = 0;
        loop {
            let page = self.share.map().scan(keys.clone(), PAGE).await?;
            let last = page.len() < PAGE;
            for (key, _) in page {
                keys.start = [&key.encode()[..], &[0]].concat();
                let Key::Orphan(file) = key else { continue };
                let _locks = self.share.locks().lock(&[file]).await;
                taken += u64::from(!self.share.open_files().is_open(file) && self.take_orphan(file).await?);
            }
            if last {
                return Ok(taken);
            }
        }
    }

    /// Takes a file away if an orphan record names it; its lock is held. Whether it did. A file without names and
    /// without that record belongs to something else, such as an upload.
    async fn take_orphan(&self, file: InodeNumber) -> Result<bool, FsError> {
        if self.share.map().get(&Key::Orphan(file)).await?.is_none() {
            return Ok(false);
        }
        let node = match self.reader().node(file).await {
            Ok(node) if node.inode.links > 0 => return Ok(false),
            Ok(node) => Some(node),
            Err(FsError::Stale) => None,
            Err(error) => return Err(error),
        };
        let mut transaction = Transaction::default();
        transaction.delete(&Key::Orphan(file));
        if let Some(node) = &node {
            transaction.delete_range(inode_range(file));
            transaction.use_more(-(node.inode.used as i64), -1);
        }
        transaction.submit(&self.share, Bytes::new()).await?;
        Ok(node.is_some())
    }
}

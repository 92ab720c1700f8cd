//! Following a name: entry first, then the inode that it leads to.
//!
//! The two are read one after the other and without a lock, so that nobody who asks waits for somebody who changes. In
//! between the file may go, because another one was renamed over its name, and the name has been there throughout. So
//! a name that seems to lead nowhere is looked at again, and after [`LOOKS_MAX`] looks under the lock of its directory.

use tidegate_protocols::view::FsError;
use tidegate_replicator::map::{InodeNumber, Kind};

use super::{Credentials, EXECUTE, Namespace, Node, Reader, check_name};

/// How often a name is followed that leads to another file at each look, before its directory is locked.
const LOOKS_MAX: usize = 8;

impl Reader<'_> {
    /// The inode of a name in a directory that the caller may search; "." and ".." are names. Of a live map
    /// [`Namespace::lookup`] is surer: others may give the name to another file as fast as this looks.
    pub async fn lookup(
        &self,
        directory: &Node,
        name: &[u8],
        credentials: &Credentials,
    ) -> Result<Node, FsError> {
        match self.look(directory, name, credentials).await {
            Err(FsError::Stale) => Err(FsError::NotFound),
            found => found,
        }
    }

    /// As [`Reader::lookup`], but [`FsError::Stale`] if at every look there was a name, and no file that it led to.
    async fn look(&self, directory: &Node, name: &[u8], credentials: &Credentials) -> Result<Node, FsError> {
        if directory.inode.kind != Kind::Directory {
            return Err(FsError::NotDirectory);
        }
        credentials.require(&directory.inode, EXECUTE)?;
        match name {
            b"." => self.node(directory.number).await,
            b".." => self.node(directory.inode.parent).await,
            _ => {
                check_name(name)?;
                self.follow(directory.number, name).await
            }
        }
    }

    async fn follow(&self, directory: InodeNumber, name: &[u8]) -> Result<Node, FsError> {
        let mut entry = self.entry(directory, name).await?.ok_or(FsError::NotFound)?;
        for _ in 0..LOOKS_MAX {
            match self.node(entry.inode).await {
                Err(FsError::Stale) => {}
                found => return found,
            }
            let earlier = entry.inode;
            entry = self.entry(directory, name).await?.ok_or(FsError::NotFound)?;
            if entry.inode == earlier {
                break;
            }
        }
        Err(FsError::Stale)
    }
}

impl Namespace {
    /// As [`Reader::lookup`], of the live map: a name that is there throughout is found, whatever is renamed over it
    /// meanwhile. Whoever calls holds no lock of the directory.
    pub async fn lookup(
        &self,
        directory: &Node,
        name: &[u8],
        credentials: &Credentials,
    ) -> Result<Node, FsError> {
        match self.reader().look(directory, name, credentials).await {
            Err(FsError::Stale) => {
                // Nobody changes its names now, and a file with a name there does not go.
                let _locks = self.share.locks().lock(&[directory.number]).await;
                self.reader().lookup(directory, name, credentials).await
            }
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::ops::Range;

    use async_trait::async_trait;
    use parking_lot::Mutex;
    use tidegate_replicator::map::{Entry, Inode, Key};
    use tidegate_replicator::tree::Value;

    use super::*;
    use crate::namespace::tests::inode;
    use crate::share::{MapRead, ShareError};

    /// A map with one name, which just after each look leads to the next of these files, or is gone. No other file is
    /// there. The last stays.
    struct Changing(Mutex<VecDeque<Option<u64>>>);

    impl Changing {
        fn new(files: impl IntoIterator<Item = Option<u64>>) -> Self {
            Self(Mutex::new(files.into_iter().collect()))
        }

        /// What the name leads to now; the next one is renamed over it.
        fn look(&self) -> Option<u64> {
            let mut files = self.0.lock();
            let now = files.front().copied().flatten();
            if files.len() > 1 {
                files.pop_front();
            }
            now
        }

        fn is_there(&self, number: InodeNumber) -> bool {
            self.0.lock().front().copied().flatten() == Some(number.0)
        }
    }

    #[async_trait]
    impl MapRead for Changing {
        async fn get(&self, key: &Key) -> Result<Option<Value>, ShareError> {
            Ok(match key {
                Key::Entry(..) => self.look().map(|number| {
                    let entry = Entry { inode: InodeNumber(number), kind: Kind::Regular, cookie: 3 };
                    Value::plain(entry.encode())
                }),
                key => self.is_there(key.inode()).then(|| Value::plain(inode(Kind::Regular).encode())),
            })
        }

        async fn scan(&self, _: Range<Vec<u8>>, _: usize) -> Result<Vec<(Key, Value)>, ShareError> {
            Ok(Vec::new())
        }
    }

    fn directory() -> Node {
        Node { number: InodeNumber::ROOT, inode: Inode { mode: 0o755, ..inode(Kind::Directory) } }
    }

    async fn lookup(map: &Changing) -> Result<u64, FsError> {
        let found = Reader { map }.lookup(&directory(), b"name", &Credentials::ROOT).await;
        found.map(|node| node.number.0)
    }

    #[tokio::test]
    async fn a_name_leads_to_what_was_renamed_over_it_between_the_looks_at_entry_and_file() {
        assert_eq!(lookup(&Changing::new([Some(10)])).await, Ok(10));
        assert_eq!(lookup(&Changing::new([Some(10), Some(11)])).await, Ok(11));
        assert_eq!(lookup(&Changing::new((10..15).map(Some))).await, Ok(14));
    }

    #[tokio::test]
    async fn a_name_that_went_between_the_looks_is_not_there() {
        assert_eq!(lookup(&Changing::new([None])).await, Err(FsError::NotFound));
        assert_eq!(lookup(&Changing::new([Some(10), None])).await, Err(FsError::NotFound));
        assert_eq!(lookup(&Changing::new([Some(10), Some(11), None])).await, Err(FsError::NotFound));
    }

    #[tokio::test]
    async fn nobody_follows_a_name_for_ever() {
        let map = Changing::new((10..1000).map(Some));
        let looked = Reader { map: &map }.look(&directory(), b"name", &Credentials::ROOT).await;
        assert_eq!(looked, Err(FsError::Stale), "not that the name is not there");
        assert!(map.0.lock().len() > 900);
    }
}

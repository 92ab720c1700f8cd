//! What differs between two moments of a share, by path.
//!
//! The trees are compared first: the cost of that follows the change. It gives the inodes that differ,
//! and by their parents the directories on the way to them; only those are then walked, name by name.
//! Memory: one number for each directory that leads to a change.
//!
//! A file with several names is found under the directory of the name that was made or moved last.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures::TryStreamExt;
use tidegate_replicator::map::{Entry, Inode, InodeNumber, Key, Kind, kind_range};
use tidegate_replicator::tree;

use super::{control_error, resolve, share_error};
use crate::control::{Change, ChangeKind, ControlError, DIFF_PAGE_MAX, DiffPage, DiffRequest, FilePath};
use crate::namespace::{Node, Reader};
use crate::share::{FrozenMap, MapRead, ShareError};

/// Entries of a directory that are read at once.
const ENTRIES_READ: usize = 1024;

/// One page of the changes from one moment to another, below the path asked for: a directory before
/// what is in it, names in byte order.
pub async fn diff(from: &FrozenMap, to: &FrozenMap, request: &DiffRequest) -> Result<DiffPage, ControlError> {
    let sides = Sides { from, to, ways: ways(from, to).await.map_err(share_error)? };
    let limit = request.limit.clamp(1, DIFF_PAGE_MAX);
    let mut walk = Walk { sides, after: request.after.clone(), limit, page: DiffPage::default() };
    let before = resolve(Reader { map: from }, &request.path).await.ok();
    let after = resolve(Reader { map: to }, &request.path).await;
    let after = match (&before, after) {
        (None, Err(error)) => return Err(error),
        (_, after) => after.ok(),
    };
    walk.compare(request.path.clone(), before, after).await?;
    Ok(walk.page)
}

/// The directories that lead to what differs.
async fn ways(from: &FrozenMap, to: &FrozenMap) -> Result<HashSet<InodeNumber>, ShareError> {
    let mut ways = HashSet::new();
    let mut last = None;
    let changes = tree::diff(&from.root, &to.root, to.nodes.clone());
    let mut changes = std::pin::pin!(changes);
    while let Some(change) = changes.try_next().await? {
        let inode = Key::decode(&change.key)?.inode();
        if last.replace(inode) == Some(inode) {
            continue;
        }
        for map in [from, to] {
            climb(map, inode, &mut ways).await?;
        }
    }
    Ok(ways)
}

async fn climb(
    map: &FrozenMap,
    mut inode: InodeNumber,
    ways: &mut HashSet<InodeNumber>,
) -> Result<(), ShareError> {
    while let Some(value) = map.get(&Key::Attributes(inode)).await? {
        let record = Inode::decode(&value.payload)?;
        if record.kind == Kind::Directory && !ways.insert(inode) || inode == InodeNumber::ROOT {
            break;
        }
        inode = record.parent;
    }
    Ok(())
}

struct Sides<'a> {
    from: &'a FrozenMap,
    to: &'a FrozenMap,
    ways: HashSet<InodeNumber>,
}

struct Walk<'a> {
    sides: Sides<'a>,
    after: Option<FilePath>,
    limit: usize,
    page: DiffPage,
}

impl Walk<'_> {
    /// Compares what is at a path on both sides, and below. Goes on from a list of its own, not by
    /// calling itself, so that deep trees cost no stack.
    async fn compare(
        &mut self,
        path: FilePath,
        before: Option<Node>,
        after: Option<Node>,
    ) -> Result<(), ControlError> {
        let mut rest = vec![(path, before, after)];
        while let Some((path, before, after)) = rest.pop() {
            if let Some(kind) = self.difference(before.as_ref(), after.as_ref()).await? {
                self.note(&path, kind, before.as_ref(), after.as_ref());
            }
            if self.page.next.is_some() {
                return Ok(());
            }
            let children = self.children(before.as_ref(), after.as_ref()).await?;
            for (name, (before, after)) in children.into_iter().rev() {
                let below = path.join(&name).map_err(|error| {
                    ControlError::new(crate::control::ErrorKind::Failed, error.to_string())
                })?;
                rest.push((below, before, after));
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &FilePath, kind: ChangeKind, before: Option<&Node>, after: Option<&Node>) {
        if self.page.changes.len() == self.limit {
            self.page.next = self.page.changes.last().map(|change| change.path.clone());
            return;
        }
        if let Some(last) = &self.after {
            // The page before ended with this path.
            if last == path {
                self.after = None;
            }
            return;
        }
        let bytes = |node: Option<&Node>| node.map(|node| node.inode.size);
        self.page.changes.push(Change {
            path: path.clone(),
            kind,
            bytes_before: bytes(before),
            bytes_after: bytes(after),
        });
    }

    async fn difference(
        &self,
        before: Option<&Node>,
        after: Option<&Node>,
    ) -> Result<Option<ChangeKind>, ControlError> {
        let (before, after) = match (before, after) {
            (None, None) => return Ok(None),
            (None, Some(_)) => return Ok(Some(ChangeKind::Added)),
            (Some(_), None) => return Ok(Some(ChangeKind::Removed)),
            (Some(before), Some(after)) => (before, after),
        };
        let (one, other) = (&before.inode, &after.inode);
        if one.kind != other.kind || one.target != other.target || one.device != other.device {
            return Ok(Some(ChangeKind::Modified));
        }
        if one.kind == Kind::Regular
            && (one.size != other.size || before.number != after.number || one.change != other.change)
            && (one.size != other.size || !self.same_data(before.number, after.number).await?)
        {
            return Ok(Some(ChangeKind::Modified));
        }
        let attributes = |inode: &Inode| (inode.mode, inode.uid, inode.gid, inode.times.modified);
        Ok((attributes(one) != attributes(other)).then_some(ChangeKind::Attributes))
    }

    /// Whether two files are made of the same pieces of the same chunks. The same data cut in another way
    /// counts as different.
    async fn same_data(&self, before: InodeNumber, after: InodeNumber) -> Result<bool, ControlError> {
        let (mut one, mut other) = (kind_range(before, b'e', &[]), kind_range(after, b'e', &[]));
        loop {
            let first = self.sides.from.scan(one.clone(), ENTRIES_READ).await.map_err(share_error)?;
            let second = self.sides.to.scan(other.clone(), ENTRIES_READ).await.map_err(share_error)?;
            let same = first.len() == second.len()
                && first.iter().zip(&second).all(|((one, a), (other, b))| {
                    one.encode()[8..] == other.encode()[8..] && a.same_content(b)
                });
            let (Some(last), Some(other_last)) = (first.last(), second.last()) else { return Ok(same) };
            if !same || first.len() < ENTRIES_READ {
                return Ok(same);
            }
            one.start = [&last.0.encode()[..], &[0]].concat();
            other.start = [&other_last.0.encode()[..], &[0]].concat();
        }
    }

    /// What is below a path that may differ: everything of a side that stands alone, else the names of
    /// directories that lead to a change.
    async fn children(
        &self,
        before: Option<&Node>,
        after: Option<&Node>,
    ) -> Result<BTreeMap<Bytes, (Option<Node>, Option<Node>)>, ControlError> {
        let directory = |node: &&Node| node.inode.kind == Kind::Directory;
        let (before, after) = (before.filter(directory), after.filter(directory));
        let mut children = BTreeMap::<Bytes, (Option<Node>, Option<Node>)>::new();
        if let (Some(one), Some(other)) = (before, after)
            && one.number == other.number
            && !self.sides.ways.contains(&one.number)
        {
            return Ok(children);
        }
        for (name, node) in entries(self.sides.from, before).await? {
            children.entry(name).or_default().0 = Some(node);
        }
        for (name, node) in entries(self.sides.to, after).await? {
            children.entry(name).or_default().1 = Some(node);
        }
        Ok(children)
    }
}

/// All entries of a directory, with their inodes.
async fn entries(map: &FrozenMap, directory: Option<&Node>) -> Result<Vec<(Bytes, Node)>, ControlError> {
    let Some(directory) = directory else { return Ok(Vec::new()) };
    let reader = Reader { map };
    let mut range = kind_range(directory.number, b'd', &[]);
    let mut found = Vec::new();
    loop {
        let page = map.scan(range.clone(), ENTRIES_READ).await.map_err(share_error)?;
        let more = page.len() == ENTRIES_READ;
        for (key, value) in page {
            range.start = [&key.encode()[..], &[0]].concat();
            let Key::Entry(_, name) = key else { continue };
            let entry = Entry::decode(&value.payload).map_err(|error| share_error(error.into()))?;
            found.push((name, reader.node(entry.inode).await.map_err(control_error)?));
        }
        if !more {
            return Ok(found);
        }
    }
}

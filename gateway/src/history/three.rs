//! What a branch has changed since it left its line, path by path, and how that stands towards the share.
//!
//! The state that the branch left from is compared with the branch: first the trees, so that the cost follows the change, then
//! name by name along the directories that lead to what differs. The share, live or frozen, is asked only about the paths
//! that the branch has changed. A path is in *conflict* when the share has changed it too, and not to the same.
//!
//! Of directories only their being there, mode and owner count: their times follow what is in them. A directory comes
//! before what is in it, and once more after it ([`Event::Leave`]): what goes, goes deepest first.
//!
//! Memory: one number for each inode that the branch has changed, and the entries of the directories on the way.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use futures::TryStreamExt;
use tidegate_replicator::map::{Entry, Inode, InodeNumber, Key, Kind, kind_range};
use tidegate_replicator::tree;

use super::{control_error, resolve, share_error};
use crate::control::{
    Against, BranchChange, BranchDiffPage, BranchDiffRequest, Change, ChangeKind, ControlError,
    DIFF_PAGE_MAX, ErrorKind, FilePath,
};
use crate::namespace::{Node, Reader};
use crate::share::{FrozenMap, MapRead, ShareError};

/// Entries that are read at once.
const ENTRIES_READ: usize = 1024;

/// The state that a branch left from, and the branch.
pub struct Sides {
    pub(super) base: FrozenMap,
    pub(super) branch: FrozenMap,
    /// Inodes that differ, and the directories that lead to them.
    ways: HashSet<InodeNumber>,
}

/// What the branch did at a path.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) path: FilePath,
    pub(super) base: Option<Node>,
    pub(super) branch: Option<Node>,
    pub(super) kind: ChangeKind,
}

/// What a walk comes by.
#[derive(Debug)]
pub(super) enum Event {
    /// The branch has changed this.
    Change(Step),
    /// Everything in a directory has been passed.
    Leave(Step),
}

/// How a step stands towards the share.
pub(super) struct Stand {
    pub(super) against: Against,
    /// What the share did, in a conflict.
    pub(super) here: Option<ChangeKind>,
}

impl Sides {
    /// Compares the trees.
    pub async fn new(base: FrozenMap, branch: FrozenMap) -> Result<Self, ControlError> {
        let mut sides = Self { base, branch, ways: HashSet::new() };
        sides.ways = sides.ways().await.map_err(share_error)?;
        Ok(sides)
    }

    async fn ways(&self) -> Result<HashSet<InodeNumber>, ShareError> {
        let mut ways = HashSet::new();
        let mut last = None;
        let changes = tree::diff(&self.base.root, &self.branch.root, self.branch.nodes.clone());
        let mut changes = std::pin::pin!(changes);
        while let Some(change) = changes.try_next().await? {
            let inode = Key::decode(&change.key)?.inode();
            if last.replace(inode) == Some(inode) {
                continue;
            }
            ways.insert(inode);
            for map in [&self.base, &self.branch] {
                climb(map, inode, &mut ways).await?;
            }
        }
        Ok(ways)
    }

    /// Begins a walk at a path.
    pub(super) async fn walk(&self, path: &FilePath) -> Result<Walk<'_>, ControlError> {
        let base = find(&self.base, path).await?;
        let branch = find(&self.branch, path).await?;
        if base.is_none() && branch.is_none() && *path != FilePath::root() {
            return Err(ControlError::new(ErrorKind::NotFound, format!("the branch knows no {path}")));
        }
        Ok(Walk { sides: self, rest: vec![Next::Enter(path.clone(), base, branch)] })
    }

    /// How a step stands towards the share.
    pub(super) async fn stand(
        &self,
        step: &Step,
        live: &dyn MapRead,
    ) -> Result<(Stand, Option<Node>), ControlError> {
        let here = find(live, &step.path).await?;
        let stand = self.judge(step, live, here.as_ref()).await?;
        Ok((stand, here))
    }

    async fn judge(
        &self,
        step: &Step,
        live: &dyn MapRead,
        here: Option<&Node>,
    ) -> Result<Stand, ControlError> {
        let wanted = difference((&self.branch, step.branch.as_ref()), (live, here), false).await?;
        if wanted.is_none() {
            return Ok(Stand { against: Against::Applied, here: None });
        }
        let is_directory = |node: Option<&Node>| node.is_some_and(|node| node.inode.kind == Kind::Directory);
        if step.base.is_none() && is_directory(step.branch.as_ref()) && is_directory(here) {
            // Both have made it: what is in it is looked at for itself.
            return Ok(Stand { against: Against::Applied, here: None });
        }
        let ours = difference((&self.base, step.base.as_ref()), (live, here), true).await?;
        let clean = match ours {
            None if here.is_none() => self.parent_is_as_it_was(step, live).await?,
            None => true,
            // An apply that ended between the data of a file and its attributes.
            Some(_) => wanted == Some(ChangeKind::Attributes) && same_attributes(step.base.as_ref(), here),
        };
        let against = if clean { Against::Clean } else { Against::Conflict };
        Ok(Stand { against, here: ours.or(Some(ChangeKind::Removed)).filter(|_| !clean) })
    }

    /// Whether the share still has the directory of a path that the branch found when it left.
    async fn parent_is_as_it_was(&self, step: &Step, live: &dyn MapRead) -> Result<bool, ControlError> {
        let Some(parent) = parent_of(&step.path) else { return Ok(true) };
        let there = find(&self.base, &parent).await?;
        let was_directory = there.is_some_and(|node| node.inode.kind == Kind::Directory);
        if !was_directory {
            return Ok(true);
        }
        Ok(find(live, &parent).await?.is_some_and(|node| node.inode.kind == Kind::Directory))
    }

    /// One page of what the branch has and the share has not, or not so.
    pub async fn page(
        &self,
        live: &dyn MapRead,
        request: &BranchDiffRequest,
    ) -> Result<BranchDiffPage, ControlError> {
        let limit = request.limit.clamp(1, DIFF_PAGE_MAX);
        let mut after = request.after.clone();
        let mut page = BranchDiffPage::default();
        let mut walk = self.walk(&request.path).await?;
        while let Some(event) = walk.next().await? {
            let Event::Change(step) = event else { continue };
            if let Some(last) = &after {
                if *last == step.path {
                    after = None;
                }
                continue;
            }
            if page.changes.len() == limit {
                page.next = page.changes.last().map(|change| change.change.path.clone());
                break;
            }
            let (stand, _) = self.stand(&step, live).await?;
            let size = |node: &Option<Node>| node.as_ref().map(|node| node.inode.size);
            let change = Change {
                bytes_before: size(&step.base),
                bytes_after: size(&step.branch),
                path: step.path,
                kind: step.kind,
            };
            page.changes.push(BranchChange { change, against: stand.against, here: stand.here });
        }
        Ok(page)
    }
}

/// The directory that a path lies in; none of the root.
pub(super) fn parent_of(path: &FilePath) -> Option<FilePath> {
    let text = path.as_bytes();
    let slash = text.iter().rposition(|byte| *byte == b'/')?;
    if text.len() == 1 {
        return None;
    }
    FilePath::from_bytes(&text[..slash.max(1)]).ok()
}

/// What is at a path of a map, if anything is.
pub(super) async fn find(map: &dyn MapRead, path: &FilePath) -> Result<Option<Node>, ControlError> {
    match resolve(Reader { map }, path).await {
        Ok(node) => Ok(Some(node)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn climb(
    map: &FrozenMap,
    mut inode: InodeNumber,
    ways: &mut HashSet<InodeNumber>,
) -> Result<(), ShareError> {
    let mut first = true;
    while let Some(value) = map.get(&Key::Attributes(inode)).await? {
        let record = Inode::decode(&value.payload)?;
        let known = !ways.insert(inode);
        if (known && !first) || inode == InodeNumber::ROOT {
            break;
        }
        (first, inode) = (false, record.parent);
    }
    Ok(())
}

/// A walk along what the branch has changed.
pub(super) struct Walk<'a> {
    sides: &'a Sides,
    rest: Vec<Next>,
}

enum Next {
    Enter(FilePath, Option<Node>, Option<Node>),
    Leave(Step),
}

impl Walk<'_> {
    /// What comes next.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ControlError> {
        while let Some(next) = self.rest.pop() {
            let (path, base, branch) = match next {
                Next::Leave(step) => return Ok(Some(Event::Leave(step))),
                Next::Enter(path, base, branch) => (path, base, branch),
            };
            let sides = self.sides;
            let kind =
                difference((&sides.base, base.as_ref()), (&sides.branch, branch.as_ref()), true).await?;
            let children = self.children(base.as_ref(), branch.as_ref()).await?;
            let step = Step { path, base, branch, kind: kind.unwrap_or(ChangeKind::Attributes) };
            let directory =
                |node: &Option<Node>| node.as_ref().is_some_and(|node| node.inode.kind == Kind::Directory);
            if kind.is_some() && (directory(&step.base) || directory(&step.branch)) {
                self.rest.push(Next::Leave(step.clone()));
            }
            for (name, (base, branch)) in children.into_iter().rev() {
                let below = step.path.join(&name);
                let below = below.map_err(|error| ControlError::new(ErrorKind::Failed, error.to_string()))?;
                self.rest.push(Next::Enter(below, base, branch));
            }
            if kind.is_some() {
                return Ok(Some(Event::Change(step)));
            }
        }
        Ok(None)
    }

    /// What is below a path and may differ.
    async fn children(
        &self,
        base: Option<&Node>,
        branch: Option<&Node>,
    ) -> Result<BTreeMap<Bytes, (Option<Node>, Option<Node>)>, ControlError> {
        let directory = |node: &&Node| node.inode.kind == Kind::Directory;
        let (base, branch) = (base.filter(directory), branch.filter(directory));
        let mut names = BTreeMap::<Bytes, (Option<InodeNumber>, Option<InodeNumber>)>::new();
        if let (Some(one), Some(other)) = (base, branch)
            && one.number == other.number
            && !self.sides.ways.contains(&one.number)
        {
            return Ok(BTreeMap::new());
        }
        for (name, number) in entries(&self.sides.base, base).await? {
            names.entry(name).or_default().0 = Some(number);
        }
        for (name, number) in entries(&self.sides.branch, branch).await? {
            names.entry(name).or_default().1 = Some(number);
        }
        let mut children = BTreeMap::new();
        for (name, (one, other)) in names {
            // The same inode, and nothing in it or below it differs.
            if one == other && one.is_some_and(|number| !self.sides.ways.contains(&number)) {
                continue;
            }
            let one = node(&self.sides.base, one).await?;
            let other = node(&self.sides.branch, other).await?;
            children.insert(name, (one, other));
        }
        Ok(children)
    }
}

async fn node(map: &dyn MapRead, number: Option<InodeNumber>) -> Result<Option<Node>, ControlError> {
    match number {
        Some(number) => Ok(Some(Reader { map }.node(number).await.map_err(control_error)?)),
        None => Ok(None),
    }
}

async fn entries(
    map: &dyn MapRead,
    directory: Option<&Node>,
) -> Result<Vec<(Bytes, InodeNumber)>, ControlError> {
    let Some(directory) = directory else { return Ok(Vec::new()) };
    let mut range = kind_range(directory.number, b'd', &[]);
    let mut found = Vec::new();
    loop {
        let page = map.scan(range.clone(), ENTRIES_READ).await.map_err(share_error)?;
        let more = page.len() == ENTRIES_READ;
        for (key, value) in page {
            range.start = [&key.encode()[..], &[0]].concat();
            let Key::Entry(_, name) = key else { continue };
            let entry = Entry::decode(&value.payload).map_err(|error| share_error(error.into()))?;
            found.push((name, entry.inode));
        }
        if !more {
            return Ok(found);
        }
    }
}

/// What counts of the attributes of an inode; of a directory not its times.
fn attributes(inode: &Inode) -> impl PartialEq + use<> {
    let modified = (inode.kind != Kind::Directory).then_some(inode.times.modified);
    (inode.mode, inode.uid, inode.gid, modified)
}

fn same_attributes(one: Option<&Node>, other: Option<&Node>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => attributes(&one.inode) == attributes(&other.inode),
        _ => false,
    }
}

/// How the second differs from the first. `is_later` says that it came from the first: then one that was changed as often
/// is the same.
pub(super) async fn difference(
    (one_map, one): (&dyn MapRead, Option<&Node>),
    (other_map, other): (&dyn MapRead, Option<&Node>),
    is_later: bool,
) -> Result<Option<ChangeKind>, ControlError> {
    let (first, second) = match (one, other) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Ok(Some(ChangeKind::Added)),
        (Some(_), None) => return Ok(Some(ChangeKind::Removed)),
        (Some(one), Some(other)) => (one, other),
    };
    let (a, b) = (&first.inode, &second.inode);
    let lineage = |node: &Node| (node.number, node.inode.generation, node.inode.change);
    if is_later && lineage(first) == lineage(second) {
        return Ok(None);
    }
    if a.kind != b.kind || a.target != b.target || a.device != b.device {
        return Ok(Some(ChangeKind::Modified));
    }
    if a.kind == Kind::Regular
        && (a.size != b.size || !same_data((one_map, first.number), (other_map, second.number)).await?)
    {
        return Ok(Some(ChangeKind::Modified));
    }
    let extended =
        |map, number| async move { Reader { map }.extended_attributes(number).await.map_err(control_error) };
    let same = attributes(a) == attributes(b)
        && extended(one_map, first.number).await? == extended(other_map, second.number).await?;
    Ok((!same).then_some(ChangeKind::Attributes))
}

/// Whether two files are made of the same pieces of the same chunks.
async fn same_data(
    (one_map, one): (&dyn MapRead, InodeNumber),
    (other_map, other): (&dyn MapRead, InodeNumber),
) -> Result<bool, ControlError> {
    let (mut one, mut other) = (kind_range(one, b'e', &[]), kind_range(other, b'e', &[]));
    loop {
        let first = one_map.scan(one.clone(), ENTRIES_READ).await.map_err(share_error)?;
        let second = other_map.scan(other.clone(), ENTRIES_READ).await.map_err(share_error)?;
        let same = first.len() == second.len()
            && first
                .iter()
                .zip(&second)
                .all(|((one, a), (other, b))| one.encode()[8..] == other.encode()[8..] && a.same_content(b));
        let (Some(last), Some(other_last)) = (first.last(), second.last()) else { return Ok(same) };
        if !same || first.len() < ENTRIES_READ {
            return Ok(same);
        }
        one.start = [&last.0.encode()[..], &[0]].concat();
        other.start = [&other_last.0.encode()[..], &[0]].concat();
    }
}

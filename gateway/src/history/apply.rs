//! Bringing what a branch has changed into the live share, as ordinary transactions.
//!
//! A walk first judges every chosen path against the share, without a change: what both sides have changed is refused, or
//! treated as was asked. A second walk judges each path again and changes it; so it can be stopped, or die, and be run again.
//!
//! No data moves: files take the extents of the branch. A file that the share has is written over in one transaction, under
//! its lock, and only if it is still the one that was judged. Any other file is built under a name of its own beside its place
//! and takes that in one step. What a crash leaves of the latter goes when it is run again.
//!
//! Extended attributes and times follow the data in transactions of their own.

use std::collections::HashMap;

use bytes::Bytes;
use tidegate_replicator::map::{InodeNumber, Kind, kind_range};

use super::restore::{CONTEXT, EXTENTS_MAX, Restore, attributes_of, is_written_over};
use super::three::{Event, Sides, Stand, Step, difference, find, parent_of};
use super::{control_error, share_error};
use crate::control::{
    Against, BranchApplyReport, BranchApplyRequest, ChangeKind, ControlError, ErrorKind, FilePath, JobHandle,
    Moment, OnConflict, PATHS_NAMED_MAX, RestoreReport, RestoreRequest, Unit,
};
use crate::history::growth::Growth;
use crate::namespace::{Namespace, NewFile, Node};
use crate::share::MapRead;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Names that are tried for what goes beside.
const BESIDE_MAX: u32 = 1000;

/// Applies what a branch has changed. `suffix` is part of the names of what goes beside.
pub async fn apply(
    sides: &Sides,
    namespace: &Namespace,
    request: &BranchApplyRequest,
    suffix: &str,
    job: &JobHandle,
) -> Result<BranchApplyReport, ControlError> {
    let root = [FilePath::root()];
    let paths = if request.paths.is_empty() { &root[..] } else { &request.paths[..] };
    job.phase("plan", None, Unit::Items);
    let mut plan = Apply::new(sides, namespace, request, suffix, job, true);
    plan.all(paths).await?;
    plan.restore.growth.check(namespace.share())?;
    if plan.report.conflicts > 0 && request.on_conflict == OnConflict::Refuse && !request.dry_run {
        let first = plan.report.named.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!(
            "{} paths were changed in the branch and in the share ({first}); nothing was applied",
            plan.report.conflicts
        );
        return Err(ControlError::new(ErrorKind::Exists, message).todo(
            "choose what becomes of them: --ours keeps what the share has, --theirs takes what the branch has, \
             --beside puts that next to it",
        ));
    }
    if request.dry_run {
        return Ok(plan.report);
    }
    job.phase("apply", None, Unit::Items);
    let mut apply = Apply::new(sides, namespace, request, suffix, job, false);
    apply.all(paths).await?;
    let live = namespace.share().live();
    let durable = live.durable(live.journal().appended_sequence()).await;
    durable.map_err(|error| share_error(error.into()))?;
    Ok(apply.report)
}

struct Apply<'a> {
    sides: &'a Sides,
    namespace: &'a Namespace,
    request: &'a BranchApplyRequest,
    suffix: &'a str,
    dry_run: bool,
    job: &'a JobHandle,
    /// Puts files and directories of the branch in place.
    restore: Restore<'a>,
    report: BranchApplyReport,
    /// Nothing below this path is looked at any more.
    skipped: Option<FilePath>,
}

impl<'a> Apply<'a> {
    fn new(
        sides: &'a Sides,
        namespace: &'a Namespace,
        request: &'a BranchApplyRequest,
        suffix: &'a str,
        job: &'a JobHandle,
        dry_run: bool,
    ) -> Self {
        let restore = Restore {
            from: &sides.branch,
            namespace,
            request: RestoreRequest {
                from: Moment::Live,
                path: FilePath::root(),
                remove_newer: false,
                dry_run,
            },
            dry_run,
            job,
            report: RestoreReport::default(),
            growth: Growth::default(),
            done: HashMap::new(),
        };
        let (report, skipped) = Default::default();
        Self { sides, namespace, request, suffix, dry_run, job, restore, report, skipped }
    }

    async fn all(&mut self, paths: &[FilePath]) -> Result<(), ControlError> {
        for path in paths {
            self.skipped = None;
            let mut walk = self.sides.walk(path).await?;
            while let Some(event) = walk.next().await? {
                self.job.checkpoint()?;
                self.job.advance(1);
                match event {
                    Event::Change(step) => self.change(step).await?,
                    Event::Leave(step) => self.leave(step).await?,
                }
            }
        }
        Ok(())
    }

    fn is_skipped(&self, path: &FilePath) -> bool {
        self.skipped.as_ref().is_some_and(|skipped| lies_in(path, skipped))
    }

    /// A path, before what is below it.
    async fn change(&mut self, step: Step) -> Result<(), ControlError> {
        if self.is_skipped(&step.path) || goes_last(&step) {
            return Ok(());
        }
        self.treat(step).await
    }

    /// A directory, after what is below it: now it goes, or gets the times that it had in the branch.
    async fn leave(&mut self, step: Step) -> Result<(), ControlError> {
        if self.is_skipped(&step.path) {
            return Ok(());
        }
        if goes_last(&step) {
            return self.treat(step).await;
        }
        let (None, Some(branch), false) = (&step.base, &step.branch, self.dry_run) else { return Ok(()) };
        match find(self.live(), &step.path).await? {
            Some(live) if live.inode.kind == Kind::Directory => {
                self.restore.attributes(branch, live.number).await
            }
            _ => Ok(()),
        }
    }

    fn live(&self) -> &'a dyn MapRead {
        self.namespace.share().map()
    }

    async fn treat(&mut self, step: Step) -> Result<(), ControlError> {
        let (stand, live) = self.sides.stand(&step, self.live()).await?;
        match stand.against {
            Against::Applied => {
                self.report.unchanged += 1;
                if let (Some(branch), Some(live)) = (&step.branch, &live) {
                    self.restore.done.entry(branch.number).or_insert(live.number);
                }
                Ok(())
            }
            Against::Clean => self.put(&step, live).await,
            Against::Conflict => self.conflict(&step, live, &stand).await,
        }
    }

    async fn conflict(&mut self, step: &Step, live: Option<Node>, stand: &Stand) -> Result<(), ControlError> {
        self.report.conflicts += 1;
        if self.report.named.len() < PATHS_NAMED_MAX {
            self.report.named.push(step.path.clone());
        }
        match self.request.on_conflict {
            OnConflict::Theirs => self.put(step, live).await,
            OnConflict::Beside if step.branch.is_some() && live.is_none() => self.put(step, None).await,
            OnConflict::Beside if step.branch.is_some() && stand.here != Some(ChangeKind::Attributes) => {
                self.put_beside(step).await
            }
            OnConflict::Refuse | OnConflict::Ours | OnConflict::Beside => {
                self.report.kept += 1;
                self.skipped = Some(step.path.clone());
                Ok(())
            }
        }
    }

    /// Makes a path of the share as it is in the branch.
    async fn put(&mut self, step: &Step, live: Option<Node>) -> Result<(), ControlError> {
        let Some(branch) = &step.branch else {
            self.report.removed += 1;
            return self.remove(&step.path, live).await;
        };
        self.report.files += 1;
        self.report.bytes += branch.inode.used;
        if self.dry_run {
            return self.restore.plan_file(branch, live).await;
        }
        let Some(name) = step.path.names().last().map(Bytes::copy_from_slice) else {
            return self.restore.attributes(branch, InodeNumber::ROOT).await;
        };
        let parent = self.parent(&step.path).await?;
        if branch.inode.kind == Kind::Directory {
            let made = self.restore.directory(branch, Some(parent), &name).await?;
            if let Some(made) = made {
                self.restore.attributes(branch, made).await?;
            }
        } else {
            self.put_file(branch, parent, &name, live).await?;
        }
        crate::crash::point("apply.path");
        Ok(())
    }

    /// The live directory of a path, made if the share has it no more.
    async fn parent(&mut self, path: &FilePath) -> Result<InodeNumber, ControlError> {
        let parent = parent_of(path).unwrap_or_else(FilePath::root);
        if let Some(found) = find(self.live(), &parent).await?
            && found.inode.kind == Kind::Directory
        {
            return Ok(found.number);
        }
        self.restore.request.path = path.clone();
        let missing = || ControlError::new(ErrorKind::Failed, format!("{parent} could not be made"));
        self.restore.parents().await?.ok_or_else(missing)
    }

    async fn put_file(
        &mut self,
        branch: &Node,
        parent: InodeNumber,
        name: &Bytes,
        live: Option<Node>,
    ) -> Result<(), ControlError> {
        if self.restore.keeps_versions().await? {
            return self.restore.put_file(branch, parent, name, live).await;
        }
        let is_first = !self.restore.done.contains_key(&branch.number);
        if let Some(live) = live.as_ref().filter(|live| is_first && is_written_over(live, branch))
            && self.is_small(branch).await?
        {
            if difference((&self.sides.branch, Some(branch)), (self.live(), Some(live)), false).await?
                != Some(ChangeKind::Attributes)
            {
                self.restore.put_data(branch, live.number, Some(live.inode.change)).await?;
            }
            self.restore.attributes(branch, live.number).await?;
            self.restore.done.insert(branch.number, live.number);
            return Ok(());
        }
        let live_is_directory = live.is_some_and(|live| live.inode.kind == Kind::Directory);
        let temporary = Bytes::from(format!(".tidegate-apply-{:x}", branch.number.0));
        self.restore.remove_tree_if_there(parent, &temporary).await?;
        let number = match self.restore.done.get(&branch.number).copied() {
            Some(first) => {
                self.namespace.link(CONTEXT, first, parent, &temporary).await.map_err(control_error)?;
                first
            }
            None => self.build(branch, parent, &temporary).await?,
        };
        crate::crash::point("apply.built");
        if live_is_directory && self.request.on_conflict == OnConflict::Theirs {
            self.restore.remove_tree(parent, name).await?;
        } else if live_is_directory
            && let Err(error) = self.namespace.remove_directory(CONTEXT, parent, name).await
        {
            self.restore.remove_tree_if_there(parent, &temporary).await?;
            return Err(match error {
                // Nobody has judged what is in it.
                tidegate_protocols::view::FsError::NotEmpty => full_directory(name),
                error => control_error(error),
            });
        }
        let (from, to) = ((parent, &temporary[..]), (parent, &name[..]));
        self.namespace.rename(CONTEXT, from, to).await.map_err(control_error)?;
        self.restore.done.insert(branch.number, number);
        Ok(())
    }

    async fn is_small(&self, branch: &Node) -> Result<bool, ControlError> {
        let extents = kind_range(branch.number, b'e', &[]);
        let found = self.sides.branch.scan(extents, EXTENTS_MAX).await.map_err(share_error)?;
        Ok(found.len() < EXTENTS_MAX)
    }

    /// A file of the branch under a name that nobody looks at.
    async fn build(
        &self,
        branch: &Node,
        parent: InodeNumber,
        name: &Bytes,
    ) -> Result<InodeNumber, ControlError> {
        let mut new = NewFile::new(branch.inode.kind, attributes_of(&branch.inode));
        new.device = branch.inode.device;
        new.target = branch.inode.target.clone();
        let made = self.namespace.make(CONTEXT, parent, name, new, None).await.map_err(control_error)?;
        let nothing = || ControlError::new(ErrorKind::Failed, "a file that was made is not there");
        let number = made.object.ok_or_else(nothing)?.number;
        if branch.inode.kind == Kind::Regular {
            self.restore.put_data(branch, number, None).await?;
        }
        self.restore.attributes(branch, number).await?;
        Ok(number)
    }

    /// Puts what the branch has beside what the share has. A directory goes with all that is in it.
    async fn put_beside(&mut self, step: &Step) -> Result<(), ControlError> {
        let Some(branch) = step.branch.clone() else { return Ok(()) };
        self.report.beside += 1;
        if branch.inode.kind == Kind::Directory {
            self.skipped = Some(step.path.clone());
        }
        let parent_path = parent_of(&step.path).unwrap_or_else(FilePath::root);
        let name = step.path.names().last().unwrap_or_default();
        let mut free = None;
        for number in 1..BESIDE_MAX {
            let beside = beside_name(name, self.suffix, number);
            let path = parent_path
                .join(&beside)
                .map_err(|error| ControlError::new(ErrorKind::Failed, error.to_string()))?;
            let there = find(self.live(), &path).await?;
            match &there {
                None => {
                    free = Some(Bytes::from(beside));
                    break;
                }
                Some(there) if branch.inode.kind != Kind::Directory => {
                    let differs =
                        difference((&self.sides.branch, Some(&branch)), (self.live(), Some(there)), false);
                    // It was put there by a run that ended early.
                    if differs.await?.is_none() {
                        return Ok(());
                    }
                }
                // A directory that an earlier run began is gone on with.
                Some(there) if there.inode.kind == Kind::Directory => {
                    free = Some(Bytes::from(beside));
                    break;
                }
                Some(_) => {}
            }
        }
        let full =
            || ControlError::new(ErrorKind::Exists, format!("there are too many names beside {}", step.path));
        let free = free.ok_or_else(full)?;
        if self.dry_run {
            self.restore.growth.comes(&branch);
            return Ok(());
        }
        let parent = self.parent(&step.path).await?;
        if branch.inode.kind == Kind::Directory {
            return self.restore.tree_under(branch, parent, free).await;
        }
        self.put_file(&branch, parent, &free, None).await?;
        crate::crash::point("apply.path");
        Ok(())
    }

    async fn remove(&mut self, path: &FilePath, live: Option<Node>) -> Result<(), ControlError> {
        let (Some(live), Some(name)) = (live, path.names().last()) else { return Ok(()) };
        if self.dry_run {
            self.restore.growth.goes(&live);
            return Ok(());
        }
        let parent = self.parent(path).await?;
        if live.inode.kind == Kind::Directory && self.request.on_conflict != OnConflict::Theirs {
            match self.namespace.remove_directory(CONTEXT, parent, name).await {
                // The share has put something there.
                Err(tidegate_protocols::view::FsError::NotEmpty) => self.keep_full(path),
                removed => drop(removed.map_err(control_error)?),
            }
        } else {
            self.restore.remove_tree(parent, name).await?;
        }
        crate::crash::point("apply.path");
        Ok(())
    }

    fn keep_full(&mut self, path: &FilePath) {
        self.report.removed -= 1;
        self.report.conflicts += 1;
        self.report.kept += 1;
        if self.report.named.len() < PATHS_NAMED_MAX {
            self.report.named.push(path.clone());
        }
    }
}

/// A directory of the share that a file of the branch would replace, with something in it.
fn full_directory(name: &Bytes) -> ControlError {
    let name = String::from_utf8_lossy(name);
    let message =
        format!("directory {name:?} is a file in the branch, and the share has put something into it");
    ControlError::new(ErrorKind::Exists, message).todo("move that away, or say --theirs, and run it again")
}

/// Whether the step is carried out after what is below it: a directory that goes, or becomes something else.
fn goes_last(step: &Step) -> bool {
    let directory =
        |node: &Option<Node>| node.as_ref().is_some_and(|node| node.inode.kind == Kind::Directory);
    directory(&step.base) && !directory(&step.branch)
}

/// Whether a path is another one or lies below it.
fn lies_in(path: &FilePath, above: &FilePath) -> bool {
    let (path, above) = (path.as_bytes(), above.as_bytes());
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || above == b"/")
}

/// `NAME.branch-SUFFIX`, the name cut short if that would be too long.
fn beside_name(name: &[u8], suffix: &str, number: u32) -> Vec<u8> {
    let suffix = suffix.replace(['/', '\0'], "_");
    let mut end = format!(".branch-{suffix}").into_bytes();
    end.truncate(NAME_BYTES_MAX / 2);
    if number > 1 {
        end.extend(format!("-{number}").into_bytes());
    }
    let room = NAME_BYTES_MAX - end.len();
    [&name[..name.len().min(room)], &end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_are_legal_and_tell_where_they_come_from() {
        assert_eq!(beside_name(b"report", "b-2026", 1), b"report.branch-b-2026");
        assert_eq!(beside_name(b"report", "a/b", 3), b"report.branch-a_b-3");
        assert_eq!(beside_name(&[b'x'; 255], &"y".repeat(300), 2).len(), 255);
    }

    #[test]
    fn a_path_lies_in_another_by_whole_names() {
        let lies = |path: &str, above: &str| {
            lies_in(&path.parse().expect("a path"), &above.parse().expect("a path"))
        };
        assert!(lies("/a/b", "/a") && lies("/a", "/a") && lies("/a", "/"));
        assert!(!lies("/ab", "/a") && !lies("/", "/a"));
    }
}

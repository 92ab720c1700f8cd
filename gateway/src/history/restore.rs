//! Putting a path of a live share back to what it was at a moment.
//!
//! No data moves: the live file takes the extents of the frozen one, which name the same chunks.
//! Directories are entered before, and given their attributes after, what is in them.
//!
//! Order: each name and each file is a transaction of its own, so a restore that is stopped or dies has
//! put back some paths wholly and others not at all, but for a file of more than [`EXTENTS_MAX`] extents,
//! which may then be short; running it again puts back the rest.
//!
//! A share with a quota is walked once before, without a change, to see by how much it would grow at the
//! most; a restore for which there is no room is refused before anything is done. What others write while
//! it runs is not known before: then it stops at the transaction that does not fit.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use bytes::Bytes;
use tidegate_protocols::view::{FsError, SetAttributes};
use tidegate_replicator::map::{
    Entry, Extent, Inode, InodeNumber, Key, Kind, ObjectRecord, RECORD_ATTRIBUTE, kind_range,
};

use super::growth::Growth;
use super::{control_error, resolve, share_error};
use crate::control::{ControlError, ErrorKind, FilePath, JobHandle, RestoreReport, RestoreRequest, Unit};
use crate::namespace::objects::Place;
use crate::namespace::{Context, Credentials, ExtendedAttributes, Namespace, NewFile, Node, Reader};
use crate::share::{FrozenMap, MapRead, Transaction};

/// Extents that one transaction puts back.
pub(super) const EXTENTS_MAX: usize = 1024;
pub(super) const CONTEXT: Context<'static> = Context::ROOT;

/// Puts a path back: a file, or a directory with everything below it.
pub async fn restore(
    from: &FrozenMap,
    namespace: &Namespace,
    request: &RestoreRequest,
    job: &JobHandle,
) -> Result<RestoreReport, ControlError> {
    let source = resolve(Reader { map: from }, &request.path).await?;
    let restore = |dry_run| Restore {
        from,
        namespace,
        request: request.clone(),
        dry_run,
        job,
        report: RestoreReport::default(),
        growth: Growth::default(),
        done: HashMap::new(),
    };
    let account = namespace.share().account();
    if request.dry_run || account.is_limited() {
        job.phase("plan", None, Unit::Items);
        let mut plan = restore(true);
        plan.path(source.clone()).await?;
        plan.growth.check(namespace.share())?;
        if request.dry_run {
            return Ok(plan.report);
        }
    }
    job.phase("restore", None, Unit::Items);
    let mut restore = restore(false);
    restore.path(source).await?;
    Ok(restore.report)
}

pub(super) struct Restore<'a> {
    pub(super) from: &'a FrozenMap,
    pub(super) namespace: &'a Namespace,
    pub(super) request: RestoreRequest,
    /// Changes nothing.
    pub(super) dry_run: bool,
    pub(super) job: &'a JobHandle,
    pub(super) report: RestoreReport,
    /// Counted in a dry run.
    pub(super) growth: Growth,
    /// Files with several names: where the first of them was put.
    pub(super) done: HashMap<InodeNumber, InodeNumber>,
}

/// What is to be done yet.
enum Step {
    /// Put this back under a name of a live directory (none in a dry run below what is missing).
    Enter { source: Node, parent: Option<InodeNumber>, name: Bytes },
    /// Everything in this directory has been put back: its attributes now.
    Leave { source: Node, live: InodeNumber },
}

impl Restore<'_> {
    async fn path(&mut self, source: Node) -> Result<(), ControlError> {
        let mut steps = Vec::new();
        let name = self.request.path.names().last().map(Bytes::copy_from_slice);
        match name {
            None => self.enter_directory(source, Some(InodeNumber::ROOT), &mut steps).await?,
            Some(name) => {
                let parent = self.parents().await?;
                steps.push(Step::Enter { source, parent, name });
            }
        }
        self.run(&mut steps).await
    }

    async fn run(&mut self, steps: &mut Vec<Step>) -> Result<(), ControlError> {
        while let Some(step) = steps.pop() {
            self.job.checkpoint()?;
            self.job.advance(1);
            match step {
                Step::Enter { source, parent, name } => self.enter(source, parent, name, steps).await?,
                Step::Leave { source, live } => self.attributes(&source, live).await?,
            }
        }
        Ok(())
    }

    /// The live directory that holds the path, made as far as it is missing.
    pub(super) async fn parents(&mut self) -> Result<Option<InodeNumber>, ControlError> {
        let names: Vec<_> = self.request.path.names().map(Bytes::copy_from_slice).collect();
        let mut live = Some(InodeNumber::ROOT);
        let mut path = FilePath::root();
        for name in &names[..names.len() - 1] {
            path =
                path.join(name).map_err(|error| ControlError::new(ErrorKind::Failed, error.to_string()))?;
            let source = resolve(Reader { map: self.from }, &path).await?;
            live = self.directory(&source, live, name).await?;
        }
        Ok(live)
    }

    async fn enter(
        &mut self,
        source: Node,
        parent: Option<InodeNumber>,
        name: Bytes,
        steps: &mut Vec<Step>,
    ) -> Result<(), ControlError> {
        if source.inode.kind == Kind::Directory {
            let live = self.directory(&source, parent, &name).await?;
            return self.enter_directory(source, live, steps).await;
        }
        let existing = self.live_child(parent, &name).await?;
        if let Some(live) = &existing
            && self.is_as_wanted(&source, live).await?
        {
            self.report.unchanged += 1;
            self.done.entry(source.number).or_insert(live.number);
            return Ok(());
        }
        self.report.files += 1;
        self.report.bytes += source.inode.used;
        match parent {
            _ if self.dry_run => self.plan_file(&source, existing).await,
            Some(parent) => self.put_file(&source, parent, &name, existing).await,
            None => Ok(()),
        }
    }

    /// Goes into a directory: its entries first, then its own attributes, so they are pushed before.
    async fn enter_directory(
        &mut self,
        source: Node,
        live: Option<InodeNumber>,
        steps: &mut Vec<Step>,
    ) -> Result<(), ControlError> {
        let entries = self.entries(self.from, source.number).await?;
        if let Some(live) = live {
            if self.request.remove_newer {
                self.remove_newer(live, &entries).await?;
            }
            if !self.dry_run {
                steps.push(Step::Leave { source, live });
            }
        }
        for (name, entry) in entries.into_iter().rev() {
            let source = Reader { map: self.from }.node(entry.inode).await.map_err(control_error)?;
            steps.push(Step::Enter { source, parent: live, name });
        }
        Ok(())
    }

    /// A live directory of that name, made if need be; what is not a directory there goes.
    pub(super) async fn directory(
        &mut self,
        source: &Node,
        parent: Option<InodeNumber>,
        name: &Bytes,
    ) -> Result<Option<InodeNumber>, ControlError> {
        let existing = self.live_child(parent, name).await?;
        if let Some(live) = existing.as_ref().filter(|live| live.inode.kind == Kind::Directory) {
            return Ok(Some(live.number));
        }
        self.report.files += 1;
        if self.dry_run {
            if let Some(live) = &existing {
                self.growth.goes(live);
            }
            self.growth.comes(source);
        }
        let (Some(parent), false) = (parent, self.dry_run) else { return Ok(None) };
        if existing.is_some() {
            self.namespace.remove(CONTEXT, parent, name).await.map_err(control_error)?;
        }
        let new = NewFile::new(Kind::Directory, attributes_of(&source.inode));
        let made = self.namespace.make(CONTEXT, parent, name, new, None).await.map_err(control_error)?;
        Ok(made.object.map(|object| object.number))
    }

    pub(super) async fn put_file(
        &mut self,
        source: &Node,
        parent: InodeNumber,
        name: &Bytes,
        existing: Option<Node>,
    ) -> Result<(), ControlError> {
        if let Some(first) = self.done.get(&source.number).copied() {
            if existing.is_some() {
                self.remove_tree(parent, name).await?;
            }
            self.namespace.link(CONTEXT, first, parent, name).await.map_err(control_error)?;
            return Ok(());
        }
        let number = match existing {
            Some(live) if is_written_over(&live, source) => live.number,
            existing => {
                if existing.is_some() {
                    self.remove_tree(parent, name).await?;
                }
                let mut new = NewFile::new(source.inode.kind, attributes_of(&source.inode));
                new.device = source.inode.device;
                new.target = source.inode.target.clone();
                let made =
                    self.namespace.make(CONTEXT, parent, name, new, None).await.map_err(control_error)?;
                made.object.map_or(InodeNumber::SHARE, |object| object.number)
            }
        };
        if source.inode.kind == Kind::Regular {
            self.put_data(source, number, None).await?;
        }
        self.attributes(source, number).await?;
        self.done.insert(source.number, number);
        Ok(())
    }

    /// Counts what [`Restore::put_file`] would do.
    pub(super) async fn plan_file(
        &mut self,
        source: &Node,
        existing: Option<Node>,
    ) -> Result<(), ControlError> {
        let is_first = self.done.insert(source.number, source.number).is_none();
        match existing {
            Some(live) if is_first && is_written_over(&live, source) => self.growth.becomes(&live, source),
            existing => {
                if let Some(live) = existing {
                    self.plan_removal(live).await?;
                }
                if is_first {
                    self.growth.comes(source);
                }
            }
        }
        Ok(())
    }

    /// Counts what removing a live file or a directory with everything below it would free.
    async fn plan_removal(&mut self, live: Node) -> Result<(), ControlError> {
        let mut rest = vec![live];
        while let Some(node) = rest.pop() {
            self.growth.goes(&node);
            if node.inode.kind == Kind::Directory {
                let share = self.namespace.share();
                for (_, entry) in self.entries(share.map(), node.number).await? {
                    rest.push(self.namespace.reader().node(entry.inode).await.map_err(control_error)?);
                }
            }
        }
        Ok(())
    }

    /// Gives a live file the extents of a frozen one; refused if it has been changed since it had the change number
    /// `expected`.
    pub(super) async fn put_data(
        &self,
        source: &Node,
        live: InodeNumber,
        expected: Option<u64>,
    ) -> Result<(), ControlError> {
        let share = self.namespace.share();
        let mut keys = kind_range(source.number, b'e', &[]);
        let mut first = true;
        loop {
            let page = self.from.scan(keys.clone(), EXTENTS_MAX).await.map_err(share_error)?;
            let last = page.len() < EXTENTS_MAX;
            let _lock = share.locks().lock(&[live]).await;
            let node = Reader { map: share.map() }.node(live).await.map_err(control_error)?;
            let mut transaction = Transaction::default();
            if first {
                self.namespace.require_unlocked(&node).await.map_err(control_error)?;
                if expected.is_some_and(|expected| expected != node.inode.change) {
                    let message =
                        "a file was changed while it was about to be written over; it was left alone";
                    return Err(ControlError::new(ErrorKind::Busy, message).todo("run it again"));
                }
            }
            let mut inode = node.inode;
            if first {
                transaction.delete_range(kind_range(live, b'e', &[]));
                transaction.use_more(-(inode.used as i64), 0);
                (inode.used, inode.size) = (0, 0);
                first = false;
            }
            for (key, value) in page {
                keys.start = [&key.encode()[..], &[0]].concat();
                let Key::Extent(_, end) = key else { continue };
                let extent = Extent::from_value(end, &value).map_err(|error| share_error(error.into()))?;
                inode.used += extent.length();
                inode.size = inode.size.max(end);
                transaction.use_more(extent.length() as i64, 0);
                transaction.put_extent(live, &extent);
            }
            if last {
                inode.size = source.inode.size;
            }
            inode.change += 1;
            transaction.put_inode(live, &inode);
            let sequence = transaction.submit(share, Bytes::new()).await.map_err(share_error)?;
            if last {
                return self.namespace.sync(sequence).await.map_err(control_error);
            }
        }
    }

    pub(super) async fn attributes(&self, source: &Node, live: InodeNumber) -> Result<(), ControlError> {
        let set = attributes_of(&source.inode);
        self.namespace.set_attributes(CONTEXT, live, set, None).await.map_err(control_error)?;
        // Last: with its record a file may come under lock. In a bucket that keeps versions it is one of its own.
        let order = if self.keeps_versions().await? {
            let share = self.namespace.share();
            share.numbers().next(share.live()).await.map_err(share_error)?.0
        } else {
            0
        };
        let wanted = self.wanted(source, (order, false)).await?;
        if wanted != self.extended(self.namespace.share().map(), live).await? {
            self.namespace.replace_extended(CONTEXT, live, wanted).await.map_err(control_error)?;
        }
        Ok(())
    }

    /// The extended attributes that a live file gets of a frozen one; what S3 knows of it stands in a place among the
    /// versions of its key.
    async fn wanted(&self, source: &Node, place: (u64, bool)) -> Result<ExtendedAttributes, ControlError> {
        let mut wanted = self.extended(self.from, source.number).await?;
        rewrite_record(&mut wanted, &source.inode, place);
        Ok(wanted)
    }

    pub(super) async fn keeps_versions(&self) -> Result<bool, ControlError> {
        Ok(self.namespace.reader().versioning().await.map_err(control_error)?.is_some())
    }

    async fn extended(
        &self,
        map: &dyn MapRead,
        number: InodeNumber,
    ) -> Result<ExtendedAttributes, ControlError> {
        Reader { map }.extended_attributes(number).await.map_err(control_error)
    }

    async fn is_as_wanted(&self, source: &Node, live: &Node) -> Result<bool, ControlError> {
        let look = |inode: &Inode| {
            let links = if inode.kind == Kind::Directory { 0 } else { inode.links };
            (
                (inode.kind, inode.mode, inode.uid, inode.gid, links),
                (inode.size, inode.times.modified, inode.device),
            )
        };
        // Names of one file then are names of one file again.
        if self.done.get(&source.number).is_some_and(|first| *first != live.number) {
            return Ok(false);
        }
        if look(&source.inode) != look(&live.inode) || source.inode.target != live.inode.target {
            return Ok(false);
        }
        let live_map = self.namespace.share().map();
        let found = self.extended(live_map, live.number).await?;
        let record = found.get(RECORD_ATTRIBUTE).and_then(|record| ObjectRecord::decode(record).ok());
        let place = record.map_or((0, false), |record| (record.order, record.null));
        if self.wanted(source, place).await? != found {
            return Ok(false);
        }
        let all = |number| -> Range<Vec<u8>> { kind_range(number, b'e', &[]) };
        let one = self.from.scan(all(source.number), EXTENTS_MAX).await.map_err(share_error)?;
        let other = live_map.scan(all(live.number), EXTENTS_MAX).await.map_err(share_error)?;
        let same = one.iter().zip(&other).all(|((_, one), (_, other))| one.same_content(other));
        Ok(one.len() == other.len() && one.len() < EXTENTS_MAX && same)
    }

    async fn live_child(
        &self,
        parent: Option<InodeNumber>,
        name: &[u8],
    ) -> Result<Option<Node>, ControlError> {
        let Some(parent) = parent else { return Ok(None) };
        let reader = self.namespace.reader();
        let parent = reader.node(parent).await.map_err(control_error)?;
        match reader.lookup(&parent, name, &Credentials::ROOT).await {
            Ok(node) => Ok(Some(node)),
            Err(FsError::NotFound) => Ok(None),
            Err(error) => Err(control_error(error)),
        }
    }

    async fn entries(
        &self,
        map: &dyn MapRead,
        directory: InodeNumber,
    ) -> Result<Vec<(Bytes, Entry)>, ControlError> {
        let mut keys = kind_range(directory, b'd', &[]);
        let mut found = Vec::new();
        loop {
            let page = map.scan(keys.clone(), EXTENTS_MAX).await.map_err(share_error)?;
            let last = page.len() < EXTENTS_MAX;
            for (key, value) in page {
                keys.start = [&key.encode()[..], &[0]].concat();
                let Key::Entry(_, name) = key else { continue };
                let entry = Entry::decode(&value.payload).map_err(|error| share_error(error.into()))?;
                found.push((name, entry));
            }
            if last {
                return Ok(found);
            }
        }
    }

    async fn remove_newer(
        &mut self,
        live: InodeNumber,
        wanted: &[(Bytes, Entry)],
    ) -> Result<(), ControlError> {
        let share = self.namespace.share().clone();
        let wanted: HashSet<&Bytes> = wanted.iter().map(|(name, _)| name).collect();
        for (name, _) in self.entries(share.map(), live).await? {
            if !wanted.contains(&name) {
                self.report.removed += 1;
                if !self.dry_run {
                    self.remove_tree(live, &name).await?;
                } else if let Some(node) = self.live_child(Some(live), &name).await? {
                    self.plan_removal(node).await?;
                }
            }
        }
        Ok(())
    }

    /// As [`Restore::remove_tree`]; nothing when there is no such name.
    pub(super) async fn remove_tree_if_there(
        &self,
        parent: InodeNumber,
        name: &[u8],
    ) -> Result<(), ControlError> {
        match self.live_child(Some(parent), name).await? {
            Some(_) => self.remove_tree(parent, name).await,
            None => Ok(()),
        }
    }

    /// Puts a directory, with all that is in it, under a name of a live one.
    pub(super) async fn tree_under(
        &mut self,
        source: Node,
        parent: InodeNumber,
        name: Bytes,
    ) -> Result<(), ControlError> {
        let mut steps = vec![Step::Enter { source, parent: Some(parent), name }];
        self.run(&mut steps).await
    }

    /// Removes a name, and everything below it, deepest first.
    pub(super) async fn remove_tree(&self, parent: InodeNumber, name: &[u8]) -> Result<(), ControlError> {
        let share = self.namespace.share();
        if parent == InodeNumber::ROOT && self.keeps_versions().await? {
            let place = Place { directory: parent, name, flat: true };
            let hidden = self.namespace.hide_object(CONTEXT.credentials, place, |_| Ok(())).await;
            return hidden.map(drop).map_err(|error| ControlError::new(ErrorKind::Failed, error.to_string()));
        }
        let mut steps = vec![(parent, Bytes::copy_from_slice(name))];
        while let Some((parent, name)) = steps.last().cloned() {
            match self.namespace.remove(CONTEXT, parent, &name).await {
                Err(FsError::IsDirectory) => {}
                removed => {
                    removed.map_err(control_error)?;
                    steps.pop();
                    continue;
                }
            }
            match self.namespace.remove_directory(CONTEXT, parent, &name).await {
                Err(FsError::NotEmpty) => {
                    let Some(child) = self.live_child(Some(parent), &name).await? else { continue };
                    let entries = self.entries(share.map(), child.number).await?;
                    steps.extend(entries.into_iter().map(|(name, _)| (child.number, name)));
                }
                removed => {
                    removed.map_err(control_error)?;
                    steps.pop();
                }
            }
        }
        Ok(())
    }
}

/// Whether a live file takes the data of a frozen one. One with further names would change under them: it
/// loses this one instead.
pub(super) fn is_written_over(live: &Node, source: &Node) -> bool {
    let regular = |node: &Node| node.inode.kind == Kind::Regular;
    regular(live) && regular(source) && live.inode.links == 1
}

/// Mode, owner and times as they were.
pub(super) fn attributes_of(inode: &Inode) -> SetAttributes {
    use tidegate_protocols::view::{SetTime, Time};
    let time = |at: tidegate_replicator::map::Timestamp| {
        SetTime::Client(Time { seconds: at.seconds, nanos: at.nanos })
    };
    SetAttributes {
        mode: Some(u32::from(inode.mode)),
        uid: Some(inode.uid),
        gid: Some(inode.gid),
        size: None,
        accessed: time(inode.times.accessed),
        modified: time(inode.times.modified),
    }
}

/// The record of an object that is restored. Digests that did not hold any more when the file was frozen must not come to
/// hold again because the file that is made of it has changed as often by chance; and its place among the versions of its
/// key is that of the live file, since there may still be the version that it was.
fn rewrite_record(attributes: &mut ExtendedAttributes, inode: &Inode, place: (u64, bool)) {
    let Some(value) = attributes.get_mut(RECORD_ATTRIBUTE) else { return };
    let Ok(mut record) = ObjectRecord::decode(value) else { return };
    if record.change != inode.change {
        record.etag.clear();
    }
    (record.order, record.null) = place;
    *value = Bytes::from(record.encode());
}

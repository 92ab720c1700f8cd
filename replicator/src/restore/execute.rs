//! Carries a plan out; see the head of the module for the order of writes.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::attributes::{Authority, Lapses};
use super::batch::{self, BATCH_BYTES_MAX, Piece, Spoilt};
use super::error::{RestoreError, is_systemic};
use super::folder::{Folder, FolderId};
use super::journal::{Journal, STATE_FOLDER};
use super::observer::Observer;
use super::plan::{Plan, RestoreOptions};
use super::report::{FAILURES_MAX, Failure, RestoreReport};
use super::traversal::{Step, Traversal};
use crate::frozen::{Frozen, ReadError};
use crate::map::{Inode, InodeNumber, Kind};

type Extended = Vec<(Bytes, Bytes)>;

/// A name in the share, and where it goes.
struct Place {
    folder: Folder,
    name: Bytes,
    path: Vec<u8>,
    number: InodeNumber,
    inode: Inode,
}

/// Why the restore's own name is not restored.
const OWN_NAME: &str = "it is left out: its name is that of the restore's own folder";

/// What waits for the data of its batch; finished in order.
enum Item {
    File { place: Place, extended: Extended, file: Arc<File>, spoilt: Option<(String, bool)>, whole: bool },
    Special { place: Place, extended: Extended },
    Link { place: Place },
    Leave { folder: Folder, path: Vec<u8>, inode: Inode, extended: Extended },
}

impl Plan {
    /// Restores. What cannot be restored is in the report; an error means that it stopped, and that running
    /// the same restore again goes on.
    pub async fn execute(self, observer: &dyn Observer) -> Result<RestoreReport, RestoreError> {
        let Self { frozen, start, to, identity, earlier, options, .. } = self;
        let folder = open_target(&to).map_err(RestoreError::local(format!("open {}", to.display())))?;
        let noting = || RestoreError::local(format!("write the restore's journal in {}", to.display()));
        let journal = Journal::open(&folder, identity, earlier).map_err(noting())?;
        let mut execution = Execution::new(&frozen, folder, journal, options, observer);
        let mut traversal = Traversal::new(&frozen, &start);
        while let Some(step) = traversal.next().await? {
            execution.tell();
            if observer.is_cancelled() {
                execution.flush().await?;
                execution.settle().await?;
                execution.journal.checkpoint().await.map_err(noting())?;
                return Err(RestoreError::Cancelled);
            }
            if !execution.step(step).await? {
                traversal.skip();
            }
        }
        execution.finish().await.map_err(|error| match error {
            Ended::Restore(error) => error,
            Ended::Journal(error) => noting()(error),
        })
    }
}

fn open_target(to: &Path) -> io::Result<Folder> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to)?;
    Folder::open(to)
}

struct Execution<'a> {
    frozen: &'a Frozen,
    observer: &'a dyn Observer,
    options: RestoreOptions,
    authority: Authority,
    journal: Journal,
    /// The folder that the traversal is in, and those around it.
    folder: Folder,
    around: Vec<FolderId>,
    items: Vec<Item>,
    pieces: Vec<Piece>,
    pieces_bytes: u64,
    /// The batch before, whose data is fetched and written while the files of this one are made.
    pending: Option<Pending>,
    /// Bytes that were written and that the observer has not been told of.
    written: Arc<AtomicU64>,
    /// Files with several names that are in this batch.
    linked: HashSet<InodeNumber>,
    /// The folder of the restore itself: its attributes come last of all.
    top: Option<(Inode, Extended)>,
    failed: BTreeSet<Vec<u8>>,
    /// How many of the failures are attributes that were not taken.
    lapses_named: usize,
    report: RestoreReport,
}

/// A batch whose data is on its way.
struct Pending {
    /// All but the file whose data goes on in the next batch, which is the first item of that.
    items: Vec<Item>,
    bytes: u64,
    work: AbortOnDropHandle<Result<Vec<Spoilt>, RestoreError>>,
}

/// What ended the last step.
enum Ended {
    Restore(RestoreError),
    Journal(io::Error),
}

impl<'a> Execution<'a> {
    fn new(
        frozen: &'a Frozen,
        folder: Folder,
        journal: Journal,
        options: RestoreOptions,
        observer: &'a dyn Observer,
    ) -> Self {
        let authority = Authority::of_this_process();
        let report = RestoreReport { owners_kept: !authority.is_root, ..RestoreReport::default() };
        Self {
            frozen,
            observer,
            options,
            authority,
            journal,
            folder,
            around: Vec::new(),
            items: Vec::new(),
            pieces: Vec::new(),
            pieces_bytes: 0,
            pending: None,
            written: Arc::default(),
            linked: HashSet::new(),
            top: None,
            failed: BTreeSet::new(),
            lapses_named: 0,
            report,
        }
    }

    /// Carries one step out; `false` if the folder that it enters is to be left out.
    async fn step(&mut self, step: Step) -> Result<bool, RestoreError> {
        match step {
            Step::Unreadable { path, why } => self.fail(&path, Failure::damaged(&path, why))?,
            Step::Enter { path, name } => return self.enter(&path, &name),
            Step::Leave { path, number, inode } => self.leave(path, number, inode).await?,
            Step::File { path, name, number, inode } => {
                if self.journal.has(&path) {
                    self.report.files_before += 1;
                } else {
                    let place = Place { folder: self.folder.clone(), name, path, number, inode };
                    self.file(place).await?;
                }
            }
        }
        if self.items.len() >= self.options.files_max {
            self.flush().await?;
        }
        Ok(true)
    }

    fn enter(&mut self, path: &[u8], name: &[u8]) -> Result<bool, RestoreError> {
        if self.is_own(name) {
            self.local(path, OWN_NAME.to_owned())?;
            return Ok(false);
        }
        let entered = self.folder.id().and_then(|id| Ok((id, self.folder.enter(name)?)));
        match entered {
            Ok((id, folder)) => {
                self.around.push(id);
                self.folder = folder;
                self.report.folders += 1;
                Ok(true)
            }
            Err(error) if is_systemic(&error) => Err(RestoreError::at("make folder", path)(error)),
            Err(error) => {
                let why = format!("it and everything in it is missing, since it cannot be made: {error}");
                self.fail(path, Failure::local(path, why))?;
                Ok(false)
            }
        }
    }

    /// Whether a name is taken by the restore itself.
    fn is_own(&self, name: &[u8]) -> bool {
        self.around.is_empty() && name == STATE_FOLDER.as_bytes()
    }

    async fn leave(&mut self, path: Vec<u8>, number: InodeNumber, inode: Inode) -> Result<(), RestoreError> {
        let extended = self.extended(&path, number).await?;
        let Some(id) = self.around.pop() else {
            self.top = Some((inode, extended));
            return Ok(());
        };
        let parent = self.folder.parent(id).map_err(RestoreError::at("go back from folder", &path))?;
        let folder = std::mem::replace(&mut self.folder, parent);
        self.items.push(Item::Leave { folder, path, inode, extended });
        Ok(())
    }

    async fn file(&mut self, place: Place) -> Result<(), RestoreError> {
        if self.is_own(&place.name) {
            return self.local(&place.path, OWN_NAME.to_owned());
        }
        let number = place.number;
        if place.inode.links > 1 {
            let there = self.journal.links.has(number).map_err(RestoreError::at("look for", &place.path))?;
            if there || !self.linked.insert(number) {
                self.items.push(Item::Link { place });
                return Ok(());
            }
        }
        let extended = self.extended(&place.path, number).await?;
        if place.inode.kind != Kind::Regular {
            self.items.push(Item::Special { place, extended });
            return Ok(());
        }
        let made = place.folder.create_file(&place.name).and_then(|file| {
            if place.inode.size > 0 {
                file.set_len(place.inode.size)?;
            }
            Ok(Arc::new(file))
        });
        match made {
            Ok(file) => {
                self.items.push(Item::File { place, extended, file, spoilt: None, whole: false });
                self.data().await
            }
            Err(error) if is_systemic(&error) => Err(RestoreError::at("make", &place.path)(error)),
            Err(error) => self.local(&place.path, format!("it cannot be made: {error}")),
        }
    }

    /// Plans the data of the last item, and fetches whenever a batch of it is full.
    async fn data(&mut self) -> Result<(), RestoreError> {
        let Some(Item::File { place, .. }) = self.items.last() else { return Ok(()) };
        let (number, size) = (place.number, place.inode.size);
        let planned = self.plan_data(number, size).await;
        let Some(Item::File { spoilt, whole, .. }) = self.items.last_mut() else { return Ok(()) };
        *whole = true;
        match planned {
            Ok(()) => Ok(()),
            Err(RestoreError::Read(ReadError::Damaged(why))) => {
                *spoilt = Some((why, true));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn plan_data(&mut self, number: InodeNumber, size: u64) -> Result<(), RestoreError> {
        let mut extents = self.frozen.extents(number).await?;
        while let Some(extent) = extents.next(size).await? {
            self.pieces.push(Piece::new(self.items.len() - 1, &extent)?);
            self.pieces_bytes += extent.length();
            if self.pieces_bytes >= BATCH_BYTES_MAX {
                self.flush().await?;
                if let Some(Item::File { spoilt: Some(_), .. }) = self.items.last() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Tells the observer what was written since it was told last.
    fn tell(&self) {
        let bytes = self.written.swap(0, Ordering::Relaxed);
        if bytes > 0 {
            self.observer.written(bytes);
        }
    }

    /// Begins to fetch and write what was planned, after finishing the batch before.
    async fn flush(&mut self) -> Result<(), RestoreError> {
        self.settle().await?;
        let files: Vec<Option<Arc<File>>> = self.items.iter().map(Item::open_file).collect();
        let (pieces, bytes) = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.pieces_bytes));
        let work = batch::carry_out(self.frozen.clone(), files, pieces, self.written.clone());
        let work = AbortOnDropHandle::new(tokio::spawn(work));
        let mut items = std::mem::take(&mut self.items);
        if matches!(items.last(), Some(Item::File { whole: false, .. })) {
            self.items.extend(items.pop());
        }
        self.pending = Some(Pending { items, bytes, work });
        Ok(())
    }

    /// Waits for the data of the batch before, and finishes every item of it.
    async fn settle(&mut self) -> Result<(), RestoreError> {
        let Some(Pending { mut items, bytes, work }) = self.pending.take() else { return Ok(()) };
        let died = |error| RestoreError::local("write file data")(io::Error::other(error));
        let spoilt = work.await.map_err(died)??;
        self.tell();
        let here = items.len();
        for found in spoilt {
            let item = if found.file == here { self.items.first_mut() } else { items.get_mut(found.file) };
            if let Some(Item::File { spoilt, .. }) = item {
                spoilt.get_or_insert((found.why, found.damaged));
            }
        }
        self.report.bytes += bytes;
        self.linked.retain(|number| self.items.iter().any(|item| item.number() == Some(*number)));
        let mut last = None;
        for item in items {
            last = item.file_path().map(<[u8]>::to_vec).or(last);
            self.finish_item(item)?;
        }
        let Some(last) = last else { return Ok(()) };
        let noted = self.journal.advance(&last).await;
        noted.map_err(RestoreError::local("write the restore's journal"))
    }

    fn finish_item(&mut self, item: Item) -> Result<(), RestoreError> {
        match item {
            Item::File { place, spoilt: Some((why, damaged)), .. } => {
                place.folder.clear(&place.name).map_err(RestoreError::at("remove", &place.path))?;
                let failure = if damaged { Failure::damaged } else { Failure::local };
                self.fail(&place.path, failure(&place.path, format!("it is left out: {why}")))
            }
            Item::File { place, extended, file, .. } => {
                let lapses = self.authority.apply(&*file, &place.inode, &extended);
                self.made(&place, lapses)
            }
            Item::Special { place, extended } => {
                match place.folder.create_special(&place.name, &place.inode) {
                    Ok(()) => {
                        let Place { folder, name, inode, .. } = &place;
                        let lapses = self.authority.apply_by_name(folder, name, inode, &extended);
                        self.made(&place, lapses)
                    }
                    Err(error) if is_systemic(&error) => Err(RestoreError::at("make", &place.path)(error)),
                    Err(error) => self.local(&place.path, format!("it cannot be made: {error}")),
                }
            }
            Item::Link { place } => self.link(&place),
            Item::Leave { folder, path, inode, extended } => {
                let lapses = self.authority.apply(&folder, &inode, &extended);
                self.lapsed(&path, lapses)
            }
        }
    }

    fn link(&mut self, place: &Place) -> Result<(), RestoreError> {
        match self.journal.links.link(place.number, &place.folder, &place.name) {
            Ok(()) => {
                self.report.files += 1;
                Ok(())
            }
            Err(error) if is_systemic(&error) => Err(RestoreError::at("link", &place.path)(error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why = "it is left out: the file under its other name could not be restored";
                self.fail(&place.path, Failure::damaged(&place.path, why))
            }
            Err(error) => self.local(&place.path, format!("it cannot be made a link: {error}")),
        }
    }

    /// A file is there under its name.
    fn made(&mut self, place: &Place, lapses: Lapses) -> Result<(), RestoreError> {
        self.report.files += 1;
        if place.inode.links > 1 {
            let kept = self.journal.links.keep(place.number, &place.folder, &place.name);
            kept.map_err(RestoreError::at("keep a link to", &place.path))?;
        }
        self.lapsed(&place.path, lapses)
    }

    fn lapsed(&mut self, path: &[u8], lapses: Lapses) -> Result<(), RestoreError> {
        self.report.set_id_dropped += u64::from(lapses.set_id_dropped);
        for why in lapses.unset {
            // Where this machine refuses an attribute it refuses it of every file: that ends no restore.
            if self.lapses_named < self.options.lapses_named_max {
                self.lapses_named += 1;
                self.local(path, why)?;
            } else {
                self.report.lapses_unnamed += 1;
            }
        }
        Ok(())
    }

    /// The extended attributes; that they are lost keeps nothing else from being restored.
    async fn extended(&mut self, path: &[u8], number: InodeNumber) -> Result<Extended, RestoreError> {
        match self.frozen.extended_attributes(number).await {
            Ok(extended) => Ok(extended),
            Err(error @ (ReadError::Away(_) | ReadError::Asleep(_))) => Err(error.into()),
            Err(ReadError::Damaged(why)) => {
                let why = format!("its extended attributes are lost: {why}");
                self.fail(path, Failure::damaged(path, why))?;
                Ok(Vec::new())
            }
        }
    }

    fn local(&mut self, path: &[u8], why: String) -> Result<(), RestoreError> {
        self.fail(path, Failure::local(path, why))
    }

    fn fail(&mut self, path: &[u8], failure: Failure) -> Result<(), RestoreError> {
        self.journal.failed(path);
        self.failed.insert(path.to_vec());
        self.report.failures.push(failure);
        let count = self.report.failures.len();
        if count <= FAILURES_MAX {
            return Ok(());
        }
        Err(RestoreError::TooManyFailures { count, damaged: self.report.has_damage() })
    }

    /// Everything has been tried. When something failed, the journal stays, for the next run to try it again.
    async fn finish(mut self) -> Result<RestoreReport, Ended> {
        self.flush().await.map_err(Ended::Restore)?;
        self.settle().await.map_err(Ended::Restore)?;
        let top = self.folder.clone();
        if self.report.is_complete() {
            self.journal.finish().await.map_err(Ended::Journal)?;
        } else {
            self.journal.keep_failures(self.failed).await.map_err(Ended::Journal)?;
        }
        if let Some((inode, extended)) = &self.top {
            let lapses = self.authority.apply(&top, inode, extended);
            self.report.failures.extend(lapses.unset.into_iter().map(|why| Failure::local(b"/", why)));
        }
        Ok(self.report)
    }
}

impl Item {
    fn open_file(&self) -> Option<Arc<File>> {
        match self {
            Self::File { file, spoilt: None, .. } => Some(file.clone()),
            Self::File { .. } | Self::Special { .. } | Self::Link { .. } | Self::Leave { .. } => None,
        }
    }

    fn number(&self) -> Option<InodeNumber> {
        match self {
            Self::File { place, .. } | Self::Special { place, .. } | Self::Link { place } => {
                Some(place.number)
            }
            Self::Leave { .. } => None,
        }
    }

    /// The path, of what counts for how far the restore has come.
    fn file_path(&self) -> Option<&[u8]> {
        match self {
            Self::File { place, .. } | Self::Special { place, .. } | Self::Link { place } => {
                Some(&place.path)
            }
            Self::Leave { .. } => None,
        }
    }
}

//! One backup, from the list to the new root.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_chunker::{ChunkParams, DomainKeys};
use tokio::runtime::Handle;

use super::before::Before;
use super::edits::Edits;
use super::error::BackupError;
use super::gone::Making;
use super::links::Links;
use super::list::Listing;
use super::plan::Planner;
use super::report::Report;
use super::sorter::Sorter;
use super::source::{Observer, Source, checkpoint};
use super::take::{Taker, WantedList};
use crate::frozen::Frozen;
use crate::ingest::{Ingest, IngestOptions, IngestReport, Known, TreeSink, random_pack_ids};
use crate::repository::Usage;
use crate::tree::{Root, apply};

/// The parts of the memory that lists take: the list of the source while it is made, and afterwards edits, names and
/// claims.
const LIST_PART: usize = 2;
const EDITS_PART: usize = 2;
const NAMES_PART: usize = 8;

/// What there was before.
#[derive(Clone)]
pub struct Base {
    /// The map; of an empty root when there was nothing.
    pub frozen: Frozen,
    /// How much it holds.
    pub usage: Usage,
    /// No inode of it, nor of any earlier map of the line, has this number or a higher one.
    pub next_inode: u64,
}

/// What a backup works with.
pub struct Tools<'a> {
    /// Keys of the domain.
    pub keys: Arc<DomainKeys>,
    /// How content is cut.
    pub params: ChunkParams,
    /// What is stored already.
    pub known: Arc<dyn Known>,
    /// How packs are made.
    pub ingest: IngestOptions,
    /// A folder for lists; they have no names there, and go with the process.
    pub scratch: PathBuf,
    /// Memory for lists, in bytes, about.
    pub memory_bytes_max: usize,
    /// For what is async.
    pub runtime: Handle,
    /// Who watches.
    pub observer: &'a dyn Observer,
}

/// What is asked of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Read everything, also what does not look changed.
    pub rescan: bool,
    /// Take a source with nothing in it for what it is. One of which nothing can be read is an error all the same.
    pub allow_empty: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The new map; that of the base when nothing has changed.
    pub root: Root,
    /// How much it holds.
    pub usage: Usage,
    /// See [`Base::next_inode`].
    pub next_inode: u64,
    /// Keys that were edited.
    pub entries_changed: u64,
    /// What the data cost.
    pub data: IngestReport,
    /// What was done.
    pub report: Report,
}

/// Makes a new root of what a source has now. Blocks; must not be called on a thread that drives async work.
pub fn back_up(
    source: &mut dyn Source,
    base: &Base,
    tools: &Tools<'_>,
    options: Options,
) -> Result<Outcome, BackupError> {
    let mut report = Report::default();
    let room = (&*tools.scratch, tools.memory_bytes_max / LIST_PART);
    let listing = Listing::take(source, room, &mut report, tools.observer)?;
    let sorter = |part: usize| Sorter::new(tools.scratch.clone(), tools.memory_bytes_max / part);
    let mut making = Making {
        before: Before::new(&base.frozen, &tools.runtime),
        edits: Edits::new(&tools.scratch, tools.memory_bytes_max / EDITS_PART),
        next_inode: base.next_inode.max(2),
        bytes: 0,
        inodes: 0,
        things: 0,
        frame: source.frame().into_iter().collect(),
        report,
        observer: tools.observer,
        claims: sorter(NAMES_PART),
    };
    let mut wanted = WantedList::create(&tools.scratch)?;
    let mut links = Links::new(sorter(NAMES_PART));
    Planner::new(&mut making, &mut wanted, &mut links, options.rescan).run(listing)?;
    links.join(&mut making, &mut wanted, options.rescan)?;
    making.settle_claims(sorter(NAMES_PART))?;
    refuse_nothing(&making, options)?;
    let data = read(source, &mut making, wanted, tools)?;
    refuse_nothing(&making, options)?;
    checkpoint(tools.observer)?;
    tools.observer.phase("make the tree", None, false);
    let (root, entries_changed) = tree(making.edits, base, tools)?;
    let grown = |before: u64, by: i64| before.saturating_add_signed(by);
    Ok(Outcome {
        root,
        usage: Usage {
            bytes: grown(base.usage.bytes, making.bytes),
            inodes: grown(base.usage.inodes, making.inodes),
            ..Usage::default()
        },
        next_inode: making.next_inode,
        entries_changed,
        data,
        report: making.report,
    })
}

/// What is there and cannot be read is not nothing.
fn refuse_nothing(making: &Making<'_>, options: Options) -> Result<(), BackupError> {
    match &making.report.first_missing {
        _ if making.things > 0 => Ok(()),
        Some(first) => Err(BackupError::NothingRead { path: first.path.clone(), why: first.why.clone() }),
        None if options.allow_empty => Ok(()),
        None => Err(BackupError::Empty),
    }
}

fn read(
    source: &mut dyn Source,
    making: &mut Making<'_>,
    wanted: WantedList,
    tools: &Tools<'_>,
) -> Result<IngestReport, BackupError> {
    tools.observer.phase("read what is new", Some(wanted.bytes), true);
    let mut ingest = start(tools)?;
    let mut taker = Taker::new(making, &mut ingest, &tools.scratch);
    source.read(Box::new(wanted.read()?), &mut |wanted, opened| taker.take(wanted, opened))?;
    for (receipt, late) in source.afterwards() {
        taker.afterwards(receipt, late)?;
    }
    Ok(ingest.finish()?)
}

fn start(tools: &Tools<'_>) -> Result<Ingest, BackupError> {
    let (keys, known) = (tools.keys.clone(), tools.known.clone());
    Ok(Ingest::start(keys, tools.params, known, random_pack_ids(), tools.ingest.clone())?)
}

/// The new root, and how many keys were edited.
fn tree(edits: Edits, base: &Base, tools: &Tools<'_>) -> Result<(Root, u64), BackupError> {
    let edits = edits.finish(&base.frozen, tools.known.clone());
    let edits = edits.map_err(BackupError::local("sort the changes of this run"))?;
    let mut changed = 0;
    let counted = futures::StreamExt::inspect(edits, |_| changed += 1);
    let mut sink = TreeSink::new(start(tools)?);
    let (keys, nodes) = (&*tools.keys, &*base.frozen.nodes);
    let root = tools.runtime.block_on(apply(&base.frozen.root, &[], counted, nodes, &mut sink, keys))?;
    tools.runtime.block_on(sink.into_ingest())?.finish()?;
    Ok((root, changed))
}

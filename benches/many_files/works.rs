//! What is done with the files: who does which of them, call by call.
//!
//! In the large directory every operation on its way works on its own part of the names. The other
//! directories are dealt out among the connections, each of which goes through its own one by one, as a
//! program does that walks a tree.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_benches::calls::Listing;
use tidegate_benches::{Call, Chance, Outcome, Run, Work, calls, pump_all};

use crate::Settings;
use crate::tree::{Seen, Tree, name};

/// What is done with each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Create,
    /// LOOKUP, then GETATTR of what was found.
    Stat,
    Remove,
}

/// Who does what.
pub(crate) struct Works<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) settings: &'a Settings,
    pub(crate) tree: &'a Tree,
}

impl Works<'_> {
    /// A step with each file of the large directory.
    pub(crate) fn in_one(&self, step: Step) -> Outcome<Run> {
        let Settings { connections, depth, .. } = *self.settings;
        self.pump(None, |connection, slot| {
            let files = self.tree.files_in(Tree::LARGE);
            Sweep::new(self.tree, step, files.skip(connection * depth + slot).step_by(connections * depth))
        })
    }

    /// A step with each file of the other directories, until the time is over.
    pub(crate) fn in_others(&self, step: Step, time: Option<Duration>) -> Outcome<Run> {
        let depth = self.settings.depth;
        self.pump(time, |connection, slot| {
            let files = self
                .dealt(connection)
                .flat_map(move |directory| self.tree.files_in(directory).skip(slot).step_by(depth));
            Sweep::new(self.tree, step, files)
        })
    }

    /// Stats files anywhere in the tree.
    pub(crate) fn anywhere(&self) -> Outcome<Run> {
        self.pump(Some(self.settings.time), |connection, slot| {
            let mut chance = Chance::new((connection * self.settings.depth + slot) as u64);
            let all = self.tree.files().end.max(1);
            let files = std::iter::repeat_with(move || chance.below(all));
            Sweep::new(self.tree, Step::Stat, files)
        })
    }

    /// Lists the large directory, which must show all of its files, or none.
    pub(crate) fn list_one(&self, listing: Listing, all: bool) -> Outcome<Run> {
        pump_all(self.address, 1, None, |_, _| {
            Ok(vec![Lister::new(self.tree, listing, all, std::iter::once(Tree::LARGE))])
        })
    }

    /// Lists the other directories, which must show all of their files, or none.
    pub(crate) fn list_others(&self, listing: Listing, all: bool) -> Outcome<Run> {
        let depth = self.settings.depth;
        self.pump(None, |connection, slot| {
            Lister::new(self.tree, listing, all, self.dealt(connection).skip(slot).step_by(depth))
        })
    }

    /// The directories of a connection.
    fn dealt(&self, connection: usize) -> impl Iterator<Item = usize> + use<> {
        self.tree.others().skip(connection).step_by(self.settings.connections)
    }

    fn pump<W: Work + Send>(
        &self,
        time: Option<Duration>,
        work: impl Fn(usize, usize) -> W + Sync,
    ) -> Outcome<Run> {
        let Settings { connections, depth, .. } = *self.settings;
        pump_all(self.address, connections, time, |connection, _| {
            Ok((0..depth).map(|slot| work(connection, slot)).collect())
        })
    }
}

/// A step with one file after the other.
struct Sweep<'a, F> {
    tree: &'a Tree,
    step: Step,
    files: F,
    /// The present file.
    file: u64,
    /// Whether it has been looked up.
    found: bool,
}

impl<'a, F> Sweep<'a, F> {
    fn new(tree: &'a Tree, step: Step, files: F) -> Self {
        Self { tree, step, files, file: 0, found: false }
    }

    fn first_call(&mut self) -> Outcome<Call> {
        let (directory, name) = (self.tree.handle(self.tree.directory_of(self.file))?, name(self.file));
        self.found = false;
        match self.step {
            Step::Create => calls::create(directory, &name),
            Step::Stat => calls::lookup(directory, &name),
            Step::Remove => calls::remove(directory, &name),
        }
    }
}

impl<F: Iterator<Item = u64>> Work for Sweep<'_, F> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        let Some(file) = self.files.next() else { return Ok(None) };
        self.file = file;
        self.first_call().map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        if calls::is_for_later(body) {
            self.tree.note_for_later();
            return self.first_call().map(Some);
        }
        calls::check(body)?;
        if self.step != Step::Stat || std::mem::replace(&mut self.found, true) {
            return Ok(None);
        }
        calls::getattr(&calls::found(body)?).map(Some)
    }
}

/// Lists one directory after the other, from end to end.
struct Lister<'a, D> {
    tree: &'a Tree,
    listing: Listing,
    all: bool,
    directories: D,
    directory: usize,
    seen: Seen,
    /// Names in the last directory that was listed.
    names: u64,
}

impl<'a, D: Iterator<Item = usize>> Lister<'a, D> {
    fn new(tree: &'a Tree, listing: Listing, all: bool, directories: D) -> Self {
        let (directory, seen) = (Tree::LARGE, Seen::none_of(0..0));
        Self { tree, listing, all, directories, directory, seen, names: 0 }
    }
}

impl<D: Iterator<Item = usize>> Work for Lister<'_, D> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        let Some(directory) = self.directories.next() else { return Ok(None) };
        self.directory = directory;
        self.seen = Seen::none_of(self.tree.files_in(directory));
        calls::list(self.listing, self.tree.handle(directory)?, (0, [0; 8])).map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        let next = calls::listed(self.listing, body, |name| self.seen.see(name))?;
        let Some(place) = next else {
            let files = self.tree.files_in(self.directory);
            self.names = self.seen.finish(if self.all { files.end - files.start } else { 0 })?;
            return Ok(None);
        };
        calls::list(self.listing, self.tree.handle(self.directory)?, place).map(Some)
    }

    fn units(&self) -> u64 {
        self.names
    }
}

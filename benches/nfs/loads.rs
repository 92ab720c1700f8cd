//! The loads: what one operation of each row is.

use nfs3_types::nfs3::{nfs_fh3, stable_how};
use tidegate_benches::calls::Listing;
use tidegate_benches::{Call, Chance, Connection, Outcome, Payload, Work, calls};

use crate::scene::{READ_FILE_BYTES, Scene, WRITTEN_FILE_BYTES};

pub(crate) const SMALL_BYTES: u64 = 4 << 10;
pub(crate) const LARGE_BYTES: u64 = 1 << 20;
/// Writes of a batch before its COMMIT.
const BATCH_WRITES: u32 = 64;
/// Writes of a file before its COMMIT.
const FILE_WRITES: u32 = 16;
/// Files that each slot of the load that removes has to remove.
const REMOVED_FILES: usize = 256;
/// Files that a slot writes to in turn, so that no file grows without bound.
const FILES_OF_A_SLOT: u64 = 4;

/// What one operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    Null,
    Getattr,
    Lookup,
    /// LOOKUP, GETATTR.
    Stat,
    /// READDIRPLUS to the end of a directory; counts its entries.
    List,
    /// CREATE, an unstable WRITE of 4 KiB, COMMIT.
    SmallFile,
    Remove,
    /// An unstable WRITE of 1 MiB, COMMIT.
    LargeWrite,
    /// Unstable WRITEs of 1 MiB from the start of a file to its end, COMMIT; counts the writes.
    WholeFile,
    /// A WRITE of 4 KiB anywhere in a file, FILE_SYNC.
    SyncWrite,
    /// Unstable WRITEs of 4 KiB anywhere in a file, COMMIT; counts the writes.
    BatchWrite,
    LargeRead,
    RandomRead,
}

/// All of them, by name.
pub(crate) const LOADS: [(Load, &str); 13] = [
    (Load::Null, "null"),
    (Load::Getattr, "getattr"),
    (Load::Lookup, "lookup"),
    (Load::Stat, "stat: lookup, getattr"),
    (Load::List, "list: entries of 10,000, readdirplus"),
    (Load::SmallFile, "create, write 4 KiB, commit"),
    (Load::Remove, "remove"),
    (Load::LargeWrite, "write 1 MiB, commit each"),
    (Load::WholeFile, "write 1 MiB, commit each 16"),
    (Load::SyncWrite, "write 4 KiB, at random, file_sync"),
    (Load::BatchWrite, "write 4 KiB, at random, commit each 64"),
    (Load::LargeRead, "read 1 MiB, in order"),
    (Load::RandomRead, "read 4 KiB, at random"),
];

/// The files that a slot of this name removes.
pub(crate) fn names_to_remove(slot: &str) -> Vec<String> {
    (0..REMOVED_FILES).map(|number| format!("remove-{slot}-{number}")).collect()
}

/// One operation at a time.
pub(crate) struct Slot<'a> {
    scene: &'a Scene,
    load: Load,
    chance: Chance,
    name: String,
    /// What it writes to.
    file: Option<nfs_fh3>,
    /// Files of its own, in turn.
    own: Vec<nfs_fh3>,
    data: Payload,
    operations: u64,
    /// Calls of the present operation that were answered.
    answered: u32,
    /// Whether a WRITE of the present operation waits for a COMMIT.
    to_commit: bool,
    /// Entries listed by the present operation.
    entries: u64,
}

impl<'a> Slot<'a> {
    /// `connection` is the number of its connection, and `name` is its own.
    pub(crate) fn new(
        scene: &'a Scene,
        way: &mut Connection,
        load: Load,
        (connection, name): (usize, String),
        mut chance: Chance,
    ) -> Outcome<Self> {
        let own = if load.writes_files_of_its_own() { FILES_OF_A_SLOT } else { 0 };
        let own = (0..own)
            .map(|number| calls::create_now(way, &scene.directory, &format!("own-{name}-{number}")))
            .collect::<Outcome<Vec<_>>>()?;
        let bytes = if own.is_empty() { SMALL_BYTES } else { LARGE_BYTES };
        let data = Payload::from(chance.bytes(bytes as usize));
        let file = scene.written.get(connection).cloned();
        Ok(Self {
            scene,
            load,
            chance,
            name,
            file,
            own,
            data,
            operations: 0,
            answered: 0,
            to_commit: false,
            entries: 0,
        })
    }

    /// Where one of the pieces of a file begins, any of them.
    fn anywhere(&mut self, file_bytes: u64) -> u64 {
        self.chance.below(file_bytes / SMALL_BYTES) * SMALL_BYTES
    }

    fn file(&self) -> Outcome<&nfs_fh3> {
        self.file.as_ref().ok_or_else(|| "no file to write to".into())
    }

    /// Goes on to the next of its own files.
    fn next_file(&mut self) {
        self.file = self.own.get((self.operations % FILES_OF_A_SLOT) as usize).cloned();
    }

    /// A WRITE of the present operation.
    fn write(&mut self) -> Outcome<Call> {
        let (offset, stable) = match self.load {
            Load::SyncWrite => (self.anywhere(WRITTEN_FILE_BYTES), stable_how::FILE_SYNC),
            Load::BatchWrite => (self.anywhere(WRITTEN_FILE_BYTES), stable_how::UNSTABLE),
            Load::WholeFile => (u64::from(self.answered) * LARGE_BYTES, stable_how::UNSTABLE),
            Load::LargeWrite => {
                let place = self.operations / FILES_OF_A_SLOT % u64::from(FILE_WRITES);
                (place * LARGE_BYTES, stable_how::UNSTABLE)
            }
            _ => (0, stable_how::UNSTABLE),
        };
        calls::write(self.file()?, offset, &self.data, stable)
    }

    /// What comes after the answer to a WRITE, when so many belong to an operation.
    fn after_write(&mut self, body: &[u8], writes: u32) -> Outcome<Option<Call>> {
        self.to_commit |= calls::is_to_commit(body)?;
        if self.answered < writes {
            return self.write().map(Some);
        }
        if self.to_commit { calls::commit(self.file()?).map(Some) } else { Ok(None) }
    }
}

impl Load {
    fn writes_files_of_its_own(self) -> bool {
        matches!(self, Self::LargeWrite | Self::WholeFile)
    }

    /// WRITEs of an operation.
    fn writes(self) -> u32 {
        match self {
            Self::WholeFile => FILE_WRITES,
            Self::BatchWrite => BATCH_WRITES,
            Self::LargeWrite | Self::SyncWrite => 1,
            _ => 0,
        }
    }
}

impl Work for Slot<'_> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        let scene = self.scene;
        (self.answered, self.to_commit, self.entries) = (0, false, 0);
        let number = self.operations;
        self.operations += 1;
        let call = match self.load {
            Load::Null => calls::null(),
            Load::Getattr => calls::getattr(&scene.file),
            Load::Lookup | Load::Stat => calls::lookup(&scene.directory, "file"),
            Load::List => calls::list(Listing::Objects, &scene.listed, (0, [0; 8])),
            Load::SmallFile => calls::create(&scene.directory, &format!("small-{}-{number}", self.name)),
            Load::Remove if number == REMOVED_FILES as u64 => return Ok(None),
            Load::Remove => calls::remove(&scene.directory, &format!("remove-{}-{number}", self.name)),
            Load::LargeWrite | Load::WholeFile => {
                self.next_file();
                self.write()
            }
            Load::SyncWrite | Load::BatchWrite => self.write(),
            Load::LargeRead => {
                calls::read(&scene.file, number * LARGE_BYTES % READ_FILE_BYTES, LARGE_BYTES as usize)
            }
            Load::RandomRead => {
                let offset = self.anywhere(READ_FILE_BYTES);
                calls::read(&scene.file, offset, SMALL_BYTES as usize)
            }
        };
        call.map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        self.answered += 1;
        if self.load != Load::Null {
            calls::check(body)?;
        }
        match (self.load, self.answered) {
            (Load::Stat, 1) => calls::getattr(&calls::found(body)?).map(Some),
            (Load::List, _) => {
                let next = calls::listed(Listing::Objects, body, |_| self.entries += 1)?;
                next.map(|place| calls::list(Listing::Objects, &self.scene.listed, place)).transpose()
            }
            (Load::SmallFile, 1) => {
                self.file = Some(calls::created(body)?);
                self.write().map(Some)
            }
            (Load::SmallFile, 2) => self.after_write(body, 0),
            (load, answered) if answered <= load.writes() => self.after_write(body, load.writes()),
            (_, _) => Ok(None),
        }
    }

    fn units(&self) -> u64 {
        match self.load {
            Load::List => self.entries,
            load => u64::from(load.writes().max(1)),
        }
    }
}

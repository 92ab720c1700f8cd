//! A server with what loads need: files to read and to write to, a directory to list.

use std::sync::atomic::{AtomicU64, Ordering};

use nfs3_types::nfs3::{nfs_fh3, stable_how};
use tidegate_benches::{Chance, Connection, Outcome, Payload, Run, Server, Work, calls, pump, pump_all};

use crate::Settings;
use crate::loads::{LARGE_BYTES, Load, Slot, names_to_remove};

/// Length of the file that is read, in bytes.
pub(crate) const READ_FILE_BYTES: u64 = 64 << 20;
/// Length of the file that a connection writes to at random, in bytes.
pub(crate) const WRITTEN_FILE_BYTES: u64 = 16 << 20;
/// Entries of the directory that is listed.
const LISTED_ENTRIES: u64 = 10_000;
/// Calls on their way while a scene is made.
const SETUP_DEPTH: u64 = 16;

/// See the head of this module.
pub(crate) struct Scene {
    /// The server.
    pub(crate) server: Server,
    /// Where all is.
    pub(crate) directory: nfs_fh3,
    /// What is read; its name is `file`.
    pub(crate) file: nfs_fh3,
    /// One for each connection, to write to at random.
    pub(crate) written: Vec<nfs_fh3>,
    /// What is listed.
    pub(crate) listed: nfs_fh3,
    /// So that no two runs make the same name.
    runs: AtomicU64,
}

impl Scene {
    /// Fills a server.
    pub(crate) fn new(server: Server, connections: usize) -> Outcome<Self> {
        let root = Connection::open(server.mount)?.mount(&server.export)?;
        let mut connection = Connection::open(server.nfs)?;
        let directory = calls::make_directory(&mut connection, &root, "bench")?;
        let file = filled_file(&mut connection, &directory, "file", READ_FILE_BYTES)?;
        let written = (0..connections)
            .map(|number| {
                filled_file(&mut connection, &directory, &format!("written-{number}"), WRITTEN_FILE_BYTES)
            })
            .collect::<Outcome<Vec<_>>>()?;
        let listed = calls::make_directory(&mut connection, &root, "listed")?;
        let names =
            (0..LISTED_ENTRIES).map(|number| format!("an-entry-of-some-length-{number:06}")).collect();
        create_all(&mut connection, &listed, names)?;
        Ok(Self { server, directory, file, written, listed, runs: AtomicU64::new(0) })
    }

    /// Runs a load.
    pub(crate) fn run(&self, load: Load, settings: Settings, round: usize) -> Outcome<Run> {
        let Settings { connections, depth, time } = settings;
        let of_run = self.runs.fetch_add(1, Ordering::Relaxed);
        // What is removed ends by itself, when all has been.
        let time = (load != Load::Remove).then_some(time);
        pump_all(self.server.nfs, connections, time, |number, connection| {
            let slots = depth * number..depth * (number + 1);
            slots
                .map(|slot| {
                    let name = format!("{of_run:x}-{slot:x}");
                    if load == Load::Remove {
                        create_all(connection, &self.directory, names_to_remove(&name))?;
                    }
                    let chance = Chance::new((round as u64) << 32 | slot as u64);
                    Slot::new(self, connection, load, (number, name), chance)
                })
                .collect()
        })
    }
}

fn filled_file(connection: &mut Connection, directory: &nfs_fh3, name: &str, bytes: u64) -> Outcome<nfs_fh3> {
    let file = calls::create_now(connection, directory, name)?;
    let mut chance = Chance::new(1);
    for piece in 0..bytes / LARGE_BYTES {
        let data = Payload::from(chance.bytes(LARGE_BYTES as usize));
        let call = calls::write(&file, piece * LARGE_BYTES, &data, stable_how::FILE_SYNC)?;
        calls::check(connection.exchange_one(&call)?)?;
    }
    Ok(file)
}

/// Makes empty files, several at once.
fn create_all(connection: &mut Connection, directory: &nfs_fh3, names: Vec<String>) -> Outcome<()> {
    let part = names.len().div_ceil(SETUP_DEPTH as usize).max(1);
    let mut works: Vec<_> =
        names.chunks(part).map(|names| Create { directory, names: names.iter() }).collect();
    pump(connection, &mut works, None)?;
    Ok(())
}

struct Create<'a> {
    directory: &'a nfs_fh3,
    names: std::slice::Iter<'a, String>,
}

impl Work for Create<'_> {
    fn begin(&mut self) -> Outcome<Option<tidegate_benches::Call>> {
        self.names.next().map(|name| calls::create(self.directory, name)).transpose()
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<tidegate_benches::Call>> {
        calls::check(body).map(|()| None)
    }
}

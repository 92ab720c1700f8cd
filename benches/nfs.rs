//! How much does a served Tidegate do a second, beside an NFS server over the local file system?
//!
//! ```text
//! cargo bench -p tidegate-benches --bench nfs -- [--connections=2] [--depth=8] [--seconds=2] [--rounds=3]
//! ```
//!
//! Raw calls over TCP, so many connections with so many calls on their way each; no cache of a client
//! stands between. The peer is nfs-ganesha over a folder of the same disk (Debian: `nfs-ganesha
//! nfs-ganesha-vfs`, and a running `rpcbind`), if it is installed, taking turns for each kind of call.
//!
//! What both guarantee: written data is on stable storage when COMMIT is answered. What only Tidegate
//! guarantees: a created name is, when CREATE is answered, as the protocol asks; nfs-ganesha leaves names
//! to the file system's next transaction, some seconds later. Tidegate keeps checksums and, later, moves
//! the data into encrypted packs; no commit falls into the time measured here.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nfs3_types::nfs3::{
    COMMIT3args, CREATE3args, CREATE3res, GETATTR3args, LOOKUP3args, MKDIR3args, MKDIR3res, NFS_PROGRAM,
    Nfs3Option, Nfs3Result, READ3args, WRITE3args, createhow3, diropargs3, nfs_fh3, sattr3, stable_how,
};
use nfs3_types::xdr_codec::{Opaque, Unpack, Void};
use tidegate_benches::{Arguments, Call, Chance, Connection, Outcome, Server, Table, median, scratch, times};

const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 1 << 20;
/// Length of the file that is read, in bytes.
const READ_FILE_BYTES: usize = 64 << 20;

/// What one operation is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Null,
    Getattr,
    Lookup,
    /// CREATE, an unstable WRITE of 4 KiB, COMMIT.
    SmallFile,
    /// An unstable WRITE of 1 MiB to a file of one's own, COMMIT.
    LargeWrite,
    LargeRead,
    RandomRead,
}

const LOADS: [(Load, &str); 7] = [
    (Load::Null, "null"),
    (Load::Getattr, "getattr"),
    (Load::Lookup, "lookup"),
    (Load::SmallFile, "create, write 4 KiB, commit"),
    (Load::LargeWrite, "write 1 MiB, commit"),
    (Load::LargeRead, "read 1 MiB, in order"),
    (Load::RandomRead, "read 4 KiB, at random"),
];

/// What a run is given.
#[derive(Clone, Copy)]
struct Settings {
    connections: usize,
    depth: usize,
    time: Duration,
}

/// What a run found.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    median_ms: f64,
    slowest_hundredth_ms: f64,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let rounds: usize = arguments.setting("rounds", 3)?;
    let settings = Settings {
        connections: arguments.setting("connections", 2)?,
        depth: arguments.setting("depth", 8)?,
        time: Duration::from_secs_f64(arguments.setting("seconds", 2.0)?),
    };
    let folder = scratch()?;
    let mut scenes = Vec::new();
    match Server::tidegate(&folder.path().join("tidegate"))? {
        Some(server) => scenes.push(Scene::new(server)?),
        None => println!(
            "nfs: no tidegate beside this program: `cargo build --release -p tidegate-gateway` makes it"
        ),
    }
    match Server::ganesha(&folder.path().join("ganesha")) {
        Ok(Some(server)) => scenes.push(Scene::new(server)?),
        Ok(None) => println!("nfs: nfs-ganesha is not installed, so there is no peer"),
        Err(error) => println!("nfs: no peer: {error}"),
    }
    let mut table =
        Table::new(&["operation", "server", "a second", "of the peer", "median ms", "slowest 1 % ms"]);
    for (load, name) in LOADS {
        let mut found = vec![Vec::new(); scenes.len()];
        for round in 0..rounds {
            for (scene, found) in scenes.iter().zip(&mut found) {
                found.push(scene.run(load, settings, round)?);
            }
        }
        let of = |runs: &Vec<Rate>, part: fn(&Rate) -> f64| median(runs.iter().map(part));
        let last = found.last().map(|runs| of(runs, |run| run.per_second)).unwrap_or_default();
        for (scene, runs) in scenes.iter().zip(&found) {
            let rate = of(runs, |run| run.per_second);
            let peer = if scenes.len() > 1 { times(rate, last) } else { String::new() };
            let [middle, slow] = [of(runs, |run| run.median_ms), of(runs, |run| run.slowest_hundredth_ms)];
            let [middle, slow] = [middle, slow].map(|milliseconds| format!("{milliseconds:.2}"));
            table.row([
                name.to_owned(),
                scene.server.name.to_owned(),
                format!("{rate:.0}"),
                peer,
                middle,
                slow,
            ]);
        }
    }
    let Settings { connections, depth, time } = settings;
    let seconds = time.as_secs_f32();
    table.print(&format!(
        "{connections} connections, {depth} calls each; medians of {rounds} times {seconds} s"
    ));
    Ok(())
}

/// A server, and what is there to be read.
struct Scene {
    server: Server,
    directory: nfs_fh3,
    file: nfs_fh3,
}

impl Scene {
    fn new(server: Server) -> Outcome<Self> {
        let root = Connection::open(server.mount)?.mount(&server.export)?;
        let mut connection = Connection::open(server.nfs)?;
        let arguments = MKDIR3args { where_: at(&root, "bench"), attributes: mode(0o755) };
        let made: MKDIR3res = connection.call(NFS_PROGRAM::NFSPROC3_MKDIR, &arguments)?;
        let Nfs3Result::Ok(made) = made else { return Err("a directory cannot be made".into()) };
        let Nfs3Option::Some(directory) = made.obj else { return Err("a directory has no handle".into()) };
        let file = create(&mut connection, &directory, "file")?;
        let mut chance = Chance::new(1);
        for piece in 0..READ_FILE_BYTES / LARGE_BYTES {
            let data = chance.bytes(LARGE_BYTES);
            connection.queue(piece as u32, &write(&file, (piece * LARGE_BYTES) as u64, &data)?)?;
            connection.send()?;
            check(connection.receive()?.1)?;
        }
        connection.queue(0, &commit(&file)?)?;
        connection.send()?;
        check(connection.receive()?.1)?;
        Ok(Self { server, directory, file })
    }

    fn run(&self, load: Load, settings: Settings, round: usize) -> Outcome<Rate> {
        let start = Instant::now();
        let taken = std::thread::scope(|scope| {
            let connection = |number| {
                let seed = (round * settings.connections + number) as u64;
                move || self.run_connection(load, settings, seed).map_err(|error| error.to_string())
            };
            let threads: Vec<_> =
                (0..settings.connections).map(|number| scope.spawn(connection(number))).collect();
            let ended =
                threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread died".to_owned())?);
            ended.collect::<Result<Vec<Vec<f64>>, String>>()
        })?;
        let elapsed = start.elapsed().as_secs_f64();
        let mut taken: Vec<f64> = taken.into_iter().flatten().collect();
        taken.sort_by(f64::total_cmp);
        let at = |part: f64| taken.get((taken.len() as f64 * part) as usize).copied().unwrap_or_default();
        let per_second = taken.len() as f64 / elapsed;
        Ok(Rate { per_second, median_ms: 1e3 * at(0.5), slowest_hundredth_ms: 1e3 * at(0.99) })
    }

    /// Keeps its number of operations going until the time is over; answers how long each took.
    fn run_connection(&self, load: Load, settings: Settings, seed: u64) -> Outcome<Vec<f64>> {
        let mut connection = Connection::open(self.server.nfs)?;
        let mut slots = HashMap::new();
        for number in 0..settings.depth as u32 {
            slots.insert(number, Slot::new(self, &mut connection, load, seed << 16 | u64::from(number))?);
        }
        for (number, slot) in &mut slots {
            connection.queue(*number, &slot.begin(self, load)?)?;
        }
        let (end, mut taken) = (Instant::now() + settings.time, Vec::new());
        while !slots.is_empty() {
            // What has come already is answered together.
            if !connection.has_more() {
                connection.send()?;
            }
            let (number, body) = connection.receive()?;
            let slot = slots.get_mut(&number).ok_or("a reply to no call")?;
            if load != Load::Null {
                check(body)?;
            }
            let next = if let Some(next) = slot.follow(load, body)? {
                next
            } else {
                taken.push(slot.begun.elapsed().as_secs_f64());
                if Instant::now() >= end {
                    slots.remove(&number);
                    continue;
                }
                slot.begin(self, load)?
            };
            connection.queue(number, &next)?;
        }
        Ok(taken)
    }
}

/// One operation at a time.
struct Slot {
    chance: Chance,
    name: String,
    /// Its own file, for what writes.
    file: Option<nfs_fh3>,
    data: Vec<u8>,
    operations: u64,
    /// Calls of the present operation that were answered.
    answered: u32,
    begun: Instant,
}

impl Slot {
    fn new(scene: &Scene, connection: &mut Connection, load: Load, seed: u64) -> Outcome<Self> {
        let mut chance = Chance::new(seed);
        let name = format!("{seed:x}");
        let (file, bytes) = match load {
            Load::LargeWrite => (Some(create(connection, &scene.directory, &name)?), LARGE_BYTES),
            Load::Null
            | Load::Getattr
            | Load::Lookup
            | Load::SmallFile
            | Load::LargeRead
            | Load::RandomRead => (None, SMALL_BYTES),
        };
        let data = chance.bytes(bytes);
        Ok(Self { chance, name, file, data, operations: 0, answered: 0, begun: Instant::now() })
    }

    /// The first call of an operation.
    fn begin(&mut self, scene: &Scene, load: Load) -> Outcome<Call> {
        (self.begun, self.answered, self.operations) = (Instant::now(), 0, self.operations + 1);
        let pieces = (READ_FILE_BYTES / LARGE_BYTES) as u64;
        let offset = self.operations % pieces * LARGE_BYTES as u64;
        match load {
            Load::Null => Call::new(NFS_PROGRAM::NFSPROC3_NULL as u32, &Void),
            Load::Getattr => {
                let arguments = GETATTR3args { object: scene.file.clone() };
                Call::new(NFS_PROGRAM::NFSPROC3_GETATTR as u32, &arguments)
            }
            Load::Lookup => {
                let arguments = LOOKUP3args { what: at(&scene.directory, "file") };
                Call::new(NFS_PROGRAM::NFSPROC3_LOOKUP as u32, &arguments)
            }
            Load::SmallFile => {
                let name = format!("small-{}-{}", self.name, self.operations);
                let arguments = CREATE3args {
                    where_: at(&scene.directory, &name),
                    how: createhow3::UNCHECKED(mode(0o644)),
                };
                Call::new(NFS_PROGRAM::NFSPROC3_CREATE as u32, &arguments)
            }
            Load::LargeWrite => write(self.file.as_ref().ok_or("a file to write to")?, offset, &self.data),
            Load::LargeRead => read(&scene.file, offset, LARGE_BYTES),
            Load::RandomRead => {
                let place = self.chance.below((READ_FILE_BYTES / SMALL_BYTES) as u64);
                read(&scene.file, place * SMALL_BYTES as u64, SMALL_BYTES)
            }
        }
    }

    /// The next call of the operation, unless that was its last answer.
    fn follow(&mut self, load: Load, body: &[u8]) -> Outcome<Option<Call>> {
        self.answered += 1;
        match (load, self.answered) {
            (Load::SmallFile, 1) => {
                let file = handle_of(CREATE3res::unpack(&mut std::io::Cursor::new(body))?.0)?;
                let call = write(&file, 0, &self.data)?;
                self.file = Some(file);
                Ok(Some(call))
            }
            (Load::SmallFile, 2) | (Load::LargeWrite, 1) => {
                commit(self.file.as_ref().ok_or("a file to commit")?).map(Some)
            }
            (_, _) => Ok(None),
        }
    }
}

fn at(directory: &nfs_fh3, name: &str) -> diropargs3<'static> {
    diropargs3 { dir: directory.clone(), name: name.as_bytes().to_vec().into() }
}

fn mode(mode: u32) -> sattr3 {
    sattr3 { mode: Nfs3Option::Some(mode), ..sattr3::default() }
}

fn create(connection: &mut Connection, directory: &nfs_fh3, name: &str) -> Outcome<nfs_fh3> {
    let arguments = CREATE3args { where_: at(directory, name), how: createhow3::UNCHECKED(mode(0o644)) };
    handle_of(connection.call(NFS_PROGRAM::NFSPROC3_CREATE, &arguments)?)
}

fn handle_of(created: CREATE3res) -> Outcome<nfs_fh3> {
    let Nfs3Result::Ok(made) = created else { return Err("a file cannot be made".into()) };
    let Nfs3Option::Some(file) = made.obj else { return Err("a file has no handle".into()) };
    Ok(file)
}

fn write(file: &nfs_fh3, offset: u64, data: &[u8]) -> Outcome<Call> {
    let arguments = WRITE3args {
        file: file.clone(),
        offset,
        count: data.len() as u32,
        stable: stable_how::UNSTABLE,
        data: Opaque::borrowed(data),
    };
    Call::new(NFS_PROGRAM::NFSPROC3_WRITE as u32, &arguments)
}

fn commit(file: &nfs_fh3) -> Outcome<Call> {
    let arguments = COMMIT3args { file: file.clone(), offset: 0, count: 0 };
    Call::new(NFS_PROGRAM::NFSPROC3_COMMIT as u32, &arguments)
}

fn read(file: &nfs_fh3, offset: u64, bytes: usize) -> Outcome<Call> {
    let arguments = READ3args { file: file.clone(), offset, count: bytes as u32 };
    Call::new(NFS_PROGRAM::NFSPROC3_READ as u32, &arguments)
}

/// Every answer but that of NULL begins with a status.
fn check(body: &[u8]) -> Outcome<()> {
    match body.first_chunk::<4>() {
        Some([0, 0, 0, 0]) => Ok(()),
        status => Err(format!("a call was refused with status {status:?}").into()),
    }
}

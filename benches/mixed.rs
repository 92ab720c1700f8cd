//! Do large writes make small calls wait?
//!
//! ```text
//! cargo bench --workspace --bench mixed -- [--writers=8] [--depth=4] [--seconds=5] [--rounds=3]
//! ```
//!
//! One connection asks for attributes, one call at a time, in three surroundings that take turns:
//!
//! 1. alone;
//! 2. beside busy threads of this process, as many as it takes to use just the processor time that the
//!    gateway used in the third surrounding. Each watches its own processor time and spins until it has
//!    had its part, so the time is equal whatever else the machine does; what was really used is shown;
//! 3. while writers stream, each on a connection of its own: unstable writes of 1 MiB, a COMMIT after
//!    each 16.
//!
//! Aim: the slowest hundredth of the third within ten times that of the second. The generator's own
//! threads take part in the third and not in the second: the comparison is against Tidegate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nfs3_types::nfs3::{nfs_fh3, stable_how};
use tidegate_benches::{
    Arguments, Call, Chance, Connection, GatewaySettings, Outcome, Payload, Run, Server, Spent, Table, Work,
    calls, median, pump, pump_all, scratch, times,
};

const WRITE_BYTES: u64 = 1 << 20;
const WRITES_A_COMMIT: u64 = 16;
/// Length of a writer's file, in writes.
const FILE_WRITES: u64 = 64;
/// How long a busy thread sleeps when it has had its part.
const REST: Duration = Duration::from_millis(1);
/// How long a busy thread spins between two looks at its clock.
const SPIN: Duration = Duration::from_micros(200);
const AIM_TIMES: f64 = 10.0;

/// What a run is given.
#[derive(Clone, Copy)]
struct Settings {
    writers: usize,
    depth: usize,
    time: Duration,
}

/// One surrounding of one round.
#[derive(Clone, Debug)]
struct Found {
    run: Run,
    /// Processors in use meanwhile by the gateway, or by the busy threads.
    processors: f64,
    /// MiB a second that were written meanwhile.
    written: f64,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let rounds: usize = arguments.setting("rounds", 3)?;
    let settings = Settings {
        writers: arguments.setting("writers", 8)?,
        depth: arguments.setting("depth", 4)?,
        time: Duration::from_secs_f64(arguments.setting("seconds", 5.0)?),
    };
    let folder = scratch()?;
    let server = Server::tidegate(&folder.path().join("tidegate"), &GatewaySettings::default())?;
    println!("{}: {}", server.kind.name(), server.setup);
    let root = Connection::open(server.mount)?.mount(&server.export)?;
    let file = calls::create_now(&mut Connection::open(server.nfs)?, &root, "asked-for")?;
    let mut found: [Vec<Found>; 3] = Default::default();
    for round in 0..rounds {
        let streaming = while_writers_stream(&server, &root, &file, settings, round)?;
        found[0].push(Found { run: ask(&server, &file, settings.time)?, processors: 0.0, written: 0.0 });
        found[1].push(beside_busy_threads(&server, &file, settings.time, streaming.processors)?);
        found[2].push(streaming);
    }
    show(&found, settings, rounds);
    Ok(())
}

fn show(found: &[Vec<Found>; 3], settings: Settings, rounds: usize) {
    let title = [
        "alone".to_owned(),
        "beside busy threads".to_owned(),
        format!("while {} writers stream", settings.writers),
    ];
    let columns =
        ["getattr", "a second", "median ms", "slowest 1 % ms", "slowest 0.1 % ms", "processors", "MiB/s"];
    let mut table = Table::new(&columns);
    let of = |number: usize, part: &dyn Fn(&Found) -> f64| median(found[number].iter().map(part));
    for (number, title) in title.into_iter().enumerate() {
        let mut cells = vec![title, format!("{:.0}", of(number, &|found| found.run.per_second()))];
        for part in [0.5, 0.99, 0.999] {
            cells.push(format!("{:.3}", of(number, &|found| found.run.within_ms(part))));
        }
        cells.push(format!("{:.2}", of(number, &|found| found.processors)));
        cells.push(format!("{:.0}", of(number, &|found| found.written)));
        table.row(cells);
    }
    table.print(&format!("One call at a time; medians of {rounds} times {} s", settings.time.as_secs_f32()));
    let [beside, streaming] = [1, 2].map(|number| of(number, &|found| found.run.within_ms(0.99)));
    println!(
        "\nSlowest hundredth while writers stream, over beside busy threads: {} (aim: {AIM_TIMES} times at most)",
        times(streaming, beside)
    );
}

/// Asks for attributes, one call after the other.
fn ask(server: &Server, file: &nfs_fh3, time: Duration) -> Outcome<Run> {
    let mut connection = Connection::open(server.nfs)?;
    pump(&mut connection, &mut [Getattr { file }], Some(Instant::now() + time))
}

struct Getattr<'a> {
    file: &'a nfs_fh3,
}

impl Work for Getattr<'_> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        calls::getattr(self.file).map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        calls::check(body).map(|()| None)
    }
}

fn while_writers_stream(
    server: &Server,
    root: &nfs_fh3,
    file: &nfs_fh3,
    settings: Settings,
    round: usize,
) -> Outcome<Found> {
    let Settings { writers, depth, time } = settings;
    let (processor, start) = (server.processor_seconds()?, Instant::now());
    let (asked, written) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let made = pump_all(server.nfs, writers, Some(time), |number, connection| {
                (0..depth).map(|slot| Stream::new(connection, root, (round, number, slot))).collect()
            });
            made.map_err(|error| error.to_string())
        });
        let asked = ask(server, file, time);
        (asked, writing.join())
    });
    let written = written.map_err(|_| "a thread died")??;
    let processors = (server.processor_seconds()? - processor) / start.elapsed().as_secs_f64();
    let mib = written.units as f64 * WRITE_BYTES as f64 / f64::from(1 << 20);
    Ok(Found { run: asked?, processors, written: mib / written.elapsed })
}

/// Writes from the start of a file to its end, again and again.
struct Stream {
    file: nfs_fh3,
    data: Payload,
    writes: u64,
    /// Whether the call on its way is a COMMIT.
    committing: bool,
}

impl Stream {
    fn new(connection: &mut Connection, root: &nfs_fh3, name: (usize, usize, usize)) -> Outcome<Self> {
        let (round, number, slot) = name;
        let file = calls::create_now(connection, root, &format!("stream-{round}-{number}-{slot}"))?;
        let data = Payload::from(Chance::new((number << 8 | slot) as u64).bytes(WRITE_BYTES as usize));
        Ok(Self { file, data, writes: 0, committing: false })
    }
}

impl Work for Stream {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        let offset = self.writes % FILE_WRITES * WRITE_BYTES;
        self.writes += 1;
        calls::write(&self.file, offset, &self.data, stable_how::UNSTABLE).map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        calls::check(body)?;
        let was_commit = std::mem::take(&mut self.committing);
        if !was_commit && self.writes.is_multiple_of(WRITES_A_COMMIT) {
            self.committing = true;
            return calls::commit(&self.file).map(Some);
        }
        Ok(None)
    }
}

/// Asks while threads of this process use so many processors.
fn beside_busy_threads(server: &Server, file: &nfs_fh3, time: Duration, processors: f64) -> Outcome<Found> {
    let threads = (processors.ceil() as usize).max(1);
    let part = processors / threads as f64;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let busy: Vec<_> = (0..threads).map(|_| scope.spawn(|| be_busy(part, &over))).collect();
        let start = Instant::now();
        let run = ask(server, file, time);
        over.store(true, Ordering::Relaxed);
        let elapsed = start.elapsed().as_secs_f64();
        let used: f64 = busy.into_iter().filter_map(|thread| thread.join().ok()).sum();
        Ok(Found { run: run?, processors: used / elapsed, written: 0.0 })
    })
}

/// Uses this part of a processor; answers the seconds used.
fn be_busy(part: f64, over: &AtomicBool) -> f64 {
    let (start, before) = (Instant::now(), Spent::processor_of_this_thread());
    loop {
        let used = Spent::processor_of_this_thread().saturating_sub(before).as_secs_f64();
        if over.load(Ordering::Relaxed) {
            return used;
        }
        if used < part * start.elapsed().as_secs_f64() {
            let until = Instant::now() + SPIN;
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        } else {
            std::thread::sleep(REST);
        }
    }
}

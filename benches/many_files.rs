//! What do many files cost: in one share, and in one directory?
//!
//! ```text
//! cargo bench --workspace --bench many_files -- [--files=200000] [--directory=100000]
//!     [--connections=8] [--depth=16] [--memory=512] [--seconds=5]
//! ```
//!
//! Makes `--directory` empty files in one directory and the rest of `--files` in directories of a
//! thousand; lists the large one, stats names of it at random, and removes everything. Commits go on
//! meanwhile, as the share's `rpo` of 30 s has it. Beside the rates stands the most memory that the
//! gateway has had resident until then, of its budget.
//!
//! It fails when a listing does not show as many names as there are, or when memory exceeds the budget.
//! The sizes that the design speaks of: `--files=10000000 --directory=1000000`.

use std::time::{Duration, Instant};

use nfs3_types::nfs3::nfs_fh3;
use tidegate_benches::{
    Arguments, Call, Chance, Connection, GatewaySettings, Outcome, Run, Server, Table, Work, calls, percent,
    pump, pump_all, scratch,
};

/// Files of each directory but the large one.
const FILES_OF_A_DIRECTORY: u64 = 1000;

/// What a run is given.
struct Settings {
    files: u64,
    large: u64,
    connections: usize,
    depth: usize,
    time: Duration,
    memory_mib: u64,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let files = arguments.setting("files", 200_000)?;
    let settings = Settings {
        files,
        large: arguments.setting("directory", files / 2)?.min(files),
        connections: arguments.setting("connections", 8)?,
        depth: arguments.setting("depth", 16)?,
        time: Duration::from_secs_f64(arguments.setting("seconds", 5.0)?),
        memory_mib: arguments.setting("memory", 512)?,
    };
    let folder = scratch()?;
    let gateway = GatewaySettings { memory_mib: settings.memory_mib, dirty_gib: 10, rpo: "30s" };
    let server = Server::tidegate(&folder.path().join("tidegate"), &gateway)?;
    println!("{}: {}", server.kind.name(), server.setup);
    let tree = Tree::make(&server, &settings)?;
    let mut report = Report::new(&server, settings.memory_mib);
    let (large, rest) = (0..settings.large, settings.large..settings.files);
    report.row("create, in one directory", &tree.each(Step::Create, large.clone())?)?;
    report.row("create, in directories of 1,000", &tree.each(Step::Create, rest.clone())?)?;
    report.row("list, one reader", &tree.list(settings.large)?)?;
    report.row("stat: lookup, getattr", &tree.stat()?)?;
    report.row("remove, in one directory", &tree.each(Step::Remove, large)?)?;
    report.row("remove, in directories of 1,000", &tree.each(Step::Remove, rest)?)?;
    tree.list(0)?;
    report.print(&settings)
}

/// The directories, and how to reach the names in them.
struct Tree<'a> {
    server: &'a Server,
    settings: &'a Settings,
    large: nfs_fh3,
    others: Vec<nfs_fh3>,
}

#[derive(Clone, Copy)]
enum Step {
    Create,
    Remove,
}

impl<'a> Tree<'a> {
    fn make(server: &'a Server, settings: &'a Settings) -> Outcome<Self> {
        let root = Connection::open(server.mount)?.mount(&server.export)?;
        let mut connection = Connection::open(server.nfs)?;
        let large = calls::make_directory(&mut connection, &root, "large")?;
        let others = (settings.files - settings.large).div_ceil(FILES_OF_A_DIRECTORY);
        let others = (0..others)
            .map(|number| calls::make_directory(&mut connection, &root, &format!("directory-{number}")))
            .collect::<Outcome<Vec<_>>>()?;
        Ok(Self { server, settings, large, others })
    }

    fn directory(&self, file: u64) -> Outcome<&nfs_fh3> {
        let Some(rest) = file.checked_sub(self.settings.large) else { return Ok(&self.large) };
        self.others.get((rest / FILES_OF_A_DIRECTORY) as usize).ok_or_else(|| "a file of no directory".into())
    }

    /// Makes or removes files, each slot every so manieth of them.
    fn each(&self, step: Step, files: std::ops::Range<u64>) -> Outcome<Run> {
        let Settings { connections, depth, .. } = *self.settings;
        pump_all(self.server.nfs, connections, None, |connection, _| {
            let slot = |slot| {
                let files = files.clone().skip(connection * depth + slot).step_by(connections * depth);
                Sweep { tree: self, step, files }
            };
            Ok((0..depth).map(slot).collect())
        })
    }

    /// Reads the large directory from end to end, and counts.
    fn list(&self, entries: u64) -> Outcome<Run> {
        let mut connection = Connection::open(self.server.nfs)?;
        let mut listing = [Listing { directory: &self.large, begun: false, entries: 0 }];
        let run = pump(&mut connection, &mut listing, None)?;
        // Some servers show the directory itself and the one above it.
        let dots = 2;
        if (entries..=entries + dots).contains(&run.units) {
            return Ok(run);
        }
        Err(format!("a listing shows {} names where there are {entries}", run.units).into())
    }

    fn stat(&self) -> Outcome<Run> {
        let Settings { connections, depth, time, .. } = *self.settings;
        pump_all(self.server.nfs, connections, Some(time), |connection, _| {
            let chance = |slot| Chance::new((connection * depth + slot) as u64);
            Ok((0..depth).map(|slot| Stat { tree: self, chance: chance(slot), looked_up: false }).collect())
        })
    }
}

fn name(file: u64) -> String {
    format!("a-file-of-some-length-{file:08}")
}

struct Sweep<'a, F> {
    tree: &'a Tree<'a>,
    step: Step,
    files: F,
}

impl<F: Iterator<Item = u64>> Work for Sweep<'_, F> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        let Some(file) = self.files.next() else { return Ok(None) };
        let (directory, name) = (self.tree.directory(file)?, name(file));
        match self.step {
            Step::Create => calls::create(directory, &name).map(Some),
            Step::Remove => calls::remove(directory, &name).map(Some),
        }
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        calls::check(body).map(|()| None)
    }
}

struct Listing<'a> {
    directory: &'a nfs_fh3,
    begun: bool,
    entries: u64,
}

impl Work for Listing<'_> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(None);
        }
        calls::list(self.directory, (0, [0; 8])).map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        let (entries, next) = calls::listed(body)?;
        self.entries += entries;
        next.map(|place| calls::list(self.directory, place)).transpose()
    }

    fn units(&self) -> u64 {
        self.entries
    }
}

struct Stat<'a> {
    tree: &'a Tree<'a>,
    chance: Chance,
    looked_up: bool,
}

impl Work for Stat<'_> {
    fn begin(&mut self) -> Outcome<Option<Call>> {
        self.looked_up = false;
        let file = self.chance.below(self.tree.settings.large.max(1));
        calls::lookup(&self.tree.large, &name(file)).map(Some)
    }

    fn follow(&mut self, body: &[u8]) -> Outcome<Option<Call>> {
        calls::check(body)?;
        if std::mem::replace(&mut self.looked_up, true) {
            return Ok(None);
        }
        calls::getattr(&calls::found(body)?).map(Some)
    }
}

struct Report<'a> {
    server: &'a Server,
    budget: u64,
    begun: Instant,
    table: Table,
}

impl<'a> Report<'a> {
    fn new(server: &'a Server, memory_mib: u64) -> Self {
        let columns = [
            "operation",
            "done",
            "a second",
            "median ms",
            "slowest 1 % ms",
            "peak memory MiB",
            "of the budget",
        ];
        Self { server, budget: memory_mib << 20, begun: Instant::now(), table: Table::new(&columns) }
    }

    fn row(&mut self, name: &str, run: &Run) -> Outcome<()> {
        let peak = self.server.peak_memory_bytes()?;
        self.table.row([
            name.to_owned(),
            run.units.to_string(),
            format!("{:.0}", run.per_second()),
            format!("{:.2}", run.within_ms(0.5)),
            format!("{:.2}", run.within_ms(0.99)),
            (peak >> 20).to_string(),
            percent(peak as f64, self.budget as f64),
        ]);
        Ok(())
    }

    fn print(&self, settings: &Settings) -> Outcome<()> {
        let Settings { files, large, connections, depth, .. } = settings;
        self.table.print(&format!(
            "{files} files, {large} of them in one directory; {connections} connections, {depth} operations \
             each; {:.0} s",
            self.begun.elapsed().as_secs_f32()
        ));
        let peak = self.server.peak_memory_bytes()?;
        if peak > self.budget {
            return Err(format!("the gateway had {} MiB resident, over its budget", peak >> 20).into());
        }
        Ok(())
    }
}

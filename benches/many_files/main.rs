//! What do many files cost: in one share, and in one directory?
//!
//! ```text
//! cargo bench --workspace --bench many_files -- [--files=200000] [--directory=100000]
//!     [--connections=8] [--depth=16] [--memory=512] [--seconds=5] [--remove-seconds=0]
//! ```
//!
//! Makes `--directory` empty files in one directory and the rest of `--files` in directories of a
//! thousand; lists every directory with READDIR and with READDIRPLUS, looks every file up and asks for its
//! attributes, does the same for files anywhere for `--seconds`, and removes everything (of the
//! directories of a thousand as much as `--remove-seconds` allow, if that is not 0). Commits go on
//! meanwhile, as the share's `rpo` of 30 s has it; beside the rates stand the processor time that the
//! gateway took for each (which on a busy machine says more), how many heads were published, how old the
//! oldest change that no head had became, and the most memory that the gateway has had resident until
//! then, of its budget.
//!
//! It fails when a listing lacks a name, shows one twice or one that is not there, and when memory exceeds
//! the budget. Names are made by rule and remembered by nobody, so the bench itself stays small.
//! The sizes that the design speaks of: `--files=10000000 --directory=1000000`.

mod report;
mod tree;
mod watch;
mod works;

use std::time::Duration;

use report::Report;
use tidegate_benches::calls::Listing;
use tidegate_benches::{Arguments, GatewaySettings, Outcome, Server, scratch};
use tree::Tree;
use watch::Watch;
use works::{Step, Works};

/// What a run is given.
struct Settings {
    files: u64,
    large: u64,
    connections: usize,
    depth: usize,
    time: Duration,
    remove_time: Option<Duration>,
    memory_mib: u64,
}

impl Settings {
    fn from(arguments: &Arguments) -> Outcome<Self> {
        let files = arguments.setting("files", 200_000)?;
        let remove_seconds: u64 = arguments.setting("remove-seconds", 0)?;
        Ok(Self {
            files,
            large: arguments.setting("directory", files / 2)?.min(files),
            connections: arguments.setting("connections", 8)?,
            depth: arguments.setting("depth", 16)?,
            time: Duration::from_secs_f64(arguments.setting("seconds", 5.0)?),
            remove_time: (remove_seconds > 0).then(|| Duration::from_secs(remove_seconds)),
            memory_mib: arguments.setting("memory", 512)?,
        })
    }
}

fn main() -> Outcome<()> {
    let settings = Settings::from(&Arguments::of_this_process())?;
    let folder = scratch()?;
    let gateway = GatewaySettings { memory_mib: settings.memory_mib, dirty_gib: 10, rpo: "30s" };
    let server = Server::tidegate(&folder.path().join("tidegate"), &gateway)?;
    println!("{}: {}", server.kind.name(), server.setup);
    let watch = Watch::new(&server);
    std::thread::scope(|scope| {
        scope.spawn(|| watch.run());
        let measured = measure(&settings, &server, &watch);
        watch.stop();
        measured
    })
}

fn measure(settings: &Settings, server: &Server, watch: &Watch) -> Outcome<()> {
    let tree = Tree::make(server, settings.files, settings.large)?;
    let works = Works { address: server.nfs, settings, tree: &tree };
    let mut report = Report::new(watch, settings.memory_mib);
    report.row("create, in one directory", &works.in_one(Step::Create)?)?;
    report.row("readdir of it, one reader", &works.list_one(Listing::Names, true)?)?;
    report.row("readdirplus of it, one reader", &works.list_one(Listing::Objects, true)?)?;
    report.row("create, in directories of 1,000", &works.in_others(Step::Create, None)?)?;
    report.row("readdir of those", &works.list_others(Listing::Names, true)?)?;
    report.row("readdirplus of those", &works.list_others(Listing::Objects, true)?)?;
    report.row("stat, in one directory", &works.in_one(Step::Stat)?)?;
    report.row("stat, in directories of 1,000", &works.in_others(Step::Stat, None)?)?;
    report.row("stat, anywhere", &works.anywhere()?)?;
    report.row("remove, in one directory", &works.in_one(Step::Remove)?)?;
    report.row("remove, in directories of 1,000", &works.in_others(Step::Remove, settings.remove_time)?)?;
    works.list_one(Listing::Names, false)?;
    if settings.remove_time.is_none() {
        works.list_others(Listing::Names, false)?;
    }
    let Settings { files, large, connections, depth, .. } = settings;
    report.print(&format!(
        "{files} files, {large} of them in one directory; {connections} connections, {depth} operations each; \
         stat is a lookup and a getattr; {} calls were told to come later",
        tree.for_later()
    ))
}

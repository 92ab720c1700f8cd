//! How much does a served Tidegate do a second, beside other NFS servers on the same disk?
//!
//! ```text
//! cargo bench --workspace --bench nfs -- [--connections=8] [--depth=4] [--seconds=2] [--rounds=3]
//!     [--only=WORDS of a row] [--peers=ganesha,nfsserve,zerofs] [--before=PROGRAM]
//! ```
//!
//! Raw calls over TCP, on many connections with many calls on their way each; no cache of a client stands
//! between. For each row the servers take turns; medians are shown, and Tidegate's rate over each peer's.
//! With `--before`, another build of Tidegate is measured as well: what a change has brought, in one run.
//! The generator acts as a client does: what a WRITE says it has made durable is not committed again.
//!
//! What the servers guarantee at a reply is not the same, and each row says what it is. Tidegate keeps
//! checksums of what it writes and, later, moves the data into encrypted packs: it is set up so that
//! none of that later work falls into the time measured here.

mod guarantees;
mod loads;
mod mirror;
mod scene;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use loads::{LOADS, Load};
use scene::Scene;
use tidegate_benches::{
    Arguments, GatewaySettings, MIRROR_ARGUMENT, Outcome, Run, Server, Table, median, scratch, times,
};

/// What a run is given.
#[derive(Clone, Copy)]
struct Settings {
    connections: usize,
    depth: usize,
    time: Duration,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let mirrored: String = arguments.setting(MIRROR_ARGUMENT, String::new())?;
    if !mirrored.is_empty() {
        return mirror::serve(&mirrored, &arguments.setting("address", String::new())?);
    }
    let rounds: usize = arguments.setting("rounds", 3)?;
    let settings = Settings {
        connections: arguments.setting("connections", 8)?,
        depth: arguments.setting("depth", 4)?,
        time: Duration::from_secs_f64(arguments.setting("seconds", 2.0)?),
    };
    let only: String = arguments.setting("only", String::new())?;
    let folder = scratch()?;
    let peers: String = arguments.setting("peers", "ganesha,nfsserve,zerofs".to_owned())?;
    let before: String = arguments.setting("before", String::new())?;
    let names =
        ["Tidegate", before.as_str()].into_iter().chain(peers.split(',')).filter(|name| !name.is_empty());
    let scenes = scenes(folder.path(), names, settings)?;
    let mut table = table(&scenes);
    for (load, name) in LOADS.into_iter().filter(|(_, name)| name.contains(&only)) {
        let mut found: HashMap<usize, Vec<Run>> = HashMap::new();
        for round in 0..rounds {
            for (number, scene) in scenes.iter().enumerate() {
                found.entry(number).or_default().push(scene.run(load, settings, round)?);
            }
        }
        for (number, scene) in scenes.iter().enumerate() {
            table.row(row((load, name), scene, number, &found));
        }
    }
    let Settings { connections, depth, time } = settings;
    let seconds = time.as_secs_f32();
    table.print(&format!(
        "{connections} connections, {depth} operations each; medians of {rounds} times {seconds} s"
    ));
    Ok(())
}

/// The servers that there are; says how each is set up, or why it is not there.
fn scenes<'a>(
    folder: &Path,
    names: impl Iterator<Item = &'a str>,
    settings: Settings,
) -> Outcome<Vec<Scene>> {
    let gateway = GatewaySettings::default();
    let mut scenes = Vec::new();
    for (number, name) in names.enumerate() {
        let folder = folder.join(number.to_string());
        let started = match name {
            "Tidegate" => Server::tidegate(&folder, &gateway),
            "ganesha" => Server::ganesha(&folder),
            "nfsserve" => Server::nfsserve(&folder),
            "zerofs" => Server::zerofs(&folder),
            program => Server::earlier(Path::new(program), &folder),
        };
        match started {
            Ok(server) => {
                println!("{}: {}", server.kind.name(), server.setup);
                scenes.push(Scene::new(server, settings.connections)?);
            }
            Err(why) => println!("{name} is not measured: {why}"),
        }
    }
    Ok(scenes)
}

fn table(scenes: &[Scene]) -> Table {
    let peers = scenes.iter().skip(1).map(|scene| format!("over {}", scene.server.kind.name()));
    let columns = ["operation", "server", "a second"].map(str::to_owned).into_iter().chain(peers);
    let last = ["median ms", "slowest 1 % ms", "guaranteed at the reply"].map(str::to_owned);
    let columns: Vec<String> = columns.chain(last).collect();
    Table::new(&columns.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A server's cells: ratios stand in the row of the first, which is over each of the others.
fn row(
    (load, name): (Load, &str),
    scene: &Scene,
    number: usize,
    found: &HashMap<usize, Vec<Run>>,
) -> Vec<String> {
    let of = |number: usize, part: &dyn Fn(&Run) -> f64| median(found[&number].iter().map(part));
    let rate = |number| of(number, &Run::per_second);
    let mut cells =
        vec![name.to_owned(), scene.server.kind.name().to_owned(), format!("{:.0}", rate(number))];
    for peer in 1..found.len() {
        cells.push(if number == 0 { times(rate(0), rate(peer)) } else { String::new() });
    }
    for part in [0.5, 0.99] {
        cells.push(format!("{:.2}", of(number, &|run| run.within_ms(part))));
    }
    cells.push(guarantees::at_reply(scene.server.kind, load).to_owned());
    cells
}

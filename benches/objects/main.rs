//! How much does a served Tidegate do a second over S3, beside other object stores on the same disk?
//!
//! ```text
//! cargo bench --workspace --bench objects -- [--seconds=1] [--rounds=3] [--keys=100000] [--list-seconds=30]
//!     [--only=WORDS of a row] [--peers=s3s-fs,garage,rgw]
//! ```
//!
//! Objects of 4 KiB, 1 MiB and 64 MiB are put and got by 1, 8 and 32 clients, and many keys are listed page after
//! page, with a delimiter and without. A client is a connection of plain HTTP/1.1 with one request at a time.
//! For each row the stores take turns; medians are shown, and Tidegate's rate over each peer's. Every answer is
//! checked: its status, the length of a body, the number of entries.
//!
//! Requests are signed before the clock starts, and bodies, incompressible and all different, are made at the
//! speed of memory. All clients are on one thread; what part of a core it took stands in each row, so that a
//! row in which it was the bound is seen as one. So does the processor time of the store for each object or
//! entry, which on a busy machine says more than rates.
//!
//! What the stores guarantee at an answer is not the same, and each row says what it is. They are set up to be as
//! equal as their settings allow: whatever can sync does, and nothing is kept twice. Tidegate later moves data
//! into encrypted packs; none of that later work falls into the time measured here. What is got was put
//! shortly before, so it comes out of memory where a store lets the system keep it there.
//!
//! 64 MiB are put by number and not by time: one object for each client, in two rounds, over those of the round
//! before. All stores together take about 30 GiB of disk, which only `--only` and `--peers` make less.

mod client;
mod guarantees;
mod listing;
mod loads;
mod noise;
mod peers;
mod rgw;
mod scene;
mod sign;
mod store;

use std::path::Path;
use std::time::Duration;

use loads::Load;
use scene::{Found, Scene, Settings};
use store::{Kind, Store};
use tidegate_benches::{Arguments, Outcome, Run, Table, median, percent, scratch, times};

/// Columns between a store's name and its guarantee.
const FIGURES: usize = 6;

/// A store, or why it is not measured.
type Place = (Kind, Result<Scene, String>);

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let served: String = arguments.setting(peers::FOLDER_ARGUMENT, String::new())?;
    if !served.is_empty() {
        return peers::serve_s3s_fs(&served, &arguments.setting("address", String::new())?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&arguments))
}

async fn measure(arguments: &Arguments) -> Outcome<()> {
    let rounds: usize = arguments.setting("rounds", 3)?;
    let settings = Settings {
        time: Duration::from_secs_f64(arguments.setting("seconds", 1.0)?),
        list_time_max: Duration::from_secs_f64(arguments.setting("list-seconds", 30.0)?),
        keys: arguments.setting("keys", 100_000)?,
    };
    let only: String = arguments.setting("only", String::new())?;
    let peers: String = arguments.setting("peers", "s3s-fs,garage,rgw".to_owned())?;
    let folder = scratch()?;
    let is_wanted = |kind: Kind| kind == Kind::Tidegate || peers.split(',').any(|peer| peer == kind.word());
    let mut places = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|&kind| is_wanted(kind)) {
        places.push((kind, start(kind, &folder.path().join(kind.word()), settings).await?));
    }
    let mut table = table();
    for load in Load::all().into_iter().filter(|load| load.name().contains(&only)) {
        for (_, scene) in &mut places {
            if let Ok(scene) = scene {
                scene.prepare(load).await.map_err(|error| about(scene, load, error.as_ref()))?;
            }
        }
        let found = turns(&places, load, load.rounds(rounds)).await?;
        rows(&mut table, load, &places, &found);
        eprintln!("measured: {}", load.name());
    }
    let (seconds, keys) = (settings.time.as_secs_f32(), settings.keys);
    table.print(&format!(
        "{keys} keys to list; medians of {rounds} times {seconds} s, of 64 MiB puts of two rounds"
    ));
    Ok(())
}

/// Starts a store, and says how it is set up or why it is not there.
async fn start(kind: Kind, folder: &Path, settings: Settings) -> Outcome<Result<Scene, String>> {
    match Store::start(kind, folder) {
        Ok(store) => {
            println!("{}: {}", kind.name(), store.setup);
            Ok(Ok(Scene::new(store, settings).await?))
        }
        Err(why) if kind == Kind::Tidegate => Err(why),
        Err(why) => {
            println!("{} is not measured: {why}", kind.name());
            Ok(Err(why.to_string()))
        }
    }
}

/// Runs a load on each store in turn, so many times; the runs of each store.
async fn turns(places: &[Place], load: Load, rounds: usize) -> Outcome<Vec<Vec<Found>>> {
    let mut found: Vec<Vec<Found>> = places.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for ((_, scene), found) in places.iter().zip(&mut found) {
            if let Ok(scene) = scene {
                // What the one before has not synced is not written in this one's time.
                tokio::task::spawn_blocking(rustix::fs::sync).await?;
                found.push(scene.run(load).await.map_err(|error| about(scene, load, error.as_ref()))?);
            }
        }
    }
    Ok(found)
}

fn about(scene: &Scene, load: Load, error: &dyn std::error::Error) -> String {
    format!("{}: {}: {error}", load.name(), scene.store.kind.name())
}

fn table() -> Table {
    Table::new(&[
        "operation",
        "store",
        "a second",
        "Tidegate over it",
        "median ms",
        "slowest 1 % ms",
        "its processor µs each",
        "generator, of a core",
        "guaranteed at the answer",
    ])
}

/// A row for each store; that of a peer has Tidegate's rate over its own.
fn rows(table: &mut Table, load: Load, places: &[Place], found: &[Vec<Found>]) {
    let of = |runs: &[Found], part: &dyn Fn(&Run) -> f64| median(runs.iter().map(|found| part(&found.run)));
    let ours = of(&found[0], &Run::per_second);
    for ((kind, scene), runs) in places.iter().zip(found) {
        let mut cells = vec![load.name(), kind.name().to_owned()];
        if let Err(why) = scene {
            cells.extend(std::iter::repeat_n(String::new(), FIGURES));
            cells.push(why.clone());
            table.row(cells);
            continue;
        }
        let rate = of(runs, &Run::per_second);
        cells.push(load.rate(rate));
        cells.push(if *kind == Kind::Tidegate { String::new() } else { times(ours, rate) });
        cells.extend([0.5, 0.99].map(|part| format!("{:.2}", of(runs, &|run| run.within_ms(part)))));
        cells.push(format!("{:.0}", median(runs.iter().map(|found| found.store_micros))));
        cells.push(percent(median(runs.iter().map(|found| found.generator)), 1.0));
        let given_up = if runs.iter().all(|found| found.complete) { "" } else { "; given up before the end" };
        cells.push(format!("{}{given_up}", guarantees::at_answer(*kind, load)));
        table.row(cells);
    }
}

//! How does backup compare with programs that do nothing else?
//!
//! ```text
//! cargo bench --workspace --bench backup -- [FIRST SECOND] [--made=tree|image|packed] [--mib=512]
//!     [--rounds=1] [--only=tidegate,restic,borg,rustic] [--store=folder|bucket]
//! ```
//!
//! Each program keeps a repository in a directory of the same disk, encrypted, or in a bucket over it (`--store=bucket`; Borg knows
//! none), which counts the requests that a step takes. It does in turn: save a folder,
//! save it unchanged, save its second version (in the same place), restore that to an empty folder, forget all
//! but that and give its space back. What was restored is compared with its source, outside the time. FIRST and SECOND
//! are two versions of a folder of one's own, which are copied; else both are made: a tree of files as
//! programs' sources are, an image of a disk, or files that do not compress.
//!
//! Nothing is deleted before the end: a file system that has just lost a hundred thousand files makes new ones slowly.
//! A step is measured from the start of its programs to their end. Tidegate's is that of a gateway which starts for
//! the step, does it and stops, and of the command that asks it; memory is the sum of what both had at most. All sources are
//! in the system's cache when a step begins. What a program took of the processor counts all that it started.
//!
//! Aim: ahead of each in every column, twice the best in saving and restoring.

mod data;
mod peers;
mod store;
mod tidegate;
mod tool;

use tidegate_benches::process::Cost;
use tidegate_benches::{Arguments, Outcome, Table, median, scratch, times};

use data::Data;
use store::Requests;
use tool::{Kept, STEPS, Tool};

const COLUMNS: [&str; 9] = [
    "program",
    "seconds",
    "seconds of processor",
    "peak MiB",
    "MiB stored",
    "objects",
    "objects changed",
    "requests",
    "of which read",
];

/// What one program took for one step, and had stored after it.
type Found = (Cost, Kept);

fn main() -> Outcome<()> {
    let arguments = Arguments::of_this_process();
    let rounds: usize = arguments.setting("rounds", 1)?;
    let only: String = arguments.setting("only", String::new())?;
    let made: String = arguments.setting("made", "tree".to_owned())?;
    let store: String = arguments.setting("store", "folder".to_owned())?;
    let in_bucket = match store.as_str() {
        "folder" => false,
        "bucket" => true,
        _ => return Err(format!("--store={store}: folder or bucket").into()),
    };
    let folder = scratch()?;
    let data = match arguments.words() {
        [] => Data::made(&made, arguments.setting("mib", 512)?, folder.path())?,
        [first, second] => Data::copied(first.as_ref(), second.as_ref(), folder.path())?,
        _ => return Err("expected two folders, or none".into()),
    };
    println!("{}", data.what);
    let wanted = |tool: &&dyn Tool| only.is_empty() || only.split(',').any(|name| name == tool.name());
    let mut measured: Vec<(&dyn Tool, Vec<Vec<Found>>)> = Vec::new();
    for tool in tool::ALL.into_iter().filter(wanted) {
        let no_buckets = (in_bucket && !tool.knows_buckets()).then(|| "it knows no buckets".to_owned());
        match tool.missing().or(no_buckets) {
            Some(why) => println!("{}: left out: {why}", tool.name()),
            None => measured.push((tool, Vec::new())),
        }
    }
    for round in 0..rounds {
        let mut gone_on = Vec::new();
        for (tool, mut found) in measured {
            let place = folder.path().join(format!("{}-{round}", tool.name()));
            match tool::measure(tool, &data, &place, in_bucket) {
                Ok(costs) => found.push(costs),
                Err(error) if tool.name() != "tidegate" => {
                    println!("{}: left out: {error}", tool.name());
                    found.clear();
                }
                Err(error) => return Err(error),
            }
            if !found.is_empty() {
                gone_on.push((tool, found));
            }
        }
        measured = gone_on;
    }
    for (number, step) in STEPS.iter().enumerate() {
        show(step.title(), number, &measured);
    }
    Ok(())
}

fn show(title: &str, step: usize, measured: &[(&dyn Tool, Vec<Vec<Found>>)]) {
    let mut table = Table::new(&COLUMNS);
    let mut clocks = Vec::new();
    for (tool, rounds) in measured {
        let of = |part: &dyn Fn(&Found) -> f64| median(rounds.iter().map(|steps| part(&steps[step])));
        let clock = of(&|(cost, _)| cost.spent.clock);
        clocks.push(clock);
        let requests = |part: fn(Requests) -> u64| {
            let told = rounds.iter().filter_map(|steps| steps[step].1.requests);
            let told: Vec<f64> = told.map(|requests| part(requests) as f64).collect();
            if told.is_empty() { "-".to_owned() } else { format!("{:.0}", median(told)) }
        };
        table.row([
            tool.name().to_owned(),
            format!("{clock:.1}"),
            format!("{:.1}", of(&|(cost, _)| cost.spent.processor)),
            format!("{:.0}", of(&|(cost, _)| mib(cost.peak_bytes))),
            format!("{:.1}", of(&|(_, kept)| mib(kept.bytes))),
            format!("{:.0}", of(&|(_, kept)| kept.objects as f64)),
            format!("{:.0}", of(&|(_, kept)| kept.changed as f64)),
            requests(|requests| requests.all),
            requests(|requests| requests.reading),
        ]);
    }
    table.print(title);
    let best = clocks.iter().skip(1).copied().reduce(f64::min);
    if let (Some(best), Some((first, _))) = (best, measured.first())
        && first.name() == tidegate::NAME
    {
        println!("\nThe fastest of the others takes {} that of Tidegate", times(best, clocks[0]));
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

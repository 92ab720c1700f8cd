//! Does a backup stay within `gateway.memory` when the index is large and the files are many?
//!
//! ```text
//! cargo bench --workspace --bench large_index -- [--chunks=1000000] [--files=20000] [--memory=512]
//! ```
//!
//! Makes a repository whose index names `--chunks` chunks that nobody has here, and a folder of `--files` small files. A
//! gateway whose local state is new saves the folder, and learns the index beside it; another one of the same state saves it
//! unchanged; a third one reads everything again, and looks for each chunk among all that it knows. Beside each stands what
//! the run took, what its gateway took of the processor from its start to its stop, the most memory that the gateway had
//! resident, of its budget, and how much its data folder takes of the disk afterwards.
//!
//! Nothing is collected meanwhile. The look for packs that are gone, which a gateway takes once a day, is in the first
//! step that takes longer than a minute; it reads the index as well.
//!
//! It fails when something was left out, when what was read before counts as new, and when memory exceeds the
//! budget. The sizes that the design speaks of: `--chunks=100000000 --files=1000000`.

mod index;
mod place;
mod report;
mod source;
mod steps;

use tidegate_benches::{Arguments, Outcome, scratch};

use place::Place;
use report::Report;
use source::Source;
use steps::STEPS;

/// What a run is given.
struct Settings {
    chunks: u64,
    files: u64,
    memory_mib: u64,
}

impl Settings {
    fn from(arguments: &Arguments) -> Outcome<Self> {
        Ok(Self {
            chunks: arguments.setting("chunks", 1_000_000)?,
            files: arguments.setting("files", 20_000)?,
            memory_mib: arguments.setting("memory", 512)?,
        })
    }
}

fn main() -> Outcome<()> {
    let Settings { chunks, files, memory_mib } = Settings::from(&Arguments::of_this_process())?;
    let folder = scratch()?;
    let place = Place::make(folder.path(), memory_mib)?;
    println!("making {files} files");
    let source = Source::make(&place.source, files)?;
    println!("writing an index that names {chunks} chunks");
    let objects = index::write(&place, chunks)?;
    let mut report = Report::new(memory_mib);
    for step in STEPS {
        let taken = steps::take(step, &place, &source);
        report.row(step.title(), &taken.map_err(|error| format!("{}: {error}", step.title()))?);
    }
    report.print(&format!(
        "{chunks} chunks in {objects} index objects, {files} files of {} MiB together; gateway.memory {memory_mib} MiB",
        source.bytes >> 20
    ))
}

//! Goes along a whole log and names everything that does not fit. Reads alone; a gateway may be writing meanwhile.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::files::{self, Newest};
use super::record::{Event, Line};

/// The most problems that are named.
const PROBLEMS_MAX: usize = 100;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Records that were read.
    pub records: u64,
    /// The number of the first: those before were removed, to make room.
    pub first: u64,
    /// The number of the last.
    pub last: u64,
    /// The digest of the last, in hex: kept elsewhere, it proves later that nothing up to it was changed.
    pub digest: String,
    /// Whether the last line is being written, or was cut off by a crash.
    pub cut_off: bool,
    /// What does not fit.
    pub problems: Vec<String>,
}

impl Verified {
    fn note(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }
}

/// Verifies the log of a folder. `known` is the number and digest of a record that somebody kept elsewhere.
pub fn verify(folder: &Path, known: Option<(u64, blake3::Hash)>) -> io::Result<Verified> {
    // Read before the lines: a gateway that goes on writing makes it older, never newer.
    let promised = Newest::read(folder);
    let mut found = Verified::default();
    let mut before: Option<blake3::Hash> = None;
    let files = files::list(folder)?;
    for (at, (first, path)) in files.iter().enumerate() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        for (number, line) in files::lines(path)?.enumerate() {
            let (bytes, whole) = line?;
            if !whole {
                found.cut_off = at + 1 == files.len();
                if !found.cut_off {
                    found.note(format!("{name}, line {}: is cut off", number + 1));
                }
                break;
            }
            match Line::read(&bytes) {
                Err(why) => found.note(format!("{name}, line {}: {why}", number + 1)),
                Ok(line) => {
                    let wanted = if found.records == 0 { *first } else { found.last + 1 };
                    judge(&mut found, &line, wanted, before.as_ref(), &name);
                    for (kept, digest) in promised.iter().chain(&known) {
                        if *kept == line.record.sequence && *digest != line.digest {
                            found.note(format!("{name}: record {kept} is not what it was"));
                        }
                    }
                    before = Some(line.digest);
                }
            }
        }
    }
    found.digest = before.map(|digest| digest.to_hex().to_string()).unwrap_or_default();
    let last = found.last;
    for (kept, _) in promised.iter().chain(&known).filter(|(kept, _)| *kept > last) {
        found.note(format!("record {kept} is gone; the last that is there is {}", found.last));
    }
    Ok(found)
}

/// Notes what does not fit about a line.
fn judge(found: &mut Verified, line: &Line, wanted: u64, before: Option<&blake3::Hash>, name: &str) {
    let sequence = line.record.sequence;
    if sequence != wanted {
        found.note(format!("{name}: record {sequence} stands where {wanted} should"));
    } else if before.is_some_and(|digest| !line.follows(digest)) {
        found.note(format!(
            "{name}: record {} was changed: the digest in record {sequence} is another",
            sequence - 1
        ));
    }
    if line.record.event == Event::Broken {
        found.note(format!("record {sequence} tells what a start found: {}", line.record.entry.outcome));
    }
    if found.records == 0 {
        found.first = sequence;
    }
    found.records += 1;
    found.last = sequence;
}

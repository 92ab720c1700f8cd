//! Goes along a whole log and names everything that does not fit. Reads alone; a gateway may be writing meanwhile.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::files::{self, Newest};
use super::record::{Event, Forgotten, Line};

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
    // Up to which record it is told that files made room.
    let mut forgotten = 0;
    let files = files::list(folder)?;
    for (at, (first, path)) in files.iter().enumerate() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let lines = match files::lines(path) {
            // It made room meanwhile; a record says so, or the first that is there does not fit.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            lines => lines?,
        };
        for (number, line) in lines.enumerate() {
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
                    let wanted = if found.records == 0 { *first } else { found.last.saturating_add(1) };
                    judge(&mut found, &line, wanted, before.as_ref(), &name);
                    for (kept, digest) in promised.iter().chain(&known) {
                        if *kept == line.record.sequence && *digest != line.digest {
                            found.note(format!("{name}: record {kept} is not what it was"));
                        }
                    }
                    before = Some(line.digest);
                    let made_room = Forgotten::of(&line.record).map_or(0, |told| told.last);
                    forgotten = made_room.max(forgotten);
                }
            }
        }
    }
    found.digest = before.map(|digest| digest.to_hex().to_string()).unwrap_or_default();
    what_is_gone(&mut found, forgotten, known);
    let last = found.last;
    for (kept, _) in promised.iter().chain(&known).filter(|(kept, _)| *kept > last) {
        found.note(format!("record {kept} is gone; the last that is there is {}", found.last));
    }
    Ok(found)
}

/// Notes what is missing before the first record: only what a record says made room may be.
fn what_is_gone(found: &mut Verified, forgotten: u64, known: Option<(u64, blake3::Hash)>) {
    let first = found.first;
    if first > 1 && forgotten + 1 != first {
        found.note(format!("records up to {} are gone, and no record says that they made room", first - 1));
    }
    if let Some((kept, _)) = known.filter(|(kept, _)| *kept < first) {
        found.note(format!(
            "record {kept}, whose digest you know, is gone; the first that is there is {first}, so the digest shows nothing"
        ));
    }
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

//! Whole records through all programs, some of them repetitions of others.

#![no_main]

#[path = "../../tests/fuzzing/targets/mod.rs"]
#[allow(missing_docs)]
mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|records: Vec<Vec<u8>>| {
    let server = targets::Server::default();
    records.iter().for_each(|record| server.call(record));
});

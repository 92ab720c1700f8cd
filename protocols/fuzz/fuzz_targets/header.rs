//! The header of a call, with its credential.

#![no_main]

#[path = "../../tests/fuzzing/targets/mod.rs"]
#[allow(missing_docs)]
mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| targets::header(record));

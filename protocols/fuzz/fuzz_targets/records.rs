//! Record marking over any stream, cut anywhere.

#![no_main]

#[path = "../../tests/fuzzing/targets/mod.rs"]
#[allow(missing_docs)]
mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u16>)| targets::records(&input.0, &input.1));

//! Arguments of every procedure, in a call that is well formed up to them.

#![no_main]

#[path = "../../tests/fuzzing/targets/mod.rs"]
#[allow(missing_docs)]
mod targets;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    targets::Server::default().arguments(usize::from(input.0), input.1);
});

//! `tidegate`: the gateway and its commands.

use std::process::ExitCode;

use tidegate_gateway::assembly::StartRunning;
use tidegate_gateway::cli;
use tikv_jemallocator::Jemalloc;

/// For RocksDB and Zstandard as well: the crate's `malloc` stands in for the C library's.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    cli::main(&StartRunning)
}

//! `tidegate`: the gateway and its commands.

use std::process::ExitCode;

use tidegate_gateway::assembly::StartRunning;
use tidegate_gateway::cli;

fn main() -> ExitCode {
    cli::main(&StartRunning)
}

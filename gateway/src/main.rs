//! `tidegate`: the gateway and its commands.

use std::process::ExitCode;
use std::sync::Arc;

use tidegate_gateway::cli;
use tidegate_gateway::control::{Control, ControlError, ErrorKind, Start};
use tidegate_gateway::settings::Settings;

/// This build has the commands alone.
struct CommandsOnly;

#[async_trait::async_trait]
impl Start for CommandsOnly {
    async fn start(&self, _settings: Arc<Settings>) -> Result<Arc<dyn Control>, ControlError> {
        Err(ControlError::new(
            ErrorKind::Failed,
            "this build of tidegate has the commands, but no gateway to serve",
        ))
    }
}

fn main() -> ExitCode {
    cli::main(&CommandsOnly)
}

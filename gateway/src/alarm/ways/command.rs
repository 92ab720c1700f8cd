//! By a command: a program with arguments, without a shell, as hooks of policies are.

use std::time::Duration;

use async_trait::async_trait;

use super::{DeliverError, Notice, Sender, Way};
use crate::control::JobHandle;
use crate::policy::hook::{self, HookError};
use crate::settings::Argument;

/// See the head of this module.
pub(super) struct Command {
    pub(super) command: Vec<Argument>,
    pub(super) timeout: Duration,
}

#[async_trait]
impl Way for Command {
    async fn deliver(&self, notice: &Notice, sender: &Sender) -> Result<(), DeliverError> {
        let variables = notice.variables(sender);
        match hook::run(&self.command, &variables, self.timeout, &JobHandle::new()).await {
            Ok(_) => Ok(()),
            Err(error @ HookError::Start { .. }) => Err(DeliverError::Refused(error.to_string())),
            Err(error) => Err(DeliverError::Passing(error.to_string())),
        }
    }
}

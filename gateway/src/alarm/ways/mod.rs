//! How a notifier is told: by a command, a webhook or mail.
//!
//! Secrets are fetched for each delivery and not kept, so that a changed one counts at once. An answer or an output
//! is read up to a bound, and never reaches a notice.

mod command;
mod mail;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::notice::{Notice, Sender};
use crate::settings::{Notify, SecretError};

/// Why a notice was not delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// It may arrive later.
    #[error("{0}")]
    Passing(String),
    /// It will not arrive before somebody changes something.
    #[error("{0}")]
    Refused(String),
}

impl From<SecretError> for DeliverError {
    fn from(error: SecretError) -> Self {
        Self::Passing(error.to_string())
    }
}

/// A way to tell somebody.
#[async_trait]
pub trait Way: Send + Sync + 'static {
    /// Delivers one notice. May be dropped half way; then nobody knows whether it arrived.
    async fn deliver(&self, notice: &Notice, sender: &Sender) -> Result<(), DeliverError>;
}

/// The way that a notifier of the settings names.
pub fn way(notify: &Notify) -> Arc<dyn Way> {
    if let Some(address) = &notify.webhook {
        return Arc::new(webhook::Webhook {
            address: address.clone(),
            header: notify.header.clone(),
            secret: notify.secret.clone(),
            ca_file: notify.ca_file.clone(),
        });
    }
    if let Some(server) = &notify.smtp {
        return Arc::new(mail::Mail {
            server: server.clone(),
            user: notify.smtp_user.as_ref().map(|user| user.as_str().to_owned()),
            secret: notify.secret.clone(),
            from: notify.mail_from.clone(),
            to: notify.mail_to.clone(),
            ca_file: notify.ca_file.clone(),
            timeout: notify.timeout.duration(),
        });
    }
    Arc::new(command::Command { command: notify.command.clone(), timeout: notify.timeout.duration() })
}

/// How much longer than its own time-out a delivery may take before it is dropped.
pub(super) const OVERTIME: Duration = Duration::from_secs(10);

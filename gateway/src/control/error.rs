//! Why an operator's request failed, in kinds that prescribe the reaction.
//!
//! One error type from the core to the exit code. Adding a kind does not compile until the HTTP
//! status (`admin::error`) and the exit code (`cli::exit`) are chosen: both match exhaustively.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a failed request asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The request or the settings are wrong as written: correct them.
    Invalid,
    /// There is no such share, snapshot, head, path or job.
    NotFound,
    /// There is one already.
    Exists,
    /// Something else is using it now: wait for that, or end it.
    Busy,
    /// The key, the credentials or the permissions do not suffice: a person must act.
    Denied,
    /// The store does not answer, or answers with passing errors: try later.
    StoreAway,
    /// No room: local disk, dirty budget or store.
    Full,
    /// Stored bytes are missing or do not verify.
    Damaged,
    /// Done but for some parts, each of which has been named.
    Incomplete,
    /// Another gateway leads this share now; this one publishes nothing any more.
    Superseded,
    /// The caller cancelled it.
    Cancelled,
    /// The gateway is not yet, or no longer, serving.
    Stopping,
    /// None of the above: see the message and the log.
    Failed,
}

/// A failed request: kind, what failed and why, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ControlError {
    /// What it asks of the caller.
    pub kind: ErrorKind,
    /// What failed and why, in one or more sentences, without a secret and without file content.
    pub message: String,
    /// The next step for a person, where there is one to name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}

impl ControlError {
    /// An error without a next step.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), todo: None }
    }

    /// An error whose message is `doing` (reads after "failed to") and the whole chain of causes.
    pub fn from_source(kind: ErrorKind, doing: &str, source: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = format!("failed to {doing}");
        let mut cause = Some(source);
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(kind, message)
    }

    /// Adds the next step.
    #[must_use]
    pub fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo = Some(todo.into());
        self
    }
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ControlError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_carries_the_whole_chain_of_causes() {
        let io = std::io::Error::other("disk on fire");
        let error = ControlError::from_source(ErrorKind::Failed, "open the journal", &io);
        assert_eq!(error.message, "failed to open the journal: disk on fire");
    }

    #[test]
    fn an_error_round_trips_through_json() {
        let error = ControlError::new(ErrorKind::StoreAway, "no answer").todo("check the network");
        let json = serde_json::to_string(&error).expect("plain data");
        assert!(json.contains("store-away"), "{json}");
        assert_eq!(serde_json::from_str::<ControlError>(&json).expect("own output"), error);
    }
}

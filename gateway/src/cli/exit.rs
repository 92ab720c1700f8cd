//! How a command ends: the same codes for every command, so that scripts can tell what to do.

use std::process::ExitCode;

use serde::Serialize;

use crate::control::{ControlError, ErrorKind};

/// What the exit codes mean; every help text ends with it.
pub(super) const HELP: &str = "\
Exit codes:
   0  done
   1  failed for a reason not listed here
   2  the command line is wrong
   3  the settings or the request are wrong
   4  there is no such share, snapshot, path, head or job
   5  there is one already, or something else is using it
   6  the key, the credentials or the permissions do not suffice
   7  the store does not answer; later may help
   8  no room, on the local disk or in the store
   9  stored data is missing or damaged
  10  another gateway leads this share now
  11  no gateway is running here
  12  done in part: what is missing has been named
 130  interrupted or cancelled";

/// A command that failed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Failure {
    #[serde(flatten)]
    pub(super) error: ControlError,
    #[serde(rename = "exit_code")]
    pub(super) code: u8,
}

impl Failure {
    /// A command line that says something else than it can mean.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { error: ControlError::new(ErrorKind::Invalid, message), code: 2 }
    }

    /// No gateway answers.
    pub(super) fn no_gateway(message: impl Into<String>) -> Self {
        let error = ControlError::new(ErrorKind::Failed, message);
        Self {
            error: error.todo("start one with `tidegate serve`, or name its settings with --settings"),
            code: 11,
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        self.code.into()
    }
}

impl<E: Into<ControlError>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { code: code_of(error.kind), error }
    }
}

/// The exit code of a kind. No wildcard, so that a new kind cannot be forgotten.
fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Failed => 1,
        ErrorKind::Invalid => 3,
        ErrorKind::NotFound => 4,
        ErrorKind::Exists | ErrorKind::Busy => 5,
        ErrorKind::Denied => 6,
        ErrorKind::StoreAway => 7,
        ErrorKind::Full => 8,
        ErrorKind::Damaged => 9,
        ErrorKind::Superseded => 10,
        ErrorKind::Stopping => 11,
        ErrorKind::Incomplete => 12,
        ErrorKind::Cancelled => 130,
    }
}

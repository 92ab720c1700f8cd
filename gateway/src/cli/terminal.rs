//! What a command shows: data on standard output, talk on standard error.
//!
//! With `--json` the data is one JSON document and a failure is one JSON object on standard error.
//! Colour and moving progress appear only on a terminal, and never when `NO_COLOR` is set.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;

use super::exit::Failure;
use crate::control::{ControlError, ErrorKind};

/// How and where to show things.
#[derive(Clone)]
pub(super) struct Terminal {
    json: bool,
    quiet: bool,
    output: Arc<Mutex<dyn Write + Send>>,
}

impl Terminal {
    /// Shows data on `output`, which is standard output outside of tests.
    pub(super) fn new(json: bool, quiet: bool, output: impl Write + Send + 'static) -> Self {
        Self { json, quiet, output: Arc::new(Mutex::new(output)) }
    }

    /// Shows the data that was asked for: as JSON, or as `people` wants it.
    pub(super) fn data<T: Serialize>(
        &self,
        value: &T,
        people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        let text = if self.json {
            serde_json::to_string_pretty(value).map_err(|error| failed("write down the answer", &error))?
        } else {
            people(value)
        };
        match writeln!(self.output.lock(), "{}", text.trim_end()) {
            // Whoever read the output has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written.map_err(|error| failed("write to standard output", &error))?),
        }
    }

    /// Says something on the side.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            // There is nobody to tell that nobody can be told.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Says why the command failed and what to do.
    pub(super) fn failure(&self, failure: &Failure) {
        let text = if self.json {
            serde_json::to_string(failure).unwrap_or_else(|_| failure.error.message.clone())
        } else {
            let (bold, plain) = if Self::has_colour() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
            let todo =
                failure.error.todo.as_ref().map(|todo| format!("\nwhat to do: {todo}")).unwrap_or_default();
            format!("{bold}error:{plain} {}{todo}", failure.error.message)
        };
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Whether progress may move on the screen.
    pub(super) fn is_live(&self) -> bool {
        !self.json && !self.quiet && Self::has_colour()
    }

    /// Whether data goes to a screen, where it may replace what stood there.
    pub(super) fn is_screen(&self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// Asks before something is destroyed. Without a terminal to ask on, `yes` must have been given.
    pub(super) fn confirm(&self, yes: bool, question: &str) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if self.json || !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage(format!("{question} Give --yes to say so.")));
        }
        let _ = write!(io::stderr().lock(), "{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|error| failed("read the answer", &error))?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        Err(ControlError::new(ErrorKind::Cancelled, "nothing was done").into())
    }

    fn has_colour() -> bool {
        io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
    }
}

pub(super) fn failed(doing: &str, error: &(dyn std::error::Error + 'static)) -> ControlError {
    ControlError::from_source(ErrorKind::Failed, doing, error)
}

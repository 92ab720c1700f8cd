//! Programs that steps run: without a shell, in a process group of their own, which is killed when nobody waits any more.
//!
//! What they write is read to the end, so that they never wait for us, and kept up to a bound.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::runbook::world::StepFailure;

/// Where programs find programs.
pub(in super::super) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is kept of each output, in bytes.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// What is shown of an output, in characters.
const SHOWN_MAX: usize = 2_000;
/// How long outputs are read on after the end: what was left running may hold them open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// A program that is to be run.
pub(in super::super) struct Child<'c> {
    command: Command,
    program: String,
    input: Option<&'c Zeroizing<Vec<u8>>>,
}

/// A program that has ended.
#[derive(Debug)]
pub(in super::super) struct Ended {
    pub(in super::super) status: ExitStatus,
    pub(in super::super) output: Vec<u8>,
    errors: Vec<u8>,
    program: String,
}

/// Kills a process group unless it is told that its leader has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended at this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl<'c> Child<'c> {
    /// A program with arguments, in an environment of its own.
    pub(in super::super) fn new(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
        variables: Vec<(&'static str, String)>,
    ) -> Self {
        let mut child = Self::inheriting(program, arguments);
        child.command.env_clear().env("PATH", SEARCH_PATH).envs(variables).current_dir("/");
        child
    }

    /// A program with arguments, in our environment.
    pub(in super::super) fn inheriting(
        program: &Path,
        arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        Self { command, program: program.display().to_string(), input: None }
    }

    /// Lets it read something.
    #[must_use]
    pub(in super::super) fn reading(mut self, input: &'c Zeroizing<Vec<u8>>) -> Self {
        self.input = Some(input);
        self
    }

    /// Runs it to its end.
    pub(in super::super) async fn run(mut self) -> Result<Ended, StepFailure> {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = self.program;
        let failed =
            |error: std::io::Error| StepFailure::passing(format!("{program} cannot be run: {error}"));
        let mut child = self.command.spawn().map_err(|error| StepFailure {
            is_final: error.kind() == std::io::ErrorKind::NotFound,
            ..failed(error)
        })?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut output = Vec::new();
        let mut errors = Vec::new();
        let input = self.input;
        let write = async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // Who does not read to the end has seen enough.
                let _ = stdin.write_all(input).await;
            }
        };
        let status = {
            let reading = async { tokio::join!(read(stdout, &mut output), read(stderr, &mut errors), write) };
            tokio::pin!(reading);
            let status = tokio::select! {
                status = child.wait() => status,
                _ = &mut reading => child.wait().await,
            };
            group.0 = None;
            let _ = tokio::time::timeout(OUTPUT_GRACE, reading_rest(reading)).await;
            status.map_err(failed)?
        };
        Ok(Ended { status, output, errors, program })
    }
}

/// Reads on, unless it was read to the end already.
async fn reading_rest<F: Future>(reading: std::pin::Pin<&mut F>) {
    reading.await;
}

/// Reads to the end, and keeps the beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut piece = vec![0; 16 << 10];
    // A pipe that cannot be read any more has ended.
    while let Ok(length @ 1..) = pipe.read(&mut piece).await {
        let room = OUTPUT_BYTES_MAX - kept.len();
        kept.extend_from_slice(&piece[..length.min(room)]);
    }
}

impl Ended {
    /// What it wrote, for people: both outputs, short.
    pub(in super::super) fn said(&self) -> String {
        let text = [&self.output[..], &self.errors[..]]
            .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        let text =
            text.iter().filter(|text| !text.is_empty()).map(String::as_str).collect::<Vec<_>>().join("; ");
        match text.char_indices().nth(SHOWN_MAX) {
            None => text,
            Some((end, _)) => format!("{}...", &text[..end]),
        }
    }

    /// That it ended with 0.
    pub(in super::super) fn succeeded(self) -> Result<Self, StepFailure> {
        if self.status.success() {
            return Ok(self);
        }
        Err(StepFailure::passing(format!("{} ended with {}: {}", self.program, self.status, self.said())))
    }
}

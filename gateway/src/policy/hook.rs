//! Hooks: commands beside a run.
//!
//! A hook is a program and its arguments; no shell reads them. It gets an environment of its own (the gateway's may
//! hold secrets), no input, `/` as its folder, and a process group, which is killed when it takes too long or its job
//! is cancelled. What it writes is read to the end, so that it never waits for us; the first
//! [`OUTPUT_BYTES_MAX`] of it are kept for the log.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::control::JobHandle;
use crate::settings::Argument;
use crate::words::fit;

/// What is kept of the output of a hook, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 16 << 10;
/// The longest text of others in a variable of a hook, in bytes. The system starts no program with 128 KiB in one.
pub const VARIABLE_BYTES_MAX: usize = 16 << 10;
/// How long the output is read on after the hook has ended: what it left running may hold it open.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);
/// How long a killed hook is waited for.
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Where a hook finds programs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It did not start.
    #[error("{program} cannot be started: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with something else than 0.
    #[error("{program} ended with {status}: {output}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        output: String,
    },
    /// It took too long and was killed.
    #[error("{program} took longer than {timeout:?} and was killed: {output}")]
    TimedOut {
        /// The program.
        program: String,
        /// How long it may take.
        timeout: Duration,
        /// What it wrote.
        output: String,
    },
    /// Its job was cancelled; it was killed.
    #[error("{program} was killed because the run was cancelled, or because the gateway stops")]
    Cancelled {
        /// The program.
        program: String,
    },
}

/// What a hook wrote, up to the bound.
#[derive(Debug, Default)]
struct Output {
    kept: Vec<u8>,
    left_out: u64,
}

impl Output {
    fn add(&mut self, bytes: &[u8]) {
        let room = OUTPUT_BYTES_MAX - self.kept.len();
        let (kept, left_out) = bytes.split_at(room.min(bytes.len()));
        self.kept.extend_from_slice(kept);
        self.left_out += left_out.len() as u64;
    }

    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept).trim_end().to_owned();
        match self.left_out {
            0 => text,
            more => format!("{text} (and {more} bytes more)"),
        }
    }
}

/// Kills a process group unless it is told that the hook has ended.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    fn has_ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended at this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A text of others, such as an error, as a variable of a hook holds it: with any content, and of any length, the hook starts.
pub fn variable(text: &str) -> String {
    fit(text, VARIABLE_BYTES_MAX)
}

/// Runs a command to its end; gives what it wrote.
pub async fn run(
    command: &[Argument],
    variables: &[(&'static str, String)],
    timeout: Duration,
    job: &JobHandle,
) -> Result<String, HookError> {
    let [program, arguments @ ..] = command else { return Ok(String::new()) };
    let program = program.as_str().to_owned();
    let mut child = Command::new(&program)
        .args(arguments.iter().map(Argument::as_str))
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| HookError::Start { program: program.clone(), source })?;
    let mut group = Group::of(&child);
    let output = Arc::new(Mutex::new(Output::default()));
    let readers = [read(child.stdout.take(), &output), read(child.stderr.take(), &output)];
    let ended = tokio::select! {
        ended = child.wait() => {
            group.has_ended();
            Some(ended)
        }
        () = tokio::time::sleep(timeout) => None,
        () = job.cancelled() => None,
    };
    if ended.is_none() {
        drop(group);
        // It is gone, or the system holds it where no signal reaches it.
        let _ = tokio::time::timeout(KILL_GRACE, child.wait()).await;
    }
    for mut reader in readers {
        let _ = tokio::time::timeout(OUTPUT_GRACE, &mut reader).await;
        reader.abort();
    }
    let output = output.lock().text();
    match ended {
        Some(Ok(status)) if status.success() => Ok(output),
        Some(Ok(status)) => Err(HookError::Failed { program, status, output }),
        Some(Err(source)) => Err(HookError::Start { program, source }),
        None if job.is_cancelled() => Err(HookError::Cancelled { program }),
        None => Err(HookError::TimedOut { program, timeout, output }),
    }
}

/// Reads to the end, and keeps the beginning.
fn read(
    pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
    output: &Arc<Mutex<Output>>,
) -> JoinHandle<()> {
    let output = output.clone();
    tokio::spawn(async move {
        let Some(mut pipe) = pipe else { return };
        let mut piece = vec![0; 4096];
        // A pipe that cannot be read any more has ended.
        while let Ok(length @ 1..) = pipe.read(&mut piece).await {
            output.lock().add(&piece[..length]);
        }
    })
}

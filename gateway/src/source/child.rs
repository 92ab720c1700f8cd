//! A command that a source runs: without a shell, with an environment of its own (the gateway's may hold secrets), in a
//! process group that is killed when it takes too long, when the run is cancelled, and when it is not needed any more.
//!
//! What it writes to its standard error is read all the time, and the end of it is kept for the error message.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::process::{Pid, Signal, kill_process_group};
use tidegate_replicator::backup::SourceError;

/// What is kept of the standard error, in bytes; and what of that an error message shows.
const WORDS_BYTES_MAX: usize = 256 << 10;
const LAST_WORDS_BYTES_MAX: usize = 4 << 10;
/// Where commands find programs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often it is looked whether the run was cancelled.
const LOOK: Duration = Duration::from_millis(200);
/// How long the standard error is read on after the command has ended.
const WORDS_GRACE: Duration = Duration::from_secs(1);

const RUNS: u8 = 0;
const TIMED_OUT: u8 = 1;
const CANCELLED: u8 = 2;

/// Asked whether to stop.
pub type Cancelled = Arc<dyn Fn() -> bool + Send + Sync>;

/// See the head of this module.
pub(super) struct Running {
    child: Child,
    program: String,
    timeout: Duration,
    words: Arc<Mutex<VecDeque<u8>>>,
    reader: Option<JoinHandle<()>>,
    watch: Arc<Watch>,
    watcher: Option<JoinHandle<()>>,
}

struct Watch {
    group: Option<Pid>,
    why_killed: AtomicU8,
    ended: Mutex<bool>,
    told: Condvar,
}

impl Watch {
    fn kill(&self) {
        if let Some(group) = self.group {
            // It may have ended at this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Kills the command when its time is over, or the run is cancelled.
    fn watch(&self, timeout: Duration, cancelled: &Cancelled) {
        let mut waited = Duration::ZERO;
        let mut ended = self.ended.lock();
        while !*ended {
            self.told.wait_for(&mut ended, LOOK);
            waited += LOOK;
            let why = match () {
                () if *ended => return,
                () if cancelled() => CANCELLED,
                () if waited >= timeout => TIMED_OUT,
                () => continue,
            };
            self.why_killed.store(why, Ordering::Relaxed);
            return self.kill();
        }
    }

    fn end(&self) {
        *self.ended.lock() = true;
        self.told.notify_all();
    }
}

impl Running {
    /// Starts it. What it says is given by [`Running::output`], which takes input if `input` is set.
    pub(super) fn start(
        program: &str,
        arguments: impl IntoIterator<Item = String>,
        (variables, input): (&[(&str, String)], bool),
        timeout: Duration,
        cancelled: Cancelled,
    ) -> Result<Self, SourceError> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .envs(variables.iter().map(|(name, value)| (*name, value)))
            .current_dir("/")
            .stdin(if input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let started = command.spawn();
        let mut child =
            started.map_err(|error| SourceError::because(format!("{program} cannot be started"), error))?;
        let watch = Arc::new(Watch {
            group: Pid::from_raw(child.id().cast_signed()),
            why_killed: AtomicU8::new(RUNS),
            ended: Mutex::new(false),
            told: Condvar::new(),
        });
        let words = Arc::new(Mutex::new(VecDeque::new()));
        let (kept, mut pipe) = (words.clone(), child.stderr.take());
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Some(Ok(count @ 1..)) = pipe.as_mut().map(|pipe| pipe.read(&mut piece)) {
                let mut kept = kept.lock();
                kept.extend(&piece[..count]);
                let over = kept.len().saturating_sub(WORDS_BYTES_MAX);
                kept.drain(..over);
            }
        });
        let for_watcher = watch.clone();
        let watcher = std::thread::spawn(move || for_watcher.watch(timeout, &cancelled));
        let program = program.to_owned();
        Ok(Self { child, program, timeout, words, reader: Some(reader), watch, watcher: Some(watcher) })
    }

    /// Its standard output; once.
    pub(super) fn output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard input; once.
    pub(super) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// What it wrote to its standard error, or the end of that.
    pub(super) fn words(&self) -> String {
        let words: Vec<u8> = self.words.lock().iter().copied().collect();
        String::from_utf8_lossy(&words).trim().to_owned()
    }

    /// The end of what it wrote to its standard error.
    pub(super) fn last_words(&self) -> String {
        let words = self.words();
        let first = words.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        let first = (first..=words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(first);
        words[first..].to_owned()
    }

    /// Waits for its end; gives how it ended, unless it was killed.
    pub(super) fn end(&mut self) -> Result<ExitStatus, SourceError> {
        let ended = self.child.wait();
        self.watch.end();
        if let Some(reader) = self.reader.take() {
            // What it has left running may hold the pipe open for ever.
            let waited = std::time::Instant::now();
            while !reader.is_finished() && waited.elapsed() < WORDS_GRACE {
                std::thread::yield_now();
            }
        }
        let program = &self.program;
        match self.watch.why_killed.load(Ordering::Relaxed) {
            CANCELLED => Err(SourceError::new(format!("{program} was killed because the run was cancelled"))),
            TIMED_OUT => Err(SourceError::new(format!(
                "{program} took longer than {:?} and was killed; its last words: {}",
                self.timeout,
                self.last_words()
            ))),
            _ => {
                ended.map_err(|error| SourceError::because(format!("{program} cannot be waited for"), error))
            }
        }
    }

    /// As [`Running::end`], where only success will do.
    pub(super) fn succeed(&mut self) -> Result<(), SourceError> {
        let status = self.end()?;
        if status.success() {
            return Ok(());
        }
        Err(SourceError::new(format!(
            "{} ended with {status}; its last words: {}",
            self.program,
            self.last_words()
        )))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watch.kill();
        self.watch.end();
        // It is gone, or the system holds it where no signal reaches it.
        let _: io::Result<_> = self.child.wait();
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_quoted_with_its_last_words_alone() {
        let script = "head -c 200000 /dev/zero | tr '\\0' x >&2; echo no more room >&2; exit 3";
        let arguments = ["-c", script].map(str::to_owned);
        let started =
            Running::start("/bin/sh", arguments, (&[], false), Duration::from_mins(5), Arc::new(|| false));
        let error = started.expect("there is a shell").succeed().expect_err("it fails").to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no more room"), "{error}");
        assert!(error.len() < LAST_WORDS_BYTES_MAX + 100, "{} bytes", error.len());
    }
}

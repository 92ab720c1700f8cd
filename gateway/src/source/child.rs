//! A command that a source runs: without a shell, with an environment of its own (the gateway's may hold secrets), in a
//! process group that is killed when it takes too long, when the run is cancelled, and when it is not needed any more.
//!
//! What it leaves running in a group of its own is not killed, and may hold its pipes open for ever. So nobody waits for a
//! pipe without looking, each [`LOOK`], whether the command was killed or has ended. Its standard output fails then
//! ([`Output`]). Its standard error is read all the time; it is done when nothing more of it comes after the end, and the
//! last of it is kept, up to a bound that whoever starts the command sets.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tidegate_replicator::backup::SourceError;

/// What is kept of the standard error where only its end is of use, in bytes.
pub(super) const WORDS_BYTES_MAX: usize = 256 << 10;
/// What of it an error message shows.
const LAST_WORDS_BYTES_MAX: usize = 4 << 10;
/// Where commands find programs.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How often it is looked whether the run was cancelled, and whether the command has ended.
const LOOK: Duration = Duration::from_millis(200);
/// How long the standard output may be silent, and stay open, after the command has ended.
const OUTPUT_GRACE: Duration = Duration::from_secs(5);
/// How long the standard error is read on after the command has ended, by however many others write to it.
const WORDS_GRACE: Duration = Duration::from_secs(1);

const RUNS: u8 = 0;
const TIMED_OUT: u8 = 1;
const CANCELLED: u8 = 2;
const HELD_OPEN: u8 = 3;

/// Asked whether to stop.
pub type Cancelled = Arc<dyn Fn() -> bool + Send + Sync>;

/// See the head of this module.
pub(super) struct Running {
    child: Child,
    words: Arc<Mutex<Words>>,
    words_bytes_max: usize,
    reader: Option<JoinHandle<()>>,
    watch: Arc<Watch>,
    watcher: Option<JoinHandle<()>>,
}

/// The end of what a command wrote to its standard error.
#[derive(Default)]
struct Words {
    kept: VecDeque<u8>,
    /// Whether there was more than is kept.
    lost: bool,
}

/// What is known of a command by those who wait for it.
struct Watch {
    program: String,
    timeout: Duration,
    /// The process, which leads a group of the same number.
    process: Option<Pid>,
    /// Why it is not waited for any more.
    trouble: AtomicU8,
    ended: Mutex<bool>,
    told: Condvar,
}

impl Watch {
    fn kill(&self) {
        if let Some(group) = self.process {
            // It may have ended at this moment.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Kills the command when its time is over, or the run is cancelled.
    fn watch(&self, cancelled: &Cancelled) {
        let mut waited = Duration::ZERO;
        let mut ended = self.ended.lock();
        while !*ended {
            self.told.wait_for(&mut ended, LOOK);
            waited += LOOK;
            let why = match () {
                () if *ended => return,
                () if cancelled() => CANCELLED,
                () if waited >= self.timeout => TIMED_OUT,
                () => continue,
            };
            self.trouble.store(why, Ordering::Relaxed);
            return self.kill();
        }
    }

    fn end(&self) {
        *self.ended.lock() = true;
        self.told.notify_all();
    }

    /// Whether the command has ended and was waited for.
    fn is_over(&self) -> bool {
        *self.ended.lock()
    }

    /// Whether the command itself has ended, whatever it has left running.
    fn has_ended(&self) -> bool {
        let Some(process) = self.process.filter(|_| !self.is_over()) else { return true };
        // Whoever waits for it still learns how it ended.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(process), options).map_or(true, |ended| ended.is_some())
    }

    fn trouble(&self) -> Option<String> {
        let program = &self.program;
        match self.trouble.load(Ordering::Relaxed) {
            CANCELLED => Some(format!("{program} was killed because the run was cancelled")),
            TIMED_OUT => Some(format!("{program} took longer than {:?} and was killed", self.timeout)),
            HELD_OPEN => Some(format!(
                "{program} has ended, but something that it started still holds its output open: send the output of what \
                 stays behind elsewhere (`>/dev/null 2>&1`), or have the command wait for it"
            )),
            _ => None,
        }
    }
}

impl Words {
    fn keep(&mut self, piece: &[u8], bytes_max: usize) {
        self.kept.extend(piece);
        let over = self.kept.len().saturating_sub(bytes_max);
        self.kept.drain(..over);
        self.lost |= over > 0;
    }
}

/// Reads the standard error until its end, or until it is silent after that of the command.
fn read_words(mut pipe: ChildStderr, words: &Mutex<Words>, bytes_max: usize, watch: &Watch) {
    let mut piece = [0; 4096];
    let mut over_since: Option<Instant> = None;
    loop {
        // Asked first: what the command wrote was in the pipe before it was over.
        let is_over = watch.is_over();
        let read = match is_ready(&pipe) {
            Ok(true) => pipe.read(&mut piece),
            Ok(false) if is_over => return,
            Ok(false) => continue,
            Err(error) => Err(error),
        };
        match read {
            Ok(0) => return,
            Ok(count) => words.lock().keep(&piece[..count], bytes_max),
            Err(_) => {
                words.lock().lost = true;
                return;
            }
        }
        if is_over && over_since.get_or_insert_with(Instant::now).elapsed() >= WORDS_GRACE {
            words.lock().lost = true;
            return;
        }
    }
}

/// Waits a [`LOOK`] for a pipe that has something to read, or has come to its end.
fn is_ready(pipe: &impl AsFd) -> io::Result<bool> {
    let within = Timespec::try_from(LOOK).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&within)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The standard output of a command. Reading fails when the command was killed, and when it has ended and something that it
/// has left running holds the output open in silence; [`Running::end`] then says the same.
pub(super) struct Output {
    pipe: ChildStdout,
    watch: Arc<Watch>,
    grace: Duration,
    /// Since when the command has ended and nothing came.
    silent_since: Option<Instant>,
}

impl Read for Output {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(trouble) = self.watch.trouble() {
                return Err(io::Error::other(trouble));
            }
            if is_ready(&self.pipe)? {
                self.silent_since = None;
                return self.pipe.read(out);
            }
            if self.watch.has_ended()
                && self.silent_since.get_or_insert_with(Instant::now).elapsed() >= self.grace
            {
                let trouble = &self.watch.trouble;
                // Whoever was first to give up on it says why.
                let _ = trouble.compare_exchange(RUNS, HELD_OPEN, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
    }
}

impl Running {
    /// Starts it, for at most a time, and keeps so many bytes of what it says on its standard error. What it writes is given
    /// by [`Running::output`]; it takes input if `input` is set.
    pub(super) fn start(
        program: &str,
        arguments: impl IntoIterator<Item = String>,
        (variables, input): (&[(&str, String)], bool),
        (timeout, words_bytes_max): (Duration, usize),
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
            program: program.to_owned(),
            timeout,
            process: Pid::from_raw(child.id().cast_signed()),
            trouble: AtomicU8::new(RUNS),
            ended: Mutex::new(false),
            told: Condvar::new(),
        });
        let words = Arc::new(Mutex::new(Words::default()));
        let (kept, for_reader) = (words.clone(), watch.clone());
        let reader = child
            .stderr
            .take()
            .map(|pipe| std::thread::spawn(move || read_words(pipe, &kept, words_bytes_max, &for_reader)));
        let for_watcher = watch.clone();
        let watcher = Some(std::thread::spawn(move || for_watcher.watch(&cancelled)));
        Ok(Self { child, words, words_bytes_max, reader, watch, watcher })
    }

    /// Its standard output; once.
    pub(super) fn output(&mut self) -> Option<Output> {
        let pipe = self.child.stdout.take()?;
        Some(Output { pipe, watch: self.watch.clone(), grace: OUTPUT_GRACE, silent_since: None })
    }

    /// Its standard input; once.
    pub(super) fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    fn words(&self) -> String {
        let words: Vec<u8> = self.words.lock().kept.iter().copied().collect();
        String::from_utf8_lossy(&words).trim().to_owned()
    }

    /// All that it wrote to its standard error. Fails when that was more than is kept.
    pub(super) fn all_words(&self) -> Result<String, SourceError> {
        if !self.words.lock().lost {
            return Ok(self.words());
        }
        let (program, kept) = (&self.watch.program, self.words_bytes_max);
        let last = self.last_words();
        Err(SourceError::new(format!(
            "{program} says more than the {kept} bytes that are kept; at the end: {last}"
        )))
    }

    /// The end of what it wrote to its standard error.
    pub(super) fn last_words(&self) -> String {
        let words = self.words();
        let first = words.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        let first = (first..=words.len()).find(|at| words.is_char_boundary(*at)).unwrap_or(first);
        words[first..].to_owned()
    }

    /// Waits for its end; gives how it ended, unless it was given up on.
    pub(super) fn end(&mut self) -> Result<ExitStatus, SourceError> {
        let ended = self.child.wait();
        self.watch.end();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if let Some(trouble) = self.watch.trouble() {
            return Err(SourceError::new(format!("{trouble}; its last words: {}", self.last_words())));
        }
        let program = &self.watch.program;
        ended.map_err(|error| SourceError::because(format!("{program} cannot be waited for"), error))
    }

    /// As [`Running::end`], where only success will do.
    pub(super) fn succeed(&mut self) -> Result<(), SourceError> {
        let status = self.end()?;
        if status.success() {
            return Ok(());
        }
        let (program, last) = (&self.watch.program, self.last_words());
        Err(SourceError::new(format!("{program} ended with {status}; its last words: {last}")))
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
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A shell whose standard input stays open as long as it is kept: what is left behind ends with it.
    fn shell(script: &str, words_bytes_max: usize, cancelled: Cancelled) -> (Running, ChildStdin, Output) {
        let arguments = ["-c".to_owned(), format!("exec 3<&0; {script}")];
        let bounds = (Duration::from_secs(600), words_bytes_max);
        let mut running =
            Running::start("/bin/sh", arguments, (&[], true), bounds, cancelled).expect("starts");
        let (input, output) = (running.input().expect("an input"), running.output().expect("an output"));
        (running, input, output)
    }

    fn never() -> Cancelled {
        Arc::new(|| false)
    }

    #[test]
    fn a_command_that_fails_is_quoted_with_its_last_words_alone() {
        let script = "head -c 200000 /dev/zero | tr '\\0' x >&2; echo no more room >&2; exit 3";
        let (mut running, _input, _output) = shell(script, WORDS_BYTES_MAX, never());
        let error = running.succeed().expect_err("it fails").to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no more room"), "{error}");
        assert!(error.len() < LAST_WORDS_BYTES_MAX + 100, "{} bytes", error.len());
    }

    #[test]
    fn what_is_left_behind_and_holds_the_output_open_is_named_and_not_waited_for() {
        let (mut running, _input, mut output) =
            shell("setsid cat <&3 & echo data; echo words >&2", WORDS_BYTES_MAX, never());
        output.grace = Duration::ZERO;
        let mut data = Vec::new();
        let error = output.read_to_end(&mut data).expect_err("it is held open");
        assert_eq!(data, b"data\n");
        assert!(error.to_string().contains("holds its output open"), "{error}");
        let error = running.succeed().expect_err("the run fails").to_string();
        assert!(error.contains("holds its output open") && error.ends_with("words"), "{error}");
    }

    #[test]
    fn reading_ends_when_the_run_is_cancelled_though_the_output_is_held_open() {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let cancelled: Cancelled = Arc::new(move || asked.load(Ordering::Relaxed));
        let script = "setsid sh -c 'echo begun; exec cat' <&3 & sleep 600";
        let (mut running, _input, mut output) = shell(script, WORDS_BYTES_MAX, cancelled);
        let mut begun = [0; 6];
        output.read_exact(&mut begun).expect("it has begun");
        stop.store(true, Ordering::Relaxed);
        let error = output.read_to_end(&mut Vec::new()).expect_err("it was cancelled");
        assert!(error.to_string().contains("was cancelled"), "{error}");
        assert!(running.end().expect_err("it was killed").to_string().contains("was cancelled"));
    }

    #[test]
    fn an_output_that_others_close_in_time_is_whole() {
        let script = "(read line <&3; echo second) & echo first";
        let (mut running, input, mut output) = shell(script, WORDS_BYTES_MAX, never());
        let mut first = [0; 6];
        output.read_exact(&mut first).expect("the first line");
        drop(input);
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("nobody holds it open");
        assert_eq!(rest, "second\n");
        running.succeed().expect("it ended well");
    }

    #[test]
    fn words_are_whole_or_known_not_to_be() {
        for (bytes_max, is_whole) in [(WORDS_BYTES_MAX, true), (1000, false)] {
            let (mut running, _input, _output) = shell("seq 1 1000 >&2", bytes_max, never());
            running.succeed().expect("it ended well");
            let words = running.all_words().map(|words| words.lines().count());
            assert_eq!(words.ok(), is_whole.then_some(1000));
            assert!(running.last_words().ends_with("\n1000"));
        }
    }
}

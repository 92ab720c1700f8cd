//! Programs that are run and watched.

use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tidegate_benches::{Outcome, Spent};

/// How often a process is asked for its memory. Its peak never falls, so only growth in the last of these is missed.
const POLL: Duration = Duration::from_millis(5);
/// How much of what a program said a message quotes.
const QUOTED_CHARACTERS: usize = 300;
/// Linux counts processor time in these, on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a step took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Time.
    pub(crate) spent: Spent,
    /// The most memory that its programs had resident, those that ran beside each other added up.
    pub(crate) peak_bytes: u64,
}

impl Cost {
    /// What some work takes, in programs that it starts and waits for. It answers their peak of memory.
    pub(crate) fn of(work: impl FnOnce() -> Outcome<u64>) -> Outcome<Self> {
        let (start, before) = (Instant::now(), processor_of_children()?);
        let peak_bytes = work()?;
        let clock = start.elapsed().as_secs_f64();
        let processor = processor_of_children()? - before;
        Ok(Self { spent: Spent { clock, processor }, peak_bytes })
    }
}

/// Runs a program to its end, which must be a good one; answers its peak of memory in bytes.
pub(crate) fn run(command: &mut Command) -> Outcome<u64> {
    let mut watched = Watched::start(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
    let mut said = String::new();
    if let Some(mut errors) = watched.child.stderr.take() {
        std::io::Read::read_to_string(&mut errors, &mut said)?;
    }
    let (ended, peak) = watched.wait()?;
    if !ended.success() {
        let tail: String = said.chars().rev().take(QUOTED_CHARACTERS).collect();
        return Err(format!("{command:?}: {ended}: {}", tail.chars().rev().collect::<String>()).into());
    }
    Ok(peak)
}

/// A process whose memory is watched. It is killed when it is dropped before its end.
pub(crate) struct Watched {
    child: Child,
    watcher: Option<JoinHandle<u64>>,
}

impl Watched {
    /// Starts one, with nothing to read.
    pub(crate) fn start(command: &mut Command) -> Outcome<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let status = format!("/proc/{}/status", child.id());
        let watcher = std::thread::spawn(move || {
            let mut peak = 0;
            // A process that has ended and was not waited for has no memory to show.
            while let Some(bytes) = fs::read_to_string(&status).ok().as_deref().and_then(peak_of) {
                peak = bytes.max(peak);
                std::thread::sleep(POLL);
            }
            peak
        });
        Ok(Self { child, watcher: Some(watcher) })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to stop, and waits for that; answers its peak of memory in bytes.
    pub(crate) fn stop(self) -> Outcome<u64> {
        let pid = Pid::from_raw(self.child.id() as i32).ok_or("a process without number")?;
        kill_process(pid, Signal::TERM)?;
        let (ended, peak) = self.wait()?;
        if ended.success() { Ok(peak) } else { Err(format!("it ended with {ended}").into()) }
    }

    fn wait(mut self) -> Outcome<(ExitStatus, u64)> {
        let ended = self.child.wait()?;
        let watcher = self.watcher.take().ok_or("watched twice")?;
        Ok((ended, watcher.join().map_err(|_| "the watcher died")?))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}

/// Processor time of all processes that this one has waited for, and that those have, in seconds.
fn processor_of_children() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, a name in parentheses, may hold spaces; after it come the third and following.
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| -> Outcome<f64> { Ok(fields.get(field - 3).ok_or("a short stat")?.parse()?) };
    Ok((ticks(16)? + ticks(17)?) / TICKS_PER_SECOND)
}

//! Programs that are run and watched: what they take of time and memory.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Outcome, Spent};

/// How long a gateway may take to listen.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a process is asked for its memory, or whether it listens. Its peak never falls, so only growth in the last of
/// these is missed.
const POLL: Duration = Duration::from_millis(5);
/// How much of what a program said a message quotes.
const QUOTED_CHARACTERS: usize = 300;
/// Linux counts processor time in these, on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a step took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Time.
    pub spent: Spent,
    /// The most memory that its programs had resident, those that ran beside each other added up.
    pub peak_bytes: u64,
}

impl Cost {
    /// What some work takes, in programs that it starts and waits for. It answers their peak of memory.
    pub fn of(work: impl FnOnce() -> Outcome<u64>) -> Outcome<Self> {
        let (start, before) = (Instant::now(), processor_of_children()?);
        let peak_bytes = work()?;
        let clock = start.elapsed().as_secs_f64();
        let processor = processor_of_children()? - before;
        Ok(Self { spent: Spent { clock, processor }, peak_bytes })
    }
}

/// Runs a program to its end, which must be a good one; answers its peak of memory in bytes.
pub fn run(command: &mut Command) -> Outcome<u64> {
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
pub struct Watched {
    child: Child,
    watcher: Option<JoinHandle<u64>>,
}

impl Watched {
    /// Starts one, with nothing to read.
    pub fn start(command: &mut Command) -> Outcome<Self> {
        let child = command.stdin(Stdio::null()).spawn()?;
        let process = child.id();
        let watcher = std::thread::spawn(move || {
            let mut peak = 0;
            // A process that has ended and was not waited for has no memory to show.
            while let Ok(bytes) = peak_memory_of(process) {
                peak = bytes.max(peak);
                std::thread::sleep(POLL);
            }
            peak
        });
        Ok(Self { child, watcher: Some(watcher) })
    }

    /// Starts a gateway, whose output goes to a file, and waits until its admin socket is there.
    pub fn gateway(serve: &mut Command, socket: &Path, log: &Path) -> Outcome<Self> {
        let output = File::create(log)?;
        let mut gateway = Self::start(serve.stdout(output.try_clone()?).stderr(output))?;
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(socket).is_err() {
            if gateway.has_ended()? || Instant::now() > end {
                return Err(format!("it does not serve: {}", fs::read_to_string(log)?).into());
            }
            std::thread::sleep(POLL);
        }
        Ok(gateway)
    }

    /// The number that the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Outcome<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Asks it to stop, and waits for that; answers its peak of memory in bytes.
    pub fn stop(self) -> Outcome<u64> {
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

/// The most memory that a process has had resident, in bytes.
pub fn peak_memory_of(process: u32) -> Outcome<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

/// Processor time that a process has taken so far, in seconds.
pub fn processor_seconds_of(process: u32) -> Outcome<f64> {
    processor_seconds(&format!("/proc/{process}/stat"), [14, 15])
}

/// Processor time of all processes that this one has waited for, and that those have, in seconds.
fn processor_of_children() -> Outcome<f64> {
    processor_seconds("/proc/self/stat", [16, 17])
}

/// The sum of two fields of a file `stat` of the system, by their numbers there.
fn processor_seconds(stat: &str, fields: [usize; 2]) -> Outcome<f64> {
    let stat = fs::read_to_string(stat)?;
    // The second field, a name in parentheses, may hold spaces; after it come the third and following.
    let parts: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| -> Outcome<f64> { Ok(parts.get(field - 3).ok_or("a short stat")?.parse()?) };
    let [one, other] = fields;
    Ok((ticks(one)? + ticks(other)?) / TICKS_PER_SECOND)
}

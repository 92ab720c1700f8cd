//! The backups that are measured, each by a gateway that is started for it and stopped after it. All have the same data
//! folder.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tidegate_benches::Outcome;
use tidegate_benches::process::{Watched, processor_seconds_of};
use tidegate_gateway::control::SourceRun;

use crate::place::Place;
use crate::source::Source;

/// What the gateways are to say in their logs.
const LOG_FILTER: &str = "info,tidegate_gateway::appliance::index=debug";
/// What a gateway says when it has learned the index, and when it will not.
const LEARNED: &str = "learned the index of the target";
const NOT_LEARNED: &str = "the index was not learned";
/// How long learning may take, and how often it is looked whether it has ended.
const LEARNING_TIME_MAX: Duration = Duration::from_hours(24);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One of the backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    First,
    Unchanged,
    AllAgain,
}

/// In this order.
pub(crate) const STEPS: [Step; 3] = [Step::First, Step::Unchanged, Step::AllAgain];

impl Step {
    /// What to call it.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::First => "first, while the index is learned",
            Self::Unchanged => "unchanged",
            Self::AllAgain => "all read again",
        }
    }

    const fn log(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Unchanged => "unchanged",
            Self::AllAgain => "all-again",
        }
    }
}

/// What a backup took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// From the beginning of the run to its end, by the gateway's clock.
    pub(crate) seconds: f64,
    /// From the beginning of the run until the index was learned, where it was.
    pub(crate) learned_seconds: Option<f64>,
    /// Processor time of the gateway, from its start to where it is told to stop.
    pub(crate) processor_seconds: f64,
    /// The most memory that the gateway had resident.
    pub(crate) peak_bytes: u64,
    /// What the run read of the source.
    pub(crate) read_bytes: u64,
    /// What the data folder takes of the disk afterwards.
    pub(crate) data_bytes: u64,
}

/// Takes a step, and checks what it did.
pub(crate) fn take(step: Step, place: &Place, source: &Source) -> Outcome<Taken> {
    let log = place.log(step.log());
    let mut serve = place.command()?;
    serve.arg("serve").env("TIDEGATE_LOG", LOG_FILTER);
    let mut gateway = Watched::gateway(&mut serve, &place.socket(), &log)?;
    let run = save(step, place)?;
    check(step, &run, source)?;
    let learned_seconds = match step {
        Step::First => Some(until_learned(&mut gateway, &log, run.began)?),
        Step::Unchanged | Step::AllAgain => None,
    };
    let processor_seconds = processor_seconds_of(gateway.id())?;
    let peak_bytes = gateway.stop()?;
    Ok(Taken {
        seconds: run.ended.duration_since(run.began).as_secs_f64(),
        learned_seconds,
        processor_seconds,
        peak_bytes,
        read_bytes: run.bytes_read,
        data_bytes: place.data_bytes()?,
    })
}

/// Has the running gateway save the source.
fn save(step: Step, place: &Place) -> Outcome<SourceRun> {
    let mut command = place.command()?;
    command.args(["--json", "source", "run", "source"]);
    if step == Step::AllAgain {
        command.arg("--rescan");
    }
    let done = command.stdin(Stdio::null()).output()?;
    if !done.status.success() {
        return Err(format!("{command:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr)).into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn check(step: Step, run: &SourceRun, source: &Source) -> Outcome<()> {
    if run.left_out > 0 {
        return Err(format!("{} names were left out", run.left_out).into());
    }
    if step != Step::Unchanged && run.bytes_read < source.bytes {
        return Err(format!("only {} of {} bytes were read", run.bytes_read, source.bytes).into());
    }
    match step {
        Step::First if run.new < source.files => {
            Err(format!("{} files count as new, of {}", run.new, source.files).into())
        }
        Step::AllAgain if run.bytes_new > 0 => {
            Err(format!("{} bytes count as new that were saved before", run.bytes_new).into())
        }
        Step::First | Step::Unchanged | Step::AllAgain => Ok(()),
    }
}

/// Waits until the gateway has learned the index; tells how many seconds after this moment that was,
/// by its own clock.
fn until_learned(gateway: &mut Watched, log: &Path, began: Timestamp) -> Outcome<f64> {
    let end = Instant::now() + LEARNING_TIME_MAX;
    loop {
        let said = fs::read_to_string(log)?;
        let find = |words: &str| said.lines().find(|line| line.contains(words));
        if let Some(line) = find(LEARNED) {
            // A line of the log begins with its time.
            let learned: Timestamp = line.split(' ').next().unwrap_or_default().parse()?;
            return Ok(learned.duration_since(began).as_secs_f64());
        }
        if let Some(line) = find(NOT_LEARNED) {
            return Err(line.into());
        }
        if gateway.has_ended()? || Instant::now() > end {
            return Err("it ended, or its time did, before it had learned the index".into());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

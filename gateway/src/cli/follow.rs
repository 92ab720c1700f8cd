//! A job as its caller sees it: progress while it runs, its result or error at the end.
//!
//! Ctrl-C asks the job to stop and waits for that; a second one leaves it alone and returns.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Context;
use super::client::Client;
use super::exit::Failure;
use super::format;
use super::terminal::{Terminal, failed};
use crate::admin::JobInfo;
use crate::control::{ControlError, ErrorKind, Progress, Unit};

/// How often a plain line of progress is written when nothing moves on the screen.
const PLAIN_LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Whether to wait for the end of a job.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct JobOptions {
    /// Return at once with the job's id instead of waiting for its end.
    #[arg(long)]
    pub(super) detach: bool,
}

/// Starts a job with a POST, and shows its end (or, detached, its beginning).
pub(super) async fn run<B: Serialize, T: Serialize + DeserializeOwned>(
    context: &Context,
    options: JobOptions,
    path: &str,
    body: &B,
    people: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let client = context.client()?;
    let job: JobInfo = client.post(path, body).await?;
    if options.detach {
        return context.terminal.data(&job, |job| format!("job {} started", job.id));
    }
    let result: T = follow(&client, job, &context.terminal).await?;
    context.terminal.data(&result, people)
}

/// As [`run`], for what is a part of something else.
pub(super) async fn to_its_end<B: Serialize, T: DeserializeOwned>(
    context: &Context,
    path: &str,
    body: &B,
) -> Result<T, Failure> {
    let client = context.client()?;
    let job: JobInfo = client.post(path, body).await?;
    follow(&client, job, &context.terminal).await
}

async fn follow<T: DeserializeOwned>(
    client: &Client,
    mut job: JobInfo,
    terminal: &Terminal,
) -> Result<T, Failure> {
    let mut display = ProgressDisplay::new(terminal);
    let mut interrupted = false;
    while !job.has_ended() {
        let path = format!("/jobs/{}?wait_seconds=1", job.id);
        tokio::select! {
            answer = client.get(&path) => job = answer?,
            _ = tokio::signal::ctrl_c() => {
                if interrupted {
                    let message = format!("job {} is still stopping", job.id);
                    return Err(ControlError::new(ErrorKind::Cancelled, message).into());
                }
                interrupted = true;
                job = client.post(&format!("/jobs/{}/cancel", job.id), &()).await?;
            }
        }
        display.show(&job.progress);
    }
    display.end();
    match (job.error, job.result) {
        (Some(error), _) => Err(error.into()),
        (None, result) => Ok(serde_json::from_value(result.unwrap_or_default())
            .map_err(|error| failed("read the job's result", &error))?),
    }
}

/// Shows progress: a bar on a terminal, else a line now and then.
pub(super) struct ProgressDisplay {
    terminal: Terminal,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl ProgressDisplay {
    pub(super) fn new(terminal: &Terminal) -> Self {
        let bar = terminal.is_live().then(ProgressBar::new_spinner);
        Self { terminal: terminal.clone(), bar, last_line: Instant::now() }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let Some(bar) = &self.bar else {
            if self.last_line.elapsed() >= PLAIN_LINE_INTERVAL && !progress.phase.is_empty() {
                self.last_line = Instant::now();
                self.terminal.say(&line(progress));
            }
            return;
        };
        bar.set_style(style(progress));
        bar.set_message(progress.phase.clone());
        bar.set_length(progress.total.unwrap_or(progress.done));
        bar.set_position(progress.done);
        bar.tick();
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(progress: &Progress) -> ProgressStyle {
    let template = match (progress.unit, progress.total) {
        (Unit::Bytes, Some(_)) => "{spinner} {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (Unit::Items, Some(_)) => "{spinner} {msg} {wide_bar} {pos}/{len} {eta}",
        (Unit::Bytes, None) => "{spinner} {msg} {bytes} {bytes_per_sec}",
        (Unit::Items, None) => "{spinner} {msg} {pos}",
    };
    ProgressStyle::with_template(template).expect("the templates above are well formed")
}

fn line(progress: &Progress) -> String {
    let count = |number: u64| match progress.unit {
        Unit::Bytes => format::bytes(number),
        Unit::Items => number.to_string(),
    };
    match progress.total {
        Some(total) => format!("{}: {} of {}", progress.phase, count(progress.done), count(total)),
        None => format!("{}: {}", progress.phase, count(progress.done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_progress_has_a_bar_and_a_line() {
        for (unit, total, text) in [
            (Unit::Bytes, Some(2048), "read: 1.0 KiB of 2.0 KiB"),
            (Unit::Bytes, None, "read: 1.0 KiB"),
            (Unit::Items, Some(2048), "read: 1024 of 2048"),
            (Unit::Items, None, "read: 1024"),
        ] {
            let progress = Progress { phase: "read".into(), done: 1024, total, unit };
            let _ = style(&progress);
            assert_eq!(line(&progress), text);
        }
    }
}

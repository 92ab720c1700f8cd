//! `tidegate job`: long work of the gateway: list, cancel.

use clap::Subcommand;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::format::table;
use crate::admin::JobInfo;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show jobs, newest first.
    List,
    /// Show one job.
    Show {
        /// Its id.
        job: String,
    },
    /// Ask a job to stop.
    Cancel {
        /// Its id.
        job: String,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let client = context.client()?;
    match command {
        Command::List => {
            let jobs: Vec<JobInfo> = client.get("/jobs").await?;
            context.terminal.data(&jobs, |jobs| list(jobs))
        }
        Command::Show { job } => {
            let job: JobInfo = client.get(&format!("/jobs/{}", segment(&job))).await?;
            context.terminal.data(&job, |job| list(std::slice::from_ref(job)))
        }
        Command::Cancel { job } => {
            let job: JobInfo = client.post(&format!("/jobs/{}/cancel", segment(&job)), &()).await?;
            context.terminal.data(&job, |job| list(std::slice::from_ref(job)))
        }
    }
}

fn list(jobs: &[JobInfo]) -> String {
    let row = |job: &JobInfo| {
        let state = job.state.as_str();
        let why = job.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let done = match job.progress.total {
            Some(total) if total > 0 => format!("{} %", job.progress.done.saturating_mul(100) / total),
            Some(_) | None => job.progress.done.to_string(),
        };
        [
            job.id.clone(),
            job.kind.clone(),
            job.share.clone(),
            job.started.to_string(),
            done,
            format!("{state}{why}"),
        ]
    };
    table(["JOB", "KIND", "SHARE", "STARTED", "DONE", "STATE"], &jobs.iter().map(row).collect::<Vec<_>>())
}

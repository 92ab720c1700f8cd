//! `tidegate machine`: list, start, stop.

use clap::Subcommand;

use super::Context;
use super::client::segment;
use super::exit::Failure;
use super::follow::ProgressDisplay;
use super::format::table;
use crate::control::{MachineStartRequest, MachineStatus, MachineStopRequest, Moment, Progress};
use crate::machine::MachineState;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show all machines, and whether they run.
    List,
    /// Start a machine of the settings; returns once it runs, long before it has booted. One that runs in a cloud has copies of its
    /// disks, which are brought up to date first: that goes on when this command is ended, and until the machine is stopped.
    Start {
        /// The machine.
        machine: String,
        /// The name that it runs under, for a drill beside the real one.
        #[arg(long = "as", value_name = "NAME")]
        run_as: Option<String>,
        /// Give it scratch volumes: nothing that it writes comes into the shares.
        #[arg(long)]
        scratch: bool,
        /// With --scratch: the moment that its disks show; without it, the newest heads.
        #[arg(long, requires = "scratch")]
        moment: Option<Moment>,
        /// Note what is read of its disks until it is stopped, and record it then.
        #[arg(long)]
        record: bool,
    },
    /// Stop what runs under a name, and take its scratch volumes away.
    Stop {
        /// The name.
        machine: String,
        /// Cut its power at once.
        #[arg(long)]
        at_once: bool,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let client = context.client()?;
    match command {
        Command::List => {
            let machines: Vec<MachineStatus> = client.get("/machines").await?;
            context.terminal.data(&machines, |machines| list(machines))
        }
        Command::Start { machine, run_as, scratch, moment, record } => {
            let request = MachineStartRequest { run_as, scratch, moment, record };
            let path = format!("/machines/{}/start", segment(&machine));
            let mut status: MachineStatus = client.post(&path, &request).await?;
            let mut display = ProgressDisplay::new(&context.terminal);
            while let Some(progress) = &status.copying {
                display.show(progress);
                status = client.post(&path, &request).await?;
            }
            display.end();
            context.terminal.data(&status, |status| list(std::slice::from_ref(status)))
        }
        Command::Stop { machine, at_once } => {
            let path = format!("/machines/{}/stop", segment(&machine));
            let status: MachineStatus = client.post(&path, &MachineStopRequest { at_once }).await?;
            context.terminal.data(&status, |status| list(std::slice::from_ref(status)))
        }
    }
}

fn list(machines: &[MachineStatus]) -> String {
    let row = |machine: &MachineStatus| {
        let state = match (&machine.state, &machine.trouble) {
            _ if machine.copying.is_some() => machine.copying.as_ref().map(copied).unwrap_or_default(),
            (Some(MachineState::Running), _) => "running".to_owned(),
            (Some(MachineState::Stopped), _) => "stopped".to_owned(),
            (Some(MachineState::Unwell(why)), _) => format!("UNWELL: {why}"),
            (None, why) => format!("UNKNOWN: {}", why.as_deref().unwrap_or("no answer")),
        };
        let changes = if machine.scratch { "thrown away" } else { "kept" };
        let console = machine.running.as_ref().and_then(|running| running.console.as_ref());
        [
            machine.name.clone(),
            machine.machine.clone(),
            state,
            machine.volumes.join(","),
            changes.to_owned(),
            console.map_or_else(|| "-".to_owned(), |console| console.display().to_string()),
        ]
    };
    let heading = ["NAME", "MACHINE", "STATE", "DISKS", "CHANGES", "CONSOLE"];
    table(heading, &machines.iter().map(row).collect::<Vec<_>>())
}

/// How far the copying of disks is.
fn copied(progress: &Progress) -> String {
    match progress.total {
        Some(total) if total > 0 => format!("copying, {} %", progress.done.saturating_mul(100) / total),
        Some(_) | None => "copying".to_owned(),
    }
}

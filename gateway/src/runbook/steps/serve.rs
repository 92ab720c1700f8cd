//! `serve`: starts the gateway of the run, and waits until a client has been served a byte of every share.
//!
//! The process is told by its command line: `serve` with this settings file. So one that an earlier life of the run had started
//! is found again, whatever became of what was written down about it, and no other process is ever ended.
//!
//! Before it is started the run notes that it does so ([`Site::note_started`]): a roll back ends what the run has started, and leaves alone
//! a gateway that was there before.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use super::child::Child;
use super::find_program;
use super::machine::drill_tables;
use super::nfs::{Mounted, Refused};
use crate::control::Status;
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::{Listen, Step};

/// What a run notes that it has started.
const GATEWAY: &str = "gateway";
/// How often it is looked whether it serves.
const POLL: Duration = Duration::from_millis(100);
/// How long a gateway has to stop by itself.
const STOP_TIME_MAX: Duration = Duration::from_secs(30);
/// How long one that was killed is waited for.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);

pub(in super::super) async fn serve(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let runs = !gateways(site.gateway_settings()).is_empty()
        || site.status().await.is_ok()
        || unit_is_active(site, step).await?;
    if !runs {
        site.note_started(GATEWAY)?;
        match &step.unit {
            Some(unit) if !site.run.mode.is_drill() => {
                let arguments = ["start", "--", unit.as_str()];
                Child::new(&find_program("systemctl")?, arguments, Vec::new()).run().await?.succeeded()?;
            }
            _ => start(site)?,
        }
    }
    let status = wait(site).await?;
    let mut said = Vec::new();
    for share in status.shares.iter().filter(|share| share.export.starts_with('/')) {
        let name = &share.name;
        match first_byte(site, &share.export).await {
            Ok(what) => said.push(format!("{name}: {what}")),
            Err(Refused::ToUs(why)) if !site.run.mode.is_drill() => {
                // It answers, and its rules keep this machine out.
                said.push(format!("{name}: served, but not to this machine ({why})"));
            }
            Err(Refused::ToUs(why) | Refused::Failed(why)) => {
                return Err(StepFailure::passing(format!("share {name} is not served: {why}")));
            }
        }
    }
    Ok(Done { note: said.join("; "), first_byte: true })
}

/// Whether the service manager runs the gateway already, perhaps one that does not answer yet.
async fn unit_is_active(site: &Site, step: &Step) -> Result<bool, StepFailure> {
    let Some(unit) = step.unit.as_ref().filter(|_| !site.run.mode.is_drill()) else { return Ok(false) };
    let arguments = ["is-active", "--quiet", "--", unit.as_str()];
    Ok(Child::new(&find_program("systemctl")?, arguments, Vec::new()).run().await?.status.success())
}

async fn first_byte(site: &Site, export: &str) -> Result<String, Refused> {
    let address = site.nfs_address().map_err(|failure| Refused::Failed(failure.why))?;
    Mounted::connect(address, export).await?.first_byte().await
}

/// Starts a gateway that outlives this process.
fn start(site: &Site) -> Result<(), StepFailure> {
    if site.run.mode.is_drill() {
        site.set_addresses(free_address()?, free_address()?)?;
        site.edit_gateway(|document| drill_tables(site, document))?;
    }
    let log = site.log();
    let failed =
        |error: std::io::Error| StepFailure::passing(format!("the gateway cannot be started: {error}"));
    let log = File::options().create(true).append(true).open(log).map_err(failed)?;
    let mut command = Command::new(site.program());
    command.arg("--settings").arg(site.gateway_settings()).arg("serve");
    command.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.kill_on_drop(false).spawn().map_err(failed)?;
    Ok(())
}

fn free_address() -> Result<Listen, StepFailure> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
    bound.map(Listen).map_err(|error| StepFailure::passing(format!("there is no free port: {error}")))
}

/// Waits until it answers and serves every share of the run.
async fn wait(site: &Site) -> Result<Status, StepFailure> {
    let wanted = site.run.runbook.shares();
    loop {
        if let Ok(status) = site.status().await {
            let served = |name: &&str| status.shares.iter().any(|share| share.name == **name);
            match wanted.iter().find(|name| !served(name)) {
                None => return Ok(status),
                Some(missing) => {
                    let why = format!("the gateway runs and does not serve share {missing}");
                    return Err(StepFailure::passing(format!(
                        "{why}; have it load its settings, or stop it"
                    )));
                }
            }
        }
        if site.may_look_for_process() && gateways(site.gateway_settings()).is_empty() {
            let log = site.end_of_log();
            return Err(StepFailure::passing(format!("the gateway has ended: {log}")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Stops what [`serve`] started, in a roll back; what ran before the run goes on.
pub(in super::super) async fn stop(site: &Site, step: &Step) -> Result<String, StepFailure> {
    if !site.has_started(GATEWAY) {
        return Ok("the gateway was not started by this run, and goes on".to_owned());
    }
    if let Some(unit) = &step.unit {
        let arguments = ["stop", "--", unit.as_str()];
        Child::new(&find_program("systemctl")?, arguments, Vec::new()).run().await?.succeeded()?;
        return Ok(format!("the unit {unit} is stopped"));
    }
    end_gateways(site.gateway_settings()).await
}

/// Ends every gateway that serves by a settings file; says how many.
pub(in super::super) async fn end_gateways(settings: &Path) -> Result<String, StepFailure> {
    let found = gateways(settings);
    for (signal, time) in [(Signal::TERM, STOP_TIME_MAX), (Signal::KILL, KILL_TIME_MAX)] {
        for process in gateways(settings) {
            // It may have ended at this moment.
            let _ = kill_process(process, signal);
        }
        let gone = async {
            while !gateways(settings).is_empty() {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(time, gone).await.is_ok() {
            return Ok(match found.len() {
                0 => "no gateway ran".to_owned(),
                count => format!("{count} gateway stopped"),
            });
        }
    }
    Err(StepFailure::passing("the gateway does not end, not even when it is killed"))
}

/// The processes that serve by a settings file.
fn gateways(settings: &Path) -> Vec<Pid> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let wanted = settings.as_os_str().as_encoded_bytes();
    let serves = |line: &[u8]| {
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.any(|word| word == wanted) && words.any(|word| word == b"serve")
    };
    let process = |entry: std::fs::DirEntry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        serves(&line).then(|| Pid::from_raw(id)).flatten()
    };
    processes.flatten().filter_map(process).collect()
}

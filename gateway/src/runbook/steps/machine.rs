//! `start-machine`: a virtual machine whose disks are volumes.
//!
//! In a failover it is a machine of this site's settings. In a drill the gateway of the drill has the same machine under a name
//! of the run, over the clones ([`drill_tables`]): what it writes goes with the drill, and it has no network but the one that
//! `drill_arguments` or `drill_start` give it, so that it never meets production. What is read while it boots is recorded, and
//! kept in `<data>/boot-orders` of this site: the next start of the machine here, drill or not, fetches that first. A machine that has
//! copies of its disks elsewhere reads none of them from here; an attempt that takes too long leaves the copying to go on, and
//! the next one finds it.
//!
//! Before a machine is started the run notes it; a roll back stops what the run has started. The teardown of a drill stops
//! its machines also when the gateway of the drill is gone.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidegate_replicator::store::durable_file;
use toml_edit::DocumentMut;

use super::{contains, key};
use crate::control::MachineStatus;
use crate::machine::{MachineState, Stop, noted_in, provider_of};
use crate::runbook::site::Site;
use crate::runbook::world::{Done, StepFailure};
use crate::settings::{Action, Machine, Name, Settings, Step, Table, Volume, add_table};

/// How often its console is looked at, and whether it still runs.
const POLL: Duration = Duration::from_millis(500);
/// The most that is looked at of the end of a console, in bytes.
const CONSOLE_BYTES_MAX: u64 = 4 << 20;
/// Characters at the end of the name of a run that tell it from others.
const RUN_MARK: usize = 8;

pub(in super::super) async fn start_machine(site: &Site, step: &Step) -> Result<Done, StepFailure> {
    let machine = key(step.machine.as_ref(), "machine")?.as_str();
    let known = known(&site.settings(), machine)?;
    let name = match for_run(site, &known)? {
        Some(of_run) => of_run.name.to_string(),
        None => {
            return Ok(Done::saying(format!(
                "machine {machine} has no drill_start or drill_subnet: it is left out of drills"
            )));
        }
    };
    let status = match status(site, &name).await? {
        Some(status) if status.state == Some(MachineState::Running) => status,
        None | Some(MachineStatus { state: Some(MachineState::Stopped), .. }) => {
            start(site, &known, &name).await?
        }
        // What the run has not started it must not come to stop.
        Some(status) => {
            let why = status.trouble.unwrap_or_else(|| format!("{:?}", status.state));
            return Err(StepFailure::passing(format!("whether machine {name} runs is not known: {why}")));
        }
    };
    if let Some(console) =
        status.running.and_then(|running| running.console).filter(|_| step.contains.is_some())
    {
        wait_for_console(site, step, &name, &console).await?;
        return Ok(Done::saying(format!("machine {name} runs, and its console says what it should")));
    }
    if step.contains.is_some() {
        let why =
            format!("the provider of machine {name} tells no console, in which a text could be looked for");
        return Err(StepFailure::lasting(why));
    }
    Ok(Done::saying(format!("machine {name} runs")))
}

async fn start(site: &Site, machine: &Machine, name: &str) -> Result<MachineStatus, StepFailure> {
    site.note_started(&noted_as(name))?;
    for volume in machine.volumes.iter().filter(|_| !machine.provider.copies_disks()) {
        let order = boot_order_file(site, volume);
        // What was recorded in the share itself is newer, or of another place: it stays.
        if order.exists() && site.tidegate(&["volume", "boot-order", volume.as_str()]).await.is_err() {
            let set = ["volume", "boot-order", volume.as_str(), "--set", &order.display().to_string()];
            if let Err(failure) = site.tidegate(&set).await {
                tracing::warn!(
                    volume = volume.as_str(),
                    why = failure.why,
                    "what an earlier drill recorded is not used"
                );
            }
        }
    }
    let mut line = vec!["machine", "start", name];
    if site.run.mode.is_drill() {
        line.push("--record");
    }
    parsed(site.tidegate(&line).await?)
}

fn parsed<T: serde::de::DeserializeOwned>(answer: serde_json::Value) -> Result<T, StepFailure> {
    serde_json::from_value(answer)
        .map_err(|error| StepFailure::passing(format!("the answer of the gateway cannot be read: {error}")))
}

async fn status(site: &Site, name: &str) -> Result<Option<MachineStatus>, StepFailure> {
    let machines: Vec<MachineStatus> = parsed(site.tidegate(&["machine", "list"]).await?)?;
    Ok(machines.into_iter().find(|machine| machine.name == name))
}

/// Waits until the console shows the text of the step; fails when the machine has ended before.
async fn wait_for_console(site: &Site, step: &Step, name: &str, console: &Path) -> Result<(), StepFailure> {
    loop {
        let said = end_of(console).unwrap_or_default();
        let Err(lacks) =
            contains(&said, step.contains.as_ref(), &format!("the console {}", console.display()))
        else {
            return Ok(());
        };
        match status(site, name).await?.and_then(|status| status.state) {
            Some(MachineState::Running) | None => tokio::time::sleep(POLL).await,
            Some(_) => return Err(StepFailure::passing(format!("machine {name} has ended: {}", lacks.why))),
        }
    }
}

fn end_of(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_BYTES_MAX)))?;
    let mut read = Vec::new();
    file.take(CONSOLE_BYTES_MAX).read_to_end(&mut read)?;
    Ok(read)
}

/// Stops what [`start_machine`] started, in a roll back.
pub(in super::super) async fn stop_machine(site: &Site, step: &Step) -> Result<String, StepFailure> {
    let name = key(step.machine.as_ref(), "machine")?.as_str();
    if !site.has_started(&noted_as(name)) {
        return Ok(format!("machine {name} was not started by this run, and goes on"));
    }
    site.tidegate(&["machine", "stop", name]).await?;
    Ok(format!("machine {name} is stopped"))
}

/// At the end of a drill: keeps what was read while its machines booted, and ends all of them; tells of the first that does not
/// end.
pub(in super::super) async fn end_machines(site: &Site) -> Result<(), StepFailure> {
    let mut ended = Ok(());
    // Those that the settings of its gateway have, which are what it was given, whatever has become of this site's since.
    for machine in site.of_gateway()?.machines {
        if site.has_started(&noted_as(machine.name.as_str())) {
            ended = ended.and(end_machine(site, &machine).await);
        }
    }
    ended
}

async fn end_machine(site: &Site, machine: &Machine) -> Result<(), StepFailure> {
    let name = machine.name.as_str();
    // The gateway may be gone; then nothing is recorded, and the machine is ended all the same.
    if site.tidegate(&["machine", "stop", name, "--at-once"]).await.is_ok() {
        for volume in machine.volumes.iter().filter(|_| !machine.provider.copies_disks()) {
            if let Err(failure) = keep_boot_order(site, volume).await {
                let why = failure.why;
                tracing::warn!(volume = volume.as_str(), why, "what was read while it booted is not kept");
            }
        }
    }
    let folder = site.gateway_data().join("machines").join(name);
    let stopped = provider_of(machine).stop(&noted_in(&folder, name), Stop::AtOnce).await;
    stopped.map_err(|error| StepFailure::passing(error.to_string()))
}

/// What a run notes that it has started.
fn noted_as(machine: &str) -> String {
    format!("machine-{machine}")
}

async fn keep_boot_order(site: &Site, volume: &Name) -> Result<(), StepFailure> {
    let order = site.tidegate(&["volume", "boot-order", volume.as_str()]).await?;
    let file = boot_order_file(site, volume);
    let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
    let kept = folder.and_then(|()| durable_file::replace(&file, order.to_string().as_bytes()));
    kept.map_err(|error| StepFailure::passing(format!("{} cannot be written: {error}", file.display())))
}

/// Where this site keeps what drills recorded of a volume.
fn boot_order_file(site: &Site, volume: &Name) -> PathBuf {
    let data = site.settings().gateway.data.as_path().to_owned();
    data.join("boot-orders").join(format!("{volume}.json"))
}

fn known(settings: &Settings, machine: &str) -> Result<Machine, StepFailure> {
    settings.machine(machine).cloned().ok_or_else(|| {
        StepFailure::lasting(format!("the settings of this place have no [[machine]] {machine:?}; write one"))
    })
}

/// The machine as this run has it; none where a drill leaves it out.
fn for_run(site: &Site, machine: &Machine) -> Result<Option<Machine>, StepFailure> {
    if !site.run.mode.is_drill() {
        return Ok(Some(machine.clone()));
    }
    let run = &site.run.name;
    let name = format!("{}-{}", machine.name, &run[run.len().saturating_sub(RUN_MARK)..]);
    let name: Name = name.parse().map_err(|_| {
        StepFailure::lasting(format!("machine {} has too long a name for a drill of it", machine.name))
    })?;
    Ok(machine.for_drill(name))
}

/// The machines of a drill: as the settings have them, and as the drill does. Of one that there is not, its step tells.
fn machines_of(site: &Site) -> Vec<(Machine, Machine)> {
    let settings = site.settings();
    let steps = site.run.runbook.steps.iter();
    let steps = steps.filter(|step| step.action == Action::StartMachine && step.runs_in_drill());
    let mut found: Vec<(Machine, Machine)> = Vec::new();
    for name in steps.filter_map(|step| step.machine.as_ref()) {
        let Some(machine) = settings.machine(name.as_str()) else { continue };
        let is_new = found.iter().all(|(other, _)| other.name != machine.name);
        if let Some(of_run) = for_run(site, machine).ok().flatten().filter(|_| is_new) {
            found.push((machine.clone(), of_run));
        }
    }
    found
}

/// Gives the gateway of a drill its machines and their volumes, before it starts.
pub(super) fn drill_tables(site: &Site, document: &mut DocumentMut) -> Result<(), String> {
    let settings = site.settings();
    for (machine, of_run) in machines_of(site) {
        for volume in machine.volumes.iter().filter_map(|name| settings.volume(name.as_str())) {
            let there = tables(document, Volume::NAME).any(|name| name == volume.name.as_str());
            if !there {
                let volume =
                    Volume { moment: None, scratch: false, read_only: false, later: false, ..volume.clone() };
                add_table::<Volume>(document, volume.write())?;
            }
        }
        let there = tables(document, Machine::NAME).any(|name| name == of_run.name.as_str());
        if !there {
            add_table::<Machine>(document, of_run.write())?;
        }
    }
    Ok(())
}

/// The names of the tables of a kind.
fn tables<'d>(document: &'d DocumentMut, kind: &str) -> impl Iterator<Item = &'d str> {
    let tables = document.get(kind).and_then(toml_edit::Item::as_array_of_tables);
    tables.into_iter().flatten().filter_map(|table| table.get("name").and_then(toml_edit::Item::as_str))
}

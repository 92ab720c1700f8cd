//! What a run would do, and whether it could: without doing it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use super::state::Mode;
use crate::settings::{Action, Argument, Runbook, Settings, Step};

/// A step as it would be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Steps of one rank run at once, as far as the runbook lets them; from 1.
    pub rank: usize,
    /// Its name.
    pub step: String,
    /// What it does, for people.
    pub does: String,
    /// The steps before it.
    pub after: Vec<String>,
    /// How long one attempt may take, in milliseconds.
    pub time_max_ms: u64,
    /// How often it is tried again.
    pub retries: u32,
    /// What happens when it has failed for good.
    pub on_failure: String,
    /// How long it is expected to take, in milliseconds.
    pub expected_ms: Option<u64>,
}

/// The steps in an order in which they could run.
pub fn preview(runbook: &Runbook, mode: Mode) -> Vec<Planned> {
    let mut ranks: Vec<(usize, &Step)> = Vec::new();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    let mut rank = 1;
    while placed.len() < runbook.steps.len() {
        let ready = |step: &&Step| {
            !placed.contains(step.name.as_str())
                && step.after.iter().all(|name| placed.contains(name.as_str()))
        };
        let ready: Vec<&Step> = runbook.steps.iter().filter(ready).collect();
        // Settings are refused whose steps wait for each other.
        if ready.is_empty() {
            break;
        }
        placed.extend(ready.iter().map(|step| step.name.as_str()));
        ranks.extend(ready.into_iter().map(|step| (rank, step)));
        rank += 1;
    }
    ranks.into_iter().map(|(rank, step)| planned(rank, step, mode)).collect()
}

fn planned(rank: usize, step: &Step, mode: Mode) -> Planned {
    let skipped = mode.is_drill() && !step.runs_in_drill();
    Planned {
        rank,
        step: step.name.to_string(),
        does: if skipped {
            format!("nothing in a drill (else: {})", does(step, mode))
        } else {
            does(step, mode)
        },
        after: step.after.iter().map(ToString::to_string).collect(),
        time_max_ms: step.time_max().duration().as_millis() as u64,
        retries: step.retries_max(),
        on_failure: step.failure().to_string(),
        expected_ms: step.expect.map(|span| span.duration().as_millis() as u64),
    }
}

fn or<T: ToString>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn words(command: &[Argument]) -> String {
    command.iter().map(Argument::as_str).collect::<Vec<_>>().join(" ")
}

/// What a step does, for people.
fn does(step: &Step, mode: Mode) -> String {
    let drill = mode.is_drill();
    let share = or(step.share.as_ref());
    match step.action {
        Action::Attach if drill => {
            format!("opens a clone of share {share} at {} that publishes nothing", step.at)
        }
        Action::Attach => format!("takes share {share} over at {}", step.at),
        Action::Choose if drill => format!("takes {} for share {share}", step.at),
        Action::Choose => {
            format!("waits until somebody chooses the moment of share {share} (proposed: {})", step.at)
        }
        Action::Serve if drill => "starts a gateway on a scratch address and reads a first byte".to_owned(),
        Action::Serve => match &step.unit {
            Some(unit) => format!("starts the unit {unit} and reads a first byte"),
            None => "starts the gateway and reads a first byte".to_owned(),
        },
        Action::Warm => match &step.path {
            Some(path) => format!("reads {path} of share {share}"),
            None if step.all => format!("fetches all of share {share}, what was used lately first"),
            None => format!("fetches what was used lately of share {share}"),
        },
        Action::StartMachine if drill => {
            format!("starts machine {} under another name over the clones", or(step.machine.as_ref()))
        }
        Action::StartMachine => format!("starts machine {}", or(step.machine.as_ref())),
        Action::Run => format!("runs {}", words(&step.command)),
        Action::CheckHttp => format!("asks {} for a {}", or(step.url.as_ref()), step.status),
        Action::CheckTcp => format!("connects to {}", or(step.address.as_ref())),
        Action::CheckFile => format!("reads {} of share {share} over NFS", or(step.path.as_ref())),
        Action::CheckCommand => format!("runs {} and looks what it says", words(&step.command)),
        Action::MoveAddress => {
            let address = if drill { &step.drill_address } else { &step.address };
            format!("gives {} the address {}", or(step.interface.as_ref()), or(address.as_ref()))
        }
        Action::Dns => {
            let record = if drill { &step.drill_record } else { &step.record };
            format!("lets {} {} say {}", or(record.as_ref()), step.record_type, words(&step.values))
        }
        Action::Approve => format!("waits for a person: {}", or(step.message.as_ref())),
        Action::Notify => format!("tells {}: {}", or(step.notifier.as_ref()), or(step.message.as_ref())),
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub what: String,
    /// What is wrong with it; none if nothing.
    pub problem: Option<String>,
}

impl Check {
    fn new(what: impl Into<String>, problem: Option<String>) -> Self {
        Self { what: what.into(), problem }
    }
}

/// Looks at what steps need of this machine: programs, notifiers, secrets. `shares` are those of the repository.
pub async fn checks(runbook: &Runbook, settings: &Settings, shares: &[String]) -> Vec<Check> {
    let mut found = Vec::new();
    for step in &runbook.steps {
        let name = &step.name;
        for command in [&step.command, &step.undo, &step.probe] {
            if let Some(program) = command.first() {
                found.push(Check::new(
                    format!("{name}: program {program}"),
                    program_problem(program.as_str()),
                ));
            }
        }
        if let Some(share) = &step.share {
            let missing = !shares.iter().any(|there| there == share.as_str());
            let problem = missing.then(|| "the repository has no head of it yet".to_owned());
            found.push(Check::new(format!("{name}: share {share}"), problem));
        }
        if let Some(machine) = &step.machine {
            let problem = machine_problem(runbook, settings, machine.as_str());
            found.push(Check::new(format!("{name}: machine {machine}"), problem));
        }
        if let Some(notifier) = &step.notifier {
            let missing = settings.notifier(notifier.as_str()).is_none();
            let problem = missing.then(|| "the settings have no [[notify]] of that name".to_owned());
            found.push(Check::new(format!("{name}: notifier {notifier}"), problem));
        }
        if let Some(secret) = &step.tsig_secret {
            let problem = secret.resolve().await.err().map(|error| error.to_string());
            found.push(Check::new(format!("{name}: {secret}"), problem));
        }
        let needed: &[&str] = match step.action {
            Action::MoveAddress => &["ip"],
            Action::Dns => &["nsupdate"],
            Action::Serve if step.unit.is_some() => &["systemctl"],
            _ => &[],
        };
        for program in needed {
            let problem = super::steps::find_program(program).err().map(|failure| failure.why);
            found.push(Check::new(format!("{name}: program {program}"), problem));
        }
    }
    found
}

/// What is missing for a machine: itself, or a share of its disks that no step attaches.
fn machine_problem(runbook: &Runbook, settings: &Settings, machine: &str) -> Option<String> {
    let Some(machine) = settings.machine(machine) else {
        return Some("the settings have no [[machine]] of that name".to_owned());
    };
    let volumes = machine.volumes.iter().filter_map(|volume| settings.volume(volume.as_str()));
    let shares = runbook.shares();
    let elsewhere = volumes.map(|volume| volume.share.as_str()).find(|share| !shares.contains(share))?;
    Some(format!("a disk of it lies in share {elsewhere}, which no step attaches"))
}

fn program_problem(program: &str) -> Option<String> {
    match std::fs::metadata(Path::new(program)) {
        Err(error) => Some(error.to_string()),
        Ok(found) if !found.is_file() => Some("is no file".to_owned()),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("may not be executed".to_owned()),
        Ok(_) => None,
    }
}

//! `tidegate setup`: from an installed program to a gateway that can be started, in one conversation.
//!
//! Asks what the options do not say, then: does what `tidegate init` does (see its order, and what a crash leaves);
//! adds the share to the settings; stores, reads and removes a few objects, to tell how fast the store is; hands everything to the
//! gateway's user; makes a recovery key and shows its sheet; and looks at the machine as `tidegate doctor` does. A
//! crash in between leaves a repository with settings that serve: the rest can be made up for with
//! `tidegate share add`, `tidegate key recovery-sheet` and `chown`.

mod owner;
mod speed;

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde::Serialize;
use toml_edit::{Array, Table};

use super::Context;
use super::exit::Failure;
use super::place::Place;
use super::terminal::failed;
use super::{doctor, init, recovery_sheet};
use crate::assembly::open_repository;
use crate::doctor::{Finding, examine};
use crate::settings::{Name, Network, Settings, Share, Squash, add_table};
use speed::Speed;

/// Who runs the gateway where it was installed from its package.
const USER: &str = "tidegate";
/// A first share is to be written to: its top folder belongs to root, who makes folders for others there.
const SQUASH: Squash = Squash::None;

#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(flatten)]
    place: Place,
    /// The name of the first share.
    #[arg(long)]
    share: Option<Name>,
    /// A network whose machines may mount it; may be repeated [default: this machine alone].
    #[arg(long = "client", value_name = "NETWORK")]
    clients: Vec<Network>,
    /// Which users of these machines lose their identity: root, all or none. The top folder of a share belongs to root: with
    /// root or all nobody writes into it until somebody has made folders for others there [default: none].
    #[arg(long)]
    squash: Option<Squash>,
    /// The user that the gateway will run as, who is given settings, keys and folders.
    #[arg(long, default_value = USER)]
    user: String,
    /// Ask nothing: what no option says has its default.
    #[arg(long)]
    yes: bool,
}

/// What was set up.
#[derive(Debug, Serialize)]
struct Report {
    made: init::Made,
    share: String,
    speed: Speed,
    #[serde(skip_serializing_if = "Option::is_none")]
    drop_in: Option<String>,
    findings: Vec<Finding>,
    next: Vec<String>,
}

pub(super) async fn run(context: &Context, mut command: Command) -> Result<(), Failure> {
    let path = context.file.path();
    if path.exists() {
        let message = format!("{} exists: this gateway has been set up.", path.display());
        return Err(Failure::usage(format!("{message} `tidegate doctor` looks whether it can run.")));
    }
    let asks = !command.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    if asks {
        converse(&mut command)?;
    }
    let share = command.share.unwrap_or_else(|| "files".parse().expect("a legal name"));
    let made = Box::pin(init::make(context, &command.place, false)).await?;
    let squash = command.squash.unwrap_or(SQUASH);
    let settings = add_share(context, &share, &command.clients, squash)?;
    let speed = speed::measure(settings.lead()).await?;
    let drop_in = owner::hand_over(path, &settings, &command.user)?;
    let repository = open_repository(&settings).await?;
    recovery_sheet::run(context, &settings, &repository, recovery_sheet::Command::default()).await?;
    let findings = examine(&settings, false).await;
    let next = next_steps(&settings, &share);
    let report = Report { made, share: share.to_string(), speed, drop_in, findings, next };
    context.terminal.data(&report, people)
}

/// Asks for what no option has said.
fn converse(command: &mut Command) -> Result<(), Failure> {
    let Command { place, share, clients, squash, .. } = command;
    place.ask(|question, example| ask(question, example))?;
    if share.is_none() {
        *share = ask_for("What shall the first share be called?", "files")?;
    }
    while clients.is_empty() {
        let question = "Which networks may mount it (comma between several)?";
        let Some(answer) = ask(question, "only this machine, such as 10.0.0.0/8 for a network")? else {
            break;
        };
        match answer.split(',').map(|network| network.trim().parse()).collect::<Result<_, _>>() {
            Ok(networks) => *clients = networks,
            Err(wrong) => tell(&format!("{answer:?} {wrong}")),
        }
    }
    if squash.is_none() {
        let question = "Which users of these machines become nobody on the share: none, root or all?";
        *squash =
            ask_for(question, "none: its top folder belongs to root, who makes folders for others there")?;
    }
    Ok(())
}

/// Asks until the answer is one, or nothing.
fn ask_for<T: std::str::FromStr<Err = String>>(question: &str, default: &str) -> Result<Option<T>, Failure> {
    loop {
        let Some(answer) = ask(question, default)? else { return Ok(None) };
        match answer.parse() {
            Ok(value) => return Ok(Some(value)),
            Err(wrong) => tell(&format!("{answer:?} {wrong}")),
        }
    }
}

/// One question; none when the answer is an empty line.
fn ask(question: &str, default: &str) -> Result<Option<String>, Failure> {
    let _ = write!(io::stderr().lock(), "{question}\n  [{default}] ");
    let mut answer = String::new();
    let read =
        io::stdin().lock().read_line(&mut answer).map_err(|error| failed("read the answer", &error))?;
    if read == 0 {
        return Err(Failure::usage("the answers ended; nothing was done"));
    }
    Ok(Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn add_share(
    context: &Context,
    name: &Name,
    clients: &[Network],
    squash: Squash,
) -> Result<Settings, Failure> {
    let edit = context.file.edit(|document| {
        let mut share = Table::new();
        share.insert("name", toml_edit::value(name.to_string()));
        if !clients.is_empty() {
            let clients = clients.iter().map(ToString::to_string);
            share.insert("clients", toml_edit::value(Array::from_iter(clients)));
        }
        share.insert("squash", toml_edit::value(squash.as_str()));
        add_table::<Share>(document, share)
    })?;
    Ok(edit.settings)
}

fn next_steps(settings: &Settings, share: &Name) -> Vec<String> {
    let export = settings.shares.first().map_or_else(String::new, |share| share.export_path().to_string());
    let port = settings.nfs.listen.first().map_or(2049, |listen| listen.0.port());
    vec![
        "systemctl enable --now tidegate    (or: tidegate serve)".to_owned(),
        format!("mount -t nfs -o vers=3,nolock,port={port},mountport={port},proto=tcp HERE:{export} /mnt"),
        "tidegate status".to_owned(),
        format!(
            "tidegate policy list               (snapshots of {share} by themselves: see docs/settings.md)"
        ),
    ]
}

fn people(report: &Report) -> String {
    let drop_in = report
        .drop_in
        .as_ref()
        .map(|path| format!("unit      {path}: paths that the service may write to\n"));
    format!(
        "{}\n{}share     {}\nspeed     {}\n\n{}\n\nnext:\n  {}",
        init::people(&report.made),
        drop_in.unwrap_or_default(),
        report.share,
        report.speed,
        doctor::shown(&report.findings),
        report.next.join("\n  ")
    )
}

//! The command line: one file a command, one grammar, one set of exit codes.
//!
//! A command takes its options apart, asks the running gateway (through the admin socket) or the
//! repository, and shows the answer. Nothing is decided here.

mod access_key;
mod alarms;
mod archive;
mod attach;
mod audit;
mod bin;
mod branch;
mod bucket;
mod check;
mod client;
mod clone;
mod commit;
mod docs;
mod doctor;
mod dr;
mod exit;
mod failback;
mod follow;
mod format;
mod gc;
mod generate;
mod handover;
mod head;
mod init;
mod job;
mod journal;
mod key;
mod link;
mod local_work;
mod machine;
#[cfg(test)]
pub(crate) mod pages;
mod place;
mod policy;
mod recovery_sheet;
mod removing;
mod restore;
mod restore_folder;
mod rollback;
mod rotation;
mod runbook;
mod scrub;
mod seed;
mod serve;
mod service_manager;
mod setup;
mod share;
mod shred;
mod snapshot;
mod source;
mod status;
mod tampering;
mod target;
mod terminal;
#[cfg(test)]
mod tests;
mod thaw;
mod token;
mod top;
mod volume;
mod warm;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use client::Client;
use exit::Failure;
use terminal::{Terminal, failed};

use crate::admin::Applied;
use crate::control::Start;
use crate::settings::{DEFAULT_PATH, LogFormat, LogLevel, Settings, SettingsError, SettingsFile};
use crate::telemetry::start_logging;

/// How long a command that has ended waits for threads that still do something.
const SHUTDOWN_MAX: Duration = Duration::from_secs(2);

/// On-premises storage gateway: serves files over NFS, keeps them encrypted in object storage.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Options {
    /// The settings file.
    #[arg(long, global = true, value_name = "FILE", env = "TIDEGATE_SETTINGS", hide_env_values = true, default_value = DEFAULT_PATH)]
    settings: PathBuf,
    /// Write data and errors as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but data and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a repository, its key and a settings file.
    Init(init::Command),
    /// Set up this machine in one conversation: repository, key, recovery sheet, settings, first share.
    Setup(setup::Command),
    /// Run the gateway.
    Serve,
    /// Show whether everything is protected, and what is behind.
    Status,
    /// Show live what the gateway does: throughput, latency, backlog.
    Top(top::Command),
    /// Look whether this machine can run the gateway: disk, clock, ports, stores, key.
    Doctor,
    /// Show what is wrong now, or try who is told of it.
    Alarms(alarms::Command),
    /// List, add and remove shares.
    #[command(subcommand)]
    Share(share::Command),
    /// List, add and remove buckets, and carry out their lifecycle rules.
    #[command(subcommand)]
    Bucket(bucket::Command),
    /// List, add, change and remove access keys of S3 clients.
    #[command(subcommand)]
    AccessKey(access_key::Command),
    /// List, add and remove who may use the admin API on the network.
    #[command(subcommand)]
    Token(token::Command),
    /// Show who changed what and who was refused, and see whether that log is whole.
    #[command(subcommand)]
    Audit(audit::Command),
    /// List, create, remove, resize and export volumes: files that are disks.
    #[command(subcommand)]
    Volume(volume::Command),
    /// List, start and stop virtual machines whose disks are volumes.
    #[command(subcommand)]
    Machine(machine::Command),
    /// Publish everything acknowledged so far, and wait until the repository has it.
    Commit(commit::Command),
    /// Look at published heads.
    #[command(subcommand)]
    Head(head::Command),
    /// Create, list, compare and remove snapshots.
    #[command(subcommand)]
    Snapshot(snapshot::Command),
    /// Show what was removed, bring it back, or end it before its time.
    #[command(subcommand)]
    Bin(bin::Command),
    /// List, show, run and simulate the policies that take snapshots by themselves.
    #[command(subcommand)]
    Policy(policy::Command),
    /// List, show and save what lies outside the shares.
    #[command(subcommand)]
    Source(source::Command),
    /// Put a path of a live share back to what it was, or write a share to a folder.
    Restore(restore::Command),
    /// Put a whole share back to what it was.
    Rollback(rollback::Command),
    /// Make a new share from a moment of another one.
    Clone(clone::Command),
    /// Give a share to another gateway without loss: its clients only wait.
    Handover(handover::Command),
    /// Take a share over from the repository alone.
    Attach(attach::Command),
    /// List, compare, apply and remove what a share's line of heads does not go on from.
    #[command(subcommand)]
    Branch(branch::Command),
    /// Look at what it would take to go back to this site.
    #[command(subcommand)]
    Failback(failback::Command),
    /// Predict how long recovery would take, before the disaster.
    #[command(subcommand)]
    Dr(dr::Command),
    /// Bring a share here from the repository before it is asked for.
    Warm(warm::Command),
    /// Look whether everything is there that heads and snapshots promise.
    Check(check::Command),
    /// Look at what lies on the target before somebody needs it, and heal it.
    #[command(subcommand)]
    Scrub(scrub::Command),
    /// Delete from the repository what nothing retained reaches any more.
    Gc(gc::Command),
    /// Bring packs that nobody reads to colder storage classes, as the settings say.
    #[command(subcommand)]
    Archive(archive::Command),
    /// Bring back what sleeps in the archive of the store, or only say what that takes.
    Thaw(thaw::Command),
    /// List, add, remove, promote, compare and repair the stores that the repository is kept on.
    #[command(subcommand)]
    Target(target::Command),
    /// Bring shares back at another place when a site is lost, and practise it.
    #[command(subcommand)]
    Runbook(runbook::Command),
    /// Carry the repository to a far store on a disk.
    #[command(subcommand)]
    Seed(seed::Command),
    /// Notice, from another machine, that a gateway went silent or that a share is not protected.
    Watch(watch::Command),
    /// List, add and remove what opens the repository.
    #[command(subcommand)]
    Key(key::Command),
    /// List and cancel long work.
    #[command(subcommand)]
    Job(job::Command),
    /// Save what is whole of a damaged journal.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Write a script with which a shell completes these commands.
    Completions(generate::Completions),
    /// Write the manual pages of these commands.
    #[command(hide = true)]
    Manual(generate::Manual),
}

/// Edits the settings of a gateway that is not running.
fn edit_offline(
    context: &Context,
    change: impl FnOnce(&mut toml_edit::DocumentMut) -> Result<(), String>,
) -> Result<Applied, SettingsError> {
    context.file.edit(change)?;
    context.terminal.say("no gateway is running: the change takes effect when one starts");
    Ok(Applied::default())
}

impl Command {
    /// Whether it becomes a gateway, which logs as its settings say.
    fn serves(&self) -> bool {
        match self {
            Self::Serve => true,
            Self::Attach(command) => command.serve,
            _ => false,
        }
    }
}

/// What every command needs.
struct Context {
    file: SettingsFile,
    terminal: Terminal,
}

impl Context {
    fn settings(&self) -> Result<Settings, SettingsError> {
        self.file.load()
    }

    /// The running gateway.
    fn client(&self) -> Result<Client, SettingsError> {
        Ok(Client::new(self.settings()?.gateway.socket.as_path().to_owned()))
    }
}

/// Runs the command line of this process. `core` is what `serve` starts.
pub fn main(core: &dyn Start) -> ExitCode {
    let arguments = Arguments::from_arg_matches(&described().get_matches());
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let Options { settings, json, quiet } = arguments.options;
    let terminal = Terminal::new(json, quiet, std::io::stdout());
    let context = Context { file: SettingsFile::new(settings), terminal };
    if !arguments.command.serves() {
        // Who watches for long says too when an alarm is over.
        let level =
            if matches!(arguments.command, Command::Watch(_)) { LogLevel::Info } else { LogLevel::Warn };
        start_logging(LogFormat::Text, level);
    }
    match run(&context, arguments.command, core) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.terminal.failure(&failure);
            failure.exit_code()
        }
    }
}

fn run(context: &Context, command: Command, core: &dyn Start) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed("start the threads", &error))?;
    let done = runtime.block_on(dispatch(context, command, core));
    // What a stop did not wait for is not waited for here.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    done
}

async fn dispatch(context: &Context, command: Command, core: &dyn Start) -> Result<(), Failure> {
    match command {
        Command::Init(command) => Box::pin(init::run(context, command)).await,
        Command::Setup(command) => Box::pin(setup::run(context, command)).await,
        Command::Serve => serve::run(context, core).await,
        Command::Status => status::run(context).await,
        Command::Top(command) => top::run(context, command).await,
        Command::Doctor => doctor::run(context).await,
        Command::Alarms(command) => alarms::run(context, command).await,
        Command::Share(command) => share::run(context, command).await,
        Command::Bucket(command) => bucket::run(context, command).await,
        Command::AccessKey(command) => access_key::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Audit(command) => audit::run(context, command).await,
        Command::Volume(command) => volume::run(context, command).await,
        Command::Machine(command) => machine::run(context, command).await,
        Command::Commit(command) => commit::run(context, command).await,
        Command::Head(command) => head::run(context, command).await,
        Command::Snapshot(command) => snapshot::run(context, command).await,
        Command::Bin(command) => bin::run(context, command).await,
        Command::Policy(command) => policy::run(context, command).await,
        Command::Source(command) => source::run(context, command).await,
        Command::Restore(command) => restore::run(context, command).await,
        Command::Rollback(command) => rollback::run(context, command).await,
        Command::Clone(command) => clone::run(context, command).await,
        Command::Handover(command) => handover::run(context, command).await,
        Command::Attach(command) => Box::pin(attach::run(context, command, core)).await,
        Command::Branch(command) => branch::run(context, command).await,
        Command::Failback(command) => failback::run(context, command).await,
        Command::Dr(command) => dr::run(context, command).await,
        Command::Warm(command) => warm::run(context, command).await,
        Command::Check(command) => check::run(context, command).await,
        Command::Scrub(command) => scrub::run(context, command).await,
        Command::Gc(command) => gc::run(context, command).await,
        Command::Archive(command) => archive::run(context, command).await,
        Command::Thaw(command) => Box::pin(thaw::run(context, command)).await,
        Command::Target(command) => target::run(context, command).await,
        Command::Runbook(command) => runbook::run(context, command).await,
        Command::Seed(command) => seed::run(context, command).await,
        Command::Watch(command) => watch::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Job(command) => job::run(context, command).await,
        Command::Journal(command) => journal::run(context, command).await,
        Command::Completions(command) => generate::completions(context, &command),
        Command::Manual(command) => generate::manual(&command),
    }
}

/// The command line with the exit codes at the end of every help text.
fn described() -> clap::Command {
    with_exit_codes(Arguments::command())
}

fn with_exit_codes(command: clap::Command) -> clap::Command {
    let help = if command.get_name() == "watch" { watch::HELP } else { exit::HELP };
    command.after_help(help).mut_subcommands(with_exit_codes)
}

/// `docs/cli.md`.
pub fn cli_page() -> String {
    docs::page(Arguments::command().term_width(100))
}

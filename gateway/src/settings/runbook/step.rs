//! One step of a runbook: its keys, and what holds when a key is left out.

use std::fmt;
use std::str::FromStr;

use crate::control::Moment;
use crate::settings::names::{HostName, Name};
use crate::settings::policy::{Argument, ShareName};
use crate::settings::schema::table;
use crate::settings::secret::SecretReference;
use crate::settings::values::{Span, choice, text_setting};

choice! {
    /// What a step does.
    pub enum Action {
        /// Takes a share over from the repository; in a drill, opens it as a clone that publishes nothing.
        Attach = "attach",
        /// Waits until a person has chosen from which moment a share goes on; in a drill, takes `at`.
        Choose = "choose",
        /// Starts the gateway, and waits until it has served a first byte of every share that was attached.
        Serve = "serve",
        /// Brings what will be read first to this machine.
        Warm = "warm",
        /// Starts a virtual machine of the settings of this place.
        StartMachine = "start-machine",
        /// Runs a program.
        Run = "run",
        /// Asks a web server.
        CheckHttp = "check-http",
        /// Connects to a port.
        CheckTcp = "check-tcp",
        /// Reads a file of a share through the gateway.
        CheckFile = "check-file",
        /// Runs a program that looks, such as a client of a database with a query.
        CheckCommand = "check-command",
        /// Gives this machine an address, and tells its neighbours.
        MoveAddress = "move-address",
        /// Changes a name in the DNS (RFC 2136).
        Dns = "dns",
        /// Waits until a person says that it may go on.
        Approve = "approve",
        /// Tells a `[[notify]]`.
        Notify = "notify",
    }
}

choice! {
    /// What a step that has failed for good does to the run.
    pub enum OnStepFailure {
        /// No further step begins; the run can be resumed.
        Stop = "stop",
        /// Steps that wait for it go on as if it had been done.
        Continue = "continue",
        /// No further step begins, and what was done is undone, the last first.
        RollBack = "roll-back",
    }
}

choice! {
    /// What a step does in a drill.
    pub enum InDrill {
        /// The same, against the clone.
        Run = "run",
        /// Nothing.
        Skip = "skip",
    }
}

choice! {
    /// The type of a record of the DNS.
    pub enum RecordKind {
        /// An IPv4 address.
        A = "A",
        /// An IPv6 address.
        Aaaa = "AAAA",
        /// Another name.
        Cname = "CNAME",
    }
}

choice! {
    /// How a change of the DNS is signed (RFC 8945).
    pub enum TsigAlgorithm {
        /// HMAC with SHA-256.
        Sha256 = "hmac-sha256",
        /// HMAC with SHA-384.
        Sha384 = "hmac-sha384",
        /// HMAC with SHA-512.
        Sha512 = "hmac-sha512",
    }
}

table! {
    /// A step of a runbook. It begins when the steps that it names in `after` have ended; steps that do not wait for each other
    /// run at once. In commands, URLs, addresses and messages these stand for what they name: `{run}`, `{mode}`
    /// (`drill`, `failover` or `failback`), `{nfs}`, `{nfs_host}` and `{nfs_port}` (where this run's gateway serves NFS), `{s3}`, `{runbook}`, `{settings}` (of that gateway),
    /// and `{scratch}` (a folder that goes with the run, when it is a drill). Programs get the same as environment
    /// variables: `TIDEGATE_RUN`, `TIDEGATE_MODE` and so on.
    pub struct Step("runbook.NAME.step", repeated) {
        /// What it is called.
        name: Name, required;
        /// What it does.
        action: Action, required;
        /// The steps that end before it begins.
        after: Vec<Name>, default(Vec::new());
        /// With `attach`, `choose`, `warm` and `check-file`: the share or bucket.
        share: ShareName, optional;
        /// With `attach`: the moment, unless a `choose` step or `--at` says another. With `choose`: what is proposed.
        at: MomentText, default(MomentText(Moment::NewestHead));
        /// With `check-file`: the file, from the top of the share. With `warm`: what is read over NFS; without it the share is
        /// warmed by its heat, and `all` says whether the rest comes too.
        path: Argument, optional;
        /// With `warm`, without `path`: everything comes, not only what was used lately.
        all: bool, default(false);
        /// With `start-machine`: the machine, of the settings of the place that carries the runbook out. In a drill it runs under another
        /// name, over the clones, with the network that its `drill_arguments`, `drill_start` or `drill_subnet` give it.
        machine: Name, optional;
        /// With `serve`: the unit of systemd that is started in a failover. Without it the gateway is started as a process of
        /// its own, which outlives the run.
        unit: Argument, optional;
        /// With `run` and `check-command`: a program and its arguments, without a shell.
        command: Vec<Argument>, default(Vec::new());
        /// With `run`: what takes it back, in a roll back and at the end of a drill. It may run when the step has not, or
        /// only in part, and more than once.
        undo: Vec<Argument>, default(Vec::new());
        /// With `run`: finds out whether the step has been done: ends with 0 if so, with 1 if not; anything else
        /// means that nobody knows.
        probe: Vec<Argument>, default(Vec::new());
        /// With `run`: whether it may be run again when nobody knows whether it was carried out.
        idempotent: bool, default(false);
        /// With `check-http`: what is asked, by GET.
        url: Argument, optional;
        /// With `check-http`: the status that is expected.
        status: u32, default(200) in 100, 599;
        /// With `check-http`, `check-file` and `check-command`: a text that must be in what is read. With `start-machine`: a
        /// text that its console must show before the step has ended.
        contains: Argument, optional;
        /// With `check-file`: the file was changed no longer than this before the newest head froze.
        max_age: Span, optional in Span::seconds(1), Span::days(366);
        /// With `check-tcp`: host and port. With `move-address`: address and prefix length, such as `192.0.2.10/24`.
        address: Argument, optional;
        /// With `move-address`: the network interface.
        interface: Argument, optional;
        /// With `move-address`: the address in a drill; without it the step does nothing then.
        drill_address: Argument, optional;
        /// With `dns`: the server that takes changes.
        server: Argument, optional;
        /// With `dns`: the zone.
        zone: HostName, optional;
        /// With `dns`: the name, whole.
        record: HostName, optional;
        /// With `dns`: the name in a drill, which is removed at its end; without it the step does nothing then.
        drill_record: HostName, optional;
        /// With `dns`: the type of the record.
        record_type: RecordKind, default(RecordKind::A);
        /// With `dns`: what the name says afterwards.
        values: Vec<Argument>, default(Vec::new());
        /// With `dns`: what the name says after a roll back.
        undo_values: Vec<Argument>, default(Vec::new());
        /// With `dns`: how long others may remember it.
        ttl: Span, default(Span::seconds(60)) in Span::seconds(1), Span::days(7);
        /// With `dns`: the name of the key that changes are signed with.
        tsig_name: HostName, optional;
        /// With `dns`: how they are signed.
        tsig_algorithm: TsigAlgorithm, default(TsigAlgorithm::Sha256);
        /// With `dns`: the key, in base64.
        tsig_secret: SecretReference, optional;
        /// With `notify`: who is told.
        notifier: Name, optional;
        /// With `approve`, `choose` and `notify`: what people are told.
        message: Argument, optional;
        /// What it does in a drill. Without it: `run`, `approve` and `notify` do nothing, `move-address` and `dns` only
        /// what `drill_address` and `drill_record` say; all others do the same against the clone.
        drill: InDrill, optional;
        /// How long one attempt may take. Without it: one day for `approve`, `choose` and `warm`, ten minutes for `attach`,
        /// `serve`, `start-machine` and `run`, one minute for all others.
        timeout: Span, optional in Span::seconds(1), Span::days(30);
        /// How often it is tried again. Without it: checks 10 times, `run` never, all others 3 times.
        retries: u32, optional in 0, 1_000;
        /// How long after the first failure it is tried again; twice as long after each further one, at most five minutes.
        backoff: Span, default(Span::seconds(1)) in Span::seconds(1), Span::seconds(300);
        /// What happens when it has failed for good. Without it: `continue` for `notify`, `stop` for all others.
        on_failure: OnStepFailure, optional;
        /// How long it is expected to take; reports show it beside what it took.
        expect: Span, optional in Span::seconds(1), Span::days(30);
    }
}

impl Action {
    /// Whether it only looks.
    pub const fn is_check(self) -> bool {
        matches!(self, Self::CheckHttp | Self::CheckTcp | Self::CheckFile | Self::CheckCommand)
    }
}

impl Step {
    /// Whether it may be carried out twice.
    pub fn is_idempotent(&self) -> bool {
        self.action != Action::Run || self.idempotent
    }

    /// How long one attempt may take.
    pub fn time_max(&self) -> Span {
        self.timeout.unwrap_or(match self.action {
            Action::Approve | Action::Choose | Action::Warm => Span::days(1),
            Action::Attach | Action::Serve | Action::StartMachine | Action::Run => Span::seconds(600),
            _ => Span::seconds(60),
        })
    }

    /// How often it is tried again.
    pub fn retries_max(&self) -> u32 {
        self.retries.unwrap_or(match self.action {
            Action::Run | Action::Approve | Action::Choose => 0,
            action if action.is_check() => 10,
            _ => 3,
        })
    }

    /// What happens when it has failed for good.
    pub fn failure(&self) -> OnStepFailure {
        self.on_failure.unwrap_or(match self.action {
            Action::Notify => OnStepFailure::Continue,
            _ => OnStepFailure::Stop,
        })
    }

    /// Whether it does anything in a drill.
    pub fn runs_in_drill(&self) -> bool {
        let usual = match self.action {
            Action::Run | Action::Approve | Action::Notify => InDrill::Skip,
            Action::MoveAddress if self.drill_address.is_none() => InDrill::Skip,
            Action::Dns if self.drill_record.is_none() => InDrill::Skip,
            _ => InDrill::Run,
        };
        self.drill.unwrap_or(usual) == InDrill::Run
    }
}

/// A moment that can be attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MomentText(pub Moment);

impl FromStr for MomentText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Moment::Live) | Err(_) => Err("is no moment that can be attached".to_owned()),
            Ok(moment) => Ok(Self(moment)),
        }
    }
}

impl fmt::Display for MomentText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_setting!(MomentText, "\"head\", \"head:NAME\", \"snapshot:NAME\" or \"at:2026-11-20T14:05:00Z\"");

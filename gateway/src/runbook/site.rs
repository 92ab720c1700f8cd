//! The world as it is: this machine, a gateway as a child process, and the repository.
//!
//! In a failover the gateway is that of the settings file of this site. In a drill it is one of its own: settings, local state,
//! socket and log lie in the `scratch` folder of the run, it listens on this machine alone on ports that were free, and its
//! settings say `drill`, so that it writes nothing to any store. Order of the teardown: the gateway is ended,
//! then its folder goes. Both are found by the name of the run alone, so a teardown needs to remember nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tidegate_replicator::store::{Traffic, durable_file};
use toml_edit::DocumentMut;

use super::evidence::{self, Evidence, ShareEvidence};
use super::runs::Run;
use super::steps::{self, Child, Words};
use super::world::{Done, Known, Probed, StepFailure, World};
use crate::assembly::{OfflineRepository, open_store};
use crate::control::{ControlError, Status};
use crate::settings::{
    Action, Api, AuditLog, Gateway, Listen, Nbd, Nfs, Otlp, S3, Settings, SettingsFile, Step, Table,
    table_from_json,
};

/// The longest path of a Unix socket, in bytes.
const SOCKET_BYTES_MAX: usize = 107;
/// What of the log is shown when a gateway has ended, in bytes.
const LOG_SHOWN_BYTES: usize = 2_000;

/// See the head of this module.
pub struct Site {
    /// The run.
    pub run: Run,
    program: PathBuf,
    file: SettingsFile,
    settings: Settings,
    gateway: PathBuf,
    before: Mutex<Vec<ShareEvidence>>,
    tell: Box<Tell>,
}

/// Tells whoever sits before the run something that the run waits for.
pub type Tell = dyn Fn(&str) + Send + Sync;

impl Site {
    /// The site of a run: this machine, with the settings of a file. `tell` shows what a run waits for.
    pub fn new(run: Run, program: PathBuf, file: SettingsFile, settings: Settings, tell: Box<Tell>) -> Self {
        let own = std::path::absolute(file.path()).unwrap_or_else(|_| file.path().to_owned());
        let scratch = run.folder.join("scratch").join("tidegate.toml");
        let gateway = if run.mode.is_drill() { scratch } else { own };
        Self { run, program, file, settings, gateway, before: Mutex::default(), tell }
    }

    /// Tells whoever sits before the run.
    pub(super) fn tell(&self, text: &str) {
        (self.tell)(text);
    }

    /// The program, for children.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// The settings of this site, as they are now.
    pub(super) fn settings(&self) -> Settings {
        self.file.load().unwrap_or_else(|_| self.settings.clone())
    }

    /// The settings file of the gateway of the run.
    pub(super) fn gateway_settings(&self) -> &Path {
        &self.gateway
    }

    /// Whether the gateway of the run is a process that this machine shows by its command line.
    pub(super) fn may_look_for_process(&self) -> bool {
        self.run.mode.is_drill() || !self.run.runbook.steps.iter().any(|step| step.unit.is_some())
    }

    fn scratch(&self) -> PathBuf {
        self.run.folder.join("scratch")
    }

    /// Where the gateway of the run has its local state.
    pub(super) fn gateway_data(&self) -> PathBuf {
        if self.run.mode.is_drill() {
            self.scratch().join("data")
        } else {
            self.settings().gateway.data.as_path().to_owned()
        }
    }

    /// Notes durably that the run is about to start something, so that it knows what is its own to stop.
    pub(super) fn note_started(&self, what: &str) -> Result<(), StepFailure> {
        let folder = self.run.folder.join("started");
        let noted = std::fs::create_dir_all(&folder);
        let noted = noted.and_then(|()| durable_file::replace(&folder.join(what), b""));
        noted.map_err(|error| {
            StepFailure::passing(format!("the folder of the run cannot be written: {error}"))
        })
    }

    /// Whether the run has started it, or was about to.
    pub(super) fn has_started(&self, what: &str) -> bool {
        self.run.folder.join("started").join(what).exists()
    }

    /// Where the gateway of the run writes its log.
    pub(super) fn log(&self) -> PathBuf {
        let folder = if self.run.mode.is_drill() { self.scratch() } else { self.run.folder.clone() };
        folder.join("gateway.log")
    }

    pub(super) fn end_of_log(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_SHOWN_BYTES)..]).trim().to_owned()
    }

    /// Runs a command of this program on the gateway of the run; its answer.
    pub(super) async fn tidegate(&self, arguments: &[&str]) -> Result<serde_json::Value, StepFailure> {
        self.tidegate_with(&self.gateway, arguments).await
    }

    async fn tidegate_with(
        &self,
        settings: &Path,
        arguments: &[&str],
    ) -> Result<serde_json::Value, StepFailure> {
        let settings = settings.to_string_lossy().into_owned();
        let before = ["--json", "--quiet", "--settings", &settings];
        let all = before.iter().chain(arguments).copied();
        let ended = Child::inheriting(&self.program, all).run().await?;
        if ended.status.success() {
            return serde_json::from_slice(&ended.output).map_err(|error| {
                StepFailure::passing(format!("the answer of tidegate cannot be read: {error}"))
            });
        }
        let said = ended.said();
        let error = serde_json::from_str::<ControlError>(&ended.last_word()).ok();
        Err(StepFailure::passing(error.map_or(said, |error| match error.todo {
            Some(todo) => format!("{}; {todo}", error.message),
            None => error.message,
        })))
    }

    /// What the gateway of the run says about itself.
    pub(super) async fn status(&self) -> Result<Status, StepFailure> {
        let status = self.tidegate(&["status"]).await?;
        serde_json::from_value(status).map_err(|error| {
            StepFailure::passing(format!("the status of the gateway cannot be read: {error}"))
        })
    }

    /// The settings of the gateway of the run, as they are now.
    pub(super) fn of_gateway(&self) -> Result<Settings, StepFailure> {
        let file = SettingsFile::new(&self.gateway);
        file.load().map_err(|error| StepFailure::passing(error.to_string()))
    }

    /// Where the gateway of the run serves NFS, as this machine reaches it.
    pub(super) fn nfs_address(&self) -> Result<SocketAddr, StepFailure> {
        let settings = self.of_gateway()?;
        let address = settings.nfs.listen.first().map(|listen| reached_at(listen.0));
        address.ok_or_else(|| StepFailure::lasting("the settings do not say where NFS is served"))
    }

    /// The words that stand in texts of steps.
    pub(super) fn words(&self) -> Words {
        let mut words = Words::default();
        words.add("run", "TIDEGATE_RUN", &self.run.name);
        words.add("mode", "TIDEGATE_MODE", self.run.mode.as_str());
        words.add("runbook", "TIDEGATE_RUNBOOK", self.run.runbook.name.to_string());
        words.add("settings", "TIDEGATE_SETTINGS", self.gateway.to_string_lossy());
        words.add("scratch", "TIDEGATE_SCRATCH", self.scratch().to_string_lossy());
        if let Ok(settings) = self.of_gateway() {
            let s3 = settings.s3.listen.first().map(|listen| reached_at(listen.0).to_string());
            words.add("s3", "TIDEGATE_S3", s3.unwrap_or_default());
        }
        if let Ok(nfs) = self.nfs_address() {
            words.add("nfs", "TIDEGATE_NFS", nfs.to_string());
            words.add("nfs_host", "TIDEGATE_NFS_HOST", nfs.ip().to_string());
            words.add("nfs_port", "TIDEGATE_NFS_PORT", nfs.port().to_string());
        }
        words
    }

    /// When the newest head of a share had frozen as the run began.
    pub(super) fn frozen(&self, share: &str) -> Option<Timestamp> {
        self.before.lock().iter().find(|known| known.share == share)?.frozen
    }

    /// Lets the gateway of a drill listen elsewhere; it does not run now.
    pub(super) fn set_addresses(&self, nfs: Listen, s3: Listen) -> Result<(), StepFailure> {
        self.edit_gateway(|document| {
            for (table, address) in [(Nfs::NAME, nfs), (S3::NAME, s3)] {
                let list = toml_edit::Array::from_iter([address.to_string()]);
                document[table]["listen"] = toml_edit::value(list);
            }
            Ok(())
        })
    }

    /// Changes the settings of the gateway of the run; it does not run now.
    pub(super) fn edit_gateway(
        &self,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), String>,
    ) -> Result<(), StepFailure> {
        let edited = SettingsFile::new(&self.gateway).edit(change);
        edited.map(drop).map_err(|error| StepFailure::passing(error.to_string()))
    }

    /// The settings of the gateway of a drill: the repository and nothing else of this site.
    fn scratch_settings(&self) -> Result<Settings, StepFailure> {
        let wrong = |error: crate::settings::SettingsError| StepFailure::lasting(error.to_string());
        let folder = self.scratch();
        let place = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let socket = place("admin.sock");
        if socket.len() > SOCKET_BYTES_MAX {
            let why = format!("the path {socket} is too long for a socket");
            return Err(StepFailure::lasting(format!("{why}; let gateway.data be a shorter path")));
        }
        let gateway = serde_json::json!({ "data": place("data"), "socket": socket, "drill": true });
        let listen = serde_json::json!({ "listen": ["127.0.0.1:0"] });
        let mut settings = self.settings.clone();
        settings.gateway = Gateway {
            memory: settings.gateway.memory,
            log_level: settings.gateway.log_level,
            ..table_from_json::<Gateway>(&gateway).map_err(wrong)?.0
        };
        settings.cache.disk = settings.cache.disk.min(self.run.runbook.rules.drill_cache);
        settings.cache.dirty = settings.cache.dirty.min(self.run.runbook.rules.drill_cache);
        settings.targets = vec![self.settings.lead().clone()];
        let lead = self.settings.lead().name.clone();
        settings.archives.retain(|archive| archive.target == lead);
        // Nobody reaches it but this machine, by its socket.
        settings.api = table_from_json::<Api>(&serde_json::json!({})).map_err(wrong)?.0;
        settings.audit = table_from_json::<AuditLog>(&serde_json::json!({})).map_err(wrong)?.0;
        settings.tokens.clear();
        settings.oidc.clear();
        // Its metrics would be taken for those of the gateway that it practises for.
        settings.otlp = table_from_json::<Otlp>(&serde_json::json!({})).map_err(wrong)?.0;
        (settings.repository.lead, settings.repository.required) = (None, 1);
        settings.nfs = table_from_json::<Nfs>(&listen).map_err(wrong)?.0;
        settings.s3 = table_from_json::<S3>(&listen).map_err(wrong)?.0;
        let starts = |step: &Step| step.action == Action::StartMachine && step.runs_in_drill();
        let disks = self.run.runbook.steps.iter().any(starts);
        let nbd = if disks { listen } else { serde_json::json!({}) };
        settings.nbd = table_from_json::<Nbd>(&nbd).map_err(wrong)?.0;
        settings.volumes.clear();
        settings.machines.clear();
        settings.shares.clear();
        settings.buckets.clear();
        settings.access_keys.clear();
        settings.sources.clear();
        settings.policies.clear();
        settings.notify.clear();
        settings.runbooks.clear();
        settings.bandwidth.clear();
        Ok(settings)
    }

    /// What production has acknowledged and not published, where it is reached from here.
    async fn ask_production(&self, shares: &mut [ShareEvidence]) {
        let Ok(status) = self.tidegate_with(self.file.path(), &["status"]).await else { return };
        let Ok(status) = serde_json::from_value::<Status>(status) else { return };
        for known in shares {
            if let Some(share) = status.shares.iter().find(|share| share.name == known.share) {
                known.unpublished_bytes = Some(share.dirty_bytes);
                known.unpublished_ms = Some(share.rpo_now_seconds.saturating_mul(1_000));
            }
        }
    }

    async fn survey(&self, after: bool) -> Result<(Evidence, Vec<String>), StepFailure> {
        let failed = |error: &dyn std::error::Error| {
            StepFailure::passing(format!("the repository cannot be opened: {error}"))
        };
        let offline = OfflineRepository::open(&self.settings).await.map_err(|error| failed(&error))?;
        let store = open_store(self.settings.lead(), None).await.map_err(|error| failed(&error))?.store;
        let mut found = Evidence::default();
        let mut differences = Vec::new();
        let listing = self.run.folder.join("listing");
        if !after {
            let now = offline.health.clock().now().unwrap_or_else(SystemTime::now);
            for share in self.run.runbook.shares() {
                let share = evidence::share_evidence(&offline.repository, &*store, now, share).await?;
                found.shares.push(share);
            }
            self.ask_production(&mut found.shares).await;
        }
        if self.run.mode.is_drill() && after {
            let compared = evidence::compare_settled(&*store, &listing).await?;
            (found.objects, found.bytes) = (Some(compared.objects), Some(compared.bytes));
            (found.grown, differences) = (compared.grown, compared.differences);
        } else if self.run.mode.is_drill() {
            let (objects, bytes) = evidence::list(&*store, &listing).await?;
            (found.objects, found.bytes) = (Some(objects), Some(bytes));
        }
        Ok((found, differences))
    }

    async fn run_command(&self, command: &[crate::settings::Argument]) -> Result<steps::Ended, StepFailure> {
        let words = self.words();
        let command = words.fill_all(command);
        let (program, arguments) =
            command.split_first().ok_or_else(|| StepFailure::lasting("there is no command"))?;
        Child::new(Path::new(program), arguments, words.variables()).run().await
    }

    /// Takes up what was found at the beginning, in a later life of the run.
    pub fn knows(&self, before: Option<&Evidence>) {
        *self.before.lock() = before.map(|before| before.shares.clone()).unwrap_or_default();
    }
}

/// An address to listen on, as this machine connects to it.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    address
}

#[async_trait]
impl World for Site {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn look(&self, after: Option<&Evidence>) -> Result<(Evidence, Vec<String>), StepFailure> {
        let (found, differences) = Traffic::Replication.scope(self.survey(after.is_some())).await?;
        if after.is_none() {
            self.knows(Some(&found));
        }
        Ok((found, differences))
    }

    async fn prepare(&self) -> Result<(), StepFailure> {
        if !self.run.mode.is_drill() || self.gateway.exists() {
            return Ok(());
        }
        let failed = |error: &dyn std::error::Error| {
            StepFailure::passing(format!("the folder of the drill cannot be made: {error}"))
        };
        std::fs::create_dir_all(self.scratch()).map_err(|error| failed(&error))?;
        let text = self.scratch_settings()?.to_toml();
        SettingsFile::new(&self.gateway).create(&text).map(drop).map_err(|error| failed(&error))
    }

    async fn perform(&self, step: &Step, known: &Known) -> Result<Done, StepFailure> {
        match step.action {
            Action::Attach => steps::attach(self, step, known).await,
            Action::Choose => steps::choose(self, step).await,
            Action::Serve => steps::serve(self, step).await,
            Action::Warm => steps::warm(self, step).await,
            Action::StartMachine => steps::start_machine(self, step).await,
            Action::Run => {
                let ended = self.run_command(&step.command).await?.succeeded()?;
                Ok(Done::saying(ended.said()))
            }
            Action::CheckHttp => steps::check_http(self, step).await,
            Action::CheckTcp => steps::check_tcp(self, step).await,
            Action::CheckFile => steps::check_file(self, step).await,
            Action::CheckCommand => steps::check_command(self, step).await,
            Action::MoveAddress => steps::move_address(self, step).await,
            Action::Dns => steps::change_name(self, step).await,
            Action::Approve => steps::approve(self, step).await,
            Action::Notify => steps::notify(self, step).await,
        }
    }

    async fn probe(&self, step: &Step) -> Probed {
        if step.probe.is_empty() {
            return Probed::Unknown("the step has no probe".to_owned());
        }
        let probing = tokio::time::timeout(step.time_max().duration(), self.run_command(&step.probe));
        match probing.await {
            Err(_) => Probed::Unknown("its probe takes too long".to_owned()),
            Ok(Err(failure)) => Probed::Unknown(failure.why),
            Ok(Ok(ended)) => match ended.status.code() {
                Some(0) => Probed::Done(format!("its probe says that it was done: {}", ended.said())),
                Some(1) => Probed::NotDone,
                _ => Probed::Unknown(format!("its probe ended with {}: {}", ended.status, ended.said())),
            },
        }
    }

    fn can_undo(&self, step: &Step) -> bool {
        match step.action {
            Action::Run => !step.undo.is_empty(),
            Action::MoveAddress => true,
            Action::Dns => self.run.mode.is_drill() || !step.undo_values.is_empty(),
            // The gateway of a drill goes with the teardown.
            Action::Serve | Action::StartMachine => !self.run.mode.is_drill(),
            Action::Attach
            | Action::Choose
            | Action::Warm
            | Action::CheckHttp
            | Action::CheckTcp
            | Action::CheckFile
            | Action::CheckCommand
            | Action::Approve
            | Action::Notify => false,
        }
    }

    async fn undo(&self, step: &Step) -> Result<String, StepFailure> {
        match step.action {
            Action::Run => Ok(self.run_command(&step.undo).await?.succeeded()?.said()),
            Action::MoveAddress => steps::take_address_back(self, step).await,
            Action::Dns => steps::take_name_back(self, step).await,
            Action::Serve => steps::stop(self, step).await,
            Action::StartMachine => steps::stop_machine(self, step).await,
            _ => Ok("nothing".to_owned()),
        }
    }

    async fn tear_down(&self) -> Result<String, StepFailure> {
        if !self.run.mode.is_drill() {
            return Ok("nothing".to_owned());
        }
        let machines = if self.gateway.exists() { steps::end_machines(self).await } else { Ok(()) };
        let ended = steps::end_gateways(&self.gateway).await?;
        // The folder stays as long as it is needed to find them.
        machines?;
        let scratch = self.scratch();
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let place = scratch.display();
                return Err(StepFailure::passing(format!("the folder {place} cannot be removed: {error}")));
            }
            Ok(()) | Err(_) => {}
        }
        Ok(format!("{ended}; its folder is gone"))
    }
}

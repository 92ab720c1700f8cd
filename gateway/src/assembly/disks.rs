//! What the operator may ask of volumes, and the machines that have them as disks.
//!
//! A machine is noted ([`Noted`]) before anything is made for it: so a gateway that was restarted still knows what runs, as which machine,
//! and what to take away with it. Its scratch volumes do not outlive the gateway; it is then told that its disks are gone. The list of all
//! waits for no provider that does not answer: it says then that it is not known.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use parking_lot::Mutex;
use tidegate_protocols::view::FsError;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::copying::{Copying, Published, Wanted};
use super::nbd::volume_config;
use super::noted::{Noted, folder_of, is_name};
use crate::control::{
    ControlError, Disks, ErrorKind, MachineStartRequest, MachineStatus, MachineStopRequest, Moment,
    ResizeRequest, TemporaryRequest, VolumeStatus,
};
use crate::machine::{
    MachineDisk, MachineSpec, MachineState, Provider, ProviderError, Running, Stop, noted_in, provider_of,
};
use crate::settings::{Machine, Settings, Volume};
use crate::volumes::{BootOrder, VolumeConfig, VolumeReport, Volumes};

/// The most volumes that are served besides those of the settings when one more is asked for.
const TEMPORARY_MAX: usize = 64;
/// How long providers may take to say how their machines are, before that is unknown: clients give up after two minutes.
const STATE_TIME_MAX: Duration = Duration::from_secs(30);
/// Machines that are asked for at once.
const STATES_AT_ONCE: usize = 16;

/// See the head of this module.
pub(super) struct GatewayDisks {
    volumes: Arc<Volumes>,
    settings: Mutex<Arc<Settings>>,
    /// Where the NBD server listens; none: nowhere.
    address: Option<SocketAddr>,
    /// Held while a machine is started or stopped: one after the other.
    changing: tokio::sync::Mutex<()>,
    copying: Copying,
}

impl GatewayDisks {
    pub(super) fn new(
        volumes: Arc<Volumes>,
        settings: Arc<Settings>,
        address: Option<SocketAddr>,
    ) -> Arc<Self> {
        let (changing, copying) = (tokio::sync::Mutex::default(), Copying::default());
        Arc::new(Self { volumes, settings: Mutex::new(settings), address, changing, copying })
    }

    /// Takes over changed settings.
    pub(super) fn set(&self, settings: Arc<Settings>) {
        self.volumes.set(settings.served_volumes().map(volume_config).collect());
        *self.settings.lock() = settings;
    }

    /// Cuts copies of disks off: the gateway ends.
    pub(super) fn close(&self) {
        self.copying.close();
    }

    fn settings(&self) -> Arc<Settings> {
        self.settings.lock().clone()
    }

    fn folder(&self, name: &str) -> Result<PathBuf, ControlError> {
        folder_of(self.settings().gateway.data.as_path(), name)
    }

    fn report(&self, name: &str) -> Result<VolumeStatus, ControlError> {
        let found = self.volumes.reports().into_iter().find(|report| report.config.name == name);
        found.map(status).ok_or_else(|| failed(name, FsError::NotFound))
    }

    /// As it stands in the settings.
    fn volume(settings: &Settings, name: &str) -> Result<Volume, ControlError> {
        settings.volume(name).cloned().ok_or_else(|| failed(name, FsError::NotFound))
    }

    fn noted(&self, name: &str) -> Option<Noted> {
        Noted::read(&self.folder(name).ok()?)
    }

    /// Notes that a start has begun, before anything is made: should it fail half way, the machine can be found, and stopped. Tells
    /// whether nothing was noted before.
    fn note_begun(
        &self,
        machine: &str,
        name: &str,
        request: &MachineStartRequest,
        exports: &[(String, String)],
    ) -> Result<bool, ControlError> {
        if self.noted(name).is_some() {
            return Ok(false);
        }
        let (machine, exports) = (machine.to_owned(), exports.to_vec());
        let noted = Noted { machine, running: None, scratch: request.scratch, record: false, exports };
        noted.write(&self.folder(name)?).map_err(|error| {
            ControlError::new(ErrorKind::Failed, format!("machine {name:?} cannot be noted: {error}"))
                .todo("look at the disk of gateway.data")
        })?;
        Ok(true)
    }

    /// The exports of a machine: its volumes, or scratch ones over them.
    fn exports(
        &self,
        machine: &Machine,
        name: &str,
        request: &MachineStartRequest,
    ) -> Result<Vec<(String, String)>, ControlError> {
        let settings = self.settings();
        let mut exports = Vec::new();
        for volume in &machine.volumes {
            let volume = Self::volume(&settings, volume.as_str())?;
            let own = volume.name.as_str().to_owned();
            if !request.scratch || machine.provider.copies_disks() {
                exports.push((own.clone(), own));
                continue;
            }
            let moment = request.moment.clone().or_else(|| volume_config(&volume).moment);
            let export = format!("{name}.{own}");
            let config =
                VolumeConfig { name: export.clone(), moment, ..over(&volume, true, Moment::NewestHead) };
            if !self.volumes.add(config) {
                self.hide_all(&exports);
                let message = format!("there is a volume {export:?} already");
                return Err(
                    ControlError::new(ErrorKind::Exists, message).todo("stop the machine that has it")
                );
            }
            exports.push((export, own));
        }
        Ok(exports)
    }

    fn hide_all(&self, exports: &[(String, String)]) {
        for (export, _) in exports {
            self.volumes.remove(export);
        }
    }

    fn spec(
        &self,
        machine: &Machine,
        name: &str,
        exports: &[(String, String)],
        request: &MachineStartRequest,
    ) -> Result<MachineSpec, ControlError> {
        let nowhere = || {
            ControlError::new(ErrorKind::Invalid, "there is no NBD server: it listens nowhere")
                .todo("set nbd.listen and restart the gateway")
        };
        // A machine that has copies does not ask for it.
        let unasked = machine.provider.copies_disks().then_some((Ipv4Addr::UNSPECIFIED, 0).into());
        let address = self.address.or(unasked).ok_or_else(nowhere)?;
        let host = match &machine.nbd_host {
            Some(host) => host.as_str().to_owned(),
            None if address.ip().is_unspecified() && address.is_ipv4() => "127.0.0.1".to_owned(),
            None if address.ip().is_unspecified() => "::1".to_owned(),
            None => address.ip().to_string(),
        };
        let reports = self.volumes.reports();
        let disk = |(export, _): &(String, String)| {
            let config = reports.iter().map(|report| &report.config).find(|config| config.name == *export);
            let read_only =
                config.is_some_and(|config| config.read_only || (config.moment.is_some() && !config.scratch));
            MachineDisk { host: host.clone(), port: address.port(), export: export.clone(), read_only }
        };
        Ok(MachineSpec {
            name: name.to_owned(),
            memory_bytes: machine.memory.bytes(),
            cpus: machine.cpus,
            disks: exports.iter().map(disk).collect(),
            copies: Vec::new(),
            scratch: request.scratch,
            folder: self.folder(name)?,
        })
    }

    /// What is known of what runs under a name, by a time.
    async fn machine_status(&self, name: &str, until: Instant) -> Result<MachineStatus, ControlError> {
        let folder = self.folder(name)?;
        let settings = self.settings();
        let noted = self.noted(name);
        let machine = noted.as_ref().map_or(name, |noted| noted.machine.as_str());
        let Some(known) = settings.machine(machine) else { return Err(no_machine(machine)) };
        let mut status = MachineStatus {
            name: name.to_owned(),
            machine: machine.to_owned(),
            state: None,
            trouble: None,
            copying: self.copying.progress(name),
            running: noted.as_ref().and_then(|noted| noted.running.clone()),
            scratch: noted.as_ref().is_some_and(|noted| noted.scratch),
            volumes: match &noted {
                Some(noted) => noted.exports.iter().map(|(export, _)| export.clone()).collect(),
                None => known.volumes.iter().map(ToString::to_string).collect(),
            },
        };
        let asked = noted_in(&folder, name);
        (status.state, status.trouble) = told(&*provider_of(known), &asked, until).await;
        Ok(status)
    }

    /// Copies of the disks of a machine that cannot read them over NBD; none while they are being made.
    async fn copies(
        &self,
        known: &Machine,
        name: &str,
        request: &MachineStartRequest,
    ) -> Result<Option<Vec<String>>, ControlError> {
        if !known.provider.copies_disks() {
            return Ok(Some(Vec::new()));
        }
        let folder = self.folder(name)?;
        if provider_of(known).state(&noted_in(&folder, name)).await? == MachineState::Running {
            return Err(ProviderError::Runs { name: name.to_owned() }.into());
        }
        let exports = self.exports(known, name, request)?;
        let spec = self.spec(known, name, &exports, request)?;
        self.note_begun(known.name.as_str(), name, request, &exports)?;
        let published = Published::of(&self.volumes, self.settings().gateway.drill, request);
        let settings = self.settings();
        let volumes = known.volumes.iter().filter_map(|volume| settings.volume(volume.as_str()));
        let wanted = Wanted {
            machine: known.clone(),
            volumes: volumes.map(volume_config).collect(),
            moment: request.moment.clone(),
            scratch: request.scratch,
        };
        let known = known.clone();
        self.copying.ask(name, wanted, |job| published.copy(known, spec, job)).await
    }

    /// Whether it runs now; it does not while copies of its disks are being made.
    async fn start(&self, machine: &str, request: &MachineStartRequest) -> Result<bool, ControlError> {
        let settings = self.settings();
        let known = settings.machine(machine).ok_or_else(|| no_machine(machine))?;
        let name = request.run_as.as_deref().unwrap_or(machine);
        checked(name, machine, &settings)?;
        if name != machine && !request.scratch {
            let message = format!("{name:?} would write to the disks of machine {machine:?}");
            return Err(ControlError::new(ErrorKind::Invalid, message).todo("ask for scratch volumes"));
        }
        if request.moment.is_some() && !request.scratch {
            let error =
                ControlError::new(ErrorKind::Invalid, "a machine of another moment writes to no share");
            return Err(error.todo("ask for scratch volumes too"));
        }
        if let Some(other) = self.noted(name).filter(|noted| noted.machine != machine) {
            let message = format!("{name:?} was started, as machine {:?}", other.machine);
            let todo = format!("stop it first: `tidegate machine stop {name}`");
            return Err(ControlError::new(ErrorKind::Exists, message).todo(todo));
        }
        let Some(copies) = self.copies(known, name, request).await? else { return Ok(false) };
        let _one_at_a_time = self.changing.lock().await;
        let record = request.record && !known.provider.copies_disks();
        let exports = self.exports(known, name, request)?;
        let mut is_new = false;
        let started = async {
            let spec = MachineSpec { copies, ..self.spec(known, name, &exports, request)? };
            is_new = self.note_begun(machine, name, request, &exports)?;
            if record {
                for (export, _) in &exports {
                    self.volumes.record(export).map_err(|error| failed(export, error))?;
                }
            }
            Ok::<_, ControlError>(provider_of(known).start(&spec).await?)
        };
        let running = match started.await {
            Ok(running) => running,
            Err(error) => {
                if request.scratch {
                    self.hide_all(&exports);
                }
                if is_new {
                    self.forget_if_nothing_is(known, name).await;
                }
                return Err(error);
            }
        };
        let (running, scratch) = (Some(running), request.scratch);
        let noted = Noted { machine: machine.to_owned(), running, scratch, record, exports };
        if let Err(error) = self.folder(name).map_err(std::io::Error::other).and_then(|at| noted.write(&at)) {
            let message = format!("machine {name:?} runs, and cannot be noted: {error}");
            return Err(ControlError::new(ErrorKind::Failed, message).todo("stop it by hand"));
        }
        tracing::info!(machine, name, scratch = request.scratch, "a machine was started");
        Ok(true)
    }

    /// Forgets a start that has failed, if it left nothing that must be stopped: copies of disks are such.
    async fn forget_if_nothing_is(&self, known: &Machine, name: &str) {
        let Ok(folder) = self.folder(name) else { return };
        let asked = noted_in(&folder, name);
        let (state, _) = told(&*provider_of(known), &asked, Instant::now() + STATE_TIME_MAX).await;
        if state == Some(MachineState::Stopped) && !known.provider.copies_disks() {
            Noted::forget(&folder);
        }
    }

    async fn stop(&self, name: &str, request: MachineStopRequest) -> Result<MachineStatus, ControlError> {
        let folder = self.folder(name)?;
        self.copying.stop(name).await;
        let _one_at_a_time = self.changing.lock().await;
        let settings = self.settings();
        let noted = self.noted(name);
        let machine = noted.as_ref().map_or(name, |noted| noted.machine.as_str());
        let known = settings.machine(machine).ok_or_else(|| no_machine(machine))?;
        let running = noted_in(&folder, name);
        let how = if request.at_once { Stop::AtOnce } else { Stop::Gently };
        provider_of(known).stop(&running, how).await?;
        if let Some(noted) = &noted {
            for (export, volume) in noted.exports.iter().filter(|_| noted.record) {
                if let Err(error) = self.keep_recording(export, volume).await {
                    tracing::warn!(volume, %error, "what was read of a disk is not recorded");
                }
            }
            if noted.scratch {
                self.hide_all(&noted.exports);
            }
        }
        let status = self.machine_status(name, Instant::now() + STATE_TIME_MAX).await?;
        // It is asked for no more; its console stays to be read.
        Noted::forget(&folder);
        tracing::info!(machine, name, "a machine was stopped");
        Ok(status)
    }

    /// Ends a recording of an export, and keeps it with the volume that it is of.
    async fn keep_recording(&self, export: &str, volume: &str) -> Result<BootOrder, ControlError> {
        let order = self.volumes.end_recording(export).map_err(|error| failed(export, error))?;
        let order = order.ok_or_else(|| {
            ControlError::new(ErrorKind::Invalid, format!("nothing is being recorded of volume {export:?}"))
                .todo(format!("begin with `tidegate volume record {export}`"))
        })?;
        let stored = self.volumes.set_boot_order(volume, Some(&order)).await;
        stored.map_err(|error| failed(volume, error))?;
        Ok(order)
    }
}

/// A volume over the file of one of the settings.
fn over(volume: &Volume, scratch: bool, moment: Moment) -> VolumeConfig {
    VolumeConfig { moment: Some(moment), scratch, size: None, read_only: false, ..volume_config(volume) }
}

fn status(report: VolumeReport) -> VolumeStatus {
    let VolumeReport { config, temporary, size, connections, scratch_bytes, recording, warmed } = report;
    VolumeStatus {
        name: config.name,
        share: config.share,
        path: config.path.to_string(),
        read_only: config.read_only || (config.moment.is_some() && !config.scratch),
        moment: config.moment.map(|moment| moment.to_string()),
        scratch: config.scratch,
        temporary,
        bytes: size,
        connections,
        scratch_bytes,
        recording,
        warmed,
    }
}

/// What a provider says of a machine by a time: how it is, or why that is not known.
async fn told(
    provider: &dyn Provider,
    machine: &Running,
    until: Instant,
) -> (Option<MachineState>, Option<String>) {
    match tokio::time::timeout_at(until, provider.state(machine)).await {
        Ok(Ok(state)) => (Some(state), None),
        Ok(Err(error)) => (None, Some(error.to_string())),
        Err(_) => (None, Some(format!("its provider has not answered within {STATE_TIME_MAX:?}"))),
    }
}

fn no_machine(machine: &str) -> ControlError {
    ControlError::new(ErrorKind::NotFound, format!("there is no machine {machine:?}"))
        .todo("`tidegate machine list` shows all machines")
}

/// Whether a machine may run under a name: one that is a name, and that of no other machine.
fn checked(name: &str, machine: &str, settings: &Settings) -> Result<(), ControlError> {
    is_name(name)?;
    if name != machine && settings.machine(name).is_some() {
        let message = format!("{name:?} is the name of another machine");
        return Err(ControlError::new(ErrorKind::Exists, message).todo("choose another name to run under"));
    }
    Ok(())
}

/// Why something about a volume did not go, for the operator.
fn failed(volume: &str, error: FsError) -> ControlError {
    let (kind, todo) = match error {
        FsError::NotFound => (ErrorKind::NotFound, "`tidegate volume list` shows all volumes"),
        FsError::TryLater => (ErrorKind::Busy, "try again; `tidegate status` says what is waited for"),
        FsError::NoSpace | FsError::Quota => (ErrorKind::Full, "make room, or raise the quota of the share"),
        FsError::ReadOnly | FsError::Access | FsError::Locked => {
            (ErrorKind::Denied, "look whether the volume or its share is read-only")
        }
        FsError::Invalid | FsError::IsDirectory => {
            (ErrorKind::Invalid, "look what lies at the path of the volume: it must be a regular file")
        }
        _ => (ErrorKind::Failed, "see the log of the gateway"),
    };
    ControlError::new(kind, format!("volume {volume:?}: {error}")).todo(todo)
}

impl From<ProviderError> for ControlError {
    fn from(error: ProviderError) -> Self {
        let kind = match &error {
            ProviderError::Runs { .. } => ErrorKind::Exists,
            ProviderError::Command { .. } | ProviderError::Failed { .. } => ErrorKind::Failed,
        };
        ControlError::new(kind, error.to_string())
    }
}

#[async_trait]
impl Disks for GatewayDisks {
    async fn volumes(&self) -> Vec<VolumeStatus> {
        self.volumes.reports().into_iter().map(status).collect()
    }

    async fn volume_prepare(&self, volume: &str) -> Result<VolumeStatus, ControlError> {
        self.volumes.prepare(volume).await.map_err(|error| failed(volume, error))?;
        self.report(volume)
    }

    async fn volume_resize(
        &self,
        volume: &str,
        request: &ResizeRequest,
    ) -> Result<VolumeStatus, ControlError> {
        let (size, _) = self.volumes.prepare(volume).await.map_err(|error| failed(volume, error))?;
        if request.bytes < size && !request.shrink {
            let message =
                format!("volume {volume:?} has {size} bytes; those beyond {} would be lost", request.bytes);
            return Err(ControlError::new(ErrorKind::Invalid, message).todo("say --shrink if that is meant"));
        }
        if request.bytes == 0 || !request.bytes.is_multiple_of(crate::settings::SECTOR_BYTES) {
            let message = format!("a volume has a whole number of {} bytes", crate::settings::SECTOR_BYTES);
            return Err(ControlError::new(ErrorKind::Invalid, message));
        }
        self.volumes.resize(volume, request.bytes).await.map_err(|error| failed(volume, error))?;
        self.report(volume)
    }

    async fn volume_show(
        &self,
        volume: &str,
        request: &TemporaryRequest,
    ) -> Result<VolumeStatus, ControlError> {
        if self.volumes.reports().iter().filter(|report| report.temporary).count() >= TEMPORARY_MAX {
            let message = format!("{TEMPORARY_MAX} volumes are shown besides those of the settings");
            return Err(ControlError::new(ErrorKind::Busy, message).todo("hide one: `tidegate volume hide`"));
        }
        let config = over(&Self::volume(&self.settings(), volume)?, request.scratch, request.moment.clone());
        if !self.volumes.add(VolumeConfig { name: request.name.clone(), warm: false, ..config }) {
            let message = format!("there is a volume {:?} already", request.name);
            return Err(ControlError::new(ErrorKind::Exists, message).todo("choose another name"));
        }
        if let Err(error) = self.volumes.prepare(&request.name).await {
            self.volumes.remove(&request.name);
            return Err(failed(volume, error));
        }
        self.report(&request.name)
    }

    async fn volume_hide(&self, name: &str) -> Result<(), ControlError> {
        if self.volumes.remove(name) { Ok(()) } else { Err(failed(name, FsError::NotFound)) }
    }

    async fn volume_record(&self, volume: &str) -> Result<(), ControlError> {
        match self.volumes.record(volume) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = format!("what is read of volume {volume:?} is being recorded already");
                let error = ControlError::new(ErrorKind::Exists, message);
                Err(error.todo(format!("end it with `tidegate volume record {volume} --end`")))
            }
            Err(error) => Err(failed(volume, error)),
        }
    }

    async fn volume_record_end(&self, volume: &str) -> Result<BootOrder, ControlError> {
        self.keep_recording(volume, volume).await
    }

    async fn boot_order(&self, volume: &str) -> Result<Option<BootOrder>, ControlError> {
        self.volumes.boot_order(volume).await.map_err(|error| failed(volume, error))
    }

    async fn set_boot_order(&self, volume: &str, order: Option<&BootOrder>) -> Result<(), ControlError> {
        self.volumes.set_boot_order(volume, order).await.map_err(|error| failed(volume, error))
    }

    async fn machines(&self) -> Vec<MachineStatus> {
        let settings = self.settings();
        let own = settings.machines.iter().map(|machine| machine.name.to_string());
        let mut names: Vec<String> = own.chain(Noted::names(settings.gateway.data.as_path())).collect();
        names.sort();
        names.dedup();
        let (until, turns) = (Instant::now() + STATE_TIME_MAX, Semaphore::new(STATES_AT_ONCE));
        let answers = join_all(names.iter().map(async |name| {
            let _turn = turns.acquire().await;
            (name, self.machine_status(name, until).await)
        }));
        let mut found = Vec::new();
        for (name, status) in answers.await {
            // One whose machine is in the settings no more is named in the log, and left alone.
            match status {
                Ok(status) => found.push(status),
                Err(error) => {
                    tracing::warn!(machine = name, %error, "it was started, and is not in the settings")
                }
            }
        }
        found
    }

    async fn machine_start(
        &self,
        machine: &str,
        request: &MachineStartRequest,
    ) -> Result<MachineStatus, ControlError> {
        let runs = self.start(machine, request).await?;
        let name = request.run_as.as_deref().unwrap_or(machine);
        let mut status = self.machine_status(name, Instant::now() + STATE_TIME_MAX).await?;
        if !runs {
            // It may have ended at this moment: whoever asks again is then answered at once.
            status.copying.get_or_insert_default();
        }
        Ok(status)
    }

    async fn machine_stop(
        &self,
        name: &str,
        request: &MachineStopRequest,
    ) -> Result<MachineStatus, ControlError> {
        self.stop(name, *request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that never answers.
    struct Silent;

    #[async_trait]
    impl Provider for Silent {
        async fn start(&self, _spec: &MachineSpec) -> Result<Running, ProviderError> {
            std::future::pending().await
        }

        async fn state(&self, _machine: &Running) -> Result<MachineState, ProviderError> {
            std::future::pending().await
        }

        async fn stop(&self, _machine: &Running, _how: Stop) -> Result<(), ProviderError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_machine_whose_provider_does_not_answer_it_is_said_that_it_is_not_known() {
        let machine = noted_in(std::path::Path::new("/none"), "web");
        let (state, trouble) = told(&Silent, &machine, Instant::now() + STATE_TIME_MAX).await;
        assert_eq!(state, None);
        assert!(trouble.is_some_and(|trouble| trouble.contains("has not answered within 30s")));
    }
}

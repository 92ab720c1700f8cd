//! Virtual machines whose disks are volumes, and who runs them.
//!
//! Owns the trait [`Provider`] and its implementations. Runbooks and the command line start machines; a provider knows
//! neither, nor how volumes are kept: it is told names and addresses.
//!
//! # To add another provider
//!
//! 1. A file beside `command.rs`, or a folder as `ec2` is one, with a type that implements [`Provider`]. What it needs of the
//!    settings it takes from the [`settings::Machine`] when it is made.
//! 2. A word for it in `ProviderKind` and its keys in `[[machine]]` (`settings/machine.rs`), with what must hold between them, and
//!    what of them a drill has (`Machine::for_drill`).
//! 3. A line in [`provider_of`].
//!
//! A provider that keeps nothing but what [`Running`] says, and what lies in the folder of the machine, can be asked by a process
//! that did not start the machine: runbooks go on after a restart. One whose machines cannot read over NBD (a cloud that boots from
//! disks of its own) says so in `ProviderKind::copies_disks`, and copies them in [`Provider::prepare`], which may take hours and
//! is called again until it is through; [`DiskContent`] tells it what has changed since an earlier copy. Whoever does not want to write
//! Rust uses the provider `command`.

mod command;
mod content;
#[cfg(feature = "ec2")]
mod ec2;
mod qemu;
mod qmp;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use command::CommandProvider;
pub use content::{ContentError, Contents, DiskContent, Origin};
#[cfg(feature = "ec2")]
pub use ec2::Ec2Provider;
pub use qemu::QemuProvider;

use crate::control::JobHandle;
use crate::policy::hook::HookError;
use crate::settings;

/// A disk of a machine: an export of an NBD server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineDisk {
    /// The server, as the machine's host sees it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The export.
    pub export: String,
    /// Whether it takes no changes.
    pub read_only: bool,
}

impl MachineDisk {
    /// Its address, as QEMU, libnbd and others understand it.
    pub fn address(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("nbd://{host}:{}/{}", self.port, self.export)
    }
}

/// What a machine is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineSpec {
    /// The name it runs under: its own, or another in a drill. At most one runs under a name.
    pub name: String,
    /// Its memory, in bytes.
    pub memory_bytes: u64,
    /// Its processors.
    pub cpus: u32,
    /// Its disks, in order; it boots from the first.
    pub disks: Vec<MachineDisk>,
    /// What [`Provider::prepare`] calls the copies of them, in the same order; empty for a provider that makes none.
    pub copies: Vec<String>,
    /// Whether nothing that it writes is to stay: disks that are made for it go with it.
    pub scratch: bool,
    /// A folder that the provider may keep files in, which belongs to this name alone. It may be missing.
    pub folder: PathBuf,
}

/// A machine that was started: enough to ask for it and to stop it, also from another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Running {
    /// The name it runs under.
    pub name: String,
    /// What the provider calls it.
    pub id: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// Where what it prints on its console is written, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<PathBuf>,
}

/// The file in the folder of a machine that was started, which says so.
pub(crate) const RUNNING_FILE: &str = "running.json";

/// What is noted in its folder of a machine that was started under a name; where nothing is, what would have been.
pub fn noted_in(folder: &Path, name: &str) -> Running {
    let noted = std::fs::read(folder.join(RUNNING_FILE)).ok();
    let noted = noted.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    let running = noted.and_then(|noted| serde_json::from_value(noted.get("running")?.clone()).ok());
    running.unwrap_or_else(|| Running {
        name: name.to_owned(),
        id: name.to_owned(),
        folder: folder.to_owned(),
        console: None,
    })
}

/// Whether a machine runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// It does.
    Running,
    /// It does not: it was never started, was stopped, or has ended by itself.
    Stopped,
    /// It is there and does not run; with what its provider says.
    Unwell(String),
}

/// How a machine is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is told to shut down, and gets the time that the settings say before its power is cut.
    Gently,
    /// Its power is cut.
    AtOnce,
}

/// Why a provider could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// One of that name runs already.
    #[error("machine {name:?} runs already; stop it first")]
    Runs {
        /// Under which name.
        name: String,
    },
    /// A program or command failed.
    #[error("failed to {what} machine {name:?}: {source}")]
    Command {
        /// A verb.
        what: &'static str,
        /// The machine.
        name: String,
        /// Why.
        source: HookError,
    },
    /// The machine's monitor, or a file of it.
    #[error("failed to {what} machine {name:?}: {why}")]
    Failed {
        /// A verb.
        what: &'static str,
        /// The machine.
        name: String,
        /// Why.
        why: String,
    },
}

impl ProviderError {
    /// For `map_err`.
    fn because<E: std::fmt::Display>(what: &'static str, name: &str) -> impl FnOnce(E) -> Self {
        let name = name.to_owned();
        move |error| Self::Failed { what, name, why: error.to_string() }
    }
}

/// Who runs machines. Every call ends within the time of the settings; one that is dropped half way may leave a machine
/// running, which [`Provider::state`] then tells and [`Provider::stop`] ends.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Copies the disks to where the machine will run, if it cannot read them over NBD; gives what the copies are called. It may take as
    /// long as it takes, notes in the folder of the machine how far it is, and goes on there when it is called again after it was
    /// dropped or the process was killed. `job` is told of the progress. A provider that reads over NBD has nothing to do.
    async fn prepare(
        &self,
        spec: &MachineSpec,
        contents: &dyn Contents,
        job: &JobHandle,
    ) -> Result<Vec<String>, ProviderError> {
        let _ = (spec, contents, job);
        Ok(Vec::new())
    }

    /// Starts a machine; returns once it runs, which is long before it has booted. [`ProviderError::Runs`] if one
    /// of that name does.
    async fn start(&self, spec: &MachineSpec) -> Result<Running, ProviderError>;

    /// Whether it runs.
    async fn state(&self, machine: &Running) -> Result<MachineState, ProviderError>;

    /// Stops it and takes away what the start made besides [`Running::console`]; returns once it is gone. That it does not run is no
    /// error.
    async fn stop(&self, machine: &Running, how: Stop) -> Result<(), ProviderError>;
}

/// Who runs a machine of the settings.
pub fn provider_of(machine: &settings::Machine) -> Arc<dyn Provider> {
    match machine.provider {
        settings::ProviderKind::Qemu => Arc::new(QemuProvider::new(machine)),
        settings::ProviderKind::Command => Arc::new(CommandProvider::new(machine)),
        #[cfg(feature = "ec2")]
        settings::ProviderKind::Ec2 => Arc::new(Ec2Provider::new(machine)),
        #[cfg(not(feature = "ec2"))]
        settings::ProviderKind::Ec2 => Arc::new(NotBuilt),
    }
}

/// Of a program that was built without the provider. Its settings refuse it, so nobody meets this.
#[cfg(not(feature = "ec2"))]
struct NotBuilt;

#[cfg(not(feature = "ec2"))]
#[async_trait]
impl Provider for NotBuilt {
    async fn start(&self, spec: &MachineSpec) -> Result<Running, ProviderError> {
        Err(ProviderError::because("start", &spec.name)("this build has no provider ec2"))
    }

    async fn state(&self, machine: &Running) -> Result<MachineState, ProviderError> {
        Err(ProviderError::because("ask for the state of", &machine.name)("this build has no provider ec2"))
    }

    async fn stop(&self, machine: &Running, _how: Stop) -> Result<(), ProviderError> {
        Err(ProviderError::because("stop", &machine.name)("this build has no provider ec2"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_also_of_ipv6() {
        let disk =
            |host: &str| MachineDisk { host: host.into(), port: 9, export: "a".into(), read_only: false };
        assert_eq!(disk("h.example.net").address(), "nbd://h.example.net:9/a");
        assert_eq!(disk("::1").address(), "nbd://[::1]:9/a");
    }
}

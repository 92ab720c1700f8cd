//! Virtual machines whose disks are volumes, and who runs them.
//!
//! Owns the trait [`Provider`] and its implementations. Runbooks and the command line start machines; a provider knows
//! neither, nor how volumes are kept: it is told names and addresses.
//!
//! # To add another provider
//!
//! 1. A file beside `command.rs` with a type that implements [`Provider`]. What it needs of the settings it takes
//!    from the [`settings::Machine`] when it is made.
//! 2. A word for it in `ProviderKind` and its keys in `[[machine]]` (`settings/machine.rs`), with what must hold between them.
//! 3. A line in [`provider_of`].
//!
//! A provider that keeps nothing but what [`Running`] says can be asked by a process that did not start the
//! machine: runbooks go on after a restart. One that must copy the disks first (a cloud that boots from its own) does
//! so in [`Provider::start`], reading them over NBD as any client does. Whoever does not want to write Rust
//! uses the provider `command`.

mod command;
mod qemu;
mod qmp;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use command::CommandProvider;
pub use qemu::QemuProvider;

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

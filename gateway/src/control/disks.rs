//! What is asked about volumes and machines, and what is answered.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ControlError, Moment, Progress};
use crate::machine::{MachineState, Running};
use crate::volumes::BootOrder;

/// A volume, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeStatus {
    /// What clients call it.
    pub name: String,
    /// The share that its file is in.
    pub share: String,
    /// Its file.
    pub path: String,
    /// The moment that it shows, if not what is live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
    /// Whether it takes no changes.
    pub read_only: bool,
    /// Whether its changes are thrown away.
    pub scratch: bool,
    /// Whether it is of no settings: it goes when the gateway ends.
    pub temporary: bool,
    /// Its size in bytes, once somebody has looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Connections that have it open.
    pub connections: u64,
    /// Bytes of changes that are kept to be thrown away.
    pub scratch_bytes: u64,
    /// Whether it is noted what is read of it.
    pub recording: bool,
    /// Bytes that have been fetched first, of those that were recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmed: Option<(u64, u64)>,
}

/// Make a volume longer or shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResizeRequest {
    /// Its new size in bytes.
    pub bytes: u64,
    /// Whether it may become shorter: what lies beyond the new end is gone.
    #[serde(default)]
    pub shrink: bool,
}

/// Serve a volume once more, as it was, for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemporaryRequest {
    /// What clients call it.
    pub name: String,
    /// Of when; `live`: as it is now, published first.
    pub moment: Moment,
    /// Whether it takes changes, which are thrown away.
    #[serde(default)]
    pub scratch: bool,
}

/// Start a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineStartRequest {
    /// The name that it runs under; without it, its own. Another name is for a drill beside the real one.
    pub run_as: Option<String>,
    /// Give it scratch volumes: nothing that it writes comes into the shares.
    pub scratch: bool,
    /// With `scratch`: the moment that its disks show; without it, the newest heads.
    pub moment: Option<Moment>,
    /// Note what is read of its disks until it is stopped, and record it then.
    pub record: bool,
}

/// Stop a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MachineStopRequest {
    /// Cut its power at once.
    pub at_once: bool,
}

/// A machine, as its operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MachineStatus {
    /// The name that it runs under.
    pub name: String,
    /// The machine of the settings that it is.
    pub machine: String,
    /// Whether it runs; none when its provider does not say, see `trouble`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<MachineState>,
    /// What its provider says instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How far the copying of its disks is, which comes before its start where it cannot read them from here. Absent while
    /// none goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copying: Option<Progress>,
    /// What is known of it since it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Whether nothing that it writes comes into the shares.
    pub scratch: bool,
    /// The exports that are its disks.
    pub volumes: Vec<String>,
}

/// Volumes and machines of a running gateway. Errors say what is wrong and what to do; all answers come within
/// the time of the provider's settings.
#[async_trait]
pub trait Disks: Send + Sync + 'static {
    /// All volumes, by name. Cheap.
    async fn volumes(&self) -> Vec<VolumeStatus>;

    /// Makes the file of a volume if it is missing, and looks how large it is.
    async fn volume_prepare(&self, volume: &str) -> Result<VolumeStatus, ControlError>;

    /// Makes a volume longer or shorter. Its settings are another matter.
    async fn volume_resize(
        &self,
        volume: &str,
        request: &ResizeRequest,
    ) -> Result<VolumeStatus, ControlError>;

    /// Serves a volume once more, as it was at a moment, under another name, until that is removed or the gateway ends.
    async fn volume_show(
        &self,
        volume: &str,
        request: &TemporaryRequest,
    ) -> Result<VolumeStatus, ControlError>;

    /// Takes away what [`Disks::volume_show`] gave.
    async fn volume_hide(&self, name: &str) -> Result<(), ControlError>;

    /// Begins to note what is read of a volume.
    async fn volume_record(&self, volume: &str) -> Result<(), ControlError>;

    /// Ends that, and records it with the file of the volume in the live share.
    async fn volume_record_end(&self, volume: &str) -> Result<BootOrder, ControlError>;

    /// What is recorded.
    async fn boot_order(&self, volume: &str) -> Result<Option<BootOrder>, ControlError>;

    /// Records it by hand, or takes it away.
    async fn set_boot_order(&self, volume: &str, order: Option<&BootOrder>) -> Result<(), ControlError>;

    /// All machines of the settings, and those that run under other names.
    async fn machines(&self) -> Vec<MachineStatus>;

    /// Starts a machine of the settings; returns once it runs, long before it has booted.
    async fn machine_start(
        &self,
        machine: &str,
        request: &MachineStartRequest,
    ) -> Result<MachineStatus, ControlError>;

    /// Stops what runs under a name, and takes its scratch volumes away. That it does not run is no error.
    async fn machine_stop(
        &self,
        name: &str,
        request: &MachineStopRequest,
    ) -> Result<MachineStatus, ControlError>;
}

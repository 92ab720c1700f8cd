//! What the outside may ask of a running gateway.
//!
//! Owns the trait [`Control`] and the plain data in its signatures, which are at once the JSON of
//! the admin API. The core implements it; the admin API and, through it, the command line call it.
//! Nothing here knows HTTP, settings files on disk or the terminal.
//!
//! Rules for implementations:
//!
//! * Methods that take a [`JobHandle`] may run for hours. They report progress through it, look at
//!   [`JobHandle::is_cancelled`] between steps, and leave nothing half done when they stop early:
//!   what was done stays valid, what was not done is as before. All others answer within seconds.
//! * Dropping a future half way does not damage anything.
//! * What destroys keeps the way back: a rollback retains the state before it as a snapshot.

mod alarm;
mod bin;
mod branch;
mod disks;
mod error;
mod file;
mod job;
mod link;
mod moment;
mod path;
mod policy;
mod recovery;
mod requests;
mod scrub;
mod settings;
mod sight;
mod source;
mod status;

use std::sync::Arc;

use async_trait::async_trait;

pub use alarm::{Alarm, AlarmCode, Severity};
pub use bin::{BinEntry, BinKind, BinRestoreRequest, Binning, BroughtBack};
pub use branch::{
    Against, BranchApplyReport, BranchApplyRequest, BranchChange, BranchDiffPage, BranchDiffRequest,
    BranchInfo, Branching, FailbackPlan, OnConflict, PATHS_NAMED_MAX, RejoinReport, RejoinRequest,
};
pub use disks::{
    Disks, MachineStartRequest, MachineStatus, MachineStopRequest, ResizeRequest, TemporaryRequest,
    VolumeStatus,
};
pub use error::{ControlError, ErrorKind};
pub use file::{FILES_PAGE_MAX, FileData, FileInfo, FileKind, FileRequest, FilesPage, FilesRequest};
pub use job::{JobHandle, Progress, Unit};
pub use link::{LaneStatus, LimitRate, LimitRequest, LinkStatus};
pub use moment::{Moment, MomentError};
pub use path::{FilePath, PathError, text_of};
pub use policy::{
    PolicyDetails, PolicyRun, PolicyRunRequest, PolicyShareRun, PolicySimulation, PolicySimulationRequest,
    PolicySnapshot, PolicyStatus, SIMULATED_DAYS_MAX, SimulatedSnapshot,
};
pub use recovery::{
    RecoveryLink, RecoveryPlan, RecoveryRequest, RecoveryStage, ShareRecovery, WarmDone, WarmProgress,
    WarmRequest,
};
pub use requests::{
    Change, ChangeKind, CloneReport, CloneRequest, CollectionReport, DIFF_PAGE_MAX, DiffPage, DiffRequest,
    HandoverRequest, LifecycleReport, LifecycleRequest, LifecycleStep, PromoteReport, PromoteRequest,
    RestoreReport, RestoreRequest, RollbackReport, RollbackRequest, SnapshotInfo, SnapshotRequest,
};
pub use scrub::{
    CopyScrub, LostPart, LostUser, ScrubFailure, ScrubHealth, ScrubRound, ScrubStatus, UnreadableHead,
};
pub use settings::{ChangeSettings, SettingsEdit};
pub use sight::{ClientInfo, KeySlot};
pub use source::{PathTrouble, SourceDetails, SourceRun, SourceRunRequest, SourceStatus};
pub use status::{
    CacheStatus, CollectionStatus, HeadCost, HeadInfo, JournalStatus, LimitStatus, LockStatus, MemoryStatus,
    QuotaStatus, ShareState, ShareStatus, SpentStatus, Status, StoreFailure, TargetHead, TargetStatus,
};

use crate::settings::Settings;

/// A running gateway, as its operator sees it.
#[async_trait]
pub trait Control: Binning + Branching + Send + Sync + 'static {
    /// Everything an overview needs. Cheap: it may be asked for every second.
    async fn status(&self) -> Status;

    /// Takes over changed settings: adds and removes shares, applies what can change while running.
    /// Either all of it is applied or, on an error, nothing. Answers with the keys (such as
    /// `gateway.data`) whose new value waits for a restart.
    async fn apply(&self, settings: Arc<Settings>) -> Result<Vec<String>, ControlError>;

    /// Says who changes the settings file, for what clients may change of it. None: nobody any more.
    fn settings_changed_by(&self, changer: Option<Arc<dyn ChangeSettings>>);

    /// Publishes everything that was acknowledged before the call, and waits until the target has
    /// it. Answers with the head that contains it (the newest one when nothing had changed).
    async fn commit_now(&self, share: &str, job: &JobHandle) -> Result<HeadInfo, ControlError>;

    /// Published heads of a share that can still be opened, newest first, at most `limit`.
    async fn heads(&self, share: &str, limit: usize) -> Result<Vec<HeadInfo>, ControlError>;

    /// Retained snapshots of a share, newest first.
    async fn snapshots(&self, share: &str) -> Result<Vec<SnapshotInfo>, ControlError>;

    /// Retains the state of a share: commits first, then writes the snapshot.
    async fn snapshot_create(
        &self,
        share: &str,
        request: &SnapshotRequest,
        job: &JobHandle,
    ) -> Result<SnapshotInfo, ControlError>;

    /// Puts a snapshot, named by its id or its name, into the bin; where there is none, stops retaining it.
    async fn snapshot_remove(&self, share: &str, snapshot: &str) -> Result<SnapshotInfo, ControlError>;

    /// What differs between two moments of a share, in byte order of paths, page by page.
    async fn diff(&self, share: &str, request: &DiffRequest) -> Result<DiffPage, ControlError>;

    /// A page of a directory as it is, or was at a moment.
    async fn files(&self, share: &str, request: &FilesRequest) -> Result<FilesPage, ControlError>;

    /// Opens a file as it is, or was at a moment; its bytes come as they are read.
    async fn file(&self, share: &str, request: &FileRequest) -> Result<FileData, ControlError>;

    /// Puts a path of the live share back to what it was at a moment.
    async fn restore(
        &self,
        share: &str,
        request: &RestoreRequest,
        job: &JobHandle,
    ) -> Result<RestoreReport, ControlError>;

    /// Puts a whole share back to what it was at a moment: a new incarnation over that root, in
    /// constant time. Retains the state before as a snapshot first.
    async fn rollback(
        &self,
        share: &str,
        request: &RollbackRequest,
        job: &JobHandle,
    ) -> Result<RollbackReport, ControlError>;

    /// Hands a share over: publishes everything, lets no change in any more, and says so in a head, so that
    /// another gateway can serve it under handles that stay valid. Gives that head.
    async fn handover(
        &self,
        share: &str,
        request: &HandoverRequest,
        job: &JobHandle,
    ) -> Result<HeadInfo, ControlError>;

    /// Prepares a new share whose base is a moment of another one. It is served once the settings
    /// name it (see [`Control::apply`]); until then it takes no room and nobody sees it.
    async fn clone_share(
        &self,
        share: &str,
        request: &CloneRequest,
        job: &JobHandle,
    ) -> Result<CloneReport, ControlError>;

    /// Carries out the lifecycle rules of a bucket that are due, which the gateway does by itself once a day.
    async fn lifecycle(
        &self,
        bucket: &str,
        request: &LifecycleRequest,
        job: &JobHandle,
    ) -> Result<LifecycleReport, ControlError>;

    /// Leads the repository from another target: brings that copy up to date, changes the settings, and moves
    /// the right to publish there. Clients notice nothing.
    async fn target_promote(
        &self,
        target: &str,
        request: &PromoteRequest,
        job: &JobHandle,
    ) -> Result<PromoteReport, ControlError>;

    /// How long recovery of each share, or of one, would take, by the link as it was measured.
    async fn recovery(&self, request: &RecoveryRequest) -> Result<RecoveryPlan, ControlError>;

    /// Brings a share here before it is asked for: what was used lately, or everything.
    async fn warm(
        &self,
        share: &str,
        request: WarmRequest,
        job: &JobHandle,
    ) -> Result<WarmDone, ControlError>;

    /// How far the scrub is, what it healed, and what is lost.
    async fn scrub(&self) -> ScrubStatus;

    /// Reads and verifies every pack now, and heals what has a copy here.
    async fn scrub_run(&self, job: &JobHandle) -> Result<ScrubStatus, ControlError>;

    /// Sets the rates of the link to a target by hand, for a while.
    async fn target_limit(&self, target: &str, request: &LimitRequest) -> Result<LinkStatus, ControlError>;

    /// A policy, when it runs next, and what its rules keep of what it has taken.
    async fn policy(&self, policy: &str) -> Result<PolicyDetails, ControlError>;

    /// Runs a policy now, which the gateway does by itself when it is due.
    async fn policy_run(
        &self,
        policy: &str,
        request: &PolicyRunRequest,
        job: &JobHandle,
    ) -> Result<PolicyRun, ControlError>;

    /// What a policy would keep of a time to come, as if every run came in time.
    async fn policy_simulate(
        &self,
        policy: &str,
        request: &PolicySimulationRequest,
    ) -> Result<PolicySimulation, ControlError>;

    /// All sources of backup. Cheap.
    async fn sources(&self) -> Vec<SourceStatus>;

    /// A source of backup, and its snapshots.
    async fn source(&self, source: &str) -> Result<SourceDetails, ControlError>;

    /// Saves a source of backup now.
    async fn source_run(
        &self,
        source: &str,
        request: &SourceRunRequest,
        job: &JobHandle,
    ) -> Result<SourceRun, ControlError>;

    /// Deletes what nothing retained reaches, which the gateway does by itself by the clock; or only looks.
    async fn collect(&self, dry_run: bool, job: &JobHandle) -> Result<CollectionReport, ControlError>;

    /// Who is connected to the doors for data.
    async fn clients(&self) -> Result<Vec<ClientInfo>, ControlError>;

    /// What opens the repository: states alone, never a key.
    async fn keys(&self) -> Result<Vec<KeySlot>, ControlError>;

    /// Volumes and machines.
    fn disks(&self) -> Result<Arc<dyn Disks>, ControlError> {
        Err(ControlError::new(ErrorKind::NotFound, "this gateway serves no volumes"))
    }

    /// Whether clients are served now; otherwise the reason, for `/readyz`.
    async fn ready(&self) -> Result<(), ControlError>;

    /// Returns once the gateway cannot go on by itself (for example after a failed `fdatasync`), and
    /// says why; the process then ends with an error so that it is started again.
    async fn failure(&self) -> ControlError;

    /// Stops taking calls, finishes those in flight, syncs the journal and closes. Does not wait for
    /// the upload of the backlog. Every later call fails with [`ErrorKind::Stopping`].
    async fn stop(&self) -> Result<(), ControlError>;
}

/// How a gateway comes to life.
#[async_trait]
pub trait Start: Send + Sync {
    /// Opens local state, replays the journal and serves what the settings say.
    async fn start(&self, settings: Arc<Settings>) -> Result<Arc<dyn Control>, ControlError>;
}

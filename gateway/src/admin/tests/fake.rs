//! An honest gateway in memory: it does to its lists what a real one does to shares.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::control::{
    Alarm, AlarmCode, CacheStatus, Change, ChangeKind, ChangeSettings, ClientInfo, CloneReport, CloneRequest,
    CollectionReport, Control, ControlError, DiffPage, DiffRequest, ErrorKind, FileData, FileInfo, FileKind,
    FilePath, FileRequest, FilesPage, FilesRequest, HandoverRequest, HeadCost, HeadInfo, JobHandle,
    JournalStatus, KeySlot, LaneStatus, LifecycleReport, LifecycleRequest, LimitRequest, LimitStatus,
    LinkStatus, LostPart, MemoryStatus, PathTrouble, PolicyDetails, PolicyRun, PolicyRunRequest,
    PolicyShareRun, PolicySimulation, PolicySimulationRequest, PolicySnapshot, PolicyStatus, PromoteReport,
    PromoteRequest, QuotaStatus, RecoveryPlan, RecoveryRequest, RecoveryStage, RestoreReport, RestoreRequest,
    RollbackReport, RollbackRequest, ScrubHealth, ScrubStatus, Severity, ShareRecovery, ShareState,
    ShareStatus, SnapshotInfo, SnapshotRequest, SourceDetails, SourceRun, SourceRunRequest, SourceStatus,
    Start, Status, TargetStatus, Unit, WarmDone, WarmRequest,
};
use crate::settings::{Count, Policy, Settings, Size};

/// The gateway; see the head of this file.
#[derive(Default)]
pub(crate) struct FakeGateway {
    state: Mutex<State>,
    /// What lies in the bin, with the share of each.
    pub(super) binned: Mutex<Vec<(String, SnapshotInfo)>>,
    /// Told when the removal of snapshot `slow` has begun; it goes on when the other is told.
    pub(super) begun: Notify,
    pub(super) go_on: Notify,
}

#[derive(Default)]
struct State {
    settings: Option<Arc<Settings>>,
    snapshots: BTreeMap<String, Vec<SnapshotInfo>>,
    commits: u64,
    stopped: bool,
}

impl FakeGateway {
    /// A gateway that serves what the settings say.
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        let state = State { settings: Some(Arc::new(settings)), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), ..Self::default() })
    }

    /// Whether it was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    pub(super) fn known(&self, share: &str) -> Result<(), ControlError> {
        let settings = self.state.lock().settings.clone().expect("set from the start");
        match settings.share(share) {
            Some(_) => Ok(()),
            None => Err(ControlError::new(ErrorKind::NotFound, format!("there is no share {share:?}"))),
        }
    }

    pub(super) fn keep_snapshot(&self, share: &str, made: SnapshotInfo) -> Result<(), ControlError> {
        let mut state = self.state.lock();
        let snapshots = state.snapshots.entry(share.to_owned()).or_default();
        if snapshots.iter().any(|other| other.name == made.name) {
            return Err(ControlError::new(ErrorKind::Exists, format!("there is a snapshot {:?}", made.name)));
        }
        snapshots.insert(0, made);
        Ok(())
    }

    fn head(&self) -> HeadInfo {
        let sequence = self.state.lock().commits;
        HeadInfo {
            name: format!("head-{sequence}"),
            sequence,
            epoch: 1,
            frozen: Timestamp::UNIX_EPOCH,
            age_seconds: 1,
            cost: HeadCost::default(),
        }
    }
}

fn source_status(source: &crate::settings::Source) -> SourceStatus {
    let (name, what) = (source.name.to_string(), source.what());
    SourceStatus { name, what, policies: Vec::new(), running: false, last_run: None }
}

fn policy_status(policy: &Policy) -> PolicyStatus {
    PolicyStatus {
        name: policy.name.to_string(),
        shares: policy.shares.iter().map(ToString::to_string).collect(),
        when: policy.when(),
        next: Some(Timestamp::UNIX_EPOCH),
        due: Some(Timestamp::UNIX_EPOCH),
        running: false,
        last_success: None,
        last_run: None,
        failures: 2,
        snapshots: 1,
        lacks: BTreeMap::new(),
    }
}

/// One that is always raised.
fn alarm() -> Alarm {
    Alarm {
        code: AlarmCode::PolicyFailed,
        subject: "policy:nightly".to_owned(),
        severity: Severity::Warning,
        since: Timestamp::UNIX_EPOCH,
        message: "the run failed: no reason".to_owned(),
        todo: "nothing".to_owned(),
    }
}

fn snapshot(name: &str) -> SnapshotInfo {
    SnapshotInfo {
        id: format!("id-of-{name}"),
        name: name.to_owned(),
        frozen: Timestamp::UNIX_EPOCH,
        policy: None,
        tags: BTreeMap::new(),
        files: 3,
        bytes: 4096,
        bin_until: None,
    }
}

#[async_trait]
impl Control for FakeGateway {
    async fn status(&self) -> Status {
        let settings = self.state.lock().settings.clone().expect("set from the start");
        let share = |share: &crate::settings::Share| ShareStatus {
            name: share.name.to_string(),
            id: "0".repeat(32),
            export: share.export_path().to_string(),
            state: if share.read_only { ShareState::ReadOnly } else { ShareState::Serving },
            reason: None,
            handles: None,
            rpo_seconds: share.rpo.duration().as_secs(),
            rpo_now_seconds: 0,
            dirty_bytes: 0,
            head: Some(self.head()),
            files: 3,
            bytes: 4096,
            quota: share.quota.as_ref().map(|quota| QuotaStatus {
                bytes: LimitStatus {
                    soft: quota.bytes.soft.map(Size::bytes),
                    hard: quota.bytes.hard.map(Size::bytes),
                    over_soft_since: Some(Timestamp::UNIX_EPOCH),
                    grace_is_over: false,
                },
                files: LimitStatus { hard: quota.inodes.hard.map(Count::get), ..LimitStatus::default() },
                grace_seconds: quota.grace.duration().as_secs(),
            }),
            recovery: None,
            warming: None,
        };
        let target = |target: &crate::settings::Target| TargetStatus {
            name: target.name.to_string(),
            address: target.address.to_string(),
            leads: target.name == settings.lead().name,
            reachable: true,
            behind_seconds: None,
            obstacles: Vec::new(),
            backlog_bytes: 0,
            backlog_packs: 0,
            uploaded_bytes: 7,
            backlog_seconds: Some(0),
            link: LinkStatus::default(),
            spent: None,
            last_failure: None,
            clock_ahead_ms: None,
            lock: None,
            heads: Vec::new(),
        };
        Status {
            version: "0.0.0".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            uptime_seconds: 61,
            shares: settings.shares.iter().map(share).collect(),
            targets: settings.targets.iter().map(target).collect(),
            policies: settings.policies.iter().map(policy_status).collect(),
            lost_parts: 0,
            scrub: ScrubHealth::default(),
            cache: CacheStatus::default(),
            journal: JournalStatus::default(),
            memory: MemoryStatus::default(),
            collection: None,
            unreadable_keys: Vec::new(),
            alarms: vec![alarm()],
        }
    }

    fn settings_changed_by(&self, _changer: Option<Arc<dyn ChangeSettings>>) {}

    async fn apply(&self, settings: Arc<Settings>) -> Result<Vec<String>, ControlError> {
        if settings.share("unlucky").is_some() {
            return Err(ControlError::new(ErrorKind::StoreAway, "cannot make the share: the store is away"));
        }
        let mut state = self.state.lock();
        let old = state.settings.replace(settings.clone()).expect("set from the start");
        let moved = old.gateway.data != settings.gateway.data;
        Ok(moved.then(|| "gateway.data".to_owned()).into_iter().collect())
    }

    async fn commit_now(&self, share: &str, job: &JobHandle) -> Result<HeadInfo, ControlError> {
        self.known(share)?;
        job.phase("upload packs", Some(4096), Unit::Bytes);
        job.advance(4096);
        self.state.lock().commits += 1;
        Ok(self.head())
    }

    async fn heads(&self, share: &str, limit: usize) -> Result<Vec<HeadInfo>, ControlError> {
        self.known(share)?;
        Ok(std::iter::once(self.head()).take(limit).collect())
    }

    async fn snapshots(&self, share: &str) -> Result<Vec<SnapshotInfo>, ControlError> {
        self.known(share)?;
        Ok(self.state.lock().snapshots.get(share).cloned().unwrap_or_default())
    }

    async fn snapshot_create(
        &self,
        share: &str,
        request: &SnapshotRequest,
        _job: &JobHandle,
    ) -> Result<SnapshotInfo, ControlError> {
        self.known(share)?;
        let mut made = snapshot(request.name.as_deref().unwrap_or("1970-01-01"));
        made.tags = request.tags.clone();
        self.keep_snapshot(share, made.clone())?;
        Ok(made)
    }

    async fn collect(&self, dry_run: bool, _job: &JobHandle) -> Result<CollectionReport, ControlError> {
        Ok(CollectionReport { dry_run, packs: 9, condemned: 2, ..CollectionReport::default() })
    }

    async fn clients(&self) -> Result<Vec<ClientInfo>, ControlError> {
        let (address, door) = ("10.0.0.17".to_owned(), "nfs".to_owned());
        Ok(vec![ClientInfo { address, door, connections: 2 }])
    }

    async fn keys(&self) -> Result<Vec<KeySlot>, ControlError> {
        let (id, state, label) = ("0a".repeat(16), "whole".to_owned(), "at home".to_owned());
        Ok(vec![KeySlot { id, kind: Some("key-file".to_owned()), label, made: None, state }])
    }

    async fn snapshot_remove(&self, share: &str, name: &str) -> Result<SnapshotInfo, ControlError> {
        self.known(share)?;
        if name == "slow" {
            self.begun.notify_one();
            self.go_on.notified().await;
        }
        let mut state = self.state.lock();
        let snapshots = state.snapshots.entry(share.to_owned()).or_default();
        let at = snapshots.iter().position(|snapshot| snapshot.name == name || snapshot.id == name);
        let missing = || ControlError::new(ErrorKind::NotFound, format!("there is no snapshot {name:?}"));
        let removed = snapshots.remove(at.ok_or_else(missing)?);
        self.binned.lock().push((share.to_owned(), removed.clone()));
        Ok(removed)
    }

    async fn diff(&self, share: &str, request: &DiffRequest) -> Result<DiffPage, ControlError> {
        self.known(share)?;
        let path = |name: &str| name.parse().expect("a path");
        let change =
            |name: &str, kind| Change { path: path(name), kind, bytes_before: None, bytes_after: None };
        Ok(match request.after {
            None => DiffPage { changes: vec![change("/a", ChangeKind::Added)], next: Some(path("/a")) },
            Some(_) => DiffPage { changes: vec![change("/b\\xff", ChangeKind::Removed)], next: None },
        })
    }

    async fn files(&self, share: &str, request: &FilesRequest) -> Result<FilesPage, ControlError> {
        self.known(share)?;
        let files = vec![fake_file(&request.path, "a"), fake_file(&request.path, "b")];
        let rest =
            files.into_iter().filter(|file| request.after.as_ref().is_none_or(|after| file.path > *after));
        let mut files: Vec<FileInfo> = rest.collect();
        let is_more = files.len() > request.limit;
        files.truncate(request.limit);
        let next = files.last().filter(|_| is_more).map(|file| file.path.clone());
        Ok(FilesPage { frozen: Some(Timestamp::UNIX_EPOCH), files, next })
    }

    async fn file(&self, share: &str, request: &FileRequest) -> Result<FileData, ControlError> {
        self.known(share)?;
        let mut info = fake_file(&FilePath::root(), "a");
        (info.path, info.bytes) = (request.path.clone(), 9);
        let pieces = ["the ", "bytes"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        Ok(FileData { info, data: stream::iter(pieces).boxed() })
    }

    async fn restore(
        &self,
        share: &str,
        request: &RestoreRequest,
        job: &JobHandle,
    ) -> Result<RestoreReport, ControlError> {
        self.known(share)?;
        if request.path.as_bytes() == b"/endless" {
            job.cancelled().await;
        }
        job.checkpoint()?;
        Ok(RestoreReport { files: u64::from(!request.dry_run), ..RestoreReport::default() })
    }

    async fn rollback(
        &self,
        share: &str,
        _request: &RollbackRequest,
        job: &JobHandle,
    ) -> Result<RollbackReport, ControlError> {
        let name = Some("before-rollback".to_owned());
        let request = SnapshotRequest { name, ..SnapshotRequest::default() };
        let before = self.snapshot_create(share, &request, job).await?;
        Ok(RollbackReport { before, frozen: Timestamp::UNIX_EPOCH })
    }

    async fn handover(
        &self,
        share: &str,
        _request: &HandoverRequest,
        job: &JobHandle,
    ) -> Result<HeadInfo, ControlError> {
        self.commit_now(share, job).await
    }

    async fn clone_share(
        &self,
        share: &str,
        request: &CloneRequest,
        _job: &JobHandle,
    ) -> Result<CloneReport, ControlError> {
        self.known(share)?;
        Ok(CloneReport { name: request.name.clone(), id: "0a".repeat(16), frozen: Timestamp::UNIX_EPOCH })
    }

    async fn lifecycle(
        &self,
        _bucket: &str,
        _request: &LifecycleRequest,
        _job: &JobHandle,
    ) -> Result<LifecycleReport, ControlError> {
        Ok(LifecycleReport { looked_at: 3, expired: 1, ..LifecycleReport::default() })
    }

    async fn target_promote(
        &self,
        target: &str,
        _request: &PromoteRequest,
        _job: &JobHandle,
    ) -> Result<PromoteReport, ControlError> {
        Ok(PromoteReport { lead: target.to_owned(), led_before: "first".to_owned() })
    }

    async fn recovery(&self, request: &RecoveryRequest) -> Result<RecoveryPlan, ControlError> {
        let status = self.status().await;
        let wanted = |name: &String| request.share.as_ref().is_none_or(|share| share == name);
        let share = |share: crate::control::ShareStatus| ShareRecovery {
            share: share.name,
            frozen: status.started,
            age_seconds: 5,
            rpo_seconds: Some(share.rpo_seconds),
            first: RecoveryStage { bytes: 4096, requests: 20, ..RecoveryStage::default() },
            hot: RecoveryStage::default(),
            whole: RecoveryStage::default(),
            accept_risk: false,
            missed: None,
        };
        let shares = status.shares.into_iter().filter(|share| wanted(&share.name)).map(share).collect();
        Ok(RecoveryPlan { link: None, shares, unproven: None })
    }

    async fn warm(
        &self,
        share: &str,
        request: WarmRequest,
        job: &JobHandle,
    ) -> Result<WarmDone, ControlError> {
        if self.status().await.shares.iter().all(|known| known.name != share) {
            return Err(ControlError::new(ErrorKind::NotFound, format!("there is no share {share:?}")));
        }
        job.phase("fetch what was used lately", Some(1), Unit::Bytes);
        Ok(WarmDone { requests: 1 + u64::from(request.all), bytes: 1 << 20, ..WarmDone::default() })
    }

    async fn scrub(&self) -> ScrubStatus {
        let lost =
            LostPart { pack: "0a".repeat(32), what: "it is missing".to_owned(), ..LostPart::default() };
        ScrubStatus { lost: vec![lost], ..ScrubStatus::default() }
    }

    async fn scrub_run(&self, job: &JobHandle) -> Result<ScrubStatus, ControlError> {
        job.phase("read packs", Some(1), Unit::Bytes);
        Ok(ScrubStatus::default())
    }

    async fn target_limit(&self, target: &str, request: &LimitRequest) -> Result<LinkStatus, ControlError> {
        if self.status().await.targets.iter().all(|known| known.name != target) {
            return Err(ControlError::new(ErrorKind::NotFound, format!("there is no target {target:?}")));
        }
        let limit_bytes_per_second = request.up.rate()?.flatten();
        let up = LaneStatus { limit_bytes_per_second, ..LaneStatus::default() };
        Ok(LinkStatus { up, rule: "set by hand".to_owned(), ..LinkStatus::default() })
    }

    async fn sources(&self) -> Vec<SourceStatus> {
        let settings = self.state.lock().settings.clone().expect("set from the start");
        settings.sources.iter().map(source_status).collect()
    }

    async fn source(&self, source: &str) -> Result<SourceDetails, ControlError> {
        let found = self.sources().await.into_iter().find(|status| status.name == source);
        let missing = || ControlError::new(ErrorKind::NotFound, format!("there is no source {source:?}"));
        Ok(SourceDetails { status: found.ok_or_else(missing)?, snapshots: Vec::new() })
    }

    async fn source_run(
        &self,
        source: &str,
        _request: &SourceRunRequest,
        _job: &JobHandle,
    ) -> Result<SourceRun, ControlError> {
        self.source(source).await?;
        let lost = PathTrouble { path: "/secret".to_owned(), why: "no permission".to_owned() };
        Ok(SourceRun {
            source: source.to_owned(),
            snapshot: Some("id".to_owned()),
            left_out: 1,
            left_out_paths: vec![lost],
            ..SourceRun::default()
        })
    }

    async fn policy(&self, policy: &str) -> Result<PolicyDetails, ControlError> {
        let settings = self.state.lock().settings.clone().expect("set from the start");
        let missing = || ControlError::new(ErrorKind::NotFound, format!("there is no policy {policy:?}"));
        let status = policy_status(settings.policy(policy).ok_or_else(missing)?);
        let snapshots = status.shares.iter().map(|share| PolicySnapshot {
            share: share.clone(),
            id: "id-of-it".to_owned(),
            taken: Timestamp::UNIX_EPOCH,
            kept_by: vec!["newest".to_owned(), "daily".to_owned()],
        });
        Ok(PolicyDetails { snapshots: snapshots.collect(), next_runs: vec![Timestamp::UNIX_EPOCH], status })
    }

    async fn policy_simulate(
        &self,
        policy: &str,
        request: &PolicySimulationRequest,
    ) -> Result<PolicySimulation, ControlError> {
        self.policy(policy).await?;
        let (from, policy) = (request.from.unwrap_or_default(), policy.to_owned());
        Ok(PolicySimulation { policy, from, to: from, runs: 1, most: 1, kept: Vec::new() })
    }

    async fn policy_run(
        &self,
        policy: &str,
        request: &PolicyRunRequest,
        job: &JobHandle,
    ) -> Result<PolicyRun, ControlError> {
        let status = self.policy(policy).await?.status;
        let mut shares = Vec::new();
        for share in status.shares {
            let request = SnapshotRequest { name: Some(policy.to_owned()), tags: request.tags.clone() };
            let snapshot = Some(self.snapshot_create(&share, &request, job).await?.id);
            shares.push(PolicyShareRun { share, snapshot, kept: 1, ..PolicyShareRun::default() });
        }
        let (began, ended) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Ok(PolicyRun { policy: policy.to_owned(), began, ended, shares, error: None })
    }

    async fn ready(&self) -> Result<(), ControlError> {
        if self.is_stopped() {
            return Err(ControlError::new(ErrorKind::Stopping, "the gateway is stopping"));
        }
        Ok(())
    }

    async fn failure(&self) -> ControlError {
        std::future::pending().await
    }

    async fn stop(&self) -> Result<(), ControlError> {
        self.state.lock().stopped = true;
        Ok(())
    }
}

fn fake_file(directory: &FilePath, name: &str) -> FileInfo {
    FileInfo {
        path: directory.join(name.as_bytes()).expect("a path"),
        name: name.to_owned(),
        kind: FileKind::File,
        bytes: 9,
        mode: 0o644,
        uid: 0,
        gid: 0,
        modified: Timestamp::UNIX_EPOCH,
        target: None,
    }
}

/// Starts a [`FakeGateway`].
pub(crate) struct FakeStart;

#[async_trait]
impl Start for FakeStart {
    async fn start(&self, settings: Arc<Settings>) -> Result<Arc<dyn Control>, ControlError> {
        Ok(FakeGateway::new(Settings::clone(&settings)))
    }
}

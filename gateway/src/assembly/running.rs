//! A running gateway: the appliance, its file server, and what its operator may ask.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_protocols::NfsServer;
use tidegate_protocols::nbd::NbdServer;
use tidegate_protocols::objects::ObjectError;
use tidegate_protocols::s3::S3Server;
use tidegate_replicator::repository::{Head, HeadName};
use tokio_util::sync::CancellationToken;

use super::archive::archive_config;
use super::buckets::is_served_differently;
use super::carried::carries_differently;
use super::clients::clients;
use super::disks::GatewayDisks;
use super::garbage::collect_now;
use super::heart::Heart;
use super::host::GatewayHost;
use super::keys::key_slots;
use super::moments::snapshot_info;
use super::nbd::start_disks;
use super::nfs::start_nfs;
use super::overview::{Overview, head_info, timestamp};
use super::policies::start_policies;
use super::recovery::Recovery;
use super::reload::waiting_for_restart;
use super::s3::{bodies_bytes, start_s3};
use super::scrub::{run_scrub, scrub_config, start_scrub};
use super::simulation::simulate_policy;
use super::sources::ApplianceSources;
use super::warm::warm_share;
use super::{
    AssemblyError, OpenAppliance, bucket_share, carrying, collect_config, lifecycle, lock_config, moments,
    open_with_stores, sender, set_objects, share_config,
};
use crate::alarm::Keeper;
use crate::appliance::{Appliance, ShareConfig, SnapshotEntry};
use crate::bandwidth::Links;
use crate::clock::SystemClock;
use crate::control::{
    ChangeSettings, ClientInfo, CloneReport, CloneRequest, CollectionReport, Control, ControlError, DiffPage,
    DiffRequest, Disks, ErrorKind, FileData, FileRequest, FilesPage, FilesRequest, HandoverRequest, HeadInfo,
    JobHandle, KeySlot, LifecycleReport, LifecycleRequest, LimitRequest, LinkStatus, Moment, PolicyDetails,
    PolicyRun, PolicyRunRequest, PolicySimulation, PolicySimulationRequest, PromoteReport, PromoteRequest,
    RecoveryPlan, RecoveryRequest, RestoreReport, RestoreRequest, RollbackReport, RollbackRequest,
    ScrubStatus, SnapshotInfo, SnapshotRequest, SourceDetails, SourceRun, SourceRunRequest, SourceStatus,
    Start, Status, Unit, WarmDone, WarmRequest,
};
use crate::files::{Groups, SystemGroups};
use crate::history;
use crate::objects::Objects;
use crate::policy::{Engine, Plan};
use crate::settings::{Bucket, Settings};

/// Brings a gateway to life.
#[derive(Clone, Copy, Debug, Default)]
pub struct StartRunning;

#[async_trait]
impl Start for StartRunning {
    async fn start(&self, settings: Arc<Settings>) -> Result<Arc<dyn Control>, ControlError> {
        Ok(Arc::new(Running::start(settings).await?))
    }
}

/// See the head of this module.
pub struct Running {
    appliance: Arc<Appliance>,
    objects: Arc<Objects>,
    host: Arc<GatewayHost>,
    server: Mutex<Option<NfsServer>>,
    s3: Mutex<Option<S3Server>>,
    nbd: Mutex<Option<NbdServer>>,
    disks: Arc<GatewayDisks>,
    policies: Arc<Engine>,
    overview: Arc<Overview>,
    sources: Arc<ApplianceSources>,
    heart: Arc<Heart>,
    /// Ends what goes on by itself.
    stop: CancellationToken,
    /// Whether a promotion is under way that does not wait for the lead.
    pub(super) lead_is_lost: AtomicBool,
}

/// Serves a share. One that was shredded is served no more, and keeps no other from being served.
async fn serve(appliance: &Arc<Appliance>, config: ShareConfig) -> Result<(), AssemblyError> {
    let name = config.name.clone();
    match appliance.serve(config).await {
        Err(_) if appliance.was_shredded(&name).await => {
            tracing::error!(
                share = name,
                "the share has been shredded, and is not served: take it out of the settings"
            );
            Ok(())
        }
        served => Ok(served.map(drop)?),
    }
}

/// Serves all shares and buckets of the settings, and begins what goes on beside them.
async fn serve_shares(appliance: &Arc<Appliance>, settings: &Settings) -> Result<(), AssemblyError> {
    for share in &settings.shares {
        serve(appliance, carrying(settings, share_config(share))).await?;
    }
    for bucket in settings.buckets.iter().filter(|bucket| bucket.share.is_none()) {
        serve(appliance, carrying(settings, bucket_share(bucket))).await?;
    }
    if settings.gateway.drill {
        return Ok(());
    }
    appliance.retire_unserved()?;
    if settings.retention.collect {
        appliance.start_collecting(collect_config(settings));
    }
    appliance.set_archive(archive_config(settings));
    appliance.start_archiving();
    appliance.start_extending_locks(lock_config(settings));
    Ok(())
}

impl Running {
    /// Opens the local state, replays the journal and serves what the settings say.
    pub async fn start(settings: Arc<Settings>) -> Result<Self, AssemblyError> {
        let OpenAppliance { appliance, ways } = open_with_stores(&settings).await?;
        serve_shares(&appliance, &settings).await?;
        let drill = settings.gateway.drill;
        let bodies = bodies_bytes(settings.gateway.memory.bytes());
        let objects = Arc::new(Objects::within(appliance.files().clone(), bodies));
        set_objects(&objects, &appliance, &settings).await?;
        let host = Arc::new(GatewayHost::new(appliance.clone()));
        objects.set_host(Some(host.clone()));
        if settings.nfs.server_groups {
            appliance.files().take_groups_from(Groups::new(Arc::new(SystemGroups)));
        }
        let (nbd, disks) = start_disks(&appliance, &settings).await?;
        let s3 = start_s3(&settings.s3, objects.clone()).await?;
        // The last that may fail: a port mapper is told of it.
        let server = start_nfs(&appliance, &settings).await?;
        let stop = CancellationToken::new();
        let links = Links::new(Arc::new(SystemClock));
        tokio::spawn(links.clone().keep(stop.clone()));
        if !drill {
            tokio::spawn(lifecycle::keep(objects.clone(), stop.clone()));
            appliance.start_honouring_for_sources();
        }
        let sources = ApplianceSources::new(appliance.clone(), settings.clone());
        let policies = start_policies(&appliance, &sources, &settings);
        let scrubber = start_scrub(&appliance, &settings);
        let alarms = Keeper::new(&settings, sender(&settings));
        let recovery = Recovery::new(appliance.clone(), links.clone(), &settings);
        let parts = (scrubber, alarms.clone(), recovery.clone());
        let overview = Overview::new(appliance.clone(), policies.clone(), settings, links, parts);
        overview.know_ways(&overview.settings(), ways);
        tokio::spawn(recovery.keep(overview.clone(), stop.clone()));
        let heart = Heart::new(overview.clone());
        // The clone of a drill protects nothing: nobody is told of it, here or in the repository.
        if !drill {
            tokio::spawn(alarms.keep(overview.clone(), stop.clone()));
            tokio::spawn(heart.clone().keep(stop.clone()));
        }
        Ok(Self {
            appliance,
            objects,
            host,
            s3: Mutex::new(s3),
            nbd: Mutex::new(nbd),
            disks,
            server: Mutex::new(Some(server)),
            policies,
            overview,
            sources,
            heart,
            stop,
            lead_is_lost: AtomicBool::new(false),
        })
    }

    /// The appliance.
    pub fn appliance(&self) -> &Arc<Appliance> {
        &self.appliance
    }

    pub(super) fn overview(&self) -> &Overview {
        &self.overview
    }

    /// Whoever keeps the settings file.
    pub(super) fn changer(&self) -> Result<Arc<dyn ChangeSettings>, ControlError> {
        let nobody = || ControlError::new(ErrorKind::Stopping, "nobody keeps the settings file now");
        self.host.changer().map_err(|_| nobody())
    }

    /// Serves the buckets of new settings. The shares that they show are served already.
    /// What a drill does is seen by nobody outside it.
    pub(super) fn refuse_in_drill(&self) -> Result<(), ControlError> {
        if !self.overview.settings().gateway.drill {
            return Ok(());
        }
        let error = ControlError::new(ErrorKind::Denied, "this gateway is the clone of a drill");
        Err(error.todo("ask the gateway that serves for good"))
    }

    async fn apply_buckets(&self, before: &Settings, after: &Settings) -> Result<(), ControlError> {
        let own_share = |bucket: &&Bucket| bucket.share.is_none();
        for bucket in before.buckets.iter().filter(own_share) {
            if after.bucket(bucket.name.as_str()).is_none_or(|bucket| bucket.share.is_some()) {
                self.appliance.withdraw_named(bucket.name.as_str()).await?;
            }
        }
        for bucket in &after.buckets {
            let carries = carries_differently(before, after, bucket.name.as_str()) && bucket.share.is_none();
            if carries || is_served_differently(before.bucket(bucket.name.as_str()), bucket) {
                self.appliance.serve(carrying(after, bucket_share(bucket))).await?;
            }
        }
        Ok(set_objects(&self.objects, &self.appliance, after).await?)
    }

    /// The head of a moment, pinned: no collection deletes what it reaches before a share that is put back to
    /// it, or cloned from it, has published that.
    async fn pinned_head_at(&self, share: &str, moment: &Moment, why: &str) -> Result<Head, ControlError> {
        // What is live has just been published; the moment of that head does not move on.
        let (name, head) = self.head_at(share, moment).await?;
        let fixed = if *moment == Moment::Live { Moment::Head(name.to_string()) } else { moment.clone() };
        self.appliance.pin(name, &head, why).await?;
        match self.head_at(share, &fixed).await? {
            (still, head) if still == name => Ok(head),
            _ => Err(ControlError::new(ErrorKind::Busy, format!("share {share:?} has moved on meanwhile"))
                .todo("name the head or snapshot that is meant, or try again")),
        }
    }

    /// The head of a moment of a share.
    pub(super) async fn head_at(
        &self,
        share: &str,
        moment: &Moment,
    ) -> Result<(HeadName, Head), ControlError> {
        moments::head_at(&self.appliance, share, moment).await
    }

    pub(super) async fn snapshot(&self, share: &str, name: &str) -> Result<SnapshotEntry, ControlError> {
        moments::snapshot(&self.appliance, share, name).await
    }
}

#[async_trait]
impl Control for Running {
    async fn status(&self) -> Status {
        self.overview.status()
    }

    async fn apply(&self, settings: Arc<Settings>) -> Result<Vec<String>, ControlError> {
        let before = self.overview.settings();
        if before.gateway.drill != settings.gateway.drill {
            let error = ControlError::new(
                ErrorKind::Invalid,
                "a running gateway does not become a drill, nor one that is none",
            );
            return Err(error.todo("put gateway.drill back"));
        }
        self.overview.recovery.check(&before, &settings).await?;
        self.apply_targets(&before, &settings).await?;
        for share in &before.shares {
            if settings.share(share.name.as_str()).is_none() {
                self.appliance.withdraw_named(share.name.as_str()).await?;
            }
        }
        for share in &settings.shares {
            let name = share.name.as_str();
            if before.share(name) != Some(share) || carries_differently(&before, &settings, name) {
                self.appliance.serve(carrying(&settings, share_config(share))).await?;
            }
        }
        self.apply_buckets(&before, &settings).await?;
        self.sources.set(settings.clone());
        self.disks.set(settings.clone());
        // Who made new keys asks for a reload.
        if let Err(error) = self.appliance.repository().learn_epochs().await {
            tracing::warn!(%error, "cannot see whether there are new keys; the next heartbeat looks again");
        }
        // So does who has made a plan.
        self.appliance.look_at_plans();
        self.policies.set(Plan::all(&settings));
        self.overview.alarms.set(&settings);
        self.overview.links.apply(&settings);
        self.overview.scrubber.set(scrub_config(&settings));
        self.appliance.set_archive(archive_config(&settings));
        let waits = waiting_for_restart(&before, &settings);
        *self.overview.settings.lock() = settings;
        Ok(waits)
    }

    fn settings_changed_by(&self, changer: Option<Arc<dyn ChangeSettings>>) {
        self.host.set_changer(changer);
    }

    async fn commit_now(&self, share: &str, job: &JobHandle) -> Result<HeadInfo, ControlError> {
        job.phase("commit", None, Unit::Items);
        let (name, head) = self.appliance.commit(share).await?;
        Ok(head_info(name, &head))
    }

    async fn heads(&self, share: &str, limit: usize) -> Result<Vec<HeadInfo>, ControlError> {
        let heads = self.appliance.heads(share, limit).await?;
        Ok(heads.iter().map(|(name, head)| head_info(*name, head)).collect())
    }

    async fn snapshots(&self, share: &str) -> Result<Vec<SnapshotInfo>, ControlError> {
        let snapshots = self.appliance.snapshots(share).await?;
        Ok(snapshots.iter().rev().map(snapshot_info).collect())
    }

    async fn snapshot_create(
        &self,
        share: &str,
        request: &SnapshotRequest,
        job: &JobHandle,
    ) -> Result<SnapshotInfo, ControlError> {
        job.phase("commit", None, Unit::Items);
        let label = request.name.clone().unwrap_or_default();
        let taken = self.appliance.snapshots(share).await?;
        if !label.is_empty() && taken.iter().any(|entry| entry.snapshot.label == label) {
            let message = format!("share {share:?} has a snapshot {label:?} already");
            return Err(ControlError::new(ErrorKind::Exists, message).todo("choose another name"));
        }
        Ok(snapshot_info(&self.appliance.create_snapshot(share, &label, request.tags.clone()).await?))
    }

    async fn collect(&self, dry_run: bool, job: &JobHandle) -> Result<CollectionReport, ControlError> {
        collect_now(&self.appliance, &self.overview.settings(), dry_run, job).await
    }

    async fn clients(&self) -> Result<Vec<ClientInfo>, ControlError> {
        let settings = self.overview.settings();
        let asked = tokio::task::spawn_blocking(move || clients(&settings)).await;
        asked.unwrap_or_else(|error| Err(ControlError::new(ErrorKind::Failed, error.to_string())))
    }

    async fn keys(&self) -> Result<Vec<KeySlot>, ControlError> {
        Ok(key_slots(self.appliance.repository()).await?)
    }

    async fn snapshot_remove(&self, share: &str, snapshot: &str) -> Result<SnapshotInfo, ControlError> {
        self.remove_to_bin(share, snapshot).await
    }

    async fn diff(&self, share: &str, request: &DiffRequest) -> Result<DiffPage, ControlError> {
        let (_, from) = self.head_at(share, &request.from).await?;
        let (_, to) = self.head_at(share, &request.to).await?;
        let (from, to) = (self.appliance.frozen_map(&from)?, self.appliance.frozen_map(&to)?);
        history::diff(&from, &to, request).await
    }

    async fn files(&self, share: &str, request: &FilesRequest) -> Result<FilesPage, ControlError> {
        self.list_files(share, request).await
    }

    async fn file(&self, share: &str, request: &FileRequest) -> Result<FileData, ControlError> {
        self.open_file(share, request).await
    }

    async fn restore(
        &self,
        share: &str,
        request: &RestoreRequest,
        job: &JobHandle,
    ) -> Result<RestoreReport, ControlError> {
        let head = if request.dry_run {
            self.head_at(share, &request.from).await?.1
        } else {
            self.pinned_head_at(share, &request.from, "a restore").await?
        };
        let from = self.appliance.frozen_map(&head)?;
        let served = self.appliance.admit_change(share)?;
        history::restore(&from, &served.namespace, request, job).await
    }

    async fn rollback(
        &self,
        share: &str,
        request: &RollbackRequest,
        job: &JobHandle,
    ) -> Result<RollbackReport, ControlError> {
        job.phase("commit", None, Unit::Items);
        let head = self.pinned_head_at(share, &request.to, "a rollback").await?;
        drop(self.appliance.admit_change(share)?);
        let before = self.appliance.roll_back(share, &head).await?;
        Ok(RollbackReport { before: snapshot_info(&before), frozen: timestamp(head.frozen_at) })
    }

    async fn handover(
        &self,
        share: &str,
        request: &HandoverRequest,
        job: &JobHandle,
    ) -> Result<HeadInfo, ControlError> {
        job.phase("commit", None, Unit::Items);
        let (name, head) = if request.take_back {
            self.appliance.take_back(share).await?
        } else {
            self.appliance.hand_over(share).await?
        };
        Ok(head_info(name, &head))
    }

    async fn clone_share(
        &self,
        share: &str,
        request: &CloneRequest,
        job: &JobHandle,
    ) -> Result<CloneReport, ControlError> {
        job.phase("clone", None, Unit::Items);
        let head = self.pinned_head_at(share, &request.from, "a clone").await?;
        let id = self.appliance.clone_share(&head, &request.name).await?;
        Ok(CloneReport { name: request.name.clone(), id: id.to_string(), frozen: timestamp(head.frozen_at) })
    }

    async fn lifecycle(
        &self,
        bucket: &str,
        request: &LifecycleRequest,
        job: &JobHandle,
    ) -> Result<LifecycleReport, ControlError> {
        job.phase("look at objects", None, Unit::Items);
        self.objects.carry_out_lifecycle(bucket, request.dry_run, job).await.map_err(|error| {
            let kind = match error {
                ObjectError::NoSuchBucket => ErrorKind::NotFound,
                _ if job.is_cancelled() => ErrorKind::Cancelled,
                ObjectError::SlowDown => ErrorKind::Busy,
                _ => ErrorKind::Failed,
            };
            ControlError::new(kind, format!("lifecycle of bucket {bucket:?}: {error}"))
        })
    }

    async fn target_promote(
        &self,
        target: &str,
        request: &PromoteRequest,
        job: &JobHandle,
    ) -> Result<PromoteReport, ControlError> {
        self.refuse_in_drill()?;
        let settings = self.overview.settings();
        self.promote(&settings, target, request, job).await
    }

    async fn recovery(&self, request: &RecoveryRequest) -> Result<RecoveryPlan, ControlError> {
        let settings = self.overview.settings();
        if request.measure {
            self.overview.recovery.measure(&settings).await?;
        }
        self.overview.recovery.plan(&settings, request.share.as_deref()).await
    }

    async fn warm(
        &self,
        share: &str,
        request: WarmRequest,
        job: &JobHandle,
    ) -> Result<WarmDone, ControlError> {
        warm_share(&self.appliance, share, request, job).await
    }

    async fn scrub(&self) -> ScrubStatus {
        self.overview.scrubber.status()
    }

    async fn scrub_run(&self, job: &JobHandle) -> Result<ScrubStatus, ControlError> {
        run_scrub(&self.overview.scrubber, job).await
    }

    async fn target_limit(&self, target: &str, request: &LimitRequest) -> Result<LinkStatus, ControlError> {
        self.overview.links.limit(target, request)
    }

    async fn policy(&self, policy: &str) -> Result<PolicyDetails, ControlError> {
        self.policies.details(policy).await
    }

    async fn policy_run(
        &self,
        policy: &str,
        request: &PolicyRunRequest,
        job: &JobHandle,
    ) -> Result<PolicyRun, ControlError> {
        self.refuse_in_drill()?;
        self.policies.run_now(policy, request, job).await
    }

    async fn policy_simulate(
        &self,
        policy: &str,
        request: &PolicySimulationRequest,
    ) -> Result<PolicySimulation, ControlError> {
        simulate_policy(&self.overview.settings(), policy, request).await
    }

    async fn sources(&self) -> Vec<SourceStatus> {
        self.sources.statuses()
    }

    async fn source(&self, source: &str) -> Result<SourceDetails, ControlError> {
        self.sources.details(source).await
    }

    async fn source_run(
        &self,
        source: &str,
        request: &SourceRunRequest,
        job: &JobHandle,
    ) -> Result<SourceRun, ControlError> {
        self.refuse_in_drill()?;
        Ok(self.sources.run(source, request, None, job).await?.1)
    }

    fn disks(&self) -> Result<Arc<dyn Disks>, ControlError> {
        Ok(self.disks.clone())
    }

    async fn ready(&self) -> Result<(), ControlError> {
        Ok(self.appliance.health()?)
    }

    async fn failure(&self) -> ControlError {
        self.appliance.failure().await.into()
    }

    async fn stop(&self) -> Result<(), ControlError> {
        self.stop.cancel();
        self.disks.close();
        let server = self.server.lock().take();
        let s3 = self.s3.lock().take();
        let nbd = self.nbd.lock().take();
        let nfs = async {
            if let Some(server) = server {
                server.stop().await;
            }
        };
        let objects = async {
            if let Some(s3) = s3 {
                s3.stop().await;
            }
        };
        let blocks = async {
            if let Some(nbd) = nbd {
                nbd.stop().await;
            }
        };
        tokio::join!(nfs, objects, blocks, self.policies.stop());
        self.host.set_changer(None);
        self.appliance.close().await?;
        if !self.overview.settings().gateway.drill {
            self.heart.stop().await;
        }
        Ok(())
    }
}

//! The table of routes: every call of the API, what it does, what it is about, what it takes and answers.
//!
//! There is no other list. The router is built from it, the door goes by it, and so do the OpenAPI document and the test
//! that makes every call with every role.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};

use super::door::{Gate, pass};
use super::error::ApiError;
use super::row::{Answered, Effect, Reach, Row, Value};
use super::{
    Admin, Applied, JobInfo, audit, bin, branches, disks, files, health, openapi, policies, recovery,
    removal, routes, runbooks, scrub, session, sources, targets, tokens,
};
use crate::audit::Page;
use crate::console;
use crate::control::{
    Alarm, BinEntry, BinRestoreRequest, BranchApplyReport, BranchApplyRequest, BranchDiffPage,
    BranchDiffRequest, BranchInfo, BroughtBack, ClientInfo, CloneReport, CollectionReport, ControlError,
    DiffPage, DiffRequest, ErrorKind, FailbackPlan, FileRequest, FilesPage, FilesRequest, HandoverRequest,
    HeadInfo, KeySlot, LifecycleReport, LifecycleRequest, LimitRequest, LinkStatus, MachineStartRequest,
    MachineStatus, MachineStopRequest, PolicyDetails, PolicyRun, PolicyRunRequest, PolicySimulation,
    PolicySimulationRequest, PolicyStatus, PromoteReport, PromoteRequest, RecoveryPlan, RecoveryRequest,
    RejoinReport, RejoinRequest, ResizeRequest, RestoreReport, RestoreRequest, RollbackReport,
    RollbackRequest, ScrubStatus, ShareStatus, SnapshotInfo, SnapshotRequest, SourceDetails, SourceRun,
    SourceRunRequest, SourceStatus, Status, TargetStatus, TemporaryRequest, VolumeStatus, WarmDone,
    WarmRequest,
};
use crate::runbook::Report;
use crate::settings::{AccessKey, AccessKeyChange, Bucket, Share, Target, Token, Volume};
use crate::volumes::BootOrder;

use Effect::{Administers, Audits, Begins, Browses, Changes, Destroys, Own, Reads, Takes};
use Method as M;
use Reach::{Job, Listed, Whole};

/// All rows.
pub(super) static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let parts = [
        gateway(),
        access(),
        shares(),
        history(),
        binning(),
        branching(),
        buckets(),
        stores(),
        policed(),
        prepared(),
        machines(),
    ];
    parts.into_iter().flatten().collect()
});

/// The routes of the table, each behind its door, and what stands beside them.
pub(super) fn router(admin: &Arc<Admin>) -> Router {
    let mut api = Router::new();
    for row in TABLE.iter() {
        let gate = Gate { admin: admin.clone(), row };
        api = api.route(row.path, (row.handler)().route_layer(from_fn_with_state(gate, pass)));
    }
    let api = api.with_state(admin.clone()).layer(from_fn(console::guard));
    Router::new()
        .nest("/api/v1", api)
        .merge(console::routes())
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
}

async fn no_such_route() -> ApiError {
    ApiError(ControlError::new(ErrorKind::NotFound, "there is no such route in this version of the API"))
}

async fn no_such_method() -> (axum::http::StatusCode, ApiError) {
    let error = ControlError::new(ErrorKind::Invalid, "this route is not called with that method");
    (axum::http::StatusCode::METHOD_NOT_ALLOWED, ApiError(error))
}

#[rustfmt::skip]
fn gateway() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/status"), (Reads, Listed), "How everything is.", || get(routes::status)).tells::<Status>(),
        Row::new((M::GET, "/alarms"), (Reads, Listed), "What is wrong now, the most urgent first.", || get(routes::alarms))
            .tells::<Vec<Alarm>>(),
        Row::new((M::GET, "/metrics"), (Reads, Whole), "The metrics, in the text format of Prometheus.", || get(health::metrics))
            .hands(Answered::Text),
        Row::new((M::GET, "/openapi.json"), (Reads, Listed), "This document.", || get(openapi::show))
            .tells::<serde_json::Value>(),
        Row::new((M::POST, "/settings/reload"), (Administers, Whole), "Loads the settings file again.", || post(routes::reload))
            .tells::<Applied>(),
        Row::new((M::GET, "/jobs"), (Reads, Listed), "Jobs that run, and those that ended last, the newest first.", || get(routes::jobs))
            .tells::<Vec<JobInfo>>(),
        Row::new((M::GET, "/jobs/{job}"), (Reads, Job), "A job, once it has ended or the time is over.", || get(routes::job))
            .asks::<routes::JobQuery>().tells::<JobInfo>(),
        Row::new((M::POST, "/jobs/{job}/cancel"), (Changes, Job), "Asks a job to stop.", || post(routes::job_cancel))
            .tells::<JobInfo>(),
    ]
}

#[rustfmt::skip]
fn access() -> Vec<Row> {
    vec![
        Row::new((M::POST, "/session"), (Begins, Listed), "Begins a session with a token; the answer sets its cookie.", || post(session::begin))
            .takes::<session::Login>().tells::<session::Whoami>().in_secret(),
        Row::new((M::GET, "/session"), (Reads, Listed), "Who calls, and what they may do.", || get(session::show))
            .tells::<session::Whoami>(),
        Row::new((M::DELETE, "/session"), (Own, Listed), "Ends the session.", || delete(session::end)).tells::<session::Done>(),
        Row::new((M::GET, "/audit"), (Audits, Whole), "The audit log, the newest first.", || get(audit::page))
            .asks::<audit::AuditRequest>().tells::<Page>(),
        Row::new((M::GET, "/tokens"), (Administers, Whole), "Who may use the API on the network.", || get(tokens::list))
            .tells::<Vec<tokens::TokenInfo>>(),
        Row::new((M::POST, "/tokens"), (Administers, Whole), "Adds a token, by its hash.", || post(tokens::add))
            .takes_table::<Token>().makes::<Applied>(),
        Row::new((M::DELETE, "/tokens/{token}"), (Destroys, Whole), "Takes a token away; its sessions end.", || delete(tokens::remove))
            .asks::<removal::DryRun>().tells::<removal::Removal>(),
        Row::new((M::POST, "/access-keys"), (Administers, Whole), "Adds an access key of S3 clients.", || post(routes::access_key_add))
            .takes_table::<AccessKey>().makes::<Applied>(),
        Row::new((M::POST, "/access-keys/{id}"), (Administers, Whole), "Changes what an access key may do; what is not said stays, its secret too.", || post(routes::access_key_change))
            .takes::<AccessKeyChange>().tells::<Applied>(),
        Row::new((M::DELETE, "/access-keys/{id}"), (Destroys, Whole), "Takes an access key away.", || delete(routes::access_key_remove))
            .asks::<removal::DryRun>().tells::<removal::Removal>(),
    ]
}

#[rustfmt::skip]
fn shares() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/shares"), (Reads, Listed), "All shares.", || get(routes::shares)).tells::<Vec<ShareStatus>>(),
        Row::new((M::POST, "/shares"), (Administers, Whole), "Adds a share.", || post(routes::share_add))
            .takes_table::<Share>().makes::<Applied>(),
        Row::new((M::GET, "/shares/{share}"), (Reads, Reach::Share), "A share.", || get(routes::share)).tells::<ShareStatus>(),
        Row::new((M::DELETE, "/shares/{share}"), (Destroys, Reach::Share), "Serves a share no more; the repository keeps its data, and the bin lists it.", || delete(routes::share_remove))
            .asks::<removal::DryRun>().tells::<removal::Removal>(),
        Row::new((M::GET, "/shares/{share}/heads"), (Reads, Reach::Share), "Published heads, the newest first.", || get(routes::heads))
            .asks::<routes::HeadsQuery>().tells::<Vec<HeadInfo>>(),
        Row::new((M::POST, "/shares/{share}/commit"), (Changes, Reach::Share), "Publishes everything that was acknowledged.", || post(routes::commit))
            .starts::<HeadInfo>(),
        Row::new((M::POST, "/shares/{share}/handover"), (Administers, Reach::Share), "Gives a share to another gateway, or takes that back.", || post(routes::handover))
            .takes::<HandoverRequest>().starts::<HeadInfo>(),
        Row::new((M::POST, "/shares/{share}/clone"), (Administers, Whole), "Makes a share over a moment of another one.", || post(routes::clone))
            .takes::<routes::CloneBody>().starts::<CloneReport>(),
        Row::new((M::POST, "/shares/{share}/warm"), (Changes, Reach::Share), "Brings a share here before it is asked for.", || post(recovery::warm))
            .takes::<WarmRequest>().starts::<WarmDone>(),
        Row::new((M::GET, "/recovery"), (Reads, Listed), "How long recovery would take.", || get(recovery::plan))
            .asks::<RecoveryRequest>().tells::<RecoveryPlan>(),
    ]
}

#[rustfmt::skip]
fn history() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/shares/{share}/snapshots"), (Reads, Reach::Share), "Retained snapshots, the newest first.", || get(routes::snapshots))
            .tells::<Vec<SnapshotInfo>>(),
        Row::new((M::POST, "/shares/{share}/snapshots"), (Changes, Reach::Share), "Takes a snapshot.", || post(routes::snapshot_create))
            .takes::<SnapshotRequest>().starts::<SnapshotInfo>(),
        Row::new((M::DELETE, "/shares/{share}/snapshots/{snapshot}"), (Destroys, Reach::Share), "Puts a snapshot into the bin; where there is none, retains it no more.", || delete(routes::snapshot_remove))
            .asks::<removal::DryRun>().tells::<SnapshotInfo>(),
        Row::new((M::POST, "/shares/{share}/diff"), (Browses, Reach::Share), "What differs between two moments, page by page.", || post(routes::diff))
            .takes::<DiffRequest>().tells::<DiffPage>(),
        Row::new((M::GET, "/shares/{share}/files"), (Browses, Reach::Share), "A page of a directory as it was at a moment.", || get(files::list))
            .asks::<FilesRequest>().tells::<FilesPage>(),
        Row::new((M::GET, "/shares/{share}/file"), (Takes, Reach::Share), "The bytes of a file as it was at a moment.", || get(files::read))
            .asks::<FileRequest>().hands(Answered::Bytes),
        Row::new((M::POST, "/shares/{share}/restore"), (Changes, Reach::Share), "Puts a path back to what it was; with remove_newer it destroys, which needs to administer.", || post(routes::restore))
            .takes::<RestoreRequest>().destroys_with("remove_newer", Value::Yes).starts::<RestoreReport>(),
        Row::new((M::POST, "/shares/{share}/rollback"), (Destroys, Reach::Share), "Puts a whole share back to what it was; a dry run answers 200 and what would change.", || post(routes::rollback))
            .asks::<removal::DryRun>().takes::<RollbackRequest>().starts::<RollbackReport>(),
    ]
}

#[rustfmt::skip]
fn binning() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/bin"), (Reads, Listed), "What was removed and can still be brought back.", || get(bin::list))
            .tells::<Vec<BinEntry>>(),
        Row::new((M::DELETE, "/bin"), (Destroys, Whole), "Ends every snapshot in the bin before its time.", || delete(bin::empty))
            .asks::<removal::DryRun>().tells::<Vec<BinEntry>>(),
        Row::new((M::POST, "/bin/{share}/restore"), (Administers, Whole), "Serves a share again that was taken out of the settings.", || post(bin::restore_share))
            .tells::<BroughtBack>(),
        Row::new((M::GET, "/shares/{share}/bin"), (Reads, Reach::Share), "Snapshots of a share in the bin.", || get(bin::list_of))
            .tells::<Vec<BinEntry>>(),
        Row::new((M::DELETE, "/shares/{share}/bin"), (Destroys, Reach::Share), "Ends them before their time.", || delete(bin::empty_of))
            .asks::<removal::DryRun>().tells::<Vec<BinEntry>>(),
        Row::new((M::POST, "/shares/{share}/bin/{snapshot}/restore"), (Changes, Reach::Share), "Brings a snapshot back out of the bin.", || post(bin::restore))
            .takes::<BinRestoreRequest>().tells::<SnapshotInfo>(),
        Row::new((M::DELETE, "/shares/{share}/bin/{snapshot}"), (Destroys, Reach::Share), "Ends a snapshot in the bin before its time.", || delete(bin::end))
            .asks::<removal::DryRun>().tells::<Vec<BinEntry>>(),
    ]
}

#[rustfmt::skip]
fn branching() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/shares/{share}/branches"), (Reads, Reach::Share), "What the line of a share does not go on from, the oldest first.", || get(branches::list))
            .tells::<Vec<BranchInfo>>(),
        Row::new((M::DELETE, "/shares/{share}/branches/{branch}"), (Destroys, Reach::Share), "Retains a branch no more.", || delete(branches::remove))
            .asks::<removal::DryRun>().tells::<BranchInfo>(),
        Row::new((M::POST, "/shares/{share}/branches/{branch}/diff"), (Browses, Reach::Share), "What a branch changed, held against the share.", || post(branches::diff))
            .takes::<BranchDiffRequest>().tells::<BranchDiffPage>(),
        Row::new((M::POST, "/shares/{share}/branches/{branch}/apply"), (Changes, Reach::Share), "Brings a branch into the share; with on_conflict theirs it destroys, which needs to administer.", || post(branches::apply))
            .takes::<BranchApplyRequest>().destroys_with("on_conflict", Value::Word("theirs")).starts::<BranchApplyReport>(),
        Row::new((M::POST, "/shares/{share}/rejoin"), (Administers, Reach::Share), "Takes a share back to its line.", || post(branches::rejoin))
            .takes::<RejoinRequest>().starts::<RejoinReport>(),
        Row::new((M::GET, "/shares/{share}/failback"), (Reads, Reach::Share), "What it would take to go back to this site.", || get(branches::failback))
            .tells::<FailbackPlan>(),
    ]
}

#[rustfmt::skip]
fn buckets() -> Vec<Row> {
    vec![
        Row::new((M::POST, "/buckets"), (Administers, Whole), "Adds a bucket.", || post(routes::bucket_add))
            .takes_table::<Bucket>().makes::<Applied>(),
        Row::new((M::DELETE, "/buckets/{bucket}"), (Destroys, Reach::Bucket), "Serves a bucket no more; the repository keeps its data.", || delete(routes::bucket_remove))
            .asks::<removal::DryRun>().tells::<removal::Removal>(),
        Row::new((M::POST, "/buckets/{bucket}/lifecycle"), (Destroys, Reach::Bucket), "Carries out the lifecycle rules that are due.", || post(routes::lifecycle))
            .takes::<LifecycleRequest>().starts::<LifecycleReport>(),
    ]
}

#[rustfmt::skip]
fn stores() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/targets"), (Reads, Whole), "The stores that the repository is kept on.", || get(targets::list))
            .tells::<Vec<TargetStatus>>(),
        Row::new((M::POST, "/targets"), (Administers, Whole), "Adds a target.", || post(targets::add))
            .takes_table::<Target>().makes::<Applied>(),
        Row::new((M::DELETE, "/targets/{target}"), (Destroys, Whole), "Keeps the repository on a target no more.", || delete(targets::remove))
            .asks::<removal::DryRun>().tells::<removal::Removal>(),
        Row::new((M::POST, "/targets/{target}/promote"), (Administers, Whole), "Leads the repository from another target.", || post(targets::promote))
            .takes::<PromoteRequest>().starts::<PromoteReport>(),
        Row::new((M::POST, "/targets/{target}/limit"), (Changes, Whole), "Sets the rates of a link by hand, for a while.", || post(targets::limit))
            .takes::<LimitRequest>().tells::<LinkStatus>(),
        Row::new((M::POST, "/gc"), (Destroys, Whole), "Deletes what nothing retained reaches any more; a dry run only counts it.", || post(routes::collect))
            .asks::<removal::DryRun>().starts::<CollectionReport>(),
        Row::new((M::GET, "/scrub"), (Reads, Whole), "How far the scrub is, what it healed, and what is lost.", || get(scrub::status))
            .tells::<ScrubStatus>(),
        Row::new((M::POST, "/scrub/run"), (Changes, Whole), "Reads and verifies every pack now.", || post(scrub::run))
            .starts::<ScrubStatus>(),
    ]
}

#[rustfmt::skip]
fn policed() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/policies"), (Reads, Listed), "All policies.", || get(policies::list)).tells::<Vec<PolicyStatus>>(),
        Row::new((M::GET, "/policies/{policy}"), (Reads, Whole), "A policy, and what it keeps.", || get(policies::show))
            .tells::<PolicyDetails>(),
        Row::new((M::POST, "/policies/{policy}/run"), (Changes, Whole), "Runs a policy now.", || post(policies::run))
            .takes::<PolicyRunRequest>().starts::<PolicyRun>(),
        Row::new((M::GET, "/policies/{policy}/simulation"), (Reads, Whole), "What a policy would keep.", || get(policies::simulate))
            .asks::<PolicySimulationRequest>().tells::<PolicySimulation>(),
        Row::new((M::GET, "/sources"), (Reads, Whole), "What is saved besides shares.", || get(sources::list))
            .tells::<Vec<SourceStatus>>(),
        Row::new((M::GET, "/sources/{source}"), (Reads, Whole), "A source, and its snapshots.", || get(sources::show))
            .tells::<SourceDetails>(),
        Row::new((M::POST, "/sources/{source}/run"), (Changes, Whole), "Saves a source now.", || post(sources::run))
            .takes::<SourceRunRequest>().starts::<SourceRun>(),
    ]
}

#[rustfmt::skip]
fn prepared() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/runbooks"), (Reads, Listed), "The runbooks of the settings.", || get(runbooks::list))
            .tells::<Vec<runbooks::RunbookInfo>>(),
        Row::new((M::GET, "/runbooks/{runbook}/runs"), (Reads, Whole), "Runs of a runbook, the newest first.", || get(runbooks::runs))
            .tells::<Vec<Report>>(),
        Row::new((M::POST, "/runbooks/{runbook}/runs"), (Changes, Whole), "Practises a runbook on clones, and takes everything away again.", || post(runbooks::begin))
            .takes::<runbooks::RunRequest>().starts::<Report>(),
        Row::new((M::GET, "/runbooks/{runbook}/runs/{run}"), (Reads, Whole), "A run, step by step.", || get(runbooks::run))
            .tells::<Report>(),
        Row::new((M::GET, "/clients"), (Reads, Whole), "Who is connected now.", || get(routes::clients)).tells::<Vec<ClientInfo>>(),
        Row::new((M::GET, "/keys"), (Reads, Whole), "What opens the repository, and in which state it is; never a key.", || get(routes::keys))
            .tells::<Vec<KeySlot>>(),
    ]
}

#[rustfmt::skip]
fn machines() -> Vec<Row> {
    vec![
        Row::new((M::GET, "/volumes"), (Reads, Listed), "All volumes.", || get(disks::volumes)).tells::<Vec<VolumeStatus>>(),
        Row::new((M::POST, "/volumes"), (Administers, Whole), "Adds a volume.", || post(disks::add))
            .takes_table::<Volume>().makes::<VolumeStatus>(),
        Row::new((M::DELETE, "/volumes/{volume}"), (Destroys, Reach::Volume), "Serves a volume no more; its file stays.", || delete(disks::remove))
            .asks::<removal::DryRun>().tells::<removal::Removal>(),
        Row::new((M::POST, "/volumes/{volume}/resize"), (Destroys, Reach::Volume), "Makes a volume longer or shorter.", || post(disks::resize))
            .takes::<ResizeRequest>().tells::<VolumeStatus>(),
        Row::new((M::POST, "/volumes/{volume}/show"), (Changes, Reach::Volume), "Serves a volume once more, as it was.", || post(disks::show))
            .takes::<TemporaryRequest>().tells::<VolumeStatus>(),
        Row::new((M::POST, "/volumes/{volume}/hide"), (Changes, Whole), "Ends that.", || post(disks::hide)),
        Row::new((M::POST, "/volumes/{volume}/record"), (Changes, Reach::Volume), "Notes what is read of a volume.", || post(disks::record)),
        Row::new((M::POST, "/volumes/{volume}/record-end"), (Changes, Reach::Volume), "Ends that, and keeps it.", || post(disks::record_end))
            .tells::<BootOrder>(),
        Row::new((M::GET, "/volumes/{volume}/boot-order"), (Reads, Reach::Volume), "What is fetched first of a volume.", || get(disks::boot_order))
            .tells::<BootOrder>(),
        Row::new((M::POST, "/volumes/{volume}/boot-order"), (Changes, Reach::Volume), "Sets that.", || post(disks::boot_order_set))
            .takes::<BootOrder>(),
        Row::new((M::DELETE, "/volumes/{volume}/boot-order"), (Destroys, Reach::Volume), "Forgets that.", || delete(disks::boot_order_remove)),
        Row::new((M::GET, "/machines"), (Reads, Whole), "All machines.", || get(disks::machines)).tells::<Vec<MachineStatus>>(),
        Row::new((M::POST, "/machines/{machine}/start"), (Changes, Whole), "Starts a machine.", || post(disks::start))
            .takes::<MachineStartRequest>().tells::<MachineStatus>(),
        Row::new((M::POST, "/machines/{machine}/stop"), (Changes, Whole), "Stops a machine; at_once may destroy, which needs to administer.", || post(disks::stop))
            .takes::<MachineStopRequest>().destroys_with("at_once", Value::Yes).tells::<MachineStatus>(),
    ]
}

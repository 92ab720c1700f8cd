//! What a caller with a token of single shares sees of answers that are about more.

use super::Admin;
use super::access::{Caller, Right};
use super::jobs::JobInfo;
use crate::control::{
    Alarm, BinEntry, PolicyStatus, RecoveryPlan, ShareStatus, Status, TargetStatus, VolumeStatus,
};

/// Kinds of jobs that are about a share.
const KINDS_OF_SHARES: [&str; 9] = [
    "branch-apply",
    "clone",
    "commit",
    "handover",
    "rejoin",
    "restore",
    "rollback",
    "snapshot-create",
    "warm",
];
/// Kinds of jobs that are about a bucket.
const KINDS_OF_BUCKETS: [&str; 1] = ["lifecycle"];

impl Caller {
    /// Of everything.
    pub(super) fn within_status(&self, mut status: Status) -> Status {
        if self.shares.is_none() {
            return status;
        }
        status.shares = self.within_shares(status.shares);
        status.policies = self.within_policies(status.policies);
        status.alarms = self.within_alarms(status.alarms);
        status.targets = status.targets.into_iter().map(|target| self.within_target(target)).collect();
        // What is wrong with the repository as a whole is for those who are for the gateway as a whole.
        (status.lost_parts, status.unreadable_keys) = (0, Vec::new());
        status.scrub.failure = None;
        if let Some(collection) = &mut status.collection {
            collection.error = None;
        }
        status
    }

    /// A target without its address, and without what names other shares.
    fn within_target(&self, mut target: TargetStatus) -> TargetStatus {
        target.heads.retain(|head| self.reaches(&head.share));
        let address = "(not for this token)".to_owned();
        TargetStatus { address, obstacles: Vec::new(), last_failure: None, ..target }
    }

    pub(super) fn within_shares(&self, mut shares: Vec<ShareStatus>) -> Vec<ShareStatus> {
        shares.retain(|share| self.reaches(&share.name));
        shares
    }

    pub(super) fn within_bin(&self, mut entries: Vec<BinEntry>) -> Vec<BinEntry> {
        entries.retain(|entry| self.reaches(&entry.share));
        entries
    }

    /// Policies that are about nothing else.
    pub(super) fn within_policies(&self, mut policies: Vec<PolicyStatus>) -> Vec<PolicyStatus> {
        if self.shares.is_some() {
            policies.retain(|policy| self.reaches_all(&policy.shares));
        }
        policies
    }

    /// Alarms about their shares.
    pub(super) fn within_alarms(&self, mut alarms: Vec<Alarm>) -> Vec<Alarm> {
        if self.shares.is_some() {
            alarms.retain(|alarm| {
                alarm.subject.strip_prefix("share:").is_some_and(|share| self.reaches(share))
            });
        }
        alarms
    }

    pub(super) fn within_jobs(&self, mut jobs: Vec<JobInfo>) -> Vec<JobInfo> {
        if self.shares.is_some() {
            jobs.retain(|job| job.within.as_ref().is_some_and(|share| self.reaches(share)));
        }
        jobs.into_iter().map(|job| self.within_job(job)).collect()
    }

    /// Results and errors of jobs may name files: whoever may not look at these sees only how the job ended.
    pub(super) fn within_job(&self, mut job: JobInfo) -> JobInfo {
        if !self.may(Right::Browse) {
            job.result = None;
            if let Some(error) = &mut job.error {
                (error.message, error.todo) = ("why is not for this role".to_owned(), None);
            }
        }
        job
    }

    /// Whether these are shares that they may call for; no shares at all is the gateway as a whole.
    pub(super) fn reaches_all(&self, shares: &[String]) -> bool {
        self.shares.is_none() || (!shares.is_empty() && shares.iter().all(|share| self.reaches(share)))
    }

    pub(super) fn within_recovery(&self, mut plan: RecoveryPlan) -> RecoveryPlan {
        plan.shares.retain(|share| self.reaches(&share.share));
        plan
    }

    pub(super) fn within_volumes(&self, mut volumes: Vec<VolumeStatus>) -> Vec<VolumeStatus> {
        volumes.retain(|volume| self.reaches(&volume.share));
        volumes
    }
}

impl Admin {
    /// What a token must be for to see a job about that.
    pub(super) fn within_of(&self, kind: &str, about: &str) -> Option<String> {
        if KINDS_OF_BUCKETS.contains(&kind) {
            return Some(self.share_of_bucket(about));
        }
        KINDS_OF_SHARES.contains(&kind).then(|| about.to_owned())
    }
}

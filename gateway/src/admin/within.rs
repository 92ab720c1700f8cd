//! What a caller with a token of single shares sees of answers that are about more.

use super::access::Caller;
use super::jobs::JobInfo;
use crate::control::{Alarm, PolicyStatus, RecoveryPlan, ShareStatus, Status, TargetStatus, VolumeStatus};

/// Kinds of jobs whose `share` is a share or bucket.
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

impl Caller {
    /// Of everything.
    pub(super) fn within_status(&self, mut status: Status) -> Status {
        if self.shares.is_none() {
            return status;
        }
        status.shares = self.within_shares(status.shares);
        status.policies = self.within_policies(status.policies);
        status.alarms = self.within_alarms(status.alarms);
        status.targets = status.targets.into_iter().map(without_names).collect();
        status
    }

    pub(super) fn within_shares(&self, mut shares: Vec<ShareStatus>) -> Vec<ShareStatus> {
        shares.retain(|share| self.reaches(&share.name));
        shares
    }

    /// Policies that are about nothing else.
    pub(super) fn within_policies(&self, mut policies: Vec<PolicyStatus>) -> Vec<PolicyStatus> {
        if self.shares.is_some() {
            policies.retain(|policy| {
                !policy.shares.is_empty() && policy.shares.iter().all(|share| self.reaches(share))
            });
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
            jobs.retain(|job| share_of(job).is_some_and(|share| self.reaches(share)));
        }
        jobs
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

/// The share that a job is about, if it is about one.
pub(super) fn share_of(job: &JobInfo) -> Option<&str> {
    KINDS_OF_SHARES.contains(&job.kind.as_str()).then_some(job.share.as_str())
}

/// A target without what names other shares.
fn without_names(target: TargetStatus) -> TargetStatus {
    TargetStatus { obstacles: Vec::new(), last_failure: None, ..target }
}

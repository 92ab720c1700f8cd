//! The branches of the honest gateway in memory: one a share, called `docs@away`.

use async_trait::async_trait;
use jiff::Timestamp;

use super::fake::FakeGateway;
use crate::control::{
    Against, BranchApplyReport, BranchApplyRequest, BranchChange, BranchDiffPage, BranchDiffRequest,
    BranchInfo, Branching, Change, ChangeKind, ControlError, ErrorKind, FailbackPlan, JobHandle, OnConflict,
    RejoinReport, RejoinRequest,
};

const NAME: &str = "docs@away";

fn find(branch: &str) -> Result<(), ControlError> {
    let missing = || ControlError::new(ErrorKind::NotFound, format!("there is no branch {branch:?}"));
    (branch == NAME).then_some(()).ok_or_else(missing)
}

fn info() -> BranchInfo {
    BranchInfo {
        name: NAME.to_owned(),
        id: "0b".repeat(8),
        site: "away".to_owned(),
        cause: "superseded".to_owned(),
        made: Timestamp::UNIX_EPOCH,
        frozen: Timestamp::UNIX_EPOCH,
        ancestor: None,
        files: 3,
        bytes: 5,
        lacks: 0,
    }
}

#[async_trait]
impl Branching for FakeGateway {
    async fn branches(&self, share: &str) -> Result<Vec<BranchInfo>, ControlError> {
        self.known(share)?;
        Ok(vec![info()])
    }

    async fn branch_diff(
        &self,
        share: &str,
        branch: &str,
        request: &BranchDiffRequest,
    ) -> Result<BranchDiffPage, ControlError> {
        self.known(share)?;
        find(branch)?;
        if request.after.is_some() {
            return Ok(BranchDiffPage::default());
        }
        let path: crate::control::FilePath = "/a".parse().expect("a path");
        let change =
            Change { path: path.clone(), kind: ChangeKind::Modified, bytes_before: None, bytes_after: None };
        let change = BranchChange { change, against: Against::Conflict, here: Some(ChangeKind::Removed) };
        Ok(BranchDiffPage { changes: vec![change], next: Some(path) })
    }

    async fn branch_apply(
        &self,
        share: &str,
        branch: &str,
        request: &BranchApplyRequest,
        _job: &JobHandle,
    ) -> Result<BranchApplyReport, ControlError> {
        self.known(share)?;
        find(branch)?;
        if request.on_conflict == OnConflict::Refuse && !request.dry_run {
            return Err(ControlError::new(ErrorKind::Exists, "one path was changed on both sides"));
        }
        Ok(BranchApplyReport { files: 1, conflicts: 1, ..BranchApplyReport::default() })
    }

    async fn branch_remove(&self, share: &str, branch: &str) -> Result<BranchInfo, ControlError> {
        self.known(share)?;
        find(branch)?;
        Ok(info())
    }

    async fn rejoin(
        &self,
        share: &str,
        request: &RejoinRequest,
        _job: &JobHandle,
    ) -> Result<RejoinReport, ControlError> {
        self.known(share)?;
        Ok(RejoinReport {
            id: "0a".repeat(16),
            head: "head-1".to_owned(),
            follows: !request.lead,
            branch: Some(NAME.to_owned()),
            handles: "handles of before are stale".to_owned(),
        })
    }

    async fn failback_plan(&self, share: &str) -> Result<FailbackPlan, ControlError> {
        self.known(share)?;
        Ok(FailbackPlan {
            share: share.to_owned(),
            here: None,
            newest: "head-1".to_owned(),
            frozen: Timestamp::UNIX_EPOCH,
            leader: Some("away".to_owned()),
            leads: false,
            handed_over: false,
            inodes: 2,
            bytes: 10,
            fetch_frames: 1,
            fetch_bytes: 7,
            fetch_packs: 1,
            here_bytes: 3,
            at_most: false,
            fetch_seconds: Some(1),
            branches: vec![NAME.to_owned()],
            changes: Vec::new(),
            steps: vec!["hand it over".to_owned()],
        })
    }
}

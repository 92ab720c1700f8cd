//! What a running gateway does about branches, and how its shares join their lines again.

use async_trait::async_trait;
use tidegate_replicator::repository::{Branch, BranchId, Head};
use tidegate_replicator::tree::Root;

use super::overview::timestamp;
use super::running::Running;
use crate::appliance::{ApplianceError, FailbackFacts, Rejoin};
use crate::control::{
    BranchApplyReport, BranchApplyRequest, BranchDiffPage, BranchDiffRequest, BranchInfo, Branching, Control,
    ControlError, DiffRequest, ErrorKind, FailbackPlan, FilePath, JobHandle, Moment, PATHS_NAMED_MAX,
    RejoinReport, RejoinRequest, Unit,
};
use crate::history::{self, Sides};
use crate::share::FrozenMap;

#[async_trait]
impl Branching for Running {
    async fn branches(&self, share: &str) -> Result<Vec<BranchInfo>, ControlError> {
        Ok(self.appliance().branches(share).await?.iter().map(branch_info).collect())
    }

    async fn branch_diff(
        &self,
        share: &str,
        branch: &str,
        request: &BranchDiffRequest,
    ) -> Result<BranchDiffPage, ControlError> {
        let found = self.appliance().branch(share, branch).await?;
        let sides = self.sides(&found).await?;
        // What clients see, where they see it from here; else what was published.
        match self.appliance().admit_change(share) {
            Ok(served) => sides.page(served.namespace.share().map(), request).await,
            Err(_) => {
                let newest = self.appliance().repository().newest_head(found.head.share.id).await;
                let newest = newest.map_err(ApplianceError::from)?;
                let missing =
                    || ControlError::new(ErrorKind::NotFound, format!("share {share:?} has no head"));
                let line = self.appliance().frozen_map(&newest.ok_or_else(missing)?.head)?;
                sides.page(&line, request).await
            }
        }
    }

    async fn branch_apply(
        &self,
        share: &str,
        branch: &str,
        request: &BranchApplyRequest,
        job: &JobHandle,
    ) -> Result<BranchApplyReport, ControlError> {
        let served = self.appliance().admit_change(share)?;
        let found = self.appliance().branch(share, branch).await?;
        if !request.dry_run {
            // Until what is applied has been published, whatever becomes of the branch.
            let name = branch_head_name(&found)?;
            self.appliance().pin(name, &found.head, "a branch that is applied").await?;
            self.appliance().branch(share, branch).await?;
        }
        let sides = self.sides(&found).await?;
        let site = if found.site.is_empty() { "fork" } else { &found.site };
        let frozen = timestamp(found.head.frozen_at).to_string();
        let minute = frozen.get(..16).unwrap_or(&frozen).replace(':', ".");
        history::apply(&sides, &served.namespace, request, &format!("{site}-{minute}"), job).await
    }

    async fn branch_remove(&self, share: &str, branch: &str) -> Result<BranchInfo, ControlError> {
        let found = self.appliance().branch(share, branch).await?;
        self.appliance().remove_branch(share, &found).await?;
        Ok(branch_info(&found))
    }

    async fn rejoin(
        &self,
        share: &str,
        request: &RejoinRequest,
        job: &JobHandle,
    ) -> Result<RejoinReport, ControlError> {
        job.phase("set aside, then join the line", None, Unit::Items);
        let how = match (request.take_over, request.lead) {
            (true, _) => Rejoin::TakeOver,
            (false, true) => Rejoin::Lead,
            (false, false) => Rejoin::Follow,
        };
        let joined = self.appliance().rejoin(share, how).await?;
        Ok(RejoinReport {
            id: joined.share.to_string(),
            head: joined.head.to_string(),
            follows: joined.follows,
            branch: joined.branch,
            handles: joined.handles.why().to_owned(),
        })
    }

    async fn failback_plan(&self, share: &str) -> Result<FailbackPlan, ControlError> {
        let facts = self.appliance().failback_facts(share).await?;
        let branches = self.appliance().branches(share).await?;
        let changes = self.changed_paths(&facts).await?;
        let settings = self.overview().settings();
        let status = self.status().await;
        let lead = status.targets.iter().find(|target| target.leads);
        let speed = lead.map_or(0, |target| target.link.down.bytes_per_second);
        let steps = steps(share, &facts, settings.share(share).is_some_and(|share| share.follow));
        let FailbackFacts { here, newest: (name, head), leader, leads, handed_over, .. } = &facts;
        Ok(FailbackPlan {
            share: share.to_owned(),
            here: here.map(|name| name.to_string()),
            newest: name.to_string(),
            frozen: timestamp(head.frozen_at),
            leader: leader.clone(),
            leads: *leads,
            handed_over: *handed_over,
            inodes: facts.inodes,
            bytes: facts.bytes,
            fetch_frames: facts.fetch_frames,
            fetch_bytes: facts.fetch_bytes,
            fetch_packs: facts.fetch_packs,
            here_bytes: facts.here_bytes,
            at_most: facts.at_most,
            fetch_seconds: match (facts.fetch_bytes, speed) {
                (0, _) => Some(0),
                (_, 0) => None,
                (bytes, speed) => Some(bytes.div_ceil(speed)),
            },
            branches: branches.into_iter().map(|branch| branch.name).collect(),
            changes,
            steps,
        })
    }
}

impl Running {
    /// The state that a branch left from, and the branch.
    async fn sides(&self, branch: &Branch) -> Result<Sides, ControlError> {
        let root = match (branch.base, branch.ancestor) {
            (Some(root), _) => root,
            (None, Some(ancestor)) => {
                let read = self.appliance().repository().read_head(branch.head.share.id, &ancestor).await;
                read.map_err(ApplianceError::from)?.root
            }
            (None, None) => Root::EMPTY,
        };
        let map = self.appliance().frozen_map(&branch.head)?;
        Sides::new(FrozenMap { root, nodes: map.nodes.clone() }, map).await
    }

    /// The first paths that differ between what is here and the newest head.
    async fn changed_paths(
        &self,
        facts: &FailbackFacts,
    ) -> Result<Vec<crate::control::Change>, ControlError> {
        let to = self.appliance().frozen_map(&facts.newest.1)?;
        if facts.base.is_empty() {
            return Ok(Vec::new());
        }
        let from = FrozenMap { root: facts.base, nodes: to.nodes.clone() };
        let request = DiffRequest {
            from: Moment::NewestHead,
            to: Moment::NewestHead,
            path: FilePath::root(),
            after: None,
            limit: PATHS_NAMED_MAX,
        };
        Ok(history::diff(&from, &to, &request).await?.changes)
    }
}

/// What is to be done, in order.
fn steps(share: &str, facts: &FailbackFacts, follows_by_settings: bool) -> Vec<String> {
    if facts.leads {
        return vec![format!("nothing: share {share} is led from here")];
    }
    let there = facts.leader.as_deref().unwrap_or("the site that leads");
    let mut steps = Vec::new();
    if facts.here.is_none() {
        steps.push(format!("here: tidegate attach {share} --read-only (so that it follows until the move)"));
    } else {
        steps.push(format!(
            "here: tidegate share rejoin {share} (follows; what is here beyond the line is a branch)"
        ));
    }
    if follows_by_settings {
        steps.push(format!("here: take `follow` of share {share} out of the settings, and reload them"));
    }
    if !facts.handed_over {
        steps.push(format!(
            "on {there}: tidegate handover {share} (clients wait from now on; nothing is lost)"
        ));
    }
    steps.push(format!("here: tidegate share rejoin {share} --lead"));
    steps.push(
        "move the address that clients mount to this site: they go on under the same handles".to_owned(),
    );
    steps.push(format!("on {there}: tidegate share rejoin {share} (it follows from then on)"));
    steps
}

fn branch_head_name(branch: &Branch) -> Result<tidegate_replicator::repository::HeadName, ControlError> {
    if let BranchId::Fork(name) = branch.id {
        return Ok(name);
    }
    let Head { epoch, sequence, .. } = branch.head;
    let name = tidegate_replicator::repository::unpublished_name(epoch, sequence);
    Ok(name.map_err(ApplianceError::from)?)
}

fn branch_info(branch: &Branch) -> BranchInfo {
    BranchInfo {
        name: branch.name.clone(),
        id: branch.id.to_string(),
        site: branch.site.clone(),
        cause: branch.cause.as_str().to_owned(),
        made: timestamp(branch.made_at),
        frozen: timestamp(branch.head.frozen_at),
        ancestor: branch.ancestor.map(|name| name.to_string()),
        files: branch.head.usage.inodes,
        bytes: branch.head.usage.bytes,
        lacks: branch.lacks,
    }
}

//! A policy of the settings, made ready to be carried out.

use super::host::Taken;
use super::keep::{Reason, Reasons, Rules};
use super::schedule::Schedule;
use crate::settings::{Policy, Settings};

/// See the head of this module.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the settings say.
    pub policy: Policy,
    /// Its shares and sources, by the names that they have in the repository.
    pub shares: Vec<String>,
    /// When it runs.
    pub schedule: Schedule,
    /// What it keeps.
    pub rules: Rules,
}

impl Plan {
    /// That of a policy of the settings.
    pub fn of(settings: &Settings, policy: &Policy) -> Self {
        let share = |name| settings.share_of_policy(name).to_owned();
        Self {
            policy: policy.clone(),
            shares: policy
                .shares
                .iter()
                .map(share)
                .chain(policy.sources.iter().map(|name| name.as_str().to_owned()))
                .collect(),
            schedule: Schedule::of(policy),
            rules: Rules::of(policy),
        }
    }

    /// Those of all policies of the settings.
    pub fn all(settings: &Settings) -> Vec<Self> {
        settings.policies.iter().map(|policy| Self::of(settings, policy)).collect()
    }

    /// Its shares and sources, as the settings name them.
    pub(super) fn names(&self) -> Vec<String> {
        let Policy { shares, sources, .. } = &self.policy;
        shares.iter().map(ToString::to_string).chain(sources.iter().map(ToString::to_string)).collect()
    }

    /// Why each of these snapshots of a share or source is kept, in their order: by the rules, and besides them the newest whole
    /// one. Of a source that cannot be read as a whole any more it is the last that has the rest.
    pub(super) fn reasons(&self, snapshots: &[&Taken]) -> Vec<Reasons> {
        let dated: Vec<_> = snapshots.iter().map(|taken| self.rules.date(taken.at, taken.pairs())).collect();
        let mut reasons = self.rules.reasons(&dated);
        let newest_of = |is_meant: fn(&Taken) -> bool| {
            let meant = (0..snapshots.len()).filter(|&place| is_meant(snapshots[place]));
            meant.max_by_key(|&place| snapshots[place].at)
        };
        if let Some(whole) = newest_of(Taken::is_whole)
            && newest_of(|_| true) != Some(whole)
        {
            reasons[whole].add(Reason::Whole);
        }
        reasons
    }

    /// The name of the policy.
    pub fn name(&self) -> &str {
        self.policy.name.as_str()
    }

    /// Whether it is the same work.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.policy == other.policy && self.shares == other.shares
    }
}

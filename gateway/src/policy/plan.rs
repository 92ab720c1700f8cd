//! A policy of the settings, made ready to be carried out.

use super::keep::Rules;
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

    /// The name of the policy.
    pub fn name(&self) -> &str {
        self.policy.name.as_str()
    }

    /// Whether it is the same work.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.policy == other.policy && self.shares == other.shares
    }
}

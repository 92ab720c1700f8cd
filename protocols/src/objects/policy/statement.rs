//! A statement of a policy, and whether it is about a request (IAM user guide, "Policy evaluation logic").

use super::Request;
use super::conditions::{Condition, names_tags};
use super::pattern::{Pattern, Text};
use super::principal::Principals;

/// What a statement does with the requests that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// Patterns of actions or resources: all that one of them stands for, or all others.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) negated: bool,
    pub(super) patterns: Vec<Pattern>,
}

/// A statement that was checked.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub(super) effect: Effect,
    /// None in the policy of an access key.
    pub(super) principals: Option<Principals>,
    pub(super) actions: Choice,
    pub(super) resources: Choice,
    pub(super) conditions: Vec<Condition>,
}

impl Statement {
    /// Whether it is about a request.
    pub(super) fn covers(&self, request: &Request<'_>) -> bool {
        self.principals.as_ref().is_none_or(|principals| principals.cover(request.access_key))
            && self.actions.cover(&Text::new(request.action, true), request, self.effect)
            && self.resources.cover(&Text::new(request.resource, false), request, self.effect)
            && self.conditions.iter().all(|condition| condition.holds(request))
    }

    /// Whether it allows something to anybody.
    pub(super) fn is_public(&self) -> bool {
        let anybody = self.principals.as_ref().is_some_and(|principals| principals.cover(None));
        self.effect == Effect::Allow && anybody && !self.conditions.iter().any(Condition::narrows)
    }

    /// Whether it asks for tags of the object that is there.
    pub(super) fn asks_for_tags(&self) -> bool {
        self.conditions.iter().any(Condition::asks_for_tags) || self.resources.patterns.iter().any(names_tags)
    }
}

impl Choice {
    /// Where a variable has no value, it stands for nothing. All others than nothing would be everything; an
    /// allowance is not meant so, a denial is taken so.
    fn cover(&self, text: &Text, request: &Request<'_>, effect: Effect) -> bool {
        let mut is_unknown = false;
        for pattern in &self.patterns {
            match pattern.matches(text, &|key| request.single(key)) {
                Some(true) => return !self.negated,
                Some(false) => {}
                None => is_unknown = true,
            }
        }
        self.negated && (!is_unknown || effect == Effect::Deny)
    }
}

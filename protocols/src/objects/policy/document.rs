//! Reading a policy (IAM user guide, "Grammar of the IAM JSON policy language").
//!
//! Everything that can be wrong is found here, before a policy is in force: elements that are not known, values of
//! the wrong kind, operators, patterns, resources of other buckets. A message says in which statement and element.

use std::collections::BTreeSet;

use super::json::Json;
use super::pattern::{Pattern, Syntax, Text};
use super::principal::Principals;
use super::statement::{Choice, Effect, Statement};
use super::{POLICY_BYTES_MAX, PolicyError, conditions, shown};

/// How names of buckets and objects begin.
const S3_ARN: &str = "arn:aws:s3:::";

/// Of what a policy is one.
#[derive(Clone, Copy)]
pub(super) enum Owner<'a> {
    /// An access key, whom all statements are about.
    Key,
    /// A bucket of that name.
    Bucket(&'a str),
}

/// Reads a policy.
pub(super) fn read(text: &str, owner: Owner<'_>) -> Result<Vec<Statement>, PolicyError> {
    let bytes = text.len();
    if bytes > POLICY_BYTES_MAX {
        let why = format!("a policy has at most {POLICY_BYTES_MAX} bytes, and this one has {bytes}");
        return Err(PolicyError(why));
    }
    statements(text, owner).map_err(PolicyError)
}

fn statements(text: &str, owner: Owner<'_>) -> Result<Vec<Statement>, String> {
    let document = Json::read(text)?;
    let mut variables = false;
    let mut listed = None;
    for (element, value) in document.map("a policy")? {
        match element.as_str() {
            "Version" => variables = has_variables(value.text("Version")?)?,
            "Id" => drop(value.text("Id")?),
            "Statement" => listed = Some(value.list("Statement")?),
            other => {
                let known = "known are Version, Id and Statement";
                return Err(format!("the element {} is not known; {known}", shown(other)));
            }
        }
    }
    let listed = listed.ok_or("the element Statement is missing")?;
    let (mut ids, mut statements) = (BTreeSet::new(), Vec::with_capacity(listed.len()));
    for (index, value) in listed.iter().enumerate() {
        let within = |why: String| format!("statement {}: {why}", index + 1);
        let elements = Elements::of(value).map_err(within)?;
        // Tools write an empty one where they have none.
        if let Some(id) = elements.id.filter(|id| !id.is_empty())
            && !ids.insert(id)
        {
            return Err(within(format!("another one has the Sid {} too", shown(id))));
        }
        statements.push(elements.check(owner, variables).map_err(within)?);
    }
    Ok(statements)
}

fn has_variables(version: &str) -> Result<bool, String> {
    match version {
        "2012-10-17" => Ok(true),
        "2008-10-17" => Ok(false),
        other => {
            let known = "known are \"2012-10-17\" and \"2008-10-17\"";
            Err(format!("the Version {} is not known; {known}", shown(other)))
        }
    }
}

/// What a statement has of each element.
#[derive(Default)]
struct Elements<'a> {
    id: Option<&'a str>,
    effect: Option<&'a Json>,
    principal: Option<&'a Json>,
    not_principal: Option<&'a Json>,
    action: Option<&'a Json>,
    not_action: Option<&'a Json>,
    resource: Option<&'a Json>,
    not_resource: Option<&'a Json>,
    condition: Option<&'a Json>,
}

impl<'a> Elements<'a> {
    fn of(value: &'a Json) -> Result<Self, String> {
        let mut elements = Self::default();
        for (element, value) in value.map("a statement")? {
            let place = match element.as_str() {
                "Sid" => {
                    elements.id = Some(value.text("Sid")?);
                    continue;
                }
                "Effect" => &mut elements.effect,
                "Principal" => &mut elements.principal,
                "NotPrincipal" => &mut elements.not_principal,
                "Action" => &mut elements.action,
                "NotAction" => &mut elements.not_action,
                "Resource" => &mut elements.resource,
                "NotResource" => &mut elements.not_resource,
                "Condition" => &mut elements.condition,
                other => {
                    let known = "known are Sid, Effect, Principal, NotPrincipal, Action, NotAction, Resource, \
                                 NotResource and Condition";
                    return Err(format!("the element {} is not known; {known}", shown(other)));
                }
            };
            *place = Some(value);
        }
        Ok(elements)
    }

    fn check(&self, owner: Owner<'_>, variables: bool) -> Result<Statement, String> {
        let effect = match self.effect.ok_or("the element Effect is missing")?.text("Effect")? {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => {
                return Err(format!("Effect must be \"Allow\" or \"Deny\", not {}", shown(other)));
            }
        };
        let conditions = match self.condition {
            Some(value) => conditions::read(value, variables)?,
            None => Vec::new(),
        };
        Ok(Statement {
            effect,
            principals: self.principals(owner, effect)?,
            actions: self.actions()?,
            resources: self.resources(owner, variables)?,
            conditions,
        })
    }

    fn principals(&self, owner: Owner<'_>, effect: Effect) -> Result<Option<Principals>, String> {
        let is_named = self.principal.is_some() || self.not_principal.is_some();
        match owner {
            Owner::Key if is_named => {
                Err("the policy of an access key names no principal: it is about the key; \
                                           Principal and NotPrincipal belong to the policy of a bucket"
                    .into())
            }
            Owner::Key => Ok(None),
            Owner::Bucket(_) => {
                let (value, element, negated) =
                    one_of(self.principal, "Principal", self.not_principal, "NotPrincipal")?;
                if negated && effect == Effect::Allow {
                    return Err(
                        "NotPrincipal belongs to \"Deny\"; with \"Allow\" it would let in everybody \
                                but those that it names"
                            .into(),
                    );
                }
                Principals::read(value, element, negated).map(Some)
            }
        }
    }

    fn actions(&self) -> Result<Choice, String> {
        let (value, element, negated) = one_of(self.action, "Action", self.not_action, "NotAction")?;
        let patterns = value.texts(element)?.into_iter().map(|text| {
            let name = text.split_once(':').filter(|(service, _)| service.eq_ignore_ascii_case("s3"));
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'?');
            let is_action = name.is_some_and(|(_, name)| !name.is_empty() && name.bytes().all(allowed));
            if text != "*" && !is_action {
                let why = "an action is \"*\", or \"s3:\" with a name that may have * and ?";
                return Err(format!("Policy has invalid action: {element} {}: {why}", shown(text)));
            }
            Pattern::parse(text, Syntax { wildcards: true, variables: false, fold: true })
        });
        Ok(Choice { negated, patterns: patterns.collect::<Result<_, _>>()? })
    }

    fn resources(&self, owner: Owner<'_>, variables: bool) -> Result<Choice, String> {
        let (value, element, negated) = one_of(self.resource, "Resource", self.not_resource, "NotResource")?;
        let patterns = value.texts(element)?.into_iter().map(|text| {
            resource(text, owner, variables)
                .map_err(|why| format!("Policy has invalid resource: {element} {}: {why}", shown(text)))
        });
        Ok(Choice { negated, patterns: patterns.collect::<Result<_, _>>()? })
    }
}

/// The one of two elements that is there, its name, and whether it is the second.
fn one_of<'a>(
    element: Option<&'a Json>,
    name: &'static str,
    negated: Option<&'a Json>,
    negated_name: &'static str,
) -> Result<(&'a Json, &'static str, bool), String> {
    match (element, negated) {
        (Some(value), None) => Ok((value, name, false)),
        (None, Some(value)) => Ok((value, negated_name, true)),
        (None, None) => Err(format!("one of the elements {name} and {negated_name} is needed")),
        (Some(_), Some(_)) => Err(format!("it has both {name} and {negated_name}; only one may stand")),
    }
}

fn resource(text: &str, owner: Owner<'_>, variables: bool) -> Result<Pattern, String> {
    let syntax = Syntax { wildcards: true, variables, fold: false };
    let pattern = Pattern::parse(text, syntax)?;
    if text == "*" {
        return Ok(pattern);
    }
    let Some(name) = text.strip_prefix(S3_ARN).filter(|name| !name.is_empty()) else {
        return Err(format!("it must be \"*\", or {S3_ARN} with a bucket or objects in one"));
    };
    if let Owner::Bucket(bucket) = owner {
        let named = name.split('/').next().unwrap_or(name);
        // A variable does not name a bucket: whose bucket it is is fixed. That it may hold a slash is of no concern
        // then: cut short, it is refused as well.
        let fits = Pattern::parse(named, syntax)
            .is_ok_and(|pattern| pattern.matches(&Text::new(bucket, false), &|_| None) == Some(true));
        if !fits {
            return Err(format!("it must be {S3_ARN}{bucket}, or begin with {S3_ARN}{bucket}/"));
        }
    }
    Ok(pattern)
}

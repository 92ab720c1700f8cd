//! Claims about the policy of the guide: it allows what the provider asks for, and touches nothing that was not made here.
//!
//! Method: the actions that the source names; and the policy read as IAM reads it, as far as it goes (IAM user guide, "Policy evaluation
//! logic"), since moto looks at no conditions. What AWS makes of it has not been seen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// What conditions look at, by the names of their keys; one that is missing is not there.
type Context<'a> = BTreeMap<String, Vec<&'a str>>;

fn policy() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/cloud/ec2-policy.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// A string, or those of a list.
fn strings(value: &Value) -> Vec<&str> {
    let one = value.as_str().into_iter();
    one.chain(value.as_array().into_iter().flatten().filter_map(Value::as_str)).collect()
}

/// Whether a pattern of IAM fits; one that begins a resource and has an asterisk at most in its middle and at its end.
fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| fits(rest, &text[at..]))
        }),
    }
}

fn holds(operator: &str, key: &str, wanted: &Value, context: &Context<'_>) -> bool {
    let (there, wanted) = (context.get(key), strings(wanted));
    match operator {
        "Null" => (wanted == ["true"]) == there.is_none(),
        "StringEquals" => there.is_some_and(|there| there.iter().all(|value| wanted.contains(value))),
        "ForAllValues:StringEquals" => there.into_iter().flatten().all(|value| wanted.contains(value)),
        other => panic!("{other} is not read here"),
    }
}

/// Whether the policy allows an action on a resource.
fn allows(action: &str, resource: &str, context: &Context<'_>) -> bool {
    let policy = policy();
    let meant = policy["Statement"].as_array().unwrap().iter().filter(|statement| {
        let is_meant = strings(&statement["Action"]).contains(&action)
            && strings(&statement["Resource"]).iter().any(|pattern| fits(pattern, resource));
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        let mut each = conditions.flat_map(|(operator, keys)| {
            keys.as_object().unwrap().iter().map(move |(key, wanted)| (operator, key, wanted))
        });
        is_meant && each.all(|(operator, key, wanted)| holds(operator, key, wanted, context))
    });
    let effects: BTreeSet<&str> = meant.map(|statement| statement["Effect"].as_str().unwrap()).collect();
    effects == BTreeSet::from(["Allow"])
}

/// Tags that a thing has, and tags that are asked for.
fn context<'a>(has: &[&'a str], asked: &[&'a str]) -> Context<'a> {
    let mut context = Context::new();
    context.extend(has.iter().map(|key| (format!("aws:ResourceTag/{key}"), vec!["x"])));
    context.extend(asked.iter().map(|key| (format!("aws:RequestTag/{key}"), vec!["x"])));
    if !asked.is_empty() {
        context.insert("aws:TagKeys".to_owned(), asked.to_vec());
    }
    context
}

/// What is made is no resource with an id yet.
const NEW: &str = "arn:aws:ec2:eu-central-1::snapshot/*";
const SNAPSHOT: &str = "arn:aws:ec2:eu-central-1::snapshot/snap-0123456789abcdef0";

#[test]
fn snapshots_are_tagged_and_deleted_only_if_they_are_copies_of_disks() {
    let ours = ["tidegate:owner", "tidegate:disk", "Name"];
    // Backups of the instance's volumes take over the tags of those.
    let of_others: [&[&str]; 3] = [&[], &["Name"], &["tidegate:owner", "tidegate:machine"]];
    for action in ["ebs:StartSnapshot", "ec2:CreateTags"] {
        assert!(allows(action, NEW, &context(&[], &ours)), "{action}");
        assert!(
            !allows(action, NEW, &context(&[], &["Name"])),
            "{action}: one that would not be known again"
        );
    }
    assert!(allows("ec2:CreateTags", SNAPSHOT, &context(&ours, &["tidegate:head"])));
    for has in of_others {
        for asked in [&["tidegate:head"][..], &["Name"], &ours] {
            assert!(!allows("ec2:CreateTags", SNAPSHOT, &context(has, asked)), "{has:?} {asked:?}");
        }
    }
    for action in ["ebs:PutSnapshotBlock", "ebs:CompleteSnapshot", "ec2:DeleteSnapshot"] {
        assert!(allows(action, SNAPSHOT, &context(&ours, &[])), "{action}");
        for has in of_others {
            assert!(!allows(action, SNAPSHOT, &context(has, &[])), "{action} {has:?}");
        }
    }
}

#[test]
fn nothing_else_is_ended_or_tagged_that_was_not_made_here() {
    let ours = ["tidegate:owner"];
    for (action, resource) in [
        ("ec2:TerminateInstances", "arn:aws:ec2:eu-central-1:1:instance/i-1"),
        ("ec2:StartInstances", "arn:aws:ec2:eu-central-1:1:instance/i-1"),
        ("ec2:DeregisterImage", "arn:aws:ec2:eu-central-1::image/ami-1"),
    ] {
        assert!(allows(action, resource, &context(&ours, &[])), "{action}");
        assert!(!allows(action, resource, &context(&["Name"], &[])), "{action}");
    }
    for resource in ["arn:aws:ec2:eu-central-1:1:instance/*", "arn:aws:ec2:eu-central-1:1:volume/*"] {
        let mut made = context(&[], &ours);
        assert!(!allows("ec2:CreateTags", resource, &made), "{resource}");
        made.insert("ec2:CreateAction".to_owned(), vec!["RunInstances"]);
        assert!(allows("ec2:CreateTags", resource, &made), "{resource}");
    }
}

/// Names of actions in a text: `ec2:RunInstances`, in quotation marks.
fn actions(text: &str) -> BTreeSet<String> {
    let parts = text.split('"').filter(|part| part.starts_with("ec2:") || part.starts_with("ebs:"));
    let is_action = |name: &&str| name[4..].chars().all(char::is_alphanumeric);
    parts.filter(is_action).map(str::to_owned).collect()
}

#[test]
fn the_policy_allows_what_is_asked_for_and_no_more() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/machine/ec2");
    let mut asked = BTreeSet::new();
    for entry in std::fs::read_dir(top).unwrap() {
        let file = entry.unwrap().path();
        if file.is_file() {
            let text = std::fs::read_to_string(file).unwrap();
            asked.extend(actions(text.split("#[cfg(test)]").next().unwrap()));
        }
    }
    let policy = policy();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let allowed = statements.flat_map(|statement| actions(&statement["Action"].to_string())).collect();
    assert_eq!(asked, allowed);
}

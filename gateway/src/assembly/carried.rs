//! What heads carry, sealed, of the settings besides the table of their share, and what a gateway that attaches the share
//! makes of it.
//!
//! | key | holds |
//! |---|---|
//! | `runbooks` | the runbooks that attach the share ([`crate::runbook::carried`]) |
//! | `policies` | a text for each policy that takes snapshots of it |
//! | `buckets` | a text for each bucket that shows it |
//!
//! A policy is taken over for those of its shares that the other gateway has, and grows by the next one that is attached
//! there; its sources and hooks stay behind: they are programs and files of another machine. What the other gateway's own
//! settings say under the same name counts more than what was carried; but a policy there that keeps by other rules is not
//! let near the share: its snapshots are known by the name of their policy, and would be forgotten by rules that were
//! never meant for them.

use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item};

use crate::settings::{Bucket, Policy, Settings, Table, add_table, table_from_toml, table_to_toml};

/// The key of policies.
const POLICIES: &str = "policies";
/// The key of buckets.
const BUCKETS: &str = "buckets";
/// Texts of one kind that are read of a head.
const TEXTS_MAX: usize = 1_000;

/// What the heads of a share or bucket carry, given what they carry already.
pub(super) fn carried(settings: &Settings, share: &str, with: Value) -> Value {
    let mut with = crate::runbook::carried(settings, share, with);
    let of_share =
        |policy: &&Policy| policy.shares.iter().any(|name| settings.share_of_policy(name) == share);
    let policies: Vec<String> = settings.policies.iter().filter(of_share).map(table_to_toml).collect();
    let shows = |bucket: &&Bucket| bucket.share.as_ref().is_some_and(|shown| shown.as_str() == share);
    let buckets: Vec<String> = settings.buckets.iter().filter(shows).map(table_to_toml).collect();
    if let Some(object) = with.as_object_mut() {
        for (key, texts) in [(POLICIES, policies), (BUCKETS, buckets)] {
            if !texts.is_empty() {
                object.insert(key.to_owned(), texts.into());
            }
        }
    }
    with
}

/// Whether the heads of a share carry something else after a change of the settings.
pub(super) fn carries_differently(before: &Settings, after: &Settings, share: &str) -> bool {
    let nothing = || Value::Object(serde_json::Map::new());
    carried(before, share, nothing()) != carried(after, share, nothing())
}

/// Takes over what the head of a share carries into the settings that serve the share already; says what was taken over, a
/// line each. What a later version wrote and this one cannot read is left out, and said.
pub fn adopt(document: &mut DocumentMut, share: &str, carried: &Value) -> Result<Vec<String>, String> {
    let mut said = Vec::new();
    for bucket in tables::<Bucket>(carried, BUCKETS, &mut said) {
        let settings = parse(document)?;
        let (name, shown) = (bucket.name.as_str(), bucket.share.as_ref().map(|shown| shown.as_str()));
        if shown == Some(share) && settings.bucket(name).is_none() && settings.share(name).is_none() {
            add_table::<Bucket>(document, bucket.write())?;
            said.push(format!("bucket {name} shows it"));
        }
    }
    for policy in tables::<Policy>(carried, POLICIES, &mut said) {
        adopt_policy(document, policy, &mut said)?;
    }
    Ok(said)
}

fn parse(document: &DocumentMut) -> Result<Settings, String> {
    Settings::parse(&document.to_string()).map_err(|error| error.to_string())
}

/// The tables of a kind that can be read.
fn tables<T: Table>(carried: &Value, key: &str, said: &mut Vec<String>) -> Vec<T> {
    let texts = carried.get(key).and_then(Value::as_array).into_iter().flatten();
    let mut read = Vec::new();
    for text in texts.filter_map(Value::as_str).take(TEXTS_MAX) {
        match table_from_toml(text) {
            Ok(table) => read.push(table),
            Err(error) => {
                said.push(format!("a {} of its head cannot be read, and is left out: {error}", T::NAME))
            }
        }
    }
    read
}

fn adopt_policy(document: &mut DocumentMut, policy: Policy, said: &mut Vec<String>) -> Result<(), String> {
    let settings = parse(document)?;
    let (mut policy, had_hooks) = policy.without_hooks();
    let is_known = |name: &str| settings.share(name).is_some() || settings.bucket(name).is_some();
    policy.sources.clear();
    policy.shares.retain(|name| is_known(name.as_str()));
    let name = policy.name.to_string();
    if let Some(here) = settings.policy(&name) {
        if rules(here) != rules(&policy) {
            said.push(format!(
                "policy {name} is left out: here one of that name keeps by other rules; add the share to a policy of another name"
            ));
            return Ok(());
        }
        let lacking = policy.shares.iter().filter(|share| !here.shares.contains(share));
        let lacking: Vec<String> = lacking.map(ToString::to_string).collect();
        if !lacking.is_empty() {
            extend_shares(document, &name, &lacking)?;
            said.push(format!("policy {name} takes snapshots of {} too", lacking.join(", ")));
        }
        return Ok(());
    }
    if policy.shares.is_empty() {
        return Ok(());
    }
    add_table::<Policy>(document, policy.write())?;
    let hooks = if had_hooks { ", without its hooks: they are programs of another machine" } else { "" };
    said.push(format!("policy {name} takes snapshots of it{hooks}"));
    Ok(())
}

/// A policy without what it is of.
fn rules(policy: &Policy) -> Policy {
    let (mut rules, _) = policy.clone().without_hooks();
    rules.shares.clear();
    rules.sources.clear();
    rules
}

/// Lets a policy of the settings name more shares.
fn extend_shares(document: &mut DocumentMut, policy: &str, more: &[String]) -> Result<(), String> {
    let missing = || format!("has no policy {policy:?}");
    let tables = document.get_mut(Policy::NAME).and_then(Item::as_array_of_tables_mut).ok_or_else(missing)?;
    let named = |table: &&mut toml_edit::Table| table.get("name").and_then(Item::as_str) == Some(policy);
    let table = tables.iter_mut().find(named).ok_or_else(missing)?;
    let shares = table.entry("shares").or_insert_with(|| toml_edit::value(Array::new()));
    let shares =
        shares.as_array_mut().ok_or_else(|| format!("has no list of shares in policy {policy:?}"))?;
    shares.extend(more.iter().map(String::as_str));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str =
        "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n";
    const HOME: &str = "[[share]]\nname = \"docs\"\n[[share]]\nname = \"mail\"\n\
                        [[bucket]]\nname = \"documents\"\nshare = \"docs\"\n\
                        [[policy]]\nname = \"nightly\"\nshares = [\"documents\", \"mail\"]\nevery = \"1h\"\nkeep_last = 3\n\
                        before = [\"/bin/true\"]\n\
                        [[policy]]\nname = \"mails\"\nshares = [\"mail\"]\nevery = \"2h\"\nkeep_last = 3\n";

    fn of_head(share: &str) -> Value {
        let home = Settings::parse(&format!("{BASE}{HOME}")).expect("correct");
        carried(&home, share, Value::Object(serde_json::Map::new()))
    }

    /// The settings of the other machine once it has attached these shares, and what was said.
    fn attached(before: &str, shares: &[&str]) -> (Settings, Vec<String>) {
        let mut document: DocumentMut = format!("{BASE}{before}").parse().expect("TOML");
        let mut said = Vec::new();
        for share in shares {
            let served = format!("{document}\n[[share]]\nname = \"{share}\"\n");
            document = served.parse().expect("TOML");
            said.extend(adopt(&mut document, share, &of_head(share)).expect("it fits"));
        }
        (Settings::parse(&document.to_string()).expect("correct"), said)
    }

    #[test]
    fn policies_and_buckets_come_with_the_share_and_hooks_do_not() {
        let (settings, said) = attached("", &["docs"]);
        let policy = settings.policy("nightly").expect("it came");
        assert_eq!(policy.shares.iter().map(ToString::to_string).collect::<Vec<_>>(), ["documents"]);
        assert!(policy.before.is_empty() && settings.policy("mails").is_none());
        assert!(settings.bucket("documents").is_some_and(|bucket| bucket.share.is_some()));
        assert!(said.iter().any(|line| line.contains("without its hooks")), "{said:?}");
    }

    #[test]
    fn a_policy_grows_with_the_next_share_and_ends_as_it_was() {
        let (settings, _) = attached("", &["docs", "mail"]);
        let policy = settings.policy("nightly").expect("it came");
        assert_eq!(policy.shares.iter().map(ToString::to_string).collect::<Vec<_>>(), ["documents", "mail"]);
        assert!(settings.policy("mails").is_some());
        // Attached once more, nothing is doubled.
        let mut document: DocumentMut = settings.to_toml().parse().expect("TOML");
        assert_eq!(adopt(&mut document, "mail", &of_head("mail")), Ok(Vec::new()));
    }

    #[test]
    fn a_policy_of_the_same_name_takes_the_share_only_if_it_keeps_by_the_same_rules() {
        let own = |rules: &str| {
            format!("[[share]]\nname = \"own\"\n[[policy]]\nname = \"mails\"\nshares = [\"own\"]\n{rules}\n")
        };
        let (settings, said) = attached(&own("every = \"2h\"\nkeep_last = 1"), &["mail"]);
        let policy = settings.policy("mails").expect("it is there");
        assert_eq!((policy.keep_last, policy.shares.len()), (Some(1), 1), "home kept three");
        assert!(said.iter().any(|line| line.contains("mails is left out")), "{said:?}");
        let (settings, _) = attached(&own("every = \"2h\"\nkeep_last = 3"), &["mail"]);
        assert_eq!(settings.policy("mails").map(|policy| policy.shares.len()), Some(2));
    }

    #[test]
    fn what_cannot_be_read_is_said_and_left_out() {
        let mut document: DocumentMut = BASE.parse().expect("TOML");
        let of_later =
            serde_json::json!({ "policies": ["name = \"p\"\nshares = [\"x\"]\nmoon = \"full\"\n"] });
        let said = adopt(&mut document, "x", &of_later).expect("the rest fits");
        assert!(said.len() == 1 && said[0].contains("moon"), "{said:?}");
        assert_eq!(document.to_string(), BASE);
    }
}

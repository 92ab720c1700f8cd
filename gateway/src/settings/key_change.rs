//! What is to change of an access key in the settings file. What is not said stays as it is: its id and its secret in any case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml_edit::{Array, DocumentMut, Item, Table as TomlTable, Value};

use super::bucket::AccessKey;
use super::file::table_by;

/// What becomes of an access key. Each value means what the key of the same name in `[[access_key]]` means.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessKeyChange {
    /// What is no longer set, before anything is: what counts without it counts again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reset: Vec<ResetOfKey>,
    /// The name under which it owns the buckets that it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The buckets that it may use, instead of those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buckets: Option<Vec<String>>,
    /// Whether every change is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// Whether buckets of another owner are hidden from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_buckets_only: Option<bool>,
    /// What it may do, in the JSON language of AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The user that acts in the files of a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Its primary group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Its further groups, instead of those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gids: Option<Vec<u32>>,
}

/// What of an access key need not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ResetOfKey {
    /// Then it owns buckets under its id.
    Owner,
    /// Then it may use all buckets.
    Buckets,
    /// Then it may do everything in them.
    Policy,
    /// Then it has its primary group alone.
    Gids,
}

impl ResetOfKey {
    fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Buckets => "buckets",
            Self::Policy => "policy",
            Self::Gids => "gids",
        }
    }
}

impl AccessKeyChange {
    /// Changes the access key of that id in a settings file; a sentence when there is none. Comments stay.
    pub fn apply(&self, document: &mut DocumentMut, id: &str) -> Result<(), String> {
        let table = table_by::<AccessKey>(document, "id", id)?;
        for reset in &self.reset {
            table.remove(reset.as_str());
        }
        let number = |number: u32| Value::from(i64::from(number));
        let names = |names: &Vec<String>| Value::from(names.iter().map(String::as_str).collect::<Array>());
        let numbers =
            |list: &Vec<u32>| Value::from(list.iter().map(|number| i64::from(*number)).collect::<Array>());
        let values = [
            ("owner", self.owner.as_deref().map(Value::from)),
            ("buckets", self.buckets.as_ref().map(names)),
            ("read_only", self.read_only.map(Value::from)),
            ("own_buckets_only", self.own_buckets_only.map(Value::from)),
            ("policy", self.policy.as_deref().map(Value::from)),
            ("uid", self.uid.map(number)),
            ("gid", self.gid.map(number)),
            ("gids", self.gids.as_ref().map(numbers)),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                set(table, key, value);
            }
        }
        Ok(())
    }
}

/// Sets a key; what stands above it, and beside its value, stays there.
fn set(table: &mut TomlTable, key: &str, mut value: Value) {
    if let Some(found) = table.get_mut(key).and_then(Item::as_value_mut) {
        *value.decor_mut() = found.decor().clone();
        *found = value;
    } else {
        table.insert(key, Item::Value(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# all keys\n[[access_key]]\nid = \"one\"\nsecret = { env = \"S\" }\nuid = 7 # who\ngids = [8]\n\n\
                        [[access_key]]\nid = \"two\" # another\nsecret = { env = \"S\" }\nuid = 7\n";

    fn changed(change: &AccessKeyChange, id: &str) -> Result<String, String> {
        let mut document: DocumentMut = TEXT.parse().expect("TOML");
        change.apply(&mut document, id)?;
        Ok(document.to_string())
    }

    #[test]
    fn what_is_named_changes_and_everything_else_stays_as_it_was_written() {
        assert_eq!(changed(&AccessKeyChange::default(), "one").as_deref(), Ok(TEXT));
        let change = AccessKeyChange { uid: Some(9), gids: Some(vec![1, 2]), ..AccessKeyChange::default() };
        let text = changed(&change, "one").expect("there is one");
        assert_eq!(text, TEXT.replacen("uid = 7 # who\ngids = [8]", "uid = 9 # who\ngids = [1, 2]", 1));
        let change = AccessKeyChange {
            reset: vec![ResetOfKey::Gids, ResetOfKey::Policy],
            read_only: Some(true),
            ..AccessKeyChange::default()
        };
        let text = changed(&change, "one").expect("there is one");
        assert_eq!(text, TEXT.replacen("gids = [8]\n", "read_only = true\n", 1));
    }

    #[test]
    fn a_key_that_is_not_there_is_not_made() {
        let change = AccessKeyChange { uid: Some(9), ..AccessKeyChange::default() };
        assert_eq!(changed(&change, "three"), Err("has no access_key \"three\"".to_owned()));
    }

    #[test]
    fn ids_and_secrets_are_no_part_of_a_change() {
        for wrong in [r#"{"secret": {"env": "X"}}"#, r#"{"id": "three"}"#, r#"{"reset": ["secret"]}"#] {
            assert!(serde_json::from_str::<AccessKeyChange>(wrong).is_err(), "{wrong}");
        }
    }
}

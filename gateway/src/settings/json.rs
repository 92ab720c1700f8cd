//! Tables that arrive as JSON through the admin API: the same keys, values and checks as in the file.

use serde_json::Value as Json;
use toml_edit::{Array, InlineTable, Item, Table as TomlTable, Value};

use super::problems::{Problems, SettingsError};
use super::schema::Table;

/// How deeply values may be nested.
const DEPTH_MAX: usize = 4;

/// Turns a JSON object into the table that would be written in the file (only the keys that it
/// has), after checking it as `T`.
pub fn table_from_json<T: Table>(json: &Json) -> Result<(T, TomlTable), SettingsError> {
    let Json::Object(members) = json else {
        return Err(SettingsError::whole("the body is no JSON object; send one with the keys of the table"));
    };
    let mut table = TomlTable::new();
    for (key, json) in members.iter().filter(|(_, json)| !json.is_null()) {
        let value = value_from_json(json, DEPTH_MAX)
            .ok_or_else(|| SettingsError::whole(format!("{}.{key}: cannot be a value here", T::NAME)))?;
        table.insert(key, Item::Value(value));
    }
    let read = super::read_one(T::NAME.to_owned(), &table, Problems::new(""))?;
    Ok((read, table))
}

fn value_from_json(json: &Json, depth: usize) -> Option<Value> {
    let deeper = depth.checked_sub(1)?;
    match json {
        Json::Null => None,
        Json::Bool(value) => Some((*value).into()),
        Json::Number(number) => number.as_i64().map(Value::from).or_else(|| number.as_f64().map(Value::from)),
        Json::String(text) => Some(text.into()),
        Json::Array(list) => {
            let list: Option<Array> = list.iter().map(|json| value_from_json(json, deeper)).collect();
            list.map(Value::Array)
        }
        Json::Object(members) => {
            let members: Option<InlineTable> =
                members.iter().map(|(key, json)| Some((key, value_from_json(json, deeper)?))).collect();
            members.map(Value::InlineTable)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::{Share, Span};

    #[test]
    fn json_follows_the_same_rules_as_the_file() {
        let (share, table) = table_from_json::<Share>(
            &json!({"name": "docs", "rpo": "5s", "clients": ["10.0.0.0/8"], "export": null}),
        )
        .expect("a share");
        assert_eq!(share.rpo, Span::seconds(5));
        assert_eq!(table.len(), 3, "only what was given is written: {table}");
        let error =
            table_from_json::<Share>(&json!({"name": "docs", "rpo": 5, "colour": "red"})).expect_err("wrong");
        assert!(
            error.to_string().contains("share.rpo") && error.to_string().contains("share.colour"),
            "{error}"
        );
        for wrong in [json!([]), json!({"name": [[[[[1]]]]]}), json!({})] {
            assert!(table_from_json::<Share>(&wrong).is_err(), "{wrong}");
        }
    }
}

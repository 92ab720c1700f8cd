//! JSON as a tree, as strict as a policy needs it: an element that stands twice in an object is refused, because
//! readers differ on which of the two counts. Depth is bounded by the parser, size by the length of the text.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value. Numbers are kept as text: where a policy has one, text may stand as well.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Json {
    /// Reads a text; what is wrong with it comes with its line and column.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("it is not valid JSON: {error}"))
    }

    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// The text that it is.
    pub(super) fn text(&self, element: &str) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{element} must be a string, not {}", other.kind())),
        }
    }

    /// The object that it is.
    pub(super) fn map(&self, element: &str) -> Result<&[(String, Self)], String> {
        match self {
            Self::Map(entries) => Ok(entries),
            other => Err(format!("{element} must be an object, not {}", other.kind())),
        }
    }

    /// The one value or the values of the list; an empty list is refused.
    pub(super) fn list(&self, element: &str) -> Result<&[Self], String> {
        match self {
            Self::List(values) if values.is_empty() => Err(format!("{element} must have at least one value")),
            Self::List(values) => Ok(values),
            value => Ok(std::slice::from_ref(value)),
        }
    }

    /// The one string or the strings of the list.
    pub(super) fn texts(&self, element: &str) -> Result<Vec<&str>, String> {
        self.list(element)?.iter().map(|value| value.text(element)).collect()
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = from.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let (mut entries, mut names) = (Vec::new(), BTreeSet::new());
        while let Some(name) = from.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(A::Error::custom(format!("the element {name:?} stands twice")));
            }
            entries.push((name, from.next_value()?));
        }
        Ok(Json::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_stands_twice_is_refused_with_its_place() {
        let error = Json::read("{\"a\": 1,\n \"a\": 2}").unwrap_err();
        assert!(error.contains("\"a\" stands twice") && error.contains("line 2"), "{error}");
        assert!(Json::read(r#"{"a": {"a": 1}, "b": {"a": 1}}"#).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Json::read(&"[".repeat(10_000)).is_err());
        assert!(Json::read(&format!("{}{}", "[".repeat(1000), "]".repeat(1000))).is_err());
    }

    #[test]
    fn one_value_stands_for_a_list_of_it() {
        assert_eq!(Json::read("\"a\"").unwrap().texts("Action"), Ok(vec!["a"]));
        assert_eq!(Json::read("[\"a\", \"b\"]").unwrap().texts("Action"), Ok(vec!["a", "b"]));
        assert_eq!(
            Json::read("[]").unwrap().texts("Action"),
            Err("Action must have at least one value".into())
        );
        let number = Json::read("[1]").unwrap();
        assert_eq!(number.texts("Action"), Err("Action must be a string, not a number".into()));
    }
}

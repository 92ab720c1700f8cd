//! Who a statement of a bucket policy is about (IAM user guide, "AWS JSON policy elements: Principal").
//!
//! The access keys of a gateway are its users, and together they are its only account. Names are compared exactly;
//! wildcards within a name are refused, as AWS does, and so are kinds of principals that a gateway does not have.

use super::json::Json;
use super::shown;

/// The principals of a statement.
#[derive(Clone, Debug)]
pub(super) struct Principals {
    /// All but these (`NotPrincipal`).
    pub(super) negated: bool,
    listed: Vec<Principal>,
}

#[derive(Clone, Debug, PartialEq)]
enum Principal {
    /// Whoever calls, also without a key.
    Anybody,
    /// The account: every access key.
    EveryKey,
    /// One access key, by its id.
    Key(String),
}

impl Principals {
    /// Reads the value of the element `Principal`, or `NotPrincipal` if `negated`.
    pub(super) fn read(value: &Json, element: &str, negated: bool) -> Result<Self, String> {
        let entries = match value {
            Json::Text(text) if text == "*" => {
                return Ok(Self { negated, listed: vec![Principal::Anybody] });
            }
            Json::Text(text) => {
                let why = format!("Invalid principal in policy: {element} {}", shown(text));
                return Err(format!("{why}; allowed are \"*\" and an object such as {{\"AWS\": [\"…\"]}}"));
            }
            other => other.map(element)?,
        };
        if let Some((kind, _)) = entries.iter().find(|(kind, _)| kind != "AWS") {
            let why = format!("Invalid principal in policy: {element} has {}", shown(kind));
            return Err(format!("{why}; the only kind that is known here is \"AWS\""));
        }
        let Some((_, names)) = entries.first() else {
            return Err(format!("{element} names nobody; it needs \"AWS\" with at least one name"));
        };
        let listed = names.texts(&format!("{element}.AWS"))?.into_iter().map(|name| {
            read_name(name)
                .map_err(|why| format!("Invalid principal in policy: {element}.AWS {}: {why}", shown(name)))
        });
        Ok(Self { negated, listed: listed.collect::<Result<_, _>>()? })
    }

    /// Whether it is about a caller with this access key; none for a caller without one.
    pub(super) fn cover(&self, access_key: Option<&str>) -> bool {
        let listed = self.listed.iter().any(|principal| match principal {
            Principal::Anybody => true,
            Principal::EveryKey => access_key.is_some(),
            Principal::Key(key) => access_key == Some(key.as_str()),
        });
        listed != self.negated
    }
}

fn read_name(name: &str) -> Result<Principal, &'static str> {
    const FORMS: &str = "allowed are \"*\", the id of an access key, \"arn:aws:iam::ACCOUNT:user/ID\" for one, \
         and \"arn:aws:iam::ACCOUNT:root\" for every access key";
    if name == "*" {
        return Ok(Principal::Anybody);
    }
    let id = match name.strip_prefix("arn:aws:iam::") {
        Some(rest) => match rest.split_once(':') {
            Some((_, "root")) => return Ok(Principal::EveryKey),
            Some((_, user)) => user.strip_prefix("user/").ok_or(FORMS)?,
            None => return Err(FORMS),
        },
        None if name.starts_with("arn:") => return Err(FORMS),
        None if name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit()) => {
            return Err("for an account write \"arn:aws:iam::ACCOUNT:root\", for an access key of that id \
                        \"arn:aws:iam::ACCOUNT:user/ID\"");
        }
        None => name,
    };
    if id.is_empty() {
        return Err(FORMS);
    }
    if id.contains(['*', '?']) {
        return Err("a name has no wildcards");
    }
    Ok(Principal::Key(id.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, negated: bool) -> Result<Principals, String> {
        Principals::read(&Json::read(text).unwrap(), "Principal", negated)
    }

    #[test]
    fn names_are_compared_exactly() {
        for (text, nobody, anna, bert) in [
            (r#""*""#, true, true, true),
            (r#"{"AWS": "*"}"#, true, true, true),
            (r#"{"AWS": "anna"}"#, false, true, false),
            (r#"{"AWS": ["anna", "bert"]}"#, false, true, true),
            (r#"{"AWS": "Anna"}"#, false, false, false),
            (r#"{"AWS": "ann"}"#, false, false, false),
            (r#"{"AWS": "arn:aws:iam::123456789012:user/anna"}"#, false, true, false),
            (r#"{"AWS": "arn:aws:iam:::user/anna"}"#, false, true, false),
            (r#"{"AWS": "arn:aws:iam::123456789012:root"}"#, false, true, true),
        ] {
            let principals = read(text, false).unwrap();
            let found = [None, Some("anna"), Some("bert")].map(|key| principals.cover(key));
            assert_eq!(found, [nobody, anna, bert], "{text}");
            let others = read(text, true).unwrap();
            let found = [None, Some("anna"), Some("bert")].map(|key| others.cover(key));
            assert_eq!(found, [!nobody, !anna, !bert], "not {text}");
        }
    }

    #[test]
    fn what_is_no_principal_is_refused() {
        for (text, word) in [
            (r#""anna""#, "allowed are"),
            ("7", "must be an object"),
            ("{}", "names nobody"),
            (r#"{"AWS": []}"#, "at least one"),
            (r#"{"AWS": [1]}"#, "must be a string"),
            (r#"{"AWS": "an*"}"#, "no wildcards"),
            (r#"{"AWS": ""}"#, "allowed are"),
            (r#"{"AWS": "arn:aws:iam::1:role/x"}"#, "allowed are"),
            (r#"{"AWS": "arn:aws:sts::1:user/x"}"#, "allowed are"),
            (r#"{"AWS": "arn:aws:iam::1:user/"}"#, "allowed are"),
            (r#"{"AWS": "123456789012"}"#, ":root"),
            (r#"{"Service": "ec2.amazonaws.com"}"#, "only kind"),
            (r#"{"AWS": "*", "CanonicalUser": "x"}"#, "only kind"),
        ] {
            let error = read(text, false).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}

//! When a statement is in force (IAM user guide, "IAM JSON policy elements: Condition operators" and "Single-valued
//! vs. multivalued context keys").
//!
//! * Conditions of a statement must all hold; of the values of one, a single one must fit.
//! * An operator with `Not` holds when no value fits, and so also when the request says nothing of the key.
//! * All others do not hold when the request says nothing of the key; with `IfExists`, all hold then.
//! * `ForAllValues:` asks that each value of the request passes, and holds when there is none, or only an empty one;
//!   `ForAnyValue:` that there is a value that passes. Without either, a request with several values is taken as
//!   with `ForAnyValue:`, or under `Not` as with `ForAllValues:`.
//! * `Null` asks whether the request says nothing of the key, or only an empty value.
//! * A variable without a value fits nothing.
//!
//! Operators on ARNs compare like `StringLike`. A value of the policy that is not of the operator's kind is refused
//! when the policy is read, as is a key of which nobody says anything; a value of a request that is not fits nothing.

use std::net::IpAddr;

use super::json::Json;
use super::keys::{is_known, unknown};
use super::pattern::{Pattern, Syntax, Text, key_name};
use super::values::{Comparison, Network, boolean, moment, number};
use super::{Request, shown};
use crate::view::Time;

/// Keys whose fixed values make that not anybody can be meant (Amazon S3 user guide, "The meaning of 'public'").
/// Nothing that the caller says of itself is among them.
const NARROWING_KEYS: [&str; 2] = ["aws:userid", "aws:username"];
/// The key with the address of the caller.
const ADDRESS_KEY: &str = "aws:sourceip";
/// How keys begin that ask for tags of the object that is there.
const TAG_KEYS: &str = "s3:existingobjecttag/";

/// A condition: one operator with one key.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    key: String,
    operator: Operator,
    operands: Vec<Operand>,
}

#[derive(Clone, Copy, Debug)]
struct Operator {
    kind: Kind,
    negated: bool,
    if_exists: bool,
    set: Set,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Text; whether the case of letters is ignored, and whether it has wildcards.
    Text {
        fold: bool,
        wildcards: bool,
    },
    Number(Comparison),
    Date(Comparison),
    Bool,
    Address,
    Null,
}

/// How many values of a request must pass.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Set {
    /// It was not said.
    Plain,
    All,
    Any,
}

/// A value of the policy.
#[derive(Clone, Debug)]
enum Operand {
    Text(Pattern),
    Number(f64),
    Date(Time),
    Bool(bool),
    Address(Network),
}

/// Reads the value of the element `Condition`. `variables`: see [`Syntax::variables`].
pub(super) fn read(value: &Json, variables: bool) -> Result<Vec<Condition>, String> {
    let mut conditions = Vec::new();
    for (name, keys) in value.map("Condition")? {
        let operator = Operator::parse(name)?;
        for (key, values) in keys.map(&format!("Condition {}", shown(name)))? {
            let within = |why| format!("Condition {}, key {}: {why}", shown(name), shown(key));
            let condition = Condition::read(operator, key, values, variables).map_err(within)?;
            conditions.push(condition);
        }
    }
    Ok(conditions)
}

impl Condition {
    fn read(operator: Operator, key: &str, values: &Json, variables: bool) -> Result<Self, String> {
        if !is_known(key) {
            return Err(format!("Policy has an invalid condition key: {}", unknown(key)));
        }
        let operands = values.list("its value")?.iter().map(|value| {
            let text = match value {
                Json::Text(text) | Json::Number(text) => text.clone(),
                Json::Bool(value) => value.to_string(),
                other => return Err(format!("a value must be a string, not {}", other.kind())),
            };
            operator.operand(&text, variables)
        });
        let operands = operands.collect::<Result<_, _>>()?;
        Ok(Self { key: key_name(key), operator, operands })
    }

    /// Whether it holds for a request.
    pub(super) fn holds(&self, request: &Request<'_>) -> bool {
        let Operator { kind, negated, if_exists, set } = self.operator;
        let values = request.values(&self.key).filter(|values| !values.is_empty());
        if kind == Kind::Null {
            let absent = values.is_none_or(|values| values.iter().all(String::is_empty));
            return self.operands.iter().any(|operand| matches!(operand, Operand::Bool(is) if *is == absent));
        }
        let Some(values) = values else {
            return if_exists || set == Set::All || (set == Set::Plain && negated);
        };
        let mut values = values.iter();
        match set {
            Set::Plain if negated => values.all(|value| self.passes(value, request)),
            Set::Plain | Set::Any => values.any(|value| self.passes(value, request)),
            Set::All => {
                values.clone().all(String::is_empty) || values.all(|value| self.passes(value, request))
            }
        }
    }

    /// Whether it makes that not just anybody can be meant; in doubt it does not.
    pub(super) fn narrows(&self) -> bool {
        let Operator { negated, if_exists, set, .. } = self.operator;
        if negated || if_exists || set == Set::All {
            return false;
        }
        let is_name = NARROWING_KEYS.contains(&self.key.as_str());
        self.operands.iter().all(|operand| match operand {
            Operand::Text(pattern) => is_name && pattern.is_fixed(),
            Operand::Address(network) => self.key == ADDRESS_KEY && !network.is_broad(),
            Operand::Number(_) | Operand::Date(_) | Operand::Bool(_) => false,
        })
    }

    /// Whether it asks for tags of the object that is there.
    pub(super) fn asks_for_tags(&self) -> bool {
        self.key.starts_with(TAG_KEYS)
            || self.operands.iter().any(|operand| match operand {
                Operand::Text(pattern) => names_tags(pattern),
                _ => false,
            })
    }

    fn passes(&self, value: &str, request: &Request<'_>) -> bool {
        let Operator { kind, negated, .. } = self.operator;
        let value = Value::of(kind, value);
        self.operands.iter().any(|operand| operand.fits(kind, &value, request)) != negated
    }
}

/// Whether a variable of a pattern is a tag of the object that is there.
pub(super) fn names_tags(pattern: &Pattern) -> bool {
    pattern.keys().any(|key| key.starts_with(TAG_KEYS))
}

impl Operator {
    fn parse(name: &str) -> Result<Self, String> {
        let (set, rest) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Set::All, rest),
            Some(("ForAnyValue", rest)) => (Set::Any, rest),
            _ => (Set::Plain, name),
        };
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let Some((kind, negated)) = operator(base) else {
            let why = format!("the condition operator {} is not known", shown(name));
            return Err(format!("{why}; known are {OPERATORS}"));
        };
        if kind == Kind::Null && (if_exists || set != Set::Plain) {
            let why = "Null stands alone, without \"IfExists\", \"ForAllValues:\" and \"ForAnyValue:\"";
            return Err(format!("the condition operator {}: {why}", shown(name)));
        }
        Ok(Self { kind, negated, if_exists, set })
    }

    fn operand(self, text: &str, variables: bool) -> Result<Operand, String> {
        let wrong = |allowed: &str| format!("the value {} is not {allowed}", shown(text));
        match self.kind {
            Kind::Text { fold, wildcards } => {
                Pattern::parse(text, Syntax { wildcards, variables, fold }).map(Operand::Text)
            }
            Kind::Number(_) => number(text).map(Operand::Number).ok_or_else(|| wrong("a number")),
            Kind::Date(_) => moment(text).map(Operand::Date).ok_or_else(|| {
                wrong("a date such as 2026-01-31 or 2026-01-31T12:30:00Z, or seconds since 1970")
            }),
            Kind::Bool | Kind::Null => {
                boolean(text).map(Operand::Bool).ok_or_else(|| wrong("\"true\" or \"false\""))
            }
            Kind::Address => Network::parse(text).map(Operand::Address).ok_or_else(|| {
                wrong("an address such as 203.0.113.7, or a range such as 203.0.113.0/24 or 2001:db8::/32")
            }),
        }
    }
}

const OPERATORS: &str = "StringEquals, StringEqualsIgnoreCase, StringLike, NumericEquals, NumericLessThan, \
     NumericLessThanEquals, NumericGreaterThan, NumericGreaterThanEquals, DateEquals, DateLessThan, \
     DateLessThanEquals, DateGreaterThan, DateGreaterThanEquals, Bool, IpAddress, ArnEquals, ArnLike and Null, \
     those of strings, addresses, ARNs and equality with \"Not\", all but Null with \"IfExists\" behind and \
     \"ForAllValues:\" or \"ForAnyValue:\" in front";

/// What an operator without prefix and suffix compares, and whether it holds when nothing fits.
fn operator(name: &str) -> Option<(Kind, bool)> {
    const EXACT: Kind = Kind::Text { fold: false, wildcards: false };
    const FOLDED: Kind = Kind::Text { fold: true, wildcards: false };
    const LIKE: Kind = Kind::Text { fold: false, wildcards: true };
    Some(match name {
        "StringEquals" => (EXACT, false),
        "StringNotEquals" => (EXACT, true),
        "StringEqualsIgnoreCase" => (FOLDED, false),
        "StringNotEqualsIgnoreCase" => (FOLDED, true),
        "StringLike" | "ArnEquals" | "ArnLike" => (LIKE, false),
        "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => (LIKE, true),
        "Bool" => (Kind::Bool, false),
        "IpAddress" => (Kind::Address, false),
        "NotIpAddress" => (Kind::Address, true),
        "Null" => (Kind::Null, false),
        _ => {
            let (of, rest): (fn(Comparison) -> Kind, _) = match name.strip_prefix("Numeric") {
                Some(rest) => (Kind::Number, rest),
                None => (Kind::Date, name.strip_prefix("Date")?),
            };
            let (comparison, negated) = comparison(rest)?;
            (of(comparison), negated)
        }
    })
}

fn comparison(name: &str) -> Option<(Comparison, bool)> {
    Some(match name {
        "Equals" => (Comparison::Equal, false),
        "NotEquals" => (Comparison::Equal, true),
        "LessThan" => (Comparison::Less, false),
        "LessThanEquals" => (Comparison::LessOrEqual, false),
        "GreaterThan" => (Comparison::Greater, false),
        "GreaterThanEquals" => (Comparison::GreaterOrEqual, false),
        _ => return None,
    })
}

/// A value of the request, read once for all operands.
enum Value {
    Text(Text),
    Number(f64),
    Date(Time),
    Bool(bool),
    Address(IpAddr),
    /// It is not of the operator's kind.
    Other,
}

impl Value {
    fn of(kind: Kind, value: &str) -> Self {
        match kind {
            Kind::Text { fold, .. } => Self::Text(Text::new(value, fold)),
            Kind::Number(_) => number(value).map_or(Self::Other, Self::Number),
            Kind::Date(_) => moment(value).map_or(Self::Other, Self::Date),
            Kind::Bool | Kind::Null => boolean(value).map_or(Self::Other, Self::Bool),
            Kind::Address => value.parse().map_or(Self::Other, Self::Address),
        }
    }
}

impl Operand {
    fn fits(&self, kind: Kind, value: &Value, request: &Request<'_>) -> bool {
        let compare = |order| match kind {
            Kind::Number(comparison) | Kind::Date(comparison) => comparison.holds(order),
            Kind::Text { .. } | Kind::Bool | Kind::Address | Kind::Null => false,
        };
        match (self, value) {
            (Self::Text(own), Value::Text(text)) => {
                own.matches(text, &|key| request.single(key)) == Some(true)
            }
            (Self::Number(own), Value::Number(number)) => number.partial_cmp(own).is_some_and(compare),
            (Self::Date(own), Value::Date(date)) => compare(date.cmp(own)),
            (Self::Bool(own), Value::Bool(value)) => own == value,
            (Self::Address(own), Value::Address(address)) => own.contains(*address),
            _ => false,
        }
    }
}

//! Goal: a policy says what the IAM reference says that it says, and what is no policy is refused with its reason.
//!
//! Method: tables in the order of the reference; properties over random statements and over arbitrary texts.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{POLICY_BYTES_MAX, Policy, Request, Verdict};

type Values<'a> = &'a [(&'a str, &'a [&'a str])];

fn ask(
    policy: &Policy,
    access_key: Option<&str>,
    action: &str,
    resource: &str,
    values: Values<'_>,
) -> Verdict {
    let value = |key: &str| {
        let (_, values) = values.iter().find(|(name, _)| *name == key)?;
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    };
    policy.verdict(&Request { access_key, action, resource, value: &value })
}

fn of_key(statements: &Value) -> Policy {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::of_key(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn of_bucket(statements: &Value) -> Policy {
    let text = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    Policy::of_bucket(&text, "photos").unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn key_error(text: &str) -> String {
    Policy::of_key(text).map(|_| ()).expect_err(text).to_string()
}

fn bucket_error(statement: &Value) -> String {
    let text = json!({"Statement": statement}).to_string();
    Policy::of_bucket(&text, "photos").map(|_| ()).expect_err(&text).to_string()
}

/// Whether a condition holds for values of a request.
fn holds(operator: &str, key: &str, operands: &Value, values: Values<'_>) -> bool {
    let statement = json!({
        "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {operator: {key: operands}},
    });
    ask(&of_key(&statement), Some("anna"), "s3:GetObject", "*", values) == Verdict::Allow
}

/// Rows: operator, its values, value of the request, whether it holds. Each is tried with one value, and its
/// answers to a missing key follow from `Not` in the name.
fn table(rows: &[(&str, &[&str], &str, bool)]) {
    for (operator, operands, value, expected) in rows {
        let operands = json!(operands);
        let holds = |operator: &str, values| holds(operator, "aws:Referer", &operands, values);
        let present: Values<'_> = &[("aws:referer", &[value])];
        let row = format!("{operator} {operands} {value:?}");
        assert_eq!(holds(operator, present), *expected, "{row}");
        assert_eq!(holds(&format!("{operator}IfExists"), present), *expected, "{row} if exists");
        assert_eq!(holds(&format!("ForAnyValue:{operator}"), present), *expected, "{row} any");
        if !value.is_empty() {
            assert_eq!(holds(&format!("ForAllValues:{operator}"), present), *expected, "{row} all");
        }
        assert_eq!(holds(operator, &[]), operator.contains("Not"), "{row} missing");
        assert!(holds(&format!("{operator}IfExists"), &[]), "{row} missing if exists");
        assert!(holds(&format!("ForAllValues:{operator}"), &[]), "{row} missing all");
        assert!(!holds(&format!("ForAnyValue:{operator}"), &[]), "{row} missing any");
        assert!(holds(&format!("ForAnyValue:{operator}IfExists"), &[]), "{row} missing any if exists");
    }
}

#[test]
fn operators_of_strings() {
    table(&[
        ("StringEquals", &["a", "b"], "b", true),
        ("StringEquals", &["a", "b"], "c", false),
        ("StringEquals", &["a"], "A", false),
        ("StringEquals", &["a*"], "ab", false),
        ("StringEquals", &["a*"], "a*", true),
        ("StringEquals", &[""], "", true),
        ("StringEquals", &["${*}"], "*", true),
        ("StringNotEquals", &["a", "b"], "b", false),
        ("StringNotEquals", &["a", "b"], "c", true),
        ("StringEqualsIgnoreCase", &["aB"], "Ab", true),
        ("StringEqualsIgnoreCase", &["aB"], "Abc", false),
        ("StringNotEqualsIgnoreCase", &["aB"], "Ab", false),
        ("StringNotEqualsIgnoreCase", &["aB"], "Abc", true),
        ("StringLike", &["a*", "b?"], "abc", true),
        ("StringLike", &["a*", "b?"], "bc", true),
        ("StringLike", &["a*", "b?"], "bcd", false),
        ("StringLike", &["A*"], "ab", false),
        ("StringLike", &["a${*}"], "ab", false),
        ("StringLike", &["home/${aws:username}/*"], "home/anna/x", true),
        ("StringLike", &["home/${aws:username}/*"], "home/bert/x", false),
        ("StringEquals", &["${aws:UserAgent}"], "", false),
        ("StringNotEquals", &["${aws:UserAgent}"], "", true),
        ("StringEquals", &["${aws:UserAgent, 'x'}"], "x", true),
        ("StringNotLike", &["a*"], "ab", false),
        ("StringNotLike", &["a*"], "ba", true),
        ("ArnEquals", &["arn:aws:iam::*:user/a"], "arn:aws:iam::1:user/a", true),
        ("ArnLike", &["arn:aws:iam::*:user/a"], "arn:aws:iam::1:user/b", false),
        ("ArnNotEquals", &["arn:aws:iam::*:user/a"], "arn:aws:iam::1:user/a", false),
        ("ArnNotLike", &["arn:aws:iam::*:user/a"], "arn:aws:iam::1:user/b", true),
    ]);
}

#[test]
fn operators_of_numbers() {
    table(&[
        ("NumericEquals", &["10"], "10", true),
        ("NumericEquals", &["10"], "10.0", true),
        ("NumericEquals", &["10", "11"], "11", true),
        ("NumericEquals", &["10"], "9", false),
        ("NumericEquals", &["10"], "ten", false),
        ("NumericNotEquals", &["10", "11"], "11", false),
        ("NumericNotEquals", &["10", "11"], "12", true),
        ("NumericLessThan", &["10"], "9", true),
        ("NumericLessThan", &["10"], "10", false),
        ("NumericLessThanEquals", &["10"], "10", true),
        ("NumericLessThanEquals", &["10"], "11", false),
        ("NumericGreaterThan", &["10"], "11", true),
        ("NumericGreaterThan", &["10"], "10", false),
        ("NumericGreaterThanEquals", &["10"], "10", true),
        ("NumericGreaterThanEquals", &["10"], "9", false),
        ("NumericGreaterThan", &["-1.5"], "-1", true),
        ("NumericGreaterThan", &["10"], "", false),
    ]);
    assert!(holds("NumericEquals", "s3:max-keys", &json!(10), &[("s3:max-keys", &["10"])]));
}

#[test]
fn operators_of_dates() {
    table(&[
        ("DateEquals", &["2026-01-31T00:00:00Z"], "2026-01-31", true),
        ("DateEquals", &["1769817600"], "2026-01-31", true),
        ("DateNotEquals", &["2026-01-31"], "2026-01-31T00:00:00.5Z", true),
        ("DateNotEquals", &["2026-01-31"], "1769817600", false),
        ("DateLessThan", &["2026-01-31T12:00Z"], "2026-01-31T11:59:59Z", true),
        ("DateLessThan", &["2026-01-31T12:00Z"], "2026-01-31T12:00:00Z", false),
        ("DateLessThanEquals", &["2026-01-31T12:00Z"], "2026-01-31T12:00:00Z", true),
        ("DateGreaterThan", &["2026-01-31T12:00Z"], "2026-01-31T12:00:00.001Z", true),
        ("DateGreaterThan", &["2026-01-31T12:00Z"], "2026-01-31T12:00:00Z", false),
        ("DateGreaterThanEquals", &["2026-01-31T12:00Z"], "2026-01-31T12:00:00Z", true),
        ("DateGreaterThanEquals", &["2026-01-31T12:00Z"], "yesterday", false),
    ]);
}

#[test]
fn operators_of_booleans_and_addresses() {
    table(&[
        ("Bool", &["true"], "true", true),
        ("Bool", &["true"], "false", false),
        ("Bool", &["False"], "false", true),
        ("Bool", &["true"], "yes", false),
        ("IpAddress", &["203.0.113.0/24", "2001:db8::/32"], "203.0.113.9", true),
        ("IpAddress", &["203.0.113.0/24", "2001:db8::/32"], "2001:db8::9", true),
        ("IpAddress", &["203.0.113.0/24"], "203.0.114.9", false),
        ("IpAddress", &["203.0.113.9"], "203.0.113.9", true),
        ("IpAddress", &["203.0.113.9"], "here", false),
        ("NotIpAddress", &["203.0.113.0/24", "2001:db8::/32"], "203.0.113.9", false),
        ("NotIpAddress", &["203.0.113.0/24", "2001:db8::/32"], "203.0.114.9", true),
    ]);
    assert!(holds("Bool", "aws:SecureTransport", &json!(true), &[("aws:securetransport", &["true"])]));
}

#[test]
fn null_asks_whether_a_key_is_missing() {
    for (operand, values, expected) in [
        (json!("true"), None, true),
        (json!(true), None, true),
        (json!("false"), None, false),
        (json!("true"), Some("a"), false),
        (json!("false"), Some("a"), true),
        (json!("false"), Some(""), false),
        (json!(["true", "false"]), Some("a"), true),
    ] {
        let one = values.map(|value| [value]);
        let present = one.as_ref().map(|values| ("aws:referer", values.as_slice()));
        assert_eq!(
            holds("Null", "aws:Referer", &operand, present.as_slice()),
            expected,
            "{operand} {values:?}"
        );
    }
    let none: Values<'_> = &[("aws:referer", &[])];
    assert!(holds("Null", "aws:Referer", &json!("true"), none), "a key without values is missing");
    assert!(holds("StringEqualsIfExists", "aws:Referer", &json!("a"), none));
}

#[test]
fn sets_of_values() {
    let operands = json!(["a", "b"]);
    for (operator, values, expected) in [
        ("ForAllValues:StringEquals", &["a", "b"] as &[&str], true),
        ("ForAllValues:StringEquals", &["a", "c"], false),
        ("ForAllValues:StringEquals", &[], true),
        ("ForAllValues:StringEquals", &[""], true),
        ("ForAllValues:StringEquals", &["", "c"], false),
        ("ForAllValues:StringNotEquals", &["c", "d"], true),
        ("ForAllValues:StringNotEquals", &["a", "c"], false),
        ("ForAnyValue:StringEquals", &["c", "a"], true),
        ("ForAnyValue:StringEquals", &["c", "d"], false),
        ("ForAnyValue:StringEquals", &[], false),
        ("ForAnyValue:StringNotEquals", &["a", "c"], true),
        ("ForAnyValue:StringNotEquals", &["a", "b"], false),
        ("StringEquals", &["c", "a"], true),
        ("StringEquals", &["c", "d"], false),
        ("StringNotEquals", &["c", "a"], false),
        ("StringNotEquals", &["c", "d"], true),
    ] {
        assert_eq!(
            holds(operator, "aws:Referer", &operands, &[("aws:referer", values)]),
            expected,
            "{operator} {values:?}"
        );
    }
}

#[test]
fn keys_are_asked_in_lower_case_but_for_names_of_tags() {
    let is = |key, name, value| holds("StringEquals", key, &json!("x"), &[(name, &[value])]);
    assert!(is("S3:Prefix", "s3:prefix", "x"));
    assert!(is("s3:ExistingObjectTag/Team/A", "s3:existingobjecttag/Team/A", "x"));
    assert!(!is("s3:ExistingObjectTag/team", "s3:existingobjecttag/Team", "x"));
    assert!(holds("StringEquals", "AWS:Username", &json!("anna"), &[]), "the access key is known");
}

#[test]
fn conditions_are_all_asked() {
    let policy = of_key(&json!({
        "Effect": "Allow", "Action": "s3:ListBucket", "Resource": "*",
        "Condition": {
            "StringEquals": {"s3:prefix": ["a/", "b/"], "s3:delimiter": "/"},
            "Bool": {"aws:SecureTransport": "true"},
        },
    }));
    let asked = |prefix: &str, delimiter: &str, secure: &str| {
        let values: Values<'_> =
            &[("s3:prefix", &[prefix]), ("s3:delimiter", &[delimiter]), ("aws:securetransport", &[secure])];
        ask(&policy, None, "s3:ListBucket", "arn:aws:s3:::x", values)
    };
    assert_eq!(asked("b/", "/", "true"), Verdict::Allow);
    for (prefix, delimiter, secure) in [("c/", "/", "true"), ("a/", "", "true"), ("a/", "/", "false")] {
        assert_eq!(asked(prefix, delimiter, secure), Verdict::Silent);
    }
}

#[test]
fn actions_and_resources_are_matched() {
    for (element, pattern, resources, resource, expected) in [
        ("Action", "*", "Resource", "*", true),
        ("Action", "s3:*", "Resource", "arn:aws:s3:::photos/*", true),
        ("Action", "S3:GETobject", "Resource", "arn:aws:s3:::photos/a", true),
        ("Action", "s3:Get?bject", "Resource", "arn:aws:s3:::*", true),
        ("Action", "s3:GetObjectAcl", "Resource", "*", false),
        ("Action", "s3:NewAction", "Resource", "*", false),
        ("Action", "s3:Put*", "Resource", "*", false),
        ("NotAction", "s3:Put*", "Resource", "*", true),
        ("NotAction", "s3:Get*", "Resource", "*", false),
        ("Action", "*", "Resource", "arn:aws:s3:::photos", false),
        ("Action", "*", "Resource", "arn:aws:s3:::photos/A", false),
        ("Action", "*", "NotResource", "arn:aws:s3:::photos/a", false),
        ("Action", "*", "NotResource", "arn:aws:s3:::photos/b", true),
        ("Action", "*", "Resource", "arn:aws:s3:::photos/${*}", false),
    ] {
        let statement = json!({"Effect": "Allow", element: [pattern], resources: [resource]});
        let verdict = ask(&of_key(&statement), None, "s3:GetObject", "arn:aws:s3:::photos/a", &[]);
        assert_eq!(verdict == Verdict::Allow, expected, "{statement}");
    }
}

#[test]
fn variables_need_a_value_and_the_version() {
    let home = json!("arn:aws:s3:::photos/${aws:username}/*");
    let verdict = |policy: &Policy, key| ask(policy, key, "s3:GetObject", "arn:aws:s3:::photos/anna/x", &[]);
    let policy = of_key(&json!({"Effect": "Allow", "Action": "*", "Resource": home}));
    assert_eq!(verdict(&policy, Some("anna")), Verdict::Allow);
    assert_eq!(verdict(&policy, Some("bert")), Verdict::Silent);
    assert_eq!(verdict(&policy, None), Verdict::Silent);
    let policy = of_key(&json!({"Effect": "Allow", "Action": "*", "NotResource": home}));
    assert_eq!(verdict(&policy, Some("anna")), Verdict::Silent);
    assert_eq!(verdict(&policy, Some("bert")), Verdict::Allow);
    assert_eq!(verdict(&policy, None), Verdict::Silent, "nobody is allowed all by a name that is missing");
    let policy = of_key(&json!({"Effect": "Deny", "Action": "*", "NotResource": home}));
    assert_eq!(verdict(&policy, None), Verdict::Deny);
    for version in [json!({"Version": "2008-10-17"}), json!({})] {
        let mut document = version;
        document["Statement"] = json!({"Effect": "Allow", "Action": "*", "Resource": home});
        let policy = Policy::of_key(&document.to_string()).unwrap();
        assert_eq!(verdict(&policy, Some("anna")), Verdict::Silent);
        let literal = "arn:aws:s3:::photos/${aws:username}/x";
        assert_eq!(ask(&policy, None, "s3:GetObject", literal, &[]), Verdict::Allow);
    }
}

#[test]
fn bucket_policies_are_about_principals() {
    let policy = of_bucket(&json!([
        {"Effect": "Allow", "Principal": {"AWS": ["anna", "arn:aws:iam::1:user/bert"]}, "Action": "s3:GetObject",
         "Resource": "arn:aws:s3:::photos/*"},
        {"Effect": "Deny", "NotPrincipal": {"AWS": "anna"}, "Action": "*",
         "Resource": ["arn:aws:s3:::photos/secret/*"]},
    ]));
    let verdict =
        |key, object: &str| ask(&policy, key, "s3:GetObject", &format!("arn:aws:s3:::photos/{object}"), &[]);
    assert_eq!(verdict(Some("anna"), "secret/a"), Verdict::Allow);
    assert_eq!(verdict(Some("bert"), "secret/a"), Verdict::Deny);
    assert_eq!(verdict(Some("bert"), "a"), Verdict::Allow);
    assert_eq!(verdict(None, "a"), Verdict::Silent);
    assert_eq!(verdict(None, "secret/a"), Verdict::Deny);
}

#[test]
fn what_is_no_policy_is_refused_with_its_reason() {
    for (text, word) in [
        ("", "not valid JSON"),
        ("[]", "a policy must be an object, not a list"),
        ("{}", "Statement is missing"),
        (r#"{"Statement": []}"#, "at least one"),
        (r#"{"Statement": 1}"#, "must be an object"),
        (r#"{"Statement": [{}]}"#, "statement 1: the element Effect is missing"),
        (r#"{"Version": "2012-10-18", "Statement": []}"#, "\"2012-10-17\""),
        (r#"{"Version": 2012, "Statement": []}"#, "Version must be a string"),
        (r#"{"Versions": "2012-10-17"}"#, "\"Versions\" is not known"),
        (r#"{"Id": 1}"#, "Id must be a string"),
        (r#"{"Id": "a", "Id": "b"}"#, "stands twice"),
    ] {
        let error = key_error(text);
        assert!(error.contains(word), "{text}: {error}");
    }
    let twice = json!({"Statement": [{"Sid": "a", "Effect": "Allow", "Action": "*", "Resource": "*"},
                                     {"Sid": "a", "Effect": "Allow", "Action": "*", "Resource": "*"}]});
    assert!(key_error(&twice.to_string()).contains("another one has the Sid \"a\""));
    let unnamed = twice.to_string().replace("\"a\"", "\"\"");
    assert!(Policy::of_key(&unnamed).is_ok(), "an empty Sid is none");
    let long = format!("{{\"Id\": \"{}\"}}", "x".repeat(POLICY_BYTES_MAX));
    assert!(key_error(&long).contains("at most 20480 bytes"));
}

#[test]
fn what_is_no_statement_is_refused_with_its_reason() {
    let good = json!({"Effect": "Allow", "Action": "s3:*", "Resource": "*"});
    for (element, value, word) in [
        ("Effect", json!("allow"), "\"Allow\" or \"Deny\""),
        ("Effect", json!(true), "must be a string"),
        ("Action", json!([]), "at least one"),
        ("Action", json!({}), "must be a string"),
        ("Action", json!("s3"), "invalid action"),
        ("Action", json!("s3:"), "invalid action"),
        ("Action", json!("s3:Get Object"), "invalid action"),
        ("Action", json!("s*:Get"), "invalid action"),
        ("Action", json!("iam:GetUser"), "invalid action"),
        ("NotAction", json!("*"), "both Action and NotAction"),
        ("NotResource", json!("*"), "both Resource and NotResource"),
        ("Resource", json!("photos/*"), "invalid resource"),
        ("Resource", json!("arn:aws:s3:::"), "invalid resource"),
        ("Resource", json!("arn:aws:sns:::x"), "invalid resource"),
        ("Principal", json!("*"), "belong to the policy of a bucket"),
        ("Sid", json!(1), "must be a string"),
        ("Conditions", json!({}), "\"Conditions\" is not known"),
        ("Condition", json!([]), "Condition must be an object"),
        ("Condition", json!({"StringEqual": {}}), "\"StringEqual\" is not known"),
        ("Condition", json!({"Numeric": {}}), "not known"),
        ("Condition", json!({"ForSomeValues:Bool": {}}), "not known"),
        ("Condition", json!({"NullIfExists": {}}), "Null stands alone"),
        (
            "Condition",
            json!({"Bool": {"aws:UserAgent": "maybe"}}),
            "key \"aws:UserAgent\": the value \"maybe\"",
        ),
        ("Condition", json!({"Bool": {"aws:UserAgent": []}}), "at least one"),
        ("Condition", json!({"Bool": {"aws:UserAgent": null}}), "must be a string, not null"),
        ("Condition", json!({"Bool": {"prefix": true}}), "invalid condition key"),
        ("Condition", json!({"NumericEquals": {"aws:UserAgent": "NaN"}}), "not a number"),
        ("Condition", json!({"DateEquals": {"aws:UserAgent": "2026-02-30"}}), "not a date"),
        ("Condition", json!({"IpAddress": {"aws:UserAgent": "10.0.0.0/33"}}), "203.0.113.0/24"),
    ] {
        let mut statement = good.clone();
        statement[element] = value;
        let text = json!({"Version": "2012-10-17", "Statement": [good, statement]}).to_string();
        let error = key_error(&text);
        assert!(error.starts_with("statement 2: ") && error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_bucket_policy_stays_with_its_bucket() {
    let statement =
        |resource: &str| json!({"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": resource});
    for resource in
        ["*", "arn:aws:s3:::photos", "arn:aws:s3:::photos/*", "arn:aws:s3:::*", "arn:aws:s3:::p*/x"]
    {
        of_bucket(&statement(resource));
    }
    for resource in
        ["arn:aws:s3:::photo", "arn:aws:s3:::photos2/*", "arn:aws:s3:::${aws:username}/*", "photos"]
    {
        let error = bucket_error(&statement(resource));
        assert!(error.contains("Policy has invalid resource"), "{error}");
    }
    let nobody = json!({"Effect": "Deny", "Action": "*", "Resource": "*"});
    assert!(bucket_error(&nobody).contains("one of the elements Principal and NotPrincipal is needed"));
    let all_but = json!({"Effect": "Allow", "NotPrincipal": {"AWS": "a"}, "Action": "*", "Resource": "*"});
    assert!(bucket_error(&all_but).contains("NotPrincipal belongs to \"Deny\""));
}

#[test]
fn public_is_what_anybody_may() {
    let policy = |effect: &str, principal: Value, condition: Value| {
        of_bucket(&json!({
            "Effect": effect, "Principal": principal, "Action": "s3:GetObject", "Resource": "*",
            "Condition": condition,
        }))
    };
    assert!(policy("Allow", json!("*"), json!({})).is_public());
    assert!(policy("Allow", json!({"AWS": ["anna", "*"]}), json!({})).is_public());
    assert!(!policy("Allow", json!({"AWS": "anna"}), json!({})).is_public());
    assert!(!policy("Allow", json!({"AWS": "arn:aws:iam::1:root"}), json!({})).is_public());
    assert!(!policy("Deny", json!("*"), json!({})).is_public());
    for (operator, key, value, expected) in [
        ("IpAddress", "aws:SourceIp", json!("203.0.113.0/24"), false),
        ("IpAddress", "aws:SourceIp", json!(["203.0.113.0/24", "::/0"]), true),
        ("IpAddress", "aws:SourceIp", json!("0.0.0.0/1"), true),
        ("IpAddress", "aws:Referer", json!("203.0.113.0/24"), true),
        ("NotIpAddress", "aws:SourceIp", json!("203.0.113.0/24"), true),
        ("IpAddressIfExists", "aws:SourceIp", json!("203.0.113.0/24"), true),
        ("StringEquals", "AWS:UserName", json!("a"), false),
        ("ArnLike", "aws:username", json!("a"), false),
        ("ArnLike", "aws:username", json!("a*"), true),
        ("StringLike", "aws:userid", json!("*"), true),
        ("StringEquals", "aws:userid", json!("${aws:userid}"), true),
        ("ForAnyValue:StringEquals", "aws:userid", json!("a"), false),
        ("ForAllValues:StringEquals", "aws:userid", json!("a"), true),
        ("StringNotEquals", "aws:userid", json!("a"), true),
        ("StringEquals", "aws:Referer", json!("https://example.com"), true),
        ("Bool", "aws:SecureTransport", json!(true), true),
        ("Null", "aws:username", json!(false), true),
    ] {
        let condition = json!({operator: {key: value}});
        assert_eq!(policy("Allow", json!("*"), condition.clone()).is_public(), expected, "{condition}");
    }
    assert!(!of_key(&json!({"Effect": "Allow", "Action": "*", "Resource": "*"})).is_public());
}

#[test]
fn tags_of_objects_are_asked_for_when_a_statement_needs_them() {
    let asks = |resource: &str, key: &str, operand: &str| {
        let condition = json!({"StringEquals": {key: operand}});
        let statement =
            json!({"Effect": "Allow", "Action": "*", "Resource": resource, "Condition": condition});
        of_key(&statement).asks_for_tags()
    };
    assert!(asks("*", "S3:existingObjectTag/a", "x"));
    assert!(asks("*", "aws:UserAgent", "${s3:ExistingObjectTag/a}"));
    assert!(asks("arn:aws:s3:::${s3:ExistingObjectTag/a}", "aws:UserAgent", "x"));
    assert!(!asks("*", "s3:RequestObjectTag/a", "x"));
}

fn any_statement(effect: &'static str) -> impl Strategy<Value = Value> {
    let actions = prop::sample::select(vec!["*", "s3:*", "s3:Get*", "s3:GetObject", "s3:Put*"]);
    let resources = prop::sample::select(vec![
        "*",
        "arn:aws:s3:::b",
        "arn:aws:s3:::b/*",
        "arn:aws:s3:::b/${aws:username}",
    ]);
    let conditions = prop::sample::select(vec![
        json!({}),
        json!({"StringEquals": {"s3:prefix": "a"}}),
        json!({"StringNotEquals": {"s3:prefix": "a"}}),
        json!({"Null": {"s3:prefix": "true"}}),
    ]);
    (actions, any::<bool>(), resources, any::<bool>(), conditions).prop_map(
        move |(action, not_action, resource, not_resource, condition)| {
            let action_element = if not_action { "NotAction" } else { "Action" };
            let resource_element = if not_resource { "NotResource" } else { "Resource" };
            json!({"Effect": effect, action_element: action, resource_element: resource, "Condition": condition})
        },
    )
}

/// JSON in which the words of the language are frequent.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "*",
        "Allow",
        "Deny",
        "s3:*",
        "arn:aws:s3:::b/*",
        "${aws:username}",
        "2012-10-17",
        "1.2.3.4/8",
        "true",
        "7",
    ]);
    let leaf = prop_oneof![
        words.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    let names = prop::sample::select(vec![
        "Version",
        "Id",
        "Statement",
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
        "AWS",
        "StringLike",
        "DateLessThan",
        "IpAddress",
        "Null",
        "aws:username",
        "s3:prefix",
    ]);
    leaf.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8).prop_map(|entries| entries
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

fn read_and_ask(text: &str) {
    for policy in [Policy::of_key(text), Policy::of_bucket(text, "b")].into_iter().flatten() {
        ask(&policy, Some("anna"), "s3:GetObject", "arn:aws:s3:::b/k", &[("s3:prefix", &["a"])]);
        let _ = (policy.is_public(), policy.asks_for_tags());
    }
}

proptest! {
    #[test]
    fn a_denial_always_wins(
        denial in any_statement("Deny"),
        others in prop::collection::vec(any_statement("Allow"), 0..5),
        place in 0..6_usize,
        key in prop::option::of(Just("anna")),
        prefix in prop::option::of(Just("a")),
    ) {
        let prefix = prefix.map(|prefix| [prefix]);
        let present = prefix.as_ref().map(|values| ("s3:prefix", values.as_slice()));
        let verdict =
            |policy: &Policy| ask(policy, key, "s3:GetObject", "arn:aws:s3:::b/anna", present.as_slice());
        let alone = verdict(&of_key(&denial));
        let mut all = others.clone();
        all.insert(place.min(others.len()), denial);
        let together = verdict(&of_key(&json!(all)));
        let allowed = !others.is_empty() && verdict(&of_key(&json!(others))) == Verdict::Allow;
        let expected = match (alone, allowed) {
            (Verdict::Deny, _) => Verdict::Deny,
            (_, true) => Verdict::Allow,
            (_, false) => Verdict::Silent,
        };
        prop_assert_eq!(together, expected);
    }

    #[test]
    fn any_json_is_read_or_refused(value in any_json()) {
        read_and_ask(&value.to_string());
        read_and_ask(&json!({"Version": "2012-10-17", "Statement": value}).to_string());
        read_and_ask(&json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": value}})
            .to_string());
        read_and_ask(&json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": value}})
            .to_string());
    }

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>(), operand in "[0-9TZ:./${}*,'a-f-]{0,24}") {
        read_and_ask(&text);
        for operator in ["StringLike", "NumericEquals", "DateEquals", "IpAddress", "Bool"] {
            let condition = json!({operator: {"s3:prefix": operand}});
            read_and_ask(&json!({"Version": "2012-10-17", "Statement":
                {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}}).to_string());
        }
    }
}

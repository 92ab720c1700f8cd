//! What a form may be: the policy in it (Amazon S3 API reference, "Creating a POST policy").
//!
//! Owns the check of its conditions. Each field is in a condition, but for those that S3 excuses, so that a form
//! cannot say more than who signed the policy allowed. The bucket is that of the address, and is in one too: a policy without would
//! be good for every bucket of its signer. How large the file may be is checked as it comes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use http::StatusCode;
use s3s::post_policy::{PostPolicy, PostPolicyCondition};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::objects::PUT_BYTES_MAX;
use crate::s3::values::whole_seconds;
use crate::view::Time;

/// Fields by their name in lower case.
pub(in crate::s3) type Fields = BTreeMap<String, String>;

/// The field with the policy.
pub(super) const POLICY: &str = "policy";
/// The field with the signature.
pub(super) const SIGNATURE: &str = "x-amz-signature";
/// The field with the access key of a signature in version 2.
pub(super) const ACCESS_KEY_V2: &str = "awsaccesskeyid";
/// The field with such a signature.
pub(super) const SIGNATURE_V2: &str = "signature";
/// What conditions call the bucket.
const BUCKET: &str = "bucket";
/// Fields that begin so are passed over.
const IGNORED: &str = "x-ignore-";

/// Checks the policy of a form; gives how many bytes the file may have.
pub(in crate::s3) fn check(
    policy: &str,
    fields: &Fields,
    bucket: &str,
    now: Time,
) -> S3Result<RangeInclusive<u64>> {
    let policy = PostPolicy::from_base64(policy).map_err(|error| {
        S3Error::with_message(S3ErrorCode::InvalidPolicyDocument, format!("Invalid Policy: {error}"))
    })?;
    if whole_seconds(&policy.expiration)? <= now {
        return Err(denied("Invalid according to Policy: Policy expired."));
    }
    let mut range = 0..=PUT_BYTES_MAX;
    for condition in &policy.conditions {
        match condition {
            PostPolicyCondition::Eq { field, value } => {
                let found = value_of(fields, field, bucket);
                check_one(found == Some(value.as_str()), "eq", field)?;
            }
            PostPolicyCondition::StartsWith { field, prefix } => {
                let found = value_of(fields, field, bucket).unwrap_or_default();
                check_one(starts_with(found, field, prefix), "starts-with", field)?;
            }
            PostPolicyCondition::ContentLengthRange { min, max } => {
                range = (*range.start()).max(*min)..=(*range.end()).min(*max);
            }
        }
    }
    let mut said = fields.keys().map(String::as_str).filter(|name| !is_excused(name)).chain([BUCKET]);
    match said.find(|name| !names(&policy, name)) {
        Some(extra) => Err(denied(&format!("Invalid according to Policy: Extra input fields: {extra}"))),
        None => Ok(range),
    }
}

/// The error of a form that may not.
pub(super) fn denied(why: &str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::AccessDenied, why.to_owned());
    error.set_status_code(StatusCode::FORBIDDEN);
    error
}

fn check_one(holds: bool, how: &str, field: &str) -> S3Result<()> {
    if holds {
        return Ok(());
    }
    Err(denied(&format!("Invalid according to Policy: Policy Condition failed: [\"{how}\", \"${field}\"]")))
}

fn value_of<'a>(fields: &'a Fields, field: &str, bucket: &'a str) -> Option<&'a str> {
    if field == BUCKET { Some(bucket) } else { fields.get(field).map(String::as_str) }
}

/// A type may be a list, all of which begin so.
fn starts_with(found: &str, field: &str, prefix: &str) -> bool {
    match field {
        "content-type" => found.split(',').all(|part| part.trim().starts_with(prefix)),
        _ => found.starts_with(prefix),
    }
}

fn is_excused(field: &str) -> bool {
    [POLICY, SIGNATURE, ACCESS_KEY_V2, SIGNATURE_V2].contains(&field) || field.starts_with(IGNORED)
}

fn names(policy: &PostPolicy, name: &str) -> bool {
    policy.conditions.iter().any(|condition| match condition {
        PostPolicyCondition::Eq { field, .. } | PostPolicyCondition::StartsWith { field, .. } => {
            field == name
        }
        PostPolicyCondition::ContentLengthRange { .. } => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time { seconds: 1_700_000_000, nanos: 0 };

    fn checked(conditions: &str, pairs: &[(&str, &str)]) -> Result<RangeInclusive<u64>, S3ErrorCode> {
        let conditions = format!("{{\"bucket\": \"bucket\"}}, {conditions}");
        of_text(&good(&conditions), pairs)
    }

    fn good(conditions: &str) -> String {
        format!("{{\"expiration\": \"2030-01-01T00:00:00.000Z\", \"conditions\": [{conditions}]}}")
    }

    fn of_text(text: &str, pairs: &[(&str, &str)]) -> Result<RangeInclusive<u64>, S3ErrorCode> {
        let fields = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let policy = base64_simd::STANDARD.encode_to_string(text);
        check(&policy, &fields, "bucket", NOW).map_err(|error| error.code().clone())
    }

    #[test]
    fn every_field_is_in_a_condition_that_holds() {
        let denied = Err(S3ErrorCode::AccessDenied);
        let all = 0..=PUT_BYTES_MAX;
        let conditions = r#"["starts-with", "$key", "user/"]"#;
        assert_eq!(checked(conditions, &[("key", "user/a")]), Ok(all.clone()));
        assert_eq!(checked(conditions, &[("key", "other/a")]), denied);
        assert_eq!(checked(conditions, &[]), denied);
        assert_eq!(checked(conditions, &[("key", "user/a"), ("acl", "private")]), denied);
        let excused = [("key", "user/a"), ("x-ignore-me", "1"), (POLICY, "…"), (SIGNATURE, "…")];
        assert_eq!(checked(conditions, &excused), Ok(all.clone()));
        let version_two = [("key", "user/a"), (ACCESS_KEY_V2, "…"), (SIGNATURE_V2, "…")];
        assert_eq!(checked(conditions, &version_two), Ok(all.clone()));
        assert_eq!(checked(r#"{"bucket": "other"}"#, &[]), denied);
        assert_eq!(checked(r#"["eq", "$Key", "a"]"#, &[("key", "a")]), Ok(all.clone()));
        assert_eq!(checked(r#"["eq", "$key", "a"]"#, &[("key", "ab")]), denied);
        let types = r#"["starts-with", "$Content-Type", "image/"]"#;
        assert_eq!(checked(types, &[("content-type", "image/png,image/gif")]), Ok(all));
        assert_eq!(checked(types, &[("content-type", "image/png,text/html")]), denied);
    }

    #[test]
    fn a_policy_is_good_for_the_bucket_that_it_names() {
        let of = |condition: &str| {
            let text = good(&format!("{condition} [\"eq\", \"$key\", \"a\"]"));
            of_text(&text, &[("key", "a")]).is_ok()
        };
        for bucket in [r#"{"bucket": "bucket"},"#, r#"["starts-with", "$bucket", "buck"],"#] {
            assert!(of(bucket), "{bucket}");
        }
        for bucket in ["", r#"{"bucket": "other"},"#, r#"["starts-with", "$bucket", "x"],"#] {
            assert!(!of(bucket), "{bucket}");
        }
        let said = of_text(&good(r#"["eq", "$bucket", "other"]"#), &[("bucket", "other")]);
        assert_eq!(said, Err(S3ErrorCode::AccessDenied), "the bucket is that of the address");
    }

    #[test]
    fn ranges_of_lengths_are_met_all() {
        let ranges = r#"["content-length-range", 5, 100], ["content-length-range", 1, 50]"#;
        assert_eq!(checked(ranges, &[]), Ok(5..=50));
    }

    #[test]
    fn a_policy_ends_and_one_that_is_none_is_said_to_be() {
        let expired = r#"{"expiration": "2020-01-01T00:00:00Z", "conditions": []}"#;
        assert_eq!(of_text(expired, &[]), Err(S3ErrorCode::AccessDenied));
        for wrong in ["", "{}", r#"{"expiration": "soon", "conditions": []}"#] {
            assert_eq!(of_text(wrong, &[]), Err(S3ErrorCode::InvalidPolicyDocument), "{wrong}");
        }
        assert_eq!(checked(r#"["like", "$key", "a"]"#, &[]), Err(S3ErrorCode::InvalidPolicyDocument));
    }
}

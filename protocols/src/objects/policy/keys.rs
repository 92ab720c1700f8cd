//! The condition keys that policies may ask for (Service Authorization Reference, "Condition keys for Amazon S3"; IAM user guide,
//! "AWS global condition context keys").
//!
//! Owns the one list of them. Reading refuses every other key, as a denial that asks for what nobody ever says would never be in
//! force. Who answers for a key is held against the list by tests where that is done: the view for its own, the server for those of
//! requests.

/// Keys of which the view says something: of the connection, the time, the caller and the object that is there. A name that ends
/// with a slash goes on with the name of a tag.
pub const VIEW_KEYS: [&str; 8] = [
    "aws:CurrentTime",
    "aws:EpochTime",
    "aws:PrincipalType",
    "aws:SecureTransport",
    "aws:SourceIp",
    "aws:userid",
    "aws:username",
    "s3:ExistingObjectTag/",
];

/// Keys of which a request may say something, in the same way.
pub const REQUEST_KEYS: [&str; 25] = [
    "aws:Referer",
    "aws:UserAgent",
    "s3:authType",
    "s3:delimiter",
    "s3:if-match",
    "s3:if-none-match",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-remaining-retention-days",
    "s3:object-lock-retain-until-date",
    "s3:prefix",
    "s3:RequestObjectTag/",
    "s3:RequestObjectTagKeys",
    "s3:signatureAge",
    "s3:signatureversion",
    "s3:TlsVersion",
    "s3:VersionId",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
];

/// Whether a key may be asked for. Case counts in the name of a tag alone.
pub fn is_known(key: &str) -> bool {
    VIEW_KEYS.iter().chain(&REQUEST_KEYS).any(|known| is_key(known, key))
}

/// Whether a key is one of the list.
pub fn is_key(known: &str, key: &str) -> bool {
    let has_tag = known.ends_with('/');
    key.split_at_checked(known.len())
        .is_some_and(|(start, tag)| start.eq_ignore_ascii_case(known) && has_tag != tag.is_empty())
}

/// The error of a key that is none.
pub(super) fn unknown(key: &str) -> String {
    let known: Vec<&str> = VIEW_KEYS.iter().chain(&REQUEST_KEYS).copied().collect();
    format!("{} is not known; known are {}", super::shown(key), known.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::objects::policy::Policy;

    /// A denial under a condition of which nobody ever says anything would deny nothing.
    #[test]
    fn a_policy_that_asks_for_what_nobody_says_is_refused() {
        for key in ["aws:PrincipalOrgID", "s3:LocationConstraint", "s3:x-amz-grant-read", "aws:"] {
            let condition = json!({"StringNotEquals": {key: "x"}});
            let mut statement =
                json!({"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition});
            let of_key = Policy::of_key(&json!({"Statement": statement}).to_string()).unwrap_err().0;
            statement["Principal"] = json!("*");
            let of_bucket = Policy::of_bucket(&json!({"Statement": statement}).to_string(), "photos");
            for error in [of_key, of_bucket.unwrap_err().0] {
                assert!(error.contains("Policy has an invalid condition key"), "{error}");
                assert!(error.contains(key) && error.contains("s3:signatureAge"), "{error}");
            }
        }
        let resource = "arn:aws:s3:::photos/${aws:PrincipalTag/a}";
        let statement = json!({"Effect": "Deny", "Action": "*", "Resource": resource});
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        assert!(Policy::of_key(&text).unwrap_err().0.contains("names no condition key"));
    }

    #[test]
    fn keys_of_the_list_are_known_and_no_others() {
        for key in ["aws:SourceIp", "AWS:SOURCEIP", "s3:prefix", "s3:x-amz-acl", "s3:requestobjecttagkeys"] {
            assert!(is_known(key), "{key}");
        }
        for key in ["s3:ExistingObjectTag/Team", "s3:requestobjecttag/a/b", "S3:RequestObjectTag/ä"] {
            assert!(is_known(key), "{key}");
        }
        for key in [
            "",
            "aws:",
            "s3:",
            "prefix",
            "aws:PrincipalOrgID",
            "aws:SourceVpce",
            "s3:prefixes",
            "s3:pre",
            "s3:prefix/a",
            "s3:ExistingObjectTag",
            "s3:ExistingObjectTag/",
            "s3:x-amz-grant-read",
            "s3:LocationConstraint",
        ] {
            assert!(!is_known(key), "{key}");
        }
    }
}

//! Policies: any text is read or refused, and what was read answers every request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_protocols::objects::policy::{POLICY_BYTES_MAX, Policy, Request};

const BUCKET: &str = "photos";
/// Callers, actions and resources, of which each is asked with each.
const ACCESS_KEYS: [Option<&str>; 2] = [None, Some("anna")];
const ACTIONS: [&str; 3] = ["s3:GetObject", "s3:ListBucket", "s3:PutBucketPolicy"];
const RESOURCES: [&str; 4] =
    ["*", "arn:aws:s3:::photos", "arn:aws:s3:::photos/a/b?c*d", "arn:aws:s3:::photos/${aws:username}"];

/// Keys with one value, with several, with an empty one and without any; all others are missing.
fn value(key: &str) -> Option<Vec<String>> {
    let values: &[&str] = match key {
        "aws:sourceip" => &["2001:db8::1"],
        "aws:currenttime" => &["2026-01-31T12:30:15.5Z"],
        "aws:epochtime" => &["1769862615"],
        "aws:securetransport" => &["true"],
        "s3:max-keys" => &["1000"],
        "s3:requestobjecttagkeys" => &["a", "b"],
        "s3:prefix" => &[""],
        "s3:delimiter" => &[],
        _ => return None,
    };
    Some(values.iter().map(|value| (*value).to_owned()).collect())
}

fuzz_target!(|text: &str| {
    for policy in [Policy::of_key(text), Policy::of_bucket(text, BUCKET)].into_iter().flatten() {
        assert!(text.len() <= POLICY_BYTES_MAX);
        let _ = policy.asks_for_tags();
        let _ = policy.is_public();
        for access_key in ACCESS_KEYS {
            for (action, resource) in ACTIONS.iter().flat_map(|action| RESOURCES.map(|of| (action, of))) {
                let request = Request { access_key, action, resource, value: &value };
                let verdict = policy.verdict(&request);
                assert_eq!(verdict, policy.verdict(&request), "it says the same when it is asked again");
            }
        }
    }
});

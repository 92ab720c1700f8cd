//! Which permissions a request needs: from the operation to actions of AWS (Service Authorization Reference,
//! "Actions defined by Amazon S3"; Amazon S3 user guide, "Required permissions for Amazon S3 API operations").
//!
//! Owns the table. An operation that is not in it is refused, so that a new one cannot be forgotten. Four
//! operations say in their document what they are about, and are asked about when that was read: those are only
//! for callers whose signature was checked, so that nobody unknown has a document read.

use super::facts::{Facts, of_version};
use crate::objects::{Asked, ObjectError, ObjectView, VersionId, Who};

/// The right to pass governance of object lock.
pub(super) const BYPASS: &str = "s3:BypassGovernanceRetention";
/// Says that a caller wants to.
const BYPASS_HEADER: &str = "x-amz-bypass-governance-retention";
/// Makes a bucket; the only one that is asked about a bucket that is not there yet.
const CREATE_BUCKET: &str = "CreateBucket";

/// What a permission is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// All buckets.
    All,
    /// The bucket of the request.
    Bucket,
    /// The object of the request.
    Object,
    /// The source of a copy.
    Source,
}

/// A permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Need {
    /// On what.
    pub(super) on: On,
    /// The action.
    pub(super) action: &'static str,
}

/// The permissions of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// All of these.
    Now(Vec<Need>),
    /// Those that its document says.
    Later,
}

/// Operations, what they are about, and their action; with another one where a version is named.
const TABLE: &[(&str, On, &str, Option<&str>)] = &[
    ("AbortMultipartUpload", On::Object, "s3:AbortMultipartUpload", None),
    ("CompleteMultipartUpload", On::Object, "s3:PutObject", None),
    ("CopyObject", On::Object, "s3:PutObject", None),
    ("CopyObject", On::Source, "s3:GetObject", Some("s3:GetObjectVersion")),
    (CREATE_BUCKET, On::Bucket, "s3:CreateBucket", None),
    ("CreateMultipartUpload", On::Object, "s3:PutObject", None),
    ("DeleteBucket", On::Bucket, "s3:DeleteBucket", None),
    ("DeleteBucketCors", On::Bucket, "s3:PutBucketCORS", None),
    ("DeleteBucketEncryption", On::Bucket, "s3:PutEncryptionConfiguration", None),
    ("DeleteBucketLifecycle", On::Bucket, "s3:PutLifecycleConfiguration", None),
    ("DeleteBucketOwnershipControls", On::Bucket, "s3:PutBucketOwnershipControls", None),
    ("DeleteBucketPolicy", On::Bucket, "s3:DeleteBucketPolicy", None),
    ("DeleteBucketTagging", On::Bucket, "s3:PutBucketTagging", None),
    ("DeleteObject", On::Object, "s3:DeleteObject", Some("s3:DeleteObjectVersion")),
    ("DeleteObjectTagging", On::Object, "s3:DeleteObjectTagging", Some("s3:DeleteObjectVersionTagging")),
    ("DeletePublicAccessBlock", On::Bucket, "s3:PutBucketPublicAccessBlock", None),
    ("GetBucketAccelerateConfiguration", On::Bucket, "s3:GetAccelerateConfiguration", None),
    ("GetBucketAcl", On::Bucket, "s3:GetBucketAcl", None),
    ("GetBucketCors", On::Bucket, "s3:GetBucketCORS", None),
    ("GetBucketEncryption", On::Bucket, "s3:GetEncryptionConfiguration", None),
    ("GetBucketLifecycleConfiguration", On::Bucket, "s3:GetLifecycleConfiguration", None),
    ("GetBucketLocation", On::Bucket, "s3:GetBucketLocation", None),
    ("GetBucketLogging", On::Bucket, "s3:GetBucketLogging", None),
    ("GetBucketNotificationConfiguration", On::Bucket, "s3:GetBucketNotification", None),
    ("GetBucketOwnershipControls", On::Bucket, "s3:GetBucketOwnershipControls", None),
    ("GetBucketPolicy", On::Bucket, "s3:GetBucketPolicy", None),
    ("GetBucketPolicyStatus", On::Bucket, "s3:GetBucketPolicyStatus", None),
    ("GetBucketReplication", On::Bucket, "s3:GetReplicationConfiguration", None),
    ("GetBucketRequestPayment", On::Bucket, "s3:GetBucketRequestPayment", None),
    ("GetBucketTagging", On::Bucket, "s3:GetBucketTagging", None),
    ("GetBucketVersioning", On::Bucket, "s3:GetBucketVersioning", None),
    ("GetBucketWebsite", On::Bucket, "s3:GetBucketWebsite", None),
    ("GetObject", On::Object, "s3:GetObject", Some("s3:GetObjectVersion")),
    ("GetObjectAcl", On::Object, "s3:GetObjectAcl", Some("s3:GetObjectVersionAcl")),
    ("GetObjectAttributes", On::Object, "s3:GetObject", Some("s3:GetObjectVersion")),
    ("GetObjectAttributes", On::Object, "s3:GetObjectAttributes", Some("s3:GetObjectVersionAttributes")),
    ("GetObjectLegalHold", On::Object, "s3:GetObjectLegalHold", None),
    ("GetObjectLockConfiguration", On::Bucket, "s3:GetBucketObjectLockConfiguration", None),
    ("GetObjectRetention", On::Object, "s3:GetObjectRetention", None),
    ("GetObjectTagging", On::Object, "s3:GetObjectTagging", Some("s3:GetObjectVersionTagging")),
    ("GetPublicAccessBlock", On::Bucket, "s3:GetBucketPublicAccessBlock", None),
    ("HeadBucket", On::Bucket, "s3:ListBucket", None),
    ("HeadObject", On::Object, "s3:GetObject", Some("s3:GetObjectVersion")),
    ("ListBuckets", On::All, "s3:ListAllMyBuckets", None),
    ("ListMultipartUploads", On::Bucket, "s3:ListBucketMultipartUploads", None),
    ("ListObjectVersions", On::Bucket, "s3:ListBucketVersions", None),
    ("ListObjects", On::Bucket, "s3:ListBucket", None),
    ("ListObjectsV2", On::Bucket, "s3:ListBucket", None),
    ("ListParts", On::Object, "s3:ListMultipartUploadParts", None),
    ("PostObject", On::Object, "s3:PutObject", None),
    ("PutBucketAccelerateConfiguration", On::Bucket, "s3:PutAccelerateConfiguration", None),
    ("PutBucketAcl", On::Bucket, "s3:PutBucketAcl", None),
    ("PutBucketCors", On::Bucket, "s3:PutBucketCORS", None),
    ("PutBucketEncryption", On::Bucket, "s3:PutEncryptionConfiguration", None),
    ("PutBucketLifecycleConfiguration", On::Bucket, "s3:PutLifecycleConfiguration", None),
    ("PutBucketLogging", On::Bucket, "s3:PutBucketLogging", None),
    ("PutBucketNotificationConfiguration", On::Bucket, "s3:PutBucketNotification", None),
    ("PutBucketOwnershipControls", On::Bucket, "s3:PutBucketOwnershipControls", None),
    ("PutBucketPolicy", On::Bucket, "s3:PutBucketPolicy", None),
    ("PutBucketRequestPayment", On::Bucket, "s3:PutBucketRequestPayment", None),
    ("PutBucketTagging", On::Bucket, "s3:PutBucketTagging", None),
    ("PutBucketVersioning", On::Bucket, "s3:PutBucketVersioning", None),
    ("PutObject", On::Object, "s3:PutObject", None),
    ("PutObjectAcl", On::Object, "s3:PutObjectAcl", Some("s3:PutObjectVersionAcl")),
    ("PutObjectLockConfiguration", On::Bucket, "s3:PutBucketObjectLockConfiguration", None),
    ("PutPublicAccessBlock", On::Bucket, "s3:PutBucketPublicAccessBlock", None),
    ("UploadPart", On::Object, "s3:PutObject", None),
    ("UploadPartCopy", On::Object, "s3:PutObject", None),
    ("UploadPartCopy", On::Source, "s3:GetObject", Some("s3:GetObjectVersion")),
];

/// Operations whose document says what they are about.
const LATER: [&str; 4] = ["DeleteObjects", "PutObjectLegalHold", "PutObjectRetention", "PutObjectTagging"];

/// Operations that make an object, whose headers may ask for more than that.
const MAKES: [&str; 4] = ["CopyObject", "CreateMultipartUpload", "PostObject", "PutObject"];

/// What a header asks for besides the object, and what that needs.
const BESIDES: [(&str, &str); 3] = [
    ("x-amz-tagging", "s3:PutObjectTagging"),
    ("x-amz-object-lock-mode", "s3:PutObjectRetention"),
    ("x-amz-object-lock-legal-hold", "s3:PutObjectLegalHold"),
];

/// What an operation needs; none for one that is in no table.
pub(super) fn needs_of(operation: &str, facts: &Facts<'_>) -> Option<Needs> {
    if LATER.contains(&operation) {
        return Some(Needs::Later);
    }
    let is_versioned = |on| match on {
        On::Source => facts.source().is_some_and(|source| source.version.is_some()),
        _ => facts.version().is_some(),
    };
    let rows = TABLE.iter().filter(|(name, ..)| *name == operation);
    let mut needs: Vec<Need> = rows
        .map(|(_, on, action, of_version)| Need {
            on: *on,
            action: of_version.filter(|_| is_versioned(*on)).unwrap_or(action),
        })
        .collect();
    if needs.is_empty() {
        return None;
    }
    if MAKES.contains(&operation) {
        let asked = BESIDES.iter().filter(|(header, _)| facts.has(header));
        needs.extend(asked.map(|(_, action)| Need { on: On::Object, action }));
    }
    if operation == "DeleteObject" && facts.version().is_some() && wants_bypass(facts) {
        needs.push(Need { on: On::Object, action: BYPASS });
    }
    if operation == CREATE_BUCKET && facts.is_true("x-amz-bucket-object-lock-enabled") {
        needs.push(Need { on: On::Bucket, action: "s3:PutBucketObjectLockConfiguration" });
        needs.push(Need { on: On::Bucket, action: "s3:PutBucketVersioning" });
    }
    Some(Needs::Now(needs))
}

/// Whether a caller wants to pass governance.
pub(super) fn wants_bypass(facts: &Facts<'_>) -> bool {
    facts.is_true(BYPASS_HEADER)
}

/// Asks a view for all that a request needs.
pub(super) async fn ask(
    view: &dyn ObjectView,
    who: &Who,
    facts: &Facts<'_>,
    needs: &[Need],
    bucket: Option<&str>,
    key: Option<&str>,
) -> Result<(), ObjectError> {
    let (version, all) = (facts.version(), facts.all());
    for need in needs {
        let asked = match need.on {
            On::All => {
                Asked { action: need.action, bucket: None, key: None, version: None, conditions: &all }
            }
            On::Bucket => Asked { action: need.action, bucket, key: None, version: None, conditions: &all },
            On::Object => {
                Asked { action: need.action, bucket, key, version: version.as_ref(), conditions: &all }
            }
            On::Source => {
                ask_for_source(view, who, facts, need.action).await?;
                continue;
            }
        };
        match view.authorize(who, &asked).await {
            Err(ObjectError::NoSuchBucket) if needs[0].action == "s3:CreateBucket" => {}
            answer => answer?,
        }
    }
    Ok(())
}

async fn ask_for_source(
    view: &dyn ObjectView,
    who: &Who,
    facts: &Facts<'_>,
    action: &str,
) -> Result<(), ObjectError> {
    // A source that cannot be read is the source of no copy.
    let Some(source) = facts.source() else { return Ok(()) };
    let mut conditions = facts.of_request();
    conditions.extend(source.version.iter().flat_map(of_version));
    let asked = Asked {
        action,
        bucket: Some(&source.bucket),
        key: Some(&source.key),
        version: source.version.as_ref(),
        conditions: &conditions,
    };
    view.authorize(who, &asked).await
}

/// Asks a view for one action on an object.
pub(super) async fn ask_for_object(
    view: &dyn ObjectView,
    who: &Who,
    action: &str,
    name: &crate::objects::ObjectName,
    version: Option<&VersionId>,
    conditions: &[(String, Vec<String>)],
) -> Result<(), ObjectError> {
    let (bucket, key) = (Some(name.bucket.as_str()), Some(name.key.as_str()));
    view.authorize(who, &Asked { action, bucket, key, version, conditions }).await
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::s3::facts::Shown;
    use crate::s3::note::OPERATIONS;

    fn actions(operation: &str, query: &str, pairs: &[(&'static str, &'static str)]) -> Vec<&'static str> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let facts = Facts::new(&headers, Some(query), Shown::Signature);
        match needs_of(operation, &facts) {
            Some(Needs::Now(needs)) => needs.iter().map(|need| need.action).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn every_operation_has_its_permission_and_no_other_is_known() {
        let none = HeaderMap::new();
        let facts = Facts::new(&none, None, Shown::Signature);
        for operation in OPERATIONS.iter().filter(|name| **name != "Preflight") {
            assert!(needs_of(operation, &facts).is_some(), "{operation}");
        }
        for (operation, ..) in TABLE {
            assert!(OPERATIONS.contains(operation), "{operation}");
        }
        assert_eq!(needs_of("PutBucketReplication", &facts), None);
        assert_eq!(needs_of("Preflight", &facts), None);
    }

    #[test]
    fn a_version_that_is_named_is_another_action() {
        assert_eq!(actions("GetObject", "", &[]), ["s3:GetObject"]);
        assert_eq!(actions("HeadObject", "versionId=v", &[]), ["s3:GetObjectVersion"]);
        assert_eq!(actions("DeleteObject", "versionId=v", &[]), ["s3:DeleteObjectVersion"]);
        assert_eq!(actions("PutObjectAcl", "acl&versionId=v", &[]), ["s3:PutObjectVersionAcl"]);
        let of_source = |source| actions("CopyObject", "", &[("x-amz-copy-source", source)]);
        assert_eq!(of_source("from/key"), ["s3:PutObject", "s3:GetObject"]);
        assert_eq!(of_source("from/key?versionId=v"), ["s3:PutObject", "s3:GetObjectVersion"]);
    }

    #[test]
    fn what_headers_ask_for_besides_needs_permissions_of_its_own() {
        let lock = [("x-amz-object-lock-mode", "GOVERNANCE"), ("x-amz-tagging", "a=1")];
        assert_eq!(
            actions("PutObject", "", &lock),
            ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectRetention"]
        );
        assert_eq!(actions("UploadPart", "", &lock), ["s3:PutObject"]);
        let bypass = [(BYPASS_HEADER, "true")];
        assert_eq!(actions("DeleteObject", "", &bypass), ["s3:DeleteObject"]);
        assert_eq!(actions("DeleteObject", "versionId=v", &bypass), ["s3:DeleteObjectVersion", BYPASS]);
        let locked = actions(CREATE_BUCKET, "", &[("x-amz-bucket-object-lock-enabled", "true")]);
        assert_eq!(locked.len(), 3);
    }
}

//! ACLs: every bucket and object is private to its owner, and stays so (GetBucketAcl, GetObjectAcl,
//! PutBucketAcl, PutObjectAcl).
//!
//! Tools ask for ACLs and set the canned one `private`; that is answered. Any grant to another is refused with
//! `AccessControlListNotSupported`, as S3 refuses it for buckets whose owner is enforced.

use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant,
    Grantee, Permission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::errors::{invalid_argument, s3_error};
use super::metadata::refuse_unknown;
use super::operations::Operations;
use super::values::{object_name, owner, version_of, who_of};

/// The canned ACL that is held.
const PRIVATE: &str = "private";
/// A canned ACL that says the same where the owner of the bucket owns its objects.
const OWNER_ONLY: &str = "bucket-owner-full-control";

/// The other canned ACLs that there are.
const OTHERS: [&str; 6] = [
    "authenticated-read",
    "aws-exec-read",
    "bucket-owner-read",
    "log-delivery-write",
    "public-read",
    "public-read-write",
];

/// Refuses canned ACLs that give rights to others.
pub(super) fn check_canned(acl: Option<&str>) -> S3Result<()> {
    match acl {
        None | Some(PRIVATE | OWNER_ONLY) => Ok(()),
        Some(known) if OTHERS.contains(&known) => Err(not_supported()),
        Some(_) => Err(invalid_argument("This is no canned ACL.")),
    }
}

fn not_supported() -> S3Error {
    S3Error::with_message(S3ErrorCode::AccessControlListNotSupported, "The bucket does not allow ACLs")
}

/// Refuses documents that grant anything but everything to the owner.
fn check_document(policy: Option<&AccessControlPolicy>, own: &str) -> S3Result<()> {
    let Some(policy) = policy else { return Ok(()) };
    let harmless = |grant: &Grant| {
        let full = grant.permission.as_ref().is_some_and(|right| right.as_str() == Permission::FULL_CONTROL);
        full && grant.grantee.as_ref().is_some_and(|grantee| grantee.id.as_deref() == Some(own))
    };
    if policy.grants.iter().flatten().all(harmless) { Ok(()) } else { Err(not_supported()) }
}

fn grants(own: &str) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: Some(own.to_owned()),
        email_address: None,
        id: Some(own.to_owned()),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    let permission = Some(Permission::from_static(Permission::FULL_CONTROL));
    vec![Grant { grantee: Some(grantee), permission }]
}

impl Operations {
    /// GetBucketAcl.
    pub(super) async fn bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let who = who_of(&request)?;
        let own = self.owner_of(&who, &request.input.bucket).await?;
        let (grants, owner) = (Some(grants(&own)), Some(owner(&own)));
        Ok(S3Response::new(GetBucketAclOutput { grants, owner }))
    }

    /// GetObjectAcl.
    pub(super) async fn object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let who = who_of(&request)?;
        let version = version_of(request.input.version_id.as_deref())?;
        let name = object_name(&request.input.bucket, &request.input.key);
        self.view().open(&who, &name, version.as_ref()).await.map_err(s3_error)?;
        let own = self.owner_of(&who, &name.bucket).await?;
        let (grants, owner) = (Some(grants(&own)), Some(owner(&own)));
        Ok(S3Response::new(GetObjectAclOutput { grants, owner, request_charged: None }))
    }

    /// PutBucketAcl.
    pub(super) async fn set_bucket_acl(
        &self,
        request: S3Request<PutBucketAclInput>,
    ) -> S3Result<S3Response<PutBucketAclOutput>> {
        let who = who_of(&request)?;
        let own = self.owner_of(&who, &request.input.bucket).await?;
        refuse_unknown(&request.headers)?;
        check_document(request.input.access_control_policy.as_ref(), &own)?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
    }

    /// PutObjectAcl.
    pub(super) async fn set_object_acl(
        &self,
        request: S3Request<PutObjectAclInput>,
    ) -> S3Result<S3Response<PutObjectAclOutput>> {
        let who = who_of(&request)?;
        let version = version_of(request.input.version_id.as_deref())?;
        let name = object_name(&request.input.bucket, &request.input.key);
        self.view().open(&who, &name, version.as_ref()).await.map_err(s3_error)?;
        refuse_unknown(&request.headers)?;
        let own = self.owner_of(&who, &name.bucket).await?;
        check_document(request.input.access_control_policy.as_ref(), &own)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }
}

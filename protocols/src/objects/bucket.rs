//! Buckets, and what clients may set of them.
//!
//! What is set here lies with the objects, and so goes with them to another site. Each part is replaced as a whole.

use serde::{Deserialize, Serialize};

use super::cors::CorsRule;
use super::lifecycle::LifecycleRule;
use super::{LockConfiguration, Tags, Versioning};
use crate::view::Time;

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Time,
    /// The region that was named when it was made; none for the usual one.
    pub region: Option<String>,
}

/// A bucket to be made. Its owner is who makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewBucket {
    /// With object lock, and so with versions.
    pub lock: bool,
    /// The region in which its maker believes it to be; none for the usual one.
    pub region: Option<String>,
}

/// What is refused whatever a policy says (Amazon S3 user guide, "Blocking public access to your Amazon S3
/// storage"). There are no public ACLs, so the two parts about those change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicAccessBlock {
    /// Refuse public ACLs.
    pub block_acls: bool,
    /// Ignore public ACLs.
    pub ignore_acls: bool,
    /// Refuse to set a policy that lets anybody in.
    pub block_policy: bool,
    /// Let nobody in without a key even if the policy does.
    pub restrict: bool,
}

/// Everything that clients have set of a bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BucketSettings {
    /// The name of whose it is, as the caller may know it; none for one that is nobody's.
    pub owner: Option<String>,
    /// The region that was named when it was made; none for the usual one.
    pub region: Option<String>,
    /// Whether its ownership controls were taken away. That its owner owns what is in it holds without them.
    pub ownership_unsaid: bool,
    /// Whether it keeps versions; none while it never had any.
    pub versioning: Option<Versioning>,
    /// Its object lock.
    pub lock: Option<LockConfiguration>,
    /// Its tags.
    pub tags: Option<Tags>,
    /// Which web pages may use it.
    pub cors: Option<Vec<CorsRule>>,
    /// What is taken away by itself.
    pub lifecycle: Option<Vec<LifecycleRule>>,
    /// Its policy, as it was sent.
    pub policy: Option<String>,
    /// What a policy cannot allow.
    pub public_access: Option<PublicAccessBlock>,
}

impl BucketSettings {
    /// How its owner is called where S3 wants one; a bucket that is nobody's is the caller's, who is called so.
    pub fn owner_name<'a>(&'a self, caller: &'a str) -> &'a str {
        self.owner.as_deref().unwrap_or(caller)
    }
}

/// A change of [`BucketSettings`]; none takes a part away.
#[derive(Clone, Debug, PartialEq)]
pub enum BucketChange {
    /// Switches versions on, or suspends them. [`super::ObjectError::BucketState`] where the bucket has a lock, or
    /// can have no versions.
    Versioning(Versioning),
    /// Gives the bucket a lock, or another default. [`super::ObjectError::BucketState`] without versions.
    Lock(LockConfiguration),
    /// Sets its tags.
    Tags(Option<Tags>),
    /// Says which web pages may use it.
    Cors(Option<Vec<CorsRule>>),
    /// Says what is taken away by itself.
    Lifecycle(Option<Vec<LifecycleRule>>),
    /// Sets its policy. [`super::ObjectError::MalformedPolicy`] for what is none;
    /// [`super::ObjectError::AccessDenied`] for a public one where such are blocked.
    Policy(Option<String>),
    /// Says what a policy cannot allow.
    PublicAccess(Option<PublicAccessBlock>),
    /// Says, or says no more, that its owner owns what is in it.
    Ownership(bool),
}

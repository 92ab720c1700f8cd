//! What clients have set of a bucket, read from its map and changed there.
//!
//! What they mean is kept for as long as they are the same: until a client changes them, or the share is served from
//! another map. A bucket that follows another gateway, whose parts may change with every head, is read anew each time.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_protocols::objects::policy::Policy;
use tidegate_protocols::objects::{
    BucketChange, BucketSettings, LockConfiguration, NewBucket, ObjectError, PublicAccessBlock, Versioning,
    Who,
};

use super::{BucketConfig, Objects};
use crate::files::Served;
use crate::namespace::objects::{BucketParts, VERSIONING_PART};
use crate::share::Share;

const LOCK_PART: &str = "lock";
const TAGS_PART: &str = "tags";
const CORS_PART: &str = "cors";
const LIFECYCLE_PART: &str = "lifecycle";
const POLICY_PART: &str = "policy";
const PUBLIC_ACCESS_PART: &str = "public-access";
const REGION_PART: &str = "region";
const OWNERSHIP_UNSAID_PART: &str = "ownership-unsaid";

/// What is set of a bucket, and what it means.
pub(super) struct Loaded {
    /// Of which share, in which state.
    of: (Weak<Share>, u64),
    pub(super) settings: Arc<BucketSettings>,
    pub(super) policy: Option<Policy>,
    /// Whether there is a policy that cannot be read, as that of a bucket of another name: it lets nobody in.
    pub(super) policy_is_unreadable: bool,
}

fn read<T: DeserializeOwned>(parts: &BucketParts, name: &str) -> Result<Option<T>, ObjectError> {
    let Some((_, text)) = parts.iter().find(|(found, _)| found == name.as_bytes()) else { return Ok(None) };
    serde_json::from_slice(text).map(Some).map_err(|error| {
        tracing::error!(part = name, %error, "what is set of a bucket cannot be read");
        ObjectError::Internal
    })
}

fn written<T: Serialize>(value: &T) -> Result<Vec<u8>, ObjectError> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "what is to be set of a bucket cannot be written");
        ObjectError::Internal
    })
}

impl Loaded {
    fn new(of: (Weak<Share>, u64), bucket: &BucketConfig, parts: &BucketParts) -> Result<Self, ObjectError> {
        let settings = BucketSettings {
            owner: bucket.owner.clone(),
            region: read(parts, REGION_PART)?,
            ownership_unsaid: has(parts, OWNERSHIP_UNSAID_PART),
            versioning: read(parts, VERSIONING_PART)?,
            lock: read(parts, LOCK_PART)?,
            tags: read(parts, TAGS_PART)?,
            cors: read(parts, CORS_PART)?,
            lifecycle: read(parts, LIFECYCLE_PART)?,
            policy: read(parts, POLICY_PART)?,
            public_access: read(parts, PUBLIC_ACCESS_PART)?,
        };
        let policy = match &settings.policy {
            None => None,
            Some(text) => Policy::of_bucket(text, &bucket.name)
                .inspect_err(|error| {
                    tracing::error!(bucket = bucket.name, %error, "the policy of a bucket cannot be read");
                })
                .ok(),
        };
        let policy_is_unreadable = settings.policy.is_some() && policy.is_none();
        Ok(Self { of, settings: Arc::new(settings), policy, policy_is_unreadable })
    }
}

impl Objects {
    /// What is set of a bucket now.
    pub(super) async fn loaded(
        &self,
        bucket: &BucketConfig,
        served: &Served,
    ) -> Result<Arc<Loaded>, ObjectError> {
        let share = served.namespace.share();
        // Before the look: what changes meanwhile makes it stale.
        let of = (Arc::downgrade(share), share.settings_generation());
        if let Some(known) = self.loaded.read().get(&bucket.name)
            && known.of.1 == of.1
            && known.of.0.ptr_eq(&of.0)
            && !served.rules.read_only
        {
            return Ok(known.clone());
        }
        let parts = served.namespace.reader().bucket_parts().await?;
        let loaded = Arc::new(Loaded::new(of, bucket, &parts)?);
        self.loaded.write().insert(bucket.name.clone(), loaded.clone());
        Ok(loaded)
    }

    pub(super) async fn change_parts(
        &self,
        who: &Who,
        bucket: &str,
        change: BucketChange,
    ) -> Result<(), ObjectError> {
        let access = self.access_to_change(who, bucket).await?;
        let flat = access.bucket.flat;
        let is_public = match &change {
            BucketChange::Policy(Some(text)) => {
                let policy = Policy::of_bucket(text, bucket);
                policy.map_err(|error| ObjectError::MalformedPolicy(error.to_string()))?.is_public()
            }
            _ => false,
        };
        access
            .namespace()
            .change_bucket(|parts| {
                let block: Option<PublicAccessBlock> = read(&parts, PUBLIC_ACCESS_PART)?;
                if is_public && block.is_some_and(|block| block.block_policy) {
                    return Err(ObjectError::AccessDenied);
                }
                decide(&parts, flat, &change)
            })
            .await
    }
}

/// The parts that a new bucket begins with: with a lock it keeps versions.
pub(super) fn parts_of_new(new: &NewBucket) -> Result<Vec<(&'static str, Vec<u8>)>, ObjectError> {
    let mut parts = Vec::new();
    if let Some(region) = &new.region {
        parts.push((REGION_PART, written(region)?));
    }
    if new.lock {
        parts.push((VERSIONING_PART, written(&Versioning::Enabled)?));
        parts.push((LOCK_PART, written(&LockConfiguration::default())?));
    }
    Ok(parts)
}

type PartChanges = Vec<(&'static str, Option<Vec<u8>>)>;

/// Which parts a change is about, given those that are there.
fn decide(parts: &BucketParts, flat: bool, change: &BucketChange) -> Result<PartChanges, ObjectError> {
    let optional = |name, value: Option<Result<Vec<u8>, ObjectError>>| Ok(vec![(name, value.transpose()?)]);
    match change {
        BucketChange::Versioning(versioning) => {
            if !flat {
                return Err(ObjectError::BucketState(
                    "a bucket that shows a share has no versions; snapshots of the share keep what was",
                ));
            }
            if *versioning == Versioning::Suspended && has(parts, LOCK_PART) {
                return Err(ObjectError::BucketState(
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be \
                     changed.",
                ));
            }
            Ok(vec![(VERSIONING_PART, Some(written(versioning)?))])
        }
        BucketChange::Lock(lock) => {
            if flat && read::<Versioning>(parts, VERSIONING_PART)? != Some(Versioning::Enabled) {
                return Err(ObjectError::BucketState(
                    "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
                ));
            }
            Ok(vec![(LOCK_PART, Some(written(lock)?))])
        }
        BucketChange::Tags(tags) => optional(TAGS_PART, tags.as_ref().map(written)),
        BucketChange::Cors(rules) => optional(CORS_PART, rules.as_ref().map(written)),
        BucketChange::Lifecycle(rules) => optional(LIFECYCLE_PART, rules.as_ref().map(written)),
        BucketChange::Policy(policy) => optional(POLICY_PART, policy.as_ref().map(written)),
        BucketChange::PublicAccess(block) => optional(PUBLIC_ACCESS_PART, block.as_ref().map(written)),
        BucketChange::Ownership(said) => optional(OWNERSHIP_UNSAID_PART, (!said).then(|| written(&true))),
    }
}

fn has(parts: &BucketParts, name: &str) -> bool {
    parts.iter().any(|(found, _): &(Bytes, Bytes)| found == name.as_bytes())
}

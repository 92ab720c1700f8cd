//! What the object view asks of the gateway around it: to make and remove buckets, and to publish a share.
//!
//! The settings file says which buckets there are; a client who makes one has the gateway write it there. So there
//! is one truth, which the operator can read and change.

use async_trait::async_trait;
use tidegate_chunker::ShareId;
use tidegate_protocols::objects::{NewBucket, ObjectError, Who};

use super::Objects;

/// The gateway around the objects.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Adds a bucket of objects to the settings, and serves it.
    async fn make_bucket(&self, name: &str) -> Result<(), ObjectError>;

    /// Takes a bucket out of the settings. Its heads stay in the repository.
    async fn remove_bucket(&self, name: &str) -> Result<(), ObjectError>;

    /// Waits until everything that was acknowledged of a share is in a head.
    async fn publish(&self, share: ShareId) -> Result<(), ObjectError>;
}

/// The answer while there is no gateway around.
const FIXED: ObjectError = ObjectError::Fixed(
    "buckets are made and removed in the settings of the gateway ([[bucket]]), not by clients",
);

impl Objects {
    fn host(&self) -> Result<std::sync::Arc<dyn Host>, ObjectError> {
        self.host.read().clone().ok_or(FIXED)
    }

    pub(super) async fn make_bucket(&self, who: &Who, name: &str, new: NewBucket) -> Result<(), ObjectError> {
        match self.access(who, name).await {
            Ok(_) => return Err(ObjectError::BucketOwned),
            Err(ObjectError::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
        self.host()?.make_bucket(name).await?;
        self.access(who, name).await?.namespace().share().reopen();
        if new.lock { self.lock_new_bucket(who, name).await } else { Ok(()) }
    }

    pub(super) async fn remove_bucket(&self, who: &Who, name: &str) -> Result<(), ObjectError> {
        let access = self.access_to_change(who, name).await?;
        if !access.bucket.flat {
            return Err(ObjectError::Fixed(
                "the bucket shows a share; take it out of the settings of the gateway ([[bucket]])",
            ));
        }
        let host = self.host()?;
        // From here on nothing comes into it.
        access.namespace().clear_bucket().await?;
        let removed = host.remove_bucket(name).await;
        if removed.is_err() {
            access.namespace().share().reopen();
        }
        removed
    }
}

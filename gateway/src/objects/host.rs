//! What the object view asks of the gateway around it: to make and remove buckets, and to publish a share.
//!
//! The settings file says which buckets there are; a client who makes one has the gateway write it there. So there
//! is one truth, which the operator can read and change. Whose a bucket is stands there too, in the same edit: no crash
//! leaves one that is nobody's.

use std::sync::Arc;

use async_trait::async_trait;
use tidegate_chunker::ShareId;
use tidegate_protocols::objects::{NewBucket, ObjectError, Who};

use super::Objects;
use super::parts::parts_of_new;

/// The gateway around the objects.
#[async_trait]
pub trait Host: Send + Sync + 'static {
    /// Adds a bucket of objects to the settings as that owner's, and serves it; gives its share, which holds nothing.
    /// [`ObjectError::BucketExists`] when a share of that name holds something.
    async fn make_bucket(&self, name: &str, owner: Option<&str>) -> Result<ShareId, ObjectError>;

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
    fn host(&self) -> Result<Arc<dyn Host>, ObjectError> {
        self.host.read().clone().ok_or(FIXED)
    }

    pub(super) async fn make_bucket(&self, who: &Who, name: &str, new: NewBucket) -> Result<(), ObjectError> {
        match self.access(who, name).await {
            Ok(access) => {
                let settings = &access.loaded.settings;
                let is_others = settings.owner_name(&access.who) != access.who;
                // Who wanted a lock must not take a bucket without one for it.
                let lacks_lock = new.lock && settings.lock.is_none();
                let taken = is_others || lacks_lock;
                return Err(if taken { ObjectError::BucketExists } else { ObjectError::BucketOwned });
            }
            Err(ObjectError::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
        let (files, name, host) = (self.files.clone(), name.to_owned(), self.host()?);
        let (owner, parts) = (who.access_key.is_some().then(|| self.name_of(who)), parts_of_new(&new)?);
        to_the_end(async move {
            let share = host.make_bucket(&name, owner.as_deref()).await?;
            let served = files.share(share).ok_or(ObjectError::SlowDown)?;
            served.namespace.begin_bucket(parts).await
        })
        .await
    }

    pub(super) async fn remove_bucket(&self, who: &Who, name: &str) -> Result<(), ObjectError> {
        let access = self.access_to_change(who, name).await?;
        if !access.bucket.flat {
            return Err(ObjectError::Fixed(
                "the bucket shows a share; take it out of the settings of the gateway ([[bucket]])",
            ));
        }
        let (host, name, namespace) = (self.host()?, name.to_owned(), access.namespace().clone());
        // Whoever withdraws a share waits until nobody uses it.
        drop(access);
        to_the_end(async move {
            namespace.close_bucket().await?;
            let removed = host.remove_bucket(&name).await;
            if removed.is_err() {
                namespace.share().reopen();
            }
            removed
        })
        .await
    }
}

/// Runs a change in a task of its own, so that a client who goes away does not cut it short.
async fn to_the_end(
    change: impl Future<Output = Result<(), ObjectError>> + Send + 'static,
) -> Result<(), ObjectError> {
    tokio::spawn(change).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a change of buckets broke off");
        Err(ObjectError::Internal)
    })
}

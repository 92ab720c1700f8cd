//! The gateway around the objects: buckets that clients make, and the wait for the repository.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tidegate_chunker::ShareId;
use tidegate_protocols::objects::ObjectError;

use super::rounds::Rounds;
use crate::appliance::Appliance;
use crate::control::{ChangeSettings, ControlError, ErrorKind};
use crate::objects::Host;

/// See the head of this module.
pub(super) struct GatewayHost {
    appliance: Arc<Appliance>,
    changer: RwLock<Option<Arc<dyn ChangeSettings>>>,
    /// Commits that clients wait for, by share.
    rounds: Mutex<HashMap<ShareId, Arc<Rounds>>>,
}

impl GatewayHost {
    pub(super) fn new(appliance: Arc<Appliance>) -> Self {
        Self { appliance, changer: RwLock::default(), rounds: Mutex::default() }
    }

    pub(super) fn set_changer(&self, changer: Option<Arc<dyn ChangeSettings>>) {
        *self.changer.write() = changer;
    }

    pub(super) fn changer(&self) -> Result<Arc<dyn ChangeSettings>, ObjectError> {
        self.changer.read().clone().ok_or(ObjectError::SlowDown)
    }
}

#[async_trait]
impl Host for GatewayHost {
    async fn make_bucket(&self, name: &str, owner: Option<&str>) -> Result<ShareId, ObjectError> {
        // A share that was taken out of the settings is the operator's to bring back, with what it holds.
        match self.appliance.holds_nothing(name).await {
            Ok(true) => {}
            Ok(false) => return Err(ObjectError::BucketExists),
            Err(error) => {
                tracing::warn!(bucket = name, %error, "a bucket cannot be made now");
                return Err(ObjectError::SlowDown);
            }
        }
        self.changer()?.add_bucket(name, owner).await.map_err(|error| refused(name, &error))?;
        tracing::info!(bucket = name, "a client made a bucket");
        self.appliance.share_id(name).map_err(|error| {
            tracing::error!(bucket = name, %error, "a bucket that was made is not served");
            ObjectError::Internal
        })
    }

    async fn remove_bucket(&self, name: &str) -> Result<(), ObjectError> {
        self.changer()?.remove_bucket(name).await.map_err(|error| refused(name, &error))?;
        tracing::info!(bucket = name, "a client removed a bucket");
        Ok(())
    }

    async fn publish(&self, share: ShareId) -> Result<(), ObjectError> {
        let rounds = self.rounds.lock().entry(share).or_insert_with(Rounds::new).clone();
        let appliance = self.appliance.clone();
        let published = rounds.next(move || {
            let appliance = appliance.clone();
            async move {
                let committed = appliance.commit_share(share).await;
                committed
                    .inspect_err(|error| {
                        tracing::warn!(%error, "objects are in the journal, and not in the repository yet");
                    })
                    .is_ok()
            }
        });
        if published.await { Ok(()) } else { Err(ObjectError::SlowDown) }
    }
}

/// What a refusal of the settings means to who wanted a bucket.
fn refused(name: &str, error: &ControlError) -> ObjectError {
    match error.kind {
        ErrorKind::StoreAway | ErrorKind::Busy | ErrorKind::Stopping | ErrorKind::Full => {
            ObjectError::SlowDown
        }
        ErrorKind::Exists => ObjectError::BucketExists,
        _ => {
            tracing::warn!(bucket = name, %error, "a client's change of buckets was refused");
            ObjectError::Fixed("the gateway refused to change its buckets; its log says why")
        }
    }
}

//! The gateway around the objects: buckets that clients make, and the wait for the repository.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::RwLock;
use tidegate_chunker::ShareId;
use tidegate_protocols::objects::ObjectError;

use crate::appliance::{Appliance, ApplianceError};
use crate::control::{ChangeSettings, ControlError, ErrorKind};
use crate::objects::Host;

/// See the head of this module.
pub(super) struct GatewayHost {
    appliance: Arc<Appliance>,
    changer: RwLock<Option<Arc<dyn ChangeSettings>>>,
}

impl GatewayHost {
    pub(super) fn new(appliance: Arc<Appliance>) -> Self {
        Self { appliance, changer: RwLock::default() }
    }

    pub(super) fn set_changer(&self, changer: Option<Arc<dyn ChangeSettings>>) {
        *self.changer.write() = changer;
    }

    fn changer(&self) -> Result<Arc<dyn ChangeSettings>, ObjectError> {
        self.changer.read().clone().ok_or(ObjectError::SlowDown)
    }
}

#[async_trait]
impl Host for GatewayHost {
    async fn make_bucket(&self, name: &str) -> Result<(), ObjectError> {
        self.changer()?.add_bucket(name).await.map_err(|error| refused(name, &error))?;
        tracing::info!(bucket = name, "a client made a bucket");
        Ok(())
    }

    async fn remove_bucket(&self, name: &str) -> Result<(), ObjectError> {
        self.changer()?.remove_bucket(name).await.map_err(|error| refused(name, &error))?;
        tracing::info!(bucket = name, "a client removed a bucket");
        Ok(())
    }

    async fn publish(&self, share: ShareId) -> Result<(), ObjectError> {
        match self.appliance.commit_share(share).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error: &ApplianceError = &error;
                tracing::warn!(%error, "an object is in the journal, and not in the repository yet");
                Err(ObjectError::SlowDown)
            }
        }
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

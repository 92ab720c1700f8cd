//! What a running gateway has changed in its settings file, for clients who may.

use async_trait::async_trait;

use super::ControlError;

/// Whoever keeps the settings file of a running gateway. A change that returned is in the file, and in force.
#[async_trait]
pub trait ChangeSettings: Send + Sync + 'static {
    /// Adds a bucket of objects with the usual settings, and whose it is, in one edit; [`super::ErrorKind::Invalid`] when it cannot be.
    async fn add_bucket(&self, name: &str, owner: Option<&str>) -> Result<(), ControlError>;

    /// Has another target lead.
    async fn set_lead(&self, target: &str) -> Result<(), ControlError>;

    /// Takes a bucket out.
    async fn remove_bucket(&self, name: &str) -> Result<(), ControlError>;
}

//! What a running gateway has changed in its settings file, for clients who may.

use async_trait::async_trait;

use super::ControlError;

/// An edit of the settings; what it says is why it cannot be.
pub type SettingsEdit = Box<dyn FnOnce(&mut toml_edit::DocumentMut) -> Result<(), String> + Send>;

/// Whoever keeps the settings file of a running gateway. A change that returned is in the file, and in force.
#[async_trait]
pub trait ChangeSettings: Send + Sync + 'static {
    /// Adds a bucket of objects with the usual settings, and whose it is, in one edit; [`super::ErrorKind::Invalid`] when it cannot be.
    async fn add_bucket(&self, name: &str, owner: Option<&str>) -> Result<(), ControlError>;

    /// Has another target lead.
    async fn set_lead(&self, target: &str) -> Result<(), ControlError>;

    /// Makes an edit: whole, or not at all.
    async fn edit_by(&self, edit: SettingsEdit) -> Result<(), ControlError>;

    /// Takes a bucket out.
    async fn remove_bucket(&self, name: &str) -> Result<(), ControlError>;
}

//! Changes of the settings file by a running gateway: one at a time, whole or not at all.
//!
//! Order: check the new text, write it, let the gateway apply it. If the gateway refuses, the file
//! is put back. A crash between writing and applying is harmless: the next start reads the file.
//! A change runs to its end even if the caller goes away meanwhile.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use toml_edit::{DocumentMut, Table};

use super::in_force::InForce;
use crate::control::{ChangeSettings, Control, ControlError, ErrorKind, SettingsEdit};
use crate::settings::{Bucket, Settings, SettingsError, SettingsFile, add_table, remove_table};

/// Settings that are in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// Keys whose new value waits for a restart.
    pub restart_needed: Vec<String>,
}

/// Changes the settings file and has the gateway apply it.
#[derive(Clone)]
pub(super) struct SettingsChanges {
    file: SettingsFile,
    control: Arc<dyn Control>,
    in_force: Arc<InForce>,
    one_at_a_time: Arc<Mutex<()>>,
}

impl SettingsChanges {
    pub(super) fn new(file: SettingsFile, control: Arc<dyn Control>, in_force: Arc<InForce>) -> Self {
        Self { file, control, in_force, one_at_a_time: Arc::default() }
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Loads the file and applies it.
    pub(super) async fn reload(&self) -> Result<Applied, ControlError> {
        let this = self.clone();
        to_the_end(async move {
            let _turn = this.one_at_a_time.lock().await;
            let file = this.file.clone();
            let settings = blocking(move || file.load()).await?;
            this.apply(settings).await
        })
        .await
    }

    /// Edits the file and applies it.
    pub(super) async fn edit(
        &self,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), String> + Send + 'static,
    ) -> Result<Applied, ControlError> {
        let this = self.clone();
        to_the_end(async move {
            let _turn = this.one_at_a_time.lock().await;
            let file = this.file.clone();
            let edit = blocking(move || file.edit(change)).await?;
            let applied = this.apply(edit.settings.clone()).await;
            if applied.is_err() {
                let file = this.file.clone();
                blocking(move || file.take_back(&edit)).await?;
            }
            applied
        })
        .await
    }

    /// Looks whether an edit could be, and changes nothing.
    pub(super) async fn look(
        &self,
        change: impl FnOnce(&mut DocumentMut) -> Result<(), String> + Send + 'static,
    ) -> Result<(), ControlError> {
        let file = self.file.clone();
        blocking(move || file.look(change)).await.map(drop)
    }

    async fn apply(&self, settings: Settings) -> Result<Applied, ControlError> {
        let settings = Arc::new(settings);
        let restart_needed = self.control.apply(settings.clone()).await?;
        self.in_force.set(settings).await;
        tracing::info!(?restart_needed, "settings applied");
        Ok(Applied { restart_needed })
    }
}

#[async_trait]
impl ChangeSettings for SettingsChanges {
    async fn add_bucket(&self, name: &str, owner: Option<&str>) -> Result<(), ControlError> {
        let keys = [("name", Some(name)), ("owner", owner)];
        let keys = keys.into_iter().filter_map(|(key, value)| Some((key, toml_edit::value(value?))));
        let table = Table::from_iter(keys);
        self.edit(move |document| add_table::<Bucket>(document, table)).await.map(drop)
    }

    async fn set_lead(&self, target: &str) -> Result<(), ControlError> {
        let target = target.to_owned();
        let change = move |document: &mut DocumentMut| {
            let repository = document["repository"].or_insert(toml_edit::Item::Table(Table::new()));
            repository["lead"] = toml_edit::value(target);
            Ok(())
        };
        self.edit(change).await.map(drop)
    }

    async fn edit_by(&self, edit: SettingsEdit) -> Result<(), ControlError> {
        self.edit(edit).await.map(drop)
    }

    async fn remove_bucket(&self, name: &str) -> Result<(), ControlError> {
        let name = name.to_owned();
        self.edit(move |document| remove_table::<Bucket>(document, &name)).await.map(drop)
    }
}

/// Runs a change in a task of its own, so that a caller who goes away does not cut it short.
async fn to_the_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, ControlError>> + Send + 'static,
) -> Result<T, ControlError> {
    let broke =
        |error| ControlError::new(ErrorKind::Failed, format!("the change of settings broke off: {error}"));
    tokio::spawn(change).await.unwrap_or_else(|error| Err(broke(error)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SettingsError> + Send + 'static,
) -> Result<T, ControlError> {
    let broke =
        |error| ControlError::new(ErrorKind::Failed, format!("the change of settings broke off: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(broke)?.map_err(ControlError::from)
}

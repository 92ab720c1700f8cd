//! What is taken out of the settings, or would be: `?dry-run=true` says what would be gone, and changes nothing.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Admin;
use crate::control::ControlError;
use crate::settings::{Table, remove_table_by};

/// Whether it is meant.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DryRun {
    /// Only say what would be gone.
    #[serde(default, rename = "dry-run")]
    pub(super) dry_run: bool,
}

/// What was taken away, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Removal {
    /// Its name.
    pub name: String,
    /// Whether it was only looked, and everything is as it was.
    pub dry_run: bool,
    /// What is gone with it, for people.
    pub gone: Vec<String>,
    /// Keys whose new value waits for a restart.
    pub restart_needed: Vec<String>,
}

/// Takes a table out of the settings by a key that tells it from others, or looks whether that could be.
pub(super) async fn remove_named<T: Table>(
    admin: &Admin,
    key: &'static str,
    name: &str,
    ask: DryRun,
    gone: Vec<String>,
) -> Result<Removal, ControlError> {
    let named = name.to_owned();
    let change = move |document: &mut toml_edit::DocumentMut| remove_table_by::<T>(document, key, &named);
    let restart_needed = if ask.dry_run {
        admin.changes.look(change).await?;
        Vec::new()
    } else {
        admin.changes.edit(change).await?.restart_needed
    };
    Ok(Removal { name: name.to_owned(), dry_run: ask.dry_run, gone, restart_needed })
}

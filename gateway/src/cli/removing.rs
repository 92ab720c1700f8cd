//! What all commands share that take something away: they ask, or only look what would be gone.

use super::exit::Failure;
use super::{Context, edit_offline};
use crate::admin::Removal;
use crate::settings::{Table, remove_table_by};

/// Whether it is meant.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Asking {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Only show what would be gone.
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Asking {
    /// Asks, where something would be gone.
    pub(super) fn confirm(self, context: &Context, question: &str) -> Result<(), Failure> {
        if self.dry_run {
            return Ok(());
        }
        context.terminal.confirm(self.yes, question)
    }

    /// What goes behind the path of a call.
    pub(super) fn query(self) -> &'static str {
        if self.dry_run { "?dry-run=true" } else { "" }
    }

    /// What was done, for people.
    pub(super) fn verb(self) -> &'static str {
        if self.dry_run { "would be removed" } else { "removed" }
    }

    /// Takes a table of the settings away by a key that tells it from others: through the running gateway, or out of the
    /// settings of one that does not run. Shows it as `what`.
    pub(super) async fn remove<T: Table>(
        self,
        context: &Context,
        path: &str,
        (key, name): (&'static str, &str),
        what: &str,
    ) -> Result<(), Failure> {
        let client = context.client()?;
        let change = |document: &mut toml_edit::DocumentMut| remove_table_by::<T>(document, key, name);
        let removal = if client.is_there().await {
            client.delete(&format!("{path}{}", self.query())).await?
        } else {
            if self.dry_run {
                context.file.look(change)?;
            } else {
                edit_offline(context, change)?;
            }
            Removal { name: name.to_owned(), dry_run: self.dry_run, ..Removal::default() }
        };
        context.terminal.data(&removal, |removal| {
            let gone: String = removal.gone.iter().map(|gone| format!("\n  {gone}")).collect();
            format!("{what} {}{gone}", self.verb())
        })
    }
}

//! What opens the repository, as states: kinds, labels, times and damage, never a key.

use tidegate_replicator::repository::{Opened, Repository, SlotKind};

use super::AssemblyError;
use crate::control::KeySlot;

/// The slots of a repository.
pub(super) async fn key_slots(repository: &Repository<Opened>) -> Result<Vec<KeySlot>, AssemblyError> {
    let mut slots = Vec::new();
    for (id, info) in repository.slots().await? {
        let id = id.to_string();
        slots.push(match info {
            Ok(info) => KeySlot {
                id,
                kind: Some(name_of(info.kind).to_owned()),
                label: info.label.clone(),
                made: Some(info.created_at.to_string()),
                state: "whole".to_owned(),
            },
            Err(error) => {
                KeySlot { id, kind: None, label: String::new(), made: None, state: error.to_string() }
            }
        });
    }
    Ok(slots)
}

fn name_of(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Passphrase => "passphrase",
        SlotKind::KeyFile => "key-file",
        SlotKind::Recovery => "recovery",
    }
}

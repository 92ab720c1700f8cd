//! The targets that the repository of an appliance is kept on.

use std::sync::Arc;

use tidegate_replicator::store::{Store, StoreGroup};

/// A target that follows.
#[derive(Clone, Debug)]
pub struct CopyTarget {
    /// Its name in the settings.
    pub name: String,
    /// Its store.
    pub store: Arc<dyn Store>,
}

impl CopyTarget {
    /// What the ledger calls it: in another place it is another copy.
    pub(super) fn in_ledger(&self) -> String {
        in_ledger(&self.name, &*self.store)
    }
}

/// What the ledger calls a copy of this name at this store.
pub(super) fn in_ledger(name: &str, store: &dyn Store) -> String {
    format!("{name} {}", store.address())
}

/// See the head of this file.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The store of the repository: whichever target leads.
    pub group: Arc<StoreGroup>,
    /// The name of the target that leads.
    pub lead: String,
    /// The others.
    pub copies: Vec<CopyTarget>,
    /// How many targets must have what was written before its local copy may go.
    pub required: usize,
}

impl Targets {
    /// One target.
    pub fn only(store: Arc<dyn Store>) -> Self {
        Self { group: StoreGroup::new(store), lead: "lead".to_owned(), copies: Vec::new(), required: 1 }
    }
}

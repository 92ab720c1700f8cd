//! Makes an empty store a copy.
//!
//! Order: key slots and domains, then `config`, which makes the prefix a repository. A crash before the last
//! leaves keys without a repository, which the next preparation completes.

use std::sync::Arc;

use super::MirrorError;
use super::objects::copy_raw;
use crate::repository::envelope::list_all;
use crate::repository::names::{self, DOMAINS, KEYS};
use crate::repository::{Opened, Repository, RepositoryError};
use crate::store::{LIST_LIMIT_MAX, ObjectName, Store};

/// The repository `lead` as `store` has it, or shall have it: an empty prefix becomes a copy. Refuses one that
/// holds anything else, and writes nothing then.
pub async fn prepare(
    lead: &Repository<Opened>,
    store: Arc<dyn Store>,
) -> Result<Repository<Opened>, MirrorError> {
    prepare_or_find(lead, store.clone()).await?;
    // With its own keys: some may have been made there.
    Ok(lead.apart(store).await?)
}

/// Whether `store` has the repository `lead` already. Refuses one that holds another. Only reads.
pub async fn is_prepared(lead: &Repository<Opened>, store: Arc<dyn Store>) -> Result<bool, MirrorError> {
    match Repository::locate(store.clone()).await {
        Ok(found) if found.config() == lead.config() => Ok(true),
        Ok(_) => Err(MirrorError::Foreign { address: store.address() }),
        Err(RepositoryError::NoRepository { .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The same as [`prepare`] without opening it; tells whether it was empty.
pub async fn prepare_or_find(lead: &Repository<Opened>, store: Arc<dyn Store>) -> Result<bool, MirrorError> {
    if is_prepared(lead, store.clone()).await? {
        return Ok(false);
    }
    let copy = lead.on(store);
    let mut keys = Vec::new();
    for folder in [KEYS, DOMAINS] {
        keys.extend(list_all(&**lead.store(), folder).await?);
    }
    check_otherwise_empty(&copy, &keys).await?;
    for name in &keys {
        copy_raw(lead, &copy, name).await?;
    }
    copy_raw(lead, &copy, &names::config()).await?;
    Ok(true)
}

/// Checks that there is nothing but what a preparation that died may have left.
async fn check_otherwise_empty(copy: &Repository<Opened>, keys: &[ObjectName]) -> Result<(), MirrorError> {
    let mut after = None;
    loop {
        let page = copy.store().list("", after.as_ref(), LIST_LIMIT_MAX).await?;
        if let Some(found) = page.objects.iter().find(|object| !keys.contains(&object.name)) {
            let (address, found) = (copy.store().address(), found.name.to_string());
            return Err(MirrorError::Occupied { address, found });
        }
        after = page.objects.into_iter().last().map(|object| object.name);
        if !page.more {
            return Ok(());
        }
    }
}

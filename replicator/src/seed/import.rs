//! Storing a seed.

use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tidegate_chunker::VerifyingKey;

use super::SeedError;
use super::manifest::{self, Line, digest_of, disk, objects};
use crate::observer::Observer;
use crate::repository::names::{
    self, DOMAINS, HEADS, INDEX, KEYS, LEASES, PACKS, PLANS, SHREDDED, SNAPSHOTS,
};
use crate::store::{Body, ErrorKind, LIST_LIMIT_MAX, PutMode, Store};

/// Objects that are stored at once.
const PARALLEL: usize = 4;
/// What is stored before what: see the head of `seed`.
const ORDER: [&str; 10] = [KEYS, DOMAINS, SHREDDED, "config", PACKS, INDEX, PLANS, LEASES, SNAPSHOTS, HEADS];

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Objects that were stored.
    pub objects: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// Objects that the store had already.
    pub before: u64,
}

/// Stores a seed that `signer` has signed. Goes on where an earlier import ended.
pub async fn import(
    folder: &Path,
    store: &Arc<dyn Store>,
    signer: &VerifyingKey,
    observer: &dyn Observer,
) -> Result<Imported, SeedError> {
    observer.phase("check the manifest");
    let (of, key) = (folder.to_path_buf(), *signer);
    let verifying = crate::blocking::spawn_blocking(move || manifest::verified(&of, &key)).await;
    verifying.map_err(|error| disk(folder)(std::io::Error::other(error)))??;
    // Every line is looked at before anything is stored.
    for line in manifest::lines(folder)? {
        line?;
    }
    check_place(folder, store).await?;
    observer.phase("store objects");
    let mut imported = Imported::default();
    for prefix in ORDER {
        let wanted = manifest::lines(folder)?.filter_map(Result::ok);
        let wanted = wanted.filter(|line| line.name.as_str().starts_with(prefix));
        let storing = stream::iter(wanted).map(|line| store_object(folder, store, line, observer));
        let mut storing = storing.buffered(if prefix == HEADS { 1 } else { PARALLEL });
        while let Some(stored) = storing.try_next().await? {
            imported.objects += u64::from(stored.is_some());
            imported.before += u64::from(stored.is_none());
            imported.bytes += stored.unwrap_or_default();
        }
    }
    Ok(imported)
}

/// Refuses a store that holds another repository, or something that is none of this one's.
async fn check_place(folder: &Path, store: &Arc<dyn Store>) -> Result<(), SeedError> {
    let occupied = |found: String| SeedError::Occupied { address: store.address(), found };
    let config = names::config();
    match store.get(&config, None).await {
        Ok(there) => {
            let path = objects(folder).join(config.as_str());
            let ours = std::fs::read(&path).map_err(disk(&path))?;
            return if ours == there { Ok(()) } else { Err(occupied(config.to_string())) };
        }
        Err(error) if error.kind() == ErrorKind::Missing => {}
        Err(error) => return Err(error.into()),
    }
    // An import that died may have left keys.
    let mut after = None;
    loop {
        let page = store.list("", after.as_ref(), LIST_LIMIT_MAX).await?;
        for object in page.objects {
            let is_key = [KEYS, DOMAINS].iter().any(|prefix| object.name.as_str().starts_with(prefix));
            if !is_key || !objects(folder).join(object.name.as_str()).exists() {
                return Err(occupied(object.name.to_string()));
            }
            after = Some(object.name);
        }
        if !page.more {
            return Ok(());
        }
    }
}

/// Stores one object, once it has been found to be what the manifest says; gives its length, and nothing for one
/// that is there in this length.
async fn store_object(
    folder: &Path,
    store: &Arc<dyn Store>,
    line: Line,
    observer: &dyn Observer,
) -> Result<Option<u64>, SeedError> {
    if observer.is_cancelled() {
        return Err(SeedError::Cancelled);
    }
    match store.head(&line.name).await {
        Ok(there) if there.bytes == line.bytes => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Missing => {}
        Err(error) => return Err(error.into()),
    }
    let path = objects(folder).join(line.name.as_str());
    let digesting = path.clone();
    let digested = crate::blocking::spawn_blocking(move || digest_of(&digesting)).await;
    let (digest, bytes) = digested.map_err(std::io::Error::other).flatten().map_err(disk(&path))?;
    if digest.finish() != line.digest || bytes != line.bytes {
        return Err(SeedError::Changed { object: line.name.to_string() });
    }
    store.put(&line.name, Body::File { path, bytes }, PutMode::Overwrite).await?;
    observer.advanced(bytes);
    Ok(Some(bytes))
}

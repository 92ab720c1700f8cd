//! The store of a target.

use futures::FutureExt;
use tidegate_replicator::store::{
    Address, Credentials, ErrorKind, LockFound, OpenStore, ProbeReport, StoreError, StoreSettings, Style,
    open, open_late, probe,
};

use super::AssemblyError;
use crate::settings::{self, CredentialsError, RepositoryAddress, Target, UrlStyle};

/// Attempts at the first request to a store. One that never answers is given up after a minute.
const FIRST_CONTACT_ATTEMPTS: u32 = 2;

/// What a target of the settings says about its store.
pub fn store_settings(target: &Target) -> StoreSettings {
    let address = match &target.address {
        RepositoryAddress::File(path) => Address::Directory(path.as_path().to_path_buf()),
        RepositoryAddress::S3 { bucket, prefix } => {
            Address::Bucket { bucket: bucket.clone(), prefix: prefix.clone() }
        }
    };
    let mut store = StoreSettings::new(address);
    store.endpoint = target.endpoint.as_ref().map(|url| url.as_str().to_owned());
    if let Some(region) = &target.region {
        region.as_str().clone_into(&mut store.region);
    }
    store.style = target.style.map(|style| match style {
        UrlStyle::Path => Style::Path,
        UrlStyle::VirtualHost => Style::VirtualHost,
    });
    store.proxy = target.proxy.as_ref().map(|url| url.as_str().to_owned());
    store.ca_file = target.ca_file.as_ref().map(|path| path.as_path().to_path_buf());
    store.upload_bytes_per_s = target.upload_rate.map(settings::Rate::bytes_per_second);
    store.download_bytes_per_s = target.download_rate.map(settings::Rate::bytes_per_second);
    store.requests_max = target.connections as usize;
    store.retry_percent_max = target.retry_percent;
    store.lock = target.lock_rule();
    store.append_only = target.append_only;
    store
}

/// Opens the store of a target. Asks it for nothing.
pub async fn open_store(target: &Target, probed: Option<&ProbeReport>) -> Result<OpenStore, AssemblyError> {
    let credentials = credentials(target).await?;
    Ok(open(target.name.as_str(), &store_settings(target), &credentials, probed)?)
}

/// The store of a target that may not be there yet: opened when it is first needed, and until it can be, every call fails.
pub fn open_store_late(target: &Target) -> OpenStore {
    let of = target.clone();
    let give = move || {
        let target = of.clone();
        async move {
            let denied = || format!("get the credentials of target {}", target.name.as_str());
            let given = target.credentials.resolve().await;
            given.map_err(|error| StoreError::new(ErrorKind::Denied, denied()).caused_by(error))
        }
        .boxed()
    };
    open_late(target.name.as_str(), &store_settings(target), Box::new(give))
}

/// Opens the store of a target for the first request: whoever waits wants to know soon whether it is there.
pub async fn contact_store(target: &Target) -> Result<OpenStore, AssemblyError> {
    let credentials = credentials(target).await?;
    let mut settings = store_settings(target);
    settings.attempts_max = FIRST_CONTACT_ATTEMPTS;
    Ok(open(target.name.as_str(), &settings, &credentials, None)?)
}

/// Finds out what the store of a target really does.
pub async fn probe_target(target: &Target) -> Result<ProbeReport, AssemblyError> {
    let credentials = credentials(target).await?;
    Ok(probe(&store_settings(target), &credentials).await?)
}

/// Refuses a target whose bucket does not lock objects although it is to. Asks the store only then.
pub async fn check_lock(target: &Target) -> Result<(), AssemblyError> {
    if target.lock.is_none() {
        return Ok(());
    }
    let found = probe_target(target).await?;
    refuse_unlockable(target, &found)
}

/// The same, of what a probe has found.
pub fn refuse_unlockable(target: &Target, found: &ProbeReport) -> Result<(), AssemblyError> {
    match found.lock.and_then(LockFound::obstacle) {
        Some(why) => {
            Err(AssemblyError::Unusable { what: format!("target {}", target.name), why: why.into() })
        }
        None => Ok(()),
    }
}

async fn credentials(target: &Target) -> Result<Credentials, AssemblyError> {
    target.credentials.resolve().await.map_err(|error| match error {
        CredentialsError::Secret(error) => error.into(),
        CredentialsError::Unusable => AssemblyError::Unusable {
            what: format!("the credentials of target {}", target.name.as_str()),
            why: error.to_string(),
        },
    })
}

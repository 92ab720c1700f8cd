//! Finding out what a store really does, in the very place where the repository is or will be.
//!
//! Whether conditions hold depends on the product, its version and even on whether the bucket keeps
//! versions; so it is asked, at `init` and at `attach`. The names of all objects of a probe begin with
//! `probe/` and hold its random number; it removes them, also when it fails, and those that killed
//! probes left behind.

mod lock;
mod report;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::join_all;

pub use self::report::{LockFound, ProbeReport};
use super::settings::{Adapter, adapter};
use super::{
    Body, ChecksumMode, Conduct, Credentials, DeadlineStore, ErrorKind, LIST_LIMIT_MAX, ObjectName, PutMode,
    S3Store, Store, StoreError, StoreSettings,
};
use crate::chance;

/// How many writers race for one name.
const RACERS: usize = 16;

/// How many races are run, since a store may let one writer win by luck.
const RACES: usize = 3;

/// How old the objects of a probe must be to count as left by a killed one.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// Probes the store that the settings name. It must exist; the objects that a repository has there are not touched.
pub async fn probe(settings: &StoreSettings, credentials: &Credentials) -> Result<ProbeReport, StoreError> {
    let number = chance::number()
        .map_err(|error| StoreError::new(ErrorKind::Misconfigured, "get random numbers").caused_by(error))?;
    let id = format!("{number:016x}");
    let trusting =
        Conduct { create_new: true, checksum: settings.checksum.unwrap_or_default(), ..Conduct::default() };
    let mut report = ProbeReport::new(settings.address.to_string());
    let store: Arc<dyn Store> = match adapter(settings, credentials, trusting, &Arc::default())? {
        Adapter::Directory(directory) => Arc::new(directory),
        Adapter::S3(bucket) => {
            let wanted = settings.checksum;
            let bucket = probe_checksums(bucket, &id, wanted, &mut report).await?;
            if let Some(rule) = settings.lock {
                report.lock = Some(lock::probe_lock(&bucket, &id, rule.mode).await?);
            }
            Arc::new(bucket)
        }
    };
    let store: Arc<dyn Store> = Arc::new(DeadlineStore::new(store, settings.patience()));
    let outcome = probe_store(&store, &id, &mut report).await;
    let cleaned = clean_up(&*store, &id, &report).await;
    outcome.and(cleaned)?;
    Ok(report)
}

/// Probes what is the same for every kind of store.
async fn probe_store(store: &Arc<dyn Store>, id: &str, report: &mut ProbeReport) -> Result<(), StoreError> {
    probe_reads(&**store, id, report).await?;
    probe_order(&**store, id, report).await?;
    probe_create_new(&**store, id, report).await?;
    probe_deletes(&**store, id, report).await
}

/// Finds the checksum that the bucket takes, and what it does with a wrong one.
async fn probe_checksums(
    bucket: S3Store,
    id: &str,
    wanted: Option<ChecksumMode>,
    report: &mut ProbeReport,
) -> Result<S3Store, StoreError> {
    let mode = match wanted {
        Some(mode) => mode,
        None => match try_checksum(&bucket, id, ChecksumMode::Crc32c).await {
            Ok(()) => ChecksumMode::Crc32c,
            // With another reason than the checksum, this fails again, and then that is the reason.
            Err(_) => ChecksumMode::None,
        },
    };
    try_checksum(&bucket, id, mode).await?;
    report.checksum = mode;
    let bucket = bucket.with_conduct(Conduct { create_new: true, checksum: mode, ..Conduct::default() });
    if mode == ChecksumMode::Crc32c {
        report.checksum_verified = refuses_wrong_checksum(&bucket, id).await?;
    }
    if let Err(error) = bucket.abort_unfinished(&HashSet::new(), LEFTOVER_AGE).await {
        tracing::debug!(%error, "unfinished uploads cannot be listed here");
    }
    Ok(bucket)
}

/// Stores a small object in one request, and another in parts.
async fn try_checksum(bucket: &S3Store, id: &str, checksum: ChecksumMode) -> Result<(), StoreError> {
    let bucket = bucket.with_conduct(Conduct { create_new: false, checksum, ..Conduct::default() });
    let body = Body::Bytes(Bytes::from_static(b"probe"));
    bucket.put(&name(id, "checksum"), body.clone(), PutMode::Overwrite).await?;
    bucket.put_in_parts(&name(id, "parts"), &body).await
}

async fn refuses_wrong_checksum(bucket: &S3Store, id: &str) -> Result<bool, StoreError> {
    let body = Body::Bytes(Bytes::from_static(b"probe"));
    let wrong = Some("AAAAAA==".to_owned());
    match bucket.put_with_checksum(&name(id, "wrong"), &body, false, wrong).await {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::Transient => Err(error),
        Err(_refused) => Ok(true),
    }
}

async fn probe_reads(store: &dyn Store, id: &str, report: &mut ProbeReport) -> Result<(), StoreError> {
    let object = name(id, "read");
    let bytes = Bytes::from_static(b"0123456789");
    let before = SystemTime::now();
    store.put(&object, Body::Bytes(bytes.clone()), PutMode::Overwrite).await?;
    let after = SystemTime::now();
    let whole = store.get(&object, None).await?;
    let middle = store.get(&object, Some(3..7)).await;
    let tail = store.get_tail(&object, 4).await;
    report.ranged_reads = whole == bytes
        && middle.is_ok_and(|middle| middle == bytes.slice(3..7))
        && tail.is_ok_and(|tail| tail == (bytes.slice(6..), 10));
    report.set_clock_skew(store.head(&object).await?.modified, before, after);
    Ok(())
}

async fn probe_order(store: &dyn Store, id: &str, report: &mut ProbeReport) -> Result<(), StoreError> {
    // The folders are the same for all probes, since a directory keeps them.
    let names = ["A", "a-", "a.", "a/", "a0", "b"]
        .map(|part| ObjectName::new(format!("probe/order/{part}{id}")).expect("the parts are legal"));
    for name in names.iter().rev() {
        store.put(name, Body::Bytes(Bytes::from_static(b"1")), PutMode::Overwrite).await?;
    }
    let mut seen = Vec::<ObjectName>::new();
    loop {
        let page = store.list("probe/order/", seen.last(), 2).await?;
        let stuck = page.more && page.objects.is_empty();
        seen.extend(page.objects.into_iter().map(|object| object.name));
        if !page.more || stuck || !seen.is_sorted() {
            break;
        }
    }
    let ours = seen.iter().filter(|name| name.as_str().ends_with(id));
    report.ordered_listing = seen.is_sorted() && ours.eq(names.iter());
    Ok(())
}

async fn probe_create_new(store: &dyn Store, id: &str, report: &mut ProbeReport) -> Result<(), StoreError> {
    let object = name(id, "create");
    let body = Body::Bytes(Bytes::from_static(b"1"));
    store.put(&object, body.clone(), PutMode::Overwrite).await?;
    match store.put(&object, body, PutMode::CreateNew).await {
        Err(error) if error.kind() == ErrorKind::Exists => {}
        Err(error) if error.kind() == ErrorKind::Transient => return Err(error),
        // The condition is ignored, or refused.
        Ok(()) | Err(_) => return Ok(()),
    }
    for race in 0..RACES {
        let object = name(id, &format!("race-{race}"));
        let racers = (0..RACERS).map(|racer| {
            store.put(&object, Body::Bytes(Bytes::from(format!("racer {racer}"))), PutMode::CreateNew)
        });
        let winners = join_all(racers).await.iter().filter(|outcome| outcome.is_ok()).count();
        report.race_winners_max = report.race_winners_max.max(winners);
        if winners != 1 {
            return Ok(());
        }
    }
    report.create_new = true;
    Ok(())
}

async fn probe_deletes(store: &dyn Store, id: &str, report: &mut ProbeReport) -> Result<(), StoreError> {
    let object = name(id, "read");
    store.delete(&object).await?;
    store.delete(&object).await?;
    let gone = store.get(&object, None).await;
    let unlisted = store.list(object.as_str(), None, 1).await?.objects.is_empty();
    report.deletes = unlisted && gone.is_err_and(|error| error.kind() == ErrorKind::Missing);
    Ok(())
}

/// Deletes what this probe made, and what killed ones left, by the store's own clock.
async fn clean_up(store: &dyn Store, id: &str, report: &ProbeReport) -> Result<(), StoreError> {
    let now = report.store_time(SystemTime::now());
    let mut last = None;
    loop {
        let page = store.list("probe/", last.as_ref(), LIST_LIMIT_MAX).await?;
        for object in &page.objects {
            let age = now.duration_since(object.modified).unwrap_or_default();
            if object.name.as_str().contains(id) || age > LEFTOVER_AGE {
                store.delete(&object.name).await?;
            }
        }
        last = page.objects.into_iter().last().map(|object| object.name);
        if !page.more {
            return Ok(());
        }
    }
}

fn name(id: &str, part: &str) -> ObjectName {
    ObjectName::new(format!("probe/{id}-{part}")).expect("the parts are legal")
}

//! Writing a seed.

use std::path::Path;
use std::sync::Arc;

use tidegate_chunker::VerifyingKey;

use super::SeedError;
use super::manifest::{Line, Writer, digest_of, disk, objects};
use crate::mirror::{Mirror, MirrorOptions, Stranger, prepare};
use crate::observer::Observer;
use crate::repository::{Opened, Repository};
use crate::store::{Classes, DirectoryStore, LIST_LIMIT_MAX, Store, durable_file};

/// How often the newest heads may go while they are to be copied.
const PASSES_MAX: u32 = 8;
/// Packs that are fetched at once.
const PARALLEL: usize = 4;

/// A seed that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Objects on the disk.
    pub objects: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// Bytes of packs that this run fetched.
    pub fetched_bytes: u64,
    /// Who signed: whoever imports needs this.
    pub signer: VerifyingKey,
}

/// Writes a repository to a folder, or brings what is there up to date, and signs it.
pub async fn export(
    repository: &Arc<Repository<Opened>>,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<Exported, SeedError> {
    let (place, scratch) = (objects(folder), folder.join("coming"));
    durable_file::create_folders(folder).map_err(disk(folder))?;
    std::fs::create_dir_all(&scratch).map_err(disk(&scratch))?;
    let store: Arc<dyn Store> = Arc::new(DirectoryStore::create(&place)?);
    let copy = Arc::new(prepare(repository, store.clone()).await?);
    let options = MirrorOptions { parallel: PARALLEL, scratch: scratch.clone(), classes: Classes::default() };
    let mut mirror = Mirror::new(repository.clone(), copy, Arc::new(Stranger), options);
    observer.phase("copy the repository");
    let mut report = mirror.pass(observer).await?;
    let mut fetched_bytes = report.bytes;
    for _ in 1..PASSES_MAX {
        if report.overtaken == 0 {
            break;
        }
        report = mirror.pass(observer).await?;
        fetched_bytes += report.bytes;
    }
    std::fs::remove_dir_all(&scratch).map_err(disk(&scratch))?;
    if !report.is_whole() {
        let packs = report.holes.iter().map(|pack| format!("the store lacks pack {pack}"));
        let shares = report.shares.iter().filter(|share| share.obstacle.is_some());
        let shares = shares.map(|share| format!("share {} is in another state there", share.share));
        let overtaken =
            (report.overtaken > 0).then(|| "newest heads go faster than they are copied".to_owned());
        let why = report.damaged.iter().cloned().chain(packs).chain(shares).chain(overtaken);
        let why: Vec<String> = why.collect();
        return Err(SeedError::NotWhole { why: why.join("; ") });
    }
    observer.phase("write the manifest");
    let mut exported =
        Exported { objects: 0, bytes: 0, fetched_bytes, signer: repository.signing_key().verifying() };
    let mut writer = Writer::create(folder)?;
    let mut after = None;
    loop {
        let page = store.list("", after.as_ref(), LIST_LIMIT_MAX).await?;
        for object in page.objects {
            if observer.is_cancelled() {
                return Err(SeedError::Cancelled);
            }
            let path = place.join(object.name.as_str());
            let digesting = path.clone();
            let digested = crate::blocking::spawn_blocking(move || digest_of(&digesting)).await;
            let (digest, bytes) = digested.map_err(std::io::Error::other).flatten().map_err(disk(&path))?;
            writer.add(&Line { digest: digest.finish(), bytes, name: object.name.clone() })?;
            exported.objects += 1;
            exported.bytes += bytes;
            observer.advanced(bytes);
            after = Some(object.name);
        }
        if !page.more {
            break;
        }
    }
    writer.sign(&repository.signing_key())?;
    Ok(exported)
}

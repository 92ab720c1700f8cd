//! A gateway with a bucket of objects and a share that is a bucket too, and short ways to use them.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use tidegate_gateway::appliance::{Appliance, AttachPoint, Budgets};
use tidegate_gateway::clock::Clock;
use tidegate_gateway::live::Usage;
use tidegate_gateway::namespace::{Credentials, Namespace};
use tidegate_gateway::objects::{AccessKeyConfig, BucketConfig, Objects};
use tidegate_protocols::objects::{
    Body, Checksum, ChecksumAlgorithm, ChecksumKind, Conditions, Digests, ListQuery, Listing, NewObject,
    ObjectError, ObjectInfo, ObjectName, ObjectView, PutDone, Who, sums,
};
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};
use zeroize::Zeroizing;

use crate::support::{budgets, config, init, open, open_at, open_within, slot_key};

/// The bucket of objects.
pub const FLAT: &str = "backups";
/// The share that is a bucket.
pub const TREE: &str = "docs";
/// Longer than anything in the background takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct Scene {
    pub folder: tempfile::TempDir,
    pub store: Arc<dyn Store>,
    pub key: SlotKey,
    pub appliance: Arc<Appliance>,
    pub objects: Arc<Objects>,
    spares: usize,
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub fn name(bucket: &str, key: &str) -> ObjectName {
    ObjectName { bucket: bucket.into(), key: key.into() }
}

/// A caller with a key.
pub fn who(id: &str) -> Who {
    Who { access_key: Some(id.into()), address: [127, 0, 0, 1].into(), secure: false }
}

/// The key that may do everything, as the superuser.
pub fn admin() -> Who {
    who("admin")
}

pub fn access_key(credentials: Credentials) -> AccessKeyConfig {
    AccessKeyConfig {
        secret: Zeroizing::new("secret".into()),
        buckets: None,
        read_only: false,
        owner: None,
        own_buckets_only: false,
        policy: None,
        credentials,
    }
}

/// Serves both buckets and gives their objects.
pub async fn serve(appliance: &Arc<Appliance>) -> Arc<Objects> {
    let mut flat = config(FLAT);
    flat.rules.exported = false;
    appliance.serve(flat).await.unwrap();
    appliance.serve(config(TREE)).await.unwrap();
    let objects = Arc::new(Objects::new(appliance.files().clone()));
    objects.set(buckets(appliance), HashMap::from([("admin".into(), access_key(Credentials::ROOT))]));
    objects
}

pub fn buckets(appliance: &Arc<Appliance>) -> Vec<BucketConfig> {
    let bucket = |name: &str, flat| BucketConfig {
        name: name.into(),
        owner: None,
        share: appliance.share_id(name).unwrap(),
        flat,
        read_only: false,
        in_repository: false,
    };
    vec![bucket(FLAT, true), bucket(TREE, false)]
}

impl Scene {
    pub async fn new() -> Self {
        Self::within(budgets()).await
    }

    /// A gateway with budgets of the test's choice, until its first restart.
    pub async fn within(budgets: Budgets) -> Self {
        Self::over(Arc::new(MemoryStore::new()), budgets).await
    }

    /// The same over a store of the test's choice.
    pub async fn over(store: Arc<dyn Store>, budgets: Budgets) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        drop(init(store.clone(), &key).await);
        let appliance = open_within(&folder.path().join("home"), store.clone(), &key, budgets).await;
        let objects = serve(&appliance).await;
        Self { folder, store, key, appliance, objects, spares: 0 }
    }

    /// A gateway by a clock of the test's choice, until its first restart.
    pub async fn by_clock(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = slot_key(folder.path());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        drop(init(store.clone(), &key).await);
        let appliance = open_at(&folder.path().join("home"), store.clone(), &key, clock).await;
        let objects = serve(&appliance).await;
        Self { folder, store, key, appliance, objects, spares: 0 }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub async fn restart(&mut self) {
        self.appliance.close().await.unwrap();
        self.spares += 1;
        // The old appliance must let go of its folder first.
        let spare = self.folder.path().join(format!("spare-{}", self.spares));
        let spare = open(&spare, self.store.clone(), &self.key).await;
        self.objects = Arc::new(Objects::new(spare.files().clone()));
        drop(std::mem::replace(&mut self.appliance, spare));
        self.appliance = open(&self.home(), self.store.clone(), &self.key).await;
        self.objects = serve(&self.appliance).await;
    }

    /// The gateway as it would come back had it died now: over a copy of its local state.
    pub async fn died(&self) -> Arc<Appliance> {
        let copy = self.folder.path().join("died");
        copy_folder(&self.home(), &copy);
        let appliance = open(&copy, self.store.clone(), &self.key).await;
        serve(&appliance).await;
        appliance
    }

    /// Both buckets on another machine, from their newest heads.
    pub async fn elsewhere(&self) -> (Arc<Appliance>, Arc<Objects>) {
        let away = open(&self.folder.path().join("away"), self.store.clone(), &self.key).await;
        for bucket in [FLAT, TREE] {
            away.attach(bucket, AttachPoint::Newest).await.unwrap();
        }
        let objects = serve(&away).await;
        (away, objects)
    }

    pub fn namespace(&self, bucket: &str) -> Namespace {
        self.appliance.namespace(bucket).unwrap()
    }

    /// Waits until a bucket uses so much: what came of a body that was refused goes in the background.
    pub async fn settles(&self, bucket: &str, wanted: Usage) {
        let usage = || self.namespace(bucket).share().usage();
        let settled = async {
            while usage() != wanted {
                tokio::task::yield_now().await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        assert!(settled.is_ok(), "{bucket} uses {:?}, not {wanted:?}", usage());
    }

    pub async fn put(&self, bucket: &str, key: &str, data: &[u8]) -> Result<PutDone, ObjectError> {
        self.put_with(bucket, key, data, NewObject::default()).await
    }

    pub async fn put_with(
        &self,
        bucket: &str,
        key: &str,
        data: &[u8],
        new: NewObject,
    ) -> Result<PutDone, ObjectError> {
        self.objects.put(&admin(), &name(bucket, key), new, &mut Given::whole(data)).await
    }

    pub async fn info(&self, bucket: &str, key: &str) -> Result<ObjectInfo, ObjectError> {
        Ok(self.objects.open(&admin(), &name(bucket, key), None).await?.info().clone())
    }

    pub async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>, ObjectError> {
        get(&self.objects, bucket, key).await
    }

    pub async fn delete(&self, bucket: &str, key: &str) -> Result<(), ObjectError> {
        self.objects.delete(&admin(), &name(bucket, key), None, &Conditions::default(), false).await.map(drop)
    }

    pub async fn list(&self, bucket: &str, query: &ListQuery) -> Listing {
        self.objects.list(&admin(), bucket, query).await.unwrap()
    }

    /// All keys of a bucket, in one page.
    pub async fn keys(&self, bucket: &str) -> Vec<String> {
        let listing = self.list(bucket, &ListQuery { limit: 1000, ..ListQuery::default() }).await;
        listing.entries.iter().map(|entry| entry.name().to_owned()).collect()
    }
}

pub async fn get(objects: &Objects, bucket: &str, key: &str) -> Result<Vec<u8>, ObjectError> {
    let object = objects.open(&admin(), &name(bucket, key), None).await?;
    let pieces: Vec<Bytes> = object.read(0..object.info().size).try_collect().await?;
    Ok(pieces.concat())
}

/// A body that a test gives.
pub struct Given {
    rest: VecDeque<Bytes>,
    seen: Vec<u8>,
    fails: Option<ObjectError>,
    algorithm: Option<ChecksumAlgorithm>,
}

impl Given {
    pub fn whole(data: &[u8]) -> Self {
        let rest = data.chunks(300_000).map(Bytes::copy_from_slice).collect();
        Self { rest, seen: Vec::new(), fails: None, algorithm: None }
    }

    /// Whose checksum is computed on the way.
    pub fn summed(data: &[u8], algorithm: ChecksumAlgorithm) -> Self {
        Self { algorithm: Some(algorithm), ..Self::whole(data) }
    }

    /// Whose digest turns out to be wrong.
    pub fn wrong(data: &[u8]) -> Self {
        Self { fails: Some(ObjectError::BadDigest("MD5")), ..Self::whole(data) }
    }
}

#[async_trait]
impl Body for Given {
    fn announced_bytes(&self) -> Option<u64> {
        None
    }

    fn compute(&mut self, algorithm: ChecksumAlgorithm) {
        self.algorithm = Some(algorithm);
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        let next = self.rest.pop_front();
        self.seen.extend_from_slice(next.as_deref().unwrap_or_default());
        Ok(next)
    }

    async fn finish(&mut self) -> Result<Digests, ObjectError> {
        if let Some(error) = self.fails.take() {
            return Err(error);
        }
        let checksum = self.algorithm.map(|algorithm| Checksum {
            algorithm,
            kind: ChecksumKind::Full,
            value: sums::of_bytes(algorithm, &self.seen),
        });
        Ok(Digests { md5: sums::md5_hex(&self.seen), checksum })
    }
}

//! A gateway with a share and volumes in it, and a dumb model of a disk.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_chunker::ShareId;
use tidegate_gateway::appliance::Appliance;
use tidegate_gateway::control::Moment;
use tidegate_gateway::share::FrozenMap;
use tidegate_gateway::volumes::{Host, VolumeConfig, Volumes};
use tidegate_protocols::blocks::{BlockView, OpenVolume, Piece};
use tidegate_protocols::view::FsError;
use tidegate_replicator::repository::SlotKey;
use tidegate_replicator::store::{MemoryStore, Store};

use crate::support::{budgets, config, init, slot_key, try_open};

pub const SHARE: &str = "vm";
/// How long a request waits in these tests for what cannot be had.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a gateway is opened anew while the one before still holds its folder.
const ATTEMPTS_MAX: usize = 500;
/// What all scratch volumes may keep, in bytes.
pub const SCRATCH_BYTES: u64 = 3 << 20;

/// xorshift64*: small, and the same everywhere.
pub struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A range within so many bytes; now and then aligned, as those of file systems are.
    pub fn range(&mut self, size: u64, length_max: u64) -> Range<u64> {
        let (mut start, mut length) = (self.below(size), 1 + self.below(length_max));
        if self.below(3) > 0 {
            (start, length) = (start & !4095, length.next_multiple_of(4096));
        }
        start..(start + length).min(size)
    }

    pub fn bytes(&mut self, length: u64) -> Vec<u8> {
        let seed = self.next();
        // Now and then something that is like its neighbours.
        if seed.is_multiple_of(4) {
            vec![seed as u8 | 1; length as usize]
        } else {
            crate::support::noise(seed, length as usize)
        }
    }
}

struct TestHost(Arc<Appliance>);

#[async_trait]
impl Host for TestHost {
    fn share_id(&self, share: &str) -> Option<ShareId> {
        self.0.share_id(share).ok()
    }

    async fn frozen(&self, share: &str, moment: &Moment, _keep: bool) -> Result<FrozenMap, FsError> {
        let head = match moment {
            Moment::Snapshot(wanted) => {
                let snapshots = self.0.snapshots(share).await.map_err(|_| FsError::Io)?;
                let found = snapshots.into_iter().find(|entry| entry.id.to_string() == *wanted);
                found.ok_or(FsError::NotFound)?.snapshot.head
            }
            Moment::Head(wanted) => {
                let snapshots = self.0.snapshots(share).await.map_err(|_| FsError::Io)?;
                let mut snapshots = snapshots.into_iter().map(|entry| entry.snapshot);
                let found = snapshots.find(|snapshot| snapshot.head_name.to_string() == *wanted);
                found.ok_or(FsError::NotFound)?.head
            }
            _ => {
                let heads = self.0.heads(share, 1).await.map_err(|_| FsError::Io)?;
                heads.into_iter().next().ok_or(FsError::NotFound)?.1
            }
        };
        self.0.frozen_map(&head).map_err(|_| FsError::Io)
    }

    async fn published(&self, share: &str, moment: &Moment) -> Result<(String, FrozenMap), FsError> {
        assert_eq!(*moment, Moment::Live, "no test copies another moment");
        let (name, head) = self.0.commit(share).await.map_err(|_| FsError::Io)?;
        self.0.pin(name, &head, "a copy").await.map_err(|_| FsError::Io)?;
        Ok((name.to_string(), self.0.frozen_map(&head).map_err(|_| FsError::Io)?))
    }
}

pub struct Scene {
    folder: tempfile::TempDir,
    store: Arc<dyn Store>,
    key: SlotKey,
    pub appliance: Arc<Appliance>,
    pub volumes: Arc<Volumes>,
    configs: Vec<VolumeConfig>,
}

/// A volume of the share.
pub fn volume(name: &str, size: Option<u64>) -> VolumeConfig {
    VolumeConfig {
        name: name.into(),
        share: SHARE.into(),
        path: "/disks/one.img".parse().unwrap(),
        size,
        read_only: false,
        moment: None,
        scratch: false,
        clients: vec!["127.0.0.0/8".parse().unwrap()],
        warm: true,
    }
}

impl Scene {
    pub async fn new(configs: Vec<VolumeConfig>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let key = slot_key(folder.path());
        drop(init(store.clone(), &key).await);
        let (appliance, volumes) = serve(folder.path().join("data"), store.clone(), &key, &configs).await;
        Self { folder, store, key, appliance, volumes, configs }
    }

    pub async fn restart(self) -> Self {
        let Self { folder, store, key, appliance, volumes, configs } = self;
        drop(volumes);
        appliance.close().await.unwrap();
        drop(appliance);
        let (appliance, volumes) = serve(folder.path().join("data"), store.clone(), &key, &configs).await;
        Self { folder, store, key, appliance, volumes, configs }
    }

    pub async fn open(&self, name: &str) -> Arc<dyn OpenVolume> {
        self.volumes.open([127, 0, 0, 1].into(), name).await.unwrap()
    }
}

/// Opens the local state; files of volumes that were open are closed in the background, so it may be held for a moment.
async fn open(data: &Path, store: Arc<dyn Store>, key: &SlotKey) -> Arc<Appliance> {
    let mut attempts = 0;
    loop {
        match try_open(data, store.clone(), key, budgets()).await {
            Ok(appliance) => return appliance,
            Err(error) => assert!(attempts < ATTEMPTS_MAX, "it cannot be opened: {error}"),
        }
        attempts += 1;
        tokio::task::yield_now().await;
    }
}

async fn serve(
    data: PathBuf,
    store: Arc<dyn Store>,
    key: &SlotKey,
    configs: &[VolumeConfig],
) -> (Arc<Appliance>, Arc<Volumes>) {
    let appliance = open(&data, store, key).await;
    appliance.serve(config(SHARE)).await.unwrap();
    let host = Arc::new(TestHost(appliance.clone()));
    let room = (data.join("scratch"), SCRATCH_BYTES);
    let volumes = Arc::new(Volumes::new(appliance.files().clone(), host, PATIENCE, room));
    volumes.set(configs.to_vec());
    (appliance, volumes)
}

/// The bytes of a range.
pub async fn read(disk: &dyn OpenVolume, range: Range<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in disk.read(range).await.unwrap() {
        match piece {
            Piece::Data(data) => bytes.extend_from_slice(&data),
            Piece::Hole(length) => bytes.resize(bytes.len() + length as usize, 0),
        }
    }
    bytes
}

/// The stretches of a range, asked for in small pieces: which bytes are no hole.
pub async fn kept(disk: &dyn OpenVolume, range: Range<u64>, most: usize) -> Vec<Range<u64>> {
    let (mut at, mut kept) = (range.start, Vec::<Range<u64>>::new());
    while at < range.end {
        let found = disk.status(at..range.end, most).await.unwrap();
        assert!(!found.is_empty() && found.len() <= most);
        for stretch in found {
            if !stretch.hole {
                match kept.last_mut() {
                    Some(last) if last.end == at => last.end += stretch.length,
                    _ => kept.push(at..at + stretch.length),
                }
            }
            at += stretch.length;
            assert!(at <= range.end);
        }
    }
    kept
}

/// What a disk should be.
#[derive(Clone)]
pub struct Model(pub Vec<u8>);

impl Model {
    pub fn put(&mut self, range: Range<u64>, data: Option<&[u8]>) {
        let place = &mut self.0[range.start as usize..range.end as usize];
        match data {
            Some(data) => place.copy_from_slice(data),
            None => place.fill(0),
        }
    }

    /// All of it, and that what is called a hole is one.
    pub async fn check(&self, disk: &dyn OpenVolume) {
        let size = self.0.len() as u64;
        assert!(read(disk, 0..size).await == self.0, "the disk is not what was written");
        let mut rest = self.0.clone();
        for range in kept(disk, 0..size, 7).await {
            rest[range.start as usize..range.end as usize].fill(0);
        }
        assert!(rest.iter().all(|byte| *byte == 0), "data is called a hole");
    }

    /// One random change of a disk.
    pub async fn change(&mut self, disk: &dyn OpenVolume, chance: &mut Chance) {
        let size = self.0.len() as u64;
        let durable = chance.below(4) == 0;
        match chance.below(5) {
            0 => {
                let range = chance.range(size, 200 << 10);
                disk.trim(range.clone(), durable).await.unwrap();
                self.put(range, None);
            }
            1 => {
                let range = chance.range(size, 100 << 10);
                disk.zero(range.clone(), chance.below(2) == 0, durable).await.unwrap();
                self.put(range, None);
            }
            _ => {
                let range = chance.range(size, 150 << 10);
                let data = chance.bytes(range.end - range.start);
                disk.write(range.start, Bytes::from(data.clone()), durable).await.unwrap();
                self.put(range, Some(&data));
            }
        }
    }
}

//! The block view of the gateway: files of shares as disks.
//!
//! ```text
//! place        where the file of a volume is; makes and resizes it
//! source       what a disk reads from: the live file, or the file as it was at a moment
//! scratch      changes over a source that are thrown away
//!   stretches  which parts of those are there                            pure
//! disk         a volume as a client has it open
//! boot         which parts were read while a machine booted, in order    pure
//! warm         fetches those first
//! published    a disk as it was published, to be copied elsewhere
//!   runs       sets of blocks                                            pure
//! patience     waits for what cannot be had now
//! host         what is asked of the gateway around                       a seam
//! ```
//!
//! A change of a volume is a change of a file: it goes through the namespace into the journal, so a FLUSH or FUA is answered
//! after the record is on stable storage, and a snapshot of the share is one of the disk. A client that has a volume open
//! holds its file, which outlives its last name. When the share is put back to an earlier state, those who have
//! its disks open are told that they are gone: what they have in memory is of another disk.
//!
//! Owns which volumes there are, until [`Volumes::set`] says otherwise. Not here: the wire.

mod boot;
mod disk;
mod host;
mod patience;
mod place;
mod published;
mod runs;
mod scratch;
mod source;
mod stretches;
mod volume;
mod warm;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use tidegate_protocols::blocks::{BlockError, BlockView, OpenVolume, VolumeEntry};
use tidegate_protocols::view::FsError;

use crate::control::{FilePath, Moment};
use crate::files::{Files, Served};
use crate::settings::Network;

pub use boot::{BOOT_ORDER_ATTRIBUTE, BootOrder, BootOrderError, UNIT_BYTES};
pub use host::Host;
pub use published::PublishedDisk;
use scratch::ScratchRoom;
use volume::Volume;
pub use volume::VolumeReport;

/// How long the opening of a volume may wait for the store.
const OPEN_TIME_MAX: Duration = Duration::from_secs(25);

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeConfig {
    /// What clients call it.
    pub name: String,
    /// The share that its file is in, by name.
    pub share: String,
    /// Its file.
    pub path: FilePath,
    /// How large the file is made, if it is shorter or missing.
    pub size: Option<u64>,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Served as it was then; for a scratch volume without it, as of the newest head.
    pub moment: Option<Moment>,
    /// Whether changes are kept here and thrown away.
    pub scratch: bool,
    /// Who may; empty for nobody.
    pub clients: Vec<Network>,
    /// Whether what was recorded is fetched when the first client comes.
    pub warm: bool,
}

/// See the head of this module.
pub struct Volumes {
    context: Arc<Context>,
    known: RwLock<BTreeMap<String, Arc<Volume>>>,
}

/// What all volumes need.
struct Context {
    files: Arc<Files>,
    host: Arc<dyn Host>,
    patience: Duration,
    room: Arc<ScratchRoom>,
}

impl Context {
    /// The share of a volume as it is served now.
    fn served(&self, share: &str) -> Result<Arc<Served>, FsError> {
        let id = self.host.share_id(share).ok_or(FsError::Stale)?;
        // A share that is being taken over or attached anew is served in a moment.
        self.files.share(id).ok_or(FsError::TryLater)
    }
}

impl Volumes {
    /// Volumes in the shares that `files` serves. There are none yet. Changes of scratch volumes are kept in `folder`, at most
    /// so many bytes of all together; a request waits at most `patience` for what cannot be had.
    pub fn new(
        files: Arc<Files>,
        host: Arc<dyn Host>,
        patience: Duration,
        (folder, scratch_bytes_max): (PathBuf, u64),
    ) -> Self {
        let room = ScratchRoom::new(folder, scratch_bytes_max);
        Self { context: Arc::new(Context { files, host, patience, room }), known: RwLock::default() }
    }

    /// From now on there are these volumes, besides those that [`Volumes::add`] gave. One that is as it was stays
    /// open for whoever has it open; the others are closed.
    pub fn set(&self, volumes: Vec<VolumeConfig>) {
        let mut known = self.known.write();
        let mut before = std::mem::take(&mut *known);
        for config in volumes {
            let same = before.get(&config.name).is_some_and(|volume| volume.config == config);
            let kept = if same { before.remove(&config.name) } else { None };
            let volume = kept.unwrap_or_else(|| Arc::new(Volume::new(config, false)));
            known.insert(volume.config.name.clone(), volume);
        }
        for (name, volume) in before {
            if volume.temporary && !known.contains_key(&name) {
                known.insert(name, volume);
            } else {
                volume.close();
            }
        }
    }

    /// Serves one volume more, of no settings, until it is removed or the gateway ends; false if the name is taken.
    pub fn add(&self, config: VolumeConfig) -> bool {
        let mut known = self.known.write();
        if known.contains_key(&config.name) {
            return false;
        }
        known.insert(config.name.clone(), Arc::new(Volume::new(config, true)));
        true
    }

    /// Takes away what [`Volumes::add`] gave, with its changes; false if there is no such.
    pub fn remove(&self, name: &str) -> bool {
        let mut known = self.known.write();
        if !known.get(name).is_some_and(|volume| volume.temporary) {
            return false;
        }
        if let Some(volume) = known.remove(name) {
            volume.close();
        }
        true
    }

    /// What is known of all volumes, by name. Cheap.
    pub fn reports(&self) -> Vec<VolumeReport> {
        self.known.read().values().map(|volume| volume.report()).collect()
    }

    /// Makes the file of a volume, or makes it longer, as the volume says; gives its size and how much of it is no
    /// hole.
    pub async fn prepare(&self, name: &str) -> Result<(u64, u64), FsError> {
        let volume = self.find(name)?;
        let node = volume.node(&self.context).await?;
        Ok((node.inode.size, node.inode.used))
    }

    /// Makes the file of a volume so long, also shorter. Clients see it when they connect again; for those that are
    /// connected a shorter volume ends earlier at once.
    pub async fn resize(&self, name: &str, size: u64) -> Result<(), FsError> {
        let volume = self.find(name)?;
        if volume.config.read_only || volume.config.moment.is_some() || volume.config.scratch {
            return Err(FsError::ReadOnly);
        }
        let served = self.context.served(&volume.config.share)?;
        self.context.files.admit_bytes(&served, 0).await?;
        let node = volume.node(&self.context).await?;
        place::resize(&served.namespace, node.number, size).await?;
        volume.note_size(size);
        Ok(())
    }

    /// Begins to note which parts of a volume are read, in order; false if that is being done.
    pub fn record(&self, name: &str) -> Result<bool, FsError> {
        Ok(self.find(name)?.start_recording())
    }

    /// Ends a recording; gives what was read. None if there was none.
    pub fn end_recording(&self, name: &str) -> Result<Option<BootOrder>, FsError> {
        Ok(self.find(name)?.end_recording())
    }

    /// What is recorded with the file of a volume.
    pub async fn boot_order(&self, name: &str) -> Result<Option<BootOrder>, FsError> {
        self.find(name)?.boot_order(&self.context).await
    }

    /// Records it with the file in the live share, whatever state of it the volume serves; none takes it away.
    pub async fn set_boot_order(&self, name: &str, order: Option<&BootOrder>) -> Result<(), FsError> {
        let volume = self.find(name)?;
        let served = self.context.served(&volume.config.share)?;
        self.context.files.admit_bytes(&served, 0).await?;
        let reader = served.namespace.reader();
        let node = place::find(reader, &volume.config.path).await?;
        boot::store(&served.namespace, node.number, order).await
    }

    fn find(&self, name: &str) -> Result<Arc<Volume>, FsError> {
        self.known.read().get(name).cloned().ok_or(FsError::NotFound)
    }
}

#[async_trait]
impl BlockView for Volumes {
    fn volumes(&self, client: IpAddr) -> Vec<VolumeEntry> {
        let known = self.known.read();
        let admitted = known.values().filter(|volume| volume.admits(client));
        admitted.map(|volume| volume.entry()).collect()
    }

    async fn open(&self, client: IpAddr, name: &str) -> Result<Arc<dyn OpenVolume>, BlockError> {
        let found = {
            let known = self.known.read();
            let mut admitted = known.values().filter(|volume| volume.admits(client));
            if name.is_empty() {
                admitted.next().filter(|_| admitted.next().is_none()).cloned()
            } else {
                admitted.find(|volume| volume.config.name == name).cloned()
            }
        };
        let volume = found.ok_or(BlockError::NotFound)?;
        let opening = disk::Disk::open(self.context.clone(), volume.clone());
        match tokio::time::timeout(OPEN_TIME_MAX, opening).await {
            Ok(Ok(disk)) => Ok(Arc::new(disk)),
            Ok(Err(error)) => {
                tracing::warn!(volume = volume.config.name, %error, "a volume cannot be opened");
                Err(patience::block_error(error))
            }
            Err(_) => {
                tracing::warn!(
                    volume = volume.config.name,
                    "a volume cannot be opened: the store does not answer"
                );
                Err(BlockError::Io)
            }
        }
    }
}

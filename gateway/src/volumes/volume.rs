//! What is known of one volume, however many have it open.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tidegate_protocols::blocks::VolumeEntry;
use tidegate_protocols::view::FsError;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::boot::{self, BootOrder, Recording};
use super::scratch::Scratch;
use super::source::Source;
use super::{Context, VolumeConfig, place, warm};
use crate::control::Moment;
use crate::namespace::{Node, Reader};
use crate::share::FrozenMap;

/// What is known of a volume without asking its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeReport {
    /// As it is served.
    pub config: VolumeConfig,
    /// Whether it is of no settings.
    pub temporary: bool,
    /// Its size in bytes, when it was looked at last; none before.
    pub size: Option<u64>,
    /// Connections that have it open.
    pub connections: u64,
    /// Bytes of changes that are kept here.
    pub scratch_bytes: u64,
    /// Whether it is noted what is read.
    pub recording: bool,
    /// Bytes that were looked at to be fetched first, of how many; none if nothing was to be.
    pub warmed: Option<(u64, u64)>,
}

/// See the head of this module.
pub(super) struct Volume {
    pub(super) config: VolumeConfig,
    pub(super) temporary: bool,
    /// The state that it serves, of one that is not live.
    frozen: OnceCell<FrozenMap>,
    scratch: OnceCell<Arc<Scratch>>,
    size: AtomicU64,
    connections: AtomicU64,
    recording: Mutex<Option<Recording>>,
    /// Whether recording is on, to be asked at each read.
    records: AtomicBool,
    /// Bytes that are to be fetched first, once that is known.
    to_warm: OnceCell<u64>,
    warmed: Arc<AtomicU64>,
    closed: CancellationToken,
}

/// That nothing is known of the size.
const UNKNOWN: u64 = u64::MAX;

impl Volume {
    pub(super) fn new(config: VolumeConfig, temporary: bool) -> Self {
        Self {
            config,
            temporary,
            frozen: OnceCell::new(),
            scratch: OnceCell::new(),
            size: AtomicU64::new(UNKNOWN),
            connections: AtomicU64::new(0),
            recording: Mutex::new(None),
            records: AtomicBool::new(false),
            to_warm: OnceCell::new(),
            warmed: Arc::default(),
            closed: CancellationToken::new(),
        }
    }

    /// Serves it no more.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    pub(super) fn admits(&self, client: IpAddr) -> bool {
        self.config.clients.iter().any(|network| network.contains(client))
    }

    pub(super) fn entry(&self) -> VolumeEntry {
        let VolumeConfig { name, share, path, moment, scratch, .. } = &self.config;
        let state = moment.as_ref().map(|moment| format!(", as of {moment}")).unwrap_or_default();
        let kind = if *scratch { ", scratch" } else { "" };
        VolumeEntry { name: name.clone(), description: format!("{path} in {share}{state}{kind}") }
    }

    pub(super) fn report(&self) -> VolumeReport {
        let size = self.size.load(Ordering::Relaxed);
        VolumeReport {
            config: self.config.clone(),
            temporary: self.temporary,
            size: (size != UNKNOWN).then_some(size),
            connections: self.connections.load(Ordering::Relaxed),
            scratch_bytes: self.scratch.get().map_or(0, |scratch| scratch.bytes()),
            recording: self.records.load(Ordering::Relaxed),
            warmed: self.to_warm.get().map(|all| (self.warmed.load(Ordering::Relaxed), *all)),
        }
    }

    /// The size that clients are told.
    pub(super) fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    pub(super) fn note_size(&self, size: u64) {
        self.size.store(size, Ordering::Relaxed);
    }

    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// The state that it serves; none: the live one.
    async fn frozen(&self, context: &Context) -> Result<Option<&FrozenMap>, FsError> {
        let moment = match (&self.config.moment, self.config.scratch) {
            (Some(moment), _) => moment,
            (None, true) => &Moment::NewestHead,
            (None, false) => return Ok(None),
        };
        // What changes are over must not go away; what is only read may, as the user has said by its name.
        let keep = self.config.scratch;
        let map =
            self.frozen.get_or_try_init(|| context.host.frozen(&self.config.share, moment, keep)).await?;
        Ok(Some(map))
    }

    /// Its file, made or made longer if the settings say so.
    pub(super) async fn node(&self, context: &Context) -> Result<Node, FsError> {
        let node = if let Some(map) = self.frozen(context).await? {
            place::find(Reader { map }, &self.config.path).await?
        } else {
            let served = context.served(&self.config.share)?;
            if let Some(size) = self.config.size.filter(|_| !self.config.read_only) {
                context.files.admit_bytes(&served, 0).await?;
                place::find_or_make(&served.namespace, &self.config.path, size).await?
            } else {
                place::find(served.namespace.reader(), &self.config.path).await?
            }
        };
        self.note_size(node.inode.size);
        Ok(node)
    }

    /// What a disk of it reads from.
    pub(super) async fn source(&self, context: &Context) -> Result<Source, FsError> {
        let number = self.node(context).await?.number;
        let share = self.config.share.clone();
        Ok(match self.frozen(context).await? {
            Some(map) => Source::frozen(share, map.clone(), number),
            None => {
                let served = context.served(&share)?;
                Source::live(share.clone(), &served, number)
            }
        })
    }

    /// Where its changes are kept, if here.
    pub(super) async fn scratch(&self, context: &Context) -> Result<Option<Arc<Scratch>>, FsError> {
        if !self.config.scratch {
            return Ok(None);
        }
        let make = || async {
            Scratch::new(context.room.clone()).map(Arc::new).map_err(|error| {
                tracing::error!(volume = self.config.name, %error, "a scratch volume has no file");
                FsError::Io
            })
        };
        Ok(Some(self.scratch.get_or_try_init(make).await?.clone()))
    }

    /// What is recorded with its file, in the state that it serves.
    pub(super) async fn boot_order(&self, context: &Context) -> Result<Option<BootOrder>, FsError> {
        let source = self.source(context).await?;
        let served = source.served(context)?;
        boot::load(source.reader(&served), source.number()).await
    }

    /// Begins to fetch what was recorded, once.
    pub(super) async fn warm(&self, context: &Arc<Context>, source: &Source) {
        if !self.config.warm {
            return;
        }
        let begin = || async {
            let served = source.served(context)?;
            let order = boot::load(source.reader(&served), source.number()).await?.unwrap_or_default();
            let bytes = order.bytes();
            if bytes > 0 {
                let work = warm::warm(
                    context.clone(),
                    source.clone(),
                    order,
                    self.warmed.clone(),
                    self.closed.clone(),
                );
                tokio::spawn(work);
            }
            Ok::<_, FsError>(bytes)
        };
        if let Err(error) = self.to_warm.get_or_try_init(begin).await {
            tracing::debug!(volume = self.config.name, %error, "nothing is fetched first");
        }
    }

    /// Begins to note what is read; false if that is being done.
    pub(super) fn start_recording(&self) -> bool {
        let mut recording = self.recording.lock();
        if recording.is_some() {
            return false;
        }
        *recording = Some(Recording::default());
        self.records.store(true, Ordering::Relaxed);
        true
    }

    pub(super) fn end_recording(&self) -> Option<BootOrder> {
        self.records.store(false, Ordering::Relaxed);
        self.recording.lock().take().map(Recording::finish)
    }

    /// A client has read a range.
    pub(super) fn note_read(&self, range: &Range<u64>) {
        if self.records.load(Ordering::Relaxed)
            && let Some(recording) = &mut *self.recording.lock()
        {
            recording.note(range);
        }
    }
}

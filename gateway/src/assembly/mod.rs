//! Assembly: what the settings say, turned into the parts of an appliance.
//!
//! The only place that knows both the settings file and the components. Used by `serve` and by the
//! commands that work on a repository without a running gateway.

mod archive;
mod bin;
mod branches;
mod browse;
mod buckets;
mod carried;
mod clients;
mod copying;
mod disks;
mod garbage;
mod heart;
mod host;
mod key;
mod keys;
mod kinds;
mod lifecycle;
mod moments;
mod nbd;
mod nfs;
mod noted;
mod offline;
mod overview;
mod points;
mod policies;
mod recovery;
mod recovery_offline;
mod reload;
mod rounds;
mod running;
mod s3;
mod scrub;
mod simulation;
mod sources;
mod spent;
mod store;
mod targets;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use tidegate_replicator::mirror::MirrorError;
use tidegate_replicator::repository::{Claimant, Opened, Repository, RepositoryError};
use tidegate_replicator::store::{OpenStore, ReadOnlyStore, StoreError};

pub(crate) use archive::{archive_rules, classes, packs_daily, thaw_terms};
pub use buckets::{bucket_share, set_objects};
pub use carried::adopt;
pub(crate) use garbage::collect_failed;
pub use key::{NewKey, slot_key, write_key_file};
pub use offline::OfflineRepository;
pub(crate) use offline::utc_nanos;
pub(crate) use points::not_after;
pub use policies::AppliancePolicies;
pub use recovery_offline::GivenLink;
pub use running::{Running, StartRunning};
pub use sources::ApplianceSources;
pub use store::{
    check_lock, contact_store, open_store, open_store_late, probe_target, refuse_unlockable, store_settings,
};

use crate::alarm::Sender;
use crate::appliance::{
    Appliance, ApplianceError, Budgets, CollectConfig, LockConfig, Parts, ShareConfig, WarmWhat,
};
use crate::clock::SystemClock;
use crate::control::{ControlError, ErrorKind};
use crate::files::{ExportRules, Squash};
use crate::settings::{self, SecretError, Settings};
use crate::share::{Limits, Quota};
use targets::{Way, Ways, open_targets};

/// How long a claim of a lease settles: longer than a put and a listing take together on a slow link.
pub const CLAIM_SETTLE: Duration = Duration::from_secs(2);
/// The part of the memory budget that a collection may use.
const COLLECT_PART: u64 = 8;

/// Why parts could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// A secret that the settings refer to.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Something about the target at an address.
    #[error("{address}")]
    Target {
        /// The target.
        address: String,
        /// What.
        source: Box<AssemblyError>,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A copy of the repository.
    #[error(transparent)]
    Copy(#[from] MirrorError),
    /// The local state.
    #[error(transparent)]
    Appliance(#[from] ApplianceError),
    /// A secret that is not what it should be.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// The NFS server.
    #[error("failed to start the NFS server")]
    Nfs(#[from] tidegate_protocols::StartError),
    /// The S3 server.
    #[error("failed to start the S3 server")]
    S3(#[from] tidegate_protocols::s3::S3StartError),
    /// The NBD server.
    #[error("failed to start the NBD server")]
    Nbd(#[from] tidegate_protocols::nbd::NbdStartError),
}

impl From<AssemblyError> for ControlError {
    fn from(error: AssemblyError) -> Self {
        let control = ControlError::from_source(error.kind(), "open the gateway", &error);
        match error.todo() {
            Some(todo) => control.todo(todo),
            None => control,
        }
    }
}

impl AssemblyError {
    /// For `map_err`: says which target it is about.
    pub fn at<E: Into<Self>>(target: &settings::Target) -> impl FnOnce(E) -> Self {
        let address = target.address.to_string();
        |source| Self::Target { address, source: Box::new(source.into()) }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::Secret(_) | Self::Unusable { .. } => ErrorKind::Denied,
            Self::Target { source, .. } => source.kind(),
            Self::Store(store) => kinds::store_kind(store),
            Self::Repository(repository) => kinds::repository_kind(repository),
            Self::Copy(mirror) => kinds::mirror_kind(mirror),
            Self::Appliance(appliance) => kinds::appliance_kind(appliance),
            Self::Nfs(_) | Self::S3(_) | Self::Nbd(_) => ErrorKind::Failed,
        }
    }

    /// The next step, where the message does not say it.
    fn todo(&self) -> Option<&'static str> {
        match self {
            Self::Target { source, .. } => source.todo(),
            Self::Store(store) | Self::Repository(RepositoryError::Store(store)) => kinds::store_todo(store),
            Self::Repository(RepositoryError::WrongKey { .. }) => {
                Some("let repository.key in the settings name the key that belongs to this repository")
            }
            Self::Copy(_)
            | Self::Secret(_)
            | Self::Unusable { .. }
            | Self::Repository(_)
            | Self::Appliance(_)
            | Self::Nfs(_)
            | Self::S3(_)
            | Self::Nbd(_) => None,
        }
    }
}

/// Opens the repository that the settings name. Only reads.
pub async fn open_repository(settings: &Settings) -> Result<Repository<Opened>, AssemblyError> {
    let target = settings.lead();
    let first = contact_store(target).await?.store;
    let store = open_store(target, None).await?.store;
    let key = slot_key(&settings.repository).await?;
    let located = Repository::locate(first).await.map_err(AssemblyError::at(target))?;
    located.through(store).unlock(&key).await.map_err(AssemblyError::at(target))
}

/// An appliance that is open, and the ways to its stores.
struct OpenAppliance {
    appliance: Arc<Appliance>,
    ways: Ways,
}

/// Opens the appliance that the settings describe. It serves nothing yet. Nothing is written to a store
/// before it has shown itself to hold this repository.
pub async fn open_appliance(settings: &Settings) -> Result<Arc<Appliance>, AssemblyError> {
    Ok(open_with_stores(settings).await?.appliance)
}

async fn open_with_stores(settings: &Settings) -> Result<OpenAppliance, AssemblyError> {
    let repository = open_repository(settings).await?;
    let opened = open_lead(settings).await?;
    let way = Way::of(&opened);
    let (mut targets, mut ways) = open_targets(settings, opened.store.clone());
    if settings.gateway.drill {
        targets.copies.clear();
        targets.required = 1;
    }
    ways.insert(targets.lead.clone(), way);
    for found in repository.unreadable_domains() {
        tracing::error!(
            object = found.object,
            why = found.why,
            "a key object cannot be read; what it alone opens stays closed"
        );
    }
    let parts = Parts {
        data: settings.gateway.data.as_path().to_path_buf(),
        repository: repository.through(targets.group.clone()),
        targets,
        clock: Arc::new(SystemClock),
        claimant: claimant(),
        settle: CLAIM_SETTLE,
        budgets: Budgets {
            memory_bytes: settings.gateway.memory.bytes(),
            dirty_bytes: settings.cache.dirty.bytes(),
            cache_bytes: settings.cache.disk.bytes(),
        },
        ladder: settings.retention.ladder()?,
        drill: settings.gateway.drill,
    };
    let appliance = Appliance::open(parts).await?;
    if settings.gateway.drill {
        return Ok(OpenAppliance { appliance, ways });
    }
    // Nothing is uploaded before a share is served.
    match opened.abort_unfinished(&appliance.waiting_objects()?).await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "gave up uploads that a process before this one did not finish"),
        Err(error) => {
            tracing::debug!(%error, "unfinished uploads cannot be listed; the next start tries again");
        }
    }
    Ok(OpenAppliance { appliance, ways })
}

/// The store of the target that leads, with what it really does. That of a drill takes no changes, so it is not probed
/// either.
async fn open_lead(settings: &Settings) -> Result<OpenStore, AssemblyError> {
    let target = settings.lead();
    if settings.gateway.drill {
        let mut opened = open_store(target, None).await?;
        opened.store = Arc::new(ReadOnlyStore::new(opened.store));
        return Ok(opened);
    }
    let probed = probe_target(target).await.inspect_err(|error| {
        tracing::warn!(%error, "the store could not be probed; nothing is assumed of it");
    });
    if let Ok(found) = &probed {
        refuse_unlockable(target, found).map_err(AssemblyError::at(target))?;
    }
    open_store(target, probed.as_ref().ok()).await
}

/// When and how garbage is collected.
fn collect_config(settings: &Settings) -> CollectConfig {
    let retention = &settings.retention;
    CollectConfig {
        every: retention.collect_every.duration(),
        grace: retention.grace.duration(),
        delete_percent_max: u8::try_from(retention.delete_percent_max).unwrap_or(100),
        repack_below_percent: u8::try_from(retention.repack_below_percent).unwrap_or(0),
        reseal: retention.reseal,
        classes: archive::classes(settings),
        memory_bytes_max: settings.gateway.memory.bytes() / COLLECT_PART,
        scratch: settings.gateway.data.as_path().to_path_buf(),
    }
}

/// What extending locks may use.
fn lock_config(settings: &Settings) -> LockConfig {
    LockConfig {
        memory_bytes_max: settings.gateway.memory.bytes() / COLLECT_PART,
        folder: settings.gateway.data.as_path().to_path_buf(),
    }
}

/// How a share of the settings is served.
pub fn share_config(share: &settings::Share) -> ShareConfig {
    let squash = match share.squash {
        settings::Squash::Root => Squash::Root,
        settings::Squash::All => Squash::All,
        settings::Squash::None => Squash::None,
    };
    ShareConfig {
        name: share.name.as_str().to_owned(),
        rules: ExportRules {
            path: share.export_path().as_str().to_owned(),
            exported: true,
            clients: share.clients.clone(),
            secure_ports: share.secure_ports,
            read_only: share.read_only,
            squash,
            anonymous_uid: share.anonymous_uid,
            anonymous_gid: share.anonymous_gid,
            snapshot_folder: share.snapshot_folder,
        },
        rpo: share.rpo.duration(),
        follow: share.follow,
        stop_without_store: share.on_store_lost == settings::OnStoreLost::Stop,
        own_key: share.own_key,
        keep_handles: share.keep_handles,
        warm: match share.warm {
            settings::Warm::Hot => WarmWhat::Hot,
            settings::Warm::All => WarmWhat::All,
            settings::Warm::None => WarmWhat::None,
        },
        thaw_on_read: share.thaw_on_read,
        quota: share.quota.as_ref().map(share_quota).unwrap_or_default(),
        settings: serde_json::json!({ "share": settings::table_to_toml(share) }),
    }
}

/// The same, with what else of the settings the heads of the share carry.
pub(crate) fn carrying(settings: &Settings, config: ShareConfig) -> ShareConfig {
    let carried = carried::carried(settings, &config.name, config.settings);
    ShareConfig { settings: carried, ..config }
}

fn share_quota(quota: &settings::Quota) -> Quota {
    let (bytes, inodes) = (&quota.bytes, &quota.inodes);
    Quota {
        bytes: Limits {
            soft: bytes.soft.map(settings::Size::bytes),
            hard: bytes.hard.map(settings::Size::bytes),
        },
        inodes: Limits {
            soft: inodes.soft.map(settings::Count::get),
            hard: inodes.hard.map(settings::Count::get),
        },
        grace: quota.grace.duration(),
    }
}

/// This machine and process, as a lease shows them to people.
fn claimant() -> Claimant {
    Claimant { host: host_name(), instance: format!("process {}", std::process::id()) }
}

/// The name of this machine.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Who tells of alarms.
pub fn sender(settings: &Settings) -> Sender {
    Sender { host: host_name(), repository: settings.targets[0].address.to_string() }
}

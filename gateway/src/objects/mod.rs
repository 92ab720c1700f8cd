//! The object view of the gateway: buckets and keys over shares.
//!
//! A *bucket of objects* is a share of its own whose root directory is flat: its names are the keys. A *share
//! bucket* is a share that NFS serves too: key `a/b/c` is the file `/a/b/c` ([`path`] has the rules). What an
//! object is besides its bytes is kept as [`crate::namespace::objects`] says.
//!
//! Every call goes the same way: it was permitted ([`permissions`]); the bucket says in which share, and
//! its file server ([`Files`]) whether changes may be made there now; the namespace carries the call out. Bytes
//! stream through in pieces of [`PIECE_BYTES`], in and out; what they take of memory meanwhile is bounded ([`incoming`],
//! [`outgoing`]).
//!
//! Owns which buckets and access keys there are, until [`Objects::set`] says otherwise. Not here: the wire, and
//! what makes a bucket (the settings; see [`host`]).

mod delete;
mod describe;
mod digest;
mod host;
mod incoming;
mod lifecycle;
mod list;
mod locks;
mod outgoing;
mod parts;
mod path;
mod permissions;
mod read;
mod tree;
mod upload;
mod uploads;
mod versions;
mod view;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_chunker::ShareId;
use tidegate_protocols::objects::policy::Policy;
use tidegate_protocols::objects::{Bucket, ObjectError, Who};
use tidegate_protocols::view::FsError;
use tidegate_protocols::waits::{Wait, waiting};
use tidegate_replicator::map::InodeNumber;
use zeroize::Zeroizing;

use crate::files::{Files, Served};
use crate::namespace::{Credentials, Namespace, Reader};

pub use host::Host;

use incoming::Incoming;
use outgoing::Outgoing;
use parts::Loaded;

/// Bytes that are read or written at once.
const PIECE_BYTES: usize = 1 << 20;
/// The memory of bodies unless it is said.
const BODIES_BYTES: usize = 256 << 20;
/// How long a call may wait for the store before the client is told to try later.
const CALL_TIME_MAX: Duration = Duration::from_secs(28);

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// What clients call it.
    pub name: String,
    /// The name of whose it is; none for nobody's.
    pub owner: Option<String>,
    /// The share that holds it.
    pub share: ShareId,
    /// Whether it is one of objects: the share's root directory is flat.
    pub flat: bool,
    /// Whether clients may change nothing.
    pub read_only: bool,
    /// Whether a change is answered when it is in a head in the repository, instead of in the local journal.
    pub in_repository: bool,
}

/// An access key.
#[derive(Clone)]
pub struct AccessKeyConfig {
    /// Its secret.
    pub secret: Zeroizing<String>,
    /// The buckets that it may use; none for all.
    pub buckets: Option<Vec<String>>,
    /// Whether it may change nothing.
    pub read_only: bool,
    /// The name under which it owns buckets; none for its id.
    pub owner: Option<String>,
    /// Whether it sees and reaches no buckets of another owner, unless their policy says so.
    pub own_buckets_only: bool,
    /// What it may do; everything without.
    pub policy: Option<Arc<Policy>>,
    /// As whom it acts in the files of a share.
    pub credentials: Credentials,
}

#[derive(Default)]
struct Known {
    buckets: HashMap<String, Arc<BucketConfig>>,
    keys: HashMap<String, AccessKeyConfig>,
}

/// See the head of this module.
pub struct Objects {
    files: Arc<Files>,
    known: RwLock<Known>,
    /// What is set of buckets, by name, as it was when it was looked at last.
    loaded: RwLock<HashMap<String, Arc<Loaded>>>,
    host: RwLock<Option<Arc<dyn Host>>>,
    incoming: Incoming,
    outgoing: Arc<Outgoing>,
}

/// A call that may go on: in which bucket, as whom.
struct Access {
    bucket: Arc<BucketConfig>,
    served: Arc<Served>,
    loaded: Arc<Loaded>,
    /// The name under which the caller owns what it makes.
    who: String,
    credentials: Credentials,
    may_change: bool,
    /// Whether buckets of another owner are not the caller's business.
    own_only: bool,
    /// The memory of what is read.
    outgoing: Arc<Outgoing>,
}

impl Objects {
    /// Objects of the shares that `files` serves. There are no buckets yet.
    pub fn new(files: Arc<Files>) -> Self {
        Self::within(files, BODIES_BYTES)
    }

    /// The same, where bodies on their way take up to so many bytes of memory: half of them on their way in, half on
    /// their way out. Beside that each connection has its own buffers.
    pub fn within(files: Arc<Files>, bytes_max: usize) -> Self {
        Self {
            files,
            known: RwLock::default(),
            loaded: RwLock::default(),
            host: RwLock::default(),
            incoming: Incoming::new(bytes_max / 2),
            outgoing: Outgoing::new(bytes_max / 2),
        }
    }

    /// From now on this is the gateway around them; without one clients make no buckets, and nothing waits for
    /// the repository.
    pub fn set_host(&self, host: Option<Arc<dyn Host>>) {
        *self.host.write() = host;
    }

    /// From now on there are these buckets and, by id, these access keys.
    pub fn set(&self, buckets: Vec<BucketConfig>, keys: HashMap<String, AccessKeyConfig>) {
        let buckets = buckets.into_iter().map(|bucket| (bucket.name.clone(), Arc::new(bucket))).collect();
        *self.known.write() = Known { buckets, keys };
        self.loaded.write().clear();
    }

    /// The buckets that a caller may see, by name, but for those that are another's. Without a key: none.
    fn visible(&self, who: &Who) -> Result<Vec<Arc<BucketConfig>>, ObjectError> {
        let known = self.known.read();
        let Some(id) = &who.access_key else { return Ok(Vec::new()) };
        let key = known.keys.get(id).ok_or(ObjectError::AccessDenied)?;
        let mut buckets: Vec<_> =
            known.buckets.values().filter(|bucket| key.may_use(&bucket.name)).cloned().collect();
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(buckets)
    }

    /// The name under which a caller owns what it makes.
    fn name_of(&self, who: &Who) -> String {
        let known = self.known.read();
        let key = who.access_key.as_ref().and_then(|id| known.keys.get(id));
        key.and_then(|key| key.owner.clone()).unwrap_or_else(|| who.name().to_owned())
    }

    /// Finds a bucket for a caller who was permitted to use it.
    async fn access(&self, who: &Who, bucket: &str) -> Result<Access, ObjectError> {
        let (found, key) = {
            let known = self.known.read();
            let key = match &who.access_key {
                Some(id) => Some(known.keys.get(id).cloned().ok_or(ObjectError::AccessDenied)?),
                None => None,
            };
            (known.buckets.get(bucket).cloned(), key)
        };
        if key.as_ref().is_some_and(|key| !key.may_use(bucket)) {
            return Err(ObjectError::AccessDenied);
        }
        let bucket = found.ok_or(ObjectError::NoSuchBucket)?;
        // A share that is being taken over or attached anew is served in a moment.
        let served = self.files.share(bucket.share).ok_or(ObjectError::SlowDown)?;
        let loaded = self.loaded(&bucket, &served).await?;
        let credentials = match &key {
            // In a bucket of objects there are no owners: who may use it may use all of it.
            _ if bucket.flat => Credentials::ROOT,
            Some(key) => key.credentials.clone(),
            None => {
                let (uid, gid) = (served.rules.anonymous_uid, served.rules.anonymous_gid);
                Credentials { uid, gid, gids: Vec::new() }
            }
        };
        let may_change = !key.as_ref().is_some_and(|key| key.read_only) && !bucket.read_only;
        let own_only = key.as_ref().is_some_and(|key| key.own_buckets_only);
        let who = key.and_then(|key| key.owner).unwrap_or_else(|| who.name().to_owned());
        let outgoing = self.outgoing.clone();
        Ok(Access { bucket, served, loaded, who, credentials, may_change, own_only, outgoing })
    }

    /// For a look by the gateway itself.
    fn access_as_root(
        &self,
        bucket: &Arc<BucketConfig>,
        served: &Arc<Served>,
        loaded: &Arc<Loaded>,
    ) -> Access {
        Access {
            bucket: bucket.clone(),
            served: served.clone(),
            loaded: loaded.clone(),
            who: String::new(),
            credentials: Credentials::ROOT,
            may_change: !bucket.read_only,
            own_only: false,
            outgoing: self.outgoing.clone(),
        }
    }

    /// As [`Objects::access`], for a change.
    async fn access_to_change(&self, who: &Who, bucket: &str) -> Result<Access, ObjectError> {
        let access = self.access(who, bucket).await?;
        if !access.may_change {
            return Err(ObjectError::AccessDenied);
        }
        self.files.admit_bytes(&access.served, 0).await?;
        Ok(access)
    }

    /// Refuses to go on with a change in a share that is served otherwise by now, or no more: it was taken over, rolled
    /// back, handed over, or has other rules.
    fn require_current(&self, access: &Access) -> Result<(), ObjectError> {
        let now = self.files.share(access.bucket.share);
        if now.is_some_and(|now| Arc::ptr_eq(&now, &access.served)) {
            Ok(())
        } else {
            Err(ObjectError::SlowDown)
        }
    }

    /// Waits until there is room for so many bytes more.
    async fn room(&self, access: &Access, bytes: u64) -> Result<(), ObjectError> {
        self.require_current(access)?;
        Ok(waiting(Wait::Room, self.files.admit_bytes(&access.served, bytes)).await?)
    }

    /// Waits, in a bucket that promises it, until what was changed is in the repository. Whether it did.
    async fn published(&self, access: &Access) -> Result<bool, ObjectError> {
        if !access.bucket.in_repository {
            return Ok(false);
        }
        let host = self.host.read().clone().ok_or(ObjectError::SlowDown)?;
        bounded(host.publish(access.bucket.share)).await?;
        Ok(true)
    }
}

impl AccessKeyConfig {
    fn may_use(&self, bucket: &str) -> bool {
        self.buckets.as_ref().is_none_or(|buckets| buckets.iter().any(|name| name == bucket))
    }

    /// Whether a bucket of that owner is none of its business unless the bucket's policy says so.
    fn keeps_out_of(&self, owner: Option<&str>, id: &str) -> bool {
        let own = self.owner.as_deref().unwrap_or(id);
        self.own_buckets_only && owner.is_some_and(|owner| owner != own)
    }
}

impl Access {
    fn namespace(&self) -> &Namespace {
        &self.served.namespace
    }

    fn reader(&self) -> Reader<'_> {
        self.served.namespace.reader()
    }

    /// Whether the bucket is listed for the caller.
    fn is_seen(&self) -> bool {
        !self.own_only || self.loaded.settings.owner.as_ref().is_none_or(|owner| *owner == self.who)
    }

    /// The bucket as it is listed.
    async fn described(&self) -> Result<Bucket, ObjectError> {
        let created = describe::time(self.reader().node(InodeNumber::ROOT).await?.inode.times.born);
        let region = self.loaded.settings.region.clone();
        Ok(Bucket { name: self.bucket.name.clone(), created, region })
    }
}

/// What stands for the name of an owner where nobody is to learn it, who may be the id of an access key.
fn disguised(owner: &str) -> String {
    blake3::hash(owner.as_bytes()).to_hex().to_string()
}

/// Bounds the time of a call that may have to wait for the store.
async fn bounded<T>(call: impl Future<Output = Result<T, ObjectError>>) -> Result<T, ObjectError> {
    tokio::time::timeout(CALL_TIME_MAX, call).await.unwrap_or(Err(ObjectError::SlowDown))
}

/// Errors that mean that a name leads nowhere.
fn is_absent(error: FsError) -> bool {
    matches!(error, FsError::NotFound | FsError::Stale | FsError::NotDirectory)
}

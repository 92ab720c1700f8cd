//! The file view of the gateway: shares as a file server serves them.
//!
//! Owns handles, views, export rules, squashing and the outcomes of calls; the meaning of operations is the
//! namespace's. Every call goes the same way: the handle is checked and names the share; the export's
//! rules say whether this client may and as whom; the namespace carries the call out; its answer is put
//! into the words of [`tidegate_protocols::view`].

mod convert;
mod deadline;
mod exports;
mod groups;
mod handle;
mod moments;
mod outcome;
mod view;
mod views;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tidegate_chunker::{SecretKey, ShareId};
use tidegate_protocols::view::{Call, Caller, Changed, FsError, Handle, RetryKey, Wcc, WriteVerifier};
use tidegate_protocols::waits::{Wait, waiting};
use tidegate_replicator::map::InodeNumber;

pub use exports::{ExportRules, Squash};
pub use groups::{GroupSource, Groups, SystemGroups};
pub use handle::FileHandle;
pub use moments::{Moment, MomentList, Moments};

use deadline::AFTER_FAILURE_MAX;
use views::View;

use crate::namespace::{Around, Context, Credentials, Namespace, Node, Outcome};

/// Lets writers in, slowly or not at all when too much waits to leave.
#[async_trait]
pub trait Admission: Send + Sync + 'static {
    /// Waits until there is room for this many bytes; [`FsError::TryLater`] after a bound.
    async fn admit(&self, bytes: u64) -> Result<(), FsError>;
}

/// A share as it is served.
pub struct Served {
    /// Its files.
    pub namespace: Namespace,
    /// How it is exported.
    pub rules: ExportRules,
    /// The key of its handles, of this era.
    pub handle_key: SecretKey,
    /// Whether changes have to wait.
    pub paused: Arc<AtomicBool>,
    /// Its retained states.
    pub moments: Arc<dyn Moments>,
}

impl Served {
    fn fsid(&self) -> u64 {
        let id = self.namespace.share().id();
        id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    fn wcc(&self, around: &Around) -> Wcc {
        Wcc {
            before: Some(convert::before(&around.before)),
            after: Some(self.attributes(&View::Live, &around.after)),
        }
    }

    fn changed(&self, outcome: &Outcome) -> Changed {
        Changed {
            object: outcome
                .object
                .as_ref()
                .map(|node| (self.handle(&View::Live, node), self.attributes(&View::Live, node))),
            first: self.wcc(&outcome.first),
            second: outcome.second.as_ref().map(|around| self.wcc(around)).unwrap_or_default(),
        }
    }
}

/// A call that may go on: on which share and view, on which file, as whom.
struct Admitted {
    served: Arc<Served>,
    view: View,
    node: Node,
    credentials: Credentials,
    /// Of a change: whether it is on its way into the journal.
    submitted: Option<Arc<AtomicBool>>,
}

/// The shares that are served now.
pub struct Files {
    shares: RwLock<HashMap<ShareId, Arc<Served>>>,
    /// Shares of which every call has to wait.
    withheld: RwLock<HashSet<ShareId>>,
    /// Earlier ways of serving a share that calls may still be under way in.
    leaving: Mutex<Vec<(ShareId, Weak<Served>)>>,
    /// Outcomes of calls from before the last start, until nobody repeats those any more.
    replays: RwLock<HashMap<[u8; 16], Bytes>>,
    /// Random for each start.
    verifier: [u8; 8],
    admission: Arc<dyn Admission>,
    /// Where groups come from, unless from the calls.
    groups: OnceLock<Groups>,
}

impl Files {
    /// A view without shares. `replays` are the outcomes that the journal kept.
    pub fn new(verifier: [u8; 8], replays: Vec<([u8; 16], Bytes)>, admission: Arc<dyn Admission>) -> Self {
        let replays = RwLock::new(replays.into_iter().collect());
        Self {
            shares: RwLock::default(),
            withheld: RwLock::default(),
            leaving: Mutex::default(),
            replays,
            verifier,
            admission,
            groups: OnceLock::new(),
        }
    }

    /// Another one after each start, and after a share was put over another state: data that had not been committed by
    /// then is not there, or no longer on its line (RFC 1813, section 3.3.21).
    fn verifier_of(&self, served: &Served) -> WriteVerifier {
        let of_share = served.namespace.share().incarnation();
        WriteVerifier((u64::from_be_bytes(self.verifier) ^ of_share).to_be_bytes())
    }

    /// From now on the groups of callers come from there instead of from their calls. Later ones are
    /// ignored.
    pub fn take_groups_from(&self, groups: Groups) {
        let _ = self.groups.set(groups);
    }

    /// Serves a share from now on, or serves it differently.
    pub fn serve(&self, served: Served) {
        let share = served.namespace.share().id();
        let earlier = self.shares.write().insert(share, Arc::new(served));
        self.withheld.write().remove(&share);
        self.note_leaving(share, earlier);
    }

    /// Answers every call on a share "try later" until it is served again: its handles may be valid, but what is here is
    /// not what they stand for. Calls that are under way go on to their end.
    pub fn withhold(&self, share: ShareId) {
        self.withheld.write().insert(share);
        let earlier = self.shares.write().remove(&share);
        self.note_leaving(share, earlier);
    }

    /// Serves a share no more: its handles are stale. Calls that are under way go on to their end.
    pub fn withdraw(&self, share: ShareId) {
        let earlier = self.shares.write().remove(&share);
        self.withheld.write().remove(&share);
        self.note_leaving(share, earlier);
    }

    fn note_leaving(&self, share: ShareId, earlier: Option<Arc<Served>>) {
        let mut leaving = self.leaving.lock();
        leaving.retain(|(_, served)| served.strong_count() > 0);
        leaving.extend(earlier.map(|served| (share, Arc::downgrade(&served))));
    }

    /// Whether no call is under way in an earlier way of serving this share.
    pub fn has_left(&self, share: ShareId) -> bool {
        let leaving = self.leaving.lock();
        !leaving.iter().any(|(of, served)| *of == share && served.strong_count() > 0)
    }

    /// A share that is served.
    pub fn share(&self, share: ShareId) -> Option<Arc<Served>> {
        self.shares.read().get(&share).cloned()
    }

    /// Checks a handle and the caller's right to use it.
    async fn admit(&self, call: &Call, handle: &Handle) -> Result<Admitted, FsError> {
        let claim = FileHandle::decode_unchecked(handle)?;
        let Some(served) = self.share(claim.share) else {
            let is_withheld = self.withheld.read().contains(&claim.share);
            return Err(if is_withheld { FsError::TryLater } else { FsError::Stale });
        };
        claim.verify(handle, &served.handle_key)?;
        served.rules.require_admitted(call.caller.address)?;
        let view = served.view(claim.view).await?;
        let node = view.reader(&served).node(claim.inode).await?;
        if node.inode.generation != claim.generation {
            return Err(FsError::Stale);
        }
        let credentials = self.credentials(&served.rules, &call.caller).await;
        Ok(Admitted { served, view, node, credentials, submitted: None })
    }

    /// As whom a caller acts under the rules of an export.
    async fn credentials(&self, rules: &ExportRules, caller: &Caller) -> Credentials {
        // The superuser needs no group, and whoever is squashed has none.
        let groups = self.groups.get().filter(|_| caller.uid != 0 && !rules.squashes(caller));
        let found = match groups {
            Some(groups) => groups.of(caller.uid).await,
            None => None,
        };
        found.map_or_else(|| rules.credentials(caller), |found| rules.credentials_in(caller, &found))
    }

    /// As [`Files::admit`], for a call that changes something.
    async fn admit_change(&self, call: &Call, handle: &Handle) -> Result<Admitted, FsError> {
        let admitted = self.admit(call, handle).await?;
        admitted.served.rules.require_writable()?;
        if !admitted.view.is_live() {
            return Err(FsError::ReadOnly);
        }
        if admitted.served.paused.load(Ordering::Relaxed) {
            return Err(FsError::TryLater);
        }
        waiting(Wait::Room, self.admission.admit(0)).await?;
        Ok(admitted)
    }

    /// Waits until a share may be changed, and there is room for this many bytes. For doors that check who may
    /// change it themselves.
    pub(crate) async fn admit_bytes(&self, served: &Served, bytes: u64) -> Result<(), FsError> {
        served.rules.require_writable()?;
        if served.paused.load(Ordering::Relaxed) {
            return Err(FsError::TryLater);
        }
        self.admission.admit(bytes).await
    }

    /// Attributes for the reply of a change that failed; none if they would have to be waited for.
    async fn after_failure(&self, call: &Call, handle: &Handle) -> Wcc {
        let admitted = tokio::time::timeout(AFTER_FAILURE_MAX, self.admit(call, handle)).await;
        let admitted = admitted.ok().and_then(Result::ok);
        Wcc { before: None, after: admitted.map(|admitted| admitted.attributes(&admitted.node)) }
    }
}

impl Admitted {
    fn number(&self) -> InodeNumber {
        self.node.number
    }

    /// Carries out a change, noting its outcome when the call may be repeated.
    async fn change<F>(&self, retry: Option<RetryKey>, run: F) -> Result<Changed, FsError>
    where
        F: AsyncFnOnce(Context<'_>) -> Result<Outcome, FsError>,
    {
        let note =
            retry.map(|key| move |done: &Outcome| (key.0, outcome::encode(&self.served.changed(done))));
        let note = note.as_ref().map(|note| note as crate::namespace::NoteOutcome<'_>);
        let context = Context { credentials: &self.credentials, note, submitted: self.submitted.as_deref() };
        Ok(self.served.changed(&run(context).await?))
    }
}

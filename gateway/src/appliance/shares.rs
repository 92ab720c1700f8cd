//! Shares coming to be served: made anew, opened again, or attached from the repository.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use tidegate_chunker::{DomainId, SecretKey, ShareId};
use tidegate_replicator::map::InodeNumber;
use tidegate_replicator::repository::{
    ClaimOptions, ClaimOutcome, Era, Head, HeadName, Leadership, LeadershipNote, RepositoryError,
    ShareDescription, SnapshotId, Standing, UtcNanos,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::handles::after_takeover;
use super::moments::ShareMoments;
use super::registry::{self, ShareRecord};
use super::warm::{WarmProgress, WarmWhat};
use super::{Appliance, ApplianceError};
use crate::commit::Description;
use crate::files::{ExportRules, Served};
use crate::journal::Sequence;
use crate::live::{Batch, Change, MapId, Usage};
use crate::namespace::Namespace;
use crate::share::{Account, Base, InodeNumbers, LiveMap, OverSince, Quota, Share, Waker};

/// How a share is served.
#[derive(Clone, Debug)]
pub struct ShareConfig {
    /// What people call it.
    pub name: String,
    /// Under which rules clients see it.
    pub rules: ExportRules,
    /// How old the newest head may become.
    pub rpo: Duration,
    /// Whether it serves, read-only, what another gateway publishes.
    pub follow: bool,
    /// Whether writes wait while the store does not answer.
    pub stop_without_store: bool,
    /// Whether a new share gets a domain of its own.
    pub own_key: bool,
    /// Whether handles stay valid after a takeover that may have lost acknowledged changes.
    pub keep_handles: bool,
    /// How much its files may use.
    pub quota: Quota,
    /// What of it comes here before it is asked for, once it was attached.
    pub warm: WarmWhat,
    /// Whether the store is asked for packs that sleep when somebody reads what lies in them.
    pub thaw_on_read: bool,
    /// What a head carries so that another gateway can serve the share.
    pub settings: serde_json::Value,
}

/// Which state of a share is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachPoint {
    /// The newest head.
    Newest,
    /// This head.
    Head(HeadName),
    /// This snapshot.
    Snapshot(SnapshotId),
}

/// A share that is open.
pub(super) struct OpenShare {
    pub(super) share: Arc<Share>,
    pub(super) record: parking_lot::Mutex<ShareRecord>,
    /// As the settings say, but that it follows also if it joined again so.
    pub(super) config: ShareConfig,
    /// Whether the settings say that it follows.
    pub(super) follows_by_settings: bool,
    pub(super) description: Description,
    /// Held through a commit: one at a time.
    pub(super) leadership: Arc<tokio::sync::Mutex<Option<Leadership>>>,
    /// The newest head that was published from here or attached.
    pub(super) newest: parking_lot::Mutex<Option<(HeadName, Head)>>,
    /// Why the last commit failed, if it did.
    pub(super) last_error: parking_lot::Mutex<Option<String>>,
    /// How far its warming is.
    pub(super) warmed: WarmProgress,
    /// Whether writes wait because the store does not answer.
    pub(super) paused: Arc<AtomicBool>,
    /// Whether files that lost their last name while they were open have been taken away since the start.
    pub(super) without_orphans: AtomicBool,
    /// Its retained states.
    pub(super) moments: Arc<ShareMoments>,
    /// Ends what goes on for the share in the background while it is served.
    pub(super) withdrawn: CancellationToken,
    /// Told when somebody else was found leading it.
    pub(super) superseded: Notify,
    /// Ends its retiring: it is served again.
    pub(super) served_again: CancellationToken,
}

impl OpenShare {
    fn new(
        share: Arc<Share>,
        record: ShareRecord,
        mut config: ShareConfig,
        leadership: Option<Leadership>,
        moments: Arc<ShareMoments>,
    ) -> Result<Self, ApplianceError> {
        let follows_by_settings = config.follow;
        config.follow |= record.follows;
        let kept_era = config.keep_handles.then(|| Era::new(record.era.to_be_bytes()));
        let description = Description {
            share: ShareDescription { id: share.id(), name: config.name.clone(), domain: record.domain()? },
            settings: config.settings.clone(),
            kept_era,
        };
        Ok(Self {
            share,
            record: parking_lot::Mutex::new(record),
            config,
            follows_by_settings,
            description,
            leadership: Arc::new(tokio::sync::Mutex::new(leadership)),
            newest: parking_lot::Mutex::new(None),
            last_error: parking_lot::Mutex::new(None),
            warmed: WarmProgress::default(),
            paused: Arc::new(AtomicBool::new(false)),
            without_orphans: AtomicBool::new(false),
            moments,
            withdrawn: CancellationToken::new(),
            superseded: Notify::new(),
            served_again: CancellationToken::new(),
        })
    }
}

impl Appliance {
    /// Serves a share: the one that this gateway knows by that name, or a new one. One that is served
    /// already is served differently from now on, under handles that stay valid.
    pub async fn serve(self: &Arc<Self>, config: ShareConfig) -> Result<ShareId, ApplianceError> {
        let _changing = self.changing.lock().await;
        if let Some(open) = self.open_or_retiring(&config.name) {
            return self.serve_again(&open, config).await;
        }
        let known = registry::load(&self.live)?;
        let record = match known.into_iter().find(|record| record.name == config.name) {
            Some(record) => record,
            None if config.follow => self.create_follower(&config).await?,
            None => self.create_share(&config).await?,
        };
        self.open_share(record, config).await
    }

    pub(super) fn open_or_retiring(&self, name: &str) -> Option<Arc<OpenShare>> {
        let named = |open: &&Arc<OpenShare>| open.config.name == name;
        let open = self.shares.lock().values().find(named).cloned();
        open.or_else(|| self.retiring.lock().values().find(named).cloned())
    }

    /// Serves a share that is open over the same map and under the same locks: so what is still under way
    /// in the earlier way and what comes in this one stay in order. Waits for a commit that is under way.
    pub(super) async fn serve_again(
        self: &Arc<Self>,
        open: &OpenShare,
        config: ShareConfig,
    ) -> Result<ShareId, ApplianceError> {
        // Before the wait for a commit, which may take long.
        open.share.account().set_quota(&config.quota, self.now());
        open.withdrawn.cancel();
        open.served_again.cancel();
        let leadership = open.leadership.lock().await.take();
        let id = open.share.id();
        self.retiring.lock().remove(&id);
        self.drained.lock().remove(&id);
        let (record, newest) = (open.record.lock().clone(), open.newest.lock().clone());
        let again = OpenShare::new(open.share.clone(), record, config, leadership, open.moments.clone())?;
        *again.newest.lock() = newest;
        self.expose(Arc::new(again))?;
        self.note_grace(open).await?;
        Ok(id)
    }

    /// Makes a share of the repository known here, over its state at a point, under a new incarnation
    /// and a new epoch; its handles are of a new era unless it was handed over. Serve it afterwards.
    pub async fn attach(&self, name: &str, point: AttachPoint) -> Result<ShareId, ApplianceError> {
        let _changing = self.changing.lock().await;
        if let Some(known) = registry::load(&self.live)?.into_iter().find(|record| record.name == name) {
            if known.superseded || known.handed_over || known.follows {
                return Err(ApplianceError::ToJoinAgain { share: name.into() });
            }
            return Err(ApplianceError::ShareExists { share: name.into() });
        }
        let nothing = |what: &str| ApplianceError::NothingToAttach { share: name.into(), what: what.into() };
        // By whatever head can be read: which one is attached is said by `point`.
        let share = self.backend.repository.find_share(name).await?.ok_or_else(|| nothing("head"))?;
        // A claim ends the leadership of whoever led: what can fail is tried before it.
        self.committer.plans.look_surely().await?;
        self.check_point(share, name, point).await?;
        // The claim comes before the look at the heads that counts: what appears later is a fork.
        let leadership = self.claim(share, name, self.settle).await?;
        let changes = self.begin_attached(share, name, point, &leadership).await?;
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        Ok(share)
    }

    /// Refuses a state that cannot be read now.
    async fn check_point(
        &self,
        share: ShareId,
        name: &str,
        point: AttachPoint,
    ) -> Result<(), ApplianceError> {
        let repository = &self.backend.repository;
        match point {
            AttachPoint::Newest => {
                let nothing = || ApplianceError::NothingToAttach { share: name.into(), what: "head".into() };
                repository.newest_head(share).await?.map(drop).ok_or_else(nothing)
            }
            AttachPoint::Head(head) => Ok(repository.read_head(share, &head).await.map(drop)?),
            AttachPoint::Snapshot(id) => Ok(repository.read_snapshot(share, id).await.map(drop)?),
        }
    }

    /// What makes a share that was claimed known here.
    async fn begin_attached(
        &self,
        share: ShareId,
        name: &str,
        point: AttachPoint,
        leadership: &Leadership,
    ) -> Result<Vec<Change>, ApplianceError> {
        let repository = &self.backend.repository;
        let (head_name, head) = self.head_to_attach(share, name, point).await?;
        let newest = match point {
            AttachPoint::Newest => Ok(None),
            AttachPoint::Head(_) | AttachPoint::Snapshot(_) => repository.newest_head(share).await,
        };
        let newest = newest.unwrap_or_else(|error| {
            tracing::error!(%error, "the newest head cannot be read: the share goes on from the older one as if there were no newer");
            None
        });
        let newest = newest.filter(|newest| newest.name != head_name);
        let handles = after_takeover(&head, leadership.epoch(), newest.is_none());
        let changes = match &newest {
            None => {
                if !handles.nothing_is_lost() {
                    self.pin_takeover(head_name, &head).await?;
                }
                (head.clone(), head_name, true)
            }
            // The line goes on from the newest head, with an older root; nothing is overwritten.
            Some(newest) => {
                let branch =
                    self.keep_passed_over(name, (newest.name, &newest.head), (head_name, &head)).await?;
                tracing::warn!(
                    share = name,
                    branch,
                    "what is newer than the state that is attached is a branch"
                );
                let next_inode = head.next_inode.max(newest.head.next_inode);
                (Head { next_inode, ..head.clone() }, newest.name, false)
            }
        };
        let (map, map_change) = registry::next_map(&self.live)?;
        let (over, parent, published) = changes;
        let mut changes = begin_over(map, &over, Some(parent), published);
        let era = handles.era().map_or_else(random, Ok)?;
        let mut record = ShareRecord::new(name.into(), share, head.share.domain, map, random()?, era);
        record.leadership = Some(leadership.note());
        record.handles = Some(handles.why().to_owned());
        record.to_warm = true;
        changes.extend([map_change, record.change()]);
        Ok(changes)
    }

    /// The state that is attached; an older one is held by a pin until what goes on from it has been published.
    async fn head_to_attach(
        &self,
        share: ShareId,
        name: &str,
        point: AttachPoint,
    ) -> Result<(HeadName, Head), ApplianceError> {
        let repository = &self.backend.repository;
        match point {
            AttachPoint::Newest => {
                let newest = repository.newest_head(share).await?;
                let nothing = || ApplianceError::NothingToAttach { share: name.into(), what: "head".into() };
                newest.map(|newest| (newest.name, newest.head)).ok_or_else(nothing)
            }
            AttachPoint::Head(name) => {
                let head = repository.read_head(share, &name).await?;
                self.pin(name, &head, "an attach").await?;
                // Still there, so it was never without a keeper.
                Ok((name, repository.read_head(share, &name).await?))
            }
            AttachPoint::Snapshot(id) => {
                let snapshot = repository.read_snapshot(share, id).await?;
                self.pin(snapshot.head_name, &snapshot.head, "an attach").await?;
                let snapshot = repository.read_snapshot(share, id).await?;
                Ok((snapshot.head_name, snapshot.head))
            }
        }
    }

    /// The newest head of the share that is called `name` in the repository.
    pub async fn find_in_repository(&self, name: &str) -> Result<Option<Head>, ApplianceError> {
        let repository = &self.backend.repository;
        let Some(share) = repository.find_share(name).await? else { return Ok(None) };
        Ok(repository.newest_head(share).await?.map(|newest| newest.head))
    }

    /// Whether this gateway knows no share of that name, or one that holds nothing.
    pub async fn holds_nothing(&self, name: &str) -> Result<bool, ApplianceError> {
        let _changing = self.changing.lock().await;
        let known = registry::load(&self.live)?.into_iter().find(|record| record.name == name);
        let Some(record) = known else { return Ok(true) };
        let share = match self.open_or_retiring(name) {
            Some(open) => open.share.clone(),
            None => self.open_map(record.id()?, record.domain()?, record.map(), record.incarnation)?,
        };
        if Base::load(&self.live, record.map())?.root.is_empty() && share.usage() == Usage::default() {
            return Ok(true);
        }
        Ok(Namespace::new(share, self.clock.clone()).is_empty().await?)
    }

    /// Serves a share no more. What it has in the journal still leaves, in the background.
    pub async fn withdraw(self: &Arc<Self>, share: ShareId) {
        let _changing = self.changing.lock().await;
        let open = self.shares.lock().remove(&share);
        self.files.withdraw(share);
        if let Some(open) = open {
            self.retire_withdrawn(open);
        }
    }

    /// As [`Appliance::withdraw`], by name; does nothing when no such share is served.
    pub async fn withdraw_named(self: &Arc<Self>, name: &str) -> Result<(), ApplianceError> {
        match self.share_named(name) {
            Ok(open) => self.withdraw(open.share.id()).await,
            Err(ApplianceError::NoShare { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn create_share(&self, config: &ShareConfig) -> Result<ShareRecord, ApplianceError> {
        let repository = &self.backend.repository;
        match repository.find_share(&config.name).await {
            Ok(None) => {}
            Ok(Some(_)) => return Err(ApplianceError::ShareElsewhere { share: config.name.clone() }),
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => {
                return Err(error.into());
            }
            // A share that nobody can name any more keeps nobody from making another.
            Err(error) => tracing::warn!(%error, "a share of the repository cannot be read at all"),
        }
        let domain = if config.own_key {
            repository.create_domain(&config.name).await?
        } else {
            repository.default_domain()
        };
        let id = ShareId::new(random_bytes()?);
        // Nobody else knows the share yet, so there is nobody to wait for.
        let leadership = self.claim(id, &config.name, Duration::ZERO).await?;
        let (map, map_change) = registry::next_map(&self.live)?;
        let mut record = ShareRecord::new(config.name.clone(), id, domain, map, random()?, random()?);
        record.leadership = Some(leadership.note());
        let changes = vec![map_change, record.change()];
        self.live.submit_durably(Batch { changes }, Bytes::new()).await?;
        self.live.settle().await?;
        Ok(record)
    }

    pub(super) async fn claim(
        &self,
        share: ShareId,
        name: &str,
        settle: Duration,
    ) -> Result<Leadership, ApplianceError> {
        let repository = &self.backend.repository;
        let state = repository.lease(share).await?;
        let options = ClaimOptions::new(self.claimant.clone(), self.now(), settle)?;
        match repository.claim(&state, &options).await? {
            ClaimOutcome::Leading(leadership) => {
                self.committer.plans.look_surely().await?;
                Ok(leadership)
            }
            ClaimOutcome::Lost { to } => Err(ApplianceError::Superseded { share: name.into(), by: to }),
        }
    }

    pub(super) fn now(&self) -> UtcNanos {
        self.clock.utc()
    }

    pub(super) async fn open_share(
        self: &Arc<Self>,
        record: ShareRecord,
        config: ShareConfig,
    ) -> Result<ShareId, ApplianceError> {
        let map = record.map();
        let open = self.open_unserved(record, config).await?;
        if Base::load(&self.live, map)?.root.is_empty() {
            Namespace::new(open.share.clone(), self.clock.clone()).create_root().await?;
        }
        let id = self.expose(open.clone())?;
        self.note_grace(&open).await?;
        Ok(id)
    }

    /// Lets clients in, and starts what goes on in the background.
    fn expose(self: &Arc<Self>, open: Arc<OpenShare>) -> Result<ShareId, ApplianceError> {
        open.share.account().set_quota(&open.config.quota, self.now());
        open.share.reopen();
        let waker = (open.config.thaw_on_read && !self.drill).then(|| self.thawer.clone());
        open.share.sleepers().set_waker(waker.map(|waker| waker as Arc<dyn Waker>));
        let (id, handed_over) = (open.share.id(), open.record.lock().handed_over);
        self.shares.lock().insert(id, open.clone());
        self.serve_as_usual(&open)?;
        self.start_warming(&open);
        self.start_reading_newest(open.clone());
        if handed_over {
            self.note_holds_nothing(&open);
        } else if open.config.follow {
            if open.record.lock().leadership.is_none() {
                // It never took a change.
                self.note_holds_nothing(&open);
            }
            self.start_following(open);
        } else if open.record.lock().superseded {
            self.start_setting_aside(open);
        } else if !self.drill {
            self.start_commits(open);
        }
        Ok(id)
    }

    /// Shows clients the files of a share; changes wait where it is handed over, or while its store does not answer and it
    /// is set so.
    pub(super) fn serve_as_usual(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        let handed_over = open.record.lock().handed_over;
        let paused = if handed_over { Arc::new(AtomicBool::new(true)) } else { open.paused.clone() };
        self.serve_files(open, paused)
    }

    /// Shows clients the files of a share. Changes wait while `paused` is set.
    pub(super) fn serve_files(
        &self,
        open: &OpenShare,
        paused: Arc<AtomicBool>,
    ) -> Result<(), ApplianceError> {
        let record = open.record.lock().clone();
        if record.handed_over && record.superseded {
            // Whoever leads it now has the same handles, and newer files.
            self.files.withhold(open.share.id());
            return Ok(());
        }
        let handle_key = self.handle_key(record.domain()?, record.era)?;
        let namespace = Namespace::new(open.share.clone(), self.clock.clone());
        let mut rules = open.config.rules.clone();
        rules.read_only |= record.superseded || open.config.follow;
        let moments = open.moments.clone();
        self.files.serve(Served { namespace, rules, handle_key, paused, moments });
        Ok(())
    }

    /// Records a grace period that began with the quota, so that it runs on even if nobody writes.
    async fn note_grace(&self, open: &OpenShare) -> Result<(), ApplianceError> {
        Ok(open.share.account().record(&self.live).await?)
    }

    /// Opens the map of a share, and goes on leading it if it did.
    pub(super) async fn open_unserved(
        &self,
        mut record: ShareRecord,
        config: ShareConfig,
    ) -> Result<Arc<OpenShare>, ApplianceError> {
        let (id, domain) = (record.id()?, record.domain()?);
        let leadership = self.resume(&mut record).await?;
        let share = self.open_map(id, domain, record.map(), record.incarnation)?;
        self.load_heat(&share).await;
        let reader = self.backend.reader(domain)?;
        let repository = self.backend.repository.clone();
        let moments = ShareMoments::new(repository, id, reader.nodes, reader.keys.handle_key());
        Ok(Arc::new(OpenShare::new(share, record, config, leadership, Arc::new(moments))?))
    }

    pub(super) fn open_map(
        &self,
        id: ShareId,
        domain: DomainId,
        map: MapId,
        incarnation: u64,
    ) -> Result<Arc<Share>, ApplianceError> {
        let reader = self.backend.reader(domain)?;
        let params = self.backend.repository.config().chunks;
        let map = LiveMap { live: self.live.clone(), map, nodes: reader.nodes };
        let keys = (reader.keys, params);
        Ok(Arc::new(Share::open(id, incarnation, map, reader.chunks, keys, self.clock.clone())?))
    }

    pub(super) fn handle_key(&self, domain: DomainId, era: u64) -> Result<SecretKey, ApplianceError> {
        // Those that it is read with: who leads no more serves it still, for reading, when the keys have been destroyed.
        let keys = self.backend.reader(domain)?.keys;
        Ok(keys.handle_key().keyed(&era.to_be_bytes()))
    }

    /// Goes on leading, if nobody else has taken over. While the store is away that is not known: the
    /// share is served, and the next commit asks again.
    pub(super) async fn resume(
        &self,
        record: &mut ShareRecord,
    ) -> Result<Option<Leadership>, ApplianceError> {
        let Some(note) = record.leadership.take().map(LeadershipNote::of_next_life) else { return Ok(None) };
        record.leadership = Some(note.clone());
        record.store(&self.live).await?;
        match self.backend.repository.resume(&note).await {
            Standing::StillLeading(leadership) => Ok(Some(leadership)),
            Standing::Unknown { leadership, error } => {
                tracing::warn!(share = record.name, %error, "cannot see yet whether this gateway still leads");
                Ok(Some(leadership))
            }
            Standing::Superseded { by } => {
                tracing::error!(share = record.name, %by, "another gateway leads this share now: it is read-only here");
                record.superseded = true;
                record.store(&self.live).await?;
                Ok(None)
            }
        }
    }

    /// An open share by name.
    pub(super) fn share_named(&self, name: &str) -> Result<Arc<OpenShare>, ApplianceError> {
        let shares = self.shares.lock();
        let found = shares.values().find(|open| open.config.name == name).cloned();
        found.ok_or_else(|| ApplianceError::NoShare { share: name.into() })
    }
}

/// The changes by which a map begins over the root of a head. `parent` is the parent of its own first
/// head; `published` says whether that is the head whose root it begins with.
pub(super) fn begin_over(map: MapId, head: &Head, parent: Option<HeadName>, published: bool) -> Vec<Change> {
    let base = Base { root: head.root, head: parent, published };
    let usage = &head.usage;
    let over_since = OverSince { bytes: usage.bytes_over_since, inodes: usage.inodes_over_since };
    vec![
        Change::Rebase { map, through: Sequence(0), base: base.encode() },
        InodeNumbers::start_at(map, InodeNumber(head.next_inode)),
        Change::Usage { map, bytes: head.usage.bytes as i64, inodes: head.usage.inodes as i64 },
        Account::begin_over_since(map, over_since),
    ]
}

pub(super) fn random_bytes<const N: usize>() -> Result<[u8; N], ApplianceError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| RepositoryError::Local {
        doing: "get random bytes".into(),
        source: Box::new(std::io::Error::other(error.to_string())),
    })?;
    Ok(bytes)
}

pub(super) fn random() -> Result<u64, ApplianceError> {
    Ok(u64::from_be_bytes(random_bytes()?))
}

//! One round: what lies in the repository.
//!
//! | requests | for |
//! |---|---|
//! | 1 listing | all heartbeats |
//! | 1 read | each gateway with a new heartbeat |
//! | 1 listing of one name | up to [`HEADS_LOOKED_MAX`] shares: those with changes first, the others in turn |

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{
    BeatShare, HeadName, Heartbeat, HeartbeatName, InstanceId, ListedHeartbeat, Locked, Opened, Repository,
    RepositoryError,
};
use tidegate_replicator::store::StoreHealth;

use super::judge::{Round, Seen};

/// Shares of which a round looks for the newest head.
pub const HEADS_LOOKED_MAX: usize = 16;

/// What can be seen of a repository.
enum Sight {
    /// Names and times.
    Names(Repository<Locked>),
    /// Everything.
    All(Arc<Repository<Opened>>),
}

/// What a heartbeat says, or why it cannot be read.
type Beat = Result<Heartbeat, String>;

/// Looks at a repository again and again.
pub struct Watcher {
    sight: Sight,
    health: Arc<StoreHealth>,
    /// What has been read, of heartbeats that are the newest still.
    read: HashMap<InstanceId, (HeartbeatName, Beat)>,
    /// How many shares have had their turn.
    turn: usize,
}

impl Watcher {
    /// Sees names and times.
    pub fn without_key(repository: Repository<Locked>, health: Arc<StoreHealth>) -> Self {
        Self { sight: Sight::Names(repository), health, read: HashMap::new(), turn: 0 }
    }

    /// Sees everything.
    pub fn with_key(repository: Arc<Repository<Opened>>, health: Arc<StoreHealth>) -> Self {
        Self { sight: Sight::All(repository), health, read: HashMap::new(), turn: 0 }
    }

    /// Looks once. An error says nothing about the gateways.
    pub async fn look(&mut self) -> Result<Round, RepositoryError> {
        let listed = match &self.sight {
            Sight::Names(repository) => repository.heartbeats().await?,
            Sight::All(repository) => repository.heartbeats().await?,
        };
        let mut newest: Vec<ListedHeartbeat> = Vec::new();
        for heartbeat in listed {
            if newest.last().is_none_or(|last| last.instance != heartbeat.instance) {
                newest.push(heartbeat);
            }
        }
        self.read.retain(|instance, _| newest.iter().any(|heartbeat| heartbeat.instance == *instance));
        let mut gateways = Vec::new();
        for ListedHeartbeat { instance, name, written } in newest {
            let beat = self.beat(instance, &name).await?;
            gateways.push(Seen { instance, name, written: timestamp(written), beat });
        }
        let heads = self.heads(&gateways).await?;
        let now = self.health.clock().now().unwrap_or_else(SystemTime::now);
        Ok(Round { now: timestamp(now), gateways, heads })
    }

    /// What a heartbeat says. One that is gone meanwhile has a newer one in its place, which the next round sees.
    async fn beat(
        &mut self,
        instance: InstanceId,
        name: &HeartbeatName,
    ) -> Result<Option<Beat>, RepositoryError> {
        let Sight::All(repository) = &self.sight else { return Ok(None) };
        if let Some((_, beat)) = self.read.get(&instance).filter(|(known, _)| known == name) {
            return Ok(Some(beat.clone()));
        }
        let beat = match repository.read_heartbeat(instance, name).await {
            Ok(heartbeat) => Ok(heartbeat),
            Err(error @ (RepositoryError::Store(_) | RepositoryError::Local { .. })) => return Err(error),
            Err(RepositoryError::Missing { .. }) => return Ok(None),
            Err(error) => Err(error.to_string()),
        };
        self.read.insert(instance, (*name, beat.clone()));
        Ok(Some(beat))
    }

    async fn heads(
        &mut self,
        gateways: &[Seen],
    ) -> Result<BTreeMap<ShareId, Option<HeadName>>, RepositoryError> {
        let Sight::All(repository) = &self.sight else { return Ok(BTreeMap::new()) };
        let live = gateways.iter().filter(|seen| !seen.name.stopped);
        let beats = live.filter_map(|seen| seen.beat.as_ref()?.as_ref().ok());
        let led: Vec<_> = beats.flat_map(|beat| &beat.shares).filter(|share| share.leads).collect();
        let (changed, quiet): (Vec<_>, Vec<_>) = led.into_iter().partition(|share| share.rpo_now_seconds > 0);
        let turn = self.turn;
        let in_turn = |mut shares: Vec<&BeatShare>| {
            let places = shares.len().max(1);
            shares.rotate_left(turn % places);
            shares.into_iter().map(|share| share.share.id).collect::<Vec<_>>()
        };
        let wanted = [in_turn(changed), in_turn(quiet)].concat();
        let mut heads = BTreeMap::new();
        for id in wanted.into_iter().take(HEADS_LOOKED_MAX) {
            heads.insert(id, repository.first_head_name(id).await?);
        }
        self.turn = self.turn.wrapping_add(HEADS_LOOKED_MAX);
        Ok(heads)
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

//! Goal: of any number of claimants at most one leads a share per epoch, whatever the store's timing, and
//! exactly one where the store is faster than the settling time; who is superseded publishes nothing.
//! Method: sixteen claimants race on one thread, interleaved by a seed, on stores that create names
//! atomically, that do not, and that wrongly say they do; with kills and lost replies. Every failure prints
//! its seed; `TIDEGATE_TEST_SEED` runs one.

use std::sync::Arc;
use std::time::Duration;

use crate::support::virtual_time::{Creation, Rounds, SlowStore, Task, run_all};
use crate::support::{
    Numbers, SHARE, claimant, create, create_on, lead, next_head, open_on, publish_after, seeds, told,
};
use parking_lot::Mutex;
use tidegate_replicator::repository::{
    ClaimNonce, ClaimOptions, ClaimOutcome, DurablePacks, HeadStanding, Leadership, LeadershipNote,
    LeaseState, Opened, Published, Repository, RepositoryError, Standing, Successor, UtcNanos,
};
use tidegate_replicator::store::{MemoryStore, ObjectName, Store};

const CLAIMANTS: usize = 16;
/// The longest half of a call, in rounds: a call takes at most twice this, and a round to be polled.
const DELAY_MAX: u64 = 10;
/// Longer than a put and a listing together.
const SETTLE_SAFE: u64 = 8 * DELAY_MAX;
/// About as long as opening and claiming take, in rounds.
const RACE_ROUNDS: u64 = 30 * DELAY_MAX;

/// A race.
#[derive(Clone, Copy)]
struct Race {
    creation: fn(usize) -> Creation,
    settle: u64,
    lost_reply_one_in: u64,
    kill: bool,
}

/// What a race left.
struct Finish {
    leaders: Vec<Leadership>,
    repository: Repository<Opened>,
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

impl Race {
    const FAIR: Self =
        Self { creation: |_| Creation::Atomic, settle: SETTLE_SAFE, lost_reply_one_in: 0, kill: false };

    /// Lets all claimants, who have seen the same state, claim the share once.
    fn run(self, seed: u64) -> Finish {
        let memory = MemoryStore::new();
        let repository = run(create_on(Arc::new(memory.clone())));
        let state = run(repository.lease(SHARE)).expect("the lease is read");
        let (mut numbers, rounds) = (Numbers::seeded(seed), Arc::new(Rounds::default()));
        let tasks =
            (0..CLAIMANTS).map(|number| self.task(number, &memory, &state, &rounds, &mut numbers)).collect();
        let kills: Vec<_> = (0..CLAIMANTS).map(|_| self.kill.then(|| numbers.below(RACE_ROUNDS))).collect();
        let outcomes = run_all(&rounds, &mut numbers, tasks, |number| kills[number]);
        let leaders = outcomes.into_iter().flatten().filter_map(|outcome| match outcome {
            Ok(ClaimOutcome::Leading(leadership)) => Some(leadership),
            Ok(ClaimOutcome::Lost { .. }) => None,
            Err(error) => {
                assert!(error.is_transient(), "seed {seed}: {error}");
                None
            }
        });
        Finish { leaders: leaders.collect(), repository }
    }

    fn task<'a>(
        self,
        number: usize,
        memory: &MemoryStore,
        state: &'a LeaseState,
        rounds: &Arc<Rounds>,
        numbers: &mut Numbers,
    ) -> Task<'a, Result<ClaimOutcome, RepositoryError>> {
        let store = SlowStore {
            inner: Arc::new(memory.clone()),
            rounds: Arc::clone(rounds),
            numbers: Mutex::new(Numbers::seeded(numbers.next())),
            delay_max: DELAY_MAX,
            creation: (self.creation)(number),
            lost_reply_one_in: self.lost_reply_one_in,
        };
        let nonce = ClaimNonce::new(numbers.next().to_be_bytes());
        let options =
            ClaimOptions::new(claimant("host"), UtcNanos::new(1), Duration::from_millis(self.settle));
        let options = options.expect("valid").deterministic(nonce, Arc::clone(rounds) as _);
        Box::pin(async move { open_on(Arc::new(store)).await.claim(state, &options).await })
    }
}

impl Finish {
    fn at_most_one_leads(&self, seed: u64) {
        assert!(self.leaders.len() <= 1, "seed {seed}: {:?} lead", self.leaders);
    }

    fn exactly_one_leads(self, seed: u64) {
        assert_eq!(self.leaders.len(), 1, "seed {seed}: {:?} lead", self.leaders);
        let state = run(self.repository.lease(SHARE)).expect("the lease is read");
        for leader in self.leaders {
            assert_eq!(state.highest_epoch(), leader.epoch(), "seed {seed}");
            assert!(state.holder().is_some() && !state.is_contested(), "seed {seed}: {state:?}");
            let standing = run(leader.check(&self.repository));
            assert!(matches!(standing, Standing::StillLeading(_)), "seed {seed}: {standing:?}");
        }
    }

    /// Whatever is left, the share can be claimed anew, and whoever led before knows that it is over.
    fn can_be_taken_over(self, seed: u64) {
        let repository = self.repository;
        run(lead(&repository));
        for leader in self.leaders {
            let standing = run(leader.check(&repository));
            assert!(matches!(standing, Standing::Superseded { .. }), "seed {seed}: {standing:?}");
        }
    }
}

#[test]
fn exactly_one_leads_where_names_are_created_atomically() {
    for seed in seeds(150) {
        Race::FAIR.run(seed).exactly_one_leads(seed);
    }
}

#[test]
fn exactly_one_leads_by_listing_where_puts_overwrite() {
    for seed in seeds(150) {
        Race { creation: |_| Creation::Overwrites, ..Race::FAIR }.run(seed).exactly_one_leads(seed);
    }
}

#[test]
fn at_most_one_leads_however_short_the_settling_time() {
    for seed in seeds(300) {
        let settle = seed % SETTLE_SAFE;
        let finish = Race { creation: |_| Creation::Overwrites, settle, ..Race::FAIR }.run(seed);
        finish.at_most_one_leads(seed);
        finish.can_be_taken_over(seed);
    }
}

#[test]
fn at_most_one_leads_where_claimants_disagree_about_the_store() {
    let mixed = |number| if number % 2 == 0 { Creation::Atomic } else { Creation::Overwrites };
    for seed in seeds(150) {
        let finish = Race { creation: mixed, settle: seed % SETTLE_SAFE, ..Race::FAIR }.run(seed);
        finish.at_most_one_leads(seed);
        finish.can_be_taken_over(seed);
    }
}

#[test]
fn exactly_one_leads_where_atomic_creation_was_misjudged() {
    for seed in seeds(150) {
        Race { creation: |_| Creation::Misjudged, ..Race::FAIR }.run(seed).exactly_one_leads(seed);
    }
}

#[test]
fn kills_and_lost_replies_leave_at_most_one_leader_and_a_lease_that_can_be_claimed() {
    for creation in [|_| Creation::Atomic, |_| Creation::Overwrites] as [fn(usize) -> Creation; 2] {
        for seed in seeds(150) {
            let race =
                Race { creation, settle: seed % SETTLE_SAFE, lost_reply_one_in: 3, kill: seed % 2 == 0 };
            let finish = race.run(seed);
            finish.at_most_one_leads(seed);
            finish.can_be_taken_over(seed);
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_winner() {
    let winner = |seed| {
        let finish = Race { creation: |_| Creation::Overwrites, ..Race::FAIR }.run(seed);
        finish.leaders.iter().map(Leadership::note).collect::<Vec<LeadershipNote>>()
    };
    assert_eq!(winner(3), winner(3));
    assert!((0..20).any(|seed| winner(seed) != winner(3)));
}

#[tokio::test]
async fn the_superseded_publish_nothing() {
    let (repository, store) = create().await;
    let (old, first) = publish_after(&repository, lead(&repository).await, None).await;
    let head = next_head(&repository, &old, Some(first));
    let prepared = repository.prepare_head(&old, &head).expect("prepared");
    let new = lead(&repository).await;
    assert_eq!((old.epoch(), new.epoch()), (1, 2));

    let before = store.names();
    let durable =
        repository.write_index(told(Vec::new()), &DurablePacks::new()).await.expect("nothing to write");
    match repository.publish(old, &prepared, &durable).await {
        Published::Superseded { by } => assert_eq!(by, Successor::Claim { epoch: 2, settled: true }),
        other => panic!("published: {other:?}"),
    }
    assert_eq!(store.names(), before);
}

#[tokio::test]
async fn a_pending_claim_stops_the_leader_too() {
    let (repository, store) = create().await;
    let leader = lead(&repository).await;
    let claim = format!("leases/{SHARE}/00000002-0000000000000000");
    store.damage(&ObjectName::new(claim).expect("legal"), bytes::Bytes::from_static(b"whatever"));
    let Standing::Superseded { by } = leader.check(&repository).await else { panic!("still leading") };
    assert_eq!(by.to_string(), "a pending claim of epoch 2");
    assert!(repository.lease(SHARE).await.expect("read").is_contested());
}

#[tokio::test]
async fn a_leader_whose_claim_is_gone_stops_and_one_whose_claim_is_damaged_waits() {
    let (repository, store) = create().await;
    let note = lead(&repository).await.note();
    let claim = ObjectName::new(format!("leases/{SHARE}/00000001")).expect("legal");
    let whole = store.get(&claim, None).await.expect("there");
    store.damage(&claim, whole.slice(..whole.len() - 1));
    assert!(matches!(
        repository.resume(&note).await,
        Standing::Unknown { error: RepositoryError::Damaged { .. }, .. }
    ));
    store.delete(&claim).await.expect("deleted");
    assert!(matches!(
        repository.resume(&note).await,
        Standing::Superseded { by: Successor::Removed { epoch: 1 } }
    ));
}

#[tokio::test]
async fn what_an_earlier_process_sent_arrives_late_and_is_older_than_what_is_published_now() {
    let (repository, _store) = create().await;
    let (mut leader, first) = publish_after(&repository, lead(&repository).await, None).await;
    let mut late = Vec::new();
    // Two processes try again and again and hear nothing, each to die then.
    for _ in 0..2 {
        for tries in 0..5 {
            let mut head = next_head(&repository, &leader, Some(first));
            head.sequence += tries;
            late.push(repository.prepare_head(&leader, &head).expect("prepared"));
        }
        let note = serde_json::to_string(&leader.note().of_next_life()).expect("written");
        let note: LeadershipNote = serde_json::from_str(&note).expect("read");
        let Standing::StillLeading(resumed) = repository.resume(&note).await else { panic!("not resumed") };
        leader = resumed;
    }
    let (mut leader, second) = publish_after(&repository, leader, Some(first)).await;
    assert!(leader.next_sequence(Some(&second)) > second.sequence);

    // Their puts arrive at last.
    for late in late {
        assert!((first.sequence..second.sequence).contains(&late.name().sequence));
        let durable = repository.write_index(told(Vec::new()), &DurablePacks::new()).await.expect("no index");
        let Published::Done(still) = repository.publish(leader, &late, &durable).await else {
            panic!("refused")
        };
        leader = still;
    }
    let newest = repository.newest_head(SHARE).await.expect("read").expect("there");
    assert_eq!(newest.name, second);
    let listed = repository.list_heads(SHARE, 20).await.expect("listed");
    let standings: Vec<_> = listed.iter().map(|head| head.standing).collect();
    let mut expected = vec![HeadStanding::Fork; 12];
    (expected[0], expected[11]) = (HeadStanding::Newest, HeadStanding::Ancestor);
    assert_eq!(standings, expected);
}

#[test]
fn a_note_of_before_lives_were_counted_is_of_the_first() {
    let text = format!(r#"{{"share":"{SHARE}","epoch":3,"nonce":"0000000000000007","exclusive":true}}"#);
    let note: LeadershipNote = serde_json::from_str(&text).expect("read");
    assert_eq!(serde_json::to_value(note.of_next_life()).expect("written")["life"], 1);
}

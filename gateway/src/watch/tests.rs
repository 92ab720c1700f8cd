//! Claims about watching: which gateway is called silent, and what a round costs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tidegate_chunker::{ChunkParams, DomainId, ShareId};
use tidegate_replicator::repository::{
    BeatAlarm, BeatShare, HeadName, Heartbeat, HeartbeatName, InstanceId, KeyFile, NewRepository, Opened,
    Repository, ShareDescription, SlotKey, UtcNanos,
};
use tidegate_replicator::store::{MemoryStore, MeteredStore, StoreHealth};

use super::*;
use crate::alarm::Verdict;
use crate::control::{AlarmCode, Severity};
use crate::settings::{Alarms, Settings};

/// Seconds between two heartbeats.
const EVERY: u64 = 300;
const NOW: i64 = 1_000_000;

fn bounds() -> Alarms {
    let text = "[repository]\nkey = { env = \"K\" }\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n";
    Settings::parse(text).expect("the least").alarms
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(NOW - seconds)).expect("within the range")
}

fn head(sequence: u64) -> HeadName {
    HeadName { epoch: 1, sequence, suffix: 7 }
}

fn share(number: u8, rpo_now_seconds: u64) -> BeatShare {
    let id = ShareId::new([number; 16]);
    let share = ShareDescription { id, name: format!("s{number}"), domain: DomainId::new([9; 16]) };
    BeatShare { share, leads: true, rpo_seconds: 30, rpo_now_seconds, head: Some(head(10)) }
}

fn beat(host: &str, shares: Vec<BeatShare>) -> Heartbeat {
    Heartbeat {
        host: host.to_owned(),
        program: "0".to_owned(),
        started_at: UtcNanos::new(0),
        beat_at: UtcNanos::new(0),
        every_seconds: EVERY,
        shares,
        alarms: Vec::new(),
    }
}

fn seen(number: u8, age: i64, shares: Vec<BeatShare>) -> Seen {
    let name = HeartbeatName { sequence: 5, suffix: 1, stopped: false };
    let beat = Some(Ok(beat(&format!("host{number}"), shares)));
    Seen { instance: InstanceId::new([number; 8]), name, written: ago(age), beat }
}

fn round(gateways: Vec<Seen>) -> Round {
    Round { now: ago(0), gateways, heads: BTreeMap::new() }
}

/// What is wrong, as code and subject; and what is neither wrong nor right.
fn judged(round: &Round) -> (Vec<String>, Vec<String>) {
    let (mut wrong, mut between) = (Vec::new(), Vec::new());
    for reading in readings(round, &bounds()) {
        let text = format!("{} {}", reading.code, reading.subject);
        match reading.verdict {
            Verdict::Wrong { .. } => wrong.push(text),
            Verdict::Between => between.push(text),
            Verdict::Right => {}
        }
    }
    (wrong, between)
}

fn standing(round: &Round) -> Vec<Standing> {
    standings(round, &bounds()).into_iter().map(|state| state.standing).collect()
}

#[test]
fn silence_is_told_by_age_and_what_lies_between_says_nothing() {
    for (age, expected) in [
        (-5, Standing::Beating),
        (0, Standing::Beating),
        (450, Standing::Beating),
        (451, Standing::Late),
        (900, Standing::Late),
        (901, Standing::Silent),
        (10_000_000, Standing::Silent),
    ] {
        let round = round(vec![seen(1, age, Vec::new())]);
        assert_eq!(standing(&round), [expected], "after {age} s");
        let (wrong, between) = judged(&round);
        assert_eq!(wrong.len(), usize::from(expected == Standing::Silent), "{wrong:?}");
        assert_eq!(between.len(), usize::from(expected == Standing::Late), "{between:?}");
    }
}

#[test]
fn a_planned_stop_is_no_alarm_however_long_ago() {
    let mut stopped = seen(1, 10_000_000, vec![share(1, 500)]);
    stopped.name.stopped = true;
    let round = round(vec![stopped]);
    assert_eq!((standing(&round), judged(&round).0), (vec![Standing::Stopped], Vec::new()));
}

#[test]
fn without_a_key_silence_shows_all_the_same_and_the_interval_is_that_of_the_settings() {
    let mut gateway = seen(1, 901, Vec::new());
    gateway.beat = None;
    assert_eq!(standing(&round(vec![gateway.clone()])), [Standing::Silent]);
    gateway.written = ago(400);
    assert_eq!(standing(&round(vec![gateway])), [Standing::Beating]);
}

#[test]
fn a_repository_without_any_heartbeat_is_an_alarm() {
    assert_eq!(judged(&round(Vec::new())).0, ["gateway-silent "]);
}

#[test]
fn who_others_lead_for_is_replaced_and_only_if_they_live_and_lead_everything() {
    let gone = || seen(1, 5000, vec![share(1, 100), share(2, 100)]);
    let whole = round(vec![gone(), seen(2, 10, vec![share(1, 0)]), seen(3, 10, vec![share(2, 0)])]);
    assert_eq!(standing(&whole)[0], Standing::Replaced);
    assert!(judged(&whole).0.is_empty());
    let part = round(vec![gone(), seen(2, 10, vec![share(1, 0)])]);
    assert_eq!(standing(&part)[0], Standing::Silent);
    let dead = round(vec![gone(), seen(2, 5000, vec![share(1, 0), share(2, 0)])]);
    assert_eq!(standing(&dead), [Standing::Silent, Standing::Silent]);
    let mut follower = seen(2, 10, vec![share(1, 0), share(2, 0)]);
    if let Some(Ok(beat)) = &mut follower.beat {
        beat.shares.iter_mut().for_each(|share| share.leads = false);
    }
    assert_eq!(standing(&round(vec![gone(), follower]))[0], Standing::Silent);
}

#[test]
fn an_objective_counts_on_from_the_last_heartbeat_until_a_newer_head_is_seen() {
    let with = |age: i64, late: u64, shown: Option<u64>| {
        let mut round = round(vec![seen(1, age, vec![share(1, late)])]);
        round.heads = shown.map(|shown| (ShareId::new([1; 16]), Some(head(shown)))).into_iter().collect();
        judged(&round)
    };
    let missed = vec!["rpo-missed share:s1".to_owned()];
    assert_eq!(with(100, 20, Some(10)).0, missed, "there were changes, and nothing came since");
    assert_eq!(with(10, 20, Some(10)), (Vec::new(), missed.clone()), "not yet");
    assert!(with(100, 20, Some(11)).0.is_empty(), "a newer head came");
    assert!(with(400, 0, Some(10)).0.is_empty(), "nothing had changed");
    assert!(with(400, 20, None).0.is_empty(), "nobody looked");
    assert_eq!(with(10, 100, None).0, missed, "the gateway itself was late");
}

#[test]
fn a_store_that_shows_less_than_was_published_is_an_alarm() {
    let with = |shown: Option<HeadName>| {
        let mut round = round(vec![seen(1, 10, vec![share(1, 0)])]);
        round.heads = BTreeMap::from([(ShareId::new([1; 16]), shown)]);
        judged(&round).0
    };
    assert_eq!(with(Some(head(9))), ["head-lost share:s1"]);
    assert_eq!(with(None), ["head-lost share:s1"]);
    assert!(with(Some(head(10))).is_empty() && with(Some(head(11))).is_empty());
}

#[test]
fn alarms_of_a_gateway_are_told_on_and_what_cannot_be_read_is_said() {
    let alarm = |code: &str, severity: &str| BeatAlarm {
        code: code.to_owned(),
        subject: "policy:nightly".to_owned(),
        severity: severity.to_owned(),
        since: UtcNanos::new(0),
        message: "it failed".to_owned(),
        todo: "look".to_owned(),
    };
    let mut gateway = seen(1, 10, Vec::new());
    if let Some(Ok(beat)) = &mut gateway.beat {
        beat.alarms = vec![alarm("policy-failed", "warning"), alarm("of-a-later-version", "critical")];
    }
    let found = readings(&round(vec![gateway.clone()]), &bounds());
    let told: Vec<_> = found.iter().filter(|reading| reading.code == AlarmCode::PolicyFailed).collect();
    assert!(
        matches!(&told[..], [one] if one.subject == "host1 policy:nightly"
            && matches!(one.verdict, Verdict::Wrong { severity: Severity::Warning, .. })),
        "{told:?}"
    );
    gateway.beat = Some(Err("damaged".to_owned()));
    assert_eq!(judged(&round(vec![gateway])).0.len(), 1);
}

async fn repository(store: Arc<MeteredStore>) -> Arc<Repository<Opened>> {
    let folder = tempfile::tempdir().expect("a folder");
    let key = SlotKey::KeyFile(KeyFile::create(&folder.path().join("key")).expect("made"));
    let new = NewRepository {
        chunks: ChunkParams::default(),
        slot_label: "slot".into(),
        domain_label: "domain".into(),
        created_at: UtcNanos::new(1),
    };
    Arc::new(Repository::init(store, &new, &key).await.expect("made"))
}

#[tokio::test]
async fn a_round_sees_the_newest_of_each_gateway_for_few_requests() {
    let store = Arc::new(MeteredStore::new(Arc::new(MemoryStore::new()), "memory"));
    let counts = store.counts();
    let repository = repository(store).await;
    let instances = [InstanceId::new([1; 8]), InstanceId::new([2; 8])];
    for (instance, count) in [(instances[0], 3), (instances[1], 1)] {
        for sequence in 1..=count {
            let said = beat(&sequence.to_string(), vec![share(instance.as_bytes()[0], 0)]);
            repository.beat(instance, sequence, sequence == 3, &said).await.expect("written");
        }
    }
    let mut watcher = Watcher::with_key(repository.clone(), Arc::<StoreHealth>::default());
    counts.reset();
    let round = watcher.look().await.expect("seen");
    assert_eq!(counts.requests_total(), 1 + 2 + 1, "a listing, two heartbeats, a head of who is not stopped");
    let seen: Vec<_> = round.gateways.iter().map(|seen| (seen.instance, seen.name.sequence)).collect();
    assert_eq!(seen, [(instances[0], 3), (instances[1], 1)]);
    assert_eq!(standing(&round), [Standing::Stopped, Standing::Beating]);
    counts.reset();
    let round = watcher.look().await.expect("seen");
    assert_eq!(counts.requests_total(), 2, "what was read is not read again");
    assert!(round.gateways.iter().all(|seen| matches!(seen.beat, Some(Ok(_)))));
    let age = round.now.duration_since(round.gateways[1].written);
    assert!(age < SignedDuration::from_mins(1) && Duration::try_from(age).is_ok(), "{age}");
}

#[tokio::test]
async fn of_many_shares_each_has_its_turn() {
    let store = Arc::new(MeteredStore::new(Arc::new(MemoryStore::new()), "memory"));
    let counts = store.counts();
    let repository = repository(store).await;
    let shares: Vec<BeatShare> = (0..40).map(|number| share(number, 0)).collect();
    repository.beat(InstanceId::new([1; 8]), 1, false, &beat("many", shares)).await.expect("written");
    let mut watcher = Watcher::with_key(repository, Arc::<StoreHealth>::default());
    let mut looked = std::collections::BTreeSet::new();
    for number in 0..3 {
        counts.reset();
        looked.extend(watcher.look().await.expect("seen").heads.into_keys());
        let first = u64::from(number == 0);
        assert_eq!(counts.requests_total(), 1 + first + HEADS_LOOKED_MAX as u64);
    }
    assert_eq!(looked.len(), 40);
}

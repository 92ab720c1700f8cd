//! What the heartbeats of a repository say about its gateways.
//!
//! | a gateway is | when | alarm |
//! |---|---|---|
//! | beating | its newest heartbeat is younger than one and a half times its interval | none |
//! | late | it is older, but not too many are missing | as before |
//! | silent | more than `heartbeats_missed_max` are missing | `gateway-silent` |
//! | stopped | its newest heartbeat says that it was stopped | none |
//! | replaced | others who beat lead all shares that it led | none |
//!
//! Of a share that had changes when its gateway beat last, and of which the store has no newer head, the objective
//! counts on from there. Of one that had none nothing is said before the next heartbeat.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tidegate_chunker::ShareId;
use tidegate_replicator::repository::{BeatAlarm, BeatShare, HeadName, Heartbeat, HeartbeatName, InstanceId};

use crate::alarm::{Reading, Verdict};
use crate::amounts::seconds;
use crate::control::{AlarmCode, Severity};
use crate::settings::Alarms;

/// What one round has seen.
#[derive(Clone, Debug)]
pub struct Round {
    /// The time at the store.
    pub now: Timestamp,
    /// The newest heartbeat of each gateway.
    pub gateways: Vec<Seen>,
    /// The newest head of shares, by its name alone, where it was looked for; none if there is none.
    pub heads: BTreeMap<ShareId, Option<HeadName>>,
}

/// The newest heartbeat of a gateway.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Whose.
    pub instance: InstanceId,
    /// Which.
    pub name: HeartbeatName,
    /// When it was written, by the store's clock.
    pub written: Timestamp,
    /// What it says, or why it cannot be read; none without a key.
    pub beat: Option<Result<Heartbeat, String>>,
}

/// How a gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It beats.
    Beating,
    /// A heartbeat is missing.
    Late,
    /// Too many are.
    Silent,
    /// It was stopped.
    Stopped,
    /// Others lead what it led.
    Replaced,
}

impl Standing {
    /// As it is written in JSON and shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Beating => "beating",
            Self::Late => "late",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Replaced => "replaced",
        }
    }
}

/// A gateway, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GatewayState {
    /// Its id in the repository.
    pub instance: String,
    /// The name of its machine, where it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// How it is.
    pub standing: Standing,
    /// When its newest heartbeat was written, by the store's clock.
    pub written: Timestamp,
    /// How long ago that was, in seconds.
    pub age_seconds: u64,
    /// The shares that it leads, or led.
    pub shares: Vec<String>,
}

impl Seen {
    fn heartbeat(&self) -> Option<&Heartbeat> {
        self.beat.as_ref()?.as_ref().ok()
    }

    fn led(&self) -> impl Iterator<Item = &BeatShare> {
        self.heartbeat().into_iter().flat_map(|beat| &beat.shares).filter(|share| share.leads)
    }

    fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.written)).unwrap_or_default()
    }

    /// How often it beats.
    fn every(&self, bounds: &Alarms) -> Duration {
        self.heartbeat().map_or(bounds.heartbeat_every.duration(), |beat| {
            // Somebody else's number: no use is made of one that cannot be.
            Duration::from_secs(beat.every_seconds.clamp(1, 86_400))
        })
    }

    /// What people call it.
    fn called(&self) -> String {
        let host = self.heartbeat().map(|beat| format!("{} ", beat.host)).unwrap_or_default();
        format!("{host}({})", self.instance)
    }
}

impl Round {
    fn standing(&self, seen: &Seen, bounds: &Alarms) -> Standing {
        let (age, every) = (seen.age(self.now), seen.every(bounds));
        if seen.name.stopped {
            return Standing::Stopped;
        }
        if age <= every + every / 2 {
            return Standing::Beating;
        }
        if self.is_replaced(seen, bounds) {
            return Standing::Replaced;
        }
        if age > every.saturating_mul(bounds.heartbeats_missed_max) {
            Standing::Silent
        } else {
            Standing::Late
        }
    }

    /// Whether others who beat lead everything that it led.
    fn is_replaced(&self, seen: &Seen, bounds: &Alarms) -> bool {
        let beats = |other: &&Seen| {
            let (age, every) = (other.age(self.now), other.every(bounds));
            other.instance != seen.instance && !other.name.stopped && age <= every + every / 2
        };
        let is_led = |share: &BeatShare| {
            let others = self.gateways.iter().filter(beats);
            others.flat_map(Seen::led).any(|led| led.share.id == share.share.id)
        };
        seen.led().next().is_some() && seen.led().all(is_led)
    }
}

/// All gateways, in order of their ids.
pub fn standings(round: &Round, bounds: &Alarms) -> Vec<GatewayState> {
    let state = |seen: &Seen| GatewayState {
        instance: seen.instance.to_string(),
        host: seen.heartbeat().map(|beat| beat.host.clone()),
        standing: round.standing(seen, bounds),
        written: seen.written,
        age_seconds: seen.age(round.now).as_secs(),
        shares: seen.led().map(|share| share.share.name.clone()).collect(),
    };
    round.gateways.iter().map(state).collect()
}

/// Everything that a round says.
pub fn readings(round: &Round, bounds: &Alarms) -> Vec<Reading> {
    let mut found = Vec::new();
    let verdict = if round.gateways.is_empty() {
        let message = "no gateway has ever written a heartbeat to this repository".to_owned();
        let todo =
            "start a gateway of this version or a newer one, or see whether this is the right repository";
        wrong(message, todo)
    } else {
        Verdict::Right
    };
    found.push(Reading::new(AlarmCode::GatewaySilent, "", verdict));
    for seen in &round.gateways {
        gateway(round, seen, bounds, &mut found);
    }
    // Of two readings of one thing the worse counts.
    let mut distinct: BTreeMap<(AlarmCode, String), Reading> = BTreeMap::new();
    for reading in found {
        let is_wrong = matches!(reading.verdict, Verdict::Wrong { .. });
        let key = (reading.code, reading.subject.clone());
        if is_wrong || !distinct.contains_key(&key) {
            distinct.insert(key, reading);
        }
    }
    distinct.into_values().collect()
}

fn wrong(message: String, todo: &str) -> Verdict {
    Verdict::Wrong { severity: Severity::Critical, after: Duration::ZERO, message, todo: todo.to_owned() }
}

fn gateway(round: &Round, seen: &Seen, bounds: &Alarms, found: &mut Vec<Reading>) {
    let (standing, called) = (round.standing(seen, bounds), seen.called());
    let subject = format!("gateway:{}", seen.instance);
    let verdict = match standing {
        Standing::Beating | Standing::Stopped | Standing::Replaced => Verdict::Right,
        Standing::Late => Verdict::Between,
        Standing::Silent => {
            let age = seconds(seen.age(round.now).as_secs());
            let message = format!("gateway {called} has not been heard of for {age}");
            let todo = "is its machine up, does `tidegate serve` run, does it reach the store? What it took in since is on \
                        its disks alone. If it is gone for good: `tidegate watch --forget` its id";
            wrong(message, todo)
        }
    };
    found.push(Reading::new(AlarmCode::GatewaySilent, &*subject, verdict));
    let damaged = seen.beat.as_ref().and_then(|beat| beat.as_ref().err());
    let verdict = damaged.map_or(Verdict::Right, |why| {
        let message = format!("the newest heartbeat of gateway {called} cannot be read: {why}");
        let todo = "the next one may be whole; else `tidegate check` says what else is damaged";
        Verdict::Wrong { severity: Severity::Warning, after: Duration::ZERO, message, todo: todo.to_owned() }
    });
    found.push(Reading::new(AlarmCode::HeartbeatDamaged, &*subject, verdict));
    if matches!(standing, Standing::Stopped | Standing::Replaced) {
        return;
    }
    for share in seen.led() {
        shares(round, seen, share, bounds, found);
    }
    if standing != Standing::Silent {
        let alarms = seen.heartbeat().into_iter().flat_map(|beat| &beat.alarms);
        found.extend(alarms.filter_map(|alarm| told(seen, alarm)));
    }
}

fn shares(round: &Round, seen: &Seen, share: &BeatShare, bounds: &Alarms, found: &mut Vec<Reading>) {
    let (name, subject) = (&share.share.name, format!("share:{}", share.share.name));
    let shown = round.heads.get(&share.share.id).copied();
    let published_since =
        shown.flatten().zip(share.head).is_some_and(|(shown, known)| shown.is_newer_than(&known));
    // Whether there is a newer head is known only where it was looked for.
    let since = if shown.is_some() { seen.age(round.now).as_secs() } else { 0 };
    let late = share.rpo_now_seconds.saturating_add(since);
    let bound = share.rpo_seconds.saturating_mul(u64::from(bounds.rpo_multiple));
    let verdict = match share.rpo_now_seconds {
        _ if published_since => Verdict::Right,
        0 => Verdict::Right,
        // The next heartbeat or the next head says more.
        _ if late <= bound => Verdict::Between,
        _ => {
            let (late, objective) = (seconds(late), seconds(share.rpo_seconds));
            let message = format!(
                "changes of share {name} have waited {late} for a head; its objective is {objective}"
            );
            wrong(
                message,
                "see `tidegate status` on its gateway: does the store answer there, is the link fast enough?",
            )
        }
    };
    found.push(Reading::new(AlarmCode::RpoMissed, &*subject, verdict));
    let verdict = match (share.head, shown) {
        (_, None) => Verdict::Between,
        (None, Some(_)) => Verdict::Right,
        (Some(known), Some(shown)) if shown.is_some_and(|shown| !known.is_newer_than(&shown)) => {
            Verdict::Right
        }
        (Some(known), Some(shown)) => {
            let shown = shown.map_or("none".to_owned(), |shown| shown.to_string());
            let message = format!(
                "the newest head of share {name} should be {known} or newer; the store shows {shown}"
            );
            let todo = "the store lost objects, or was put back to an older state: stop what deletes there, and see \
                        `tidegate check`";
            wrong(message, todo)
        }
    };
    found.push(Reading::new(AlarmCode::HeadLost, subject, verdict));
}

/// An alarm of a gateway, told on; none if this program does not know its kind.
fn told(seen: &Seen, alarm: &BeatAlarm) -> Option<Reading> {
    let code = AlarmCode::ALL.iter().copied().find(|code| code.as_str() == alarm.code)?;
    let severity =
        if alarm.severity == Severity::Critical.as_str() { Severity::Critical } else { Severity::Warning };
    let host = seen.heartbeat().map_or("", |beat| &beat.host);
    let (message, todo) = (alarm.message.clone(), alarm.todo.clone());
    let verdict = Verdict::Wrong { severity, after: Duration::ZERO, message, todo };
    Some(Reading::new(code, format!("{host} {}", alarm.subject).trim_end(), verdict))
}

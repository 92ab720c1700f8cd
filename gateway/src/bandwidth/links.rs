//! The links to all targets, and who keeps their rates by the calendar.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};
use tidegate_replicator::store::{Direction, LaneReport, Limits, Link};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::estimate::time_for;
use super::{Calendar, Rates};
use crate::clock::Clock;
use crate::control::{ControlError, ErrorKind, LaneStatus, LimitRequest, LinkStatus};
use crate::settings::{Settings, Target};

/// The calendar is looked at at least so often, should the clock be set.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What is set by hand without a time holds so long at most.
const BY_HAND_MAX: Duration = Duration::from_hours(24 * 366);

/// See the head of this module.
#[derive(Debug)]
pub struct Links {
    kept: RwLock<Vec<Arc<Kept>>>,
    clock: Arc<dyn Clock>,
    changed: Notify,
}

/// The link to one target.
#[derive(Debug)]
struct Kept {
    target: String,
    link: Arc<Link>,
    rules: Mutex<Rules>,
}

#[derive(Clone, Debug)]
struct Rules {
    requests_max: usize,
    calendar: Calendar,
    by_hand: Option<ByHand>,
}

/// Rates that somebody has set for a while. What is not set stays with the calendar.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::option_option)] // Outer: set or not. Inner: bounded or not.
struct ByHand {
    up: Option<Option<u64>>,
    down: Option<Option<u64>>,
    until: Timestamp,
}

/// What holds now, and why.
struct Now {
    rates: Rates,
    rule: String,
    until: Option<Timestamp>,
}

impl Links {
    /// No links yet.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { kept: RwLock::default(), clock, changed: Notify::new() })
    }

    /// Links were opened, by the names of their targets; they take the places of earlier ones.
    pub fn know(&self, settings: &Settings, opened: Vec<(String, Arc<Link>)>) {
        {
            let mut links = self.kept.write();
            for (name, link) in opened {
                let Some(target) = settings.target(&name) else { continue };
                links.retain(|kept| kept.target != name);
                links.push(Arc::new(Kept {
                    target: name,
                    link,
                    rules: Mutex::new(Rules::of(settings, target)),
                }));
            }
        }
        self.turn();
        self.changed.notify_waiters();
    }

    /// Keeps the rates by the calendar until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let changed = self.changed.notified();
            let pause = self.turn();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = changed => {}
            }
        }
    }

    /// The settings have changed.
    pub fn apply(&self, settings: &Settings) {
        for kept in self.kept.read().iter() {
            let target = settings.targets.iter().find(|target| target.name.as_str() == kept.target);
            if let Some(target) = target {
                let mut rules = kept.rules.lock();
                *rules = Rules { by_hand: rules.by_hand, ..Rules::of(settings, target) };
            }
        }
        self.turn();
        self.changed.notify_waiters();
    }

    /// Sets rates by hand, for a while; or gives them back to the calendar.
    pub fn limit(&self, target: &str, request: &LimitRequest) -> Result<LinkStatus, ControlError> {
        let kept = self.find(target)?;
        let time = request.seconds.map_or(BY_HAND_MAX, Duration::from_secs).min(BY_HAND_MAX);
        let until = self.now().checked_add(time).unwrap_or(Timestamp::MAX);
        let by_hand = ByHand { up: request.up.rate()?, down: request.down.rate()?, until };
        let is_set = by_hand.up.is_some() || by_hand.down.is_some();
        kept.rules.lock().by_hand = is_set.then_some(by_hand);
        self.turn();
        self.changed.notify_waiters();
        Ok(self.status_of(&kept))
    }

    /// What the link to a target does now.
    pub fn status(&self, target: &str) -> LinkStatus {
        self.find(target).map(|kept| self.status_of(&kept)).unwrap_or_default()
    }

    /// In how many seconds so many bytes will have gone up, if that can be said.
    pub fn seconds_for(&self, target: &str, bytes: u64) -> Option<u64> {
        let kept = self.find(target).ok()?;
        let (rules, measured) = (kept.rules.lock().clone(), kept.link.report(Direction::Up).bytes_per_s);
        let rate = |time: Timestamp| {
            let Now { rates, until, .. } = rules.now(time);
            (rates.up, until)
        };
        time_for(bytes, measured, self.now(), rate).map(|time| time.as_secs())
    }

    /// The most bytes per second that came down from a target over some seconds of the last day; 0 when none did.
    pub fn best_down(&self, target: &str) -> u64 {
        self.find(target).map_or(0, |kept| kept.link.report(Direction::Down).best_bytes_per_s)
    }

    /// How long so many bytes take to come down by the rates that will hold, where any do: however fast the link is.
    pub fn time_down(&self, target: &str, bytes: u64) -> Option<Duration> {
        let rules = self.find(target).ok()?.rules.lock().clone();
        let rate = |time: Timestamp| {
            let Now { rates, until, .. } = rules.now(time);
            (rates.down, until)
        };
        // Faster than any link: then the rates alone count.
        let (limit, change) = rate(self.now());
        if limit.is_none() && change.is_none() {
            return None;
        }
        time_for(bytes, u64::MAX / 2, self.now(), rate)
    }

    fn find(&self, target: &str) -> Result<Arc<Kept>, ControlError> {
        self.kept.read().iter().find(|kept| kept.target == target).cloned().ok_or_else(|| {
            ControlError::new(ErrorKind::NotFound, format!("there is no target {target:?}"))
                .todo("`tidegate status` shows all targets")
        })
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::new(now.seconds, now.nanos as i32).unwrap_or_default()
    }

    /// Sets what holds now; tells how long it may be left alone.
    fn turn(&self) -> Duration {
        let time = self.now();
        let mut pause = LOOK_EVERY;
        for kept in self.kept.read().iter() {
            let mut rules = kept.rules.lock();
            if rules.by_hand.is_some_and(|by_hand| by_hand.until <= time) {
                rules.by_hand = None;
            }
            let Now { rates, until, .. } = rules.now(time);
            if let Some(until) = until {
                pause = pause.min(Duration::try_from(until.duration_since(time)).unwrap_or_default());
            }
            kept.link.set(Limits {
                requests_max: rules.requests_max,
                upload_bytes_per_s: rates.up,
                download_bytes_per_s: rates.down,
            });
        }
        pause
    }

    fn status_of(&self, kept: &Kept) -> LinkStatus {
        let Now { rule, until, .. } = kept.rules.lock().now(self.now());
        LinkStatus {
            up: lane_status(&kept.link.report(Direction::Up)),
            down: lane_status(&kept.link.report(Direction::Down)),
            rule,
            until,
        }
    }
}

impl Rules {
    fn of(settings: &Settings, target: &Target) -> Self {
        let calendar = Calendar::of(settings, target);
        Self { requests_max: target.connections as usize, calendar, by_hand: None }
    }

    fn now(&self, time: Timestamp) -> Now {
        let in_force = self.calendar.at(time);
        let change = self.calendar.change_after(time);
        if let Some(by_hand) = self.by_hand.filter(|by_hand| by_hand.until > time) {
            let rates = Rates {
                up: by_hand.up.unwrap_or(in_force.rates.up),
                down: by_hand.down.unwrap_or(in_force.rates.down),
            };
            let until = change.map_or(by_hand.until, |change| change.min(by_hand.until));
            // Where the calendar changes something sooner, that is what `until` says.
            let rule = if until == by_hand.until {
                "set by hand".to_owned()
            } else {
                format!("set by hand until {:.0}", by_hand.until)
            };
            return Now { rates, rule, until: Some(until) };
        }
        let when = in_force.row.and_then(|row| self.calendar.when(row));
        let rule = when.map_or_else(|| "the target's own".to_owned(), str::to_owned);
        Now { rates: in_force.rates, rule, until: change }
    }
}

fn lane_status(lane: &LaneReport) -> LaneStatus {
    let [client, replication, housekeeping] = lane.bytes_moved;
    LaneStatus {
        bytes_per_second: lane.bytes_per_s,
        limit_bytes_per_second: lane.limit_bytes_per_s,
        client_bytes: client,
        replication_bytes: replication,
        housekeeping_bytes: housekeeping,
        requests_running: lane.requests_running as u64,
        requests_waiting: lane.requests_waiting as u64,
        requests_found: lane.requests_found as u64,
        requests_max: lane.requests_max as u64,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::control::LimitRate;

    #[derive(Debug)]
    struct Turned(AtomicI64);

    impl Clock for Turned {
        fn now(&self) -> tidegate_replicator::map::Timestamp {
            tidegate_replicator::map::Timestamp { seconds: self.0.load(Ordering::Relaxed), nanos: 0 }
        }
    }

    fn settings(rows: &str) -> Settings {
        let text = format!(
            "[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"t\"\naddress = \"file:///srv/r\"\n\
             upload_rate = \"9KiB/s\"\nconnections = 7\n{rows}"
        );
        Settings::parse(&text).expect("correct")
    }

    const NIGHT: &str = "[[bandwidth]]\nfrom = \"02:00\"\nto = \"03:00\"\nupload_rate = \"5KiB/s\"\n";

    fn up(links: &Links) -> (Option<u64>, String) {
        links.turn();
        let status = links.status("t");
        (status.up.limit_bytes_per_second.map(|bytes| bytes >> 10), status.rule)
    }

    #[test]
    fn rates_follow_the_calendar_the_settings_and_the_hand() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _entered = runtime.enter();
        let clock = Arc::new(Turned(AtomicI64::new(0)));
        let link =
            Link::new(Limits { requests_max: 1, upload_bytes_per_s: None, download_bytes_per_s: None });
        let links = Links::new(clock.clone());
        links.know(&settings(NIGHT), vec![("t".to_owned(), link.clone())]);
        let turn = |seconds: i64| clock.0.store(seconds, Ordering::Relaxed);
        let night = "every day 02:00-03:00 UTC".to_owned();
        assert_eq!(up(&links), (Some(9), "the target's own".to_owned()));
        assert_eq!(link.limits().requests_max, 7);
        turn(2 * 3600);
        assert_eq!(up(&links), (Some(5), night.clone()));
        let by_hand = LimitRequest {
            up: LimitRate::Rate("1KiB/s".to_owned()),
            down: LimitRate::Unlimited,
            seconds: Some(600),
        };
        let status = links.limit("t", &by_hand).expect("set");
        assert_eq!(status.up.limit_bytes_per_second, Some(1 << 10));
        assert_eq!(status.until.map(Timestamp::as_second), Some(2 * 3600 + 600));
        turn(2 * 3600 + 599);
        assert_eq!(up(&links).0, Some(1));
        turn(2 * 3600 + 600);
        assert_eq!(up(&links), (Some(5), night));
        links.apply(&settings(""));
        assert_eq!(up(&links).0, Some(9));
        links.limit("t", &by_hand).expect("set");
        links.limit("t", &LimitRequest::default()).expect("given back");
        assert_eq!(up(&links), (Some(9), "the target's own".to_owned()));
        assert_eq!(links.limit("x", &by_hand).expect_err("no such target").kind, ErrorKind::NotFound);
        let wrong = LimitRequest { up: LimitRate::Rate("5".to_owned()), ..LimitRequest::default() };
        assert_eq!(links.limit("t", &wrong).expect_err("no rate").kind, ErrorKind::Invalid);
    }
}

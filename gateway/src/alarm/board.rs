//! Readings over time become alarms.
//!
//! Of each thing (a code and a subject) it is known since when it has been wrong, or right, without a break; what lies
//! between goes on as it was. Wrong for as long as the reading says raises the alarm; right for as long as
//! `clear_after` clears it. Both are decided by what has been seen, so two looks decide nothing about the time
//! between them that neither saw.
//!
//! A clock that is set back shortens what has been seen, and never makes it negative.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::reading::{Reading, Verdict};
use crate::control::{Alarm, AlarmCode};
use crate::words::fit;

/// What a look has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A new alarm.
    Raised(Alarm),
    /// An alarm that has become more urgent.
    Worse(Alarm),
    /// An alarm that is over, as it was last.
    Cleared(Alarm),
}

/// Which thing.
type Key = (AlarmCode, String);

/// What is known of a thing that is, or was just, wrong.
#[derive(Clone, Debug)]
struct Entry {
    /// How it is, and since when without a break.
    is_wrong: bool,
    since: Timestamp,
    /// When it began to be wrong, the last time.
    wrong_since: Timestamp,
    alarm: Option<Alarm>,
}

/// See the head of this module. Bounded by the number of things that there are readings of.
#[derive(Clone, Debug, Default)]
pub struct Board {
    entries: BTreeMap<Key, Entry>,
}

impl Board {
    /// Takes in one look at everything.
    pub fn look(&mut self, readings: Vec<Reading>, now: Timestamp, clear_after: Duration) -> Vec<Event> {
        let mut events = Vec::new();
        let mut before = std::mem::take(&mut self.entries);
        for Reading { code, subject, verdict } in readings {
            let key = (code, subject);
            let entry = before.remove(&key);
            if let Some(entry) = step(&key, entry, verdict, (now, clear_after), &mut events) {
                self.entries.insert(key, entry);
            }
        }
        // What there are no readings of any more is nobody's trouble.
        events.extend(before.into_values().filter_map(|entry| entry.alarm).map(Event::Cleared));
        events
    }

    /// What is wrong now: the most urgent first, then the oldest.
    pub fn alarms(&self) -> Vec<Alarm> {
        let mut alarms: Vec<Alarm> = self.entries.values().filter_map(|entry| entry.alarm.clone()).collect();
        alarms.sort_by_key(|alarm| (std::cmp::Reverse(alarm.severity), alarm.since));
        alarms
    }
}

/// What becomes of a thing by one reading; none when there is nothing to remember.
fn step(
    key: &Key,
    entry: Option<Entry>,
    verdict: Verdict,
    (now, clear_after): (Timestamp, Duration),
    events: &mut Vec<Event>,
) -> Option<Entry> {
    match verdict {
        Verdict::Between => entry.map(|entry| entry.not_after(now)),
        Verdict::Right => {
            let mut entry = entry?.not_after(now);
            if entry.is_wrong {
                (entry.is_wrong, entry.since) = (false, now);
            }
            if lasts(entry.since, now) < clear_after {
                return Some(entry);
            }
            events.extend(entry.alarm.map(Event::Cleared));
            None
        }
        Verdict::Wrong { severity, after, message, todo } => {
            let fresh = || Entry { is_wrong: true, since: now, wrong_since: now, alarm: None };
            let mut entry = entry.map_or_else(fresh, |entry| entry.not_after(now));
            if !entry.is_wrong {
                (entry.is_wrong, entry.since) = (true, now);
                if entry.alarm.is_none() {
                    entry.wrong_since = now;
                }
            }
            let since = entry.wrong_since;
            // It may quote what a command wrote.
            let message = fit(&message, Alarm::MESSAGE_BYTES_MAX);
            let alarm = Alarm { code: key.0, subject: key.1.clone(), severity, since, message, todo };
            match &mut entry.alarm {
                None if lasts(entry.since, now) < after => {}
                None => {
                    events.push(Event::Raised(alarm.clone()));
                    entry.alarm = Some(alarm);
                }
                Some(known) => {
                    let (severity, since) = (known.severity.max(alarm.severity), known.since);
                    let is_worse = severity > known.severity;
                    *known = Alarm { severity, since, ..alarm };
                    events.extend(is_worse.then(|| Event::Worse(known.clone())));
                }
            }
            Some(entry)
        }
    }
}

impl Entry {
    /// As it is known when the clock says `now`, which may have been set back.
    fn not_after(mut self, now: Timestamp) -> Self {
        self.since = self.since.min(now);
        self.wrong_since = self.wrong_since.min(now);
        self
    }
}

fn lasts(since: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

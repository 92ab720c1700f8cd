//! Which notifier hears of what.
//!
//! A notifier hears of an alarm once it is urgent enough for it, again when it has become more urgent, again after
//! each `remind_every`, and that it is over if it heard of it at all. What a notifier has heard is kept by its name, so
//! a change of other settings tells nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::board::Event;
use super::notice::{Notice, Tidings};
use crate::control::{Alarm, AlarmCode, Severity};

/// What a notifier wants to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its name.
    pub name: String,
    /// The least urgent alarms that it hears of.
    pub least: Severity,
    /// How often it hears again of an alarm that lasts; zero for never.
    pub remind_every: Duration,
    /// Whether it hears that an alarm is over.
    pub cleared: bool,
}

type Key = (AlarmCode, String);

/// What one notifier has heard of one alarm.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Timestamp,
    severity: Severity,
}

/// See the head of this module.
#[derive(Clone, Debug, Default)]
pub struct Dispatch {
    heard: BTreeMap<String, BTreeMap<Key, Heard>>,
}

impl Dispatch {
    /// What each notifier, by its place in the list, is told after a look. `alarms` are those that are raised now.
    pub fn after(
        &mut self,
        events: &[Event],
        alarms: &[Alarm],
        recipients: &[Recipient],
        now: Timestamp,
    ) -> Vec<(usize, Notice)> {
        self.heard.retain(|name, _| recipients.iter().any(|recipient| recipient.name == *name));
        let mut notices = Vec::new();
        for (place, recipient) in recipients.iter().enumerate() {
            let heard = self.heard.entry(recipient.name.clone()).or_default();
            for event in events {
                let Event::Cleared(alarm) = event else { continue };
                if heard.remove(&key(alarm)).is_some() && recipient.cleared {
                    notices
                        .push((place, Notice { tidings: Tidings::Cleared, alarm: alarm.clone(), at: now }));
                }
            }
            for alarm in alarms.iter().filter(|alarm| alarm.severity >= recipient.least) {
                let known = heard.get(&key(alarm)).copied();
                if let Some(tidings) = due(known, alarm, recipient, now) {
                    heard.insert(key(alarm), Heard { at: now, severity: alarm.severity });
                    notices.push((place, Notice { tidings, alarm: alarm.clone(), at: now }));
                }
            }
        }
        notices
    }
}

fn key(alarm: &Alarm) -> Key {
    (alarm.code, alarm.subject.clone())
}

fn due(known: Option<Heard>, alarm: &Alarm, recipient: &Recipient, now: Timestamp) -> Option<Tidings> {
    let Some(known) = known else { return Some(Tidings::Raised) };
    if alarm.severity > known.severity {
        return Some(Tidings::Worse);
    }
    let passed = now.duration_since(known.at);
    // A clock that was set back tells once more rather than never.
    let passed = if passed.is_negative() { recipient.remind_every } else { passed.unsigned_abs() };
    (!recipient.remind_every.is_zero() && passed >= recipient.remind_every).then_some(Tidings::Lasting)
}

//! What is wrong with the API itself: it is shown among the alarms, and what serves data goes on.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::Admin;
use crate::control::{Alarm, AlarmCode, ControlError, Severity, Status};

/// What the audit log is called among the subjects.
const AUDIT: &str = "audit";

/// By what it is about.
#[derive(Default)]
pub(super) struct Troubles(Mutex<BTreeMap<String, Alarm>>);

impl Troubles {
    /// Notes what became of something: an error is an alarm until it succeeds.
    pub(super) fn note<T>(&self, subject: &str, outcome: &Result<T, ControlError>) {
        let mut all = self.0.lock();
        match outcome {
            Ok(_) => drop(all.remove(subject)),
            Err(error) => {
                let since = all.get(subject).map_or_else(Timestamp::now, |alarm| alarm.since);
                let todo = error.todo.clone().unwrap_or_default();
                all.insert(subject.to_owned(), alarm(subject, since, error.message.clone(), todo));
            }
        }
    }
}

fn alarm(subject: &str, since: Timestamp, message: String, todo: String) -> Alarm {
    let (code, severity) = (AlarmCode::AdminApi, Severity::Critical);
    Alarm { code, subject: subject.to_owned(), severity, since, message, todo }
}

impl Admin {
    /// How everything is, with what is wrong here among the alarms.
    pub(super) async fn status(&self) -> Status {
        let mut status = self.control.status().await;
        let mut own: Vec<Alarm> = self.in_force.troubles.0.lock().values().cloned().collect();
        own.extend(self.audit.trouble().map(|trouble| {
            let todo = "changes are refused until it is written: look at the disk below gateway.data/audit";
            alarm(AUDIT, trouble.since, trouble.why, todo.to_owned())
        }));
        own.append(&mut status.alarms);
        // The most urgent first; those here are.
        status.alarms = own;
        status
    }
}

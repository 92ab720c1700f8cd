//! Keeps the alarms of a gateway: looks every few seconds, says what is new, and has notifiers told.
//!
//! Looking is cheap and asks no store. The log says each alarm once when it is raised, as an error if it is critical, and
//! once when it is over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tidegate_replicator::repository::TokioWait;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Event};
use super::courier::Courier;
use super::dispatch::{Dispatch, Recipient};
use super::notice::Sender;
use super::reading::Reading;
use super::rules::{View, readings};
use super::trend::Trend;
use super::ways::{OVERTIME, way};
use crate::control::{Alarm, Severity, Status};
use crate::settings::{Alarms, Notify, Settings};
use crate::telemetry::metrics;

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(5);

/// What a look sees.
pub struct Facts {
    /// What the appliance reports; its alarms are not looked at.
    pub status: Status,
    /// The time.
    pub now: Timestamp,
}

/// Where facts come from.
pub trait Source: Send + Sync + 'static {
    /// As they are now.
    fn facts(&self) -> Facts;
}

/// See the head of this module.
pub struct Keeper {
    state: Mutex<State>,
}

struct State {
    bounds: Alarms,
    board: Board,
    dispatch: Dispatch,
    trends: BTreeMap<String, Trend>,
    notifiers: Vec<Notifier>,
    sender: Sender,
}

/// A notifier of the settings.
struct Notifier {
    settings: Notify,
    recipient: Recipient,
    courier: Courier,
}

impl Notifier {
    fn start(settings: &Notify, sender: &Sender) -> Self {
        let timeout = settings.timeout.duration() + OVERTIME;
        let (name, wait) = (settings.name.as_str(), Arc::new(TokioWait));
        let courier = Courier::start(name, way(settings), sender.clone(), timeout, wait);
        Self { settings: settings.clone(), recipient: settings.recipient(), courier }
    }
}

impl Keeper {
    /// Keeps alarms by these settings. Starts the notifiers.
    pub fn new(settings: &Settings, sender: Sender) -> Arc<Self> {
        let notifiers = settings.notify.iter().map(|notify| Notifier::start(notify, &sender)).collect();
        let state = State {
            bounds: settings.alarms.clone(),
            board: Board::default(),
            dispatch: Dispatch::default(),
            trends: BTreeMap::new(),
            notifiers,
            sender,
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Goes by changed settings from now on. A notifier that is as before keeps what waits for it.
    pub fn set(&self, settings: &Settings) {
        let mut state = self.state.lock();
        state.bounds = settings.alarms.clone();
        let mut before = std::mem::take(&mut state.notifiers);
        for notify in &settings.notify {
            let same = before.iter().position(|notifier| notifier.settings == *notify);
            let notifier = match same {
                Some(place) => before.swap_remove(place),
                None => Notifier::start(notify, &state.sender),
            };
            state.notifiers.push(notifier);
        }
    }

    /// What is wrong now, the most urgent first.
    pub fn alarms(&self) -> Vec<Alarm> {
        self.state.lock().board.alarms()
    }

    /// Looks, again and again, until `stop`.
    pub async fn keep(self: Arc<Self>, source: Arc<dyn Source>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.look(&source.facts()),
            }
        }
    }

    /// Looks once.
    pub fn look(&self, facts: &Facts) {
        let found = {
            let mut state = self.state.lock();
            let growing = state.growing(facts);
            let view =
                View { status: &facts.status, growing: &growing, bounds: &state.bounds, now: facts.now };
            readings(&view)
        };
        self.take_in(found, facts.now);
    }

    /// Takes in readings, whoever made them; says and tells what is new.
    pub fn take_in(&self, readings: Vec<Reading>, now: Timestamp) {
        let mut state = self.state.lock();
        let clear_after = state.bounds.clear_after.duration();
        let events = state.board.look(readings, now, clear_after);
        events.iter().for_each(say);
        let alarms = state.board.alarms();
        let recipients: Vec<Recipient> =
            state.notifiers.iter().map(|notifier| notifier.recipient.clone()).collect();
        for (place, notice) in state.dispatch.after(&events, &alarms, &recipients, now) {
            state.notifiers[place].courier.tell(notice);
        }
    }
}

impl State {
    /// Of each target whether its backlog does not shrink, where that can be told.
    fn growing(&mut self, facts: &Facts) -> BTreeMap<String, bool> {
        let (now, period) = (facts.now, self.bounds.backlog_after.duration());
        let targets = &facts.status.targets;
        self.trends.retain(|name, _| targets.iter().any(|target| target.name == *name));
        let mut growing = BTreeMap::new();
        for target in targets {
            let bytes = target.backlog_bytes;
            let trend = self.trends.entry(target.name.clone()).or_insert_with(|| Trend::new(bytes, now));
            growing.extend(trend.look(bytes, now, period).map(|grows| (target.name.clone(), grows)));
        }
        growing
    }
}

/// Says what is new in the log, and to Prometheus.
fn say(event: &Event) {
    let (alarm, raised) = match event {
        Event::Raised(alarm) | Event::Worse(alarm) => (alarm, true),
        Event::Cleared(alarm) => (alarm, false),
    };
    let Alarm { code, subject, severity, since, message, todo } = alarm;
    metrics::ALARM.with(&[code.as_str(), subject]).set(f64::from(u8::from(raised)));
    match (raised, severity) {
        (true, Severity::Critical) => tracing::error!(%code, subject, todo, "alarm: {message}"),
        (true, Severity::Warning) => tracing::warn!(%code, subject, todo, "alarm: {message}"),
        (false, _) => tracing::info!(%code, subject, %since, "alarm over: {message}"),
    }
}

//! What becomes a trace: calls of clients with their long waits, commits, runs of policies, jobs.
//!
//! A span is made when what it tells of has ended, so a call that is not traced costs the reading of a clock. Of calls,
//! as many are traced each second as the settings say, and as many slow ones beside them: how often a call comes is what metrics
//! are for. What was left of a second counts for a burst, so that all of a few calls are traced that come together, and
//! not the first alone. The long waits of a call are its children.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use parking_lot::Mutex;
use tidegate_protocols::CarriedOut;

use super::super::metrics;
use super::{attribute, text};
use crate::control::ErrorKind;

/// Spans that wait to be sent; of some hundred bytes each.
const WAITING_MAX: usize = 4_096;

static SPANS: Spans = Spans::new();

struct Spans {
    calls: Spaced,
    slow_calls: Spaced,
    waiting: Mutex<VecDeque<Span>>,
}

/// Nanoseconds of the second that rates are about.
const SECOND: u64 = 1_000_000_000;

/// Lets something through so often a second (the generic cell rate algorithm, ITU-T I.371 annex A, with a burst of a second).
struct Spaced {
    /// How often, in nanoseconds; never if it is 0.
    every: AtomicU64,
    /// When the next one would come if all came evenly, in nanoseconds since 1970.
    next: AtomicU64,
}

impl Spaced {
    const fn new() -> Self {
        Self { every: AtomicU64::new(0), next: AtomicU64::new(0) }
    }

    fn is_off(&self) -> bool {
        self.every.load(Ordering::Relaxed) == 0
    }

    fn admits(&self, now: u64) -> bool {
        let (every, next) = (self.every.load(Ordering::Relaxed), self.next.load(Ordering::Relaxed));
        let from = next.max(now);
        every != 0
            && from - now <= SECOND - every
            && self.next.compare_exchange(next, from + every, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Spans {
    const fn new() -> Self {
        Self { calls: Spaced::new(), slow_calls: Spaced::new(), waiting: Mutex::new(VecDeque::new()) }
    }

    fn add(&self, spans: impl IntoIterator<Item = Span>) {
        let mut waiting = self.waiting.lock();
        for span in spans {
            if waiting.len() < WAITING_MAX {
                waiting.push_back(span);
            } else {
                metrics::OTLP_SPANS_DROPPED.with(&[]).increment(1);
            }
        }
    }
}

/// How many calls are traced each second; none, and nothing else, if it is 0.
pub(super) fn set_rate(each_second: u32) {
    let every = SECOND.checked_div(each_second.into()).unwrap_or(0);
    SPANS.calls.every.store(every, Ordering::Relaxed);
    SPANS.slow_calls.every.store(every, Ordering::Relaxed);
}

/// The spans that have waited longest.
pub(super) fn take(spans_max: usize) -> Vec<Span> {
    let mut waiting = SPANS.waiting.lock();
    let taken = waiting.len().min(spans_max);
    waiting.drain(..taken).collect()
}

/// Spans that could not be sent wait again, before the others.
pub(super) fn put_back(spans: Vec<Span>) {
    let mut waiting = SPANS.waiting.lock();
    for span in spans.into_iter().rev() {
        waiting.push_front(span);
    }
    let dropped = waiting.len().saturating_sub(WAITING_MAX);
    waiting.truncate(WAITING_MAX);
    drop(waiting);
    metrics::OTLP_SPANS_DROPPED.with(&[]).increment(dropped as u64);
}

/// Nanoseconds since 1970; 0 before.
pub(super) fn nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Follows the calls of all protocols (`tidegate_protocols::follow_calls`).
pub(crate) fn follow(call: &CarriedOut<'_>) {
    if SPANS.calls.is_off() {
        return;
    }
    let now = nanos(SystemTime::now());
    let slow = call.slow && SPANS.slow_calls.admits(now);
    if slow || SPANS.calls.admits(now) {
        SPANS.add(of_call(call, now));
    }
}

fn of_call(call: &CarriedOut<'_>, ended: u64) -> Vec<Span> {
    let attributes = vec![text("client.address", &call.client.to_string())];
    let root = finished(call.procedure, SpanKind::Server, (ended, call.elapsed), attributes);
    let now = Instant::now();
    let waits = call.waits.long().into_iter().map(|waited| {
        let ended = ended.saturating_sub(now.duration_since(waited.ended).as_nanos() as u64);
        let wait = finished(waited.wait.name(), SpanKind::Internal, (ended, waited.time), Vec::new());
        Span { trace_id: root.trace_id.clone(), parent_span_id: root.span_id.clone(), ..wait }
    });
    let waits: Vec<_> = waits.collect();
    [root].into_iter().chain(waits).collect()
}

/// Traces work of the gateway itself that has just ended, and of what kind its failure was if it failed.
pub(crate) fn trace_work(
    name: &str,
    about: &[(&str, &str)],
    numbers: &[(&str, u64)],
    took: Duration,
    failed: Option<ErrorKind>,
) {
    if SPANS.calls.is_off() {
        return;
    }
    let number = |(key, number): &(&str, u64)| {
        attribute(key, Value::IntValue(i64::try_from(*number).unwrap_or(i64::MAX)))
    };
    let attributes =
        about.iter().map(|(key, value)| text(key, value)).chain(numbers.iter().map(number)).collect();
    let mut span = finished(name, SpanKind::Internal, (nanos(SystemTime::now()), took), attributes);
    span.status = failed.map(|kind| Status { message: named(kind), code: StatusCode::Error.into() });
    SPANS.add([span]);
}

/// As the API calls it.
fn named(kind: ErrorKind) -> String {
    serde_json::to_value(kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A span of a trace of its own, from when it ended and how long it took.
fn finished(name: &str, kind: SpanKind, (ended, took): (u64, Duration), attributes: Vec<KeyValue>) -> Span {
    let mut ids = [0; 24];
    // Ids of zeros are none to a collector, which then refuses the span: as good as not having made it.
    let _ = getrandom::fill(&mut ids);
    Span {
        trace_id: ids[..16].to_vec(),
        span_id: ids[16..].to_vec(),
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: ended.saturating_sub(took.as_nanos() as u64),
        end_time_unix_nano: ended,
        attributes,
        ..Span::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_calls_are_let_through_a_second_and_none_when_it_is_off() {
        let spaced = Spaced::new();
        assert!(!spaced.admits(SECOND), "off");
        spaced.every.store(SECOND / 10, Ordering::Relaxed);
        let through = |from: u64, calls: u64, apart: u64| {
            (0..calls).filter(|number| spaced.admits(from + number * apart)).count()
        };
        assert_eq!(through(SECOND, 30, 0), 10, "of a burst a second's");
        assert_eq!(through(2 * SECOND, 5_000, SECOND / 1_000), 10 + 5 * 10 - 1, "then evenly");
        assert_eq!(through(60 * SECOND, 30, 1), 10, "no more after a pause");
        spaced.every.store(SECOND, Ordering::Relaxed);
        assert_eq!(through(90 * SECOND, 10, 0), 1);
    }

    #[test]
    fn a_failure_is_told_by_its_kind() {
        assert_eq!(named(ErrorKind::StoreAway), "store-away");
    }

    #[test]
    fn the_newest_spans_go_when_too_many_wait() {
        let spans = Spans::new();
        let named = |name: usize| Span { name: name.to_string(), ..Span::default() };
        spans.add((0..WAITING_MAX + 10).map(named));
        let waiting = spans.waiting.lock();
        assert_eq!(waiting.len(), WAITING_MAX);
        assert_eq!(waiting.back().map(|span| span.name.clone()), Some((WAITING_MAX - 1).to_string()));
    }
}

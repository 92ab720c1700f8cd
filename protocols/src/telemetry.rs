//! Metrics and bounded log lines of the servers in this crate.
//!
//! Metrics go to the recorder that is installed when a server is built; handles are made once, so
//! that a call costs no look-up. All of them are declared in [`METRICS`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;

use crate::nbd::metrics as nbd;
use crate::s3::metrics as s3;
use crate::waits::Waits;

/// The shortest time between two lines of the log about the same thing.
const NOTICE_INTERVAL: Duration = Duration::from_mins(1);
/// Clients of which it is remembered that there was a line about them.
const NOTICED_CLIENTS_MAX: usize = 1024;
/// Lines about slow calls in one [`SLOW_CALL_INTERVAL`]; the rest is only counted.
const SLOW_CALLS_LOGGED_MAX: u32 = 10;
const SLOW_CALL_INTERVAL: Duration = Duration::from_secs(10);

const CALL_SECONDS: &str = "tidegate_nfs_call_seconds";
const FAILURES: &str = "tidegate_nfs_failures_total";
const REPETITIONS: &str = "tidegate_nfs_repetitions_total";
const CALLS_IN_FLIGHT: &str = "tidegate_nfs_calls_in_flight";
const CLIENTS: &str = "tidegate_nfs_clients";
const CONNECTIONS: &str = "tidegate_nfs_connections";
const CONNECTIONS_REFUSED: &str = "tidegate_nfs_connections_refused_total";
const RECEIVED_BYTES: &str = "tidegate_nfs_received_bytes_total";
const SENT_BYTES: &str = "tidegate_nfs_sent_bytes_total";

/// A metric of this crate, for documents and for buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetricDescription {
    /// Its name, which ends in its unit.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The labels of each of its values.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub meaning: &'static str,
}

const fn describe(
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> MetricDescription {
    MetricDescription { name, kind, labels, meaning }
}

/// Every metric that the servers of this crate record.
pub const METRICS: &[MetricDescription] = &[
    describe(
        CALL_SECONDS,
        "histogram",
        &["procedure"],
        "Time of NFS calls from the whole request to the whole answer.",
    ),
    describe(FAILURES, "counter", &["procedure", "status"], "NFS calls answered with a failure."),
    describe(REPETITIONS, "counter", &[], "NFS calls repeated by clients and answered from memory."),
    describe(CALLS_IN_FLIGHT, "gauge", &[], "NFS calls that are being carried out."),
    describe(CLIENTS, "gauge", &[], "Machines that have NFS connections open."),
    describe(CONNECTIONS, "gauge", &[], "NFS connections that are open."),
    describe(CONNECTIONS_REFUSED, "counter", &[], "NFS connections closed at once: there were too many."),
    describe(RECEIVED_BYTES, "counter", &[], "Bytes read from NFS connections."),
    describe(SENT_BYTES, "counter", &[], "Bytes written to NFS connections."),
    describe(
        s3::REQUEST_SECONDS,
        "histogram",
        &["operation"],
        "Time of S3 requests from their head to the head of the answer, with the body on its way in.",
    ),
    describe(
        s3::REQUESTS,
        "counter",
        &["operation", "outcome"],
        "S3 requests answered: `ok`, `not_modified`, `denied`, `not_found`, `client_error`, `slow_down` or \
         `server_error`.",
    ),
    describe(s3::REQUESTS_IN_FLIGHT, "gauge", &[], "S3 requests that are being carried out."),
    describe(s3::CONNECTIONS, "gauge", &[], "S3 connections that are open."),
    describe(s3::CONNECTIONS_REFUSED, "counter", &[], "S3 connections closed at once: there were too many."),
    describe(s3::RECEIVED_BYTES, "counter", &[], "Bytes of bodies read from S3 requests."),
    describe(s3::SENT_BYTES, "counter", &[], "Bytes of bodies written to S3 clients."),
    describe(
        nbd::REQUEST_SECONDS,
        "histogram",
        &["command"],
        "Time of NBD requests from the whole request to the reply.",
    ),
    describe(nbd::FAILURES, "counter", &["command", "error"], "NBD requests answered with an error."),
    describe(nbd::CONNECTIONS, "gauge", &[], "NBD connections that are open."),
    describe(
        nbd::CONNECTIONS_REFUSED,
        "counter",
        &[],
        "NBD connections closed at once: there were too many.",
    ),
    describe(nbd::RECEIVED_BYTES, "counter", &[], "Bytes of requests read from NBD connections."),
    describe(nbd::SENT_BYTES, "counter", &[], "Bytes of replies written to NBD connections."),
];

/// Metrics of one procedure.
#[derive(Clone)]
pub(crate) struct CallMetrics {
    procedure: &'static str,
    seconds: Histogram,
    in_flight: Gauge,
}

impl CallMetrics {
    /// Registers the metrics of a procedure.
    pub(crate) fn new(procedure: &'static str) -> Self {
        let seconds = histogram!(CALL_SECONDS, "procedure" => procedure);
        Self { procedure, seconds, in_flight: gauge!(CALLS_IN_FLIGHT) }
    }

    /// The name of the procedure.
    pub(crate) fn procedure(&self) -> &'static str {
        self.procedure
    }

    /// A call has begun.
    pub(crate) fn start(&self) -> Running {
        self.in_flight.increment(1.0);
        Running { metrics: self.clone() }
    }

    /// A call was answered with a failure.
    pub(crate) fn failed(&self, status: &'static str) {
        counter!(FAILURES, "procedure" => self.procedure, "status" => status).increment(1);
    }
}

/// A call was answered from memory.
pub(crate) fn repeated() {
    counter!(REPETITIONS).increment(1);
}

/// A call in flight, until dropped.
pub(crate) struct Running {
    metrics: CallMetrics,
}

impl Running {
    /// The call was answered.
    pub(crate) fn finish(self, elapsed: Duration) {
        self.metrics.seconds.record(elapsed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.in_flight.decrement(1.0);
    }
}

/// Metrics of connections.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    clients: Gauge,
    /// Connections of each client that has any; as many entries as there are connections at most.
    connected: Arc<Mutex<HashMap<IpAddr, u32>>>,
    connections: Gauge,
    pub(crate) refused: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
}

impl ServerMetrics {
    /// Registers the metrics of connections.
    pub(crate) fn new() -> Self {
        Self {
            clients: gauge!(CLIENTS),
            connected: Arc::default(),
            connections: gauge!(CONNECTIONS),
            refused: counter!(CONNECTIONS_REFUSED),
            received_bytes: counter!(RECEIVED_BYTES),
            sent_bytes: counter!(SENT_BYTES),
        }
    }
}

impl ServerMetrics {
    /// A client has opened a connection.
    pub(crate) fn opened(&self, client: IpAddr) {
        self.connections.increment(1.0);
        let mut connected = self.connected.lock();
        *connected.entry(client).or_insert(0) += 1;
        self.clients.set(connected.len() as f64);
    }

    /// A connection that was opened has ended.
    pub(crate) fn closed(&self, client: IpAddr) {
        self.connections.decrement(1.0);
        let mut connected = self.connected.lock();
        if let Some(count) = connected.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&client);
            }
        }
        self.clients.set(connected.len() as f64);
    }
}

/// Lets one line through per minute.
#[derive(Default)]
pub(crate) struct NoticeLimiter {
    last: Mutex<Option<Instant>>,
}

impl NoticeLimiter {
    /// Whether a line may be written now.
    pub(crate) fn allows(&self) -> bool {
        let mut last = self.last.lock();
        let allowed = last.is_none_or(|at| at.elapsed() >= NOTICE_INTERVAL);
        if allowed {
            *last = Some(Instant::now());
        }
        allowed
    }
}

/// Lets one line through per minute and client. While there were lines about as many clients as are
/// remembered, others get none.
#[derive(Default)]
pub(crate) struct ClientNotices {
    last: Mutex<HashMap<IpAddr, Instant>>,
}

impl ClientNotices {
    /// Whether a line about this client may be written now.
    pub(crate) fn allows(&self, client: IpAddr) -> bool {
        self.admit(client, Instant::now())
    }

    fn admit(&self, client: IpAddr, now: Instant) -> bool {
        let mut last = self.last.lock();
        let recent = |at: &Instant| now.duration_since(*at) < NOTICE_INTERVAL;
        if last.get(&client).is_some_and(recent) {
            return false;
        }
        if last.len() >= NOTICED_CLIENTS_MAX {
            last.retain(|_, at| recent(at));
        }
        let has_room = last.len() < NOTICED_CLIENTS_MAX;
        if has_room {
            last.insert(client, now);
        }
        has_room
    }
}

/// A call of any protocol that has just been carried out.
#[derive(Debug)]
pub struct CarriedOut<'c> {
    /// What was called.
    pub procedure: &'c str,
    /// By whom.
    pub client: IpAddr,
    /// How long it took.
    pub elapsed: Duration,
    /// What it waited for.
    pub waits: &'c Waits,
    /// Whether it took as long as calls that are logged.
    pub slow: bool,
}

/// Who is told of every call. It runs between the call and its answer, so it must be quick.
pub type Follower = fn(&CarriedOut<'_>);

static FOLLOWER: OnceLock<Follower> = OnceLock::new();

/// Has somebody told of every call of this process from now on. Only the first is.
pub fn follow_calls(follower: Follower) {
    // A second one is the same one: the process has one part that follows calls.
    let _ = FOLLOWER.set(follower);
}

/// The slow-call log: a line for each call over a threshold, with a bound on their rate, and with what
/// the call waited for ([`crate::waits`]).
pub struct SlowCalls {
    threshold: Duration,
    window: Mutex<SlowWindow>,
}

struct SlowWindow {
    since: Instant,
    logged: u32,
    suppressed: u32,
}

impl SlowCalls {
    /// Logs calls that take `threshold` or longer.
    pub fn new(threshold: Duration) -> Self {
        let window = SlowWindow { since: Instant::now(), logged: 0, suppressed: 0 };
        Self { threshold, window: Mutex::new(window) }
    }

    /// Notes a call that took `elapsed`, and tells whoever follows calls.
    pub(crate) fn note(&self, procedure: &str, client: IpAddr, elapsed: Duration, waits: &Waits) {
        let slow = elapsed >= self.threshold;
        if let Some(follower) = FOLLOWER.get() {
            follower(&CarriedOut { procedure, client, elapsed, waits, slow });
        }
        if !slow {
            return;
        }
        let Some(suppressed) = self.admit(Instant::now()) else { return };
        let milliseconds = elapsed.as_millis() as u64;
        tracing::info!(procedure, %client, milliseconds, waited_for = %waits, suppressed, "slow call");
    }

    /// How many lines were left out before this one, or `None` when this one is left out too.
    fn admit(&self, now: Instant) -> Option<u32> {
        let mut window = self.window.lock();
        if now.duration_since(window.since) >= SLOW_CALL_INTERVAL {
            window.since = now;
            window.logged = 0;
        }
        if window.logged == SLOW_CALLS_LOGGED_MAX {
            window.suppressed += 1;
            return None;
        }
        window.logged += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_call_log_is_bounded_and_says_what_it_left_out() {
        let slow = SlowCalls::new(Duration::ZERO);
        let now = Instant::now();
        let logged = (0..100).filter(|_| slow.admit(now).is_some()).count();
        assert_eq!(logged, SLOW_CALLS_LOGGED_MAX as usize);
        assert_eq!(slow.admit(now + SLOW_CALL_INTERVAL), Some(90));
        assert_eq!(slow.admit(now + SLOW_CALL_INTERVAL), Some(0));
    }

    #[test]
    fn a_client_counts_once_however_many_connections_it_has() {
        let metrics = ServerMetrics::new();
        let clients = || metrics.connected.lock().len();
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        for client in [one, one, other] {
            metrics.opened(client);
        }
        assert_eq!(clients(), 2);
        metrics.closed(one);
        assert_eq!(clients(), 2);
        metrics.closed(one);
        metrics.closed(other);
        assert_eq!(clients(), 0);
    }

    #[test]
    fn one_notice_a_minute_is_let_through() {
        let limiter = NoticeLimiter::default();
        assert!(limiter.allows());
        assert!(!limiter.allows());
    }

    #[test]
    fn one_notice_a_minute_is_let_through_for_each_client_and_clients_are_bounded() {
        let (notices, now) = (ClientNotices::default(), Instant::now());
        let client = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in 0..NOTICED_CLIENTS_MAX {
            assert!(notices.admit(client(number), now));
            assert!(!notices.admit(client(number), now + NOTICE_INTERVAL / 2));
        }
        assert!(!notices.admit(client(NOTICED_CLIENTS_MAX), now), "more are not remembered");
        assert_eq!(notices.last.lock().len(), NOTICED_CLIENTS_MAX);
        assert!(notices.admit(client(0), now + NOTICE_INTERVAL));
        assert!(notices.admit(client(NOTICED_CLIENTS_MAX), now + NOTICE_INTERVAL));
        assert_eq!(notices.last.lock().len(), 2, "those from before are forgotten");
    }
}

//! Metrics and bounded log lines of the servers in this crate.
//!
//! Metrics go to the recorder that is installed when a server is built; handles are made once, so
//! that a call costs no look-up. Names, units and meaning:
//!
//! | metric | kind | labels | meaning |
//! |---|---|---|---|
//! | `tidegate_rpc_calls_total` | counter | program, procedure | calls answered |
//! | `tidegate_rpc_failures_total` | counter | program, procedure, status | calls answered with a failure |
//! | `tidegate_rpc_call_seconds` | histogram | program, procedure | from the whole record to the reply |
//! | `tidegate_rpc_calls_in_flight` | gauge | program, procedure | calls being carried out |
//! | `tidegate_rpc_connections` | gauge | server | open connections |
//! | `tidegate_rpc_connections_refused_total` | counter | server | closed at once: too many |
//! | `tidegate_rpc_received_bytes_total` | counter | server | bytes read from connections |
//! | `tidegate_rpc_sent_bytes_total` | counter | server | bytes written to connections |

use std::net::IpAddr;
use std::time::{Duration, Instant};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;

/// The shortest time between two lines of the log about the same thing.
const NOTICE_INTERVAL: Duration = Duration::from_mins(1);
/// Lines about slow calls in one [`SLOW_CALL_INTERVAL`]; the rest is only counted.
const SLOW_CALLS_LOGGED_MAX: u32 = 10;
const SLOW_CALL_INTERVAL: Duration = Duration::from_secs(10);

/// Metrics of one procedure.
#[derive(Clone)]
pub(crate) struct CallMetrics {
    program: &'static str,
    procedure: &'static str,
    calls: Counter,
    seconds: Histogram,
    in_flight: Gauge,
}

impl CallMetrics {
    /// Registers the metrics of a procedure.
    pub(crate) fn new(program: &'static str, procedure: &'static str) -> Self {
        Self {
            program,
            procedure,
            calls: counter!("tidegate_rpc_calls_total", "program" => program, "procedure" => procedure),
            seconds: histogram!("tidegate_rpc_call_seconds", "program" => program, "procedure" => procedure),
            in_flight: gauge!("tidegate_rpc_calls_in_flight", "program" => program, "procedure" => procedure),
        }
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
        counter!("tidegate_rpc_failures_total",
            "program" => self.program, "procedure" => self.procedure, "status" => status)
        .increment(1);
    }
}

/// A call in flight, until dropped.
pub(crate) struct Running {
    metrics: CallMetrics,
}

impl Running {
    /// The call was answered.
    pub(crate) fn finish(self, elapsed: Duration) {
        self.metrics.calls.increment(1);
        self.metrics.seconds.record(elapsed);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.in_flight.decrement(1.0);
    }
}

/// Metrics of one listening address.
#[derive(Clone)]
pub(crate) struct ServerMetrics {
    pub(crate) connections: Gauge,
    pub(crate) refused: Counter,
    pub(crate) received_bytes: Counter,
    pub(crate) sent_bytes: Counter,
}

impl ServerMetrics {
    /// Registers the metrics of a server called `server`.
    pub(crate) fn new(server: &'static str) -> Self {
        Self {
            connections: gauge!("tidegate_rpc_connections", "server" => server),
            refused: counter!("tidegate_rpc_connections_refused_total", "server" => server),
            received_bytes: counter!("tidegate_rpc_received_bytes_total", "server" => server),
            sent_bytes: counter!("tidegate_rpc_sent_bytes_total", "server" => server),
        }
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

/// The slow-call log: a line for each call over a threshold, with a bound on their rate. What the
/// call waited for is said by the view, which knows.
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

    /// Notes a call that took `elapsed`.
    pub(crate) fn note(&self, program: &str, procedure: &str, client: IpAddr, elapsed: Duration) {
        if elapsed < self.threshold {
            return;
        }
        let Some(suppressed) = self.admit(Instant::now()) else { return };
        let milliseconds = elapsed.as_millis() as u64;
        tracing::info!(program, procedure, %client, milliseconds, suppressed, "slow call");
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
    fn one_notice_a_minute_is_let_through() {
        let limiter = NoticeLimiter::default();
        assert!(limiter.allows());
        assert!(!limiter.allows());
    }
}

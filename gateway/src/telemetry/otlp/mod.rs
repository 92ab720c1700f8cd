//! Metrics and traces by the OpenTelemetry protocol (OTLP 1.x over HTTP with protobuf), to the collector of `[otlp]`.
//!
//! Owns the one task that sends ([`export`]), and what becomes a trace ([`spans`]). Metrics are those of `/metrics`, under
//! the same names ([`exposition`]).
//!
//! Promises:
//!
//! * Nothing waits for a collector. One that is away costs spans (the newest are dropped once some thousands wait, and
//!   counted) and no metrics, which are totals since the start.
//! * What a collector refuses is not asked again with the same; what may pass is, ever less often.
//! * A trace has names of procedures, shares and policies, and addresses of clients; no name of a file, and of what failed the kind
//!   alone, since messages name files and repeat what hooks have said.
//!
//! Refuses: logs. They are lines on standard error, where the service manager has them.

mod exposition;
mod send;
pub(crate) mod spans;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use prost::Message;
use tokio_util::sync::CancellationToken;

use self::send::{Collector, SendError};
use super::metrics;
use crate::settings::{Otlp, Settings};

/// How often spans are sent, and settings looked at.
const TICK: Duration = Duration::from_secs(5);
/// The longest time between two attempts at a collector that fails.
const PAUSE_MAX: Duration = Duration::from_mins(5);
/// Spans in one request.
const SPANS_MAX: usize = 512;
/// How long the last requests may take when the gateway stops.
const LAST_TIME: Duration = Duration::from_secs(2);

/// Sends what there is to the collector of the settings, whatever they say by then, until it is told to stop. `page` gives
/// the text of `/metrics`; `host` is what this machine is called.
pub async fn export<S, P, T>(host: String, settings: S, page: P, stop: CancellationToken)
where
    S: Fn() -> Arc<Settings>,
    P: Fn() -> T,
    T: Future<Output = String>,
{
    let mut exporter = Exporter::new(host);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let of = settings();
        if stop.run_until_cancelled(exporter.round(&of.otlp, &page)).await.is_none() {
            break;
        }
    }
    // What the last seconds brought; a collector that is slow holds no stop up.
    let last = async {
        exporter.metrics_due = Instant::now();
        exporter.round(&settings().otlp, &page).await;
    };
    let _ = tokio::time::timeout(LAST_TIME, last).await;
}

struct Exporter {
    resource: Resource,
    /// When the process began to count, in nanoseconds since 1970.
    began: u64,
    /// The settings that all of the following is of.
    of: Option<Otlp>,
    collector: Option<Collector>,
    metrics_due: Instant,
    /// A collector may take the one and not the other.
    metrics: Way,
    traces: Way,
}

/// How it goes with what is sent to one path.
struct Way {
    /// What that is.
    what: &'static str,
    /// Until when it is left alone after a failure, and how long that is.
    pause: Option<(Instant, Duration)>,
}

impl Way {
    const fn new(what: &'static str) -> Self {
        Self { what, pause: None }
    }

    fn rests(&self) -> bool {
        self.pause.is_some_and(|(until, _)| Instant::now() < until)
    }

    /// Says what is wrong when it begins and when it is over, and how long nothing is sent.
    fn judge(&mut self, sent: Result<(), SendError>) {
        let what = self.what;
        let error = match sent {
            Ok(()) if self.pause.take().is_some() => {
                tracing::info!(what, "the OpenTelemetry collector takes them again");
                return;
            }
            Ok(()) => return,
            Err(error) => error,
        };
        metrics::OTLP_FAILURES.with(&[]).increment(1);
        let longer = self.pause.map_or(TICK, |(_, before)| (before * 2).min(PAUSE_MAX));
        let asked = if let SendError::Passing { wait: Some(wait), .. } = &error { *wait } else { longer };
        let pause = asked.clamp(longer, PAUSE_MAX);
        if self.pause.is_none() {
            tracing::warn!(what, %error, "they do not reach the OpenTelemetry collector of [otlp]; it is tried again, and \
                                          `tidegate_otlp_failures_total` counts");
        }
        self.pause = Some((Instant::now() + pause, pause));
    }
}

impl Exporter {
    fn new(host: String) -> Self {
        let attributes = vec![
            text("service.name", "tidegate"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &host),
            text("host.name", &host),
        ];
        Self {
            resource: Resource { attributes, ..Resource::default() },
            began: spans::nanos(SystemTime::now()),
            of: None,
            collector: None,
            metrics_due: Instant::now(),
            metrics: Way::new("metrics"),
            traces: Way::new("traces"),
        }
    }

    /// Sends what is due.
    async fn round<T: Future<Output = String>>(&mut self, otlp: &Otlp, page: &impl Fn() -> T) {
        if self.of.as_ref() != Some(otlp) {
            (self.of, self.collector, self.metrics_due) = (Some(otlp.clone()), None, Instant::now());
            (self.metrics.pause, self.traces.pause) = (None, None);
        }
        if otlp.endpoint.is_none() {
            spans::set_rate(0);
            drop(spans::take(usize::MAX));
            return;
        }
        spans::set_rate(otlp.traces_per_second);
        if Instant::now() >= self.metrics_due && !self.metrics.rests() {
            let sent = self.send_metrics(otlp, page).await;
            self.metrics.judge(sent);
        }
        if !self.traces.rests() {
            let sent = self.send_traces(otlp).await;
            self.traces.judge(sent);
        }
    }

    /// Sends a message to a path. After a failure addresses, secrets and certificates are read anew.
    async fn post(&mut self, otlp: &Otlp, path: &str, message: &impl Message) -> Result<(), SendError> {
        let collector = match self.collector.take() {
            Some(collector) => collector,
            None => Collector::new(otlp).await?,
        };
        collector.post(path, message).await?;
        self.collector = Some(collector);
        Ok(())
    }

    async fn send_metrics<T: Future<Output = String>>(
        &mut self,
        otlp: &Otlp,
        page: &impl Fn() -> T,
    ) -> Result<(), SendError> {
        let now = Instant::now();
        let message = self.metrics_of(&page().await);
        self.post(otlp, "/v1/metrics", &message).await?;
        self.metrics_due = now + otlp.metrics_every.duration();
        Ok(())
    }

    async fn send_traces(&mut self, otlp: &Otlp) -> Result<(), SendError> {
        loop {
            let taken = spans::take(SPANS_MAX);
            if taken.is_empty() {
                return Ok(());
            }
            let message = self.traces_of(taken);
            if let Err(error) = self.post(otlp, "/v1/traces", &message).await {
                if matches!(error, SendError::Passing { .. }) {
                    let back = message.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
                    spans::put_back(back.flat_map(|scope| scope.spans).collect());
                }
                return Err(error);
            }
        }
    }

    fn metrics_of(&self, page: &str) -> ExportMetricsServiceRequest {
        let metrics = exposition::metrics(page, self.began, spans::nanos(SystemTime::now()));
        let scope = ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() };
        let resource_metrics = vec![ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        }];
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn traces_of(
        &self,
        spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>,
    ) -> ExportTraceServiceRequest {
        let scope = ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() };
        let resource_spans = vec![ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }];
        ExportTraceServiceRequest { resource_spans }
    }
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "tidegate".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    })
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

#[cfg(test)]
mod tests;

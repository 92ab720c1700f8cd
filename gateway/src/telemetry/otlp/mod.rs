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
//! * Nothing of a file but procedures' names and clients' addresses is in a trace.
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
    /// The collector, and the settings that it is made from.
    collector: Option<(Otlp, Collector)>,
    metrics_due: Instant,
    /// When a collector that failed is asked again, and how long it was left alone.
    pause: Option<(Instant, Duration)>,
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
            collector: None,
            metrics_due: Instant::now(),
            pause: None,
        }
    }

    /// Sends what is due.
    async fn round<T: Future<Output = String>>(&mut self, otlp: &Otlp, page: &impl Fn() -> T) {
        if otlp.endpoint.is_none() {
            spans::set_rate(0);
            (self.collector, self.pause) = (None, None);
            return;
        }
        spans::set_rate(otlp.traces_per_second);
        if self.collector.as_ref().is_some_and(|(of, _)| of != otlp) {
            (self.collector, self.pause, self.metrics_due) = (None, None, Instant::now());
        }
        if self.pause.is_some_and(|(until, _)| Instant::now() < until) {
            return;
        }
        let sent = self.send(otlp, page).await;
        self.judge(sent);
    }

    async fn send<T: Future<Output = String>>(
        &mut self,
        otlp: &Otlp,
        page: &impl Fn() -> T,
    ) -> Result<(), SendError> {
        if self.collector.is_none() {
            self.collector = Some((otlp.clone(), Collector::new(otlp).await?));
        }
        let Some((_, collector)) = &self.collector else { return Ok(()) };
        let now = Instant::now();
        if now >= self.metrics_due {
            let message = self.metrics(&page().await);
            collector.post("/v1/metrics", &message).await?;
            self.metrics_due = now + otlp.metrics_every.duration();
        }
        loop {
            let taken = spans::take(SPANS_MAX);
            if taken.is_empty() {
                return Ok(());
            }
            let message = self.traces(taken);
            if let Err(error) = collector.post("/v1/traces", &message).await {
                if matches!(error, SendError::Passing { .. }) {
                    let back = message.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
                    spans::put_back(back.flat_map(|scope| scope.spans).collect());
                }
                return Err(error);
            }
        }
    }

    /// Says what is wrong when it begins and when it is over, and how long the collector is left alone.
    fn judge(&mut self, sent: Result<(), SendError>) {
        let error = match sent {
            Ok(()) if self.pause.take().is_some() => {
                tracing::info!("the OpenTelemetry collector takes metrics and traces again");
                return;
            }
            Ok(()) => return,
            Err(error) => error,
        };
        metrics::OTLP_FAILURES.with(&[]).increment(1);
        // A secret that changed is read again, and so is a certificate.
        self.collector = None;
        let longer = self.pause.map_or(TICK, |(_, before)| (before * 2).min(PAUSE_MAX));
        let asked = if let SendError::Passing { wait: Some(wait), .. } = &error { *wait } else { longer };
        let pause = asked.clamp(longer, PAUSE_MAX);
        if self.pause.is_none() {
            tracing::warn!(%error, "metrics and traces do not reach the OpenTelemetry collector of [otlp]; it is tried \
                                    again, and `tidegate_otlp_failures_total` counts");
        }
        self.pause = Some((Instant::now() + pause, pause));
    }

    fn metrics(&self, page: &str) -> ExportMetricsServiceRequest {
        let metrics = exposition::metrics(page, self.began, spans::nanos(SystemTime::now()));
        let scope = ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() };
        let resource_metrics = vec![ResourceMetrics {
            resource: Some(self.resource.clone()),
            scope_metrics: vec![scope],
            ..ResourceMetrics::default()
        }];
        ExportMetricsServiceRequest { resource_metrics }
    }

    fn traces(&self, spans: Vec<opentelemetry_proto::tonic::trace::v1::Span>) -> ExportTraceServiceRequest {
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

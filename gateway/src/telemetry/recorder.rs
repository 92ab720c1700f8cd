//! The recorder behind [`super::metrics`], and the page that describes them.

use std::fmt::Write;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::metrics::{ALL, Kind};

/// Upper bounds of the buckets of every histogram, in seconds: from a memory access to a cold read.
const BUCKETS_SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0];

/// The values of all metrics, ready to be shown.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts recording for the whole process; every call answers with the same recorder.
    pub fn start() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        Self(HANDLE.get_or_init(install).clone())
    }

    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

fn install() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS_SECONDS)
        .expect("there are buckets")
        .build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("metrics are recorded elsewhere in this process; /metrics stays empty");
    }
    describe();
    handle
}

fn describe() {
    for (kind, metric) in ALL {
        let meaning = metric.meaning.trim();
        match kind {
            Kind::Counter => metrics::describe_counter!(metric.name, meaning),
            Kind::Gauge => metrics::describe_gauge!(metric.name, meaning),
            Kind::Histogram => metrics::describe_histogram!(metric.name, meaning),
        }
    }
}

/// `docs/metrics.md`, made from the list.
pub fn metrics_page() -> String {
    let mut page = "\
# Metrics

<!-- Generated from gateway/src/telemetry/metrics.rs. Do not edit: `TIDEGATE_BLESS=1 make test` writes it anew. -->

A running gateway shows these under `/metrics`, on its admin socket and, when `gateway.metrics` is set,
on that address. Units are in the names. Counters start at zero with the process. A metric appears
once it has been recorded.

| metric | kind | labels | meaning |
|---|---|---|---|
"
    .to_owned();
    for (kind, metric) in ALL {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (labels, meaning) = (metric.labels.join(", "), metric.meaning.trim());
        writeln!(page, "| `{}` | {kind} | {labels} | {meaning} |", metric.name)
            .expect("writing to a string cannot fail");
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_of_metrics_is_what_the_code_says() {
        crate::cli::pages::assert_page("docs/metrics.md", &metrics_page());
    }

    #[test]
    fn names_are_unique_and_follow_prometheus() {
        let names: BTreeSet<&str> = ALL.iter().map(|(_, metric)| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for (kind, metric) in ALL {
            assert!(metric.name.starts_with("tidegate_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), matches!(kind, Kind::Counter), "{}", metric.name);
            assert!(!matches!(kind, Kind::Histogram) || metric.name.ends_with("_seconds"), "{}", metric.name);
        }
    }
}

//! The recorder behind [`super::metrics`], and the page that describes them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tidegate_protocols::METRICS as PROTOCOL_METRICS;

use super::metrics::ALL;
use super::status::record_status;
use crate::control::Status;

/// Upper bounds of the buckets of histograms in seconds: from a memory access to a cold read.
const BUCKETS_SECONDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0];
/// Upper bounds of the buckets of histograms of records.
const BUCKETS_RECORDS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];
/// The unit at the end of each histogram's name, and its buckets.
const HISTOGRAM_UNITS: [(&str, &[f64]); 2] = [("_seconds", &BUCKETS_SECONDS), ("_records", &BUCKETS_RECORDS)];

/// The values of all metrics, ready to be shown.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts recording for the whole process; every call answers with the same recorder.
    pub fn start() -> Self {
        static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
        Self(HANDLE.get_or_init(install).clone())
    }

    /// The text that Prometheus reads, with what is read off the status. Shares, targets and policies that are gone have
    /// no values: else the last ones would stay, and alarms with them.
    pub fn render(&self, status: &Status) -> String {
        record_status(status);
        self.0.run_upkeep();
        without_gone(&self.0.render(), &subjects(status))
    }
}

/// What metrics with this beginning tell of, by a label; and the values of that label that there are.
type Subjects<'s> = (&'static str, &'static str, BTreeSet<&'s str>);

fn subjects(status: &Status) -> [Subjects<'_>; 3] {
    let shares = status.shares.iter().map(|share| share.name.as_str()).collect();
    let targets = status.targets.iter().map(|target| target.name.as_str()).collect();
    let policies = status.policies.iter().map(|policy| policy.name.as_str()).collect();
    [
        ("tidegate_share_", "share=\"", shares),
        ("tidegate_target_", "target=\"", targets),
        ("tidegate_policy_", "policy=\"", policies),
    ]
}

/// The lines of a text for Prometheus, but those about what there is no more.
fn without_gone(text: &str, there: &[Subjects<'_>]) -> String {
    let is_gone = |line: &str| {
        there.iter().filter(|(prefix, ..)| line.starts_with(prefix)).any(|(_, label, names)| {
            let value = line.split_once(label).and_then(|(_, rest)| rest.split_once('"'));
            value.is_some_and(|(name, _)| !names.contains(name))
        })
    };
    text.split_inclusive('\n').filter(|line| !is_gone(line)).collect()
}

/// One metric, wherever it is declared.
struct Row {
    name: &'static str,
    kind: &'static str,
    labels: &'static [&'static str],
    meaning: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    let own = ALL.iter().map(|(kind, metric)| Row {
        name: metric.name,
        kind: kind.as_str(),
        labels: metric.labels,
        meaning: metric.meaning.trim(),
    });
    own.chain(PROTOCOL_METRICS.iter().map(|metric| Row {
        name: metric.name,
        kind: metric.kind,
        labels: metric.labels,
        meaning: metric.meaning,
    }))
}

fn install() -> PrometheusHandle {
    let builder = HISTOGRAM_UNITS.iter().fold(PrometheusBuilder::new(), |builder, (unit, buckets)| {
        let matcher = Matcher::Suffix((*unit).to_owned());
        builder.set_buckets_for_metric(matcher, buckets).expect("there are buckets")
    });
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("metrics are recorded elsewhere in this process; /metrics stays empty");
    }
    for row in rows() {
        match row.kind {
            "counter" => metrics::describe_counter!(row.name, row.meaning),
            "gauge" => metrics::describe_gauge!(row.name, row.meaning),
            _ => metrics::describe_histogram!(row.name, row.meaning),
        }
    }
    handle
}

/// What the page says before the list.
const INTRODUCTION: &str = "\
# Metrics

<!-- Generated from gateway/src/telemetry. Do not edit: `TIDEGATE_BLESS=1 make test` writes it anew. -->

A running gateway shows these under `/metrics`, on its admin socket and, when `gateway.metrics` is set,
on that address. Units are in the names. Counters start at zero with the process. A metric appears
once it has been recorded; `tidegate_share_*`, `tidegate_target_*` and `tidegate_policy_*` go with what they tell of.

| metric | kind | labels | meaning |
|---|---|---|---|
";

/// `docs/metrics.md`, made from the lists.
pub fn metrics_page() -> String {
    rows().fold(INTRODUCTION.to_owned(), |mut page, row| {
        let labels = row.labels.join(", ");
        writeln!(page, "| `{}` | {} | {labels} | {} |", row.name, row.kind, row.meaning)
            .expect("writing to a string cannot fail");
        page
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_is_gone_has_no_values() {
        let there: [Subjects<'_>; 1] = [("tidegate_share_", "share=\"", BTreeSet::from(["docs"]))];
        let kept = "# TYPE tidegate_share_files gauge\n\
                    tidegate_share_files{share=\"docs\"} 7\n\
                    tidegate_chunked_bytes_total{share=\"a source\"} 7\n";
        let gone = "tidegate_share_files{share=\"doc\"} 7\n\
                    tidegate_share_recovery_seconds{share=\"old\",stage=\"hot\"} 7\n";
        assert_eq!(without_gone(&format!("{kept}{gone}"), &there), kept);
    }

    #[test]
    fn the_page_of_metrics_is_what_the_code_says() {
        crate::cli::pages::assert_page("docs/metrics.md", &metrics_page());
    }

    #[test]
    fn names_are_unique_and_follow_prometheus() {
        let names: BTreeSet<&str> = rows().map(|row| row.name).collect();
        assert_eq!(names.len(), rows().count());
        for row in rows() {
            assert!(row.name.starts_with("tidegate_"), "{}", row.name);
            assert_eq!(row.name.ends_with("_total"), row.kind == "counter", "{}", row.name);
            let has_buckets = HISTOGRAM_UNITS.iter().any(|(unit, _)| row.name.ends_with(unit));
            assert!(row.kind != "histogram" || has_buckets, "{} has no unit with buckets", row.name);
        }
    }
}

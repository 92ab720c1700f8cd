//! The text of `/metrics` as metrics of OTLP: the same names, labels and values.
//!
//! The text is our own (Prometheus text format 0.0.4), and what it shows has been seen to there: that what is gone has no
//! values, for example. A line that is not understood is left out, and a test sees to it that there is none.
//!
//! After "Prometheus and OpenMetrics compatibility" of the OpenTelemetry specification: counters are monotonic sums from the start of
//! the process, histograms have explicit bounds, of which the last is infinite and not named.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::text;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// The metrics of a page. Times are in nanoseconds since 1970: when the process began to count, and now.
pub(super) fn metrics(page: &str, began: u64, now: u64) -> Vec<Metric> {
    let (mut metrics, mut meanings) = (Vec::new(), BTreeMap::new());
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            meanings.insert(name, meaning);
        }
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let mut samples = Vec::new();
        while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
            samples.extend(Sample::read(sample));
        }
        let data = match kind {
            "counter" => Data::Sum(Sum {
                data_points: numbers(&samples, began, now),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: histograms(name, &samples, began, now),
                aggregation_temporality: CUMULATIVE,
            }),
            _ => Data::Gauge(Gauge { data_points: numbers(&samples, 0, now) }),
        };
        metrics.push(Metric {
            name: name.to_owned(),
            description: unescaped(meanings.remove(name).unwrap_or_default()),
            unit: unit(name).to_owned(),
            data: Some(data),
            ..Metric::default()
        });
    }
    metrics
}

/// The unit at the end of a name, as UCUM writes it (the specification wants that).
fn unit(name: &str) -> &'static str {
    match name.strip_suffix("_total").unwrap_or(name).rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        _ => "",
    }
}

/// One line: `name{label="value",…} value`.
struct Sample<'p> {
    name: &'p str,
    labels: Vec<(&'p str, String)>,
    value: f64,
}

impl<'p> Sample<'p> {
    fn read(line: &'p str) -> Option<Self> {
        let name_end = line.find(['{', ' '])?;
        let (name, mut rest) = line.split_at(name_end);
        let mut labels = Vec::new();
        if let Some(mut inside) = rest.strip_prefix('{') {
            while !inside.starts_with('}') {
                let (label, value) = inside.split_once("=\"")?;
                let end = end_of_quoted(value)?;
                labels.push((label.trim_start_matches(','), unescaped(&value[..end])));
                inside = &value[end + 1..];
            }
            rest = &inside[1..];
        }
        let value = rest.trim().split(' ').next()?.parse().ok()?;
        Some(Self { name, labels, value })
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let labels = self.labels.iter().filter(|(label, _)| *label != "le");
        labels.map(|(label, value)| text(label, value)).collect()
    }
}

/// Where a quoted text ends, within what follows its opening mark.
fn end_of_quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            letter => letter,
        });
    }
    plain
}

fn numbers(samples: &[Sample<'_>], began: u64, now: u64) -> Vec<NumberDataPoint> {
    // A value that is no number says that there is none.
    let there = samples.iter().filter(|sample| !sample.value.is_nan());
    let point = |sample: &Sample<'_>| NumberDataPoint {
        attributes: sample.attributes(),
        start_time_unix_nano: began,
        time_unix_nano: now,
        value: Some(Value::AsDouble(sample.value)),
        ..NumberDataPoint::default()
    };
    there.map(point).collect()
}

/// Lines of one histogram stand together: its buckets by their bounds, each with what is in those before it, its sum, its
/// count.
fn histograms(name: &str, samples: &[Sample<'_>], began: u64, now: u64) -> Vec<HistogramDataPoint> {
    let (mut points, mut point, mut before) = (Vec::new(), HistogramDataPoint::default(), 0);
    for sample in samples {
        let what = sample.name.strip_prefix(name).unwrap_or_default();
        let count = sample.value as u64;
        match what {
            "_bucket" => {
                let bound = sample.labels.iter().find(|(label, _)| *label == "le").map(|(_, bound)| bound);
                let bound = bound.and_then(|bound| bound.parse::<f64>().ok()).unwrap_or(f64::INFINITY);
                if bound.is_finite() {
                    point.explicit_bounds.push(bound);
                }
                point.bucket_counts.push(count.saturating_sub(before));
                before = count;
            }
            "_sum" => point.sum = Some(sample.value),
            "_count" => {
                point.count = count;
                point.attributes = sample.attributes();
                (point.start_time_unix_nano, point.time_unix_nano) = (began, now);
                points.push(std::mem::take(&mut point));
                before = 0;
            }
            _ => {}
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# HELP a_bytes_total What \\\\ is\\nthere.
# TYPE a_bytes_total counter
a_bytes_total{share=\"x,\\\"y\\\"}=\\\\\",direction=\"up\"} 7
a_bytes_total{share=\"z\",direction=\"down\"} 1e3

# TYPE b_ratio gauge
b_ratio 0.5
b_ratio{of=\"gone\"} NaN

# TYPE c_seconds histogram
c_seconds_bucket{op=\"put\",le=\"0.1\"} 1
c_seconds_bucket{op=\"put\",le=\"1\"} 4
c_seconds_bucket{op=\"put\",le=\"+Inf\"} 5
c_seconds_sum{op=\"put\"} 3.5
c_seconds_count{op=\"put\"} 5
c_seconds_bucket{op=\"get\",le=\"0.1\"} 0
c_seconds_bucket{op=\"get\",le=\"1\"} 0
c_seconds_bucket{op=\"get\",le=\"+Inf\"} 2
c_seconds_sum{op=\"get\"} 9
c_seconds_count{op=\"get\"} 2
";

    #[test]
    fn counters_gauges_and_histograms_keep_their_names_labels_and_values() {
        let found = metrics(PAGE, 3, 8);
        let names: Vec<_> = found.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
        assert_eq!(names, [("a_bytes_total", "By"), ("b_ratio", "1"), ("c_seconds", "s")]);
        assert_eq!(found[0].description, "What \\ is\nthere.");
        let Some(Data::Sum(sum)) = &found[0].data else { panic!("a counter is a sum") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE);
        let [first, second] = &sum.data_points[..] else { panic!("two") };
        assert_eq!(first.attributes, [text("share", "x,\"y\"}=\\"), text("direction", "up")]);
        assert_eq!((first.value, first.start_time_unix_nano), (Some(Value::AsDouble(7.0)), 3));
        assert_eq!((second.value, second.time_unix_nano), (Some(Value::AsDouble(1_000.0)), 8));
        let Some(Data::Gauge(gauge)) = &found[1].data else { panic!("a gauge") };
        assert_eq!(gauge.data_points.len(), 1, "no number, no point");
        let Some(Data::Histogram(histogram)) = &found[2].data else { panic!("a histogram") };
        let [put, get] = &histogram.data_points[..] else { panic!("two") };
        assert_eq!((&put.explicit_bounds[..], &put.bucket_counts[..]), (&[0.1, 1.0][..], &[1, 3, 1][..]));
        assert_eq!((put.sum, put.count, &put.attributes[..]), (Some(3.5), 5, &[text("op", "put")][..]));
        assert_eq!((&get.bucket_counts[..], get.count, get.sum), (&[0, 0, 2][..], 2, Some(9.0)));
    }

    #[test]
    fn what_is_no_line_of_ours_is_left_out() {
        for line in ["", "a", "a{", "a{b=\"", "a{b=\"c\"", "a{b=\"c\"}", "a{b=\"c\\\"} 1", "a x", "a{} "] {
            assert!(Sample::read(line).is_none(), "{line:?}");
        }
    }
}

//! One look at `/metrics`: the text format of Prometheus, as far as our own gateway writes it.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::collections::BTreeMap;

/// A series: its metric, and its labels by name.
type Series = (String, BTreeMap<String, String>);

/// The values of all series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample(BTreeMap<Series, f64>);

impl Sample {
    /// Lines that are no series are passed over.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect())
    }

    /// What every series has grown by since an earlier look. One that is less now began anew meanwhile.
    pub(super) fn since(&self, before: &Self) -> Self {
        let grown = |(series, now): (&Series, &f64)| {
            let was = before.0.get(series).copied().unwrap_or_default();
            (series.clone(), if *now < was { *now } else { now - was })
        };
        Self(self.0.iter().map(grown).collect())
    }

    /// All series of a metric together.
    pub(super) fn sum(&self, metric: &str) -> f64 {
        self.sum_where(metric, &[])
    }

    /// Those of them that have these labels.
    pub(super) fn sum_where(&self, metric: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |series: &Series| {
            series.0 == metric
                && labels.iter().all(|(name, value)| series.1.get(*name).is_some_and(|has| has == value))
        };
        self.0.iter().filter(|(series, _)| fits(series)).map(|(_, value)| value).sum()
    }

    /// A metric by the values of one of its labels.
    pub(super) fn by_label(&self, metric: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for ((name, labels), value) in &self.0 {
            if name == metric
                && let Some(of) = labels.get(label)
            {
                *sums.entry(of.clone()).or_default() += value;
            }
        }
        sums
    }
}

fn series(line: &str) -> Option<(Series, f64)> {
    let (series, value) = line.trim_end().rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(((series.to_owned(), BTreeMap::new()), value));
    };
    Some(((name.to_owned(), labels_of(labels.strip_suffix('}')?)?), value))
}

/// `name="value",name="value"`, where values may hold `\\`, `\"` and `\n`.
fn labels_of(text: &str) -> Option<BTreeMap<String, String>> {
    let (mut labels, mut rest) = (BTreeMap::new(), text);
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"")?;
        let (mut value, mut characters) = (String::new(), after.char_indices());
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.to_owned(), value);
        rest = after.get(end + 1..)?.trim_start_matches(',');
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP calls How many.\n# TYPE calls counter\ncalls{procedure=\"read\",share=\"a,\\\"b\\\"\"} 7\n\
                        calls{procedure=\"write\",share=\"c\"} 2.5\nplain 3\nbroken{ 4\n";

    #[test]
    fn series_are_read_with_their_labels_and_added_up() {
        let sample = Sample::parse(TEXT);
        assert_eq!(sample.sum("calls"), 9.5);
        assert_eq!(sample.sum("plain"), 3.0);
        assert_eq!(sample.sum("broken"), 0.0);
        assert_eq!(sample.sum_where("calls", &[("share", "a,\"b\"")]), 7.0);
        assert_eq!(sample.by_label("calls", "procedure")["write"], 2.5);
    }

    #[test]
    fn a_counter_that_began_anew_has_grown_by_what_it_is() {
        let (before, now) = (Sample::parse("a 5\nb 5\n"), Sample::parse("a 9\nb 2\nc 1\n"));
        let grown = now.since(&before);
        assert_eq!([grown.sum("a"), grown.sum("b"), grown.sum("c")], [4.0, 2.0, 1.0]);
    }
}

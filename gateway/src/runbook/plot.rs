//! Past runs as a picture: an SVG that stands in a page by itself, in the page's own colours.

use std::fmt::Write;

use super::report::{Objective, Report};

/// The size of the picture, and what is left around the plot.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const BELOW: f64 = 28.0;
const ABOVE: f64 = 16.0;
/// The most runs that are drawn, the newest ones.
const RUNS_MAX: usize = 60;

/// The measured values of runs, oldest first, with the objective of the newest as a line.
pub(super) fn plot(title: &str, runs: &[&Report], value: impl Fn(&Report) -> Objective) -> String {
    let runs = &runs[runs.len().saturating_sub(RUNS_MAX)..];
    let values: Vec<Objective> = runs.iter().map(|run| value(run)).collect();
    let objective = values.last().and_then(|value| value.objective_ms);
    let measured = values.iter().filter_map(|value| value.measured_ms);
    let greatest = measured.chain(objective).max().unwrap_or(0).max(1) as f64 * 1.15;
    let height = |value: u64| HEIGHT - BELOW - (value as f64 / greatest) * (HEIGHT - BELOW - ABOVE);
    let room = (WIDTH - LEFT) / runs.len().max(1) as f64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
         <line class=\"axis\" x1=\"{LEFT}\" y1=\"{0}\" x2=\"{WIDTH}\" y2=\"{0}\"/>",
        HEIGHT - BELOW
    );
    let infallible = "writing to a string cannot fail";
    for part in [0.0, 0.5, 1.0] {
        let value = (greatest / 1.15 * part) as u64;
        let (text, y) = (shown(value), height(value) + 4.0);
        write!(svg, "<text x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>", LEFT - 6.0)
            .expect(infallible);
    }
    for (at, (run, value)) in runs.iter().zip(&values).enumerate() {
        let x = LEFT + room * (at as f64 + 0.5);
        let kind = match (run.mode.is_drill(), value.is_kept()) {
            (_, Some(false)) => "missed",
            (true, _) => "drill",
            (false, _) => "real",
        };
        let day = run.began.strftime("%Y-%m-%d %H:%M");
        let mode = run.mode.as_str();
        if let Some(measured) = value.measured_ms {
            let (y, text) = (height(measured), shown(measured));
            write!(
                svg,
                "<line class=\"stem\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{y:.1}\"/>\
                 <circle class=\"{kind}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\">\
                 <title>{day} {mode}: {text}</title></circle>",
                HEIGHT - BELOW
            )
            .expect(infallible);
        }
        if at == 0 || at + 1 == runs.len() {
            let day = run.began.strftime("%Y-%m-%d");
            write!(svg, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{day}</text>", HEIGHT - 8.0)
                .expect(infallible);
        }
    }
    if let Some(objective) = objective {
        let y = height(objective);
        write!(
            svg,
            "<line class=\"objective\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{WIDTH}\" y2=\"{y:.1}\"/>\
             <text class=\"objective\" x=\"{WIDTH}\" y=\"{:.1}\" text-anchor=\"end\">objective {}</text>",
            y - 5.0,
            shown(objective)
        )
        .expect(infallible);
    }
    svg.push_str("</svg>");
    svg
}

/// A duration, for people.
pub fn shown(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{:.1} s", milliseconds as f64 / 1e3),
        60_000..3_600_000 => format!("{} min {} s", milliseconds / 60_000, milliseconds % 60_000 / 1_000),
        3_600_000..172_800_000 => {
            format!("{} h {} min", milliseconds / 3_600_000, milliseconds % 3_600_000 / 60_000)
        }
        _ => format!("{} days", milliseconds / 86_400_000),
    }
}

//! What lies in `packaging/monitoring` is about metrics that the gateway shows, and its rules fire for their causes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_integration::skip::skip;
use tidegate_integration::tools::tool;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/monitoring")
}

/// The words of a text that are metrics of ours.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("tidegate_")).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_name_only_metrics_that_there_are() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("the page of metrics");
    let known = metrics_in(&page);
    assert!(known.len() > 50, "the page of metrics has another form than expected: {} found", known.len());
    for file in ["alerts.yml", "dashboard.json"] {
        let text = std::fs::read_to_string(folder().join(file)).expect("readable");
        let used = metrics_in(&text);
        assert!(used.len() > 10, "{file} names {} metrics", used.len());
        for metric in used {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| metric.strip_suffix(suffix));
            let is_known = known.contains(&metric) || base.is_some_and(|base| known.contains(base));
            assert!(is_known, "{file} names {metric}, which the gateway does not show");
        }
    }
}

/// The sources of the program below a folder, but for the list of metrics.
fn sources(folder: &Path, list: &Path) -> String {
    let entries = std::fs::read_dir(folder).expect("sources").map(|entry| entry.expect("an entry").path());
    let text = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => sources(&path, list),
        Some(extension) if extension == "rs" && path != list => std::fs::read_to_string(&path).expect("text"),
        _ => String::new(),
    };
    entries.map(text).collect()
}

#[test]
fn every_metric_that_is_declared_is_recorded_somewhere() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let list = top.join("gateway/src/telemetry/metrics.rs");
    let declared = std::fs::read_to_string(&list).expect("the list of metrics");
    let sources = sources(&top.join("gateway/src"), &list) + &sources(&top.join("replicator/src"), &list);
    let words: BTreeSet<&str> =
        sources.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_')).collect();
    let mut count = 0;
    for line in declared.lines().map(str::trim) {
        let Some((constant, rest)) = line.split_once(" = \"tidegate_") else { continue };
        let constant = constant.split(' ').next_back().expect("a name");
        let name = format!("tidegate_{}", rest.split('"').next().expect("a name"));
        assert!(words.contains(constant) || words.contains(name.as_str()), "nothing records {name}");
        count += 1;
    }
    assert!(count > 50, "the list of metrics has another form than expected: {count} found");
}

#[test]
fn the_dashboard_is_json_with_a_query_in_every_panel() {
    let text = std::fs::read_to_string(folder().join("dashboard.json")).expect("readable");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let graphs = panels.iter().filter(|panel| panel["type"] != "row");
    let mut count = 0;
    for panel in graphs {
        let queries = panel["targets"].as_array().expect("queries");
        assert!(
            !queries.is_empty() && queries.iter().all(|query| query["expr"].is_string()),
            "{}",
            panel["title"]
        );
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn every_rule_fires_for_its_cause_and_for_nothing_else() {
    let Some(promtool) = tool("promtool") else {
        return skip("the rules for Prometheus", "promtool is not there (Debian: prometheus)");
    };
    let mut promtool = Command::new(promtool);
    let ended = promtool.args(["test", "rules", "alerts_test.yml"]).current_dir(folder()).output();
    let ended = ended.expect("promtool can be run");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
}

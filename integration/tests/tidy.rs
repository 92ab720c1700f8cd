//! Goal: the rules that keep this project readable hold in every file, not only where somebody looked.
//!
//! Method: reads the sources as text. A rule that is broken fails with each place and the rule; limits
//! on length are ratchets, with the few exceptions named here.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_gateway::crash;

/// Longest source file, in lines.
const FILE_LINES_MAX: usize = 600;
/// Longest function, in lines from its first to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Functions that are longer for a reason, as (file, function, lines): tables and long dispatches.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Which member may depend on which other: one direction, and nothing on what serves it.
const EDGES: &[(&str, &[&str])] = &[
    ("chunker", &[]),
    ("protocols", &[]),
    ("replicator", &["chunker"]),
    ("gateway", &["chunker", "protocols", "replicator"]),
    ("benches", &["chunker", "gateway", "protocols", "replicator"]),
    ("integration", &["chunker", "gateway", "protocols", "replicator"]),
];

/// Where the reader lies that is written from the format's page.
const READER: &str = "integration/src/reader";

/// What is never written in Rust here; in pieces, so that this file passes.
const FORBIDDEN_IN_RUST: &[&str] =
    &[concat!("to", "do!("), concat!("unimple", "mented!("), concat!("#[ig", "nore"), concat!("db", "g!(")];

/// Beginnings of paths that exist on one machine only; in pieces, so that this file passes.
const FORBIDDEN_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/")];

/// Names of what holds no sources. (`.git` is a file where the checkout is one of several.)
const NOT_SOURCES: &[&str] = &[".git", "target", "corpus", "artifacts"];

fn top() -> PathBuf {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().expect("the workspace is around its member").to_path_buf()
}

/// All text files below `folder`, as path and content.
fn texts(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().expect("entries have names").to_string_lossy();
        if NOT_SOURCES.contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            texts(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path, text));
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let (top, mut found) = (top(), Vec::new());
    texts(&top, &mut found);
    let below = |path: &Path| path.strip_prefix(&top).expect("below the top").display().to_string();
    found.into_iter().map(|(path, text)| (below(&path), text)).collect()
}

fn rust_sources() -> Vec<(String, String)> {
    let is_rust = |name: &str| Path::new(name).extension().is_some_and(|found| found == "rs");
    sources().into_iter().filter(|(name, _)| is_rust(name)).collect()
}

/// Fails with every place that breaks `rule`.
fn expect_none(rule: &str, broken: &[String]) {
    let mut message = String::new();
    for place in broken {
        write!(message, "\n  {place}").expect("strings take everything");
    }
    assert!(broken.is_empty(), "{rule}:{message}");
}

/// The members that the manifest of `member` names, in whatever section.
fn dependencies(member: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(top().join(member).join("Cargo.toml")).expect("a manifest");
    let names = manifest.lines().filter_map(|line| line.strip_prefix("tidegate-"));
    let names = names.filter_map(|line| line.split(['.', ' ', '=']).next());
    names.map(str::to_owned).collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let mut broken = Vec::new();
    for (member, allowed) in EDGES {
        for found in dependencies(member) {
            if !allowed.contains(&found.as_str()) {
                broken.push(format!("{member} -> {found}"));
            }
        }
    }
    expect_none("no such edge between crates", &broken);
}

#[test]
fn every_member_of_the_workspace_has_its_edges_listed() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).expect("a manifest");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = ")).expect("members");
    let listed: BTreeSet<_> = EDGES.iter().map(|(member, _)| *member).collect();
    let members: BTreeSet<_> =
        members.split('"').filter(|part| part.chars().any(char::is_alphabetic)).collect();
    assert_eq!(members, listed);
}

/// The features of every crate that the workspace is built with, along these edges of its dependencies.
fn features(edges: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let arguments = ["tree", "--workspace", "--offline", "--locked", "--prefix", "none", "-f", "{p} {f}"];
    let output = cargo.current_dir(top()).args(arguments).args(["-e", edges]).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).expect("text");
    lines
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn a_build_and_a_test_of_the_workspace_have_the_same_features() {
    let built = features("normal,build");
    // Name and version.
    let crate_of = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    let crates: BTreeSet<_> = built.iter().map(|line| crate_of(line)).collect();
    let tested = features("normal,build,dev");
    let twice: Vec<String> =
        tested.difference(&built).filter(|line| crates.contains(&crate_of(line))).cloned().collect();
    expect_none("a test asks for more than a build, so this is compiled twice", &twice);
}

#[test]
fn the_independent_reader_shares_no_code_with_the_program() {
    let mut broken = Vec::new();
    for (name, text) in rust_sources().iter().filter(|(name, _)| name.starts_with(READER)) {
        let uses = text.lines().filter(|line| line.contains("use ") || line.contains("::"));
        for line in uses.filter(|line| line.contains("tidegate_") || line.contains("crate::")) {
            broken.push(format!("{name}: {}", line.trim()));
        }
    }
    assert!(top().join(READER).is_dir(), "the reader has moved; this test looks for it at {READER}");
    expect_none("the reader is written from docs/format.md alone", &broken);
}

#[test]
fn every_source_file_says_at_its_head_what_it_is() {
    let without = rust_sources().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    expect_none("a file opens with `//!`", &without.map(|(name, _)| name).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    let long = rust_sources().into_iter().filter_map(|(name, text)| {
        let lines = text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{name}: {lines} lines"))
    });
    expect_none(&format!("at most {FILE_LINES_MAX} lines a file"), &long.collect::<Vec<_>>());
}

/// The functions of a formatted file with more lines than allowed, as (name, lines). A function ends at
/// the first closing brace that stands as far right as it does; a declaration has no body.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut long = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            let declared = |rest: &str| rest.starts_with(')') && rest.ends_with(';');
            line.strip_prefix(indent).is_some_and(|rest| rest == "}" || declared(rest))
        };
        let one_line = line.ends_with('}') || line.ends_with(';');
        if one_line {
            continue;
        }
        let length = lines[at..].iter().position(ends).map_or(1, |length| length + 1);
        if length > FUNCTION_LINES_MAX {
            long.push((name.to_owned(), length));
        }
    }
    long
}

fn function_name(line: &str) -> Option<&str> {
    let words = line.trim_start();
    let (before, after) = words.split_once("fn ")?;
    let qualifiers = ["pub", "pub(super)", "pub(crate)", "const", "async", "unsafe", "extern", "\"C\""];
    if !before.split_whitespace().all(|word| qualifiers.contains(&word)) {
        return None;
    }
    after.split(['(', '<']).next().filter(|name| !name.is_empty())
}

#[test]
fn functions_are_short() {
    let mut broken = Vec::new();
    for (file, text) in rust_sources() {
        for (name, lines) in long_functions(&text) {
            let allowed = LONG_FUNCTIONS
                .iter()
                .any(|&(place, function, most)| place == file && function == name && lines <= most);
            if !allowed {
                broken.push(format!("{file}: {name} has {lines} lines"));
            }
        }
    }
    expect_none(&format!("at most {FUNCTION_LINES_MAX} lines a function"), &broken);
}

#[test]
fn the_measure_of_functions_sees_their_ends() {
    let body = "    let x = 1;\n".repeat(FUNCTION_LINES_MAX);
    let text = format!(
        "pub fn short() {{\n    let x = 1;\n}}\n\npub(super) async fn long(\n    a: u8,\n) {{\n{body}}}\n"
    );
    assert_eq!(long_functions(&text), [("long".to_owned(), FUNCTION_LINES_MAX + 4)]);
}

#[test]
fn nothing_is_left_for_later() {
    let mut broken = Vec::new();
    for (name, text) in rust_sources() {
        for word in FORBIDDEN_IN_RUST.iter().filter(|word| text.contains(**word)) {
            broken.push(format!("{name}: {word}"));
        }
    }
    expect_none("finished code only", &broken);
}

#[test]
fn no_file_knows_the_machine_that_it_was_written_on() {
    let mut broken = Vec::new();
    for (name, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if FORBIDDEN_PATHS.iter().any(|path| line.contains(path)) {
                broken.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    expect_none("no absolute path of somebody's machine", &broken);
}

#[test]
fn chance_has_one_source_and_the_way_around_it_is_in_no_program() {
    let mut broken = Vec::new();
    let system = concat!("getran", "dom::");
    for (name, text) in rust_sources().iter().filter(|(name, _)| name.starts_with("replicator/src/")) {
        if text.contains(system) && name != "replicator/src/chance.rs" {
            broken.push(format!("{name} asks the system for chance by itself"));
        }
        if name.starts_with("replicator/src/simulation/") {
            continue;
        }
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let names_it = line.contains("simulation::") || line.ends_with("mod simulation;");
            let is_code = !line.starts_with("//");
            if names_it && is_code && (at == 0 || lines[at - 1] != "#[cfg(test)]") {
                broken.push(format!("{name}:{}: not right after `#[cfg(test)]`: {line}", at + 1));
            }
        }
    }
    // Cargo sets it for the tests of a crate alone, unless somebody tells the compiler otherwise.
    let settings = [concat!("--cfg", " test"), concat!("--cfg", "=test"), concat!("\"--cfg", "\", \"test\"")];
    for (name, text) in sources() {
        if settings.iter().any(|setting| text.contains(setting)) {
            broken.push(format!("{name} sets the tests' own switch for other builds"));
        }
    }
    expect_none("ids of packs come from the system's chance in every program", &broken);
}

#[test]
fn crash_points_are_listed_exactly_when_they_are_used() {
    let marker = concat!("crash::", "point(\"");
    let mut used = BTreeSet::new();
    for (name, text) in rust_sources() {
        if name.starts_with("gateway/src/") {
            let after = text.split(marker).skip(1);
            used.extend(after.filter_map(|rest| rest.split('"').next()).map(str::to_owned));
        }
    }
    let listed: BTreeSet<_> = crash::POINTS.iter().map(|&point| point.to_owned()).collect();
    assert_eq!(used, listed, "gateway/src/crash.rs lists what the sources use");
}

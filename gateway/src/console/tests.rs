//! Claims about the console: what is served, with which headers, and that its languages agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use axum::body::{Body, to_bytes};
use axum::http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::*;

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", "frame-ancestors 'none'"),
    ("content-security-policy", "script-src 'self';"),
    ("content-security-policy", "default-src 'none'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("console")
}

/// Every file of the console, by the name under which it is served.
fn files() -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder()).expect("below").display().to_string();
                found.insert(name, std::fs::read(path).expect("readable"));
            }
        }
    }
    found
}

async fn call(router: Router, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let response = TowerToHyperService::new(router).call(request).await.expect("no route fails");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("short");
    (parts.status, parts.headers, body.to_vec())
}

fn get_of(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn every_file_is_served_with_its_type_and_the_headers() {
    for (name, bytes) in files() {
        let (status, headers, body) = call(routes(), get_of(&format!("/console/{name}"))).await;
        assert_eq!(status, StatusCode::OK, "{name} is not in console/assets.rs");
        assert_eq!(body, bytes, "{name}");
        let expected = match name.rsplit_once('.').expect("an ending").1 {
            "html" => "text/html; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "json" => "application/json",
            "svg" => "image/svg+xml",
            other => panic!("{name}: nothing is known of {other}"),
        };
        assert_eq!(headers["content-type"], expected, "{name}");
        for (header, part) in HEADERS {
            let found = headers[*header].to_str().expect("text");
            assert!(found.contains(part), "{name}: {header}: {found}");
            assert!(!found.contains("unsafe"), "{name}: {header}: {found}");
        }
    }
    assert_eq!(assets::ASSETS.len(), files().len(), "an asset is named whose file is gone");
}

#[tokio::test]
async fn the_page_is_at_its_place_and_nothing_else_is_served() {
    let (status, headers, body) = call(routes(), get_of("/console/")).await;
    assert_eq!(
        (status, headers["content-type"].as_bytes()),
        (StatusCode::OK, &b"text/html; charset=utf-8"[..])
    );
    assert_eq!(body, files()["index.html"]);
    for path in ["/", "/console"] {
        let (status, headers, _) = call(routes(), get_of(path)).await;
        assert!(status.is_redirection() && headers["location"] == "/console/", "{path}: {status}");
    }
    for path in
        ["/console/nothing.js", "/console/../Cargo.toml", "/console/js/", "/console/%2e%2e/src/lib.rs"]
    {
        assert_eq!(call(routes(), get_of(path)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn what_a_browser_has_is_not_sent_again() {
    let (_, headers, _) = call(routes(), get_of("/console/")).await;
    let tag = headers["etag"].clone();
    let again =
        Request::get("/console/").header("if-none-match", tag).body(Body::empty()).expect("a request");
    let (status, headers, body) = call(routes(), again).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert!(headers.contains_key("content-security-policy"));
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let guarded = || {
        let api = Router::new().route("/change", get(async || "seen").post(async || "changed"));
        api.layer(axum::middleware::from_fn(guard))
    };
    let post = |origin: Option<&str>| {
        let request = Request::post("/change").header("host", "127.0.0.1:8080");
        let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
        request.body(Body::empty()).expect("a request")
    };
    for origin in
        ["http://evil.example", "null", "http://127.0.0.1:8081", "http://127.0.0.1:8080.evil.example", ""]
    {
        assert_eq!(call(guarded(), post(Some(origin))).await.0, StatusCode::FORBIDDEN, "{origin}");
    }
    for origin in [None, Some("http://127.0.0.1:8080")] {
        assert_eq!(call(guarded(), post(origin)).await.0, StatusCode::OK, "{origin:?}");
    }
    let (_, headers, _) = call(guarded(), get_of("/change")).await;
    assert_eq!(
        (headers["cache-control"].as_bytes(), headers["x-content-type-options"].as_bytes()),
        (&b"no-store"[..], &b"nosniff"[..])
    );
}

fn words(language: &str) -> BTreeMap<String, String> {
    serde_json::from_slice(&files()[&format!("lang/{language}.json")]).expect("a dictionary")
}

/// What stands between braces in a text.
fn places(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect()
}

#[test]
fn the_dictionaries_have_the_same_keys_and_places() {
    let (english, chinese) = (words("en"), words("zh"));
    let keys = |words: &BTreeMap<String, String>| words.keys().cloned().collect::<BTreeSet<_>>();
    let differ: Vec<_> = keys(&english).symmetric_difference(&keys(&chinese)).cloned().collect();
    assert!(differ.is_empty(), "only one language has {differ:?}");
    for (key, text) in &english {
        assert!(!text.is_empty() && !chinese[key].is_empty(), "{key} is empty");
        assert_eq!(places(text), places(&chinese[key]), "{key}");
    }
}

/// What stands in a script between these, up to `end`.
fn quoted<'s>(script: &'s str, begin: &'static str, end: char) -> impl Iterator<Item = &'s str> {
    script.split(begin).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// Words of a dictionary have names with dots, which begin as others there do.
#[test]
fn every_word_that_a_script_says_is_in_the_dictionaries_and_every_one_there_is_said() {
    let english = words("en");
    let first = |key: &str| key.split_once('.').map(|(first, _)| first.to_owned());
    let spaces: BTreeSet<String> = english.keys().filter_map(|key| first(key)).collect();
    let is_key = |text: &str| {
        let plain = text.chars().all(|letter| letter.is_ascii_lowercase() || ".-_".contains(letter));
        plain && first(text).is_some_and(|first| spaces.contains(&first))
    };
    let (mut said, mut begun) = (BTreeSet::new(), BTreeSet::new());
    for (name, bytes) in files().into_iter().filter(|(name, _)| name.ends_with(".js")) {
        let script = std::str::from_utf8(&bytes).expect("text");
        let called = quoted(script, " t(\"", '"').chain(quoted(script, "(t(\"", '"'));
        let counted = quoted(script, "count(\"", '"').map(|what| format!("count.{what}.other"));
        let named: Vec<String> = script.split('"').filter(|text| is_key(text)).map(str::to_owned).collect();
        for key in called.map(str::to_owned).chain(counted).chain(named) {
            assert!(english.contains_key(&key), "{name} says {key:?}, which no dictionary has");
            said.insert(key);
        }
        begun.extend(quoted(script, "t(`", '$').filter(|text| text.ends_with('.')).map(str::to_owned));
    }
    let is_said =
        |key: &&String| said.contains(*key) || begun.iter().any(|begun| key.starts_with(begun.as_str()));
    let idle: Vec<_> = english.keys().filter(|key| !is_said(key)).collect();
    assert!(idle.is_empty(), "nobody says {idle:?}");
}

#[test]
fn every_kind_of_alarm_and_every_state_has_words() {
    let english = words("en");
    let alarms = crate::control::AlarmCode::ALL.iter().map(|code| format!("alarm.{code}"));
    let jobs = ["running", "cancelling", "succeeded", "failed", "cancelled"]
        .map(|state| format!("jobstate.{state}"));
    let rules = crate::policy::Reason::ALL.iter().map(|rule| format!("rule.{}", rule.as_str()));
    let missing: Vec<_> = alarms.chain(jobs).chain(rules).filter(|key| !english.contains_key(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn no_script_makes_documents_of_text() {
    let forbidden = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "http://",
        "https://",
    ];
    for (name, bytes) in files().into_iter().filter(|(name, _)| !name.ends_with(".json")) {
        let text = String::from_utf8(bytes).expect("text").replace("http://www.w3.org/2000/svg", "");
        for word in forbidden {
            assert!(!text.contains(word), "{name} has {word}");
        }
        assert!(!text.contains("style=\"") && !text.contains("<script>"), "{name} has inline code");
    }
}

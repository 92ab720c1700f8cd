//! Claims about the API on the network: TLS, tokens, limits, what is recorded, and what a stranger can do.

use std::net::SocketAddr;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::admin::access::Refusal;
use crate::admin::listener::Peer;
use crate::audit::{Event, Record, verify};
use crate::settings::TokenHash;

const AUTHORITY: &[u8] = include_bytes!("../../../../protocols/tests/s3/certificates/authority.pem");
/// The token of a role is its name after this.
const TOKEN: &str = "tidegate-token-of-";

/// A gateway whose API is on the network, with a token of each role, and one of an admin of `docs` alone.
pub(super) struct OnNetwork {
    pub(super) served: Served,
    pub(super) address: SocketAddr,
}

/// The folder with the certificates of the tests.
pub(super) fn certificates() -> PathBuf {
    let workspace = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    workspace.join("protocols/tests/s3/certificates")
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    head: String,
    pub(super) body: Value,
}

impl Answered {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

fn token(name: &str, role: &str, more: &str) -> String {
    let hash = TokenHash::of(format!("{TOKEN}{name}").as_bytes());
    format!("[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nhash = \"{hash}\"\n{more}\n")
}

impl OnNetwork {
    pub(super) async fn start() -> Self {
        Self::start_with("").await
    }

    pub(super) async fn start_with(more: &str) -> Self {
        let folder = certificates();
        let folder = folder.display();
        let api = format!(
            "[api]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"{folder}/localhost.pem\"\nprivate_key = {{ command = [\"/bin/cat\", \"{folder}/localhost.key\"] }}\n{more}\n"
        );
        let roles = ["viewer", "operator", "admin", "auditor"].map(|role| token(role, role, ""));
        let docs = token("docs", "admin", "shares = [\"docs\"]");
        let old = token("old", "admin", "expires = \"2020-01-01T00:00:00Z\"");
        let served = Served::start_with(&format!("{api}{}{docs}{old}", roles.join(""))).await;
        let listener = served.admin.bind_tls(([127, 0, 0, 1], 0).into()).await.expect("a port");
        let address = listener.address().expect("bound");
        tokio::spawn({
            let (admin, stop) = (served.admin.clone(), served.stop.clone());
            async move { admin.serve_tls(listener, stop).await }
        });
        Self { served, address }
    }

    async fn connect(&self) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY).expect("PEM")).expect("a certificate");
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// One call with these lines of a head.
    pub(super) async fn call(&self, method: &str, path: &str, lines: &[&str], body: &str) -> Answered {
        let mut stream = self.connect().await.expect("TLS");
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n{lines}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        // Whoever is refused before their body is read may see the connection end.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()));
        Answered { status, head: head.to_owned(), body }
    }

    /// One call with a token.
    pub(super) async fn with(&self, token: &str, method: &str, path: &str, body: &str) -> Answered {
        self.call(method, path, &[&bearer(token)], body).await
    }

    /// What the audit log has, oldest first.
    pub(super) fn records(&self) -> Vec<Record> {
        let page = self.served.admin.audit.page(None, 1_000).expect("readable");
        page.records.into_iter().rev().map(|seen| seen.record).collect()
    }
}

/// The line of the head that shows a token.
pub(super) fn bearer(name: &str) -> String {
    format!("authorization: Bearer {TOKEN}{name}")
}

/// The token itself.
pub(super) fn token_of(name: &str) -> String {
    format!("{TOKEN}{name}")
}

#[tokio::test]
async fn who_shows_no_valid_token_learns_nothing() {
    let network = OnNetwork::start_with("failures_per_minute = 1000").await;
    for path in ["/api/v1/status", "/api/v1/audit", "/api/v1/metrics", "/api/v1/openapi.json"] {
        for line in [
            "x: y",
            &bearer("old"),
            &bearer("nobody"),
            "authorization: Basic YTpi",
            "cookie: __Host-tidegate=a",
        ] {
            let answer = network.call("GET", path, &[line], "").await;
            assert_eq!(answer.status, 401, "{path} {line}: {answer:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_eq!(answer.body["kind"], "denied");
        }
    }
    assert_eq!(network.call("GET", "/healthz", &[], "").await.status, 200);
    for path in ["/metrics", "/readyz"] {
        assert_eq!(network.call("GET", path, &[], "").await.status, 404, "{path}");
    }
    assert_eq!(network.with("viewer", "GET", "/api/v1/status", "").await.status, 200);
}

#[tokio::test]
async fn without_tls_nothing_is_served() {
    let network = OnNetwork::start().await;
    let mut stream = tokio::net::TcpStream::connect(network.address).await.expect("a connection");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(network.with("viewer", "GET", "/api/v1/status", "").await.status, 200);
}

#[tokio::test]
async fn guesses_are_throttled_and_nobody_who_has_a_token_with_them() {
    let network = OnNetwork::start_with("failures_per_minute = 3").await;
    for _ in 0..3 {
        assert_eq!(network.with("guess", "GET", "/api/v1/status", "").await.status, 401);
    }
    let answer = network.with("guess", "GET", "/api/v1/status", "").await;
    assert_eq!(answer.status, 429);
    let again: u64 = answer.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert!((1..=20).contains(&again), "{again}");
    assert_eq!(network.with("viewer", "GET", "/api/v1/status", "").await.status, 200, "the same address");
    let login = json!({ "token": token_of("viewer") }).to_string();
    assert_eq!(network.call("POST", "/api/v1/session", &[], &login).await.status, 200);
    let denied = network.records().into_iter().filter(|record| record.event == Event::Denied).count();
    assert_eq!(denied, 4, "three guesses, and the first of those that were too many");
}

#[tokio::test]
async fn a_token_calls_so_often_and_no_more() {
    let network = OnNetwork::start_with("calls_per_minute = 10").await;
    // However slowly this goes: it goes faster than ten a minute.
    let mut made = 0;
    while network.with("viewer", "GET", "/api/v1/shares", "").await.status == 200 {
        made += 1;
        assert!(made < 100, "nobody stops it");
    }
    assert!(made >= 10, "{made}");
    assert_eq!(network.with("operator", "GET", "/api/v1/shares", "").await.status, 200, "another token");
}

#[tokio::test]
async fn every_change_is_recorded_before_and_after_and_every_refusal() {
    let network = OnNetwork::start().await;
    network.with("viewer", "GET", "/api/v1/status", "").await;
    network.with("viewer", "POST", "/api/v1/shares/docs/commit", "").await;
    let body = json!({ "name": "a", "tags": { "password": "hunter2" } }).to_string();
    assert_eq!(network.with("operator", "POST", "/api/v1/shares/docs/snapshots", &body).await.status, 202);
    network.served.call("POST", "/api/v1/shares/docs/commit", "").await;
    network.call("GET", "/api/v1/status", &[], "").await;
    let records = network.records();
    let told: Vec<_> = records
        .iter()
        .map(|record| {
            let entry = &record.entry;
            (record.event, entry.who.as_str(), entry.call.as_str(), entry.status)
        })
        .collect();
    let (commit, snapshots) = ("POST /shares/{share}/commit", "POST /shares/{share}/snapshots");
    assert_eq!(
        told[1..],
        [
            (Event::Denied, "token:viewer", commit, None),
            (Event::Call, "token:operator", snapshots, None),
            (Event::Answered, "token:operator", snapshots, Some(202)),
            (Event::Call, "socket", commit, None),
            (Event::Answered, "socket", commit, Some(202)),
            (Event::Denied, "", "GET /status", None),
        ]
    );
    assert_eq!(records[2].entry.subject, ["docs"]);
    assert_eq!(
        records[2].entry.parameters,
        Some(json!({"name": "a", "tags": {"password": "(not recorded)"}}))
    );
    assert_eq!(records[3].entry.of, Some(records[2].sequence));
    let folder = network.served.folder.path().join("audit");
    for entry in std::fs::read_dir(&folder).expect("a folder") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        assert!(!text.contains("hunter2") && !text.contains(TOKEN), "{text}");
    }
    assert!(verify(&folder, None).expect("readable").problems.is_empty());
}

#[tokio::test]
async fn the_audit_log_is_shown_to_auditors_page_by_page() {
    let network = OnNetwork::start().await;
    for _ in 0..3 {
        network.with("operator", "POST", "/api/v1/shares/docs/commit", "").await;
    }
    let page = network.with("auditor", "GET", "/api/v1/audit?limit=2", "").await.body;
    assert_eq!(page["records"].as_array().map(Vec::len), Some(2));
    assert_eq!((&page["records"][0]["sequence"], &page["before"]), (&json!(7), &json!(6)));
    let digest = page["records"][1]["digest"].as_str().expect("a digest");
    assert_eq!(page["records"][0]["previous"], json!(digest));
    let page = network.with("auditor", "GET", "/api/v1/audit?before=2", "").await.body;
    assert_eq!((&page["records"][0]["event"], page.get("before")), (&json!("opened"), None));
    assert_eq!(network.with("auditor", "GET", "/api/v1/audit?limit=no", "").await.status, 400);
}

#[tokio::test]
async fn a_token_of_a_share_sees_and_changes_that_share_alone() {
    let network = OnNetwork::start().await;
    let served = &network.served;
    served.call("POST", "/api/v1/shares", r#"{"name":"other"}"#).await;
    let names = |shares: &Value| -> Vec<String> {
        let shares = shares.as_array().expect("a list").iter();
        shares.map(|share| share["name"].as_str().expect("a name").to_owned()).collect()
    };
    let status = network.with("docs", "GET", "/api/v1/status", "").await.body;
    assert_eq!(names(&status["shares"]), ["docs"]);
    assert!(!status.to_string().contains("other"), "{status}");
    assert_eq!(names(&network.with("viewer", "GET", "/api/v1/status", "").await.body["shares"]).len(), 2);
    for (method, path, body, expected) in [
        ("POST", "/api/v1/shares/docs/commit", "", 202),
        ("POST", "/api/v1/shares/other/commit", "", 403),
        ("GET", "/api/v1/shares/other", "", 403),
        ("GET", "/api/v1/shares/nothing", "", 403),
        ("DELETE", "/api/v1/shares/other", "", 403),
        ("POST", "/api/v1/shares", r#"{"name":"third"}"#, 403),
        ("POST", "/api/v1/tokens", "", 403),
        ("GET", "/api/v1/audit", "", 403),
    ] {
        let answer = network.with("docs", method, path, body).await;
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
    }
    let of = |share: &str| format!("/api/v1/shares/{share}/commit");
    let (_, mine) = served.call("POST", &of("docs"), "").await;
    let (_, others) = served.call("POST", &of("other"), "").await;
    for (job, expected) in [(mine, 200), (others, 403)] {
        let path = format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"));
        assert_eq!(network.with("docs", "GET", &path, "").await.status, expected, "{job}");
    }
    let jobs = network.with("docs", "GET", "/api/v1/jobs", "").await.body;
    let jobs = jobs.as_array().expect("a list");
    assert!(!jobs.is_empty() && jobs.iter().all(|job| job["share"] == "docs"), "{jobs:?}");
    let (_, lifecycle) = served.call("POST", "/api/v1/buckets/docs/lifecycle", "{}").await;
    let path = format!("/api/v1/jobs/{}", lifecycle["id"].as_str().expect("an id"));
    assert_eq!(network.with("docs", "GET", &path, "").await.status, 200, "its own");
    assert_eq!(status["targets"][0]["address"], json!("(not for this token)"));
}

#[tokio::test]
async fn buckets_volumes_and_their_jobs_belong_to_the_share_that_they_are_of() {
    let volume = |name: &str, share: &str| {
        format!("[[volume]]\nname = \"{name}\"\nshare = \"{share}\"\npath = \"/{name}.img\"\n")
    };
    let bucket = |name: &str, share: &str| format!("[[bucket]]\nname = \"{name}\"\nshare = \"{share}\"\n");
    let settings = [
        "[[share]]\nname = \"other\"\n".to_owned(),
        volume("own", "docs") + &volume("foreign", "other"),
        bucket("own-bucket", "docs") + &bucket("foreign-bucket", "other"),
    ];
    let network = OnNetwork::start_with(&settings.concat()).await;
    for (own, foreign) in [
        ("volumes/own/record", "volumes/foreign/record"),
        ("volumes/own/resize", "volumes/foreign/resize"),
        ("buckets/own-bucket/lifecycle", "buckets/foreign-bucket/lifecycle"),
    ] {
        let answer = network.with("docs", "POST", &format!("/api/v1/{own}"), "{}").await;
        assert_ne!(answer.status, 403, "{own}: {answer:?}");
        let answer = network.with("docs", "POST", &format!("/api/v1/{foreign}"), "{}").await;
        assert_eq!(answer.status, 403, "{foreign}: {answer:?}");
    }
    for (name, expected) in [("own-bucket", 200), ("foreign-bucket", 403)] {
        let path = format!("/api/v1/buckets/{name}/lifecycle");
        let (_, job) = network.served.call("POST", &path, "{}").await;
        let path = format!("/api/v1/jobs/{}", job["id"].as_str().expect("an id"));
        assert_eq!(network.with("docs", "GET", &path, "").await.status, expected, "{name}: {job}");
    }
}

#[tokio::test]
async fn a_token_that_is_taken_out_of_the_settings_ends_at_once() {
    let network = OnNetwork::start().await;
    let path = "/api/v1/tokens/viewer";
    let looked = network.with("admin", "DELETE", &format!("{path}?dry-run=true"), "").await;
    assert_eq!((looked.status, &looked.body["dry_run"]), (200, &json!(true)));
    assert_eq!(network.with("viewer", "GET", "/api/v1/status", "").await.status, 200);
    assert_eq!(network.with("admin", "DELETE", path, "").await.status, 200);
    assert_eq!(network.with("viewer", "GET", "/api/v1/status", "").await.status, 401);
    let list = network.with("admin", "GET", "/api/v1/tokens", "").await.body.to_string();
    assert!(!list.contains("viewer") && list.contains("operator") && !list.contains("blake3"), "{list}");
}

#[tokio::test]
async fn nobody_sets_a_command_over_the_network() {
    let network = OnNetwork::start().await;
    let body = json!({"id": "key1", "secret": {"command": ["/bin/sh", "-c", "id"]}}).to_string();
    let answer = network.with("admin", "POST", "/api/v1/access-keys", &body).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(network.served.call("POST", "/api/v1/access-keys", &body).await.0, 201, "here it may");
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done_and_what_reads_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("audit"), "in the way").expect("written");
    let log = AuditLog::open_or_stopped(&folder.path().join("audit"), 4, None);
    let served = Served::start_over("", |_| log).await;
    let (status, answer) = served.call("POST", "/api/v1/shares/docs/commit", "").await;
    assert_eq!(status, 500, "{answer}");
    assert!(answer["message"].as_str().is_some_and(|why| why.contains("audit log")), "{answer}");
    let (_, jobs) = served.call("GET", "/api/v1/jobs", "").await;
    assert_eq!(jobs, json!([]), "nothing was begun");
    let (_, alarms) = served.call("GET", "/api/v1/alarms", "").await;
    assert_eq!((&alarms[0]["code"], &alarms[0]["subject"]), (&json!("admin-api"), &json!("audit")));
    let (status, whole) = served.call("GET", "/api/v1/status", "").await;
    assert_eq!((status, &whole["alarms"][0]["code"]), (200, &json!("admin-api")));
}

#[tokio::test]
async fn what_a_caller_makes_long_is_recorded_short() {
    let network = OnNetwork::start().await;
    // What takes three letters of a path takes six of a line.
    let path = format!("/api/v1/shares/docs/snapshots/{}", "%01".repeat(18_000));
    assert_eq!(network.with("admin", "DELETE", &path, "").await.status, 404);
    assert_eq!(network.with("viewer", "DELETE", &path, "").await.status, 403);
    let query = "x".repeat(50_000);
    assert_eq!(network.with("operator", "POST", &format!("/api/v1/scrub/run?{query}"), "").await.status, 202);
    let before = network.records();
    let told: Vec<_> = before.iter().map(|record| record.event).collect();
    assert_eq!(told[1..4], [Event::Call, Event::Answered, Event::Denied]);
    for record in &before {
        let line = serde_json::to_string(record).expect("plain data");
        assert!(line.len() < 4_096, "{line}");
    }
    assert_eq!(network.with("viewer", "DELETE", &format!("/api/v1/session?{query}"), "").await.status, 200);
    assert_eq!(network.records(), before, "whoever has no session ends none");
}

#[tokio::test]
async fn nobody_fills_the_log_with_refusals() {
    let network = OnNetwork::start().await;
    let (access, now) = (&network.served.admin.access, tokio::time::Instant::now());
    let mut recorded = 0;
    for number in 0..1_000_u32 {
        let address = std::net::IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        recorded += u32::from(access.records(Peer::Network(address), &Refusal::Unknown, now).is_some());
    }
    assert_eq!(recorded, 120, "of all addresses together");
    let later = now + std::time::Duration::from_secs(60);
    let address = std::net::IpAddr::from([10, 9, 9, 9]);
    assert_eq!(
        access.records(Peer::Network(address), &Refusal::Unknown, later),
        Some(880),
        "the others are counted"
    );
}

#[tokio::test]
async fn a_call_that_was_recorded_goes_on_to_its_end_when_its_caller_has_gone() {
    let served = Served::start().await;
    let router = table::router(&served.admin).layer(axum::Extension(Peer::Socket));
    let request = axum::http::Request::delete("/api/v1/shares/docs/snapshots/slow");
    let request = request.body(axum::body::Body::empty()).expect("a request");
    let service = hyper_util::service::TowerToHyperService::new(router);
    let called = tokio::spawn(hyper::service::Service::call(&service, request));
    served.gateway.begun.notified().await;
    called.abort();
    assert!(called.await.is_err_and(|error| error.is_cancelled()), "the caller has gone");
    served.gateway.go_on.notify_one();
    let answered = async {
        while !served
            .admin
            .audit
            .page(None, 10)
            .expect("readable")
            .records
            .iter()
            .any(|seen| seen.record.event == Event::Answered && seen.record.entry.status == Some(404))
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), answered).await.expect("it went on");
}

/// Waits until there is such an alarm, or is none.
async fn until_alarm(served: &Served, subject: &str, wanted: bool) {
    let told = async {
        while served.call("GET", "/api/v1/alarms", "").await.1.to_string().contains(subject) != wanted {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), told).await.expect("told in time");
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_alarm_and_listened_on_once_it_is_free() {
    let served = Served::start().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let listening = tokio::spawn({
        let (admin, stop) = (served.admin.clone(), served.stop.clone());
        async move { admin.serve_network(address, stop).await }
    });
    let subject = format!("api:{address}");
    until_alarm(&served, &subject, true).await;
    drop(taken);
    until_alarm(&served, &subject, false).await;
    served.stop.cancel();
    listening.await.expect("it ends with the gateway");
}

#[tokio::test]
async fn what_destroys_by_what_it_says_needs_the_right_to() {
    let network = OnNetwork::start().await;
    let body = json!({"from": "head", "path": "/a", "remove_newer": true});
    let dry = json!({"from": "head", "path": "/a", "remove_newer": true, "dry_run": true});
    let kept = json!({"from": "head", "path": "/a"});
    let theirs = json!({"on_conflict": "theirs"});
    let (restore, apply) = ("/api/v1/shares/docs/restore", "/api/v1/shares/docs/branches/b/apply");
    for (path, body, token, expected) in [
        (restore, &body, "operator", 403),
        (restore, &dry, "operator", 202),
        (restore, &kept, "operator", 202),
        (restore, &body, "admin", 202),
        (apply, &theirs, "operator", 403),
        (apply, &theirs, "admin", 202),
        ("/api/v1/machines/m/stop", &json!({"at_once": true}), "operator", 403),
    ] {
        let answer = network.with(token, "POST", path, &body.to_string()).await;
        assert_eq!(answer.status, expected, "{path} {body} {token}: {answer:?}");
    }
    // The same said in other forms that JSON has for it.
    for (path, body, expected) in [
        (restore, json!(["head", "/a", true]), 400),
        (apply, json!([[], "theirs"]), 400),
        (apply, json!({"on_conflict": {"theirs": null}}), 403),
        ("/api/v1/machines/m/stop", json!([true]), 400),
    ] {
        let answer = network.with("operator", "POST", path, &body.to_string()).await;
        assert_eq!(answer.status, expected, "{path} {body}: {answer:?}");
    }
    assert_eq!(network.with("viewer", "GET", "/api/v1/recovery?measure=true", "").await.status, 403);
    assert_eq!(network.with("docs", "GET", "/api/v1/recovery?measure=true", "").await.status, 403);
    assert_eq!(network.with("viewer", "GET", "/api/v1/recovery", "").await.status, 200);
}

#[tokio::test]
async fn an_auditor_sees_how_jobs_ended_and_no_name_in_their_results() {
    let network = OnNetwork::start().await;
    let done = network.served.job("/api/v1/shares/docs/commit", &json!(null)).await;
    let path = format!("/api/v1/jobs/{}", done["id"].as_str().expect("an id"));
    assert!(network.with("viewer", "GET", &path, "").await.body.get("result").is_some());
    for path in [path.as_str(), "/api/v1/jobs"] {
        let seen = network.with("auditor", "GET", path, "").await.body.to_string();
        assert!(seen.contains("succeeded") && !seen.contains("result"), "{seen}");
    }
}

#[tokio::test]
async fn a_certificate_that_was_renewed_is_taken_over_when_the_settings_are_loaded() {
    let network = OnNetwork::start().await;
    let text = std::fs::read_to_string(network.served.file()).expect("readable");
    let wrong = text.replace("localhost.pem", "nowhere.pem");
    std::fs::write(network.served.file(), wrong).expect("written");
    network.served.admin.reload_by_signal().await.expect("loaded");
    assert_eq!(network.with("viewer", "GET", "/api/v1/status", "").await.status, 200, "the one before stays");
    let chain = |stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().map_or(0, <[_]>::len)
    };
    assert_eq!(chain(network.connect().await.expect("TLS")), 1);
    let renewed = network.served.folder.path().join("renewed.pem");
    let old = std::fs::read(certificates().join("localhost.pem")).expect("readable");
    std::fs::write(&renewed, [&old, AUTHORITY].concat()).expect("written");
    let old = certificates().join("localhost.pem").display().to_string();
    std::fs::write(network.served.file(), text.replace(&old, &renewed.display().to_string()))
        .expect("written");
    network.served.admin.reload_by_signal().await.expect("loaded");
    assert_eq!(chain(network.connect().await.expect("TLS")), 2, "the one that is named now");
}

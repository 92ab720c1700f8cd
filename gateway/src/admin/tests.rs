//! Claims about the admin API, made over its real socket against a gateway in memory.

mod bin;
mod branches;
pub(crate) mod fake;
mod files;
mod network;
mod oidc;
mod roles;
mod sessions;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::*;
use fake::FakeGateway;

/// A served API, and the folder with its socket and settings.
pub(crate) struct Served {
    pub(crate) folder: TempDir,
    pub(super) admin: Arc<Admin>,
    pub(crate) gateway: Arc<FakeGateway>,
    pub(crate) stop: CancellationToken,
    serving: tokio::sync::Mutex<tokio::task::JoinHandle<()>>,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With more in the settings.
    pub(crate) async fn start_with(more: &str) -> Self {
        Self::start_over(more, |folder| AuditLog::open(&folder.join("audit"), 4, None).expect("a log")).await
    }

    /// With another audit log.
    pub(super) async fn start_over(more: &str, audit: impl FnOnce(&Path) -> AuditLog) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("admin.sock");
        let file = SettingsFile::new(folder.path().join("tidegate.toml"));
        let text = format!(
            "# kept\n[gateway]\nsocket = {socket:?}\n[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"main\"\naddress = \"file:///srv/r\"\n[[share]]\nname = \"docs\"\n{more}"
        );
        let settings = file.create(&text).expect("settings");
        let gateway = FakeGateway::new(settings.clone());
        let listener = AdminListener::bind(&socket).await.expect("a socket");
        let audit = audit(folder.path());
        let (settings, audit) = (Arc::new(settings), Arc::new(audit));
        let admin = Admin::new(gateway.clone(), file, settings, audit, Metrics::start());
        let stop = CancellationToken::new();
        let serving = tokio::spawn({
            let (admin, stop) = (admin.clone(), stop.clone());
            async move { admin.serve(listener, stop).await }
        });
        Self { folder, admin, gateway, stop, serving: serving.into() }
    }

    /// Returns once the service has ended, after a stop.
    pub(crate) async fn ended(&self) {
        (&mut *self.serving.lock().await).await.expect("served to the end");
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("tidegate.toml")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("admin.sock")
    }

    fn settings_text(&self) -> String {
        std::fs::read_to_string(self.file()).expect("readable")
    }

    /// One call; the status and the whole body.
    async fn raw(&self, request: &str) -> (u16, String) {
        let mut stream = UnixStream::connect(self.socket()).await.expect("served");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status, body)
    }

    async fn call(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (status, body) = self.raw(&request).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// Starts a job and waits for its end.
    async fn job(&self, path: &str, body: &Value) -> Value {
        let (status, job) = self.call("POST", path, &body.to_string()).await;
        assert_eq!(status, 202, "{job}");
        let id = job["id"].as_str().expect("an id");
        self.call("GET", &format!("/api/v1/jobs/{id}?wait_seconds=30"), "").await.1
    }
}

#[tokio::test]
async fn the_socket_is_for_its_owner_alone_and_goes_with_the_gateway() {
    let served = Served::start().await;
    let mode = std::fs::metadata(served.socket()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = AdminListener::bind(&served.socket()).await.expect_err("one is running");
    assert_eq!(second.kind, crate::control::ErrorKind::Busy);
    served.stop.cancel();
    served.ended().await;
    assert!(!served.folder.path().join("admin.sock").exists());
}

#[tokio::test]
async fn a_socket_left_by_a_killed_gateway_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run/admin.sock");
    let killed = AdminListener::bind(&path).await.expect("the folder is made");
    std::mem::forget(killed);
    std::fs::rename(&path, folder.path().join("old")).expect("renamed");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("nobody accepts on it"));
    assert!(path.exists());
    AdminListener::bind(&path).await.expect("replaced");
}

#[tokio::test]
async fn status_metrics_and_health_are_shown() {
    let served = Served::start().await;
    let (status, body) = served.call("GET", "/api/v1/status", "").await;
    assert_eq!((status, &body["shares"][0]["name"]), (200, &json!("docs")));
    let (status, metrics) = served.call("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(
        metrics
            .as_str()
            .is_some_and(|text| text.contains("tidegate_share_rpo_objective_seconds{share=\"docs\"} 30")),
        "{metrics}"
    );
    assert_eq!(served.call("GET", "/healthz", "").await.0, 200);
    assert_eq!(served.call("GET", "/readyz", "").await.0, 200);
    served.gateway.stop().await.expect("stopped");
    assert_eq!(served.call("GET", "/readyz", "").await.0, 503);
}

#[tokio::test]
async fn the_public_address_shows_health_and_nothing_else() {
    let served = Served::start().await;
    let listener = HealthListener::bind(([127, 0, 0, 1], 0).into()).await.expect("a port");
    let address = listener.address().expect("bound");
    tokio::spawn({
        let (admin, stop) = (served.admin.clone(), served.stop.clone());
        async move { admin.serve_health(listener, stop).await }
    });
    for (path, expected) in [("/healthz", "200"), ("/metrics", "200"), ("/api/v1/status", "404")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("served");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_share_is_added_to_the_file_and_served_or_neither() {
    let served = Served::start().await;
    let before = served.settings_text();
    let (status, body) = served.call("POST", "/api/v1/shares", r#"{"name":"a","rpo":"5s"}"#).await;
    assert_eq!((status, body), (201, json!({"restart_needed": []})));
    assert!(served.settings_text().starts_with(&before), "comments are kept");
    assert_eq!(served.call("GET", "/api/v1/shares/a", "").await.0, 200);

    let before = served.settings_text();
    let (status, error) = served.call("POST", "/api/v1/shares", r#"{"name":"unlucky"}"#).await;
    assert_eq!((status, &error["kind"]), (503, &json!("store-away")));
    let (status, error) = served.call("POST", "/api/v1/shares", r#"{"name":"b","rpo":5}"#).await;
    assert_eq!(status, 400);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("share.rpo")), "{error}");
    assert_eq!(served.call("POST", "/api/v1/shares", r#"{"name":"a"}"#).await.0, 400, "the name is taken");
    assert_eq!(served.settings_text(), before, "the file is as it was");

    assert_eq!(served.call("DELETE", "/api/v1/shares/a", "").await.0, 200);
    assert_eq!(served.call("GET", "/api/v1/shares/a", "").await.0, 404);
    assert_eq!(served.call("DELETE", "/api/v1/shares/a", "").await.0, 404);
}

#[tokio::test]
async fn a_reload_takes_over_what_was_edited_by_hand() {
    let served = Served::start().await;
    let text = served.settings_text();
    std::fs::write(served.file(), text.replace("[gateway]", "[gateway]\ndata = \"/elsewhere\""))
        .expect("written");
    let (status, applied) = served.call("POST", "/api/v1/settings/reload", "").await;
    assert_eq!((status, applied), (200, json!({"restart_needed": ["gateway.data"]})));
    std::fs::write(served.file(), text.replace("name = \"docs\"", "name = \"docs\"\nrpo = 1"))
        .expect("written");
    let (status, error) = served.call("POST", "/api/v1/settings/reload", "").await;
    assert_eq!(status, 400);
    assert!(
        error["message"].as_str().is_some_and(|message| message.contains("share.docs.rpo, line")),
        "{error}"
    );
}

#[tokio::test]
async fn long_work_is_a_job_with_a_result() {
    let served = Served::start().await;
    let head = served.job("/api/v1/shares/docs/commit", &json!(null)).await;
    assert_eq!((&head["state"], &head["result"]["sequence"]), (&json!("succeeded"), &json!(1)), "{head}");
    assert_eq!(
        head["progress"],
        json!({"phase": "upload packs", "done": 4096, "total": 4096, "unit": "bytes"})
    );
    let made =
        served.job("/api/v1/shares/docs/snapshots", &json!({"name": "one", "tags": {"why": "test"}})).await;
    assert_eq!(made["result"]["tags"], json!({"why": "test"}));
    let again = served.job("/api/v1/shares/docs/snapshots", &json!({"name": "one"})).await;
    assert_eq!((&again["state"], &again["error"]["kind"]), (&json!("failed"), &json!("exists")));
    let back = served.job("/api/v1/shares/docs/rollback", &json!({"to": "snapshot:one"})).await;
    assert_eq!(back["result"]["before"]["name"], json!("before-rollback"));
    let (_, list) = served.call("GET", "/api/v1/shares/docs/snapshots", "").await;
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    assert_eq!(served.call("DELETE", "/api/v1/shares/docs/snapshots/one", "").await.0, 200);
    assert_eq!(served.call("DELETE", "/api/v1/shares/docs/snapshots/one", "").await.0, 404);
    let (_, jobs) = served.call("GET", "/api/v1/jobs", "").await;
    assert_eq!(jobs.as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn a_job_is_cancelled_by_a_call_and_by_a_stop() {
    let served = Served::start().await;
    let body = json!({"from": "head", "path": "/endless"}).to_string();
    let (_, first) = served.call("POST", "/api/v1/shares/docs/restore", &body).await;
    let id = first["id"].as_str().expect("an id");
    assert_eq!(served.call("POST", &format!("/api/v1/jobs/{id}/cancel"), "").await.0, 200);
    let (_, ended) = served.call("GET", &format!("/api/v1/jobs/{id}?wait_seconds=30"), "").await;
    assert_eq!(ended["state"], json!("cancelled"));
    served.call("POST", "/api/v1/shares/docs/restore", &body).await;
    served.stop.cancel();
    served.ended().await;
}

#[tokio::test]
async fn a_clone_is_in_the_settings() {
    let served = Served::start().await;
    let body = json!({"from": "head", "settings": {"name": "copy", "clients": ["10.0.0.0/8"]}});
    let made = served.job("/api/v1/shares/docs/clone", &body).await;
    assert_eq!(made["state"], json!("succeeded"), "{made}");
    let settings = SettingsFile::new(served.file()).load().expect("still valid");
    assert_eq!(settings.share("copy").map(|share| share.clients.len()), Some(1));
}

#[tokio::test]
async fn wrong_calls_get_a_status_and_a_reason() {
    let served = Served::start().await;
    let cases = [
        ("GET", "/api/v1/nothing", "", 404),
        ("GET", "/api/v1/shares/none", "", 404),
        ("GET", "/api/v1/shares/none/heads", "", 404),
        ("GET", "/api/v1/jobs/0", "", 404),
        ("POST", "/api/v1/shares/docs/diff", "{}", 400),
        ("POST", "/api/v1/shares/docs/diff", "not json", 400),
        ("POST", "/api/v1/shares/docs/diff", r#"{"from":"yesterday","to":"live"}"#, 400),
        ("POST", "/api/v1/shares/docs/restore", r#"{"from":"head","path":"../x"}"#, 400),
        ("POST", "/api/v1/shares/docs/rollback", r#"{"to":"head","now":true}"#, 400),
        ("POST", "/api/v1/shares", "[]", 400),
    ];
    for (method, path, body, expected) in cases {
        let (status, error) = served.call(method, path, body).await;
        assert_eq!(status, expected, "{method} {path} {body}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{path}: {error}");
    }
    let long = "x".repeat(payload::BODY_BYTES_MAX + 1);
    assert_eq!(served.call("POST", "/api/v1/shares", &long).await.0, 400);
}

#[tokio::test]
async fn garbage_on_the_socket_does_not_end_the_service() {
    let served = Served::start().await;
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", &"x".repeat(100_000)] {
        let mut stream = UnixStream::connect(served.socket()).await.expect("served");
        let _ = stream.write_all(garbage.as_bytes()).await;
        let _ = stream.shutdown().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    assert_eq!(served.call("GET", "/healthz", "").await.0, 200);
}

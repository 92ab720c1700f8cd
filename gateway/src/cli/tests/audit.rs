//! Claims about the audit log on the command line, and about tokens without a gateway.

use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{SettingsFile, code, run_line};
use crate::audit::{AUDIT_FOLDER, AuditLog, Entry, Event};

fn settings_in(folder: &std::path::Path) -> std::path::PathBuf {
    let path = folder.join("tidegate.toml");
    let text = format!(
        "[gateway]\ndata = {folder:?}\nsocket = \"{}/admin.sock\"\n[repository]\nkey = {{ env = \"K\" }}\n[[target]]\nname = \"main\"\naddress = \"file:///srv/r\"\n",
        folder.display()
    );
    SettingsFile::new(&path).create(&text).expect("settings");
    path
}

#[tokio::test]
async fn the_log_is_shown_and_a_line_that_was_changed_is_told_and_decides_how_the_command_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings_in(folder.path());
    let log = AuditLog::open(&folder.path().join(AUDIT_FOLDER), 4, None).expect("opened");
    for who in ["token:ops", "socket"] {
        let call = "POST /shares/{share}/commit".to_owned();
        let entry = Entry { who: who.to_owned(), call, subject: vec!["docs".to_owned()], ..Entry::default() };
        log.append(Event::Call, entry).expect("written");
    }
    let (shown_as, shown) = run_line(&settings, "audit show --limit 2").await;
    assert_eq!(shown_as, 0);
    assert!(shown.contains("token:ops") && shown.contains("POST /shares/{share}/commit (docs)"), "{shown}");
    let (verified, text) = run_line(&settings, "audit verify").await;
    assert_eq!(verified, 0, "{text}");
    let last = text.trim_end().lines().last().expect("a line").to_owned();
    assert_eq!(code(&settings, &format!("audit verify --known {last}")).await, 0);
    assert_eq!(code(&settings, "audit verify --known 3").await, 2);
    let path = folder.path().join(AUDIT_FOLDER).join("audit-00000000000000000001.log");
    let text = std::fs::read_to_string(&path).expect("readable");
    std::fs::write(&path, text.replace("token:ops", "token:eve")).expect("written");
    let (verified, text) = run_line(&settings, "audit verify").await;
    assert_eq!(verified, 9, "{text}");
    assert!(text.contains("record 2 was changed"), "{text}");
}

/// What a gateway answers on its socket; nothing while there is none.
async fn asked(socket: &std::path::Path, path: &str) -> String {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return String::new() };
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let _ = stream.write_all(request.as_bytes()).await;
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

#[tokio::test]
async fn neither_an_audit_log_nor_a_port_that_cannot_be_had_keeps_data_from_being_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings_in(folder.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let text = std::fs::read_to_string(&settings).expect("readable");
    let none = folder.path().join("none.pem");
    let api = format!(
        "[api]\nlisten = [\"{address}\"]\ncertificate = {none:?}\nprivate_key = {{ file = {none:?} }}\n"
    );
    let text = text.replace("[gateway]", "[gateway]\nlog_level = \"error\"");
    std::fs::write(&settings, text + &api).expect("written");
    std::fs::write(folder.path().join(AUDIT_FOLDER), "in the way").expect("written");
    let socket = folder.path().join("admin.sock");
    let told = async {
        let wanted = ["\"audit\"".to_owned(), "\"api:certificate\"".to_owned(), format!("\"api:{address}\"")];
        loop {
            let alarms = asked(&socket, "/api/v1/alarms").await;
            if wanted.iter().all(|subject| alarms.contains(subject)) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(asked(&socket, "/readyz").await.starts_with("HTTP/1.1 200"));
        // It listens for that, since it answers.
        kill_process(getpid(), Signal::TERM).expect("told");
    };
    let all = async { tokio::join!(run_line(&settings, "serve"), told) };
    let ((ended, _), ()) = tokio::time::timeout(Duration::from_secs(60), all).await.expect("in time");
    assert_eq!(ended, 0);
}

#[tokio::test]
async fn a_token_is_made_without_a_gateway_and_its_hash_alone_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = settings_in(folder.path());
    let (made, shown) = run_line(&settings, "token add ops --json").await;
    assert_eq!(made, 0, "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let token = shown["token"].as_str().expect("a token");
    let text = std::fs::read_to_string(&settings).expect("readable");
    assert!(!text.contains(token) && text.contains("hash = \"blake3:"), "{text}");
    for (line, expected) in [
        ("token add ops", 5),
        ("token add Ops", 3),
        ("token remove none --yes", 4),
        ("token remove ops --dry-run", 0),
        ("token list", 0),
        ("token remove ops --yes", 0),
        ("token remove ops --yes", 4),
    ] {
        assert_eq!(code(&settings, line).await, expected, "{line}");
    }
}

//! Claims about the audit log on the command line, and about tokens without a gateway.

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

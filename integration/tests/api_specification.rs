//! Goal: the admin API on the network is what its own document says, whatever a client sends.
//!
//! Method: `schemathesis` reads the document of a running gateway and makes calls of it, right ones and wrong ones, with the token
//! of an admin: no call may end in an error of the server, none in a status or a body that the document does not have. It is
//! another program in another language, so it shares no mistake with ours. Skipped where it is not installed;
//! `packaging/setup.sh` installs it.
//! `TIDEGATE_SCHEMATHESIS` names it; `TIDEGATE_EXAMPLES` says how many calls of each kind it makes at random.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tidegate_integration::gateway::{Gateway, PATIENCE, free_address};

/// How many examples of each call there are unless it is said.
const EXAMPLES: &str = "10";
/// What it looks at: answers as the document has them, no error of the server, no other methods, nothing without a token.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      unsupported_method,ignored_auth";
/// What would take its own token or share away, so that everything after it would be refused.
const SPARED: [&str; 2] = ["deleteTokensOne", "deleteSharesOne"];

fn certificates() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    workspace.join("protocols/tests/s3/certificates")
}

fn schemathesis() -> Option<PathBuf> {
    let named = std::env::var_os("TIDEGATE_SCHEMATHESIS").map(PathBuf::from);
    let caches = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = caches.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let installed = caches.map(|caches| caches.join("tidegate/tools/schemathesis/bin/schemathesis"));
    let installed = installed.filter(|program| program.exists());
    let program = named.or(installed).unwrap_or_else(|| "schemathesis".into());
    let found = Command::new(&program).arg("--version").output();
    found.is_ok_and(|ended| ended.status.success()).then_some(program)
}

#[test]
fn the_api_keeps_to_its_own_document() {
    let Some(program) = schemathesis() else {
        return println!("skipped: schemathesis is not installed (pip install schemathesis)");
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (address, certificates) = (free_address(), certificates());
    let key = folder.path().join("api.key");
    fs::copy(certificates.join("localhost.key"), &key).expect("copied");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("its mode");
    let settings = format!(
        "[api]\nlisten = [\"{address}\"]\ncertificate = \"{}\"\nprivate_key = {{ file = \"{}\" }}\ncalls_per_minute = 1000000\nfailures_per_minute = 100000\n",
        certificates.join("localhost.pem").display(),
        key.display()
    );
    let mut gateway = Gateway::create_with(folder.path(), &settings);
    let added = gateway.run(&["token", "add", "tests", "--role", "admin"]);
    let added: serde_json::Value = serde_json::from_str(&added).expect("JSON");
    let token = added["token"].as_str().expect("a token");
    gateway.start();
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < end, "the API does not come:\n{}", gateway.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let examples = std::env::var("TIDEGATE_EXAMPLES").unwrap_or_else(|_| EXAMPLES.to_owned());
    let ended = Command::new(program)
        .current_dir(folder.path())
        .args(["run", &format!("https://localhost:{}/api/v1/openapi.json", address.port())])
        .args([
            "--header",
            &format!("Authorization: Bearer {token}"),
            "--seed",
            "1",
            "--max-examples",
            &examples,
        ])
        .args(["--phases", "examples,coverage,fuzzing", "--continue-on-failure"])
        .args(["--checks", CHECKS])
        .args(SPARED.iter().flat_map(|operation| ["--exclude-operation-id", operation]))
        .arg("--tls-verify")
        .arg(certificates.join("authority.pem"))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}\n{}\n{}", String::from_utf8_lossy(&ended.stderr), gateway.log());
    assert!(!gateway.log().contains(token), "no token is in the log");
    assert!(!said.contains("Rate limited") && !said.contains("Authentication failed"), "{said}");
    gateway.run(&["audit", "verify"]);
}

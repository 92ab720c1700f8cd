//! What backup software does for backups that nobody can delete: it makes a bucket with object lock, writes versions, is
//! refused when it would remove one, and removes bucket and all when the lock is over.

use crate::{Front, has, run};

#[test]
fn a_client_makes_a_bucket_with_object_lock_and_cannot_remove_what_is_locked() {
    if !has("immutable", "aws", "--version") {
        return;
    }
    let front = Front::start();
    std::fs::write(front.path("file"), b"kept").expect("a writable folder");
    let endpoint = front.endpoint();
    let api = |arguments: &[&str]| {
        let mut command = front.command("aws");
        command.args(["--endpoint-url", &endpoint, "--output", "text", "s3api"]).args(arguments);
        command
    };
    let ok = |arguments: &[&str]| run(&mut api(arguments)).trim().to_owned();
    let refused = |arguments: &[&str]| {
        let done = api(arguments).output().expect("aws runs");
        assert!(!done.status.success(), "{arguments:?} was not refused");
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    ok(&["create-bucket", "--bucket", "vault", "--object-lock-enabled-for-bucket"]);
    assert!(ok(&["list-buckets", "--query", "Buckets[].Name"]).contains("vault"));
    let rule =
        r#"{"ObjectLockEnabled":"Enabled","Rule":{"DefaultRetention":{"Mode":"GOVERNANCE","Days":1}}}"#;
    ok(&["put-object-lock-configuration", "--bucket", "vault", "--object-lock-configuration", rule]);
    let object = ["--bucket", "vault", "--key", "backup"];
    let version = ok(&[&["put-object", "--body", "file", "--query", "VersionId"][..], &object].concat());
    ok(&[&["delete-object"][..], &object].concat());
    assert!(refused(&[&["head-object"][..], &object].concat()).contains("404"));
    let removal = [&["delete-object", "--version-id", &version][..], &object].concat();
    assert!(refused(&removal).contains("AccessDenied"));
    assert!(refused(&["delete-bucket", "--bucket", "vault"]).contains("BucketNotEmpty"));
    ok(&[&removal[..], &["--bypass-governance-retention"]].concat());
    let marker = ok(&["list-object-versions", "--bucket", "vault", "--query", "DeleteMarkers[].VersionId"]);
    ok(&[&["delete-object", "--version-id", &marker][..], &object].concat());
    ok(&["delete-bucket", "--bucket", "vault"]);
    assert!(!ok(&["list-buckets", "--query", "Buckets[].Name"]).contains("vault"));
    // It can be made again, and knows nothing of before.
    ok(&["create-bucket", "--bucket", "vault"]);
    assert!(refused(&["get-object-lock-configuration", "--bucket", "vault"]).contains("NotFound"));
    assert_eq!(ok(&["get-bucket-versioning", "--bucket", "vault"]), "");
    front.stop();
}

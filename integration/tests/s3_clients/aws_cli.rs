//! The AWS CLI: copy, sync, list, presign, remove; large files go in parts.

use std::fs;

use crate::{FLAT, Front, TREE, assert_same, has, plant, run};

#[test]
fn the_aws_cli_copies_syncs_lists_and_removes() {
    if !has("aws_cli", "aws", "--version") {
        return;
    }
    let front = Front::start();
    let (local, back) = (front.path("local"), front.path("back"));
    plant(&local, 1);
    let aws = |arguments: &[&str]| {
        let endpoint = front.endpoint();
        run(front.command("aws").args(["--endpoint-url", &endpoint]).args(arguments))
    };
    for bucket in [FLAT, TREE] {
        let to = format!("s3://{bucket}/tree");
        aws(&["s3", "sync", "local", &to]);
        assert_eq!(aws(&["s3", "sync", "local", &to]), "", "nothing is left to do");
        aws(&["s3", "cp", &format!("{to}/dir/parts+more&so on"), &format!("{to}/copied")]);
        aws(&["s3", "mv", &format!("{to}/copied"), &format!("{to}/moved")]);
        let listed = aws(&["s3", "ls", "--recursive", &format!("{to}/")]);
        assert_eq!(listed.lines().count(), 8, "{listed}");
        let listed = aws(&["s3", "ls", &format!("{to}/")]);
        assert!(listed.contains("PRE dir/") && !listed.contains("deep"), "{listed}");
        aws(&["s3", "rm", &format!("{to}/moved")]);
        aws(&["s3", "sync", &to, "back"]);
        assert_same(&local, &back);
        fs::remove_dir_all(&back).expect("it is there");
        aws(&["s3", "rm", "--recursive", &to]);
        assert_eq!(
            aws(&["s3api", "list-objects-v2", "--bucket", bucket, "--query", "Contents[].Key"]).trim(),
            "null"
        );
    }
    front.stop();
}

#[test]
fn a_presigned_address_works_without_credentials() {
    if !has("aws_cli", "aws", "--version") || !has("aws_cli", "curl", "--version") {
        return;
    }
    let front = Front::start();
    fs::write(front.path("file"), b"presigned").expect("a writable folder");
    // Older ones sign addresses with version 2, which few servers take any more.
    fs::create_dir(front.path(".aws")).expect("a writable folder");
    let settings = "[default]\ns3 =\n  signature_version = s3v4\n";
    fs::write(front.path(".aws/config"), settings).expect("a writable folder");
    let endpoint = front.endpoint();
    let aws =
        |arguments: &[&str]| run(front.command("aws").args(["--endpoint-url", &endpoint]).args(arguments));
    aws(&["s3", "cp", "file", &format!("s3://{FLAT}/file")]);
    let address = aws(&["s3", "presign", &format!("s3://{FLAT}/file")]);
    let curl = |address: &str| run(std::process::Command::new("curl").args(["-s", address]));
    assert_eq!(curl(address.trim()), "presigned");
    assert!(curl(&format!("{endpoint}/{FLAT}/file")).contains("AccessDenied"));
    assert!(curl(&address.trim().replace("file?", "other?")).contains("SignatureDoesNotMatch"));
    front.stop();
}

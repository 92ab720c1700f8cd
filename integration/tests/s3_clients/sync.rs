//! s3cmd and rclone: trees that go up and come back, and that are compared by checksum on the way.

use std::fs;

use crate::{ACCESS_KEY, FLAT, Front, SECRET, TREE, assert_same, has, plant, run};

#[test]
fn s3cmd_syncs_both_ways() {
    if !has("s3cmd", "s3cmd", "--version") {
        return;
    }
    let front = Front::start();
    let (local, back, settings) = (front.path("local"), front.path("back"), front.path("s3cfg"));
    plant(&local, 2);
    fs::create_dir(&back).expect("a writable folder");
    let address = front.address;
    let text = format!(
        "[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET}\nhost_base = {address}\n\
         host_bucket = {address}\nuse_https = False\nmultipart_chunk_size_mb = 5\n"
    );
    fs::write(&settings, text).expect("a writable folder");
    let s3cmd = |arguments: &[&str]| {
        run(front.command("s3cmd").arg("-c").arg(&settings).args(["--no-progress"]).args(arguments))
    };
    for bucket in [FLAT, TREE] {
        let to = format!("s3://{bucket}/tree/");
        s3cmd(&["sync", "local/", &to]);
        s3cmd(&["sync", &to, "back/"]);
        assert_same(&local, &back);
        assert_eq!(s3cmd(&["ls", "--recursive", &to]).lines().count(), 7);
        let info = s3cmd(&["info", &format!("{to}one")]);
        assert!(info.contains("File size: 1"), "{info}");
        s3cmd(&["del", "--recursive", "--force", &to]);
        assert_eq!(s3cmd(&["ls", "--recursive", &to]), "");
        fs::remove_dir_all(&back).expect("it is there");
        fs::create_dir(&back).expect("a writable folder");
    }
    front.stop();
}

#[test]
fn rclone_finds_no_difference_either_way() {
    if !has("rclone", "rclone", "version") {
        return;
    }
    let front = Front::start();
    let local = front.path("local");
    plant(&local, 3);
    let settings = front.path("rclone.conf");
    let text = format!(
        "[gate]\ntype = s3\nprovider = Other\nenv_auth = true\nendpoint = {}\nregion = us-east-1\n\
         chunk_size = 5M\nupload_cutoff = 6M\nforce_path_style = true\n",
        front.endpoint()
    );
    fs::write(&settings, text).expect("a writable folder");
    let rclone =
        |arguments: &[&str]| run(front.command("rclone").arg("--config").arg(&settings).args(arguments));
    for bucket in [FLAT, TREE] {
        let to = format!("gate:{bucket}/tree");
        rclone(&["sync", "local", &to]);
        rclone(&["check", "local", &to]);
        rclone(&["check", &to, "local"]);
        rclone(&["check", "--download", "local", &to]);
        rclone(&["copy", &to, &format!("gate:{bucket}/again")]);
        rclone(&["check", &to, &format!("gate:{bucket}/again")]);
        fs::remove_file(local.join("one")).expect("it is there");
        rclone(&["sync", "local", &to]);
        rclone(&["check", &to, "local"]);
        fs::write(local.join("one"), b"1").expect("a writable folder");
        rclone(&["purge", &format!("gate:{bucket}/again")]);
        rclone(&["delete", &to]);
        assert_eq!(rclone(&["lsf", "-R", "--files-only", &format!("gate:{bucket}")]), "");
    }
    front.stop();
}

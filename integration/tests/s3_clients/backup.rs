//! restic: a repository of its own in a bucket, through its whole life.

use std::fs;

use crate::{FLAT, Front, TREE, assert_same, has, plant, run};

#[test]
fn restic_backs_up_forgets_prunes_checks_and_restores() {
    if !has("restic", "restic", "version") {
        return;
    }
    let front = Front::start();
    let local = front.path("local");
    plant(&local, 4);
    for bucket in [FLAT, TREE] {
        let repository = format!("s3:{}/{bucket}/restic", front.endpoint());
        let restic = |arguments: &[&str]| {
            run(front
                .command("restic")
                .env("RESTIC_PASSWORD", "password")
                .env("RESTIC_REPOSITORY", &repository)
                .args(["--quiet", "--no-cache"])
                .args(arguments))
        };
        restic(&["init"]);
        restic(&["backup", "local"]);
        fs::write(local.join("new"), b"new").expect("a writable folder");
        fs::remove_file(local.join("dir/parts+more&so on")).expect("it is there");
        restic(&["backup", "local"]);
        restic(&["forget", "--keep-last", "1", "--prune"]);
        restic(&["check", "--read-data"]);
        let back = front.path("back");
        restic(&["restore", "latest", "--target", "back"]);
        assert_same(&local, &back.join("local"));
        fs::remove_dir_all(&back).expect("it is there");
        fs::remove_dir_all(&local).expect("it is there");
        plant(&local, 4);
    }
    front.stop();
}

//! boto3, and with it most scripts in Python: conditions, pages, tags, metadata, ranges, parts, errors by code.

use crate::{FLAT, Front, TREE, run};

const SCRIPT: &str = include_str!("boto.py");

#[test]
fn boto3_finds_what_the_reference_says() {
    let front = Front::start();
    let python = |script: &str| {
        let mut command = front.command("python3");
        command.args(["-c", script]);
        command
    };
    if !python("import boto3").output().is_ok_and(|done| done.status.success()) {
        println!("boto: skipped: boto3 is not installed");
        return;
    }
    for bucket in [FLAT, TREE] {
        let out = run(python(SCRIPT).env("BUCKET", bucket));
        assert!(out.contains("all good"), "{out}");
    }
    front.stop();
}

//! Goal: applications on Linux's own NFS client get from a share what they get from a local file system, as far
//! as NFS version 3 can give it; while the gateway is killed, too, and beside other clients.
//!
//! Method: a guest boots Debian's kernel and mounts a share of a gateway that runs on this machine, hard and without
//! locks. Programs in the guest do the work: a test suite of POSIX calls, everyday programs, random input and
//! output against a model, and two guests that look at each other's changes.
//!
//! Where there is no QEMU or no kernel for the guest, the tests say so and pass; with `TIDEGATE_NIGHTLY` they fail,
//! and kill the gateway more often. `TIDEGATE_SEED` repeats a run;
//! `TIDEGATE_TREE` names a tree to unpack in place of the kernel's headers, `TIDEGATE_IO_OPERATIONS` says how many
//! random operations there are, and `TIDEGATE_IO_KILLS` how many kills meanwhile.

mod compiler;
mod locks;
mod moved;
mod posix;
mod programs;
mod random_io;
mod snapshots;
mod two_clients;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidegate_integration::gateway::Gateway;
use tidegate_integration::guest::Parts;
use tidegate_integration::skip::skip;

/// What guests are made of; where there can be none, says that the test is skipped.
fn parts(test: &str) -> Option<Parts> {
    match Parts::find() {
        Ok(parts) => Some(parts),
        Err(reason) => {
            skip(test, &reason);
            None
        }
    }
}

/// A gateway that serves an empty share, and the folder that it lives in.
fn gateway() -> (TempDir, Gateway) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.start();
    (folder, gateway)
}

/// Stops a gateway, which must have found nothing to complain of.
fn stop(mut gateway: Gateway) {
    assert!(gateway.stop().success(), "it stops well:\n{}", gateway.log());
    assert!(!gateway.log().contains("ERROR"), "no operation failed inside:\n{}", gateway.log());
}

/// A number in the environment, or `otherwise`.
fn number(variable: &str, otherwise: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// What a program of this machine prints.
fn output(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} failed with {}: {error}", done.status);
    String::from_utf8(done.stdout).expect("output is text")
}

/// The source of a program that guests run.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/linux_client").join(name)
}

/// Builds a program whose source lies beside this file so that it needs no libraries; the folder that it lies in, and
/// where.
fn build(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join(name);
    let flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"];
    output(Command::new("cc").args(flags).arg("-o").arg(&program).arg(source(&format!("{name}.c"))));
    (folder, program)
}

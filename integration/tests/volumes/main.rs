//! Goal: a disk of a virtual machine is as safe in a share as a file is, real clients of NBD use it, and a machine boots from one that
//! exists only in the repository long before it is here.
//!
//! Method: a gateway with a volume; clients of the tests' own, QEMU's tools and libnbd's; the gateway killed meanwhile; and a
//! guest that boots through BIOS, boot loader, Debian's kernel and its root file system from a volume that a second gateway
//! has attached with an empty disk.
//!
//! What is not installed here is said, and its test passes. `TIDEGATE_KILLS` says how often a gateway is killed, `TIDEGATE_SEED`
//! repeats a run.

#![allow(unreachable_pub)] // as in the client that it shares with other tests

mod boot;
#[path = "../../../protocols/tests/nbd/client.rs"]
#[allow(dead_code, missing_docs, reason = "the tests of the protocol use and describe all of it")]
mod client;
mod image;
mod kills;
mod tools;

use std::net::SocketAddr;
use std::process::Command;

use tidegate_integration::gateway::SHARE;

/// The volume of these tests.
const VOLUME: &str = "web";

/// The tables of a volume, and of the server at an address.
fn tables(address: SocketAddr, size: Option<&str>) -> String {
    let size = size.map(|size| format!("size = \"{size}\"\n")).unwrap_or_default();
    format!(
        "\n[nbd]\nlisten = [\"{address}\"]\n\n[[volume]]\nname = \"{VOLUME}\"\nshare = \"{SHARE}\"\n\
         path = \"/disks/web.img\"\n{size}"
    )
}

/// Whether all programs are here; says what is missing.
fn have(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find_map(|name| tidegate_integration::guest::program(name).err());
    if let Some(reason) = &missing {
        println!("{test}: skipped: {reason}");
    }
    missing.is_none()
}

/// Runs a program, which must succeed; gives what it prints.
fn output(program: &str, arguments: &[&str]) -> String {
    let program = tidegate_integration::guest::program(program).expect("it was looked for");
    let done = Command::new(&program).args(arguments).output().expect("it runs");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program:?} {arguments:?} failed with {}: {error}", done.status);
    String::from_utf8(done.stdout).expect("output is text")
}

//! A client that was mounted without `nolock`: a program that locks is told at once that there are no locks, and what
//! does not lock works on.
//!
//! Linux asks the port mapper of the server for its lock manager, always at port 111. The port must be free here, and
//! may be bound by root alone. A lock call leaves the client only where a status monitor runs beside it: `status_monitor.c`.

use std::net::TcpListener;

use tidegate_integration::gateway::Gateway;
use tidegate_integration::guest::LinuxClient;
use tidegate_integration::skip::skip;

const PORT_MAPPER: &str = "127.0.0.1:111";

#[test]
fn a_program_that_locks_on_a_mount_without_nolock_fails_at_once_and_the_log_says_why() {
    let Some(parts) = super::parts("locks") else { return };
    if let Err(error) = TcpListener::bind(PORT_MAPPER) {
        return skip("locks", &format!("{PORT_MAPPER} cannot be had: {error}"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut gateway = Gateway::create(folder.path());
    gateway.change_settings("[nfs]\n", &format!("[nfs]\nportmap = [\"{PORT_MAPPER}\"]\n"));
    gateway.start();
    let (_folder, program) = super::build("status_monitor");
    let mut client = LinuxClient::boot(&parts, None, |initramfs| {
        initramfs.add_program(&program, "/bin/status_monitor");
        initramfs.add_installed("flock");
    });
    client.run("status_monitor");
    client.mount(gateway.address(), "lock");
    client.run("echo there > /share/file");

    // A wait that has no end would be one; the client's own is 15 minutes.
    for kind in ["-x", "-s", "-n -x"] {
        let locked = client.attempt(&format!("timeout 60 flock {kind} /share/file true"));
        assert_eq!(locked.status, 71, "flock {kind} fails with EX_OSERR: {}", locked.output);
        assert!(locked.output.contains("No locks available"), "flock {kind}: {}", locked.output);
    }
    assert_eq!(client.run("cat /share/file").trim(), "there");
    client.unmount();
    let advice = gateway.log().lines().filter(|line| line.contains("nolock")).count();
    assert_eq!(advice, 1, "the log says once what to do:\n{}", gateway.log());
    super::stop(gateway);
}

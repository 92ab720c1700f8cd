//! A client that was mounted without `nolock` asks for a lock, which nobody serves here: the program that wants it
//! is told so soon, and goes on.
//!
//! The client looks for the lock manager with the port mapper of the gateway, at port 111: where the test may not
//! listen there, it is skipped.

use std::net::{TcpListener, UdpSocket};
use std::time::Instant;

use tidegate_integration::guest::LinuxClient;
use tidegate_integration::skip::skip;

/// Where clients ask for the lock manager.
const PORTMAP: &str = "127.0.0.1:111";
/// Seconds in which a lock is refused: the client asks a few times, some seconds apart.
const REFUSED_WITHIN: u64 = 120;

#[test]
fn a_lock_without_nolock_is_refused_and_nothing_hangs() {
    let Some(parts) = super::parts("locks") else { return };
    if let Err(error) = TcpListener::bind(PORTMAP).and_then(|_| UdpSocket::bind(PORTMAP)) {
        return skip("locks", &format!("{PORTMAP} cannot be listened at: {error}"));
    }
    let (_folder, mut gateway) = super::gateway();
    gateway.stop();
    gateway.change_settings("[nfs]\n", &format!("[nfs]\nportmap = [\"{PORTMAP}\"]\n"));
    gateway.start();
    let (_program_folder, program) = super::build("lock_daemons");
    let mut client =
        LinuxClient::boot(&parts, None, |initramfs| initramfs.add_program(&program, "/bin/lock_daemons"));
    client.run("ifconfig lo up && lock_daemons");
    client.mount(gateway.address(), "lock");
    client.run("echo content >/share/file");
    let since = Instant::now();
    let locked = client.attempt(&format!("timeout -s KILL {REFUSED_WITHIN} lock_daemons /share/file"));
    assert!(locked.status != 0 && locked.output.starts_with("refused: "), "nobody serves locks: {locked:?}");
    assert!(since.elapsed().as_secs() < REFUSED_WITHIN, "refused in time: {locked:?}");
    println!("refused after {} s: {}", since.elapsed().as_secs(), locked.output);
    assert_eq!(client.run("echo more >>/share/file && cat /share/file"), "content\nmore");
    assert!(gateway.log().contains("nolock"), "the log says what to do:\n{}", gateway.log());
    client.unmount();
    super::stop(gateway);
}

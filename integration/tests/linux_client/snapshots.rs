//! What a Linux client sees of retained states: `.snapshot`, in a directory that does not list it.

use tidegate_integration::gateway::SHARE;
use tidegate_integration::guest::LinuxClient;

#[test]
fn a_client_enters_a_snapshot_and_reads_what_was_there() {
    let Some(parts) = super::parts("snapshots") else { return };
    let (_folder, gateway) = super::gateway();
    let mut client = LinuxClient::boot(&parts, None, |_| {});
    client.mount(gateway.address(), "");
    client.run("mkdir /share/d && echo old >/share/d/file && echo gone >/share/d/gone && sync");
    gateway.run(&["snapshot", "create", SHARE, "before"]);
    client.run("echo new, and longer >/share/d/file && rm /share/d/gone && sync");

    assert_eq!(client.run("ls -A /share/d"), "file", "the folder of snapshots is not listed");
    let snapshot = client.run("ls -d /share/d/.snapshot/*before");
    assert!(snapshot.starts_with("/share/d/.snapshot/20") && snapshot.lines().count() == 1, "{snapshot}");
    assert_eq!(client.run(&format!("ls -1 {snapshot}")), "file\ngone");
    assert_eq!(client.run(&format!("cat {snapshot}/file {snapshot}/gone")), "old\ngone");
    assert_eq!(client.run("cat /share/d/file"), "new, and longer");

    // A file system of its own: for programs that stay within one, and full.
    let device = |client: &mut LinuxClient, path: &str| client.run(&format!("stat -c %d {path}"));
    let share = device(&mut client, "/share/d/file");
    let frozen = device(&mut client, &format!("{snapshot}/file"));
    assert_ne!(share, frozen, "another file system");
    assert_eq!(client.run("find /share -xdev -name gone"), "");
    let free = client.run(&format!("df -P {snapshot}/file | tail -n 1"));
    assert_eq!(free.split_whitespace().nth(3), Some("0"), "nothing is free in {free:?}");

    let refused = client.attempt(&format!("echo more >>{snapshot}/file"));
    // The client asks (ACCESS) before it tries, and gives its own answer.
    let said =
        ["Read-only file system", "Permission denied"].iter().any(|said| refused.output.contains(said));
    assert!(refused.status != 0 && said, "{refused:?}");
    assert!(!client.run(&format!("cat {snapshot}/file")).contains("more"), "it was not written");
    client.unmount();
    super::stop(gateway);
}

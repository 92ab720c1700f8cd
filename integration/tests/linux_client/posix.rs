//! The calls of POSIX: `pjdfstest`, a suite of others, which tries each call on files with every result that it
//! may have, as root and as others.

use std::collections::BTreeMap;

use tidegate_integration::guest::{Initramfs, LinuxClient, built, program};

/// The suite's version.
const VERSION: &str = "0.2.2";
/// Cases of the suite.
const CASES: usize = 398;
/// Cases that pass. The others need a second file system, a mount that becomes read-only, or a bound on
/// the number of links that the C library knows.
const PASSED_MIN: usize = 380;

/// Cases that fail, and what RFC 1813 has to do with it. One that passes is taken off this list.
const BEYOND_THE_PROTOCOL: &[(&str, &str)] = &[
    (
        "unlink::open_file_not_freed",
        "wants no links of an open file that was removed; section 3.3.12: a server knows of no open files, so a \
         client renames one aside in place of removing it, and it has that name",
    ),
    (
        "utimensat::y2038",
        "sets a time of 2^32 seconds; section 2.5: the seconds of nfstime3 have 32 bits without a sign",
    ),
];

const PASSWD: &str = "root:x:0:0::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
tests:x:2001:2001::/:/bin/sh
pjdfstest:x:2002:2002::/:/bin/sh
";
const GROUP: &str = "root:x:0:
nogroup:x:65534:
tests:x:2001:
pjdfstest:x:2002:
";
const SETTINGS: &str = r#"[settings]
naptime = 0.1
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[dummy_auth]
entries = [["nobody", "nogroup"], ["tests", "tests"], ["pjdfstest", "pjdfstest"]]
"#;

fn furnish(initramfs: &mut Initramfs) {
    let suite = built("pjdfstest", VERSION).unwrap_or_else(|reason| panic!("{reason}"));
    let folder = tempfile::tempdir().expect("a folder");
    let stripped = folder.path().join("pjdfstest");
    let strip = program("strip").unwrap_or_else(|reason| panic!("{reason}"));
    super::output(std::process::Command::new(strip).arg("-o").arg(&stripped).arg(suite));
    initramfs.add_program(&stripped, "/bin/pjdfstest");
    initramfs.add_file("/etc/passwd", PASSWD.as_bytes());
    initramfs.add_file("/etc/group", GROUP.as_bytes());
    initramfs.add_file("/etc/pjdfstest.toml", SETTINGS.as_bytes());
}

/// How the cases ended, by name; what a case says of its failure or of being skipped stands on lines of its own.
fn verdicts(output: &str) -> BTreeMap<&str, &str> {
    let mut verdicts = BTreeMap::new();
    for line in output.lines().filter(|line| !line.starts_with(char::is_whitespace)) {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(verdict @ ("ok" | "skipped" | "FAILED")), None) =
            (words.next(), words.next(), words.next())
        {
            verdicts.insert(name, verdict);
        }
    }
    verdicts
}

#[test]
fn the_calls_of_posix_do_what_posix_says() {
    let Some(parts) = super::parts("pjdfstest") else { return };
    let (_folder, gateway) = super::gateway();
    let mut client = LinuxClient::boot(&parts, None, furnish);
    client.mount(gateway.address(), "");
    let ran = client.attempt("pjdfstest -c /etc/pjdfstest.toml -p /share");
    let verdicts = verdicts(&ran.output);
    let count = |wanted: &str| verdicts.values().filter(|verdict| **verdict == wanted).count();
    println!("pjdfstest: {} passed, {} failed, {} skipped", count("ok"), count("FAILED"), count("skipped"));
    assert_eq!(verdicts.len(), CASES, "all of them ran:\n{}", ran.output);
    let failed = verdicts.iter().filter(|(_, verdict)| **verdict == "FAILED");
    let failed: Vec<_> = failed.map(|(name, _)| *name).collect();
    let expected: Vec<_> = BEYOND_THE_PROTOCOL.iter().map(|(name, _)| *name).collect();
    assert_eq!(failed, expected, "the cases that fail are those of the list:\n{}", ran.output);
    assert!(count("ok") >= PASSED_MIN, "so many pass:\n{}", ran.output);
    client.unmount();
    super::stop(gateway);
}

//! Commands of the book that are not run by this test, each with the reason, and where they are run instead.

use crate::page::{README, without_comment};

/// Page, command as it stands there without its comment, and why it is not run here.
pub(crate) const ELSEWHERE: &[(&str, &str, &str)] = &[
    (README, "make demo", "builds the program anew; `make nightly` runs it"),
    (README, "make test", "is what runs this test"),
    (README, INSTALL, IN_A_MACHINE_OF_ITS_OWN),
    ("start.md", INSTALL, IN_A_MACHINE_OF_ITS_OWN),
    ("guides/upgrade.md", INSTALL, IN_A_MACHINE_OF_ITS_OWN),
    (
        README,
        "ssh -L 8080:/run/tidegate/admin.sock root@gateway",
        "logs in to another machine; integration/console/walk.py goes through the console over the same socket",
    ),
    (
        "guides/cloud-machine.md",
        "cargo build --release --workspace --features tidegate-gateway/ec2",
        "compiles for many minutes; `make nightly` builds with that feature",
    ),
    ("guides/cloud-machine.md", "tidegate machine start web", IN_EC2),
    ("guides/cloud-machine.md", "tidegate machine list", IN_EC2),
    ("guides/cloud-machine.md", "tidegate machine stop web", IN_EC2),
];

/// How the package is installed on every page.
pub(crate) const INSTALL: &str = "apt install ./tidegate_0.1.0-1_amd64.deb";
const IN_A_MACHINE_OF_ITS_OWN: &str = "changes this machine; integration/package/try.sh installs, upgrades, downgrades and \
    purges in a machine of its own, and docs/reports/package-* says what came of it";
const IN_EC2: &str =
    "needs a build with that provider; integration/tests/ec2 starts machines against a stand-in of AWS";

/// Why a command of a page is not run here; none if it is.
pub(crate) fn reason(page: &str, command: &str) -> Option<&'static str> {
    let command = without_comment(command);
    let found = ELSEWHERE.iter().find(|(on, listed, _)| *on == page && *listed == command);
    found.map(|(_, _, reason)| *reason)
}

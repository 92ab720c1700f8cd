//! A new user's path: from the package to a first file that is safe in the repository, counted and timed.
//!
//! What is installed is the program of this build. Where there is a package ([`package`]) it is unpacked too, so that what its
//! installation takes shows; in a machine of its own `integration/package/try.sh` installs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::elsewhere::INSTALL;
use crate::machine::Machine;
use crate::page::without_comment;
use crate::scene::Scene;
use crate::script::Script;

/// As many commands as it may take.
const COMMANDS_MAX: usize = 10;
/// What the first file holds.
const REPORT: &[u8] = b"the first file of a new user";

/// Each command of a path, and how long it took.
#[derive(Default)]
struct Way {
    steps: Vec<(String, Duration)>,
}

impl Way {
    fn step(&mut self, command: &str, begin: Instant) {
        self.steps.push((without_comment(command).to_owned(), begin.elapsed()));
    }

    /// Shows it, and holds it against what was promised.
    fn judge(&self, how: &str) {
        for (number, (command, took)) in self.steps.iter().enumerate() {
            println!("{how}, step {}: {:>6.2} s  {command}", number + 1, took.as_secs_f64());
        }
        let whole: Duration = self.steps.iter().map(|(_, took)| *took).sum();
        println!("{how}: {} commands, {:.2} s", self.steps.len(), whole.as_secs_f64());
        assert!(self.steps.len() <= COMMANDS_MAX, "{how} takes more than {COMMANDS_MAX} commands");
    }
}

/// The whole chapter twice: with the conversation, and with the command that asks nothing.
pub(crate) fn twice(script: &mut Script) {
    let (install, credentials) = (script.commands().remove(0), script.commands().remove(0));
    let (asks, asks_nothing) = (script.commands().remove(0), script.commands().remove(0));
    let rest: Vec<String> = (0..3).flat_map(|_| script.commands()).collect();
    assert_eq!(without_comment(&install), INSTALL);
    for (how, setup) in [("with questions", asks), ("without questions", asks_nothing)] {
        let scene = Scene::set();
        let mut machine = scene.machine("gateway");
        machine.type_in_setup("s3://my-bucket/tidegate");
        fs::write(machine.folder().join("report.pdf"), REPORT).expect("a file");
        let mut way = Way::default();
        way.step(&install, unpack_package(machine.folder()));
        fs::remove_file(machine.path("/etc/tidegate/s3")).expect("the command of the page makes it");
        for command in [&credentials, &setup].into_iter().chain(&rest) {
            let begin = Instant::now();
            let ran = script.play_one(&mut machine, command, &[], &[]).expect("it is run here");
            way.step(command, begin);
            if command == &setup {
                assert!(ran.said.contains("RECOVERY SHEET"), "there is something for the safe: {}", ran.said);
            }
        }
        machine.kill();
        assert_eq!(restored(&scene, &machine), REPORT, "it is safe in the repository");
        way.judge(how);
    }
}

/// What another machine gets that has nothing but the bucket and the key.
fn restored(scene: &Scene, lost: &Machine) -> Vec<u8> {
    let other = scene.machine("other");
    fs::copy(lost.path("/etc/tidegate/repository.key"), other.path("/etc/tidegate/repository.key"))
        .expect("a copy");
    let restore = "restore files --to /tmp/files --address s3://my-bucket/tidegate --region eu-central-1 \
                   --credentials-file /etc/tidegate/s3 --key-file /etc/tidegate/repository.key";
    other.tidegate(&other.real(restore));
    fs::read(other.path("/tmp/files/report.pdf")).expect("it was restored")
}

/// Unpacks the newest package where there is one; when that began.
fn unpack_package(folder: &Path) -> Instant {
    let begin = Instant::now();
    let Some(package) = package() else {
        println!(
            "the installation is counted and not run: there is no package (`make package`, or TIDEGATE_PACKAGE)"
        );
        return begin;
    };
    let to = folder.join("package");
    let unpacked = Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&to).status();
    match unpacked {
        Ok(status) => {
            assert!(
                status.success() && to.join("usr/bin/tidegate").exists(),
                "{} is whole",
                package.display()
            );
            println!("{} was unpacked; its program is not the one that is run below", package.display());
        }
        Err(error) => println!("the installation is counted and not run: dpkg-deb does not run ({error})"),
    }
    begin
}

/// `TIDEGATE_PACKAGE`, or what `make package` made last.
fn package() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TIDEGATE_PACKAGE") {
        return Some(named.into());
    }
    let target = PathBuf::from(std::env::var_os("CARGO_TARGET_DIR")?).join("package");
    let found = fs::read_dir(target).ok()?.flatten().map(|entry| entry.path());
    let is_package = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Not that with what debuggers need.
        name.starts_with("tidegate_") && path.extension().is_some_and(|kind| kind == "deb")
    };
    found.filter(is_package).max()
}

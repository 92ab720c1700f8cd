//! Disaster recovery: before it, on the day, and afterwards.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_integration::gateway::PATIENCE;

use crate::guides::{PLAN, content, moment, publish};
use crate::machine::Machine;
use crate::scene::Scene;
use crate::script::Script;

/// How often something is looked at.
const POLL: Duration = Duration::from_millis(20);

/// The example of the book without the programs and names of one company.
const SITE_LOSS: &str = r#"
[runbook.site-loss]
rto = "15m"
rpo = "1h"
[[runbook.site-loss.step]]
name = "moment"
action = "choose"
share = "files"
at = "head"
[[runbook.site-loss.step]]
name = "attach-files"
action = "attach"
share = "files"
after = ["moment"]
[[runbook.site-loss.step]]
name = "serve"
action = "serve"
after = ["attach-files"]
[[runbook.site-loss.step]]
name = "files-are-there"
action = "check-file"
share = "files"
path = "projects/plan"
after = ["serve"]
[[runbook.site-loss.step]]
name = "go"
action = "approve"
message = "Let clients come here?"
after = ["files-are-there"]
"#;

/// Gives a machine the key of another's repository.
fn copy_key(from: &Machine, to: &Machine) {
    let key = |machine: &Machine| machine.path("/etc/tidegate/repository.key");
    fs::copy(key(from), key(to)).expect("a copy");
}

pub(crate) fn before(script: &mut Script) {
    let scene = Scene::set();
    // Its table of the share is that of the page.
    let mut machine = scene.machine("gateway");
    machine.settle("");
    let owed = script.settings().replace("[[share]]\nname = \"files\"\nrpo = \"30s\"", "rpo = \"1s\"");
    machine.gateway().change_settings("rpo = \"1s\"", owed.trim());
    machine.tidegate("init --no-recovery-key");
    machine.serve();
    publish(&mut machine, PLAN, b"what is to be recovered");
    let ran = script.play(&mut machine);
    assert!(ran.iter().all(|ran| ran.said.contains("files")), "{ran:?}");
    let mut elsewhere = scene.machine("elsewhere");
    script.play(&mut elsewhere);
}

pub(crate) fn runbooks(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway_with("production", SITE_LOSS);
    publish(&mut machine, PLAN, b"practised");
    let mut other = scene.machine("other");
    copy_key(&machine, &other);
    let words = [("s3://bucket/prefix", "s3://my-bucket/tidegate")];
    script.play_with(&mut other, &words, &[]);
    assert!(!other.path("/var/lib/tidegate").exists(), "the drill had a folder of its own");
    machine.kill();
    let commands = script.commands();
    let mut failover = Failover::begin(&other, &commands[0].replace(words[0].0, words[0].1));
    failover.wait_for(&other, "moment");
    let run = run_of(&other).expect("it has begun");
    other.tidegate(&format!("runbook approve {run} moment"));
    failover.wait_for(&other, "go");
    other.tidegate(&format!("runbook approve {run} go"));
    failover.ends_well();
    assert_eq!(content(&mut other, PLAN), b"practised");
}

pub(crate) fn lost(script: &mut Script) {
    let scene = Scene::set();
    let mut production = scene.gateway_with("production", SITE_LOSS);
    publish(&mut production, PLAN, b"good");
    let good = moment(&production);
    publish(&mut production, PLAN, b"spoiled");
    production.kill();

    let mut other = scene.machine("other");
    copy_key(&production, &other);
    let begin = script.commands().remove(0);
    let mut failover = Failover::begin(&other, &begin);
    failover.wait_for(&other, "moment");
    let run = run_of(&other).expect("it has begun");
    failover.wait_until_it_says(&format!("tidegate runbook approve {run} moment"));
    let words = [("RUN", run.as_str()), ("at:2026-11-20T14:05:00Z", good.as_str())];
    let commands = script.commands();
    assert!(commands.iter().any(|command| command.ends_with(" go")), "the page has the approval");
    for command in &commands {
        if command.ends_with(" go") {
            failover.wait_for(&other, "go");
            // It dies before its time.
            failover.kill();
        }
        script.play_one(&mut other, command, &words, &[]);
    }
    script.play_with(&mut other, &words, &[]);
    assert_eq!(content(&mut other, PLAN), b"good", "the share goes on from the moment that was chosen");
}

/// The name of the only run of a machine, once it has begun.
fn run_of(machine: &Machine) -> Option<String> {
    let run = fs::read_dir(machine.path("/var/lib/tidegate/runbooks")).ok()?.next()?.expect("an entry");
    Some(run.file_name().to_string_lossy().into_owned())
}

/// A failover that waits for people, in a process of its own.
struct Failover {
    process: Child,
    /// What it says goes there.
    said: PathBuf,
}

impl Failover {
    fn begin(machine: &Machine, command: &str) -> Self {
        // Nobody sits before it who could answer.
        let line = machine.line(command) + " --yes";
        let said = machine.folder().join("failover");
        let process = Command::new("sh")
            .args(["-c", &format!("exec {line}")])
            .current_dir(machine.folder())
            .env("PATH", machine.search_path())
            .env("TIDEGATE_SETTINGS", machine.gateway().settings())
            .stdin(Stdio::null())
            .stderr(File::create(&said).expect("a writable folder"))
            .spawn()
            .expect("a shell");
        Self { process, said }
    }

    /// Waits until a step waits for a person.
    fn wait_for(&mut self, machine: &Machine, step: &str) {
        let end = Instant::now() + PATIENCE;
        let runs = machine.path("/var/lib/tidegate/runbooks");
        loop {
            let journal = run_of(machine).map(|run| runs.join(run).join("journal"));
            let journal = journal.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
            if journal.contains(&format!("\"step\":\"{step}\"")) {
                return;
            }
            let ended = self.process.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "it ended with {ended:?}:\n{journal}");
            assert!(Instant::now() < end, "it does not come to {step}:\n{journal}");
            std::thread::sleep(POLL);
        }
    }

    fn wait_until_it_says(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&self.said).expect("it writes there");
            if said.contains(text) {
                return;
            }
            assert!(Instant::now() < end, "it does not say {text:?}:\n{said}");
            std::thread::sleep(POLL);
        }
    }

    fn kill(&mut self) {
        self.process.kill().expect("a child can be killed");
        self.process.wait().expect("a child ends");
    }

    fn ends_well(mut self) {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.process.try_wait().expect("a child can be asked") {
                break status;
            }
            let said = fs::read_to_string(&self.said).unwrap_or_default();
            assert!(Instant::now() < end, "it does not end:\n{said}");
            std::thread::sleep(POLL);
        };
        assert!(status.success(), "{status}");
    }
}

pub(crate) fn home(script: &mut Script) {
    let scene = Scene::set();
    let mut home = scene.gateway("home");
    publish(&mut home, PLAN, b"published");
    home.gateway().change_settings("rpo = \"1s\"", "rpo = \"1h\"");
    home.gateway().reload();
    home.mounted.write(&home.real("/mnt/projects/unpublished"), b"only at home");
    home.kill();
    let mut away = scene.machine("away");
    away.settle("");
    copy_key(&home, &away);
    away.tidegate("attach files");
    away.serve();
    publish(&mut away, "/mnt/projects/meanwhile", b"written at the other site");
    home.serve();

    script.play(&mut home);
    let branches = home.tidegate("branch list files");
    let branch = branches[0]["name"].as_str().expect("a branch").to_owned();
    script.play_with(&mut away, &[("BRANCH", &branch)], &[]);
    assert_eq!(content(&mut away, "/mnt/projects/unpublished"), b"only at home");
    script.play(&mut away);
    script.play(&mut home);
    assert_eq!(content(&mut home, "/mnt/projects/meanwhile"), b"written at the other site");
    assert_eq!(content(&mut home, "/mnt/projects/unpublished"), b"only at home");
    script.say(&mut home, "tidegate status");
}

//! The operating guides: each from the trouble that it is about.

use std::fs;
use std::time::Instant;

use tidegate_integration::gateway::PATIENCE;

use crate::machine::Machine;
use crate::scene::Scene;
use crate::script::Script;

/// A file of the share `files`.
pub(crate) const PLAN: &str = "/mnt/projects/plan";

/// Puts a file into the share `files`, and publishes it.
pub(crate) fn publish(machine: &mut Machine, path: &str, content: &[u8]) {
    let at = machine.path("/mnt");
    machine.mounted.assume("files", &at);
    machine.mounted.write(&machine.real(path), content);
    machine.tidegate("commit files");
}

/// What a file of the share holds.
pub(crate) fn content(machine: &mut Machine, path: &str) -> Vec<u8> {
    let at = machine.path("/mnt");
    machine.mounted.assume("files", &at);
    machine.mounted.read(&machine.real(path))
}

/// The moment of the newest head, as `at:TIME`.
pub(crate) fn moment(machine: &Machine) -> String {
    let heads = machine.tidegate("head list files --limit 1");
    format!("at:{}", heads[0]["frozen"].as_str().expect("a time"))
}

pub(crate) fn file_back(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"good");
    machine.tidegate("snapshot create files before-upgrade");
    let good = moment(&machine);
    publish(&mut machine, PLAN, b"spoiled");

    let listed = machine.mounted.list(&machine.real("/mnt/projects/.snapshot"));
    let folder = listed.iter().find(|name| name.ends_with(".before-upgrade")).expect("its snapshot").clone();
    let words = [("2026-11-25T16.49.03.123Z.before-upgrade", folder.as_str())];
    let ran = script.play_with(&mut machine, &words, &[]);
    assert!(ran[0].said.contains(&folder), "{}", ran[0].said);
    assert_eq!(content(&mut machine, PLAN), b"good", "users find their own way back");

    publish(&mut machine, PLAN, b"spoiled again");
    let words = [("at:2026-11-25T16:00:00Z", good.as_str())];
    script.play_with(&mut machine, &words, &[]);
    assert_eq!(content(&mut machine, PLAN), b"good");

    machine.tidegate("snapshot remove files before-upgrade --yes");
    script.play(&mut machine);
    let differs = script
        .say(&mut machine, "tidegate snapshot diff files snapshot:before-upgrade live --path /projects");
    assert!(!differs.said.contains("projects/plan-"), "{}", differs.said);
}

pub(crate) fn machine_gone(script: &mut Script) {
    let scene = Scene::set();
    let mut lost = scene.gateway("lost");
    publish(&mut lost, PLAN, b"acknowledged and published");
    lost.kill();
    let mut other = scene.machine("other");
    fs::copy(lost.path("/etc/tidegate/repository.key"), other.path("/etc/tidegate/repository.key"))
        .expect("a copy");
    script.play(&mut other);
    assert_eq!(content(&mut other, PLAN), b"acknowledged and published");
    let status = script.say(&mut other, "tidegate status");
    assert!(status.said.contains("files"), "{}", status.said);
}

pub(crate) fn planned_move(script: &mut Script) {
    let scene = Scene::set();
    let mut old = scene.gateway("old");
    publish(&mut old, PLAN, b"first");
    old.mounted.write(&old.real(PLAN), b"acknowledged before the move");
    script.play(&mut old);
    let mut new = scene.machine("new");
    fs::copy(old.path("/etc/tidegate/repository.key"), new.path("/etc/tidegate/repository.key"))
        .expect("a copy");
    script.play(&mut new);
    assert_eq!(content(&mut new, PLAN), b"acknowledged before the move");
}

/// Adds a copy of the repository in another bucket, and waits until it has everything.
pub(crate) fn add_second(machine: &mut Machine) {
    let add = "target add second --address s3://other-bucket/tidegate --region eu-west-1 --credentials-file /etc/tidegate/s3-other";
    machine.tidegate(&machine.real(add));
    wait_for_copy(machine, "second");
}

/// Waits until a copy has everything.
pub(crate) fn wait_for_copy(machine: &Machine, name: &str) {
    let end = Instant::now() + PATIENCE;
    loop {
        let compared = machine.gateway().attempt(&["target", "verify", name]);
        if compared.code == Some(0) {
            return;
        }
        assert!(Instant::now() < end, "the copy does not become whole: {compared:?}");
    }
}

pub(crate) fn store_away(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"on both");
    add_second(&mut machine);
    scene.home.gate.shut();
    let ran = script.play_with(&mut machine, &[], &[("tidegate doctor", 1)]);
    assert!(ran[0].said.contains("WRONG"), "{}", ran[0].said);
    script.play(&mut machine);
    publish(&mut machine, "/mnt/projects/later", b"published where it leads now");
}

pub(crate) fn disk_full(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    let ran = script.play(&mut machine);
    assert!(ran[0].said.contains("files"), "{}", ran[0].said);
    script.play(&mut machine);
}

/// The packs of a bucket.
fn packs(bucket: &std::path::Path) -> Vec<std::path::PathBuf> {
    let (mut packs, mut folders) = (Vec::new(), vec![bucket.join("tidegate/packs")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { packs.push(path) }
        }
    }
    packs
}

/// Spoils every pack in a bucket.
fn spoil(bucket: &std::path::Path) {
    let packs = packs(bucket);
    assert!(!packs.is_empty(), "there are packs in {}", bucket.display());
    for pack in packs {
        let mut bytes = fs::read(&pack).expect("a pack");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&pack, bytes).expect("a pack");
    }
}

pub(crate) fn damage(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, &vec![7; 300_000]);
    add_second(&mut machine);
    let bucket = scene.home.bucket("my-bucket");
    spoil(&bucket);
    script.play(&mut machine);
    for pack in packs(&bucket) {
        fs::remove_file(pack).expect("a pack");
    }
    script.play(&mut machine);
    assert!(!packs(&bucket).is_empty(), "they are back");
    script.say(&mut machine, "tidegate scrub status");
}

pub(crate) fn attack(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"good");
    let good = moment(&machine);
    publish(&mut machine, PLAN, b"encrypted by somebody");
    machine.gateway().change_settings("squash = \"none\"", "squash = \"none\"\nread_only = true");
    script.say(&mut machine, "systemctl reload tidegate");
    let words = [("at:2026-11-25T02:00:00Z", good.as_str())];
    let ran = script.play_with(&mut machine, &words, &[]);
    assert!(ran[1].said.contains("/projects/plan"), "what was changed is shown: {}", ran[1].said);
    assert_eq!(content(&mut machine, PLAN), b"good");
    script.play_with(&mut machine, &words, &[]);
}

pub(crate) fn key_seen(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    machine.settle("");
    machine.tidegate("init");
    machine.serve();
    publish(&mut machine, PLAN, b"under the old key");
    let slots = machine.tidegate("key list");
    let slots = slots.as_array().expect("slots");
    let sheet = slots.iter().find(|slot| slot["kind"] != "key-file").expect("the recovery key");
    let words = [("0123456789abcdef", sheet["id"].as_str().expect("an id"))];
    script.play_with(&mut machine, &words, &[]);
    script.say(&mut machine, "tidegate key usage");
    assert_eq!(content(&mut machine, PLAN), b"under the old key");
}

pub(crate) fn another_target(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"moves to another cloud");
    let commands = script.commands();
    for command in commands {
        // The page waits for nothing: verifying a copy that is still on its way names what it lacks.
        if command.starts_with("tidegate target verify") {
            wait_for_copy(&machine, "second");
        }
        script.play_one(&mut machine, &command, &[], &[]);
    }
    assert_eq!(content(&mut machine, PLAN), b"moves to another cloud");
}

pub(crate) fn cloud_machine(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    script.play(&mut machine);
    script.play(&mut machine);
}

pub(crate) fn archive(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    machine.settle("");
    machine.gateway().change_settings("name = \"main\"", "name = \"cloud\"");
    machine.gateway().change_settings("name = \"files\"", "name = \"documents\"");
    script.add_settings(&machine);
    machine.tidegate("init --no-recovery-key");
    machine.serve();
    let at = machine.path("/mnt");
    machine.mounted.assume("documents", &at);
    machine.mounted.write(&machine.real("/mnt/projects/2019/report"), b"of long ago");
    machine.tidegate("snapshot create documents year-end");
    script.play(&mut machine);
    script.play(&mut machine);
    let back = machine.path("/mnt/back/report");
    assert_eq!(fs::read(back).expect("it was restored"), b"of long ago");
    script.say(&mut machine, "tidegate archive plan");
    script.say(&mut machine, "tidegate thaw documents /projects/2019 --plan");
}

pub(crate) fn upgrade(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    let ran = script.play(&mut machine);
    assert!(ran.last().expect("it ran").said.contains(env!("CARGO_PKG_VERSION")), "it shows the version");
}

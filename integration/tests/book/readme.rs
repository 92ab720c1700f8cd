//! The README: each part of it that has commands.

use std::fs;
use std::process::Command;

use crate::guides::{PLAN, add_second, content, publish};
use crate::interfaces::{token, with_api};
use crate::machine::Machine;
use crate::scene::Scene;
use crate::script::Script;

pub(crate) fn two_commands(script: &mut Script) {
    let scene = Scene::set();
    script.play(&mut scene.machine("gateway"));
}

pub(crate) fn from_the_package(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    machine.type_in_setup("file:///srv/repository");
    script.play(&mut machine);
    publish(&mut machine, PLAN, b"written to the first share");
}

pub(crate) fn first_configuration(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    script.play(&mut machine);
    script.add_settings(&machine);
    machine.listens_here();
    script.play(&mut machine);
    script.play(&mut machine);
    publish(&mut machine, PLAN, b"spoiled later");
    // Snapshots by themselves.
    script.add_settings(&machine);
    script.settings();
    script.settings();
    script.add_settings(&machine);
    machine.stop();
    machine.serve();
    script.say(&mut machine, "tidegate policy simulate nightly");
    script.say(&mut machine, "tidegate policy list");
    publish(&mut machine, "/mnt/projects/2019/report", b"of long ago");
    script.play(&mut machine);
    machine.tidegate("snapshot create files later");
    publish(&mut machine, PLAN, b"spoiled");
    let listed = machine.mounted.list(&machine.real("/mnt/projects/.snapshot"));
    let folder = listed.iter().find(|name| name.ends_with(".later")).expect("its snapshot").clone();
    script.play_with(&mut machine, &[("2026-11-25T16.49.03.123Z.before-upgrade", &folder)], &[]);
    assert_eq!(content(&mut machine, PLAN), b"spoiled later");
}

pub(crate) fn console(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = with_api(&scene, script);
    script.play(&mut machine);
    for command in script.commands() {
        let ran = script.play_one(&mut machine, &command, &[], &[]);
        if command.starts_with("tidegate token add") {
            let token = token(&ran.expect("it is run here").said);
            machine.set("TOKEN", &token);
        }
    }
}

pub(crate) fn s3(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    machine.settle("");
    script.add_settings(&machine);
    machine.tidegate("init --no-recovery-key");
    machine.serve();
    script.play(&mut machine);
    let secret = fs::read_to_string(machine.path("/etc/tidegate/backup-server.secret")).expect("its secret");
    for (variable, value) in [
        ("AWS_ACCESS_KEY_ID", "backup-server"),
        ("AWS_SECRET_ACCESS_KEY", secret.trim()),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("RESTIC_PASSWORD", "a password of restic"),
    ] {
        machine.set(variable, value);
    }
    fs::create_dir(machine.path("/srv/data")).expect("a folder");
    fs::write(machine.path("/srv/data/table"), b"of a server").expect("a file");
    let all_ran = script.play(&mut machine).len() == 2;
    if all_ran {
        assert_eq!(content(&mut machine, "/mnt/data/table"), b"of a server", "through both doors");
    }
}

pub(crate) fn disks(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.machine("gateway");
    machine.settle("");
    machine.tidegate("init --no-recovery-key");
    let settings = script.settings();
    let (nbd, web) = settings.split_once("\n\n").expect("the server, and a machine");
    machine.add_settings(nbd);
    machine.serve();
    let old = machine.folder().join("old-disk.qcow2");
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(old).arg("8M").status();
    let commands = script.commands();
    for command in &commands {
        if command.contains("machine start") {
            // There is nothing on the disk that could be told to stop.
            machine.add_settings(&web.replace("memory = \"2GiB\"", "memory = \"128MiB\"\ntimeout = \"15s\""));
            machine.stop();
            machine.serve();
        }
        if made.is_ok() || !command.contains("machine") {
            script.play_one(&mut machine, command, &[], &[]);
        }
    }
}

pub(crate) fn machine_gone(script: &mut Script) {
    let scene = Scene::set();
    let mut home = scene.gateway("home");
    publish(&mut home, PLAN, b"published");
    home.gateway().change_settings("rpo = \"1s\"", "rpo = \"1h\"");
    home.gateway().reload();
    home.mounted.write(&home.real("/mnt/projects/unpublished"), b"only at home");
    home.kill();
    let mut other = scene.machine("other");
    other.settle("");
    let key = |machine: &Machine| machine.path("/etc/tidegate/repository.key");
    fs::copy(key(&home), key(&other)).expect("a copy");
    script.play(&mut other);
    assert_eq!(content(&mut other, PLAN), b"published");
    home.serve();
    let branch = home.wait_for_branch();
    for command in script.commands() {
        let on_the_old_machine = command.contains("rejoin") || command.contains("failback");
        let machine = if on_the_old_machine { &mut home } else { &mut other };
        script.play_one(machine, &command, &[("BRANCH", &branch)], &[]);
    }
    assert_eq!(content(&mut other, "/mnt/projects/unpublished"), b"only at home");
}

pub(crate) fn two_places(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"at two places");
    script.play(&mut machine);
    assert_eq!(content(&mut machine, PLAN), b"at two places");
}

pub(crate) fn without_a_gateway(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"restored without a gateway");
    machine.tidegate("snapshot create files before-upgrade");
    let mut other = scene.machine("other");
    let key = |machine: &Machine| machine.path("/etc/tidegate/repository.key");
    fs::copy(key(&machine), key(&other)).expect("a copy");
    let commands = script.commands();
    assert_eq!(commands.len(), 2, "one on any machine, and one with settings on it");
    script.play_one(&mut other, &commands[0], &[], &[]);
    script.play_one(&mut machine, &commands[1], &[], &[]);
    for restored in [other.path("/srv/files/projects/plan"), machine.path("/tmp/plan/plan")] {
        assert_eq!(fs::read(restored).expect("restored"), b"restored without a gateway");
    }
    add_second(&mut machine);
    script.play(&mut machine);
}

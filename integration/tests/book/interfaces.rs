//! Watching, and the API on the network.

use std::fs;

use crate::guides::{PLAN, publish};
use crate::machine::{Machine, write_secret};
use crate::page::top;
use crate::scene::Scene;
use crate::script::Script;

pub(crate) fn monitoring(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = scene.gateway("gateway");
    publish(&mut machine, PLAN, b"watched");
    let mut elsewhere = scene.machine("elsewhere");
    let key = |machine: &Machine| machine.path("/etc/tidegate/repository.key");
    fs::copy(key(&machine), key(&elsewhere)).expect("a copy");
    script.play(&mut elsewhere);
    script.say(&mut machine, "tidegate alarms");
}

/// A gateway with the shares that the pages of the API name, and the settings of the page: its certificate and key lie where they say.
pub(crate) fn with_api(scene: &Scene, script: &mut Script) -> Machine {
    let mut machine = scene.machine("gateway");
    machine.settle("[[share]]\nname = \"projects\"\nrpo = \"1s\"\n");
    script.add_settings(&machine);
    let certificates = top().join("protocols/tests/s3/certificates");
    fs::copy(certificates.join("localhost.pem"), machine.path("/etc/tidegate/api.pem")).expect("a copy");
    let key = fs::read(certificates.join("localhost.key")).expect("a key");
    write_secret(&machine.path("/etc/tidegate/api.key"), &key);
    machine.tidegate("init --no-recovery-key");
    machine.serve();
    machine
}

/// The token that a command showed.
pub(crate) fn token(said: &str) -> String {
    let found = said.split_whitespace().find(|word| word.starts_with("tidegate_"));
    found.unwrap_or_else(|| panic!("no token is shown: {said}")).to_owned()
}

pub(crate) fn api(script: &mut Script) {
    let scene = Scene::set();
    let mut machine = with_api(&scene, script);
    let ran = script.play(&mut machine);
    assert!(token(&ran[0].said).len() > 20);
    let added = machine.tidegate("token add others --role operator");
    machine.set("TOKEN", added["token"].as_str().expect("a token"));
    let ran = script.play(&mut machine);
    assert!(ran.is_empty() || ran[0].said.contains("\"shares\""), "{ran:?}");
    let ran = script.play(&mut machine);
    assert!(ran[0].said.contains("night-shift"), "{}", ran[0].said);
}

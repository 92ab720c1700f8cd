//! Random input and output against a model: `random_io.c`, beside this file.

use std::time::Duration;

use tidegate_integration::chance::Chance;
use tidegate_integration::guest::{LinuxClient, Parts};

/// Operations unless the environment says otherwise.
const OPERATIONS: u64 = 1500;
/// Kills unless the environment says otherwise.
const KILLS: u64 = 3;
/// The program says every so many operations that it goes on.
const REPORTED_OPERATIONS: u64 = 20;
/// The longest that an operation takes, in milliseconds, on a busy machine.
const OPERATION_MS_MAX: u64 = 500;

pub(super) fn boot(parts: &Parts) -> LinuxClient {
    let (_folder, program) = super::build("random_io");
    LinuxClient::boot(parts, None, |initramfs| initramfs.add_program(&program, "/bin/random_io"))
}

pub(super) fn command(chance: &mut Chance, operations: u64) -> String {
    format!("random_io /share/file /tmp/model {} {operations}", chance.next() >> 1)
}

/// Ends the run that has begun, and compares the file with the model once the client has forgotten it.
pub(super) fn finish(
    client: &mut LinuxClient,
    gateway: &tidegate_integration::gateway::Gateway,
    operations: u64,
) {
    let ran = client.finish(Duration::from_millis(operations * OPERATION_MS_MAX) + Duration::from_mins(2));
    assert_eq!(ran.status, 0, "{}\nthe gateway:\n{}", ran.output, gateway.log());
    println!("random_io: {}", ran.output.lines().last().unwrap_or_default());
    client.unmount();
    client.mount(gateway.address(), "");
    client.run("cmp /share/file /tmp/model");
}

#[test]
fn a_file_changed_in_every_way_is_what_the_model_is() {
    let Some(parts) = super::parts("random_io") else { return };
    let mut chance = Chance::announced("random_io");
    let operations = super::number("TIDEGATE_IO_OPERATIONS", OPERATIONS);
    let (_folder, mut gateway) = super::gateway();
    let mut client = boot(&parts);
    client.mount(gateway.address(), "");
    client.begin(&command(&mut chance, operations));
    finish(&mut client, &gateway, operations);
    // What the gateway reads from its repository is the same.
    client.unmount();
    gateway.commit();
    gateway.kill();
    gateway.start();
    client.mount(gateway.address(), "");
    client.run("cmp /share/file /tmp/model");
    // And the comparison would show a change.
    client.run("echo x | dd of=/share/file bs=1 count=1 conv=notrunc");
    assert_eq!(client.attempt("cmp /share/file /tmp/model").status, 1, "a change is seen");
    client.unmount();
    super::stop(gateway);
}

#[test]
fn a_program_only_pauses_while_the_gateway_is_killed_and_started_again() {
    let Some(parts) = super::parts("random_io with kills") else { return };
    let mut chance = Chance::announced("random_io with kills");
    let kills = super::number("TIDEGATE_IO_KILLS", KILLS);
    let reports_between = 10;
    let operations = (kills + 1) * (reports_between + 1) * REPORTED_OPERATIONS;
    let (_folder, mut gateway) = super::gateway();
    let mut client = boot(&parts);
    client.mount(gateway.address(), "");
    client.begin(&command(&mut chance, operations));
    for kill in 0..kills {
        let mut reached = String::new();
        for _ in 0..=chance.below(reports_between) {
            reached = client.wait_for("operations ");
        }
        gateway.kill();
        println!("kill {kill} after {reached}");
        gateway.start();
    }
    client.wait_for("operations ");
    finish(&mut client, &gateway, operations);
    client.unmount();
    super::stop(gateway);
}

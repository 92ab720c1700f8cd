//! A share and its address move to another gateway and back, under a program that holds a file open.
//!
//! The program changes the file in every way, at random, against a model; it must only pause. The address is one of this
//! machine at which first the one gateway listens and then the other.

use std::fs;

use tidegate_integration::chance::Chance;
use tidegate_integration::gateway::{Gateway, SHARE};

/// Operations between two words of the program.
const REPORTED_OPERATIONS: u64 = 20;
/// Words of the program before, between and after the moves.
const REPORTS: u64 = 300;

#[test]
fn a_program_goes_on_with_its_open_file_when_share_and_address_move_and_come_back() {
    let Some(parts) = super::parts("moved") else { return };
    let mut chance = Chance::announced("moved");
    let operations = REPORTS * REPORTED_OPERATIONS;
    let (_folder, mut home) = super::gateway();
    let folder = tempfile::tempdir().expect("a folder");
    let mut client = super::random_io::boot(&parts);
    client.mount(home.address(), "");
    client.begin(&super::random_io::command(&mut chance, operations));
    client.wait_for("operations ");

    home.run(&["handover", SHARE, "--yes"]);
    assert!(home.stop().success());
    let place = folder.path().join("away");
    fs::create_dir(&place).expect("a folder");
    let mut away = Gateway::attach(&place, &home.repository(), &home.key());
    away.take_address_of(&home);
    away.start();
    client.wait_for("operations ");
    println!("it goes on at the other site");

    away.run(&["handover", SHARE, "--yes"]);
    assert!(away.stop().success());
    home.start();
    home.run(&["share", "rejoin", SHARE, "--lead"]);
    client.wait_for("operations ");
    super::random_io::finish(&mut client, &home, operations);
    client.unmount();
    assert!(home.stop().success(), "it stops well:\n{}", home.log());
}

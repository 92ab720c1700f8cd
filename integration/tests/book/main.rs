//! Goal: whoever types what the book and the README say gets what they say: no command of them is unknown, and each does what its page
//! is about. From the package to a first file that is safe in the repository it takes at most ten commands.
//!
//! Method: a chapter is a script. Its commands run in their order, on a terminal, on machines that are folders, against S3
//! services in this process; the test brings the state that the page begins from, and stands for what a page leaves open (the
//! id of a run, a time). What only another machine can do is listed in `elsewhere.rs` with the reason: a command that is neither run nor
//! listed fails, and so does one that is listed and on no page any more. Blocks of settings are loaded by the
//! settings' own reader. Commands within sentences are parsed by `gateway/src/cli/tests/guides.rs`.

mod elsewhere;
mod guides;
mod interfaces;
mod machine;
mod mounted;
mod page;
mod readme;
mod recovery;
mod scene;
mod script;
#[allow(dead_code, reason = "the tests of the store use all of it")]
#[path = "../../../replicator/tests/store_s3/server.rs"]
mod server;
mod settings;
mod start;
mod substitute;

use std::collections::BTreeSet;

use elsewhere::ELSEWHERE;
use page::{Page, without_comment};
use script::Script;

/// One test a chapter, and the list of them: a page, or a page and the heading of a part of it.
macro_rules! chapters {
    ($($name:ident: $page:literal $section:literal => $play:path;)+) => {
        const CHAPTERS: &[(&str, &str)] = &[$(($page, $section)),+];
        $(
            #[test]
            fn $name() {
                Script::open($page, $section).run($play);
            }
        )+
    };
}

chapters! {
    from_the_package_to_a_file_that_is_safe_it_takes_at_most_ten_commands: "start.md" "" => start::twice;
    a_file_was_deleted_or_spoiled: "guides/file-back.md" "" => guides::file_back;
    the_machine_is_gone: "guides/machine-gone.md" "" => guides::machine_gone;
    a_planned_move: "guides/move.md" "" => guides::planned_move;
    the_store_does_not_answer: "guides/store-away.md" "" => guides::store_away;
    the_disk_fills_up: "guides/disk-full.md" "" => guides::disk_full;
    data_is_damaged: "guides/damage.md" "" => guides::damage;
    somebody_encrypted_or_deleted_everything: "guides/attack.md" "" => guides::attack;
    a_key_was_seen_by_others: "guides/key-seen.md" "" => guides::key_seen;
    another_cloud: "guides/another-target.md" "" => guides::another_target;
    a_machine_in_a_cloud: "guides/cloud-machine.md" "" => guides::cloud_machine;
    cold_data: "guides/archive.md" "" => guides::archive;
    an_upgrade_and_back: "guides/upgrade.md" "" => guides::upgrade;
    disaster_recovery: "recovery/index.md" "" => recovery::before;
    runbooks: "recovery/runbooks.md" "" => recovery::runbooks;
    a_site_is_lost: "recovery/lost.md" "" => recovery::lost;
    coming_home: "recovery/home.md" "" => recovery::home;
    watching_it: "monitoring.md" "" => interfaces::monitoring;
    the_api: "api.md" "" => interfaces::api;
    two_commands: "README.md" "Two commands" => readme::two_commands;
    from_the_package: "README.md" "From the package" => readme::from_the_package;
    a_first_configuration: "README.md" "A first configuration, with a bucket" => readme::first_configuration;
    the_console: "README.md" "The console" => readme::console;
    s3_for_backup_tools: "README.md" "S3 for backup tools" => readme::s3;
    disks_of_virtual_machines: "README.md" "Disks of virtual machines" => readme::disks;
    when_the_machine_is_gone: "README.md" "When the machine is gone" => readme::machine_gone;
    two_places_instead_of_one: "README.md" "Two places instead of one" => readme::two_places;
    without_a_gateway: "README.md" "Without a gateway" => readme::without_a_gateway;
}

#[test]
fn every_block_of_commands_belongs_to_a_chapter_that_is_played() {
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "sh") {
            let is_played = |(name, section): &(&str, &str)| {
                *name == page.name && (section.is_empty() || *section == block.section)
            };
            assert!(CHAPTERS.iter().any(is_played), "{}: nobody plays\n{}", page.name, block.text);
        }
        for language in page.blocks.iter().map(|block| block.language.as_str()) {
            assert!(["sh", "toml", "json", "text"].contains(&language), "{}: {language:?}?", page.name);
        }
    }
}

#[test]
fn every_command_that_is_run_elsewhere_is_still_on_its_page() {
    let pages = Page::all();
    let on_pages: BTreeSet<(String, String)> = pages
        .iter()
        .flat_map(|page| page.blocks.iter().map(move |block| (page, block)))
        .filter(|(_, block)| block.language == "sh")
        .flat_map(|(page, block)| {
            let commands = block.commands().into_iter();
            commands.map(|command| (page.name.clone(), without_comment(&command).to_owned()))
        })
        .collect();
    for (page, command, _) in ELSEWHERE {
        assert!(on_pages.contains(&((*page).to_owned(), (*command).to_owned())), "{page} has no {command}");
    }
}

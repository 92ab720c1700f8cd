//! Blocks of settings are settings: the program's own reader loads each, with what its page takes for granted around it.

use tidegate_gateway::settings::{Problem, Settings};

use crate::page::Page;

/// A word in a block that needs something, the table that brings it if the block has it, and what is put before the block otherwise.
const AROUND: &[(&str, &str, &str)] = &[
    ("", "[repository]", "[repository]\nkey = { file = \"/etc/tidegate/repository.key\" }\n"),
    (
        "",
        "[[target]]",
        "[[target]]\nname = \"main\"\naddress = \"s3://my-bucket/tidegate\"\nregion = \"eu-central-1\"\n",
    ),
    (
        "target = \"cloud\"",
        "name = \"cloud\"",
        "[[target]]\nname = \"cloud\"\naddress = \"s3://other-bucket/tidegate\"\nregion = \"eu-central-1\"\n",
    ),
    ("\"files\"", "[[share]]", "[[share]]\nname = \"files\"\n"),
    (
        "volumes = [\"web\"]",
        "[[volume]]",
        "[[share]]\nname = \"files\"\n[[volume]]\nname = \"web\"\nshare = \"files\"\npath = \"/disks/web.img\"\n",
    ),
    ("volumes = [\"web\"]", "[nbd]", "[nbd]\nlisten = [\"127.0.0.1:10809\"]\n"),
];

fn with_what_is_around(block: &str) -> String {
    let needed =
        AROUND.iter().filter(|(word, brought_by, _)| block.contains(word) && !block.contains(brought_by));
    needed.map(|(_, _, text)| *text).collect::<String>() + block
}

/// What is wrong with a block. That this build lacks what it asks for is nothing: each other key of it is looked at all the same.
fn problems(block: &str) -> Vec<Problem> {
    let mut problems =
        Settings::parse(&with_what_is_around(block)).err().map_or_else(Vec::new, |error| error.problems);
    problems.retain(|problem| !problem.message.contains("is not in this build of tidegate"));
    problems
}

#[test]
fn every_block_of_settings_is_loaded() {
    let (mut count, mut wrong) = (0, Vec::new());
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "toml") {
            let found = problems(&block.text);
            if !found.is_empty() {
                wrong.push(format!("{}:\n{}\n{found:#?}", page.name, block.text));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 10, "only {count} blocks were found: have the pages another form?");
}

#[test]
fn a_key_that_there_is_not_is_found() {
    assert_eq!(problems("[scrub]\nevery = \"30d\"\n"), []);
    assert_eq!(problems("[scrub]\never = \"30d\"\n").len(), 1);
}

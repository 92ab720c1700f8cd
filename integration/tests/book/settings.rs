//! Blocks of settings are settings: the program's own reader loads each, with what its page takes for granted around it.

use tidegate_gateway::settings::Settings;

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

#[test]
fn every_block_of_settings_is_loaded() {
    let (mut count, mut wrong) = (0, String::new());
    for page in Page::all() {
        for block in page.blocks.iter().filter(|block| block.language == "toml") {
            if let Err(error) = Settings::parse(&with_what_is_around(&block.text)) {
                wrong += &format!("{}:\n{}\n{error}\n", page.name, block.text);
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 10, "only {count} blocks were found: have the pages another form?");
}
